"""Which entries of a calendar a query, a cancellation or a change speaks of.

Enters: a wish, the engagements of the organiser's calendar, the moment. Leaves: those that match, in their order.
Guaranteed: pure; every word of the title is in an entry's, kinds of entry ("meeting", "appointment") are in all; `next`
is the first that has not begun, `current` ones count for a day or a time; a window without an end goes on for
AHEAD_DAYS, and "on Mondays" is no other day; a change that says where a thing stands now speaks of what begins there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from aios.processors.meetings import series, zones
from aios.processors.meetings.calendars import Engagement
from aios.processors.meetings.intervals import Stretches, meets, union
from aios.processors.meetings.wish import Action, Scope, Wish

AHEAD_DAYS = 366
KINDS = frozenset({"meeting", "appointment", "event", "reminder", "task", "entry", "call", "plan", "schedule"})
SMALL = frozenset({"the", "a", "an", "my", "with", "at", "of", "for", "in", "on", "and", "to"})


def looked_at(wish: Wish, clock: ZoneInfo, now: int) -> Stretches:
    """The time that the wish names; without any all that is ahead. What a change names is its new time."""
    timed = wish.time_from is not None or wish.time_to is not None
    if (wish.date_from is None and not timed and not wish.repeats) or wish.action is Action.CHANGE:
        return ((now, now + AHEAD_DAYS * 86_400),)
    first = wish.date_from or zones.local(now, clock).date()
    furthest = first + timedelta(days=AHEAD_DAYS)
    if wish.date_to is not None:
        last = min(wish.date_to, furthest)
    else:
        last = furthest if wish.date_from is not None or wish.repeats else first
    return union(*(_of(wish, day, clock) for day in _days(wish, first, last)))


def matching(wish: Wish, engagements: Sequence[Engagement], clock: ZoneInfo, now: int) -> tuple[Engagement, ...]:
    """engagements: of the calendar, over looked_at at least, free ones too."""
    within = looked_at(wish, clock, now)
    found = [
        one for one in engagements if meets(within, one.stretch) and _speaks_of(wish, one) and _stood(wish, one, clock)
    ]
    if wish.scope is Scope.NEXT:
        found = [one for one in found if one.start >= now][:1]
    return tuple(found)


def _days(wish: Wish, first: date, last: date) -> Iterable[date]:
    """Of a rule those that it names; a rule by hours names all."""
    if not wish.repeats or not series.is_rule(wish.repeats):
        return zones.every_day(first, last)
    begins = datetime.combine(first, time())
    rule = rrulestr(wish.repeats, dtstart=begins)
    return [at.date() for at in rule.between(begins, datetime.combine(last, time()), inc=True)]


def _of(wish: Wish, day: date, clock: ZoneInfo) -> Stretches:
    begin = wish.time_from or time()
    if wish.time_from is not None and wish.time_to is None:
        return tuple((at, at + 60) for at in zones.moments(day, begin, clock))
    end = wish.time_to if wish.time_to is not None and wish.time_to > begin else None
    return zones.stretch(day, begin, end, clock)


def _stood(wish: Wish, one: Engagement, clock: ZoneInfo) -> bool:
    """Whether it begins where a change says that it stands."""
    begins = zones.local(one.start, clock)
    if wish.was_on is not None and begins.date() != wish.was_on:
        return False
    return wish.was_at is None or (not one.is_all_day and begins.time() == wish.was_at)


def _speaks_of(wish: Wish, one: Engagement) -> bool:
    if not is_called(wish.title, one.title):
        return False
    title = _words(one.title)
    if wish.place and not _words(wish.place) <= (title | _words(one.place)):
        return False
    people = title.union(*map(_words, one.others)) if one.others else title
    return all(_words(name) & people for name in wish.participants)


def is_called(said: str, title: str) -> bool:
    """Whether every word that was said, but for kinds of entry, is in a title."""
    return _words(said) - KINDS <= _words(title)


def _words(said: str) -> frozenset[str]:
    """In the singular, without small words."""
    words = re.findall(r"[^\W_]+", said.lower().replace("'s", "").replace("’s", ""))
    return frozenset(_singular(word) for word in words if word not in SMALL)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
