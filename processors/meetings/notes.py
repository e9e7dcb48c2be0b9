"""What goes into the organiser's own calendar without a search: reminders, and days that are noted down.

Enters: a wish, the clock, the moment. Leaves: when it stands there, or an AskBack; None where the wish names an event
whose time the calendar knows. Guaranteed: pure; nothing is put into the past; a date without a time is the whole day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

from aios.processors.meetings import series, zones
from aios.processors.meetings.wish import Action, AskBack, Missing, Wish

REMINDER_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Entry:
    """start, end: Unix seconds."""

    start: int
    end: int
    is_all_day: bool = False


def is_note(wish: Wish) -> bool:
    """Whether no time is to be found: a reminder, or a day of one's own without a time."""
    if wish.action is Action.REMIND:
        return True
    is_own = not (wish.participants or wish.needs or wish.duration_min)
    is_day = wish.date_from is not None and wish.time_from is None and wish.date_to in (None, wish.date_from)
    return wish.action is Action.SCHEDULE and is_own and (is_day or bool(wish.repeats and wish.time_from is None))


def entry(wish: Wish, clock: ZoneInfo, now: int) -> Entry | AskBack | None:
    """Where it goes. None: no date is named, and the event's own is meant."""
    if wish.repeats and not series.is_rule(wish.repeats):
        return _ask(Missing.DATE, "How often is that, and on which days?", wish)
    if wish.date_from is None:
        return None if wish.time_from is None else _ask(Missing.DATE, "On which day is that?", wish)
    if wish.time_from is None:
        last = wish.date_to if wish.date_to and not wish.repeats else wish.date_from
        start, end = _midnight(wish.date_from, clock), _midnight(last + timedelta(days=1), clock)
        return Entry(start, end, is_all_day=True) if end > now else _past(wish)
    found = zones.moments(wish.date_from, wish.time_from, clock)
    if not found:
        skipped = f"On {wish.date_from:%d %B} the clocks in {clock.key} skip {wish.time_from:%H:%M}; which time is it?"
        return _ask(Missing.TIME, skipped, wish)
    ahead = [one for one in found if one >= now]
    return Entry(ahead[0], ahead[0] + REMINDER_S) if ahead else _past(wish)


def _midnight(day: date, clock: ZoneInfo) -> int:
    return zones.moment(day, time(), clock)


def _past(wish: Wish) -> AskBack:
    return _ask(Missing.DATE, "That is past; when shall it be?", wish)


def _ask(missing: Missing, question: str, wish: Wish) -> AskBack:
    return AskBack(missing=missing, question=question, understood=wish)
