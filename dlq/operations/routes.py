"""The HTTP surface of operations: every route with its models, roles and refusals; router and /openapi.json alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from aios.dlq import commands, jobs
from aios.dlq.commands import REASON_CHARS_MAX, ROLE, Action, Kind, Order, Target
from aios.dlq.entries import Group, LetterOutcome
from aios.dlq.filters import IDS_MAX
from aios.dlq.index import LISTED_MAX
from aios.dlq.index_layout import Outcome, State
from aios.schemas.errors import Reason
from aios.schemas.models import BreakerChanged
from aios.streams.bodies import Body
from aios.streams.http import query
from aios.streams.http.about import about_routes
from aios.streams.http.console import console_routes
from aios.streams.http.openapi import Caller, Route
from aios.streams.principals import Role

ID_CHARS_MIN, ID_CHARS_MAX = 6, 36  # of an id that need not be given whole
KEY_CHARS_MAX = 400  # of a breaker's
READERS = tuple(Role)
UNRESOLVED, ALL = "unresolved", "all"

_ID = Annotated[str, Field(min_length=ID_CHARS_MIN, max_length=ID_CHARS_MAX, pattern="^[0-9a-f-]+$")]


class Why(Body):
    """reason: for the audit, in the principal's words."""

    reason: Annotated[str, Field(max_length=REASON_CHARS_MAX)] = ""


class Edit(Why):
    """Either a JSON Patch (RFC 6902) of the decoded value, or replacement bytes, Confluent framing included."""

    patch: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    value_base64: str | None = None


class ApproveEdit(Why):
    """hash_after: SHA-256 of the edited value that was looked at; the letter's `changed.edit_hash_after`."""

    hash_after: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Close(Why):
    key: Annotated[str, Field(min_length=1, max_length=KEY_CHARS_MAX)]


class Selection(Body):
    """Which dead letters; empty parts select everything. since, until: Unix ms. ids: whole, or their beginning."""

    group: str = ""
    reason: str = ""
    fingerprint: str = ""
    tenant: str = ""
    since: Annotated[int, Field(ge=0)] = 0
    until: Annotated[int, Field(ge=0)] = 0
    key: str = ""
    ids: Annotated[list[_ID], Field(max_length=IDS_MAX)] = Field(default_factory=list)
    expression: str = ""


class Plan(Why):
    """kind: dead letters, or events with neither case nor refusal. rate_per_s, cap: 0 is none.

    edit: a JSON Patch for every letter that the filter selects.
    """

    kind: Literal["letters", "missed"] = Target.LETTERS.value
    action: Literal["replay", "discard"] = Action.REPLAY.value
    filter: Selection = Selection()
    edit: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    rate_per_s: Annotated[int, Field(ge=0, le=commands.RATE_MAX)] = 0
    cap: Annotated[int, Field(ge=0, le=commands.CAP_MAX)] = 0
    order: Literal["oldest", "newest"] = Order.OLDEST.value


@dataclass(frozen=True, slots=True)
class Letters:
    """A page. cursor: what gives the next one; empty at the end. total: of all pages."""

    letters: list[dict[str, Any]]
    cursor: str
    total: int


@dataclass(frozen=True, slots=True)
class Jobs:
    """A page, as of letters."""

    jobs: list[dict[str, Any]]
    cursor: str


@dataclass(frozen=True, slots=True)
class Results:
    """A page, as of letters."""

    letters: list[LetterOutcome]
    cursor: str


class Done(BaseModel):
    """What became of a command. object_id: of what it acted on, or made."""

    command_id: str
    kind: str
    object_id: str
    status: str
    detail: str
    result: dict[str, Any]


class Asked(BaseModel):
    """Kafka has the command, its answer did not come in time: the same Idempotency-Key asks for it again."""

    command_id: str
    kind: str
    status: Literal["asked"] = "asked"


_FILTERS: Mapping[str, Mapping[str, Any]] = {
    "group": {"type": "string"},
    "reason": {"type": "string", "enum": sorted(Reason)},
    "fingerprint": {"type": "string"},
    "tenant": {"type": "string"},
    "since": {"type": "integer", "description": "Unix ms; written at that time or later."},
    "until": {"type": "integer", "description": "Unix ms; written before."},
    "key": {"type": "string", "description": "The record's own key."},
    "id": {"type": "array", "items": {"type": "string"}, "description": "Whole, or its beginning; several times."},
    "where": {"type": "string", "description": "CEL over `letter`, `headers` and `value`; reads the records."},
    "state": {"type": "string", "enum": [*State, UNRESOLVED, ALL], "default": UNRESOLVED},
}
_PAGE: Mapping[str, Mapping[str, Any]] = {
    "limit": query.limited(LISTED_MAX),
    "cursor": {"type": "string", "description": "Of the page before."},
}
_BODY = ("invalid_json", "too_slow", "too_large", "unsupported_media_type", "invalid_body", "invalid_header")
_COMMAND = (*_BODY, "not_found", "wrong_state", "changed", "conflicting_duplicate", "refused", "not_acknowledged")
_HEADERS = {"Idempotency-Key": "The same key is the same command, and another one is refused; absent: a new one."}


