"""What tenants may spend, and what cases hold of it. Pure.

Enters: limits as they are declared, and what was told since a load began of budgets, reservations, the ledger and
decisions. Leaves: a Part. Guaranteed: where no limit is declared nothing is claimed; of a system that runs it claims
only that no budget grows beyond its limit, and that none has less than nothing reserved; of one at rest, also that each
case that is decided has given its reservation back.
Rejected: a balance counted anew from answers and ledger (in which order budget took them, no topic tells).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.infra.prove.findings import Law, Part

KNOWN_MS = 30_000  # after a limit is declared every process knows it
GRANTED = ("granted", "cheaper")
ENDS = ("closed", "expired")


class Books:
    """See the module."""

    def __init__(self, *, drained: bool) -> None:
        self._drained = drained
        self.part = Part()
        self._limits: dict[str, tuple[int, int]] = {}  # by budget: the hard limit, and when it was declared
        self._taken: dict[str, int] = {}  # by budget: reserved and spent
        self._held: dict[str, str] = {}  # reservation → case
        self._ended: set[str] = set()
        self._decided: set[str] = set()

    @property
    def is_limited(self) -> bool:
        return bool(self._limits)

    def declared(self, seen: Any, event: Mapping[str, Any]) -> None:
        self._limits[event["budget"]] = (event["hard_micro"], seen.at)

    def changed(self, seen: Any, event: Mapping[str, Any]) -> None:
        """Where a budget stands. One that is above a limit that was lowered may stay there, and not grow."""
        name, taken = event["budget"], event["reserved_micro"] + event["spent_micro"]
        hard, since = self._limits.get(name, (-1, 0))
        before = self._taken.get(name, hard)
        self._taken[name] = taken
        if event["reserved_micro"] < 0:
            self._wrong(f"{name} has {event['reserved_micro']} reserved at {seen.offset}")
        if hard >= 0 and seen.at > since + KNOWN_MS and taken > max(hard, before):
            self._wrong(f"{name} has {taken} reserved and spent of {hard} at {seen.offset}")

    def answered(self, _: Any, event: Mapping[str, Any]) -> None:
        if event["status"] in GRANTED:
            self._held[event["reservation_id"]] = event["case_id"]

    def booked(self, _: Any, event: Mapping[str, Any]) -> None:
        """A line of the ledger."""
        if event["kind"] in ENDS:
            self._ended.add(event["reservation_id"])

    def decided(self, _: Any, event: Mapping[str, Any]) -> None:
        self._decided.add(event["case_id"])

    def finish(self) -> Part:
        """Judge what is complete. Call once, after the last record."""
        if self._drained:
            for reservation, case in self._held.items():
                if case in self._decided and reservation not in self._ended:
                    self._wrong(f"case {case} is decided, and {reservation}, which it reserved, never ended")
        return self.part

    def _wrong(self, what: str) -> None:
        self.part.violations.add(Law.MONEY, what)
