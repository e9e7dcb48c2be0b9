"""When each party is closed to a meeting, and by which rule.

Enters: parties, what is asked. Leaves: for each party the stretches in which a
meeting may not lie, each with the rule that says so. Guaranteed: pure; every refusal has one of the rules' names, which
why.py has a sentence for. The rules, and what a meeting of high priority may push aside:

    rule        of                  closed                                              high priority
    hours       people              outside their working hours, on their clock         the same
    busy        people, rooms       engagements                                         the same
    away        people              out of office                                       the same
    tentative   people              what is not confirmed, or not answered              open, for points
    focus       people              weekly focus time, and focus blocks in calendars    open, for points
    bound       people              "not before 9 their time"                           the same
    notice      the meeting         sooner than the notice, from now                    a shorter notice

An organiser who says the very time has decided about hours and focus time of his own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aios.processors.meetings.calendars import Engagement, Kind
from aios.processors.meetings.intervals import Stretch, Stretches, union, without
from aios.processors.meetings.party import Person, Role, Room, in_week
from aios.processors.meetings.policy import DAY_S, Rule
from aios.processors.meetings.series import REACH_S
from aios.processors.meetings.wish import Prefer, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is looked for. earliest: Unix seconds, now and the notice. windows: the whole meeting lies in one of them.

    notice_s: of earliest, what is the notice, 0 where none is needed.

    starts: the very moments asked for; None: any on the grid. bounds: by person, what the whole meeting lies in.
    repeats: an RRULE, every occasion of which must be allowed as far as series.REACH_DAYS; empty: once.
    """

    earliest: int
    notice_s: int = 0
    windows: Stretches
    duration_s: int
    priority: Priority = Priority.NORMAL
    prefer: Prefer | None = None
    starts: tuple[int, ...] | None = None
    bounds: Mapping[str, Stretches] = field(default_factory=dict)
    repeats: str = ""

    @property
    def span(self) -> Stretch:
        """From the first moment that matters to the last."""
        return self.windows[0][0], self.windows[-1][1] + (REACH_S + DAY_S if self.repeats else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Where one rule closes one party. is_firm: no meeting there; else it costs points."""

    rule: Rule
    stretches: Stretches
    is_firm: bool = True


def closed_to(person: Person, asked: Asked) -> tuple[Closed, ...]:
    """All that keeps a meeting from a person, in the order in which it is explained."""
    span = asked.span
    has_decided = person.role is Role.ORGANISER and asked.starts is not None
    may_push = asked.priority is Priority.HIGH
    focus = union(in_week(person.focus, span, person.zone), _of(person.engagements, Kind.FOCUS))
    found = [
        Closed(rule=Rule.AWAY, stretches=_of(person.engagements, Kind.AWAY)),
        Closed(rule=Rule.BUSY, stretches=_of(person.engagements, Kind.BUSY)),
        Closed(rule=Rule.TENTATIVE, stretches=_of(person.engagements, Kind.TENTATIVE), is_firm=not may_push),
        Closed(rule=Rule.FOCUS, stretches=focus, is_firm=not (may_push or has_decided)),
    ]
    if not has_decided:
        found.append(Closed(rule=Rule.HOURS, stretches=without([span], in_week(person.hours, span, person.zone))))
    if person.id in asked.bounds:
        found.append(Closed(rule=Rule.BOUND, stretches=without([span], asked.bounds[person.id])))
    return tuple(one for one in found if one.stretches)


def closed_room(room: Room) -> Stretches:
    """When a room is taken; what is not confirmed takes it too."""
    return union(one.stretch for one in room.engagements)


def _of(engagements: tuple[Engagement, ...], kind: Kind) -> Stretches:
    return union(one.stretch for one in engagements if one.kind is kind)
