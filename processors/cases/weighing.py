"""What a rule weighed: the numbers that its conditions compare, for the why-log. Pure.

In: a rule, the view that it chose over, what it chose. Out: which row, its reason, where it leads, and by path the
numbers and truth values that stand in the conditions up to there, thresholds and answers alike. Guaranteed: nothing of
the input and no text leaves (the audit holds no payload); a path that leads nowhere is left out; at most WEIGHED_MAX
values a rule.

Rejected: evaluating the paths as CEL (each evaluation hands the whole view over: a hundred times as long).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aios.processors.language.part import Jump
from aios.processors.language.workflow import Row, Rule

WEIGHED_MAX = 16
PATH = re.compile(r"\b(?:answers|policy)(?:\.[A-Za-z_]\w*|\[(?:[\w.]+|'[^']*'|\"[^\"]*\")\])+(?!\s*\()")
PART = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]|\[([A-Za-z_][\w.]*)\]")
ROOT = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Inner:
    """A path in brackets: what stands there is the key."""

    path: str


def weighed(name: str, rule: Rule, chosen: Jump, view: Mapping[str, Any]) -> dict[str, Any]:
    """name: of the rule's step. chosen: one of its rows, or its otherwise."""
    number = next((number for number, row in enumerate(rule.first_of) if row is chosen), len(rule.first_of))
    looked_at = rule.first_of[: number + 1]
    values: dict[str, int | float | bool] = {}
    for path in (path for row in looked_at for path in paths(row.when.source)):
        if len(values) < WEIGHED_MAX and isinstance(value := _value(path, view), int | float):
            values[path] = value
    told: dict[str, Any] = {"rule": name, "row": number + 1 if isinstance(chosen, Row) else 0, "then": chosen.then}
    if isinstance(chosen, Row):
        told["when"] = chosen.when.source
    if chosen.reason:
        told["reason"] = chosen.reason
    return told | ({"weighed": values} if values else {})


@lru_cache(maxsize=4096)
def paths(source: str) -> tuple[str, ...]:
    """The fields of answers and policy that an expression names, each once."""
    return tuple(dict.fromkeys(found[0] for found in PATH.finditer(source)))


def _value(path: str, view: Mapping[str, Any]) -> Any:
    """What stands there; None if nothing does."""
    found: Any = view
    for part in _parts(path):
        key = _value(part.path, view) if isinstance(part, Inner) else part
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list) and isinstance(key, int) and key < len(found):
            found = found[key]
        else:
            return None
    return found


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str | int | Inner, ...]:
    root = ROOT.match(path)
    if root is None:
        return ()
    parts: list[str | int | Inner] = [root[0]]
    for name, number, *quoted, inner in (found.groups() for found in PART.finditer(path, root.end())):
        if name:
            parts.append(name)
        elif number:
            parts.append(int(number))
        elif inner:
            parts.append(Inner(inner))
        else:
            parts.append(next(text for text in quoted if text is not None))
    return tuple(parts)
