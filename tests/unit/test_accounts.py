"""The books of a tenant: no interleaving, repeat or crash takes more than the hard limit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors import accounts
from aios.processors.accounts import CHEAPER, CLOSED, DEFERRED, DENIED, EXPIRED, GRANTED
from aios.schemas import ids
from aios.schemas.models import (
    AccountRemembered,
    BudgetAnswered,
    BudgetDeclared,
    BudgetRequested,
    ReservationRemembered,
    UsageSettled,
)
from aios.streams import limits
from aios.streams.durations import HOUR_MS
from aios.streams.limits import ALL

NOW_MS = 1_700_000_000_000 - 1_700_000_000_000 % HOUR_MS
EXPIRES_MS = NOW_MS + 100 * HOUR_MS


def limit(
    hard: int, workflow: str = "a", window: str = "total", policy: str = "refuse", soft: int = 0
) -> BudgetDeclared:
    return BudgetDeclared(
        budget=f"t/{workflow}",
        tenant="t",
        workflow=workflow,
        window=window,
        hard_micro=hard,
        soft_micro=soft,
        policy=policy,
        by="ana",
        declared_at=NOW_MS,
    )


def request(
    case: str, amount: int, workflow: str = "a", cheaper: int = 0, expires: int = EXPIRES_MS
) -> BudgetRequested:
    return BudgetRequested(
        reservation_id=ids.derive("reservation", case),
        case_id=case,
        tenant="t",
        workflow=workflow,
        amount_micro=amount,
        cheaper_micro=cheaper,
        requested_at=NOW_MS,
        expires_at=expires,
    )


def used(
    case: str, cost: int, kind: str = "inference", name: str = "1", *, workflow: str = "a", reserved: bool = True
) -> UsageSettled:
    return UsageSettled(
        settlement_id=ids.derive("settled", case, kind, name),
        reservation_id=ids.derive("reservation", case) if reserved else "",
        case_id=case,
        tenant="t",
        workflow=workflow,
        kind=kind,
        cost_micro=cost,
        settled_at=NOW_MS,
    )


@dataclass
class Tenant:
    """All that is remembered of one tenant, as the stage would keep it."""

    limits: dict[str, BudgetDeclared] = field(default_factory=dict)
    accounts: dict[str, AccountRemembered] = field(default_factory=dict)
    held: dict[str, ReservationRemembered] = field(default_factory=dict)
    now_ms: int = NOW_MS

    def declare(self, *declared: BudgetDeclared) -> Tenant:
        self.limits |= {one.budget: one for one in declared}
        return self

    def feed(self, event: BudgetRequested | UsageSettled) -> BudgetAnswered | None:
        """As a new process would: nothing but what is remembered goes in."""
        names = limits.names_of(event.tenant, event.workflow)
        held = self.held.get(event.reservation_id)
        known = {name: one for name, one in self.accounts.items() if name in (*names, *(held.budgets if held else ()))}
        declared = {name: self.limits[name] for name in names if name in self.limits}
        if isinstance(event, BudgetRequested):
            booked = accounts.reserve(event, held, known, declared, self.now_ms)
        else:
            booked = accounts.settle(event, held, known, declared, self.now_ms)
        self.accounts |= booked.accounts
        self.held.pop(event.reservation_id, None)
        if booked.held is not None:
            self.held[event.reservation_id] = booked.held
        return booked.answer

    def status(self, event: BudgetRequested) -> str:
        answer = self.feed(event)
        assert answer is not None
        return answer.status


CASES = st.sampled_from([f"c{number}" for number in range(6)])
WORKFLOWS = {f"c{number}": "ab"[number % 2] for number in range(6)}
ACTS = st.one_of(
    st.tuples(st.just("ask"), CASES, st.integers(0, 60), st.integers(0, 20)),
    st.tuples(st.sampled_from(("inference", "person", "wasted")), CASES, st.integers(0, 80), st.integers(0, 3)),
    st.tuples(st.sampled_from((CLOSED, EXPIRED)), CASES, st.just(0), st.just(0)),
    st.tuples(st.just("free"), CASES, st.integers(0, 80), st.integers(0, 3)),
    st.tuples(st.just("wait"), CASES, st.integers(1, 30), st.just(0)),
    st.tuples(st.just("declare"), CASES, st.integers(0, len(limits.WINDOWS) - 1), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(ACTS, min_size=20, max_size=60),
    st.integers(0, 120),
    st.integers(0, 120),
    st.sampled_from(limits.WINDOWS),
    st.sampled_from(limits.POLICIES),
)
def test_no_order_of_requests_settlements_and_ends_takes_more_than_a_hard_limit(
    acts: list[tuple[str, str, int, int]], hard: int, hard_all: int, window: str, policy: str
) -> None:
    """reserved + spent ≤ hard in both accounts after every event, and what is reserved is what is held. What was spent
    in a window that is over is gone with the first event after it, also where another window is declared meanwhile.
    """
    tenant = Tenant().declare(limit(hard, "a", window, policy), limit(hard_all, ALL, window))
    for act, case, number, other in acts:
        workflow, before = WORKFLOWS[case], dict(tenant.accounts)
        if act == "ask":
            tenant.feed(request(case, number, workflow, cheaper=other))
        elif act == "wait":
            tenant.now_ms += number * HOUR_MS
        elif act == "declare":
            tenant.declare(*(replace(one, window=limits.WINDOWS[number]) for one in tenant.limits.values()))
        elif act == "free":
            tenant.feed(used(case, number, name=f"f{other}", workflow=workflow, reserved=False))
        else:
            tenant.feed(used(case, number, act, str(other), workflow=workflow))
        for name, account in tenant.accounts.items():
            assert account.reserved_micro + account.spent_micro <= tenant.limits[name].hard_micro
            assert account.reserved_micro == sum(h.left_micro for h in tenant.held.values() if name in h.budgets)
            assert account.reserved_micro >= 0
            if name in before and account != before[name] and 0 < before[name].window_to <= tenant.now_ms:
                assert account.spent_micro <= (0 if act == "ask" else number)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CASES, st.integers(0, 50), st.integers(1, 3)), min_size=8, max_size=30))
def test_whatever_was_used_is_spent_or_over_to_the_last_unit(usages: list[tuple[str, int, int]]) -> None:
    """The sum over accounts' spent and over is the sum of what was settled, each settlement once."""
    tenant = Tenant().declare(limit(100, ALL))
    for case, workflow in WORKFLOWS.items():
        tenant.feed(request(case, 15, workflow))
    total: dict[str, int] = {}
    for case, cost, repeats in usages:
        event = used(case, cost, name=str(len(total)), workflow=WORKFLOWS[case])
        total[event.settlement_id] = cost
        for _ in range(repeats if case in {c for c in WORKFLOWS if tenant.held.get(event.reservation_id)} else 1):
            tenant.feed(event)
    account = tenant.accounts[f"t/{ALL}"]
    assert account.spent_micro + account.over_micro == sum(total.values())


