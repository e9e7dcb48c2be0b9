"""Log time: the broker's own timestamps, carried on by what has passed here since.

Enters: timestamps of records as the broker appended them. Leaves: Unix ms. Guaranteed: it never falls, and a machine
whose clock is wrong does nothing early or late. After an outage it stands where the log stands, until something new
is appended: what was already waiting is read before deadlines fire.
"""

from __future__ import annotations

import time


class LogClock:
    """The latest broker timestamp seen, plus monotonic time since."""

    def __init__(self) -> None:
        self._seen_ms = 0
        self._seen_at = time.monotonic()

    def see(self, broker_ms: int) -> int:
        """Take in a broker timestamp; the time after it. One that lies behind changes nothing."""
        now = self.now_ms()
        if broker_ms > now:
            self._seen_ms, self._seen_at = broker_ms, time.monotonic()
            return broker_ms
        return now

    def now_ms(self) -> int:
        """0 until something was seen."""
        if not self._seen_ms:
            return 0
        return self._seen_ms + int((time.monotonic() - self._seen_at) * 1000)
