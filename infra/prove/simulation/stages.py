"""The product's stages as processes of the simulated world: its own stores, cores, settling and retrying inside.

Enters: assignments, records, time. Leaves: what the stages write. What is the product's is used as it is:
PartitionStore with the cores of admit and plan, Settler, Hands and OffsetTracker; model workers and retry are in
workers.py. What stands here instead of the product's is its outermost shell alone: Faust's fetch loop, aiokafka,
librdkafka's consumer and the threads around them, each as processors/stateful/lanes.py, processors/stateful/app.py and
streams/intake.py use them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from aios.dlq.settle import Settler
from aios.infra.prove.simulation.kafka import CLUSTER, SimulatedBreakers, SimulatedDeaths, SimulatedLog, record_of
from aios.infra.prove.simulation.log import Entry
from aios.infra.prove.simulation.world import Actor, Process, Slot, World
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.state import Core, Effects, StateView
from aios.processors.stateful.store import PartitionStore, Paused, Services
from aios.schemas.codec import Codec
from aios.streams import failpoints
from aios.streams.errors import Unavailable
from aios.streams.hands import Hands
from aios.streams.hands import Lane as Hand
from aios.streams.record import Outgoing, Record
from aios.streams.topology import Stage

COMMIT_MS = 700.0  # between two commits of a group's offsets
BACKOFF_MS = 300.0  # while something is away
TICK_MS = 50.0
FETCH_MAX = 24  # records of a partition and fetch


class Troubled:
    """A core that fails as the seed wants it; what it does when it does not fail is the product's own."""

    def __init__(self, world: World, core: Core, trouble: Callable[[Record], Exception | None]) -> None:
        self._world = world
        self._core = core
        self._trouble = trouble

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        if self._world.registry_away:
            raise Unavailable("the simulated registry is away")
        if (error := self._trouble(record)) is not None:
            raise error
        return self._core.step(record, state, now_ms)

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        return self._core.fire(key, timer_id, due_ms, now_ms)


# ── stateful ─────────────────────────────────────────────────────────────────────────────────────────


class StoreLane(Actor):
    """One partition at work: what processors/stateful/lanes.py does in a thread, and Faust's fetches for it."""

    def __init__(self, world: World, process: StoreProcess, partition: int, store: PartitionStore) -> None:
        super().__init__(world, process)
        self._owner = process
        self._partition = partition
        self._inbox: list[Batch] = []
        self._next: dict[str, int] = {}
        self.store = store
        self.is_open = False

    def turn(self) -> None:
        try:
            self._work()
        except (Paused, Unavailable):
            self.wake(BACKOFF_MS)

    def _work(self) -> None:
        if not self.is_open:
            self.store.open()
            self.is_open = True
            self._seek()
        if not self._inbox:
            self._fetch()
        if self._inbox:
            self.store.apply(self._inbox)
            self._inbox.clear()
            self._owner.committer.wake(COMMIT_MS)
        if self.store.due_in_ms() == 0:
            self.store.tick()
        if self.store.work_in_ms() == 0:
            self.store.work()
        if self._behind():
            self.wake(self.world.random.uniform(0, 30))
        waits = [ms for ms in (self.store.due_in_ms(), self.store.work_in_ms()) if ms is not None]
        if waits:
            self.wake(max(TICK_MS, min(waits)))

    def _seek(self) -> None:
        """To the committed offsets, and where there are none to the log's beginning."""
        committed = self.process.slot.group.committed
        self._next = {topic: committed.get((topic, self._partition), 0) for topic in self.process.slot.group.topics}

    def again(self) -> None:
        """Read once more what was read and is not committed yet."""
        if self.is_open and not self.busy:
            self._seek()
            self.wake()

    def _fetch(self) -> None:
        topics = list(self._next)
        self.world.random.shuffle(topics)
        for topic in topics:
            if self.world.random.random() < 0.1:
                continue  # its answer comes later
            log, start = self.world.cluster.partitions[topic][self._partition], self._next[topic]
            records, end = log.read(start, self.world.random.randint(1, FETCH_MAX))
            if records or end > start:
                self._next[topic] = end
                self._inbox.append(Batch(topic, self._partition, start, list(map(record_of, records)), end))

    def _behind(self) -> bool:
        logs = self.world.cluster.partitions
        return any(logs[topic][self._partition].stable > offset for topic, offset in self._next.items())


class StoreProcess(Process):
    """A member of a stateful stage's group."""

    def __init__(self, world: World, slot: Slot, stage: Stage, core: Core, codec: Codec) -> None:
        super().__init__(world, slot)
        self._services = Services(
            stage=stage,
            core=core,
            codec=codec,
            log=SimulatedLog(world, self, stage, codec),
            deaths=SimulatedDeaths(world, stage.name),
            settler=Settler(stage, CLUSTER, breakers=SimulatedBreakers(world, stage)),
            monotonic=self.monotonic,
        )
        self._name = stage.name
        self.lanes: dict[int, StoreLane] = {}
        self._closed: dict[int, PartitionStore] = {}
        self.committer = _Committer(world, self, self._positions, self._committed)
        self.actors.append(self.committer)

    def assigned(self, partitions: list[int]) -> None:
        for partition in partitions:
            store = self._closed.pop(partition, None) or PartitionStore(self._services, partition)
            lane = StoreLane(self.world, self, partition, store)
            self.lanes[partition] = lane
            self.actors.append(lane)
            lane.wake(self.world.random.uniform(0, 40))
        self._closed.clear()

    def revoked(self, *, lost: bool) -> None:
        self.world.boundary(f"{self._name}.revoking")
        if not lost:
            self.committer.turn()
        for partition, lane in self.lanes.items():
            lane.end()
            lane.store.close()
            self._closed[partition] = lane.store
        self.lanes.clear()
        self.actors = [self.committer]

    def visible(self, partition: int) -> None:
        lane = self.lanes.get(partition)
        if lane is not None:
            lane.wake(self.world.random.uniform(1, 25))

    def _positions(self) -> dict[tuple[str, int], int]:
        return {
            (topic, partition): offset
            for partition, lane in self.lanes.items()
            if lane.is_open
            for topic, offset in lane.store.position.items()
        }

    def _committed(self, offsets: dict[tuple[str, int], int]) -> None:  # noqa: ARG002 - the stores know them
        failpoints.hit(f"{self._name}.acked")