def test_a_request_that_is_repeated_reserves_once_and_is_answered_as_before() -> None:
    """The record comes twice: one reservation, two equal answers."""
    tenant = Tenant().declare(limit(100))
    first, again = tenant.feed(request("c", 60)), tenant.feed(request("c", 60))
    assert first == again
    assert tenant.accounts["t/a"].reserved_micro == 60


@pytest.mark.parametrize("kind", ["person", "inference", "wasted"])
@pytest.mark.parametrize("reserved", [False, True])
def test_a_line_that_no_open_reservation_holds_is_booked_once(kind: str, *, reserved: bool) -> None:
    """The retry stage died between its return and its offset: the line comes twice, perhaps in the next window; other
    lines came in between.
    """
    tenant = Tenant().declare(limit(1_000, window="hour"), limit(1_000, ALL))
    line = used("c", 300, kind, reserved=reserved)
    for event in (line, used("d", 5, "person", reserved=False), line):
        tenant.feed(event)
    stands = [(one.spent_micro, one.over_micro, one.wasted_micro) for one in tenant.accounts.values()]
    assert [sum(one) for one in stands] == [305, 305]
    tenant.now_ms += HOUR_MS
    tenant.feed(line)
    assert tenant.accounts[f"t/{ALL}"].spent_micro == stands[1][0]
    tenant.feed(used("e", 5, "person", reserved=False))
    assert tenant.accounts["t/a"].spent_micro == 5


def test_an_account_knows_its_last_lines_alone() -> None:
    """It is remembered with each change: what costs nothing takes no room in it, nor do a reservation's own lines."""
    tenant = Tenant().declare(limit(10**6))
    tenant.feed(request("c", 60))
    for number in range(accounts.UNHELD_MAX + 5):
        tenant.feed(used("c", 1, name=str(number)))
        tenant.feed(used("d", number % 2, "person", str(number), reserved=False))
    assert len(tenant.accounts["t/a"].settled) == (accounts.UNHELD_MAX + 5) // 2
    for number in range(2 * accounts.UNHELD_MAX):
        tenant.feed(used("e", 1, "person", str(number), reserved=False))
    assert len(tenant.accounts["t/a"].settled) == accounts.UNHELD_MAX


