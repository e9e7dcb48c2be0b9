"""Intake: records into this process, as one member of a consumer group, committed when they have ended.

Enters: what the topics hold, read committed, earliest first. Leaves: records, at most in_flight_max of them unfinished
at a time; committed positions. Guaranteed: no commit passes an unfinished record, whatever the order in which they
finish; what was in hand when a partition left is neither committed nor counted (its next owner reads it again); a
process killed at any point loses nothing; what was deleted before it was read is told, and a stage that may not miss
it stops there (overtaken.py). Kafka being away is: no records.

One thread owns the consumer and polls it always (polling.py; its commits are in committing.py), so that a slow stage
keeps its membership. The asyncio side takes from a bounded buffer and says what became of each record, under one lock
that is never held while anybody waits.

On revoke: nothing more is handed out from those partitions, what is in hand may finish for drain_s_max, then their
positions are committed. On lost: nothing is committed.
A second process with the same instance_id fences this one: take() raises Fenced and the process must leave.

Rejected: automatic commits (they pass what is in hand), share groups (a preview), aiokafka (no static membership with
cooperative rebalancing). Who has an order of its own (the pools: fair by tenant) gives it, and partitions share
the room then (hands.py); others take records as Kafka's fetches bring them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from aios.streams import failpoints
from aios.streams.config import KafkaSettings
from aios.streams.hands import BYTES_MAX, Hands, Order
from aios.streams.polling import BATCH_MAX, Polling, Shared
from aios.streams.record import Record

JOIN_S_MAX = 15.0  # start() returns then, whether or not partitions have come
CLOSE_S_MAX = 10.0  # without Kafka, leaving ends here; a static member is expected back anyway

log = logging.getLogger(__name__)


class Intake:
    """See the module. Of one event loop: the one that called start(); finish, release and owns from any thread."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        group: str,
        topics: Sequence[str],
        instance_id: str = "",
        in_flight_max: int,
        session_timeout_ms: int = 10_000,
        drain_s_max: float = 5.0,
        waiting_max: int = BATCH_MAX,
        waiting_bytes_max: int = BYTES_MAX,
        order: Order | None = None,
        skips: bool = True,
        gathers: bool = False,
    ) -> None:
        """order: partitions of which enough waits are paused, and little of each is fetched ahead.

        skips: as its stage declares it (topology.py). gathers: whether Kafka may keep a record back for others
        (GATHER_MS at most) instead of handing out each at once.
        """
        self._group = group
        self._process = failpoints.process_of(group)
        self._hands = Hands(
            in_flight_max=in_flight_max,
            waiting_max=max(in_flight_max, waiting_max),
            waiting_bytes_max=waiting_bytes_max,
            order=order,
        )
        self._shared = Shared(self._hands, group.removeprefix("aios."), self.rouse)
        self._changed = self._shared.changed
        self._polling = Polling(
            kafka,
            self._shared,
            group=group,
            topics=topics,
            instance_id=instance_id,
            session_timeout_ms=session_timeout_ms,
            drain_s_max=drain_s_max,
            ahead_is_shared=order is not None,
            skips=skips,
            gathers=gathers,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._sleepers = 0  # coroutines of the loop that wait for _wake
        self._roused = False

    async def start(self) -> None:
        """Join the group. Returns with the first assignment, or after JOIN_S_MAX without one.

        Raises what take() does, if it is known by then.
        """
        self._loop = asyncio.get_running_loop()
        self._polling.start()
        await self._until(lambda: self._shared.joined or self._shared.error is not None, JOIN_S_MAX)
        self._raise()

    async def take(self, records_max: int, *, wait_ms_max: int) -> list[Record]:
        """1..records_max records as soon as there are some and room for them; [] after wait_ms_max.

        Give these very objects back to finish() or release(); until then they are in flight.
        Raises Fenced when another process has this one's place, ConfigError when Kafka forbids to read, StateBroken
        where records were deleted unread and the stage may not skip them.
        """
        taken: list[Record] = []

        def some() -> bool:
            taken.extend(self._hands.take(records_max))
            return bool(taken) or self._shared.error is not None

        await self._until(some, wait_ms_max / 1000)
        self._raise()
        if taken:
            self._shared.tell()
            failpoints.hit(f"{self._process}.taken")
        return taken

    def finish(self, record: Record, cost: int | None = None) -> None:
        """It has ended here: its effects are acknowledged. Ignored if its partition has left since it was taken.

        cost: what it took, for the order.
        """
        with self._changed:
            self._hands.finish(record, cost)
        self._shared.tell()

    def release(self, record: Record) -> None:
        """It will not be finished now: it is read again, soon. Others in hand stay so."""
        with self._changed:
            self._hands.release(record)
        self._shared.tell()

    def owns(self, record: Record) -> bool:
        """False once its partition has left, or it was released or paused away: discard the result."""
        return self._hands.owns(record)

    def pause(self, topic: str, partition: int, for_ms: int) -> None:
        """Take nothing from this partition for a while, then again from its lowest unfinished record.

        Everything unfinished of it is given back, also what is in hand elsewhere: owns() is False for it from now on.
        """
        with self._changed:
            for lane in self._hands.of([(topic, partition)]):
                self._hands.give_back(lane)
                lane.resume_at = max(lane.resume_at, time.monotonic() + for_ms / 1000)
        self._shared.tell()

    async def drain(self, s_max: float) -> None:
        """Take nothing more. Returns as soon as nothing is in hand, or after that long."""
        with self._changed:
            self._shared.stopping = True
            self._hands.forget(self._hands.lanes.values())
        await self._until(lambda: not self._hands.in_flight or self._shared.error is not None, s_max)

    async def close(self, drain_s_max: float) -> None:
        """Take nothing more, let what is in hand finish up to the bound, commit, leave the group."""
        await self.drain(drain_s_max)
        with self._changed:
            self._shared.leaving = True
            self._changed.notify_all()
        if not await asyncio.to_thread(self._polling.join, CLOSE_S_MAX):
            log.warning("%s did not leave its group within %.0f s", self._group, CLOSE_S_MAX)

    def assigned(self) -> frozenset[tuple[str, int]]:
        """The partitions that are this member's now."""
        with self._changed:
            return frozenset(self._hands.lanes)

    def position(self, topic: str, partition: int) -> int | None:
        """Everything below is finished; None while that is not known, or not ours."""
        with self._changed:
            lane = self._hands.lanes.get((topic, partition))
            return lane.tracker.position if lane is not None else None

    def lag(self) -> dict[tuple[str, int], int]:
        """Records not finished, by assigned partition, as of LAG_S ago at most; unknown ones are left out."""
        with self._changed:
            return dict(self._shared.lags)

    # The asyncio side

    async def _until(self, true: Callable[[], bool], seconds: float) -> None:
        """Return as soon as it is true, asked under the lock after every change, or after that long."""
        deadline = time.monotonic() + seconds
        self._sleepers += 1
        try:
            while True:
                with self._changed:
                    if true():
                        return
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._wake.wait()
        finally:
            self._sleepers -= 1

    def rouse(self) -> None:
        """Wake the loop's coroutines if any wait; from any thread, after a change, be it in what the order knows."""
        if self._sleepers and not self._roused and self._loop is not None:
            self._roused = True
            try:
                self._loop.call_soon_threadsafe(self._woken)
            except RuntimeError:
                log.debug("the loop of %s has ended", self._group)

    def _woken(self) -> None:
        self._roused = False
        self._wake.set()
        self._wake.clear()

    def _raise(self) -> None:
        if self._shared.error is not None:
            raise self._shared.error
