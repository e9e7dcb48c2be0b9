"""The world of one seed: time, processes that die or freeze, their groups, and the log between them. One thread.

Enters: a seed. Leaves: the same course of events each time, and its hash. Time stands still while something runs and
leaps to whatever comes next, so that three days of waiting for a reviewer take no time.

Everything that happens is a turn of an actor: a partition at work, a consumer, a commit. Inside a turn the product
runs as it is. At each boundary it passes (its own failpoints, and every call of the log) its process may die, freeze
as under SIGSTOP, or wait for the network; for as long as it does, the rest of the world goes on, inside that call.
That is how a zombie comes about: it wakes in the middle of a transaction that another owner has ended.

A process that dies runs no line more: what the product has in `finally` reaches nothing outside it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import NoReturn

from aios.infra.prove.simulation.log import Cluster, Entry
from aios.schemas.errors import AiosError
from aios.schemas.models import BreakerChanged
from aios.streams.topics import Topic

EPOCH_MS = 1_800_000_000_000
SESSION_MS = 6_000  # without a sign of life, then a group gives its partitions to others
NESTED_MAX = 3  # calls that wait at once, each inside the other
TURNS_MAX = 100_000  # of one seed; beyond it something runs in circles
LIVES_MAX = 120  # of one slot; the same


class Crash(BaseException):
    """The process in whose code this is raised ends here, as by SIGKILL. No `except Exception` sees it."""


class Violated(Exception):
    """An invariant does not hold. name: of the invariant."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


@dataclass(slots=True)
class Doom:
    """What befalls a process at the boundary after `visits` more. kind: crash, freeze, wait. ms: of the last two."""

    kind: str
    visits: int
    ms: float = 0.0


