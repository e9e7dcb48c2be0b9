"""The verdict on a failure: what waits, what dies, what stops; and the closed list of reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.dlq.decide import BAD, HINTS, Class, Throttled, decide, reason_of
from aios.streams.errors import (
    AiosError,
    ConfigError,
    EngineDead,
    Fenced,
    Reason,
    RecordError,
    SchemaMismatch,
    SchemaRefused,
    StateBroken,
    Unavailable,
    Verdict,
)

ATTEMPTS = st.integers(1, 10)
BOUNDS = st.integers(1, 5)
REASONS = st.sampled_from(list(Reason))


def test_every_reason_has_a_class_and_a_hint() -> None:
    """The list is closed on both sides."""
    assert set(HINTS) == set(Reason)
    assert all(hint.hint.endswith(".") for hint in HINTS.values())
    assert {hint.kind for hint in HINTS.values()} == set(Class)


def test_what_counts_against_a_tenant_is_its_data_and_nothing_of_ours() -> None:
    """What is away, unforeseen, parked or slowed is not its fault."""
    assert {HINTS[reason].kind for reason in BAD} == {Class.PERMANENT, Class.POLICY}
    assert not BAD & {Reason.PARKED, Reason.THROTTLED, Reason.UNKNOWN, Reason.ENGINE_FAILED, Reason.UNAVAILABLE}


@given(ATTEMPTS, BOUNDS)
def test_infrastructure_that_is_away_never_makes_a_dead_letter(attempt: int, attempts_max: int) -> None:
    """However often it fails."""
    assert decide(Unavailable("away"), attempt=attempt, attempts_max=attempts_max) is Verdict.PAUSE


@given(ATTEMPTS, BOUNDS, st.sampled_from([ConfigError, Fenced, StateBroken, SchemaRefused, EngineDead]))
def test_a_broken_deploy_stops(attempt: int, attempts_max: int, kind: type[AiosError]) -> None:
    """The record has nothing to do with it."""
    assert decide(kind("broken"), attempt=attempt, attempts_max=attempts_max) is Verdict.STOP


@given(ATTEMPTS, BOUNDS, REASONS)
def test_what_a_stage_can_never_process_dies_at_once(attempt: int, attempts_max: int, reason: Reason) -> None:
    """Whatever the reason, and at the first attempt."""
    for error in (RecordError("bad", reason), SchemaMismatch("bad", reason)):
        assert decide(error, attempt=attempt, attempts_max=attempts_max) is Verdict.DEAD_LETTER


@given(ATTEMPTS, BOUNDS)
def test_the_unforeseen_comes_again_a_bounded_number_of_times(attempt: int, attempts_max: int) -> None:
    """attempts_max attempts, then a dead letter."""
    expected = Verdict.RETRY if attempt < attempts_max else Verdict.DEAD_LETTER
    for error in (ValueError("?"), AiosError("?"), RecursionError()):
        assert reason_of(error) is Reason.UNKNOWN
        assert decide(error, attempt=attempt, attempts_max=attempts_max) is expected


@pytest.mark.parametrize("error", [Throttled("slow"), RecordError("?", Reason.ENGINE_FAILED)])
def test_an_error_of_ours_stands_for_its_reason(error: AiosError) -> None:
    """And for no other."""
    assert reason_of(error) is error.reason
