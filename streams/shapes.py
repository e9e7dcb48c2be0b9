"""Shapes of structured answers: the part of JSON Schema that a prompt may ask a model for. Pure.

In: a schema as a prompt's file has it. Out: the same schema, complete and bounded, for the engine; what is wrong with
a value; a value that fits. Guaranteed: every shape is bounded (texts have maxLength or an enum, lists maxItems), so
that a model which keeps on writing ends by itself, and is one that something fits: bounds are of its type, the least
not over the most; an object has no other keys than the named ones; an unknown keyword is refused and not ignored,
because an engine would ignore it silently and its answer would then be believed.

    object   properties, required (default: all of them)      string   maxLength, minLength, or enum
    array    items, maxItems, minItems                        integer, number   minimum, maximum; or enum
    boolean

Rejected: jsonschema (grammars of engines know a part of JSON Schema only: what they do not enforce, a prompt must not
promise; and plan, which reads the answers, has no such package).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

DEPTH_MAX = 5
PROPERTIES_MAX = 32
CHARS_MAX = 4_000  # of one text
ITEMS_MAX = 64
CHOICES_MAX = 256
PROBLEMS_MAX = 5  # told of one value
EXACT_MAX = 2**53  # up to here every whole number is a broken one too

KEYWORDS: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"maxLength", "minLength", "enum"}),
    "integer": frozenset({"minimum", "maximum", "enum"}),
    "number": frozenset({"minimum", "maximum", "enum"}),
    "boolean": frozenset(),
}
"""By type; `description` may stand everywhere."""


class ShapeRefused(ValueError):
    """The schema asks for what is not bounded or not enforced; the message names the place."""


def complete(schema: Any) -> dict[str, Any]:
    """The schema as engines are given it: required and additionalProperties said. Raises ShapeRefused.

    The outermost shape is an object: answers get fields later without becoming another kind of thing.
    """
    whole = _complete(schema, "schema", 1)
    if whole["type"] != "object":
        raise ShapeRefused("schema: the outermost type is object")
    return whole


def _complete(schema: Any, at: str, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise ShapeRefused(f"{at}: a schema is a mapping")
    kind = str(schema.get("type"))
    if kind not in KEYWORDS:
        raise ShapeRefused(f"{at}: type is one of {', '.join(KEYWORDS)}")
    if depth > DEPTH_MAX:
        raise ShapeRefused(f"{at}: more than {DEPTH_MAX} levels")
    if unknown := sorted(schema.keys() - KEYWORDS[kind] - {"type", "description"}, key=str):
        raise ShapeRefused(f"{at}: {unknown[0]!r} is not enforced here; a {kind} has {_named(kind)}")
    made = {name: value for name, value in schema.items() if name != "description"}
    if "enum" in schema:
        return _enum(made, kind, at)
    if kind == "object":
        return _object(made, at, depth)
    if kind == "array":
        _bound(made, "maxItems", ITEMS_MAX, at)
        _least(made, "minItems", "maxItems", at)
        return made | {"items": _complete(made.get("items"), f"{at}.items", depth + 1)}
    if kind == "string":
        _bound(made, "maxLength", CHARS_MAX, at)
        _least(made, "minLength", "maxLength", at)
    if kind in ("integer", "number"):
        _range(made, kind, at)
    return made


def _named(kind: str) -> str:
    return ", ".join(sorted(KEYWORDS[kind])) or "no other keyword"


def _enum(schema: dict[str, Any], kind: str, at: str) -> dict[str, Any]:
    values = schema["enum"]
    if not isinstance(values, list) or not 1 <= len(values) <= CHOICES_MAX:
        raise ShapeRefused(f"{at}: enum is a list of 1 to {CHOICES_MAX} values")
    if not all(_is(kind, value) for value in values):
        raise ShapeRefused(f"{at}: a value of enum is no {kind}")
    return schema


def _object(schema: dict[str, Any], at: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not 1 <= len(properties) <= PROPERTIES_MAX:
        raise ShapeRefused(f"{at}: an object names 1 to {PROPERTIES_MAX} properties")
    if strange := [name for name in properties if not isinstance(name, str)]:
        raise ShapeRefused(f"{at}: the name of a property is a text: put {strange[0]!r} in quotes")
    required = schema.get("required", list(properties))
    if not isinstance(required, list) or not set(required) <= set(properties):
        raise ShapeRefused(f"{at}: required names properties that are there")
    inner = {name: _complete(one, f"{at}.{name}", depth + 1) for name, one in properties.items()}
    return {"type": "object", "properties": inner, "required": required, "additionalProperties": False}


def _bound(schema: dict[str, Any], name: str, most: int, at: str) -> None:
    value = schema.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ShapeRefused(f"{at}: {name} is needed, 1 to {most}: else a model that goes on writing never ends")


def _least(schema: dict[str, Any], name: str, most: str, at: str) -> None:
    value = schema.get(name, 0)
    if not _is("integer", value) or not 0 <= value <= schema[most]:
        raise ShapeRefused(f"{at}: {name} is a whole number from 0 to {most}, {schema[most]}")


def _range(schema: dict[str, Any], kind: str, at: str) -> None:
    for name in ("minimum", "maximum"):
        value = schema.get(name, 0)
        if not _is(kind, value) or not abs(value) < math.inf:
            raise ShapeRefused(f"{at}: {name} is no {kind}; a number stands without quotes")
    if schema.get("minimum", -math.inf) > schema.get("maximum", math.inf):
        raise ShapeRefused(f"{at}: minimum is over maximum, so that nothing fits")


def _is(kind: str, value: Any) -> bool:
    if kind in ("integer", "number"):
        return isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, {"object": dict, "array": list, "string": str, "boolean": bool}[kind])


def problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value, at most PROBLEMS_MAX; empty: it fits. schema: completed.

    The words name places and rules, never the value: they are shown to the model, and to people in the audit.
    """
    return [found for _, found in zip(range(PROBLEMS_MAX), _problems(schema, value, "answer"), strict=False)]


