"""Clocks: every moment of a local time, compared with a clock that is read second after second or minute by minute."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.meetings import intervals, zones

CHANGES = [  # every kind of change: an hour, half an hour, at midnight, a day that is not there
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2019, 2, 17)),
    ("America/Havana", date(2026, 3, 8)),
    ("America/Havana", date(2026, 11, 1)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Asia/Kathmandu", date(2026, 7, 1)),
    ("Africa/Casablanca", date(2026, 2, 15)),
    ("America/St_Johns", date(2026, 3, 8)),
    ("Asia/Tehran", date(2022, 3, 22)),
]
days_near_a_change = st.sampled_from(CHANGES).flatmap(
    lambda found: st.tuples(st.just(found[0]), st.integers(-2, 2).map(lambda n: found[1] + timedelta(days=n)))
)
any_zone = st.sampled_from(sorted(name for name in zones.names() if "/" in name))
any_day = st.dates(date(2001, 1, 1), date(2037, 12, 31))
minutes = st.integers(0, 1439).map(lambda m: time(m // 60, m % 60))


def by_minute(day: date, begin: time, end: time | None, clock: ZoneInfo) -> set[int]:
    """The oracle: look at the clock at every minute of three days."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    found = set()
    for minute in range(midnight - 86_400, midnight + 2 * 86_400, 60):
        shown = datetime.fromtimestamp(minute, UTC).astimezone(clock)
        if shown.date() == day and shown.time() >= begin and (end is None or shown.time() < end):
            found.add(minute)
    return found


def in_minutes(stretches: intervals.Stretches) -> set[int]:
    return {minute for start, end in stretches for minute in range(start, end, 60)}


@settings(deadline=None, max_examples=60)
@given(st.one_of(days_near_a_change, st.tuples(any_zone, any_day)), minutes, st.one_of(st.none(), minutes))
def test_a_stretch_is_every_minute_at_which_the_clock_shows_it(
    where: tuple[str, date], begin: time, end: time | None
) -> None:
    """None in the hour that is skipped, twice in the one that comes twice, and the same as a clock looked at."""
    clock = zones.zone(where[0])
    assert in_minutes(zones.stretch(where[1], begin, end, clock)) == by_minute(where[1], begin, end, clock)


@settings(deadline=None, max_examples=60)
@given(st.one_of(days_near_a_change, st.tuples(any_zone, any_day)), minutes)
def test_a_local_time_has_none_one_or_two_moments(where: tuple[str, date], at: time) -> None:
    """Each of them shows that time; RFC 5545's is the first of them, or lies behind the gap by its width."""
    clock, day = zones.zone(where[0]), where[1]
    found = zones.moments(day, at, clock)
    assert len(found) <= 2
    assert all(zones.local(one, clock).replace(tzinfo=None) == datetime.combine(day, at) for one in found)
    meant = zones.moment(day, at, clock)
    if found:
        assert meant == found[0]
    else:
        before = datetime.combine(day, at, clock).utcoffset()
        after = datetime.combine(day, at.replace(fold=1), clock).utcoffset()
        assert before is not None
        assert after is not None
        assert zones.local(meant, clock).replace(tzinfo=None) == datetime.combine(day, at) + (after - before)


def test_the_night_that_skips_and_the_night_that_repeats() -> None:
    """Berlin, 2026: 02:15 to 02:45 does not exist on 29 March and takes an hour, in two halves, on 25 October."""
    clock = zones.zone("Europe/Berlin")
    half = (time(2, 15), time(2, 45))
    assert zones.stretch(date(2026, 3, 29), *half, clock) == ()
    twice = zones.stretch(date(2026, 10, 25), *half, clock)
    assert [end - start for start, end in twice] == [1800, 1800]
    assert twice[1][0] - twice[0][0] == 3600
    assert intervals.seconds(zones.days(date(2026, 3, 29), date(2026, 3, 29), clock)) == 23 * 3600
    assert intervals.seconds(zones.days(date(2026, 10, 25), date(2026, 10, 25), clock)) == 25 * 3600


def test_a_day_that_is_not_there_has_no_moment() -> None:
    """Samoa went over the date line: its clocks never showed 30 December 2011."""
    clock = zones.zone("Pacific/Apia")
    assert zones.days(date(2011, 12, 30), date(2011, 12, 30), clock) == ()
    assert intervals.seconds(zones.days(date(2011, 12, 29), date(2011, 12, 31), clock)) == 2 * 86_400


def test_no_change_is_missed_between_1970_and_2037() -> None:
    """Every change that a look at each hour of all these years finds is found in steps of three hours, and no other."""
    for name in ("Africa/Casablanca", "Antarctica/Troll"):
        clock = zones.zone(name)
        start, end = 0, int(datetime(2037, 12, 31, tzinfo=UTC).timestamp())
        hourly = [datetime.fromtimestamp(at, clock).utcoffset() for at in range(start, end, 3600)]
        changes = sum(one != other for one, other in itertools.pairwise(hourly))
        assert len(zones.offsets((start, end), clock)) == changes + 1


@pytest.mark.parametrize("name", ["Berlin", "", "CET+1", "../etc/passwd", "europe/berlin "])
def test_an_unknown_zone_is_refused(name: str) -> None:
    """Nobody guesses whose clock was meant."""
    with pytest.raises(zones.UnknownZone):
        zones.zone(name)


sets = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@settings(deadline=None)
@given(sets, sets)
def test_sets_of_time_are_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """Union, intersection and difference hold point by point, in the one form."""

    def points(stretches: object) -> set[int]:
        return {at for start, end in stretches for at in range(start, end)}  # type: ignore[attr-defined]

    left, right = points(one), points(other)
    for found, meant in (
        (intervals.union(one, other), left | right),
        (intervals.intersection(one, other), left & right),
        (intervals.without(one, other), left - right),
    ):
        assert points(found) == meant
        assert all(start < end for start, end in found)
        assert all(first[1] < second[0] for first, second in itertools.pairwise(found))
        assert intervals.seconds(found) == len(meant)


@settings(deadline=None)
@given(sets, st.integers(0, 60), st.integers(1, 20))
def test_covered_and_met(one: list[tuple[int, int]], start: int, length: int) -> None:
    """All of a stretch, any moment of it."""
    normal = intervals.union(one)
    points = {at for begin, end in normal for at in range(begin, end)}
    wanted = set(range(start, start + length))
    assert intervals.covers(normal, (start, start + length)) == (wanted <= points)
    assert intervals.meets(normal, (start, start + length)) == bool(wanted & points)
