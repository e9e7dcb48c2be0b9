"""Whose turn it is among the engines of one process.

Enters: threads that each step an engine of vLLM. Leaves: one of them at a time, in the order of asking. Guaranteed: who
waits comes before whoever had the last turn, so that none is kept waiting by another that is always busy. What vLLM
knows of the model that loads and of the step that runs stands in variables of its process (vllm.forward_context): two
that step at once read each other's, and answer nonsense, or end the process.
Rejected: one lock (whoever lets it go has it again before another thread is awake).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from aios.inference_workers.engine_arguments import SUBPROCESS
from aios.streams.config import InferenceSettings


class Turns:
    """See the module."""

    def __init__(self) -> None:
        self._next, self._at_work = threading.Lock(), threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._next:
            self._at_work.acquire()
        try:
            yield
        finally:
            self._at_work.release()


_OF_PROCESS = Turns()


def of(settings: InferenceSettings) -> Callable[[], AbstractContextManager[None]]:
    """What an engine steps in: a turn, or nothing where its core is a process of its own."""
    return nullcontext if settings.engine_mode == SUBPROCESS else _OF_PROCESS.one
