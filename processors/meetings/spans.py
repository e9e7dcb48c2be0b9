"""Arithmetic on the calendar: weeks, months, the nth weekday. Pure, on dates of the proleptic Gregorian calendar.

Enters: dates. Leaves: first and last days. Guaranteed: what lies outside the years 1 to 9999 is a ValueError and never
another date.
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta

WEEK_DAYS = 7


def plus(day: date, count: int, unit: str) -> date:
    """day, so many days, weeks, months or years later; the 31st becomes the last day of a shorter month."""
    if unit in ("day", "week"):
        try:
            return day + timedelta(days=count * (WEEK_DAYS if unit == "week" else 1))
        except OverflowError as error:
            raise ValueError(str(error)) from error
    months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise ValueError(f"the year {year} is outside the calendar")
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def week(day: date) -> tuple[date, date]:
    """Monday to Sunday."""
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def month(year: int, number: int) -> tuple[date, date]:
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])


def year(number: int) -> tuple[date, date]:
    return date(number, 1, 1), date(number, 12, 31)


def quarter(day: date) -> tuple[date, date]:
    first = 3 * ((day.month - 1) // 3) + 1
    return date(day.year, first, 1), month(day.year, first + 2)[1]


def containing(day: date, unit: str) -> tuple[date, date]:
    """The week, weekend, month, quarter or year that holds a day; of a weekday, the weekend of its week."""
    if unit == "day":
        return day, day
    if unit == "week":
        return week(day)
    if unit == "weekend":
        sunday = week(day)[1]
        return sunday - timedelta(days=1), sunday
    if unit == "month":
        return month(day.year, day.month)
    if unit == "quarter":
        return quarter(day)
    return year(day.year)


def nth_weekday(first: date, last: date, weekday: int, nth: int) -> date | None:
    """The nth (1, 2, ...; -1: the last) such weekday from `first` to `last`; None if there is none."""
    if nth < 0:
        found = last - timedelta(days=(last.weekday() - weekday) % WEEK_DAYS)
        return found if found >= first else None
    found = first + timedelta(days=(weekday - first.weekday()) % WEEK_DAYS + WEEK_DAYS * (nth - 1))
    return found if found <= last else None


def after(day: date, weekday: int) -> date:
    """The first such weekday after a day."""
    return day + timedelta(days=(weekday - day.weekday() - 1) % WEEK_DAYS + 1)


def before(day: date, weekday: int) -> date:
    """The last such weekday before a day."""
    return day - timedelta(days=(day.weekday() - weekday - 1) % WEEK_DAYS + 1)


def day_of_month(today: date, number: int) -> date | None:
    """The next day of that number from today on; months that are too short for it are passed over."""
    for months in range(4):
        first = plus(today.replace(day=1), months, "month")
        if number <= month(first.year, first.month)[1].day and first.replace(day=number) >= today:
            return first.replace(day=number)
    return None


def day_of_year(today: date, number: int, day: int, *, forward: bool, past: bool = False) -> date | None:
    """The day and month nearest to now; forward: the next from today on; past: the last one up to today."""
    found = []
    for near in range(today.year - 8, today.year + 9):  # 29 February has up to eight years to the next
        try:
            found.append(date(near, number, day))
        except ValueError:
            continue
    if forward:
        found = [one for one in found if one >= today]
    elif past:
        found = [one for one in found if one <= today]
    return min(found, key=lambda one: abs((one - today).days), default=None)


def month_near(today: date, number: int, *, past: bool) -> tuple[date, date]:
    """The month of that name: this one, or the next to come; past: the last one up to this."""
    step = -1 if past else 1
    near = today.year if (number - today.month) * step >= 0 else today.year + step
    return month(near, number)
