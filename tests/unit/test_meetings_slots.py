"""Free slots against an oracle that looks at every clock at every minute, over many zones and both kinds of change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.meetings import intervals, slots, zones
from aios.processors.meetings.calendars import Engagement, Kind
from aios.processors.meetings.closing import Asked
from aios.processors.meetings.party import Person, Role, Room, Window
from aios.processors.meetings.policy import Policy, Rule
from aios.processors.meetings.slots import RoomNeed, Search
from aios.processors.meetings.wish import Prefer, Priority

ZONES = sorted(name for name in zones.names() if "/" in name and not name.startswith(("Etc/", "Antarctica/Troll")))
ALWAYS: Window = (time(), None)
NEAR = (  # days on which clocks are changed somewhere, forwards and back
    date(2026, 3, 8),
    date(2026, 3, 29),
    date(2026, 4, 5),
    date(2026, 9, 6),
    date(2026, 10, 4),
    date(2026, 10, 25),
    date(2026, 11, 1),
    date(2026, 7, 15),
)
CHANGING = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Pacific/Auckland",
    "America/Havana",
)
a_zone = st.one_of(st.sampled_from(CHANGING), st.sampled_from(ZONES))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    begin = draw(st.integers(0, 90)) * 15
    end = draw(st.integers(begin // 15 + 1, 96)) * 15
    return time(begin // 60, begin % 60), None if end == 1440 else time(end // 60, end % 60)


@dataclass(frozen=True)
class Case:
    """Everything that one search has, and what the oracle needs beside it."""

    people: tuple[Person, ...]
    rooms: tuple[Room, ...]
    days: tuple[date, ...]
    window: Window
    bounds: dict[str, Window]
    asked: Asked
    clock: ZoneInfo


@st.composite
def engagements(draw: st.DrawFn, around: int) -> tuple[Engagement, ...]:
    found = []
    for _ in range(draw(st.integers(0, 4))):
        start = around + draw(st.integers(-600, 4000)) * 60
        kind = draw(st.sampled_from(list(Kind)))
        found.append(Engagement(start=start, end=start + draw(st.integers(1, 400)) * 60, uid="u", title="t", kind=kind))
    return tuple(found)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    day = draw(st.sampled_from(NEAR)) + timedelta(days=draw(st.integers(-2, 1)))
    days = zones.every_day(day, day + timedelta(days=draw(st.integers(0, 2))))
    around = int(datetime.combine(day, time(), UTC).timestamp())
    people = tuple(
        Person(
            id=f"p{number}",
            name=f"P{number}",
            zone=zones.zone(draw(a_zone)),
            hours={
                weekday: (draw(st.one_of(st.just(ALWAYS), st.just(ALWAYS), windows())),)
                for weekday in draw(st.sets(st.integers(0, 6), min_size=5))
            },
            focus={weekday: (draw(windows()),) for weekday in draw(st.sets(st.integers(0, 6), max_size=2))},
            role=Role.PARTICIPANT if number else Role.ORGANISER,
            engagements=draw(engagements(around)),
        )
        for number in range(draw(st.integers(1, 3)))
    )
    rooms = tuple(
        Room(id=f"r{number}", name="R", site="s", seats=4, zone=people[0].zone, engagements=draw(engagements(around)))
        for number in range(draw(st.integers(0, 2)))
    )
    clock, window = people[0].zone, draw(st.one_of(st.just((time(), None)), windows()))
    wanted = intervals.union(*(zones.stretch(one, *window, clock) for one in days))
    bounds = {person.id: draw(windows()) for person in people[1:] if draw(st.booleans())}
    inside = {
        person.id: intervals.union(
            *(
                zones.stretch(one + timedelta(days=n), *bounds[person.id], person.zone)
                for one in days
                for n in range(-2, 12)
            )
        )
        for person in people
        if person.id in bounds
    }
    asked = Asked(
        earliest=around + draw(st.integers(-1000, 2000)) * 60,
        windows=wanted or ((around, around + 60),),
        duration_s=draw(st.sampled_from((15, 30, 45, 60, 90, 180))) * 60,
        priority=draw(st.sampled_from(list(Priority))),
        prefer=draw(st.sampled_from((None, *Prefer))),
        bounds=inside,
        repeats=draw(st.sampled_from(("", "", "FREQ=DAILY;COUNT=3", "FREQ=WEEKLY;COUNT=2"))),
    )
    return Case(people, rooms, days if wanted else (), window, bounds, asked, clock)


def shows(clock: ZoneInfo, minute: int) -> datetime:
    return datetime.fromtimestamp(minute, UTC).astimezone(clock)


def within(window: Window, at: time) -> bool:
    return at >= window[0] and (window[1] is None or at < window[1])


def is_free(person: Person, minute: int, case: Case) -> bool:
    """The rules, said once more, for one person and one minute."""
    shown = shows(person.zone, minute)
    kinds = {one.kind for one in person.engagements if one.start <= minute < one.end}
    in_hours = any(within(window, shown.time()) for window in person.hours.get(shown.weekday(), ()))
    in_focus = any(within(window, shown.time()) for window in person.focus.get(shown.weekday(), ()))
    bound = case.bounds.get(person.id)
    if not in_hours or kinds & {Kind.BUSY, Kind.AWAY} or (bound and not within(bound, shown.time())):
        return False
    return case.asked.priority is Priority.HIGH or not (kinds & {Kind.TENTATIVE, Kind.FOCUS} or in_focus)


REPEATED = {"": (0,), "FREQ=DAILY;COUNT=3": (0, 1, 2), "FREQ=WEEKLY;COUNT=2": (0, 7)}


def by_minute(case: Case, policy: Policy) -> set[int]:
    """The oracle: every minute of four days a start, every minute of every occasion looked at."""
    if not case.days:
        return set()
    low = int(datetime.combine(case.days[0], time(), UTC).timestamp()) - 86_400
    high = int(datetime.combine(case.days[-1], time(), UTC).timestamp()) + 3 * 86_400
    free: dict[int, bool] = {}

    def all_free(minute: int) -> bool:
        if minute not in free:
            free[minute] = all(is_free(person, minute, case) for person in case.people)
        return free[minute]

    found = set()
    for start in range(low, high, 60):
        shown = shows(case.clock, start)
        if (
            shown.minute % policy.step_min
            or shown.second
            or start < case.asked.earliest
            or shown.date() not in case.days
        ):
            continue
        meeting = range(start, start + case.asked.duration_s, 60)
        if not all(
            shows(case.clock, m).date() in case.days and within(case.window, shows(case.clock, m).time())
            for m in meeting
        ):
            continue
        again = [start]
        for days in REPEATED[case.asked.repeats][1:]:
            later = shown.replace(tzinfo=None, fold=0) + timedelta(days=days)
            again.append(int(later.replace(tzinfo=case.clock).timestamp()))
        minutes = [m for at in again for m in range(at, at + case.asked.duration_s, 60)]
        has_room = not case.rooms or any(
            not any(one.start <= m < one.end for one in room.engagements for m in minutes) for room in case.rooms
        )
        if has_room and all(map(all_free, minutes)):
            found.add(start)
    return found


def searched(case: Case, policy: Policy) -> Search:
    needs = (RoomNeed(site="s", rooms=case.rooms),) if case.rooms else ()
    return slots.search(case.asked, case.people, needs, policy, case.clock)


@settings(deadline=None, max_examples=120)
@given(cases())
def test_the_slots_are_those_that_a_search_minute_by_minute_finds(case: Case) -> None:
    """No slot too many, none too few; every start is a slot or has a reason; the best is first."""
    policy = Policy()
    found = searched(case, policy)
    assert {slot.start for slot in found.slots} == by_minute(case, policy)
    assert {slot.start for slot in found.slots}.isdisjoint(one.start for one in found.refused)
    assert all(one.obstacles for one in found.refused)
    assert len(found.slots) + len(found.refused) == len(slots.starts(case.asked, policy, case.clock))
    order = [(-slot.score, slot.start) for slot in found.slots]
    assert order == sorted(order)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_a_reason_is_true_by_itself(case: Case) -> None:
    """Whoever is named as being in the way is: without all others the start would still be refused."""
    policy = Policy()
    for one in searched(case, policy).refused[:20]:
        for obstacle in one.obstacles:
            meeting = range(obstacle.at, obstacle.at + case.asked.duration_s, 60)
            if obstacle.rule is Rule.NOTICE:
                assert one.start < case.asked.earliest
            elif obstacle.rule is Rule.ROOM and not case.asked.repeats:
                assert all(any(e.start <= m < e.end for e in room.engagements for m in meeting) for room in case.rooms)
            elif obstacle.rule is not Rule.ROOM:
                person = next(person for person in case.people if person.id == obstacle.party)
                assert not all(is_free(person, minute, case) for minute in meeting)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_a_score_can_be_added_up(case: Case) -> None:
    """A hundred less the deductions, each of them of somebody who takes part, or of the meeting."""
    people = {person.id for person in case.people} | {""}
    found = searched(case, Policy()).slots
    for slot in found:
        assert slot.score == 100 - sum(one.points for one in slot.deductions)
        assert {one.person for one in slot.deductions} <= people
        assert all(one.points > 0 for one in slot.deductions)
    if case.asked.prefer is Prefer.EARLY and not any(d.person for slot in found for d in slot.deductions):
        assert all(first.start < second.start for first, second in pairwise(found) if first.score == second.score)


def test_a_meeting_in_the_hour_that_comes_twice() -> None:
    """Berlin, 25 October 2026: from 02:00 to 03:00 there are two hours, and each has its own four starts."""
    clock = zones.zone("Europe/Berlin")
    always = {day: ((time(), None),) for day in range(7)}
    person = Person(id="a", name="A", zone=clock, hours=always, role=Role.ORGANISER)
    asked = Asked(earliest=0, windows=zones.stretch(date(2026, 10, 25), time(2), time(3), clock), duration_s=7200)
    found = slots.search(asked, [person], [], Policy(), clock)
    assert [f"{zones.local(slot.start, clock):%H:%M%z}" for slot in found.slots] == ["02:00+0200"]
    short = slots.search(Asked(earliest=0, windows=asked.windows, duration_s=900), [person], [], Policy(), clock)
    assert len(short.slots) == 8
