"""People in a case: four eyes, and cases that must not be decided alone."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from aios.processors.cases.course import ALONE
from aios.processors.language import autonomy
from aios.processors.language.workflow import Workflow
from aios.schemas.models import AuditRecorded, CaseDecided, ConnectorRequested, ReviewRequested
from tests.fakes.flow import EVERY, INPUT, Flow, workflow

RISKY = {**INPUT, "risk": 90}


def asked(risk: int = 10, **changed: Any) -> Flow:
    """The case waits for a person, because a name is near a list's."""
    flow = Flow(input={**INPUT, "risk": risk}, **changed)
    flow.admit()
    flow.answer("gather/screen", score=80)
    flow.answer("gather/about")
    flow.answer("read/0")
    flow.answer("read/1")
    return flow


def test_the_task_says_what_a_person_needs() -> None:
    """Skills, how many are asked, and the evidence; the policy's own answers are in it."""
    task = asked().out("ask")
    assert (task.skills, task.people, task.round, task.reasons) == ("sanctions", 1, 1, ("near_match",))
    assert json.loads(task.evidence)["answers"]["screen"] == {"score": 80}


def test_two_who_agree_decide() -> None:
    """The second is asked when the first has decided, as another task, and is shown nothing of the first."""
    flow = asked(risk=90)
    first = flow.out("ask")
    assert (first.people, first.round) == (2, 1)
    flow.judge("ask", "reject", "ana")
    second = flow.out("ask")
    assert (second.people, second.round, second.suggestion) == (2, 2, first.suggestion)
    assert second.task_id != first.task_id
    assert "ana" not in json.dumps([second.evidence, list(second.reasons), second.suggestion])
    assert flow.timers.keys() == {"ask/2"}
    flow.judge("ask", "reject", "ben", "r2")
    assert (flow.decided.outcome, flow.decided.decided_by) == ("refused", "reviewer:ana+ben")
    assert flow.decided.suggestion == "accept"


def test_the_same_person_is_not_two() -> None:
    """The second verdict of one person is noted and does not count; another one's does."""
    flow = asked(risk=90)
    flow.judge("ask", "reject", "ana")
    flow.judge("ask", "reject", "ana", "r2")
    assert (flow.transitions()[-1], flow.of(ReviewRequested)[-1].round) == ("ignored", 2)
    flow.judge("ask", "reject", "ben", "r3")
    assert flow.decided.decided_by == "reviewer:ana+ben"


def test_two_who_disagree_lead_elsewhere() -> None:
    """No label, both verdicts on the audit, and the reason in the decision."""
    flow = asked(risk=90)
    flow.judge("ask", "accept", "ana")
    flow.judge("ask", "reject", "ben", "r2")
    assert flow.decided.reasons == ("near_match", "reviewers_disagree")
    verdicts = [json.loads(one.detail) for one in flow.of(AuditRecorded) if one.transition == "review_decided"]
    assert [(one["label"], one["round"]) for one in verdicts] == [("accept", 1), ("reject", 2)]


def settled(*jumps: str) -> Flow:
    """Two disagree, and `jumps` lead to a third; `senior` and what is behind it."""
    changed: dict[str, Any] = copy.deepcopy(EVERY)
    ask = changed["steps"]["ask"]["review"]
    one = {name: ask[name] for name in ask if name not in ("people", "on_disagreement")}
    changed["steps"]["senior"] = {"review": {**one, "status": "waiting_for_senior", "then": "overruled"}}
    row = {"when": "answers.senior.label == 'accept'", "then": "book"}
    changed["steps"]["overruled"] = {"rule": {"first_of": [row], "otherwise": {"then": "refuse"}}}
    for name in jumps:
        changed["steps"][name] = {"rule": {"first_of": [{**row, "when": "false"}], "otherwise": {"then": "senior"}}}
    ask["on_disagreement"] = {"reason": "reviewers_disagree", "then": jumps[0] if jumps else "senior"}
    flow = asked(risk=90, workflow=Workflow.model_validate(changed))
    flow.judge("ask", "accept", "ana")
    flow.judge("ask", "reject", "ben", "r2")
    return flow


@pytest.mark.parametrize("jumps", [(), ("weighed",)])
def test_who_disagreed_does_not_settle_it(jumps: tuple[str, ...]) -> None:
    """Neither of the two overrules the other, also behind a rule; a third person does."""
    flow = settled(*jumps)
    for who, event_id in (("ana", "r3"), ("ben", "r4")):
        flow.judge("senior", "accept", who, event_id)
        assert flow.transitions()[-1] == "ignored"
        assert json.loads(flow.of(AuditRecorded)[-1].detail)["reason"] == "same_person_twice"
    flow.judge("senior", "reject", "cem", "r5")
    assert flow.decided.reasons == ("near_match", "reviewers_disagree")


