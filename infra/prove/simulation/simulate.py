"""Deterministic simulation: the product's own code in a world where everything that can go wrong does, from one seed.

Enters: seeds. Leaves: for each a verdict, a hash of everything that happened, and what was reached. The same seed gives
the same world, whatever the machine, so a seed that fails is a bug report.

What runs is the product: the stores and cores of admit, plan, budget and replay with its jobs, what settles, parks,
retries, holds and counts in dlq/, the offsets of at-least-once stages, the connectors from a command to its answer.
What is simulated is what the product stands on: log, clocks, processes, network, and the outside system that is asked.

What is not reached stands in NOT_REACHED, and each report says it. Real processes are killed by `make prove`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import ModuleType, SimpleNamespace

from aios.dlq import deaths, envelope
from aios.infra.prove.simulation.check import Judge
from aios.infra.prove.simulation.kafka import CLUSTER, SimulatedBreakers, SimulatedDeaths, SimulatedPlaces
from aios.infra.prove.simulation.people import KILLERS, TENANT, Cancellers, Operators, Principals, Producers, Reviewers
from aios.infra.prove.simulation.stages import HandsProcess, StoreProcess, Troubled
from aios.infra.prove.simulation.systems import CONNECTING, Bank, ConnectorProcess
from aios.infra.prove.simulation.systems import workflow as settling
from aios.infra.prove.simulation.workers import PoolProcess, RetryProcess
from aios.infra.prove.simulation.world import Doom, Group, Process, Slot, Violated, World
from aios.processors import admit, budget, plan, replay
from aios.processors.cases.spending import Funds
from aios.processors.language import workflow_files
from aios.processors.replaying.probe import Probes
from aios.processors.stateful.state import Core
from aios.schemas.codec import Codec
from aios.schemas.models import BudgetDeclared, TenantRegistered
from aios.schemas.registry import InMemory
from aios.streams import failpoints, installed, limits, topics, topology
from aios.streams.durations import DAY_MS
from aios.streams.record import Record
from aios.streams.topology import ADMIT, BUDGET, PLAN, POOLS, REPLAY, RETRY, Stage

PARTITIONS = 2
RECORDS = 30  # published; each becomes twenty more
LOAD_MS = 22_000.0
CHAOS_MS = 38_000.0
RECORDS_MIN, CRASHES_MIN = 300, 5  # of a seed that proves something
HARD_MICRO = (60_000, 100_000, 150_000)  # of the tenant's limit; a case asks for 5,000
FIXED_MS = 1_800_000.0  # after the troubles, until a fixed version runs and everything is replayed
SWEEP_S = 86_400.0
PLACES = 1  # of the tenant at a pool, in a partition: so few that cases wait for their turn
TIGHT = {
    name: pool.model_copy(
        update={
            "limits": pool.limits.model_copy(update={"tenant_outstanding_max": PLACES * PARTITIONS}),
            "fallback": {"generate": "classify"}.get(pool.process, pool.fallback),
        }
    )
    for name, pool in installed.pools().items()
}
"""The shipped pools with few places, one of them with another to stand in for it."""
TIGHT_SYSTEMS = [
    system.model_copy(
        update={"limits": system.limits.model_copy(update={"tenant_outstanding_max": PLACES * PARTITIONS})}
    )
    for system in installed.systems().values()
]
DRAIN_MS = 7.0 * DAY_MS  # every wait of a case, each reservation is over by then, and nothing is forgotten yet
FLAKY_SHARE = 0.05  # of records, at each stage: fail and succeed later
LOST_SHARE = 0.012  # fail until they are given up and the code is fixed
LOST_KILLER_SHARE = 0.25  # of what ends who decodes it: a dead letter for another reason, until a dry run decodes it
CRASHES = (6, 12)
FREEZES = (1, 3)
WAITS = (1, 4)
ENDINGS = ("late", "lost", "unanswered", "refused")
NOT_REACHED = (
    "what the broker, librdkafka, aiokafka and Faust do wrong themselves: Faust's fetch loop is written anew here",
    "threads that race inside one process",
    "real networks, disks and signals",
    "the outer shells: lanes.py and app.py of processors/stateful, streams/intake.py, inference_workers/pool.py",
    "gateway, sinks, registry and models",
    "of budgets: limits under which a case waits or takes a cheaper way, windows that end, limits that change",
    "of outside systems: circuits of endpoints; who is stopped between the check of its lease and its first byte; a "
    "step that is asked again while a clock is wrong by more than its deadline",
)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one seed. violated: empty, or the invariant and what broke it."""

    seed: int
    violated: str
    trace: str
    records: int
    counts: Counter[str]
    passed: Counter[str]
    lines: list[str] = field(default_factory=list)

    @property
    def crashes(self) -> int:
        return crashes(self.counts)

    @property
    def is_thin(self) -> bool:
        """Whether too little happened for it to prove anything. One that is violated ends early, and is none."""
        return not self.violated and (self.records < RECORDS_MIN or self.crashes < CRASHES_MIN)


