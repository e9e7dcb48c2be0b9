"""A stage of ours run inside a test, and the wait for what it is to bring about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aios.streams.config import Settings
from aios.streams.record import Record

WAIT_S_MAX = 30.0


@asynccontextmanager
async def running(run: Callable[..., Awaitable[None]], settings: Settings) -> AsyncIterator[None]:
    """The stage, from ready to its orderly end; what it ends with by itself is raised at the end of the block."""
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(run(settings, slot=0, stop=stop, ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S_MAX)
    try:
        yield
    finally:
        stop.set()
        waiting.cancel()
        await asyncio.wait_for(task, WAIT_S_MAX)


async def until(found: Callable[[], list[Record]], count: int) -> list[Record]:
    """Ask until there are so many. They must not become more than asked for: the caller compares."""
    deadline = time.monotonic() + WAIT_S_MAX
    while len(records := await asyncio.to_thread(found)) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count}"
    return records
