"""Cases of one partition before outside systems: how many of a tenant's commands are out, and who follows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.cases import turnstile
from aios.processors.cases.branches import strands_of
from aios.processors.cases.turnstile import POOL, TURN, place_at, pool_key, turn_key
from aios.processors.connectors import lines, registry
from aios.processors.connectors.webhook import Message
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseDecided,
    CaseRemembered,
    ConnectorRequested,
    Event,
    InferenceRequested,
    PoolRemembered,
    ReviewRequested,
    TimerFired,
)
from aios.streams import installed, waiting
from aios.streams.errors import ConfigError
from tests.fakes import admissions, flow
from tests.unit import test_flow

HOOKS = """
workflow: told.hooks
version: 1
owner: tests
about: Tell one after the other, and some at the same time.
cost_centre: CC-1
signed_off: {by: Somebody, on: 2026-11-20}
input: hook.asked.v1
objectives: {interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.5}
policy: {}
labels: {}
samples: [{text: hello}]
start: first
steps:
  first:
    connect: &told
      status: telling
      system: webhook
      operation: send
      request: {endpoint: input.name, kind: "'case.decided'", body: "{'a': 1}"}
      effect: at_least_once
      deadline_s: {interactive: 60, bulk: 600}
      attempts_max: 2
      then: all
      on_error: {reason: not_told, then: all}
  all:
    map:
      status: telling
      over: input.documents
      items_max: 3
      each:
        connect:
          system: webhook
          operation: send
          request: {endpoint: item, kind: "'case.decided'", body: "{'a': 1}"}
          effect: at_least_once
          deadline_s: {interactive: 60, bulk: 600}
      then: done
      on_error: {reason: not_all_told, then: done}
  done:
    emit: {status: decided, outcome: told, decided_by: "'policy'"}
