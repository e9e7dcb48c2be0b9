"""Who and what takes part in a meeting: people and rooms, with their clocks, hours and engagements.

Enters: values of the directory and of calendars. Leaves: frozen values. Guaranteed: hours of a week become moments on
the party's own clock; nothing here knows of policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from aios.processors.meetings import zones
from aios.processors.meetings.calendars import Engagement
from aios.processors.meetings.intervals import Stretch, Stretches, union

Window = tuple[time, time | None]
"""A part of a day; None: until its end."""
Week = Mapping[int, tuple[Window, ...]]
"""By weekday, Monday 0."""
OFFICE: Week = {day: ((time(9), time(17)),) for day in range(5)}


class Role(StrEnum):
    """Why somebody is asked."""

    ORGANISER = "organiser"
    PARTICIPANT = "participant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One who takes part. site: where he works; empty: anywhere. calendar: its path on the server."""

    id: str
    name: str
    address: str = ""
    zone: ZoneInfo
    hours: Week = field(default_factory=lambda: OFFICE)
    focus: Week = field(default_factory=dict)
    site: str = ""
    calendar: str = ""
    role: Role = Role.PARTICIPANT
    engagements: tuple[Engagement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place that can be booked. seats: people that fit. equipment: words such as `projector`."""

    id: str
    name: str
    site: str
    seats: int
    zone: ZoneInfo
    equipment: frozenset[str] = frozenset()
    calendar: str = ""
    engagements: tuple[Engagement, ...] = ()


def in_week(week: Week, span: Stretch, clock: ZoneInfo) -> Stretches:
    """Every moment of a span at which a clock shows one of the week's windows."""
    if not week:
        return ()
    found = []
    for day in _dates(span, clock):
        for begin, end in week.get(day.weekday(), ()):
            found.append(zones.stretch(day, begin, end, clock))
    return tuple(
        (max(start, span[0]), min(end, span[1])) for start, end in union(*found) if start < span[1] and end > span[0]
    )


def every_day(window: Window) -> Week:
    """The same window each day."""
    return dict.fromkeys(range(7), (window,))


def _dates(span: Stretch, clock: ZoneInfo) -> tuple[date, ...]:
    first, last = zones.local(span[0], clock).date(), zones.local(span[1], clock).date()
    return zones.every_day(first - timedelta(days=1), last + timedelta(days=1))
