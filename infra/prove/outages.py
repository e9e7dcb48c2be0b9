"""What goes wrong with that on which the stages stand: Kafka, the network, the registry, Valkey, and their input.

As faults.py, of which this is a room.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.cimpl import TopicPartition

from aios.infra.prove.faults import PREPARED_S, Base, Unreached, limit_files
from aios.infra.prove.proxy import FAIR, Proxy, Weather
from aios.infra.prove.stand import Missed, Stand
from aios.infra.prove.stores import REGISTRY, VALKEY
from aios.streams import topology
from aios.streams.topics import CASE_ADMITTED, DOCUMENT_RECEIVED

COLD = ("admit", "classify", "outcomes")  # started anew, they know no schema, and nothing of what Valkey holds


# ── Kafka ──


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerKilled(Base):
    """The one of three that leads a partition of the input, kill -9."""

    name: str = "one of three brokers killed"
    hold_s: float = 10.0

    def inject(self, stand: Stand) -> None:
        stand.cluster.kill(stand.cluster.leader_of(DOCUMENT_RECEIVED.name, 0))

    def heal(self, stand: Stand) -> None:
        stand.cluster.restore()
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersKilled(BrokerKilled):
    """All three, kill -9."""

    name: str = "all brokers killed"
    hold_s: float = 4.0
    bound_s: float = 60.0

    def inject(self, stand: Stand) -> None:
        for number in stand.cluster.brokers:
            stand.cluster.kill(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class TooFewBrokers(BrokerKilled):
    """Two of three leave in order, so that each copy but the last is known to be missing: that one takes nothing."""

    name: str = "two of three brokers away, too few copies"
    hold_s: float = 8.0
    bound_s: float = 60.0

    def inject(self, stand: Stand) -> None:
        first, second, last = stand.cluster.brokers
        for number in (first, second):
            stand.cluster.brokers[number].stop(signal.SIGTERM)
        try:
            stand.until(lambda: stand.cluster.in_sync(DOCUMENT_RECEIVED.name) == {last}, "one copy is left", PREPARED_S)
        except Missed as error:
            raise Unreached(f"Kafka still counts copies that are away: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorMoved(BrokerKilled):
    """The node that coordinates a stateful stage's group and transactions leaves in order: another takes over."""

    name: str = "coordinator moved"
    hold_s: float = 6.0

    def inject(self, stand: Stand) -> None:
        stand.cluster.brokers[stand.cluster.coordinator_of(topology.PLAN.group)].stop(signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerDiskFull(BrokerKilled):
    """A node that cannot write leaves its logs, and comes back when there is room."""

    name: str = "disk of one broker full"
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        broker = stand.cluster.brokers[stand.cluster.leader_of(DOCUMENT_RECEIVED.name, 1)]
        limit_files(broker.pid or 0, 1)

    def heal(self, stand: Stand) -> None:
        for number, broker in stand.cluster.brokers.items():
            if broker.pid is not None and resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)[0] == 1:
                stand.cluster.kill(number)
        stand.cluster.restore()
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class HangingTransaction(Base):
    """Somebody opens a transaction on an inner topic and says no more: its readers wait until Kafka ends it."""

    name: str = "a transaction left hanging"
    hold_s: float = 12.0  # Kafka ends it after ten

    def inject(self, stand: Stand) -> None:
        left = Producer(
            {
                "bootstrap.servers": stand.cluster.direct,
                "transactional.id": f"aios.prove.{time.time_ns()}",
                "transaction.timeout.ms": 10_000,
                "log_level": 0,
            }
        )
        left.init_transactions(PREPARED_S)
        left.begin_transaction()
        for partition in range(3):
            left.produce(CASE_ADMITTED.name, b"never committed", partition=partition)
        left.flush(PREPARED_S)


# ── the network, the registry, Valkey ──


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Base):
    """Every connection of the stages to Kafka."""

    name: str
    weather: Weather
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        self.proxy(stand).set(self.weather)

    def heal(self, stand: Stand) -> None:
        self.proxy(stand).set(FAIR)
        stand.until_ready()

    def proxy(self, stand: Stand) -> Proxy:
        """Through which they go."""
        return stand.cluster.proxy