"""
WORKFLOWS = Workflows([flow.workflow(), Workflow.model_validate(yaml.safe_load(HOOKS))])
BACKLOG = 3_000


def admitted(number: int, tenant: str = "acme", *, workflow: str = "told.hooks", **changed: Any) -> CaseAdmitted:
    return admissions.admitted(
        {**flow.INPUT, "name": "shop", "documents": [], **changed},
        key=str(number),
        tenant=tenant,
        workflow=workflow,
        contract="hook.asked.v1" if workflow == "told.hooks" else "kind.asked.v1",
        at=test_flow.NOW_MS,
        event_id=f"e{number}",
        source_offset=number,
    )


@dataclass
class Partition(test_flow.Partition):
    """The same before systems, branches of cases included."""

    workflows: Workflows = field(default_factory=lambda: WORKFLOWS)
    is_checked: bool = True

    def check(self) -> None:
        if not self.is_checked:
            return
        places: Counter[bytes] = Counter()
        waiting: set[bytes] = set()
        for state in self.cases.values():
            for pool, turn in _asks(state):
                entry = turn_key(state.tenant, pool, turn)
                if turn and entry in self.gate:
                    waiting.add(entry)
                else:
                    places[pool_key(state.tenant, pool)] += 1
        known = {key: cast(PoolRemembered, one).outstanding for key, one in self.gate.items() if key.startswith(POOL)}
        assert {key: count for key, count in known.items() if count} == dict(places)
        assert max(known.values(), default=0) <= self.share
        assert {key for key in self.gate if key.startswith(TURN)} == waiting
        self.check_waits()

    def calls(self) -> list[ConnectorRequested]:
        """Commands that their cases, or branches of them, wait for."""
        waited = {one for state in self.cases.values() for one in _waits(state)}
        return [one for one in self.of(ConnectorRequested) if one.request_id in waited]

    def settle(self) -> None:
        while self.inputs:
            self.read()


def _asks(state: CaseRemembered) -> list[tuple[str, int]]:
    return [(one.pool, one.turn) for one in (state, *strands_of(state)) if one.pool]


def _waits(state: CaseRemembered) -> list[str]:
    return [one.waiting_for for one in (state, *strands_of(state)) if one.waiting_for]


def test_behind_a_backlog_of_thousands_another_tenants_command_is_the_next_that_is_written() -> None:
    """Of one tenant's thousands no more than its places are out; who comes then is out at once, and the rest follow in
    order, one for each that is answered.
    """
    world = Partition(share=21, is_checked=False)
    for number in range(BACKLOG):
        world.feed(admitted(number))
    out = world.of(ConnectorRequested)
    assert len(out) == 21
    world.feed(admitted(0, "other"))
    assert [one.tenant for one in world.of(ConnectorRequested)[21:]] == ["other"]
    for answered in range(3):
        world.feed(flow.returned(out[answered]))
        world.settle()
        assert world.of(ConnectorRequested)[-1].case_id == admitted(21 + answered).case_id
    world.check()
    transitions = [one.transition for one in world.of(AuditRecorded) if one.case_id == admitted(21).case_id]
    assert transitions == ["admitted", "call_queued", "call_requested"]


def test_an_endpoint_that_is_slow_holds_up_no_other_of_its_tenant() -> None:
    """Each has its own places; what no endpoint may be called stands with the system."""
    world = Partition(share=1)
    for number in range(3):
        world.feed(admitted(number))
    world.feed(admitted(9, name="bank"))
    world.feed(admitted(10, name="no/such:name"))
    world.feed(admitted(11, name="Neither"))
    outs = [one.case_id for one in world.calls()]
    assert outs == [admitted(number).case_id for number in (0, 9, 10)]
    asked = [one for one in world.of(AuditRecorded) if one.transition in waiting.ASKED]
    whom = {one.case_id: json.loads(one.detail).get("endpoint") for one in asked}
    assert [whom[admitted(number).case_id] for number in (0, 1, 9, 10)] == ["shop", "shop", "bank", None], "it is told"
    assert pool_key("acme", "connectors.webhook:bank") in world.gate
    assert pool_key("acme", "connectors.webhook") in world.gate


def test_who_gets_no_turn_goes_on_without_and_one_that_comes_too_late_is_handed_on() -> None:
    """Called, and out of time before the case reads it: the next is called."""
    world = Partition(share=1)
    first, second, third = (admitted(number) for number in range(3))
    for one in (first, second, third):
        world.feed(one)
    world.feed(flow.returned(world.calls()[0]))
    (told,) = world.inputs
    due = world.timers.pop((second.case_id, "queue/first/1"))
    assert due == test_flow.NOW_MS + 2 * 600_000, "as long as it would wait for all its answers"
    world.now_ms = due
    said = [
        (one.transition, one.detail)
        for one in world.feed(TimerFired(timer_id="queue/first/1", case_id=second.case_id, due_at=due, fired_at=due))
        if isinstance(one, AuditRecorded)
    ]
    assert said[0][0] == "not_called"
    assert "no_turn" in said[0][1]
    assert cast(Any, told).case_id == second.case_id
    assert world.read() == []
    world.settle()
    assert [one.case_id for one in world.calls()] == [third.case_id]


def test_where_too_many_wait_already_a_case_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound exactly, a branch as a step that asks alone: not called, it says why, and holds nothing."""
    monkeypatch.setattr(turnstile, "WAITING_MAX", 2)
    world = Partition(share=1)
    for number in range(4):
        world.feed(admitted(number))
    world.feed(admitted(4, name="bank", documents=["far"] * 3))
    world.feed(admitted(5, name="far"))
    assert [(one.case_id, one.reasons) for one in world.of(CaseDecided)] == [(admitted(3).case_id, ("not_told",))]
    (branched,) = [one for one in world.calls() if one.case_id == admitted(4).case_id]
    world.feed(flow.returned(branched))
    refused = [(one.case_id, one.step, json.loads(one.detail)["reason"]) for one in _not_called(world)]
    assert refused == [
        (admitted(3).case_id, "first", "too_many_wait"),
        (admitted(4).case_id, "all/2", "too_many_wait"),
    ]


def _not_called(world: Partition) -> list[AuditRecorded]:
    return [one for one in world.of(AuditRecorded) if one.transition == "not_called"]


def test_a_command_that_nobody_answers_is_repeated_in_its_place() -> None:
    """The place is one however often it is asked, and who waits is called when it is given up."""
    world = Partition(share=1)
    world.feed(admitted(0))
    world.feed(admitted(1))
    world.fire(sorted(world.timers).index((admitted(0).case_id, "first/1")))
    world.settle()
    assert [(one.attempt, one.case_id) for one in world.calls()] == [(2, admitted(0).case_id)]


