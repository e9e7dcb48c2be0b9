"""One worker process: one model, one engine, two lanes (interactive and bulk), each a consumer group of its own.

Enters: inference.requested.v1 of its lanes. Leaves: one inference.completed.v1 for each request, keyed by case.
How a request goes, in this order:
 1. taken, decoded; what cannot be decoded is a dead letter (dlq/shell.py);
 2. answered: `expired` without a token spent when its deadline has passed, `failed` when this worker can never
    answer it, else what the model said; requests of both lanes share the engine's batch, interactive ones first;
 3. the answer is delivered and acknowledged;
 4. only then the request is finished, in any order; the group's offset is the contiguous prefix.
Guaranteed: a request is answered at least once, whatever dies when; its id is the command's, so plan takes one answer
and books the others as wasted; one bad request fails alone; a result whose partition has left meanwhile is not
written; an engine that dies or hangs ends the process with everything unsettled. A remote engine that is away pauses
the request's partition and dead-letters nothing. Bounds: settings.inference.in_flight_max requests a lane.

The groups are joined only after the engine is loaded and warm, so that a request never waits for a load.
Rejected: one group for both lanes (a backlog of bulk would hold interactive requests in the same partitions), one
process a lane (two copies of the model on one machine).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import Counter, Histogram

from aios.dlq import shell
from aios.dlq.shell import Shell
from aios.inference_workers import convert
from aios.inference_workers.engine import Engine, RequestRefused, Runner, VllmEngine
from aios.inference_workers.openai import OpenAIEngine
from aios.inference_workers.tasks import CLASSIFIER, WRITER, Answer, Classify, Task, Write
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import failpoints, metrics, topology, tracing
from aios.streams.clock import LogClock
from aios.streams.config import InferenceSettings, Settings
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import Lane, Stage

BULK_AFTER = 1_000_000  # added to a bulk request's priority: lower goes first
AWAY_MS = 2_000  # a partition waits that long when the engine's server is away
DRAIN_S_MAX = 20.0  # on SIGTERM: what is in the engine may end; the rest is read again by the next owner
REASON_CHARS_MAX = 300
MODELS = {"classify": ("all-minilm-l6-v2", Runner.EMBED), "generate": ("smollm2-135m-instruct", Runner.GENERATE)}
"""By process: the folder of the model's files, and how the engine runs it."""

