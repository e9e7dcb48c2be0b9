"""The first table is that of what the `avro` package's checker passes over (or refuses wrongly)."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.schemas import compat, safety
from aios.schemas.compat import Level
from aios.schemas.safety import Schema

NO = object()


def _read(raw: Any) -> Schema:
    return safety.read(json.dumps(raw))


def _one(kind: Any, default: Any = NO, name: str = "a.R", field: str = "x", **more: Any) -> Schema:
    """A record of one field."""
    one = {"name": field, "type": kind, **more} | ({} if default is NO else {"default": default})
    return _read({"type": "record", "name": name, "fields": [one]})


def _logical(kind: str, logical: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": logical, **more}


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    return _logical("bytes", "decimal", precision=precision, scale=scale)


def _enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


LOGICAL = {
    "decimal of another scale": (_decimal(9, 2), _decimal(9, 3)),
    "decimal of another precision": (_decimal(9, 2), _decimal(10, 2)),
    "millis to micros": (_logical("long", "timestamp-millis"), _logical("long", "timestamp-micros")),
    "long to timestamp": ("long", _logical("long", "timestamp-millis")),
    "timestamp to long": (_logical("long", "timestamp-millis"), "long"),
    "string to uuid": ("string", _logical("string", "uuid")),
    "within a union": (["null", "long"], ["null", _logical("long", "timestamp-millis")]),
    "within an array": (
        {"type": "array", "items": "long"},
        {"type": "array", "items": _logical("long", "timestamp-millis")},
    ),
    "within a map": ({"type": "map", "values": _decimal(9, 2)}, {"type": "map", "values": _decimal(9, 3)}),
    "through a promotion": ("int", _logical("long", "timestamp-millis")),
}


@pytest.mark.parametrize(("old", "new"), LOGICAL.values(), ids=LOGICAL)
def test_another_logical_type_is_another_meaning(old: Any, new: Any) -> None:
    """The bytes would be read without complaint, and mean something else."""
    assert compat.unreadable(reader=_one(new), writer=_one(old))
    assert compat.unreadable(reader=_one(old), writer=_one(new))


def test_a_logical_type_within_nested_and_shared_records_is_compared() -> None:
    """Every named type is walked, and a pair only once."""

    def outer(inner: Any) -> Schema:
        shared = {"type": "record", "name": "S", "fields": [{"name": "at", "type": inner}]}
        fields = [{"name": "one", "type": shared}, {"name": "two", "type": {"type": "array", "items": "S"}}]
        return _read({"type": "record", "name": "R", "fields": fields})

    found = compat.unreadable(reader=outer(_logical("long", "timestamp-millis")), writer=outer("long"))
    assert found == ["schema.one.at: no logical type would be read as timestamp-millis"]


def test_a_default_of_the_wrong_type_never_gets_this_far() -> None:
    """The package's checker passes it over; it is refused when it is read."""
    with pytest.raises(safety.SchemaRefused):
        _one("int", "zzz")


def test_another_namespace_is_another_type_unless_it_says_so() -> None:
    """Avro's rules let unqualified names match; here a renamed type needs an alias."""
    old, new = _one("int", name="a.R"), _one("int", name="b.R")
    assert compat.unreadable(reader=new, writer=old) == [
        "schema: a.R would be read as b.R; a renamed type needs an alias"
    ]
    alias = {"type": "record", "name": "b.R", "aliases": ["a.R"], "fields": [{"name": "x", "type": "int"}]}
    assert compat.unreadable(reader=_read(alias), writer=old) == []


def test_a_rename_with_a_relative_alias_is_readable() -> None:
    """The package's checker says no, because it takes the alias for a full name."""
    old = _one("int", name="a.Old")
    new = _read({**json.loads(_one("int", name="a.New").text), "namespace": "a", "aliases": ["Old"]})
    assert compat.unreadable(reader=new, writer=old) == []


def test_a_new_symbol_needs_a_default_of_the_enum_on_the_readers_side() -> None:
    """An old reader without one cannot read the new symbol."""
    old, new = _one(_enum("A")), _one(_enum("A", "B"))
    assert compat.unreadable(reader=old, writer=new)
    assert compat.unreadable(reader=new, writer=old) == []
    assert compat.unreadable(reader=_one(_enum("A", default="A")), writer=new) == []


def test_an_enum_field_added_with_the_enums_own_default_only_is_refused() -> None:
    """The default of the field decides, not that of its type; fastavro agrees."""
    empty = _read({"type": "record", "name": "a.R", "fields": []})
    assert compat.unreadable(reader=_one(_enum("A", default="A")), writer=empty)


