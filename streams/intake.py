"""Intake: records into this process, as one member of a consumer group, committed when they have ended.

Enters: what the topics hold, read committed, earliest first. Leaves: records, at most in_flight_max of them unfinished
at a time; committed positions. Guaranteed: no commit passes an unfinished record, whatever the order in which they
finish; what was in hand when a partition left is neither committed nor counted (its next owner reads it again); a
process killed at any point loses nothing; what was deleted before it was read is told, and a stage that may not miss
it stops there (overtaken.py). Kafka being away is: no records.

One thread owns the consumer and polls it always, so that a slow stage keeps its membership: when there is no room it
waits a moment, then pauses the partitions and polls on. The asyncio side takes from a bounded buffer and says what
became of each record, under one lock that is never held while anybody waits.

On revoke: nothing more is handed out from those partitions, what is in hand may finish for drain_s_max, then their
positions are committed, synchronously. On lost: nothing is committed. librdkafka can confuse the two (its issue 3258
and change 5604), so a refused commit is taken for what it says: another generation owns the partition, drop it.
A second process with the same instance_id fences this one: take() raises Fenced and the process must leave.

Rejected: automatic commits (they pass what is in hand), share groups (a preview), aiokafka (no static membership with
cooperative rebalancing). Who has an order of its own (the pools: fair by tenant) gives it, and partitions share
the room then (hands.py); others take records as Kafka's fetches bring them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from aios.streams import failpoints, metrics
from aios.streams.admin import record_of
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import ConfigError, Fenced, StateBroken
from aios.streams.hands import BYTES_MAX, Hands, Lane, Order
from aios.streams.orphans import Orphans
from aios.streams.overtaken import Overtaken
from aios.streams.record import Record

COMMIT_S = 0.2  # between two commits; what a killed process did within it is done again
POLL_S = 0.05  # while something is under way
IDLE_S = 0.25  # while nothing is
FULL_S = 0.2  # without room for that long, partitions are paused
BATCH_MAX = 500  # records handed over at once
AHEAD_MAX = 5_000  # records of a partition that Kafka's client fetches ahead
BATCH_SHARED_MAX = 64  # where partitions share the room: so many of one are read before it pauses
AHEAD_SHARED_MAX = 256  # the same: a pause throws away what was fetched
LAG_S = 1.0
ANSWER_S_MAX = 5.0  # of one question about positions; asked again until it is answered
JOIN_S_MAX = 15.0  # start() returns then, whether or not partitions have come
COMMIT_S_MAX = 10.0  # until a commit without an answer is asked again
SAY_S = 30.0  # between two log lines about the same trouble
CLOSE_S_MAX = 10.0  # without Kafka, leaving ends here; a static member is expected back anyway
HEARTBEAT_MS = 1_000  # how soon a member hears of a rebalance
POLL_INTERVAL_MS = 300_000
_STALE = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID})
_FENCED = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED, KafkaError._FATAL})
_FORBIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})

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
    ) -> None:
        """order: partitions of which enough waits are paused, and little of each is fetched ahead.

        skips: as its stage declares it (topology.py).
        """
        self._kafka = kafka
        self._group = group
        self._stage = group.removeprefix("aios.")
        self._process = failpoints.process_of(group)
        self._topics = list(topics)
        self._overtaken = Overtaken(group, skips=skips)
        self._instance_id = instance_id
        self._session_timeout_ms = session_timeout_ms
        self._drain_s_max = drain_s_max
        self._changed = threading.Condition()  # over everything below, up to _leaving
        self._hands = Hands(
            in_flight_max=in_flight_max,
            waiting_max=max(in_flight_max, waiting_max),
            waiting_bytes_max=waiting_bytes_max,
            order=order,
        )
        self._batch_max, self._ahead_max = (
            (BATCH_MAX, AHEAD_MAX) if order is None else (BATCH_SHARED_MAX, AHEAD_SHARED_MAX)
        )
        self._lags: dict[tuple[str, int], int] = {}
        self._stopping = False
        self._error: Exception | None = None
        self._joined = False
        self._leaving = False
        self._in_flight = metrics.IN_FLIGHT.labels(self._stage)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._sleepers = 0  # coroutines of the loop that wait for _wake
        self._roused = False
        self._holding = False  # of the serving thread alone, like everything below
        self._full_since = 0.0
        self._commit_at = 0.0
        self._lag_at = 0.0
        self._said: dict[int, float] = {}
        # Others than static members are given all at each join.
        self._orphans: Orphans | None = Orphans(kafka, group, topics) if instance_id else None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Join the group. Returns with the first assignment, or after JOIN_S_MAX without one."""
        self._loop = asyncio.get_running_loop()
        consumer = Consumer(self._config(), logger=log)
        self._join(consumer)
        self._thread = threading.Thread(target=self._serve, args=(consumer,), name=self._group, daemon=True)
        self._thread.start()
        await self._until(lambda: self._joined or self._error is not None, JOIN_S_MAX)
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
            return bool(taken) or self._error is not None

        await self._until(some, wait_ms_max / 1000)
        self._raise()
        if taken:
            self._tell()
            failpoints.hit(f"{self._process}.taken")
        return taken

    def finish(self, record: Record, cost: int | None = None) -> None:
        """It has ended here: its effects are acknowledged. Ignored if its partition has left since it was taken.

        cost: what it took, for the order.
        """
        with self._changed:
            self._hands.finish(record, cost)
        self._tell()

    def release(self, record: Record) -> None:
        """It will not be finished now: it is read again, soon. Others in hand stay so."""
        with self._changed:
            self._hands.release(record)
        self._tell()

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
        self._tell()

    async def drain(self, s_max: float) -> None:
        """Take nothing more. Returns as soon as nothing is in hand, or after that long."""
        with self._changed:
            self._stopping = True
            self._hands.forget(self._hands.lanes.values())
        await self._until(lambda: not self._hands.in_flight or self._error is not None, s_max)

    async def close(self, drain_s_max: float) -> None:
        """Take nothing more, let what is in hand finish up to the bound, commit, leave the group."""
        if self._thread is None:
            return
        await self.drain(drain_s_max)
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        await asyncio.to_thread(self._thread.join, CLOSE_S_MAX)
        if self._thread.is_alive():
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
            return dict(self._lags)

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
        if self._error is not None:
            raise self._error

    def _tell(self) -> None:
        """Something changed in hand: for the serving thread if it waits, and for whoever waits in the loop."""
        with self._changed:
            self._in_flight.set(self._hands.in_flight)
            self._changed.notify_all()
        self.rouse()

    # The serving thread

    def _serve(self, consumer: Consumer) -> None:
        try:
            while not self._leaving:
                self._obey(consumer)
                self._read(consumer)
                now = time.monotonic()
                if now >= self._commit_at:
                    self._commit(consumer, now)
                if now >= self._lag_at:
                    self._measure(consumer, now)
                if self._orphans is not None and self._joined:
                    if self._orphans.found(now):
                        self._join_anew(consumer)
                    elif self._orphans.over(now):
                        self._orphans = None
        except Exception as error:  # noqa: BLE001 - take() raises it in the stage, which leaves
            self._fail(error)
        finally:
            self._leave(consumer)

    def _join(self, consumer: Consumer) -> None:
        consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _join_anew(self, consumer: Consumer) -> None:
        """What is asked for a second time in the same words changes nothing: give all up, and come again."""
        log.warning("%s has partitions that nobody reads: %s joins it anew", self._group, self._instance_id)
        consumer.unsubscribe()
        self._join(consumer)

    def _obey(self, consumer: Consumer) -> None:
        """Tell librdkafka which partitions to hold, to go on with, and to read again."""
        now = time.monotonic()
        hold: list[Lane] = []
        go_on: list[Lane] = []
        again: list[tuple[Lane, int | None]] = []
        with self._changed:
            self._holding = self._stopping or self._is_full(now)
            for lane in self._hands.lanes.values():
                if self._holding or lane.resume_at > now or self._hands.is_to_wait(lane):
                    if not lane.paused:
                        hold.append(lane)
                    continue
                if lane.paused is not False:
                    go_on.append(lane)
                if lane.seek:
                    again.append((lane, lane.tracker.again_from))
        if hold:
            consumer.pause([_place(lane) for lane in hold])
            self._mark(hold, paused=True)
        for lane, offset in again:
            self._seek(consumer, lane, offset)
        if go_on:
            consumer.resume([_place(lane) for lane in go_on])
            self._mark(go_on, paused=False)

    def _is_full(self, now: float) -> bool:
        """True after FULL_S without room, then until half of it is free: pausing throws away what was prefetched."""
        if self._hands.is_half_empty if self._holding else self._hands.room:
            self._full_since = 0.0
            return False
        self._full_since = self._full_since or now
        return now - self._full_since >= FULL_S

    def _mark(self, lanes: Iterable[Lane], *, paused: bool) -> None:
        for lane in lanes:
            lane.paused = paused
            metrics.PAUSED.labels(self._stage, lane.topic, lane.partition).set(paused)

    def _seek(self, consumer: Consumer, lane: Lane, offset: int | None) -> None:
        """Right after an assignment a partition cannot be sought yet: the next round tries again."""
        if offset is not None:
            try:
                consumer.seek(TopicPartition(lane.topic, lane.partition, offset))
            except KafkaException as error:
                log.debug("%s[%d] is not sought yet: %s", lane.topic, lane.partition, error.args[0].str())
                return
        with self._changed:
            lane.reads_at = offset if offset is not None else lane.reads_at
            lane.seek = lane.tracker.again_from != offset  # more was given back meanwhile, further down

    def _read(self, consumer: Consumer) -> None:
        """Poll once, whatever is held, and let what came wait for take()."""
        if not self._holding and self._full_since:
            with self._changed:
                self._changed.wait(POLL_S)
            return
        first = consumer.poll(POLL_S if self._is_busy() else IDLE_S)
        if first is None:
            return
        more = min(self._batch_max, self._hands.room) - 1
        messages = [first, *(consumer.consume(more, 0) if more > 0 else ())]
        arrived = [(message, None if message.error() else record_of(message)) for message in messages]
        with self._changed:
            try:
                for message, record in arrived:
                    lane = self._hands.lanes.get((message.topic(), message.partition()))
                    if record is None:
                        self._arrived_nothing(consumer, message, lane)
                    elif lane is not None:
                        self._arrived(consumer, record, lane)
            except StateBroken as error:  # under the lock: nobody is given what stands behind a hole
                self._fail(error)
        self.rouse()

    def _arrived(self, consumer: Consumer, record: Record, lane: Lane) -> None:
        self._look_behind(consumer, lane, record.offset)
        position = lane.tracker.position or 0
        lane.reads_at = record.offset + 1
        if not self._hands.arrive(record, lane, later=self._stopping):
            self._overtaken.fell(lane.topic, lane.partition, position, record.offset)

    def _look_behind(self, consumer: Consumer, lane: Lane, came: int) -> None:
        """Offsets that are left out are markers, or what compaction took; but not those below the log's start."""
        if lane.reads_at is None or came <= lane.reads_at:
            return
        start, _ = consumer.get_watermark_offsets(_place(lane), cached=True)
        if start > lane.reads_at:
            gone = min(start, came)
            self._overtaken.deleted(lane.topic, lane.partition, lane.reads_at, gone)
            lane.tracker.passed_over(gone)

    def _is_busy(self) -> bool:
        """Whether somebody may soon need this thread."""
        lanes = self._hands.lanes.values()
        return bool(self._hands.in_flight or self._hands.waiting) or any(
            lane.seek or lane.paused or lane.tracker.to_commit is not None for lane in lanes
        )

    def _arrived_nothing(self, consumer: Consumer, message: Message, lane: Lane | None) -> None:
        if message.error().code() != KafkaError._PARTITION_EOF:
            self._heard(message.error())
        elif lane is not None:
            self._look_behind(consumer, lane, message.offset())
            lane.reads_at = message.offset()
            lane.tracker.reached(message.offset())

    def _commit(self, consumer: Consumer, now: float) -> None:
        """Ask for the positions that have risen; _committed hears the answer."""
        with self._changed:
            offsets = _to_commit(self._hands.lanes.values())
        self._commit_at = now + (COMMIT_S_MAX if offsets else COMMIT_S)
        if not offsets:
            return
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._refused(error.args[0])

    def _committed(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """Called by poll."""
        self._commit_at = time.monotonic() + COMMIT_S
        if error is not None:
            self._refused(error)
            return
        failpoints.hit(f"{self._process}.committed")
        with self._changed:
            for place in places:
                if place.error is not None:
                    self._refused(place.error)
                elif place.offset >= 0:
                    for lane in self._hands.of([(place.topic, place.partition)]):
                        lane.tracker.committed(place.offset)

    def _commit_now(self, consumer: Consumer, lanes: Iterable[Lane]) -> None:
        with self._changed:
            offsets = _to_commit(lanes)
        if not offsets:
            return
        try:
            self._committed(None, consumer.commit(offsets=offsets, asynchronous=False))
        except KafkaException as error:
            self._refused(error.args[0])

    def _refused(self, error: KafkaError) -> None:
        """A commit that was not taken. Another generation owns the partition: dropped. Kafka is away: tried again."""
        if error.code() not in _STALE:
            self._heard(error)

    def _assigned(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        known = self._positions(consumer, places)
        with self._changed:
            self._hands.assign(_names(places))
            for place in known:
                for lane in self._hands.of([(place.topic, place.partition)]):
                    lane.reads_at = place.offset
                    lane.tracker.resume(place.offset)
            self._joined = True
        self.rouse()

    def _positions(self, consumer: Consumer, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Up to where the group has read them, of those of which it has committed something."""
        while places and not self._leaving:
            try:
                known = consumer.committed(list(places), timeout=ANSWER_S_MAX)
                errors = [place.error for place in known if place.error is not None]
            except KafkaException as error:
                errors = [error.args[0]]
            if not errors:
                return [place for place in known if place.offset >= 0]
            self._heard(errors[0])
            with self._changed:
                self._changed.wait(POLL_S)
        return []

    def _revoked(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        """Called by poll before the partitions go to somebody else."""
        with self._changed:
            lanes = self._hands.of(_names(places))
            self._hands.forget(lanes)
            failpoints.hit(f"{self._process}.revoking")
            self._changed.wait_for(
                lambda: self._leaving or not any(lane.in_flight for lane in lanes), timeout=self._drain_s_max
            )
            self._hands.let_go(lanes)
        self._commit_now(consumer, lanes)
        self._part(lanes)

    def _lost(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - librdkafka's
        """Called by poll when they are somebody else's already."""
        log.warning("%s lost %d partitions: it was away for too long", self._group, len(places))
        self._part(self._hands.of(_names(places)))

    def _part(self, lanes: Sequence[Lane]) -> None:
        with self._changed:
            self._hands.part(lanes)
            for lane in lanes:
                self._lags.pop((lane.topic, lane.partition), None)
        for lane in lanes:
            for gauge in (metrics.LAG, metrics.PAUSED):
                with contextlib.suppress(KeyError):  # never set
                    gauge.remove(self._stage, lane.topic, lane.partition)
        self._tell()

    def _measure(self, consumer: Consumer, now: float) -> None:
        self._lag_at = now + LAG_S
        lags: dict[tuple[str, int], int] = {}
        for lane in self._hands.lanes.values():
            position, (_, high) = lane.tracker.position, consumer.get_watermark_offsets(_place(lane), cached=True)
            if position is not None and high >= 0:
                lags[lane.topic, lane.partition] = lag = max(0, high - position - lane.tracker.ended_behind)
                metrics.LAG.labels(self._stage, lane.topic, lane.partition).set(lag)
        with self._changed:
            self._lags = lags

    def _heard(self, error: KafkaError) -> None:
        """What librdkafka says beside records. It heals most of it by itself, so it is only said, once in a while."""
        code = error.code()
        if error.fatal() or code in _FENCED:
            self._fail(Fenced(f"another process has the place of {self._instance_id or self._group}: {error.str()}"))
        elif code in _FORBIDDEN:
            self._fail(ConfigError(f"Kafka does not let {self._group} read: {error.str()}"))
        elif time.monotonic() >= self._said.get(code, 0.0):
            self._said[code] = time.monotonic() + SAY_S
            log.warning("%s: %s", self._group, error.str())

    def _fail(self, error: Exception) -> None:
        """Nothing more is handed out; take() raises it."""
        with self._changed:
            self._error = self._error or error
            self._stopping = self._leaving = True
            self._hands.forget(self._hands.lanes.values())
            self._hands.let_go(self._hands.lanes.values())
        self.rouse()

    def _leave(self, consumer: Consumer) -> None:
        """Commit what has finished, and go. A fenced member has nothing to commit any more."""
        try:
            if self._error is None:
                self._commit_now(consumer, list(self._hands.lanes.values()))
            consumer.close()
        except (KafkaException, RuntimeError) as error:
            log.warning("%s left its group badly: %s", self._group, error)
        self._part(list(self._hands.lanes.values()))

    def _config(self) -> dict[str, object]:
        return client(
            self._kafka,
            **{
                "group.id": self._group,
                **({"group.instance.id": self._instance_id} if self._instance_id else {}),
                "client.id": self._instance_id or self._group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,  # tells positions behind transaction markers
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": self._session_timeout_ms,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "max.poll.interval.ms": POLL_INTERVAL_MS,
                "socket.timeout.ms": 10_000,
                "reconnect.backoff.max.ms": 1_000,
                "queued.min.messages": self._ahead_max,  # a pause throws away what was fetched
                "queued.max.messages.kbytes": 16 << 10,
                "fetch.queue.backoff.ms": 20,
                "on_commit": self._committed,
                "error_cb": self._heard,
                "log_level": 2,  # the rest is said by _heard, once in a while
            },
        )


def _place(lane: Lane) -> TopicPartition:
    return TopicPartition(lane.topic, lane.partition)


def _names(places: Iterable[TopicPartition]) -> list[tuple[str, int]]:
    return [(place.topic, place.partition) for place in places]


def _to_commit(lanes: Iterable[Lane]) -> list[TopicPartition]:
    return [
        TopicPartition(lane.topic, lane.partition, offset)
        for lane in lanes
        if (offset := lane.tracker.to_commit) is not None
    ]
