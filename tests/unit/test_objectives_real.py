"""Objectives and questions to people, judged by the records that plan itself writes; and every command is one."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner, Result

from aios.infra import objectives, recent, review_load
from aios.infra.cli import aios
from aios.infra.commands import review_stats, slo
from aios.infra.objectives import Kept
from aios.infra.output import FAILED
from aios.infra.recent import Move, Recent, Trail
from aios.infra.review_load import Assumed
from aios.schemas.models import AuditRecorded, CaseDecided, InferenceCompleted
from aios.sinks.outcome_writes import transition_json
from aios.streams import outcome_store
from aios.streams.config import Settings
from aios.streams.durations import DAY_MS, MINUTE_MS
from aios.streams.outcome_views import CaseView
from tests.fakes.flow import EVERY, INPUT, START_MS, Flow, answered, workflow

OWED = {"interactive_p95_s": 15, "bulk_p95_s": 30, "without_person_min": 0.5}


def trail(flow: Flow) -> Trail:
    """What `aios slo` reads of a case."""
    trails: dict[str, Trail] = {}
    for event in flow.written:
        if isinstance(event, AuditRecorded | CaseDecided):
            recent.follow(trails, event)
    return trails[flow.case_id]


def breach(flow: Flow, objective: str) -> Kept:
    found = objectives.judge([flow.workflow], [trail(flow)], flow.now_ms)
    (one,) = [one for one in found if one.objective == objective]
    assert one.kept is False
    assert_runs(one.command)
    return one


def assert_runs(commands: str) -> None:
    """Every command has all that it needs and no word to be replaced, so that whoever copies it is understood."""
    assert not re.search(r"[A-Z…]", commands)
    for each in commands.split("; "):
        program, *words = shlex.split(each)
        assert program == "aios"
        command: click.Command = aios
        context = click.Context(command)
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, each
            command, context = found, click.Context(found, parent=context)
        command.make_context(each, words)


def case(**given: Any) -> Flow:
    flow = Flow(workflow=workflow(objectives=OWED), input={**INPUT, **given})
    flow.admit()
    return flow


def rest(flow: Flow, *left: str) -> Flow:
    """Everybody else answers at once, and the case ends."""
    for step in (*left, "read/0", "read/1", "book"):
        flow.answer(step)
    flow.tell("changed", body={"what": "cancelled"})
    assert flow.decided.outcome == "refused"
    return flow


def about(flow: Flow, queue_ms: int, compute_ms: int) -> InferenceCompleted:
    flow.now_ms += queue_ms + compute_ms
    return replace(answered(flow.out("gather/about")), queue_ms=queue_ms, compute_ms=compute_ms)


@pytest.mark.parametrize(
    ("queue_ms", "compute_ms", "cause", "command"),
    [
        (50_000, 900, "queued before classify.bulk", "aios pools classify.bulk"),
        (900, 50_000, "computing in classify.bulk", "aios pools classify.bulk"),
    ],
)
def test_a_late_model_is_named_with_what_to_do(queue_ms: int, compute_ms: int, cause: str, command: str) -> None:
    flow = case()
    flow.answer("gather/screen")
    flow.feed(about(flow, queue_ms, compute_ms))
    one = breach(rest(flow), "bulk_p95_s")
    assert cause in one.cause
    assert one.command == command


def test_a_system_that_was_silent_until_it_was_asked_again_is_the_cause() -> None:
    """The time of the first try is the system's, and not lost between the stages."""
    flow = case()
    flow.answer("gather/about")
    flow.fire("gather/screen/1")
    one = breach(rest(flow, "gather/screen"), "bulk_p95_s")
    assert "100% of the time of 1 late cases was spent waiting for sanctions" in one.cause
    assert one.command == "aios breaker list"


def test_a_case_that_still_waits_for_a_model_is_late_by_it() -> None:
    flow = case()
    flow.answer("gather/screen")
    flow.now_ms += 10 * MINUTE_MS
    one = breach(flow, "bulk_p95_s")
    assert (one.measured, one.cases) == (600.0, 1)
    assert "queued before classify.bulk" in one.cause
    assert "1 of them still wait" in one.cause


