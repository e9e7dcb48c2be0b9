"""Recorded cases decided again: the recorded answers change nothing, other ones exactly what they lead to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.infra import rehearsing
from aios.infra.cli import aios
from aios.infra.commands import prompt_history
from aios.infra.commands.prompt_history import Gate
from aios.infra.output import NOT_FOUND
from aios.infra.rehearsing import Request
from aios.processors.cases import again, case
from aios.processors.cases.again import Decision, Need, Recorded, Tried, Unrepeatable
from aios.processors.cases.turn import Cause
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Step
from aios.processors.language.workflow_files import Workflows
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseDecided,
    CaseRemembered,
    Event,
    InferenceCompleted,
    InferenceRequested,
    ReviewDecided,
    ReviewRequested,
)
from aios.streams import inputs, installed
from tests.fakes import admissions
from tests.fakes.deployments import Tables
from tests.fakes.triage import plain

WORKFLOWS = plain()
AT = 1_790_000_000_000
LETTER = "The fee of $14.00 was taken twice from my account."


@dataclass
class Ran:
    """A case as it ran: confidence decides whether a person was asked; failed: the summary was."""

    channel: str = "letter"
    confidence: float = 0.9
    failed: bool = False
    key: str = "k"
    text: str = LETTER
    moves: list[AuditRecorded] = field(default_factory=list)
    answers: dict[tuple[str, int], InferenceCompleted] = field(default_factory=dict)
    reviews: dict[tuple[str, int], ReviewDecided] = field(default_factory=dict)
    decided: list[CaseDecided] = field(default_factory=list)

    def __post_init__(self) -> None:
        body = {"text": self.text, "channel": self.channel, "subject": "", "customer_id": f"C-{self.key}"}
        self.admitted = admissions.admitted(body, key=self.key, at=AT)
        state: CaseRemembered | None = None
        event: Event | None = self.admitted
        while event is not None:
            moved = case.plan(state, event, Cause("t", 0, len(self.moves), AT), WORKFLOWS)
            state, event = moved.state, None
            for _, told in moved.events:
                event = self.take(told) or event

    def take(self, told: Event) -> Event | None:
        match told:
            case AuditRecorded():
                self.moves.append(told)
            case CaseDecided():
                self.decided.append(told)
            case InferenceRequested():
                self.answers[told.step, told.attempt] = answered(told, self)
                return self.answers[told.step, told.attempt]
            case ReviewRequested():
                self.reviews[told.step, told.round] = ReviewDecided(
                    event_id="r",
                    task_id=told.task_id,
                    case_id=told.case_id,
                    tenant=told.tenant,
                    label=told.choices[1],
                    reviewer="ana",
                    decided_at=AT,
                )
                return self.reviews[told.step, told.round]
        return None

    @property
    def recorded(self) -> Recorded:
        detail = next(json.loads(move.detail) for move in self.moves if move.transition == "decided")
        version = next(json.loads(m.detail)["workflow_version"] for m in self.moves if m.transition == "admitted")
        return Recorded(
            admitted=self.admitted, version=version, answers=self.answers, reviews=self.reviews, decided=detail
        )


def answered(request: InferenceRequested, ran: Ran, **changed: Any) -> InferenceCompleted:
    label = "bank_account" if ran.channel == "letter" else "card_arrival"
    said: dict[str, Any] = {"label": label, "confidence": ran.confidence, "out_of_scope": 0.1}
    if request.task == "generate":
        said = {"text": "The fee is wrong."}
    failed = ran.failed and request.task == "generate"
    told = {
        "status": "failed" if failed else "ok",
        "reason": "no" if failed else "",
        "output": said,
        "contract": "classification.v1" if request.task == "classify" else "generation.v1",
        "prompt_tokens": 100,
        "output_tokens": 10,
        "compute_ms": 1,
    } | changed
    return again.completed(request, told, ids.canonical(told["output"]), AT)


def new_summary(ran: Ran, text: str, **changed: Any) -> dict[tuple[str, str, str], InferenceCompleted]:
    """The answer of another prompt to the one request that concerns it."""
    need = again.decide(ran.recorded, WORKFLOWS, Tried(prompt="summary@2"), {})
    assert isinstance(need, Need)
    assert need.request.prompt == "summary@2"
    asked = need.request
    return {(asked.case_id, asked.step, asked.pool): answered(asked, ran, output={"text": text}, **changed)}


@settings(deadline=None)
@given(st.sampled_from(["letter", "message"]), st.floats(0, 1), st.booleans())
def test_with_the_recorded_answers_the_decision_is_the_recorded_one(
    channel: str, confidence: float, failed: bool
) -> None:
    """Whoever decided it, whatever failed on the way; the summary too."""
    ran = Ran(channel, confidence, failed)
    found = again.baseline(ran.recorded, WORKFLOWS)
    assert isinstance(found, Decision)
    (decided,) = ran.decided
    assert found == Decision(
        outcome=decided.outcome,
        label=decided.label,
        decided_by=decided.decided_by,
        reasons=decided.reasons,
        summary=decided.summary,
    )


def test_another_prompt_changes_what_it_says_and_no_more() -> None:
    """The label and who decided stay; the text is the new one; a failure is one more reason."""
    ran = Ran()
    tried = Tried(prompt="summary@2")
    before = again.baseline(ran.recorded, WORKFLOWS)
    after = again.decide(ran.recorded, WORKFLOWS, tried, new_summary(ran, "Wants the fee back."))
    assert isinstance(before, Decision)
    assert after == replace(before, summary="Wants the fee back.")
    failed = again.decide(ran.recorded, WORKFLOWS, tried, new_summary(ran, "", status="failed"))
    assert isinstance(failed, Decision)
    assert failed.text_apart == replace(before.text_apart, reasons=(*before.reasons, "no_summary"))


def test_where_what_is_tried_fails_the_fallback_of_its_pool_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As plan does: the answer of the first pool is none of the second one's."""
    pools = installed.pools()
    writers = [pool for pool in pools.values() if pool.process == "generate"]
    first = {pool.pool: pool.model_copy(update={"fallback": "second"}) for pool in writers}
    second = {f"second.{pool.lane}": pool.model_copy(update={"pool": f"second.{pool.lane}"}) for pool in writers}
    monkeypatch.setattr(installed, "pools", lambda: {**pools, **first, **second})
    ran, tried = Ran(), Tried(prompt="summary@2")
    given_ = new_summary(ran, "", status="failed")
    need = again.decide(ran.recorded, WORKFLOWS, tried, given_)
    assert isinstance(need, Need)
    assert (need.request.pool.partition(".")[0], need.request.prompt) == ("second", "summary@2")
    asked = need.request
    given_[asked.case_id, asked.step, asked.pool] = answered(asked, ran, output={"text": "Wants the fee back."})
    after = again.decide(ran.recorded, WORKFLOWS, tried, given_)
    assert isinstance(after, Decision)
    assert after.summary == "Wants the fee back."


