"""Reads a schema and refuses those that could be used as a bomb.

Enters: the JSON text of any Avro schema, ours or a stranger's. Leaves: a `Schema`, parsed once for fastavro.
Guaranteed: decoding n bytes with it takes time and memory proportional to n, and ends:
  - no type contains itself (5 kB against a recursive schema overflow the C stack: no `except` catches that),
  - no array or map item has zero width (6 bytes would announce a billion of them),
  - records within records are free of charge on the wire, so their number is bounded, per schema and per item
    (ten records of ten fields of ten … are a billion nulls in no bytes at all),
  - depth and length of the schema's own text are bounded, and its names are names in every language,
  - it does not carry fastavro's own marks, which would skip fastavro's checks.
Rejected: bounding the decode itself (a watchdog or a subprocess per record costs more than the record).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import fastavro
from fastavro.schema import to_parsing_canonical_form

from aios.schemas.errors import SchemaRefused

TEXT_BYTES_MAX = 256 << 10
DEPTH_MAX = 64  # of types within types
NESTING_MAX = 4 * DEPTH_MAX  # of the JSON text: also of defaults and properties
FREE_NODES_MAX = 10_000  # records and nulls of one value, outside arrays and maps
FREE_NODES_PER_BYTE_MAX = 8  # the same for an item, per byte it is at least long

WIDTHS = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}
"""Least number of bytes of each primitive."""

NAMED = frozenset({"record", "enum", "fixed"})
ITEMS = {"array": "items", "map": "values"}

FASTAVRO_MARKS = frozenset({"__fastavro_parsed", "__named_schemas"})

Json = Any


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """A schema that is safe to decode with. Equal only to itself, so that what is worked out of it can be kept."""

    text: str  # as it was given
    resolved: Json = field(repr=False)  # every name and alias in full, everything else as it was given
    parsed: Json = field(repr=False)  # for fastavro, without logical types: values are the numbers on the wire
    canonical: str = field(repr=False)  # equal for schemas that write the same bytes
    full_name: str  # of a record, enum or fixed; empty for others


@dataclass(frozen=True, slots=True)
class _Weight:
    """bytes_min: shortest encoding. free: most nodes that cost no byte of their own, arrays' and maps' items apart."""

    bytes_min: int
    free: int


def read(text: str) -> Schema:
    """Parse a schema. Raises SchemaRefused, naming the place, for one that is invalid or unsafe."""
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise SchemaRefused(f"the schema is longer than {TEXT_BYTES_MAX} bytes")
    try:
        raw = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise SchemaRefused(f"the schema is no JSON: {error}") from error
    if _nests_deeper(raw, NESTING_MAX):
        raise SchemaRefused(f"the schema's text is nested deeper than {NESTING_MAX}")
    name = _Scales().check(raw)
    resolved = _resolve(raw, "")
    try:
        parsed = fastavro.parse_schema(plain(resolved))
        canonical = to_parsing_canonical_form(parsed)
    except Exception as error:  # fastavro raises whatever its code meets; all mean the same here
        raise SchemaRefused(f"invalid schema: {type(error).__name__}: {error}") from error
    return Schema(text=text, resolved=resolved, parsed=parsed, canonical=canonical, full_name=name)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _is_name(name: Json) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _is_full_name(name: Json) -> bool:
    return isinstance(name, str) and all(_is_name(part) for part in name.split("."))


class _Name:
    """Avro's rules for names. space: the namespace of the enclosing type."""

    @staticmethod
    def of(schema: Mapping[str, Json], space: str) -> str:
        return _Name.full(schema["name"], schema.get("namespace", space))

    @staticmethod
    def full(name: str, space: str) -> str:
        return name if "." in name or not space else f"{space}.{name}"

    @staticmethod
    def space(name: str) -> str:
        return name.rpartition(".")[0]