def test_two_cases_that_race_for_the_last_room_do_not_both_get_it() -> None:
    """One is granted, the other denied; when the first ends, a third is granted."""
    tenant = Tenant().declare(limit(100))
    assert [tenant.status(request(case, 60)) for case in ("c1", "c2")] == [GRANTED, DENIED]
    assert tenant.accounts["t/a"].denied == 1
    tenant.feed(used("c1", 40))
    tenant.feed(used("c1", 0, CLOSED))
    assert tenant.status(request("c3", 60)) == GRANTED
    assert tenant.accounts["t/a"] == replace(tenant.accounts["t/a"], reserved_micro=60, spent_micro=40)


def test_a_settlement_that_is_repeated_is_charged_once_and_one_after_the_end_never() -> None:
    """Also when the reservation has expired meanwhile: it is told as over, and the limit holds."""
    tenant = Tenant().declare(limit(100))
    tenant.feed(request("c", 60))
    for _ in range(3):
        tenant.feed(used("c", 25))
    assert tenant.accounts["t/a"].spent_micro == 25
    tenant.feed(used("c", 0, EXPIRED))
    tenant.feed(used("c", 25, name="late"))
    assert (tenant.accounts["t/a"].spent_micro, tenant.accounts["t/a"].over_micro) == (25, 25)


def test_what_a_case_uses_beyond_its_reservation_is_paid_while_there_is_room_and_then_told() -> None:
    """60 reserved of 100, 130 used: 100 spent, 30 over."""
    tenant = Tenant().declare(limit(100))
    tenant.feed(request("c", 60))
    tenant.feed(used("c", 130))
    account = tenant.accounts["t/a"]
    assert (account.reserved_micro, account.spent_micro, account.over_micro) == (0, 100, 30)


def test_answers_that_came_too_late_are_counted_as_wasted_and_not_charged() -> None:
    """They cost nobody's limit anything."""
    tenant = Tenant().declare(limit(100))
    tenant.feed(used("c", 70, "wasted"))
    assert (tenant.accounts["t/a"].spent_micro, tenant.accounts["t/a"].wasted_micro) == (0, 70)


def test_a_new_window_begins_with_nothing_spent_and_what_is_reserved_stays_reserved() -> None:
    """Else two windows' cases together would pass the limit of the second."""
    tenant = Tenant().declare(limit(100, window="hour"))
    tenant.feed(request("c1", 60))
    tenant.feed(used("c1", 30))
    tenant.now_ms += HOUR_MS
    assert tenant.status(request("c2", 80)) == DENIED
    assert tenant.status(request("c3", 70)) == GRANTED
    assert tenant.accounts["t/a"].spent_micro == 0
    tenant.feed(used("c1", 30, name="2"))
    assert (tenant.accounts["t/a"].spent_micro, tenant.accounts["t/a"].reserved_micro) == (30, 70)


@pytest.mark.parametrize("then", limits.WINDOWS)
def test_a_window_that_is_over_leaves_nothing_spent_to_one_that_is_declared_after_it(then: str) -> None:
    """Else a month's limit begins with an hour of the winter, and a total keeps it for ever; what is reserved stays."""
    tenant = Tenant().declare(limit(100, window="hour", soft=50))
    for event in (request("c1", 60), used("c1", 55), request("c2", 90)):
        tenant.feed(event)
    tenant.now_ms += HOUR_MS
    tenant.declare(limit(100, window=then, soft=50))
    assert tenant.status(request("c3", 95)) == GRANTED
    fresh = accounts.current(None, tenant.limits["t/a"], tenant.now_ms)
    assert tenant.accounts["t/a"] == replace(fresh, reserved_micro=100)


def test_what_was_spent_in_a_window_that_lasts_stays_spent_in_one_that_is_declared_meanwhile() -> None:
    """Else a limit is had twice by declaring it anew."""
    tenant = Tenant().declare(limit(100, window="day"))
    tenant.feed(request("c1", 60))
    tenant.feed(used("c1", 60))
    tenant.declare(limit(100, window="hour"))
    assert tenant.status(request("c2", 60)) == DENIED
    tenant.now_ms += HOUR_MS
    assert tenant.status(request("c2", 60)) == GRANTED