@dataclass
class Store:
    """What the outcome store shows of one case."""

    flow: Flow
    view: CaseView
    resting_ms: int = 0

    async def list_cases(self, *, resting_ms: int, workflow: str, **_: Any) -> list[CaseView]:
        self.resting_ms = resting_ms
        return [self.view] if workflow == self.flow.workflow.workflow else []

    async def timeline(self, case_id: str, tenant: str | None) -> list[dict[str, Any]]:
        assert (case_id, tenant) == (self.flow.case_id, None)
        return [json.loads(transition_json(one)) for one in self.flow.of(AuditRecorded)]


def stands_still(monkeypatch: pytest.MonkeyPatch, flow: Flow, **view: Any) -> Result:
    """`aios slo` where nothing has moved for five hours."""
    store = Store(flow, CaseView(case_id=flow.case_id, tenant="demo", status="asked", **view))
    now_ms = flow.now_ms + 300 * MINUTE_MS
    monkeypatch.setattr(slo, "wall_ms", lambda: now_ms)
    monkeypatch.setattr(slo, "connected", lambda: nullcontext((Settings(), None)))
    monkeypatch.setattr(slo, "_in_service", lambda *_: [flow.workflow])
    monkeypatch.setattr(recent, "read", lambda _kafka, _codec, since_ms: Recent(since_ms, (), cut=False))
    monkeypatch.setattr(outcome_store, "ask", lambda _url, question: asyncio.run(question(store)))
    said = CliRunner().invoke(aios, ["slo", "--hours", "1"])
    assert store.resting_ms == now_ms - 60 * MINUTE_MS
    assert asyncio.run(recent.resting(cast(Any, store), "another", now_ms)) == []
    return said


def test_a_standstill_longer_than_the_window_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open cases that did nothing in it are late all the same, by what they last asked for."""
    flow = case()
    flow.answer("gather/screen")
    said = stands_still(monkeypatch, flow)
    assert said.exit_code == FAILED
    assert "18000.00 s" in said.output
    assert "queued before classify.bulk" in said.output


@pytest.mark.parametrize("command", [["slo"], ["review", "stats"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_figures_of_a_part_are_told_as_such(
    command: list[str], form: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To scripts as well: on standard error, beside the JSON."""
    monkeypatch.setattr(slo, "_in_service", lambda *_: [])
    monkeypatch.setattr(review_stats, "Live", lambda *_: [])
    monkeypatch.setattr(review_stats.deployments, "loaded", lambda *_: nullcontext())
    monkeypatch.setattr(outcome_store, "ask", lambda *_: [])
    monkeypatch.setattr(recent, "read", lambda _kafka, _codec, since_ms: Recent(since_ms, (), cut=True))
    for module in (slo, review_stats):
        monkeypatch.setattr(module, "connected", lambda: nullcontext((Settings(), None)))
    said = CliRunner().invoke(aios, [*command, *form])
    assert (said.exit_code, said.stderr) == (0, "there was more than is read here; the newest of it counts\n")
    assert not form or json.loads(said.stdout) == []


