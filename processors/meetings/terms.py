"""From what somebody wishes to what is looked for: words about days and people become moments, people and rooms.

Enters: a Wish, who asks, the directory, the policy, the moment. Leaves: Terms, or an AskBack. Guaranteed: pure; what
cannot be told from the wish and the directory is asked back, never guessed: a name that is nobody or two people, a time
that the clock skips on that day, a bound on the clock of somebody who does not take part. What nobody said is the
policy's: how long, and how far ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

from aios.processors.meetings import series, slots, zones
from aios.processors.meetings.closing import Asked
from aios.processors.meetings.directory import Directory, Unclear
from aios.processors.meetings.intervals import Stretch, Stretches, intersection, union
from aios.processors.meetings.party import Person
from aios.processors.meetings.policy import DAY_S, TAKE_PART_MAX, Policy
from aios.processors.meetings.slots import RoomNeed
from aios.processors.meetings.wish import AskBack, Bound, Missing, Wish

DAYS_MAX = 31  # looked at in one search
PARTS = frozenset({(time(6), time(12)), (time(12), time(18))})  # morning, afternoon: within, not from and to
END_OF_DAY = time(23, 59)
BOUND_MARGIN = timedelta(days=1)
ANY_ROOM = "room"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """people: the organiser first. clock: the organiser's, or the one that the wish names."""

    asked: Asked
    people: tuple[Person, ...]
    needs: tuple[RoomNeed, ...]
    clock: ZoneInfo


def terms(wish: Wish, organiser: Person, directory: Directory, policy: Policy, now: int) -> Terms | AskBack:
    """now: Unix seconds. Raises UnknownZone where the wish names a clock that is none."""
    clock = zones.zone(wish.zone) if wish.zone else organiser.zone
    others, unclear = directory.resolve(wish.participants, organiser)
    if unclear:
        return AskBack(missing=Missing.PERSON, question=who(unclear[0]), understood=wish, about=unclear[0].said)
    people = (organiser, *others)
    if len(people) > TAKE_PART_MAX:
        most = max(wish.participants, key=lambda said: len(directory.resolve([said], organiser)[0]))
        too_many = f"A meeting is of {TAKE_PART_MAX} people at most, and {most} makes it more; who shall come instead?"
        return AskBack(missing=Missing.PERSON, question=too_many, understood=wish, about=most)
    needs = _rooms(wish, people, directory, policy)
    if isinstance(needs, str):
        return _ask(Missing.MEANING, needs, wish)
    asked = _asked(wish, clock, policy, now, is_alone=not others and not needs)
    if isinstance(asked, AskBack):
        return asked
    bounds = _bounds(wish, people, directory, _looked_at(asked, policy))
    if isinstance(bounds, str):
        return _ask(Missing.PERSON, bounds, wish)
    return Terms(asked=replace(asked, bounds=bounds), people=people, needs=needs, clock=clock)


def dates(wish: Wish, clock: ZoneInfo, policy: Policy, now: int) -> tuple[date, ...]:
    """The days that are looked at, DAYS_MAX at most; of a series those that it may begin on, perhaps none."""
    today = zones.local(now, clock).date()
    first = wish.date_from or today
    if wish.date_to is not None:
        last = wish.date_to
    elif wish.repeats:
        last = first
    else:
        last = first + timedelta(days=policy.window_days - 1)
    if "UNTIL=" in series.until(wish.repeats, wish.date_from, wish.date_to):
        last = first  # the other is where it ends
    found = zones.every_day(first, min(max(first, last), first + timedelta(days=DAYS_MAX - 1)))
    return tuple(day for day in found if not wish.repeats or series.is_day_of(wish.repeats, day))


def _asked(wish: Wish, clock: ZoneInfo, policy: Policy, now: int, *, is_alone: bool) -> Asked | AskBack:
    if wish.repeats and not series.is_rule(wish.repeats):
        return _ask(Missing.DATE, "How often is that, and on which days?", wish)
    days = dates(wish, clock, policy, now)
    if not days:
        return _ask(Missing.DATE, "It does not repeat on that day; on which days shall it be?", wish)
    if (days[0] - zones.local(now, clock).date()).days > policy.horizon_days:
        return _ask(Missing.DATE, f"Meetings are booked {policy.horizon_days} days ahead at most; which day?", wish)
    minutes = _minutes(wish, policy)
    if minutes > policy.duration_min_max and not is_alone:
        return _ask(Missing.TIME, f"Meetings last {policy.duration_min_max} minutes at most; how long is it?", wish)
    duration_s = 60 * minutes
    if _is_exact(wish) and wish.time_from is not None:
        starts = tuple(moment for day in days for moment in zones.moments(day, wish.time_from, clock))
        if not starts:
            skipped = f"On {days[0]:%d %B} the clocks in {clock.key} skip {wish.time_from:%H:%M}; which time is it?"
            return _ask(Missing.TIME, skipped, wish)
        windows = union((start, start + duration_s) for start in starts)
    else:
        starts, windows = None, _windows(wish, days, clock)
        if not any(end - start >= duration_s for start, end in windows):
            return _ask(Missing.TIME, f"{minutes} minutes do not fit there; when else, or how long is it?", wish)
    notice_s = 0 if is_alone else policy.notice_s(wish.priority)
    asked = Asked(
        earliest=now + notice_s,
        notice_s=notice_s,
        windows=windows,
        duration_s=duration_s,
        priority=wish.priority,
        prefer=wish.prefer,
        starts=starts,
        repeats=series.until(wish.repeats, wish.date_from, wish.date_to),
    )
    if slots.starts(asked, policy, clock):
        return asked
    return replace(asked, starts=tuple(start for start, end in windows if end - start >= duration_s))  # off the grid


