"""admit's core: what becomes a case, what is refused, and that nothing but the record decides it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aios.dlq.settle import Settler
from aios.processors import admit
from aios.processors.admit import Admit
from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Workflows
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.store import PartitionStore, Services
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseAdmitted, DocumentReceived, Event, EventRefused, TenantRegistered
from aios.streams import documents, topics
from aios.streams.errors import Reason, RecordError, SchemaMismatch, StateBroken
from aios.streams.record import Outgoing, Record
from aios.streams.topology import ADMIT
from tests.fakes.breakers import OwnBreakers
from tests.fakes.memory_log import MemoryLog
from tests.fakes.registry import FakeRegistry
from tests.unit.test_parking import Alive

NOW_MS = 1_700_000_000_000
CODEC = Codec(FakeRegistry())
TENANTS = {
    name: TenantRegistered(tenant=name, key_hashes=(), active=name != "closed", registered_at=1)
    for name in ("demo", "acme", "closed")
}
CORE = Admit(CODEC, TENANTS, workflow_files.shipped(), "demo")


class Nothing:
    """State of a stage that remembers nothing."""

    def get(self, key: bytes) -> bytes | None:
        return None


def record(event: DocumentReceived | None = None, value: bytes | None = None, **changed: Any) -> Record:
    if event is not None:
        value = CODEC.encode(topics.DOCUMENT_RECEIVED, event)
    return replace(Record("document.received.v1", 3, 42, NOW_MS - 1_000, None, value), **changed)


def step(given: Record, core: Admit = CORE) -> list[tuple[Outgoing, Event]]:
    effects = core.step(given, Nothing(), NOW_MS)
    assert not effects.changes
    assert not effects.timers
    return [
        (one, CODEC.decode_any(one.value, next(t for t in ADMIT.writes if t.name == one.topic)))
        for one in effects.outputs
    ]


def admitted(given: Record) -> CaseAdmitted:
    ((out, event),) = step(given)
    assert isinstance(event, CaseAdmitted)
    assert (out.topic, out.key) == ("case.admitted.v1", event.case_id.encode())
    return event


def refused(given: Record) -> EventRefused:
    (out, event), (_, audit) = step(given)
    assert isinstance(event, EventRefused)
    assert isinstance(audit, AuditRecorded)
    assert out.key == event.case_id.encode()
    assert (audit.transition, audit.case_seq, audit.case_id) == ("refused", 0, event.case_id)
    assert json.loads(audit.detail)["reason"] == event.reason
    return event


def test_text_is_the_only_field_a_producer_must_fill() -> None:
    """Everything else comes from the record's place and time and from the deployment."""
    event = admitted(record(DocumentReceived(text="Where is my card?")))
    event_id = ids.derive("event", "document.received.v1", "3", "42")
    body = {"text": "Where is my card?", "channel": "message", "subject": "", "customer_id": ""}
    assert event == CaseAdmitted(
        case_id=ids.case_id("demo", "document.triage", event_id),
        tenant="demo",
        workflow="document.triage",
        event_id=event_id,
        idempotency_key=event_id,
        body_hash=ids.body_hash(body),
        lane="bulk",
        input_contract="document.received.v1",
        input=ids.canonical(body),
        received_at=NOW_MS - 1_000,
        admitted_at=NOW_MS,
        source_topic="document.received.v1",
        source_partition=3,
        source_offset=42,
    )


@pytest.mark.parametrize(
    ("event", "key", "expected"),
    [
        (DocumentReceived(text="t", idempotency_key="own", event_id="e"), b"record key", "own"),
        (DocumentReceived(text="t", event_id="e"), b"record key", "record key"),
        (DocumentReceived(text="t", event_id="e"), b"\xff\x00", "ff00"),
        (DocumentReceived(text="t", event_id="e"), b"", "e"),
        (DocumentReceived(text="t", event_id="e"), None, "e"),
    ],
)
def test_the_idempotency_key_has_an_order_of_sources(event: DocumentReceived, key: bytes | None, expected: str) -> None:
    """Its own, else the record's key as text or hex, else the event id."""
    assert admitted(record(event, key=key)).idempotency_key == expected


@pytest.mark.parametrize(
    ("tenant", "header", "expected"), [("acme", b"demo", "acme"), ("", b"acme", "acme"), ("", None, "demo")]
)
def test_the_tenant_has_an_order_of_sources(tenant: str, header: bytes | None, expected: str) -> None:
    """The value, else the header, else the deployment's default."""
    headers = () if header is None else (("aios-tenant", header),)
    assert admitted(record(DocumentReceived(text="t", tenant=tenant), headers=headers)).tenant == expected


