"""Why a case was decided as it was: only what the audit says, all of it, in words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.connectors import registry
from aios.processors.language import workflow_files
from aios.schemas import ids
from aios.schemas.models import AuditRecorded, InferenceRequested, ReviewRequested
from aios.sinks.audit import chained
from aios.sinks.outcome_writes import transition_json
from aios.streams import explanation, inputs, transitions
from aios.streams.explanation import Explanation
from aios.streams.outcome_views import CaseView
from tests.fakes.flow import START_MS, Flow, returned
from tests.unit.test_case import CASE, ENCODER, World, admitted, answer, classified, decision

PROCESSORS = Path(__file__).parents[2] / "processors"


def timeline(world: World) -> list[dict[str, Any]]:
    return [json.loads(transition_json(one)) for one in world.audit()]


def explained(world: World) -> Explanation:
    return explanation.explain(CASE, "document.triage", timeline(world))


def asked(world: World, kind: type[Any]) -> Any:
    return world.of(kind)[-1]


def alone() -> World:
    world = World()
    world.feed(admitted())
    world.feed(answer(asked(world, InferenceRequested)))
    return world


def by_a_person(label: str = "", comment: str = "") -> World:
    world = World()
    world.feed(admitted())
    world.feed(classified(asked(world, InferenceRequested), confidence=0.31))
    task = asked(world, ReviewRequested)
    world.feed(decision(task, label=label or task.choices[1], comment=comment))
    return world


def test_a_case_that_nobody_saw_is_explained_by_its_model_and_its_thresholds() -> None:
    """The label, who decided, the model with version and confidence, and the numbers of the rule that let it pass."""
    found = explained(alone())
    assert found.says == "Routed as card_arrival, decided by the workflow's own rules, without a person."
    assert found.complete
    assert (found.outcome, found.label, found.decided_by) == ("routed", "card_arrival", "policy")
    assert ENCODER in found.models
    whole = " ".join(found.because)
    assert f"model {ENCODER} answered card_arrival with confidence 0.97, out of scope 0.02" in whole
    assert "classify.confidence was 0.97" in whole
    assert "confidence_min was 0.83" in whole


def test_a_case_that_a_person_decided_says_why_they_were_asked_and_what_they_chose() -> None:
    """The threshold that was missed stands beside the answer, and the person instead of the suggestion."""
    found = explained(by_a_person())
    assert found.people == ("reviewer:ana",)
    assert "ana (reviewer) decided activate_my_card instead of card_arrival" in found.because[0]
    rule = next(one for one in found.because if one.startswith("rule gate, row"))
    assert "classify.confidence [0.31] < policy[input.channel].confidence_min [0.83]" in rule
    assert "low confidence" in rule
    assert next(one.says for one in found.story if one.about == "person") == (
        "A person was asked at step ask, because of low confidence; the suggestion is card_arrival."
    )


def test_what_a_person_said_of_their_decision_is_told_and_its_hash_alone_is_in_the_chain() -> None:
    """Their words may name somebody; whoever asks why reads them, and so does who looks at the case. They are bounded,
    since a record that is too large would end the case.
    """
    found = explained(by_a_person(comment="a known\nmill"))
    assert found.because[0].endswith('instead of card_arrival: "a known mill"')
    (move,) = [one for one in by_a_person(comment="a known mill").audit() if one.transition == "review_decided"]
    assert json.loads(transition_json(move))["detail"]["says"] == {"comment": "a known mill"}
    kept = chained(move)
    assert "mill" not in ids.canonical(kept)
    assert json.loads(kept["detail"])["says_hash"] == ids.body_hash({"comment": "a known mill"})
    (long,) = [one for one in by_a_person(comment="x" * 900_000).audit() if one.transition == "review_decided"]
    assert len(long.shown) < 3_000


def test_what_a_person_in_shadow_was_not_shown_is_told_as_such() -> None:
    """Nobody decides as suggested, or instead of it, who saw no suggestion."""
    move = {"step": "ask", "actor": "reviewer:ana", "detail": {"label": "loan", "suggestion": "loan", "unseen": True}}
    said = transitions.WORDS["review_decided"].say(move)
    assert said == "ana (reviewer) decided loan; the suggestion, which they were not shown, was loan"


def test_an_open_case_says_what_it_waits_for() -> None:
    world = World()
    world.feed(admitted())
    found = explained(world)
    assert found.says.startswith("Open since 2023-11-14")
    assert f"asked model {ENCODER}" in found.says
    assert found.because == ()


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_records_came_changes_nothing(shuffled: Any) -> None:
    moves = timeline(by_a_person())
    mixed = list(moves)
    shuffled.shuffle(mixed)
    assert explanation.explain(CASE, "document.triage", mixed) == explanation.explain(CASE, "document.triage", moves)


@pytest.mark.parametrize("left_out", range(3))
def test_a_missing_transition_is_told(left_out: int) -> None:
    """Nobody may take a story with a hole for the whole."""
    moves = timeline(by_a_person())
    del moves[left_out]
    found = explanation.explain(CASE, "document.triage", moves)
    assert not found.complete
    assert any("not every transition" in line for line in explanation.lines(found))


def test_every_sentence_stands_on_a_record_and_none_holds_the_customers_words() -> None:
    """The audit has no payload, so the explanation has none."""
    world = World()
    world.feed(admitted(text="Zanzibar is where my card is."))
    world.feed(classified(asked(world, InferenceRequested), confidence=0.31))
    found = explained(world)
    assert "Zanzibar" not in str(found)
    assert {sentence.record for sentence in found.story} == {"topic/0/0", "topic/0/1"}
    assert [one.seq for one in found.story] == sorted(one.seq for one in found.story)


def test_everything_that_plan_records_has_words() -> None:
    """A transition that is added is explained too."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in PROCESSORS.rglob("*.py"))
    recorded = set(re.findall(r"\.record\(\s*\"([a-z_]+)\"", source))
    assert {"admitted", "guarded", "call_completed", "waiting", "decided"} <= recorded
    assert recorded - transitions.WORDS.keys() == set()


