"""What becomes of one request, from its record in hand to its answer acknowledged.

Enters: a record that may be worked on now. Leaves: its answer on inference.completed.v1, then the record finished; or
a retry, a dead letter, a partition at rest. Guaranteed: a request is finished only after its answer is acknowledged;
one that fails for a reason nobody foresaw disturbs no other, and plan learns of it when it is given up.

Engine, registry or Kafka being away: the request keeps its place, is tried again with a growing wait until its
deadline, and nothing is dead-lettered. Requests of partitions that have left, or rest, are taken out of the engine, and
what was spent on them is counted; their next owner asks the model again, and plan takes the first answer.
The engine of its version being loaded, which takes minutes: the request gives up its place and comes back through the
first retry tier, as often as it must; that is no attempt, and one that comes back too late is expired. One that is
suspect waits in its place: elsewhere nobody would know it (dlq/in_hand.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aios.dlq.one_record import Hand, Lost, OneRecord, Out, age_s
from aios.dlq.settle import Settlement, Settler
from aios.inference_workers.answering import Answering, Loading, Tries
from aios.inference_workers.engines.batch import Usage
from aios.inference_workers.measures import Measures
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import failpoints, tracing
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import Stage
from aios.streams.wall_clock import wall_ms


class Requests(OneRecord):
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
        super().__init__(stage, codec, intake=intake, delivery=delivery, settler=settler)
        self._answering = answering
        self._measures = measures

    async def work(self, record: Record, is_suspect: Callable[[Record], bool]) -> None:
        """Answer one request, or settle it. Raises only what stops this deploy."""
        if not self._intake.owns(record):  # its partition left while it waited to be started: it is read again
            return
        held_up = self._settler.gate(record, wall_ms())
        if held_up is not None:
            await self._settled(record, held_up)
            return
        request: InferenceRequested | None = None
        tries = Tries()
        try:
            failpoints.hit(f"{self._stage.process}.decode", record.value or b"")
            with tracing.span(
                self._stage.name,
                record.header("traceparent") or "",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            ):
                request = await self._while_away(record, lambda: self._event(record, InferenceRequested))
                answer = await self._while_away(record, lambda: self._answered(record, request, tries, is_suspect))
                failpoints.hit(f"{self._stage.process}.computed")
                await self._tell(record, answer)
        except Lost:
            return
        except Loading as error:
            now_ms = wall_ms()
            first_tier = self._settler.put_off(record, str(error), now_ms, until_ms=now_ms)
            await self._settled(record, first_tier)
            return
        except Exception as error:  # noqa: BLE001 - the settler decides, and raises what stops this deploy
            told = None if request is None else partial(self._failed, record, request, error, tries.usage)
            await self._settle(record, error, told)
            return
        self._settler.done([record])
        self._finish(record, "done", answer.prompt_tokens + answer.output_tokens)

    async def give_up(self, record: Record, error: Exception) -> None:
        """Settle it with this error, undecoded. Raises only what stops this deploy."""
        if not self._intake.owns(record):
            return
        await self._settle(record, error)

    async def _answered(
        self, record: Record, request: InferenceRequested, tries: Tries, is_suspect: Callable[[Record], bool]
    ) -> InferenceCompleted:
        """What is not ours any more by then was worked on for nothing: its next owner asks again."""
        owned = partial(self._intake.owns, record)

        def aside() -> bool:
            return self._settler.put_off_ms(record) is not None and not is_suspect(record)

        answer = await self._answering.answer(record, request, owned, aside=aside, tries=tries)
        if not owned():
            self._measures.wasted(answer)
        return answer

    async def _tell(self, record: Record, answer: InferenceCompleted) -> None:
        """Deliver the answer. Raises SchemaMismatch when it does not fit its topic or contract."""
        out = self._outgoing(INFERENCE_COMPLETED, answer, record)
        await self._while_away(record, lambda: self._delivery.deliver_all((out,)))
        self._measures.answered(answer, age_s(record))

    def _failed(
        self, record: Record, request: InferenceRequested, error: Exception, usage: Usage, settled: Settlement
    ) -> Outgoing:
        """What plan learns of one that is given up."""
        reason = f"{settled.reason}: {type(error).__name__}"
        return self._outgoing(INFERENCE_COMPLETED, self._answering.failed(record, request, reason, usage), record)
