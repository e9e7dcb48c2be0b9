"""What a dead letter holds, for a person: decoded with the schema it names, else as hex, without personal data.

Enters: the record, and the registry. Leaves: its value as plain JSON with the schema's name, its headers, and what was
left out. Guaranteed: any bytes are shown somehow, in time and memory proportional to them (schemas/safety.py refuses
schemas that are bombs); unless personal data is asked for, nothing is shown of a value but fields that the contract
knows and does not tag PII, and of bytes that nobody can read only those of the frame; of a producer's own headers only
the names. The caller audits whoever asks for more. Keys are shown, as in every list: without them nobody finds a case.

Rejected: reading with our contract instead of the writer's schema (what does not fit is just what is looked for);
redaction by looks (a name looks like nothing in particular).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from aios.dlq.envelope import PREFIX
from aios.schemas import contracts, safety
from aios.schemas.codec import MAGIC, PREFIX_BYTES, SchemaSource
from aios.schemas.contracts import PERSONAL
from aios.schemas.errors import SchemaMismatch, SchemaRefused
from aios.schemas.models import EVENTS
from aios.schemas.safety import Schema
from aios.streams import topology
from aios.streams.record import Headers, Record

HEX_BYTES_MAX = 4 << 10  # of bytes that are shown as hex
HIDDEN = "[redacted]"
SCHEMAS_MAX = 1_024  # kept by id; beyond it the oldest is forgotten

_OURS = (PREFIX, "aios-", "aios.", "ce_", "traceparent", "tracestate", "content-type")
_CONTRACTS = {contracts.working(name).full_name: name for name in EVENTS}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A value as its writer's schema has it: plain values, bytes as bytes."""

    schema: Schema
    schema_id: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """value: as JSON, None if it does not decode; then problem says why, and hex is the beginning of its bytes.

    redacted: paths of what was left out of the value, and names of headers.
    """

    schema: str
    schema_id: int | None
    value: Any
    problem: str
    hex: str
    bytes: int
    headers: Mapping[str, str]
    redacted: tuple[str, ...]


class Reader:
    """One per process; keeps the schemas. Usable from several threads."""

    def __init__(self, registry: SchemaSource) -> None:
        self._registry = registry
        self._schemas: dict[int, Schema] = {}

    def decode(self, value: bytes | None) -> Decoded:
        """Raises SchemaMismatch with the reason, or Unavailable."""
        if not value or len(value) < PREFIX_BYTES or value[0] != MAGIC:
            raise SchemaMismatch("not in Confluent's framing" if value else "there is no value")
        schema_id = int.from_bytes(value[1:PREFIX_BYTES], "big")
        schema = self._schema(schema_id)
        stream = BytesIO(value)
        stream.seek(PREFIX_BYTES)
        try:
            said = schemaless_reader(stream, schema.parsed, None)
        except Exception as error:  # whatever fastavro meets, the bytes are not Avro of this schema
            raise SchemaMismatch(f"does not decode with schema {schema_id}: {type(error).__name__}") from error
        if stream.tell() != len(value):
            raise SchemaMismatch(f"{len(value) - stream.tell()} bytes are left over after schema {schema_id}")
        return Decoded(schema, schema_id, said)

    def value(self, record: Record) -> Any:
        """For expressions: decoded, None if it does not decode. Raises Unavailable."""
        try:
            return self.decode(record.value).value
        except SchemaMismatch:
            return None

    def show(self, record: Record, original: Record, topic: str, *, personal: bool) -> Shown:
        """record: the dead letter. original: the record that holds its bytes. topic: in which it first stood.

        personal: show everything; the caller audits it. Raises Unavailable.
        """
        headers, hidden = _headers(record.headers, personal=personal)
        size, value = len(original.value or b""), original.value or b""
        try:
            decoded = self.decode(original.value)
        except SchemaMismatch as error:
            shown = value[:HEX_BYTES_MAX] if personal else value[:PREFIX_BYTES]
            return Shown(
                schema="",
                schema_id=None,
                value=None,
                problem=str(error),
                hex=shown.hex(),
                bytes=size,
                headers=headers,
                redacted=(*(("value",) if size > len(shown) and not personal else ()), *hidden),
            )
        said, paths = plain(decoded.value), list[str]()
        if not personal:
            said = _redacted(decoded.schema.resolved, said, "value", paths, _known(decoded.schema.full_name, topic))
        return Shown(
            schema=decoded.schema.full_name,
            schema_id=decoded.schema_id,
            value=said,
            problem="",
            hex="",
            bytes=size,
            headers=headers,
            redacted=(*paths, *hidden),
        )

    def _schema(self, schema_id: int) -> Schema:
        schema = self._schemas.get(schema_id)
        if schema is None:
            try:
                schema = safety.read(self._registry.by_id(schema_id))
            except SchemaRefused as error:
                raise SchemaMismatch(f"schema {schema_id} is unsafe to read with: {error}") from error
            if len(self._schemas) >= SCHEMAS_MAX:
                self._schemas.pop(next(iter(self._schemas)), None)
            self._schemas[schema_id] = schema
        return schema