@pytest.mark.parametrize("waits", [{"task_id": "t"}, {"until": 9}, {"decided_at": 1}])
def test_who_waits_for_a_person_or_an_event_does_not_stand_still(
    waits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = stands_still(monkeypatch, case(), **waits)
    assert (said.exit_code, "BREACHED" in said.output) == (0, False)


def moves(*told: tuple[int, str, str]) -> Trail:
    """A case as far as it has come: at, transition, step."""
    detail = {"pool": "classify", "lane": "bulk", "system": "calendars"}
    return Trail("c", moves=[Move(n, at, what, step, "plan", detail) for n, (at, what, step) in enumerate(told, 1)])


def test_what_nobody_answered_ends_where_the_case_goes_on() -> None:
    """At a fallback's queue, with a person, behind a wait whose time ran out: none counts twice or as still open."""
    fallback = moves(
        (0, "requested", "ask"), (100, "queued", "ask"), (200, "requested", "ask"), (210, "answered", "ask")
    )
    assert sum(objectives.spent_ms(fallback, 210).values()) == 210
    person = moves((0, "requested", "ask"), (100, "review_requested", "look"))
    assert objectives.spent_ms(person, 10_000).total() == 100
    waited = moves((0, "waiting", "papers"), (50, "requested", "ask"))
    assert objectives.spent_ms(waited, 90)[objectives.WAIT] == 50
    branches = moves((0, "call_requested", "get/a"), (10, "requested", "get/b"), (30, "call_completed", "get/a"))
    assert objectives.spent_ms(branches, 30)["system:calendars"] == 30
    rested = moves((0, "requested", "ask"), (100, "resting", "ask"), (160, "queued", "ask"), (200, "requested", "ask"))
    assert objectives.spent_ms(rested, 210) == {"queue:classify": 110, objectives.REST: 60, "turn:classify": 40}


def kept(flow: Flow, objective: str = "bulk_p95_s") -> tuple[bool | None, float | None]:
    found = {one.objective: one for one in objectives.judge([flow.workflow], [trail(flow)], flow.now_ms)}
    return found[objective].kept, found[objective].measured


def booked(**more: Any) -> Flow:
    """A case of two seconds' work that waits, open, for what it is told."""
    flow = Flow(workflow=workflow(objectives=OWED, **more))
    flow.admit()
    flow.now_ms += 2_000
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    return flow


def without_answer() -> dict[str, Any]:
    """Steps whose wait answers nobody."""
    steps = copy.deepcopy(EVERY["steps"])
    steps["booked"]["wait"]["answers_caller"] = False
    return steps


def test_a_case_whose_wait_answers_the_caller_is_done_for_him() -> None:
    """A booked meeting is none the later for beginning next week; and in the end it still took two seconds."""
    flow = booked()
    flow.now_ms += 10 * MINUTE_MS
    assert kept(flow) == (True, 2.0)
    flow.tell("changed", body={"what": "cancelled"})
    assert flow.decided.outcome == "refused"
    assert kept(flow) == (True, 2.0)


def test_a_wait_that_the_workflow_asks_for_is_no_lateness() -> None:
    """Open it has no verdict, as it is not done; told, it took its own time alone, also where the wait began anew."""
    flow = booked(steps=without_answer())
    flow.now_ms += 10 * MINUTE_MS
    assert kept(flow) == (None, None)
    flow.tell("changed", body={"what": "moved"})
    flow.now_ms += 3_000
    flow.answer("book#2")
    flow.now_ms += 10 * MINUTE_MS
    flow.tell("changed", body={"what": "cancelled"}, event_id="e2")
    assert flow.decided.outcome == "refused"
    assert kept(flow) == (True, 5.0)


def test_what_a_waiting_workflow_is_slow_in_is_still_told() -> None:
    """The cause is a share of its own time; a wait is none."""
    flow = case()
    flow.answer("gather/about")
    flow.now_ms += MINUTE_MS
    for step in ("gather/screen", "read/0", "read/1", "book"):
        flow.answer(step)
    flow.now_ms += 30 * MINUTE_MS
    one = breach(flow, "bulk_p95_s")
    assert (one.measured, one.command) == (60.0, "aios breaker list")
    assert "100% of the time of 1 late cases was spent waiting for sanctions" in one.cause
    assert "still wait" not in one.cause


@pytest.mark.parametrize(
    "move", [Move(2, 10, "told", "papers", "ana", {"kept": True}), Move(0, 10, "case_joined", "", "plan", {})]
)
def test_what_does_not_move_a_case_ends_no_wait(move: Move) -> None:
    """What it is told for a later wait, and what is noted of it beside its order: it waits on."""
    waited = moves((0, "waiting", "papers"), (50, "requested", "ask"))
    waited.moves.insert(1, move)
    assert objectives.spent_ms(waited, 90)[objectives.WAIT] == 50


def test_a_wait_that_ends_by_its_time_asked_no_person() -> None:
    """Nor did a case that a timer decided."""
    steps = without_answer()
    steps["booked"]["wait"]["on_expiry"] = {"then": "close"}
    flow = booked(steps=steps)
    flow.fire("booked/1")
    assert flow.decided.decided_by == "timer"
    assert kept(flow, "without_person_min") == (True, 1.0)
    assert kept(flow) == (True, 2.0)


def test_of_what_began_before_the_window_only_what_is_seen_counts() -> None:
    """A wait of days is none of it; a person who was asked then and did not answer was asked."""
    flow = booked(steps=without_answer())
    flow.now_ms += 10 * MINUTE_MS
    flow.tell("changed", body={"what": "cancelled"})
    late = trail(flow)
    late.moves = [move for move in late.moves if move.transition in ("told", "decided")]
    judged = {one.objective: one for one in objectives.judge([flow.workflow], [late], flow.now_ms)}
    assert judged["bulk_p95_s"].kept is None
    asked = Flow(workflow=workflow(objectives=OWED))
    asked.admit()
    asked.answer("gather/about")
    asked.answer("gather/screen", "failed")
    asked.fire("ask/1")
    unanswered = trail(asked)
    unanswered.moves = [move for move in unanswered.moves if move.transition == "decided"]
    judged = {one.objective: one for one in objectives.judge([asked.workflow], [unanswered], asked.now_ms)}
    assert (judged["without_person_min"].measured, judged["bulk_p95_s"].kept) == (0.0, None)


@pytest.mark.parametrize(
    ("failing", "reason", "command"),
    [("gather/screen", "gathering failed", "aios breaker list"), ("gather/about", "gathering failed", "aios pools")],
)
def test_too_many_people_are_explained_by_what_failed(failing: str, reason: str, command: str) -> None:
    flow = case()
    flow.answer("gather/about" if failing == "gather/screen" else "gather/screen")
    flow.answer(failing, "failed")
    flow.judge("ask", "reject", "ana")
    one = breach(flow, "without_person_min")
    assert one.cause == f"1 of 1 cases that went to a person did so for {reason}"
    assert one.command == command


def test_whom_a_case_asks_because_it_may_not_decide_alone_is_told_how_it_may() -> None:
    alone = {"mode": "suggest", "share": 1.0, "ask": "ask"}
    flow = Flow(workflow=workflow(objectives=OWED, autonomy=alone))
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1"):
        flow.answer(step)
    flow.judge("ask", "reject", "ana")
    one = breach(flow, "without_person_min")
    assert "did so for not decided alone" in one.cause
    assert "`aios workflow autonomy every.kind auto` lets it decide alone" in one.cause
    assert one.command == "aios review stats"


@pytest.mark.parametrize("what", ["turn:classify.bulk", objectives.INTAKE, objectives.BUDGET, objectives.PIPELINE])
def test_every_other_cause_leads_to_a_command_too(what: str) -> None:
    says, command = objectives._of(what)
    assert says.startswith("was spent ")
    assert_runs(command)


def test_a_question_of_plans_own_records_is_acknowledged_resolved_and_priced() -> None:
    """Asked, opened a minute later, decided two minutes after that; another is open still."""
    trails = [trail(one) for one in _questions(6)]
    assumed = {"every.kind": Assumed(minutes=3.0, expires_h=24)}
    waiting = {"every.kind": [START_MS] * 4}
    (load,) = review_load.loads(trails, waiting, assumed, since_ms=START_MS, window_ms=DAY_MS, minute_micro=600_000)
    assert (load.asked, load.opened, load.decided, load.expired) == (6, 6, 6, 0)
    assert (load.acknowledge_p50_s, load.acknowledge_p95_s) == (60.0, 60.0)
    assert (load.resolve_p50_s, load.resolve_p95_s) == (180.0, 180.0)
    assert (load.minutes, load.measured_minutes, load.cost_micro) == (2.0, True, 1_200_000)
    assert (round(load.queued_h, 6), load.cleared_h_a_day) == (round(4 * 2 / 60, 6), 6 * 2 / 60)
    assert load.override_share == 1.0  # each chose another label than the one suggested


def _questions(count: int) -> Iterator[Flow]:
    for number in range(count):
        flow = Flow(key=f"k{number}")
        flow.admit()
        flow.answer("gather/about")
        flow.answer("gather/screen", "failed")
        task = flow.out("ask")
        flow.now_ms += MINUTE_MS
        opened = replace(
            flow.of(AuditRecorded)[-1],
            case_seq=0,
            transition="review_opened",
            actor="reviewer:ana",
            detail=f'{{"task_id":"{task.task_id}"}}',
            at=flow.now_ms,
        )
        flow.written.append(opened)  # as the gateway notes it
        flow.now_ms += 2 * MINUTE_MS
        flow.judge("ask", "reject", "ana")
        yield flow