class World:
    """See the module."""

    def __init__(self, seed: int, topics: Mapping[str, Topic], per_family: int) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - the whole point is that it can be foreseen
        self.now = 0.0  # ms
        self.broker_ahead_ms = 0.0
        self.registry_away = False
        self.violated = ""  # the first thing that did not hold
        self.current: Process | None = None
        self.alive: set[str] = set()
        self.files: list[bytes] = []  # of dlq/deaths.py
        self._file_numbers: dict[tuple[str, str, int], int] = {}
        self.groups: dict[str, list[Group]] = defaultdict(list)  # by topic
        self.breakers: dict[str, BreakerChanged] = {}  # that are open, by their key
        self.counts: Counter[str] = Counter()
        self.deaths: Counter[tuple[str, tuple[str, int, int]]] = Counter()  # with one record alone in hand, by group
        self.passed: Counter[str] = Counter()  # boundaries
        self.watchers: list[Callable[[Entry], None]] = []
        self.readers: dict[str, list[Callable[[int], None]]] = defaultdict(list)  # by topic; told the partition
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._depth = 0
        self._turns = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self.pids = count(1)
        self.lines: list[str] | None = None
        self.cluster = Cluster(topics, per_family, self.broker_ms, self._written, self._visible)

    # Time

    def broker_ms(self) -> int:
        return EPOCH_MS + int(self.now + self.broker_ahead_ms)

    def at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), call))

    def after(self, ms: float, call: Callable[[], None]) -> None:
        self.at(self.now + ms, call)

    def run_until(self, when: float) -> None:
        """Let everything happen that is due by then."""
        while self._heap and self._heap[0][0] <= when:
            at, _, call = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise Violated("liveness", f"{TURNS_MAX} turns, and no end")
            try:
                call()
            except Violated as error:  # within a call that waits, the product's own handlers may take it for an error
                self.violated = self.violated or str(error)
                raise
        self.now = max(self.now, when)

    def wait(self, ms: float) -> None:
        """The caller waits inside a call; the world goes on."""
        if self._depth >= NESTED_MAX:
            return
        self._depth += 1
        current = self.current
        try:
            self.run_until(self.now + ms)
        finally:
            self._depth -= 1
            self.current = current

    def file(self, stage: str, topic: str, partition: int) -> int:
        """A small file outside the processes, empty at first; its index in `files`."""
        number = self._file_numbers.setdefault((stage, topic, partition), len(self.files))
        if number == len(self.files):
            self.files.append(b"")
        return number

    def mourn(self, process: Process) -> None:
        """Count what died alone with a record in hand, from the marks that outlive it."""
        for (stage, topic, partition), number in self._file_numbers.items():
            if f'"{process.number}"' not in self.files[number].decode():
                continue
            mark, owner, *_ = json.loads(self.files[number])
            if mark and owner == str(process.number) and mark[0] == mark[1]:
                entry = self.cluster.partitions[topic][partition].history[mark[0]]
                self.deaths[f"aios.{stage.removesuffix('.decode')}", entry.origin] += 1

    # What happened

    def say(self, what: str) -> None:
        """One event of the trace."""
        self._hash.update(f"{self.now:.3f} {what}\n".encode())
        if self.lines is not None:
            self.lines.append(f"{self.now:12.1f}  {what}")

    @property
    def trace(self) -> str:
        """Hash of everything that happened so far."""
        return self._hash.hexdigest()

    def _written(self, entry: Entry) -> None:
        where = f"{entry.topic} {entry.partition} {entry.offset} {entry.timestamp}"
        self._hash.update(b"%b %b %b" % (where.encode(), entry.key or b"", entry.value or b""))
        if self.lines is not None:
            kind = "marker" if entry.marker else f"key {(entry.key or b'').decode('utf-8', 'replace')[:40]!r}"
            who = self.current.name if self.current else "-"
            self.lines.append(f"{self.now:12.1f}  {who} wrote {entry.topic}/{entry.partition}/{entry.offset} {kind}")
        for watch in self.watchers:
            watch(entry)

    def _visible(self, topic: str, partition: int) -> None:
        for group in self.groups.get(topic, ()):
            group.visible(partition)
        for read in self.readers.get(topic, ()):
            read(partition)

    # Boundaries

    def boundary(self, name: str) -> None:
        """The current process passes one. Raises Crash."""
        process = self.current
        if process is None:
            return
        self.passed[name] += 1
        if not process.is_alive:
            raise Crash(name)
        doom = process.doom
        if doom is None:
            return
        doom.visits -= 1
        if doom.visits > 0:
            return
        process.doom = None
        self.counts[doom.kind] += 1
        self.say(f"{doom.kind} {process.name} at {name}")
        if doom.kind == "crash":
            self.end(process, name)
        self.hold(process, doom)

    def end(self, process: Process, where: str) -> NoReturn:
        """It dies here and now: what its code still does on the way out reaches nothing."""
        process.die(f"crash at {where}")
        raise Crash(where)

    def hold(self, process: Process, doom: Doom) -> None:
        """It freezes, or its call waits; raises Crash if it was killed meanwhile."""
        if doom.kind == "freeze":
            process.freeze(doom.ms)
        self.wait(doom.ms)
        if doom.kind == "freeze":
            process.thaw()
        if not process.is_alive:
            raise Crash("killed while it stood still")


class Actor:
    """Something that takes turns, one at a time, at moments it asked for."""

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self.process = process
        self.busy = False
        self._is_over = False
        self._missed = False
        self._at: float | None = None
        self._version = 0

    @abstractmethod
    def turn(self) -> None: ...

    def end(self) -> None:
        """Take no turn any more, whatever was asked for."""
        self._is_over = True

    def wake(self, ms: float = 0.0) -> None:
        """Take a turn then, unless one comes sooner."""
        when = self.world.now + ms
        if self._at is not None and self._at <= when:
            return
        self._at = when
        self._version += 1
        self.world.at(when, partial(self._fire, self._version))

    def thaw(self) -> None:
        if self._missed and not self.busy:
            self._missed = False
            self.wake()

    def _fire(self, version: int) -> None:
        if version != self._version:
            return
        self._at = None
        if self._is_over or not self.process.is_alive:
            return
        if self.busy or self.process.is_frozen:
            self._missed = True
            return
        self.busy = True
        try:
            self.process.runs(self.turn)
        finally:
            self.busy = False
        if self.process.is_alive:
            self.thaw()


