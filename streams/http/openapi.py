"""The OpenAPI document of a server, made from what serves it: its routes, their models, the source contracts.

Enters: routes. Leaves: an OpenAPI 3.1 document. Guaranteed: it has every route and no other (a test compares it with
the router), and its request bodies are the models that validate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from aios.streams.http.problem import CONTENT_TYPE, REASONS

REF = "#/components/schemas/{model}"
EVERY_ROUTE = ("internal",)
EVERY_GUARDED_ROUTE = ("unauthorized", "too_many_requests", "busy", "stopping", "unavailable")


class Caller(StrEnum):
    """Who may call a route, by the bearer of which the guard knows it."""

    NOBODY = "nobody"  # no bearer is needed
    TENANT = "tenant"  # a tenant's API key
    REVIEWER = "reviewer"  # a principal's token, with this role
    READER = "reader"  # a tenant's API key, or a reviewer's token
    OWNER = "owner"  # a tenant's API key, or an operator's token
    SENDER = "sender"  # whoever signs as an endpoint of the settings (streams/signing.py)
    PRINCIPAL = "principal"  # a principal's token, with one of the route's roles


BEARERS = {
    Caller.TENANT: ("apiKey",),
    Caller.REVIEWER: ("token",),
    Caller.READER: ("apiKey", "token"),
    Caller.OWNER: ("apiKey", "token"),
    Caller.SENDER: ("signature",),
    Caller.PRINCIPAL: ("token",),
}
SCHEMES = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "A tenant's API key."},
    "token": {"type": "http", "scheme": "bearer", "description": "A principal's token."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "HMAC-SHA256 of webhook-id, webhook-timestamp and body, as in Standard Webhooks.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. takes: models of which the body must be one. answers: model (or None) by status.

    raw: the body is bytes, whatever they are. headers: of the request, name → what it does. roles: of a principal, one
    of which it needs.
    """

    method: str
    path: str
    name: str  # of the method that serves it, and operationId
    does: str
    takes: tuple[Any, ...] = ()
    answers: Mapping[int, Any]
    refuses: tuple[str, ...] = ()
    headers: Mapping[str, str] | None = None
    query: Mapping[str, Mapping[str, Any]] | None = None
    caller: Caller = Caller.TENANT
    roles: tuple[str, ...] = ()
    raw: bool = False


def public(path: str, name: str, does: str, answers: Mapping[int, Any], refuses: tuple[str, ...] = ()) -> Route:
    """One that is read by anybody."""
    return Route(method="GET", path=path, name=name, caller=Caller.NOBODY, does=does, answers=answers, refuses=refuses)


def document(routes: Sequence[Route], *, title: str, version: str, path_values: Mapping[str, Sequence[str]]) -> Any:
    """path_values: allowed values of a path parameter, where they are known."""
    schemas: dict[str, Any] = {"Problem": dict(_PROBLEM)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, path_values)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                name: SCHEMES[name] for name in dict.fromkeys(n for r in routes for n in BEARERS.get(r.caller, ()))
            },
        },
    }


def _operation(route: Route, schemas: dict[str, Any], path_values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    bearers = BEARERS.get(route.caller, ())
    forbidden = ("forbidden",) if "token" in bearers else ()
    reasons = (*route.refuses, *EVERY_ROUTE, *(EVERY_GUARDED_ROUTE if bearers else ()), *forbidden)
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.does,
        "parameters": _parameters(route, path_values),
        "responses": {
            **{str(status): _answer(model, schemas) for status, model in route.answers.items()},
            **_refusals(reasons),
        },
    }
    if route.takes:
        bodies = [_reference(model, schemas) for model in route.takes]
        schema = bodies[0] if len(bodies) == 1 else {"oneOf": bodies}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.raw:
        binary = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": binary}}
    if bearers:
        operation["security"] = [{name: []} for name in bearers]
    if route.roles:
        operation["x-roles"] = list(route.roles)
    return operation


def _parameters(route: Route, path_values: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", route.path):
        schema: dict[str, Any] = {"type": "string"}
        if name in path_values:
            schema["enum"] = list(path_values[name])
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    for name, does in (route.headers or {}).items():
        found.append({"name": name, "in": "header", "description": does, "schema": {"type": "string"}})
    for name, its_schema in (route.query or {}).items():
        found.append({"name": name, "in": "query", "schema": dict(its_schema)})
    return found


def _answer(model: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if model is None:
        return {"description": "Done."}
    return {"description": "Done.", "content": {"application/json": {"schema": _reference(model, schemas)}}}


def _refusals(reasons: Sequence[str]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for reason in reasons:
        by_status.setdefault(REASONS[reason], []).append(reason)
    return {
        str(status): {
            "description": ", ".join(of_status),
            "content": {CONTENT_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
        }
        for status, of_status in sorted(by_status.items())
    }


def _reference(model: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The model's schema among the components, and a reference to it."""
    schema = TypeAdapter(model).json_schema(ref_template=REF)
    schemas.update(schema.pop("$defs", {}))
    name = schema.get("title")
    if name is None or "$ref" in schema:
        return schema
    schemas[name] = schema
    return {"$ref": REF.format(model=name)}


_PROBLEM: Mapping[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [f"urn:aios:problem:{reason}" for reason in REASONS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "says": {"type": "string"}},
            },
        },
    },
}
