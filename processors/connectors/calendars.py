"""The system `calendars`: what a request means, when its people are free, and bookings, over CalDAV.

Enters: requests of calendar_parts.py. Leaves: their answers. `understand`, `amend`, `find` and `match` only read;
`book`, `undo` and `cancel` change calendars and can say afterwards whether they have. Guaranteed: importing it costs
little, because every stage that loads workflows asks what systems can do; the work is calendar_work.py, imported when
it opens.

options: url (of the CalDAV server), directory (a YAML file, meetings/directory.py). secrets: user, password; without
them nobody logs in.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from aios.processors.connectors.calendar_parts import (
    AmendRequest,
    Booked,
    BookRequest,
    Cancelled,
    CancelRequest,
    FindRequest,
    Found,
    Matched,
    MatchRequest,
    UnderstandRequest,
    Understood,
    UndoRequest,
)
from aios.processors.connectors.connector import Ask, Failure, Operation, Setup, failure_of
from aios.streams.system_files import Effect

if TYPE_CHECKING:
    from aios.processors.connectors.calendar_work import Work

WORK = "aios.processors.connectors.calendar_work"
CHANGES = frozenset({Effect.RECONCILED})


class Calendars:
    """See the module."""

    operations: Mapping[str, Operation] = {
        "understand": Operation(request=UnderstandRequest, response=Understood, response_contract="understood.v1"),
        "amend": Operation(request=AmendRequest, response=Understood, response_contract="understood.v1"),
        "find": Operation(request=FindRequest, response=Found, response_contract="slots_found.v1"),
        "match": Operation(request=MatchRequest, response=Matched, response_contract="entries_matched.v1"),
        "book": Operation(request=BookRequest, response=Booked, response_contract="booked.v1", effects=CHANGES),
        "undo": Operation(request=UndoRequest, response=Booked, response_contract="booked.v1", effects=CHANGES),
        "cancel": Operation(
            request=CancelRequest, response=Cancelled, response_contract="cancelled.v1", effects=CHANGES
        ),
    }

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds."""
        self._setup = setup
        self._clock = clock
        self._work: Work | None = None

    async def open(self) -> None:
        await asyncio.to_thread(importlib.import_module, WORK)  # a second of libraries, beside the loop
        from aios.processors.connectors.calendar_work import Work

        work = Work(self._setup, self._clock)
        await work.open()
        self._work = work

    async def close(self) -> None:
        if self._work is not None:
            await self._work.close()

    def classify(self, error: Exception) -> Failure:
        return failure_of(error)

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        assert self._work is not None
        return await self._work.call(operation, request, ask)

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:
        assert self._work is not None
        return await self._work.done(operation, request, ask)
