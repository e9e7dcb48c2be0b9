"""The one builder of Faust apps: membership, assignment and lifecycle are Faust's; records and offsets are ours.

Enters: a stage, settings, the lanes that take its batches. Leaves: an app that is not started (member.py does).
Guaranteed: one Faust event for each fetched partition batch; committed records only are read; Faust commits what
the stores have committed, and nothing else. A slot that returns within the session timeout keeps its partitions
(static membership).

What is changed in Faust stands in this file, and in unpacking.py of its client, each part with its reason, and
tests/unit/test_faust_canary.py names what it relies on. infra/decisions/0001-what-faust-does-here.md tells the whole
story.

Rejected: one event a record (5 × slower), faust.Table, Faust's acks as truth (it can commit past an unfinished
message: faust-streaming/faust#606), `take_events` (it wakes up every few ms for ever), the web server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import faust
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.errors import OffsetOutOfRangeError
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from aios.processors.stateful import unpacking  # noqa: F401 - aiokafka unpacks with it from here on
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.lanes import Lanes
from aios.streams import failpoints
from aios.streams.config import Settings
from aios.streams.errors import StateBroken
from aios.streams.record import Record
from aios.streams.security import faust_credentials
from aios.streams.topology import Stage

FETCH_RECORDS_MAX = 24_000  # of one round over all partitions
FETCH_BYTES_MAX = 4 << 20  # of one partition and request
FETCH_WAIT_S_MAX = 0.25  # when there is nothing; a rebalance waits as long
FETCH_WAIT_PART_S_MAX = 0.05  # while some partitions have no room: they may have it soon
SESSION_S = 6.0
HEARTBEAT_S = 1.0
COMMIT_S = 1.0
IDLE_S_MAX = 7 * 86_400.0  # a paused partition is not polled, and stays ours

log = logging.getLogger(__name__)
_faust_log = logging.getLogger("faust")  # of our subclasses too; its progress reports are not ours
for _name in ("faust", "mode", "aiokafka"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only: Faust does so in its exactly-once mode alone, which we do not use."""

    logger = _faust_log

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        if consumer._isolation_level != "read_uncommitted":
            raise StateBroken("aiokafka keeps its isolation level elsewhere now: see test_faust_canary.py")
        consumer._isolation_level = "read_committed"
        return consumer


