"""Money: whole millionths ("micro") of one currency, the one in `money.currency`. Pure.

Enters: a pool's price and what an answer took; a person's time; what people write. Leaves: whole micro. Guaranteed:
sums never lose a unit, since nothing is ever a float; every part is rounded once, up, so that a price above 0 never
gives something for nothing. Rejected: Decimal on the way (slower, and Avro's decimal is bytes that DuckDB cannot sum).
"""

from __future__ import annotations

import re

from aios.streams.errors import ConfigError
from aios.streams.pool_files import Price

UNIT = 1_000_000  # micro in one unit of the currency
MICRO_MAX = 10**15  # a thousand million units; beyond it somebody has mistyped
_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?")


def answer_micro(price: Price, *, prompt_tokens: int, output_tokens: int, engine_us: int) -> int:
    """What an answer costs at a pool's price; each ≥ 0. A cached one costs nothing: do not ask."""
    tokens = price.per_1000_prompt_tokens * prompt_tokens + price.per_1000_output_tokens * output_tokens
    return -(-(1_000 * tokens + price.per_engine_second * engine_us) // 1_000_000)


def person_micro(minute_micro: int, person_ms: int) -> int:
    """What a person's time costs at a price per minute."""
    return -(-minute_micro * person_ms // 60_000)


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
