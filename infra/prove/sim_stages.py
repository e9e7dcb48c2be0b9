"""The product's stages as processes of the simulated world: its own stores, cores, settling and retrying inside.

Enters: assignments, records, time. Leaves: what the stages write. What is the product's is used as it is:
PartitionStore with the cores of admit and plan, Settler, Hands and OffsetTracker, InHand and Deaths, Held, returning.
What stands here instead of the product's is its outermost shell alone: Faust's fetch loop, aiokafka, librdkafka's
consumer and the threads around them, each as processors/lanes.py, processors/app.py and streams/intake.py use them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from aios.dlq.deaths import Deaths
from aios.dlq.retry import Held, returning
from aios.dlq.settle import Settler
from aios.inference_workers.in_hand import InHand, Start
from aios.infra.prove.sim_log import Delivered, Ending, Entry
from aios.infra.prove.sim_world import Actor, Process, Slot, World
from aios.processors import changelog
from aios.processors.changelog import Remembered
from aios.processors.ground import Input
from aios.processors.log import BY_KEY
from aios.processors.state import Core, Effects, StateView
from aios.processors.store import Batch, PartitionStore, Paused, Services
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged, InferenceCompleted, InferenceRequested
from aios.streams import failpoints, tracing
from aios.streams.errors import Unavailable, Verdict
from aios.streams.hands import Hands
from aios.streams.hands import Lane as Hand
from aios.streams.log_clock import LogClock
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED, Topic
from aios.streams.topology import RETRY, Stage

Where = tuple[str, int, int]  # topic, partition, offset

CLUSTER = "simulated"
COMMIT_MS = 700.0  # between two commits of a group's offsets
BACKOFF_MS = 300.0  # while something is away
TICK_MS = 50.0
BREAKER_MS = 20_000.0  # until an operator closes one
FETCH_MAX = 24  # records of a partition and fetch
ANSWER_MS_MAX = 900.0
SLOW_SHARE = 0.03
SLOW_MS = (20_000.0, 160_000.0)  # an interactive request has 60 s
FAILED_SHARE = 0.04


class SimulatedDeaths(Deaths):
    """dlq/deaths.py with its files in the world's memory."""

    def __init__(self, world: World, stage: str) -> None:
        self._world = world
        self._stage = stage
        self._files = {}

    def _file(self, topic: str, partition: int) -> int:
        return self._world.file(self._stage, topic, partition)


class SimulatedBreakers:
    """dlq/breakers.py's, of one group: open for every process of it until an operator closes them."""

    def __init__(self, world: World, stage: Stage) -> None:
        self._world = world
        self._group = stage.group

    @property
    def partitions(self) -> Collection[int]:
        return {one.partition for one in self._own() if not one.tenant}

    @property
    def tenants(self) -> Collection[str]:
        return {one.tenant for one in self._own() if one.tenant}

    def open(self, change: BreakerChanged) -> None:
        self._world.counts["breakers"] += 1
        self._world.say(f"breaker {change.key} opens")
        self._world.breakers[change.key] = change
        self._world.after(BREAKER_MS, partial(self._close, change.key))

    def _close(self, key: str) -> None:
        self._world.breakers.pop(key, None)

    def get(self, name: str) -> BreakerChanged | None:
        return self._world.breakers.get(name)

    def _own(self) -> list[BreakerChanged]:
        return [one for one in self._world.breakers.values() if one.group == self._group]


