"""How many questions wait for a person, and how near the oldest are to their end: measured, for alerts and dashboards.

Enters: open questions, as the outcome store lists them. Leaves: two gauges. Guaranteed: a workflow whose questions are
all answered shows 0, and what Valkey holds is what is told, whichever process of `outcomes` is asked.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from prometheus_client import Gauge

from aios.streams.errors import Unavailable
from aios.streams.outcome_store import OutcomeStore

LOOK_S = 30.0
OLDEST_MAX = 20  # of the longest waiting, whose time is looked at

OPEN = Gauge("aios_reviews_open", "Questions that wait for a person.")
OLDEST = Gauge(
    "aios_review_oldest_share",
    "Time that an open question waited as a share of that in which it may be answered: the highest of a workflow.",
    ["workflow"],
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Questions:
    """See the module."""

    store: OutcomeStore
    next_s: float = 0.0  # monotonic
    known: frozenset[str] = frozenset()

    @property
    def due(self) -> bool:
        return time.monotonic() >= self.next_s

    async def look(self, now_ms: int) -> None:
        """While Valkey is away the gauges stay as they are; that it is away is said by who writes there."""
        self.next_s = time.monotonic() + LOOK_S
        try:
            count, oldest = await self.store.reviews_open(), await self.store.reviews(None, OLDEST_MAX)
        except Unavailable as error:
            log.info("how many questions wait for people is not known now: %s", error)
            return
        OPEN.set(count)
        shares: dict[str, float] = {}
        for one in oldest:
            shares[one.workflow] = max(one.share_used(now_ms), shares.get(one.workflow, 0.0))
        self.known |= shares.keys()
        for workflow in self.known:
            OLDEST.labels(workflow).set(shares.get(workflow, 0.0))
