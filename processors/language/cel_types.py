"""What an expression gives, and whether its names and types meet: contracts as shapes. Pure.

In: a tree (cel_tree.py) and the shape of each name it may use, made from an Avro contract, a JSON Schema or a value.
Out: the shape of what it gives, and what is wrong, in words. Guaranteed: a field that a closed shape lacks is told with
the one that was probably meant; where a shape is not known (`any`) nothing is claimed, so that nothing sound is
refused. Whether a value is there (a step that did not run, a list that is empty) is the samples' matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aios.streams.bodies import ITEMS_MAX
from aios.streams.cel_tree import MACROS, Call, Index, ListOf, Literal, MapOf, Name, Node, Select, is_macro, source_of
from aios.streams.part import close_to

DEPTH_MAX = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """kind: any, null, bool, int, double, text, list, map or object. of: items, values. fields: of an object. most: of
    a list or map its items; 1 where no contract says.
    """

    kind: str
    of: Shape | None = None
    fields: Mapping[str, Shape] = field(default_factory=dict)
    most: int = 1


ANY, NULL, BOOL, INT, DOUBLE, TEXT = (Shape(kind) for kind in ("any", "null", "bool", "int", "double", "text"))
SAID = {
    "null": "nothing",
    "bool": "a truth value",
    "int": "a whole number",
    "double": "a number",
    "text": "a text",
    "list": "a list",
    "map": "a map",
    "object": "an object",
}
NUMBERS = ("int", "double")
_MACROS = {"exists": BOOL, "all": BOOL, "exists_one": BOOL, "filter": None, "map": None}
_GIVES: Mapping[str, Shape] = {
    "size": INT,
    "int": INT,
    "uint": INT,
    "string": TEXT,
    "double": DOUBLE,
    "bool": BOOL,
    "contains": BOOL,
    "startsWith": BOOL,
    "endsWith": BOOL,
    "matches": BOOL,
    "has": BOOL,
}
"""Functions whose results are known; of any other nothing is claimed."""
_MEANT: Mapping[str, str] = {"any": "exists", "some": "exists", "every": "all", "select": "filter", "collect": "map"}
"""Other languages' names of loops over lists."""
_COUNTS = frozenset({"count", "len", "length"})  # theirs of size


# Shapes of contracts


