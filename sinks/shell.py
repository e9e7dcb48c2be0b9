"""What every sink does around its own work: take records, understand each, settle those that nobody can.

Enters: the stage and its settings. Leaves: records with what they mean, and dead letters for the rest. Guaranteed:
nothing is finished before the sink says it rests; Kafka, registry or store away pauses and backs off, and
dead-letters nothing; a partition whose breaker is open is not tried; a record that ends the process while it is
decoded is given up at its third death; a bad record is delivered to the group's dead letters before its offset may
move.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aios.dlq.breakers import GroupBreakers
from aios.dlq.deaths import Deaths, given_up
from aios.dlq.settle import Settlement, Settler
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import metrics
from aios.streams.config import Settings
from aios.streams.errors import Unavailable, Verdict
from aios.streams.kafka import Delivery, Intake, cluster_id
from aios.streams.record import Record
from aios.streams.topology import Stage
from aios.streams.wall_clock import wall_ms

TAKE_MAX = 500  # records of one round
WAIT_MS_MAX = 200
LEISURE_MS = 2_000  # a stage that has so long for a record lets Kafka keep it back for others
AGAIN_S_MIN, AGAIN_S_MAX = 0.2, 5.0  # between tries while something is away
ASK_S_MAX = 10.0

log = logging.getLogger(__name__)
T = TypeVar("T")
Place = tuple[str, int]  # topic, partition


@dataclass(slots=True)
class Read(Generic[T]):
    """One round. good: in the order taken. bad: with what becomes of them. paused: partitions to leave alone, ms.

    Records of a paused partition that come after the one it paused for are in neither list: they come again.
    """

    good: list[tuple[Record, T]] = field(default_factory=list)
    bad: list[tuple[Record, Settlement]] = field(default_factory=list)
    paused: dict[Place, int] = field(default_factory=dict)


class Shell:
    """One per process; opened() builds it."""

    def __init__(
        self,
        stage: Stage,
        stop: asyncio.Event,
        *,
        intake: Intake,
        delivery: Delivery,
        settler: Settler,
        deaths: Deaths,
        cluster: str,
    ) -> None:
        self._stage = stage
        self._stop = stop
        self.intake = intake
        self.cluster = cluster
        self._delivery = delivery
        self._settler = settler
        self._deaths = deaths

    async def take(self, *, wait_ms_max: int = WAIT_MS_MAX) -> list[Record]:
        """What came, [] if nothing did."""
        return await self.intake.take(TAKE_MAX, wait_ms_max=wait_ms_max)

    async def understand(self, records: Sequence[Record], meaning: Callable[[Record], T]) -> Read[T]:
        """Apply meaning to each, in a thread. Raises what stops this deploy, and nothing else."""
        return await asyncio.to_thread(self._understand, records, meaning)

    async def give_up(self, read: Read[T]) -> None:
        """Write the bad ones where they belong and finish them, then pause what must be. Raises Unavailable."""
        await self._delivery.deliver_all([one.outgoing for _, one in read.bad if one.outgoing is not None])
        for record, settled in read.bad:
            self.intake.finish(record)
            metrics.SETTLED.labels(self._stage.name, record.topic, settled.verdict).inc()
        for (topic, partition), for_ms in read.paused.items():
            self.intake.pause(topic, partition, for_ms)

    def finish(self, records: Iterable[Record]) -> None:
        """These rest where they belong."""
        now_ms, done = wall_ms(), list(records)
        self._settler.done(done)
        for record in done:
            self.intake.finish(record)
        for topic, count in Counter(record.topic for record in done).items():
            metrics.SETTLED.labels(self._stage.name, topic, "done").inc(count)
        metrics.TOOK.labels(self._stage.name).observe_all(
            max(0, now_ms - record.timestamp_ms) / 1000 for record in done if record.timestamp_ms
        )

    async def persevere(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Do it until nothing is away any more. False if the process is told to stop before that."""
        wait_s = AGAIN_S_MIN
        while True:
            try:
                await work()
            except Unavailable as error:
                log.warning("%s waits: %s", self._stage.name, error)
            else:
                return True
            if not await self.rest(wait_s):
                return False
            wait_s = min(wait_s * 2, AGAIN_S_MAX)

    async def rest(self, wait_s: float) -> bool:
        """Let so long pass. False as soon as the process is told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), wait_s)
        return not self._stop.is_set()

    async def close(self) -> None:
        """Leave the group; what is not finished comes to whoever is next."""
        await self.intake.close(0.0)
        self._delivery.close()
        self._deaths.close()

    def _understand(self, records: Sequence[Record], meaning: Callable[[Record], T]) -> Read[T]:
        by_place: dict[Place, list[Record]] = defaultdict(list)
        for record in records:
            by_place[record.topic, record.partition].append(record)
        read: Read[T] = Read()
        for place, batch in by_place.items():
            for part in self._parts(place, batch):
                self._deaths.begin(*place, part[0].offset, part[-1].offset)
                try:
                    going = self._read(part, meaning, read)
                finally:
                    self._deaths.end(*place)
                if not going:
                    break
        return read

    def _parts(self, place: Place, batch: Sequence[Record]) -> Iterable[Sequence[Record]]:
        """The batch whole, or one by one while somebody here is suspected of ending processes."""
        left = list(batch)
        while left:
            suspects = self._deaths.suspects(*place, left[0].offset)
            if suspects is None or suspects[0] > left[-1].offset:
                yield left
                return
            yield [left.pop(0)]

    def _read(self, part: Sequence[Record], meaning: Callable[[Record], T], read: Read[T]) -> bool:
        """False: the partition pauses here."""
        for record in part:
            settled = self._settler.gate(record, wall_ms())
            try:
                if settled is None:
                    if len(part) == 1:
                        self._refuse_killer(record)
                    read.good.append((record, meaning(record)))
                    continue
            except Exception as error:  # what becomes of it is decided in dlq/decide.py
                settled = self._settler.settle(record, error, wall_ms())
                if settled.verdict is Verdict.STOP:
                    raise
            if settled.verdict is Verdict.PAUSE:
                read.paused[record.topic, record.partition] = settled.pause_ms
                return False
            read.bad.append((record, settled))
        return True

    def _refuse_killer(self, record: Record) -> None:
        """Raises RecordError for a record that ended processes with nothing else in hand."""
        suspects = self._deaths.suspects(record.topic, record.partition, record.offset)
        if suspects is not None and suspects[0] == suspects[1] == record.offset:
            error = given_up(suspects[2])
            if error is not None:
                raise error


def gathers(stage: Stage) -> bool:
    """Whether its records may be kept back, so that one answer of Kafka brings many: nobody waits for it."""
    return stage.objective.p95_ms >= LEISURE_MS


@contextlib.asynccontextmanager
async def opened(
    stage: Stage, settings: Settings, *, slot: int, stop: asyncio.Event, in_flight_max: int
) -> AsyncIterator[tuple[Shell, Codec]]:
    """The shell of a sink that takes nothing yet (intake.start() is the sink's), and a codec; closed afterwards."""
    source = RegistrySource(settings.registry.url)
    codec = Codec(source)
    breakers = GroupBreakers(settings.kafka, codec, stage)
    await asyncio.to_thread(breakers.start)
    cluster = await asyncio.to_thread(cluster_id, settings.kafka)
    shell = Shell(
        stage,
        stop,
        intake=Intake(
            settings.kafka,
            group=stage.group,
            topics=[topic.name for topic in stage.inputs],
            instance_id=f"{stage.group}.{slot}",
            in_flight_max=in_flight_max,
            skips=stage.skips,
            gathers=gathers(stage),
        ),
        delivery=Delivery(settings.kafka, client_id=f"{stage.group}.{slot}"),
        settler=Settler(stage, cluster, breakers=breakers),
        deaths=Deaths(settings.home, stage.name),
        cluster=cluster,
    )
    try:
        yield shell, codec
    finally:
        await shell.close()
        await asyncio.to_thread(breakers.close)
        source.close()
