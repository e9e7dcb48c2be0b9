"""The headers of a dead letter: complete, bounded, replaced and never grown, and nobody else's."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import envelope
from aios.dlq.decide import Throttled
from aios.dlq.envelope import Failure, Origin
from aios.schemas import ids
from aios.streams import topics
from aios.streams.errors import AiosError, Reason, RecordError, SchemaMismatch
from aios.streams.record import Headers, Outgoing, Record
from aios.streams.topics import RETRY_TIERS
from aios.streams.topology import ADMIT, BY_NAME, PLAN, Stage

NOW_MS = 1_700_000_000_000
RECORD = Record(
    "document.received.v1",
    3,
    42,
    NOW_MS - 1_000,
    b"key",
    b"\x00\x00\x00\x00\x07rest",
    (("traceparent", b"00-aa-bb-01"), ("aios-tenant", b"acme"), ("ce_id", b"e1"), ("bare", None)),
)
BROKEN = SchemaMismatch("12 bytes left over")


def failure(error: Exception = BROKEN, attempts: int = 1, stage: Stage = ADMIT, now_ms: int = NOW_MS) -> Failure:
    return Failure(stage=stage, error=error, attempts=attempts, now_ms=now_ms, cluster="c1")


def ours(out: Outgoing) -> dict[str, str]:
    return envelope.headers_said(out.headers)


def back(out: Outgoing, stage: Stage = ADMIT, offset: int = 5, **more: str) -> Record:
    """The record as it returns on its group's retry topic."""
    headers = (*out.headers, *((envelope.PREFIX + k.replace("_", "."), v.encode()) for k, v in more.items()))
    return Record(stage.retries.name, out.partition or 0, offset, NOW_MS + 5_000, out.key, out.value, headers)


def raised(error: Exception) -> Exception:
    with contextlib.suppress(type(error)):
        raise error
    return error


def test_a_dead_letter_is_the_original_and_says_everything_about_its_failure() -> None:
    """Key, value, headers and partition as they were; each fact in a header of its own."""
    out = envelope.wrap(RECORD, failure())
    assert (out.topic, out.partition, out.key, out.value) == ("aios.admit.dlq", 3, RECORD.key, RECORD.value)
    assert tuple(out.headers)[:4] == RECORD.headers
    said = ours(out)
    assert said.pop("code_version")
    assert len(said.pop("fingerprint")) == envelope.FINGERPRINT_CHARS
    assert said == {
        "id": ids.derive("dead-letter", "c1", "document.received.v1", "3", "42", "aios.admit"),
        "idempotency_key": "key",
        "tenant": "acme",
        "payload_sha256": hashlib.sha256(RECORD.value or b"").hexdigest(),
        "orig.topic": "document.received.v1",
        "orig.partition": "3",
        "orig.offset": "42",
        "orig.timestamp": str(NOW_MS - 1_000),
        "orig.group": "aios.admit",
        "orig.schema_id": "7",
        "reason": "undecodable",
        "class": "permanent",
        "error.type": "SchemaMismatch",
        "error.message": "12 bytes left over",
        "stage": "admit",
        "attempts": "1",
        "first_failed_at": str(NOW_MS),
        "last_failed_at": str(NOW_MS),
    }


def test_a_record_that_returns_and_fails_again_keeps_its_first_place_and_id() -> None:
    """Headers are replaced: as many as before, whatever the number of failures."""
    first = envelope.wrap(RECORD, failure())
    second = envelope.wrap(back(first), failure(raised(ValueError("?")), attempts=2, now_ms=NOW_MS + 9))
    third = envelope.wrap(back(second, offset=6), failure(attempts=3, now_ms=NOW_MS + 20))
    assert len(third.headers) == len(first.headers)
    assert envelope.origin(back(third)) == Origin("document.received.v1", 3, 42, NOW_MS - 1_000)
    one, two, three = ours(first), ours(second), ours(third)
    assert one["id"] == two["id"] == three["id"]
    assert (two["reason"], three["reason"]) == ("unknown", "undecodable")
    assert (three["first_failed_at"], three["last_failed_at"]) == (str(NOW_MS), str(NOW_MS + 20))
    assert envelope.attempts_of(back(third)) == 3
    assert {k: v for k, v in three.items() if k.startswith("orig.")} == {
        k: v for k, v in one.items() if k.startswith("orig.")
    }


def test_another_group_gives_the_same_record_another_id() -> None:
    """Two groups can fail on one record, and each has its own dead letter."""
    assert ours(envelope.wrap(RECORD, failure()))["id"] != ours(envelope.wrap(RECORD, failure(stage=PLAN)))["id"]


