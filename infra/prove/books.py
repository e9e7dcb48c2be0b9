"""What tenants may spend, and what cases hold of it. Pure.

Enters: limits as they are declared, and what was told since a load began of budgets, reservations and decisions; the
ledger, whole or since then. Leaves: a Part. Guaranteed: where no limit is declared nothing is claimed; of a system that
runs it claims only that no budget grows beyond its limit, and that none has less than nothing reserved; of one at rest,
also that each case that is decided has given its reservation back, and that a limit for all time has in its books what
the whole ledger says: spent, over it and wasted together, since in which order budget took lines no topic tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.infra.prove.findings import Law, Part

KNOWN_MS = 30_000  # after a limit is declared every process knows it
EVER = "total"  # the window that never ends
GRANTED = ("granted", "cheaper")
ENDS = ("closed", "expired")


class Books:
    """See the module. is_whole: the ledger is, and each of its lines reached budget once."""

    def __init__(self, *, drained: bool, is_whole: bool) -> None:
        self._drained = drained
        self._is_whole = is_whole
        self.part = Part()
        self._limits: dict[str, tuple[int, int]] = {}  # by budget: the hard limit, and when it was declared
        self._taken: dict[str, int] = {}  # by budget: reserved and spent
        self._windows: dict[str, str] = {}  # by budget
        self._stands: dict[str, int] = {}  # by budget: all that is in its books
        self._costs: dict[str, tuple[int, int]] = {}  # by budget: what must be in its books, and what may be
        self._held: dict[str, str] = {}  # reservation → case
        self._ended: set[str] = set()
        self._decided: set[str] = set()

    @property
    def is_limited(self) -> bool:
        return bool(self._limits)

    def declared(self, seen: Any, event: Mapping[str, Any]) -> None:
        self._limits[event["budget"]] = (event["hard_micro"], seen.at)
        self._windows[event["budget"]] = event["window"]

    def changed(self, seen: Any, event: Mapping[str, Any]) -> None:
        """Where a budget stands. One that is above a limit that was lowered may stay there, and not grow."""
        name, taken = event["budget"], event["reserved_micro"] + event["spent_micro"]
        hard, since = self._limits.get(name, (-1, 0))
        before = self._taken.get(name, hard)
        self._taken[name] = taken
        self._stands[name] = event["spent_micro"] + event["over_micro"] + event["wasted_micro"]
        if event["reserved_micro"] < 0:
            self._wrong(f"{name} has {event['reserved_micro']} reserved at {seen.offset}")
        if hard >= 0 and seen.at > since + KNOWN_MS and taken > max(hard, before):
            self._wrong(f"{name} has {taken} reserved and spent of {hard} at {seen.offset}")

    def answered(self, _: Any, event: Mapping[str, Any]) -> None:
        if event["status"] in GRANTED:
            self._held[event["reservation_id"]] = event["case_id"]

    def booked(self, seen: Any, event: Mapping[str, Any]) -> None:
        """A line of the ledger. One from before everybody knew of the limit may be in its books, or not."""
        if event["kind"] in ENDS:
            self._ended.add(event["reservation_id"])
        for name in (f"{event['tenant']}/{event['workflow']}", f"{event['tenant']}/*"):
            if name in self._limits:
                least, most = self._costs.get(name, (0, 0))
                is_known = seen.at > self._limits[name][1] + KNOWN_MS
                self._costs[name] = least + is_known * event["cost_micro"], most + event["cost_micro"]

    def decided(self, _: Any, event: Mapping[str, Any]) -> None:
        self._decided.add(event["case_id"])

    def finish(self) -> Part:
        """Judge what is complete. Call once, after the last record."""
        if self._drained:
            for reservation, case in self._held.items():
                if case in self._decided and reservation not in self._ended:
                    self._wrong(f"case {case} is decided, and {reservation}, which it reserved, never ended")
        if self._drained and self._is_whole:
            self._compare()
        return self.part

    def _compare(self) -> None:
        for name, stands in self._stands.items():
            least, most = self._costs.get(name, (0, 0))
            if self._windows.get(name) == EVER and not least <= stands <= most:
                self._wrong(f"{name} has {stands} in its books, and the ledger says {least} to {most}")

    def _wrong(self, what: str) -> None:
        self.part.violations.add(Law.MONEY, what)
