"""How many cases wait for their turn to ask a pool or a system, for Prometheus.

Enters: what is kept of the turnstile (turnstile.py) in the partitions that this process has, as they come, change and
go. Leaves: `aios_turns_waiting`, by pool or system, in this process; summed over plan's processes it is what waits
there. Guaranteed: labels are pools and systems, so their number is bounded by the files; each pool and system is there
from the start, at 0. Ordinals of cases that left the line count until they are passed over.

A pool's own topic holds `tenant_outstanding_max` commands of a tenant at most, so that this is where a backlog stands:
what scales a pool (infra/pool_manifests.py) adds it to what its workers see.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Gauge

from aios.processors.cases import turnstile
from aios.schemas.models import PoolRemembered

_WAITING = Gauge("aios_turns_waiting", "Cases that wait for their turn to ask a pool or system.", ["pool"])


class Queues:
    """Of one process. A partition belongs to one thread at a time; names: of every pool and system."""

    def __init__(self, names: Iterable[str]) -> None:
        self._lengths: dict[int, dict[bytes, int]] = {}  # by partition and key; none is 0
        for name in names:
            _WAITING.labels(name)

    def see(self, partition: int, key: bytes, kept: PoolRemembered | None) -> None:
        """What is kept under a pool's key from now on."""
        lengths = self._lengths.setdefault(partition, {})
        before, now = lengths.pop(key, 0), 0 if kept is None else kept.next - kept.first
        if now:
            lengths[key] = now
        if now != before:
            _WAITING.labels(turnstile.name_in(key)).inc(now - before)

    def forget(self, partition: int) -> None:
        """It is somebody else's."""
        for key in list(self._lengths.get(partition, ())):
            self.see(partition, key, None)
        self._lengths.pop(partition, None)