class BatchConsumer(driver.Consumer):
    """Faust's consumer with its loop per record replaced by one per partition batch, and its offsets by ours."""

    logger = _faust_log

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._next: dict[TP, int] = {}  # where the client reads on; empty between a revocation and the seek after it
        self._fetching = asyncio.Lock()  # a fetch ends before a seek begins: else it could pass over what it brings

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _lanes(self) -> Lanes:
        return self.app.lanes

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Faust's rebalances are eager: all that was ours is gone until the next assignment."""
        self._next.clear()
        self._reset_to(OffsetResetStrategy.EARLIEST)
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """After each assignment: to the committed offsets, and where there are none to the log's beginning.

        aiokafka leaves a partition without committed offset where it is, and something may be read from it already.
        A committed offset may lag behind the store's position, and what it names be gone: the store says whether that
        matters. What is gone after this seek was not read, and aiokafka is not to go on behind it in silence.
        """
        async with self._fetching:
            await super().perform_seek()
            ours = self.assignment()
            starts = await self.earliest_offsets(*ours) if ours else {}
            places = {tp: max(start, self._read_offset.get(tp) or 0) for tp, start in starts.items()}
            await self.seek_wait({tp: place for tp, place in places.items() if place != self._read_offset.get(tp)})
            self._next = places
            self._reset_to(OffsetResetStrategy.NONE)

    def _reset_to(self, strategy: int) -> None:
        """Where aiokafka goes on when it has no offset, or Kafka has nothing there; NONE: it raises."""
        self._thread._ensure_consumer()._fetcher._default_reset_strategy = strategy

    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's fetch loop.

        A fetch can begin before a rebalance and end after it; what it brings then is given back. Should anything be
        passed over all the same, the store sees the gap and refuses.
        """
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await asyncio.sleep(0)
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                await self._round()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _round(self) -> None:
        generation = self.app.consumer_generation_id
        ours = self._get_active_partitions()
        wanted = {tp for tp in ours if not self._lanes.full(tp.partition)}
        if not wanted:
            await self._wait_for_room()
            return
        wait_s = FETCH_WAIT_S_MAX if len(wanted) == len(ours) else FETCH_WAIT_PART_S_MAX
        async with self._fetching:
            try:
                fetched = await self._getmany(active_partitions=wanted, timeout=wait_s) or {}
            except OffsetOutOfRangeError as error:
                places = {f"{tp.topic}/{tp.partition}": offset for tp, offset in error.args[0].items()}
                raise StateBroken(f"Kafka has nothing at {places}: starting again from the position") from error
            ends = {tp: self._end(tp, fetched.get(tp, ())) for tp in wanted}
        for tp, end in ends.items():
            records, start = fetched.get(tp, ()), self._next.get(tp)
            if start is None or (not records and end <= start):
                continue  # revoked (a seek comes before anything is read again), or nothing came
            first = min(start, records[0].offset) if records else start
            if self.app.consumer_generation_id == generation and self.flow_active:
                self._next[tp] = end
                await self._hand_over(Batch(tp.topic, tp.partition, first, records, end), generation)
            else:
                await self.seek_wait({tp: first})

    def _end(self, tp: TP, records: Sequence[Record]) -> int:
        """Up to where a fetch has read: behind its records, and what else the client passed over.

        That are markers and what was aborted. A position that stays before them would seem to have lost something,
        once retention has taken them.
        """
        state = self._state(tp)
        position = state.position if state is not None and state.has_valid_position else 0
        return max(position, records[-1].offset + 1 if records else 0)

    async def _wait_for_room(self) -> None:
        self._lanes.room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FETCH_WAIT_S_MAX):
                await self._lanes.room.wait()

    async def _hand_over(self, batch: Batch, generation: int) -> None:
        message = ConsumerMessage(
            topic=batch.topic,
            partition=batch.partition,
            offset=batch.end - 1,
            timestamp=0.0,  # of the batch; its records have their own
            timestamp_type=0,
            headers=(),
            key=None,
            value=batch,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=TP(batch.topic, batch.partition),
            generation_id=generation,
        )
        # a rebalance must not wait for a full channel: Faust's own loop gives up the same way
        await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> list[TP]:
        """What may have something to commit: everything that is ours, also what an earlier owner processed."""
        return [tp for tp in self.assignment() if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit: what the store has committed. Faust's own answer can be past an unfinished message."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._lanes.position(tp.topic, tp.partition)

    async def _commit(self, offsets: Any) -> bool:
        committed = await super()._commit(offsets)
        if committed:
            failpoints.hit(f"{self.app.stage_name}.acked")
        return bool(committed)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's watchdog knows acks only, and takes a trailing marker of a transaction for an unread record."""

    def lag(self, tp: TP) -> int:
        """Records the broker has that are not processed; markers of transactions are not counted once passed."""
        state = self._state(tp)
        if state is None or state.highwater is None or not state.has_valid_position:
            return 0
        return max(0, state.highwater - state.position) + self._lanes.held(tp.partition)

    def leave_group(self) -> None:
        """Have the coming stop tell the broker that this member is gone: aiokafka does so for dynamic ones only."""
        self._thread._ensure_consumer()._coordinator._group_instance_id = None

    def _state(self, tp: TP) -> Any:
        """What aiokafka knows of a partition; None if it is not assigned."""
        assignment = self._thread._ensure_consumer()._fetcher._subscriptions.subscription.assignment
        return assignment.state_value(tp) if assignment else None


class NoTables(TableManager):
    """Of an app without faust.Table: Faust's own waits a second for tables that may still be declared."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class BatchTransport(driver.Transport):
    Consumer = BatchConsumer


class StageApp(faust.App):
    """A Faust app whose consumer is ours."""

    logger = _faust_log

    lanes: Lanes
    stage_name: str

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)


def build(stage: Stage, settings: Settings, slot: int, lanes: Lanes) -> StageApp:
    """The app, not started. Every setting that differs from Faust's default has its reason in the decision page."""
    folder = settings.home / "run" / "faust"
    folder.mkdir(parents=True, exist_ok=True)
    app = StageApp(
        stage.group,
        loop=asyncio.get_running_loop(),
        broker=[f"kafka://{address.strip()}" for address in settings.kafka.bootstrap_servers.split(",")],
        broker_credentials=faust_credentials(settings.kafka),
        broker_client_id=f"{stage.group}.{slot}",
        consumer_group_instance_id=f"{stage.group}.{slot}",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        broker_max_poll_records=FETCH_RECORDS_MAX,
        broker_max_poll_interval=IDLE_S_MAX,
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_commit_interval=COMMIT_S,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        autodiscover=False,
        value_serializer="raw",
        key_serializer="raw",
        datadir=folder / f"{stage.name}.{slot}",
        TableManager=NoTables,
    )
    app.lanes, app.stage_name = lanes, stage.name
    return app
