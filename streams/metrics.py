"""What every process counts, and the port where Prometheus reads it.

Enters: what stages settle, take and hold. Leaves: text on a port of this process, its own for each; on loopback, unless
the settings say otherwise.
Guaranteed: labels are stages, topics, partitions, verdicts and clients only, so their number is bounded by the
topology; no tenant, key or payload is a label. What one part alone counts stands there (streams/http/guard.py,
processors/plan.py, inference_workers/pool.py). The prometheus client adds memory, CPU and open files of the process.
Rejected: a push gateway (a dead process would look alive), labels by case or tenant (unbounded).
"""

from __future__ import annotations

import collections
from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram, start_http_server

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Seconds(Histogram):
    """A histogram that takes many observations at once: one by one, each takes a lock twice.

    It reaches into the client's own buckets; tests/unit/test_metrics.py compares it with them.
    """

    def observe_all(self, amounts: Iterable[float]) -> None:
        """As observe() of each."""
        observed = list(amounts)
        self._sum.inc(sum(observed))
        for place, count in collections.Counter(bisect_left(self._upper_bounds, one) for one in observed).items():
            self._buckets[place].inc(count)


SETTLED = Counter("aios_records_settled", "Records that came to their end in a stage.", ["stage", "topic", "verdict"])
TOOK = Seconds(
    "aios_record_seconds",
    "From the broker's timestamp of a record to the acknowledged output.",
    ["stage"],
    buckets=SECONDS,
)
LAG = Gauge("aios_lag_records", "Records a stage has not finished yet.", ["stage", "topic", "partition"])
PAUSED = Gauge("aios_partition_paused", "1 while a stage takes nothing here.", ["stage", "topic", "partition"])
PARKED = Gauge(
    "aios_keys_parked", "Keys whose records wait behind one that failed (dlq/parking.py).", ["stage", "partition"]
)
OVERTAKEN = Counter("aios_records_overtaken", "Records that retention took, unread by a stage.", ["stage", "topic"])
DEFERRED = Counter("aios_records_deferred", "Records put off because their tenant is throttled.", ["stage"])
BREAKERS = Gauge(
    "aios_breakers_open", "Open breakers of a stage's group, as this process knows them.", ["stage", "scope"]
)
IN_FLIGHT = Gauge("aios_in_flight", "Records taken and not finished.", ["stage"])
DELIVERED = Counter("aios_records_delivered", "Records the broker acknowledged.", ["client"])
UNDELIVERED = Counter("aios_records_undelivered", "Records not acknowledged in time, or refused.", ["client"])


def serve(host: str = "127.0.0.1", port: int = 0) -> int:
    """Answer GET /metrics; returns the port, a free one unless named. The thread ends with the process."""
    server, _ = start_http_server(port, addr=host)
    return int(server.server_port)