def test_who_agreed_may_answer_what_comes_later() -> None:
    """Only a disagreement shuts anybody out, and only of the question that it leads to."""
    changed: dict[str, Any] = copy.deepcopy(EVERY)
    ask = changed["steps"]["ask"]["review"]
    one = {name: ask[name] for name in ask if name not in ("people", "on_disagreement")}
    changed["steps"]["senior"] = {"review": {**one, "then": "refuse"}}
    changed["steps"]["later"] = {"review": {**one, "then": "senior"}}
    ask |= {"on_disagreement": {"reason": "reviewers_disagree", "then": "later"}, "then": "senior"}
    del changed["steps"]["judged"]
    agreed = asked(risk=90, workflow=Workflow.model_validate(changed))
    agreed.judge("ask", "accept", "ana")
    agreed.judge("ask", "accept", "ben", "r2")
    agreed.judge("senior", "reject", "ana", "r3")
    assert agreed.decided.outcome == "refused"
    not_so = asked(risk=90, workflow=Workflow.model_validate(changed))
    not_so.judge("ask", "accept", "ana")
    not_so.judge("ask", "reject", "ben", "r2")
    not_so.judge("later", "accept", "ana", "r3")
    assert not_so.transitions()[-1] == "ignored"
    not_so.judge("later", "accept", "cem", "r4")
    not_so.judge("senior", "reject", "ana", "r5")
    assert not_so.decided.outcome == "refused"


def test_a_decision_says_what_was_shown_with_the_question_that_it_answers() -> None:
    """Also where the same person has answered another one before: who agreed is not told as one who changed it."""
    changed: dict[str, Any] = copy.deepcopy(EVERY)
    ask = changed["steps"]["ask"]["review"]
    one = {name: ask[name] for name in ask if name not in ("people", "on_disagreement")}
    changed["steps"]["which"] = {"review": {**one, "suggestion": "'reject'", "then": "sent"}}
    by, label = "'reviewer:' + answers.which.reviewer", "answers.which.label"
    changed["steps"]["sent"] = {"emit": {"status": "decided", "outcome": "sent", "decided_by": by, "label": label}}
    changed["steps"]["judged"]["rule"]["first_of"][0]["then"] = "which"
    changed["steps"]["judged"]["rule"]["otherwise"]["then"] = "book"
    flow = asked(workflow=Workflow.model_validate(changed))
    flow.judge("ask", "accept", "ana")
    flow.judge("which", "reject", "ana", "r2")
    assert (flow.decided.outcome, flow.decided.label, flow.decided.suggestion) == ("sent", "reject", "reject")


def test_one_of_two_is_not_enough() -> None:
    """Without a second person in time the case ends as without any."""
    flow = asked(risk=90)
    flow.judge("ask", "accept", "ana")
    flow.fire("ask/2")
    assert (flow.decided.outcome, flow.decided.decided_by) == ("expired", "timer")


def test_a_late_verdict_to_the_first_task_changes_nothing() -> None:
    """It is not what is waited for any more."""
    flow = asked(risk=90)
    first = flow.out("ask")
    flow.judge("ask", "accept", "ana")
    second = flow.out("ask")
    flow.written.remove(second)
    assert flow.out("ask") is first
    flow.judge("ask", "accept", "cem", "r9")
    assert flow.transitions()[-1] == "ignored"


# Autonomy


def alone(mode: str, share: float = 1.0, **changed: Any) -> Flow:
    return Flow(workflow=workflow(autonomy={"mode": mode, "share": share, "ask": "ask"}), **changed)


def to_the_effect(flow: Flow) -> Flow:
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1"):
        flow.answer(step)
    return flow


@pytest.mark.parametrize(("mode", "suggestion"), [("suggest", "accept"), ("shadow", "")])
def test_before_its_first_effect_a_case_that_must_not_decide_alone_asks_a_person(mode: str, suggestion: str) -> None:
    """Reads run; the effect waits for a person; in shadow they are not shown what the case would say."""
    flow = to_the_effect(alone(mode))
    task = flow.out("ask")
    assert (task.reasons, task.suggestion) == (("not_decided_alone",), suggestion)
    assert not [one for one in flow.of(ConnectorRequested) if one.effect != "none"]
    flow.judge("ask", "accept", "ana")
    flow.answer("book")
    flow.fire("booked/1")
    assert (flow.decided.outcome, flow.decided.autonomy, flow.decided.suggestion) == ("booked", mode, "")


@pytest.mark.parametrize("people", [1, 2])
def test_in_shadow_the_audit_keeps_what_the_case_would_have_said(people: int) -> None:
    """Once a person has answered it can be compared; neither they nor a second one were shown it, nor say so."""
    flow = to_the_effect(alone("shadow", input={**INPUT, "risk": 90 if people == 2 else 10}))
    flow.judge("ask", "reject", "ana")
    if people == 2:
        flow.judge("ask", "reject", "bo", event_id="r2")
    said = [json.loads(one.detail) for one in flow.of(AuditRecorded) if one.transition == "review_decided"]
    assert [(one["label"], one["suggestion"], one["unseen"]) for one in said] == [("reject", "accept", True)] * people
    assert [one.suggestion for one in flow.of(ReviewRequested)] == [""] * people
    assert flow.decided.suggestion == ""


