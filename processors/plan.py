"""plan: the workflow state machine as a stage; judge of repeats.

Enters, all keyed by case: admitted and cancelled cases, answers of models and outside systems, decisions of people,
what cases are told, fired timers. Leaves: commands to model pools (keyed by slots of their tenant, streams/slots.py)
and to outside systems, review tasks, the one decision, refusals of conflicts, and an audit entry for each transition.
Guaranteed: what case.py promises; a record whose key is not its case, or which sits in a partition that murmur2 would
not choose, changes nothing (its case's state lives elsewhere). Remembered: one case.remembered.v1 a case, until the
idempotency window has passed since its decision, and who stands and waits before the pools and systems (turnstile.py).
A case is kept small, because a million decided ones lie in memory (its key is the case id, so the value does not repeat
it; when it is forgotten is the state's end, not one more timer).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import cast

from prometheus_client import Counter

from aios.dlq import envelope
from aios.processors.cases import case, turnstile
from aios.processors.cases.active import Active, Newest, Versions
from aios.processors.cases.queues import Queues
from aios.processors.cases.spending import Funds
from aios.processors.cases.turn import Cause, Moved, Parsed, forget_at
from aios.processors.cases.turnstile import Turnstile
from aios.processors.language import policy_files, workflow_files
from aios.processors.language.workflow_files import Live, Workflows
from aios.processors.stateful import member
from aios.processors.stateful.state import FORGET, Effects, StateView
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    EVENTS,
    AuditRecorded,
    BudgetAnswered,
    BudgetRequested,
    CaseAdmitted,
    CaseCancelled,
    CaseDecided,
    CaseRemembered,
    CaseTold,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    EventRefused,
    InferenceCancelled,
    InferenceCompleted,
    InferenceRequested,
    PoolRemembered,
    ReviewDecided,
    ReviewRequested,
    TimerFired,
    UsageSettled,
)
from aios.schemas.registry import RegistrySource
from aios.streams import announced, carrying, failpoints, installed, reference, slots, topics
from aios.streams.announced import Announcer
from aios.streams.config import Settings
from aios.streams.deployments import Deployments
from aios.streams.errors import Reason, RecordError, SchemaMismatch, StateBroken
from aios.streams.limits import LimitTable
from aios.streams.partitioner import partition_of
from aios.streams.pool_files import Pool
from aios.streams.record import Outgoing, Record
from aios.streams.system_files import System
from aios.streams.topics import Topic
from aios.streams.topology import PLAN

SOURCE = "/aios/plan"
OPEN_MAX = 4_096  # open cases of a process that are kept as they were written: the next event need not read them
OPEN_BYTES_MAX = 16 << 10  # of such a case
PLACES_MAX = 4_096  # records of the turnstile that are kept as they were read: few numbers, again and again
_CONTRACTS = {topic.name: EVENTS[topic.contracts[0]] for topic in PLAN.reads}
_ANY = replace(PLAN.retries, contracts=tuple(contract for topic in PLAN.reads for contract in topic.contracts))
_SKIPPED = Counter("aios_plan_events_skipped", "Events that changed nothing: repeated, wasted, late_timer.", ["why"])
_TURNS = Counter(
    "aios_plan_turns",
    "Cases that began to wait for their turn to ask a pool or system, and that were called.",
    ["what"],
)

Input = (
    CaseAdmitted
    | CaseCancelled
    | CaseTold
    | BudgetAnswered
    | InferenceCompleted
    | ConnectorCompleted
    | ReviewDecided
    | TimerFired
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A case: its bytes, what they say, and what its JSON says. One that is not remembered says nothing."""

    value: bytes = b""
    state: CaseRemembered | None = None
    parsed: Parsed = field(default_factory=Parsed)


