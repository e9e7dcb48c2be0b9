"""What returns to a group: when a waiting record is due, and what is read of one that became a dead letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.dlq import envelope
from aios.dlq.dead_letter import letter_of
from aios.dlq.envelope import Failure
from aios.dlq.retry import AFTER_MS_MAX, Held, returning
from aios.streams.durations import HOUR_MS
from aios.streams.errors import Reason, RecordError, SchemaMismatch
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RETRY_TIERS
from aios.streams.topology import ADMIT, PLAN, Stage

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
