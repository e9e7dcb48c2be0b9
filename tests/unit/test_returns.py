"""What returns to a group: when a waiting record is due, what a replay writes, and which dead letters are open."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.dlq import envelope
from aios.dlq.envelope import Failure
from aios.dlq.letters import Asked, DeadLetter, State, fold, letter_of
from aios.dlq.replay import Replay, replay
from aios.dlq.retry import AFTER_MS_MAX, Held, returning
from aios.schemas.models import ReplayRequested
from aios.streams import topics
from aios.streams.errors import Reason, RecordError, SchemaMismatch
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RETRY_TIERS
from aios.streams.topology import ADMIT, PLAN, Stage

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


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


# Replaying

LETTER = stored(failed(ADMIT, topic="document.received.v1"))
ID = envelope.headers_said(LETTER.headers)["id"]
ASKED = Record(topics.REPLAY_REQUESTED.name, 4, 9, NOW_MS + 50, ID.encode(), b"", ())


def request(letter: Record = LETTER, **changed: Any) -> ReplayRequested:
    asked = ReplayRequested(
        replay_id="r1",
        dead_letter_id=envelope.headers_said(letter.headers)["id"],
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        requested_by="ada",
        reason="fixed",
        requested_at=NOW_MS + 40,
    )
    return replace(asked, **changed)


def replayed(asked: ReplayRequested, letter: Record | None = LETTER, value: bytes | None = b"v") -> Replay:
    return replay(ASKED, asked, letter, value, "fallback")


def test_a_replay_is_the_original_for_the_group_that_failed() -> None:
    """It says who, when and how often; an audit entry says so to everybody else."""
    one = replayed(request())
    out = one.returned
    assert (out.topic, out.partition, out.key, out.value) == ("aios.admit.retry", 2, b"k", b"v")
    said = envelope.headers_said(out.headers)
    assert {name: value for name, value in said.items() if name.startswith("replay.")} == {
        "replay.count": "1",
        "replay.attempts": "3",
        "replay.job": "r1",
        "replay.by": "ada",
        "replay.at": str(NOW_MS + 40),
    }
    back = stored(out)
    assert envelope.origin(back) == envelope.Origin("document.received.v1", 2, 7, NOW_MS)
    assert envelope.attempt_of(back) == 1
    audit = one.audit
    assert (audit.transition, audit.case_seq, audit.actor, audit.tenant) == ("replayed", 0, "ada", "acme")
    assert (audit.input_topic, audit.input_partition, audit.input_offset) == (ASKED.topic, 4, 9)
    assert audit.at == NOW_MS + 50
    assert audit.case_id == ID
    assert json.loads(audit.detail) == {
        "dead_letter_id": ID,
        "replay_id": "r1",
        "group": "aios.admit",
        "failed_for": "undecodable",
        "fingerprint": said["fingerprint"],
        "why": "fixed",
        "replays": 1,
        "sha256": envelope.sha256(b"v"),
        "sha256_before": "",
    }


def test_a_repaired_record_carries_its_new_bytes_and_the_hash_of_the_old() -> None:
    """In the headers and in the audit."""
    one = replayed(request(value=b"better"))
    assert one.returned.value == b"better"
    assert envelope.headers_said(one.returned.headers)["replay.edited"] == envelope.sha256(b"v")
    detail = json.loads(one.audit.detail)
    assert (detail["sha256"], detail["sha256_before"]) == (envelope.sha256(b"better"), envelope.sha256(b"v"))


def test_an_original_without_a_value_returns_without_one() -> None:
    """A tombstone is no missing value."""
    letter = stored(failed(ADMIT, topic="document.received.v1", value=None))
    assert replayed(request(letter), letter, None).returned.value is None
    assert replayed(request(letter, value=b""), letter, None).returned.value == b""


def test_a_replay_of_a_record_keyed_by_a_case_is_part_of_that_case() -> None:
    """Its timeline shows it."""
    letter = stored(failed(PLAN, topic="case.admitted.v1", key=b"case-1"))
    assert replayed(request(letter), letter).audit.case_id == "case-1"


def test_the_second_replay_counts_on() -> None:
    """replay.count grows, attempts go on, the first place stays."""
    back = stored(replayed(request()).returned)
    failure = Failure(stage=ADMIT, error=SchemaMismatch("no"), attempts=4, now_ms=NOW_MS, cluster="c")
    again = stored(envelope.wrap(back, failure), offset=12)
    said = envelope.headers_said(replayed(request(again, replay_id="r2"), again).returned.headers)
    assert (said["replay.count"], said["replay.attempts"], said["replay.job"]) == ("2", "4", "r2")
    assert (said["id"], said["orig.offset"]) == (ID, "7")


@pytest.mark.parametrize(
    ("asked", "letter", "value"),
    [
        pytest.param(request(), None, None, id="expired"),
        pytest.param(request(dead_letter_id="other"), LETTER, b"v", id="another id"),
        pytest.param(request(topic="document.received.v1"), LETTER, b"v", id="no dead-letter topic"),
        pytest.param(request(topic="aios.gateway.dlq"), LETTER, b"v", id="a stage that reads nothing"),
        pytest.param(
            request(), replace(LETTER, value=None, headers=(*LETTER.headers, ("aios.dlq.payload_ref", b"t/0/1"))), None
        , id="bytes gone"),
        pytest.param(request(value=b"x" * topics.DEAD_LETTER_BYTES_MAX), LETTER, b"v", id="too many bytes"),
    ],
)  # fmt: skip
def test_a_replay_that_cannot_be_done_is_refused(
    asked: ReplayRequested, letter: Record | None, value: bytes | None
) -> None:
    """As a property of the request: it becomes a dead letter itself."""
    with pytest.raises(RecordError):
        replayed(asked, letter, value)


# What is open


def letter(offset: int = 0, replays: int = 0, id_: str = "d1", at: int = NOW_MS) -> DeadLetter:
    known = letter_of(LETTER, ADMIT)
    assert known is not None
    place = ("aios.admit.dlq", 2, offset)
    return replace(known, id=id_, replays=replays, place=place, failed_at=at + replays, written_at=at + offset)


def asked_for(which: DeadLetter, offset: int = 0, partition: int = 0) -> Asked:
    return Asked(which.place, partition, offset)


def states(*args: Any) -> dict[str, tuple[State, int]]:
    return {one.id: (one.state, one.replays) for one in fold(*args)}


def test_a_dead_letter_is_read_back_as_it_was_written() -> None:
    """The few facts that people look for; nothing that is none of ours."""
    found = letter_of(LETTER, ADMIT)
    assert found is not None
    assert (found.id, found.group, found.reason, found.kind) == (ID, "aios.admit", "undecodable", "permanent")
    assert (found.key, found.tenant, found.attempts, found.size) == ("k", "acme", 3, 1)
    assert found.place == ("aios.admit.dlq", 2, 11)
    assert letter_of(replace(LETTER, headers=()), ADMIT) is None


def test_a_dead_letter_is_open_until_its_replay_was_served() -> None:
    """Open, requested, replayed."""
    one = letter()
    assert states([one], [], {}, []) == {"d1": (State.OPEN, 0)}
    assert states([one], [asked_for(one, 5)], {0: 5}, []) == {"d1": (State.REQUESTED, 0)}
    assert states([one], [asked_for(one, 5)], {0: 6}, []) == {"d1": (State.REPLAYED, 0)}


def test_a_replay_that_failed_leaves_it_open() -> None:
    """And another request counts."""
    one = letter()
    assert states([one], [asked_for(one, 5)], {0: 9}, [(0, 5)]) == {"d1": (State.OPEN, 0)}
    assert states([one], [asked_for(one, 5), asked_for(one, 6)], {0: 9}, [(0, 5)]) == {"d1": (State.REPLAYED, 0)}


def test_what_was_replayed_and_failed_again_is_open_again() -> None:
    """One line, with its count."""
    first, second = letter(0), letter(8, replays=1)
    assert states([first, second], [asked_for(first)], {0: 1}, []) == {"d1": (State.OPEN, 1)}
    assert states([second, first], [asked_for(second)], {0: 1}, []) == {"d1": (State.REPLAYED, 1)}


def test_a_dead_letter_written_twice_is_one() -> None:
    """A stage died before it could commit; a replay of either copy is a replay of both."""
    first, copy = letter(0), letter(1)
    assert states([first, copy], [asked_for(first)], {0: 1}, []) == {"d1": (State.REPLAYED, 0)}
    assert len(fold([first, copy], [], {}, [])) == 1


def test_the_newest_failure_comes_first() -> None:
    """As an operator reads."""
    found = fold([letter(0, id_="a", at=NOW_MS), letter(1, id_="b", at=NOW_MS + 5)], [], {}, [])
    assert [one.id for one in found] == ["b", "a"]
