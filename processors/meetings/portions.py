"""Parts of a week, a month or a year: "early next week", "the second half of March", "first Monday of May".

Enters: a match whose groups name the whole (which, unit, month, year) and the part. Leaves: Days, or Unsaid.
Guaranteed: early, mid and late are thirds of a month and three days of a working week; the end of a month is its last
day, of a week its Friday; a third of a year is nobody's idea of "early" and is asked about.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from aios.processors.meetings import grammar as g
from aios.processors.meetings import spans
from aios.processors.meetings.phrases import Days, Found, Grain, Setting, Unsaid
from aios.processors.meetings.wish import Action, Missing, Prefer

WORK_DAYS = 5


def _shift(which: str) -> int:
    if which in ("next", "coming", "following", "upcoming", "the next", "the coming", "the following", "the upcoming"):
        return 1
    return -1 if which in ("last", "past", "previous", "the last", "the past", "the previous") else 0


def unit_span(which: str, unit: str, at: Setting) -> tuple[date, date]:
    base = "week" if unit == "weekend" else "month" if unit == "quarter" else unit
    step = 3 if unit == "quarter" else 1
    shift = _shift(which)
    if unit == "weekend" and which.removeprefix("the ") in ("coming", "upcoming"):
        shift = 0
    return spans.containing(spans.plus(at.today, shift * step, base), unit)


def _whole(found: re.Match[str], at: Setting) -> tuple[date, date, str]:
    """The week, month, quarter or year that a part is of."""
    if found["month"]:
        if found["year"]:
            return *spans.month(int(found["year"]), g.month(found["month"])), "month"
        return *spans.month_near(at.today, g.month(found["month"]), past=at.past), "month"
    return *unit_span(found["which"] or "this", found["unit"], at), found["unit"]


_THIRDS = {"early": 0, "beginning": 0, "start": 0, "mid": 1, "middle": 1, "late": 2, "end": 2}
_OF_WEEK = ((0, 2), (1, 3), (3, 4))  # Monday to Wednesday, Tuesday to Thursday, Thursday and Friday
_OF_MONTH = ((1, 10), (11, 20), (21, 31))


def part_of(found: re.Match[str], at: Setting) -> Found:
    first, last, unit = _whole(found, at)
    third = _THIRDS[found["part"]]
    prefer = (Prefer.EARLY, None, Prefer.LATE)[third]
    if found["part"] == "end":
        end = last if unit != "week" else first + timedelta(days=4)
        return Days(first=end, last=end, prefer=None)
    if unit == "week":
        low, high = _OF_WEEK[third]
        return Days(
            first=first + timedelta(days=low), last=first + timedelta(days=high), grain=Grain.SPAN, prefer=prefer
        )
    if unit == "month":
        low, high = _OF_MONTH[third]
        return Days(
            first=first.replace(day=low), last=first.replace(day=min(high, last.day)), grain=Grain.SPAN, prefer=prefer
        )
    return Unsaid(Missing.DATE)


def half(found: re.Match[str], at: Setting) -> Found:
    first, last, unit = _whole(found, at)
    days = (last - first).days + 1
    if unit == "year":
        cut = date(first.year, 6, 30)
    elif unit == "month":
        cut = first.replace(day=15)
    else:
        cut = first + timedelta(days=days // 2 - 1)
    if found["nth"] == "first":
        return Days(first=first, last=cut, grain=Grain.SPAN)
    return Days(first=cut + timedelta(days=1), last=last, grain=Grain.SPAN)


def nth(word: str) -> int:
    return -1 if word == "last" else g.number(word)


def nth_of(found: re.Match[str], at: Setting) -> Found:
    first, last, unit = _whole(found, at)
    count = nth(found["nth"])
    if found["day"]:
        day = spans.nth_weekday(first, last, g.weekday(found["day"]), count)
        if day and at.forward and day < at.today and not found["month"] and not found["which"]:
            first, last = spans.containing(spans.plus(first, 1, unit), unit)
            day = spans.nth_weekday(first, last, g.weekday(found["day"]), count)
        return Days(first=day, last=day) if day else None
    if found["piece"] == "weekend":
        saturday = spans.nth_weekday(first, last, 5, count)
        return Days(first=saturday, last=saturday + timedelta(days=1), grain=Grain.SPAN) if saturday else None
    if found["piece"] == "day":
        day = last if count < 0 else first + timedelta(days=count - 1)
        return Days(first=day, last=day)
    if unit == "year":
        return Unsaid(Missing.DATE)
    low = last - timedelta(days=6) if count < 0 else first + timedelta(days=7 * (count - 1))
    high = min(low + timedelta(days=6), last)
    return Days(first=low, last=high, grain=Grain.WEEK) if low <= high else None


def my_part(found: re.Match[str], at: Setting) -> Found:
    from aios.processors.meetings.clock import part

    return Days(first=at.today, last=at.today, weak=True), part(found["part"])


def beside(_: re.Match[str], at: Setting) -> Found:
    """The Monday after the fair: nobody here knows when that is. To be reminded before it is told by its own day."""
    return None if at.reminded else Unsaid(Missing.DATE)


FEASTS = {
    "christmas": (12, 25),
    "xmas": (12, 25),
    "christmas day": (12, 25),
    "christmas eve": (12, 24),
    "xmas eve": (12, 24),
}
FEASTS |= {"new year's eve": (12, 31), "new years eve": (12, 31), "new year's day": (1, 1), "new years day": (1, 1)}
FEASTS |= {"new year's": (1, 1), "halloween": (10, 31), "valentine's day": (2, 14), "valentines day": (2, 14)}


def feast(found: re.Match[str], at: Setting) -> Found:
    if at.action in (Action.QUERY, Action.CANCEL, None):
        return None  # there it is what the event is called
    if found["how"] == "for" and not (at.reminded and found["feast"].startswith(("christmas", "xmas"))):
        return None
    month, day = FEASTS[found["feast"]]
    return _one(spans.day_of_year(at.today, month, day, forward=at.forward, past=at.past))


def _one(day: date | None) -> Days | None:
    return Days(first=day, last=day) if day else None


def _both(first: date | None, last: date | None) -> Found:
    """Two days that follow each other are a window; others are two wishes."""
    if first is None or last is None or last - first != timedelta(days=1):
        return Unsaid(Missing.DATE)
    return Days(first=first, last=last, grain=Grain.SPAN)


def two_days(found: re.Match[str], at: Setting) -> Found:
    """The 9th and 10th of April."""
    first, number = g.number(found["first"]), g.number(found["number"])
    if not (1 <= first <= 31 and 1 <= number <= 31):
        return None
    if not found["month"]:
        return _both(spans.day_of_month(at.today, first), spans.day_of_month(at.today, number))
    month = g.month(found["month"])
    if found["year"]:
        year = int(found["year"])
        return _both(date(year, month, first), date(year, month, number))
    near = [spans.day_of_year(at.today, month, day, forward=at.forward, past=at.past) for day in (first, number)]
    return _both(*near)


def two_weekdays(found: re.Match[str], at: Setting) -> Found:
    """Thursday and Friday next week: of the week that is said; without one see recurring.py."""
    which = found["which"] or (found["week"] or "").split(" ")[-2:][0]
    if which not in ("this", "next"):
        return None
    monday = spans.week(at.today)[0] + timedelta(days=7 if which == "next" else 0)
    return _both(*(monday + timedelta(days=g.weekday(found[name])) for name in ("one", "two")))


def working_day(found: re.Match[str], at: Setting) -> Found:
    """The last working day of the month: Monday to Friday; feasts are no days off here."""
    if found["month"]:
        first, last = spans.month_near(at.today, g.month(found["month"]), past=at.past)
    else:
        first, last = unit_span(found["which"], found["unit"], at)
    step = 1 if found["nth"] == "first" else -1
    day = first if step > 0 else last
    while day.weekday() >= WORK_DAYS:
        day += timedelta(days=step)
    return _one(day)