@pytest.mark.parametrize(
    ("policy", "window", "cheaper", "status", "resume_at"),
    [
        ("refuse", "hour", 5, DENIED, 0),
        ("wait", "hour", 5, DEFERRED, NOW_MS + HOUR_MS),
        ("wait", "total", 5, DENIED, 0),
        ("cheaper", "hour", 5, CHEAPER, 0),
        ("cheaper", "hour", 50, DENIED, 0),
        ("cheaper", "hour", 0, DENIED, 0),
    ],
)
def test_over_a_hard_limit_its_policy_decides(
    policy: str, window: str, cheaper: int, status: str, resume_at: int
) -> None:
    """Refused, told when the next window begins, or granted for the cheaper pools if that fits."""
    tenant = Tenant().declare(limit(100, window=window, policy=policy))
    tenant.feed(request("c1", 90))
    tenant.feed(used("c1", 90))
    answer = tenant.feed(request("c2", 40, cheaper=cheaper))
    assert answer is not None
    assert (answer.status, answer.resume_at, answer.amount_micro) == (
        status,
        resume_at,
        cheaper if status == CHEAPER else 0,
    )


def test_a_case_that_waits_asks_again_soon_while_its_room_is_only_reserved() -> None:
    """Reservations are maxima: most of them returns long before the window ends, also of a total budget."""
    tenant = Tenant().declare(limit(100, policy="wait"))
    tenant.feed(request("c1", 90))
    answer = tenant.feed(request("c2", 40))
    assert answer is not None
    assert (answer.status, answer.resume_at) == (DEFERRED, NOW_MS + accounts.RETURN_MS)
    tenant.feed(used("c1", 10))
    tenant.feed(used("c1", 0, CLOSED))
    assert tenant.status(request("c2", 40)) == GRANTED


def test_a_case_needs_room_in_its_workflows_limit_and_in_that_of_all() -> None:
    """Neither hides the other."""
    tenant = Tenant().declare(limit(100), limit(50, ALL))
    assert [tenant.status(request(case, 40)) for case in ("c1", "c2")] == [GRANTED, DENIED]
    assert [account.reserved_micro for account in tenant.accounts.values()] == [40, 40]


def test_a_limit_that_is_declared_while_cases_run_holds_nothing_of_them() -> None:
    """Their end returns nothing to it, and what they use is paid from it while it has room."""
    tenant = Tenant().declare(limit(100))
    tenant.feed(request("c", 60))
    tenant.declare(limit(10, ALL))
    tenant.feed(used("c", 30))
    tenant.feed(used("c", 0, CLOSED))
    both = tenant.accounts["t/a"], tenant.accounts[f"t/{ALL}"]
    assert [(one.reserved_micro, one.spent_micro, one.over_micro) for one in both] == [(0, 30, 0), (0, 10, 20)]


def test_the_soft_limit_is_told_once_passed_and_forgotten_with_the_window() -> None:
    """At the limit it is not passed."""
    tenant = Tenant().declare(limit(100, window="hour", soft=50))
    tenant.feed(request("c", 90))
    for cost, passed in ((50, False), (1, True)):
        tenant.feed(used("c", cost, name=str(cost)))
        assert tenant.accounts["t/a"].soft_reached is passed
    tenant.now_ms += HOUR_MS
    tenant.feed(used("c", 1, name="new"))
    assert tenant.accounts["t/a"].soft_reached is False


def test_a_soft_limit_that_is_raised_is_passed_and_told_anew() -> None:
    """It says of what is spent now, by the limit that holds now."""
    tenant = Tenant().declare(limit(100, soft=10))
    tenant.feed(used("c", 20, reserved=False))
    assert tenant.accounts["t/a"].soft_reached is True
    tenant.declare(limit(100, soft=50))
    for cost, passed in ((30, False), (31, True)):
        tenant.feed(used("c", cost, name=str(cost), reserved=False))
        assert tenant.accounts["t/a"].soft_reached is passed


def test_without_any_limit_everything_is_granted_at_once() -> None:
    """And nothing is counted: the ledger is the usage.settled topic."""
    tenant = Tenant()
    assert tenant.status(request("c", 10**12)) == GRANTED
    tenant.feed(used("c", 7))
    assert tenant.accounts == {}


@pytest.mark.parametrize(
    ("window", "begin", "end"),
    [
        ("hour", "2024-02-29T23:00", "2024-03-01T00:00"),
        ("day", "2024-02-29T00:00", "2024-03-01T00:00"),
        ("month", "2024-02-01T00:00", "2024-03-01T00:00"),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(window: str, begin: str, end: str) -> None:
    """A leap day's last minute."""

    def ms(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)

    assert accounts.bounds(window, ms("2024-02-29T23:59")) == (ms(begin), ms(end))
