"""Circuit, rate and jitter: pure, over any course of calls."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aios.processors.connectors.circuit import Change, Circuit, Leave, State
from aios.processors.connectors.pace import BURST_S, Rate, again_s
from aios.streams import system_files

LIMITS = system_files.Circuit(failures_max=3, window=6, share_max=0.5, open_s=1.0, open_s_max=8.0)
ALLOWED = {
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.OPEN),
    (State.HALF_OPEN, State.CLOSED),
}


class Caller:
    """Makes calls as the gate does, and remembers every change."""

    def __init__(self) -> None:
        self.circuit = Circuit(LIMITS)
        self.now = 0.0
        self.under_way: list[int | None] = []  # of each the close that it is a probe of, or none
        self.changes: list[State] = [State.CLOSED]

    def begin(self) -> Leave:
        leave, change = self.circuit.leave(self.now)
        self.note(change)
        if leave is not Leave.NO:
            self.under_way.append(self.circuit.probe_of(leave))
        return leave

    def end(self, number: int, how: str) -> None:
        probe = self.under_way.pop(number % len(self.under_way))
        if how == "ok":
            self.note(self.circuit.succeeded(probe=probe))
        elif how == "failed":
            self.note(self.circuit.failed(self.now, probe=probe))
        else:
            self.circuit.abandoned(probe=probe)

    def note(self, change: Change | None) -> None:
        if change is not None:
            self.changes.append(change.state)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.sampled_from(["ok", "failed", "abandoned"]), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    min_size=60,
    max_size=120,
)


@given(STEPS)
def test_while_it_is_open_nobody_calls_and_half_open_one_alone(steps: list[tuple[str, int]]) -> None:
    """Over any order of begins, ends and time: one probe at a time, only allowed changes, and it never gets stuck."""
    caller = Caller()
    for what, number in steps:
        if what == "wait":
            caller.now += number / 10
        elif what == "close":
            caller.note(caller.circuit.close())
        elif what == "begin":
            state = caller.circuit.state
            leave = caller.begin()
            assert (leave is Leave.YES) == (state is State.CLOSED)
            assert caller.under_way.count(caller.circuit.closes) <= 1
        elif caller.under_way:
            caller.end(number, what)
        assert caller.changes[-1] is caller.circuit.state
    by_a_person = {(State.OPEN, State.CLOSED)} if ("close", 0) in steps else set()
    assert set(zip(caller.changes, caller.changes[1:], strict=False)) <= ALLOWED | by_a_person
    while caller.under_way:
        caller.end(0, "abandoned")
    caller.now += LIMITS.open_s_max
    assert caller.begin() is not Leave.NO
    caller.end(0, "ok")
    assert caller.circuit.state is State.CLOSED


def test_it_opens_at_failures_in_a_row_and_waits_longer_after_each_probe_that_fails() -> None:
    caller = Caller()
    for _ in range(LIMITS.failures_max):
        caller.begin()
        caller.end(0, "failed")
    waits = []
    for _ in range(6):
        assert caller.circuit.state is State.OPEN
        assert caller.circuit.wakes_at is not None
        waits.append(caller.circuit.wakes_at - caller.now)
        assert caller.begin() is Leave.NO
        caller.now = caller.circuit.wakes_at
        assert caller.begin() is Leave.PROBE
        assert caller.begin() is Leave.NO
        caller.end(0, "failed")
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@given(st.integers(0, 10_000), st.floats(0.0, 0.3))
def test_rare_failures_never_open_it(seed: int, share: float) -> None:
    """Up to a third of the calls fail, never as many in a row as open it: the others go on."""
    chance, caller, row = Random(seed), Caller(), 0
    for _ in range(200):
        fails = chance.random() < share and row < LIMITS.failures_max - 1
        window = [*caller.circuit._last, fails][-LIMITS.window :]
        if sum(window) > LIMITS.share_max * LIMITS.window:
            fails = False
        row = row + 1 if fails else 0
        assert caller.begin() is Leave.YES
        caller.end(0, "failed" if fails else "ok")


def test_a_half_of_failures_opens_it_although_they_are_not_in_a_row() -> None:
    caller = Caller()
    for number in range(12):
        if caller.begin() is Leave.NO:
            break
        caller.end(0, "ok" if number % 3 == 2 else "failed")
    assert caller.circuit.state is State.OPEN


def test_a_probe_from_before_somebody_closed_it_is_none_any_more() -> None:
    """What it finds says nothing of the time since: the later opening stays, and has its one probe."""
    caller = Caller()

    def open_it() -> None:
        while caller.circuit.state is State.CLOSED:
            caller.begin()
            caller.end(len(caller.under_way) - 1, "failed")

    open_it()
    caller.now += LIMITS.open_s_max
    assert caller.begin() is Leave.PROBE
    caller.note(caller.circuit.close())
    open_it()
    caller.now += LIMITS.open_s_max
    assert caller.begin() is Leave.PROBE
    caller.end(0, "abandoned")
    assert caller.begin() is Leave.NO
    caller.under_way.insert(0, 0)
    caller.end(0, "ok")
    assert caller.circuit.state is State.HALF_OPEN
    caller.end(0, "ok")
    assert caller.circuit.state is State.CLOSED


def test_a_call_that_began_before_it_opened_changes_nothing() -> None:
    caller = Caller()
    for _ in range(LIMITS.failures_max + 2):
        caller.begin()
    for _ in range(LIMITS.failures_max):
        caller.end(0, "failed")
    for how in ("ok", "failed"):
        caller.end(0, how)
    assert caller.changes == [State.CLOSED, State.OPEN]


@given(st.floats(0.5, 200.0), st.lists(st.floats(0.0, 0.5), min_size=1, max_size=200))
def test_over_any_stretch_there_are_no_more_calls_than_the_rate_and_a_burst(per_s: float, waits: list[float]) -> None:
    rate, now, taken = Rate(per_s), 0.0, []
    for wait in waits:
        now += wait
        if rate.wait_s(now) == 0.0:
            rate.take(now)
            taken.append(now)
    burst = max(1.0, per_s * BURST_S)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * per_s + 1e-6


@given(st.floats(0.1, 100.0), st.floats(0.0, 5.0))
def test_whoever_waits_as_long_as_told_may_call(per_s: float, at: float) -> None:
    rate = Rate(per_s)
    rate.wait_s(at)
    while rate.wait_s(at) == 0.0:
        rate.take(at)
    assert rate.wait_s(at + rate.wait_s(at) + 1e-6) <= 1e-6


@given(st.integers(1, 10_000), st.floats(0.0, 100.0), st.integers(0, 1_000))
def test_the_wait_is_within_its_bound_and_never_shorter_than_asked(failures: int, asked: float, seed: int) -> None:
    limits = system_files.Again(first_s=0.2, longest_s=30.0)
    wait = again_s(limits, failures, asked, Random(seed))
    assert asked <= wait <= max(asked, min(30.0, 0.2 * 2 ** min(failures - 1, 30)))


def test_many_that_failed_together_do_not_come_together_again() -> None:
    """Full jitter: a thousand waits are spread over their whole bound."""
    limits, chance = system_files.Again(first_s=1.0, longest_s=64.0), Random(7)
    waits = [again_s(limits, 7, 0.0, chance) for _ in range(1_000)]
    in_tenths = [sum(tenth * 6.4 <= wait < (tenth + 1) * 6.4 for wait in waits) for tenth in range(10)]
    assert min(in_tenths) > 60
