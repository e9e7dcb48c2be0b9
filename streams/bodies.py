"""Request bodies made of input contracts: what JSON may hold where Avro has a record, and what is wrong with it. Pure.

Enters: an Avro record whose names are resolved, and the bounds beside its fields (inputs.py). Leaves: a pydantic model
and the contract's problems; of a body that is refused, where and why, without its content. Guaranteed: strict types,
nothing unknown, nothing without a bound.

Rejected: a JSON schema beside the model (pydantic makes it of the model, for the OpenAPI document).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from aios.schemas.safety import Json, Schema
from aios.schemas.writing import INT_MAX, INT_MIN
from aios.streams.documents import TIME_MS_MAX
from aios.streams.part import close_to

TEXT_CHARS_MAX = 200_000  # of a text whose contract says nothing
ITEMS_MAX = 1_000  # of a list or map whose contract says nothing
LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1
FIELDS_MAX = 200  # of a contract, nested ones included
REFERENCE, CONTENT = "reference", frozenset({"content", "text"})  # in one record: the first may stand for the others

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


def made(contract: str, record: Json, *, ours: bool) -> tuple[type[SourceBody] | None, list[str]]:
    """The body that a record of Avro describes, and every problem, a sentence each; with one the body is worth nothing.

    ours: a contract of this release, whose records have their own names in the OpenAPI document.
    """
    reading = _Reading(contract, ours=ours)
    model = reading.model(record, "", SourceBody)
    if model is not None:
        model.referable = frozenset(chain.from_iterable(map(_referable, records(record))))
    return model, reading.problems


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


def sentence(error: Any) -> str:
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


class _Reading:
    """Reads one contract; problems: everything that JSON or a bound cannot say."""

    def __init__(self, contract: str, *, ours: bool) -> None:
        self.problems: list[str] = []
        self._contract, self._ours = contract, ours
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
        if self._ours:
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


def kinds(kind: Json) -> set[str]:
    branches = kind if isinstance(kind, list) else [kind]
    return {each["type"] if isinstance(each, dict) else each for each in branches} - {"null", "enum"}


def _default(one: Json) -> Any:
    """Of a field, as it is read from a record: of a double never a whole number. Ellipsis: there is none."""
    default = one.get("default", ...)
    return float(default) if type(default) is int and "double" in kinds(one["type"]) else default


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


@cache
def _names(schema: Schema) -> frozenset[str]:
    return frozenset(one["name"] for record in records(schema.resolved) for one in record["fields"])


def records(schema: Json) -> Iterator[Json]:
    """Every record where it is defined."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
        inner = [one["type"] for one in schema.get("fields", ())]
        for each in (*inner, *(schema[child] for child in ("items", "values") if child in schema)):
            yield from records(each)


def _referable(record: Json) -> frozenset[str]:
    names = {one["name"] for one in record["fields"]}
    return CONTENT & names if REFERENCE in names else frozenset()
