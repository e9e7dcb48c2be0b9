"""Work that may end the process, one record's at a time where it must be: dlq/in_hand.py as something to wait for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aios.dlq.in_hand import InHand, Quiet, Start
from aios.streams.errors import RecordError
from aios.streams.record import Record


class Guard:
    """Around one kind of work of one stage; those of a process share a Quiet."""

    def __init__(self, in_hand: InHand, quiet: Quiet) -> None:
        self._in_hand = in_hand
        self._waiting: dict[int, asyncio.Future[RecordError | None]] = {}  # by the record's identity
        quiet.join(lambda: self._start(in_hand.resume()))

    @contextlib.asynccontextmanager
    async def of(self, record: Record) -> AsyncIterator[None]:
        """Begins when the record may be worked on. Raises RecordError when it has ended processes alone in hand."""
        started: asyncio.Future[RecordError | None] = asyncio.get_running_loop().create_future()
        self._waiting[id(record)] = started
        self._start(self._in_hand.take([record]))
        try:
            given_up = await asyncio.shield(started)
        except asyncio.CancelledError:
            self._gone(record, started)
            raise
        try:
            if given_up is not None:
                raise given_up
            yield
        finally:
            self._start(self._in_hand.end(record))

    def leave(self) -> None:
        """The process leaves in good health: whatever is still in hand did not end it."""
        self._in_hand.leave()

    def _start(self, starts: Sequence[Start]) -> None:
        for record, given_up in starts:
            started = self._waiting.pop(id(record))
            if started.cancelled():
                self._start(self._in_hand.end(record))
            else:
                started.set_result(given_up)

    def _gone(self, record: Record, started: asyncio.Future[RecordError | None]) -> None:
        """Whoever waited for it was cancelled: started or not, it must not stay in hand."""
        if started.done():
            self._start(self._in_hand.end(record))
        else:
            started.cancel()
