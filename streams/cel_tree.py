"""CEL as a tree, so that its names can be held against contracts before any event runs. Pure.

In: an expression's source. Out: nodes with their places, or None where this reader gives up: the library that runs
expressions (streams/expression.py) is the judge of syntax, and what is not read here is refused there.
Guaranteed: reads what the language's definition calls an expression, macros as the calls that they are written as;
bounded by the source's length. Rejected: names by regular expressions (`h` of `hits.exists(h, …)` is none of the
workflow's); the library's own list of variables (it knows no fields, and no places).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DEPTH_MAX = 60  # of brackets
TREE_DEPTH_MAX = 150  # `a + b + c` is as deep as it has signs

_TOKEN = re.compile(
    r"""\s+|//[^\n]*
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
    |(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<int>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:,.\[\]{}()])""",
    re.VERBOSE | re.DOTALL,
)
_BINARY = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
MACROS = frozenset({"exists", "all", "exists_one", "filter", "map"})
_WORDS = {"true": "bool", "false": "bool", "null": "null"}


@dataclass(frozen=True, slots=True)
class Node:
    """at: index into the source."""

    at: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """kind: text, int, double, bool or null. value: of a text, what it says."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Select(Node):
    of: Node
    field: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    of: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """name: of the function or operator ('?:' has three arguments). of: what it is called on, if anything."""

    name: str
    of: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf(Node):
    pairs: tuple[tuple[Node, Node], ...]


class _Unread(Exception):
    """This reader gives up."""


def read(source: str) -> Node | None:
    """The whole expression, or None."""
    try:
        reader = _Reader(list(_tokens(source)))
        found = reader.expression(0)
        reader.expect("end")
    except _Unread:
        return None
    return found if _depth(found) <= TREE_DEPTH_MAX else None


def _tokens(source: str) -> Iterator[tuple[str, str, int]]:
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise _Unread
        if match.lastgroup is not None:
            yield match.lastgroup, match.group(), at
        at = match.end()
    yield "end", "", at