class Process:
    """One life of a slot: a member of its group, with clocks of its own."""

    def __init__(self, world: World, slot: Slot) -> None:
        self.world = world
        self.slot = slot
        self.number = next(world.pids)
        self.name = f"{slot.name}#{self.number}"
        self.is_alive = True
        self.is_frozen = False
        self.is_kicked = False
        self.doom: Doom | None = None
        self.ending = ""  # of the next transaction: what goes wrong with its commit
        self.generation = 0
        self.actors: list[Actor] = []
        self._born_s = world.random.uniform(1.0, 1e6)
        self.wall_ahead_ms = 0.0
        world.alive.add(str(self.number))

    def monotonic(self) -> float:
        return self._born_s + self.world.now / 1000

    def wall_ms(self) -> float:
        return EPOCH_MS + self.world.now + self.wall_ahead_ms

    def runs(self, call: Callable[[], None]) -> None:
        """Run the product's code as this process, and let it die of what it dies of."""
        before, self.world.current = self.world.current, self
        try:
            call()
        except Crash:
            pass
        except Violated:
            raise
        except AiosError as error:  # in service the process leaves with it, and is started again
            self.slot.why = f"{type(error).__name__}: {error}"
            self.world.counts["left"] += 1
            self.die(f"left: {self.slot.why}")
        except Exception as error:
            raise Violated("errors", f"{self.name} ends by {type(error).__name__}: {error}") from error
        finally:
            self.world.current = before

    @property
    def is_busy(self) -> bool:
        return any(actor.busy for actor in self.actors)

    def die(self, why: str) -> None:
        if self.is_alive:
            self.is_alive = False
            self.world.say(f"{self.name} ends: {why}")
            self.world.alive.discard(str(self.number))
            self.world.mourn(self)
            self.slot.died(self)

    def freeze(self, ms: float) -> None:
        self.is_frozen = True
        if ms >= SESSION_MS:
            self.world.after(SESSION_MS, partial(self.slot.group.silent, self))

    def thaw(self) -> None:
        self.is_frozen = False
        if self.is_kicked and self.is_alive:
            self.world.after(self.world.random.uniform(0, 800), partial(self.slot.group.rejoin, self))
        for actor in self.actors:
            actor.thaw()

    # What the group tells it

    @abstractmethod
    def assigned(self, partitions: list[int]) -> None: ...

    @abstractmethod
    def revoked(self, *, lost: bool) -> None:
        """Everything leaves. lost: it is somebody else's already, commit nothing."""

    @abstractmethod
    def visible(self, partition: int) -> None:
        """There may be more to read."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a process, kept by the supervisor: whatever ends there is started again."""

    world: World
    group: Group
    name: str
    make: Callable[[World, Slot], Process]
    process: Process | None = None
    wanted: bool = True
    lives: int = 0
    why: str = ""

    def start(self) -> None:
        if self.wanted and self.process is None:
            self.lives += 1
            if self.lives > LIVES_MAX:
                raise Violated("liveness", f"{self.name} was started {LIVES_MAX} times; {self.why}")
            self.process = self.make(self.world, self)
            self.world.say(f"{self.process.name} starts")
            self.world.after(self.world.random.uniform(50, 900), partial(self.group.join, self.process))

    def died(self, process: Process) -> None:
        self.process = None
        self.group.ended(process)
        self.world.after(self.world.random.uniform(100, 1_500), self.start)

    def stop(self) -> None:
        """As by SIGTERM: what runs is finished, positions are committed."""
        process = self.process
        self.wanted = False
        if process is not None and process.is_alive and not process.is_frozen and not process.is_busy:
            process.runs(partial(process.revoked, lost=False))
            process.die("stopped")

    def again(self) -> None:
        self.wanted = True
        self.start()


