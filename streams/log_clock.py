"""Time as the log has it.

Enters: broker timestamps as they are seen, and seconds that pass here. Leaves: the time of the log, never falling and
never ahead of the broker's own. Rejected: the wall clock of a machine, which may be an hour wrong in either direction.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def passed_s() -> float:
    """Seconds that pass, from any beginning; also while the machine sleeps, where that is told."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class LogClock:
    """The latest broker timestamp seen, plus what has passed here since. monotonic: seconds, from any beginning."""

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
