"""The thread of an Intake (intake.py): it owns the client of Kafka, polls it always, and commits.

Enters: what the client says, and what the other side wants held, read again, or left. Leaves: records in hands.py,
committed positions, lags. Guaranteed: membership lasts however slow the stage is: when there is no room it waits a
moment, then pauses the partitions and polls on; what is away is asked again until it answers; an error that ends the
membership is told to the other side, and nothing more is handed out.

On revoke: nothing more is handed out from those partitions, what is in hand may finish for drain_s_max, then their
positions are committed, synchronously. On lost: nothing is committed. librdkafka can confuse the two (its issue 3258
and change 5604), so a refused commit is taken for what it says: another generation owns the partition, drop it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from aios.streams import failpoints, metrics
from aios.streams.admin import record_of
from aios.streams.committing import Commits, place_of
from aios.streams.config import GATHERING, KafkaSettings, client
from aios.streams.errors import ConfigError, Fenced, StateBroken
from aios.streams.hands import Hands, Lane
from aios.streams.orphans import Orphans
from aios.streams.overtaken import Overtaken
from aios.streams.record import Record

POLL_S = 0.05  # while something is under way
IDLE_S = 0.25  # while nothing is
FULL_S = 0.2  # without room for that long, partitions are paused
BATCH_MAX = 500  # records handed over at once
AHEAD_MAX = 5_000  # records of a partition that Kafka's client fetches ahead
BATCH_SHARED_MAX = 64  # where partitions share the room: so many of one are read before it pauses
AHEAD_SHARED_MAX = 256  # the same: a pause throws away what was fetched
LAG_S = 1.0
ANSWER_S_MAX = 5.0  # of one question about positions; asked again until it is answered
SAY_S = 30.0  # between two log lines about the same trouble
HEARTBEAT_MS = 1_000  # how soon a member hears of a rebalance
POLL_INTERVAL_MS = 300_000
STICKY, RANGE = "cooperative-sticky", "range"
"""How partitions are shared out. STICKY moves few, and counts them alone: who joins later may get one topic and none of
another. RANGE shares each topic evenly, and takes all from everybody for as long as what is in hand needs to finish:
not for pools, whose requests run for minutes and have one topic with many partitions.
"""

_FENCED = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED, KafkaError._FATAL})
_FORBIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})

log = logging.getLogger(__name__)


class Shared:
    """What both sides of an intake see; `changed` is over all of it.

    rouse: wakes who waits on the other side; from any thread. error: what ended the membership. stopping: nothing more
    is wanted; leaving: nothing is waited for any more.
    """

    def __init__(self, hands: Hands, stage: str, rouse: Callable[[], None]) -> None:
        self.changed = threading.Condition()
        self.hands = hands
        self.rouse = rouse
        self.lags: dict[tuple[str, int], int] = {}
        self.stopping = self.joined = self.leaving = False
        self.error: Exception | None = None
        self._in_flight = metrics.IN_FLIGHT.labels(stage)

    def tell(self) -> None:
        """Something changed in hand: for the serving thread if it waits, and for whoever waits in the loop."""
        with self.changed:
            self._in_flight.set(self.hands.in_flight)
            self.changed.notify_all()
        self.rouse()


class Polling:
    """See the module. Everything but start and join is the thread's own."""

    def __init__(
        self,
        kafka: KafkaSettings,
        shared: Shared,
        *,
        group: str,
        topics: Sequence[str],
        instance_id: str,
        session_timeout_ms: int,
        drain_s_max: float,
        ahead_is_shared: bool,
        skips: bool,
        gathers: bool,
    ) -> None:
        """As of an Intake. ahead_is_shared: by its partitions, of which each is paused once enough of it waits."""
        self._kafka = kafka
        self._shared, self._hands, self._changed = shared, shared.hands, shared.changed
        self._group = group
        self._stage = group.removeprefix("aios.")
        self._process = failpoints.process_of(group)
        self._topics = list(topics)
        self._overtaken = Overtaken(group, skips=skips)
        self._instance_id = instance_id
        self._session_timeout_ms = session_timeout_ms
        self._drain_s_max = drain_s_max
        self._batch_max, self._ahead_max = (
            (BATCH_SHARED_MAX, AHEAD_SHARED_MAX) if ahead_is_shared else (BATCH_MAX, AHEAD_MAX)
        )
        self._gathers = gathers
        self._holding = False
        self._full_since = 0.0
        self._lag_at = 0.0
        self._said: dict[int, float] = {}
        self._commits = Commits(self._hands, self._changed, process=failpoints.process_of(group), trouble=self._heard)
        self._strategy = RANGE if len(self._topics) > 1 and not ahead_is_shared else STICKY
        # Others than static members are given all at each join; RANGE gives away none before it has an owner.
        owned_later = bool(instance_id) and self._strategy == STICKY
        self._orphans: Orphans | None = Orphans(kafka, group, topics) if owned_later else None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Join the group."""
        consumer = Consumer(self._config(), logger=log)
        self._join(consumer)
        self._thread = threading.Thread(target=self._serve, args=(consumer,), name=self._group, daemon=True)
        self._thread.start()

    def join(self, s_max: float) -> bool:
        """Wait until the thread has left the group; whether it has. True where it never started."""
        if self._thread is None:
            return True
        self._thread.join(s_max)
        return not self._thread.is_alive()

    def _serve(self, consumer: Consumer) -> None:
        try:
            while not self._shared.leaving:
                self._obey(consumer)
                self._read(consumer)
                now = time.monotonic()
                self._commits.step(consumer, now)
                if now >= self._lag_at:
                    self._measure(consumer, now)
                if self._orphans is not None and self._shared.joined:
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
            self._holding = self._shared.stopping or self._is_full(now)
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
            consumer.pause([place_of(lane) for lane in hold])
            self._mark(hold, paused=True)
        for lane, offset in again:
            self._seek(consumer, lane, offset)
        if go_on:
            consumer.resume([place_of(lane) for lane in go_on])
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
        self._shared.rouse()

    def _arrived(self, consumer: Consumer, record: Record, lane: Lane) -> None:
        self._look_behind(consumer, lane, record.offset)
        position = lane.tracker.position or 0
        lane.reads_at = record.offset + 1
        if not self._hands.arrive(record, lane, later=self._shared.stopping):
            self._overtaken.fell(lane.topic, lane.partition, position, record.offset)

    def _look_behind(self, consumer: Consumer, lane: Lane, came: int) -> None:
        """Offsets that are left out are markers, or what compaction took; but not those below the log's start."""
        if lane.reads_at is None or came <= lane.reads_at:
            return
        start, _ = consumer.get_watermark_offsets(place_of(lane), cached=True)
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

    def _assigned(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        known = self._positions(consumer, places)
        with self._changed:
            self._hands.assign(_names(places))
            for place in known:
                for lane in self._hands.of([(place.topic, place.partition)]):
                    lane.reads_at = place.offset
                    lane.tracker.resume(place.offset)
            self._shared.joined = True
        self._shared.rouse()

    def _positions(self, consumer: Consumer, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Up to where the group has read them, of those of which it has committed something."""
        while places and not self._shared.leaving:
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
                lambda: self._shared.leaving or not any(lane.in_flight for lane in lanes), timeout=self._drain_s_max
            )
            self._hands.let_go(lanes)
        self._commits.now(consumer, lanes)
        self._part(lanes)

    def _lost(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - librdkafka's
        """Called by poll when they are somebody else's already."""
        log.warning("%s lost %d partitions: it was away for too long", self._group, len(places))
        self._part(self._hands.of(_names(places)))

    def _part(self, lanes: Sequence[Lane]) -> None:
        with self._changed:
            self._hands.part(lanes)
            for lane in lanes:
                self._shared.lags.pop((lane.topic, lane.partition), None)
        for lane in lanes:
            for gauge in (metrics.LAG, metrics.PAUSED):
                with contextlib.suppress(KeyError):  # never set
                    gauge.remove(self._stage, lane.topic, lane.partition)
        self._shared.tell()

    def _measure(self, consumer: Consumer, now: float) -> None:
        self._lag_at = now + LAG_S
        lags: dict[tuple[str, int], int] = {}
        for lane in self._hands.lanes.values():
            position, (_, high) = lane.tracker.position, consumer.get_watermark_offsets(place_of(lane), cached=True)
            if position is not None and high >= 0:
                lags[lane.topic, lane.partition] = lag = max(0, high - position - lane.tracker.ended_behind)
                metrics.LAG.labels(self._stage, lane.topic, lane.partition).set(lag)
        with self._changed:
            self._shared.lags = lags

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
            self._shared.error = self._shared.error or error
            self._shared.stopping = self._shared.leaving = True
            self._hands.forget(self._hands.lanes.values())
            self._hands.let_go(self._hands.lanes.values())
        self._shared.rouse()

    def _leave(self, consumer: Consumer) -> None:
        """Commit what has finished, and go. A fenced member has nothing to commit any more."""
        try:
            if self._shared.error is None:
                self._commits.now(consumer, list(self._hands.lanes.values()))
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
                "partition.assignment.strategy": self._strategy,
                "session.timeout.ms": self._session_timeout_ms,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "max.poll.interval.ms": POLL_INTERVAL_MS,
                "socket.timeout.ms": 10_000,
                "reconnect.backoff.max.ms": 1_000,
                "queued.min.messages": self._ahead_max,  # a pause throws away what was fetched
                "queued.max.messages.kbytes": 16 << 10,
                "fetch.queue.backoff.ms": 20,
                **(GATHERING if self._gathers else {}),
                "on_commit": self._commits.answered,
                "error_cb": self._heard,
                "log_level": 2,  # the rest is said by _heard, once in a while
            },
        )


def _names(places: Iterable[TopicPartition]) -> list[tuple[str, int]]:
    return [(place.topic, place.partition) for place in places]
