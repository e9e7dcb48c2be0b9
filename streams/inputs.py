"""What a workflow may be given: any input contract, its bounds, and which of its fields make two events the same. Pure.

Enters: an Avro record, of this release or of whoever deployed the workflow. Leaves: its topic, the body that a caller
may send (a pydantic model), and of an event's fields the case's input, the hash that repeats are compared by, and
which event it is.
Guaranteed: one truth for the gateway, which refuses before anything is written, and for admit, which judges every road
alike: what the gateway accepts, admit does not refuse for its content; a field that is added to a contract changes no
hash of events that do not use it. Bounds that Avro cannot say stand beside the field they bound; whatever else is named
so, and a bound where it would bound nothing, is refused:

    aios:max      of a text its characters, of a list or map its items, of a number the number itself
    aios:min      of a number
    aios:choices  the texts that are allowed, beside the field's default
    aios:filled   'received_at': a long of the case that is 0 becomes the time of arrival, in its input, not in its hash

A text without a default must not be blank. Fields named like ENVELOPE are not the case's: they say who published it,
when and how urgently; every one of them may be left out of an event, and those that a contract lacks are added to it.

Rejected: classes written by hand for each contract (they come while the system runs); `bytes`, `float` and unions of
several types (JSON, which expressions and people see, has no one form of them); a hash over all fields with their
defaults (the next version of the contract would make every repeat a conflict).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from aios.schemas import contracts, ids, safety
from aios.schemas.errors import SchemaRefused
from aios.schemas.models import EVENTS
from aios.schemas.safety import Json, Schema
from aios.schemas.writing import INT_MAX, INT_MIN
from aios.streams import documents, topics
from aios.streams.documents import TIME_MS_MAX
from aios.streams.errors import ConfigError
from aios.streams.part import close_to
from aios.streams.record import Where, key_text
from aios.streams.topics import DOCUMENT_RECEIVED, INPUTS, Topic

TEXT_CHARS_MAX = 200_000  # of a text whose contract says nothing
ITEMS_MAX = 1_000  # of a list or map whose contract says nothing
LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1
FIELDS_MAX = 200  # of a contract, nested ones included
NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,3}")
REFERENCE, CONTENT = "reference", frozenset({"content", "text"})  # in one record: the first may stand for the others
RESERVED = ("aios.", "connector.", "inference.")  # topics whose names are made of something else

SHIPPED = {topic.name: topic for topic in INPUTS}
"""Input contracts of this release."""

ENVELOPE: Mapping[str, str] = {
    "event_id": "string",
    "idempotency_key": "string",
    "tenant": "string",
    "lane": "string",
    "received_at": "long",
}
"""Fields that are not the case's, with their types."""

SERVER_FIELDS: Mapping[str, str] = {
    "event_id": "is derived by the server",
    "idempotency_key": "goes into the Idempotency-Key header",
    "tenant": "is the one the API key belongs to",
    "lane": "is interactive when the request waits (Prefer: wait=N), else bulk",
}
"""Fields that no body may set, and where they come from instead."""

_MARK = "aios:"
_BOUNDS: Mapping[str, tuple[str, ...]] = {
    "string": ("aios:max", "aios:choices"),
    "array": ("aios:max",),
    "map": ("aios:max",),
    "int": ("aios:min", "aios:max"),
    "long": ("aios:min", "aios:max", "aios:filled"),
    "double": ("aios:min", "aios:max"),
}
"""What may stand beside a field, by its type."""
_RANGES: Mapping[str, tuple[float, float]] = {
    "int": (INT_MIN, INT_MAX),
    "long": (LONG_MIN, LONG_MAX),
    "double": (-sys.float_info.max, sys.float_info.max),
}

_DERIVED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    DOCUMENT_RECEIVED.name: documents.business_fields,
}
"""Contracts with a field that is worked out of the others; its hash is over all of them, as it always was."""


class Identity(NamedTuple):
    """Which event it is, and whose."""

    tenant: str
    idempotency_key: str
    event_id: str