def of_schema(schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None, depth: int = 0) -> Shape:
    """Of a JSON Schema, as pydantic writes it."""
    defs = schema.get("$defs", {}) if defs is None else defs
    while "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if depth > DEPTH_MAX:
        return ANY
    if ways := schema.get("anyOf") or schema.get("oneOf"):
        return merged(of_schema(one, defs, depth + 1) for one in ways)
    if "const" in schema or "enum" in schema:
        return merged(of_value(one) for one in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "object" if "properties" in schema:
            return Shape("object", fields={n: of_schema(s, defs, depth + 1) for n, s in schema["properties"].items()})
        case "object":
            inner = schema.get("additionalProperties")
            of = of_schema(inner, defs, depth + 1) if isinstance(inner, Mapping) else ANY
            return Shape("map", of, most=schema.get("maxProperties", 1))
        case "array":
            inner = schema.get("items")
            of = of_schema(inner, defs, depth + 1) if isinstance(inner, Mapping) else ANY
            return Shape("list", of, most=schema.get("maxItems", 1))
        case str() as kind:
            return {"string": TEXT, "integer": INT, "number": DOUBLE, "boolean": BOOL, "null": NULL}.get(kind, ANY)
    return ANY


def of_avro(kind: Any, named: dict[str, Shape] | None = None, most: int = ITEMS_MAX) -> Shape:
    """Of an Avro type; named: records that were met, by name. most: items, as what stands beside a field says."""
    named = {} if named is None else named
    if isinstance(kind, list):
        return merged(of_avro(one, named, most) for one in kind)
    if isinstance(kind, str):
        plain = {"string": TEXT, "int": INT, "long": INT, "double": DOUBLE, "float": DOUBLE, "boolean": BOOL}
        return plain.get(kind, NULL if kind == "null" else named.get(kind.rpartition(".")[2], ANY))
    match kind.get("type"):
        case "record":
            named[kind["name"]] = Shape(
                "object",
                fields={
                    one["name"]: of_avro(one["type"], named, one.get("aios:max", ITEMS_MAX)) for one in kind["fields"]
                },
            )
            return named[kind["name"]]
        case "array":
            return Shape("list", of_avro(kind["items"], named), most=most)
        case "map":
            return Shape("map", of_avro(kind["values"], named), most=most)
        case "enum":
            return TEXT
    return of_avro(kind["type"], named, most)


def of_value(value: Any) -> Shape:
    """Of a constant."""
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case int():
            return INT
        case float():
            return DOUBLE
        case str():
            return TEXT
        case Mapping():
            return Shape("object", fields={str(name): of_value(one) for name, one in value.items()})
        case Sequence():
            return Shape("list", merged(map(of_value, value)), most=len(value))
    return ANY


def merged(shapes: Any) -> Shape:
    """What a value is that is one of these; null is left out, since whether it is there is the samples' matter."""
    every = [one for one in shapes if one.kind != "null"]
    kinds = {one.kind for one in every}
    if not every:
        return ANY
    if len(kinds) > 1:
        return DOUBLE if kinds <= set(NUMBERS) else ANY
    (kind,) = kinds
    if kind == "object":
        names = {name for one in every for name in one.fields}
        return Shape(
            "object", fields={name: merged(one.fields[name] for one in every if name in one.fields) for name in names}
        )
    if kind in ("list", "map"):
        return Shape(kind, merged(one.of or ANY for one in every), most=max(one.most for one in every))
    return every[0]


def fits(given: Shape, wanted: Shape) -> bool:
    """Whether a value of one may stand where the other is asked for."""
    if "any" in (given.kind, wanted.kind) or "null" in (given.kind, wanted.kind):
        return True
    if wanted.kind == "map" and given.kind == "object":
        return all(fits(one, wanted.of or ANY) for one in given.fields.values())
    if given.kind in NUMBERS and wanted.kind in NUMBERS:
        return wanted.kind == "double" or given.kind == "int"
    if given.kind != wanted.kind:
        return False
    if given.kind == "list":
        return fits(given.of or ANY, wanted.of or ANY)
    return given.kind != "object" or all(
        fits(one, wanted.fields[name]) for name, one in given.fields.items() if name in wanted.fields
    )


# Expressions


@dataclass(slots=True)
class Typed:
    """One expression. wrong: in the order of the source."""

    names: Mapping[str, Shape]
    wrong: list[str] = field(default_factory=list)

    def give(self, node: Node) -> Shape:
        """The shape of what it gives."""
        match node:
            case Literal(kind=kind):
                return Shape(kind)
            case Name(name=name):
                return self._name(name)
            case Select(of=of, field=name):
                return self._field(of, self.give(of), name)
            case Index(of=of, key=key):
                return self._index(of, self.give(of), key)
            case ListOf(items=items):
                return Shape("list", merged(map(self.give, items)))
            case MapOf(pairs=pairs):
                return self._map(pairs)
            case Call():
                return self._call(node)
        return ANY

    def _name(self, name: str) -> Shape:
        if name not in self.names:
            self.wrong.append(f"there is no name {name}{close_to(name, list(self.names))}")
        return self.names.get(name, ANY)

    def _field(self, of: Node, shape: Shape, name: str) -> Shape:
        if shape.kind == "any":
            return ANY
        if shape.kind == "map":
            return shape.of or ANY
        if shape.kind != "object":
            self.wrong.append(f"{source_of(of)} is {SAID[shape.kind]} and has no field {name}")
            return ANY
        if name not in shape.fields:
            self.wrong.append(f"{source_of(of)} has no field {name}{close_to(name, list(shape.fields))}")
        return shape.fields.get(name, ANY)

    def _index(self, of: Node, shape: Shape, key: Node) -> Shape:
        if isinstance(key, Literal) and key.kind == "text" and shape.kind == "object":
            return self._field(of, shape, key.value)
        self.give(key)
        if shape.kind == "object":
            return merged(shape.fields.values())
        return shape.of or ANY

    def _map(self, pairs: Sequence[tuple[Node, Node]]) -> Shape:
        fields = {}
        for key, value in pairs:
            self.give(key)
            shape = self.give(value)
            if isinstance(key, Literal) and key.kind == "text":
                fields[key.value] = shape
        return Shape("object", fields=fields) if len(fields) == len(pairs) else Shape("map", ANY)

    def _call(self, call: Call) -> Shape:
        if call.of is not None and is_macro(call):
            return self._macro(call, call.of)
        if call.of is not None:
            self.give(call.of)
            if len(call.arguments) > 1 and isinstance(call.arguments[0], Name) and call.name not in _GIVES:
                meant = f"; did you mean {_MEANT[call.name]}?" if call.name in _MEANT else ""
                self.wrong.append(f"lists have no {call.name}{meant or close_to(call.name, list(MACROS))}")
                return ANY
        given = [self.give(one) for one in call.arguments]
        if call.name in _COUNTS:
            self.wrong.append(f"there is no function {call.name}; did you mean size?")
        operator = _OPERATORS.get((call.name, len(given)))
        if operator is None or call.of is not None:
            return _GIVES.get(call.name, ANY)
        problem, shape = operator(given)
        if problem:
            self.wrong.append(problem)
        inner = call.arguments[0]
        is_double = call.name == "!" and isinstance(inner, Call) and inner.name == "!" and inner.of is None
        return ANY if is_double else shape  # of !!x the library makes x, whatever it is

    def _macro(self, call: Call, of: Node) -> Shape:
        """`hits.exists(h, h.score > 1)`: h is an item, or of a map the name of a field."""
        over, variable = self.give(of), call.arguments[0]
        if over.kind not in ("any", "list", "map", "object"):
            self.wrong.append(f"{source_of(of)} is {SAID[over.kind]}: {call.name} goes over a list or a map")
        if over.kind in ("map", "object") and call.name in ("map", "filter"):
            self.wrong.append(
                f"{source_of(of)} is {SAID[over.kind]}, whose fields have no order: {call.name} goes over a list"
            )
        item = (over.of or ANY) if over.kind == "list" else TEXT if over.kind in ("map", "object") else ANY
        inner = Typed({**self.names, variable.name: item} if isinstance(variable, Name) else self.names, self.wrong)
        results = [inner.give(one) for one in call.arguments[1:]]
        gives = _MACROS[call.name]
        if gives is not None:
            return gives
        return Shape("list", item if call.name == "filter" else results[-1])


Judged = tuple[str, Shape]


def _truth(given: Sequence[Shape]) -> Judged:
    odd = next((one for one in given if one.kind not in ("bool", "any", "null")), None)
    return (f"{SAID[odd.kind]} stands where a truth value is needed" if odd else ""), BOOL


def _same(given: Sequence[Shape]) -> Judged:
    left, right = given
    fine = fits(left, right) or fits(right, left)
    return ("" if fine else f"{SAID[left.kind]} is compared with {SAID[right.kind]}"), BOOL


def _member(given: Sequence[Shape]) -> Judged:
    item, held = given
    if held.kind == "list":
        fine = fits(item, held.of or ANY) or fits(held.of or ANY, item)
        return ("" if fine else f"{SAID[item.kind]} is looked for in a list of others"), BOOL
    return ("" if held.kind in ("any", "map", "object") else f"{SAID[held.kind]} holds nothing"), BOOL


def _sum(given: Sequence[Shape]) -> Judged:
    left, right = given
    if "any" in (left.kind, right.kind):
        return "", ANY
    if left.kind in NUMBERS and right.kind in NUMBERS:
        return "", merged(given)
    if left.kind == right.kind and left.kind in ("text", "list"):
        return "", merged(given)
    return f"{SAID[left.kind]} and {SAID[right.kind]} do not add up", ANY


def _number(given: Sequence[Shape]) -> Judged:
    odd = next((one for one in given if one.kind not in (*NUMBERS, "any", "null")), None)
    return (f"{SAID[odd.kind]} stands where a number is needed" if odd else ""), ANY if odd else merged(given)


def _either(given: Sequence[Shape]) -> Judged:
    problem, _ = _truth(given[:1])
    return problem, merged(given[1:])


_OPERATORS: Mapping[tuple[str, int], Callable[[Sequence[Shape]], Judged]] = {
    **{(name, 2): _truth for name in ("&&", "||")},
    ("!", 1): _truth,
    **{(name, 2): _same for name in ("==", "!=", "<", "<=", ">", ">=")},
    ("in", 2): _member,
    ("+", 2): _sum,
    ("-", 1): _number,
    **{(name, 2): _number for name in ("-", "*", "/", "%")},
    ("?:", 3): _either,
}
