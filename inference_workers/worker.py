"""A process of the inference workers: one model, its engine, and a consumer for each of its pools (pool.py).

Enters: settings, and which process of the pool files. Leaves: an exit. Guaranteed: it joins its groups only when the
model is loaded and warm; whoever waits goes before bulk work in the engine; an engine that dies or hangs ends the
process with everything in hand unsettled. Stopping: nothing more is taken, what is in hand may finish for DRAIN_S_MAX,
the rest is left uncommitted.
Rejected: one process a lane as the only way (the model would be in memory twice); inference.lanes allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.dlq.breakers import GroupBreakers
from aios.dlq.deaths import Deaths
from aios.dlq.in_hand import Quiet
from aios.dlq.settle import Settler
from aios.inference_workers.answering import Answering
from aios.inference_workers.cache import AnswerCache
from aios.inference_workers.cancels import Cancels, Tail
from aios.inference_workers.classify import CHUNKS_MAX
from aios.inference_workers.engines.batch import FREE_SHARE
from aios.inference_workers.engines.engine import Engine, Runner, Told
from aios.inference_workers.engines.engine_arguments import context_tokens
from aios.inference_workers.engines.giving_way import give_way
from aios.inference_workers.engines.openai import OpenAIEngine, at_once
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.inference_workers.fair import Costs, Fair
from aios.inference_workers.measures import Engines, Measures
from aios.inference_workers.one_request import Requests
from aios.inference_workers.pool import Pool
from aios.inference_workers.room import Room
from aios.inference_workers.tasks import Task, encoder
from aios.inference_workers.weights import convert
from aios.inference_workers.writing import writer
from aios.schemas.codec import Codec
from aios.schemas.models import ModelActivated
from aios.schemas.registry import RegistrySource
from aios.streams import activations, announced, installed, model_files, pool_files, prompt_files, reference
from aios.streams.announced import Announcer
from aios.streams.config import InferenceSettings, Settings
from aios.streams.errors import ConfigError, EngineDead
from aios.streams.kafka import Delivery, Intake, cluster_id
from aios.streams.reference import ReferenceTable
from aios.streams.topics import INFERENCE_COMPLETED, inference_cancelled
from aios.streams.topology import STAGES, Stage

DRAIN_S_MAX = 8.0  # the supervisor waits a little longer before it kills
WAITING_MAX = 65_536  # commands of a pool read ahead, so that there is a choice among tenants
WAITING_BYTES_MAX = 256 << 20  # of these: half of it holds what 48 tenants may have outstanding, in letters of 3 KB

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a task is served. task: of a process's engines and a model's name. pieces_max: of one request's text that are
    with the engine at once.
    """

    runner: Runner
    task: Callable[[Shelf, str], Task]
    pieces_max: Callable[[], int]


def _written_max() -> int:
    """As many as a prompt has read of a text at the same time."""
    pieces_max = 1
    for prompt in prompt_files.known():
        with contextlib.suppress(ConfigError):  # requests that name it are refused
            pieces_max = max(pieces_max, prompt_files.load(prompt).input.chunks_max)
    return pieces_max


