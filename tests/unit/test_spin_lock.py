"""A lock that is asked again instead of queued for: exclusion, whatever happens inside."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aios.streams.spin_lock import SpinLock

THREADS, SECTIONS = 4, 50


def test_of_many_threads_one_is_inside_at_a_time() -> None:
    lock, inside, most = SpinLock(), list[int](), list[int]()

    def enter(thread: int) -> None:
        for _ in range(SECTIONS):
            with lock:
                inside.append(thread)
                time.sleep(0)  # gives the interpreter away: without the lock another comes in
                most.append(len(inside))
                inside.remove(thread)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(enter, range(THREADS)))
    assert len(most) == THREADS * SECTIONS
    assert set(most) == {1}


def test_an_error_inside_lets_the_next_one_in() -> None:
    lock = SpinLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    with lock:
        pass
