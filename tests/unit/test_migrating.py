"""Moving an open case to another version: what it waits for stays what it is, and no id is taken twice."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from aios.processors.cases import migrating, spending
from aios.processors.cases.course import Course
from aios.processors.cases.spending import Funds
from aios.processors.cases.turn import Around, Cause
from aios.processors.cases.turnstile import Open
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.schemas.models import AuditRecorded, CaseTold, ConnectorRequested
from aios.streams import inputs, installed
from aios.streams.deployments import MIGRATED
from aios.streams.system_files import ATTEMPTS_MAX
from tests.fakes.flow import EVERY, START_MS, Flow, workflow

ALLOWANCE = {"per_case_max_micro": 1_000, "on_denied": {"reason": "no_money", "then": "ask"}}


def version(number: int, **steps: Any) -> Workflow:
    """EVERY_KIND with other steps."""
    told = copy.deepcopy(EVERY) | {"version": number}
    told["steps"] |= steps
    return Workflow.model_validate(told)


def waiting(flow: Flow | None = None) -> Flow:
    """Its two pages are being read."""
    flow = flow or Flow()
    flow.admit()
    flow.answer("gather/screen")
    flow.answer("gather/about")
    return flow


def gone(flow: Flow, after: Workflow) -> str:
    """Why it stays; empty: it goes."""
    assert flow.state is not None
    moved = migrating.migrated(flow.state, flow.workflow, after)
    return moved if isinstance(moved, str) else ""


def test_no_way_that_was_walked_becomes_a_circle() -> None:
    """A second visit would take the first one's ids, and its effect would be taken for done."""
    straight = {"rule": {"first_of": [{"when": "true", "then": "refuse"}], "otherwise": {"then": "refuse"}}}
    flow = waiting(Flow(workflow=version(1, changed=straight)))
    assert flow.workflow.circles == frozenset()
    assert gone(flow, workflow(version=2)).startswith("steps lead in a circle")
    assert gone(waiting(), version(2, changed=straight)) == ""


def test_a_step_asks_the_same_only_with_the_same_constants() -> None:
    """Those that its expressions read; others may change, which is what one migrates for."""
    flow = Flow()
    flow.admit()
    for step in ("gather/about", "read/0", "read/1"):
        flow.answer("gather/screen", score=80) if step == "gather/about" else None
        flow.answer(step)
    assert flow.out("ask").choices == ("accept", "reject")
    others = {**EVERY["labels"], "verdicts": ["accept", "reject", "send back"]}
    assert "asks something else" in gone(flow, workflow(version=2, labels=others))
    assert "asks something else" in gone(flow, workflow(version=2, policy={"risk_max": 5}))  # how many people
    assert gone(flow, workflow(version=2, labels={**EVERY["labels"], "topics": ["card_arrival"]})) == ""
    assert gone(waiting(), workflow(version=2, policy={"risk_max": 5})) == ""


def moved(flow: Flow, after: Workflow) -> Flow:
    """The same case on that version, from here on."""
    assert flow.state is not None
    state = migrating.migrated(flow.state, flow.workflow, after)
    assert not isinstance(state, str), state
    flow.state, flow.workflow, flow.workflows = state, after, Workflows([after])
    return flow


def test_a_case_that_reads_its_documents_goes_to_the_version_that_reads_them_again_after_a_rest() -> None:
    """kyc.review 4 to 5: one was asked for twice by then, and is asked for three times more, each under its own id."""
    before, after = (workflow_files.shipped().at("kyc.review", number) for number in (4, 5))
    taken = inputs.shipped(before.input)
    documents = [{"name": f"{name}.txt", "text": "x"} for name in ("passport", "bill")]
    said = {"applicant_name": "Ann Bell", "birth_date": "1980-05-03", "country": "IE", "documents": documents}
    flow = Flow(workflow=before, input=taken.of_case(taken.complete(said), START_MS))
    flow.admit()
    flow.fire("read_all/0/1")
    moved(flow, after)
    flow.run_out()
    asked = [one for one in flow.of(ConnectorRequested) if one.step == "read_all/0"]
    assert [one.attempt for one in asked] == list(range(1, ATTEMPTS_MAX + 1))
    assert len({one.request_id for one in asked}) == ATTEMPTS_MAX
    assert len({one.idempotency_key for one in asked}) == 1
    assert "documents_not_read" in flow.decided.reasons


def often(number: int, attempts_max: int, times: int = 0) -> Workflow:
    """A version that asks for its pages so often, and again so often after a rest."""
    steps = copy.deepcopy(EVERY["steps"])
    steps["read"]["map"]["each"]["connect"]["attempts_max"] = attempts_max
    if times:
        steps["read"]["map"]["on_error"]["again"] = {"times": times, "first_s": 60, "longest_s": 600}
    return workflow(version=number, steps=steps)