def crashes(counts: Counter[str]) -> int:
    """Processes that ended without a word."""
    return counts["crash"] + counts["poison"] + counts["killed"]


@lru_cache(maxsize=1)
def shared() -> tuple[Codec, workflow_files.Workflows]:
    """What all worlds use alike: it remembers nothing of any."""
    codec = Codec(InMemory())
    codec.warm(topic for topic in topology.all_topics().values())
    kept = [each for each in workflow_files.shipped() if each.input != settling().input]
    return codec, workflow_files.Workflows([*kept, settling()])


class Tenants:
    """One tenant, for ever."""

    def get(self, name: str) -> TenantRegistered | None:
        if name != TENANT:
            return None
        return TenantRegistered(tenant=name, key_hashes=(), active=True, registered_at=0)


class Limits:
    """What the tenant may spend: enough for most of its cases at once, in one workflow and in all of them together."""

    def __init__(self, world: World) -> None:
        hard = world.random.choice(HARD_MICRO)
        self.declared = {
            name: BudgetDeclared(
                budget=name,
                tenant=TENANT,
                workflow=name.partition("/")[2],
                window="total",
                soft_micro=most // 2,
                hard_micro=most,
                policy="refuse",
                by="ada",
                declared_at=0,
            )
            for name, most in zip(limits.names_of(TENANT, "document.triage"), (hard, 2 * hard // 3), strict=True)
        }

    def of(self, tenant: str, workflow: str) -> Mapping[str, BudgetDeclared]:
        return {name: self.declared[name] for name in limits.names_of(tenant, workflow) if name in self.declared}

    def hold(self, tenant: str, workflow: str) -> bool:
        return bool(self.of(tenant, workflow))


class Simulation:
    """One seed."""

    def __init__(self, seed: int, *, told: bool = False) -> None:
        self.world = World(seed, topology.all_topics(), PARTITIONS)
        self.world.lines = [] if told else None
        codec, self._workflows = shared()
        self._codec = codec
        self.bank = Bank(self.world, CHAOS_MS)
        declared = Limits(self.world)
        self.judge = Judge(self.world, codec, PLACES, self.bank.done, limits=declared.declared)
        self.slots: list[Slot] = []
        self._add(ADMIT, 2, self._store(ADMIT, admit.Admit(codec, Tenants(), self._workflows, TENANT)))
        self._add(
            PLAN,
            2,
            self._store(
                PLAN,
                plan.Plan(
                    codec,
                    self._workflows,
                    PARTITIONS,
                    funds=Funds(declared.hold, person_minute_micro=10),
                    pools=TIGHT,
                    systems=TIGHT_SYSTEMS,
                ),
            ),
        )
        self._add(BUDGET, 2, self._store(BUDGET, budget.Budget(codec, declared, PARTITIONS)))
        for pool in POOLS:
            self._add(pool, 2, partial(self._pool, pool))
        self._add(CONNECTING, 2, self._connector)
        self._add(RETRY, 2, RetryProcess)
        self._add(REPLAY, 2, self._replay)
        self._producers = Producers(self.world, codec, RECORDS, LOAD_MS)
        Reviewers(self.world, codec)
        Cancellers(self.world, codec)
        early = self.world.random.uniform(0.4, 0.8) * CHAOS_MS
        self._operators = Operators(self.world, codec, (early, CHAOS_MS + FIXED_MS, CHAOS_MS + 2 * FIXED_MS))

    def run(self) -> Result:
        """Everything, to the end or to the first thing that does not hold."""
        violated = ""
        with simulated(self.world):
            try:
                for slot in self.slots:
                    slot.start()
                Chaos(self.world, self.slots).plan()
                self.world.run_until(CHAOS_MS)
                self._calm()
                self.world.run_until(CHAOS_MS + DRAIN_MS)
                self.judge.final(self.slots, self._producers.published, self._operators.jobs)
            except Violated as error:
                violated = str(error)
            for slot in self.slots:
                if isinstance(slot.process, ConnectorProcess):
                    slot.process.bury()
        world = self.world
        records = sum(
            entry.committed for logs in world.cluster.partitions.values() for p in logs for entry in p.history
        )
        violated = world.violated or violated
        return Result(world.seed, violated, world.trace, records, world.counts, world.passed, world.lines or [])

    def _calm(self) -> None:
        """No trouble from here on: what is broken heals, what stopped is started."""
        self.world.cluster.away = self.world.registry_away = False
        self.world.breakers.clear()
        for slot in self.slots:
            if slot.process is not None:
                slot.process.doom, slot.process.ending = None, ""
            slot.again()

    def _add(self, stage: Stage, count: int, make: Callable[[World, Slot], Process]) -> None:
        names = tuple(topic.name for topic in stage.inputs)
        group = Group(
            self.world, stage.group, names, stage.reads[0].partitions(PARTITIONS), may_commit=self.judge.may_commit
        )
        for name in names:
            self.world.groups[name].append(group)
        self.slots += [Slot(self.world, group, f"{stage.name}.{number}", make) for number in range(count)]

    def _store(self, stage: Stage, core: Core) -> Callable[[World, Slot], Process]:
        troubled = Troubled(self.world, core, partial(self._trouble, stage))
        return lambda world, slot: StoreProcess(world, slot, stage, troubled, self._codec)

    def _pool(self, stage: Stage, world: World, slot: Slot) -> Process:
        return PoolProcess(world, slot, stage, self._codec, partial(self._trouble, stage))

    def _connector(self, world: World, slot: Slot) -> Process:
        return ConnectorProcess(world, slot, self._codec, self.bank, partial(self._trouble, CONNECTING))

    def _replay(self, world: World, slot: Slot) -> Process:
        admission = admit.Admit(self._codec, Tenants(), self._workflows, TENANT)
        planning = plan.Plan(self._codec, self._workflows, PARTITIONS)
        around = replay.World(
            source=lambda: SimulatedPlaces(world),
            positions=dict,
            principals=Principals(),
            breakers=SimulatedBreakers(world, REPLAY),
            probe=Probes(self._codec, admission, planning),
            hands=deaths.Alone(SimulatedDeaths(world, REPLAY.name)),
            cluster=CLUSTER,
            default_tenant=TENANT,
            partitions=PARTITIONS,
            sweep_every_s=SWEEP_S,
            monotonic=lambda: world.current.monotonic() if world.current else 0.0,
        )
        return StoreProcess(world, slot, REPLAY, replay.Replay(self._codec, around), self._codec)

    def _trouble(self, stage: Stage, record: Record) -> Exception | None:
        """What a stage's own code does wrong with a record: for a while, or for ever. The same in every life."""
        origin = envelope.origin(record)
        name = f"{self.world.seed} {stage.name} {origin.topic} {origin.partition} {origin.offset}"
        share = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32
        kills = any(killer.encode() in (record.value or b"") for killer in KILLERS.values())
        if share < (LOST_KILLER_SHARE if kills else LOST_SHARE) and self.world.now < CHAOS_MS + FIXED_MS / 2:
            return ZeroDivisionError("always")
        if share < LOST_SHARE + FLAKY_SHARE and envelope.attempt_of(record) <= 1 + (share * 1e4 % 1 < 0.3):
            return KeyError("this time")
        return None


class Chaos:
    """When what goes wrong, drawn before anything happens."""

    def __init__(self, world: World, slots: list[Slot]) -> None:
        self._world = world
        self._slots = slots

    def plan(self) -> None:
        draw = self._world.random
        for kind, (least, most) in (("crash", CRASHES), ("freeze", FREEZES), ("wait", WAITS)):
            for _ in range(draw.randint(least, most)):
                self._at(partial(self._doom, kind))
        for _ in range(draw.randint(1, 4)):
            self._at(partial(self._ending, draw.choice(ENDINGS)))
        for _ in range(draw.randint(1, 3)):
            self._at(self._shake)
        for _ in range(draw.randint(0, 3)):
            self._at(self._scale)
        for _ in range(draw.randint(0, 2)):
            self._at(self._kill)
        for _ in range(draw.randint(1, 5)):
            self._at(self._again)
        if draw.random() < 0.5:
            self._at(partial(self._away, draw.uniform(300, 20_000)))
        if draw.random() < 0.4:
            self._at(partial(self._registry_away, draw.uniform(300, 20_000)))
        for _ in range(draw.randint(1, 4)):
            self._at(partial(self._broker_leaps, draw.choice((900.0, 80_000.0, 80_000.0, 600_000.0))))
        for _ in range(draw.randint(0, 3)):
            self._at(partial(self._wall_moves, draw.choice((-3.6e6, -20_000.0, 20_000.0, 3.6e6))))
        for _ in range(draw.randint(2, 8)):
            self._at(self._compact)
        self._world.at(CHAOS_MS * 0.92, self._enough)
        self._world.after(500, self._expire)

    def _enough(self) -> None:
        """Whoever was doomed and had nothing to do has not died: somebody else does."""
        if crashes(self._world.counts) < CRASHES_MIN:
            self._kill()
            self._world.after(100, self._enough)

    def _at(self, call: Callable[[], None]) -> None:
        self._world.after(self._world.random.uniform(500, CHAOS_MS * 0.9), call)

    def _someone(self) -> Process | None:
        """A process, the stateful ones more often."""
        draw = self._world.random
        weights = [3 if slot.group.name in (ADMIT.group, PLAN.group) else 1 for slot in self._slots]
        return draw.choices(self._slots, weights)[0].process

    def _doom(self, kind: str, tries: int = 40) -> None:
        """Of somebody who is at work; a process that dies may die again while it recovers."""
        draw, process = self._world.random, self._someone()
        if process is None or process.doom is not None or process.is_frozen:
            if tries:
                self._world.after(50, partial(self._doom, kind, tries - 1))
            return
        ms = draw.choice((500.0, 3_000.0, 7_500.0, 14_000.0)) if kind == "freeze" else draw.uniform(50, 5_500)
        process.doom = Doom(kind, draw.randint(1, 14), ms)
        if kind == "crash" and draw.random() < 0.25:
            self._world.after(draw.uniform(1_000, 4_000), partial(self._doom_slot, process.slot))

    def _doom_slot(self, slot: Slot) -> None:
        if slot.process is not None:
            slot.process.doom = Doom("crash", self._world.random.randint(1, 6))

    def _ending(self, ending: str) -> None:
        stores = [slot.process for slot in self._slots if isinstance(slot.process, StoreProcess)]
        if stores:
            self._world.random.choice(stores).ending = ending

    def _shake(self) -> None:
        self._world.random.choice(self._slots).group.shake()

    def _scale(self) -> None:
        slot = self._world.random.choice(self._slots)
        slot.stop()
        self._world.after(self._world.random.uniform(500, 15_000), slot.again)

    def _kill(self) -> None:
        process = self._someone()
        if process is not None:
            self._world.counts["killed"] += 1
            process.die("killed between two turns")

    def _again(self) -> None:
        process = self._someone()
        if isinstance(process, HandsProcess):
            process.again()
        elif isinstance(process, StoreProcess):
            for lane in process.lanes.values():
                lane.again()

    def _away(self, ms: float) -> None:
        self._world.cluster.away = True
        self._world.say("the broker is away")
        self._world.after(ms, self._back)

    def _back(self) -> None:
        self._world.cluster.away = False

    def _registry_away(self, ms: float) -> None:
        self._world.registry_away = True
        self._world.after(ms, self._registry_back)

    def _registry_back(self) -> None:
        self._world.registry_away = False

    def _broker_leaps(self, ms: float) -> None:
        self._world.say(f"the broker's clock leaps {ms:.0f} ms ahead")
        self._world.broker_ahead_ms += ms

    def _wall_moves(self, ms: float) -> None:
        process = self._someone()
        if process is not None and not isinstance(process, ConnectorProcess):
            self._world.say(f"{process.name}: its clock moves by {ms:.0f} ms")
            process.wall_ahead_ms += ms

    def _compact(self) -> None:
        for logs in self._world.cluster.partitions.values():
            for log in logs:
                if log.topic.cleanup is topics.Cleanup.COMPACT:
                    log.compact()

    def _expire(self) -> None:
        """The coordinator's sweep; it ends with the world's troubles, once nothing is open."""
        self._world.cluster.expire()
        if self._world.now < CHAOS_MS or self._world.cluster.is_transacting:
            self._world.after(1_000, self._expire)


# ── the product's edges ──────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def simulated(world: World) -> Iterator[None]:
    """Within: the product's clocks, failpoints and death marks are the world's. One world at a time."""
    clock = SimpleNamespace(**vars(time))
    clock.__dict__.update(
        monotonic=lambda: world.current.monotonic() if world.current else world.now / 1000,
        time=lambda: (world.current.wall_ms() if world.current else world.broker_ms()) / 1000,
        time_ns=lambda: int((world.current.wall_ms() if world.current else world.broker_ms()) * 1e6),
        perf_counter_ns=lambda: int(world.now * 1e6),
    )
    edges: list[tuple[object, str, object]] = [
        (failpoints, "hit", partial(_hit, world)),
        (failpoints, "is_armed", lambda name: True),  # noqa: ARG005
        (deaths, "os", _Files(world)),
        (deaths, "_me", str),
        (deaths, "_alive", world.alive.__contains__),
    ]
    edges += [(module, "time", clock) for module in _with_clocks()]
    before = [(where, name, getattr(where, name)) for where, name, _ in edges]
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    for where, name, value in edges:
        setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)
        logging.disable(level)


def _with_clocks() -> list[ModuleType]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(("aios.dlq.", "aios.processors.", "aios.streams.")) and getattr(module, "time", None) is time
    ]


def _hit(world: World, name: str, payload: bytes = b"") -> None:
    """failpoints.hit: a boundary, and for some payloads the end of whoever reads them."""
    step = name.rsplit(".", maxsplit=1)[-1]
    killer = KILLERS.get(name.partition(".")[0])
    if killer is not None and payload and step in ("decode", "taken") and killer.encode() in payload:
        world.counts["poison"] += 1
        if world.current is not None:
            world.end(world.current, f"{name} ({killer})")
    world.boundary(name)


class _Files:
    """What dlq/deaths.py wants of `os`; who is dead writes nothing more."""

    def __init__(self, world: World) -> None:
        self._world = world

    def getpid(self) -> int:
        return self._world.current.number if self._world.current else 0

    def pread(self, file: int, size: int, offset: int) -> bytes:  # noqa: ARG002 - whole files
        return self._world.files[file]

    def pwrite(self, file: int, data: bytes, offset: int) -> int:  # noqa: ARG002 - whole files
        if self._world.current is None or self._world.current.is_alive:
            self._world.files[file] = data
        return len(data)


def run(seed: int, *, told: bool = False) -> Result:
    """One seed, from the beginning to the end."""
    return Simulation(seed, told=told).run()
