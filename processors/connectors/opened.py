"""The one connector of a system in a process: made and opened when it is first called, and again until that works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aios.processors.connectors.connector import Connector


class Opened:
    """make: of a registry. Opening counts as part of the call that needs it: it fails and is tried again as that."""

    def __init__(self, make: Callable[[], Connector]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._connector: Connector | None = None

    async def get(self) -> Connector:
        """Raises what the making and opening of a connector do, as Unopened where its classify is needed."""
        if self._connector is not None:
            return self._connector
        async with self._lock:
            if self._connector is None:
                connector = await asyncio.to_thread(self._make)
                try:
                    await connector.open()
                except Exception as error:
                    await connector.close()
                    raise Unopened(connector, error) from error
                self._connector = connector
            return self._connector

    async def close(self) -> None:
        if self._connector is not None:
            await self._connector.close()


class Unopened(Exception):
    """A connector that could not be opened. error: what its classify is to judge."""

    def __init__(self, connector: Connector, error: Exception) -> None:
        super().__init__(f"not opened: {type(error).__name__}")
        self.connector = connector
        self.error = error