class _Committer(Actor):
    """Commits a group's offsets once in a while."""

    def __init__(
        self,
        world: World,
        process: Process,
        offsets: Callable[[], dict[tuple[str, int], int]],
        committed: Callable[[dict[tuple[str, int], int]], None],
    ) -> None:
        super().__init__(world, process)
        self._offsets = offsets
        self._committed = committed

    def turn(self) -> None:
        offsets = self._offsets()
        if offsets and self.process.slot.group.commit(self.process, offsets):
            self._committed(offsets)
        elif offsets:
            self.wake(COMMIT_MS)


# ── at least once ────────────────────────────────────────────────────────────────────────────────────


class HandsProcess(Process):
    """A member of a stateless stage's group: streams/intake.py without its thread and client."""

    def __init__(self, world: World, slot: Slot, stage: Stage, name: str, in_flight_max: int) -> None:
        super().__init__(world, slot)
        self.stage = stage
        self.point = name
        self.hands = Hands(in_flight_max=in_flight_max, waiting_max=4 * in_flight_max)
        self.settler = Settler(stage, CLUSTER, breakers=SimulatedBreakers(world, stage))
        self._next: dict[tuple[str, int], int] = {}
        self.taker = _Taker(world, self)
        self._committer = _Committer(world, self, self._to_commit, self._committed)
        self.actors += [self.taker, self._committer]

    @abstractmethod
    def take(self, records: Sequence[Record]) -> None:
        """What was read for it."""

    def assigned(self, partitions: list[int]) -> None:
        committed = self.slot.group.committed
        logs = self.world.cluster.partitions  # what returns to a pool lies in fewer than its commands
        topics = self.slot.group.topics
        places = [(topic, partition) for topic in topics for partition in partitions if partition < len(logs[topic])]
        self.hands.assign(places)
        self._next |= {place: committed.get(place, 0) for place in places}
        self.taker.wake(self.world.random.uniform(0, 40))

    def revoked(self, *, lost: bool) -> None:
        self.world.boundary(f"{self.point}.revoking")
        lanes = list(self.hands.lanes.values())
        self.hands.forget(lanes)
        self.hands.let_go(lanes)
        if not lost:
            self._committer.turn()
        self.hands.part(lanes)
        self._next.clear()

    def visible(self, partition: int) -> None:  # noqa: ARG002 - one taker for all
        self.taker.wake(self.world.random.uniform(1, 25))

    def read(self) -> None:
        """Fetch what there is room for, and hand on what may be worked on."""
        for place, lane in list(self.hands.lanes.items()):
            if lane.resume_at > self.world.now:
                self.taker.wake(lane.resume_at - self.world.now)
                continue
            if lane.seek and lane.tracker.again_from is not None:
                self._next[place] = lane.tracker.again_from
            lane.seek = False
            self._fetch(place, lane)
        self.take(self.hands.take(64))

    def _fetch(self, place: tuple[str, int], lane: Hand) -> None:
        log = self.world.cluster.partitions[place[0]][place[1]]
        entries, end = log.read(self._next[place], min(self.hands.room, self.world.random.randint(1, FETCH_MAX)))
        for entry in entries:
            self.hands.arrive(record_of(entry), lane)
        self._next[place] = end
        if end == log.end:
            lane.tracker.reached(end)
            self._committer.wake(COMMIT_MS)
        else:
            self.taker.wake(self.world.random.uniform(1, 40))

    def again(self) -> None:
        """Read once more what was read and is not committed yet: the client was told an older position."""
        committed = self.slot.group.committed
        self._next = {place: committed.get(place, 0) for place in self._next}
        self.taker.wake()

    def finish(self, record: Record) -> None:
        self.hands.finish(record)
        self._committer.wake(COMMIT_MS)
        self.taker.wake()

    def deliver(self, outs: Sequence[Outgoing]) -> list[Entry]:
        """Where it stands. Raises Unavailable: nothing or something of it was written, nothing was acknowledged."""
        self.world.boundary(f"{self.point}.produced")
        if self.world.cluster.away:
            raise Unavailable("the simulated broker is away")
        written = [self.world.cluster.append(out) for out in outs]
        if self.world.random.random() < 0.01:
            raise Unavailable("the acknowledgement was lost")
        self.world.boundary(f"{self.point}.delivered")
        return written

    def _to_commit(self) -> dict[tuple[str, int], int]:
        return {
            place: offset for place, lane in self.hands.lanes.items() if (offset := lane.tracker.to_commit) is not None
        }

    def _committed(self, offsets: dict[tuple[str, int], int]) -> None:
        self.world.boundary(f"{self.point}.committed")
        for place, offset in offsets.items():
            if (lane := self.hands.lanes.get(place)) is not None:
                lane.tracker.committed(offset)


class _Taker(Actor):
    def __init__(self, world: World, process: HandsProcess) -> None:
        super().__init__(world, process)
        self._owner = process

    def turn(self) -> None:
        self._owner.read()
