"""A CEL expression, of a workflow or of an operator's filter: compiled once, evaluated over one thing after the other.

In: the expression's source and a view (plain JSON values by name: of a case its input, answers, policy and labels, of
a dead letter what dlq/filters.py says). Out: a plain JSON value. Guaranteed: no side effects, no more steps than
cel_cost.py allows (macros stand in one another two deep, and what it would compute over this view is counted before it
does), the same value for the same view (no list is made of a map's keys, which the library gives in another order in
each process); whatever else comes of it is an ExpressionError. Syntax is checked when it is built; names, types and
what contracts let it compute by whoever has these: workflow_names.py runs a workflow's through it.

Rejected: Python's `eval` (escapes), Jinja (text, not values), a comparison language of our own (CEL is known
from Kubernetes and from schema registries' data contracts).
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from aios.schemas.errors import AiosError
from aios.streams import cel_cost, cel_tree

# The library imports its command line with all that draws it: a seventh of what a stage computes to start.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
import cel  # noqa: E402 - after the line above

SOURCE_CHARS_MAX = 2_000


class ExpressionError(AiosError):
    """The expression does not evaluate over this view; names the expression, never the view's values.

    Or it would compute too much over it. In a workflow the samples did not foresee this case, so the cause is unknown:
    retried, then dead-lettered.
    """


class Expression:
    """One compiled expression. Raises ValueError when built from something that is not CEL."""

    __slots__ = ("_is_small", "_listed", "_parts", "_path", "_program", "names", "reads", "source", "tree")

    def __init__(self, source: object) -> None:
        if not isinstance(source, str):
            raise ValueError(f'a CEL expression is written as text: "{source}"')  # noqa: TRY004 - pydantic reads ValueError
        if not source or len(source) > SOURCE_CHARS_MAX:
            raise ValueError(f"a CEL expression has 1 to {SOURCE_CHARS_MAX} characters")
        self.source = source
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            says, line_end, drawing = str(error).partition("\n")
            raise ValueError(f"{says}{_instead(source)}{line_end}{drawing}") from None
        self.names = frozenset(self._program.variables())  # also those that its macros bind
        self.tree = _tree(source)
        self.reads = {name: cel_tree.fields_of(self.tree, name) for name in self.names}
        self._parts = tuple(self.reads.items())
        self._path = cel_tree.path_of(self.tree)
        self._listed = cel_tree.listed(self.tree)
        self._is_small = cel_cost.is_small(self.tree)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def evaluate(self, view: Mapping[str, Any]) -> Any:
        """The value over a view. Raises ExpressionError: unknown name or field, types that do not meet, no JSON."""
        found: Any = view
        for name in self._path:  # most expressions name one value: it is looked up
            if not isinstance(found, dict) or name not in found:
                break
            found = found[name]
        else:
            if self._path:
                return found
        for path in self._listed:
            if isinstance(_at(view, path), dict):
                raise ExpressionError(f"`{self.source}`: {'.'.join(path)} is a map, whose fields have no order")
        read = {name: _part(view[name], fields) for name, fields in self._parts if name in view}
        if not self._is_small:
            self._count(read)
        try:
            given = self._program.execute(read)
        except KeyError as error:
            raise ExpressionError(f"`{self.source}`: there is no field {error}") from error
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise ExpressionError(f"`{self.source}`: {_first_sentence(error)}") from error
        if wrong := _no_json(given):
            raise ExpressionError(f"`{self.source}` gives {wrong}, which is no JSON value")
        return given

    def _count(self, read: Mapping[str, Any]) -> None:
        """Raises ExpressionError where it would compute too much."""
        try:
            cel_cost.steps(self.tree, {name: cel_cost.Held([value]) for name, value in read.items()})
        except cel_cost.TooMuch as error:
            lists = ", and in it ".join(f"{name} with {items} items" for name, items in error.loops)
            over = f" over {lists}" if lists else ""
            raise ExpressionError(f"`{self.source}` computes more than {cel_cost.STEPS_MAX} steps{over}") from error


def _tree(source: str) -> cel_tree.Node:
    """Raises ValueError: what cannot be counted."""
    tree = cel_tree.read(source)
    if tree is None:
        raise ValueError("CEL that is not read here, or is too deep: write it in parts")
    if cel_cost.nested(tree) > cel_cost.NESTED_MAX:
        names = ", ".join(sorted(cel_tree.MACROS))
        raise ValueError(f"loops over lists ({names}) stand at most {cel_cost.NESTED_MAX} deep in one another")
    return tree


_OF_OTHER_LANGUAGES = (
    (re.compile(r"(?<![=!<>])=(?!=)"), "equal is =="),
    (re.compile(r"(?i)\b(?:and|or|not)\b"), "and is &&, or is ||, not is !"),
    (re.compile(r"\{\{"), "it stands without braces around it"),
    (re.compile(r"(?i)\bis\b"), "is is ==, and is not is !="),
    (re.compile(r"\bin\s*\("), "a list stands in brackets, as in x in ['a', 'b']"),
)


def _instead(source: str) -> str:
    """What was probably meant, where words of another language stand outside its texts."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", source)
    return "".join(f"; {says}" for pattern, says in _OF_OTHER_LANGUAGES if pattern.search(bare))


def _at(view: Any, path: tuple[str, ...]) -> Any:
    """What stands there; None: nothing."""
    for name in path:
        view = view.get(name) if isinstance(view, dict) else None
    return view


def _no_json(value: Any) -> str:
    """What is no plain JSON in a value: its type, or that a number is not finite; empty: all of it is."""
    match value:
        case None | str() | bool() | int():
            return ""
        case float():
            return "" if math.isfinite(value) else "a number that is not finite"
        case list():
            return next((wrong for one in value if (wrong := _no_json(one))), "")
        case dict():
            if not all(isinstance(key, str) for key in value):
                return "a map with keys that are no text"
            return next((wrong for one in value.values() if (wrong := _no_json(one))), "")
    return f"a {type(value).__name__}"


def _part(value: Any, read: frozenset[str] | None) -> Any:
    """What an expression reads of a value: the library copies what it is given, and a case may hold long texts."""
    if read is None or not isinstance(value, dict):
        return value
    return {name: value[name] for name in read if name in value}


def _first_sentence(error: Exception) -> str:
    return str(error).partition(". ")[0].rstrip(".")
