"""Canaries: one that misbehaves goes back, one that does not stays, whatever the order of what is seen."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from aios.sinks import canary
from aios.sinks.canary import ANSWERS_MIN, TIMES_MAX, Side, Trial, judge, of_plain
from aios.streams.activations import Limits

Act = tuple[int, bool, float | None, bool | None]  # version, failed, took ms, overridden (None: no person)


def trial(limits: Limits | None = None) -> Trial:
    return Trial("m", 1, 2, since_ms=0, permille=100, limits=limits or Limits())


def play(found: Trial, acts: list[Act]) -> Trial:
    for version, failed, took, overridden in acts:
        side = found.side(version)
        assert side is not None
        side.answered(failed=failed, took_ms=took)
        if overridden is not None:
            side.decided(overridden=overridden)
    return found


def mixed(seed: int, count: int, **worse: float) -> list[Act]:
    """A tenth to the canary; both alike but for what is worse: errors, slower, overrides."""
    chance = random.Random(seed)
    acts: list[Act] = []
    for _ in range(count):
        is_canary = chance.random() < 0.1
        failed = chance.random() < (worse.get("errors", 0.02) if is_canary else 0.02)
        took = None if failed else chance.lognormvariate(3, 0.5) * (worse.get("slower", 1) if is_canary else 1)
        asked = chance.random() < 0.3
        over = chance.random() < (worse.get("overrides", 0.1) if is_canary else 0.1)
        acts.append((2 if is_canary else 1, failed, took, over if asked else None))
    return acts


@pytest.mark.parametrize(
    ("worse", "measure"),
    [({"errors": 0.4}, "error_share"), ({"slower": 5}, "latency_ratio"), ({"overrides": 0.7}, "override_share")],
)
def test_a_canary_that_misbehaves_goes_back(worse: dict[str, float], measure: str) -> None:
    """For what it does, with both figures."""
    found = judge(play(trial(), mixed(1, 3000, **worse)))
    assert found is not None
    assert found.measure == measure
    assert found.canary > found.stable
    assert found.chance < canary.CHANCE_MAX
    assert found.reason


def test_a_canary_that_fails_everything_goes_back_with_the_first_answers_that_count() -> None:
    """ANSWERS_MIN of them, and not one before."""
    found = trial()
    for _ in range(ANSWERS_MIN - 1):
        found.canary.answered(failed=True, took_ms=None)
        assert judge(found) is None
    found.canary.answered(failed=True, took_ms=None)
    verdict = judge(found)
    assert verdict is not None
    assert (verdict.measure, verdict.canary) == ("error_share", 1.0)


def test_a_canary_as_good_as_the_stable_version_stays() -> None:
    """20 trials, judged after every fifty acts: none goes back."""
    for seed in range(20):
        found = trial()
        acts = mixed(seed, 1000)
        for at in range(0, 1000, 50):
            assert judge(play(found, acts[at : at + 50])) is None, seed


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize(("beside", "of"), [(20, 20), (30, 60), (5, 45)])
def test_an_innocent_canary_is_returned_no_more_often_than_chance_allows(share: float, beside: int, of: int) -> None:
    """Each outcome of a look by its probability: also where stable has shown few, and so perhaps fewer than it has."""
    returned = 0.0
    for usual, found in product(range(beside + 1), range(of + 1)):
        one = trial()
        one.stable.answers, one.stable.errors = beside, usual
        one.canary.answers, one.canary.errors = of, found
        probable = binom.pmf(usual, beside, share) * binom.pmf(found, of, share)
        if probable > 1e-9 and judge(one) is not None:
            returned += probable
    assert returned < canary.CHANCE_MAX


@pytest.mark.parametrize(
    ("beside", "of", "failed"),
    [(0, 20, 4), (1, 20, 20), (2, 60, 60), (5, 20, 20), (12, 20, 16), (180, 20, 6), (20, 20, 12)],
)
def test_a_few_answers_are_enough_against_a_canary_that_is_far_worse(beside: int, of: int, failed: int) -> None:
    """Beside a stable version that fails none."""
    one = trial()
    one.stable.answers, one.canary.answers, one.canary.errors = beside, of, failed
    assert judge(one) is not None


def test_what_fails_on_both_sides_is_not_the_canarys_fault() -> None:
    """An engine that is down for all returns nobody."""
    found = trial()
    for _ in range(200):
        found.stable.answered(failed=True, took_ms=None)
    for _ in range(40):
        found.canary.answered(failed=True, took_ms=None)
    assert judge(found) is None


def test_times_that_a_scheduler_makes_are_no_models_fault() -> None:
    """Half a millisecond against two is no quarter of the speed."""
    found = trial()
    for _ in range(200):
        found.stable.answered(failed=False, took_ms=0.5)
        found.canary.answered(failed=False, took_ms=2.0)
    assert judge(found) is None


ACTS = st.builds(
    mixed,
    st.integers(0, 1_000),
    st.integers(0, canary.TIMES_MAX),
    errors=st.sampled_from([0.02, 0.05, 0.4]),
    slower=st.sampled_from([1, 1, 5]),
    overrides=st.sampled_from([0.1, 0.1, 0.7]),
)


@given(ACTS, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_order_does_not_matter_and_a_trial_that_is_written_down_is_the_same(
    acts: list[Act], chance: random.Random
) -> None:
    """Shuffled, the verdict is the same; read back from JSON, so is the trial."""
    straight = play(trial(), acts)
    shuffled = list(acts)
    chance.shuffle(shuffled)
    first, second = judge(straight), judge(play(trial(), shuffled))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert second == replace(first, chance=second.chance)
        assert second.chance == pytest.approx(first.chance)
    assert of_plain(json.loads(json.dumps(straight.plain()))) == straight


@given(ACTS)
@settings(max_examples=30, deadline=None)
def test_no_more_failures_no_return_for_failures(acts: list[Act]) -> None:
    """A canary within stable's share plus the limit is never returned for its errors."""
    found = play(trial(), acts)
    verdict = judge(found)
    if found.canary.error_share <= found.stable.error_share + found.limits.error_share:
        assert verdict is None or verdict.measure != "error_share"


