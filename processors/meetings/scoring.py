"""How good a slot is: a hundred points, less what it costs whom. Everybody can add it up.

Enters: a slot that is allowed, who takes part, what was asked, the policy's deductions. Leaves: the deductions; the
score is a hundred less their sum, and may be below nothing. Guaranteed: pure; whole points; the same slot costs the
same whatever other slots there are.
Rejected: a learned ranking (nobody could check it, and nobody could be told why his hour was taken).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from aios.processors.meetings import zones
from aios.processors.meetings.calendars import Kind
from aios.processors.meetings.closing import Asked, Closed, closed_to
from aios.processors.meetings.intervals import Stretch, meets, union
from aios.processors.meetings.party import Person, in_week
from aios.processors.meetings.policy import DAY_S, Policy, Rule
from aios.processors.meetings.wish import Prefer

FULL = 100


class Cost(StrEnum):
    """What is taken points for."""

    LATER = "later"
    PREFERENCE = "preference"
    LUNCH = "lunch"
    NO_BREAK = "no_break"
    EDGE_OF_DAY = "edge_of_day"
    FOCUS = "focus"
    TENTATIVE = "tentative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduction:
    """person: whom it costs something; empty: it is the meeting's."""

    cost: Cost
    points: int
    person: str = ""


def score(deductions: Sequence[Deduction]) -> int:
    """A hundred less what they cost."""
    return FULL - sum(one.points for one in deductions)


class Scale:
    """The deductions of one search: what does not depend on the slot is worked out once."""

    def __init__(self, asked: Asked, people: Sequence[Person], policy: Policy, clock: ZoneInfo, first: int) -> None:
        """clock: the organiser's. first: the first start that was looked at."""
        self._asked = asked
        self._policy = policy
        self._clock = clock
        self._first = first
        self._people = [_Costs(person, asked, policy) for person in people]

    def of(self, slot: Stretch) -> tuple[Deduction, ...]:
        """What a slot costs, nothing left out that costs points."""
        found = [*self._time(slot), *(one for costs in self._people for one in costs.of(slot))]
        return tuple(one for one in found if one.points)

    def _time(self, slot: Stretch) -> Iterator[Deduction]:
        points, prefer = self._policy.deductions, self._asked.prefer
        if prefer is not Prefer.LATE:
            days = (zones.local(slot[0], self._clock).date() - zones.local(self._first, self._clock).date()).days
            yield Deduction(cost=Cost.LATER, points=min(days * points.later_a_day, points.later_a_day_max))
        if prefer is not None:
            begin, end = self._asked.windows[0][0], self._asked.windows[-1][1]
            room = max(1, end - begin - self._asked.duration_s)
            share = min(1.0, max(0.0, (slot[0] - begin) / room))
            share = 1 - share if prefer is Prefer.LATE else share
            yield Deduction(cost=Cost.PREFERENCE, points=round(share * points.against_preference))


class _Costs:
    """What slots cost one person."""

    def __init__(self, person: Person, asked: Asked, policy: Policy) -> None:
        span = asked.span[0] - DAY_S, asked.span[1] + DAY_S
        edge = 60 * policy.edge_min
        hours = in_week(person.hours, span, person.zone)
        self._person = person.id
        self._points = policy.deductions
        self._break_s = 60 * policy.break_min
        self._lunch = in_week(policy.lunch, span, person.zone)
        self._busy = union(one.stretch for one in person.engagements if one.kind is Kind.BUSY)
        self._starts = union((start, start + edge) for start, _ in hours)
        self._ends = union((end - edge, end) for _, end in hours)
        self._soft: list[Closed] = [one for one in closed_to(person, asked) if not one.is_firm]

    def of(self, slot: Stretch) -> Iterator[Deduction]:
        start, end = slot
        points = self._points
        if meets(self._lunch, slot):
            yield self._cost(Cost.LUNCH, points.lunch)
        if self._break_s and (
            meets(self._busy, (start - self._break_s, start)) or meets(self._busy, (end, end + self._break_s))
        ):
            yield self._cost(Cost.NO_BREAK, points.no_break)
        if meets(self._starts, (start, start + 1)) or meets(self._ends, (end - 1, end)):
            yield self._cost(Cost.EDGE_OF_DAY, points.edge_of_day)
        for one in self._soft:
            if meets(one.stretches, slot):
                is_focus = one.rule is Rule.FOCUS
                yield self._cost(
                    Cost.FOCUS if is_focus else Cost.TENTATIVE, points.focus if is_focus else points.tentative
                )

    def _cost(self, cost: Cost, points: int) -> Deduction:
        return Deduction(cost=cost, points=points, person=self._person)
