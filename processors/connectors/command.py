"""What becomes of one command, from its record in hand to its answer acknowledged.

Enters: a record of connector.<system>.requested.v1, or one that returns to the group. Leaves: its answer on
connector.completed.v1, then the record finished; or a retry, a dead letter, a partition at rest. Guaranteed: a command
is finished only after its answer is acknowledged; a system that is away makes no dead letter and no retry, commands
wait for it here; one that fails for a reason nobody foresaw disturbs no other, and plan learns of it when it is given
up. Kafka or registry away: it keeps its place. Its partition left, or the process stops: its next owner goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from aios.dlq.settle import Settlement, Settler
from aios.processors.connectors import calling
from aios.processors.connectors.calling import FAILED, PROCESS, UNKNOWN, Answer, Calling, Lost, wall_ms
from aios.processors.connectors.connector import Effect
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.intents import Mark
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorCompleted, ConnectorIntended, ConnectorRequested
from aios.streams import carrying, failpoints, metrics, tracing
from aios.streams.errors import SchemaMismatch, Unavailable, Verdict
from aios.streams.kafka import Place
from aios.streams.record import Outgoing, Record
from aios.streams.topics import CONNECTOR_COMPLETED, CONNECTOR_INTENDED
from aios.streams.topology import Stage

AGAIN_S_MIN, AGAIN_S_MAX = 0.2, 5.0  # between tries while Kafka or the registry is away

log = logging.getLogger(__name__)
T = TypeVar("T")


class Hand(Protocol):
    """What a command needs of an Intake."""

    def finish(self, record: Record) -> None: ...
    def release(self, record: Record) -> None: ...
    def owns(self, record: Record) -> bool: ...
    def pause(self, topic: str, partition: int, for_ms: int) -> None: ...


class Out(Protocol):
    """What a command needs of a Delivery."""

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]: ...


class Intending:
    """Writes the intents of one stage."""

    def __init__(self, stage: Stage, codec: Codec, delivery: Out) -> None:
        self._stage = stage
        self._codec = codec
        self._delivery = delivery

    async def __call__(self, record: Record, command: ConnectorRequested, mark: Mark) -> int:
        """The offset where it stands, in the partition of the same number as the command's. Raises Unavailable."""
        tried, at_ms = mark
        intended = ConnectorIntended(
            request_id=command.request_id,
            case_id=command.case_id,
            tenant=command.tenant,
            system=command.system,
            operation=command.operation,
            tried=tried,
            intended_at=at_ms,
        )
        out = carrying.outgoing(
            self._codec,
            CONNECTOR_INTENDED,
            intended,
            key=command.case_id,
            event_id=str(ids.derive("intended", command.request_id, str(tried), str(at_ms))),
            source=f"/aios/{self._stage.name}",
            subject=command.case_id,
            tenant=command.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=at_ms,
            partition=record.partition,
        )
        (place,) = await self._delivery.deliver_all((out,))
        return place.offset


class Commands:
    """Of one system, each by itself."""

    def __init__(
        self,
        stage: Stage,
        calls: Calling,
        codec: Codec,
        *,
        intake: Hand,
        delivery: Out,
        settler: Settler,
        decoding: Guard,
        stopping: Callable[[], bool],
    ) -> None:
        self._stage = stage
        self._calls = calls
        self._codec = codec
        self._intake = intake
        self._delivery = delivery
        self._settler = settler
        self._decoding = decoding
        self._stopping = stopping

    async def work(self, record: Record) -> None:
        """Answer one command, or settle it. Raises only what stops this deploy."""
        if not self._intake.owns(record):
            return
        held_up = self._settler.gate(record, wall_ms())
        if held_up is not None:
            await self._settled(record, held_up, [])
            return
        command: ConnectorRequested | None = None
        try:
            with tracing.span(
                self._stage.name,
                record.header("traceparent") or "",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            ):
                command = await self._while_away(record, lambda: self._decode(record))
                answer = await self._while_away(record, lambda: self._answer(record, command))
                await self._while_away(record, lambda: self._deliver(record, answer))
        except Lost:
            self._intake.release(record)
            return
        except Exception as error:  # noqa: BLE001 - the settler decides, and raises what stops this deploy
            await self._settle(record, command, error)
            return
        self._settler.done(record)
        self._finish(record, "done")

    async def _decode(self, record: Record) -> ConnectorRequested:
        async with self._decoding.of(record):
            failpoints.hit(f"{PROCESS}.decode", record.value or b"")
            return self._codec.decode(record.value, ConnectorRequested)

    async def _answer(self, record: Record, command: ConnectorRequested) -> ConnectorCompleted:
        return await self._calls.answer(record, command, lambda: self._wanted(record))

    async def _deliver(self, record: Record, answer: ConnectorCompleted) -> None:
        await self._delivery.deliver_all((self._outgoing(record, answer),))

    def _outgoing(self, record: Record, answer: ConnectorCompleted) -> Outgoing:
        return carrying.outgoing(
            self._codec,
            CONNECTOR_COMPLETED,
            answer,
            key=answer.case_id,
            event_id=str(ids.derive("completed", answer.request_id)),
            source=f"/aios/{self._stage.name}",
            subject=answer.case_id,
            tenant=answer.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=answer.completed_at,
        )

    async def _settle(self, record: Record, command: ConnectorRequested | None, error: Exception) -> None:
        """A failure nobody answered. Where the command is known and given up, plan learns that it failed."""
        settled = self._settler.settle(record, error, wall_ms())
        if settled.verdict is Verdict.STOP:
            raise error
        failed: list[Outgoing] = []
        if command is not None and settled.verdict is Verdict.DEAD_LETTER:
            status = FAILED if command.effect == Effect.NONE else UNKNOWN  # it may have got as far as its effect
            told = Answer(status=status, word=settled.reason, sentence=f"given up: {type(error).__name__}")
            with contextlib.suppress(SchemaMismatch):  # its ids alone do not fit: the dead letter is all there can be
                failed.append(self._outgoing(record, self._calls.completed(record, command, told)))
        await self._settled(record, settled, failed)

    async def _settled(self, record: Record, settled: Settlement, answers: Sequence[Outgoing]) -> None:
        """Write what it has become, with the answer if there is one, and finish it; or let its partition rest."""
        if settled.outgoing is None:
            self._intake.pause(record.topic, record.partition, settled.pause_ms)
            return
        outs = (settled.outgoing, *answers)
        with contextlib.suppress(Lost):
            await self._while_away(record, lambda: self._delivery.deliver_all(outs))
            self._finish(record, settled.verdict)

    async def _while_away(self, record: Record, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, however long Kafka or the registry is away. Raises Lost once the record is not ours."""
        wait_s = AGAIN_S_MIN
        while True:
            try:
                result = await call()
            except Unavailable as error:
                log.warning("%s waits: %s", self._stage.name, error)
            else:
                if not self._intake.owns(record):
                    raise Lost
                return result
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_S_MAX)
            if not self._wanted(record):
                raise Lost

    def _wanted(self, record: Record) -> bool:
        return not self._stopping() and self._intake.owns(record)

    def _finish(self, record: Record, verdict: str) -> None:
        self._intake.finish(record)
        metrics.SETTLED.labels(self._stage.name, record.topic, verdict).inc()
        if record.timestamp_ms:
            metrics.TOOK.labels(self._stage.name).observe(max(0, calling.wall_ms() - record.timestamp_ms) / 1000)