@pytest.mark.parametrize(
    ("chars", "said", "expected"),
    [
        (documents.MESSAGE_CHARS_MAX, "", "message"),
        (documents.MESSAGE_CHARS_MAX + 1, "", "letter"),
        (3, "letter", "letter"),
        (5_000, "message", "message"),
    ],
)
def test_the_channel_follows_the_length_unless_it_is_said(chars: int, said: str, expected: str) -> None:
    """The bound is MESSAGE_CHARS_MAX."""
    assert json.loads(admitted(record(DocumentReceived(text="x" * chars, channel=said))).input)["channel"] == expected


@pytest.mark.parametrize(
    ("event", "reason", "names"),
    [
        (DocumentReceived(text=""), "invalid_field", "text"),
        (DocumentReceived(text=" \n\t"), "invalid_field", "text"),
        (DocumentReceived(text="x" * (documents.TEXT_CHARS_MAX + 1)), "invalid_field", "text"),
        (DocumentReceived(text="\x01" * documents.TEXT_CHARS_MAX), "invalid_field", "bytes"),
        (DocumentReceived(text="t", channel="fax"), "invalid_field", "channel"),
        (DocumentReceived(text="t", lane="express"), "invalid_field", "lane"),
        (DocumentReceived(text="t", received_at=-1), "invalid_field", "received_at"),
        (DocumentReceived(text="t", received_at=1 << 60), "invalid_field", "received_at"),
        (DocumentReceived(text="t", idempotency_key="k" * 300), "invalid_field", "idempotency_key"),
        (DocumentReceived(text="t", event_id="k" * 300), "invalid_field", "event_id"),
        (DocumentReceived(text="t", customer_id="k" * 300), "invalid_field", "customer_id"),
        (DocumentReceived(text="t", subject="k" * 3_000), "invalid_field", "subject"),
        (DocumentReceived(text="t", tenant="k" * 300), "invalid_field", "tenant"),
        (DocumentReceived(text="t", tenant="nobody"), "unknown_tenant", "tenant"),
        (DocumentReceived(text="t", tenant="closed"), "unknown_tenant", "tenant"),
    ],
)
def test_what_can_never_become_a_case_is_refused(event: DocumentReceived, reason: str, names: str) -> None:
    """With its reason and the field's name, on the audit too, and within every bound of the contract."""
    event_refused = refused(record(event))
    assert event_refused.reason == reason
    assert names in event_refused.detail


def test_a_producer_s_clock_that_is_ahead_makes_nobody_s_events_stale() -> None:
    """In a topic that others made with their producers' times: neither those behind it, nor after a restart."""
    assert ADMIT.changelog is not None
    CODEC.warm([ADMIT.changelog])
    log = MemoryLog(CODEC, ADMIT, now_ms=NOW_MS)
    services = Services(
        stage=ADMIT,
        core=CORE,
        codec=CODEC,
        log=log,
        deaths=cast(Any, Alive()),
        settler=Settler(ADMIT, "test", breakers=OwnBreakers()),
    )
    name, value = topics.DOCUMENT_RECEIVED.name, CODEC.encode(topics.DOCUMENT_RECEIVED, DocumentReceived(text="t"))

    def come(*stamps: int) -> None:
        store = PartitionStore(services, 0)
        store.open()
        start = store.position[name]
        records = [
            Record(name, 0, start + at, stamp, None, value, (), "create" if stamp > log.now_ms else "append")
            for at, stamp in enumerate(stamps)
        ]
        log.topics[name] += records
        store.apply([Batch(name, 0, start, records, start + len(records))])

    come(NOW_MS, NOW_MS * 1_000, NOW_MS)
    come(NOW_MS)
    assert len(log.topics["case.admitted.v1"]) == 4
    assert not log.topics["event.refused.v1"]


def test_a_record_older_than_the_idempotency_window_is_stale() -> None:
    """Beyond the window a repeat could not be recognised; a record without a timestamp is taken as new."""
    edge = NOW_MS - admit.STALE_AFTER_MS
    assert refused(record(DocumentReceived(text="t"), timestamp_ms=edge - 1)).reason == "stale"
    assert admitted(record(DocumentReceived(text="t"), timestamp_ms=edge)).received_at == edge
    assert admitted(record(DocumentReceived(text="t"), timestamp_ms=0)).received_at == NOW_MS


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b"\xffnot avro", Reason.UNDECODABLE),
        (b"\x00\x00\x00\xff\xff\x02a", Reason.UNKNOWN_SCHEMA),
    ],
)
def test_what_is_no_document_is_a_dead_letter(value: bytes | None, reason: Reason) -> None:
    """Nothing is written about it: who sent it is not known."""
    with pytest.raises(SchemaMismatch) as caught:
        CORE.step(record(value=value), Nothing(), NOW_MS)
    assert caught.value.reason is reason


