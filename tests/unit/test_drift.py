"""Drift: what has moved is found, once; what has not is not; and writing down in between changes nothing."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from itertools import combinations

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


def named(count: int, prefix: str = "old") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def drawn(seed: int, labels: list[str], zipf: bool) -> Callable[[], str]:
    chance, weights = random.Random(seed), [1 / (number + 1) if zipf else 1 for number in range(len(labels))]
    return lambda: chance.choices(labels, weights)[0]


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("count", [77, 150])
def test_many_labels_that_are_all_replaced_have_moved(count: int, zipf: bool) -> None:
    """As many as the shipped heads have, each of them rare: nothing is as it was, in the first window."""
    limits, series = WatchSettings(), Series(Kind.LABELS)
    fed(series, drawn(1, named(count), zipf), limits.reference_count, limits)
    (found,) = fed(series, drawn(2, named(count, "new"), zipf), limits.window_count, limits)
    assert found.distance == 1.0
    assert found.chance < 1e-9


@pytest.mark.parametrize("window_count", [200, 50])
@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("count", [77, 150])
def test_a_share_that_goes_to_rare_labels_never_seen_is_found_as_large_as_it_is(
    count: int, zipf: bool, window_count: int
) -> None:
    """Four of ten values, over twenty new labels, while the others fall a little each; a window by time is smaller."""
    limits, series, chance = WatchSettings(window_count=window_count), Series(Kind.LABELS), random.Random(3)
    usual, new = drawn(1, named(count), zipf), drawn(2, named(20, "new"), False)
    assert fed(series, usual, limits.reference_count + limits.window_count, limits) == []
    (found,) = fed(series, lambda: new() if chance.random() < 0.4 else usual(), limits.window_count, limits)
    assert found.distance == pytest.approx(0.4, abs=0.1 if window_count == 200 else 0.2)


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("count", [77, 150])
def test_a_frequent_label_that_takes_much_of_the_rare_ones_is_found(count: int, zipf: bool) -> None:
    """Every third value becomes the most frequent label: many rare ones that stay do not hide it."""
    limits, series, chance = WatchSettings(), Series(Kind.LABELS), random.Random(3)
    usual = drawn(1, named(count), zipf)
    fed(series, usual, limits.reference_count, limits)
    assert len(fed(series, lambda: "old-0" if chance.random() < 1 / 3 else usual(), 200, limits)) == 1


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("count", [77, 150])
def test_many_labels_that_stay_as_they_are_have_hardly_ever_moved(count: int, zipf: bool) -> None:
    """Of 200 windows of 40 series one at most, where chance_max allows 0.2; their distances are mean 0.1 at most."""
    limits, found, distances = WatchSettings(), 0, []
    for seed in range(40):
        series, usual = Series(Kind.LABELS), drawn(seed, named(count), zipf)
        fed(series, usual, limits.reference_count, limits)
        for _ in range(5):
            found += len(fed(series, usual, limits.window_count, limits))
            distances.append(series.distance)
    assert found <= 1
    assert sum(distances) / len(distances) < 0.1


@pytest.mark.parametrize(("values", "before"), [("aabccd", 3), ("aaabbcdde", 4), ("aaaabbbb", 5), ("abcdef", 2)])
def test_what_chance_gives_is_what_all_ways_of_dealing_the_values_out_give(values: str, before: int) -> None:
    """Counted: the mean distance; the mean and the variance of chi-square's statistic."""
    distances, statistics = [], []
    for dealt in combinations(range(len(values)), before):
        then = [values[at] for at in dealt]
        columns = [(then.count(label), values.count(label) - then.count(label)) for label in sorted(set(values))]
        distances.append(drift._apart(columns))
        statistics.append(drift._statistic(columns))
    assert drift._noise(columns) == pytest.approx(math.fsum(distances) / len(distances))
    mean, variance = drift._moments(columns)
    assert mean == pytest.approx(math.fsum(statistics) / len(statistics))
    assert variance == pytest.approx(math.fsum((one - mean) ** 2 for one in statistics) / len(statistics), abs=1e-9)


def test_of_labels_that_never_come_twice_nothing_is_said() -> None:
    """Each value is a label of its own, as it was: no distance, and chance alone."""
    reference, window = drift.Sample(), drift.Sample()
    for at in range(500):
        reference.add(f"r{at}", at)
    for at in range(200):
        window.add(f"w{at}", at)
    assert compare(Kind.LABELS, reference, window) == (0.0, 1.0)


def test_a_series_is_bounded_whatever_labels_come() -> None:
    """A window of nothing but new labels keeps LABELS_MAX of them, and counts the rest as one."""
    sample = drift.Sample()
    for number in range(LABELS_MAX + 50):
        sample.add(f"l{number}", number)
    assert len(sample.labels) == LABELS_MAX + 1
    assert sample.labels[drift.OTHER] == 50
    assert sample.count == LABELS_MAX + 50
