"""An event loop whose time passes only when nobody has anything to do: waits of minutes take none."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """No sockets and no threads: only what waits for time and for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]  # asyncio's own parts
            waiting = (one.when() for one in self._scheduled if not one.cancelled())  # type: ignore[attr-defined]  # the same
            self.now = max(self.now, min(waiting, default=self.now))  # else asyncio would truly wait for it
        super()._run_once()  # type: ignore[misc]  # the same


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        loop.close()


def now() -> float:
    """Of the loop that runs."""
    return asyncio.get_running_loop().time()