def test_a_reader_without_the_null_branch_is_refused() -> None:
    """fastavro would read the records that are not null, and fail at the first that is."""
    assert compat.unreadable(reader=_one("int"), writer=_one(["null", "int"]))


ORDINARY = {
    "a field with a default": (_one("int"), {"name": "y", "type": "string", "default": ""}, True, True),
    "a field without one": (_one("int"), {"name": "y", "type": "string"}, False, True),
}


@pytest.mark.parametrize(("old", "field", "backward", "forward"), ORDINARY.values(), ids=ORDINARY)
def test_added_fields(old: Schema, field: Any, backward: bool, forward: bool) -> None:
    """A new reader needs a default for what old records do not have; an old reader passes over what it has not."""
    raw = json.loads(old.text)
    raw["fields"].append(field)
    new = _read(raw)
    assert (not compat.unreadable(reader=new, writer=old)) is backward
    assert (not compat.unreadable(reader=old, writer=new)) is forward


@pytest.mark.parametrize(
    ("writer", "reader", "readable"),
    [
        ("int", "long", True),
        ("int", "double", True),
        ("long", "float", True),
        ("float", "double", True),
        ("string", "bytes", True),
        ("bytes", "string", True),
        ("long", "int", False),
        ("double", "float", False),
        ("int", "string", False),
        ("int", ["null", "int"], True),
        ("int", ["null", "double"], True),
        ("boolean", "int", False),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, True),
        ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8}, False),
    ],
)
def test_promotions(writer: Any, reader: Any, readable: bool) -> None:
    """As Avro's rules have them."""
    assert (compat.unreadable(reader=_one(reader), writer=_one(writer)) == []) is readable


def test_what_the_checker_cannot_parse_is_a_problem_and_no_error() -> None:
    """The package refuses an `order` that fastavro does not look at."""
    odd = _one("int", order="sideways")
    found = compat.unreadable(reader=_one("long"), writer=odd)
    assert len(found) == 1
    assert found[0].startswith("cannot be compared")


def _versions(*kinds: Any) -> dict[int, Schema]:
    return {number: _one(kind, 0) for number, kind in enumerate(kinds, start=1)}


@pytest.mark.parametrize(
    ("level", "allowed"),
    [
        (Level.NONE, {"int", "long", "double", "string"}),
        (Level.BACKWARD, {"long", "double"}),  # reads what version 2 (long) wrote
        (Level.BACKWARD_TRANSITIVE, {"long", "double"}),
        (Level.FORWARD, {"int", "long"}),  # version 2 reads it
        (Level.FORWARD_TRANSITIVE, {"int"}),  # version 1 (int) too
        (Level.FULL, {"long"}),
        (Level.FULL_TRANSITIVE, set()),
    ],
)
def test_each_level_asks_for_its_own(level: Level, allowed: set[str]) -> None:
    """Against the last version or all of them, in one direction or both."""
    old = _versions("int", "long")
    may = {kind for kind in ("int", "long", "double") if not compat.problems(_one(kind, 0), old, level)}
    assert may == allowed - {"string"}
    assert (compat.problems(_one("string", ""), old, level) == []) is ("string" in allowed)


def test_a_field_dropped_and_added_again_with_another_type_is_seen() -> None:
    """The hole of the levels that look at the last version only."""
    first = _one("int", 0)
    second = _read({"type": "record", "name": "a.R", "fields": []})
    again = _one("string", "")
    assert compat.problems(again, {1: first, 2: second}, Level.FULL) == []
    assert compat.problems(again, {1: first, 2: second}, Level.FULL_TRANSITIVE)


def test_a_fan_of_shared_records_is_compared_in_time() -> None:
    """Thirty records, each twice an array of the one before: 2^30 ways down, every pair once."""

    def fan(leaf: str) -> Schema:
        inner: Any = {"type": "record", "name": "L0", "fields": [{"name": "x", "type": leaf}]}
        for level in range(1, 30):
            one = {"name": "a", "type": {"type": "array", "items": inner}}
            two = {"name": "b", "type": {"type": "array", "items": f"L{level - 1}"}}
            inner = {"type": "record", "name": f"L{level}", "fields": [one, two]}
        return _read(inner)

    assert compat.unreadable(reader=fan("long"), writer=fan("int")) == []


