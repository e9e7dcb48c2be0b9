"""A step that is visited again: what it was told before is no answer of this round."""

from __future__ import annotations

import copy
import json
from typing import Any
from unittest import mock

import pytest

from aios.processors.cases.course import Course
from aios.processors.language.workflow import Workflow
from tests.fakes.flow import EVERY, Flow


def answers(flow: Flow) -> dict[str, Any]:
    assert flow.state is not None
    said: dict[str, Any] = json.loads(flow.state.answers)
    return said


@pytest.mark.parametrize("effect", ["none", "reconciled"])
def test_a_question_that_fails_in_a_later_round_has_no_answer(effect: str) -> None:
    """What was said in the first round does not stand in for the second; what was done then, though, stands."""
    told = copy.deepcopy(EVERY)
    told["steps"]["book"]["connect"]["effect"] = effect
    flow = Flow(workflow=Workflow.model_validate(told))
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    flow.tell("changed")
    assert "book" in answers(flow)  # who asks again may say what there was
    seen: list[dict[str, Any]] = []
    with _spy(seen):
        flow.answer("book#2", "failed")
    assert flow.decided.reasons[-1] == "not_booked"
    assert ("book" in seen[-1]) == (effect != "none")
    assert seen[-1]["screen"], "what others said stays"


def _spy(seen: list[dict[str, Any]]) -> Any:
    """Notes what a case has for answers as it goes on after a failure."""
    jump = Course.jump

    def noted(self: Course, where: Any) -> None:
        seen.append(self.answers())
        jump(self, where)

    return mock.patch.object(Course, "jump", noted)