class _Scales:
    """Weighs a schema from the leaves up; the first unsafe place ends it."""

    def __init__(self) -> None:
        self._known: dict[str, _Weight] = {}
        self._open: set[str] = set()

    def check(self, raw: Json) -> str:
        weight = self._weigh(raw, "", "schema", DEPTH_MAX)
        if weight.free > FREE_NODES_MAX:
            raise SchemaRefused(f"schema: one value has {weight.free} records and nulls, at most {FREE_NODES_MAX}")
        return _Name.of(raw, "") if isinstance(raw, dict) and raw["type"] in NAMED else ""

    def _weigh(self, schema: Json, namespace: str, place: str, depth: int) -> _Weight:
        if depth == 0:
            _refuse(place, f"nested deeper than {DEPTH_MAX}")
        if isinstance(schema, str):
            return self._named(schema, namespace, place)
        if isinstance(schema, list):
            return self._union(schema, namespace, place, depth)
        if not isinstance(schema, dict):
            _refuse(place, "a type must be a name, a list or an object")
        if FASTAVRO_MARKS & schema.keys():
            _refuse(place, "carries a mark of a parsed schema")
        kind = schema.get("type")
        if not isinstance(kind, str):
            _refuse(place, "`type` must be a name")
        if kind == "record":
            return self._record(schema, namespace, place, depth)
        if kind in ("enum", "fixed"):
            return self._leaf(schema, namespace, place)
        if kind in ITEMS:
            return self._items(schema, namespace, place, depth)
        return self._named(kind, namespace, place)

    def _named(self, name: str, namespace: str, place: str) -> _Weight:
        if name in WIDTHS:
            return _Weight(WIDTHS[name], 1 if name == "null" else 0)
        known = _Name.full(name, namespace)
        if known in self._open:
            _refuse(place, f"{known} contains itself; recursive types are refused")
        if known not in self._known:
            _refuse(place, f"unknown type {name!r}")
        return self._known[known]

    def _union(self, branches: Sequence[Json], namespace: str, place: str, depth: int) -> _Weight:
        if not branches:
            _refuse(place, "a union needs a branch")
        if any(isinstance(branch, list) for branch in branches):
            _refuse(place, "a union directly within a union")
        weights = [self._weigh(b, namespace, f"{place}[{i}]", depth - 1) for i, b in enumerate(branches)]
        return _Weight(1 + min(w.bytes_min for w in weights), max(w.free for w in weights))

    def _record(self, schema: Mapping[str, Json], namespace: str, place: str, depth: int) -> _Weight:
        name = self._define(schema, namespace, place)
        fields = schema.get("fields")
        if not isinstance(fields, list) or not all(
            isinstance(f, dict) and isinstance(f.get("name"), str) for f in fields
        ):
            _refuse(place, "a record needs `fields`, each an object with a name (letters, digits and _)")
        for one in fields:
            if not _is_name(one["name"]):
                _refuse(
                    f"{place}.{one['name'][:80]}", "a field's name has letters, digits and _, and begins with no digit"
                )
        self._open.add(name)
        width, free = 0, 1
        for one in fields:
            if FASTAVRO_MARKS & one.keys():
                _refuse(f"{place}.{one['name']}", "carries a mark of a parsed schema")
            weight = self._weigh(one.get("type"), _Name.space(name), f"{place}.{one['name']}", depth - 1)
            if "default" in one:
                _default(one["type"], one["default"], f"{place}.{one['name']}")
            width, free = width + weight.bytes_min, free + weight.free
        self._open.discard(name)
        self._known[name] = _Weight(width, free)
        return self._known[name]

    def _leaf(self, schema: Mapping[str, Json], namespace: str, place: str) -> _Weight:
        name = self._define(schema, namespace, place)
        size = schema.get("size", 0) if schema["type"] == "fixed" else 1
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            _refuse(place, "`size` must be a number of bytes")
        self._known[name] = _Weight(size, 0 if size else 1)
        return self._known[name]

    def _items(self, schema: Mapping[str, Json], namespace: str, place: str, depth: int) -> _Weight:
        child = ITEMS[schema["type"]]
        item = self._weigh(schema.get(child), namespace, f"{place}.{child}", depth - 1)
        width = item.bytes_min  # a map's key costs a byte, but a value of zero width is refused all the same
        if width == 0:
            _refuse(place, f"{child} of zero width; a few bytes could announce a billion of them")
        if item.free > width * FREE_NODES_PER_BYTE_MAX:
            _refuse(place, f"{child} of {item.free} records and nulls in {width} bytes")
        return _Weight(1, 0)

    def _define(self, schema: Mapping[str, Json], namespace: str, place: str) -> str:
        if not _is_full_name(schema.get("name")) or not (
            schema.get("namespace", "") == "" or _is_full_name(schema["namespace"])
        ):
            _refuse(place, f"a type {schema['type']} needs a `name` (letters, digits and _; a dot after a namespace)")
        aliases = schema.get("aliases", [])
        if not isinstance(aliases, list) or not all(_is_full_name(alias) for alias in aliases):
            _refuse(place, "`aliases` must be a list of names")
        name = _Name.of(schema, namespace)
        if name in self._open or name in self._known or name in WIDTHS:
            _refuse(place, f"{name} is defined twice")
        return name


