"""Recorded cases with outside systems and events: what they said is as recorded, where they would be asked the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aios.processors.cases import again, case
from aios.processors.cases.again import Decision, Need, Recorded, Tried, Unrepeatable
from aios.processors.cases.turn import Cause
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseDecided,
    CaseTold,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    InferenceCompleted,
    InferenceRequested,
)
from tests.fakes import admissions

AT = 1_790_000_000_000
WORKFLOW = Workflow.model_validate(
    {
        "workflow": "asked.twice",
        "version": 1,
        "owner": "tests",
        "about": "a model, then a system, then an event",
        "input": "document.received.v1",
        "objectives": {"interactive_p95_s": 1, "bulk_p95_s": 1, "without_person_min": 0},
        "policy": {},
        "labels": {"kinds": ["card", "loan"]},
        "samples": [{"text": "a"}],
        "start": "classify",
        "steps": {
            "classify": {
                "infer": {
                    "status": "classifying",
                    "task": "classify",
                    "pool": "classify",
                    "model": "triage-encoder",
                    "input": "input.text",
                    "input_chars_max": 100,
                    "labels": "labels.kinds",
                    "deadline_s": {"interactive": 1, "bulk": 1},
                    "attempts_max": 1,
                    "then": "look",
                    "on_error": {"then": "end"},
                }
            },
            "look": {
                "connect": {
                    "status": "looking",
                    "system": "register",
                    "operation": "look",
                    "request": {"kind": "answers.classify.label"},
                    "deadline_s": {"interactive": 1, "bulk": 1},
                    "then": "hold",
                    "on_error": {"again": {"times": 1, "first_s": 60, "longest_s": 60}, "then": "end"},
                }
            },
            "hold": {
                "wait": {
                    "status": "held",
                    "event": "released",
                    "for_s": 60,
                    "then": "end",
                    "on_expiry": {"then": "end"},
                }
            },
            "end": {
                "emit": {
                    "status": "decided",
                    "outcome": "done",
                    "decided_by": "'policy'",
                    "label": "has(answers.look) ? answers.look.found : 'none'",
                }
            },
        },
    }
)
WORKFLOWS = Workflows([WORKFLOW])


def admitted() -> CaseAdmitted:
    body = {"text": "a", "channel": "message", "subject": "", "customer_id": ""}
    return admissions.admitted(body, workflow="asked.twice", case_id="c-1", at=AT)


def classified(request: InferenceRequested, label: str) -> InferenceCompleted:
    said = {
        "status": "ok",
        "reason": "",
        "contract": "classification.v1",
        "prompt_tokens": 0,
        "output_tokens": 0,
        "compute_ms": 0,
    }
    return again.completed(request, said, ids.canonical({"label": label, "confidence": 1.0, "out_of_scope": 0.0}), AT)


def looked(request: ConnectorRequested) -> ConnectorCompleted:
    return ConnectorCompleted(
        request_id=request.request_id,
        case_id=request.case_id,
        tenant=request.tenant,
        workflow=request.workflow,
        step=request.step,
        attempt=request.attempt,
        system=request.system,
        operation=request.operation,
        status="ok",
        reason="",
        output='{"found":"yes"}',
        output_contract="x",
        tries=1,
        reconciled=False,
        waited_ms=0,
        call_ms=0,
        completed_at=AT,
    )


def ran() -> tuple[Recorded, InferenceRequested]:
    """The case as it ran, from plan's own commands."""
    state, ahead, decided = None, list[Event]([admitted()]), dict[str, Any]()
    answers, calls, told = {}, {}, {}
    questions = []
    while ahead:
        moved = case.plan(state, ahead.pop(0), Cause("", 0, 0, AT), WORKFLOWS)
        state = moved.state
        for _, event in moved.events:
            match event:
                case InferenceRequested():
                    questions.append(event)
                    answers[event.step, event.attempt] = classified(event, "card")
                    ahead.append(answers[event.step, event.attempt])
                case ConnectorRequested():
                    calls[event.step, event.attempt] = looked(event)
                    ahead.append(calls[event.step, event.attempt])
                case AuditRecorded(transition="waiting"):
                    told[event.step] = CaseTold(
                        event_id="t",
                        case_id="c-1",
                        tenant="demo",
                        kind="released",
                        body="{}",
                        by="producer",
                        told_at=AT,
                    )
                    ahead.append(told[event.step])
                case CaseDecided():
                    decided = {"outcome": event.outcome, "label": event.label, "decided_by": event.decided_by}
    recorded = Recorded(
        admitted=admitted(), version=1, answers=answers, reviews={}, decided=decided, calls=calls, told=told
    )
    return recorded, questions[0]


def test_the_records_lead_to_the_recorded_decision() -> None:
    """With what the system and the event said; without either of them it is not repeatable."""
    recorded, _ = ran()
    assert recorded.decided == {"outcome": "done", "label": "yes", "decided_by": "policy"}
    found = again.baseline(recorded, WORKFLOWS)
    assert isinstance(found, Decision)
    assert found.label == "yes"
    for less in (replace(recorded, calls={}), replace(recorded, told={})):
        assert isinstance(again.baseline(less, WORKFLOWS), Unrepeatable)


def test_a_system_that_was_asked_again_after_a_rest_is_again() -> None:
    """Its time is over at once, and each attempt is given what that attempt was."""
    recorded, _ = ran()
    said = recorded.calls["look", 1]
    late = replace(said, status="expired", reason="unavailable: away", output="", output_contract="")
    calls = {("look", 1): late, ("look", 2): replace(said, attempt=2)}
    found = again.baseline(replace(recorded, calls=calls), WORKFLOWS)
    assert isinstance(found, Decision)
    assert found.label == "yes"


def test_a_system_that_would_be_asked_something_else_said_nothing_to_it() -> None:
    """The same label asks the same and decides the same; another one leaves the case out."""
    recorded, question = ran()
    tried = Tried(model="triage-encoder@1")
    need = again.decide(recorded, WORKFLOWS, tried, {})
    assert isinstance(need, Need)
    key = (question.case_id, "classify", need.request.pool)
    same = again.decide(recorded, WORKFLOWS, tried, {key: classified(need.request, "card")})
    assert isinstance(same, Decision)
    assert same.label == "yes"
    other = again.decide(recorded, WORKFLOWS, tried, {key: classified(need.request, "loan")})
    assert other == Unrepeatable("register would be asked something else in look")