QUEUED = Histogram(
    "aios_inference_queue_seconds",
    "From the request's broker timestamp to the engine.",
    ["model", "lane"],
    buckets=metrics.SECONDS,
)
COMPUTED = Histogram("aios_inference_compute_seconds", "In the engine.", ["model", "lane"], buckets=metrics.SECONDS)
TOKENS = Counter("aios_inference_tokens", "Tokens of answered requests.", ["model", "lane", "direction"])
ANSWERED = Counter("aios_inference_answers", "Answers by status: ok, failed, expired.", ["model", "lane", "status"])

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. reason: why it failed or expired. answer: None unless ok."""

    status: str
    reason: str = ""
    answer: Answer | None = None


class Desk:
    """Turns a request into its answer; pure but for the task, the clock and the counters. Its clock is the log's."""

    def __init__(self, task: Task, engine: Engine) -> None:
        self.clock = LogClock()
        self._task = task
        self._engine = engine

    async def answer(self, request: InferenceRequested, queued_since_ms: int) -> InferenceCompleted:
        """Raises EngineDead, Unavailable, ConfigError; everything else becomes an answer."""
        queue_ms = max(0, self.clock.now_ms() - queued_since_ms)
        started = time.monotonic()
        outcome = await self._outcome(request)
        compute_ms = int((time.monotonic() - started) * 1000)
        self._count(request, outcome, queue_ms, compute_ms)
        return self._completed(request, outcome, queue_ms, compute_ms)

    async def _outcome(self, request: InferenceRequested) -> Outcome:
        if request.deadline_at <= self.clock.now_ms():
            return Outcome("expired", "deadline_passed")
        if request.model != self._task.model:
            return Outcome("failed", f"this pool serves {self._task.model}, not {request.model}")
        priority = request.priority + (BULK_AFTER if request.lane == Lane.BULK else 0)
        try:
            return Outcome("ok", answer=await self._task.answer(request, priority))
        except RequestRefused as error:
            return Outcome("failed", str(error)[:REASON_CHARS_MAX])

    def _completed(
        self, request: InferenceRequested, outcome: Outcome, queue_ms: int, compute_ms: int
    ) -> InferenceCompleted:
        answer = outcome.answer
        rendered = answer.rendered if answer else request.input
        return InferenceCompleted(
            request_id=request.request_id,
            case_id=request.case_id,
            tenant=request.tenant,
            workflow=request.workflow,
            step=request.step,
            attempt=request.attempt,
            task=request.task,
            status=outcome.status,
            reason=outcome.reason,
            output=ids.canonical(answer.output) if answer else "{}",
            output_contract=answer.contract if answer else "",
            model=self._task.model,
            prompt=request.prompt,
            engine=self._engine.version,
            seed=answer.seed if answer else 0,
            input_hash=hashlib.sha256(rendered.encode()).hexdigest(),
            prompt_tokens=answer.prompt_tokens if answer else 0,
            output_tokens=answer.output_tokens if answer else 0,
            lane=request.lane,
            queue_ms=queue_ms,
            compute_ms=compute_ms,
            completed_at=self.clock.now_ms(),
        )

    def _count(self, request: InferenceRequested, outcome: Outcome, queue_ms: int, compute_ms: int) -> None:
        lane = Lane.INTERACTIVE if request.lane == Lane.INTERACTIVE else Lane.BULK
        ANSWERED.labels(self._task.model, lane, outcome.status).inc()
        QUEUED.labels(self._task.model, lane).observe(queue_ms / 1000)
        if outcome.answer is None:
            return
        COMPUTED.labels(self._task.model, lane).observe(compute_ms / 1000)
        TOKENS.labels(self._task.model, lane, "in").inc(outcome.answer.prompt_tokens)
        TOKENS.labels(self._task.model, lane, "out").inc(outcome.answer.output_tokens)


