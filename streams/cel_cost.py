"""What an expression computes at most, counted before it is evaluated. Pure.

Enters: a tree (cel_tree.py), and of each of its names how large it may be: what it holds (Held), or what a contract
lets it hold (processors/language/cel_bounds.py). Leaves: a number of steps. Guaranteed: no list is walked for it more
often than the steps that it may have; the same number for the same tree and sizes, on every machine.

One step is about 0.1 µs of the library that evaluates (measured). A macro takes its body for every item. What `map` and
`filter` make, the library copies for every item they go over: 40,000 numbers took it 50 s. `+` copies both sides, and a
list or an object that is read out of another is copied. A text counts a step for every 100 characters.

Rejected: a time limit (the library cannot be stopped, and a replay on a slower machine would decide otherwise);
counting the loops alone (a text that is added to itself in each of them doubles without any list getting longer).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aios.streams.cel_tree import (
    Call,
    Index,
    ListOf,
    Literal,
    MapOf,
    Name,
    Node,
    Select,
    inside,
    is_macro,
    parts,
    source_of,
)

STEPS_MAX = 1_000_000  # of one evaluation: 0.1 to 0.2 s, in which no other case of the partition moves
NESTED_MAX = 2  # macros in the body of one another
TEXT_STEP_CHARS = 100
UNCOUNTED_PARTS_MAX = 30
_SHORT = frozenset({"size", "int", "uint", "double", "bool", "contains", "startsWith", "endsWith", "matches", "has"})


class Extent(Protocol):
    """How large a value may be: items of a list or map, 0 of any other; weight: of all that it holds, at least 1."""

    @property
    def items(self) -> int: ...
    @property
    def weight(self) -> int: ...
    def field(self, name: str) -> Extent: ...
    def item(self) -> Extent: ...


class TooMuch(Exception):
    """More than STEPS_MAX. loops: the lists that it goes over there, outermost first, with their items."""

    def __init__(self, loops: tuple[tuple[str, int], ...]) -> None:
        super().__init__()
        self.loops = loops


def nested(node: Node) -> int:
    """How many macros stand in the body of one another."""
    if not (isinstance(node, Call) and is_macro(node)):
        return max(map(nested, inside(node)), default=0)
    over, *body = inside(node)
    return max(nested(over), 1 + max(map(nested, body)))


def is_small(node: Node) -> bool:
    """Whether it computes, whatever it is given, only some times what it is given: no macro, and few parts."""
    every = list(parts(node))
    return len(every) <= UNCOUNTED_PARTS_MAX and not any(map(is_macro, every))


def steps(node: Node, names: Mapping[str, Extent]) -> int:
    """At most so many. Raises TooMuch."""
    count = _Count()
    count.pay(count.give(node, names).weight)
    return count.spent


# How large values are


@dataclass(slots=True)
class Held:
    """One of these values, of which the largest counts."""

    values: list[Any]
    _weight: int = 0

    @property
    def items(self) -> int:
        return max((len(one) for one in self.values if isinstance(one, list | dict)), default=0)

    @property
    def weight(self) -> int:
        if not self._weight:
            self._weight = max(map(_weight, self.values), default=1)
        return self._weight

    def field(self, name: str) -> Extent:
        return Held([one[name] for one in self.values if isinstance(one, dict) and name in one])

    def item(self) -> Extent:
        """Of a map its keys, which macros go over, and its values."""
        return Held([each for one in self.values for each in _items(one)])


def _weight(value: Any) -> int:
    match value:
        case str():
            return _text(len(value))
        case list():
            return 1 + sum(map(_weight, value))
        case dict():
            return 1 + sum(map(_weight, value.values())) + len(value)
    return 1


def _text(chars: int) -> int:
    return 1 + -(-chars // TEXT_STEP_CHARS)


def _items(value: Any) -> Iterable[Any]:
    match value:
        case list():
            return value
        case dict():
            return (*value, *value.values())
    return ()


@dataclass(frozen=True, slots=True)
class _Made:
    """What an expression makes."""

    weight: int = 1
    items: int = 0
    of: tuple[Extent, ...] = ()
    fields: Mapping[str, Extent] = field(default_factory=dict)

    def field(self, name: str) -> Extent:
        return self.fields.get(name) or self.item()

    def item(self) -> Extent:
        return _either(self.of)


_LEAF = _Made()


@dataclass(frozen=True, slots=True)
class _Either:
    """One of several, of which the largest counts."""

    ways: tuple[Extent, ...]

    @property
    def items(self) -> int:
        return max(one.items for one in self.ways)

    @property
    def weight(self) -> int:
        return max(one.weight for one in self.ways)

    def field(self, name: str) -> Extent:
        return _either(one.field(name) for one in self.ways)

    def item(self) -> Extent:
        return _either(one.item() for one in self.ways)


def _either(ways: Iterable[Extent]) -> Extent:
    every = {id(one): one for one in ways}
    return _LEAF if not every else next(iter(every.values())) if len(every) == 1 else _Either(tuple(every.values()))


@dataclass(slots=True)
class _Count:
    """spent: so far. loops: that the counted part stands in; times: their items, multiplied."""

    spent: int = 0
    times: int = 1
    loops: tuple[tuple[str, int], ...] = ()

    def pay(self, units: int, *over: tuple[str, int]) -> None:
        self.spent += self.times * units
        if self.spent > STEPS_MAX:
            raise TooMuch((*self.loops, *over))

    def give(self, node: Node, names: Mapping[str, Extent]) -> Extent:
        """How large what it gives may be."""
        self.pay(1)
        match node:
            case Literal(kind="text", value=value):
                return _Made(_text(len(value)))
            case Name(name=name):
                return names.get(name, _LEAF)
            case Select(of=of, field=name):
                return self._read(node, self.give(of, names).field(name))
            case Index(of=of, key=key):
                whole = self.give(of, names)
                self.give(key, names)
                named = key.value if isinstance(key, Literal) and key.kind == "text" else None
                return self._read(node, whole.item() if named is None else whole.field(named))
            case ListOf(items=items):
                every = [self.give(one, names) for one in items]
                return self._made(_Made(1 + sum(one.weight for one in every), len(items), tuple(every)))
            case MapOf(pairs=pairs):
                return self._map(pairs, names)
            case Call():
                return self._call(node, names)
        return _LEAF

    def _read(self, node: Node, found: Extent) -> Extent:
        if found.items:
            self.pay(found.weight, (source_of(node), found.items))
        return found

    def _made(self, made: _Made) -> Extent:
        self.pay(made.weight)
        return made

    def _map(self, pairs: Iterable[tuple[Node, Node]], names: Mapping[str, Extent]) -> Extent:
        every = [(key, self.give(key, names), self.give(value, names)) for key, value in pairs]
        fields = {key.value: value for key, _, value in every if isinstance(key, Literal)}
        of = tuple(one for _, *both in every for one in both)
        return self._made(_Made(1 + sum(one.weight for one in of), len(every), of, fields))

    def _call(self, call: Call, names: Mapping[str, Extent]) -> Extent:
        if call.of is not None and is_macro(call):
            return self._macro(call, call.of, names)
        operands = (*((call.of,) if call.of is not None else ()), *call.arguments)
        given = [self.give(one, names) for one in operands]
        match call.name:
            case "&&" | "||" | "!" | "-" | "*" | "/" | "%":
                return _LEAF
            case "==" | "!=" | "<" | "<=" | ">" | ">=":
                self.pay(min(one.weight for one in given))
                return _LEAF
            case "in":
                self.pay(given[-1].weight)
                return _LEAF
            case "?:":
                return _either(given[1:])
            case "+":
                return self._made(
                    _Made(
                        sum(one.weight for one in given) - 1,
                        sum(one.items for one in given),
                        tuple(one.item() for one in given),
                    )
                )
        whole = _Made(1 + sum(one.weight for one in given))
        self.pay(whole.weight)
        return _LEAF if call.name in _SHORT else whole

    def _macro(self, call: Call, of: Node, names: Mapping[str, Extent]) -> Extent:
        over = self.give(of, names)
        variable, *body = call.arguments
        items, item = over.items, over.item()
        if not items:
            return _LEAF
        here = (source_of(of), items)
        times, loops = self.times, self.loops
        self.times, self.loops = times * items, (*loops, here)
        inner = {**names, variable.name: item} if isinstance(variable, Name) else names
        given = [self.give(one, inner) for one in body]
        self.times, self.loops = times, loops
        if call.name not in ("map", "filter"):
            return _LEAF
        kept = given[-1] if call.name == "map" else item
        self.pay(items * (items + 1) // 2 * kept.weight, here)
        return _Made(1 + items * kept.weight, items, (kept,))
