"""Cases with every kind of step, under interleavings, repeats, silence, second opinions, early and late events."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.cases import case
from aios.processors.stateful.state import FORGET
from aios.schemas.models import (
    AuditRecorded,
    CaseDecided,
    CaseRemembered,
    ConnectorRequested,
    Event,
    InferenceRequested,
    ReviewRequested,
)
from tests.fakes.flow import COMMANDS, INPUT, Flow, answered, asking_again, judged, returned, workflow

NEXT = st.tuples(st.just("next"), st.integers(0, 9), st.sampled_from(["ana", "ben"]))
ACTIONS = st.lists(
    st.one_of(
        *[NEXT] * 8,  # most cases come far
        st.tuples(st.just("admit"), st.booleans()),
        st.tuples(
            st.just("answer"), st.integers(0, 30), st.sampled_from(["ok", "ok", "ok", "near", "failed", "expired"])
        ),
        st.tuples(st.just("last"), st.integers(0, 1), st.sampled_from(["ok", "ok", "ok", "near", "failed"])),
        st.tuples(
            st.just("judge"), st.sampled_from(["accept", "reject", "maybe"]), st.sampled_from(["ana", "ben", ""])
        ),
        st.tuples(st.just("tell"), st.integers(0, 6), st.sampled_from(["changed", "changed", "surprise"])),
        st.tuples(st.just("fire"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 19)),
    ),
    min_size=18,
    max_size=50,
)
ANSWERED = ("call_completed", "answered")
INPUTS = st.builds(
    lambda risk, documents: {**INPUT, "risk": risk, "documents": ["page"] * documents},
    st.sampled_from([10, 90]),
    st.integers(0, 4),
)
MODES = {
    (mode, times): made(autonomy={"mode": mode, "ask": "ask"})
    for mode in ("auto", "suggest", "shadow")
    for times, made in enumerate((workflow, asking_again))  # that each step asks again
}


def act(flow: Flow, action: tuple[Any, ...]) -> None:
    """Do one thing the outside may do, if the case is far enough for it."""
    match action:
        case ("admit", same):
            flow.admit(**({} if same else {"body_hash": "f" * 64, "event_id": "e9"}))
        case ("answer", number, status) if asked := flow.of(COMMANDS[0]) + flow.of(COMMANDS[1]):
            reply(flow, asked[number % len(asked)], status)
        case ("last", back, status) if asked := [one for one in flow.written if isinstance(one, COMMANDS[:2])]:
            reply(flow, asked[-1 - back % len(asked)], status)
        case ("judge", label, reviewer) if tasks := flow.of(ReviewRequested):
            flow.feed(judged(tasks[-1], label, reviewer))
        case ("tell", number, kind):
            flow.tell(kind, f"t{number}", {"what": "cancelled" if number == 6 else "moved"})
        case ("fire", number) if waits := [one for one in flow.timers_ever if one != FORGET]:
            flow.fire(waits[number % len(waits)])  # a pending one, or one that was cancelled in flight
        case ("cancel", 7):
            flow.cancel()
        case ("next", number, reviewer):
            go_on(flow, number, reviewer)


def go_on(flow: Flow, number: int, reviewer: str) -> None:
    """Whoever is asked and has not answered yet answers well, now and then nearly; else something happens."""
    replied = {getattr(event, "request_id", getattr(event, "task_id", "")) for event, _ in flow.history}
    asked = [one for one in flow.written if isinstance(one, COMMANDS)]
    waiting = [one for one in asked if getattr(one, "request_id", getattr(one, "task_id", "")) not in replied]
    match waiting:
        case [ReviewRequested() as task, *_]:
            flow.feed(judged(task, "reject" if number > 7 else "accept", reviewer))
        case [command, *_]:
            reply(flow, command, "near" if number > 7 else "ok")
        case []:
            flow.tell("changed", f"n{len(flow.history)}", {"what": "cancelled" if number == 0 else "moved"})


def reply(flow: Flow, command: Any, status: str) -> None:
    said = {"score": 80, "slot": "nine"} if status == "near" else {}
    real = "ok" if status == "near" else status
    if isinstance(command, ConnectorRequested):
        flow.feed(returned(command, real, **said))
    elif isinstance(command, InferenceRequested):
        flow.feed(answered(command, real))


@settings(max_examples=150, deadline=None)
@given(actions=ACTIONS, given_input=INPUTS, which=st.sampled_from(sorted(MODES)))
def test_whatever_happens_a_case_ends_in_one_decision(
    actions: list[tuple[Any, ...]], given_input: dict[str, Any], which: tuple[str, int]
) -> None:
    """One decision; commands distinct and bounded, none behind it; audit without a gap; nothing done alone."""
    mode, again = which
    flow = Flow(workflow=MODES[which], input=given_input)
    flow.admit()
    for action in actions:
        act(flow, action)
    flow.run_out()
    assert flow.state is None
    decided = flow.decided
    audit = [one for one in flow.of(AuditRecorded) if one.case_seq]
    assert [one.case_seq for one in audit] == list(range(1, len(audit) + 1))
    assert audit[decided.case_seq - 1].transition == "decided"
    calls, requests, tasks = flow.of(ConnectorRequested), flow.of(InferenceRequested), flow.of(ReviewRequested)
    for commands, most in ((calls, 2 + 3 + 3 * 2), (requests, 2)):
        assert len({one.request_id for one in commands}) == len(commands) <= most * (1 + again)
    rests = Counter(one.step for one in audit if one.transition == "resting")
    assert max(rests.values(), default=0) <= again
    assert len({one.task_id for one in tasks}) == len(tasks) <= 2
    answered_once = [(one.step, json.loads(one.detail)["attempt"]) for one in audit if one.transition in ANSWERED]
    assert len(set(answered_once)) == len(answered_once), "an answer is taken once"
    if mode != "auto":
        acted = [one for one in calls if one.effect != "none"]
        verdicts = [one for one in audit if one.transition == "review_decided"]
        assert not acted or verdicts
        assert decided.decided_by != "policy" or verdicts


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, given_input=INPUTS, again=st.sampled_from([0, 1]))
def test_the_same_history_gives_the_same_outputs(
    actions: list[tuple[Any, ...]], given_input: dict[str, Any], again: int
) -> None:
    """Nothing random and no clock: a replayed history writes the same events, in the same order."""
    flow = Flow(workflow=MODES["auto", again], input=given_input)
    flow.admit()
    for action in actions:
        act(flow, action)
    flow.run_out()
    state: CaseRemembered | None = None
    written: list[Event] = []
    for event, cause in flow.history:
        moved = case.plan(state, event, cause, flow.workflows)
        state = moved.state
        written += [one for _, one in moved.events]
    assert written == flow.written
    assert len([one for one in written if isinstance(one, CaseDecided)]) == 1