KINDS = st.sampled_from(
    ["int", "long", "double", "string", "bytes", "boolean", ["null", "int"], ["null", "string"], ["int", "string"]]
    + [{"type": "array", "items": item} for item in ("int", "string")]
    + [{"type": "map", "values": "long"}, _enum("A", "B"), _enum("A", "B", "C", default="A")]
)
DEFAULTS = {"int": 1, "long": 1, "double": 1.5, "string": "d", "bytes": "d", "boolean": True}


@st.composite
def _records(draw: st.DrawFn) -> Schema:
    fields = []
    for name in draw(st.lists(st.sampled_from("abc"), unique=True)):
        kind = draw(KINDS)
        field = {"name": name, "type": kind}
        if isinstance(kind, str) and draw(st.booleans()):
            field["default"] = DEFAULTS[kind]
        if isinstance(kind, dict) and kind["type"] == "enum":
            field["type"] = {**kind, "name": f"E_{name}"}
        fields.append(field)
    return _read({"type": "record", "name": "a.R", "fields": fields})


WIDER: dict[str, Any] = {
    "int": st.sampled_from(["int", "long", "double", ["null", "long"]]),
    "long": st.sampled_from(["long", "double"]),
    "string": st.sampled_from(["string", "bytes", ["int", "string"]]),
    "bytes": st.sampled_from(["bytes", "string"]),
}


@st.composite
def _successors(draw: st.DrawFn, before: Schema) -> Schema:
    """The same record with fields dropped, widened, reordered, renamed and added."""
    fields = []
    for one in before.resolved["fields"]:
        what = draw(st.sampled_from(["keep", "keep", "widen", "drop", "rename"]))
        if what == "drop":
            continue
        kind = draw(WIDER.get(str(one["type"]), st.just(one["type"]))) if what == "widen" else one["type"]
        named = {"name": f"{one['name']}_new", "aliases": [one["name"]]} if what == "rename" else {"name": one["name"]}
        fields.append({"type": kind, **named})
    if draw(st.booleans()):
        fields.append({"name": "added", "type": ["null", "string"], "default": None})
    return _read({"type": "record", "name": "a.R", "fields": draw(st.permutations(fields))})


VALUES: dict[str, Any] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=5).map(lambda value: value.hex().encode()),  # read as string it must be UTF-8
    "boolean": st.booleans(),
    "null": st.none(),
}


def _value(draw: Any, kind: Any) -> Any:
    if isinstance(kind, list):
        return _value(draw, draw(st.sampled_from(kind)))
    if isinstance(kind, dict):
        match kind["type"]:
            case "array":
                return [_value(draw, kind["items"]) for _ in range(draw(st.integers(0, 3)))]
            case "map":
                return {key: _value(draw, kind["values"]) for key in draw(st.sets(st.text(max_size=2), max_size=2))}
            case _:
                return draw(st.sampled_from(kind["symbols"]))
    return draw(VALUES[kind])


def _widened(said: Any, kind: Any) -> Any:
    if kind == "double":
        return float(said)
    if kind == "bytes" and isinstance(said, str):
        return said.encode()
    if kind == "string" and isinstance(said, bytes):
        return said.decode()
    return said


@settings(max_examples=250, deadline=None)
@given(st.data(), _records())
def test_what_is_called_readable_is_read_and_means_the_same(data: st.DataObject, writer: Schema) -> None:
    """Any record of the writer's schema, read with a later one's, by the package that reads in service."""
    reader = data.draw(_successors(writer))
    assert compat.unreadable(reader=reader, writer=writer) == []
    said = {one["name"]: _value(data.draw, one["type"]) for one in writer.resolved["fields"]}
    read = _reread(said, writer, reader)
    for one in reader.resolved["fields"]:
        source = (one.get("aliases") or [one["name"]])[0]
        assert read[one["name"]] == (_widened(said[source], one["type"]) if source in said else one["default"])


@settings(max_examples=150, deadline=None)
@given(st.data(), _records(), _records())
def test_what_is_called_readable_is_read(data: st.DataObject, writer: Schema, reader: Schema) -> None:
    """Of any two schemas: if the gate lets them meet, no record of the one fails in the other."""
    if not compat.unreadable(reader=reader, writer=writer):
        said = {one["name"]: _value(data.draw, one["type"]) for one in writer.resolved["fields"]}
        assert set(_reread(said, writer, reader)) == {one["name"] for one in reader.resolved["fields"]}


def _reread(said: dict[str, Any], writer: Schema, reader: Schema) -> dict[str, Any]:
    out = BytesIO()
    fastavro.schemaless_writer(out, writer.parsed, said)
    out.seek(0)
    read: Any = fastavro.schemaless_reader(out, writer.parsed, reader.parsed)
    return dict(read)
