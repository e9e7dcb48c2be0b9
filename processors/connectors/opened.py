"""The one connector of a system in a process: made and opened once, and again until that works.

Opening may take longer than a call (a list is read, an index is built): it goes on by itself, whoever waits for it
gives up after his own time, and it is not begun anew for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aios.processors.connectors.connector import Connector

OPEN_S_MAX = 120.0


class Opened:
    """make: of a registry; raises ConfigError while it cannot be loaded. Of one event loop."""

    def __init__(self, make: Callable[[], Connector]) -> None:
        self._make = make
        self._opening: asyncio.Task[Connector] | None = None
        self._connector: Connector | None = None

    def begin(self) -> asyncio.Task[Connector]:
        """Open it, if nobody does."""
        if self._opening is None or (self._opening.done() and self._connector is None):
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_heard)
        return self._opening

    async def get(self, s_max: float) -> Connector | None:
        """None: it is still being opened. Raises what the making of a connector does, and Unopened."""
        if self._connector is not None:
            return self._connector
        opening = self.begin()
        await asyncio.wait((opening,), timeout=s_max)
        return opening.result() if opening.done() else None

    async def close(self) -> None:
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._connector is not None:
            await self._connector.close()

    async def _open(self) -> Connector:
        connector = await asyncio.to_thread(self._make)
        try:
            async with asyncio.timeout(OPEN_S_MAX):
                await connector.open()
        except BaseException as error:
            await connector.close()
            if not isinstance(error, Exception):
                raise
            raise Unopened(connector, error) from error
        self._connector = connector
        return connector


class Unopened(Exception):
    """A connector that could not be opened. error: what its classify is to judge."""

    def __init__(self, connector: Connector, error: Exception) -> None:
        super().__init__(f"not opened: {type(error).__name__}")
        self.connector = connector
        self.error = error


def _heard(opening: asyncio.Task[Connector]) -> None:
    """Whoever waits for it is told; where nobody does, nothing is lost."""
    if not opening.cancelled():
        opening.exception()
