"""Breakers without Kafka."""

from __future__ import annotations

from aios.schemas.models import BreakerChanged


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
