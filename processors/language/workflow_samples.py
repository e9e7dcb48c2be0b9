"""What steps may answer, at the corners of what their contracts allow: a workflow is walked with these. Pure.

In: a step's question or call, a JSON Schema. Out: plain values. Guaranteed: each fits its schema as far as types, enums
and simple bounds say (patterns and formats are not made up); few of them, the same every time. A place that no corner
reaches is reached by the workflow's own `examples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from aios.processors.connectors import registry
from aios.processors.language import answers
from aios.processors.language.questions import Call, Question

SAMPLES_MAX = 12  # of one step
DEPTH_MAX = 8
LARGE = 1_000_000
MOST, LEAST, MIXED = "most", "least", "mixed"  # mixed: the most, with the least numbers
DAY = {"date": "2026-11-20", "date-time": "2026-11-20T09:00:00Z", "time": "09:00:00"}


def of_question(ask: Question, label: str) -> list[dict[str, Any]]:
    """label: one that the step's list allows. Raises ConfigError: there is no such prompt."""
    return answers.samples(ask.task, label, ask.prompt or "")


def of_call(ask: Call) -> list[Any]:
    """Raises ConfigError: there is no such system or operation."""
    return list(_of_model(registry.operation(ask.system, ask.operation).response))


def returned(ask: Call, said: Iterable[Any]) -> list[Any]:
    """The workflow's own examples as the system would say them: with what they leave out, and numbers of its types.

    said: they are of its contract. Raises ConfigError: there is no such system or operation.
    """
    response = registry.operation(ask.system, ask.operation).response
    return [response.model_validate(one).model_dump(mode="json") for one in said]


@cache
def schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """The JSON Schema of a contract: it takes some ms to make, and a walk asks for it hundreds of times."""
    return model.model_json_schema()


@cache
def _of_model(model: type[BaseModel]) -> tuple[Any, ...]:
    return tuple(of_schema(schema_of(model)))


def of_schema(schema: Mapping[str, Any]) -> list[Any]:
    """The most of everything, the least, the most with the least numbers; and that with one switch or word turned."""
    defs = schema.get("$defs", {})
    most, least, mixed = (_example(schema, defs, corner, 0) for corner in (MOST, LEAST, MIXED))
    found = [most, least, mixed]
    for name, inner in schema.get("properties", {}).items() if isinstance(mixed, dict) else ():
        found += [{**mixed, name: value} for value in _words(inner, defs) if value != mixed[name]]
    return found[:SAMPLES_MAX]


def _words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[Any]:
    """Every value of a property that has few."""
    schema = _resolved(schema, defs)
    if schema.get("type") == "boolean":
        yield False
    yield from schema.get("enum", ())
    for one in schema.get("anyOf", ()):
        yield from (None,) if one.get("type") == "null" else _words(one, defs)


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    return schema


def _example(schema: Mapping[str, Any], defs: Mapping[str, Any], corner: str, depth: int) -> Any:
    schema = _resolved(schema, defs)
    if depth > DEPTH_MAX:
        return None
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][-1 if corner == LEAST else 0]
    ways = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if ways:
        empty = any(one.get("type") == "null" for one in ways)
        if empty and corner == LEAST:
            return None
        return _example(next(one for one in ways if one.get("type") != "null"), defs, corner, depth + 1)
    match schema.get("type"):
        case "object":
            return _object(schema, defs, corner, depth)
        case "array":
            return _array(schema, defs, corner, depth)
        case "string":
            return _text(schema, corner)
        case "integer" | "number" as kind:
            return _number(schema, kind, corner)
        case "boolean":
            return corner != LEAST
    return None


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any], corner: str, depth: int) -> dict[str, Any]:
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        return (
            {"key": _example(inner, defs, corner, depth + 1)} if corner != LEAST and isinstance(inner, Mapping) else {}
        )
    return {name: _example(one, defs, corner, depth + 1) for name, one in schema["properties"].items()}


def _array(schema: Mapping[str, Any], defs: Mapping[str, Any], corner: str, depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [_example(one, defs, corner, depth + 1) for one in schema["prefixItems"]]
    count = max(schema.get("minItems", 0), 0 if corner == LEAST else 1)
    return [_example(schema.get("items", {}), defs, corner, depth + 1)] * count


def _text(schema: Mapping[str, Any], corner: str) -> str:
    if schema.get("format") in DAY:
        return DAY[schema["format"]]
    text = "" if corner == LEAST else "example"
    return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), "x")


def _number(schema: Mapping[str, Any], kind: str, corner: str) -> int | float:
    bounds = ("maximum", "exclusiveMaximum") if corner == MOST else ("minimum", "exclusiveMinimum")
    step = 1.0 if kind == "integer" else 0.5
    value: float = LARGE if corner == MOST else 0
    if bounds[0] in schema:
        value = schema[bounds[0]]
    elif bounds[1] in schema:
        value = schema[bounds[1]] + (-step if corner == MOST else step)
    return int(value) if kind == "integer" else float(value)
