"""How long a minute, an hour and a day are in the milliseconds that records and timers count in. Pure."""

from __future__ import annotations

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
