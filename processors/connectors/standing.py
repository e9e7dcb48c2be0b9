"""The calendars that a booking stands in, and what else stands in its way there.

Enters: a booking, a CalDAV server. Leaves: its parties; whatever takes the time of one of them on any occasion, with
the mark of a hold that is not confirmed. Guaranteed: holds that nobody comes back to are in nobody's way; a calendar
that cannot be read is an error that names whose, never free time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aios.processors.connectors.caldav import CalDav, Object
from aios.processors.connectors.connector import CallFailed, Failure
from aios.processors.meetings import calendars, invitation, series, zones
from aios.processors.meetings.calendars import Kind, Unreadable
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.invitation import Booking, Mark
from aios.processors.meetings.party import Person, Room
from aios.processors.meetings.policy import DAY_S

FIRM = frozenset({Kind.BUSY, Kind.AWAY})
TAKEN = FIRM | {Kind.TENTATIVE}  # focus time was judged by the search


@dataclass(frozen=True, slots=True)
class Party:
    """A calendar that a booking stands in, and whose it is."""

    calendar: str
    owner: Person | Room


@dataclass(frozen=True, slots=True)
class Other:
    """What stands in the way. mark: of a hold of ours that is not confirmed; None: anything firmer."""

    uid: str
    mark: Mark | None


def parties_of(booking: Booking) -> list[Party]:
    """Every calendar once, the organiser's first."""
    found: dict[str, Party] = {}
    owners: list[Person | Room] = [*booking.people, *booking.rooms]
    for owner in owners:
        found.setdefault(owner.calendar, Party(owner.calendar, owner))
    return list(found.values())


async def others_of(dav: CalDav, booking: Booking, ours: set[str], now: int, *, is_high: bool) -> list[Other]:
    """Whatever else takes the time of a party on any occasion. ours: names of objects that are in nobody's way."""
    clock = zones.zone(booking.zone)
    length = booking.end - booking.start
    occasions = [(at, at + length) for at in series.occasions(booking.start, booking.repeats, clock)]
    span = occasions[0][0] - DAY_S, occasions[-1][1] + DAY_S
    held = parties_of(booking)
    found = await asyncio.gather(*(dav.span(party.calendar, span) for party in held))
    return await asyncio.to_thread(_in_the_way, held, found, occasions, ours, now, is_high=is_high)


def _in_the_way(
    parties: Sequence[Party],
    found: Sequence[Sequence[Object]],
    occasions: Sequence[Stretch],
    ours: set[str],
    now: int,
    *,
    is_high: bool,
) -> list[Other]:
    """Raises CallFailed where a calendar cannot be read."""
    others = []
    for party, objects in zip(parties, found, strict=True):
        kinds = FIRM if is_high and isinstance(party.owner, Person) else TAKEN
        for one in objects:
            mark = None if one.uid in ours else mark_of(one)
            if one.uid in ours or (mark is not None and invitation.is_lapsed(one.text, now)):
                continue
            is_hold = mark is not None and not mark.is_confirmed
            for engagement in _engagements(one, party.owner, (occasions[0][0], occasions[-1][1])):
                meets = any(engagement.start < end and engagement.end > start for start, end in occasions)
                if meets and (is_hold or engagement.kind in kinds):
                    others.append(Other(one.uid, mark if is_hold else None))
                    break
    return others


def _engagements(one: Object, owner: Person | Room, span: Stretch) -> tuple[calendars.Engagement, ...]:
    address = owner.address if isinstance(owner, Person) else ""
    try:
        return calendars.engagements([one.text], span, owner.zone, address)
    except Unreadable as error:
        raise CallFailed(Failure.PERMANENT, "unreadable", f"the calendar of {owner.name} has {error}") from error


def mark_of(one: Object) -> Mark | None:
    """Of a booking of ours; None: it is none."""
    try:
        return invitation.mark(one.text)
    except Unreadable:
        return None  # whatever it is, it is no booking of ours
