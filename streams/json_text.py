"""JSON that others wrote, read strictly and within bounds. Pure.

Enters: bytes or text. Leaves: the value, or Unreadable. Guaranteed: what is read can be written again, as UTF-8 and as
canonical JSON: no key twice, no half of a surrogate pair, no number that a double does not hold; nested at most
DEPTH_MAX deep, with at most NODES_MAX keys and values. Time and memory are proportional to what enters, which its
taker bounds. The words of a refusal hold nothing of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

DEPTH_MAX = 16
NODES_MAX = 1_000  # values and keys of one text


class Unreadable(Exception):
    """The text is no JSON within our bounds; says why."""


def read(said: bytes | str, name: str) -> Any:
    """name: what it is called in a refusal. Raises Unreadable."""
    try:
        text = said if isinstance(said, str) else said.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_double)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{name} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} is no UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Unreadable(f"{name} is nested deeper than {DEPTH_MAX}") from None
    except ValueError as error:  # our own hooks, and numbers of thousands of digits
        raise Unreadable(f"{name} is refused: {error}") from None
    _bounded(value, name)
    return value


def _bounded(value: Any, name: str) -> None:
    """Raises Unreadable over DEPTH_MAX or NODES_MAX, and for text that no UTF-8 can carry."""
    level: Sequence[Any] = [value]
    nodes = 0
    for _ in range(DEPTH_MAX):
        nodes += len(level)
        if nodes > NODES_MAX:
            raise Unreadable(f"{name} has more than {NODES_MAX} keys and values")
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                _encodable(each, name)
            elif isinstance(each, dict):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list):
                below += each
        if not below:
            return
        level = below
    raise Unreadable(f"{name} is nested deeper than {DEPTH_MAX}")


def _encodable(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unreadable(f"{name} holds half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and infinities are no JSON")


def _double(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError("a number is larger than a double holds")
    return found
