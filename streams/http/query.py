"""What a request says in its query, checked. Raises Problem naming what is allowed."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from aios.streams.http.openapi import Route
from aios.streams.http.problem import Problem

LIMIT = 50  # entries, where a request names no other number


def limited(most: int) -> dict[str, Any]:
    """What the OpenAPI document says of a limit; most: as limit has it."""
    return {"type": "integer", "minimum": 1, "maximum": most, "default": LIMIT}


def limit(request: web.Request, most: int) -> int:
    """How many entries are asked for; most: at most."""
    asked = request.query.get("limit", str(LIMIT))
    if not (re.fullmatch("[0-9]{1,4}", asked) and 1 <= int(asked) <= most):
        raise Problem("invalid_query", f"limit: 1 to {most}")
    return int(asked)


def check_names(request: web.Request, route: Route) -> None:
    """What is misspelt would select everything, in silence."""
    known = sorted(route.query or ())
    unknown = sorted(set(request.query) - set(known))
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise Problem("invalid_query", f"there is no {unknown[0]} in the query of {route.path}; {has}")
