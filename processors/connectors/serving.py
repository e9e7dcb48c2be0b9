"""The process of the connectors: a consumer for each outside system, each behind its own gate.

Enters: settings, and the systems of streams/system_files.py. Leaves: answers, intents, changes of circuits; an exit.
Guaranteed: a system that is away, slow, or cannot even be opened holds up no other; of what is in hand of one system,
an endpoint or a tenant holds up no other (lines.py, which also says what is not held); stopping: nothing more is taken,
what waits is left to the next owner at once, a call under way may finish for DRAIN_S_MAX.
Rejected: a process for each system as the only way (idle ones cost memory; `aios scale connectors=N` shares out all).
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from aios.dlq.deaths import Deaths
from aios.dlq.in_hand import InHand, Quiet
from aios.dlq.settle import Settler
from aios.processors.connectors import measures, registry
from aios.processors.connectors.calling import Calling
from aios.processors.connectors.circuits import Breakers, Endpoints, Telling
from aios.processors.connectors.claims import PROCESS
from aios.processors.connectors.command import Commands, Intending
from aios.processors.connectors.connector import Connector, Operation
from aios.processors.connectors.gate import Gate
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.intents import Intents
from aios.processors.connectors.opened import Opened
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.schemas.registry import RegistrySource
from aios.streams import installed
from aios.streams.config import Settings
from aios.streams.kafka import Delivery, Intake, cluster_id
from aios.streams.system_files import System
from aios.streams.topics import BREAKER_CHANGED, CONNECTOR_COMPLETED, CONNECTOR_INTENDED
from aios.streams.topology import connecting

TAKE_MAX = 64
WAIT_MS_MAX = 200  # for records, and so for noticing that we shall stop
LOOK_S = 1.0  # between two looks at what waits
DRAIN_S_MAX = 8.0  # the supervisor waits a little longer before it kills
REVOKE_S_MAX = 3.0  # for calls under way, when a partition is taken
TELL_S_MAX = 2.0  # for the last change of a circuit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A system, and who speaks to it. operations, make: raise ConfigError while that cannot be loaded."""

    system: System
    operations: Callable[[], Any]
    make: Callable[[Settings], Connector]


def shipped() -> list[Served]:
    """The systems of the product's files."""
    return [
        Served(
            system=system,
            operations=functools.cache(functools.partial(registry.operations_of, system)),
            make=functools.partial(registry.connector, system),
        )
        for system in installed.systems().values()
    ]


def served(system: System, kind: Callable[[Settings], Connector], operations: dict[str, Operation]) -> Served:
    """One that is not shipped."""
    return Served(system=system, operations=lambda: operations, make=kind)


async def run(
    settings: Settings,
    *,
    slot: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
    systems: Sequence[Served] | None = None,
) -> None:
    """The connectors, until stop is set. systems: other than the shipped ones."""
    source = RegistrySource(settings.registry.url)
    codec = Codec(source)
    cluster = await asyncio.to_thread(cluster_id, settings.kafka)
    await asyncio.to_thread(codec.warm, [CONNECTOR_COMPLETED, CONNECTOR_INTENDED, BREAKER_CHANGED])
    delivery = Delivery(settings.kafka, client_id=f"aios.{PROCESS}.{slot}")
    intents = Intents(settings.kafka, codec)
    intents.start()
    around = _Around(settings, slot, codec, cluster, delivery, intents, Quiet())
    lanes = [_Lane(each, around) for each in (shipped() if systems is None else systems)]
    running: list[asyncio.Task[Any]] = []
    drain_s_max = 0.0
    try:
        await asyncio.gather(*(lane.start() for lane in lanes))
        ready()
        running = [asyncio.create_task(work) for work in (*(lane.serve(stop) for lane in lanes), stop.wait())]
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
        drain_s_max = DRAIN_S_MAX
    finally:
        await asyncio.gather(*(lane.close(drain_s_max) for lane in lanes))
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(intents.close)
        await asyncio.to_thread(delivery.close)
        source.close()


@dataclass(frozen=True, slots=True)
class _Around:
    """What all systems of the process share."""

    settings: Settings
    slot: int
    codec: Codec
    cluster: str
    delivery: Delivery
    intents: Intents
    quiet: Quiet