def test_a_transition_of_tomorrow_is_told_by_its_name() -> None:
    moves = timeline(alone())
    moves[1] |= {"transition": "weighed_twice", "actor": "operator:eva", "detail": {"why": "drill"}}
    found = explanation.explain(CASE, "document.triage", moves)
    assert "Weighed twice by eva (operator): drill." in [one.says for one in found.story]


def test_fields_that_an_older_record_lacks_are_not_asked_for() -> None:
    """Every transition can be told of an empty detail."""
    for transition in transitions.WORDS:
        move = {"transition": transition, "step": "x", "actor": "plan", "detail": {}, "at": 0, "case_seq": 1}
        assert transitions.words_of(move).say(move)


def test_a_refused_event_and_one_that_nobody_has_seen_are_explained() -> None:
    refusal = {"reason": "stale", "detail": "older than 30 days"}
    refused = CaseView(case_id="c", tenant="demo", status="refused", refusal=refusal)
    found = explanation.of_case(refused, [])
    assert (found.says, found.because) == ("Refused; it never became a case.", ("stale: older than 30 days",))
    accepted = explanation.of_case(CaseView(case_id="c", tenant="demo", status="accepted"), [])
    assert accepted.says == "Nothing has happened to it yet."
    assert not accepted.complete


def test_a_label_that_says_no_more_than_the_outcome_is_left_out() -> None:
    for outcome, label, says in (("approved", "approve", "approved, "), ("routed", "cards", "routed as cards, ")):
        assert transitions.ending({"outcome": outcome, "label": label, "decided_by": "policy"}).startswith(says)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("failed", "calendars did not do it at step book (no answer)"),
        ("expired", "calendars did not do it at step book (no answer)"),
        ("unknown", "nobody knows whether calendars did it at step book (no answer)"),
        ("ok", "calendars answered with what the case cannot use at step book (no answer)"),
    ],
)
def test_what_nobody_knows_is_not_told_as_not_done(outcome: str, says: str) -> None:
    detail = {"system": "calendars", "outcome": outcome, "reason": "no_answer", "tries": 1}
    move = {"transition": "call_completed", "step": "book", "actor": "connectors", "detail": detail}
    assert transitions.words_of(move).say(move).startswith(says)