def test_another_model_that_is_sure_where_the_old_one_was_not() -> None:
    """A person was asked then and is not now; the other way round, what they would say is not known."""
    person, sure = Ran(confidence=0.1), Ran(confidence=0.9)
    tried = Tried(model="triage-encoder@2")
    for ran, confidence, by in ((person, 0.99, "policy"), (sure, 0.01, again.PERSON)):
        need = again.decide(ran.recorded, WORKFLOWS, tried, {})
        assert isinstance(need, Need)
        assert need.request.model == "triage-encoder@2"
        said = answered(
            need.request, ran, output={"label": "bank_account", "confidence": confidence, "out_of_scope": 0.1}
        )
        given_ = {(said.case_id, said.step, said.pool): said}
        after = again.decide(ran.recorded, WORKFLOWS, tried, given_)
        if isinstance(after, Need):  # what was never asked then: the summary of a letter that a person had decided
            more = after.request
            given_[more.case_id, more.step, more.pool] = answered(more, ran)
            after = again.decide(ran.recorded, WORKFLOWS, tried, given_)
        assert isinstance(after, Decision)
        assert after.decided_by == by


def test_a_case_that_came_about_in_another_way_is_not_called_unchanged() -> None:
    """An answer that the log has lost, another decision than recorded, a version that is gone: told apart."""
    ran = Ran()
    lost = replace(ran.recorded, answers={})
    other = replace(ran.recorded, decided={**ran.recorded.decided, "label": "mortgage"})
    gone = replace(ran.recorded, version=99)
    whys = []
    for one in (lost, other, gone):
        found = again.baseline(one, WORKFLOWS)
        assert isinstance(found, Unrepeatable)
        whys.append(found.why)
    assert "not in the log" in whys[0]
    assert "label came about in another way" in whys[1]
    assert "document.triage@99" in whys[2]


