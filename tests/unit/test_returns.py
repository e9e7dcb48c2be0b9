"""What returns to a group: when a waiting record is due, and what is read of one that became a dead letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.dlq import envelope, letter_states, parking, retry
from aios.dlq.dead_letter import letter_of
from aios.dlq.envelope import Failure
from aios.dlq.retry import AFTER_MS_MAX, Held, returning
from aios.dlq.settle import Settler
from aios.streams.durations import HOUR_MS
from aios.streams.errors import Reason, RecordError, SchemaMismatch
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RETRY_TIERS
from aios.streams.topology import ADMIT, CONNECTORS, PLAN, RETRY, Stage
from tests.fakes.breakers import OwnBreakers

NOW_MS = 1_700_000_000_000


def failed(stage: Stage, *, topic: str, key: bytes | None = b"k", value: bytes | None = b"v", **more: Any) -> Outgoing:
    record = Record(topic, 2, 7, NOW_MS, key, value, (("aios-tenant", b"acme"), ("ce_id", b"e")))
    failure = Failure(stage=stage, error=SchemaMismatch("no"), attempts=3, now_ms=NOW_MS, cluster="c")
    return envelope.waiting(record, failure, **more) if more else envelope.wrap(record, failure)


def stored(out: Outgoing, offset: int = 11, at: int = NOW_MS) -> Record:
    return Record(out.topic, out.partition or 0, offset, at, out.key, out.value, out.headers)


# Waiting


def waiting(at: int, after: str | None = "5000", offset: int = 0) -> Record:
    headers = () if after is None else ((envelope.RETRY_AFTER, after.encode()),)
    return Record(RETRY_TIERS[0].topic.name, 0, offset, at, b"k", b"v", headers)


@given(
    written=st.integers(-2 * HOUR_MS, 2 * HOUR_MS), after=st.integers(0, 10_000), looks=st.lists(st.floats(0, 20_000))
)
def test_a_record_is_due_after_its_delay_and_whatever_the_clocks_say_not_later(
    written: int, after: int, looks: list[float]
) -> None:
    """written: the record's timestamp against our clock; an hour ahead is a clock that is wrong."""
    held = Held()
    held.add(waiting(NOW_MS + written, str(after)), now_ms=NOW_MS, now_s=100.0)
    due_in_ms = min(max(after + written, 0), after)
    assert held.next_in_s(100.0) == pytest.approx(due_in_ms / 1000)
    for ms in sorted(looks):
        if ms < due_in_ms - 0.01:
            assert held.due(100.0 + ms / 1000) == []
    assert len(held.due(100.0 + after / 1000)) == 1
    assert held.next_in_s(0) == float("inf")


def test_records_come_due_in_the_order_of_their_time_and_then_of_the_log() -> None:
    """Held are the earliest; equal moments keep the order in which they were taken."""
    held = Held()
    records = [waiting(NOW_MS + ms, offset=offset) for offset, ms in enumerate((30, 0, 10, 10, 20))]
    for one in records:
        held.add(one, now_ms=NOW_MS + 30, now_s=0.0)
    assert [one.offset for one in held.due(6.0)] == [1, 2, 3, 4, 0]