def _problems(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
    kind = schema["type"]
    if not _is(kind, value):
        yield f"{at} is no {kind}"
    elif "enum" in schema:
        if value not in schema["enum"]:
            yield f"{at} is none of the allowed values"
    elif kind == "object":
        yield from _of_object(schema, value, at)
    elif kind == "array":
        yield from _of_array(schema, value, at)
    elif kind == "string":
        if not schema.get("minLength", 0) <= len(value) <= schema["maxLength"]:
            yield f"{at} has {len(value)} characters, not {schema.get('minLength', 0)} to {schema['maxLength']}"
    elif kind != "boolean" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at} is not within {schema.get('minimum', '-∞')} to {schema.get('maximum', '∞')}"


def _of_object(schema: Mapping[str, Any], value: Mapping[str, Any], at: str) -> Iterator[str]:
    for name in schema["required"]:
        if name not in value:
            yield f"{at}.{name} is missing"
    for name, inner in value.items():
        if name in schema["properties"]:
            yield from _problems(schema["properties"][name], inner, f"{at}.{name}")
        else:
            yield f"{at} has a property that is not asked for"


def _of_array(schema: Mapping[str, Any], value: list[Any], at: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
        yield f"{at} has {len(value)} items, not {schema.get('minItems', 0)} to {schema['maxItems']}"
    for number, inner in enumerate(value[: schema["maxItems"]]):
        yield from _problems(schema["items"], inner, f"{at}[{number}]")


def as_numbers(schema: Mapping[str, Any], value: Any) -> Any:
    """The same, each `number` of it a broken one: JSON may write 12.0 as 12. schema: completed; value: fits it."""
    match schema["type"]:
        case "number":
            return float(value) if abs(value) <= EXACT_MAX else value
        case "object":
            return {name: as_numbers(schema["properties"][name], inner) for name, inner in value.items()}
        case "array":
            return [as_numbers(schema["items"], inner) for inner in value]
    return value


def example(schema: Mapping[str, Any]) -> Any:
    """A value that fits: for checks of workflows, and for the engine without a model. schema: completed."""
    kind = schema["type"]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {name: example(schema["properties"][name]) for name in schema["required"]}
    if kind == "array":
        return [example(schema["items"])] * max(1, schema.get("minItems", 0))
    if kind == "string":
        return "example"[: schema["maxLength"]].ljust(schema.get("minLength", 0), ".")
    return False if kind == "boolean" else schema.get("minimum", schema.get("maximum", 0))
