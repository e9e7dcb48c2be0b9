"""Drift: what has moved is found, once; what has not is not; and writing down in between changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.sinks import drift
from aios.sinks.drift import LABELS_MAX, Finding, Kind, Series, compare, of_plain
from aios.streams.config import WatchSettings

LIMITS = WatchSettings(reference_count=300, window_count=150, window_min=40)
LABELS = [f"label-{number}" for number in range(30)]
QUICK = WatchSettings(reference_count=20, window_count=20, window_min=20, distance_max=0.2, chance_max=0.01)


def fed(series: Series, value: Callable[[], str | float], count: int, limits: WatchSettings = LIMITS) -> list[Finding]:
    """count values, one a second."""
    began = series.last_ms
    found = [series.add(value(), began + 1000 * (number + 1), limits) for number in range(count)]
    return [one for one in found if one is not None]


def chances(seed: int, kind: Kind) -> Callable[[], str | float]:
    chance = random.Random(seed)
    match kind:
        case Kind.LABELS:
            return lambda: chance.choices(LABELS, [1 / (number + 1) for number in range(30)])[0]
        case Kind.SHARE:
            return lambda: "yes" if chance.random() < 0.04 else "no"
    return lambda: chance.betavariate(8, 2)


def moved(seed: int, kind: Kind) -> Callable[[], str | float]:
    """Another world: other frequencies, more yes, less sure."""
    chance = random.Random(seed)
    match kind:
        case Kind.LABELS:
            return lambda: chance.choices(LABELS, [1 / (30 - number) for number in range(30)])[0]
        case Kind.SHARE:
            return lambda: "yes" if chance.random() < 0.3 else "no"
    return lambda: chance.betavariate(4, 3)


@pytest.mark.parametrize("kind", Kind)
def test_what_has_moved_is_found_once_and_again_only_after_it_came_back(kind: Kind) -> None:
    """One finding a move, at the end of the first window that moved; none for the way back."""
    series = Series(kind)
    assert fed(series, chances(1, kind), 300 + 3 * 150) == []
    (first,) = fed(series, moved(2, kind), 4 * 150)
    assert (first.number, first.reference_count, first.window_count) == (1, 300, 150)
    assert first.distance > first.limit
    assert first.chance < LIMITS.chance_max
    assert first.last_ms - first.first_ms == 149_000
    assert series.moved
    assert fed(series, chances(3, kind), 2 * 150) == []
    assert not series.moved
    (second,) = fed(series, moved(4, kind), 2 * 150)
    assert second.number == 2


@pytest.mark.parametrize("kind", Kind)
def test_chance_alone_is_hardly_ever_found(kind: Kind) -> None:
    """Of 100 windows from the same world, one at most."""
    found = [len(fed(Series(kind), chances(seed, kind), 300 + 10 * 150)) for seed in range(10)]
    assert sum(found) <= 1


@pytest.mark.parametrize("kind", Kind)
def test_where_few_answers_come_a_window_ends_by_time(kind: Kind) -> None:
    """With window_min values it is tested after window_s_max, and not before."""
    series = Series(kind)
    fed(series, chances(1, kind), 300)
    hour = 3_600_000
    value, began = moved(2, kind), series.last_ms
    found = [series.add(value(), began + number * hour // 10, LIMITS) for number in range(40)]
    assert series.windows == 1
    assert found[:-1] == [None] * 39
    assert found[-1] is not None
    assert found[-1].window_count == 40


SERIES_VALUES = st.one_of(
    st.tuples(st.just(Kind.LABELS), st.lists(st.sampled_from("abcdef"), max_size=120)),
    st.tuples(st.just(Kind.SHARE), st.lists(st.sampled_from(["yes", "no"]), max_size=120)),
    st.tuples(st.just(Kind.NUMBERS), st.lists(st.floats(-1e6, 1e6), max_size=120)),
)


@given(SERIES_VALUES, st.data())
@settings(max_examples=30, deadline=None)
def test_a_series_that_is_written_down_goes_on_as_if_nothing_had_been(
    given_: tuple[Kind, list[str] | list[float]], data: st.DataObject
) -> None:
    """Read back from JSON between any two values: the same findings, the same figures."""
    kind, values = given_
    cut = data.draw(st.integers(0, len(values)))
    straight, broken = Series(kind), Series(kind)
    found = [straight.add(value, number, QUICK) for number, value in enumerate(values)]
    again = [broken.add(value, number, QUICK) for number, value in enumerate(values[:cut])]
    broken = of_plain(json.loads(json.dumps(broken.plain())))
    again += [broken.add(value, cut + number, QUICK) for number, value in enumerate(values[cut:])]
    assert again == found
    assert broken == straight


@given(SERIES_VALUES)
@settings(max_examples=30, deadline=None)
def test_a_comparison_has_bounds_and_a_sample_with_itself_none(given_: tuple[Kind, list[str] | list[float]]) -> None:
    """Distance and chance lie in 0..1; the same values are no distance apart, whatever their order."""
    kind, values = given_
    if len(values) < 16:
        return  # settings ask for 20 at least
    one, other = drift.Sample(), drift.Sample()
    for at, value in enumerate(values):
        one.add(value, at)
    for at, value in enumerate(reversed(values[: len(values) // 2 + 1])):
        other.add(value, at)
    distance, chance = compare(kind, one, other)
    assert 0 <= distance <= 1
    assert 0 <= chance <= 1
    assert compare(kind, one, one) == (pytest.approx(0.0), pytest.approx(1.0))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_merging_rare_labels_loses_none(columns: list[tuple[int, int]]) -> None:
    """The sums stay; what is left is as frequent as the test needs, unless it is all there is."""
    columns = [(then, now) for then, now in columns if then + now]
    before, after = (sum(one[row] for one in columns) for row in (0, 1))
    if not before or not after:
        return
    merged = drift._merged(columns, before, after)
    assert tuple(sum(one[row] for one in merged) for row in (0, 1)) == (before, after)
    smaller = min(before, after) / (before + after)
    assert len(merged) == 1 or all(sum(one) * smaller >= drift.EXPECTED_MIN for one in merged)


def test_a_series_is_bounded_whatever_labels_come() -> None:
    """A window of nothing but new labels keeps LABELS_MAX of them, and counts the rest as one."""
    sample = drift.Sample()
    for number in range(LABELS_MAX + 50):
        sample.add(f"l{number}", number)
    assert len(sample.labels) == LABELS_MAX + 1
    assert sample.labels[drift.OTHER] == 50
    assert sample.count == LABELS_MAX + 50
