"""retry: holds what failed for an unknown reason until it is due, then returns it to the group it failed in.

Enters: the retry tiers (aios.retry.5s, .1m, .10m), written by every stage (dlq/settle.py), with target and delay in
the headers. Leaves: the same record on <group>.retry, same partition number, which that group alone reads. Guaranteed:
never early; late by less than a second while there is room (HELD_MAX records of a tier, and Intake's bound in bytes);
nothing is lost or forgotten by a restart, because a waiting record is committed only after it was delivered, and its
delay counts from its own timestamp. A record that nobody can return, because the group it names is of another release,
is a dead letter of this stage, which keeps the target: replayed, it goes there.

Records of one delay come due in the order of the log, so what is held is what is due first: when there is no room,
what waits in the log is due later than all that is held. So each tier has a member of the group for itself: what is
held of a long delay takes no room from a short one.

Time: the log's (streams/log_clock.py). What it is when the stage starts is told by the broker itself, with a record
that nobody waits for; so a delay that began before a restart ends when it must, whatever this machine's clock says.
Nothing waits here longer than its delay.
Rejected: a due time in the header (the clock of the stage that failed may be log time, hours old, or an hour ahead);
sleeping in the failing stage (blocks its partition); pausing a partition until its head is due (each pause throws
away what was fetched); one consumer over all tiers (ten minutes' worth of records would fill its room).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import count
from typing import Any

from aios.dlq import envelope
from aios.dlq.breakers import GroupBreakers
from aios.dlq.settle import Settler
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import failpoints, metrics, topology, tracing
from aios.streams.config import Settings
from aios.streams.durations import DAY_MS
from aios.streams.errors import Reason, RecordError, Unavailable, Verdict
from aios.streams.kafka import Delivery, Intake, cluster_id
from aios.streams.log_clock import LogClock, passed_s
from aios.streams.record import Outgoing, Record, headers_of
from aios.streams.topology import RETRY
from aios.streams.wall_clock import wall_ms

HELD_MAX = 10_000  # of one tier
TAKE_MAX = 500
WAIT_MS_MAX = 200  # for records, and so for noticing that we shall stop
AFTER_MS_MAX = DAY_MS
DRAIN_S_MAX = 0.5  # a partition that leaves does not wait for what is not due
CLOCK = "aios.retry.clock"  # header of a record that only asks for the broker's time

_RETRY_TOPICS = frozenset(stage.retries.name for stage in topology.STAGES if stage.reads)

log = logging.getLogger(__name__)


class Held:
    """Waiting records by the moment they are due. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Record]] = []
        self._order = count()

    def add(self, record: Record, *, now_ms: int, now_s: float) -> None:
        """now_ms: the log's time, Unix ms. A record without a delay is due at once."""
        after_ms = _after_ms(record)
        written_ms = record.timestamp_ms or now_ms
        wait_ms = min(max(written_ms + after_ms - now_ms, 0), after_ms)
        self.put(record, now_s + wait_ms / 1000)

    def put(self, record: Record, due_s: float) -> None:
        heapq.heappush(self._heap, (due_s, next(self._order), record))

    def due(self, now_s: float) -> list[Record]:
        """Take out what is due, in order."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def next_in_s(self, now_s: float) -> float:
        """Until something is due; infinite when nothing is held."""
        return max(self._heap[0][0] - now_s, 0.0) if self._heap else float("inf")

    def let_go(self, owned: Callable[[Record], bool]) -> None:
        """Forget what has left, once it is more than what is here."""
        if len(self._heap) > 2 * HELD_MAX:
            self._heap = [one for one in self._heap if owned(one[2])]
            heapq.heapify(self._heap)

    def all(self) -> list[Record]:
        """Take out everything."""
        found = [record for *_, record in self._heap]
        self._heap.clear()
        return found


def returning(record: Record) -> Outgoing:
    """The waiting record as it goes back. Raises RecordError when it names no group that is here."""
    target = envelope.said(record).get("target") or record.header(envelope.RETRY_TARGET) or ""
    if target not in _RETRY_TOPICS:
        raise RecordError("it waits for no retry topic that exists here", Reason.UNATTRIBUTABLE)
    headers = tuple((name, value) for name, value in record.headers if not name.startswith("aios.retry."))
    return Outgoing(target, record.key, record.value, headers, record.partition)


def _after_ms(record: Record) -> int:
    try:
        return min(max(int(record.header(envelope.RETRY_AFTER) or 0), 0), AFTER_MS_MAX)
    except ValueError:
        return 0


class _Tier:
    """The records of one delay."""

    def __init__(self, intake: Intake, delivery: Delivery, settler: Settler, clock: LogClock) -> None:
        self._clock = clock
        self._intake = intake
        self._delivery = delivery
        self._settler = settler
        self._held = Held()

    async def serve(self, stop: asyncio.Event) -> None:
        """Until stop is set. Raises what stops this deploy."""
        while not stop.is_set():
            await self._round()

    async def close(self) -> None:
        """What is held comes to whoever is next."""
        for record in self._held.all():
            self._intake.release(record)
        await self._intake.close(0.0)

    async def _round(self) -> None:
        """Take what came, return what is due."""
        wait_ms = int(min(self._held.next_in_s(passed_s()) * 1000 + 1, WAIT_MS_MAX))
        taken = await self._intake.take(TAKE_MAX, wait_ms_max=wait_ms)
        now_ms = max((self._clock.see(record.timestamp_ms) for record in taken), default=0)
        for record in taken:
            if record.header(CLOCK) is not None:
                self._intake.finish(record)
            else:
                self._held.add(record, now_ms=now_ms, now_s=passed_s())
        self._held.let_go(self._intake.owns)
        await self._return([record for record in self._held.due(passed_s()) if self._intake.owns(record)])

    async def _return(self, records: Sequence[Record]) -> None:
        if records:
            failpoints.hit("retry.computed")
            await asyncio.gather(*(self._return_one(record) for record in records))

    async def _return_one(self, record: Record) -> None:
        """Raises what stops this deploy."""
        verdict = "done"
        if (held_up := self._settler.gate(record, wall_ms())) is not None:
            self._held.put(record, passed_s() + held_up.pause_ms / 1000)
            return
        try:
            with tracing.span(RETRY.name, record.header("traceparent") or "", topic=record.topic, offset=record.offset):
                self._clock.see((await self._delivery.deliver(returning(record))).timestamp_ms)
        except Exception as error:  # what becomes of it is decided in dlq/decide.py
            settled = self._settler.settle(record, error, wall_ms())
            if settled.verdict is Verdict.STOP:
                raise
            if settled.outgoing is None or not await self._delivered(settled.outgoing):
                self._held.put(record, passed_s() + (settled.pause_ms or WAIT_MS_MAX) / 1000)
                return
            verdict = settled.verdict
        self._intake.finish(record)
        metrics.SETTLED.labels(RETRY.name, record.topic, verdict).inc()
        late_ms = wall_ms() - record.timestamp_ms - _after_ms(record)
        metrics.TOOK.labels(RETRY.name).observe(max(0, late_ms) / 1000)  # of this stage: how late

    async def _delivered(self, out: Outgoing) -> bool:
        try:
            await self._delivery.deliver(out)
        except Unavailable as error:
            log.warning("a dead letter waits: %s", error)
            return False
        return True


def _asks_for_the_time() -> Outgoing:
    """A record whose timestamp, the broker's, is all that is wanted of it."""
    return Outgoing(RETRY.reads[0].name, None, None, headers_of({CLOCK: "now"}), 0)


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The stage, until stop is set."""
    registry = RegistrySource(settings.registry.url)
    breakers = GroupBreakers(settings.kafka, Codec(registry), RETRY)
    delivery = Delivery(settings.kafka, client_id=f"{RETRY.group}.{slot}")
    tiers: list[_Tier] = []
    try:
        await asyncio.to_thread(breakers.start)
        settler = Settler(RETRY, await asyncio.to_thread(cluster_id, settings.kafka), breakers=breakers)
        intakes = [_intake(settings, topic.name, slot) for topic in RETRY.inputs]
        clock = LogClock(passed_s)
        clock.see((await delivery.deliver(_asks_for_the_time())).timestamp_ms)
        tiers = [_Tier(intake, delivery, settler, clock) for intake in intakes]
        await asyncio.gather(*(intake.start() for intake in intakes))
        ready()
        await _all(tier.serve(stop) for tier in tiers)
    finally:
        await asyncio.gather(*(tier.close() for tier in tiers))
        await asyncio.to_thread(delivery.close)
        await asyncio.to_thread(breakers.close)
        registry.close()


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Until all have ended, or the first fails; raises what it raised, and the others have ended too."""
    running = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*running)
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _intake(settings: Settings, topic: str, slot: int) -> Intake:
    return Intake(
        settings.kafka,
        group=RETRY.group,
        topics=[topic],
        instance_id=f"{topic}.{slot}",
        in_flight_max=HELD_MAX,
        drain_s_max=DRAIN_S_MAX,
        skips=RETRY.skips,
    )
