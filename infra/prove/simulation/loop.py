"""asyncio in the simulated world: one event loop a process, whose time is the process's own and passes with the world.

Enters: coroutines of the product. Leaves: their turns, in an order that the seed decides. Guaranteed: a loop runs while
its process takes a turn, and at no other moment; a process that dies takes its coroutines with it: what they have in
`finally` runs as a dead process, which reaches nothing.
Rejected: the real loop with a clock of ours (it would open sockets and wait in select).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, cast

from aios.infra.prove.simulation.world import Actor, Process, World


class Loop(asyncio.BaseEventLoop):
    """Timers and tasks alone: no sockets, threads or signals. _ready, _scheduled: asyncio's own, told to nobody."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self._broken: BaseException | None = None

    def time(self) -> float:
        return self._process.monotonic()

    def turn(self) -> None:
        """Run what is due, until nothing is. Raises what a callback raised while the process lived."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while self._process.is_alive and (handle := self._next()) is not None:
                handle._run()
                if self._broken is not None:
                    broken, self._broken = self._broken, None
                    raise broken
        finally:
            asyncio._set_running_loop(before)

    @property
    def due_in_s(self) -> float | None:
        """Until the next timer; 0: something is ready."""
        if self._ready:
            return 0.0
        scheduled = self._scheduled
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)
        return max(0.0, scheduled[0].when() - self.time()) if scheduled else None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Whoever dies leaves tasks behind; nobody is to read about them. What a callback raised is for turn()."""
        if "handle" in context and self._process.is_alive:
            self._broken = context.get("exception")

    def _next(self) -> asyncio.Handle | None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and (scheduled[0].cancelled() or scheduled[0].when() <= self.time()):
            timer: Any = heapq.heappop(scheduled)
            timer._scheduled = False  # else its cancelling would be counted
            if not timer.cancelled():
                ready.append(timer)
        while ready:
            handle = ready.popleft()
            if not handle.cancelled():
                return handle
        return None

    def __del__(self) -> None:
        """Nothing is open."""


class LoopActor(Actor):
    """Takes the turns of a loop. What stops the process's deploy ends it, as in service."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(world, process)
        self.loop = Loop(process)
        self._tasks: dict[asyncio.Task[None], tuple[Context, tuple[Coroutine[Any, Any, None], ...]]] = {}
        self._fatal: Exception | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """A task of its own."""
        guarded, context = self._guarded(work), copy_context()
        task = self.loop.create_task(guarded, context=context)
        self._tasks[task] = context, (guarded, work)
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        self.wake()

    @property
    def count(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)

    def turn(self) -> None:
        self.loop.turn()
        if self._fatal is not None:
            raise self._fatal
        wait_s = self.loop.due_in_s
        if wait_s is not None:
            self.wake(wait_s * 1000 + 0.001)

    def bury(self) -> None:
        """Its process has died: nothing of it runs any more."""
        tasks, self._tasks = self._tasks, {}
        for task, (context, both) in tasks.items():
            cast(Any, task)._log_destroy_pending = False  # asyncio would say of each that it was left behind
            for work in both:
                with contextlib.suppress(BaseException):  # what runs at this moment ends by what killed it
                    context.run(work.close)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the turn raises it
            self._fatal = error
