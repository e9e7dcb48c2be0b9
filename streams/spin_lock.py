"""A lock for short sections that many threads of one interpreter enter often: who must wait asks again.

A `threading.Lock` is handed to a waiter while he still waits for the interpreter, up to 5 ms later; until then whoever
needs it next waits too and gives the interpreter away, and from then on every section costs a switch of threads. With
failures among a busy stage's records that was a fifth of its rate (`aios bench laws`). Here nobody owns the lock while
he waits for the interpreter, so a holder that was interrupted costs one wait and nothing after it.

Guaranteed: mutual exclusion. Not guaranteed: an order among those who wait; so nothing may be awaited inside.
"""

from __future__ import annotations

import time
from threading import Lock

ASK_AGAIN_S = 50e-6  # gives the interpreter to whoever holds the lock


class SpinLock:
    """Use as `with lock:`. Not reentrant."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        while not self._lock.acquire(blocking=False):
            time.sleep(ASK_AGAIN_S)

    def __exit__(self, *error: object) -> None:
        self._lock.release()
