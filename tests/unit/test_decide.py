"""The verdict on a failure: what waits, what dies, what comes again, and when it is the code and not the data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aios.dlq.decide import HINTS, LIMITS, Class, decide, reason_of
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
ROWS = st.integers(0, 100)
SHARES = st.floats(0, 1)
PERMANENT = [reason for reason, hint in HINTS.items() if hint.kind in (Class.PERMANENT, Class.POLICY)]


def verdict(error: Exception, attempt: int = 1, in_a_row: int = 0, share: float = 0.0) -> Verdict:
    return decide(error, attempt=attempt, unknown_in_a_row=in_a_row, unknown_share=share, limits=LIMITS)


def test_every_reason_has_a_class_and_a_hint() -> None:
    """The list is closed on both sides."""
    assert set(HINTS) == set(Reason)
    assert all(hint.hint.endswith(".") for hint in HINTS.values())
    assert {hint.kind for hint in HINTS.values()} == set(Class)


@given(ATTEMPTS, ROWS, SHARES)
def test_infrastructure_that_is_away_never_makes_a_dead_letter(attempt: int, in_a_row: int, share: float) -> None:
    """However often it fails and whatever else is wrong."""
    assert verdict(Unavailable("away"), attempt, in_a_row, share) is Verdict.PAUSE


@given(ATTEMPTS, ROWS, SHARES, st.sampled_from([ConfigError, Fenced, StateBroken, SchemaRefused, EngineDead]))
def test_a_broken_deploy_stops(attempt: int, in_a_row: int, share: float, kind: type[AiosError]) -> None:
    """The record has nothing to do with it."""
    assert verdict(kind("broken"), attempt, in_a_row, share) is Verdict.STOP


@given(ATTEMPTS, ROWS, SHARES, st.sampled_from(PERMANENT))
def test_bad_data_of_a_known_kind_dies_at_once_and_stops_nobody(
    attempt: int, in_a_row: int, share: float, reason: Reason
) -> None:
    """A producer who sends nothing else cannot pause a partition."""
    assert verdict(RecordError("bad", reason), attempt, in_a_row, share) is Verdict.DEAD_LETTER
    assert verdict(SchemaMismatch("bad", reason), attempt, in_a_row, share) is Verdict.DEAD_LETTER


@given(ATTEMPTS, st.integers(0, LIMITS.unknown_in_a_row_max - 1), st.floats(0, LIMITS.unknown_share_max))
def test_the_unforeseen_comes_again_a_bounded_number_of_times(attempt: int, in_a_row: int, share: float) -> None:
    """attempts_max attempts, then a dead letter."""
    expected = Verdict.RETRY if attempt < LIMITS.attempts_max else Verdict.DEAD_LETTER
    for error in (ValueError("?"), AiosError("?"), RecursionError()):
        assert reason_of(error) is Reason.UNKNOWN
        assert verdict(error, attempt, in_a_row, share) is expected


@given(ATTEMPTS, st.integers(LIMITS.unknown_in_a_row_max, 1_000))
def test_where_the_unforeseen_comes_in_a_row_the_partition_pauses(attempt: int, in_a_row: int) -> None:
    """Nothing more is sent away, not even what has used up its attempts."""
    for error in (ValueError("?"), RecordError("?", Reason.ENGINE_FAILED)):
        assert verdict(error, attempt, in_a_row) is Verdict.PAUSE


def test_where_the_unforeseen_is_most_of_it_the_partition_pauses() -> None:
    """In between some succeed; it is the code all the same."""
    assert verdict(ValueError("?"), share=LIMITS.unknown_share_max + 0.01) is Verdict.PAUSE
    assert verdict(ValueError("?"), share=LIMITS.unknown_share_max) is Verdict.RETRY
