"""What can go wrong, one small class each: how it is done to a running system, and how it ends.

Enters: a Stand under load. Leaves: the damage (inject), and the damage repaired (heal); what must hold meanwhile and
afterwards is for the verifier to say. Guaranteed: heal is called whatever inject did, and leaves the system whole; a
fault that could not be done says so (Unreached) and counts as not proven.

hold_s: how long the damage lasts between the two. bound_s: from its end until the stage goes on. goes_on: whether it
shall at all.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.cimpl import TopicPartition

from aios.dlq.deaths import ALONE_MAX
from aios.infra.demo.texts import KILLER
from aios.infra.local.system import ALONE
from aios.infra.prove.load import Bodies
from aios.infra.prove.proxy import FAIR, Weather
from aios.infra.prove.reading import Registry
from aios.infra.prove.stand import Missed, Stand, stages_of
from aios.streams import failpoints, topology
from aios.streams.topics import CASE_ADMITTED, DOCUMENT_RECEIVED
from aios.streams.topology import LETTERS, Kind

KILL_BOUND_S = 8.0  # after kill -9 no record waits longer, with a few thousand cases
REACH_S_MAX = 15.0  # for an armed point to be visited; longer than the lake waits with what it holds
STOPPED_S = 14.0  # past a session timeout of 10 s
CLOCK_S = 3_600
PREPARED_S = 20.0
TWICE = ("computed", "taken")  # in the middle of its work, and once more as it begins again


class Unreached(Missed):
    """The fault could not be done: nothing was proven."""


class Fault(Protocol):
    """stage: the process it is done to, "all" for what they stand on."""

    @property
    def name(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def hold_s(self) -> float: ...
    @property
    def bound_s(self) -> float: ...
    @property
    def goes_on(self) -> bool: ...
    def inject(self, stand: Stand) -> None: ...
    def heal(self, stand: Stand) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    stage: str = "all"
    hold_s: float = 0.0
    bound_s: float = 30.0
    goes_on: bool = True

    def heal(self, stand: Stand) -> None:
        stand.until_ready()


# ── processes ──


@dataclass(frozen=True, slots=True, kw_only=True)
class KillAt(_Base):
    """kill -9 of itself at a step, deaths times in a row: the next lives die at the steps that follow."""

    steps: tuple[str, ...]
    bound_s: float = KILL_BOUND_S

    @property
    def name(self) -> str:
        return f"kill -9 {'twice: ' if len(self.steps) > 1 else ''}{', '.join(self.steps)}"

    def inject(self, stand: Stand) -> None:
        before = stand.life(self.stage)
        stand.arm(self.stage, *(f"{self.stage}.{step}=kill@1" for step in self.steps))
        if self.steps == ("revoking",):
            with contextlib.suppress(Missed):
                _revoke(stand, self.stage)
        if self.steps[0] in ("produced", "delivered") or self.stage == LETTERS.process:
            _give_garbage(stand, self.stage)
        if not stand.until_died(before, len(self.steps), REACH_S_MAX * len(self.steps)):
            stand.disarm(self.stage)
            raise Unreached(f"{self.stage} never came to {self.steps[-1]}")

    def heal(self, stand: Stand) -> None:
        stand.until_ready(self.stage)
        if self.steps == ("revoking",) and self.stage not in ALONE:
            stand.scale(self.stage, 1)


def _give_garbage(stand: Stand, process: str) -> None:
    """A sink produces nothing but dead letters: have a record returned to it that it cannot read.

    The one of dead letters has work of any kind only where something failed, which may be a while ago.
    """
    producer = Producer({"bootstrap.servers": stand.cluster.direct, "log_level": 0})
    for stage in stages_of(process):
        if stage.kind is Kind.SINK:
            producer.produce(stage.retries.name, b"\xffnothing of ours", b"garbage", partition=0)
    producer.flush(PREPARED_S)


def _revoke(stand: Stand, process: str) -> None:
    """Have partitions taken from its first slot: another comes, or, where there is one alone, it leaves."""
    if process in ALONE:
        stand.signal(process, signal.SIGTERM)
    else:
        stand.scale(process, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison(_Base):
    """An event that ends whoever decodes it by SIGSEGV, until it is given up: at the second death alone in hand."""

    name: str = "a record that ends its process, SIGSEGV"
    stage: str = "admit"
    bound_s: float = KILL_BOUND_S

    def inject(self, stand: Stand) -> None:
        before = stand.life(self.stage)
        producer = Producer({"bootstrap.servers": stand.cluster.direct, "log_level": 0})
        value = Bodies(Registry(stand.addresses.registry)).encode(f"{KILLER} and nothing else")
        producer.produce(DOCUMENT_RECEIVED.name, key=f"poison-{time.time_ns()}".encode(), value=value)
        producer.flush(PREPARED_S)
        if not stand.until_died(before, ALONE_MAX, REACH_S_MAX * ALONE_MAX):
            raise Unreached(f"{self.stage} did not die {ALONE_MAX} times")


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingRestart(_Base):
    """SIGTERM to every process of the system, one after the other, under load."""

    name: str = "SIGTERM, rolling"

    def inject(self, stand: Stand) -> None:
        for process in topology.PROCESSES:
            before = stand.life(process)
            stand.signal(process, signal.SIGTERM)
            if not stand.until_died(before, 1, 40.0):
                raise Missed(f"{process} did not end on SIGTERM")
            stand.until_ready(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(_Base):
    """SIGSTOP past the session timeout: it comes back as a zombie."""

    name: str = "SIGSTOP past the session"
    hold_s: float = STOPPED_S

    def inject(self, stand: Stand) -> None:
        stand.signal(self.stage, signal.SIGSTOP)

    def heal(self, stand: Stand) -> None:
        with contextlib.suppress(ProcessLookupError):
            stand.signal(self.stage, signal.SIGCONT)
        time.sleep(1.0)  # it may be about to leave: fenced
        stand.until_ready(self.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceStorm(_Base):
    """1 → 4 → 2 → 1 processes."""

    name: str = "rebalances 1→4→2→1"

    def inject(self, stand: Stand) -> None:
        for count in (4, 2):
            stand.scale(self.stage, count)

    def heal(self, stand: Stand) -> None:
        stand.scale(self.stage, 1)
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMoved(_Base):
    """The wall clock of one process, an hour ahead or behind."""

    seconds: int
    hold_s: float = 6.0

    @property
    def name(self) -> str:
        return f"clock {'+' if self.seconds > 0 else '−'}1 h"

    def inject(self, stand: Stand) -> None:
        if stand.clock is None:
            raise Unreached("no C compiler (cc) is here to build infra/prove/clock.c")
        stand.move_clock(self.stage, self.seconds)

    def heal(self, stand: Stand) -> None:
        if stand.clock is not None:
            stand.move_clock(self.stage, 0)
        stand.until_ready(self.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(_Base):
    """No file of the process may grow (RLIMIT_FSIZE): every write to disk fails."""

    name: str = "disk full"
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        _limit_files(stand.pid(self.stage), 1)

    def heal(self, stand: Stand) -> None:
        _limit_files(stand.pid(self.stage), resource.RLIM_INFINITY)
        stand.until_ready()


def _limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# ── Kafka ──


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerKilled(_Base):
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
        _limit_files(broker.pid or 0, 1)

    def heal(self, stand: Stand) -> None:
        for number, broker in stand.cluster.brokers.items():
            if broker.pid is not None and resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)[0] == 1:
                stand.cluster.kill(number)
        stand.cluster.restore()
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class HangingTransaction(_Base):
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
class Network(_Base):
    """Every connection of the stages to Kafka."""

    name: str
    weather: Weather
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        stand.cluster.proxy.set(self.weather)

    def heal(self, stand: Stand) -> None:
        stand.cluster.proxy.set(FAIR)
        stand.until_ready()


NETWORKS = (
    Network(name="0.2 s late, each way", weather=Weather(delay_s=0.2)),
    Network(name="20 kB/s", weather=Weather(bytes_per_s=20_000)),
    Network(name="connections cut", weather=Weather(is_cut=True), hold_s=5.0),
    Network(name="answers lost", weather=Weather(drop_answered=True), bound_s=60.0),
    Network(name="requests lost", weather=Weather(drop_asked=True), bound_s=60.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyEmptied(_Base):
    """Killed, its file gone: it comes back with nothing."""

    name: str = "Valkey killed and emptied"
    hold_s: float = 2.0

    def inject(self, stand: Stand) -> None:
        stand.signal("valkey", signal.SIGSTOP)
        shutil.rmtree(stand.home.folder / "valkey" / "appendonlydir")
        stand.signal("valkey", signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDown(_Base):
    """It does not answer, while stages start that know no schema yet."""

    name: str = "registry down, cold stages"
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        stand.signal("registry", signal.SIGSTOP)
        for process in ("admit", "classify", "outcomes"):
            stand.signal(process, signal.SIGKILL)

    def heal(self, stand: Stand) -> None:
        stand.signal("registry", signal.SIGCONT)
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAway(_Base):
    """What stages need beside Kafka does not answer, for two minutes of load: they wait, and nothing is a dead letter.

    process: valkey or registry, as the supervisor calls it.
    """

    process: str
    hold_s: float = 120.0

    @property
    def name(self) -> str:
        return f"{self.process} does not answer for two minutes"

    def inject(self, stand: Stand) -> None:
        stand.signal(self.process, signal.SIGSTOP)

    def heal(self, stand: Stand) -> None:
        stand.signal(self.process, signal.SIGCONT)
        stand.until_ready()


# ── what must stop a stage ──


@dataclass(frozen=True, slots=True, kw_only=True)
class MustStop(_Base):
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


def kills(step: str, processes: Sequence[str]) -> list[Fault]:
    """SIGKILL at a step, to each of these that has it."""
    return [KillAt(stage=one, steps=(step,)) for one in processes if f"{one}.{step}" in failpoints.names(one)]
