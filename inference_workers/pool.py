"""One lane of one model: requests in, answers out.

Enters: inference.requested.v1. Leaves: inference.completed.v1 for each request, failures included. Guaranteed:
requests are taken continuously, in the order of fair.py and as far as the engine has room, and finish in any order;
each is worked on by itself (one_request.py), and only what stops this deploy ends the lane.
Rejected: batches of our own (the engine's continuous batch is better, and one slow request would hold up a batch).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from aios.dlq.deaths import Deaths
from aios.dlq.in_hand import InHand, Quiet, Start
from aios.dlq.one_record import Hand
from aios.inference_workers.measures import Measures
from aios.inference_workers.one_request import Requests
from aios.streams.record import Record

TAKE_MAX = 64
WAIT_MS_MAX = 200  # for records, and so for noticing that we shall stop
BACKLOG_S = 2.0  # between two looks at what waits


class Source(Hand, Protocol):
    """What a lane needs of an Intake."""

    async def start(self) -> None: ...
    async def take(self, records_max: int, *, wait_ms_max: int) -> list[Record]: ...
    def position(self, topic: str, partition: int) -> int | None: ...
    def lag(self) -> Mapping[tuple[str, int], int]: ...
    async def drain(self, s_max: float) -> None: ...
    async def close(self, drain_s_max: float) -> None: ...


class Pool:
    """One lane of one model: its records, from taken to finished. quiet: of the process, for all its lanes."""

    def __init__(
        self, requests: Requests, measures: Measures, *, intake: Source, deaths: Deaths, quiet: Quiet | None = None
    ) -> None:
        quiet = quiet if quiet is not None else Quiet()
        self._requests = requests
        self._measures = measures
        self._intake = intake
        self._in_hand = InHand(deaths, quiet, intake.position)
        quiet.join(lambda: self._start(self._in_hand.resume()))
        self._running: set[asyncio.Task[None]] = set()
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Join the group."""
        await self._intake.start()

    async def serve(self, stop: asyncio.Event) -> None:
        """Take and answer until stop is set. Raises what stops this deploy, with everything in hand unsettled."""
        taking, looking = asyncio.create_task(self._take(stop)), asyncio.create_task(self._look())
        try:
            await asyncio.wait((taking, looking, self._fatal), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._fatal, taking, looking):
                if done.done():
                    done.result()
        finally:
            taking.cancel()
            looking.cancel()

    async def drain(self, s_max: float) -> None:
        """Take nothing more, let what is in hand finish up to the bound. Raises what stops this deploy meanwhile."""
        draining = asyncio.create_task(self._intake.drain(s_max))
        try:
            await asyncio.wait((draining, self._fatal), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._fatal, draining):
                if done.done():
                    done.result()
        finally:
            draining.cancel()

    async def close(self, *, healthy: bool) -> None:
        """What is still in hand stays uncommitted. healthy: it ends no process."""
        await self._intake.close(0.0)
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._fatal.cancel()
        if healthy:
            self._in_hand.leave()

    async def _take(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            records = await self._intake.take(TAKE_MAX, wait_ms_max=WAIT_MS_MAX)
            if records:
                self._start(self._in_hand.take(records))

    async def _look(self) -> None:
        while True:
            self._measures.backlog(sum(self._intake.lag().values()))
            await asyncio.sleep(BACKLOG_S)

    def _start(self, starts: Sequence[Start]) -> None:
        for record, given_up in starts:
            if given_up:
                work = self._requests.give_up(record, given_up)
            else:
                work = self._requests.work(record, self._in_hand.is_suspect)
            running = asyncio.create_task(self._guarded(record, work))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _guarded(self, record: Record, work: Coroutine[Any, Any, None]) -> None:
        """What stops this deploy ends the lane; nothing else gets out."""
        try:
            await work
            self._start(self._in_hand.end(record))
        except Exception as error:  # noqa: BLE001 - serve() raises it
            if not self._fatal.done():
                self._fatal.set_exception(error)
