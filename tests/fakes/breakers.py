"""Breakers without Kafka."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aios.dlq.settle import OPEN
from aios.schemas.models import BreakerChanged


def open_breaker(group: str, partition: int = -1, *, tenant: str = "", at: int = 0, **changed: Any) -> BreakerChanged:
    """The breaker of a partition of a group, or of a tenant there, as it was opened at this time."""
    change = BreakerChanged(
        key=f"{group}/tenant/{tenant}" if tenant else f"{group}/{partition}",
        group=group,
        partition=partition,
        tenant=tenant,
        state=OPEN,
        reason="unknown",
        fingerprint="f",
        failed=21,
        settled=22,
        action="Look at the log.",
        by=group.removeprefix("aios."),
        changed_at=at,
    )
    return replace(change, **changed)


class OwnBreakers:
    """Of one Settler, open until the test ends."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()
        self.tenants: set[str] = set()
        self.changes: list[BreakerChanged] = []

    def open(self, change: BreakerChanged) -> None:
        self.changes.append(change)
        if change.tenant:
            self.tenants.add(change.tenant)
        else:
            self.partitions.add(change.partition)