def test_a_case_that_asked_before_there_were_places_gives_none_back() -> None:
    """It was remembered without one: its answer, or its end, takes nobody else's."""
    world = Partition(share=1)
    world.feed(admitted(0, documents=["bank"]))
    (held,) = world.calls()
    world.gate.clear()
    world.cases = {held.case_id: replace(world.cases[held.case_id], pool="")}
    world.feed(admitted(1))
    world.feed(flow.returned(held))
    assert [one.case_id for one in world.calls()] == [admitted(1).case_id, held.case_id]
    assert set(world.gate) == {pool_key("acme", "connectors.webhook:bank"), pool_key("acme", "connectors.webhook:shop")}


@settings(max_examples=150, deadline=None)
@given(actions=test_flow.ACTIONS, share=st.integers(1, 3))
def test_whatever_happens_places_are_counted_and_every_case_ends(actions: list[tuple[str, int]], share: int) -> None:
    """Branches, circles, silence, turns in any order, repeats: `check` holds after every step; nothing is left."""
    world, number = Partition(share=share), 0
    for what, draw in actions:
        match what:
            case "admit":
                number += 1
                world.feed(
                    admitted(
                        number,
                        ("acme", "other")[draw % 2],
                        workflow=("told.hooks", "every.kind")[draw // 2 % 2],
                        name=("shop", "bank")[draw // 4 % 2],
                        documents=["shop", "bank", "shop"][: draw // 8 % 4],
                    )
                )
            case "answer" | "fail" if out := _open(world):
                world.feed(_answer(out[draw % len(out)], "ok" if what == "answer" else "failed"))
            case "cancel" if world.cases:
                state = sorted(world.cases.values(), key=lambda one: one.case_id)[draw % len(world.cases)]
                world.feed(test_flow.cancelled(state.case_id, state.tenant))
            case "again" if asked := [*world.of(ConnectorRequested), *world.of(InferenceRequested)]:
                world.feed(_answer(asked[draw % len(asked)], "ok"))
            case "read" if world.inputs:
                world.read(draw)
            case "fire" if world.timers:
                world.fire(draw)
    for _ in range(60 * (number + 1)):
        world.settle()
        if world.timers:
            world.fire(0)
    assert all(state.decided_at for state in world.cases.values())
    assert world.gate == {}
    assert len(world.of(CaseDecided)) == number
    requests = [one.request_id for one in world.of(ConnectorRequested)]
    assert len(set(requests)) == len(requests)


def _open(world: Partition) -> list[Event]:
    waited = {one for state in world.cases.values() for one in _waits(state)}
    asked = [*world.of(ConnectorRequested), *world.of(InferenceRequested), *world.of(ReviewRequested)]
    return [one for one in asked if (one.task_id if isinstance(one, ReviewRequested) else one.request_id) in waited]


def _answer(asked: Event, status: str) -> Event:
    match asked:
        case ConnectorRequested():
            return flow.returned(asked, status)
        case InferenceRequested():
            return flow.answered(asked, status)
        case ReviewRequested():
            return flow.judged(asked, "accept" if status == "ok" else "reject", "rita")
    raise AssertionError(asked)


def test_plan_and_connector_name_the_same_endpoint() -> None:
    """The line in the process and the place in plan are of one party."""
    hook = installed.systems()["webhook"]
    assert lines.party(hook, Message(endpoint="shop", kind="k", body={}), "acme") == ("acme/shop", True)
    assert place_at("webhook", "shop") == "connectors.webhook:shop"
    assert turnstile.is_system(place_at("webhook"))
    share = turnstile.shares({place_at("webhook"): 32}, 6)
    assert share(place_at("webhook", "shop")) == share(place_at("webhook")) == 5


def test_a_file_that_names_an_endpoint_which_no_request_has_is_refused() -> None:
    """Else its commands would fail one by one."""
    with pytest.raises(ConfigError, match="recipient"):
        registry.operations_of(installed.systems()["webhook"].model_copy(update={"endpoint": "recipient"}))
