"""What a caller sent becomes an event, or a list of what is wrong with it. Pure.

Enters: bytes, the workflow's source topic, the tenant that the key belongs to, an idempotency key or none. Leaves:
the event with its derived ids, or a Problem that names every wrong field. Guaranteed: the fields are those of the
Avro contract, in its types and within its bounds (streams/inputs.py), so that what is acknowledged is not refused
later for its content; what the server owns (tenant, lane, ids) cannot be set by a body; the same body under the same
key is the same event. Time and memory are proportional to the bytes, which the server bounds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from aios.schemas import ids
from aios.schemas.plain import Plain
from aios.streams import json_text
from aios.streams.bodies import Body, SourceBody, larger, place_of
from aios.streams.http.problem import Problem
from aios.streams.inputs import Input
from aios.streams.pool_files import Lane

ERRORS_MAX = 20  # told at once
NAME_SHOWN_MAX = 64  # characters of an unknown field's name that are repeated
PLACE_SHOWN_MAX = 200  # the same of where a field stands that is known, e.g. documents[0].name
KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?")
HASH_CHARS = 32  # of the body's hash, in the event id


@dataclass(frozen=True, slots=True)
class Submitted:
    """One event on its way in. body_hash: of the business fields, as plan compares repeats."""

    event: Plain
    case_id: str
    event_id: str
    idempotency_key: str
    body_hash: str


def submit(
    body: SourceBody, taken: Input, *, tenant: str, workflow: str, idempotency_key: str | None, lane: Lane
) -> Submitted:
    """Fill in what the server owns. idempotency_key None: derived, so that the same body is the same case."""
    fields = body.model_dump()
    key = idempotency_key or derived_key(tenant, workflow, fields)
    case_id = ids.case_id(tenant, workflow, key)
    body_hash = taken.body_hash(fields)
    identity = event_id(case_id, body_hash)
    owned = {"event_id": identity, "idempotency_key": key, "tenant": tenant, "lane": str(lane)}
    event = Plain(taken.contract, taken.schema, fields | owned)
    return Submitted(event, case_id, identity, key, body_hash)


def derived_key(tenant: str, workflow: str, fields: Mapping[str, Any]) -> str:
    """The idempotency key of a body that came without one."""
    return ids.derive("idempotency", tenant, workflow, ids.canonical(fields))


def event_id(case_id: str, body_hash: str) -> str:
    """Says of which case and which body it is, so that another body under the same key is recognised by it."""
    return f"{case_id}.{body_hash[:HASH_CHARS]}"


def same_body(submitted: Submitted, other_event_id: str) -> bool | None:
    """Whether the event of that id had this body; None: it did not come in here, so nobody can tell from its id."""
    case_id, _, hashed = other_event_id.partition(".")
    if case_id != submitted.case_id:
        return None
    return hashed == submitted.body_hash[:HASH_CHARS]


def idempotency_key(headers: Sequence[str]) -> str | None:
    """The key a caller gave, None if none. Raises Problem."""
    if not headers:
        return None
    if len(headers) > 1 or not KEY.fullmatch(headers[0]):
        raise Problem("invalid_header", "Idempotency-Key: one, of 1 to 256 printable ASCII characters")
    return headers[0]


def wait_s(prefer: Sequence[str], *, at_most: int) -> int:
    """Seconds of `Prefer: wait=N` (RFC 7240), 0 if absent or not understood, which that RFC asks to ignore."""
    for preference in re.split("[,;]", ",".join(prefer)):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait" and re.fullmatch("[0-9]{1,9}", value.strip(' \t"')):
            return min(int(value.strip(' \t"')), at_most)
    return 0


def read_body(raw: bytes, model: type[Body]) -> Any:
    """The body as that model. Raises Problem: invalid_json, or invalid_body with every wrong field."""
    return validate(parse(raw), model)


def validate(fields: Any, model: type[Body], *, from_text: bool = False) -> Any:
    """Fields as that model. from_text: numbers may be written as text, as in a CSV file. Raises Problem."""
    if not isinstance(fields, dict):
        raise Problem("invalid_body", "the body must be a JSON object")
    try:
        return model.model_validate(fields, strict=not from_text)
    except ValidationError as error:
        wrong = [_wrong(each, model) for each in error.errors(include_url=False, include_input=False)]
        detail = "; ".join(f"{each['field']}: {each['says']}" for each in wrong[:3])
        raise Problem("invalid_body", detail, errors=wrong[:ERRORS_MAX]) from None  # pydantic's own text has values


def parse(raw: bytes) -> Any:
    """JSON within our bounds. Raises Problem."""
    try:
        return json_text.read(raw, "the body")
    except json_text.Unreadable as error:
        raise Problem("invalid_json", str(error)) from None


def _wrong(error: Any, model: type[Body]) -> dict[str, str]:
    name = str(error["loc"][0]) if error["loc"] else "body"
    if error["type"] != "extra_forbidden" or len(error["loc"]) > 1:
        where = place_of(error["loc"]) if name in model.model_fields else name
        way = larger(model, error["loc"][-1]) if error["type"] == "string_too_long" else ""
        return {"field": where[:PLACE_SHOWN_MAX], "says": error["msg"].removeprefix("Value error, ") + way}
    if name in model.owned:
        return {"field": name, "says": f"cannot be set: it {model.owned[name]}"}
    near = difflib.get_close_matches(name[:NAME_SHOWN_MAX], list(model.model_fields), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return {
        "field": name[:NAME_SHOWN_MAX],
        "says": f"unknown field; {hint}(allowed here: {', '.join(sorted(model.model_fields))})",
    }
