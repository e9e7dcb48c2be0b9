"""Several at the same time: the branches of a parallel step, and the items of a map."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from aios.processors.cases.branches import strands_of
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    ConnectorRequested,
    InferenceCancelled,
    InferenceRequested,
    ReviewRequested,
)
from tests.fakes.flow import INPUT, Flow, answered, returned


def gathered() -> Flow:
    """Past the parallel step, in the map."""
    flow = Flow()
    flow.admit()
    flow.answer("gather/screen")
    flow.answer("gather/about")
    return flow


def answers(flow: Flow) -> dict[str, Any]:
    assert flow.state is not None
    said: dict[str, Any] = json.loads(flow.state.answers)
    return said


def test_all_branches_are_asked_at_once_and_the_case_goes_on_when_the_last_has_come() -> None:
    """Each under the path of its branch, with an id of its own; what each said is the answer of its name."""
    flow = Flow()
    flow.admit()
    screen, about = flow.out("gather/screen"), flow.out("gather/about")
    assert isinstance(screen, ConnectorRequested)
    assert isinstance(about, InferenceRequested)
    assert screen.request_id == ids.command_id(flow.case_id, "gather/screen", 1)
    assert flow.timers.keys() == {"gather/screen/1", "gather/about/1"}
    flow.answer("gather/about")
    assert [one.step for one in flow.of(ConnectorRequested)] == ["gather/screen"]
    flow.answer("gather/screen", score=7)
    assert answers(flow)["screen"] == {"score": 7}
    assert answers(flow)["about"]["label"] == "card_arrival"
    assert [one.step for one in flow.of(ConnectorRequested)][1:] == ["read/0", "read/1"]


def test_one_that_failed_leads_to_on_error_when_all_have_come_and_the_others_answers_are_there() -> None:
    """What was paid for is not thrown away, and nobody is asked twice for it."""
    flow = Flow()
    flow.admit()
    flow.answer("gather/screen", "failed")
    assert flow.of(ReviewRequested) == []
    flow.answer("gather/about")
    (task,) = flow.of(ReviewRequested)
    assert task.reasons == ("gathering_failed",)
    assert set(answers(flow)) == {"about"}
    assert json.loads(task.evidence) == {"answers": answers(flow)}


def test_a_branch_that_is_silent_is_asked_again_and_then_has_failed() -> None:
    """With the next attempt's id and the same idempotency key; the other branch waits untouched."""
    flow = Flow()
    flow.admit()
    first = flow.calls("gather/screen")
    flow.fire("gather/screen/1")
    second = flow.calls("gather/screen")
    assert (second.attempt, second.idempotency_key) == (2, first.idempotency_key)
    assert second.request_id != first.request_id
    flow.fire("gather/screen/2")
    assert flow.transitions()[-2:] == ["call_unanswered", "branch_failed"]
    assert flow.timers.keys() == {"gather/about/1"}
    flow.answer("gather/about")
    assert flow.out("ask").reasons == ("gathering_failed",)


def test_the_answers_of_a_map_stand_in_the_order_of_its_items() -> None:
    """Whoever comes first; each item and its index were seen by its own expressions."""
    flow = gathered()
    assert [json.loads(one.request) for one in flow.of(ConnectorRequested)[1:]] == [
        {"document": "passport", "number": 0},
        {"document": "bill", "number": 1},
    ]
    flow.answer("read/1", page="second")
    flow.answer("read/0", page="first")
    assert answers(flow)["read"] == [{"page": "first"}, {"page": "second"}]
    assert flow.out("book").step == "book"


def test_an_item_that_failed_leaves_a_gap() -> None:
    """The others stay at their places."""
    flow = gathered()
    flow.answer("read/0", "expired")
    flow.answer("read/1", page="second")
    assert answers(flow)["read"] == [None, {"page": "second"}]
    assert flow.out("ask").reasons == ("unreadable",)


@pytest.mark.parametrize(
    ("documents", "asked", "step"), [([], 0, "book"), (["a", "b", "c"], 3, "read/2"), (["a"] * 4, 0, "ask")]
)
def test_a_map_asks_as_many_as_there_are_or_none(documents: list[str], asked: int, step: str) -> None:
    """No item: the case goes on with an empty list. One too many: nothing is asked."""
    flow = Flow(input={**INPUT, "documents": documents})
    flow.admit()
    flow.answer("gather/screen")
    flow.answer("gather/about")
    assert len([one for one in flow.of(ConnectorRequested) if one.step.startswith("read/")]) == asked
    assert flow.out(step)


def test_an_answer_that_came_is_not_taken_twice() -> None:
    """A repeat of a branch's answer, or one of an attempt that was given up, changes nothing."""
    flow = Flow()
    flow.admit()
    flow.fire("gather/about/1")
    first, second = flow.of(InferenceRequested)
    assert flow.feed(answered(first)) == []
    flow.feed(answered(second))
    assert flow.feed(answered(second)) == []
    assert flow.skipped == ["wasted", "wasted"]
    assert flow.state is not None
    assert [one.done for one in strands_of(flow.state)] == [False, True]


def test_a_case_that_is_called_off_gives_up_every_branch() -> None:
    """The pool is told, all timers go, and what still comes is waste."""
    flow = Flow()
    flow.admit()
    request = flow.out("gather/about")
    flow.cancel()
    (told,) = flow.of(InferenceCancelled)
    assert (told.request_id, told.reason) == (request.request_id, "case_cancelled")
    assert flow.decided.outcome == "cancelled"
    assert flow.answer("gather/screen") == []


def test_every_transition_of_a_branch_says_where_it_was() -> None:
    """The step of its audit record is its path."""
    flow = gathered()
    told = [(one.transition, one.step) for one in flow.of(AuditRecorded)]
    assert told[:6] == [
        ("admitted", ""),
        ("branched", "gather"),
        ("call_requested", "gather/screen"),
        ("requested", "gather/about"),
        ("call_completed", "gather/screen"),
        ("answered", "gather/about"),
    ]
    assert [one.case_seq for one in flow.of(AuditRecorded)] == list(range(1, len(told) + 1))


def test_of_a_systems_failure_the_audit_has_the_word_alone() -> None:
    """What a system says in its own sentence may hold a customer's words."""
    flow = Flow()
    flow.admit()
    command = flow.calls("gather/screen")
    flow.feed(replace(returned(command, "failed"), reason="refused: there is no Ana Alvarez in the register"))
    (entry,) = [one for one in flow.of(AuditRecorded) if one.transition == "call_completed"]
    assert json.loads(entry.detail)["reason"] == "refused"
