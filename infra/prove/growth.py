"""What grows with the cases that went through, and whether it may. Pure.

Enters: what was seen of sizes, each time with how many cases were decided by then. Leaves: of each name its growth a
case behind the first half, and what it may. Guaranteed: one look that is out of line decides nothing (a slope is the
median of those between any two looks); what fills once (caches, heaps) may, as far as its room; where there were too
few cases to tell that from growth, nothing is judged.
Rejected: most − before (a leak looks like a cache that fills, and the other way round); one bound for all together (a
small process that leaks hides behind a large one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

CASES_MIN = 20_000  # in fewer, processes are still warming up behind the first half
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bound:
    """a_case: bytes for each case. room: bytes that may come and go beside them."""

    a_case: int
    room: int


NONE = Bound(0, 64 * MIB)
MEMORY: Mapping[str, Bound] = {
    "plan": Bound(300, 64 * MIB),  # decided cases are remembered: 300 MB a million; measured 110 to 220 bytes
    "valkey": Bound(9_216, 64 * MIB),  # it holds the outcomes; measured 6.6 to 7.6 KiB
    "lake": Bound(0, 160 * MIB),  # the records of the files that it merges are unpacked at once
}
"""Of the processes that are not here, NONE: they hold what is open."""
DISK: Mapping[str, Bound] = {
    "kafka": Bound(20_480, 128 * MIB),  # measured 13.9 KiB
    "valkey": Bound(16_384, 128 * MIB),  # 13 KiB appended, rewritten as 5 when it has doubled
    "lake": Bound(1_024, 128 * MIB),  # measured 0.25 KiB
    "audit": Bound(10_240, 128 * MIB),  # measured 7.5 KiB
    "logs": Bound(0, 128 * MIB),
    "traces": Bound(512, 128 * MIB),  # of one case in a hundred; measured 0.1 KiB
}


@dataclass(frozen=True, slots=True)
class Look:
    """sizes: bytes, by name."""

    cases: int
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes for each case behind the first half. most: what it may, with its room spread over these cases."""

    name: str
    a_case: float
    most: float

    @property
    def is_beyond(self) -> bool:
        return self.a_case > self.most


def growths(looks: Sequence[Look], bounds: Mapping[str, Bound]) -> Mapping[str, Growth]:
    """By name. looks: in order, over all of the cases. Empty where there were fewer than CASES_MIN."""
    last = looks[-1].cases if looks else 0
    if last < CASES_MIN:
        return {}
    late = [look for look in looks if look.cases >= last / 2]
    found = {}
    for name in dict.fromkeys(name for look in late for name in look.sizes):
        seen = [(look.cases, look.sizes[name]) for look in late if name in look.sizes]
        slopes = [(new - old) / (to - since) for (since, old), (to, new) in combinations(seen, 2) if to > since]
        if slopes:
            bound = bounds.get(name, NONE)
            found[name] = Growth(name, median(slopes), bound.a_case + bound.room / (last - late[0].cases))
    return found