class LaneWorker:
    """One lane's intake: keeps up to in_flight_max requests with the desk, and finishes them as they end."""

    def __init__(self, stage: Stage, roads: Shell, *, codec: Codec, desk: Desk, delivery: Delivery) -> None:
        self._stage = stage
        self._shell = roads
        self._codec = codec
        self._desk = desk
        self._delivery = delivery
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, stop: asyncio.Event) -> None:
        """Until stop is set. Raises what ends the process: EngineDead, ConfigError, Fenced."""
        process = self._stage.process
        while not stop.is_set():
            records = await self._shell.take()
            if self._failure.done():
                self._failure.result()
            for record in records:
                self._desk.clock.see(record.timestamp_ms)
                failpoints.hit(f"{process}.taken", record.value or b"")
            read = await self._shell.understand(records, self._decode)
            if not await self._shell.persevere(partial(self._shell.give_up, read)):
                return
            for record, request in read.good:
                self._begin(record, request)

    async def drain(self) -> None:
        """Let what is with the desk end, DRAIN_S_MAX at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S_MAX)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _decode(self, record: Record) -> InferenceRequested:
        return self._codec.decode(record.value, InferenceRequested)

    def _begin(self, record: Record, request: InferenceRequested) -> None:
        task = asyncio.create_task(self._handle(record, request))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)

    async def failed(self) -> None:
        """Returns never; raises the first error of a request that ends the process."""
        await asyncio.shield(self._failure)

    async def _handle(self, record: Record, request: InferenceRequested) -> None:
        process, trace = self._stage.process, record.header("traceparent") or ""
        try:
            with tracing.span(self._stage.name, trace, step=request.step, attempt=request.attempt):
                answer = await self._desk.answer(request, record.timestamp_ms)
                failpoints.hit(f"{process}.answered")
                if not self._shell.intake.owns(record):
                    return
                place = await self._delivery.deliver(self._outgoing(answer, trace))
        except Unavailable as error:
            log.warning("%s/%d waits: %s", record.topic, record.partition, error)
            self._shell.intake.pause(record.topic, record.partition, AWAY_MS)
            return
        self._desk.clock.see(place.timestamp_ms)
        failpoints.hit(f"{process}.produced")
        self._shell.finish((record,))
        failpoints.hit(f"{process}.finished")

    def _outgoing(self, answer: InferenceCompleted, trace: str) -> Outgoing:
        headers = tracing.envelope(
            answer,
            event_id=str(ids.derive("answer", answer.request_id)),
            source=f"/aios/{self._stage.name}",
            subject=answer.case_id,
            tenant=answer.tenant,
            traceparent=trace,
            time_ms=answer.completed_at,
        )
        value = self._codec.encode(INFERENCE_COMPLETED, answer)
        return Outgoing(INFERENCE_COMPLETED.name, answer.case_id.encode(), value, headers)


def engine_of(process: str, settings: InferenceSettings) -> Engine:
    """The engine that the settings name. Raises ConfigError for a name that is none, or model files that are absent."""
    folder, runner = MODELS[process]
    if settings.engine == "vllm":
        return VllmEngine(convert.folder(folder), runner, settings)
    if settings.engine == "openai":
        return OpenAIEngine(CLASSIFIER if process == "classify" else WRITER, settings)
    raise ConfigError(f"inference.engine is {settings.engine!r}; it must be 'vllm' or 'openai'")


def task_of(process: str, engine: Engine) -> Task:
    return Classify(engine) if process == "classify" else Write(engine)


async def run(settings: Settings, *, process: str, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop is set. Raises EngineDead, ConfigError, Fenced: the process leaves, everything unsettled."""
    engine = engine_of(process, settings.inference)
    try:
        if not await _loaded(engine, stop):
            return
        desk = Desk(task_of(process, engine), engine)
        async with _lanes(settings, process, desk, slot=slot, stop=stop) as lanes:
            ready()
            await _serve(lanes, engine, stop)
    finally:
        await engine.close()


async def _loaded(engine: Engine, stop: asyncio.Event) -> bool:
    """False when the process was asked to stop before its model was there."""
    loading, stopping = asyncio.ensure_future(engine.start()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if loading.done():
        loading.result()
        return True
    loading.cancel()
    return False


@contextlib.asynccontextmanager
async def _lanes(
    settings: Settings, process: str, desk: Desk, *, slot: int, stop: asyncio.Event
) -> AsyncIterator[list[LaneWorker]]:
    """The lanes of the process, each in its group."""
    delivery = Delivery(settings.kafka, client_id=f"aios.{process}.{slot}")
    async with AsyncExitStack() as stack:
        stack.callback(delivery.close)
        lanes = []
        for stage in (stage for stage in topology.POOLS if stage.process == process):
            roads, codec = await stack.enter_async_context(
                shell.opened(stage, settings, slot=slot, stop=stop, in_flight_max=settings.inference.in_flight_max)
            )
            lanes.append(LaneWorker(stage, roads, codec=codec, desk=desk, delivery=delivery))
            await roads.intake.start()
        yield lanes
        await asyncio.gather(*(lane.drain() for lane in lanes))


async def _serve(lanes: list[LaneWorker], engine: Engine, stop: asyncio.Event) -> None:
    """Until the first of: every lane has stopped, a request's error that ends the process, the engine's death."""
    serving = asyncio.gather(*(lane.serve(stop) for lane in lanes))
    ends: set[asyncio.Future[Any]] = {serving, asyncio.ensure_future(engine.watch())}
    ends |= {asyncio.ensure_future(lane.failed()) for lane in lanes}
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for one in ends:
            one.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