def test_what_a_producer_forges_is_dropped() -> None:
    """Only a group's own retry topic is believed."""
    forged: Headers = (
        ("aios.dlq.orig.topic", b"elsewhere"),
        ("aios.dlq.orig.partition", b"0"),
        ("aios.dlq.orig.offset", b"0"),
        ("aios.dlq.orig.timestamp", b"0"),
        ("aios.dlq.attempts", b"99"),
        ("aios.dlq.replay.by", b"nobody"),
        ("aios.dlq.own", b"x"),
        ("aios.retry.target", b"aios.plan.retry"),
        ("__rule.name", b"x"),
        ("kept", b"1"),
    )
    record = replace(RECORD, headers=forged)
    out = envelope.wrap(record, failure())
    assert envelope.attempts_of(record) == 0
    assert envelope.attempt_of(record) == 1
    assert [(k, v) for k, v in out.headers if not k.startswith(envelope.PREFIX)] == [("kept", b"1")]
    said = ours(out)
    assert (said["orig.topic"], said["orig.offset"], said["attempts"]) == (RECORD.topic, "42", "1")
    assert "own" not in said
    assert "replay.by" not in said


@pytest.mark.parametrize("wrong", ["aios.dlq.orig.partition", "aios.dlq.orig.offset", "aios.dlq.orig.timestamp"])
def test_broken_headers_of_ours_break_nothing(wrong: str) -> None:
    """The record then counts as what it is now."""
    record = back(envelope.wrap(RECORD, failure()))
    headers = tuple((k, b"?" if k in (wrong, "aios.dlq.attempts") else v) for k, v in record.headers)
    record = replace(record, headers=headers)
    assert envelope.origin(record) == Origin(record.topic, record.partition, record.offset, record.timestamp_ms)
    assert envelope.attempts_of(record) == 0
    envelope.wrap(record, failure())


def test_a_replay_begins_the_attempts_anew_and_is_remembered() -> None:
    """replay.attempts of them were made before it; the total goes on."""
    out = envelope.wrap(RECORD, failure(attempts=3))
    record = back(out, replay_count="1", replay_by="ada", replay_job="j", replay_at="9", replay_attempts="3")
    assert (envelope.attempts_of(record), envelope.attempt_of(record)) == (3, 1)
    again = envelope.wrap(record, failure(attempts=4))
    said = ours(again)
    assert [said[f"replay.{name}"] for name in ("count", "by", "job", "at", "attempts")] == ["1", "ada", "j", "9", "3"]
    assert envelope.attempt_of(back(again)) == 2


class Nasty(Exception):
    def __str__(self) -> str:
        return "the customer's own words"


def test_no_header_holds_payload() -> None:
    """Other people's errors like to quote what they could not read: their type and place must do."""
    for error in (ValueError("invalid literal: 'Jane Doe'"), KeyError("Jane Doe"), Nasty()):
        said = ours(envelope.wrap(RECORD, failure(raised(error))))
        assert "error.message" not in said
        assert said["error.type"].endswith(type(error).__qualname__)
    told = ours(envelope.wrap(RECORD, failure(AiosError("jane@example.org aios_abcdefgh12 4111 1111 1111 1111 ok"))))
    assert told["error.message"] == "[redacted] [redacted] [redacted] ok"


def test_an_unknown_error_says_where_in_our_code_it_happened() -> None:
    """The innermost frame of ours, and what caused it."""
    try:
        ids.canonical({"x": float("nan")})
    except ValueError as error:
        error.__cause__ = KeyError("x")
        said = ours(envelope.wrap(RECORD, failure(error)))
    assert said["error.where"] == "schemas.ids:canonical"
    assert said["error.type"] == "ValueError from KeyError"


def test_an_unknown_error_carries_its_trace_as_code_alone() -> None:
    """Each frame's place and line, what caused it before it; nothing of what the code held; of a known reason none."""
    secret = "4111 1111"

    def fall(depth: int) -> None:
        if depth:
            fall(depth - 1)
        raise ValueError(secret)

    def fail(depth: int) -> str:
        try:
            try:
                fall(depth)
            except ValueError as cause:
                raise KeyError(secret) from cause
        except KeyError as error:
            return ours(envelope.wrap(RECORD, failure(error)))["error.trace"]
        raise AssertionError

    lines = fail(0).splitlines()
    assert [line.split(":")[-1].split("  ")[-1] for line in lines] == [
        "fall(depth)",
        "raise ValueError(secret)",
        "ValueError",
        "raise KeyError(secret) from cause",
        "KeyError",
    ]
    assert lines[1].startswith(f"{__name__}:test_an_unknown_error_carries_its_trace_as_code_alone.<locals>.fall:")
    deep = fail(500)
    assert deep.endswith("raise KeyError(secret) from cause\nKeyError")
    assert len(deep.encode()) <= envelope.TRACE_BYTES_MAX
    assert secret not in deep
    assert "error.trace" not in ours(envelope.wrap(RECORD, failure(raised(BROKEN))))


