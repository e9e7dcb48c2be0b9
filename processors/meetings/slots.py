"""Which slots there are, which is the best, and for every start that is none of them, who and what is in the way.

Enters: what is asked, people and rooms with their engagements, the policy. Leaves: the allowed slots, best first, and
all refused starts with their reasons. Guaranteed: pure; every start of the grid is one or the other; a slot is allowed
if and only if every minute of it is (tests/unit/test_meetings_slots.py compares with a search minute by minute); of two
slots with the same score the earlier one is first.
Rejected: a search that ends at the first free slot (nobody could be told why another was not taken).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from aios.processors.meetings import series, zones
from aios.processors.meetings.closing import Asked, Closed, closed_room, closed_to
from aios.processors.meetings.intervals import Stretch, meets
from aios.processors.meetings.party import Person, Room
from aios.processors.meetings.policy import Policy, Rule
from aios.processors.meetings.scoring import Deduction, Scale, score

STARTS_MAX = 10_000  # a month on the finest grid


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomNeed:
    """One room of these is needed; the first free one is taken. site: for whom."""

    site: str
    rooms: tuple[Room, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """rooms: their ids, one for each need."""

    start: int
    end: int
    rooms: tuple[str, ...]
    deductions: tuple[Deduction, ...]

    @property
    def score(self) -> int:
        return score(self.deductions)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """party: a person's id, a site without a free room, or empty for the meeting itself. at: of which occasion."""

    party: str
    rule: Rule
    at: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A start that cannot be, with everything that is in its way."""

    start: int
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """slots: best first."""

    slots: tuple[Slot, ...]
    refused: tuple[Refused, ...]

    @property
    def best(self) -> Slot | None:
        return self.slots[0] if self.slots else None


def search(
    asked: Asked, people: Sequence[Person], needs: Sequence[RoomNeed], policy: Policy, clock: ZoneInfo
) -> Search:
    """Look at every start. clock: the organiser's, whose quarters of an hour the starts are."""
    examined = starts(asked, policy, clock)
    if not examined:
        return Search((), ())
    scale = Scale(asked, people, policy, clock, examined[0])
    closed = [(person.id, one) for person in people for one in closed_to(person, asked) if one.is_firm]
    taken = [(need, [(room.id, closed_room(room)) for room in need.rooms]) for need in needs]
    slots, refused = [], []
    for start in examined:
        end = start + asked.duration_s
        occasions = [(at, at + asked.duration_s) for at in series.occasions(start, asked.repeats, clock)]
        obstacles = _obstacles(occasions, closed, asked.earliest)
        rooms: list[str] = []
        for need, candidates in taken:
            free = next((name for name, busy in candidates if not any(meets(busy, one) for one in occasions)), None)
            if free is None:
                obstacles.append(Obstacle(need.site, Rule.ROOM, start))
            else:
                rooms.append(free)
        if obstacles:
            refused.append(Refused(start, tuple(obstacles)))
        else:
            slots.append(Slot(start=start, end=end, rooms=tuple(rooms), deductions=scale.of((start, end))))
    return Search(tuple(sorted(slots, key=lambda slot: (-slot.score, slot.start))), tuple(refused))


def starts(asked: Asked, policy: Policy, clock: ZoneInfo) -> tuple[int, ...]:
    """Every start that is looked at, in order, STARTS_MAX at most: those asked for, or those on the clock's grid."""
    if asked.starts is not None:
        return tuple(sorted(set(asked.starts)))[:STARTS_MAX]
    found: list[int] = []
    for window in asked.windows:
        last = window[1] - asked.duration_s
        for begin, end, offset in zones.offsets(window, clock):
            step = 60 * policy.step_min
            first = begin + (-(begin + offset)) % step
            found += range(first, min(end, last + 1), step)
            if len(found) >= STARTS_MAX:
                return tuple(found[:STARTS_MAX])
    return tuple(found)


def _obstacles(occasions: Sequence[Stretch], closed: Sequence[tuple[str, Closed]], earliest: int) -> list[Obstacle]:
    """Of each party and rule the first occasion that it closes."""
    first = occasions[0][0]
    found = [Obstacle("", Rule.NOTICE, first)] if first < earliest else []
    for party, one in closed:
        at = next((start for start, end in occasions if meets(one.stretches, (start, end))), None)
        if at is not None:
            found.append(Obstacle(party, one.rule, at))
    return found
