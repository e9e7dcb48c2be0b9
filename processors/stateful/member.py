"""One process of a stateful stage: a member of its group, from its start to its stop.

Enters: a stage, its core, settings. Leaves: a running member, until asked to stop. Guaranteed: ready is told when the
first assignment is open; no agent lets an exception out: what cannot go on leaves the process with status 70, nothing
acknowledged, and the supervisor starts the slot again; a stop ends in time, whatever Faust waits for. What Faust itself
does otherwise here stands in app.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from faust.types import TP

from aios.dlq.breakers import GroupBreakers
from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.processors.stateful.app import StageApp, build
from aios.processors.stateful.lanes import Lane, Lanes
from aios.processors.stateful.log import KafkaLog
from aios.processors.stateful.state import Core
from aios.processors.stateful.store import PartitionStore, Services
from aios.schemas.codec import Codec
from aios.streams import metrics
from aios.streams.config import Settings
from aios.streams.errors import StateBroken
from aios.streams.kafka import cluster_id
from aios.streams.topics import Topic
from aios.streams.topology import Stage

LEFT = 70  # exit status: this process cannot go on, its records are untouched, start it again
STOP_S_MAX = 12.0
LAG_EVERY_S = 5.0
MIXED_S_MAX = 30.0  # of a partition that is split between members of two subscriptions

log = logging.getLogger(__name__)


def leave(error: BaseException) -> None:
    """End the process at once: whatever is in hand is not acknowledged and will be processed by the next owner."""
    log.critical("leaving: %s: %s", type(error).__name__, error)
    logging.shutdown()
    os._exit(LEFT)


def end_now(why: str) -> None:
    """End the process as asked, with whatever waits in it."""
    log.warning("%s: leaving", why)
    logging.shutdown()
    os._exit(0)


def carriers(stage: Stage) -> Iterable[Topic]:
    """Topics whose schema ids a stage asks the registry for, best before the first record."""
    return (*stage.writes, *((stage.changelog,) if stage.changelog else ()))


async def run_stage(
    stage: Stage,
    core: Core,
    codec: Codec,
    settings: Settings,
    *,
    slot: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
    again: asyncio.Event | None = None,
) -> None:
    """One process of a stateful stage, until `stop`. `ready` is called when its first assignment is open.

    again: of a stage whose inputs may grow (growing.py); set, it ends in good order, too, and leaves its group.
    Raises StateBroken or Unavailable before it is a member; afterwards what cannot go on leaves the process.
    """
    cluster = await asyncio.to_thread(cluster_id, settings.kafka)
    breakers = GroupBreakers(settings.kafka, codec, stage)
    await asyncio.to_thread(breakers.start)
    deaths = Deaths(settings.home, stage.name)
    services = Services(
        stage=stage,
        core=core,
        codec=codec,
        log=KafkaLog(settings.kafka, stage, codec),
        deaths=deaths,
        settler=Settler(stage, cluster, breakers=breakers),
        given_up=settings.kafka.given_up,
    )
    lanes = Lanes(stage.name, lambda partition: PartitionStore(services, partition), leave)
    app = build(stage, settings, slot, lanes)
    try:
        await Member(stage, app, lanes, ready, again).run(stop)
    finally:
        await asyncio.to_thread(breakers.close)
        deaths.close()


class Member:
    """One member of the group, from its start to its stop."""

    def __init__(
        self,
        stage: Stage,
        app: StageApp,
        lanes: Lanes,
        ready: Callable[[], None],
        again: asyncio.Event | None = None,
    ) -> None:
        self._stage = stage
        self._again = again
        self._mixed: asyncio.TimerHandle | None = None
        self._app = app
        self._lanes = lanes
        self._ready: Callable[[], None] | None = ready
        self._opening: set[asyncio.Task[None]] = set()
        self._lags: frozenset[TP] = frozenset()  # whose lag was told
        names = [topic.name for topic in stage.inputs]
        self._names = frozenset(names)
        inputs = app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(inputs, name=f"{stage.name}.take", concurrency=1)(self._take)
        app.on_partitions_assigned.connect(self._assigned)
        app.on_partitions_revoked.connect(self._revoked)

    async def run(self, stop: asyncio.Event) -> None:
        """Until stop; then at most STOP_S_MAX more, whatever Faust waits for."""
        starting = asyncio.ensure_future(self._app.start())
        asked = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            end_now("asked to stop while Faust still waits for Kafka; nothing is in hand")
        await starting
        watch = asyncio.create_task(self._watch())
        other = asyncio.ensure_future(self._again.wait()) if self._again is not None else asked
        await asyncio.wait({asked, other}, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        late = "Faust did not stop in time; everything in hand is settled, or comes again"
        give_up = partial(end_now, late) if stop.is_set() else partial(leave, StateBroken(late))
        bound = threading.Timer(STOP_S_MAX, give_up)  # a thread: what Faust catches, or blocks, cannot stop it
        bound.daemon = True
        bound.start()
        await self._end(for_good=stop.is_set())
        bound.cancel()
        asked.cancel()
        other.cancel()

    async def _take(self, stream: Any) -> None:
        """The agent. Its acks mean `handed over`; what is committed is the store's position."""
        try:
            async for batch in stream:
                self._lanes.give(batch)
        except Exception as error:  # noqa: BLE001 - nothing may leave an agent: Faust would go on past it
            leave(error)

    async def _assigned(self, _app: Any, assigned: Iterable[TP], **_: Any) -> None:
        try:
            partitions = self._whole(assigned)
            task = asyncio.create_task(self._opened(self._lanes.assigned(partitions)))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        except Exception as error:  # noqa: BLE001 - Faust would log it and go on
            leave(error)

    async def _revoked(self, _app: Any, revoked: Iterable[TP], **_: Any) -> None:
        try:
            await self._lanes.revoked({tp.partition for tp in revoked})
        except Exception as error:  # noqa: BLE001 - Faust would log it and go on
            leave(error)

    def _whole(self, assigned: Iterable[TP]) -> set[int]:
        """Partition numbers, each with all inputs of the stage: they share one store. Raises StateBroken."""
        found: dict[int, set[str]] = {}
        for tp in assigned:
            found.setdefault(tp.partition, set()).add(tp.topic)
        split = {partition: topics for partition, topics in found.items() if topics != self._names}
        if self._mixed is not None:
            self._mixed.cancel()
            self._mixed = None
        if split and self._again is not None:
            log.warning("partitions %s are split with members that read other inputs, and wait", sorted(split))
            self._mixed = asyncio.get_running_loop().call_later(MIXED_S_MAX, self._again.set)
            return found.keys() - split.keys()
        for partition, topics in split.items():
            raise StateBroken(
                f"{self._stage.group} was assigned partition {partition} of {sorted(topics)} only: its inputs "
                "need the same number of partitions"
            )
        return set(found)

    async def _opened(self, lanes: list[Lane]) -> None:
        await asyncio.gather(*(lane.opened.wait() for lane in lanes))
        if self._ready is not None:
            self._ready()
            self._ready = None

    async def _watch(self) -> None:
        """Leave when Faust gives up; meanwhile say how far behind each partition is."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAG_EVERY_S):
                    await self._app._crashed.wait()
            if self._app.crashed:
                leave(self._app.crash_reason or StateBroken("Faust stopped"))
            self._tell_lag()

    def _tell_lag(self) -> None:
        """Of what is assigned; aiokafka says until the end of a rebalance what it was before."""
        consumer = self._app.consumer
        now = frozenset(consumer.assignment())
        for tp in now:
            metrics.LAG.labels(self._stage.name, tp.topic, str(tp.partition)).set(consumer.lag(tp))
        for tp in self._lags - now:
            metrics.LAG.remove(self._stage.name, tp.topic, str(tp.partition))
        self._lags = now

    async def _end(self, *, for_good: bool) -> None:
        """Finish the running transactions, commit the positions, leave Faust.

        Not for good: leave the group, too. A static member that came back with another subscription would be given
        what it had before, without a rebalance.
        """
        if self._mixed is not None:
            self._mixed.cancel()
        self._app.consumer.stop_flow()
        await self._lanes.stop()
        await self._app.consumer.commit()
        if not for_good:
            self._app.consumer.leave_group()
        await self._app.stop()
