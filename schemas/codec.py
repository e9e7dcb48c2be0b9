"""Confluent framing: bytes ⇄ event.

Enters: an event and its topic, or bytes from anywhere. Leaves: magic 0, schema id (4 bytes), Avro; or the event.
Guaranteed: what cannot be read becomes a SchemaMismatch with its reason, whatever the bytes are, in time and
memory proportional to their number (schemas/safety.py); no byte is left over; an event read is of the asked
contract, and means what its writer meant (schemas/compat.py). A registry that is away raises Unavailable.
Cost: a few µs a record, three times that when its writer had another version; schemas, ids and field lists are
looked up once and kept (READINGS_MAX).
Rejected: framing V1 (magic 1 and a GUID; nobody here writes it), reading past a wrong record name, logical
types as Python objects (times stay Unix ms).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol, TypeVar, cast

from fastavro import schemaless_reader, schemaless_writer

from aios.schemas import compat, contracts, safety, twins, writing
from aios.schemas.errors import Reason, SchemaMismatch, SchemaRefused
from aios.schemas.models import EVENTS, Event
from aios.schemas.plain import Plain
from aios.schemas.safety import Json, Schema
from aios.schemas.writing import INT_MAX, INT_MIN, Writer

MAGIC = 0
PREFIX_BYTES = 5  # magic and schema id
ENVELOPE_BYTES_MAX = 8 << 10  # of a topic's bytes_max, left for key, headers and framing of the batch
VALUE_BYTES_MAX = (1 << 20) - ENVELOPE_BYTES_MAX  # of a record we read: what encode lets out
READINGS_MAX = 4096  # writer schemas remembered, per contract or not; beyond it the oldest is forgotten

E = TypeVar("E", bound=Event)


class SchemaSource(Protocol):
    """Where schema ids come from and lead to; RegistrySource in service, a fake in unit tests."""

    def by_id(self, schema_id: int) -> str:
        """The schema's JSON text. Raises SchemaMismatch(UNKNOWN_SCHEMA) or Unavailable."""
        ...

    def id_of(self, subject: str, schema: str) -> int:
        """Id under which the subject has this schema. Raises SchemaRefused if it does not, or Unavailable."""
        ...