def test_no_case_goes_where_more_commands_are_sent_than_connectors_look_for() -> None:
    """Those that were sent before the move count; what nobody has asked for so often yet goes."""
    flow = waiting(Flow(workflow=often(1, 4)))
    for attempt in (1, 2, 3):
        flow.fire(f"read/0/{attempt}")
    assert "may send 6 commands in all: 5 at most" in gone(flow, often(2, 1, times=2))
    assert gone(flow, often(2, 1, times=1)) == ""
    assert gone(waiting(Flow(workflow=often(1, 4))), often(2, 1, times=2)) == ""


def test_what_is_asked_otherwise_is_named() -> None:
    """By its place in the step."""
    steps = copy.deepcopy(EVERY["steps"])
    steps["read"]["map"]["each"]["connect"]["request"]["document"] = "'a ' + item"
    steps["read"]["map"]["each"]["connect"]["deadline_s"]["bulk"] = 700
    says = "it waits in read, which asks something else in every.kind@2: "
    places = "each.connect.deadline_s.bulk, each.connect.request.document"
    assert gone(waiting(), workflow(version=2, steps=steps)) == says + places
    steps["read"] = {"connect": steps["book"]["connect"]}
    assert gone(waiting(), workflow(version=2, steps=steps)) == says + "kind"


RATED = {
    "infer": {**EVERY["steps"]["gather"]["parallel"]["of"]["about"]["infer"], "status": "rating", "then": "ask"},
}
RATED["infer"]["on_error"] = {"reason": "not_rated", "then": "ask"}
JUDGED = "answers.ask.label == 'accept' && answers.rate.confidence > 0.5"


def rated(when: str) -> Workflow:
    """A step more, on every way to the person, and what it answers is read behind him."""
    steps = copy.deepcopy(EVERY["steps"])
    steps["weigh"]["rule"]["first_of"][0]["then"] = "rate"
    steps["judged"]["rule"]["first_of"][0]["when"] = when
    return version(2, rate=RATED, **{name: steps[name] for name in ("weigh", "judged")})


def test_a_case_past_a_step_does_not_go_where_its_answer_is_counted_on() -> None:
    """The person's answer could be read by nobody: the case would never be decided."""
    past = Flow()
    past.admit()
    past.answer("gather/screen", score=80)
    for step in ("gather/about", "read/0", "read/1"):
        past.answer(step)
    assert "judged reads answers.rate" in gone(past, rated(JUDGED))
    assert gone(past, rated(f"has(answers.rate) && {JUDGED}")) == ""
    assert gone(waiting(), rated("answers.ask.label == 'accept' && answers.screen.score > 5")) == ""


def at_person(flow: Flow) -> Flow:
    """Its screening came near to somebody."""
    flow.admit()
    flow.answer("gather/screen", score=80)
    for step in ("gather/about", "read/0", "read/1"):
        flow.answer(step)
    return flow


def screened(when: str, **fields: Any) -> Workflow:
    """One of its branches asks otherwise, and what it answers is read behind the person."""
    gather, judged = copy.deepcopy(EVERY["steps"]["gather"]), copy.deepcopy(EVERY["steps"]["judged"])
    gather["parallel"]["of"]["screen"]["connect"] |= fields
    judged["rule"]["first_of"][0]["when"] = when
    return version(2, gather=gather, judged=judged)


@pytest.mark.parametrize("when", ["answers.screen.score > 5", "has(answers.screen) && answers.screen.score > 5"])
def test_a_case_does_not_go_where_its_answer_to_another_question_is_read(when: str) -> None:
    """It may lack what is read, and means something else, whether or not it is looked for first; who waits how long for
    it is no other question.
    """
    flow = at_person(Flow())
    other = {"operation": "recall", "system": "correspondence", "request": {"customer": "input.name"}}
    assert "which answers another question in every.kind@1" in gone(flow, screened(when, **other))
    assert "judged reads answers.screen" in gone(flow, screened(when, request={"name": "input.risk"}))
    later = {"deadline_s": {"interactive": 5, "bulk": 5}, "attempts_max": 1}
    assert gone(flow, screened(when, **later)) == ""
    assert gone(flow, screened("answers.ask.label == 'accept'", **other)) == ""
    assert gone(waiting(), screened(when, **other)) != ""


def test_an_answer_to_another_question_is_no_hindrance_where_it_is_asked_for_again() -> None:
    """In a circle, before it is read; where it is read on another way it is one."""
    flow = waiting()
    flow.answer("read/0")
    flow.answer("read/1")
    flow.answer("book")
    book, done = copy.deepcopy(EVERY["steps"]["book"]), copy.deepcopy(EVERY["steps"]["done"])
    book["connect"]["request"] = {"name": "input.text"}
    assert "done reads answers.book" in gone(flow, version(2, book=book))
    del done["emit"]["output"]
    assert gone(flow, version(2, book=book, done=done)) == ""