def test_one_kind_of_failure_has_one_fingerprint() -> None:
    """Numbers, ids and quoted words differ from record to record; reason, group, type and place do not."""
    same = {
        envelope.fingerprint(SchemaMismatch(text), ADMIT)
        for text in ("12 bytes left over", "7 bytes left over", "7  bytes left\nover")
    }
    assert len(same) == 1
    others = {
        envelope.fingerprint(SchemaMismatch("12 bytes left over"), PLAN),
        envelope.fingerprint(SchemaMismatch("12 bytes left over", Reason.OVERSIZE), ADMIT),
        envelope.fingerprint(SchemaMismatch("no value"), ADMIT),
        envelope.fingerprint(RecordError("12 bytes left over", Reason.UNDECODABLE), ADMIT),
    }
    assert len(others | same) == 5
    assert envelope.fingerprint(RecordError("no case 'a'", Reason.UNATTRIBUTABLE), PLAN) == envelope.fingerprint(
        RecordError("no case 'b c'", Reason.UNATTRIBUTABLE), PLAN
    )


TEXT = st.text(max_size=3_000)
HEADERS = st.lists(st.tuples(st.text(min_size=1, max_size=40), st.none() | st.binary(max_size=40)), max_size=5)


@settings(max_examples=60, deadline=None)
@given(words=TEXT, tenant=TEXT, headers=HEADERS, value=st.none() | st.binary(max_size=30), times=st.integers(1, 4))
def test_our_headers_stay_within_their_bound(
    words: str, tenant: str, headers: list[tuple[str, bytes | None]], value: bytes | None, times: int
) -> None:
    """Whatever the words, the tenant and the number of returns; and what is not ours survives."""
    theirs = (*headers, ("aios-tenant", tenant.encode("utf-8", "replace")))
    record = replace(RECORD, value=value, headers=theirs)
    for attempts in range(1, times + 1):
        out = envelope.wrap(record, failure(AiosError(words), attempts=attempts))
        mine = [(k, v) for k, v in out.headers if k.startswith(envelope.PREFIX)]
        assert sum(len(k.encode()) + len(v or b"") for k, v in mine) <= envelope.OURS_BYTES_MAX
        assert len({k for k, _ in mine}) == len(mine)
        assert all(len(v or b"") <= envelope.MESSAGE_BYTES_MAX for _, v in mine)
        record = back(out)
    assert envelope.foreign(record.headers) == envelope.foreign(theirs)
    assert (record.key, record.value) == (RECORD.key, value)


def test_the_largest_record_of_our_topics_travels_whole() -> None:
    """Through failure, wait and return, with all our headers."""
    largest = replace(RECORD, value=b"\x00" * (topics.RECORD_BYTES_MAX - 200))
    assert topics.RECORD_BYTES_MAX - 200 < largest.size <= topics.RECORD_BYTES_MAX
    for record in (largest, back(envelope.waiting(largest, failure(), RETRY_TIERS[0]))):
        assert envelope.fits(record)
        assert envelope.wrap(record, failure()).value == largest.value


@pytest.mark.parametrize("part", ["key", "value", "headers"])
def test_what_would_not_fit_travels_by_reference(part: str) -> None:
    """It becomes a dead letter all the same, and says where its bytes are."""
    huge: dict[str, Any] = {
        "key": b"x" * (topics.DEAD_LETTER_BYTES_MAX + 1),
        "value": b"x" * (topics.DEAD_LETTER_BYTES_MAX + 1),
        "headers": (("h", b"x" * (topics.DEAD_LETTER_BYTES_MAX + 1)),),
    }
    record = replace(RECORD, **{part: huge[part]})
    out = envelope.wrap(record, failure())
    size = Record(out.topic, 0, 0, 0, out.key, out.value, out.headers).size
    assert size <= topics.DEAD_LETTER_BYTES_MAX - envelope.BATCH_BYTES
    assert ours(out)["payload_ref"] == "document.received.v1/3/42"
    assert ours(out)["payload_sha256"] == hashlib.sha256(record.value or b"").hexdigest()