class Carrier(Protocol):
    """What the codec must know of a topic; streams/topics.py has them."""

    @property
    def name(self) -> str: ...
    @property
    def contracts(self) -> tuple[str, ...]: ...
    @property
    def bytes_max(self) -> int: ...
    def subject(self, contract: str) -> str: ...


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one contract's twin becomes bytes, and fields become the twin, worked out once."""

    make: Callable[..., Event]
    schema: Schema
    write: Writer
    ints: tuple[str, ...]  # 32 bits on the wire, which fastavro does not check
    arrays: tuple[str, ...]  # list on the wire, tuple in the twin

    @classmethod
    def of(cls, contract: str) -> _Shape:
        schema = contracts.working(contract)
        return cls(
            make=twins.maker(EVENTS[contract]),
            schema=schema,
            write=writing.event_writer(schema),
            ints=_fields(schema, lambda kind: kind == "int"),
            arrays=_fields(schema, lambda kind: isinstance(kind, dict) and kind["type"] == "array"),
        )

    def event(self, fields: dict[str, Any]) -> Event:
        for name in self.ints:
            if not INT_MIN <= fields[name] <= INT_MAX:
                raise ValueError(f"{name} is no 32-bit number")
        for name in self.arrays:
            fields[name] = tuple(fields[name])
        return self.make(**fields)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One writer schema, read as one contract. reader: None when both write the same bytes."""

    writer: Json
    reader: Json | None
    shape: _Shape


class Codec:
    """Encodes and decodes the events of our topics; one per process is enough, usable from several threads."""

    def __init__(self, registry: SchemaSource) -> None:
        self._registry = registry
        self._shapes: dict[type[Event], _Shape] = {}
        self._prefixes: dict[tuple[str, object], bytes] = {}  # by topic, and twin or schema
        self._writers: dict[int, Schema] = {}
        self._readings: dict[tuple[int, type[Event]], _Reading] = {}
        self._plain: dict[tuple[int, Schema], tuple[Json, Json | None]] = {}  # writer and reader, as in _Reading

    def warm(self, topics: Iterable[Carrier]) -> None:
        """Look up the schema ids of these topics now, so that no record waits for the registry."""
        for topic in topics:
            for contract in topic.contracts:
                self._prefix(topic, EVENTS[contract])

    def warm_reading(self, topics: Iterable[Carrier]) -> None:
        """The same for what is read: of these topics' own schemas, as this release writes them."""
        for topic in topics:
            for contract in topic.contracts:
                kind = EVENTS[contract]
                self._reading(self._registry.id_of(topic.subject(contract), self._shape(kind).schema.text), kind)

    def encode(self, topic: Carrier, event: Event) -> bytes:
        """Bytes of one event for its topic.

        Raises SchemaMismatch: CONTRACT_BROKEN if a value does not fit its field, OVERSIZE if the whole does not
        fit the topic. Raises SchemaRefused if the topic's subject does not have the contract, Unavailable, and
        ValueError if the topic does not carry it.
        """
        prefix = self._prefixes.get((topic.name, _writer_of(event))) or self._prefix_of(topic, event)
        try:
            value = prefix + (
                _plain_bytes(event) if isinstance(event, Plain) else self._shapes[type(event)].write(event)
            )
        except Exception as error:  # whatever is met, a value does not fit its field
            why = f"{event.contract} does not hold these values: {type(error).__name__}"
            raise SchemaMismatch(why, Reason.CONTRACT_BROKEN) from error
        if len(value) > topic.bytes_max - ENVELOPE_BYTES_MAX:
            raise SchemaMismatch(f"{len(value)} bytes are too many for {topic.name}", Reason.OVERSIZE)
        return value

    def decode(self, value: bytes | None, expected: type[E]) -> E:
        """The event in these bytes. Raises SchemaMismatch with the reason, or Unavailable."""
        schema_id = _schema_id(value)
        reading = self._readings.get((schema_id, expected)) or self._reading(schema_id, expected)
        return cast(E, _read(cast(bytes, value), reading))

    def is_known(self, value: bytes | None, expected: type[Event]) -> bool:
        """Whether decode() of these bytes asks nobody. Raises SchemaMismatch where they name no schema."""
        return (_schema_id(value), expected) in self._readings

    def look_up(self, value: bytes | None, expected: type[Event]) -> None:
        """Ask the registry now for what decode() of these bytes needs. Raises as decode."""
        self._reading(_schema_id(value), expected)

    def decode_plain(self, value: bytes | None, contract: str, schema: Schema) -> Plain:
        """The event in these bytes, of a contract without a twin. Raises as decode."""
        schema_id = _schema_id(value)
        writer, reader = self._plain.get((schema_id, schema)) or self._plain_reading(schema_id, contract, schema)
        fields = _fields_of(cast(bytes, value), writer, named=reader is not None)
        try:
            return Plain(contract, schema, fields if reader is None else _resolve(fields, writer, reader))
        except Exception as error:  # as in _read
            raise SchemaMismatch(f"does not decode: {type(error).__name__}") from error

    def decode_any(self, value: bytes | None, topic: Carrier) -> Event:
        """The event in these bytes, whichever of the topic's contracts it is. Raises as decode."""
        schema_id = _schema_id(value)
        name = self._writer(schema_id).full_name
        for contract in topic.contracts:
            if self._shape(EVENTS[contract]).schema.full_name == name:
                return self.decode(value, EVENTS[contract])
        raise SchemaMismatch(f"{topic.name} does not carry {name or 'this type'}", Reason.CONTRACT_BROKEN)

    def decode_as_written(self, value: bytes | None) -> Any:
        """What the bytes say by their own schema, whoever wrote it; plain values. Raises as decode."""
        return _fields_of(cast(bytes, value), self._writer(_schema_id(value)).parsed, named=False)

    def _prefix(self, topic: Carrier, kind: type[Event]) -> bytes:
        shape = self._shape(kind)
        schema_id = self._registry.id_of(topic.subject(kind.contract), shape.schema.text)
        prefix = bytes([MAGIC]) + schema_id.to_bytes(4, "big")
        self._prefixes[topic.name, kind] = prefix
        return prefix

    def _prefix_of(self, topic: Carrier, event: Event) -> bytes:
        if not isinstance(event, Plain):
            return self._prefix(topic, type(event))
        schema_id = self._registry.id_of(topic.subject(event.contract), event.schema.text)
        prefix = bytes([MAGIC]) + schema_id.to_bytes(4, "big")
        _remember(self._prefixes, (topic.name, event.schema), prefix)
        return prefix

    def _shape(self, kind: type[Event]) -> _Shape:
        if kind not in self._shapes:
            self._shapes[kind] = _Shape.of(kind.contract)
        return self._shapes[kind]

    def _writer(self, schema_id: int) -> Schema:
        writer = self._writers.get(schema_id)
        if writer is None:
            try:
                writer = safety.read(self._registry.by_id(schema_id))
            except SchemaRefused as error:
                raise SchemaMismatch(f"schema {schema_id} is unsafe to read with: {error}") from error
            _remember(self._writers, schema_id, writer)
        return writer

    def _reading(self, schema_id: int, expected: type[Event]) -> _Reading:
        shape = self._shape(expected)
        reading = _Reading(*self._pair(schema_id, expected.contract, shape.schema), shape)
        _remember(self._readings, (schema_id, expected), reading)
        return reading

    def _plain_reading(self, schema_id: int, contract: str, schema: Schema) -> tuple[Json, Json | None]:
        pair = self._pair(schema_id, contract, schema)
        _remember(self._plain, (schema_id, schema), pair)
        return pair

    def _pair(self, schema_id: int, contract: str, schema: Schema) -> tuple[Json, Json | None]:
        """Writer and reader, as in _Reading. Raises SchemaMismatch when the one cannot be read as the other."""
        writer = self._writer(schema_id)
        unreadable = compat.unreadable(reader=schema, writer=writer)
        if unreadable:
            why = f"schema {schema_id} is not {contract}: "
            why += unreadable[0] if writer.full_name == schema.full_name else f"it is {writer.full_name or 'no record'}"
            raise SchemaMismatch(why, Reason.CONTRACT_BROKEN)
        return writer.parsed, None if writer.canonical == schema.canonical else schema.parsed