def test_what_leaves_again_and_again_is_not_held_until_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebalances of a full tier: what is held has a bound, and what is owned comes due in its order."""
    monkeypatch.setattr(retry, "HELD_MAX", 10)
    held, most = Held(), 0
    for storm in range(20):
        for offset in range(10):
            held.add(waiting(NOW_MS - offset, offset=10 * storm + offset), now_ms=NOW_MS, now_s=0.0)
        held.let_go(lambda record, storm=storm: record.offset >= 10 * storm)
        most = max(most, len(held._heap))
    assert most <= 20
    assert [one.offset for one in held.due(6.0) if one.offset >= 190] == list(range(199, 189, -1))


@pytest.mark.parametrize("after", [None, "soon", "-5", ""])
def test_a_record_without_a_delay_is_due_at_once(after: str | None) -> None:
    """And then settled as what it is."""
    held = Held()
    held.add(waiting(NOW_MS, after), now_ms=NOW_MS, now_s=0.0)
    assert len(held.due(0.0)) == 1


def test_a_delay_has_a_bound() -> None:
    """Whatever a header says."""
    held = Held()
    held.add(waiting(NOW_MS, "9" * 30), now_ms=NOW_MS, now_s=0.0)
    assert held.next_in_s(0.0) == AFTER_MS_MAX / 1000


def test_a_waiting_record_returns_as_it_was_to_the_group_it_failed_in() -> None:
    """Original key, bytes and headers, ours with them; no header of the wait."""
    record = stored(failed(PLAN, topic="case.admitted.v1", tier=RETRY_TIERS[0]))
    out = returning(record)
    assert (out.topic, out.partition, out.key, out.value) == ("aios.plan.retry", 2, b"k", b"v")
    assert [name for name, _ in out.headers if name.startswith("aios.retry.")] == []
    assert envelope.origin(stored(out)).topic == "case.admitted.v1"
    assert envelope.attempts_of(stored(out)) == 3


@pytest.mark.parametrize("target", [b"case.admitted.v1", b"aios.plan.dlq", b"aios.nobody.retry", b""])
def test_nothing_returns_to_a_topic_that_others_read(target: bytes) -> None:
    """Only to retry topics of the topology."""
    record = replace(waiting(NOW_MS), headers=((envelope.RETRY_TARGET, target),))
    with pytest.raises(RecordError) as refused:
        returning(record)
    assert refused.value.reason is Reason.UNATTRIBUTABLE


@pytest.mark.parametrize("ordinal", [None, 7])
def test_what_an_older_release_could_not_return_goes_to_its_group_once_it_is_replayed(
    monkeypatch: pytest.MonkeyPatch, ordinal: int | None
) -> None:
    """The dead letter of `retry` keeps for whom the record waited and its place there, and counts no attempt of it."""
    stage, settler = CONNECTORS[0], Settler(RETRY, "c", breakers=OwnBreakers())
    record = stored(parking.marked(failed(stage, topic=stage.reads[0].name, tier=RETRY_TIERS[1]), ordinal))
    with monkeypatch.context() as older:
        older.setattr(retry, "_RETRY_TOPICS", retry._RETRY_TOPICS - {stage.retries.name})
        with pytest.raises(RecordError) as refused:
            returning(record)
    dead = settler.settle(record, refused.value, NOW_MS).outgoing
    assert dead is not None
    letter = letter_of(stored(dead))
    assert letter is not None
    assert (letter.group, letter.reason) == ("aios.retry", "unattributable")
    back = letter_states.returned(letter, stored(dead), dead.value, job_id="j", by="ada", at_ms=NOW_MS)
    assert back is not None
    assert back.topic == RETRY.retries.name
    out = returning(stored(back))
    assert (out.topic, out.key, out.value) == (stage.retries.name, b"k", b"v")
    assert (envelope.attempt_of(stored(out)), parking.ordinal_of(stored(out))) == (1, ordinal)


def test_what_fails_in_retry_itself_waits_and_goes_to_its_group() -> None:
    """However often: in between it is of another stage."""
    record = Record("case.admitted.v1", 2, 7, NOW_MS, b"k", b"v")
    for stage in (PLAN, RETRY, RETRY):
        again = Settler(stage, "c", breakers=OwnBreakers()).settle(record, ValueError("?"), NOW_MS).outgoing
        assert again is not None
        record = stored(again)
        assert returning(record).topic == "aios.plan.retry"


def test_a_producer_names_no_group_to_which_a_record_returns() -> None:
    """Nor does a record that failed again in its own group keep that it once failed in `retry`."""
    named = (("aios.dlq.target", b"aios.admit.retry"), (envelope.RETRY_TARGET, b"aios.admit.retry"))
    for topic in ("case.admitted.v1", PLAN.retries.name):
        record = Record(topic, 2, 7, NOW_MS, b"k", b"v", named)
        out = Settler(PLAN, "c", breakers=OwnBreakers()).settle(record, ValueError("?"), NOW_MS).outgoing
        assert out is not None
        assert returning(stored(out)).topic == "aios.plan.retry"


LETTER = stored(failed(ADMIT, topic="document.received.v1"))
ID = envelope.headers_said(LETTER.headers)["id"]


def test_a_dead_letter_is_read_back_as_it_was_written() -> None:
    """The few facts that people look for; nothing that is none of ours."""
    found = letter_of(LETTER)
    assert found is not None
    assert (found.id, found.group, found.reason, found.kind) == (ID, "aios.admit", "undecodable", "permanent")
    assert (found.key, found.tenant, found.attempts, found.size) == ("k", "acme", 3, 1)
    assert found.place == ("aios.admit.dlq", 2, 11)
    assert letter_of(replace(LETTER, headers=())) is None
