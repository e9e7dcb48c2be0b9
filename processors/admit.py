"""admit: every event that arrives becomes an admitted case, a refusal with its reason, or a dead letter.

Enters: events of any input contract (streams/inputs.py), with any key and any partitioner; also of workflows that are
deployed while this runs (growing.py). Leaves: case.admitted.v1 keyed by case id, or event.refused.v1 with its audit
entry. Guaranteed: everything a producer left out is filled from the record
alone, so that the same record always gives the same case; the same idempotency key gives the same case id
whatever the record's place. Nothing is remembered here: repeats and conflicts are plan's to judge, and admit
scales over partitions.

Order of defaults: event id, else derived from topic, partition and offset; idempotency key, else the record's
key, else the event id; tenant, else the header aios-tenant, else the deployment's; arrival, else the broker's
timestamp. A record that returns after a failure is taken as what it was: at its first place and time.

Rejected: random ids (a redelivered record would be another case); refusing by rate (over the rate is deferred,
and that is the gateway's part).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aios.dlq import envelope
from aios.dlq.envelope import Origin
from aios.processors.stateful import growing, member
from aios.processors.stateful.state import Effects, StateView
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseAdmitted, Event, EventRefused, TenantRegistered
from aios.schemas.registry import RegistrySource
from aios.streams import carrying, failpoints, inputs, reference, topics
from aios.streams.bodies import larger
from aios.streams.config import Settings
from aios.streams.deployments import Catalogue, Deployments, Entry
from aios.streams.documents import NAME_CHARS_MAX
from aios.streams.errors import Reason, RecordError, StateBroken
from aios.streams.inputs import Input
from aios.streams.pool_files import Lane
from aios.streams.record import Outgoing, Record
from aios.streams.tenants import TenantTable
from aios.streams.topics import Topic
from aios.streams.topology import ADMIT

INPUT_BYTES_MAX = 900 << 10  # of the canonical input: it travels inside later records, which must fit their topics
STALE_AFTER_MS = topics.RETENTION_MS  # the idempotency window: beyond it a repeat is not recognisable
STAGE = "admit"
ORIGIN_HEADER = f"{envelope.PREFIX}orig."


class Tenants(Protocol):
    """Who may have cases here."""

    def get(self, name: str) -> TenantRegistered | None: ...


class Entries(Protocol):
    """Who takes the events of a contract: a Catalogue in service, Workflows where these stay as they are."""

    def entry(self, contract: str) -> Entry | None: ...


class Refusal(Exception):
    """The event will never become a case. detail: one sentence for the producer, without the field's content."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """An event with everything filled in that identifies it; its other fields are not checked yet."""

    event_id: str
    idempotency_key: str
    tenant: str
    workflow: str
    case_id: str
    origin: Origin
    traceparent: str
    replaces_body: str  # of a record that returns after an approved edit: the hash of its bytes before
    now_ms: int