class SimulatedPlaces:
    """dlq/places.py: records by place, for replay jobs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def fetch(self, wanted: Iterable[Where]) -> dict[Where, Record]:
        self._ask()
        found: dict[Where, Record] = {}
        for topic, partition, offset in wanted:
            history = self._world.cluster.partitions[topic][partition].history
            if offset < len(history) and history[offset].committed:
                found[topic, partition, offset] = record_of(history[offset])
        return found

    def scan(self, topic: str, partition: int, first: int, stop: int) -> Iterator[Record]:
        self._ask()
        log = self._world.cluster.partitions[topic][partition]
        for entry in log.history[first : min(stop, log.stable)]:
            if entry.committed:
                yield record_of(entry)

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        self._ask()
        return 0, self._world.cluster.partitions[topic][partition].stable

    def since(self, topic: str, partition: int, timestamp_ms: int) -> int:
        self._ask()
        history = self._world.cluster.partitions[topic][partition].history
        return next((one.offset for one in history if one.timestamp >= timestamp_ms), len(history))

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self) -> None:
        self._world.boundary("places.read")
        if self._world.cluster.away:
            raise Unavailable("the simulated broker is away")


class SimulatedTransactions:
    """One owner's producer: what was produced reaches the log when it is flushed, in part perhaps earlier."""

    def __init__(self, world: World, process: Process, transactional_id: str) -> None:
        self._world = world
        self._process = process
        self._id = transactional_id
        self._epoch = world.cluster.claim(transactional_id)
        self._waiting: list[tuple[Outgoing, Callable[[Any, Any], None] | None]] = []

    def begin_transaction(self) -> None:
        self._world.boundary("log.begin")

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = BY_KEY,
        *,
        on_delivery: Callable[[Any, Any], None] | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        out = Outgoing(topic, key, value, tuple(headers or ()), None if partition == BY_KEY else partition)
        self._waiting.append((out, on_delivery))
        if len(self._waiting) % 7 == 0:
            self.flush(0)  # linger is over before the commit comes

    def flush(self, timeout: float) -> int:  # noqa: ARG002 - the client's signature
        self._world.boundary("log.flush")
        self._reach()
        for out, on_delivery in self._waiting:
            transaction = self._world.cluster.begin(self._id, self._epoch)
            entry = self._world.cluster.append(out, transaction)
            if on_delivery is not None:
                on_delivery(None, Delivered(entry))
        self._waiting.clear()
        return 0

    def commit_transaction(self, timeout: float) -> None:
        self.flush(timeout)
        self._world.boundary("log.commit")
        self._reach()
        ending, self._process.ending = self._process.ending, ""
        if ending:
            self._go_wrong(ending)
        self._world.cluster.end(self._id, self._epoch, Ending.COMMITTED)
        self._world.boundary("log.committed")

    def _go_wrong(self, ending: str) -> None:
        """The commit times out: it never reached the coordinator, or it will, or only its answer was lost."""
        self._world.say(f"{self._process.name}: commit {ending}")
        self._world.counts[f"commit {ending}"] += 1
        if ending == "refused":
            self._world.cluster.end(self._id, self._epoch, Ending.ABORTED)
            raise KafkaException(KafkaError(KafkaError.INVALID_TXN_STATE, "aborted", txn_requires_abort=True))
        if ending == "unanswered":
            self._world.cluster.end(self._id, self._epoch, Ending.COMMITTED)
        elif ending == "late":
            self._world.after(self._world.random.uniform(10, 4_000), self._commit_late)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True))

    def _commit_late(self) -> None:
        try:
            self._world.cluster.end(self._id, self._epoch, Ending.COMMITTED)
        except KafkaException:
            self._world.say(f"{self._process.name}: its late commit was fenced")

    def _reach(self) -> None:
        """Wait for a broker that is away, as the client does. Raises KafkaException after its patience."""
        if self._world.cluster.away:
            self._world.wait(self._world.random.uniform(500, 8_000))
            self._world.boundary("log.back")
            if self._world.cluster.away:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no broker", retriable=True))


