"""Engines of one process step one after the other, and none has two turns while another waits."""

from __future__ import annotations

import threading
import time

from aios.inference_workers.turns import Turns

TURNS = 200
ENDED_S_MAX = 20.0


def test_turns_are_taken_one_at_a_time() -> None:
    """Two that step as fast as they can are never in a step together, and both come to an end."""
    turns, said, at_work = Turns(), list[str](), list[str]()
    together = threading.Barrier(2)

    def step(name: str) -> None:
        together.wait(ENDED_S_MAX)
        for _ in range(TURNS):
            with turns.one():
                at_work.append(name)
                assert at_work == [name]
                said.append(name)
                at_work.remove(name)

    engines = [threading.Thread(target=step, args=(name,), daemon=True) for name in ("one", "other")]
    for each in engines:
        each.start()
    for each in engines:
        each.join(ENDED_S_MAX)
    assert (said.count("one"), said.count("other")) == (TURNS, TURNS)


def test_who_waits_comes_before_whoever_had_the_last_turn() -> None:
    """The one at work asks again at once, and is second."""
    turns, said = Turns(), list[str]()
    waits = threading.Event()

    def other() -> None:
        waits.set()
        with turns.one():
            said.append("other")

    with turns.one():
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        assert waits.wait(ENDED_S_MAX)
        deadline = time.monotonic() + ENDED_S_MAX
        while not turns._next.locked():  # it stands in the line
            assert time.monotonic() < deadline
    with turns.one():
        said.append("again")
    thread.join(ENDED_S_MAX)
    assert said == ["other", "again"]