def test_a_case_that_was_cut_short_did_not_wait_for_anybody() -> None:
    decided = {"outcome": "expired", "label": "", "decided_by": "timer", "reasons": [transitions.CUT_SHORT]}
    assert "larger than a record may be" in transitions.ending(decided)
    assert "its time was over" in transitions.ending(decided | {"reasons": ["no_answer"]})


def test_what_happened_outside_the_case_comes_last() -> None:
    """Acts of operators have no number in the case's order."""
    act = AuditRecorded(
        audit_id="a",
        case_id=CASE,
        tenant="demo",
        workflow="",
        case_seq=0,
        transition="letter_discarded",
        actor="operator:eva",
        detail='{"why":"a test"}',
        input_topic="",
        input_partition=0,
        input_offset=0,
        at=1,
    )
    found = explanation.explain(CASE, "document.triage", [json.loads(transition_json(act)), *timeline(alone())])
    assert found.story[-1].says == "Letter discarded by eva (operator): a test."
    assert found.complete


def test_who_calls_a_case_off_reads_what_was_not_undone() -> None:
    """A meeting that was booked stays in its calendars, and the reasons of the end say so."""

    def move(seq: int, transition: str, step: str, **detail: str) -> dict[str, Any]:
        named = {"case_seq": seq, "at": seq, "status": "booked", "actor": "operator:eva"}
        return {**named, "transition": transition, "step": step, "detail": {"system": "calendars", **detail}}

    story = [
        move(1, "call_requested", "book", operation="book", effect="reconciled"),
        move(2, "call_completed", "book", operation="book", outcome="ok"),
        move(3, "cancelled", "booked", reason="no longer"),
        move(4, "decided", "booked", outcome="cancelled", decided_by="operator:eva"),
    ]
    found = explanation.explain(CASE, "meeting.schedule", story)
    assert "what was done outside before was not undone: book in calendars (step book)" in found.because
    own = [*story[:2], move(3, "decided", "gone", outcome="cancelled", decided_by="policy")]
    assert not any("not undone" in one for one in explanation.explain(CASE, "order.cancel", own).because)


# The reasons that a case gives itself

RECORDED = yaml.safe_load((workflow_files.FOLDER / "meeting.schedule.cases.yaml").read_text("utf-8"))["cases"][0]
SLOT = "it told ben.weiss: Tuesday 31 March 2026, 10:00–11:00 (Europe/Berlin, UTC+02:00)"


def booked() -> Flow:
    """A meeting that is found and booked; it waits until it begins."""
    latest = workflow_files.shipped().latest("meeting.schedule")
    assert latest is not None
    taken = inputs.shipped(latest.input)
    flow = Flow(workflow=latest, input=taken.of_case(taken.complete(RECORDED["input"]), START_MS))
    flow.admit()
    for step in ("read", "find", "book"):
        command = flow.calls(step)
        said = registry.operation("calendars", command.operation).response.model_validate(RECORDED["given"][step])
        flow.feed(replace(returned(command), output=ids.canonical(said.model_dump(mode="json"))))
    return flow


def of_meeting(flow: Flow, **decision: Any) -> Explanation:
    moves = [json.loads(transition_json(one)) for one in flow.of(AuditRecorded)]
    return explanation.explain(flow.case_id, flow.workflow.workflow, moves, decision=decision or None)


