"""Timers of one partition: what is due comes, earliest first, however far away it was set."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aios.processors.stateful.changelog import timer_name, timer_of
from aios.processors.stateful.timers import NEAR_MS, REMOVED_MAX, Timers

_names = st.sampled_from([b"a", b"b", b"c", b"d"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), _names, st.integers(0, 5 * NEAR_MS)),
        st.tuples(st.just("cancel"), _names, st.none()),
        st.tuples(st.just("pass"), st.none(), st.integers(0, NEAR_MS)),
    ),
    min_size=10,
    max_size=40,
)


@given(_steps, st.integers(1, 3))
def test_what_is_due_comes_earliest_first_and_nothing_else_does(steps: list[Any], count_max: int) -> None:
    """Set, set anew, cancelled, fired: as a plain dictionary would say; asked never too late."""
    timers, plain, now_ms = Timers(), {}, 0
    for how, name, value in steps:
        if how == "pass":
            now_ms += value
        else:
            timers.set(name, value)
            plain.pop(name, None)
            if value is not None:
                plain[name] = value
        ask_ms = timers.next_due_ms()
        assert not plain or (ask_ms is not None and ask_ms <= min(plain.values()))
        due = sorted(one for one in plain.values() if one <= now_ms)
        found = timers.due(now_ms, count_max)
        assert [one for _, one in found] == due[:count_max]
        for fired, due_ms in found:
            assert plain.pop(fired) == due_ms
            timers.set(fired, None)
        assert dict(timers.items()) == plain


def test_what_is_set_anew_again_and_again_fills_no_memory() -> None:
    """A case that moves its deadline with every record: the former ones are let go."""
    timers = Timers()
    timers.due(0, 1)
    timers.set(b"a", 0)
    timers.due(0, 1)  # what is near stands in the heap from now on
    for due_ms in range(3 * REMOVED_MAX):
        timers.set(b"a", due_ms)
    assert len(timers._heap) <= REMOVED_MAX + 2
    assert timers.due(NEAR_MS, 2) == [(b"a", 3 * REMOVED_MAX - 1)]


@given(st.text(), st.text())
def test_a_name_says_whose_timer_it_is(key: str, timer_id: str) -> None:
    """Key and id come back, whatever they are made of."""
    assert timer_of(timer_name(key, timer_id)) == (key, timer_id)