def test_a_side_remembers_so_many_times() -> None:
    side = Side()
    for number in range(TIMES_MAX + 10):
        side.answered(failed=False, took_ms=float(number))
    assert [ms for ms, _ in side.times] == [float(number) for number in range(10, TIMES_MAX + 10)]


FIXED_MS, EACH_MS = 5.6, 8.9  # of a step, and of each text in it: an encoder on two cores


def shared(seed: int, fills: dict[str, list[int]], slower: float = 1.0) -> Trial:
    """Two versions whose batches are as full as that: the same model, but for what the canary is slower."""
    chance, found = random.Random(seed), trial()
    for name, side in (("stable", found.stable), ("canary", found.canary)):
        for fill in fills[name]:
            took = (FIXED_MS / fill + EACH_MS) * chance.lognormvariate(0, 0.05)
            side.answered(failed=False, took_ms=took * (slower if name == "canary" else 1), fill=fill)
    return found


LITTLE = {"stable": [32] * 400 + [4] * 100, "canary": [1] * 300}
MIXED = {"stable": [32] * 200 + [1, 2, 3] * 80, "canary": [1] * 30 + [2] * 10}


def test_a_canary_alone_in_its_batch_is_not_slow_for_that() -> None:
    """It has an engine of its own and a small share: each answer costs more of it than in a full batch of stable's."""
    for seed in range(20):
        assert judge(shared(seed, LITTLE)) is None
        assert judge(shared(seed, MIXED)) is None


def test_a_slow_canary_is_found_among_batches_as_full() -> None:
    """Twice as slow, although it is mostly alone and stable mostly is not."""
    verdict = judge(shared(1, MIXED, slower=2.0))
    assert verdict is not None
    assert verdict.measure == "latency_ratio"
    assert verdict.canary > 1.5 * verdict.stable


def test_times_without_a_batch_beside_them_are_forgotten() -> None:
    """What an earlier release kept: the counts stay, the times begin anew."""
    said = trial().plain()
    said["stable"] |= {"answers": 30, "errors": 2, "times": [1.5, 2.5]}
    found = of_plain(json.loads(json.dumps(said)))
    assert (found.stable.answers, found.stable.errors, found.stable.times) == (30, 2, [])