NETWORKS = (
    Network(name="0.2 s late, each way", weather=Weather(delay_s=0.2)),
    Network(name="20 kB/s", weather=Weather(bytes_per_s=20_000)),
    Network(name="connections cut", weather=Weather(is_cut=True), hold_s=5.0),
    Network(name="answers lost", weather=Weather(drop_answered=True), bound_s=60.0),
    Network(name="requests lost", weather=Weather(drop_asked=True), bound_s=60.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresNetwork(Network):
    """Every connection to Valkey and to the registry, which stages that start meanwhile must ask."""

    def inject(self, stand: Stand) -> None:
        Network.inject(self, stand)
        _start_cold(stand)

    def proxy(self, stand: Stand) -> Proxy:
        return stand.stores.proxy


STORES_NETWORKS = (
    StoresNetwork(name="Valkey and registry 0.2 s late, each way, cold stages", weather=Weather(delay_s=0.2)),
    StoresNetwork(name="Valkey and registry cut off, cold stages", weather=Weather(is_cut=True), hold_s=5.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyEmptied(Base):
    """Killed, its file gone: it comes back with nothing."""

    name: str = "Valkey killed and emptied"
    hold_s: float = 2.0

    def inject(self, stand: Stand) -> None:
        stand.stores.empty_valkey()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDown(Base):
    """It does not answer, while stages start that know no schema yet."""

    name: str = "registry down, cold stages"
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        stand.stores.signal(REGISTRY, signal.SIGSTOP)
        _start_cold(stand)

    def heal(self, stand: Stand) -> None:
        stand.stores.signal(REGISTRY, signal.SIGCONT)
        stand.until_ready()


def _start_cold(stand: Stand) -> None:
    for process in COLD:
        stand.signal(process, signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAway(Base):
    """What stages need beside Kafka is away for two minutes of load: they wait, and nothing is a dead letter.

    For the first half it does not answer, then it is killed and refuses. store: VALKEY or REGISTRY.
    """

    store: str
    hold_s: float = 120.0

    @property
    def name(self) -> str:
        return f"{self.store} away for two minutes"

    def inject(self, stand: Stand) -> None:
        stand.stores.signal(self.store, signal.SIGSTOP)
        killing = threading.Timer(self.hold_s / 2, stand.stores.signal, (self.store, signal.SIGKILL))
        killing.daemon = True  # who ends the proof does not wait for it
        killing.start()


AWAY = (StoreAway(store=VALKEY), StoreAway(store=REGISTRY))


# ── what must stop a stage ──


@dataclass(frozen=True, slots=True, kw_only=True)
class MustStop(Base):
    """The input is not what the stage's position was made for: it stops and says so, and processes nothing."""

    recreate: bool
    stage: str = "admit"
    goes_on: bool = False

    @property
    def name(self) -> str:
        return "its input created again" if self.recreate else "retention overtook a backlog"

    @property
    def words(self) -> str:
        """What it must say."""
        return "was deleted and created again" if self.recreate else "records were deleted before they were processed"

    def inject(self, stand: Stand) -> None:
        stand.scale(self.stage, 0)
        admin = AdminClient({"bootstrap.servers": stand.cluster.direct, "log_level": 0})
        partitions = admin.list_topics(DOCUMENT_RECEIVED.name, timeout=PREPARED_S).topics[DOCUMENT_RECEIVED.name]
        count = len(partitions.partitions)
        if self.recreate:
            _recreated(admin, count, len(stand.cluster.brokers))
        else:
            _overtaken(stand, admin, count)
        log = Path(stand.home.log(self.stage, 0))
        size = log.stat().st_size if log.exists() else 0
        with contextlib.suppress(Missed):  # which is what it shall say: it does not become ready
            stand.scale(self.stage, 1)
        said = log.read_text(encoding="utf-8", errors="replace")[size:]
        if self.words not in said:
            raise Missed(f"{self.stage} did not say why it stops; its log: {said[-600:]}")
        if any(life.state == "ready" for life in stand.lives(self.stage)):
            raise Missed(f"{self.stage} goes on although {self.name}")

    def heal(self, stand: Stand) -> None:
        """Nothing: a person decides what becomes of such a system."""


def _overtaken(stand: Stand, admin: AdminClient, partitions: int) -> None:
    producer = Producer({"bootstrap.servers": stand.cluster.direct, "log_level": 0})
    for partition in range(partitions):
        for _ in range(3):
            producer.produce(DOCUMENT_RECEIVED.name, b"a backlog", partition=partition)
    producer.flush(PREPARED_S)
    everything = [TopicPartition(DOCUMENT_RECEIVED.name, number, -1) for number in range(partitions)]

    def deleted() -> bool:
        return all(_is_done(asked) for asked in admin.delete_records(everything).values())

    stand.until(deleted, f"the records of {DOCUMENT_RECEIVED.name} are deleted", PREPARED_S)


def _is_done(asked: Future[Any]) -> bool:
    """False: the partition's leader has just moved."""
    try:
        asked.result(PREPARED_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION:
            return False
        raise
    return True


def _recreated(admin: AdminClient, partitions: int, copies: int) -> None:
    name = DOCUMENT_RECEIVED.name
    admin.delete_topics([name])[name].result(PREPARED_S)
    deadline = time.monotonic() + PREPARED_S
    while name in admin.list_topics(timeout=PREPARED_S).topics:
        if time.monotonic() > deadline:
            raise Unreached(f"{name} is not deleted")
        time.sleep(0.2)
    admin.create_topics([NewTopic(name, partitions, copies)])[name].result(PREPARED_S)
