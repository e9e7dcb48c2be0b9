"""Money: whole millionths ("micro") of one currency, the one in `money.currency`. Pure.

Enters: a person's time; what people write. Leaves: whole micro. Guaranteed: sums never lose a unit, since nothing is
ever a float. What an answer costs says its pool's price (pool_files.py). Rejected: Decimal on the way (slower, and
Avro's decimal is bytes that DuckDB cannot sum).
"""

from __future__ import annotations

import re

from aios.streams.durations import MINUTE_MS
from aios.streams.errors import ConfigError

UNIT = 1_000_000  # micro in one unit of the currency
MICRO_MAX = 10**15  # a thousand million units; beyond it somebody has mistyped
_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?")


def person_micro(minute_micro: int, person_ms: int) -> int:
    """What a person's time costs at a price per minute."""
    return -(-minute_micro * person_ms // MINUTE_MS)


def parse(text: str) -> int:
    """'12.5' → 12,500,000. Raises ConfigError for anything but digits with up to six decimals."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no amount: write it like 12 or 0.75, at most six decimals")
    micro = int(found[1]) * UNIT + int((found[2] or "").ljust(6, "0"))
    if micro > MICRO_MAX:
        raise ConfigError(f"{text} is more than {MICRO_MAX // UNIT}")
    return micro


def text(micro: int) -> str:
    """12,500,000 → '12.500000': every unit is shown, so that a column of them can be added up."""
    sign, whole = ("-", -micro) if micro < 0 else ("", micro)
    return f"{sign}{whole // UNIT}.{whole % UNIT:06d}"
