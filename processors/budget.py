"""budget: reservations before a call, settlements after it, by tenant.

Enters, keyed by tenant: requests for a reservation, and the ledger (usage.settled.v1): what answers and people have
cost, and the ends of reservations. Leaves: an answer to each request, keyed by case; where a budget stands, after each
change; the end of a reservation whose time is over, as a line of the ledger that this stage reads itself.
Guaranteed: what accounts.py promises; a tenant's requests are answered one after the other, since all lie in one
partition; a record counts once, whatever dies when (stateful/store.py). Remembered: an account a declared limit, and
a reservation while it is open; a reservation's end comes minutes late rather than exact.

A tenant without limits costs nothing here: plan asks only where one is declared.
Rejected: balances in Valkey (two writers, and a lost write is money), a reservation a call (a round trip each).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Protocol, TypeVar, cast

from prometheus_client import Counter

from aios.processors import accounts
from aios.processors.accounts import EXPIRED, Booked
from aios.processors.stateful import member
from aios.processors.stateful.state import Effects, StateView
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    EVENTS,
    AccountRemembered,
    BudgetAnswered,
    BudgetChanged,
    BudgetDeclared,
    BudgetRequested,
    Event,
    ReservationRemembered,
    UsageSettled,
)
from aios.schemas.registry import RegistrySource
from aios.streams import carrying, failpoints, money, topics
from aios.streams.config import Settings
from aios.streams.errors import Reason, RecordError, SchemaMismatch, StateBroken
from aios.streams.limits import LimitTable
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Topic
from aios.streams.topology import BUDGET

SOURCE = "/aios/budget"
_CONTRACTS = {topic.name: EVENTS[topic.contracts[0]] for topic in BUDGET.reads}
_ANY = replace(BUDGET.retries, contracts=tuple(contract for topic in BUDGET.reads for contract in topic.contracts))
_ANSWERED = Counter("aios_budget_answers", "Requests for a reservation, by answer.", ["status", "reason"])
_SOFT = Counter("aios_budget_soft_passed", "Soft limits that were passed, once a window.")

log = logging.getLogger(__name__)
Input = BudgetRequested | UsageSettled
E = TypeVar("E", bound=Event)


class Limits(Protocol):
    """What is declared."""

    def of(self, tenant: str, workflow: str) -> Mapping[str, BudgetDeclared]: ...


class Budget:
    """The core; see the module. partitions: of the tenant family."""

    def __init__(self, codec: Codec, limits: Limits, partitions: int) -> None:
        self._codec = codec
        self._limits = limits
        self._partitions = partitions
        self._changelog = cast(Topic, BUDGET.changelog)

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        """Raises SchemaMismatch, RecordError: this record; StateBroken: this deploy."""
        failpoints.hit("budget.decode", record.value or b"")
        event = self._decode(record)
        self._check(event, record)
        key = _held_key(event)
        held = self._recall(state, key, ReservationRemembered)
        limits = self._limits.of(event.tenant, event.workflow)
        names = {*limits, *(held.budgets if held is not None else ())}
        known = {name: one for name in names if (one := self._recall(state, _account_key(name), AccountRemembered))}
        if isinstance(event, BudgetRequested):
            booked = accounts.reserve(event, held, known, limits, now_ms)
        else:
            booked = accounts.settle(event, held, known, limits, now_ms)
        return self._effects(event, Booked(held, known), booked, record.header("traceparent") or "", now_ms)

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:  # noqa: ARG002 - Core's signature
        """The end of a reservation whose time is over; its key says all of it."""
        _, tenant, workflow, case_id, reservation_id = key.split("/")
        event = UsageSettled(
            settlement_id=ids.derive("settled", reservation_id, EXPIRED),
            reservation_id=reservation_id,
            case_id=case_id,
            tenant=tenant,
            workflow=workflow,
            kind=EXPIRED,
            cost_micro=0,
            settled_at=now_ms,
        )
        return carrying.outgoing(
            self._codec,
            topics.USAGE_SETTLED,
            event,
            key=tenant,
            event_id=event.settlement_id,
            source=SOURCE,
            subject=case_id,
            tenant=tenant,
            time_ms=now_ms,
        )

    def _decode(self, record: Record) -> Input:
        contract = _CONTRACTS.get(record.topic)
        if contract is not None:
            return cast(Input, self._codec.decode(record.value, contract))
        return cast(Input, self._codec.decode_any(record.value, _ANY))

    def _check(self, event: Input, record: Record) -> None:
        key = event.tenant.encode()
        if record.key != key:
            raise RecordError("the record's key is not its tenant", Reason.UNATTRIBUTABLE)
        expected = partition_of(key, self._partitions)
        if record.partition != expected:
            raise RecordError(
                f"this tenant lives in partition {expected}, not {record.partition}: the producer needs "
                "partitioner=murmur2_random",
                Reason.WRONG_PARTITION,
            )
        if isinstance(event, UsageSettled) and event.cost_micro < 0:
            raise RecordError("nothing costs less than nothing", Reason.CONTRACT_BROKEN)

    def _recall(self, state: StateView, key: bytes, kind: type[E]) -> E | None:
        value = state.get(key)
        if value is None:
            return None
        try:
            return self._codec.decode(value, kind)
        except SchemaMismatch as error:
            raise StateBroken(f"a remembered budget is not readable by this deploy: {error}") from error

    def _effects(self, event: Input, before: Booked, after: Booked, trace: str, now_ms: int) -> Effects:
        changes: dict[bytes, bytes | None] = {}
        outputs = [] if after.answer is None else [self._answer(after.answer, trace, now_ms)]
        for name, account in after.accounts.items():
            if account != before.accounts.get(name):
                changes[_account_key(name)] = self._codec.encode(self._changelog, account)
                outputs.append(self._changed(name, account, now_ms))
                _warn(name, before.accounts.get(name), account)
        ends: dict[bytes, int] = {}
        if after.held != before.held:
            key = _held_key(event)
            changes[key] = None if after.held is None else self._codec.encode(self._changelog, after.held)
            if after.held is not None:
                ends[key] = after.held.expires_at
        return Effects(outputs=outputs, changes=changes, ends=ends)

    def _answer(self, answer: BudgetAnswered, trace: str, now_ms: int) -> Outgoing:
        _ANSWERED.labels(answer.status, answer.reason).inc()
        return carrying.outgoing(
            self._codec,
            topics.BUDGET_ANSWERED,
            answer,
            key=answer.case_id,
            event_id=ids.derive("answered", answer.reservation_id),
            source=SOURCE,
            subject=answer.case_id,
            tenant=answer.tenant,
            traceparent=trace,
            time_ms=now_ms,
        )

    def _changed(self, name: str, account: AccountRemembered, now_ms: int) -> Outgoing:
        tenant, _, workflow = name.partition("/")
        event = BudgetChanged(
            budget=name,
            tenant=tenant,
            workflow=workflow,
            window_from=account.window_from,
            window_to=account.window_to,
            reserved_micro=account.reserved_micro,
            spent_micro=account.spent_micro,
            wasted_micro=account.wasted_micro,
            over_micro=account.over_micro,
            denied=account.denied,
            soft_reached=account.soft_reached,
            changed_at=now_ms,
        )
        return carrying.outgoing(
            self._codec,
            topics.BUDGET_CHANGED,
            event,
            key=name,
            event_id=ids.derive("budget", name, str(now_ms), ids.canonical(asdict(account))),
            source=SOURCE,
            subject=name,
            tenant=tenant,
            time_ms=now_ms,
        )


def _warn(name: str, before: AccountRemembered | None, after: AccountRemembered) -> None:
    """People are told once a window; perhaps again when a batch is computed again."""
    if after.soft_reached and (before is None or not before.soft_reached):
        _SOFT.inc()
        log.warning("%s: the soft limit is passed, %s are spent", name, money.text(after.spent_micro))


def _account_key(name: str) -> bytes:
    return f"account/{name}".encode()


def _held_key(event: Input) -> bytes:
    """Under which a reservation is remembered: all that its end has to say."""
    return "/".join(("held", event.tenant, event.workflow, event.case_id, event.reservation_id)).encode()


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The shell; see stateful/member.py. Raises StateBroken or Unavailable before it is a member of the group."""
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    limits = LimitTable(settings.kafka, codec)
    try:
        await asyncio.to_thread(codec.warm, member.carriers(BUDGET))
        await asyncio.to_thread(limits.start)
        core = Budget(codec, limits, topics.BUDGET_REQUESTED.partitions(settings.kafka.partitions))
        await member.run_stage(BUDGET, core, codec, settings, slot=slot, stop=stop, ready=ready)
    finally:
        await asyncio.to_thread(limits.close)
        registry.close()
