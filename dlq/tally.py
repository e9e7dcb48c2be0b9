"""How a stage's records have fared lately, and which breaker must open for it. Pure: no Kafka, no clock.

Enters: what became of each record at first sight: done, failed for an unknown reason, or bad; its partition and its
tenant. Leaves: nothing, or the breaker to open. Rules, each with its bound in Limits:

    partition   unknown failures in a row, or as a share of its records: it is the code and not the data
    tenant      bad records as a share of the tenant's last ones: its data is broken
    tenant      a partition's rule is met by one tenant alone, while this process has done records of others: whatever
                the code does to that data, it does not do it to theirs, and they must not wait for it

Guaranteed: bad data of a known kind never counts against a partition; one tenant's failures hold a partition only
where there is no sign that others would fare better; what is remembered is bounded (a row a partition, tenants_max
tenants, those that were bad longest ago are forgotten). In the usual case nothing failed lately and nothing is kept.

A tenant here is whoever the record names, and on a source topic that is a claim: names may be made up. Then each of
them may stay below its bound, so that nothing opens, and every bad record is a dead letter, which is what it would be
anyway. Counts live as long as the process; what they led to is a record (dlq/breakers.py).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from aios.dlq.decide import Limits
from aios.streams.spin_lock import SpinLock

DONE_MAX = 2  # tenants of whom it is remembered that they fare well: whoever fails, one of them is another
ALONE_SHARE = 0.9  # of the failures, from which on they are one tenant's


class Scope(StrEnum):
    """Whom a breaker slows."""

    PARTITION = "partition"
    TENANT = "tenant"


class Opening(NamedTuple):
    """A breaker that must open. failed: of `settled` records."""

    scope: Scope
    failed: int
    settled: int


@dataclass(slots=True)
class _Partition:
    """Since its first unknown failure. The window begins anew after share_records. Failures are counted by tenant."""

    in_a_row: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    settled: int = 0


@dataclass(slots=True)
class _Tenant:
    """Its last records, the latest in the lowest bit; 1 is bad."""

    marks: int = 0
    seen: int = 0


class Tallies:
    """Of one stage and process. From any thread; its lock is for failures, and for many successes at once.

    A lock that every record takes, in threads that share one interpreter, is handed around at each of them: two thirds
    of a stage's time (`aios bench peers`).
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._partitions: dict[int, _Partition] = {}
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._done: frozenset[str] = frozenset()  # tenants of whom records were done, DONE_MAX of them
        self._lock = SpinLock()

    @property
    def quiet(self) -> bool:
        """Nothing failed lately: done() would at most learn of one more tenant who fares well."""
        return not self._partitions and not self._tenants

    @property
    def knows_enough(self) -> bool:
        """Quiet, and it is known that several tenants fare well: done() would change nothing."""
        return self.quiet and len(self._done) >= DONE_MAX

    def done(self, partition: int, tenant: str, count: int = 1) -> None:
        """So many records in a row succeeded. tenant: empty if they are nobody's."""
        with self._lock:
            if tenant and len(self._done) < DONE_MAX:
                self._done |= {tenant}
            if tenant in self._tenants:
                self._mark(tenant, good=count)
            row = self._partitions.get(partition)
            if row is not None:
                row.in_a_row.clear()
                self._settled(partition, row, count)

    def unknown(self, partition: int, tenant: str) -> Opening | None:
        """A record failed for an unknown reason. Where a breaker must open, its counts begin anew."""
        limits = self._limits
        with self._lock:
            row = self._partitions.setdefault(partition, _Partition())
            row.in_a_row[tenant] += 1
            row.unknown[tenant] += 1
            if row.in_a_row.total() > limits.unknown_in_a_row_max:
                failed = row.in_a_row
            elif row.unknown.total() - 1 > limits.unknown_share_max * limits.share_records:
                failed = row.unknown
            else:
                self._settled(partition, row)
                return None
            del self._partitions[partition]
            ((name, most),) = failed.most_common(1)
            alone = name == tenant and most >= ALONE_SHARE * failed.total() and self._done - {name}
            scope = Scope.TENANT if tenant and alone else Scope.PARTITION
            return Opening(scope, row.unknown.total(), row.settled + 1)

    def bad(self, partition: int, tenant: str) -> Opening | None:
        """A record is broken for good, in a known way. Where the tenant's breaker must open, its counts begin anew."""
        limits = self._limits
        with self._lock:
            row = self._partitions.get(partition)
            if row is not None:
                self._settled(partition, row)
            if not tenant:
                return None
            found = self._mark(tenant)
            failed = found.marks.bit_count()
            if failed <= limits.bad_share_max * limits.tenant_records:
                return None
            del self._tenants[tenant]
            return Opening(Scope.TENANT, failed, found.seen)

    def _mark(self, tenant: str, good: int = 0) -> _Tenant:
        """A bad record of it, or so many good ones. A tenant that was good for a whole window is forgotten."""
        limits = self._limits
        found = self._tenants.setdefault(tenant, _Tenant())
        count = min(good or 1, limits.tenant_records)
        found.marks = (found.marks << count | (not good)) & ((1 << limits.tenant_records) - 1)
        found.seen = min(found.seen + count, limits.tenant_records)
        if not found.marks:
            del self._tenants[tenant]
        elif not good:
            self._tenants.move_to_end(tenant)
            if len(self._tenants) > limits.tenants_max:
                self._tenants.popitem(last=False)
        return found

    def _settled(self, partition: int, row: _Partition, count: int = 1) -> None:
        row.settled += count
        if row.settled >= self._limits.share_records and not row.in_a_row:
            del self._partitions[partition]


class Trickle:
    """So many a second of each name pass. Time is the caller's, Unix ms; from any thread."""

    def __init__(self, per_s: int, names_max: int) -> None:
        self._per_s = per_s
        self._names_max = names_max
        self._passed: OrderedDict[str, tuple[int, int]] = OrderedDict()  # the second, and how many in it
        self._lock = SpinLock()

    def passes(self, name: str, now_ms: int) -> bool:
        """Whether one more may pass now; if so it is counted."""
        second = now_ms // 1000
        with self._lock:
            since, passed = self._passed.get(name, (second, 0))
            if since < second:
                since, passed = second, 0
            if passed >= self._per_s:
                return False
            self._passed[name] = since, passed + 1
            self._passed.move_to_end(name)
            if len(self._passed) > self._names_max:
                self._passed.popitem(last=False)
            return True
