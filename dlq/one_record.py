"""What becomes of one record that is worked on by itself, from its work to its end.

Enters: a record in hand, the answer that its work came to, or an error. Leaves: the record finished after the answer is
acknowledged; or a retry, a dead letter, a partition at rest. Guaranteed: nothing is finished before what it became is
acknowledged; what is away (Kafka, registry, whatever the work asks) makes it wait, and nothing else; one that fails for
a reason nobody foresaw disturbs no other, and who waits for an answer is told when it is given up. What belongs to a
partition that has left is discarded: its next owner does it again. A registry that takes its time holds up only what
is written with a schema that nobody here has read yet.

Commands to models (inference_workers/one_request.py) and to outside systems (processors/connectors/command.py) go
through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from aios.dlq.settle import Settlement, Settler
from aios.schemas import ids
from aios.schemas.codec import PREFIX_BYTES, Codec
from aios.schemas.models import ConnectorCompleted, Event, InferenceCompleted
from aios.streams import carrying, metrics
from aios.streams.errors import SchemaMismatch, Unavailable, Verdict
from aios.streams.kafka import Place
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Topic
from aios.streams.topology import Stage
from aios.streams.wall_clock import wall_ms

AGAIN_S_MIN, AGAIN_S_MAX = 0.2, 5.0  # between tries while something is away

log = logging.getLogger(__name__)
T = TypeVar("T")
E = TypeVar("E", bound=Event)


class Lost(Exception):
    """The record is not ours any more, its partition has left or the process stops: its result is discarded."""


class Hand(Protocol):
    """What a record needs of an Intake."""

    def finish(self, record: Record, cost: int | None = None) -> None: ...
    def release(self, record: Record) -> None: ...
    def owns(self, record: Record) -> bool: ...
    def pause(self, topic: str, partition: int, for_ms: int) -> None: ...


class Out(Protocol):
    """What a record needs of a Delivery."""

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]: ...


class OneRecord:
    """Of one stage, each record by itself; who derives from it does the work."""

    def __init__(self, stage: Stage, codec: Codec, *, intake: Hand, delivery: Out, settler: Settler) -> None:
        self._stage = stage
        self._codec = codec
        self._intake = intake
        self._delivery = delivery
        self._settler = settler
        self._look_ups: dict[bytes, asyncio.Future[None]] = {}  # by a value's first bytes, which name its schema

    def _wanted(self, record: Record) -> bool:
        """Whether it is still worth waiting for."""
        return self._intake.owns(record)

    async def _event(self, record: Record, kind: type[E]) -> E:
        """What is in it. Raises SchemaMismatch with the reason, or Unavailable.

        A schema that is met for the first time is asked for in a thread, once for all who have it: a registry that
        takes its time holds up these records, and nothing else of the process.
        """
        if not self._codec.is_known(record.value, kind):
            await self._looked_up(record, kind)
        return self._codec.decode(record.value, kind)

    async def _looked_up(self, record: Record, kind: type[Event]) -> None:
        schema = (record.value or b"")[:PREFIX_BYTES]
        if schema not in self._look_ups:
            looking = asyncio.ensure_future(asyncio.to_thread(self._codec.look_up, record.value, kind))
            looking.add_done_callback(lambda _: self._look_ups.pop(schema))
            self._look_ups[schema] = looking
        await asyncio.shield(self._look_ups[schema])

    def _outgoing(self, topic: Topic, answer: ConnectorCompleted | InferenceCompleted, record: Record) -> Outgoing:
        return outgoing(self._codec, self._stage, topic, answer, record)

    async def _settle(
        self, record: Record, error: Exception, told: Callable[[Settlement], Outgoing] | None = None
    ) -> None:
        """A failure nobody answered. told: the answer for who waits, should it be given up.

        Raises what stops this deploy.
        """
        settled = self._settler.settle(record, error, wall_ms())
        if settled.verdict is Verdict.STOP:
            raise error
        answers: list[Outgoing] = []
        if told is not None and settled.verdict is Verdict.DEAD_LETTER:
            with contextlib.suppress(SchemaMismatch):  # its ids alone do not fit: the dead letter is all there can be
                answers.append(told(settled))
        await self._settled(record, settled, answers)

    async def _settled(self, record: Record, settled: Settlement, answers: Sequence[Outgoing] = ()) -> None:
        """Write what it has become, with the answer if there is one, and finish it; or let its partition rest."""
        if settled.outgoing is None:
            self._intake.pause(record.topic, record.partition, settled.pause_ms)
            return
        outs = (settled.outgoing, *answers)
        with contextlib.suppress(Lost):
            await self._while_away(record, lambda: self._delivery.deliver_all(outs))
            self._finish(record, settled.verdict)

    async def _while_away(self, record: Record, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, however long something is away. Raises Lost once the record is not ours."""
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

    def _finish(self, record: Record, verdict: str, cost: int | None = None) -> None:
        """cost: what it came to, where its intake shares by that."""
        self._intake.finish(record, cost)
        metrics.SETTLED.labels(self._stage.name, record.topic, verdict).inc()
        if record.timestamp_ms:
            metrics.TOOK.labels(self._stage.name).observe(age_s(record))


def outgoing(
    codec: Codec, stage: Stage, topic: Topic, answer: ConnectorCompleted | InferenceCompleted, record: Record
) -> Outgoing:
    """A stage's answer to the command in a record. Raises SchemaMismatch when it does not fit its topic or contract."""
    return carrying.outgoing(
        codec,
        topic,
        answer,
        key=answer.case_id,
        event_id=ids.derive("completed", answer.request_id),
        source=f"/aios/{stage.name}",
        subject=answer.case_id,
        tenant=answer.tenant,
        traceparent=record.header("traceparent") or "",
        time_ms=answer.completed_at,
    )


def age_s(record: Record) -> float:
    """Since its broker timestamp; 0 without one."""
    return max(0, wall_ms() - record.timestamp_ms) / 1000 if record.timestamp_ms else 0.0
