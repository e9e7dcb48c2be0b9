"""Recorded cases with outside systems and events: what they said is as recorded, where they would be asked the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from aios.infra import recorded_cases, rehearsing
from aios.infra.commands import prompt_history
from aios.infra.commands.prompt_history import Gate
from aios.infra.output import FAILED
from aios.infra.rehearsing import Request
from aios.processors.cases import again, case
from aios.processors.cases.again import Decision, Need, Recorded, Tried, Unrepeatable
from aios.processors.cases.turn import Cause
from aios.processors.language import workflow_files
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
from aios.streams import deployments
from tests.fakes import admissions
from tests.fakes.deployments import Tables

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
    """The same label asks the same and decides the same; after another one nothing is known."""
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


# ── the gate ──

ASKED_ELSE = "register would be asked something else in look"
NONE_MAY = Gate(changed_max=0.0, failed_more_max=0.0)


def cases(count: int) -> list[Recorded]:
    """The same one, under as many ids."""
    recorded, _ = ran()

    def named(case_id: str) -> Recorded:
        return replace(
            recorded,
            admitted=replace(recorded.admitted, case_id=case_id),
            answers={at: replace(one, case_id=case_id) for at, one in recorded.answers.items()},
            calls={at: replace(one, case_id=case_id) for at, one in recorded.calls.items()},
            told={at: replace(one, case_id=case_id) for at, one in recorded.told.items()},
        )

    return [named(f"c-{number}") for number in range(count)]


def labelling(monkeypatch: pytest.MonkeyPatch, **labels: Sequence[str]) -> None:
    """What each version says, v1 and v2, to one question after the other; the last of it to all others."""

    def ask(process: str, requests: list[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        told = {}
        for number, one in enumerate(requests):
            mine = labels[f"v{one.model.partition('@')[2]}"]
            label = mine[min(number, len(mine) - 1)]
            told[one.id] = {
                "status": "ok",
                "reason": "",
                "contract": "classification.v1",
                "output": {"label": label, "confidence": 1.0, "out_of_scope": 0.0},
                "prompt_tokens": 1,
                "output_tokens": 0,
                "compute_ms": 1,
            }
        return "fake 1", told

    monkeypatch.setattr(rehearsing, "ask", ask)


def test_a_case_that_drops_out_with_what_is_tried_is_a_change_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts in the gate, and is told with its reason; one that its records do not repeat anyway does not."""
    labelling(monkeypatch, v1=["loan", "loan", "loan", "card"], v2=["card"])
    *whole, last = cases(5)
    lost = replace(last, calls={})
    compared, left_out = prompt_history.compare([*whole, lost], Tried(model="triage-encoder@1"), "", WORKFLOWS)
    report = prompt_history.report(compared, left_out, 0, Gate(changed_max=0.74, failed_more_max=0.0))
    assert (report["passed"], report["cases"], report["changed"], report["changed_share"]) == (False, 4, 3, 0.75)
    assert (report["to_not_known"], report["to_a_person"], report["texts_changed"]) == (3, 0, 0)
    assert report["left_out"] == {"it waits for what is not in the log": 1}
    assert [(one["case_id"], one["tenant"]) for one in report["decisions"]] == [(f"c-{n}", "demo") for n in range(3)]
    for one in report["decisions"]:
        assert (one["before"], one["after"]) == ("done yes by policy", "not_known")
        assert one["reasons_after"] == [ASKED_ELSE]


@pytest.mark.parametrize("again_label", ["card", "loan"])
def test_a_case_that_drops_out_with_the_version_of_then_too_is_not_held_against_what_is_tried(
    monkeypatch: pytest.MonkeyPatch, again_label: str
) -> None:
    """It is shown as unsteady; so is one that drops out with the version of then itself, against its own history."""
    labelling(monkeypatch, v1=["loan"], v2=[again_label])
    for tried in (Tried(model="triage-encoder@1"), Tried(model="triage-encoder@2")):
        compared, left_out = prompt_history.compare(cases(1), tried, "", WORKFLOWS)
        report = prompt_history.report(compared, left_out, 0, NONE_MAY)
        changes = again_label == "card" and tried.model == "triage-encoder@1"
        assert (report["passed"], report["changed"], left_out) == (not changes, int(changes), {})
        assert [one["again"] for one in report["unsteady"]] == (["not_known"] if again_label == "loan" else [])


def test_the_command_says_whose_case_drops_out_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though no case of all is left that was decided: the gate is not passed, and that is the exit code."""

    @contextmanager
    def connected() -> Iterator[tuple[Any, Any]]:
        yield type("Settings", (), {"kafka": None})(), None

    @contextmanager
    def loaded(*_: Any) -> Iterator[Any]:
        yield Tables().given

    monkeypatch.setattr(prompt_history, "connected", connected)
    monkeypatch.setattr(deployments, "loaded", loaded)
    monkeypatch.setattr(recorded_cases, "read", lambda *_: (cases(2), 0))
    monkeypatch.setattr(workflow_files, "shipped", lambda: WORKFLOWS)
    labelling(monkeypatch, v1=["loan"], v2=["card"])
    tried = Tried(model="triage-encoder@1")
    assert prompt_history.run(tried, 10, NONE_MAY, engine="", as_json=False) == FAILED
    said = capsys.readouterr().out
    assert "2 of 2 decisions would change" in said
    assert "2 to what their records do not tell" in said
    assert said.count(ASKED_ELSE) == 2
    assert "the gate is NOT passed" in said
    assert prompt_history.run(tried, 10, NONE_MAY, engine="", as_json=True) == FAILED
    assert json.loads(capsys.readouterr().out)["to_not_known"] == 2