@dataclass(slots=True, eq=False)
class Group:
    """A consumer group with eager rebalances and static members; partition numbers are assigned whole."""

    world: World
    name: str
    topics: tuple[str, ...]
    partitions: int
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    members: dict[str, Process] = field(default_factory=dict)
    owners: dict[int, Process] = field(default_factory=dict)
    generation: int = 0
    may_commit: Callable[[Group, str, int, int], None] | None = None  # the judge of offsets
    _assignment: dict[str, list[int]] = field(default_factory=dict)
    _balancing: bool = False

    def visible(self, partition: int) -> None:
        owner = self.owners.get(partition)
        if owner is not None and owner.is_alive:
            owner.visible(partition)

    def join(self, process: Process) -> None:
        """A slot that comes back within the session keeps its partitions; nobody else notices."""
        if not process.is_alive:
            return
        name = process.slot.name
        returns = name in self.members and not self._balancing
        self.members[name] = process
        if not returns:
            self._rebalance()
            return
        self._give(process, self._assignment.get(name, []))

    def rejoin(self, process: Process) -> None:
        """It was thought dead, and learns it now."""
        if process.is_alive and not process.is_frozen:
            if process.is_busy:
                self.world.after(20, partial(self.rejoin, process))
                return
            process.is_kicked = False
            process.runs(partial(process.revoked, lost=True))
            self.join(process)

    def ended(self, process: Process) -> None:
        self.world.after(SESSION_MS, partial(self.silent, process))

    def silent(self, process: Process) -> None:
        """A session has passed without a sign of life."""
        gone = not process.is_alive or process.is_frozen
        if gone and self.members.get(process.slot.name) is process:
            del self.members[process.slot.name]
            process.is_kicked = True
            self.world.say(f"{self.name} gives up {process.name}")
            self._rebalance()

    def commit(self, process: Process, offsets: Mapping[tuple[str, int], int]) -> bool:
        """False: it is no member any more, or of an earlier generation."""
        if self.members.get(process.slot.name) is not process or process.generation != self.generation:
            return False
        if self.world.cluster.away:
            return False
        for (topic, partition), offset in offsets.items():
            if self.may_commit is not None:
                self.may_commit(self, topic, partition, offset)
            self.committed[topic, partition] = offset
        return True

    def shake(self) -> None:
        """Rebalance for no reason."""
        self._rebalance()

    def _rebalance(self) -> None:
        if not self._balancing:
            self._balancing = True
            self.world.after(self.world.random.uniform(1, 50), self._balance)

    def _balance(self) -> None:
        """Once every member has finished what it is at; one that is dead or frozen is waited for, a session long."""
        for process in list(self.members.values()):
            if process.is_alive and (process.is_frozen or process.is_busy):
                self.world.after(50, self._balance)
                return
        for process in list(self.members.values()):
            if process.is_alive:
                process.runs(partial(process.revoked, lost=False))
        self.generation += 1
        self.world.counts["rebalances"] += 1
        self._balancing = False
        names = sorted(self.members)
        self.world.random.shuffle(names)
        self._assignment = {name: [] for name in names}
        for partition in range(self.partitions if names else 0):
            self._assignment[names[partition % len(names)]].append(partition)
        self.owners.clear()
        self.world.say(f"{self.name} generation {self.generation}: {self._assignment}")
        for name, process in list(self.members.items()):
            if process.is_alive:
                self._give(process, self._assignment[name])

    def _give(self, process: Process, partitions: list[int]) -> None:
        process.generation = self.generation
        for partition in partitions:
            self.owners[partition] = process
        process.runs(partial(process.assigned, partitions))


def places(group: Group) -> Iterator[tuple[str, int]]:
    """Every input partition of a group."""
    return ((topic, partition) for topic in group.topics for partition in range(group.partitions))