def _read(path: str, name: str, does: str, answer: Any, query: Mapping[str, Mapping[str, Any]] | None = None) -> Route:
    return Route(
        method="GET",
        path=path,
        name=name,
        does=does,
        answers={200: answer},
        refuses=("invalid_query", "not_found", "ambiguous_id"),
        query=query,
        caller=Caller.PRINCIPAL,
        roles=READERS,
    )


def _command(path: str, name: str, does: str, kind: Kind, *, body: Any = Why, refuses: tuple[str, ...] = ()) -> Route:
    return Route(
        method="POST",
        path=path,
        name=name,
        does=does,
        takes=(body,),
        answers={200: Done, 202: Asked},
        refuses=(*_COMMAND, *refuses),
        headers=_HEADERS,
        caller=Caller.PRINCIPAL,
        roles=(ROLE[kind],),
    )


_LETTERS, _REPLAYS = "/v1/dead-letters", "/v1/replays"
_ONE, _JOB = f"{_LETTERS}/{{letter_id}}", f"{_REPLAYS}/{{job_id}}"
_REFUSES = {
    Kind.APPROVE: ("same_principal",),
    Kind.RUN: ("too_many_jobs",),
    Kind.RESUME: ("too_many_jobs",),
}
_DOES = {Kind.APPROVE: "Let a job run that somebody else planned.", Kind.RUN: "Start an approved job."}

ROUTES = (
    _read(f"{_LETTERS}/groups", "groups", "Dead letters by kind of failure, with what to do.", list[Group], _FILTERS),
    _read(
        f"{_LETTERS}/groups/scan",
        "groups_scan",
        "Groups of those for which an expression holds, as lines of JSON: `progress`, then `group`, at last `end`.",
        None,
        _FILTERS,
    ),
    _read(_LETTERS, "letters", "Dead letters, newest first, a page at a time.", Letters, {**_FILTERS, **_PAGE}),
    _read(
        f"{_LETTERS}/scan",
        "scan",
        "Dead letters for which an expression holds, as lines of JSON: `letter`, `progress`, at last `end`.",
        None,
        {**_FILTERS, "limit": _PAGE["limit"]},
    ),
    _read(
        _ONE,
        "show",
        "One dead letter: its failure, headers and value; without personal fields, unless asked, which is audited.",
        dict[str, Any],
        {"personal": {"type": "boolean", "default": False}},
    ),
    _command(
        f"{_ONE}/edit",
        "edit",
        "Repair a dead letter; another principal approves it.",
        Kind.EDIT,
        body=Edit,
        refuses=("does_not_fit", "ambiguous_id"),
    ),
    _command(
        f"{_ONE}/approve",
        "approve_edit",
        "Let an edit return that somebody else made.",
        Kind.APPROVE_EDIT,
        body=ApproveEdit,
        refuses=("same_principal", "ambiguous_id"),
    ),
    _command(f"{_ONE}/discard", "discard", "Give a dead letter up.", Kind.DISCARD, refuses=("ambiguous_id",)),
    _command(f"{_ONE}/restore", "restore", "Open a discarded one again.", Kind.RESTORE, refuses=("ambiguous_id",)),
    _command(f"{_ONE}/free", "free", "Let a quarantined one return once more.", Kind.FREE, refuses=("ambiguous_id",)),
    _read(_REPLAYS, "jobs", "Replay jobs, newest first.", Jobs, {"state": {"enum": [*jobs.JobState]}, **_PAGE}),
    _command(
        _REPLAYS,
        "plan",
        "Plan a replay job; its dry run begins, another principal approves it.",
        Kind.PLAN,
        body=Plan,
        refuses=("too_many_jobs", "ambiguous_id"),
    ),
    _read(_JOB, "job", "A job: its plan, dry run, progress and counts.", dict[str, Any]),
    _read(
        f"{_JOB}/results",
        "results",
        "What the job did with each letter, and where it went, a page at a time.",
        Results,
        {"outcome": {"type": "string", "enum": [*Outcome], "default": Outcome.SKIPPED.value}, **_PAGE},
    ),
    *(
        _command(
            f"{_JOB}/{kind.value.removeprefix('replay.')}",
            f"job_{kind.value.removeprefix('replay.')}",
            _DOES.get(kind, f"{kind.value.removeprefix('replay.').capitalize()} a job."),
            kind,
            refuses=("ambiguous_id", *_REFUSES.get(kind, ())),
        )
        for kind in (Kind.APPROVE, Kind.RUN, Kind.PAUSE, Kind.RESUME, Kind.ABORT)
    ),
    _read(
        "/v1/breakers",
        "breakers",
        "Open breakers, with what to do.",
        list[BreakerChanged],
        {"all": {"type": "boolean"}},
    ),
    _command("/v1/breakers/close", "close_breaker", "Close a breaker.", Kind.CLOSE_BREAKER, body=Close),
    *console_routes("A page for people: dead letters, the jobs that bring them back, breakers."),
    *about_routes("This process can serve."),
)
