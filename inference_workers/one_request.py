"""What becomes of one request, from its record in hand to its answer acknowledged.

Enters: a record that may be worked on now. Leaves: its answer on inference.completed.v1, then the record finished; or
a retry, a dead letter, a partition at rest. Guaranteed: a request is finished only after its answer is acknowledged;
one that fails for a reason nobody foresaw disturbs no other, and plan learns of it when it is given up.

Engine, registry or Kafka being away: the request keeps its place, is tried again with a growing wait until its
deadline, and nothing is dead-lettered. Answers of partitions that have left are discarded; their next owner asks
the model again, and plan takes the first answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from aios.dlq.settle import Settlement, Settler
from aios.inference_workers.answering import Answering, wall_ms
from aios.inference_workers.measures import Measures
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import carrying, failpoints, metrics, tracing
from aios.streams.errors import SchemaMismatch, Unavailable, Verdict
from aios.streams.kafka import Place
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import Stage

AGAIN_S_MIN, AGAIN_S_MAX = 0.2, 5.0  # between tries while something is away

log = logging.getLogger(__name__)
T = TypeVar("T")


class Hand(Protocol):
    """What a request needs of an Intake."""

    def finish(self, record: Record, cost: int | None = None) -> None: ...
    def owns(self, record: Record) -> bool: ...
    def pause(self, topic: str, partition: int, for_ms: int) -> None: ...


class Out(Protocol):
    """What a request needs of a Delivery."""

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]: ...


class Requests:
    """Of one pool, each by itself."""

    def __init__(
        self,
        stage: Stage,
        answering: Answering,
        codec: Codec,
        measures: Measures,
        *,
        intake: Hand,
        delivery: Out,
        settler: Settler,
    ) -> None:
        self._stage = stage
        self._answering = answering
        self._codec = codec
        self._measures = measures
        self._intake = intake
        self._delivery = delivery
        self._settler = settler

    async def work(self, record: Record) -> None:
        """Answer one request, or settle it. Raises only what stops this deploy."""
        if not self._intake.owns(record):  # its partition left while it waited to be started: it is read again
            return
        held_up = self._settler.gate(record, wall_ms())
        if held_up is not None:
            await self._settled(record, held_up, [])
            return
        request: InferenceRequested | None = None
        try:
            failpoints.hit(f"{self._stage.process}.decode", record.value or b"")
            with tracing.span(
                self._stage.name,
                record.header("traceparent") or "",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            ):
                request = await self._while_away(record, lambda: self._decode(record))
                self._measures.taken(_age_s(record))
                answer = await self._while_away(record, lambda: self._answering.answer(record, request))
                failpoints.hit(f"{self._stage.process}.computed")
                await self._tell(record, answer)
        except _Lost:
            return
        except Exception as error:  # noqa: BLE001 - the settler decides, and raises what stops this deploy
            await self._settle(record, request, error)
            return
        self._settler.done(record)
        self._finish(record, "done", answer.prompt_tokens + answer.output_tokens)

    async def give_up(self, record: Record, error: Exception) -> None:
        """Settle it with this error, undecoded. Raises only what stops this deploy."""
        if not self._intake.owns(record):
            return
        await self._settle(record, None, error)

    async def _decode(self, record: Record) -> InferenceRequested:
        return self._codec.decode(record.value, InferenceRequested)

    async def _tell(self, record: Record, answer: InferenceCompleted) -> None:
        """Deliver the answer. Raises SchemaMismatch when it does not fit its topic or contract."""
        out = self._outgoing(record, answer)
        await self._while_away(record, lambda: self._delivery.deliver_all((out,)))
        self._measures.answered(answer, _age_s(record))

    def _outgoing(self, record: Record, answer: InferenceCompleted) -> Outgoing:
        return carrying.outgoing(
            self._codec,
            INFERENCE_COMPLETED,
            answer,
            key=answer.case_id,
            event_id=str(ids.derive("completed", answer.request_id)),
            source=f"/aios/{self._stage.name}",
            subject=answer.case_id,
            tenant=answer.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=answer.completed_at,
        )

    async def _settle(self, record: Record, request: InferenceRequested | None, error: Exception) -> None:
        """A failure nobody answered. Where the request is known and given up, plan learns that it failed."""
        settled = self._settler.settle(record, error, wall_ms())
        if settled.verdict is Verdict.STOP:
            raise error
        failed: list[Outgoing] = []
        if request is not None and settled.verdict is Verdict.DEAD_LETTER:
            reason = f"{settled.reason}: {type(error).__name__}"
            with contextlib.suppress(SchemaMismatch):  # its ids alone do not fit: the dead letter is all there can be
                failed.append(self._outgoing(record, self._answering.failed(record, request, reason)))
        await self._settled(record, settled, failed)

    async def _settled(self, record: Record, settled: Settlement, answers: Sequence[Outgoing]) -> None:
        """Write what it has become, with the answer if there is one, and finish it; or let its partition rest."""
        if settled.outgoing is None:
            self._intake.pause(record.topic, record.partition, settled.pause_ms)
            return
        outs = (settled.outgoing, *answers)
        with contextlib.suppress(_Lost):
            await self._while_away(record, lambda: self._delivery.deliver_all(outs))
            self._finish(record, settled.verdict, None)

    async def _while_away(self, record: Record, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, however long something is away. Raises _Lost once the record's partition has left."""
        wait_s = AGAIN_S_MIN
        while True:
            try:
                result = await call()
            except Unavailable as error:
                log.warning("%s waits: %s", self._stage.name, error)
            else:
                if not self._intake.owns(record):
                    raise _Lost
                return result
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_S_MAX)
            if not self._intake.owns(record):
                raise _Lost

    def _finish(self, record: Record, verdict: str, tokens: int | None) -> None:
        self._intake.finish(record, tokens)
        metrics.SETTLED.labels(self._stage.name, record.topic, verdict).inc()
        if record.timestamp_ms:
            metrics.TOOK.labels(self._stage.name).observe(_age_s(record))


class _Lost(Exception):
    """The record's partition has left while it was in hand: its result is discarded."""


def _age_s(record: Record) -> float:
    """Since its broker timestamp; 0 without one."""
    return max(0, wall_ms() - record.timestamp_ms) / 1000 if record.timestamp_ms else 0.0