def _minutes(wish: Wish, policy: Policy) -> int:
    if wish.duration_min is not None:
        return wish.duration_min
    if _is_exact(wish) and wish.time_from is not None and wish.time_to is not None:
        return (60 * (wish.time_to.hour - wish.time_from.hour) + wish.time_to.minute - wish.time_from.minute) % 1440
    return policy.duration_min


def _is_exact(wish: Wish) -> bool:
    """Whether the wish says when it starts: a start alone, or from one time to another that is no part of a day."""
    if wish.time_from is None:
        return False
    if wish.time_to is None:
        return True
    is_part = (wish.time_from, wish.time_to) in PARTS or wish.time_to >= END_OF_DAY
    return not is_part and wish.duration_min is None and wish.prefer is None and wish.time_to != wish.time_from


def _windows(wish: Wish, days: Sequence[date], clock: ZoneInfo) -> Stretches:
    """Where the meeting may lie. A window that ends before it begins goes on into the next day."""
    begin = wish.time_from or time()
    end = wish.time_to if wish.time_to is not None and wish.time_to < END_OF_DAY else None
    found = []
    for day in days:
        if end is None or end > begin:
            found.append(zones.stretch(day, begin, end, clock))
        else:
            found.append(zones.stretch(day, begin, None, clock))
            found.append(zones.stretch(day + timedelta(days=1), time(), end, clock))
    return union(*found)


def _looked_at(asked: Asked, policy: Policy) -> Stretch:
    """What is asked for, and the days after it that the nearest are looked for on."""
    begin, end = asked.span
    return begin, end + (policy.window_days + 1) * DAY_S


def _bounds(wish: Wish, people: Sequence[Person], directory: Directory, span: Stretch) -> dict[str, Stretches] | str:
    """By person: within what he must be asked; or a question."""
    found: dict[str, Stretches] = {}
    for bound in wish.bounds:
        if bound.whose in zones.names():
            clock = zones.zone(bound.whose)
            whose = {people[0].id: clock}
        else:
            ids = directory.ids(bound.whose, people[0])
            if isinstance(ids, Unclear):
                return who(ids)
            whose = {person.id: person.zone for person in people if person.id in ids}
        for person, clock in whose.items():
            within = _daily(bound, span, clock)
            found[person] = intersection(found[person], within) if person in found else within
    return found


def _daily(bound: Bound, span: Stretch, clock: ZoneInfo) -> Stretches:
    start, end = (zones.local(moment, clock).date() for moment in span)
    days = zones.every_day(start - BOUND_MARGIN, end + BOUND_MARGIN)
    return union(*(zones.stretch(day, bound.not_before or time(), bound.not_after, clock) for day in days))


def _rooms(wish: Wish, people: Sequence[Person], directory: Directory, policy: Policy) -> tuple[RoomNeed, ...] | str:
    """One room for each site where enough people are, the named one, or one with what is needed; or a question."""
    named = directory.room(wish.place) if wish.place else None
    equipment = frozenset(word.lower() for word in wish.needs) - {ANY_ROOM}
    here = people[0].site
    sites: dict[str, int] = {}
    for person in people:
        if person.site:
            sites[person.site] = sites.get(person.site, 0) + 1
    found: list[RoomNeed] = []
    if named is not None:
        if not equipment <= named.equipment:
            return f"{named.name} has no {', '.join(sorted(equipment - named.equipment))}; which room shall it be?"
        found.append(RoomNeed(site=named.site, rooms=(named,)))
    for site, number in sorted(sites.items()):
        is_here = site == here
        is_asked_for = is_here and bool(wish.needs)
        if (named is not None and site == named.site) or not (number >= policy.room_from_people or is_asked_for):
            continue
        if not is_asked_for and all(room.site != site for room in directory.rooms):
            continue  # there are none to be had
        rooms = directory.at_site(site, seats=number, needs=equipment if is_here else frozenset())
        if not rooms:
            return _no_room(site, number, equipment if is_here else frozenset())
        found.append(RoomNeed(site=site, rooms=rooms))
    return tuple(found)


def _no_room(site: str, seats: int, equipment: frozenset[str]) -> str:
    what = f" and {', '.join(sorted(equipment))}" if equipment else ""
    return f"There is no room in {site} with {seats} seats{what}; where shall it be?"


def who(unclear: Unclear) -> str:
    if unclear.might_be:
        return f"Who is {unclear.said}: {' or '.join(unclear.might_be)}?"
    return f"Who is {unclear.said}? The directory has nobody of that name."


def _ask(missing: Missing, question: str, wish: Wish) -> AskBack:
    return AskBack(missing=missing, question=question, understood=wish)