class _Reader:
    """Recursive descent, one function a level of the grammar."""

    def __init__(self, tokens: list[tuple[str, str, int]]) -> None:
        self._tokens = tokens
        self._next = 0

    def _peek(self) -> str:
        kind, text, _ = self._tokens[self._next]
        return text if kind in ("sign", "word") else kind

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        self._next += token[0] != "end"
        return token

    def expect(self, what: str) -> int:
        if self._peek() != what:
            raise _Unread
        return self._take()[2]

    def expression(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise _Unread
        condition = self._binary(0, depth)
        if self._peek() != "?":
            return condition
        at = self._take()[2]
        first = self._binary(0, depth + 1)
        self.expect(":")
        return Call(at, "?:", None, (condition, first, self.expression(depth + 1)))

    def _binary(self, level: int, depth: int) -> Node:
        if level == len(_BINARY):
            return self._unary(depth)
        left = self._binary(level + 1, depth)
        while self._peek() in _BINARY[level]:
            _, name, at = self._take()
            left = Call(at, name, None, (left, self._binary(level + 1, depth)))
        return left

    def _unary(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise _Unread
        if self._peek() in ("!", "-"):
            _, name, at = self._take()
            return Call(at, name, None, (self._unary(depth + 1),))
        return self._member(depth)

    def _member(self, depth: int) -> Node:
        found = self._primary(depth)
        while True:
            match self._peek():
                case ".":
                    self._take()
                    kind, name, at = self._take()
                    if kind != "word":
                        raise _Unread
                    if self._peek() == "(":
                        found = Call(at, name, found, self._list("(", ")", depth))
                    else:
                        found = Select(at, found, name)
                case "[":
                    at = self._take()[2]
                    found = Index(at, found, self.expression(depth + 1))
                    self.expect("]")
                case _:
                    return found

    def _primary(self, depth: int) -> Node:
        kind, text, at = self._tokens[self._next]
        match kind, text:
            case "sign", "(":
                self._take()
                found = self.expression(depth + 1)
                self.expect(")")
                return found
            case "sign", "[":
                return ListOf(at, self._list("[", "]", depth))
            case "sign", "{":
                return MapOf(at, self._pairs(depth))
            case "word", _:
                self._take()
                if text in _WORDS:
                    return Literal(at, _WORDS[text], text)
                return Call(at, text, None, self._list("(", ")", depth)) if self._peek() == "(" else Name(at, text)
            case (("text" | "int" | "double"), _):
                self._take()
                return Literal(at, kind, text.strip("rRbB")[1:-1] if kind == "text" else text)
        raise _Unread

    def _list(self, first: str, last: str, depth: int) -> tuple[Node, ...]:
        self.expect(first)
        found: list[Node] = []
        while self._peek() != last:
            found.append(self.expression(depth + 1))
            if self._peek() != last:
                self.expect(",")
        self._take()
        return tuple(found)

    def _pairs(self, depth: int) -> tuple[tuple[Node, Node], ...]:
        self.expect("{")
        found: list[tuple[Node, Node]] = []
        while self._peek() != "}":
            key = self.expression(depth + 1)
            self.expect(":")
            found.append((key, self.expression(depth + 1)))
            if self._peek() != "}":
                self.expect(",")
        self._take()
        return tuple(found)


def inside(node: Node) -> tuple[Node, ...]:
    """What a node is made of, in the order of the source."""
    match node:
        case Select(of=of):
            return (of,)
        case Index(of=of, key=key):
            return (of, key)
        case Call(of=of, arguments=arguments):
            return (of, *arguments) if of is not None else arguments
        case ListOf(items=items):
            return items
        case MapOf(pairs=pairs):
            return tuple(one for pair in pairs for one in pair)
    return ()


def parts(node: Node) -> Iterator[Node]:
    """A node and everything in it."""
    yield node
    for one in inside(node):
        yield from parts(one)


def _depth(node: Node) -> int:
    depth, level = 0, [node]
    while level:
        depth, level = depth + 1, [one for each in level for one in inside(each)]
    return depth


def is_macro(node: Node) -> bool:
    """`hits.exists(h, h.score > 1)`: its body is evaluated for each item."""
    return isinstance(node, Call) and node.of is not None and node.name in MACROS and len(node.arguments) > 1


def fields_of(node: Node, name: str) -> frozenset[str] | None:
    """Which fields of a name an expression reads; None: it reads the whole of it."""
    found: set[str] = set()
    chained = 0
    for one in parts(node):
        match one:
            case Select(of=Name(name=known), field=field) if known == name:
                found.add(field)
                chained += 1
            case Index(of=Name(name=known), key=Literal(kind="text", value=field)) if known == name:
                found.add(field)
                chained += 1
    named = sum(isinstance(one, Name) and one.name == name for one in parts(node))
    return frozenset(found) if named == chained else None


def listed(node: Node) -> tuple[tuple[str, ...], ...]:
    """What an expression makes a list of (`answers.read.map(…)`, `.filter(…)`), where that is one value."""
    macros = (one for one in parts(node) if isinstance(one, Call) and is_macro(one) and one.name in ("map", "filter"))
    paths = (path_of(one.of) for one in macros if one.of is not None)
    return tuple(path for path in paths if path)


def path_of(node: Node) -> tuple[str, ...]:
    """The names of an expression that names one value, `answers.screen.score`; empty for any other."""
    match node:
        case Name(name=name):
            return (name,)
        case Select(of=of, field=field):
            before = path_of(of)
            return (*before, field) if before else ()
    return ()


def source_of(node: Node) -> str:
    """A node as its source has it, as far as that is a name."""
    match node:
        case Name(name=name):
            return name
        case Select(of=of, field=name):
            return f"{source_of(of)}.{name}"
        case Index(of=of, key=Literal(value=value)):
            return f"{source_of(of)}[{value}]"
        case Index(of=of):
            return f"{source_of(of)}[…]"
        case Call(name=name, of=of):
            return f"{name}(…)" if of is None else f"{source_of(of)}.{name}(…)"
    return "this"
