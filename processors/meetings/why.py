"""Why this slot, why not another, why none: what each participant is told, on his own clock.

Enters: a search with its terms. Leaves: for each person a few sentences. Guaranteed: they say only what
the search found, so that a person can check them: the points add up to the score, and the numbers of refused starts to
the starts that were looked at. Of others a person learns that they are busy, not with what.
Rejected: sentences by a model (what is told must be what was decided).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from aios.processors.meetings import zones
from aios.processors.meetings.calendars import Kind
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.party import Person, Room
from aios.processors.meetings.policy import Rule
from aios.processors.meetings.scoring import FULL, Cost, Deduction
from aios.processors.meetings.slots import Obstacle, Refused, Search, Slot
from aios.processors.meetings.terms import Terms

REASONS_MAX = 6
KINDS = {Rule.BUSY: Kind.BUSY, Rule.AWAY: Kind.AWAY, Rule.TENTATIVE: Kind.TENTATIVE}
RULES = {  # what is said of somebody, behind "Ana " or "you "
    Rule.HOURS: ("is outside working hours", "are outside your working hours"),
    Rule.BUSY: ("is busy", "are busy"),
    Rule.AWAY: ("is out of office", "are out of office"),
    Rule.TENTATIVE: ("has a tentative engagement", "have a tentative engagement"),
    Rule.FOCUS: ("has focus time", "have focus time"),
    Rule.BOUND: ("asked for other times of the day", "asked for other times of the day"),
}
COSTS = {
    Cost.LATER: "later than the first day looked at",
    Cost.PREFERENCE: "away from the preferred end of the window",
    Cost.LUNCH: "over lunch",
    Cost.NO_BREAK: "without a break beside another meeting",
    Cost.EDGE_OF_DAY: "at the edge of the working day",
    Cost.FOCUS: "in focus time",
    Cost.TENTATIVE: "over a tentative engagement",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one person is told. zone: the clock that its times are on."""

    person: str
    zone: str
    sentences: tuple[str, ...]


def told(terms: Terms, search: Search) -> tuple[Told, ...]:
    """Of the best slot, or why there is none; the organiser first."""
    return tuple(
        Told(person=person.id, zone=person.zone.key, sentences=tuple(_sentences(person, terms, search)))
        for person in terms.people
    )


def when(stretch: Stretch, clock: ZoneInfo) -> str:
    """As `Tuesday 31 March 2026, 10:00–11:00 (Europe/Berlin, UTC+02:00)`."""
    begin, end = (zones.local(moment, clock) for moment in stretch)
    last = f"{end:%H:%M}" if end.date() == begin.date() else f"{end:%A} {end.day} {end:%B}, {end:%H:%M}"
    return f"{begin:%A} {begin.day} {begin:%B %Y}, {begin:%H:%M}–{last} ({clock.key}, {_offset(begin.utcoffset())})"


def summary(terms: Terms, slot: Slot, rooms: Sequence[Room]) -> str:
    """One line for the organiser."""
    where = f", {' and '.join(room.name for room in rooms)}" if rooms else ""
    return f"{when((slot.start, slot.end), terms.clock)}{where}"


def points(deductions: Iterable[Deduction], people: Sequence[Person], viewer: Person | None = None) -> list[str]:
    """Each deduction as `−4 (Ben: without a break beside another meeting)`."""
    names = {person.id: "you" if person is viewer else person.name for person in people}
    return [f"−{one.points} ({names[one.person] + ': ' if one.person else ''}{COSTS[one.cost]})" for one in deductions]


def _sentences(person: Person, terms: Terms, search: Search) -> Iterable[str]:
    best = search.best
    looked_at = len(search.slots) + len(search.refused)
    if best is None:
        yield f"No time was found: all {looked_at} starts that were looked at were refused."
        yield from _tally(person, terms, search.refused)
        yield from _only_in_the_way(person, terms, search.refused)
        return
    yield f"{when((best.start, best.end), person.zone)}."
    shown = ", ".join(points(best.deductions, terms.people, person)) or "nothing speaks against it"
    yield f"It scores {best.score} of {FULL}: {shown}."
    others = len(search.slots) - 1
    if others:
        following = search.slots[1]
        then = when((following.start, following.end), person.zone)
        yield f"{others} other starts were possible; the next best, {then}, scores {following.score}."
    earlier = [one for one in search.refused if one.start < best.start]
    if earlier:
        yield f"{len(earlier)} earlier starts were refused."
        yield from _tally(person, terms, earlier)
    if terms.asked.repeats:
        yield "Every occasion of the next three months was looked at."


def _tally(viewer: Person, terms: Terms, refused: Sequence[Refused]) -> Iterable[str]:
    """By party and rule, how many of these starts it refused; the most first. Of the reader's own, with what."""
    counts = Counter((obstacle.party, obstacle.rule) for one in refused for obstacle in one.obstacles)
    for (party, rule), number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS_MAX]:
        example = next(o for one in refused for o in one.obstacles if (o.party, o.rule) == (party, rule))
        yield f"{number} of {len(refused)}: {_obstacle(terms, example, viewer, is_one=number == 1)}."
    if len(counts) > REASONS_MAX:
        yield f"{len(counts) - REASONS_MAX} more reasons refused fewer."


def _only_in_the_way(viewer: Person, terms: Terms, refused: Sequence[Refused]) -> Iterable[str]:
    """What alone stands in the way of the most starts that are still ahead: who could make room."""
    now = terms.asked.earliest - terms.asked.notice_s
    ahead = [one.obstacles[0] for one in refused if len(one.obstacles) == 1 and one.start >= now]
    alone = Counter((one.party, one.rule) for one in ahead)
    for (party, rule), number in alone.most_common(1):
        who = _name(terms, party, viewer)
        what = {Rule.NOTICE: "a shorter notice", Rule.ROOM: f"a free room in {party}"}.get(rule)
        if what is not None:
            yield f"With {what}, {number} would be possible."
        else:
            yield f"Without one thing, {number} would be possible: {who} {RULES[rule][who == 'you']}."


def _obstacle(terms: Terms, one: Obstacle, viewer: Person, *, is_one: bool) -> str:
    if one.rule is Rule.NOTICE:
        minutes = terms.asked.notice_s // 60
        return f"it is past, or sooner than the notice of {minutes} minutes" if minutes else "it is past"
    if one.rule is Rule.ROOM:
        return f"no room that would do is free in {one.party}"
    who = _name(terms, one.party, viewer)
    said = f"{who} {RULES[one.rule][who == 'you']}"
    if terms.asked.repeats:
        said += f" on {zones.local(one.at, viewer.zone):%d %B}"
    if who != "you" or one.rule not in KINDS:
        return said
    stretch = one.at, one.at + terms.asked.duration_s
    own = next(
        (e for e in viewer.engagements if e.kind is KINDS[one.rule] and e.start < stretch[1] and e.end > stretch[0]),
        None,
    )
    such_as = "" if is_one else "such as "
    return f"{said} ({such_as}{own.title or 'an engagement'}, {when(own.stretch, viewer.zone)})" if own else said


def _name(terms: Terms, party: str, viewer: Person) -> str:
    if party == viewer.id:
        return "you"
    return next((person.name for person in terms.people if person.id == party), party)


def _offset(offset: timedelta | None) -> str:
    minutes = 0 if offset is None else int(offset.total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