class SimulatedLog:
    """processors/log.py's Log."""

    def __init__(self, world: World, process: Process, stage: Stage, codec: Codec) -> None:
        self._world = world
        self._process = process
        self._stage = stage
        self._codec = codec

    def producer(self, transactional_id: str) -> SimulatedTransactions:
        self._ask("log.producer")
        return SimulatedTransactions(self._world, self._process, transactional_id)

    def remember(self, topic: Topic, partition: int, into: Remembered) -> int:
        self._ask("log.remember")
        log = self._world.cluster.partitions[topic.name][partition]
        entries, into.next_offset = log.read(into.next_offset, log.end + 1)
        for entry in entries:
            changelog.take(self._codec, topic, entry.key, entry.value, into, headers=entry.headers)
        self._world.boundary("log.remembered")
        return len(entries)

    def inputs(self, partition: int) -> tuple[dict[str, Input], int]:
        self._ask("log.inputs")
        partitions, committed = self._world.cluster.partitions, self._process.slot.group.committed
        found = {
            topic.name: Input(
                topic_id=f"id of {topic.name}",
                partitions=len(partitions[topic.name]),
                start=0,
                high=partitions[topic.name][partition].end,
                committed=committed.get((topic.name, partition)),
            )
            for topic in self._stage.inputs
        }
        state = self._stage.changelog
        return found, len(partitions[state.name]) if state else 0

    def ends(self, partition: int) -> dict[str, int]:
        self._ask("log.ends")
        return {one.name: self._world.cluster.partitions[one.name][partition].stable for one in self._stage.inputs}

    def outside(self, out: Outgoing) -> None:
        """Write at once and in no transaction, as no store does; here for a mutation that does."""
        self._world.cluster.append(out)

    def _ask(self, name: str) -> None:
        self._world.boundary(name)
        if self._world.cluster.away:
            raise Unavailable("the simulated broker is away")


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
    """One partition at work: what processors/lanes.py does in a thread, and Faust's fetches for it."""

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
                self._inbox.append(Batch(topic, self._partition, start, records, end))

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
        places = [(topic, partition) for topic in self.slot.group.topics for partition in partitions]
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

    def deliver(self, outs: Sequence[Outgoing]) -> None:
        """Raises Unavailable: nothing or something of it was written, nothing was acknowledged."""
        self.world.boundary(f"{self.point}.produced")
        if self.world.cluster.away:
            raise Unavailable("the simulated broker is away")
        for out in outs:
            self.world.cluster.append(out)
        if self.world.random.random() < 0.01:
            raise Unavailable("the acknowledgement was lost")
        self.world.boundary(f"{self.point}.delivered")

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


class PoolProcess(HandsProcess):
    """A pool's worker, as inference_workers/pool.py goes about it, with answers that the seed made up."""

    def __init__(
        self, world: World, slot: Slot, stage: Stage, codec: Codec, trouble: Callable[[Record], Exception | None]
    ) -> None:
        super().__init__(world, slot, stage, stage.process, in_flight_max=16)
        self.codec = codec
        self.trouble = trouble
        self._in_hand = InHand(SimulatedDeaths(world, stage.name))

    def take(self, records: Sequence[Record]) -> None:
        self._start(self._in_hand.take(records))

    def ended(self, record: Record) -> None:
        self._start(self._in_hand.end(record))

    def _start(self, starts: Sequence[Start]) -> None:
        for record, given_up in starts:
            work = _Request(self.world, self, record, given_up)
            self.actors.append(work)
            work.wake()