class _Lane:
    """One system in this process: its records, from taken to finished."""

    def __init__(self, each: Served, around: _Around) -> None:
        system, settings = each.system, around.settings
        self._system = system
        self._slot = around.slot
        self._stage = stage = connecting(system)
        self._partitions = stage.reads[0].partitions(settings.kafka.partitions)
        self._loop = asyncio.get_running_loop()
        self._is_stopping = False
        self._intake = Intake(
            settings.kafka,
            group=stage.group,
            topics=[topic.name for topic in stage.inputs],
            instance_id=f"{stage.group}.{around.slot}",
            in_flight_max=system.limits.waiting_max,
            drain_s_max=REVOKE_S_MAX,
            skips=stage.skips,
        )
        self._telling = Telling(around.codec, around.delivery, stage, system=system.system, slot=around.slot)
        self._endpoints = Endpoints(around.codec, around.delivery, stage, system=system.system, slot=around.slot)
        self._breakers = Breakers(settings.kafka, around.codec, stage, self._is_own_circuit)
        self._gate = Gate(system, self._telling.changed, endpoint_changed=self._endpoints.changed, share=self._share)
        self._deaths = [Deaths(settings.home, name) for name in (f"{stage.name}.decode", stage.name)]
        decoding, calling = (
            Guard(InHand(deaths, around.quiet, self._position), around.quiet) for deaths in self._deaths
        )
        self._guards = (decoding, calling)
        self._opened = Opened(functools.partial(each.make, settings))
        calls = Calling(
            system,
            each.operations,
            self._opened,
            self._gate,
            intents=around.intents,
            intend=Intending(stage, around.codec, around.delivery),
            guard=calling,
            away_since=lambda: self._telling.since,
        )
        self._commands = Commands(
            stage,
            calls,
            around.codec,
            intake=self._intake,
            delivery=around.delivery,
            settler=Settler(stage, around.cluster, breakers=self._breakers),
            decoding=decoding,
            stopping=lambda: self._is_stopping,
        )
        self._running: set[asyncio.Task[None]] = set()
        self._fatal: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Know how the circuits were left, and join the group."""
        await asyncio.to_thread(self._breakers.start)
        if self._telling.resume(self._breakers.get(self._telling.key)):
            self._gate.circuit.reopen(0.0)
        for party in self._endpoints.resume(self._breakers.all().values()):
            self._gate.reopen_endpoint(party)
        self._breakers.hear(self._heard)
        self._opened.begin()
        await self._intake.start()

    async def serve(self, stop: asyncio.Event) -> None:
        """Take and answer until stop is set. Raises what stops this deploy, with everything in hand unsettled."""
        taking, looking = asyncio.create_task(self._take(stop)), asyncio.create_task(self._look())
        try:
            await asyncio.wait((taking, looking, self._fatal), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._fatal, taking, looking):
                if done.done():
                    done.result()
            await stop.wait()
        finally:
            taking.cancel()
            looking.cancel()
            await asyncio.gather(taking, looking, return_exceptions=True)

    async def close(self, drain_s_max: float) -> None:
        """What waits is left at once, calls under way may finish up to the bound; the rest stays uncommitted."""
        self._is_stopping = True
        self._gate.leave()
        await self._intake.close(drain_s_max)
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._fatal.cancel()
        for guard, deaths in zip(self._guards, self._deaths, strict=True):
            guard.leave()
            deaths.close()
        await self._opened.close()
        leaves = self._slot > 0
        await asyncio.gather(*(one.close(TELL_S_MAX, leaves=leaves) for one in (self._telling, self._endpoints)))
        await asyncio.to_thread(self._breakers.close)

    async def _take(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for record in await self._intake.take(TAKE_MAX, wait_ms_max=WAIT_MS_MAX):
                running = asyncio.create_task(self._guarded(self._commands.work(record)))
                self._running.add(running)
                running.add_done_callback(self._running.discard)

    async def _look(self) -> None:
        while True:
            self._gate.sweep()
            measures.look(self._system.system, self._gate, sum(self._intake.lag().values()))
            await asyncio.sleep(LOOK_S)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """What stops this deploy ends the lane; nothing else gets out."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - serve() raises it
            if not self._fatal.done():
                self._fatal.set_exception(error)

    def _share(self) -> float:
        """Of the system's limits: as many of its partitions as are this process's."""
        own = sum(topic == self._stage.reads[0].name for topic, _ in self._intake.assigned())
        return own / self._partitions

    def _position(self, topic: str, partition: int) -> int | None:
        return self._intake.position(topic, partition)

    def _is_own_circuit(self, key: str) -> bool:
        """Called by the reader's thread."""
        is_systems = key == self._telling.key
        return is_systems or self._endpoints.party_of(key) is not None

    def _heard(self, closed: BreakerChanged) -> None:
        """Called by the reader's thread."""
        self._loop.call_soon_threadsafe(self._closed, closed)

    def _closed(self, closed: BreakerChanged) -> None:
        if self._telling.closed_by(closed):
            log.warning("circuit %s was closed by %s", closed.key, closed.by)
            self._gate.close_circuit()
        elif (party := self._endpoints.closed_by(closed)) is not None:
            log.warning("circuit %s was closed by %s", closed.key, closed.by)
            self._gate.close_endpoint(party)