ENCODES = Kind(runner=Runner.EMBED, task=encoder, pieces_max=lambda: CHUNKS_MAX)
WRITES = Kind(runner=Runner.GENERATE, task=writer, pieces_max=_written_max)
KINDS: Mapping[str, Kind] = {"classify": ENCODES, "embed": ENCODES, "generate": WRITES}
"""By the task of a pool's file."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a process serves: the pools of its name, by lane, which share a model and an engine."""

    pools: Mapping[str, pool_files.Pool]

    @property
    def pool(self) -> pool_files.Pool:
        """One of them, for what they share."""
        return next(iter(self.pools.values()))

    @property
    def kind(self) -> Kind:
        return KINDS[self.pool.task]

    @property
    def model(self) -> str:
        """The newest version that ships."""
        return model_files.reference(self.pool.model)

    def told(self, settings: InferenceSettings) -> InferenceSettings:
        """What its engine is told: the settings, and what the pools' files say instead."""
        return settings.of(self.pool)

    def context_tokens(self, settings: InferenceSettings) -> int:
        """That its engine reads at once."""
        return context_tokens(self.told(settings), embeds=self.kind.runner is Runner.EMBED)

    def one_max(self, settings: InferenceSettings) -> int:
        """Tokens of one request at once, at most."""
        return self.kind.pieces_max() * self.context_tokens(settings)

    def task(self, engine: Shelf) -> Task:
        return self.kind.task(engine, self.pool.model)

    def engine_of(self, settings: InferenceSettings) -> str:
        return settings.engine or self.pool.engine

    def engine(self, whole: Settings, told: Callable[[str], Told] | None = None) -> Shelf:
        """told: by an engine's weights, who hears of its steps; None: nobody."""
        settings = self.told(whole.inference)
        match self.engine_of(settings):
            case "openai":
                return self._elsewhere(settings)
            case "echo":
                from aios.inference_workers.engines import echo  # for drills only: nobody else loads it

                failed = whole.home / "run" / "echo"
                return Shelf(lambda model: echo.EchoEngine(echo.heads(model), failed), key_of=str, first=self.model)
            case _:
                self._check_weights()
                return Shelf(
                    lambda weights: VllmEngine(
                        convert.folder(weights), self.kind.runner, settings, told and told(weights)
                    ),
                    key_of=_weights,
                    first=self.pool.weights,
                )

    def _elsewhere(self, settings: InferenceSettings) -> Shelf:
        """By the server's name of each version: its card's weights, or ours where a setting sends the pool there."""
        server = self.pool.server or settings
        calls = at_once(max(_in_flight_max(settings, pool) for pool in self.pools.values()))

        def make(name: str) -> Engine:
            return OpenAIEngine(
                name, url=server.url, api_key=server.api_key, answer_s_max=settings.answer_s_max, calls=calls
            )

        if self.pool.engine != "openai":
            return Shelf(make, key_of=str, first=self.model)
        self._check_weights()
        return Shelf(make, key_of=_weights, first=self.pool.weights)

    def _check_weights(self) -> None:
        """Raises ConfigError: answers would be stamped with a version that did not give them."""
        wanted = _weights(self.model)
        if wanted != self.pool.weights:
            raise ConfigError(
                f"{', '.join(pool.pool for pool in self.pools.values())} load {self.pool.weights}, and {self.model}, "
                f"the newest version, is {wanted}: set `weights` in the pools' files"
            )


def _weights(model: str) -> str:
    return model_files.card(model).weights


def _served() -> Mapping[str, Served]:
    found: dict[str, dict[str, pool_files.Pool]] = {}
    for pool in installed.pools().values():
        found.setdefault(pool.process, {})[pool.lane] = pool
    return {process: Served(pools) for process, pools in found.items()}


SERVED: Mapping[str, Served] = _served()
"""By process."""


