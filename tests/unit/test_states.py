"""States of one partition: with an end or without they are one dictionary, and no end comes early."""

from __future__ import annotations

import tracemalloc
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from aios.processors.stateful import states as module
from aios.processors.stateful.states import SLOT_MS, States

_KEYS = [b"a", b"b", b"ab", b"", b"\x01\x00\x00\x00", b"long" * 20]
_keys = st.sampled_from(_KEYS)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), _keys, st.binary(max_size=40), st.none()),
        st.tuples(st.just("ending"), _keys, st.binary(max_size=40), st.integers(0, 5 * SLOT_MS)),
        st.tuples(st.just("forget"), _keys, st.none(), st.none()),
        st.tuples(st.just("pass"), st.none(), st.none(), st.integers(0, SLOT_MS)),
    ),
    min_size=10,
    max_size=60,
)


@mock.patch.object(module, "CELLS", 2)  # so that keys share one
@given(_steps, st.integers(1, 3))
def test_states_are_a_dictionary_and_ends_are_never_early(steps: list[Any], count_max: int) -> None:
    """Set, set anew with another end or none, forgotten, ended: as plain dictionaries would say, late by a slot."""
    states, plain, ends, now_ms = States(), dict[bytes, bytes](), dict[bytes, int](), 0
    for how, key, value, number in steps:
        if how == "pass":
            now_ms += number
        else:
            states.set(key, value, number)
            ends.pop(key, None)
            plain.pop(key, None)
            if value is not None:
                plain[key] = value
            if number is not None:
                ends[key] = -(-number // SLOT_MS) * SLOT_MS
        assert dict(states.items()) == plain
        assert states.ends() == ends
        assert len(states) == len(plain)
        assert {one: states.get(one) for one in _KEYS} == {one: plain.get(one) for one in _KEYS}
        ask_ms = states.next_due_ms()
        assert not ends or (ask_ms is not None and ask_ms <= min(ends.values()))
        assert not states.due(now_ms, 0)
        while found := states.due(now_ms, count_max):
            assert len(found) <= count_max
            for ended, last, end_ms in found:
                assert (plain[ended], ends.pop(ended)) == (last, end_ms)
                assert end_ms <= now_ms
                states.set(ended, last)
        assert not [end for end in ends.values() if end <= now_ms]


def test_a_state_that_waits_for_its_end_takes_little_memory() -> None:
    """Key, value and 40 bytes: what a million decided cases cost is their text."""
    states, count = States(), 20_000
    tracemalloc.start()
    try:
        for number in range(count):
            states.set(b"%036d" % number, b"%0150d" % number, number)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < count * (36 + 150 + 40)