def test_an_open_case_says_why_it_came_to_what_it_shows() -> None:
    """Why this slot: word by word what each person was told, behind the transition that showed it."""
    found = of_meeting(booked())
    assert found.because == (SLOT,)
    (where,) = [number for number, one in enumerate(found.story) if one.says == f"I{SLOT[1:]}."]
    assert found.story[where - 1].says.startswith("Step booked waits for meeting changed")
    assert found.story[where].seq == found.story[where - 1].seq


def test_a_decided_case_gives_the_reasons_of_its_outcome_else_those_it_showed_last() -> None:
    """Also where there was no slot at all: then the outcome alone has them."""
    flow = booked()
    flow.fire("booked/1")
    ended = {"outcome": "scheduled", "decided_by": "policy", "reasons": ["took_place"]}
    assert of_meeting(flow).because[0] == SLOT
    why = [{"person": "ana", "zone": "Europe/Berlin", "sentences": ["No time was found.", "2 of 2: you are busy."]}]
    none = of_meeting(flow, **ended, output={"why": why}).because[0]
    assert none == "it told ana: No time was found. 2 of 2: you are busy"
    assert of_meeting(flow, **ended, output={"why": ["it is late."]}).because[0] == "it is late"
    for odd in ({}, {"why": "x"}, {"why": [1, {"sentences": 2}, None]}):
        assert of_meeting(flow, **ended, output=odd).because[0] == SLOT


def test_the_audit_alone_has_no_such_words() -> None:
    """Its files keep a hash of what was shown; the case is explained without, and whole."""
    moves = [{**chained(one), "detail": json.loads(one.detail), "input": ""} for one in booked().of(AuditRecorded)]
    found = explanation.explain(CASE, "meeting.schedule", moves)
    assert found.complete
    assert "31 March" not in " ".join(one.says for one in found.story)
    assert found.because == ()


def test_rules_that_decide_after_a_person_do_not_decide_without_one() -> None:
    """Of a case that a person had a part in nobody is told that there was none."""
    person = {"transition": "review_decided", "step": "ask", "actor": "reviewer:ana", "detail": {"label": "card"}}
    ended = {
        "transition": "decided",
        "step": "done",
        "actor": "plan",
        "detail": {"outcome": "paid", "decided_by": "policy"},
    }
    moves = [{**one, "case_seq": n, "at": n, "status": "", "input": ""} for n, one in enumerate((person, ended), 1)]
    assert explanation.explain("c", "w", moves).says == "Paid, decided by the workflow's own rules."
    alone = explanation.explain("c", "w", moves[1:])
    assert alone.says == "Paid, decided by the workflow's own rules, without a person."
    assert alone.story[0].says == "Paid, decided by the workflow's own rules."


def test_a_number_is_told_as_it_was_weighed() -> None:
    """One that is just below another does not look the same."""
    ruled = {"rule": "gate", "row": 1, "when": "answers.c.confidence < policy.least", "then": "ask"}
    said = transitions.rule_said(ruled | {"weighed": {"answers.c.confidence": 0.8997, "policy.least": 0.9}})
    assert "c.confidence [0.8997] < policy.least [0.9]" in said


def test_a_case_that_was_moved_is_explained_by_the_version_that_it_went_on_with() -> None:
    """The audit's files alone say which: the last one."""
    admitted_on = {"transition": "admitted", "actor": "plan", "detail": {"event_id": "e", "workflow_version": 1}}
    moved = {"transition": "migrated", "actor": "operator:eva", "detail": {"from_version": 1, "workflow_version": 2}}
    named = {"step": "", "status": "", "input": ""}
    moves = [{**named, **one, "case_seq": n, "at": n} for n, one in enumerate((admitted_on, moved), 1)]
    assert explanation.explain("c", "w", moves).workflow == "w@2"
    assert explanation.explain("c", "w", moves[:1]).workflow == "w@1"
