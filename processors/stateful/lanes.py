"""Partitions side by side: one lane for each, at work on one thing at a time, in a thread.

Enters: assignments, batches, revocations. Leaves: calls of the partition's store. Guaranteed: a lane is opened
when its partition is assigned, not when its first record comes (timers of a quiet one fire too); a revoked lane
finishes the transaction it runs and starts no other; what it holds is bounded, and a full lane is not read for;
when something everyone needs is away a lane waits and asks again, and its records stay where they are; what the core
does by itself, which may need what no record does, holds up no record for longer than one try of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aios.processors.stateful.batch import Batch
from aios.processors.stateful.draft import RECORDS_MAX
from aios.processors.stateful.store import PartitionStore, Paused
from aios.streams import failpoints, metrics
from aios.streams.errors import Unavailable

HELD_RECORDS_MAX = 2 * RECORDS_MAX  # of one lane, beyond which no more are fetched for it
HELD_BYTES_MAX = 16 << 20
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.2, 5.0
TICK_S_MIN = 0.05  # between two looks at the timers
TICK_S_MAX = 5.0  # the same while some are set: the event loop does not count the time for which a machine sleeps

log = logging.getLogger(__name__)


class Lane:
    """One partition number. Starts to open at once; `opened` is set when it can work."""

    def __init__(
        self, store: PartitionStore, stage: str, partition: int, pool: ThreadPoolExecutor, applied: Callable[[], None]
    ):
        """applied: called once there is room again."""
        self.store = store
        self.opened = asyncio.Event()
        self._stage = stage
        self._partition = partition
        self._pool = pool
        self._applied = applied
        self._inbox: deque[Batch] = deque()
        self._bytes = 0
        self._closing = asyncio.Event()
        self._wake = asyncio.Event()
        self._work_wait_s = BACKOFF_S_MIN
        self.held = 0

    @property
    def full(self) -> bool:
        return self.held >= HELD_RECORDS_MAX or self._bytes >= HELD_BYTES_MAX

    def give(self, batch: Batch) -> None:
        self._inbox.append(batch)
        self._account(batch, 1)
        self._wake.set()

    def end(self) -> None:
        """No more work after what runs now; what is held stays unprocessed."""
        self._closing.set()
        self._wake.set()

    async def work(self) -> None:
        """Until end(). Raises what must end the process."""
        try:
            if not await self._patiently(self.store.open):
                return
            log.info("partition %d is open, read %d records of state", self._partition, self.store.restored)
            self.opened.set()
            while not self._closing.is_set():
                await self._turn()
        finally:
            self.store.close()

    async def _turn(self) -> None:
        """What is in the inbox, else sleep; then the timers that are due, then what the core does by itself."""
        if not self._inbox:
            await self._sleep()
        batches = self._front()
        if batches and await self._patiently(partial(self.store.apply, batches)):
            for batch in batches:
                self._account(batch, -1)
                self._inbox.popleft()
            self._applied()
        if self.store.due_in_ms() == 0 and not self._closing.is_set():
            await self._patiently(self.store.tick)
        if self.store.work_in_ms() == 0 and not self._closing.is_set():
            await self._work()

    async def _work(self) -> None:
        """Once; while something is away, later again."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self.store.work)
        except Unavailable as error:
            log.warning("partition %d goes on, and does nothing by itself: %s", self._partition, error)
            self.store.work_later(self._work_wait_s)
            self._work_wait_s = min(BACKOFF_S_MAX, 2 * self._work_wait_s)
        else:
            self._work_wait_s = BACKOFF_S_MIN

    async def _sleep(self) -> None:
        if self.store.work_in_ms() == 0:
            return
        due = min((ms for ms in (self.store.due_in_ms(), self.store.work_in_ms()) if ms is not None), default=None)
        self._wake.clear()
        try:
            async with asyncio.timeout(None if due is None else min(max(TICK_S_MIN, due / 1000), TICK_S_MAX)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _front(self) -> list[Batch]:
        batches: list[Batch] = []
        records = 0
        for batch in self._inbox:
            if batches and records + len(batch.records) > RECORDS_MAX:
                break
            batches.append(batch)
            records += len(batch.records)
        return batches

    async def _patiently(self, work: Callable[[], object]) -> bool:
        """Do it in the pool, again and again while something is away. False: the lane ended before it was done."""
        wait_s = BACKOFF_S_MIN
        paused = metrics.PAUSED.labels(self._stage, "", str(self._partition))
        while not self._closing.is_set():
            try:
                await asyncio.get_running_loop().run_in_executor(self._pool, work)
            except (Paused, Unavailable) as error:
                log.warning("partition %d pauses: %s", self._partition, error)
                paused.set(1)
                try:
                    async with asyncio.timeout(wait_s):
                        await self._closing.wait()
                except TimeoutError:
                    wait_s = min(BACKOFF_S_MAX, 2 * wait_s)
            else:
                paused.set(0)
                return True
        paused.set(0)
        return False

    def _account(self, batch: Batch, sign: int) -> None:
        self.held += sign * len(batch.records)
        self._bytes += sign * batch.size


class Lanes:
    """All lanes of this process. broken: called once, from a lane's task, with what must end the process."""

    def __init__(
        self, stage: str, make: Callable[[int], PartitionStore], broken: Callable[[BaseException], None]
    ) -> None:
        self._stage = stage
        self._make = make
        self._broken = broken
        self._pool = ThreadPoolExecutor(thread_name_prefix=stage)
        self._lanes: dict[int, Lane] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closed: dict[int, PartitionStore] = {}  # of the last revocation, for reading only the tail
        self.room = asyncio.Event()

    def assigned(self, partitions: Iterable[int]) -> list[Lane]:
        """Start a lane for each. What this process had before and does not get again is forgotten."""
        new = []
        for partition in sorted(set(partitions) - self._lanes.keys()):
            store = self._closed.pop(partition, None) or self._make(partition)
            lane = Lane(store, self._stage, partition, self._pool, self._has_room)
            task = asyncio.create_task(lane.work(), name=f"{self._stage}.{partition}")
            task.add_done_callback(self._ended)
            self._lanes[partition], self._tasks[partition] = lane, task
            new.append(lane)
        self._closed.clear()
        return new

    async def revoked(self, partitions: Iterable[int]) -> None:
        """Wait for what runs, drop what is held, keep the closed stores until the next assignment."""
        gone = sorted(set(partitions) & self._lanes.keys())
        for partition in gone:
            self._lanes[partition].end()
        failpoints.hit(f"{self._stage}.revoking")
        await asyncio.gather(*(self._tasks.pop(partition) for partition in gone), return_exceptions=True)
        for partition in gone:
            self._closed[partition] = self._lanes.pop(partition).store
            for gauge, labels in ((metrics.PAUSED, ("", str(partition))), (metrics.PARKED, (str(partition),))):
                with contextlib.suppress(KeyError):  # never set
                    gauge.remove(self._stage, *labels)
        self._tell_held()

    async def stop(self) -> None:
        """End every lane; their positions can still be asked for."""
        for lane in self._lanes.values():
            lane.end()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._pool.shutdown(wait=False)

    def give(self, batch: Batch) -> None:
        """A batch of a partition that is not ours any more is dropped: its owner reads it."""
        lane = self._lanes.get(batch.partition)
        if lane is not None:
            lane.give(batch)
            self._tell_held()

    def full(self, partition: int) -> bool:
        lane = self._lanes.get(partition)
        return lane is not None and lane.full

    def held(self, partition: int) -> int:
        lane = self._lanes.get(partition)
        return lane.held if lane else 0

    def position(self, topic: str, partition: int) -> int | None:
        """Next offset to process; everything before it is committed. None while the partition is not ours, or not open.

        A group's offset without a position in the changelog says that a changelog was lost: its first one comes first.
        """
        lane = self._lanes.get(partition)
        return lane.store.position.get(topic) if lane and lane.opened.is_set() else None

    def _has_room(self) -> None:
        self._tell_held()
        self.room.set()

    def _tell_held(self) -> None:
        metrics.IN_FLIGHT.labels(self._stage).set(sum(lane.held for lane in self._lanes.values()))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)
