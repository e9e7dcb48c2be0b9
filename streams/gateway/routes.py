"""The HTTP surface: every route with its models and refusals; the router and /openapi.json are made from this list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aios.streams import documents, inputs
from aios.streams.bodies import Body
from aios.streams.explanation import Explanation
from aios.streams.gateway import reviews
from aios.streams.gateway.case_reading import CASES_MAX
from aios.streams.gateway.cases import Links
from aios.streams.gateway.documents import ROUTE as HAND_IN
from aios.streams.http import query
from aios.streams.http.about import about_routes
from aios.streams.http.console import console_routes
from aios.streams.http.openapi import Caller, Route
from aios.streams.outcome_views import CaseView
from aios.streams.topics import SOURCES


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseShown(CaseView):
    """A case, and its transitions in its order, then acts outside that order (case_seq 0) by time."""

    timeline: tuple[Mapping[str, Any], ...]


class CaseAccepted(BaseModel):
    """The broker has it. status: `accepted` until a stage has seen it."""

    case_id: str
    workflow: str
    status: str
    idempotency_key: str
    links: Links


class Cancellation(Body):
    """Why a case is to end without a decision on its merits; who wishes it says the key or token."""

    reason: Annotated[str, Field(min_length=1, max_length=documents.SUBJECT_CHARS_MAX)]


class CancellationAccepted(BaseModel):
    """The broker has the wish. A case that is decided before it comes there stays decided.

    stands: what outside systems did for the case, or may have done, and will not be undone by this.
    """

    case_id: str
    event_id: str
    stands: tuple[str, ...] = ()
    links: Links


class Told(Body):
    """Something that happened to a case and that its workflow waits for. kind: as the workflow's `wait` names it."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    body: Mapping[str, Any] = Field(default_factory=dict)


class ToldAccepted(BaseModel):
    """The broker has it. A case that is elsewhere keeps it for its wait; one that is decided before passes it over."""

    case_id: str
    event_id: str
    links: Links


class Hook(Body):
    """What a signed message says of a case: as Told, with the case."""

    case_id: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    body: Mapping[str, Any] = Field(default_factory=dict)


OF_AN_OPEN_CASE = (
    "not_found",
    "too_slow",
    "already_decided",
    "wrong_state",
    "too_large",
    "unsupported_media_type",
    "invalid_body",
    "not_acknowledged",
)
"""Problems of what is said about a case that is open."""

ROUTES = (
    Route(
        method="POST",
        path="/v1/workflows/{workflow}/cases",
        name="submit_case",
        does="Submit a case: 202 once the broker has it, or 200 with the decision if it comes while you wait.",
        takes=tuple(inputs.shipped(topic.name).body for topic in SOURCES.values()),
        answers={200: CaseView, 202: CaseAccepted},
        refuses=(
            "invalid_json",
            "invalid_header",
            "unknown_workflow",
            "too_slow",
            "conflicting_duplicate",
            "too_large",
            "unsupported_media_type",
            "invalid_body",
            "refused",
            "not_acknowledged",
        ),
        headers={
            "Idempotency-Key": "The same key is the same case; absent: derived from tenant, workflow and body.",
            "Prefer": "wait=N: seconds to wait for the decision; such a case takes the interactive lane.",
            "traceparent": "W3C trace context, continued.",
        },
    ),
    Route(
        method="GET",
        path="/v1/cases",
        name="list_cases",
        does="The tenant's cases that changed last, newest first.",
        answers={200: list[CaseView]},
        query={
            "workflow": {"type": "string"},
            "status": {"type": "string"},
            "limit": query.limited(CASES_MAX),
        },
        refuses=("invalid_query",),
    ),
    Route(
        method="GET",
        path="/v1/cases/{case_id}",
        name="show_case",
        does="A case as it is now, with its timeline.",
        answers={200: CaseShown},
        refuses=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/cases/{case_id}/explanation",
        name="explain_case",
        does="Why it came to its decision: each answer, rule, policy and person, in sentences and as data.",
        answers={200: Explanation},
        refuses=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/cases/{case_id}/cancel",
        name="cancel_case",
        caller=Caller.OWNER,
        does="Call a case off; 202 once the broker has it. Models that work for it are told to stop; what was done"
        " outside stands: a meeting in its calendars, say.",
        takes=(Cancellation,),
        answers={202: CancellationAccepted},
        refuses=("invalid_json", *OF_AN_OPEN_CASE),
        headers={"traceparent": "W3C trace context, continued."},
    ),
    Route(
        method="POST",
        path="/v1/cases/{case_id}/events",
        name="tell_case",
        caller=Caller.OWNER,
        does="Tell an open case what happened; 202 once the broker has it. The same kind and body is the same event"
        " while the case waits for the same answer.",
        takes=(Told,),
        answers={202: ToldAccepted},
        refuses=("invalid_json", "invalid_header", *OF_AN_OPEN_CASE),
        headers={
            "Idempotency-Key": "Makes one event of repeats, also where the case asks anew meanwhile, and two of one"
            " kind and body; absent: they are one for as long as the case waits for the same answer.",
            "traceparent": "W3C trace context, continued.",
        },
    ),
    Route(
        method="POST",
        path="/v1/hooks/{endpoint}",
        name="take_hook",
        caller=Caller.SENDER,
        does="A signed webhook tells an open case what happened; 202 once the broker has it. A repeat is the same.",
        takes=(Hook,),
        answers={202: ToldAccepted},
        refuses=("invalid_json", *OF_AN_OPEN_CASE),
        headers={
            "webhook-id": "Of the message; a repeat has the same.",
            "webhook-timestamp": "Unix seconds; not older than five minutes.",
            "webhook-signature": "v1,<base64 of HMAC-SHA256 over id.timestamp.body>; several with spaces between.",
        },
    ),
    *reviews.ROUTES,
    HAND_IN,
    *console_routes("A page for people: questions are answered, cases explained."),
    *about_routes("This process can accept cases."),
)