class Admit:
    """The core; see the module. default_tenant: of records that name none."""

    def __init__(self, codec: Codec, tenants: Tenants, entries: Entries, default_tenant: str) -> None:
        self._codec = codec
        self._tenants = tenants
        self._entries = entries
        self._default_tenant = default_tenant

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:  # noqa: ARG002 - admit remembers nothing
        """Raises SchemaMismatch for what is not of its topic's contract, RecordError when no workflow takes that."""
        failpoints.hit("admit.decode", record.value or b"")
        origin = origin_of(record)
        entry = self._entries.entry(origin.topic)
        taken = entry.input if entry is not None else _shipped(origin.topic)
        event = self._codec.decode_plain(record.value, taken.contract, taken.schema)
        if entry is None:
            raise RecordError(f"no workflow takes {origin.topic} here", Reason.UNATTRIBUTABLE)
        arrived = self._identify(event.fields, entry, origin, record, now_ms)
        try:
            admitted = self._admit(event.fields, entry, arrived)
        except Refusal as refusal:
            return Effects(outputs=self._refuse(refusal, arrived, record))
        return Effects(outputs=(self._out(topics.CASE_ADMITTED, admitted, admitted.event_id, arrived),))

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:  # noqa: ARG002 - see below
        """Never called by a state that fits. Raises StateBroken."""
        raise StateBroken(f"admit sets no timers, but its state holds {timer_id}; run `aios up --fresh`")

    def _identify(
        self, fields: Mapping[str, Any], entry: Entry, origin: Origin, record: Record, now_ms: int
    ) -> Arrived:
        who = inputs.identity(
            fields,
            place=(origin.topic, origin.partition, origin.offset),
            key=record.key,
            tenant=record.header("aios-tenant") or "",
            default_tenant=self._default_tenant,
        )
        return Arrived(
            event_id=who.event_id,
            idempotency_key=who.idempotency_key,
            tenant=who.tenant,
            workflow=entry.workflow,
            case_id=ids.case_id(who.tenant, entry.workflow, who.idempotency_key),
            origin=origin,
            traceparent=record.header("traceparent") or "",
            replaces_body=envelope.said(record).get("replay.edited", ""),
            now_ms=now_ms,
        )

    def _admit(self, fields: Mapping[str, Any], entry: Entry, arrived: Arrived) -> CaseAdmitted:
        """Raises Refusal."""
        _check_names(arrived)
        if wrong := entry.input.wrong(fields):
            raise Refusal("invalid_field", wrong)
        tenant = self._tenants.get(arrived.tenant)
        if tenant is None or not tenant.active:
            raise Refusal("unknown_tenant", "tenant is not registered here, or not active")
        if not entry.open:
            raise Refusal("workflow_retired", f"{entry.workflow} takes no new cases")
        stamped = arrived.origin.timestamp_ms
        if stamped and stamped < arrived.now_ms - STALE_AFTER_MS:
            raise Refusal("stale", f"the record is older than the idempotency window of {topics.RETENTION_HOURS} hours")
        lane = fields["lane"] or Lane.BULK
        if lane not in tuple(Lane):
            raise Refusal("invalid_field", f"lane must be {' or '.join(Lane)}")
        received_at = fields["received_at"] or stamped or arrived.now_ms
        content = ids.canonical(entry.input.of_case(fields, received_at))
        if len(content.encode()) > INPUT_BYTES_MAX:
            way = larger(entry.input.body)
            raise Refusal("invalid_field", f"its fields take more than {INPUT_BYTES_MAX} bytes as JSON{way}")
        return CaseAdmitted(
            case_id=arrived.case_id,
            tenant=arrived.tenant,
            workflow=arrived.workflow,
            event_id=arrived.event_id,
            idempotency_key=arrived.idempotency_key,
            body_hash=entry.input.body_hash(fields),
            lane=lane,
            input_contract=entry.input.contract,
            input=content,
            received_at=received_at,
            admitted_at=arrived.now_ms,
            source_topic=arrived.origin.topic,
            source_partition=arrived.origin.partition,
            source_offset=arrived.origin.offset,
            replaces_body=arrived.replaces_body,
        )

    def _refuse(self, refusal: Refusal, arrived: Arrived, record: Record) -> tuple[Outgoing, ...]:
        place = arrived.origin
        refused = EventRefused(
            event_id=arrived.event_id[:NAME_CHARS_MAX],
            tenant=arrived.tenant[:NAME_CHARS_MAX],
            workflow=arrived.workflow,
            case_id=arrived.case_id,
            idempotency_key=arrived.idempotency_key[:NAME_CHARS_MAX],
            reason=refusal.reason,
            detail=refusal.detail,
            refused_by=STAGE,
            refused_at=arrived.now_ms,
            source_topic=place.topic,
            source_partition=place.partition,
            source_offset=place.offset,
        )
        audit = AuditRecorded(
            audit_id=ids.derive("refused", place.topic, str(place.partition), str(place.offset)),
            case_id=arrived.case_id,
            tenant=refused.tenant,
            workflow=arrived.workflow,
            case_seq=0,
            transition="refused",
            status="refused",
            actor=STAGE,
            detail=ids.canonical({"event_id": refused.event_id, "reason": refusal.reason, "detail": refusal.detail}),
            input_topic=record.topic,
            input_partition=record.partition,
            input_offset=record.offset,
            at=arrived.now_ms,
        )
        return (
            self._out(topics.EVENT_REFUSED, refused, refused.event_id, arrived),
            self._out(topics.AUDIT_RECORDED, audit, audit.audit_id, arrived),
        )

    def _out(self, topic: Topic, event: Event, event_id: str, arrived: Arrived) -> Outgoing:
        return carrying.outgoing(
            self._codec,
            topic,
            event,
            key=arrived.case_id,
            event_id=event_id,
            source=f"/aios/{STAGE}",
            subject=arrived.case_id,
            tenant=arrived.tenant[:NAME_CHARS_MAX],
            traceparent=arrived.traceparent,
            time_ms=arrived.now_ms,
        )


def origin_of(record: Record) -> Origin:
    """The first place and time of a record: its own, or what its headers say if it returns from a failure.

    Only the group's own retry topic is believed. Raises RecordError when those headers are no numbers.
    """
    said = {name: record.header(f"{ORIGIN_HEADER}{name}") for name in ("topic", "partition", "offset", "timestamp")}
    if record.topic != ADMIT.retries.name or not said["topic"]:
        return Origin(record.topic, record.partition, record.offset, record.timestamp_ms)
    try:
        return Origin(
            said["topic"], int(said["partition"] or ""), int(said["offset"] or ""), int(said["timestamp"] or 0)
        )
    except ValueError as error:
        raise RecordError(
            "the headers that say where this record first stood are broken", Reason.UNATTRIBUTABLE
        ) from error


def _check_names(arrived: Arrived) -> None:
    for name in ("event_id", "idempotency_key", "tenant"):
        if len(getattr(arrived, name)) > NAME_CHARS_MAX:
            raise Refusal("invalid_field", f"{name} has more than {NAME_CHARS_MAX} characters")


def _shipped(contract: str) -> Input:
    """Of a contract that no workflow takes here. Raises RecordError when it is none."""
    if contract not in inputs.SHIPPED:
        raise RecordError(f"{contract[:NAME_CHARS_MAX]} is no input contract here", Reason.UNATTRIBUTABLE)
    return inputs.shipped(contract)


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The shell; see stateful/growing.py. Raises StateBroken or Unavailable before it is a member of the group."""
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    tenants = TenantTable(settings.kafka, codec)
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def told() -> None:
        loop.call_soon_threadsafe(changed.set)

    deployments = Deployments(settings.kafka, codec, told)
    try:
        await asyncio.to_thread(codec.warm, member.carriers(ADMIT))
        await reference.start(tenants, deployments)
        catalogue = Catalogue(deployments)
        core = Admit(codec, tenants, catalogue, settings.default_tenant)
        await growing.run(
            lambda: replace(ADMIT, reads=catalogue.topics()),
            changed,
            core,
            codec,
            settings,
            slot=slot,
            stop=stop,
            ready=ready,
        )
    finally:
        await asyncio.to_thread(tenants.close)
        await asyncio.to_thread(deployments.close)
        registry.close()
