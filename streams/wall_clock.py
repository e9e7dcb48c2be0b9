"""Time as this machine has it: for people, for what is declared, and for deadlines that others set by theirs.

Rejected: for timers and order; they take the log's (log_clock.py).
"""

from __future__ import annotations

import time


def wall_ms() -> int:
    """Unix ms. May jump, in either direction."""
    return time.time_ns() // 1_000_000
