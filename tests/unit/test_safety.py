"""Schemas that could be used as a bomb are refused, and all others are read."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.schemas import safety
from aios.schemas.errors import SchemaRefused


def _record(*types: Any, name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": f"f{i}", "type": t} for i, t in enumerate(types)]}


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _map(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def _free(levels: int) -> dict[str, Any]:
    """Records of ten fields of records of ten fields …: 10^levels nulls in no bytes."""
    inner: Any = "null"
    for level in range(levels):
        inner = _record(inner, *([f"L{level - 1}" if level else "null"] * 9), name=f"L{level}")
    return dict(inner)


def _nested(depth: int) -> Any:
    inner: Any = "int"
    for _ in range(depth):
        inner = _array(inner)
    return inner


SMALL_FIXED = {"type": "fixed", "name": "Nothing", "size": 0}

BOMBS = {
    "a record that contains itself": (_record(["null", "R"]), r"schema\.f0\[1\]: R contains itself"),
    "through an array": (_record(_array("R")), r"schema\.f0\.items: R contains itself"),
    "through another record": (_record(_record(_map("R"), name="S")), r"schema\.f0\.f0\.values: R contains itself"),
    "by its full name": (
        {"type": "record", "name": "R", "namespace": "a.b", "fields": [{"name": "f0", "type": ["null", "a.b.R"]}]},
        r"a\.b\.R contains itself",
    ),
    "an array of nulls": (_record(_array("null")), r"schema\.f0: items of zero width"),
    "a map of nulls": (_record(_map("null")), r"values of zero width"),
    "an array of empty records": (_record(_array(_record(name="E"))), "items of zero width"),
    "an array of fixed of no bytes": (_record(_array(SMALL_FIXED)), "items of zero width"),
    "an array of a named empty record": (_record(_record(name="E"), _array("E")), r"schema\.f1: items of zero"),
    "records of ten of ten …": (_free(5), "records and nulls, at most"),
    "the same as items": (_array(_record("int", _free(3), name="I")), "records and nulls in 1 bytes"),
    "too deep": (_nested(safety.DEPTH_MAX + 1), "nested deeper"),
    "a deep default": ({**_record("int"), "doc": [[[["x"]]]], "x": json.loads("[" * 300 + "]" * 300)}, "nested deeper"),
    "fastavro's own mark": ({**_record("int"), "__fastavro_parsed": True}, "mark of a parsed schema"),
    "its named schemas": ({**_record("int"), "__named_schemas": {}}, "mark of a parsed schema"),
}

INVALID = {
    "no such type": (_record("nope"), "unknown type 'nope'"),
    "a number": (7, "a type must be"),
    "no fields": ({"type": "record", "name": "R"}, "needs `fields`"),
    "no name": ({"type": "record", "fields": []}, "needs a `name`"),
    "a dash in a name": (_record(name="a-b"), "needs a `name`"),
    "a dash in a field": (
        {"type": "record", "name": "R", "fields": [{"name": "a-b", "type": "int"}]},
        "letters, digits",
    ),
    "an empty part of a name": (_record(name="a..b"), "needs a `name`"),
    "a bad namespace": ({**_record(), "namespace": "a b"}, "needs a `name`"),
    "a bad alias": ({**_record(), "aliases": ["x y"]}, "aliases"),
    "defined twice": (_record(_record(name="S"), _record(name="S")), "S is defined twice"),
    "a primitive's name": (_record(name="string"), "string is defined twice"),
    "an empty union": (_record([]), "a union needs a branch"),
    "a union in a union": (_record([["int"]]), "a union directly within a union"),
    "a fixed without size": ({"type": "fixed", "name": "F", "size": "4"}, "`size` must be"),
    "a wrong default": (
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "default": "zzz"}]},
        "schema.a: its default is no int",
    ),
    "a default of another branch": (
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "int"], "default": "x"}]},
        "invalid schema",
    ),
    "symbols twice": ({"type": "enum", "name": "E", "symbols": ["A", "A"]}, "invalid schema"),
}


@pytest.mark.parametrize(("schema", "said"), BOMBS.values(), ids=BOMBS)
def test_what_could_be_used_as_a_bomb_is_refused(schema: Any, said: str) -> None:
    """Recursive, weightless, or larger in memory than on the wire: refused, naming the place."""
    with pytest.raises(SchemaRefused, match=said):
        safety.read(json.dumps(schema))


@pytest.mark.parametrize(("schema", "said"), INVALID.values(), ids=INVALID)
def test_what_is_no_schema_is_refused(schema: Any, said: str) -> None:
    """The checkers of other packages pass over some of these."""
    with pytest.raises(SchemaRefused, match=said):
        safety.read(json.dumps(schema))


@pytest.mark.parametrize(
    "text", ["", "{", "nope", "\x00", '{"type":"fixed","name":"F","size":NaN}', "[" * 100_000, '"' * 5, "null", "true"]
)
def test_text_that_is_no_json_schema_is_refused(text: str) -> None:
    """Never another error."""
    with pytest.raises(SchemaRefused):
        safety.read(text)


def test_a_long_text_is_refused_before_it_is_parsed() -> None:
    """The bound is in bytes."""
    with pytest.raises(SchemaRefused, match="longer than"):
        safety.read('"' + "é" * (safety.TEXT_BYTES_MAX // 2) + '"')


SAFE = [
    _record("int", _array("int"), _map("double"), ["null", "string"], _array(["null", "long"])),
    _record(_record("int", name="S"), _array("S"), _map(_record("boolean", name="T"))),
    _record(_free(3)),
    _nested(20),
    {"type": "fixed", "name": "F", "size": 16},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    "string",
    ["null", "int"],
]


@pytest.mark.parametrize("schema", SAFE)
def test_ordinary_schemas_pass(schema: Any) -> None:
    """The ban hits bombs only."""
    assert safety.read(json.dumps(schema)).text


def test_names_and_aliases_are_resolved_and_the_rest_is_kept() -> None:
    """Two ways to write one schema are one; documentation and properties stay."""
    short = {
        "type": "record",
        "name": "R",
        "namespace": "a.b",
        "aliases": ["Old"],
        "fields": [
            {"name": "s", "type": {"type": "record", "name": "S", "fields": []}, "doc": "d", "confluent:tags": ["PII"]},
            {"name": "t", "type": "S"},
        ],
    }
    full = json.loads(json.dumps(short))
    del full["namespace"]
    full["name"], full["aliases"], full["fields"][0]["type"]["name"] = "a.b.R", ["a.b.Old"], "a.b.S"
    full["fields"][1]["type"] = "a.b.S"
    read = safety.read(json.dumps(short))
    assert (read.resolved, read.full_name) == (full, "a.b.R")
    assert read.resolved["fields"][0]["confluent:tags"] == ["PII"]


def test_a_fan_of_shared_types_is_weighed_in_time() -> None:
    """Sixty records, each twice an array of the one before: 2^60 ways down, each type looked at once."""
    inner: Any = _record("int", name="L0")
    for level in range(1, 30):
        inner = _record(_array(inner), _array(f"L{level - 1}"), name=f"L{level}")
    started = time.monotonic()
    safety.read(json.dumps(inner))
    assert time.monotonic() - started < 5


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["int", "null", "record", "array", "R", "a.b", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "name", "fields", "items", "values", "size", "symbols", "aliases", "default", "namespace"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(raw: Any) -> None:
    """No other error leaves, whatever stands where."""
    with contextlib.suppress(SchemaRefused):
        assert safety.read(json.dumps(raw)).parsed is not None