def test_thousands_of_headers_travel_by_reference() -> None:
    """They are few bytes on the road, and fifty megabytes in every process that reads them."""
    bare = replace(RECORD, headers=(("h", b""),) * envelope.HEADERS_MAX)
    assert envelope.fits(back(envelope.waiting(bare, failure(), RETRY_TIERS[0])))
    assert "payload_ref" not in ours(envelope.wrap(bare, failure()))
    out = envelope.wrap(replace(bare, headers=(*bare.headers, ("h", b""))), failure())
    assert (out.key, out.value, len(out.headers) < 50) == (RECORD.key, None, True)
    assert ours(out)["payload_ref"] == "document.received.v1/3/42"


def test_a_record_waits_with_its_target_and_delay() -> None:
    """Same partition number, original bytes."""
    stage = BY_NAME["plan"]
    out = envelope.waiting(replace(RECORD, topic=stage.reads[0].name), failure(stage=stage), RETRY_TIERS[1])
    assert (out.topic, out.partition, out.key, out.value) == ("aios.retry.1m", 3, RECORD.key, RECORD.value)
    headers = dict(out.headers)
    assert (headers["aios.retry.target"], headers["aios.retry.after"]) == (b"aios.plan.retry", b"60000")


def test_every_header_of_the_list_is_there_and_written_once() -> None:
    """Identity, origin, cause, counters and replay, as dlq/envelope.py lists them."""
    stage = BY_NAME["classify.bulk"]
    stamped = (("ce_id", b"e1"), ("aios-tenant", b"acme"), ("traceparent", b"00-a-b-01"), ("tracestate", b"x=1"))
    record = replace(RECORD, headers=stamped, value=b"\x00\x00\x00\x00\x07rest", timestamp_type="append")
    first = ours(envelope.wrap(record, failure(raised(AiosError("no")), stage=stage)))
    assert first.keys() == {
        *("id", "idempotency_key", "tenant", "payload_sha256"),
        *("orig.topic", "orig.partition", "orig.offset", "orig.timestamp", "orig.timestamp_type", "orig.group"),
        *("orig.schema_id", "reason", "class", "error.type", "error.message", "error.trace", "fingerprint"),
        *("stage", "code_version", "attempts", "first_failed_at", "last_failed_at"),
    }
    assert (first["orig.timestamp_type"], first["orig.schema_id"]) == ("append", "7")
    out = envelope.wrap(record, failure(stage=stage))
    moved = replace(
        back(out, replay_count="1", replay_edited="abc"), value=b"edited", key=b"k", timestamp_type="create"
    )
    again = envelope.wrap(moved, failure(stage=stage))
    kept = ("id", "idempotency_key", "orig.timestamp", "orig.timestamp_type", "orig.schema_id", "first_failed_at")
    assert {name: ours(again)[name] for name in kept} == {name: ours(out)[name] for name in kept}
    assert ours(again)["replay.edited"] == "abc"
    assert envelope.foreign(again.headers) == stamped


def test_the_idempotency_key_is_what_repeats_share() -> None:
    """On source topics the producer's key, as admit takes it; between our stages the event's id, never the case's."""
    event = (("ce_id", b"e1"),)
    assert ours(envelope.wrap(replace(RECORD, key=b"order-7"), failure()))["idempotency_key"] == "order-7"
    assert ours(envelope.wrap(replace(RECORD, key=b"\xff"), failure()))["idempotency_key"] == "ff"
    assert ours(envelope.wrap(replace(RECORD, key=None, headers=event), failure()))["idempotency_key"] == "e1"
    inner = replace(RECORD, topic="case.admitted.v1", key=b"case", headers=event)
    assert ours(envelope.wrap(inner, failure(stage=PLAN)))["idempotency_key"] == "e1"


def test_a_deferral_is_no_failure() -> None:
    """No attempt, no time of failure; each is counted, and the first real failure is the first."""
    slowed = back(envelope.waiting(RECORD, failure(Throttled("slow"), attempts=0), RETRY_TIERS[1]))
    assert (envelope.attempts_of(slowed), envelope.attempt_of(slowed), envelope.deferrals_of(slowed)) == (0, 1, 1)
    said = envelope.headers_said(slowed.headers)
    assert (said["reason"], said["class"]) == ("throttled", "policy")
    assert not {"first_failed_at", "last_failed_at"} & said.keys()
    twice = back(envelope.waiting(slowed, failure(Throttled("slow"), attempts=0), RETRY_TIERS[2]))
    dead = ours(envelope.wrap(twice, failure(attempts=1)))
    assert (dead["deferrals"], dead["attempts"], dead["first_failed_at"]) == ("2", "1", dead["last_failed_at"])
    assert (dead["orig.topic"], dead["orig.offset"]) == (RECORD.topic, "42")
