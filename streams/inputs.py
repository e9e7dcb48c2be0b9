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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from aios.schemas import contracts, ids, safety
from aios.schemas.errors import SchemaRefused
from aios.schemas.models import EVENTS
from aios.schemas.safety import Json, Schema
from aios.streams import bodies, documents, topics
from aios.streams.bodies import ENVELOPE, SERVER_FIELDS, SourceBody
from aios.streams.errors import ConfigError
from aios.streams.record import Where, key_text
from aios.streams.topics import DOCUMENT_RECEIVED, INPUTS, Topic

NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,3}")
RESERVED = ("aios.", "connector.", "inference.")  # topics whose names are made of something else

SHIPPED = {topic.name: topic for topic in INPUTS}
"""Input contracts of this release."""

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
        return frozenset(one["name"] for one in self.business if bodies.kinds(one["type"]) - plain)

    def wrong(self, fields: Mapping[str, Any]) -> str:
        """The first thing that is wrong with these fields, for people and without their content; empty if nothing."""
        try:
            self.body.model_validate({name: value for name, value in fields.items() if name not in SERVER_FIELDS})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            way = bodies.larger(self.body, first["loc"][-1]) if first["type"] == "string_too_long" else ""
            return f"{bodies.place_of(first['loc'], self.schema)} {bodies.sentence(first)}{way}"
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


def _made(contract: str, schema: Schema) -> Input:
    body, problems = bodies.made(contract, schema.resolved, ours=contract in SHIPPED)
    fields = schema.resolved["fields"] if isinstance(schema.resolved, dict) else ()
    business = tuple(one for one in fields if one["name"] not in ENVELOPE)
    if not business:
        problems.append("it has no field of the case's own")
    if problems or body is None:
        raise ConfigError("\n".join(f"{contract}: {each}" for each in problems))
    return Input(
        contract=contract,
        schema=schema,
        topic=topics.source(contract),
        business=business,
        body=body,
        _defaults={one["name"]: one["default"] for one in business if "default" in one},
        _filled=frozenset(one["name"] for one in business if one.get("aios:filled")),
        _doubles=frozenset(one["name"] for one in business if "double" in bodies.kinds(one["type"])),
        _named={each["name"]: each for each in bodies.records(schema.resolved)},
    )
