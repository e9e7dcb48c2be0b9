"""Cases of one partition before the pools: who may ask, in which order, with which pool, and what becomes of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.cases import case, turn
from aios.processors.cases.turnstile import POOL, TURN, Turnstile, pool_key
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Step
from aios.processors.language.workflow_files import Workflows
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseCancelled,
    CaseDecided,
    CaseRemembered,
    Event,
    InferenceCancelled,
    InferenceCompleted,
    InferenceRequested,
    PoolRemembered,
    ReviewRequested,
    TimerFired,
)
from aios.streams import installed
from aios.streams.errors import Reason, RecordError
from aios.streams.pool_files import Lane, Pool
from tests.fakes import admissions, flow
from tests.fakes.answers import answer_to
from tests.fakes.pools import SMALL, chained
from tests.fakes.triage import plain

NOW_MS = 1_700_000_000_000
BODY = {"text": "Where is my card?", "channel": "message", "subject": "", "customer_id": ""}
SHIPPED = installed.pools()


def admitted(number: int, tenant: str = "acme", lane: str = "bulk") -> CaseAdmitted:
    return admissions.admitted(
        BODY, key=str(number), tenant=tenant, lane=lane, at=NOW_MS, event_id=f"e{number}", source_offset=number
    )


def answer(request: InferenceRequested, status: str = "ok") -> InferenceCompleted:
    said: dict[str, Any] = {"label": "card_arrival", "confidence": 0.97, "out_of_scope": 0.02}
    return answer_to(
        request,
        status=status,
        output=ids.canonical(said) if status == "ok" else "{}",
        output_tokens=1,
        completed_at=NOW_MS,
        pool=request.pool,
        fallback_of=request.fallback_of,
    )


def cancelled(case_id: str, tenant: str = "acme", by: str = "operator:opa") -> CaseCancelled:
    return CaseCancelled(event_id="x1", case_id=case_id, tenant=tenant, reason="withdrawn", by=by, cancelled_at=NOW_MS)


@dataclass
class Partition:
    """Many cases, one turnstile; what was written, and the timers of each case."""

    share: int = 1
    pools: Mapping[str, Pool] = field(default_factory=lambda: SHIPPED)
    workflows: Workflows = field(default_factory=plain)
    cases: dict[str, CaseRemembered] = field(default_factory=dict)
    gate: dict[bytes, Event] = field(default_factory=dict)
    timers: dict[tuple[str, str], int] = field(default_factory=dict)
    inputs: list[Event] = field(default_factory=list)  # fired timers and turns that were told, not read yet
    written: list[Event] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    now_ms: int = NOW_MS

    def feed(self, event: Event) -> list[Event]:
        """Apply it to its case, and check what must hold after every step; what it wrote."""
        case_id = cast(Any, event).case_id
        gate = Turnstile(lambda key, kind: self.gate.get(key), lambda pool: self.share)
        moved = case.plan(
            self.cases.get(case_id),
            event,
            turn.Cause("topic", 0, len(self.written), self.now_ms),
            self.workflows,
            turnstile=gate,
            pools=self.pools,
        )
        self.skipped[moved.skipped] += 1
        if moved.state is not None:
            assert moved.state.case_id == case_id, "an event of one case moves no other"
            self.cases[case_id] = moved.state
        for key, value in gate.changes.items():
            if value is None:
                self.gate.pop(key, None)
            else:
                self.gate[key] = value
        for called, timer_id in gate.called:
            told = TimerFired(timer_id=timer_id, case_id=called, due_at=self.now_ms, fired_at=self.now_ms)
            self.inputs.append(told)
        for timer_id, due in moved.timers.items():
            self.timers.pop((case_id, timer_id), None)
            if due is not None and timer_id != FORGET:
                self.timers[case_id, timer_id] = due
        self.written += [one for _, one in moved.events]
        self.check()
        return [one for _, one in moved.events]

    def check(self) -> None:
        places, entries = Counter[bytes](), 0
        for state in self.cases.values():
            waits = state.turn and self._entry(state) in self.gate
            entries += bool(waits)
            if state.pool and not waits:
                places[pool_key(state.tenant, state.pool)] += 1
        known = {key: cast(PoolRemembered, one).outstanding for key, one in self.gate.items() if key.startswith(POOL)}
        assert {key: count for key, count in known.items() if count} == dict(places)
        assert max(known.values(), default=0) <= self.share
        assert sum(key.startswith(TURN) for key in self.gate) == entries
        self.check_waits()

    def check_waits(self) -> None:
        """Each has its timer, or that has fired and is not read yet."""
        fired = {(one.case_id, one.timer_id) for one in self.inputs if isinstance(one, TimerFired)}
        for state in self.cases.values():
            waits = set() if state.decided_at else {(state.case_id, one) for one in flow.timers_of(state)}
            assert waits <= self.timers.keys() | fired, "a wait ends"

    def _entry(self, state: CaseRemembered) -> bytes:
        return TURN + f"{state.pool}/{state.turn}/{state.tenant}".encode()

    def read(self, at: int = 0) -> list[Event]:
        """The next input of its own, or another one: a stage reads them in order, the test need not."""
        return self.feed(self.inputs.pop(at % len(self.inputs)))

    def fire(self, at: int) -> None:
        """A timer comes due: its input is written, and read later."""
        (case_id, timer_id), due = sorted(self.timers.items())[at % len(self.timers)]
        del self.timers[case_id, timer_id]
        self.now_ms = max(self.now_ms, due)
        self.inputs.append(TimerFired(timer_id=timer_id, case_id=case_id, due_at=due, fired_at=self.now_ms))

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.written if isinstance(one, kind)]

    def out(self) -> list[InferenceRequested]:
        """Commands that their cases wait for."""
        return [one for one in self.of(InferenceRequested) if self.cases[one.case_id].waiting_for == one.request_id]

    def transitions(self, case_id: str) -> list[str]:
        return [one.transition for one in self.of(AuditRecorded) if one.case_id == case_id]


def test_no_more_than_the_share_stands_with_a_pool_and_the_rest_follows_in_order() -> None:
    """Ten cases, two places: each answer calls the next by a timer record, and nobody is overtaken."""
    world = Partition(share=2)
    for number in range(10):
        world.feed(admitted(number))
    assert [one.transition for one in world.of(AuditRecorded)].count("queued") == 8
    asked = []
    while requests := world.out():
        assert len(requests) <= 2
        asked.append(requests[0].case_id)
        world.feed(answer(requests[0]))
        while world.inputs:
            world.read()
    assert asked == [admitted(number).case_id for number in range(10)]
    assert len(world.of(CaseDecided)) == 10
    assert world.transitions(asked[-1]) == ["admitted", "queued", "requested", "answered", "decided"]
    assert world.gate == {}


def test_a_tenant_with_a_backlog_holds_up_nobody_else() -> None:
    """Places are a tenant's own, and a pool's own."""
    world = Partition(share=1)
    for number in range(50):
        world.feed(admitted(number))
    world.feed(admitted(0, tenant="other"))
    world.feed(admitted(99, lane="interactive"))
    assert [(one.tenant, one.pool) for one in world.out()] == [
        ("acme", "classify.bulk"),
        ("other", "classify.bulk"),
        ("acme", "classify.interactive"),
    ]


def test_a_turn_that_comes_too_late_hands_the_place_on() -> None:
    """Called, and out of time before the case reads it: the next is called, and the late turn changes nothing."""
    world = Partition(share=1)
    first, second, third = (admitted(number) for number in range(3))
    for one in (first, second, third):
        world.feed(one)
    world.feed(answer(world.out()[0]))
    (told,) = world.inputs
    assert isinstance(told, TimerFired)
    assert (told.case_id, told.timer_id) == (second.case_id, "turn/classify/1")
    world.now_ms = world.timers.pop((second.case_id, "queue/classify/1"))
    fired = replace(told, timer_id="queue/classify/1")
    (task,) = [one for one in world.feed(fired) if isinstance(one, ReviewRequested)]
    assert task.reasons == ("model_failed",)
    assert world.read() == []
    assert world.skipped["late_timer"] == 1
    world.read()
    assert [one.case_id for one in world.out()] == [third.case_id]


def test_a_wait_for_a_turn_is_over_when_all_attempts_would_be() -> None:
    """And the timer of the wait is not that of an answer: one that is in flight ends no command."""
    world = Partition(share=1)
    first, second = admitted(0), admitted(1)
    world.feed(first)
    world.feed(second)
    triage = plain().latest("document.triage")
    assert triage is not None
    step = triage.steps["classify"].infer
    assert step is not None
    due = world.timers[second.case_id, "queue/classify/1"]
    assert due == NOW_MS + step.attempts_max * step.deadline_s.ms("bulk")
    world.feed(answer(world.out()[0]))
    world.read()
    stale = TimerFired(timer_id="queue/classify/1", case_id=second.case_id, due_at=due, fired_at=due)
    assert world.feed(stale) == []
    assert [one.case_id for one in world.out()] == [second.case_id]


def test_a_pool_that_cannot_answer_is_followed_by_its_fallback_and_then_by_a_person() -> None:
    """Each request and transition says whom it stands in for; the fallback is asked for its own model."""
    world = Partition(pools=chained())
    world.feed(admitted(0))
    (first,) = world.out()
    assert (first.pool, first.fallback_of) == ("classify.bulk", "")
    world.feed(answer(first, "failed"))
    (second,) = world.out()
    assert (second.pool, second.fallback_of, second.attempt) == (f"{SMALL}.bulk", "classify.bulk", 2)
    assert second.model.split("@")[0] == chained()[f"{SMALL}.bulk"].model
    world.feed(answer(second, "expired"))
    (task,) = world.of(ReviewRequested)
    assert task.reasons == ("model_failed",)
    said = [json.loads(one.detail) for one in world.of(AuditRecorded) if one.transition in ("requested", "answered")]
    assert [(one["pool"], one["fallback_of"]) for one in said] == [
        ("classify.bulk", ""),
        ("classify.bulk", ""),
        (f"{SMALL}.bulk", "classify.bulk"),
        (f"{SMALL}.bulk", "classify.bulk"),
    ]


def test_silence_is_asked_again_before_the_fallback_is() -> None:
    """attempts_max commands to each pool; each that was given up is called off, so that no worker spends on it."""
    world = Partition(pools=chained())
    world.feed(admitted(0))
    for _ in range(4):
        world.fire(0)
        world.read()
    assert [one.pool for one in world.of(InferenceRequested)] == ["classify.bulk"] * 2 + [f"{SMALL}.bulk"] * 2
    assert [one.attempt for one in world.of(InferenceRequested)] == [1, 2, 3, 4]
    called_off = [(one.request_id, one.pool, one.reason) for one in world.of(InferenceCancelled)]
    assert called_off == [(one.request_id, one.pool, "timed_out") for one in world.of(InferenceRequested)]
    assert len(world.of(ReviewRequested)) == 1


def test_a_case_that_is_called_off_ends_and_its_command_is_too() -> None:
    """One decision, by who cancelled; the pool is told, the next has its place; an answer that still comes is waste."""
    world = Partition(share=1)
    first, second = admitted(0), admitted(1)
    world.feed(first)
    world.feed(second)
    (request,) = world.out()
    world.feed(cancelled(first.case_id))
    (decision,) = world.of(CaseDecided)
    assert (decision.outcome, decision.decided_by, decision.reasons) == ("cancelled", "operator:opa", ("cancelled",))
    assert world.transitions(first.case_id) == ["admitted", "requested", "cancelled", "decided"]
    (told,) = world.of(InferenceCancelled)
    assert (told.request_id, told.pool, told.reason) == (request.request_id, "classify.bulk", "case_cancelled")
    assert world.feed(answer(request)) == []
    world.read()
    assert [one.case_id for one in world.out()] == [second.case_id]


def test_who_is_called_off_while_waiting_is_never_called() -> None:
    """Its entry goes; a turn that was told already hands its place on; nobody is told of a command that never was."""
    world = Partition(share=1)
    cases = [admitted(number) for number in range(4)]
    for one in cases:
        world.feed(one)
    world.feed(cancelled(cases[1].case_id))
    world.feed(answer(world.out()[0]))
    assert [cast(TimerFired, one).case_id for one in world.inputs] == [cases[2].case_id]
    world.feed(cancelled(cases[2].case_id))
    assert world.read() == []
    world.read()
    assert [one.case_id for one in world.out()] == [cases[3].case_id]
    assert world.of(InferenceCancelled) == []


def test_a_decided_case_stays_decided() -> None:
    """The wish is noted, and changes nothing; one of a stranger is attributed to nobody."""
    world = Partition()
    world.feed(admitted(0))
    world.feed(answer(world.out()[0]))
    world.feed(cancelled(admitted(0).case_id))
    assert world.transitions(admitted(0).case_id)[-2:] == ["decided", "ignored"]
    assert len(world.of(CaseDecided)) == 1
    for stranger in (cancelled(admitted(0).case_id, tenant="other"), cancelled("nobody's")):
        with pytest.raises(RecordError) as caught:
            world.feed(stranger)
        assert caught.value.reason is Reason.UNATTRIBUTABLE


@pytest.mark.parametrize(("fixed", "pool"), [(Lane.BULK, "classify.bulk"), (None, "classify.interactive")])
def test_a_step_may_fix_its_lane(fixed: Lane | None, pool: str) -> None:
    """Else somebody who waits is served by the interactive pool; pool, deadline and request agree."""
    triage = plain().latest("document.triage")
    assert triage is not None
    step = triage.steps["classify"].infer
    assert step is not None
    steps = {**triage.steps, "classify": Step(infer=step.model_copy(update={"lane": fixed}))}
    world = Partition(workflows=workflow_files.Workflows([triage.model_copy(update={"steps": steps})]))
    world.feed(admitted(0, lane="interactive"))
    (request,) = world.out()
    lane = pool.partition(".")[2]
    assert (request.pool, request.lane) == (pool, lane)
    assert request.deadline_at - request.requested_at == step.deadline_s.ms(lane)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "admit", "answer", "answer", "fail", "read", "read", "fire", "again", "cancel"]),
        st.integers(0, 60),
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(actions=ACTIONS, share=st.integers(1, 3), fallback=st.booleans())
def test_whatever_happens_places_are_counted_and_every_case_ends(
    actions: list[tuple[str, int]], share: int, fallback: bool
) -> None:
    """Answers, silence, turns in any order, repeats: `check` holds after every step, and nothing is left at the end."""
    world = Partition(share=share, pools=chained() if fallback else SHIPPED)
    number = 0
    for what, draw in actions:
        requests = world.of(InferenceRequested)
        match what:
            case "admit":
                number += 1
                world.feed(admitted(number, tenant=("acme", "other")[draw % 2]))
            case "answer" | "fail" if out := world.out():
                world.feed(answer(out[draw % len(out)], "ok" if what == "answer" else "failed"))
            case "cancel" if world.cases:
                state = sorted(world.cases.values(), key=lambda one: one.case_id)[draw % len(world.cases)]
                world.feed(cancelled(state.case_id, state.tenant))
            case "again" if requests:
                world.feed(answer(requests[draw % len(requests)]))
            case "read" if world.inputs:
                world.read(draw)
            case "fire" if world.timers:
                world.fire(draw)
    for _ in range(20 * (number + 1)):
        while world.inputs:
            world.read()
        if world.timers:
            world.fire(0)
    assert all(state.decided_at for state in world.cases.values())
    assert world.gate == {}
    requests = [one.request_id for one in world.of(InferenceRequested)]
    assert len(set(requests)) == len(requests)