_DEFAULTS: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "string": (str,),
    "array": (list,),
    "map": (dict,),
}
"""What a default is, by its type; of others fastavro says."""


def _default(kind: Json, value: Json, place: str) -> None:
    while isinstance(kind, dict):
        kind = kind["type"]
    fits = _DEFAULTS.get(kind) if isinstance(kind, str) else None
    if fits is None or (isinstance(value, fits) and isinstance(value, bool) is (fits == (bool,))):
        return
    hint = f'; what may be missing has the type ["null", "{kind}"]' if value is None else ""
    _refuse(place, f"its default is no {kind}{hint}")


def _resolve(schema: Json, space: str) -> Json:
    """The same schema with every name and alias in full."""
    if isinstance(schema, str):
        return schema if schema in WIDTHS else _Name.full(schema, space)
    if isinstance(schema, list):
        return [_resolve(branch, space) for branch in schema]
    resolved = {name: value for name, value in schema.items() if name != "namespace"}
    if "name" in schema and schema["type"] in NAMED:
        resolved["name"] = _Name.of(schema, space)
        space = _Name.space(resolved["name"])
        if "aliases" in schema:
            resolved["aliases"] = [_Name.full(alias, space) for alias in schema["aliases"]]
    if schema["type"] == "record":
        resolved["fields"] = [{**one, "type": _resolve(one["type"], space)} for one in schema["fields"]]
    elif schema["type"] in ITEMS:
        child = ITEMS[schema["type"]]
        resolved[child] = _resolve(schema[child], space)
    elif schema["type"] not in NAMED:
        resolved["type"] = _resolve(schema["type"], space)
    return resolved


def plain(schema: Json) -> Json:
    """The same schema without logical types."""
    if isinstance(schema, list):
        return [plain(branch) for branch in schema]
    if isinstance(schema, str):
        return schema
    bare = {name: value for name, value in schema.items() if name != "logicalType"}
    if schema["type"] == "record":
        bare["fields"] = [{**one, "type": plain(one["type"])} for one in schema["fields"]]
    elif schema["type"] in ITEMS:
        child = ITEMS[schema["type"]]
        bare[child] = plain(schema[child])
    return bare


def _nests_deeper(raw: Json, levels: int) -> bool:
    row = [raw]
    for _ in range(levels):
        row = [child for each in row for child in _children(each)]
        if not row:
            return False
    return True


def _children(raw: Json) -> Iterable[Json]:
    if isinstance(raw, dict):
        return raw.values()
    return raw if isinstance(raw, list) else ()


def _refuse(place: str, why: str) -> NoReturn:
    raise SchemaRefused(f"{place}: {why}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