def test_without_a_workflow_that_takes_it_an_event_waits_as_a_dead_letter() -> None:
    """A deploy that lacks the workflow must not refuse for good what another one can take."""
    with pytest.raises(RecordError) as caught:
        Admit(CODEC, TENANTS, Workflows([]), "demo").step(record(DocumentReceived(text="t")), Nothing(), NOW_MS)
    assert caught.value.reason is Reason.UNATTRIBUTABLE


def test_a_record_that_returns_from_a_failure_is_what_it_first_was() -> None:
    """Same place and time, so the same event id and case; forged headers on the source topic are not believed."""
    first = record(DocumentReceived(text="t"))
    headers = tuple(
        (f"{admit.ORIGIN_HEADER}{name}", str(value).encode())
        for name, value in (("topic", first.topic), ("partition", 3), ("offset", 42), ("timestamp", first.timestamp_ms))
    )
    again = replace(first, topic=ADMIT.retries.name, offset=0, timestamp_ms=NOW_MS, headers=headers)
    assert step(again) == step(first)
    forged = replace(first, offset=43, headers=headers)
    assert admitted(forged).source_offset == 43
    broken = replace(again, headers=(*headers, (f"{admit.ORIGIN_HEADER}offset", b"x")))
    with pytest.raises(RecordError):
        CORE.step(broken, Nothing(), NOW_MS)


def test_admit_has_no_timers() -> None:
    """One in its state means that the state belongs to something else."""
    with pytest.raises(StateBroken):
        CORE.fire("case", "timer", 0, 0)


ANY_TEXT = st.text(max_size=40)
DOCUMENTS = st.builds(
    DocumentReceived,
    text=ANY_TEXT,
    event_id=ANY_TEXT,
    idempotency_key=ANY_TEXT,
    tenant=st.sampled_from(["", "demo", "acme", "closed", "nobody"]),
    channel=st.sampled_from(["", "letter", "message", "fax"]),
    subject=ANY_TEXT,
    customer_id=ANY_TEXT,
    received_at=st.integers(-(1 << 40), 1 << 50),
    lane=st.sampled_from(["", "bulk", "interactive", "x"]),
)


@settings(max_examples=200, deadline=None)
@given(event=DOCUMENTS, key=st.none() | st.binary(max_size=20), timestamp=st.integers(-1, NOW_MS + 1))
def test_the_same_record_gives_the_same_outputs(event: DocumentReceived, key: bytes | None, timestamp: int) -> None:
    """Byte for byte, with another core too; one outcome, admitted or refused, and nothing raised."""
    one = record(event, key=key, timestamp_ms=timestamp)
    outputs = CORE.step(one, Nothing(), NOW_MS).outputs
    assert Admit(CODEC, TENANTS, workflow_files.shipped(), "demo").step(one, Nothing(), NOW_MS).outputs == outputs
    assert [out.topic for out in outputs] in (["case.admitted.v1"], ["event.refused.v1", "audit.recorded.v1"])


@settings(max_examples=100, deadline=None)
@given(key=st.text(min_size=1, max_size=40), offsets=st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)))
def test_two_records_with_one_key_are_one_case(key: str, offsets: tuple[int, int]) -> None:
    """Wherever they stand; the body's hash tells a repeat from a conflict."""
    same, other = (record(DocumentReceived(text="t", idempotency_key=key), offset=n, partition=n % 6) for n in offsets)
    another = record(DocumentReceived(text="u", idempotency_key=key))
    cases = [admitted(one) for one in (same, other, another)]
    assert len({one.case_id for one in cases}) == 1
    assert cases[0].body_hash == cases[1].body_hash != cases[2].body_hash


@settings(max_examples=200, deadline=None)
@given(value=st.binary(max_size=60))
@example(value=b"\x00\x00\x00\x00\x01" + b"\xff" * 20)
def test_any_bytes_are_a_dead_letter_or_a_document(value: bytes) -> None:
    """Never another exception."""
    CODEC.encode(topics.DOCUMENT_RECEIVED, DocumentReceived(text="t"))  # schema 1 exists
    with contextlib.suppress(SchemaMismatch):
        CORE.step(record(value=value), Nothing(), NOW_MS)
