"""Durable timers of one partition, and the time they run by.

Enters: timers as they are set, cancelled and read back from the changelog; broker timestamps. Leaves: what is due,
earliest first. Guaranteed: time never falls, and is the broker's own plus monotonic elapsed, so that a machine
whose clock is wrong fires nothing early or late.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

REMOVED_MAX = 10_000  # entries of the heap that no timer stands behind; beyond it the heap is built again


@dataclass(frozen=True, slots=True)
class Timer:
    """due_ms: log time, Unix ms."""

    key: str
    timer_id: str
    due_ms: int


class LogClock:
    """Time of one partition's log: the latest broker timestamp seen, plus what has passed here since."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen_ms = 0
        self._seen_at = monotonic()

    def see(self, broker_ms: int) -> int:
        """Take in a broker timestamp; the time after it. One that lies behind changes nothing."""
        now = self.now_ms()
        if broker_ms > now:
            self._seen_ms, self._seen_at = broker_ms, self._monotonic()
            return broker_ms
        return now

    def now_ms(self) -> int:
        """0 until something was seen."""
        if not self._seen_ms:
            return 0
        return self._seen_ms + int((self._monotonic() - self._seen_at) * 1000)


class Timers:
    """By name (the key of its record in the changelog); a new due time replaces the old one."""

    def __init__(self) -> None:
        self._timers: dict[bytes, Timer] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._timers)

    def set(self, name: bytes, timer: Timer | None) -> None:
        """None cancels."""
        if timer is None:
            self._timers.pop(name, None)
        else:
            self._timers[name] = timer
            heapq.heappush(self._heap, (timer.due_ms, name))
        if len(self._heap) > 2 * len(self._timers) + REMOVED_MAX:
            self._heap = [(one.due_ms, name) for name, one in self._timers.items()]
            heapq.heapify(self._heap)

    def next_due_ms(self) -> int | None:
        """When the next one is due."""
        self._drop_removed()
        return self._heap[0][0] if self._heap else None

    def due(self, now_ms: int, count_max: int) -> Iterator[tuple[bytes, Timer]]:
        """At most count_max of those that are due, earliest first. They stay until set(name, None)."""
        taken: list[tuple[int, bytes]] = []
        while len(taken) < count_max and (due := self.next_due_ms()) is not None and due <= now_ms:
            taken.append(heapq.heappop(self._heap))
        for entry in taken:
            heapq.heappush(self._heap, entry)
        seen = dict.fromkeys(name for _, name in taken)
        return iter([(name, self._timers[name]) for name in seen])

    def _drop_removed(self) -> None:
        while self._heap and not self._stands(*self._heap[0]):
            heapq.heappop(self._heap)

    def _stands(self, due_ms: int, name: bytes) -> bool:
        timer = self._timers.get(name)
        return timer is not None and timer.due_ms == due_ms
