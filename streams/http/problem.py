"""Every refusal of the HTTP surface in one form: application/problem+json (RFC 9457).

Enters: what went wrong. Leaves: a response whose `type` is urn:aios:problem:<reason>, a closed list below.
Guaranteed: it names the field, bound or header to change, and never repeats what the caller sent as a value.
"""

from __future__ import annotations

import http
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from aios.schemas.errors import Reason, SchemaMismatch

CONTENT_TYPE = "application/problem+json"

REASONS: Mapping[str, int] = {
    "invalid_json": 400,
    "invalid_header": 400,
    "invalid_query": 400,
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "same_principal": 403,
    "skill_missing": 403,
    "not_found": 404,
    "unknown_workflow": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "conflicting_duplicate": 409,
    "already_decided": 409,
    "claimed": 409,
    "hands_full": 409,
    "ambiguous_id": 409,
    "wrong_state": 409,
    "changed": 409,
    "too_many_jobs": 409,
    "quota_used_up": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "invalid_body": 422,
    "label_not_offered": 422,
    "refused": 422,
    "does_not_fit": 422,
    "too_many_requests": 429,
    "internal": 500,
    "not_acknowledged": 503,
    "busy": 503,
    "unavailable": 503,
    "stopping": 503,
}
"""Closed list: reason → HTTP status."""

_OF_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
}


class Problem(Exception):
    """Ends a request. errors: one {field, says} for everything wrong. more: further members, e.g. case_id."""

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.status = REASONS[reason]
        self.headers = dict(headers or {})
        self.body = {
            "type": f"urn:aios:problem:{reason}",
            "title": http.HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": detail,
            **({"errors": [dict(each) for each in errors]} if errors else {}),
            **more,
        }

    def response(self) -> web.Response:
        return web.Response(
            text=json.dumps(self.body, ensure_ascii=False),
            status=self.status,
            headers=self.headers,
            content_type=CONTENT_TYPE,
        )


def of_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses: no such route, wrong method, body over its bound, an Expect that nobody knows."""
    reason = _OF_STATUS.get(error.status, "internal" if error.status >= 500 else "bad_request")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(reason, f"{error.reason}; GET /openapi.json lists what there is", headers=headers)


def of_mismatch(error: SchemaMismatch) -> Problem:
    """An event that does not fit its contract or its topic."""
    return Problem("too_large" if error.reason is Reason.OVERSIZE else "invalid_body", str(error))
