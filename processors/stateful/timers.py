"""Durable timers of one partition.

Enters: timers as they are set, cancelled and read back from the changelog. Leaves: what is due by the log's time
(streams/log_clock.py), earliest first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from aios.streams.durations import HOUR_MS

REMOVED_MAX = 10_000  # entries of the heap that no timer stands behind; beyond it the heap is built again
NEAR_MS = HOUR_MS  # what is due later waits outside the heap: a million cases wait for weeks to be forgotten


class Timers:
    """Due times, log time in Unix ms, by name (the key of its record in the changelog); a new one replaces the old.

    Only the near ones stand in the heap; all are looked through once in NEAR_MS. A timer costs its name, a number and
    a place in one dictionary.
    """

    def __init__(self) -> None:
        self._due: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []
        self._near_ms = 0  # what is due before stands in the heap
        self._far_ms: int | None = None  # nothing outside the heap is due before

    def __len__(self) -> int:
        return len(self._due)

    def items(self) -> Iterator[tuple[bytes, int]]:
        return iter(self._due.items())

    def set(self, name: bytes, due_ms: int | None) -> None:
        """None cancels."""
        if due_ms is None:
            self._due.pop(name, None)
        else:
            self._due[name] = due_ms
            if due_ms < self._near_ms:
                heapq.heappush(self._heap, (due_ms, name))
            elif self._far_ms is None or due_ms < self._far_ms:
                self._far_ms = due_ms
        if len(self._heap) > 2 * len(self._due) + REMOVED_MAX:
            self._look_through(self._near_ms)

    def next_due_ms(self) -> int | None:
        """When to ask for what is due: never after one is, perhaps before."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else self._far_ms

    def due(self, now_ms: int, count_max: int) -> list[tuple[bytes, int]]:
        """At most count_max of those that are due, earliest first. They stay until set(name, None)."""
        if self._far_ms is not None and self._far_ms <= now_ms:
            self._look_through(now_ms + NEAR_MS)
        taken: list[tuple[int, bytes]] = []
        while len(taken) < count_max and (due := self.next_due_ms()) is not None and due <= now_ms:
            entry = heapq.heappop(self._heap)
            if not taken or taken[-1] != entry:  # it may have been set twice to the same
                taken.append(entry)
        for entry in taken:
            heapq.heappush(self._heap, entry)
        return [(name, due) for due, name in taken]

    def _look_through(self, near_ms: int) -> None:
        self._near_ms = near_ms
        self._heap = [(due, name) for name, due in self._due.items() if due < near_ms]
        heapq.heapify(self._heap)
        self._far_ms = min((due for due in self._due.values() if due >= near_ms), default=None)
