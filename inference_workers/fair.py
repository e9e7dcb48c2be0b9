"""Whose turn it is among the requests that wait: weighted fair queueing over tenants, and room for what comes next.

Enters: requests as they are read, undecoded, and the end of each with the tokens it truly took. Leaves: the next one,
as soon as the engine has room for it. Pure; the intake calls it under its lock (streams/hands.py, Order).
Guaranteed: tenants that always have something waiting get tokens in proportion to their weights, to within the
largest request of each (start-time fair queueing, Goyal et al. 1996); whoever comes after a pause waits for no backlog
of another that is known here (how far partitions are read: streams/hands.py), and has saved nothing up; within a tenant
the earliest deadline goes first, so nothing starves; requests and tokens in flight stay within their bounds (room.py),
but one request alone always goes.
Costs are estimated before (a record's bytes, and what earlier records of its size took) and corrected after: who was
taken for too little pays the rest with the next turn.
Rejected: turns by partition (a tenant's work lies in as many as eight, so it would have eight turns), deficit round
robin (its bursts are as large as its quantum), filling up with small requests behind a large one (it would starve).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aios.inference_workers.room import LaneRoom
from aios.streams.record import Record
from aios.streams.slots import DEADLINE, PRIORITY, PRIORITY_MAX

BYTES_PER_TOKEN = 4
SURPLUS_SHARE = 0.05  # of each true cost in what is learned
PATIENCE_MS = 60_000  # the deadline of a record that names none: so long after it was written
PRIORITY_MS = 1_000  # one step of priority is as good as a deadline that much earlier
FLOWS_KEPT = 64  # tenants with nothing waiting may be remembered beyond those that have
DROPPED_KEPT = 64  # records that wait no more may stand among a tenant's, beyond twice as many as wait

TENANT = "aios-tenant"


class Costs:
    """What a record will take of the engine, in prompt and output tokens, learned from those that have ended.

    one_max: tokens of one request at most, as the model's own length allows.
    """

    def __init__(self, one_max: int) -> None:
        self._one_max = one_max
        self._surplus = 0.0  # beyond a token for every BYTES_PER_TOKEN bytes, on average

    def estimate(self, record: Record) -> int:
        """1..one_max."""
        return max(1, min(self._one_max, round(self._plain(record) + self._surplus)))

    def learn(self, record: Record, tokens: int) -> None:
        """It has truly taken so many."""
        self._surplus += SURPLUS_SHARE * (tokens - self._plain(record) - self._surplus)

    def _plain(self, record: Record) -> int:
        """As its bytes say; what is over one_max is not read."""
        return min(self._one_max, len(record.value or b"") // BYTES_PER_TOKEN)


@dataclass(eq=False, slots=True)
class _Flow:
    """One tenant. start: virtual time at which its next request begins; waiting: by urgency, with dropped ones."""

    tenant: str
    weight: float
    start: float
    waiting: list[tuple[int, int, _Item]] = field(default_factory=list)
    alive: int = 0  # of these, not dropped
    in_flight: int = 0
    version: int = 0  # of its entry among the turns


@dataclass(eq=False, slots=True)
class _Item:
    record: Record
    flow: _Flow
    cost: int = 0  # as estimated when its turn came
    room: int = 0  # taken for it


class Fair:
    """See the module. requests_max, room: in flight at once. weights: by tenant, 1 unless said otherwise."""

    def __init__(
        self, costs: Costs, *, requests_max: int, room: LaneRoom, weights: Mapping[str, float] | None = None
    ) -> None:
        self._costs = costs
        self._requests_max = requests_max
        self._room = room
        self._weights = weights or {}
        self._flows: dict[str, _Flow] = {}
        self._turns: list[tuple[float, int, int, _Flow]] = []  # a heap; those of an older version count for nothing
        self._count = itertools.count()
        self._waiting: dict[int, _Item] = {}  # by the record's identity, like _flying
        self._flying: dict[int, _Item] = {}
        self._now = 0.0  # virtual: the start of whoever was served last

    # ── the intake's side ──

    def put(self, record: Record) -> None:
        """It waits from now on."""
        flow = self._flow(record.header(TENANT) or "")
        item = _Item(record, flow)
        self._waiting[id(record)] = item
        heapq.heappush(flow.waiting, (urgency(record), next(self._count), item))
        flow.alive += 1
        if flow.alive == 1:
            flow.start = max(flow.start, self._now)
            self._line_up(flow)

    def next(self) -> Record | None:
        """Whose turn it is, in flight from now on. None: nothing waits, or there is no room for it."""
        flow = self._first()
        if flow is None or len(self._flying) >= self._requests_max:
            return None
        item = self._most_urgent(flow)
        cost = self._costs.estimate(item.record)
        item.room = self._room.take(cost)
        if not item.room:
            return None
        heapq.heappop(flow.waiting)
        flow.alive -= 1
        self._sweep(flow)
        item.cost = cost
        self._flying[id(item.record)] = self._waiting.pop(id(item.record))
        flow.in_flight += 1
        self._now = max(self._now, flow.start)
        self._charge(flow, cost)
        return item.record

    def drop(self, records: Iterable[Record]) -> None:
        """They wait no more: their partition has left, or rests."""
        items = [item for record in records if (item := self._waiting.pop(id(record), None)) is not None]
        for item in items:
            item.flow.alive -= 1
        for flow in dict.fromkeys(item.flow for item in items):
            self._sweep(flow)
            if not flow.alive:
                self._line_up(flow)
        self._room.forgo()

    def ended(self, record: Record, tokens: int | None) -> None:
        """It is in flight no more. tokens: what it truly took; None: not known, or given back."""
        item = self._flying.pop(id(record), None)
        if item is None:
            return
        item.flow.in_flight -= 1
        self._room.give(item.room)
        true = 0 if tokens is None else tokens
        if tokens:
            self._costs.learn(record, tokens)
        self._charge(item.flow, true - item.cost)
        self._tidy()

    # ── virtual time ──

    def _flow(self, tenant: str) -> _Flow:
        flow = self._flows.get(tenant)
        if flow is None:
            flow = self._flows[tenant] = _Flow(tenant, self._weights.get(tenant, 1.0), self._now)
        return flow

    def _charge(self, flow: _Flow, cost: int) -> None:
        """Move its next turn by what it took, back for what it was taken for and did not take."""
        flow.start += cost / flow.weight
        self._line_up(flow)

    def _line_up(self, flow: _Flow) -> None:
        flow.version += 1
        if flow.alive:
            heapq.heappush(self._turns, (flow.start, next(self._count), flow.version, flow))

    def _first(self) -> _Flow | None:
        while self._turns:
            _, _, version, flow = self._turns[0]
            if version == flow.version and flow.alive:
                return flow
            heapq.heappop(self._turns)
        return None

    def _most_urgent(self, flow: _Flow) -> _Item:
        while True:
            item = flow.waiting[0][2]
            if self._waiting.get(id(item.record)) is item:
                return item
            heapq.heappop(flow.waiting)

    def _sweep(self, flow: _Flow) -> None:
        """Let go of dropped records: a partition that rests is read again and again, and most would stay for good."""
        if not flow.alive:
            flow.waiting.clear()
        elif len(flow.waiting) > 2 * flow.alive + DROPPED_KEPT:
            flow.waiting = [entry for entry in flow.waiting if self._waiting.get(id(entry[2].record)) is entry[2]]
            heapq.heapify(flow.waiting)

    def _tidy(self) -> None:
        """Forget tenants with nothing here, those first who have had least: they would be as good as new anyway."""
        if not self._waiting and not self._flying:
            self._flows.clear()
            self._turns.clear()
        elif len(self._flows) > 2 * (len(self._waiting) + len(self._flying) + FLOWS_KEPT):
            idle = (one for one in self._flows.values() if not one.alive and not one.in_flight)
            kept = heapq.nlargest(FLOWS_KEPT, idle, key=lambda one: one.start)
            busy = [one for one in self._flows.values() if one.alive or one.in_flight]
            self._flows = {one.tenant: one for one in (*busy, *kept)}


def urgency(record: Record) -> int:
    """Lower goes first within a tenant, Unix ms: the deadline, earlier by its priority."""
    deadline_ms = _number(record, DEADLINE, record.timestamp_ms + PATIENCE_MS)
    priority = max(-PRIORITY_MAX, min(_number(record, PRIORITY, 0), PRIORITY_MAX))
    return deadline_ms + PRIORITY_MS * priority


def _number(record: Record, header: str, default: int) -> int:
    try:
        return int(record.header(header) or default)
    except ValueError:
        return default