def plain(value: Any) -> Any:
    """For JSON: bytes as hex, numbers that are none as text."""
    match value:
        case dict():
            return {str(name): plain(one) for name, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case bytes():
            return f"0x{value[:HEX_BYTES_MAX].hex()}"
        case float() if not math.isfinite(value):
            return str(value)
    return value


def _known(full_name: str, topic: str) -> frozenset[str]:
    """Fields that may be shown: of the contract of that name, else of what the topic carries."""
    of = _CONTRACTS.get(full_name)
    declared = topology.all_topics().get(topic)
    names = (of,) if of is not None else declared.contracts if declared is not None else ()
    return frozenset(field for name in names for field in _harmless(name))


def _harmless(contract: str) -> Iterator[str]:
    hidden = contracts.personal_fields(contract)
    return (str(one["name"]) for one in contracts.working(contract).resolved["fields"] if one["name"] not in hidden)


def _redacted(schema: Any, value: Any, path: str, paths: list[str], known: frozenset[str] | None) -> Any:
    """known: of the outermost record; None: within one, where only the writer's tags count."""
    fields = {one["name"]: one for one in _fields(schema)}
    if isinstance(value, dict) and fields:
        return {name: _field(fields.get(name), name, one, path, paths, known) for name, one in value.items()}
    if known is not None or (isinstance(value, dict) and not _items(schema)):  # nobody knows what it is
        paths.append(path)
        return HIDDEN
    if isinstance(value, dict):
        return {name: _redacted(_items(schema), one, f"{path}.{name}", paths, None) for name, one in value.items()}
    if isinstance(value, list):
        return [_redacted(_items(schema), one, path, paths, None) for one in value]
    return value


def _field(  # noqa: PLR0917 - what a field is judged by
    field: Any, name: str, value: Any, path: str, paths: list[str], known: frozenset[str] | None
) -> Any:
    tagged = field is None or PERSONAL in field.get("confluent:tags", ())
    if tagged or (known is not None and name not in known):
        paths.append(f"{path}.{name}")
        return HIDDEN
    return _redacted(field["type"], value, f"{path}.{name}", paths, None)


def _branches(schema: Any) -> Iterator[Any]:
    """The type itself, or each of a union's."""
    for one in schema if isinstance(schema, list) else [schema]:
        if isinstance(one, dict) and isinstance(one.get("type"), dict | list):
            yield from _branches(one["type"])
        else:
            yield one


def _fields(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Of every record that may stand here; of a name twice, the one that is tagged comes last."""
    found = [one for branch in _branches(schema) if isinstance(branch, dict) for one in branch.get("fields", ())]
    yield from sorted(found, key=lambda one: PERSONAL in one.get("confluent:tags", ()))


def _items(schema: Any) -> list[Any]:
    """What may stand in an array or a map."""
    inner: list[Any] = []
    for branch in _branches(schema):
        if isinstance(branch, dict):
            one = branch.get("items", branch.get("values"))
            inner += one if isinstance(one, list) else [] if one is None else [one]
    return inner


def _headers(headers: Headers, *, personal: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """As text, the last of a name; a producer's own without what they say."""
    said: dict[str, str] = {}
    hidden: dict[str, None] = {}
    for name, value in headers:
        if personal or name.startswith(_OURS):
            said[name] = (value or b"").decode("utf-8", "backslashreplace")
        else:
            said[name] = HIDDEN
            hidden[f"headers.{name}"] = None
    return said, tuple(hidden)
