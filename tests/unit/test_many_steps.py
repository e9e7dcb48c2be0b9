"""As many steps as a workflow may have, none of which anybody can be asked in."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from aios.processors.language.workflow import STEPS_MAX, Workflow
from aios.schemas.models import AuditRecorded
from tests.fakes.flow import EVERY, Flow

SPARE = 150  # frames below the test's own that plan may take, however many steps there are


class Retired:
    """No model serves any more."""

    def model(self, name: str, case_id: str) -> str:
        return ""

    def prompt(self, name: str) -> str:
        return ""


@pytest.mark.parametrize("kind", ["infer", "parallel", "map"])
def test_a_hundred_steps_that_fail_at_once_are_no_hundred_calls_deep(kind: str) -> None:
    """One event walks them all, to the end, without a stack that grows with them."""
    flow = Flow(workflow=Workflow.model_validate(_failing(kind)), versions=Retired())
    depth = len(list(_frames()))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + SPARE)
    try:
        flow.admit()
    finally:
        sys.setrecursionlimit(limit)
    assert (flow.decided.outcome, len(flow.decided.reasons)) == ("expired", STEPS_MAX - 1)
    failed = [one.step for one in flow.of(AuditRecorded) if one.transition == "not_asked"]
    assert len(set(failed)) >= STEPS_MAX - 1


def _failing(kind: str) -> dict[str, object]:
    """A chain of steps that lead on only by their on_error."""
    told = copy.deepcopy(EVERY)
    ask = told["steps"]["gather"]["parallel"]["of"]["about"]["infer"]
    steps = {}
    for number in range(STEPS_MAX - 1):
        then = f"s{number + 1}" if number < STEPS_MAX - 2 else "close"
        ways = {"status": "asking", "then": "close", "on_error": {"reason": f"r{number}", "then": then}}
        inside = {
            "infer": ask,
            "parallel": {"of": {f"a{number}": {"infer": ask}, f"b{number}": {"infer": ask}}},
            "map": {"over": "['one', 'two']", "items_max": 2, "each": {"infer": ask}},
        }[kind]
        steps[f"s{number}"] = {kind: {**inside, **ways}}
    steps["close"] = told["steps"]["close"]
    del told["autonomy"]
    return {**told, "start": "s0", "steps": steps}


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
