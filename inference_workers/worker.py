"""A process of the inference workers: one model, its engine, and a consumer for each of its pools (pool.py).

Enters: settings, and which model. Leaves: an exit. Guaranteed: it joins its groups only when the model is loaded and
warm; whoever waits goes before bulk work in the engine; an engine that dies or hangs ends the process with everything
in hand unsettled. Stopping: nothing more is taken, what is in hand may finish for DRAIN_S_MAX, the rest is left
uncommitted.
Rejected: one process a lane (the model would be in memory twice).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.dlq.breakers import GroupBreakers
from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.inference_workers import convert
from aios.inference_workers.engine import Engine, Runner
from aios.inference_workers.openai import OpenAIEngine
from aios.inference_workers.pool import Pool
from aios.inference_workers.tasks import CLASSIFIER, WRITER, Task, encoder
from aios.inference_workers.vllm_engine import VllmEngine
from aios.inference_workers.writing import Write
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams.config import InferenceSettings, Settings
from aios.streams.errors import ConfigError, EngineDead
from aios.streams.kafka import Delivery, Intake, cluster_id
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import STAGES, Stage

DRAIN_S_MAX = 8.0  # the supervisor waits a little longer before it kills

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a process serves. files: its model's folder for vLLM. model: its name for a server elsewhere."""

    model: str
    files: str
    runner: Runner
    task: Callable[[Engine], Task]

    def engine(self, settings: InferenceSettings) -> Engine:
        if settings.engine == "vllm":
            return VllmEngine(convert.folder(self.files), self.runner, settings)
        if settings.engine == "openai":
            return OpenAIEngine(self.model, settings)
        if settings.engine == "echo":
            from aios.inference_workers import echo  # for drills only: nobody else loads it

            return echo.EchoEngine(echo.heads())
        raise ConfigError(f"inference.engine is {settings.engine!r}: it must be 'vllm', 'openai' or 'echo'")


SERVED: Mapping[str, Served] = {
    "classify": Served(model=CLASSIFIER, files="all-minilm-l6-v2", runner=Runner.EMBED, task=encoder),
    "generate": Served(model=WRITER, files="smollm2-135m-instruct", runner=Runner.GENERATE, task=Write),
}
"""By process."""


async def run(settings: Settings, *, process: str, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The worker, until stop is set. Joins its groups only when the model is loaded and warm."""
    served = SERVED[process]
    engine = served.engine(settings.inference)
    begun = time.monotonic()
    try:
        if not await _unless(stop, engine.start()):
            return
        log.info("%s answers through %s, after %.1f s", served.model, engine.version, time.monotonic() - begun)
        await _serve(settings, engine, process=process, slot=slot, stop=stop, ready=ready)
    finally:
        await engine.close()


async def _serve(
    settings: Settings, engine: Engine, *, process: str, slot: int, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    cluster = await asyncio.to_thread(cluster_id, settings.kafka)
    await asyncio.to_thread(codec.warm, [INFERENCE_COMPLETED])
    delivery = Delivery(settings.kafka, client_id=f"aios.{process}.{slot}")
    task = SERVED[process].task(engine)
    lanes = settings.inference.lanes
    stages = [stage for stage in STAGES if stage.process == process and stage.name.rpartition(".")[2] in lanes]
    breakers = [GroupBreakers(settings.kafka, codec, stage) for stage in stages]
    await asyncio.gather(*(asyncio.to_thread(each.start) for each in breakers))
    pools = [
        Pool(
            stage,
            task,
            engine,
            codec,
            intake=_intake(settings, stage, slot),
            delivery=delivery,
            settler=Settler(stage, cluster, breakers=group),
            deaths=Deaths(settings.home, stage.name),
        )
        for stage, group in zip(stages, breakers, strict=True)
    ]
    try:
        await serve(pools, engine, stop, ready)
    finally:
        await asyncio.to_thread(delivery.close)
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in breakers))
        registry.close()


async def serve(pools: Sequence[Pool], engine: Engine, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """All lanes until stop is set; then what is in hand finishes, within DRAIN_S_MAX.

    Raises the first thing that stops the process: nothing in hand is settled then. A dead engine leaves the marks
    of what was in hand, so that a request which kills engines is found; anything else takes them away.
    """
    drain_s_max, healthy = 0.0, True
    running: list[asyncio.Task[Any]] = []
    try:
        await asyncio.gather(*(pool.start() for pool in pools))
        ready()
        works = (engine.watch(), *(pool.serve(stop) for pool in pools), stop.wait())
        running += [asyncio.create_task(work) for work in works]
        await _first(running)
        drain_s_max = DRAIN_S_MAX
    except EngineDead:
        healthy = False
        raise
    finally:
        await asyncio.gather(*(pool.close(drain_s_max, healthy=healthy) for pool in pools))
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _intake(settings: Settings, stage: Stage, slot: int) -> Intake:
    return Intake(
        settings.kafka,
        group=stage.group,
        topics=[topic.name for topic in stage.inputs],
        instance_id=f"{stage.group}.{slot}",
        in_flight_max=settings.inference.in_flight_max,
    )


async def _first(works: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until the first of these ends. Raises what it raised."""
    done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
    for each in works:
        if each in done:
            each.result()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work; False if stop was set before it was done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await _first([working, stopping])
        return working.done()
    finally:
        working.cancel()
        stopping.cancel()
