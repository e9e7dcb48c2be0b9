"""How fast and how often: calls begun in a second, and the wait before a command is tried again. Pure.

Enters: the time, seconds. Leaves: how long to wait. Guaranteed: never more calls than the rate and one short burst
over any stretch of time; the waits of many commands that failed together are spread over their whole bound, so that
they do not come together again (full jitter: a random part of a bound that doubles).
"""

from __future__ import annotations

from random import Random

from aios.streams import system_files

BURST_S = 0.1  # of the rate may come at once
DOUBLINGS_MAX = 30


class Rate:
    """A bucket that fills at per_s. Begins full."""

    __slots__ = ("_at", "_tokens", "per_s")

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._tokens = self._burst
        self._at: float | None = None

    def wait_s(self, now: float) -> float:
        """Until the next call may begin; 0: now."""
        self._fill(now)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self.per_s

    def take(self, now: float) -> None:
        """A call begins."""
        self._fill(now)
        self._tokens -= 1

    @property
    def _burst(self) -> float:
        return max(1.0, self.per_s * BURST_S)

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._at) if self._at is not None else 0.0
        self._at = now if self._at is None else max(now, self._at)
        self._tokens = min(self._burst, self._tokens + passed * self.per_s)


def again_s(limits: system_files.Again, failures: int, asked_s: float, random: Random) -> float:
    """Before the next try. failures: of this command in a row, ≥ 1. asked_s: what the system asked for, 0: nothing."""
    bound = min(limits.longest_s, limits.first_s * 2 ** min(failures - 1, DOUBLINGS_MAX))
    return max(asked_s, random.uniform(0.0, bound))


def unsure_s(limits: system_files.Again, random: Random) -> float:
    """After a try of which nobody knows whether it was done: how long the system is left alone."""
    return limits.unsure_s + random.uniform(0.0, limits.unsure_s)
