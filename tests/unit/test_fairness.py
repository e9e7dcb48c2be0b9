"""Tenants have a backlog of 10,000 each, one with ten times the rate: the others hardly notice. In simulated time.

Partitions, slots, the intake's hands and the order are the real ones; Kafka, plan and the engine are a clock.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from statistics import quantiles

import pytest

from aios.inference_workers.fair import Costs, Fair
from aios.inference_workers.room import Room
from aios.inference_workers.worker import WAITING_BYTES_MAX, WAITING_MAX
from aios.streams import installed, slots
from aios.streams.hands import Hands
from aios.streams.partitioner import partition_of
from aios.streams.record import Record

PARTITIONS = 32
BULK, INTERACTIVE = "classify.bulk", "classify.interactive"
BACKLOG = 10_000
LETTER = b"x" * 3_000  # a command's value
HEADERS = tuple((f"ce_header{n}", b"x" * 24) for n in range(8))  # what it carries beside its tenant
AT_ONCE = 32
TAKES_S = (0.05, 0.15)
RATE = 20.0  # of a modest tenant, per second; all of them together leave three quarters of the engine free
RARELY = 4.0  # the same where many have a backlog: a quarter of what would be its share
MODEST = tuple(f"tenant-{n}" for n in range(4))
GREEDY = "greedy"
SECONDS = 12.0


@dataclass
class World:
    """A pool, seen from outside. outstanding: of each greedy tenant; latency: of each answer by tenant, seconds."""

    fair: bool
    pool: str = BULK
    rate: float = RATE
    random: random.Random = field(default_factory=lambda: random.Random(7))
    now: float = 0.0
    events: list[tuple[float, int, str, Record]] = field(default_factory=list)
    logs: dict[int, deque[Record]] = field(default_factory=lambda: defaultdict(deque))
    written_at: dict[int, float] = field(default_factory=dict)
    latency: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    backlog: Counter[str] = field(default_factory=Counter)
    outstanding: Counter[str] = field(default_factory=Counter)
    number: int = 0

    def __post_init__(self) -> None:
        self.outstanding_max = installed.pools()[self.pool].limits.tenant_outstanding_max
        order = Fair(Costs(400), requests_max=AT_ONCE, room=Room(1 << 20).lane(1 << 20)) if self.fair else None
        self.hands = Hands(
            in_flight_max=AT_ONCE,
            waiting_max=WAITING_MAX if self.fair else 500,
            waiting_bytes_max=WAITING_BYTES_MAX,
            order=order,
        )
        self.hands.assign([("t", partition) for partition in range(PARTITIONS)])

    def run(self, greedy: int) -> dict[str, list[float]]:
        """Until SECONDS have passed. greedy: tenants with a backlog, the first of which asks on and on."""
        for tenant in MODEST:
            self._asks(tenant, self.rate)
        for number in range(greedy):
            self.backlog[f"{GREEDY}-{number}"] = BACKLOG
            self._let_out(f"{GREEDY}-{number}")
        if greedy:
            self._asks(f"{GREEDY}-0", 10 * self.rate)
        while self.events and self.events[0][0] < SECONDS:
            self.now, _, what, record = heapq.heappop(self.events)
            if what == "asks":
                self._write(record)
            else:
                self._ended(record)
            self._read_and_take()
        return self.latency

    def _asks(self, tenant: str, rate: float) -> None:
        at = 0.0
        while at < SECONDS:
            at += self.random.expovariate(rate)
            self._later(at, "asks", self._record(tenant))

    def _later(self, at: float, what: str, record: Record) -> None:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, what, record))

    def _record(self, tenant: str) -> Record:
        self.number += 1
        key = slots.key_of(tenant, f"case-{self.number}")
        headers = (*HEADERS, ("aios-tenant", tenant.encode()))
        return Record("t", partition_of(key, PARTITIONS), 0, 0, key, LETTER, headers)

    def _write(self, record: Record) -> None:
        """As plan does: what is over a tenant's bound waits there."""
        tenant = record.header("aios-tenant") or ""
        if tenant in self.backlog:
            self.backlog[tenant] += 1
            self._let_out(tenant)
            return
        self._put(record)

    def _let_out(self, tenant: str) -> None:
        while self.backlog[tenant] and self.outstanding[tenant] < self.outstanding_max:
            self.backlog[tenant] -= 1
            self.outstanding[tenant] += 1
            self._put(self._record(tenant))

    def _put(self, record: Record) -> None:
        log = self.logs[record.partition]
        self.number += 1
        placed = Record(
            "t", record.partition, self.number, int(self.now * 1000), record.key, record.value, record.headers
        )
        self.written_at[self.number] = self.now
        log.append(placed)

    def _read_and_take(self) -> None:
        for (_, partition), lane in self.hands.lanes.items():
            log = self.logs[partition]
            while log and self.hands.room and not self.hands.is_to_wait(lane):
                self.hands.arrive(log.popleft(), lane)
        for record in self.hands.take(AT_ONCE):
            self._later(self.now + self.random.uniform(*TAKES_S), "ended", record)

    def _ended(self, record: Record) -> None:
        tenant = record.header("aios-tenant") or ""
        self.hands.finish(record, 200)
        self.latency[tenant].append(self.now - self.written_at[record.offset])
        if tenant in self.backlog:
            self.outstanding[tenant] -= 1
            self._let_out(tenant)


