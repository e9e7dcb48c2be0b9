"""What a value must be at its place in a step, for values that samples gave. Pure.

In: a value of an expression. Out: whether it fits, and the words for what is needed. Guaranteed: a value that fits can
be written into the record that it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aios.schemas import ids
from aios.streams.slots import PRIORITY_MAX

MOMENT_MS_MIN = 10**11  # 1973; as seconds the year 5138


class Need(NamedTuple):
    """What a value must be at its place."""

    what: str
    fits: Callable[[Any], bool]


TEXT = Need("a text", lambda v: isinstance(v, str))
DECIDERS = Need(
    "'policy', 'timer' or 'reviewer:' with a name",
    lambda v: v in ("policy", "timer") or (isinstance(v, str) and v.startswith("reviewer:") and v != "reviewer:"),
)
TRUTH = Need("true or false", lambda v: isinstance(v, bool))
SHARE = Need("a number from 0 to 1", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1)
PLAIN = Need("a text, number or truth value", lambda v: isinstance(v, str | int | float | bool))
MOMENT = Need("a time in Unix ms, of 13 digits,", lambda v: isinstance(v, int) and v >= MOMENT_MS_MIN)
WHOLE = Need("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
PRIORITY = Need(
    f"a whole number from {-PRIORITY_MAX} to {PRIORITY_MAX}",
    lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) <= PRIORITY_MAX,
)
PEOPLE = Need("1 or 2", lambda v: isinstance(v, int) and not isinstance(v, bool) and v in (1, 2))
LIST = Need("a list", lambda v: isinstance(v, list))
LABELS = Need(
    "a list of labels",
    lambda v: isinstance(v, list) and bool(v) and all(isinstance(label, str) and label for label in v),
)


def _is_json(value: Any) -> bool:
    try:
        ids.canonical(value)
    except (TypeError, ValueError):
        return False
    return True


ANY = Need("a JSON value", _is_json)
