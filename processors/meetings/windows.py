"""Days that are said together, made one window: "Wednesday next week", "after Friday", "early next week, not Monday".

Enters: the meanings of phrases about days, the words before them. Leaves: one `Days`, or None where they do not fit.
Guaranteed: a smaller span inside a larger one is what is meant; a window that is cut stays one window, and what would
cut it in two is None, which is asked about.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aios.processors.meetings import spans
from aios.processors.meetings.phrases import Days, Grain, Setting
from aios.processors.meetings.wish import Action


def window(days: Days, operator: str, at: Setting) -> Days:
    """After Friday: open; by Friday: from today; before Friday: to the day before."""
    last = days.last or days.first
    if operator == "after":
        return Days(first=last + timedelta(days=1), last=None, grain=Grain.SPAN)
    if operator == "from" and at.action is Action.CANCEL:
        return days
    if operator == "from" and days.loose is not None and days.last != days.first:
        return days  # from Wednesday to Friday: of the week that is said beside it
    if operator in ("from", "not before"):
        past = at.past and days.first <= at.today
        return replace(
            days,
            last=at.today if past else None if days.grain is Grain.DAY else days.last,
            grain=Grain.SPAN,
            loose=None,
        )
    if operator in ("by", "until", "not after"):
        return (
            Days(first=min(at.today, last), last=last, grain=Grain.SPAN)
            if days.grain is Grain.DAY and last != at.today
            else days
        )
    if operator == "before":
        end = days.first - timedelta(days=1)
        return Days(first=min(at.today, end), last=end, grain=Grain.SPAN)
    return days


_SIZE = {Grain.DAY: 0, Grain.SPAN: 1, Grain.WEEK: 2, Grain.MONTH: 3, Grain.YEAR: 4}


def one(named: list[Days]) -> Days | None:
    """The smallest, if it lies inside every other; a weekday that is not tied to a week takes the week beside it."""
    named = list(dict.fromkeys(named))
    if len(named) == 1:
        return named[0]
    if (
        len(named) == 2
        and named[0].last is None
        and named[1].last
        and named[1].last >= named[0].first
        and named[1].grain is not Grain.DAY
    ):
        return replace(named[1], first=max(named[0].first, named[1].first))
    smallest = min(named, key=lambda one: (_SIZE[one.grain], one.loose is None))
    others = [one for one in named if one is not smallest]
    if smallest.loose is not None:
        for other in others:
            if other.last and smallest.last and not _inside(smallest, other):
                moved = spans.nth_weekday(other.first, other.last, smallest.loose, 1)
                if moved is None:
                    return None
                smallest = replace(smallest, first=moved, last=moved + (smallest.last - smallest.first))
    return smallest if all(_inside(smallest, other) for other in others) else None


def less(whole: Days, never: Days) -> Days | None:
    """Early next week, not Monday: a window loses a day at its edge; from its midst it is asked about."""
    first, last = never.first, never.last or never.first
    if whole.last is None:
        return None
    if never.loose is not None and first == last:  # whichever Monday lies in the window, if it is one
        found = spans.nth_weekday(whole.first, whole.last, never.loose, 1)
        if found is None:
            return whole
        if spans.nth_weekday(whole.first, whole.last, never.loose, 2):
            return None
        first = last = found
    if last < whole.first or first > whole.last:
        return whole
    begin, end = whole.first, whole.last
    if first <= begin:
        begin = last + timedelta(days=1)
    elif last >= end:
        end = first - timedelta(days=1)
    else:
        return None
    return replace(whole, first=begin, last=end) if begin <= end else None


def _inside(one: Days, other: Days) -> bool:
    if one.first < other.first:
        return False
    return other.last is None or (one.last is not None and one.last <= other.last)
