"""What a request to operations says in its query and body, checked. Raises Problem naming what is allowed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection

from aiohttp import web

from aios.dlq import filters
from aios.dlq.filters import Filter, FilterRefused
from aios.dlq.index_layout import UNRESOLVED, State
from aios.dlq.operations.routes import ALL, ID_CHARS_MAX, ID_CHARS_MIN
from aios.dlq.operations.routes import UNRESOLVED as UNRESOLVED_NAME
from aios.streams.http.problem import Problem

BY_ID = "[0-9a-f-]{1,36}"
BY_TIME = f"[0-9]{{1,15}}:{BY_ID}"  # Unix ms


def states(request: web.Request) -> Collection[State]:
    """Which states are wanted; empty: all."""
    asked = request.query.getall("state", ()) or (UNRESOLVED_NAME,)
    if ALL in asked:
        return ()
    found: set[State] = set()
    for one in asked:
        if one != UNRESOLVED_NAME and one not in set(State):
            raise Problem("invalid_query", f"state: one of {', '.join([*State, UNRESOLVED_NAME, ALL])}")
        found |= UNRESOLVED if one == UNRESOLVED_NAME else {State(one)}
    return found


def cursor(request: web.Request, of: str) -> str:
    """Behind which entry the page begins; empty: at the first. of: one of the cursors below."""
    said = text(request, "cursor")
    if said and not re.fullmatch(of, said):
        raise Problem("invalid_query", "cursor: as the page before said it")
    return said


def job_cursor(request: web.Request) -> tuple[int, str]:
    """Behind which job the page begins: minus its planned_at, and its id."""
    said = cursor(request, BY_TIME)
    if not said:
        return -filters.TIME_MS_MAX, ""
    planned_at, job_id = said.split(":")
    return -int(planned_at), job_id


def moment_ms(request: web.Request, name: str) -> int:
    """A time in Unix ms that the query has."""
    if not re.fullmatch("[0-9]{1,15}", request.query[name]):
        raise Problem("invalid_query", f"{name}: a time in Unix milliseconds")
    return int(request.query[name])


def text(request: web.Request, name: str) -> str:
    """A short text; empty where it is not given."""
    said = request.query.get(name, "")
    if len(said) > filters.CHARS_MAX or not said.isprintable():
        raise Problem("invalid_query", f"{name}: a short printable text")
    return said


def flag(request: web.Request, name: str) -> bool:
    """False where it is not given."""
    said = request.query.get(name, "false")
    if said not in ("true", "false"):
        raise Problem("invalid_query", f"{name}: true or false")
    return said == "true"


def check_id(text: str) -> None:
    """An id, or the beginning of one."""
    if not (ID_CHARS_MIN <= len(text) <= ID_CHARS_MAX and re.fullmatch("[0-9a-f-]+", text)):
        raise Problem("not_found", f"an id is a UUID, or its beginning of {ID_CHARS_MIN} characters or more")


def unpacked(text: str) -> bytes:
    """The bytes of a body's base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("invalid_body", "value_base64 is no base64") from None


def refusing(make: Callable[[], Filter], reason: str) -> Filter:
    """The filter, or a Problem of this reason with its words; also where its expression names no field of a letter.

    Refused here and not in the filter: jobs that are kept hold filters of earlier releases.
    """
    try:
        made = make()
        filters.check_fields(made)
        return made
    except FilterRefused as error:
        raise Problem(reason, str(error)) from None
