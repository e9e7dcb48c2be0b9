"""What stands in the simulated world for Kafka's clients, for files and for tables that follow topics.

Enters: the simulated log. Leaves: what the product's own code asks of a client: transactions, a changelog read back,
records by place, breakers, marks of deaths.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from aios.dlq.deaths import Deaths
from aios.infra.prove.simulation.log import Delivered, Ending, Entry
from aios.infra.prove.simulation.world import Process, World
from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import Remembered
from aios.processors.stateful.ground import Input
from aios.processors.stateful.log import BY_KEY
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.streams.errors import Unavailable
from aios.streams.record import Outgoing, Record, Where
from aios.streams.topics import Topic
from aios.streams.topology import Stage

CLUSTER = "simulated"
BREAKER_MS = 20_000.0  # until an operator closes one


class SimulatedDeaths(Deaths):
    """dlq/deaths.py with its files in the world's memory."""

    def __init__(self, world: World, stage: str) -> None:
        self._world = world
        self._stage = stage
        self._files = {}
        self._understood = {}

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
    """processors/stateful/log.py's Log."""

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


def record_of(entry: Entry) -> Record:
    """As a client of the product hands it over."""
    place = entry.topic, entry.partition, entry.offset
    return Record(*place, entry.timestamp, entry.key, entry.value, entry.headers, "append")