def test_where_nobody_decides_in_time_nothing_is_done() -> None:
    """The case expires: it neither books nor decides by policy."""
    flow = to_the_effect(alone("suggest"))
    flow.fire("ask/1")
    assert (flow.decided.outcome, flow.decided.decided_by) == ("expired", "timer")
    assert not [one for one in flow.of(ConnectorRequested) if one.effect != "none"]


def test_a_person_who_rejects_decides() -> None:
    """The way to a decision by policy behind them is theirs."""
    flow = to_the_effect(alone("suggest"))
    flow.judge("ask", "reject", "ana")
    assert flow.decided.decided_by == "reviewer:ana"


def test_the_share_is_drawn_once_and_a_growing_share_keeps_its_cases() -> None:
    """By hash of the case; those outside it have the next lower mode."""
    chosen = workflow(autonomy={"mode": "auto", "ask": "ask"})
    drawn = [autonomy.drawn(chosen, "auto", 300, f"c{number}") for number in range(2_000)]
    assert 0.25 < drawn.count("auto") / len(drawn) < 0.35
    assert set(drawn) == {"auto", "suggest"}
    more = [autonomy.drawn(chosen, "auto", 600, f"c{number}") for number in range(2_000)]
    assert all(after == "auto" for before, after in zip(drawn, more, strict=True) if before == "auto")


def test_a_case_keeps_its_mode() -> None:
    """It is remembered from its admission on, and the audit says it."""
    flow = alone("shadow")
    flow.admit()
    assert flow.state is not None
    assert flow.state.autonomy == "shadow"
    assert json.loads(flow.of(AuditRecorded)[0].detail)["autonomy"] == "shadow"


@pytest.mark.parametrize("decided_by", ["'timer'", "'reviewer:nobody'", "'policy'"])
def test_whoever_is_said_to_decide_a_case_decides_nothing_alone(decided_by: str) -> None:
    """Neither a timer nor the name of a person who was not asked stands in for one."""
    told = copy.deepcopy(EVERY) | {"autonomy": {"mode": "suggest", "ask": "ask"}}
    told["steps"]["weigh"]["rule"]["otherwise"] = {"then": "done"}
    told["steps"]["done"]["emit"] |= {"decided_by": decided_by, "output": {}}
    flow = Flow(workflow=Workflow.model_validate(told))
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1"):
        flow.answer(step)
    assert flow.of(CaseDecided) == []
    assert flow.out("ask").reasons == (ALONE,)
    flow.fire("ask/1")
    assert (flow.decided.outcome, flow.decided.decided_by) == ("expired", "timer")


def test_the_suggestion_of_a_decision_is_that_of_the_question_that_decided() -> None:
    """Also where the same person answered another question of the case."""
    changed: dict[str, Any] = copy.deepcopy(EVERY)
    ask = changed["steps"]["ask"]["review"]
    one = {name: ask[name] for name in ask if name not in ("people", "on_disagreement")}
    changed["steps"]["ask"]["review"] = {**one, "then": "senior"}
    changed["steps"]["senior"] = {"review": {**one, "suggestion": "'reject'", "then": "refuse"}}
    changed["steps"]["refuse"]["emit"]["decided_by"] = "'reviewer:' + answers.senior.reviewer"
    flow = asked(workflow=Workflow.model_validate(changed))
    flow.judge("ask", "accept", "ana")
    flow.judge("senior", "reject", "ana", "r2")
    assert (flow.decided.decided_by, flow.decided.suggestion) == ("reviewer:ana", "reject")


def test_what_a_person_sends_back_is_asked_anew() -> None:
    """A case that must not decide alone is led back by whoever is asked: under ids of its own, and what was said before
    is no answer where nothing is said now.
    """
    told: dict[str, Any] = copy.deepcopy(EVERY) | {"autonomy": {"mode": "suggest", "ask": "ask"}}
    told["labels"]["verdicts"].append("again")
    steps = told["steps"]
    for name, kind in (("gather", "parallel"), ("read", "map")):
        steps[name][kind]["on_error"]["then"] = "weigh"
    steps["weigh"]["rule"]["first_of"] = [{"when": "!has(answers.screen)", "reason": "not_screened", "then": "refuse"}]
    steps["judged"]["rule"]["first_of"].append({"when": "answers.ask.label == 'again'", "then": "gather"})
    steps["ask"]["review"] = {**steps["ask"]["review"], "people": "1"}
    steps["refuse"]["emit"] = {"status": "expired", "outcome": "refused", "decided_by": "'timer'"}
    flow = Flow(workflow=Workflow.model_validate(told))
    assert "gather" not in flow.workflow.circles
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1"):
        flow.answer(step)
    flow.judge("ask", "again", "ana")
    first, second = (one for one in flow.of(ConnectorRequested) if one.operation == "screen")
    assert (first.step, second.step) == ("gather/screen", "gather#2/screen")
    assert first.request_id != second.request_id
    flow.answer("gather#2/screen", "failed")
    flow.answer("gather#2/about")
    assert flow.decided.reasons == ("not_decided_alone", "gathering_failed", "not_screened")
