"""How a stage settles what failed: attempts, the breaker of a partition, and what the log may say."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import envelope
from aios.dlq.decide import LIMITS, Limits
from aios.dlq.settle import Settlement, Settler
from aios.streams import topics
from aios.streams.errors import EngineDead, Reason, RecordError, SchemaMismatch, Unavailable, Verdict
from aios.streams.record import Outgoing, Record
from aios.streams.topology import PLAN

NOW_MS = 1_700_000_000_000
FEW = Limits(attempts_max=3, unknown_in_a_row_max=3, share_records=10)


def record(offset: int = 0, partition: int = 2) -> Record:
    return Record("case.admitted.v1", partition, offset, NOW_MS, b"k", b"v")


def returned(settlement: Settlement) -> Record:
    """As aios.retry brings it back."""
    out = settlement.outgoing
    assert out is not None
    assert dict(out.headers)["aios.retry.target"] == PLAN.retries.name.encode()
    return Record(PLAN.retries.name, out.partition or 0, 0, NOW_MS, out.key, out.value, out.headers)


def sent(settlement: Settlement) -> Outgoing:
    assert settlement.outgoing is not None
    return settlement.outgoing


def test_an_unknown_error_is_tried_three_times_and_then_a_dead_letter() -> None:
    """The count travels in the record itself; two waits, one death."""
    settler = Settler(PLAN, "c1")
    one = settler.settle(record(), ValueError("?"), NOW_MS)
    two = settler.settle(returned(one), ValueError("?"), NOW_MS)
    three = settler.settle(returned(two), ValueError("?"), NOW_MS)
    assert [each.verdict for each in (one, two, three)] == [Verdict.RETRY, Verdict.RETRY, Verdict.DEAD_LETTER]
    assert [sent(each).topic for each in (one, two, three)] == [topics.RETRY_WAITING.name] * 2 + [
        PLAN.dead_letters.name
    ]
    assert envelope.headers_said(sent(three).headers)["attempts"] == "3"
    assert {sent(each).partition for each in (one, two, three)} == {2}


def test_permanent_data_dies_at_once_and_infrastructure_and_deploys_send_nothing() -> None:
    """One of each."""
    settler = Settler(PLAN, "c1")
    dead = settler.settle(record(), SchemaMismatch("no value", Reason.EMPTY), NOW_MS)
    assert (dead.verdict, dead.reason, sent(dead).topic) == (Verdict.DEAD_LETTER, Reason.EMPTY, "aios.plan.dlq")
    away = settler.settle(record(), Unavailable("registry is away"), NOW_MS)
    assert (away.verdict, away.outgoing, away.pause_ms) == (Verdict.PAUSE, None, LIMITS.pause_ms)
    stop = settler.settle(record(), EngineDead("hangs"), NOW_MS)
    assert (stop.verdict, stop.outgoing) == (Verdict.STOP, None)


def test_unknown_failures_in_a_row_pause_their_partition_until_one_succeeds() -> None:
    """Others go on; the first success closes it."""
    settler = Settler(PLAN, "c1", FEW)
    for offset in range(3):
        assert settler.settle(record(offset), ValueError("?"), NOW_MS).verdict is Verdict.RETRY
    for _ in range(5):  # the same record comes again after each pause
        assert settler.settle(record(3), ValueError("?"), NOW_MS).verdict is Verdict.PAUSE
    assert settler.settle(record(0, partition=4), ValueError("?"), NOW_MS).verdict is Verdict.RETRY
    settler.done(record(3))
    assert settler.settle(record(4), ValueError("?"), NOW_MS).verdict is Verdict.RETRY


def test_a_paused_partition_sends_nothing_of_what_returns_to_the_dead_letters() -> None:
    """What waits in the retry topic waits for the fix too."""
    settler = Settler(PLAN, "c1", FEW)
    waits = [settler.settle(record(offset), ValueError("?"), NOW_MS) for offset in range(3)]
    for each in waits:
        assert settler.settle(returned(each), ValueError("?"), NOW_MS).verdict is Verdict.PAUSE


def test_a_few_records_that_always_fail_are_no_broken_deploy() -> None:
    """The retry topic holds only what failed before: its failures alone must not pause it, over however long."""
    settler = Settler(PLAN, "c1", FEW)
    for round_ in range(20):
        settler.done(record(2 * round_))
        one = settler.settle(record(2 * round_ + 1), ValueError("?"), NOW_MS)
        two = settler.settle(returned(one), ValueError("?"), NOW_MS)
        three = settler.settle(returned(two), ValueError("?"), NOW_MS)
        assert (two.verdict, three.verdict) == (Verdict.RETRY, Verdict.DEAD_LETTER)


def test_a_hasty_replay_pauses_nobody() -> None:
    """Dead letters that return before the code is fixed fail again, and that is all."""
    settler = Settler(PLAN, "c1", FEW)
    dead = replace(record(), topic=PLAN.retries.name, headers=replayed_headers())
    verdicts = {settler.settle(replace(dead, offset=offset), ValueError("?"), NOW_MS).verdict for offset in range(20)}
    assert verdicts == {Verdict.RETRY}


def replayed_headers() -> tuple[tuple[str, bytes], ...]:
    said = {"attempts": "3", "replay.attempts": "3", "replay.count": "1"}
    return tuple((envelope.PREFIX + name, value.encode()) for name, value in said.items())


def test_a_share_of_unknown_failures_pauses_too() -> None:
    """Every third record succeeds: never three in a row, and it is the code all the same."""
    settler = Settler(PLAN, "c1", FEW)
    verdicts = []
    for offset in range(12):
        if offset % 3 == 2:
            settler.done(record(offset))
        else:
            verdicts.append(settler.settle(record(offset), ValueError("?"), NOW_MS).verdict)
    assert verdicts == [Verdict.RETRY] * 6 + [Verdict.PAUSE] * 2
    for offset in range(12, 24):
        settler.done(record(offset))
    assert settler.settle(record(24), ValueError("?"), NOW_MS).verdict is Verdict.RETRY


@settings(deadline=None)
@given(st.lists(st.sampled_from(["bad", "done"]), max_size=200))
def test_bad_data_of_a_producer_never_pauses_a_partition(rounds: list[str]) -> None:
    """10,000 of them or one: dead letters, and on it goes."""
    settler = Settler(PLAN, "c1", FEW)
    for offset, what in enumerate(rounds):
        if what == "done":
            settler.done(record(offset))
        else:
            error = SchemaMismatch("bytes left over")
            assert settler.settle(record(offset), error, NOW_MS).verdict is Verdict.DEAD_LETTER
    assert settler.settle(record(999), ValueError("?"), NOW_MS).verdict is Verdict.RETRY


def test_a_record_too_large_to_travel_with_our_headers_is_not_sent_round() -> None:
    """By reference it could not come back."""
    huge = replace(record(), value=b"x" * topics.DEAD_LETTER_BYTES_MAX)
    assert Settler(PLAN, "c1").settle(huge, ValueError("?"), NOW_MS).verdict is Verdict.DEAD_LETTER


def test_the_log_says_what_happened_without_the_words_of_others(caplog: pytest.LogCaptureFixture) -> None:
    """Place, verdict, reason, type and stack; never what the error quotes."""
    settler = Settler(PLAN, "c1", FEW)
    with caplog.at_level(logging.DEBUG):
        try:
            int("Jane Doe")
        except ValueError as error:
            for offset in range(4):
                settler.settle(record(offset), error, NOW_MS)
        settler.settle(record(9), RecordError("no such case", Reason.UNATTRIBUTABLE), NOW_MS)
    text = caplog.text
    assert "case.admitted.v1/2/0" in text
    assert "it is the code" in text
    assert "unattributable" in text
    assert "Jane Doe'" not in text.replace('int("Jane Doe")', "")