async def run(settings: Settings, *, process: str, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The worker, until stop is set. Joins its groups only when the model is loaded and warm."""
    served = SERVED[process]
    lanes = settings.inference.lanes
    give_way(lanes)
    measures = {pool.pool: Measures(pool) for pool in served.pools.values() if pool.lane in lanes}
    seats = served.told(settings.inference).sequences_max
    engine = served.engine(settings, Engines(process, lanes, seats=seats).of)
    begun = time.monotonic()
    try:
        if not await _unless(stop, engine.start()):
            return
        log.info("%s answers through %s, after %.1f s", served.model, engine.version, time.monotonic() - begun)
        await _serve(settings, engine, measures, process=process, slot=slot, stop=stop, ready=ready)
    finally:
        await engine.close()


async def _serve(
    settings: Settings,
    engine: Shelf,
    measures: Mapping[str, Measures],
    *,
    process: str,
    slot: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    cluster = await asyncio.to_thread(cluster_id, settings.kafka)
    lanes = settings.inference.lanes
    stages = [stage for stage in STAGES if stage.process == process and stage.name.rpartition(".")[2] in lanes]
    await asyncio.to_thread(codec.warm, [INFERENCE_COMPLETED])
    await asyncio.to_thread(codec.warm_reading, [topic for stage in stages for topic in stage.inputs])
    delivery = Delivery(settings.kafka, client_id=f"aios.{process}.{slot}")
    served = SERVED[process]
    task = served.task(engine)
    answers = _answers(settings, served)
    breakers = [GroupBreakers(settings.kafka, codec, stage) for stage in stages]
    cancels = {stage.name: Cancels() for stage in stages}
    tails = [Tail(settings.kafka, codec, inference_cancelled(name), known) for name, known in cancels.items()]
    announcer = Announcer(settings.kafka, codec, [f"{stage.group}.{slot}" for stage in stages], announced.here)
    activated = activations.models(settings.kafka, codec)
    followers: list[GroupBreakers | Tail | Announcer | ReferenceTable[ModelActivated]] = [
        *breakers,
        *tails,
        announcer,
        activated,
    ]
    await reference.start(*followers)
    quiet, pools = Quiet(), []
    room = _room(engine, lanes)
    for stage, group in zip(stages, breakers, strict=True):
        pool, measured = installed.pools()[stage.name], measures[stage.name]
        intake = _intake(settings, stage, pool, slot, room=room, one_max=served.one_max(settings.inference))
        requests = Requests(
            stage,
            Answering(
                pool,
                task,
                engine,
                answers=answers,
                context_tokens=served.context_tokens(settings.inference),
                cancels=cancels[stage.name],
                wrote=measured.wrote,
                here=engine.is_here,
                serves=lambda model: activations.serves(model, activated.get(served.pool.model), served.model),
            ),
            codec,
            measured,
            intake=intake,
            delivery=delivery,
            settler=Settler(stage, cluster, breakers=group),
        )
        pools.append(Pool(requests, measured, intake=intake, deaths=Deaths(settings.home, stage.name), quiet=quiet))
    try:
        await serve(pools, engine, stop, ready)
    finally:
        await asyncio.to_thread(delivery.close)
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in followers))
        if answers is not None:
            await answers.close()
        registry.close()


async def serve(pools: Sequence[Pool], engine: Engine, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """All lanes until stop is set; then what is in hand finishes, within DRAIN_S_MAX.

    Raises the first thing that stops the process, also while it drains: nothing in hand is settled then. A dead engine
    leaves the marks of what was in hand, so that a request which kills engines is found; anything else takes them away.
    """
    healthy = True
    running: list[asyncio.Future[Any]] = []
    try:
        await asyncio.gather(*(pool.start() for pool in pools))
        ready()
        watch = asyncio.create_task(engine.watch())
        works = (*(pool.serve(stop) for pool in pools), stop.wait())
        running += (watch, *(asyncio.create_task(work) for work in works))
        await _first(running)
        drains = [asyncio.create_task(pool.drain(DRAIN_S_MAX)) for pool in pools]
        drained = asyncio.gather(*drains)
        running += (*drains, drained)
        await _first((watch, drained))  # what a dead engine has in hand never ends
    except EngineDead:
        healthy = False
        raise
    finally:
        await asyncio.gather(*(pool.close(healthy=healthy) for pool in pools))
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _room(engine: Engine, lanes: Sequence[pool_files.Lane]) -> Room:
    """Of the engine's cache, for all its lanes; one without a cache has room for what each pool's file allows."""
    if not engine.tokens_max:
        return Room(sys.maxsize)
    return Room(engine.tokens_max, kept=engine.tokens_max // FREE_SHARE if len(lanes) > 1 else 0)


def _intake(settings: Settings, stage: Stage, pool: pool_files.Pool, slot: int, *, room: Room, one_max: int) -> Intake:
    requests_max = _in_flight_max(settings.inference, pool)
    lane = room.lane(pool.limits.tokens_in_flight_max, bulk=pool.lane is pool_files.Lane.BULK)
    order = Fair(Costs(one_max), requests_max=requests_max, room=lane, weights=settings.inference.tenant_weights)
    intake = Intake(
        settings.kafka,
        group=stage.group,
        topics=[topic.name for topic in stage.inputs],
        instance_id=f"{stage.group}.{slot}",
        in_flight_max=requests_max,
        waiting_max=WAITING_MAX,
        waiting_bytes_max=WAITING_BYTES_MAX,
        order=order,
        skips=stage.skips,
    )
    lane.tell = intake.rouse
    return intake


def _in_flight_max(settings: InferenceSettings, pool: pool_files.Pool) -> int:
    return settings.in_flight_max or pool.limits.in_flight_max


def _answers(settings: Settings, served: Served) -> AnswerCache | None:
    """None: they are not to be kept, or there is no model whose answers they would be."""
    chosen = settings.inference
    if not chosen.answers_kept_s or not settings.redis.url or served.engine_of(chosen) == "echo":
        return None
    return AnswerCache(settings.redis.url, seconds=chosen.answers_kept_s, answers_max=chosen.answers_kept_max)


async def _first(works: Sequence[asyncio.Future[Any]]) -> None:
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