# ── the report and its gate ──

SAID: dict[str, Any] = {
    "status": "ok",
    "reason": "",
    "output": {"text": "Wants it back."},
    "contract": "generation.v1",
    "prompt_tokens": 200,
    "output_tokens": 20,
    "compute_ms": 1,
}


def asking(monkeypatch: pytest.MonkeyPatch, only: str = "", **changed: Any) -> list[Request]:
    """Models are asked through here; they say `changed`. only: to this prompt."""
    asked: list[Request] = []

    def ask(process: str, requests: list[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        asked.extend(requests)
        return "fake 1", {one.id: SAID | (changed if only in {"", one.prompt} else {}) for one in requests}

    monkeypatch.setattr(rehearsing, "ask", ask)
    return asked


def test_the_gate_counts_decisions_failures_and_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only letters with a summary are asked for; a failed summary is another reason, so another decision."""
    letters = [Ran(key=f"l{n}").recorded for n in range(4)]
    asked = asking(monkeypatch)
    compared, left_out = prompt_history.compare(letters, Tried(prompt="summary@1"), "")
    assert (len(compared), left_out, len(asked)) == (4, {}, 4)
    report = prompt_history.report(compared, left_out, 0, Gate(changed_max=0.0, failed_more_max=0.0))
    assert report["passed"]
    assert (report["changed"], report["texts_changed"]) == (0, 4)
    assert report["cost_after_micro"] == 2 * report["cost_before_micro"] > 0
    asking(monkeypatch, "summary@1", status="failed", output={})
    worse, _ = prompt_history.compare(letters, Tried(prompt="summary@1"), "")
    report = prompt_history.report(worse, {}, 2, Gate(changed_max=0.5, failed_more_max=1.0))
    assert not report["passed"]
    assert (report["changed"], report["failed_more_share"]) == (4, 1.0)
    assert report["decisions"][0]["tenant"] == "demo"
    assert report["decisions"][0]["customer"] == "C-l0"
    assert report["decisions"][0]["reasons_after"] == ["confident", "no_summary"]
    assert report["left_out"] == {"not in the log any more": 2}


FAILS: dict[str, Any] = {"status": "failed", "output": {}}
BOTH = (False, True)


@pytest.mark.parametrize(("failed", "fails_now", "fails_tried"), list(product(BOTH, BOTH, BOTH)))
def test_a_change_that_the_version_of_then_makes_too_is_not_held_against_what_is_tried(
    monkeypatch: pytest.MonkeyPatch, *, failed: bool, fails_now: bool, fails_tried: bool
) -> None:
    """It is asked again where a decision would change, and there alone; what it does not repeat is shown."""
    asked: list[str] = []

    def ask(process: str, requests: list[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        asked.extend(one.prompt for one in requests)
        fails = {"summary@2": fails_now, "summary@1": fails_tried}
        return "fake 1", {one.id: SAID | (FAILS if fails[one.prompt] else {}) for one in requests}

    monkeypatch.setattr(rehearsing, "ask", ask)
    compared, _ = prompt_history.compare([Ran(failed=failed).recorded], Tried(prompt="summary@1"), "")
    report = prompt_history.report(compared, {}, 0, Gate(changed_max=0.0, failed_more_max=0.0))
    differs = fails_tried != failed
    assert asked == ["summary@1", "summary@2"] if differs else ["summary@1"]
    assert report["changed"] == (differs and fails_now == failed)
    assert report["passed"] == (not differs or fails_now != failed)
    assert len(report["unsteady"]) == (differs and fails_now != failed)


@pytest.mark.parametrize(("failed", "fails_now"), list(product(BOTH, BOTH)))
def test_the_same_version_against_its_own_history_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, *, failed: bool, fails_now: bool
) -> None:
    """Also where it does not repeat what was recorded under its name: that is shown, and asked once."""
    asked = asking(monkeypatch, **(FAILS if fails_now else {}))
    for tried in (Tried(prompt="summary@2"), Tried(prompt="summary@2", model="summariser@1")):
        compared, left_out = prompt_history.compare([Ran(failed=failed).recorded], tried, "")
        report = prompt_history.report(compared, left_out, 0, Gate(changed_max=0.0, failed_more_max=0.0))
        assert (report["changed"], report["failed_more_share"], report["passed"]) == (0, 0.0, True)
        assert len(report["unsteady"]) == (failed != fails_now)
    assert [one.prompt for one in asked] == ["summary@2", "summary@2"]


@pytest.mark.parametrize("fails_now", BOTH)
def test_an_answer_that_fails_where_a_workflow_does_not_mind_is_asked_again_too(
    monkeypatch: pytest.MonkeyPatch, *, fails_now: bool
) -> None:
    """No decision changes by it; it is held against what is tried unless the version of then fails as well."""
    triage = WORKFLOWS.at("document.triage", Ran().recorded.version)
    step = triage.steps["summarise"].infer
    assert step is not None
    calm = step.model_copy(update={"on_error": step.on_error.model_copy(update={"reason": None})})
    calm_one = triage.model_copy(update={"steps": {**triage.steps, "summarise": Step(infer=calm)}})
    monkeypatch.setattr(workflow_files, "shipped", lambda: Workflows([calm_one]))
    asked: list[str] = []

    def ask(process: str, requests: list[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        asked.extend(one.prompt for one in requests)
        return "fake 1", {one.id: SAID | (FAILS if fails_now or one.prompt == "summary@1" else {}) for one in requests}

    monkeypatch.setattr(rehearsing, "ask", ask)
    compared, _ = prompt_history.compare([Ran().recorded], Tried(prompt="summary@1"), "")
    report = prompt_history.report(compared, {}, 0, Gate(changed_max=0.0, failed_more_max=0.0))
    assert asked == ["summary@1", "summary@2"]
    assert (report["changed"], report["failed_more_share"], report["passed"]) == (0, float(not fails_now), fails_now)


def test_what_answered_then_is_one_version_or_none_of_them() -> None:
    """Two of them said different things of one case; where nothing of it answered there is none."""
    recorded, tried = Ran().recorded, Tried(prompt="summary@1")
    ((step, _), answer) = next(each for each in recorded.answers.items() if each[1].prompt)
    assert prompt_history.of_then(recorded, tried) == Tried(prompt="summary@2", model=answer.model)
    two = {**recorded.answers, (step, 2): replace(answer, prompt="summary@1")}
    assert prompt_history.of_then(replace(recorded, answers=two), tried) is None
    assert prompt_history.of_then(replace(recorded, answers={}), tried) is None


def test_a_version_that_is_here_no_more_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recorded stands for it."""
    recorded = Ran().recorded
    gone = {key: replace(one, prompt=one.prompt and "summary@99") for key, one in recorded.answers.items()}
    asked = asking(monkeypatch, **FAILS)
    compared, _ = prompt_history.compare([replace(recorded, answers=gone)], Tried(prompt="summary@1"), "")
    report = prompt_history.report(compared, {}, 0, Gate(changed_max=0.0, failed_more_max=0.0))
    assert (report["changed"], report["unsteady"], len(asked)) == (1, [], 1)


def test_what_is_neither_a_prompt_nor_a_model_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read."""
    said = CliRunner().invoke(aios, ["prompt", "test", "nothing@1", "--against", "history"])
    assert said.exit_code == NOT_FOUND
    assert "neither a prompt nor a model" in said.output
    assert prompt_history.tried("summary@2", "") == Tried(prompt="summary@2")
    assert prompt_history.tried("triage-encoder@1", "") == Tried(model="triage-encoder@1")


def test_a_case_of_a_deployed_workflow_is_repeated_as_that_workflow_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not left out because this release does not ship it."""
    text = (workflow_files.FOLDER / "document.triage@2.yaml").read_text(encoding="utf-8")
    sound, problems = workflow_files.read_text(
        text.replace("version: 2", "version: 90", 1), "mine", inputs.shipped, walked=True
    )
    assert sound is not None, problems
    tables = Tables()
    tables.put(sound)
    told = tables.deployed["document.triage@90"]
    tables.deployed["document.triage@90"] = replace(told, input_schema="")  # it takes a contract of this release
    asking(monkeypatch)
    letters, live = [replace(Ran().recorded, version=90)], workflow_files.Live(workflow_files.shipped(), tables.given)
    compared, left_out = prompt_history.compare(letters, Tried(prompt="summary@1"), "", live)
    assert (len(compared), left_out) == (1, {})
    nobody, left_out = prompt_history.compare(letters, Tried(prompt="summary@1"), "")
    assert (nobody, list(left_out.values())) == ([], [1])
