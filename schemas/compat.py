"""May this schema follow those? Pure.

Enters: a new schema and the older ones of its subject, oldest first. Leaves: the problems, empty when it may.
Guaranteed: at FULL_TRANSITIVE, every reader of a subject can read every record of it, older and newer, and
means the same by it. The `avro` package's checker decides what Avro's rules decide; it passes over three
changes that are refused here (each with a test):
  - a logical type that differs (decimal of another scale, millis → micros, long → timestamp): the same bytes
    would silently mean something else,
  - a default that is not of its field's type: safety.read refuses such a schema before it comes here,
  - a name that differs only in its namespace, without an alias;
and it refuses one that it should not: a rename with an alias relative to the namespace (safety.read completes aliases).
Rejected: a checker of our own, for the twenty ordinary cases that the package has right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

import avro.compatibility
import avro.errors
import avro.schema

from aios.schemas.safety import ITEMS, NAMED, Json, Schema, plain

PARSED_MAX = 256  # schemas kept as the package parsed them: a new version is compared with all before it
PROMOTIONS: Mapping[str, tuple[str, ...]] = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


class Level(StrEnum):
    """What a new version of a subject must be able to do; Confluent's names."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"  # read what the last version wrote
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"  # be read by the last version
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"  # both, against every version: replays read years back


def problems(new: Schema, old: Mapping[int, Schema], level: Level = Level.FULL_TRANSITIVE) -> list[str]:
    """Why `new` may not follow `old` (by version number), one sentence a place; empty: it may."""
    found: list[str] = []
    for number in _against(sorted(old), level):
        if level.startswith(("BACKWARD", "FULL")):
            found += [f"cannot read version {number}: {why}" for why in unreadable(reader=new, writer=old[number])]
        if level.startswith(("FORWARD", "FULL")):
            found += [f"version {number} cannot read it: {why}" for why in unreadable(reader=old[number], writer=new)]
    return found


def unreadable(*, reader: Schema, writer: Schema) -> list[str]:
    """Why `reader` does not read what `writer` wrote, or would mean something else by it; empty: it does."""
    if reader.resolved == writer.resolved:
        return []
    try:
        verdict = avro.compatibility.ReaderWriterCompatibilityChecker().get_compatibility(
            _parse(reader), _parse(writer)
        )
    except avro.errors.AvroException as error:  # the package is stricter than fastavro, e.g. about a field's `order`
        return [f"cannot be compared: {error}"]
    if verdict.compatibility is not avro.compatibility.SchemaCompatibilityType.compatible:
        places = zip(sorted(verdict.messages), sorted(verdict.locations), strict=False)
        return [f"{why} (at {at})" for why, at in places] or ["incompatible"]
    return list(_Meanings(reader.resolved, writer.resolved).differences())


def _against(numbers: Sequence[int], level: Level) -> Sequence[int]:
    if level is Level.NONE:
        return ()
    return numbers if level.endswith("TRANSITIVE") else numbers[-1:]


@lru_cache(maxsize=PARSED_MAX)
def _parse(schema: Schema) -> Any:
    """Without logical types, which _Meanings compares; the package warns of those it does not know."""
    return avro.schema.make_avsc_object(plain(schema.resolved), validate_enum_symbols=False)


class _Meanings:
    """Walks two schemas that Avro calls compatible, side by side, for what Avro does not look at."""

    def __init__(self, reader: Json, writer: Json) -> None:
        self._roots = (reader, writer)
        self._reader_types: dict[str, Json] = {}
        self._writer_types: dict[str, Json] = {}
        _collect(reader, self._reader_types)
        _collect(writer, self._writer_types)
        self._compared: set[tuple[str, str]] = set()  # pairs of named types: each is walked once

    def differences(self) -> Iterator[str]:
        return self._compare(*self._roots, "schema")

    def _compare(self, reader: Json, writer: Json, place: str) -> Iterator[str]:
        reader, writer = _defined(reader, self._reader_types), _defined(writer, self._writer_types)
        if isinstance(writer, list):
            for branch in writer:
                yield from self._compare(reader, branch, place)
            return
        if isinstance(reader, list):
            reader = self._branch(reader, writer)
        yield from _here(reader, writer, place)
        if _kind(reader) == _kind(writer) == "record":
            yield from self._records(reader, writer, place)
        elif _kind(reader) == _kind(writer) and _kind(reader) in ITEMS:
            child = ITEMS[_kind(reader)]
            yield from self._compare(reader[child], writer[child], f"{place}.{child}")

    def _records(self, reader: Json, writer: Json, place: str) -> Iterator[str]:
        pair = (reader["name"], writer["name"])
        if pair in self._compared:
            return
        self._compared.add(pair)
        written = {one["name"]: one for one in writer["fields"]}
        for one in reader["fields"]:
            source = next((written[name] for name in (one["name"], *one.get("aliases", ())) if name in written), None)
            if source is not None:
                yield from self._compare(one["type"], source["type"], f"{place}.{one['name']}")

    def _branch(self, union: Sequence[Json], writer: Json) -> Json:
        """The branch of a reader's union that takes what was written: its own type, else a promotion."""
        branches = [_defined(branch, self._reader_types) for branch in union]
        own = [branch for branch in branches if _kind(branch) == _kind(writer)]
        named = [branch for branch in own if _kind(branch) in NAMED and _takes(branch, writer["name"])]
        promoted = [
            branch for kind in PROMOTIONS.get(_kind(writer), ()) for branch in branches if _kind(branch) == kind
        ]
        return (named or own or promoted)[0]


def _collect(schema: Json, types: dict[str, Json]) -> None:
    """Every named type of a resolved schema, by full name."""
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, types)
    elif isinstance(schema, dict):
        if _kind(schema) in NAMED:
            types[schema["name"]] = schema
        for one in schema.get("fields", ()):
            _collect(one["type"], types)
        if _kind(schema) in ITEMS:
            _collect(schema[ITEMS[_kind(schema)]], types)


def _defined(schema: Json, types: Mapping[str, Json]) -> Json:
    """The definition of a type that is only named."""
    name = _kind(schema)
    return types.get(name, schema) if name not in NAMED else schema


def _kind(schema: Json) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _takes(reader: Json, name: str) -> bool:
    return bool(reader["name"] == name or name in reader.get("aliases", ()))


def _here(reader: Json, writer: Json, place: str) -> Iterator[str]:
    if _logical(reader) != _logical(writer):
        yield f"{place}: {_logical(writer) or 'no logical type'} would be read as {_logical(reader) or 'none'}"
    if _kind(reader) == _kind(writer) and _kind(reader) in NAMED and not _takes(reader, writer["name"]):
        yield f"{place}: {writer['name']} would be read as {reader['name']}; a renamed type needs an alias"


def _logical(schema: Json) -> str:
    """Logical type with what belongs to it, e.g. decimal(9,2); empty if none."""
    if not isinstance(schema, dict) or "logicalType" not in schema:
        return ""
    if "precision" in schema:
        return f"{schema['logicalType']}({schema['precision']},{schema.get('scale', 0)})"
    return str(schema["logicalType"])