@pytest.mark.parametrize(("mode", "goes"), [("", True), ("auto", True), ("suggest", False), ("shadow", False)])
def test_a_case_that_must_not_decide_alone_does_not_go_where_nobody_is_named_to_ask(mode: str, *, goes: bool) -> None:
    """It would expire at its first effect."""
    flow = waiting()
    assert flow.state is not None
    flow.state = replace(flow.state, autonomy=mode)
    said = gone(flow, workflow(version=2, autonomy=None))
    assert (said == "") == goes
    assert goes or "names nobody to ask" in said
    assert gone(flow, workflow(version=2)) == ""


@pytest.mark.parametrize("to", ["1e400", "true", '"2"', "2.0", "null"])
def test_a_version_is_a_whole_number(to: str) -> None:
    """Anything else moves nobody, and ends no process."""
    flow = waiting()
    told = CaseTold(
        event_id="m1",
        case_id=flow.case_id,
        tenant="demo",
        kind=MIGRATED,
        body=f'{{"to": {to}}}',
        by="operator:opa",
        told_at=START_MS,
    )
    flow.feed(told)
    entry = flow.of(AuditRecorded)[-1]
    assert (entry.transition, json.loads(entry.detail)["reason"]) == ("ignored", "no_version_named")


def test_a_case_that_waits_for_its_budget_goes_to_no_other_budget() -> None:
    """It would wait for what nobody grants; one that was moved before that was refused goes on when it is denied."""
    flow = waiting()
    assert flow.state is not None
    before = flow.state
    at_budget = replace(before, step="$budget", branches="", waiting_for="r")
    rich = workflow(version=2, budget=ALLOWANCE)
    said = migrating.migrated(at_budget, flow.workflow, rich)
    assert isinstance(said, str)
    assert "budget" in said
    poor = workflow(version=3)
    moved = migrating.migrated(at_budget, flow.workflow, poor)
    assert not isinstance(moved, str)


@pytest.mark.parametrize(
    ("limited", "before", "after", "goes"),
    [
        (True, None, ALLOWANCE, False),
        (False, None, ALLOWANCE, True),
        (True, None, None, True),
        (True, ALLOWANCE, ALLOWANCE, True),
    ],
    ids=["to a budget", "without a limit", "to none", "from before the limit"],
)
def test_a_case_that_reserved_nothing_goes_to_no_budget_where_a_limit_holds(
    limited: bool, before: Any, after: Any, *, goes: bool
) -> None:
    """It would ask models there without a bound; the audit says why it stays. One that began before the limit was
    declared, on a version that has a budget too, goes.
    """
    one, other = workflow(budget=before), workflow(version=2, budget=after)
    flow = waiting(Flow(workflow=one))
    assert flow.state is not None
    assert flow.state.purse == ""
    flow.workflows, flow.funds = Workflows([one, other]), Funds(lambda _tenant, _workflow: limited)
    flow.feed(
        CaseTold(
            event_id="m1",
            case_id=flow.case_id,
            tenant="demo",
            kind=MIGRATED,
            body='{"to": 2}',
            by="operator:opa",
            told_at=START_MS,
        )
    )
    assert flow.state.workflow_version == (2 if goes else 1)
    entry = flow.of(AuditRecorded)[-1]
    assert entry.transition == ("migrated" if goes else "ignored")
    assert goes or "has reserved nothing" in json.loads(entry.detail)["reason"]


def test_a_case_that_has_reserved_comes_back_to_its_budget() -> None:
    """From a version that has none: its purse bounds it all the time."""
    flow = waiting(Flow(workflow=workflow(version=1)))
    assert flow.state is not None
    purse = spending.remembered(spending.Purse(reservation="r", attempt=1, expires_at=START_MS, reserved_micro=9))
    state, after = replace(flow.state, purse=purse), workflow(version=2, budget=ALLOWANCE)
    moved = migrating.migrated(state, flow.workflow, after, limited=True)
    assert not isinstance(moved, str)
    assert moved.purse == purse


def test_a_case_that_is_denied_where_there_is_no_budget_any_more_begins() -> None:
    """It waits for nothing else."""
    flow = Flow()
    flow.admit()
    assert flow.state is not None
    state = replace(flow.state, branches="", step="$budget", waiting_for="r")
    around = Around(Workflows([flow.workflow]), Cause("t", 0, 0, START_MS), Open(), installed.pools())
    turn = Course(state, around)
    turn.deny("budget_unanswered")
    moved = turn.moved()
    assert moved.state is not None
    assert (moved.state.step, bool(moved.timers)) == ("gather", True)


def test_what_was_visited_in_a_circle_is_visited_again_where_there_is_none() -> None:
    """It takes ids of its own there, too: under the first ones an effect would be taken for done."""
    book = {"connect": {**EVERY["steps"]["book"]["connect"], "then": "done"}}
    after = version(2, book=book)
    assert after.circles == frozenset()
    flow = waiting()
    for step in ("read/0", "read/1", "book"):
        flow.answer(step)
    moved(flow, after)
    flow.tell("changed")
    first, second = (one for one in flow.of(ConnectorRequested) if one.operation == "book")
    assert first.request_id != second.request_id
    assert first.idempotency_key != second.idempotency_key
    flow.answer(second.step)
    assert flow.decided.outcome == "booked"