class Plan:
    """The core; see the module. partitions: of the case family. versions: of models and prompts, that are active.

    funds: what limits and prices hold. pools: by name, where they are not those of this deploy.
    """

    def __init__(
        self,
        codec: Codec,
        workflows: Workflows,
        partitions: int,
        versions: Versions | None = None,
        funds: Funds | None = None,
        *,
        pools: Mapping[str, Pool] | None = None,
        systems: Iterable[System] | None = None,
    ) -> None:
        self._codec = codec
        self._workflows = workflows
        self._partitions = partitions
        self._funds = funds or Funds()
        self._versions = versions or Newest()
        self._pools = installed.pools() if pools is None else pools
        asked = installed.systems().values() if systems is None else systems
        outstanding_max = {name: pool.limits.tenant_outstanding_max for name, pool in self._pools.items()}
        outstanding_max |= {turnstile.place_at(one.system): one.limits.tenant_outstanding_max for one in asked}
        self._share = turnstile.shares(outstanding_max, partitions)
        self._changelog = cast(Topic, PLAN.changelog)
        self._open: dict[bytes, _Known] = {}  # by key
        self._places: dict[bytes, Event] = {}  # what bytes of the turnstile say
        self._queues = Queues(outstanding_max)

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        """Raises SchemaMismatch, RecordError, ExpressionError: this record; StateBroken, ConfigError: this deploy."""
        failpoints.hit("plan.decode", record.value or b"")
        event = self._decode(record)
        key = self._key(event, record)
        known = self._recall(key, event.case_id, state.get(key))
        cause = Cause(record.topic, record.partition, record.offset, now_ms, self._versions, self._funds)
        gate = self._gate(state)
        traceparent = record.header("traceparent") or ""
        moved = case.plan(
            known.state,
            event,
            cause,
            self._workflows,
            traceparent,
            turnstile=gate,
            pools=self._pools,
            parsed=known.parsed,
        )
        try:
            return self._effects(key, known, moved, gate, now_ms)
        except SchemaMismatch as error:
            if error.reason is not Reason.OVERSIZE or known.state is None or known.state.decided_at:
                raise
            if isinstance(event, CaseTold):  # whoever tells too much ends no case: it waits on, and its timer comes
                raise
        gate = self._gate(state)
        moved = case.cut_short(known.state, cause, self._workflows, turnstile=gate)
        return self._effects(key, known, moved, gate, now_ms)

    def _gate(self, state: StateView) -> Turnstile:
        return Turnstile(partial(self._look, state), self._share)

    def _effects(self, key: bytes, known: _Known, moved: Moved, gate: Turnstile, now_ms: int) -> Effects:
        """Raises SchemaMismatch: OVERSIZE, when a record or the state is too large."""
        if moved.skipped:
            _SKIPPED.labels(moved.skipped).inc()
        if moved.state is not None and moved.state.turn and (known.state is None or not known.state.turn):
            _TURNS.labels("waited").inc()
        if gate.called:
            _TURNS.labels("called").inc(len(gate.called))
        trace = known.state or moved.state
        changes = self._changes(key, known, moved)
        return Effects(
            outputs=[
                *(self._out(topic, told, trace.traceparent if trace else "", now_ms) for topic, told in moved.events),
                *(self.fire(case_id, turn_id, now_ms, now_ms) for case_id, turn_id in gate.called),
            ],
            changes=changes | {place: self._kept(kept) for place, kept in gate.changes.items()},
            timers={(key.decode(), timer_id): due for timer_id, due in moved.timers.items() if timer_id != FORGET},
            ends=_ends(key, moved) if changes else {},
        )

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        """A timer that came due, as an input of this stage."""
        event = TimerFired(timer_id=timer_id, case_id=key, due_at=due_ms, fired_at=now_ms)
        return self._out(topics.TIMER_FIRED, event, "", now_ms)

    def check(self, record: Record) -> None:
        """Whether it would be read and sits where its case lives. Raises SchemaMismatch, RecordError."""
        self._key(self._decode(record), record)

    def _decode(self, record: Record) -> Input:
        """By topic; what returns through the group's retry topic says by its schema what it is."""
        contract = _CONTRACTS.get(record.topic)
        if contract is not None:
            return cast(Input, self._codec.decode(record.value, contract))
        event = cast(Input, self._codec.decode_any(record.value, _ANY))
        before = envelope.said(record).get("replay.edited", "")
        return self._edited(event, before) if before and isinstance(event, CaseAdmitted) else event

    def _edited(self, event: CaseAdmitted, before: str) -> CaseAdmitted:
        """An admitted case whose record returns after an approved edit: its hash is that of the body as it is now."""
        entry = self._workflows.entry(event.input_contract)
        if entry is None:
            raise RecordError(f"no workflow takes {event.input_contract} here", Reason.UNATTRIBUTABLE)
        try:
            body_hash = entry.input.body_hash(entry.input.sent(json.loads(event.input), event.received_at))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecordError("the edited input is none of its contract", Reason.CONTRACT_BROKEN) from error
        return replace(event, body_hash=body_hash, replaces_body=before)

    def _key(self, event: Input, record: Record) -> bytes:
        key = event.case_id.encode()
        if record.key != key:
            raise RecordError("the record's key is not its case id", Reason.UNATTRIBUTABLE)
        expected = _partition_of(key, self._partitions)
        if record.partition != expected:
            raise RecordError(
                f"this case lives in partition {expected}, not {record.partition}: the producer needs "
                "partitioner=murmur2_random",
                Reason.WRONG_PARTITION,
            )
        return key

    def _recall(self, key: bytes, case_id: str, value: bytes | None) -> _Known:
        if value is None:
            return _Known()
        known = self._open.get(key)
        if known is not None and known.value == value:  # whoever wrote these bytes, they say this
            return known
        try:
            return _Known(value, _under(case_id, self._codec.decode(value, CaseRemembered)))
        except SchemaMismatch as error:
            raise StateBroken(f"a remembered case is not readable by this deploy: {error}") from error

    def kept(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """As processors/stateful/state.py says: for who waits before the pools and systems."""
        for key, value in changes.items():
            if key.startswith(turnstile.POOL):
                place = None if value is None else self._placed(value, PoolRemembered)
                self._queues.see(partition, key, cast(PoolRemembered | None, place))

    def left(self, partition: int) -> None:
        self._queues.forget(partition)

    def _look(self, state: StateView, key: bytes, kind: type[Event]) -> Event | None:
        """What the turnstile remembers."""
        value = state.get(key)
        return None if value is None else self._placed(value, kind)

    def _placed(self, value: bytes, kind: type[Event]) -> Event:
        known = self._places.get(value)  # other partitions' threads may clear it at any time
        if known is not None:
            return known
        try:
            known = self._codec.decode(value, kind)
        except SchemaMismatch as error:
            raise StateBroken(f"what the turnstile remembers is not readable by this deploy: {error}") from error
        if len(self._places) >= PLACES_MAX:
            self._places.clear()
        self._places[value] = known
        return known

    def _kept(self, known: Event | None) -> bytes | None:
        return None if known is None else self._codec.encode(self._changelog, known)

    def _changes(self, key: bytes, before: _Known, moved: Moved) -> dict[bytes, bytes | None]:
        state = moved.state
        if state is before.state or state == before.state:
            return {}
        self._open.pop(key, None)
        if state is None:
            return {key: None}
        case_id = state.case_id
        value = self._codec.encode(self._changelog, _under("", state))
        if not state.decided_at and len(value) <= OPEN_BYTES_MAX:
            if len(self._open) >= OPEN_MAX:
                self._open.clear()
            self._open[key] = _Known(value, _under(case_id, state), before.parsed)
        return {key: value}

    def _out(self, topic: Topic, event: Event, traceparent: str, now_ms: int) -> Outgoing:
        event_id, case_id, tenant = _identity(event)
        out = carrying.outgoing(
            self._codec,
            topic,
            event,
            key=_key_of(event, case_id),
            event_id=event_id,
            source=SOURCE,
            subject=case_id,
            tenant=tenant,
            traceparent=traceparent,
            time_ms=now_ms,
        )
        if isinstance(event, InferenceRequested):
            return replace(out, headers=(*out.headers, *slots.headers(event.deadline_at, event.priority, event.model)))
        return out


_partition_of = lru_cache(maxsize=16_384)(partition_of)
"""A case comes here a dozen times."""


def _under(case_id: str, state: CaseRemembered) -> CaseRemembered:
    """A state that nobody has seen yet, with the id that its key says."""
    object.__setattr__(state, "case_id", case_id)
    return state


def _key_of(event: Event, case_id: str) -> bytes:
    """What plan writes is keyed by case, but for what it tells a pool."""
    match event:
        case InferenceRequested():
            return slots.key_of(event.tenant, event.case_id)
        case InferenceCancelled():
            return event.request_id.encode()
        case BudgetRequested() | UsageSettled():
            return event.tenant.encode()
    return case_id.encode()


def _ends(key: bytes, moved: Moved) -> dict[bytes, int]:
    return {key: forget_at(moved.state)} if moved.state is not None and moved.state.decided_at else {}


_TOLD_BY: Mapping[type[Event], Callable[[Event], tuple[str, str, str]]] = {
    kind: attrgetter(name, "case_id", "tenant")
    for kind, name in {
        InferenceRequested: "request_id",
        ConnectorRequested: "request_id",
        BudgetRequested: "reservation_id",
        UsageSettled: "settlement_id",
        ReviewRequested: "task_id",
        CaseDecided: "decision_id",
        AuditRecorded: "audit_id",
        EventRefused: "event_id",
    }.items()
}
"""What plan writes and has an id of its own, case and tenant."""


def _identity(event: Event) -> tuple[str, str, str]:
    """Event id, case id and tenant of what plan writes."""
    told = _TOLD_BY.get(type(event))
    if told is not None:
        event_id, case_id, tenant = told(event)
        return event_id, case_id, tenant
    match event:
        case InferenceCancelled():
            return ids.derive("cancelled", event.request_id), event.case_id, event.tenant
        case TimerFired():
            return ids.derive("timer", event.case_id, event.timer_id, str(event.due_at)), event.case_id, ""
    raise ValueError(f"plan does not write {event.contract}")


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The shell; see stateful/member.py. Raises StateBroken or Unavailable before it is a member of the group."""
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    versions, limits = Active(settings.kafka, codec), LimitTable(settings.kafka, codec)
    deployments = Deployments(settings.kafka, codec)
    announcer = Announcer(settings.kafka, codec, [f"{PLAN.group}.{slot}"], _here)
    try:
        await asyncio.to_thread(codec.warm, member.carriers(PLAN))
        await reference.start(versions, limits, deployments, announcer)
        partitions = topics.CASE_ADMITTED.partitions(settings.kafka.partitions)
        funds = Funds(lambda tenant, workflow: bool(limits.of(tenant, workflow)), settings.money.person_minute)
        workflows = Live(workflow_files.shipped(), deployments)
        core = Plan(codec, workflows, partitions, versions, funds)
        await member.run_stage(PLAN, core, codec, settings, slot=slot, stop=stop, ready=ready)
    finally:
        await asyncio.to_thread(announcer.close)
        await asyncio.to_thread(versions.close)
        await asyncio.to_thread(limits.close)
        await asyncio.to_thread(deployments.close)
        registry.close()


def _here() -> announced.Files:
    """What this process has of what workflows name."""
    return announced.here(policy_files.digests())