def _writer_of(event: Event) -> object:
    """What a prefix is remembered under, beside the topic."""
    return event.schema if isinstance(event, Plain) else type(event)


def _plain_bytes(event: Plain) -> bytes:
    out = BytesIO()
    schemaless_writer(out, event.schema.parsed, event.fields)
    return out.getvalue()


def _schema_id(value: bytes | None) -> int:
    if not value:
        raise SchemaMismatch("no value", Reason.EMPTY)
    if len(value) > VALUE_BYTES_MAX:
        raise SchemaMismatch(f"{len(value)} bytes, at most {VALUE_BYTES_MAX}", Reason.OVERSIZE)
    if value[0] != MAGIC or len(value) < PREFIX_BYTES:
        raise SchemaMismatch("not in Confluent's framing: magic byte 0, then a schema id of four bytes")
    return int.from_bytes(value[1:PREFIX_BYTES], "big")


def _read(value: bytes, reading: _Reading) -> Event:
    fields = _fields_of(value, reading.writer, named=reading.reader is not None)
    try:
        if reading.reader is not None:
            fields = _resolve(fields, reading.writer, reading.reader)
        return reading.shape.event(fields)
    except Exception as error:  # end of data, Unicode, index, overflow …: the bytes are not Avro of this schema
        raise SchemaMismatch(f"does not decode: {type(error).__name__}") from error


def _fields_of(value: bytes, writer: Json, *, named: bool) -> Any:
    """All of these bytes, by the schema they were written with. named: say of a union's records which they are."""
    stream = BytesIO(value)
    stream.seek(PREFIX_BYTES)
    try:
        fields = schemaless_reader(stream, writer, None, return_named_type=named)
    except Exception as error:  # as above
        raise SchemaMismatch(f"does not decode: {type(error).__name__}") from error
    if stream.tell() != len(value):
        raise SchemaMismatch(f"{len(value) - stream.tell()} bytes left over")
    return fields


def _resolve(fields: Any, writer: Json, reader: Json) -> Any:
    """What the writer said, as the reader's schema has it.

    Through bytes of our own: fastavro passes over what a reader does not have without looking for the end of the
    data, and believes the sizes that stand in it, so that 12 bytes of a stranger would keep it busy for ever.
    """
    rewritten = BytesIO()
    schemaless_writer(rewritten, writer, fields)
    rewritten.seek(0)
    return schemaless_reader(rewritten, writer, reader)


def _fields(schema: Schema, wanted: Callable[[Json], bool]) -> tuple[str, ...]:
    return tuple(one["name"] for one in schema.resolved["fields"] if wanted(one["type"]))


K = TypeVar("K")
V = TypeVar("V")


def _remember(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= READINGS_MAX:
        kept.pop(next(iter(kept)), None)
    kept[key] = value
