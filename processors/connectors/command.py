"""What becomes of one command, from its record in hand to its answer acknowledged.

Enters: a record of connector.<system>.requested.v1, or one that returns to the group. Leaves: its answer on
connector.completed.v1, then the record finished; or a retry, a dead letter, a partition at rest. Guaranteed: a command
is finished only after its answer is acknowledged; a system that is away makes no dead letter and no retry, commands
wait for it here; of those for one endpoint that is away a few do, the others are put off to a retry tier, which counts
no try, where they would be back before their deadlines; one that fails for a reason nobody foresaw disturbs no other,
and plan learns of it when it is given up. Kafka or registry away: it keeps its place. Its partition left, or the
process stops: its next owner goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aios.dlq.one_record import Hand, Lost, OneRecord, Out
from aios.dlq.settle import Settlement, Settler
from aios.processors.connectors import measures
from aios.processors.connectors.calling import Calling
from aios.processors.connectors.claims import PROCESS
from aios.processors.connectors.connector import Effect
from aios.processors.connectors.course import FAILED, UNKNOWN, Answer
from aios.processors.connectors.gate import Aside
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.intents import Mark
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorCompleted, ConnectorIntended, ConnectorRequested
from aios.streams import carrying, failpoints, tracing
from aios.streams.record import Outgoing, Record
from aios.streams.topics import CONNECTOR_COMPLETED, CONNECTOR_INTENDED
from aios.streams.topology import Stage
from aios.streams.wall_clock import wall_ms

ENDPOINT_AWAY = "its endpoint is away, and enough wait for it"


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
            event_id=ids.derive("intended", command.request_id, str(tried), str(at_ms)),
            source=f"/aios/{self._stage.name}",
            subject=command.case_id,
            tenant=command.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=at_ms,
            partition=record.partition,
        )
        (place,) = await self._delivery.deliver_all((out,))
        return place.offset


class Commands(OneRecord):
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
        super().__init__(stage, codec, intake=intake, delivery=delivery, settler=settler)
        self._calls = calls
        self._decoding = decoding
        self._stopping = stopping

    async def work(self, record: Record) -> None:
        """Answer one command, or settle it. Raises only what stops this deploy."""
        if not self._intake.owns(record):
            return
        held_up = self._settler.gate(record, wall_ms())
        if held_up is not None:
            await self._settled(record, held_up)
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
        except Aside:
            assert command is not None  # only what waits at the gate goes aside
            measures.ASIDE.labels(command.system).inc()
            until_ms = command.deadline_at - self._calls.try_ms
            await self._settled(record, self._settler.put_off(record, ENDPOINT_AWAY, wall_ms(), until_ms=until_ms))
            return
        except Exception as error:  # noqa: BLE001 - the settler decides, and raises what stops this deploy
            told = None if command is None else partial(self._failed, record, command, error)
            await self._settle(record, error, told)
            return
        self._settler.done([record])
        self._finish(record, "done")

    async def _decode(self, record: Record) -> ConnectorRequested:
        async with self._decoding.of(record):
            failpoints.hit(f"{PROCESS}.decode", record.value or b"")
            return await self._event(record, ConnectorRequested)

    async def _answer(self, record: Record, command: ConnectorRequested) -> ConnectorCompleted:
        return await self._calls.answer(
            record, command, lambda: self._wanted(record), aside_ms=self._settler.put_off_ms(record)
        )

    async def _deliver(self, record: Record, answer: ConnectorCompleted) -> None:
        await self._delivery.deliver_all((self._outgoing(CONNECTOR_COMPLETED, answer, record),))

    def _failed(self, record: Record, command: ConnectorRequested, error: Exception, settled: Settlement) -> Outgoing:
        """What plan learns of one that is given up."""
        status = FAILED if command.effect == Effect.NONE else UNKNOWN  # it may have got as far as its effect
        told = Answer(status=status, word=settled.reason, sentence=f"given up: {type(error).__name__}")
        return self._outgoing(CONNECTOR_COMPLETED, self._calls.completed(record, command, told), record)

    def _wanted(self, record: Record) -> bool:
        return not self._stopping() and super()._wanted(record)
