"""One lane of one model: requests in, answers out.

Enters: inference.requested.v1. Leaves: inference.completed.v1 for each request, failures included. Guaranteed:
requests are taken continuously, in_flight_max at once, and finish in any order; a request is finished only after its
answer is acknowledged; one that is late is answered `expired` without a token spent, one that can never be answered
is answered `failed`, and neither disturbs another.

Engine, registry or Kafka being away: the request keeps its place, is tried again with a growing wait until its
deadline, and nothing is dead-lettered. Answers of partitions that have left are discarded; their next owner asks
the model again, and plan takes the first answer.

Time: a deadline is compared with this machine's clock, since a model is asked in real time; plan's own timer is the
judge of deadlines, so that a wrong clock here costs an answer and never a case.
Rejected: batches of our own (the engine's continuous batch is better, and one slow request would hold up a batch).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from prometheus_client import Counter, Histogram

from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settlement, Settler
from aios.inference_workers.engine import Engine, RequestRefused
from aios.inference_workers.in_hand import InHand, Start
from aios.inference_workers.tasks import Answer, Task
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import failpoints, metrics, tracing
from aios.streams.errors import SchemaMismatch, Unavailable, Verdict
from aios.streams.kafka import Place
from aios.streams.pool_files import Lane
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import Stage

TAKE_MAX = 64
WAIT_MS_MAX = 200  # for records, and so for noticing that we shall stop
AGAIN_S_MIN, AGAIN_S_MAX = 0.2, 5.0  # between tries while something is away
BULK_PRIORITY = 1_000_000  # added to a bulk request's own: after everybody who waits
PRIORITY_MAX = 1_000  # of a request, either side of 0
REASON_CHARS_MAX = 300

QUEUED = Histogram(
    "aios_inference_queue_seconds",
    "From the request's broker timestamp to the engine.",
    ["stage"],
    buckets=metrics.SECONDS,
)
COMPUTED = Histogram("aios_inference_compute_seconds", "In the engine.", ["stage"], buckets=metrics.SECONDS)
TOKENS = Counter("aios_inference_tokens", "Tokens read and written.", ["stage", "kind"])
ANSWERED = Counter("aios_inference_answers", "Answers acknowledged, by status.", ["stage", "status"])

log = logging.getLogger(__name__)
T = TypeVar("T")


class Source(Protocol):
    """What a lane needs of an Intake."""

    async def start(self) -> None: ...
    async def take(self, records_max: int, *, wait_ms_max: int) -> list[Record]: ...
    def finish(self, record: Record) -> None: ...
    def release(self, record: Record) -> None: ...
    def owns(self, record: Record) -> bool: ...
    def pause(self, topic: str, partition: int, for_ms: int) -> None: ...
    async def close(self, drain_s_max: float) -> None: ...


class Out(Protocol):
    """What a lane needs of a Delivery."""

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]: ...


class Pool:
    """One lane of one model: its records, from taken to finished."""

    def __init__(
        self,
        stage: Stage,
        task: Task,
        engine: Engine,
        codec: Codec,
        *,
        intake: Source,
        delivery: Out,
        settler: Settler,
        deaths: Deaths,
    ) -> None:
        self._stage = stage
        self._task = task
        self._engine = engine
        self._codec = codec
        self._intake = intake
        self._delivery = delivery
        self._settler = settler
        self._in_hand = InHand(deaths)
        self._lane = stage.name.rpartition(".")[2]
        self._running: set[asyncio.Task[None]] = set()
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Join the group."""
        await self._intake.start()

    async def serve(self, stop: asyncio.Event) -> None:
        """Take and answer until stop is set. Raises what stops this deploy, with everything in hand unsettled."""
        taking = asyncio.create_task(self._take(stop))
        try:
            await asyncio.wait((taking, self._fatal), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._fatal, taking):
                if done.done():
                    done.result()
        finally:
            taking.cancel()

    async def close(self, drain_s_max: float, *, healthy: bool) -> None:
        """Let what is in hand finish up to the bound; the rest stays uncommitted. healthy: it ends no process."""
        await self._intake.close(drain_s_max)
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._fatal.cancel()
        if healthy:
            self._in_hand.leave()

    async def _take(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            records = await self._intake.take(TAKE_MAX, wait_ms_max=WAIT_MS_MAX)
            if records:
                self._start(self._in_hand.take(records))

    def _start(self, starts: Sequence[Start]) -> None:
        for record, given_up in starts:
            work = self._give_up(record, given_up) if given_up else self._work(record)
            running = asyncio.create_task(self._guarded(record, work))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _guarded(self, record: Record, work: Coroutine[Any, Any, None]) -> None:
        """What stops this deploy ends the lane; nothing else gets out."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - serve() raises it
            if not self._fatal.done():
                self._fatal.set_exception(error)
            return
        self._start(self._in_hand.end(record))

    # ── one request ──────────────────────────────────────────────────────────────────────────────────

    async def _work(self, record: Record) -> None:
        """Answer one request, or settle it. Raises only what stops this deploy."""
        held_up = self._settler.gate(record, _wall_ms())
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
                answer = await self._while_away(record, lambda: self._answer(record, request))
                failpoints.hit(f"{self._stage.process}.computed")
                await self._tell(record, answer)
        except _Lost:
            return
        except Exception as error:  # noqa: BLE001 - the settler decides, and raises what stops this deploy
            await self._settle(record, request, error)
            return
        self._settler.done(record)
        self._finish(record, "done")

    async def _decode(self, record: Record) -> InferenceRequested:
        return self._codec.decode(record.value, InferenceRequested)

    async def _answer(self, record: Record, request: InferenceRequested) -> InferenceCompleted:
        """The answer, failures included. Raises Unavailable, and what nobody foresaw."""
        started_ms, started = _wall_ms(), time.monotonic()
        left_s = (request.deadline_at - started_ms) / 1000
        reason = self._refusal(request)
        if reason:
            return self._completed(record, request, status="failed", reason=reason, started_ms=started_ms)
        if left_s <= 0:
            return self._completed(record, request, status="expired", reason="late", started_ms=started_ms)
        answer: Answer | None = None
        try:
            async with asyncio.timeout(left_s):
                answer = await self._task.answer(request, self._priority(request))
            status, reason = ("failed", answer.failure) if answer.failure else ("ok", "")
        except TimeoutError:
            status, reason = "expired", "late"
        except RequestRefused as error:
            status, reason = "failed", str(error)
        compute_ms = round((time.monotonic() - started) * 1000)
        return self._completed(
            record,
            request,
            status=status,
            reason=reason,
            started_ms=started_ms,
            compute_ms=compute_ms,
            answer=answer,
        )

    def _refusal(self, request: InferenceRequested) -> str:
        """Why this worker can never answer it, empty if it can: plan has stamped what must answer."""
        if request.task not in self._task.serves:
            return f"this pool serves {', '.join(self._task.serves)}, not {request.task}"
        if request.model != self._task.model:
            return f"this worker serves {self._task.model}, not {request.model}"
        return ""

    def _priority(self, request: InferenceRequested) -> int:
        own = max(-PRIORITY_MAX, min(request.priority, PRIORITY_MAX))
        return own + (BULK_PRIORITY if self._lane == Lane.BULK else 0)

    def _completed(
        self,
        record: Record,
        request: InferenceRequested,
        *,
        status: str,
        reason: str,
        started_ms: int,
        compute_ms: int = 0,
        answer: Answer | None = None,
    ) -> InferenceCompleted:
        rendered = answer.rendered if answer else request.input
        return InferenceCompleted(
            request_id=request.request_id,
            case_id=request.case_id,
            tenant=request.tenant,
            workflow=request.workflow,
            step=request.step,
            attempt=request.attempt,
            task=request.task,
            status=status,
            reason=reason[:REASON_CHARS_MAX],
            output=ids.canonical(answer.output) if answer else "{}",
            output_contract=answer.contract if answer else "",
            model=self._task.model,
            prompt=request.prompt,
            engine=self._engine.version,
            seed=answer.seed if answer else 0,
            input_hash=hashlib.sha256(rendered.encode()).hexdigest(),
            prompt_tokens=answer.prompt_tokens if answer else 0,
            output_tokens=answer.output_tokens if answer else 0,
            lane=self._lane,
            queue_ms=max(0, started_ms - record.timestamp_ms) if record.timestamp_ms else 0,
            compute_ms=compute_ms,
            completed_at=_wall_ms(),
        )

    async def _tell(self, record: Record, answer: InferenceCompleted) -> None:
        """Deliver the answer. Raises SchemaMismatch when it does not fit its topic or contract."""
        out = self._outgoing(record, answer)
        await self._while_away(record, lambda: self._delivery.deliver_all((out,)))
        self._measure(answer)

    def _outgoing(self, record: Record, answer: InferenceCompleted) -> Outgoing:
        headers = tracing.envelope(
            answer,
            event_id=str(ids.derive("completed", answer.request_id)),
            source=f"/aios/{self._stage.name}",
            subject=answer.case_id,
            tenant=answer.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=answer.completed_at,
        )
        value = self._codec.encode(INFERENCE_COMPLETED, answer)
        return Outgoing(INFERENCE_COMPLETED.name, answer.case_id.encode(), value, headers)

    # ── what fails ───────────────────────────────────────────────────────────────────────────────────

    async def _settle(self, record: Record, request: InferenceRequested | None, error: Exception) -> None:
        """A failure nobody answered. Where the request is known and given up, plan learns that it failed."""
        settled = self._settler.settle(record, error, _wall_ms())
        if settled.verdict is Verdict.STOP:
            raise error
        failed: list[Outgoing] = []
        if request is not None and settled.verdict is Verdict.DEAD_LETTER:
            reason = f"{settled.reason}: {type(error).__name__}"
            answer = self._completed(record, request, status="failed", reason=reason, started_ms=_wall_ms())
            with contextlib.suppress(SchemaMismatch):  # its ids alone do not fit: the dead letter is all there can be
                failed.append(self._outgoing(record, answer))
        await self._settled(record, settled, failed)

    async def _settled(self, record: Record, settled: Settlement, answers: Sequence[Outgoing]) -> None:
        """Write what it has become, with the answer if there is one, and finish it; or let its partition rest."""
        if settled.outgoing is None:
            self._intake.pause(record.topic, record.partition, settled.pause_ms)
            return
        outs = (settled.outgoing, *answers)
        with contextlib.suppress(_Lost):
            await self._while_away(record, lambda: self._delivery.deliver_all(outs))
            self._finish(record, settled.verdict)

    async def _give_up(self, record: Record, error: Exception) -> None:
        await self._settle(record, None, error)

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

    def _finish(self, record: Record, verdict: str) -> None:
        self._intake.finish(record)
        metrics.SETTLED.labels(self._stage.name, record.topic, verdict).inc()
        if record.timestamp_ms:
            metrics.TOOK.labels(self._stage.name).observe(max(0, _wall_ms() - record.timestamp_ms) / 1000)

    def _measure(self, answer: InferenceCompleted) -> None:
        name = self._stage.name
        ANSWERED.labels(name, answer.status).inc()
        QUEUED.labels(name).observe(answer.queue_ms / 1000)
        COMPUTED.labels(name).observe(answer.compute_ms / 1000)
        TOKENS.labels(name, "read").inc(answer.prompt_tokens)
        TOKENS.labels(name, "written").inc(answer.output_tokens)


class _Lost(Exception):
    """The record's partition has left while it was in hand: its result is discarded."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
