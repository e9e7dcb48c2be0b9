"""What stands in a calendar, in sentences for its owner.

Enters: engagements that match, a clock. Leaves: one line each, at most LINES_MAX. Guaranteed: pure; times are on the
owner's clock, with the day and the offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from aios.processors.meetings import why, zones
from aios.processors.meetings.calendars import Engagement

LINES_MAX = 50
SECOND = 1


def line(one: Engagement, clock: ZoneInfo) -> str:
    """As `Standup, Tuesday 31 March 2026, 10:00–10:15 (Europe/Berlin, UTC+02:00), in Aurora`."""
    where = f", in {one.place}" if one.place else ""
    return f"{one.title or 'an entry without a title'}, {when(one, clock)}{where}"


def when(one: Engagement, clock: ZoneInfo) -> str:
    """Its time; of a whole day its date."""
    return all_day(one.start, one.end, clock) if one.is_all_day else why.when(one.stretch, clock)


def all_day(start: int, end: int, clock: ZoneInfo) -> str:
    """As `Saturday 4 July 2026, all day`."""
    first, last = zones.local(start, clock).date(), zones.local(end - SECOND, clock).date()
    begin = f"{first:%A} {first.day} {first:%B %Y}"
    return f"{begin}, all day" if first == last else f"{begin} to {last:%A} {last.day} {last:%B %Y}"


def text(found: Sequence[Engagement], clock: ZoneInfo) -> str:
    """All of them."""
    if not found:
        return "There is nothing in your calendar that this speaks of."
    lines = [line(one, clock) for one in found[:LINES_MAX]]
    more = len(found) - len(lines)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])])