def identity(
    fields: Mapping[str, Any], *, place: Where, key: bytes | None, tenant: str, default_tenant: str
) -> Identity:
    """Of an event with these fields, whatever it leaves out. place, key: of its record, where it first stood.

    tenant: as the record's header says; may be empty.
    """
    event_id = fields.get("event_id") or ids.derive("event", *map(str, place))
    return Identity(
        tenant=fields.get("tenant") or tenant or default_tenant,
        idempotency_key=fields.get("idempotency_key") or key_text(key) or event_id,
        event_id=event_id,
    )


class Body(BaseModel):
    """Base of every request body: strict types, nothing unknown. owned: fields the server fills, and how.

    referable: fields whose content a `reference` beside them may stand for (claim check).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    owned: ClassVar[Mapping[str, str]] = {}
    referable: ClassVar[frozenset[str]] = frozenset()


class SourceBody(Body):
    """Base of the bodies made from source contracts."""

    owned: ClassVar[Mapping[str, str]] = SERVER_FIELDS


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """One input contract. business: its fields that are the case's, resolved, in order. body: what a caller sends."""

    contract: str
    schema: Schema = field(repr=False)
    topic: Topic
    business: tuple[Json, ...] = field(repr=False)
    body: type[SourceBody] = field(repr=False)
    _defaults: Mapping[str, Any] = field(repr=False)
    _filled: frozenset[str] = field(repr=False)
    _doubles: frozenset[str] = field(repr=False)
    _named: Mapping[str, Json] = field(repr=False)  # records by full name

    @property
    def nested(self) -> frozenset[str]:
        """Fields that are lists, maps or records."""
        plain = {"string", "boolean", "int", "long", "double"}
        return frozenset(one["name"] for one in self.business if _kinds(one["type"]) - plain)

    def wrong(self, fields: Mapping[str, Any]) -> str:
        """The first thing that is wrong with these fields, for people and without their content; empty if nothing."""
        try:
            self.body.model_validate({name: value for name, value in fields.items() if name not in SERVER_FIELDS})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            way = larger(self.body, first["loc"][-1]) if first["type"] == "string_too_long" else ""
            return f"{place_of(first['loc'], self.schema)} {_sentence(first)}{way}"
        return ""

    def complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that nothing is wrong with, with every default, however deep: as they are read from a record."""
        return self.body.model_validate(fields).model_dump()

    def of_case(self, fields: Mapping[str, Any], received_at: int) -> dict[str, Any]:
        """The case's input: business fields with what was left out. received_at: Unix ms."""
        taken = self._business(fields)
        return taken | {name: received_at for name in self._filled if not taken[name]}

    def sent(self, case_input: Mapping[str, Any], received_at: int) -> dict[str, Any]:
        """The fields as they were sent: what was filled in with the time of arrival is left out again."""
        blank = {name: 0 for name in self._filled if case_input.get(name) == received_at}
        return {**case_input, **blank}

    def body_hash(self, fields: Mapping[str, Any]) -> str:
        """Of the fields that say something, so that it stays when the contract grows."""
        taken = self._business(fields)
        return ids.body_hash(taken if self.contract in _DERIVED else self._sparse({"fields": self.business}, taken))

    def _sparse(self, kind: Json, value: Any) -> Any:
        """Without fields that have their default, however deep."""
        if isinstance(kind, list):
            rest = [branch for branch in kind if branch != "null"]
            return None if value is None else self._sparse(rest[0], value)
        if isinstance(kind, str):
            kind = self._named.get(kind, {})
        if "fields" in kind:
            said = ((one, value[one["name"]]) for one in kind["fields"])
            return {
                one["name"]: self._sparse(one["type"], each)
                for one, each in said
                if "default" not in one or each != one["default"]
            }
        if kind.get("type") == "array":
            return [self._sparse(kind["items"], each) for each in value]
        if kind.get("type") == "map":
            return {key: self._sparse(kind["values"], each) for key, each in value.items()}
        return value

    def _business(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        taken = {one["name"]: fields.get(one["name"], self._defaults.get(one["name"])) for one in self.business}
        taken |= {name: float(taken[name]) for name in self._doubles if type(taken[name]) is int}  # an older writer's
        derive = _DERIVED.get(self.contract)
        return derive(taken) if derive is not None else taken


@cache
def shipped(contract: str) -> Input:
    """An input contract of this release. Raises ConfigError for any other name."""
    if contract not in SHIPPED:
        raise ConfigError(f"{contract} is no input contract of AIOS; its own are {', '.join(sorted(SHIPPED))}")
    return _made(contract, contracts.working(contract))


@cache
def of_text(contract: str, text: str) -> Input:
    """The input contract in this text, an Avro schema as JSON. Raises ConfigError with a line for each problem."""
    if contract in SHIPPED or contract in EVENTS:
        raise ConfigError(f"{contract} is a contract of AIOS itself; take another name")
    if not NAME.fullmatch(contract) or contract.startswith(RESERVED):
        raise ConfigError(f"{contract[:80]}: an input contract is named like claim.submitted.v1")
    try:
        schema = safety.read(compact(text))
    except SchemaRefused as error:
        raise ConfigError(f"{contract}: {error}") from error
    if schema.full_name.startswith("aios."):
        raise ConfigError(f"{contract}: the namespace aios is taken; use one of your own")
    return _made(contract, schema)


def compact(text: str) -> str:
    """The contract's text as it is registered: in one line, with what it lacks of ENVELOPE. Raises ConfigError."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the input contract is no JSON: {error}") from error
    fields = raw.get("fields") if isinstance(raw, dict) else None
    if isinstance(fields, list):
        there = {one.get("name") for one in fields if isinstance(one, dict)}
        shipped_ones = contracts.working(DOCUMENT_RECEIVED.name).resolved["fields"]
        added = [one for one in shipped_ones if one["name"] in ENVELOPE.keys() - there]
        raw = {**raw, "fields": [*fields, *added]}
    return json.dumps(raw, separators=(",", ":"), ensure_ascii=False)


def place_of(loc: tuple[int | str, ...], schema: Schema | None = None) -> str:
    """Where in a body something is wrong, e.g. documents[0].name; a map's keys, which are the caller's, as …"""
    known = _names(schema) if schema is not None else None
    said = ""
    for part in loc:
        if isinstance(part, int):
            said += f"[{part}]"
        else:
            shown = part if known is None or part in known else "…"
            said += f".{shown}" if said else shown
    return said or "body"


def larger(body: type[Body], name: int | str = "") -> str:
    """How content gets here that is too large for this field, or for the whole body, as the end of a sentence."""
    if not body.referable or (name and name not in body.referable):
        return ""
    return "; what is larger is handed in before with POST /v1/documents and named by its reference"


def _sentence(error: Any) -> str:
    """What pydantic found, in the words of the house; never the value."""
    said = error.get("ctx", {})
    match error["type"]:
        case "string_too_long":
            return f"has more than {said['max_length']} characters"
        case "too_long":
            return f"has more than {said['max_length']} items"
        case "string_too_short" | "value_error":
            return "is empty"
        case "missing":
            return "is missing"
        case "literal_error":
            return f"must be {said['expected']}"
    return f"is wrong: {error['msg']}"


# ── from Avro ──


def _made(contract: str, schema: Schema) -> Input:
    reading = _Reading(contract)
    fields = schema.resolved["fields"] if isinstance(schema.resolved, dict) else ()
    business = tuple(one for one in fields if one["name"] not in ENVELOPE)
    model = reading.model(schema.resolved, "", SourceBody)
    if not business:
        reading.problems.append("it has no field of the case's own")
    if reading.problems or model is None:
        raise ConfigError("\n".join(f"{contract}: {each}" for each in reading.problems))
    model.referable = frozenset(chain.from_iterable(map(_referable, _records(schema.resolved))))
    return Input(
        contract=contract,
        schema=schema,
        topic=topics.source(contract),
        business=business,
        body=model,
        _defaults={one["name"]: one["default"] for one in business if "default" in one},
        _filled=frozenset(one["name"] for one in business if one.get("aios:filled")),
        _doubles=frozenset(one["name"] for one in business if "double" in _kinds(one["type"])),
        _named={each["name"]: each for each in _records(schema.resolved)},
    )


def _referable(record: Json) -> frozenset[str]:
    names = {one["name"] for one in record["fields"]}
    return CONTENT & names if REFERENCE in names else frozenset()


class _Reading:
    """Reads one contract; problems: everything that JSON or a bound cannot say."""

    def __init__(self, contract: str) -> None:
        self.problems: list[str] = []
        self._contract = contract
        self._known: dict[str, Any] = {}  # named types that were met
        self._count = 0

    def model(self, record: Json, place: str, base: type[Body]) -> Any:
        """The model of a record; None after noting why not."""
        if not isinstance(record, dict) or record.get("type") != "record":
            self.problems.append("an input contract is an Avro record")
            return None
        made: dict[str, Any] = {}
        for one in record["fields"]:
            name, where = one["name"], f"{place}.{one['name']}" if place else one["name"]
            self._count += 1
            if not place and name in ENVELOPE:
                self._envelope(one, where)
                if name in SERVER_FIELDS:
                    continue
            if name.startswith(("_", "model_")) or hasattr(BaseModel, name):
                self.problems.append(f"{where}: this name cannot be a field's; take another")
                continue
            default = _default(one)
            kind = self._type(one["type"], one, where, required="default" not in one)
            if kind is not None:
                whole = isinstance(default, dict | list)
                made[name] = (kind, Field(default, description=one.get("doc"), validate_default=whole or None))
        if self._count > FIELDS_MAX:
            self.problems.append(f"more than {FIELDS_MAX} fields")
        return create_model(self._title(record, place), __base__=base, __doc__=record.get("doc"), **made)

    def _title(self, record: Json, place: str) -> str:
        """In the OpenAPI document, where names of other people's records must not meet ours or each other."""
        name = str(record["name"]).rpartition(".")[2]
        if self._contract in SHIPPED:
            return name
        return f"{self._contract.replace('.', '_')}_{name}" if place else self._contract

    def _envelope(self, one: Json, where: str) -> None:
        kind = one["type"]["type"] if isinstance(one["type"], dict) else one["type"]
        if kind != ENVELOPE[one["name"]] or "default" not in one:
            self.problems.append(f"{where}: where a contract has this field, it is a {ENVELOPE[where]} with a default")

    def _type(self, kind: Json, said: Json, where: str, *, required: bool) -> Any:
        """The annotation of a field or item. said: what stands beside it; of items nothing."""
        if isinstance(kind, list):
            return self._union(kind, said, where)
        if isinstance(kind, str):
            kind = {"type": kind}
        self._marks(kind, said, where)
        match kind["type"]:
            case "record":
                self._known[kind["name"]] = made = self.model(kind, where, Body)
                return made
            case "enum":
                self._known[kind["name"]] = made = Literal[tuple(kind["symbols"])]
                return made
            case "array":
                items = self._type(kind["items"], {}, f"{where}[]", required=True)
                items_max = Field(max_length=self._bound(said, where, ITEMS_MAX))
                return items and Annotated[GenericAlias(list, items), items_max]
            case "map":
                values = self._type(kind["values"], {}, f"{where}.*", required=True)
                values_max = Field(max_length=self._bound(said, where, ITEMS_MAX))
                return values and Annotated[GenericAlias(dict, (str, values)), values_max]
            case "string":
                return self._text(said, where, required=required)
            case "int" | "long" | "double" | "boolean":
                return self._number(kind, said, where)
        if kind["type"] in self._known:
            return self._known[kind["type"]]
        self.problems.append(f"{where}: {_INSTEAD.get(kind['type'], 'no type of an input contract')}")
        return None

    def _union(self, branches: list[Json], said: Json, where: str) -> Any:
        rest = [branch for branch in branches if branch != "null"]
        if len(rest) != 1 or len(branches) != 2:
            self.problems.append(f"{where}: a union of null and one type only; make a record of several fields")
            return None
        kind = self._type(rest[0], said, where, required=False)
        return None if kind is None else kind | None

    def _text(self, said: Json, where: str, *, required: bool) -> Any:
        if "aios:choices" in said:
            choices = said["aios:choices"]
            if not isinstance(choices, list) or not choices or not all(isinstance(each, str) for each in choices):
                self.problems.append(f"{where}: aios:choices is a list of texts")
                return None
            default = (said["default"],) if "default" in said else ()
            return Literal[tuple(dict.fromkeys((*default, *choices)))]
        chars_max = self._bound(said, where, TEXT_CHARS_MAX)
        if required and said:
            not_blank = Field(min_length=1, max_length=chars_max, json_schema_extra={"pattern": r"\S"})
            return Annotated[str, not_blank, AfterValidator(_not_blank)]
        return Annotated[str, Field(max_length=chars_max)]

    def _number(self, kind: Json, said: Json, where: str) -> Any:
        if kind["type"] == "boolean":
            return bool
        name = kind["type"]
        low, high = (0, TIME_MS_MAX) if kind.get("logicalType") == "timestamp-millis" else _RANGES[name]
        least, most = said.get("aios:min", low), said.get("aios:max", high)
        if not all(_is_number(each, name) for each in (least, most)) or not low <= least <= most <= high:
            what = "numbers" if name == "double" else f"whole numbers from {low} to {high}"
            self.problems.append(f"{where}: aios:min and aios:max are {what}, the first no more than the second")
            return None
        if name == "double":
            return Annotated[float, Field(allow_inf_nan=False, ge=said.get("aios:min"), le=said.get("aios:max"))]
        return Annotated[int, Field(ge=least, le=most)]

    def _marks(self, kind: Json, said: Json, where: str) -> None:
        """Note what is named like a bound and bounds nothing. kind: its type. said: what stands beside it."""
        if kind["type"] in _INSTEAD:
            return  # the type is what is told
        allowed = list(_BOUNDS.get(kind["type"], ()))
        for mark in said:
            if mark.startswith(_MARK) and mark not in allowed:
                hint = close_to(mark, allowed) if allowed else ""
                self.problems.append(f"{where}: {mark} is nothing that a {kind['type'][:80]} has{hint}")
        for mark in kind:
            if mark.startswith(_MARK) and kind is not said:
                self.problems.append(f"{where}: {mark} stands beside the field's name, and bounds nothing in its type")
        if said.get("aios:filled", "received_at") != "received_at" or ("aios:filled" in said and "." in where):
            self.problems.append(f"{where}: aios:filled is 'received_at', of a field that is in no record of its own")

    def _bound(self, said: Json, where: str, otherwise: int) -> int:
        bound = said.get("aios:max", otherwise)
        if not isinstance(bound, int) or isinstance(bound, bool) or not 1 <= bound <= 10**6:
            self.problems.append(f"{where}: aios:max is a number from 1 to 1,000,000")
            return otherwise
        return bound


_INSTEAD = {
    "bytes": "no bytes: JSON has none; use a string with base64, or a reference",
    "fixed": "no bytes: JSON has none; use a string with base64, or a reference",
    "float": "no float: it is rounded on the way; use double",
    "null": "no null alone",
}


def _is_number(value: Any, kind: str) -> bool:
    return isinstance(value, int | float if kind == "double" else int) and not isinstance(value, bool)


def _kinds(kind: Json) -> set[str]:
    branches = kind if isinstance(kind, list) else [kind]
    return {each["type"] if isinstance(each, dict) else each for each in branches} - {"null", "enum"}


def _default(one: Json) -> Any:
    """Of a field, as it is read from a record: of a double never a whole number. Ellipsis: there is none."""
    default = one.get("default", ...)
    return float(default) if type(default) is int and "double" in _kinds(one["type"]) else default


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


@cache
def _names(schema: Schema) -> frozenset[str]:
    return frozenset(one["name"] for record in _records(schema.resolved) for one in record["fields"])


def _records(schema: Json) -> Iterator[Json]:
    """Every record where it is defined."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _records(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
        inner = [one["type"] for one in schema.get("fields", ())]
        for each in (*inner, *(schema[child] for child in ("items", "values") if child in schema)):
            yield from _records(each)
