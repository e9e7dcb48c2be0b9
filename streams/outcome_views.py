"""A case and a question to people, as they are shown: values alone.

Enters: what outcome_layout.py says stands in the store. Leaves: CaseView, ReviewView. Two statuses are not transitions
of a case: `accepted` (the gateway has it in Kafka, plan has not seen it) and `refused` (it never became a case).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aios.streams.review_claims import Claim

ACCEPTED, REFUSED, DECIDED, EXPIRED, CANCELLED = "accepted", "refused", "decided", "expired", "cancelled"
ENDED = (DECIDED, EXPIRED, CANCELLED)
OPEN, CLOSED = "open", "closed"  # of a review task


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """A case as it stands. Times: Unix ms, 0 = not yet. status: accepted, refused, or of the last transition.

    confidence, label, outcome: of the decision; while a person is asked, reasons says why. task_id: the open review
    task. dead_letters: ids of records of this case that wait for an operator. refusal: the refused event, if refused.
    waits_for: outside systems that are asked and away, as {system, since}, with `endpoint` where one of a system that
    is many is; the case goes on by itself. output: what the decision says beside its label. says, until: what an open
    case shows while it waits for an event, and how long it does; waits_from: the number of the transition that it
    waits since; answers: whoever waits for the case is given this. hears: kinds of events it can be told; None: not
    known.
    """

    case_id: str
    tenant: str
    workflow: str = ""
    workflow_version: int = 0
    status: str
    step: str = ""
    lane: str = ""
    event_id: str = ""
    outcome: str = ""
    label: str = ""
    confidence: float | None = None
    channel: str = ""
    reasons: tuple[str, ...] = ()
    summary: str = ""
    models: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    decided_by: str = ""
    received_at: int = 0
    admitted_at: int = 0
    changed_at: int = 0
    decided_at: int = 0
    case_seq: int = 0
    task_id: str = ""
    dead_letters: tuple[str, ...] = ()
    trace_id: str = ""
    refusal: Mapping[str, Any] | None = None
    waits_for: tuple[Mapping[str, Any], ...] = ()
    output: Mapping[str, Any] | None = None
    says: Mapping[str, Any] | None = None
    until: int = 0
    answers: bool = False
    hears: tuple[str, ...] | None = None
    waits_from: int = 0

    @property
    def settled(self) -> bool:
        """Decided, expired or refused: nothing will change."""
        return bool(self.decided_at) or self.status == REFUSED

    @property
    def at_rest(self) -> bool:
        """Settled, a person is asked, or the case has come to what its caller wants to know."""
        return self.settled or bool(self.task_id) or self.answers

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewView:
    """A question to a person. status: open, or closed once the case has moved on. input: the case's, as an object.

    evidence: what to look at beside the input. people: how many must agree; round: which of them this asks.
    claimed_by: who has it in hand, until claimed_until (Unix ms) unless they renew it; empty: nobody.
    """

    task_id: str
    case_id: str
    tenant: str
    workflow: str
    workflow_version: int
    step: str
    reasons: tuple[str, ...]
    suggestion: str
    confidence: float
    out_of_scope: float
    choices: tuple[str, ...]
    input: Mapping[str, Any]
    requested_at: int
    expires_at: int
    status: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    people: int = 1
    round: int = 1
    skills: str = ""
    claimed_by: str = ""
    claimed_until: int = 0

    @property
    def claim(self) -> Claim | None:
        return Claim(by=self.claimed_by, until=self.claimed_until) if self.claimed_by else None

    def share_used(self, now_ms: int) -> float:
        """Of the time in which it may be answered; 0 and more."""
        return max(0, now_ms - self.requested_at) / max(1, self.expires_at - self.requested_at)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def refused_view(refusals: Sequence[Mapping[str, Any]], case_id: str) -> CaseView | None:
    """The case that never was, by the newest of its refusals; None without one."""
    if not refusals:
        return None
    newest = refusals[0]
    return CaseView(
        case_id=case_id,
        tenant=newest["tenant"],
        workflow=newest["workflow"],
        status=REFUSED,
        event_id=newest["event_id"],
        reasons=(newest["reason"],),
        changed_at=newest["refused_at"],
        refusal=newest,
    )


def case_view(case_id: str, case: Mapping[str, str]) -> CaseView:
    """Of a case's hash."""
    opened_by: dict[str, Any] = json.loads(case.get("opened", "{}"))
    course: dict[str, Any] = json.loads(case.get("course", "{}"))
    view = CaseView(
        case_id=case_id,
        tenant=case["tenant"],
        workflow=case["workflow"],
        workflow_version=course.get("workflow_version", opened_by.get("workflow_version", 0)),
        status=case.get("status", ""),
        step=case.get("step", ""),
        lane=opened_by.get("lane", ""),
        event_id=opened_by.get("event_id", ""),
        admitted_at=opened_by.get("at", 0),
        changed_at=int(case.get("at", 0)),
        case_seq=int(case.get("seq", 0)),
        task_id=case.get("task", ""),
        trace_id=case.get("trace", ""),
        hears=tuple(course["hears"]) if course.get("hears") is not None else None,
        waits_from=int(case.get("task_seq", 0)) if case.get("waits") else 0,
        **(json.loads(case["waits"]) if case.get("waits") else {}),
    )
    return view if "decision" not in case else _decided(view, json.loads(case["decision"]))


_SHOWN = (
    "workflow_version",
    "lane",
    "event_id",
    "outcome",
    "label",
    "confidence",
    "channel",
    "summary",
    "decided_by",
    "received_at",
    "admitted_at",
    "decided_at",
)


def _decided(view: CaseView, decision: Mapping[str, Any]) -> CaseView:
    """case.decided and the audit of the same transition come by different topics: whichever is first, it is decided."""
    behind, outcome = view.case_seq < decision["case_seq"], decision["outcome"]
    shown: dict[str, Any] = {name: decision[name] for name in _SHOWN}
    said: dict[str, Any] = {name: tuple(decision[name]) for name in ("reasons", "models", "prompts")}
    return replace(
        view,
        **shown,
        **said,
        status=(outcome if outcome in (EXPIRED, CANCELLED) else DECIDED) if behind else view.status,
        case_seq=max(view.case_seq, decision["case_seq"]),
        changed_at=max(view.changed_at, decision["decided_at"]),
        task_id="",
        output=json.loads(decision.get("output") or "null"),
        says=None,
        until=0,
        answers=False,
        waits_from=0,
    )


def task_view(said: Mapping[str, Any], held: Claim | None, *, is_open: bool) -> ReviewView:
    """Of a question's record, and who has claimed it."""
    return ReviewView(
        task_id=said["task_id"],
        case_id=said["case_id"],
        tenant=said["tenant"],
        workflow=said["workflow"],
        workflow_version=said["workflow_version"],
        step=said["step"],
        reasons=tuple(said["reasons"]),
        suggestion=said["suggestion"],
        confidence=said["confidence"],
        out_of_scope=said["out_of_scope"],
        choices=tuple(said["choices"]),
        input=json.loads(said["input"]),
        requested_at=said["requested_at"],
        expires_at=said["expires_at"],
        status=OPEN if is_open else CLOSED,
        evidence=json.loads(said.get("evidence") or "{}"),
        people=said.get("people", 1),
        round=said.get("round", 1),
        skills=said.get("skills", ""),
        claimed_by=held.by if held is not None and is_open else "",
        claimed_until=held.until if held is not None and is_open else 0,
    )
