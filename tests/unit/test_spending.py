"""Reserve, spend, settle, close: cases and their budget together, whatever comes first, twice or too late."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.infra.prove.findings import Law
from aios.infra.prove.fold import STATE, Fold, Scope
from aios.infra.prove.reading import Seen
from aios.processors.accounts import HOUR_MS, RETURN_MS
from aios.processors.cases import case, spending
from aios.processors.cases.active import Newest, Versions
from aios.processors.cases.spending import Funds
from aios.processors.cases.turn import Cause, timer_of
from aios.processors.language.workflow import ROUNDS_MAX, WAIT_S_MAX, Workflow
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    BudgetAnswered,
    BudgetRequested,
    CaseCancelled,
    CaseDecided,
    CaseRemembered,
    Event,
    InferenceCancelled,
    InferenceRequested,
    ReviewRequested,
    TimerFired,
    UsageSettled,
)
from aios.sinks.outcome_writes import TIMELINE_MAX
from aios.streams import installed
from aios.streams.pool_files import Pool
from aios.streams.topics import AUDIT_RECORDED
from tests.fakes.flow import EVERY, INPUT, Flow
from tests.fakes.flow import answered as flow_answered
from tests.fakes.pools import SMALL, by_the_second, chained
from tests.fakes.triage import plain
from tests.unit.test_accounts import Tenant
from tests.unit.test_accounts import limit as limit_of
from tests.unit.test_case import START_MS, admitted, answer, classified, decision

WORKFLOWS = plain()
TRIAGE = WORKFLOWS.of_input("document.received.v1")
assert TRIAGE is not None
assert TRIAGE.budget is not None
MOST = TRIAGE.budget.per_case_max_micro
LIMITED = Funds(lambda _tenant, _workflow: True, person_minute_micro=100)


def limit(hard: int, **changed: Any) -> Any:
    return replace(limit_of(hard, **changed), budget="demo/document.triage", tenant="demo", workflow="document.triage")


@dataclass
class Desk:
    """One case before its budget: what budget would say is fed by hand."""

    funds: Funds = LIMITED
    state: CaseRemembered | None = None
    now_ms: int = START_MS
    offset: int = 0
    ledger: list[UsageSettled] = field(default_factory=list)
    audits: list[AuditRecorded] = field(default_factory=list)
    pools: Mapping[str, Pool] = field(default_factory=installed.pools)
    versions: Versions = field(default_factory=Newest)

    def feed(self, event: Event) -> list[Event]:
        self.offset += 1
        cause = Cause("topic", 0, self.offset, self.now_ms, self.versions, self.funds)
        moved = case.plan(self.state, event, cause, WORKFLOWS, "", pools=self.pools)
        again = case.plan(self.state, event, cause, WORKFLOWS, "", pools=self.pools)
        assert moved == again, "the same inputs give the same outputs"
        self.state = moved.state
        told = [one for _, one in moved.events]
        self.ledger += [one for one in told if isinstance(one, UsageSettled)]
        self.audits += [one for one in told if isinstance(one, AuditRecorded)]
        return told

    def one(self, event: Event, kind: type[Any]) -> Any:
        (found,) = [one for one in self.feed(event) if isinstance(one, kind)]
        return found

    def fire(self) -> list[Event]:
        assert self.state is not None
        return self.feed(TimerFired(timer_id=timer_of(self.state), case_id=self.state.case_id, due_at=0, fired_at=0))


def answered(asked: BudgetRequested, status: str = "granted", **changed: Any) -> BudgetAnswered:
    said = BudgetAnswered(
        reservation_id=asked.reservation_id,
        case_id=asked.case_id,
        tenant=asked.tenant,
        workflow=asked.workflow,
        status=status,
        amount_micro=asked.amount_micro if status == "granted" else 0,
        answered_at=START_MS,
    )
    return replace(said, **changed)


def test_a_case_asks_for_its_most_before_its_first_call_and_gives_the_rest_back() -> None:
    """Request, grant, call, settlement, end: the lines name the reservation, and the decided case forgets it."""
    desk = Desk()
    asked = desk.one(admitted(), BudgetRequested)
    assert (asked.tenant, asked.workflow, asked.amount_micro) == ("demo", "document.triage", MOST)
    called = desk.one(answered(asked), InferenceRequested)
    told = desk.feed(answer(called, cost_micro=70, prompt_tokens=9, engine_us=12, pool="classify.bulk"))
    assert [one for one in told if isinstance(one, CaseDecided)]
    used, closed = desk.ledger
    assert (used.kind, used.cost_micro, used.engine_us, used.pool) == ("inference", 70, 12, "classify.bulk")
    assert (closed.kind, closed.cost_micro) == ("closed", 0)
    assert used.reservation_id == closed.reservation_id == asked.reservation_id
    assert desk.state is not None
    assert desk.state.purse == ""


def test_a_tenant_without_a_limit_waits_for_nothing() -> None:
    """No round trip: the first command leaves with the admission. What it costs is in the ledger all the same."""
    desk = Desk(Funds())
    called = desk.one(admitted(), InferenceRequested)
    desk.feed(answer(called, cost_micro=70))
    assert [(line.kind, line.reservation_id, line.cost_micro) for line in desk.ledger] == [("inference", "", 70)]


def test_a_second_answer_and_one_that_came_too_late_are_wasted_not_charged() -> None:
    """Each is one line under its own id; the same record computed again is the same line."""
    desk = Desk()
    called = desk.one(answered(desk.one(admitted(), BudgetRequested)), InferenceRequested)
    desk.feed(answer(called, cost_micro=70))
    desk.feed(answer(called, cost_micro=70))
    desk.state = None  # forgotten meanwhile
    desk.feed(answer(called, cost_micro=70))
    assert [line.kind for line in desk.ledger] == ["inference", "closed", "wasted", "wasted"]
    assert len({line.settlement_id for line in desk.ledger}) == 4
    assert [line.reservation_id for line in desk.ledger[2:]] == ["", ""]


def test_what_a_late_answer_took_is_charged_while_its_case_waits_and_wasted_once_it_is_called_off() -> None:
    """The worker says `expired` in time to be heard; what it says of a case that was cancelled is charged to nobody."""
    desk = Desk()
    called = desk.one(answered(desk.one(admitted(), BudgetRequested)), InferenceRequested)
    desk.feed(answer(called, status="expired", output="", cost_micro=70))
    assert [(line.kind, line.cost_micro) for line in desk.ledger] == [("inference", 70)]
    desk = Desk()
    called = desk.one(answered(desk.one(admitted(), BudgetRequested)), InferenceRequested)
    off = CaseCancelled(
        event_id="x", case_id=called.case_id, tenant="demo", reason="withdrawn", by="producer", cancelled_at=START_MS
    )
    assert [one.reason for one in desk.feed(off) if isinstance(one, InferenceCancelled)] == ["case_cancelled"]
    desk.feed(answer(called, status="cancelled", output="", cost_micro=70))
    assert [(line.kind, line.cost_micro) for line in desk.ledger] == [("closed", 0), ("wasted", 70)]


def test_a_denied_case_goes_where_its_workflow_says_and_calls_nothing() -> None:
    """Decided as refused, with the reason; no command has left."""
    desk = Desk()
    told = desk.feed(answered(desk.one(admitted(), BudgetRequested), "denied", reason="budget_exhausted"))
    (decided,) = [one for one in told if isinstance(one, CaseDecided)]
    assert (decided.outcome, decided.reasons) == ("refused", ("over_budget",))
    assert not [one for one in told if isinstance(one, InferenceRequested)]
    assert desk.ledger == []


def test_a_deferred_case_asks_again_when_it_was_told_to() -> None:
    """Under another reservation; until then nothing of it is asked, and a repeat of the answer changes nothing."""
    desk = Desk()
    asked = desk.one(admitted(), BudgetRequested)
    later = answered(asked, "deferred", resume_at=START_MS + 9)
    desk.feed(later)
    assert desk.feed(later) == []
    again = [one for one in desk.fire() if isinstance(one, BudgetRequested)]
    assert len(again) == 1
    assert again[0].reservation_id != asked.reservation_id
    assert desk.one(answered(again[0]), InferenceRequested)


def test_a_case_that_waits_for_room_asks_the_more_seldom_the_longer_it_waits() -> None:
    """Each rest is twice the one before, up to a bound, and none ends before budget said; a day of waiting leaves room
    for the rest of the case in its timeline.
    """
    desk, rests = Desk(), list[int]()
    asked = desk.one(admitted(), BudgetRequested)
    while desk.now_ms < START_MS + 24 * HOUR_MS:
        desk.feed(answered(asked, "deferred", resume_at=desk.now_ms + RETURN_MS))
        assert desk.state is not None
        rests.append(json_purse(desk.state).resume_at - desk.now_ms)
        desk.now_ms += rests[-1]
        (asked,) = [one for one in desk.fire() if isinstance(one, BudgetRequested)]
    assert rests[:6] == [30_000, 60_000, 120_000, 240_000, 480_000, spending.REST_MS_MAX]
    assert set(rests[5:]) == {spending.REST_MS_MAX}
    assert desk.state.case_seq < TIMELINE_MAX
    later = desk.now_ms + 2 * spending.REST_MS_MAX
    desk.feed(answered(asked, "deferred", resume_at=later))
    assert json_purse(desk.state).resume_at == later


def test_a_case_that_waits_for_next_month_goes_on_soon_after_its_limit_was_raised() -> None:
    """Nobody tells it of a limit: it looks once an hour, however long its window is."""
    desk = Desk()
    asked = desk.one(admitted(), BudgetRequested)
    desk.feed(answered(asked, "deferred", resume_at=START_MS + 20 * 24 * HOUR_MS))
    assert desk.state is not None
    assert json_purse(desk.state).resume_at == START_MS + spending.LOOK_MS_MAX
    (again,) = [one for one in desk.fire() if isinstance(one, BudgetRequested)]
    assert desk.one(answered(again), InferenceRequested)


def test_a_case_that_waits_too_often_is_denied() -> None:
    """Every path ends."""
    desk = Desk()
    asked = desk.one(admitted(), BudgetRequested)
    desk.feed(answered(asked, "deferred", resume_at=START_MS + 9))
    assert desk.state is not None
    purse = replace(json_purse(desk.state), attempt=spending.ATTEMPTS_MAX)
    desk.state = replace(desk.state, purse=spending.remembered(purse))
    assert [one.outcome for one in desk.fire() if isinstance(one, CaseDecided)] == ["refused"]


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("kind", ["infer", "parallel", "map"])
def test_a_denied_case_asks_no_model_wherever_it_goes(kind: str, *, silent: bool) -> None:
    """Also where on_denied leads to a step that asks one, and where budget said nothing in time; who is asked beside it
    is.
    """
    told = copy.deepcopy(EVERY) | {
        "budget": {"per_case_max_micro": 10_000, "on_denied": {"reason": "no_money", "then": "poor"}}
    }
    screen, about = (told["steps"]["gather"]["parallel"]["of"][name] for name in ("screen", "about"))
    on = {"status": "rating", "then": "ask", "on_error": {"reason": "not_rated", "then": "ask"}}
    told["steps"]["poor"] = {
        "infer": {"infer": about["infer"] | on},
        "parallel": {"parallel": {"of": {"near": screen, "far": about}} | on},
        "map": {"map": {"over": "input.documents", "items_max": 3, "each": about} | on},
    }[kind]
    flow = Flow(workflow=Workflow.model_validate(told), funds=LIMITED)
    flow.admit()
    (asked,) = flow.of(BudgetRequested)
    flow.fire(next(iter(flow.timers))) if silent else flow.feed(answered(asked, "denied"))
    if kind == "parallel":
        flow.answer("poor/near")
    assert flow.of(InferenceRequested) == []
    assert flow.out("ask").reasons == ("no_money", "not_rated")
    flow.judge("ask", "reject", "ana")
    assert [line.kind for line in flow.of(UsageSettled)] == ["person"], "there is no reservation to close"
    assert flow.feed(answered(asked)) == [spending.closed(answered(asked), asked.reservation_id, flow.now_ms)]


def json_purse(state: CaseRemembered) -> spending.Purse:
    return spending.Purse(**json.loads(state.purse))


def test_a_grant_that_comes_when_nobody_waits_any_more_is_given_back() -> None:
    """Budget was away for longer than a case waits: the case was refused, and its reservation must not stay."""
    desk = Desk()
    asked = desk.one(admitted(), BudgetRequested)
    assert [one.outcome for one in desk.fire() if isinstance(one, CaseDecided)] == ["refused"]
    for _ in range(2):
        closed = desk.one(answered(asked), UsageSettled)
        assert (closed.kind, closed.reservation_id) == ("closed", asked.reservation_id)
    assert len({line.settlement_id for line in desk.ledger}) == 1


def test_a_grant_that_is_told_twice_changes_nothing() -> None:
    """Above all it does not give back what the case is using."""
    desk = Desk()
    granted = answered(desk.one(admitted(), BudgetRequested))
    assert desk.one(granted, InferenceRequested)
    assert desk.feed(granted) == []


def test_no_call_begins_that_may_pass_the_reservation() -> None:
    """The summary would cost more than is left: the letter is routed without one."""
    desk = Desk()
    asked = desk.one(admitted(channel="letter", text="My mortgage. " * 400), BudgetRequested)
    called = desk.one(answered(asked), InferenceRequested)
    told = desk.feed(answer(called, cost_micro=MOST - 10))
    (decided,) = [one for one in told if isinstance(one, CaseDecided)]
    assert (decided.summary, "no_summary" in decided.reasons) == ("", True)
    assert not [one for one in told if isinstance(one, InferenceRequested)]


@pytest.mark.parametrize(("micro", "asks"), [(20_000, False), (0, True)])
def test_a_spent_reservation_asks_no_pool_that_is_paid_by_the_second(micro: int, *, asks: bool) -> None:
    """Its limit was declared before its pools had such a price. What costs nothing is asked all the same."""
    desk = Desk(pools=by_the_second(installed.pools(), micro))
    asked = desk.one(admitted(channel="letter", text="My mortgage. " * 400), BudgetRequested)
    called = desk.one(answered(asked), InferenceRequested)
    told = desk.feed(answer(called, cost_micro=MOST))
    assert bool([one for one in told if isinstance(one, InferenceRequested)]) == asks
    assert bool([one for one in desk.audits if one.transition == "not_asked"]) != asks


class Ahead(Newest):
    """A version of every prompt is activated that this deploy has no file of."""

    def prompt(self, name: str) -> str:
        return f"{name}@900"


def test_a_prompt_that_is_not_here_has_no_price_and_stops_no_other_case() -> None:
    """What it may cost nobody can say: the letter is routed without a summary, and the audit says why. A case without
    a reservation has it asked for: whether a prompt is there is the workers' to judge.
    """
    desk = Desk(versions=Ahead())
    asked = desk.one(admitted(channel="letter", text="My mortgage. " * 40), BudgetRequested)
    told = desk.feed(answer(desk.one(answered(asked), InferenceRequested), cost_micro=7))
    (decided,) = [one for one in told if isinstance(one, CaseDecided)]
    assert (decided.summary, "no_summary" in decided.reasons) == ("", True)
    (why,) = [one for one in desk.audits if one.transition == "not_asked"]
    assert json.loads(why.detail)["reason"] == "unknown_prompt"
    free = Desk(Funds(), versions=Ahead())
    labels = free.one(admitted(channel="letter", text="My mortgage. " * 40), InferenceRequested)
    assert free.one(answer(labels, cost_micro=7), InferenceRequested).prompt == "summary@900"


def test_a_case_that_was_granted_for_the_cheaper_pools_asks_these_first() -> None:
    """The command says of which pool it is the cheaper one."""
    desk = Desk(pools=chained())
    asked = desk.one(admitted(), BudgetRequested)
    called = desk.one(answered(asked, "cheaper", amount_micro=500), InferenceRequested)
    assert (called.pool, called.fallback_of) == (f"{SMALL}.bulk", "classify.bulk")


def test_nobody_is_asked_again_outside_the_reservation() -> None:
    """After a silence longer than it lasts the second command is not sent: the case goes on without the model."""
    desk = Desk()
    called = desk.one(answered(desk.one(admitted(), BudgetRequested)), InferenceRequested)
    assert desk.state is not None
    purse = spending.purse_of(desk.state)
    assert purse is not None
    desk.now_ms = purse.expires_at
    told = desk.fire()
    assert not [one for one in told if isinstance(one, InferenceRequested)]
    (task,) = [one for one in told if isinstance(one, ReviewRequested)]
    assert (called.attempt, task.reasons) == (1, ("model_failed",))
    assert [one.transition for one in told if isinstance(one, AuditRecorded)][:1] == ["not_asked"]


def test_a_persons_decision_costs_the_minutes_that_the_workflow_assumes() -> None:
    """Three minutes at 100 are 300; a decision that was not taken costs nothing."""
    desk = Desk(replace(LIMITED, limited=lambda _tenant, _workflow: False))
    called = desk.one(admitted(), InferenceRequested)
    task = desk.one(classified(called, confidence=0.1), ReviewRequested)
    desk.feed(decision(task, label="no such label"))
    desk.feed(decision(task))
    desk.feed(decision(task))
    people = [line for line in desk.ledger if line.kind == "person"]
    assert [(line.cost_micro, line.person_ms) for line in people] == [(300, 180_000)]


@pytest.mark.parametrize("minute_micro", [0, 600_000])
def test_a_person_is_paid_beside_the_reservation_and_leaves_it_to_models(minute_micro: int) -> None:
    """However dear the three minutes are, the model that comes after them is asked; the ledger has both."""
    told = copy.deepcopy(EVERY) | {
        "start": "ask",
        "budget": {"per_case_max_micro": 5_000, "on_denied": {"reason": "no_money", "then": "refuse"}},
    }
    about = told["steps"]["gather"]["parallel"]["of"]["about"]["infer"]
    on = {"status": "rating", "then": "judged", "on_error": {"reason": "not_rated", "then": "judged"}}
    told["steps"]["ask"]["review"] |= {"then": "rate", "minutes": 3}
    told["steps"]["rate"] = {"infer": about | on}
    flow = Flow(workflow=Workflow.model_validate(told), funds=replace(LIMITED, person_minute_micro=minute_micro))
    flow.admit()
    (asked,) = flow.of(BudgetRequested)
    flow.feed(answered(asked))
    flow.judge("ask", "accept", "ana")
    assert flow.state is not None
    assert json_purse(flow.state).spent_micro == 0
    flow.feed(flow_answered(flow.out("rate")))
    person, model = flow.of(UsageSettled)
    assert (person.kind, person.reservation_id, person.cost_micro) == ("person", "", 3 * minute_micro)
    assert (model.kind, model.reservation_id) == ("inference", asked.reservation_id)


def test_a_reservation_outlives_the_longest_way_through_its_workflow() -> None:
    """Two models that are asked twice, each after as long a wait for its turn, and a person for three days."""
    assert TRIAGE is not None
    days = 3 * 24 * 3_600_000
    assert spending.longest_ms(TRIAGE, "bulk", installed.pools()) == days + 2 * 4 * 21_600_000 + spending.SPARE_MS


def test_a_reservation_outlives_a_systems_turn_too() -> None:
    """It is waited for as long again as for answers: here by a call sent twice, in a step visited three times."""
    longest = []
    for bulk_s in (600, 700):
        told = copy.deepcopy(EVERY)
        told["steps"]["book"]["connect"]["deadline_s"]["bulk"] = bulk_s
        longest.append(spending.longest_ms(Workflow.model_validate(told), "bulk", installed.pools()))
    assert longest[1] - longest[0] == 3 * (2 + 2) * 100_000


def test_no_reservation_is_held_for_centuries() -> None:
    """A circle of waits of more than a year each; what a stage or a page makes a date of stays one."""
    told = copy.deepcopy(EVERY)
    told["steps"]["booked"]["wait"] |= {"for_s": WAIT_S_MAX, "rounds_max": ROUNDS_MAX}
    longest = spending.longest_ms(Workflow.model_validate(told), "bulk", installed.pools())
    assert longest == spending.LONGEST_MS_MAX
    assert datetime.fromtimestamp((START_MS + longest) / 1000, UTC).year < 2030


@dataclass
class World:
    """Cases, their budget, models and people; every message may wait, and many come twice."""

    chance: random.Random
    tenant: Tenant
    costs: list[int]
    repeats: bool = True  # of what budget is told
    cases: dict[str, CaseRemembered | None] = field(default_factory=dict)
    to_cases: list[Event] = field(default_factory=list)
    to_budget: dict[type[Event], list[Any]] = field(
        default_factory=lambda: {BudgetRequested: [], UsageSettled: []}
    )  # two topics: each in order, none before the other
    ledger: dict[str, UsageSettled] = field(default_factory=dict)
    decided: dict[str, str] = field(default_factory=dict)
    offset: int = 0

    def admit(self, count: int) -> None:
        for number in range(count):
            key = f"k{number}"
            self.to_cases.append(
                admitted(case_id=ids.case_id("demo", "document.triage", key), event_id=key, idempotency_key=key)
            )

    def run(self) -> None:
        for _ in range(3_000):
            queues = [queue for queue in (self.to_cases, *self.to_budget.values()) if queue]
            if queues:
                self._deliver(self.chance.choice(queues))
            elif not self._fire():
                return
        raise AssertionError("it does not end")

    def _deliver(self, queue: list[Any]) -> None:
        if queue is self.to_cases:
            event = queue.pop(self.chance.randrange(len(queue)))
            self._to_case(event)
            if self.chance.random() < 0.2:
                queue.append(event)
            return
        event = queue.pop(0)
        for _ in range(1 + (self.repeats and self.chance.random() < 0.2)):
            said = self.tenant.feed(event)
            self.to_cases += [said] if said is not None else []
            for account in self.tenant.accounts.values():
                assert (
                    account.reserved_micro + account.spent_micro
                    <= self.tenant.limits["demo/document.triage"].hard_micro
                )

    def _to_case(self, event: Any) -> None:
        self.offset += 1
        cause = Cause("topic", 0, self.offset, self.tenant.now_ms, funds=LIMITED)
        moved = case.plan(self.cases.get(event.case_id), event, cause, WORKFLOWS, "")
        self.cases[event.case_id] = moved.state
        for _, told in moved.events:
            match told:
                case BudgetRequested():
                    self.to_budget[BudgetRequested].append(told)
                case UsageSettled():
                    known = self.ledger.setdefault(told.settlement_id, told)
                    assert known.cost_micro == told.cost_micro
                    self.to_budget[UsageSettled].append(told)
                case InferenceRequested():
                    confidence = self.chance.choice((0.1, 0.99))
                    self.to_cases.append(
                        replace(classified(told, confidence), cost_micro=self.chance.choice(self.costs))
                    )
                case ReviewRequested():
                    self.to_cases.append(decision(told))
                case CaseDecided():
                    assert told.case_id not in self.decided
                    self.decided[told.case_id] = told.outcome

    def _fire(self) -> bool:
        """Nothing is on its way: time passes until a case that waits is called."""
        waiting = [state for state in self.cases.values() if state is not None and state.waiting_for]
        if not waiting:
            return False
        self.tenant.now_ms += 3_600_000
        self.to_cases += [
            TimerFired(timer_id=timer_of(state), case_id=state.case_id, due_at=0, fired_at=0) for state in waiting
        ]
        return True


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 6 * MOST),
    st.sampled_from(("refuse", "wait", "cheaper")),
    st.lists(st.integers(0, 2 * MOST), min_size=1, max_size=4),
)
def test_however_cases_race_the_hard_limit_holds_and_nothing_stays_reserved(
    seed: int, hard: int, policy: str, costs: list[int]
) -> None:
    """I8, with messages in any order and twice: every case ends, the books are the ledger, the rest has returned."""
    world = World(random.Random(seed), Tenant().declare(limit(hard, window="hour", policy=policy)), costs)
    world.admit(6)
    world.run()
    assert len(world.decided) == 6
    assert world.tenant.held == {}
    for account in world.tenant.accounts.values():
        assert account.reserved_micro == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 2 * MOST), min_size=1, max_size=4))
def test_what_was_used_is_spent_or_over_to_the_last_unit(seed: int, costs: list[int]) -> None:
    """In a window that does not end: spent + over is what the ledger says of answers and people, each id once."""
    world = World(random.Random(seed), Tenant().declare(limit(4 * MOST, policy="wait")), costs, repeats=False)
    world.admit(5)
    world.run()
    booked = sum(one.spent_micro + one.over_micro for one in world.tenant.accounts.values())
    wasted = sum(one.wasted_micro for one in world.tenant.accounts.values())
    lines = world.ledger.values()
    assert booked == sum(line.cost_micro for line in lines if line.kind in ("inference", "person"))
    assert wasted == sum(line.cost_micro for line in lines if line.kind == "wasted")


def test_a_decided_case_is_no_larger_for_money() -> None:
    """A million decided cases lie in memory: the purse leaves one byte in each."""
    desk = Desk()
    called = desk.one(answered(desk.one(admitted(), BudgetRequested)), InferenceRequested)
    desk.feed(answer(called, cost_micro=70))
    free = Desk(Funds())
    free.feed(answer(free.one(admitted(), InferenceRequested), cost_micro=70))
    assert desk.state is not None
    assert free.state is not None
    assert replace(desk.state, case_seq=0) == replace(free.state, case_seq=0)


def test_the_calls_of_branches_are_promised_what_they_may_cost() -> None:
    """A map of many asks no more at the same time than its reservation pays for; an answer frees what was promised."""
    each = {"infer": EVERY["steps"]["gather"]["parallel"]["of"]["about"]["infer"] | {"input": "item"}}
    told = copy.deepcopy(EVERY) | {
        "start": "read",
        "budget": {"per_case_max_micro": 10_000, "on_denied": {"reason": "no_money", "then": "ask"}},
    }
    told["steps"]["read"]["map"] |= {"items_max": 50, "each": each}
    told["steps"]["weigh"] = {"rule": {"first_of": [{"when": "true", "then": "book"}], "otherwise": {"then": "book"}}}
    del told["steps"]["gather"]
    flow = Flow(workflow=Workflow.model_validate(told))
    pool = installed.pools()["classify.bulk"]
    pages = ["x" * 90] * 20
    one = spending.most(pool, pages[0])
    assert one > 0
    state: CaseRemembered | None = None
    written: list[Event] = []

    def feed(event: Event) -> None:
        nonlocal state
        moved = case.plan(state, event, Cause("topic", 0, len(written), START_MS, funds=LIMITED), flow.workflows)
        state = moved.state
        written.extend(each for _, each in moved.events)

    feed(flow.admission(input=ids.canonical({**INPUT, "documents": pages})))
    (request,) = [each for each in written if isinstance(each, BudgetRequested)]
    feed(answered(request, amount_micro=5 * one))
    asked = [each for each in written if isinstance(each, InferenceRequested)]
    assert len(asked) == 5
    assert state is not None
    assert sum(json_purse(state).promised.values()) == 5 * one
    feed(flow_answered(asked[0]))
    assert sum(json_purse(state).promised.values()) == 4 * one


def test_the_verifier_folds_a_case_with_a_reservation_as_it_is_remembered() -> None:
    """Whether it asks, is put off and asks again, is granted or denied: at each moment."""
    for last in ("granted", "denied"):
        desk = Desk()
        asked = desk.one(admitted(), BudgetRequested)
        moments, audits = [desk.state], list(desk.audits)
        for step in ("deferred", "again", last):
            if step == "again":
                (asked,) = [one for one in desk.fire() if isinstance(one, BudgetRequested)]
            else:
                desk.feed(answered(asked, step, resume_at=START_MS + 9 if step == "deferred" else 0))
            moments.append(desk.state)
            audits = list(desk.audits)
        for moment in moments:
            assert moment is not None
            fold = Fold(Scope(partition=0, drained=False))
            records = [(STATE, asdict(moment)), *((AUDIT_RECORDED.name, asdict(one)) for one in audits)]
            for offset, (topic, event) in enumerate(records):
                fold.take(Seen(topic, 0, offset, 1, moment.case_id.encode(), b"-", []), event)
            assert [what for what in fold.finish().violations.examples.get(Law.FOLD, []) if "remembered" in what] == []