def p99(latencies: list[float]) -> float:
    return quantiles(latencies, n=100)[98]


@pytest.fixture(scope="module")
def alone() -> dict[str, list[float]]:
    return World(fair=True).run(greedy=0)


def test_the_others_are_answered_as_if_they_were_alone(alone: dict[str, list[float]]) -> None:
    """P99 of each at most twice what it is alone, and as many answers as asked for; the rest is the greedy one's."""
    beside = World(fair=True).run(greedy=1)
    for tenant in MODEST:
        assert p99(beside[tenant]) <= 2 * p99(alone[tenant])
        assert len(beside[tenant]) >= 0.9 * len(alone[tenant])
    assert len(beside[f"{GREEDY}-0"]) > 0.9 * (AT_ONCE / 0.1 - RATE * len(MODEST)) * SECONDS


@pytest.mark.parametrize(("pool", "greedy"), [(BULK, 8), (BULK, 16), (INTERACTIVE, 16)])
def test_many_with_a_backlog_delay_nobody_either(pool: str, greedy: int) -> None:
    """Each has as much outstanding as plan lets out, letters in the partitions of everybody else: who asks now and then
    waits at most twice as long as alone, and those with a backlog have even shares of the rest.
    """
    alone = World(fair=True, pool=pool, rate=RARELY).run(greedy=0)
    beside = World(fair=True, pool=pool, rate=RARELY).run(greedy)
    modest, undisturbed = (sorted(one for name in MODEST for one in found[name]) for found in (beside, alone))
    assert p99(modest) <= 2 * p99(undisturbed)
    assert len(modest) >= 0.9 * len(undisturbed)
    theirs = [len(answered) for tenant, answered in beside.items() if tenant not in MODEST]
    assert sum(theirs) > 0.9 * (AT_ONCE / 0.1 - RARELY * len(MODEST)) * SECONDS
    assert min(theirs) > 0.8 * max(theirs)


def test_without_turns_they_would_wait_for_the_backlog(alone: dict[str, list[float]]) -> None:
    """As Kafka brings them: what this order is for."""
    beside = World(fair=False).run(greedy=1)
    assert min(p99(beside[tenant]) for tenant in MODEST) > 2 * max(p99(alone[tenant]) for tenant in MODEST)


def test_who_asks_for_more_than_there_is_gets_an_even_share() -> None:
    """Three tenants with a backlog each: a third for each, to within a tenth, whatever their number of partitions."""
    order = Fair(Costs(400), requests_max=AT_ONCE, room=Room(1 << 20).lane(1 << 20))
    hands = Hands(in_flight_max=AT_ONCE, waiting_max=WAITING_MAX, order=order)
    hands.assign([("t", partition) for partition in range(PARTITIONS)])
    served: dict[str, int] = defaultdict(int)
    logs: dict[int, deque[Record]] = defaultdict(deque)
    offset = 0
    for tenant, spread in (("wide", 16), ("middle", 4), ("narrow", 1)):
        for number in range(3_000):
            headers = (("aios-tenant", tenant.encode()),)
            partition = hash_of(tenant) + number % spread
            logs[partition % PARTITIONS].append(
                Record("t", partition % PARTITIONS, offset, 0, None, b"x" * 800, headers)
            )
            offset += 1
    for _ in range(3_000):
        for (_, partition), lane in hands.lanes.items():
            while logs[partition] and not hands.is_to_wait(lane):
                hands.arrive(logs[partition].popleft(), lane)
        for record in hands.take(1):
            served[record.header("aios-tenant") or ""] += 1
            hands.finish(record, 200)
    assert all(abs(count - 1_000) <= 100 for count in served.values()), served


def hash_of(tenant: str) -> int:
    return {"wide": 0, "middle": 16, "narrow": 20}[tenant]
