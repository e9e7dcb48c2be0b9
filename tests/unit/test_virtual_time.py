"""Time that passes only when nobody has anything to do."""

from __future__ import annotations

import asyncio
import time

from tests.fakes import virtual_time

LONG_S = 3.0


def test_what_is_called_off_makes_nobody_wait() -> None:
    """An earlier moment that nobody waits for any more takes no time, nor does a later one."""

    async def work() -> float:
        asyncio.get_running_loop().call_later(1.0, lambda: None).cancel()
        began = virtual_time.now()
        await asyncio.sleep(LONG_S)
        return virtual_time.now() - began

    began = time.monotonic()
    assert virtual_time.run(work()) == LONG_S
    assert time.monotonic() - began < LONG_S / 2