class _Request(Actor):
    """One request in hand."""

    def __init__(self, world: World, pool: PoolProcess, record: Record, given_up: Exception | None) -> None:
        super().__init__(world, pool)
        self._pool = pool
        self._record = record
        self._error = given_up
        self._request: InferenceRequested | None = None
        self._outs: list[Outgoing] = []
        self._verdict: Verdict | None = None

    def turn(self) -> None:
        """Decode and wait for the engine; then deliver, as often as it takes; then finish."""
        pool, record = self._pool, self._record
        if self._outs:
            self._deliver()
            return
        if self._error is None and self._request is None:
            try:
                self._decode()
            except Exception as error:  # noqa: BLE001 - as in the pool, the settler decides
                self._error = error
            else:
                self.wake(self._latency())
                return
        if self._error is not None:
            self._settle(self._error)
        elif self._request is not None:
            failpoints.hit(f"{pool.point}.computed")
            self._outs = [self._answer(record, self._request)]
        if self._outs:
            self._deliver()

    def _decode(self) -> None:
        failpoints.hit(f"{self._pool.point}.taken", self._record.value or b"")
        if (error := self._pool.trouble(self._record)) is not None:
            raise error
        self._request = self._pool.codec.decode(self._record.value, InferenceRequested)

    def _latency(self) -> float:
        draw = self.world.random
        return draw.uniform(*SLOW_MS) if draw.random() < SLOW_SHARE else draw.uniform(5, ANSWER_MS_MAX)

    def _settle(self, error: Exception) -> None:
        pool, record = self._pool, self._record
        settled = pool.settler.settle(record, error, int(self.process.wall_ms()))
        if settled.verdict is Verdict.STOP:
            raise error
        if settled.outgoing is None:
            for lane in pool.hands.of([(record.topic, record.partition)]):
                pool.hands.give_back(lane)
                lane.resume_at = self.world.now + settled.pause_ms
            self._end()
            return
        self._verdict = settled.verdict
        self._outs = [settled.outgoing]
        if self._request is not None and settled.verdict is Verdict.DEAD_LETTER:
            self._outs.append(self._answer(record, self._request, failed=str(settled.reason)))

    def _deliver(self) -> None:
        pool, record = self._pool, self._record
        try:
            pool.deliver(self._outs)
        except Unavailable:
            if pool.hands.owns(record):
                self.wake(BACKOFF_MS)
            else:
                self._end()
            return
        if pool.hands.owns(record):
            if self._verdict is None:
                pool.settler.done(record)
            pool.finish(record)
        self._end()

    def _end(self) -> None:
        self._pool.actors.remove(self)
        self._pool.ended(self._record)

    def _answer(self, record: Record, request: InferenceRequested, failed: str = "") -> Outgoing:
        draw = self.world.random
        failed = failed or ("the simulated engine failed" if draw.random() < FAILED_SHARE else "")
        sure = draw.choice((0.2, 0.7, 0.95))
        said: dict[str, Any] = (
            {"label": _label(request), "confidence": sure, "out_of_scope": draw.choice((0.1, 0.1, 0.9))}
            if request.task == "classify"
            else {"text": "A summary."}
        )
        answer = InferenceCompleted(
            request_id=request.request_id,
            case_id=request.case_id,
            tenant=request.tenant,
            workflow=request.workflow,
            step=request.step,
            attempt=request.attempt,
            task=request.task,
            status="failed" if failed else "ok",
            reason=failed,
            output="{}" if failed else ids.canonical(said),
            output_contract="" if failed else {"classify": "classification.v1"}.get(request.task, "generation.v1"),
            model=request.model,
            prompt=request.prompt,
            engine="simulated",
            input_hash="",
            prompt_tokens=1,
            output_tokens=1,
            lane=request.lane,
            queue_ms=0,
            compute_ms=0,
            completed_at=int(self.process.wall_ms()),
        )
        headers = tracing.envelope(
            answer,
            event_id=str(ids.derive("completed", request.request_id)),
            source=f"/aios/{self._pool.stage.name}",
            subject=request.case_id,
            tenant=request.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=answer.completed_at,
        )
        value = self._pool.codec.encode(INFERENCE_COMPLETED, answer)
        return Outgoing(INFERENCE_COMPLETED.name, request.case_id.encode(), value, headers)


class RetryProcess(HandsProcess):
    """dlq/retry.py: what waits is held until it is due, then returned to its group."""

    def __init__(self, world: World, slot: Slot) -> None:
        super().__init__(world, slot, RETRY, RETRY.name, in_flight_max=10_000)
        self.held = Held()
        self._clock = LogClock(self.monotonic)
        self._clock.see(int(world.broker_ms()))
        self._returner = _Returner(world, self)
        self.actors.append(self._returner)

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            now_ms = self._clock.see(record.timestamp_ms)
            self.held.add(record, now_ms=now_ms, now_s=self.monotonic())
        if records:
            self._returner.wake()


class _Returner(Actor):
    def __init__(self, world: World, retry: RetryProcess) -> None:
        super().__init__(world, retry)
        self._retry = retry

    def turn(self) -> None:
        retry = self._retry
        for record in retry.held.due(retry.monotonic()):
            if retry.hands.owns(record):
                self._return(record)
        wait_s = retry.held.next_in_s(retry.monotonic())
        if wait_s != float("inf"):
            self.wake(wait_s * 1000 + 1)

    def _return(self, record: Record) -> None:
        retry = self._retry
        if (held_up := retry.settler.gate(record, int(retry.wall_ms()))) is not None:
            retry.held.put(record, retry.monotonic() + held_up.pause_ms / 1000)
            return
        failpoints.hit("retry.computed")
        try:
            try:
                retry.deliver([returning(record)])
            except Unavailable:
                raise
            except Exception as error:
                settled = retry.settler.settle(record, error, int(retry.wall_ms()))
                if settled.outgoing is None:
                    raise
                retry.deliver([settled.outgoing])
        except Unavailable:
            retry.held.put(record, retry.monotonic() + BACKOFF_MS / 1000)
            return
        retry.finish(record)


def _label(request: InferenceRequested) -> str:
    return "card" if "letters" in request.options else "card_arrival"


def record_of(entry: Entry) -> Record:
    """As a client of the product hands it over."""
    return Record(entry.topic, entry.partition, entry.offset, entry.timestamp, entry.key, entry.value, entry.headers)
