"""The one builder of Faust apps: membership, assignment and lifecycle are Faust's; records and offsets are ours.

Enters: a stage, its core, settings. Leaves: a running member of the stage's group, until asked to stop.
Guaranteed: one Faust event for each fetched partition batch; committed records only are read; Faust commits what
the stores have committed, and nothing else; no agent lets an exception out: what cannot go on leaves the process
with status 70, nothing acknowledged, and the supervisor starts the slot again. A slot that returns within the
session timeout keeps its partitions (static membership).

What is changed in Faust stands in this file, each part with its reason, and tests/unit/test_faust_canary.py names
what it relies on. infra/decisions/0001-what-faust-does-here.md tells the whole story.

Rejected: one event a record (5 × slower), faust.Table, Faust's acks as truth (it can commit past an unfinished
message: faust-streaming/faust#606), `take_events` (it wakes up every few ms for ever), the web server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import faust
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from aios.dlq.breakers import GroupBreakers
from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.processors.stateful.lanes import Lane, Lanes
from aios.processors.stateful.log import KafkaLog
from aios.processors.stateful.state import Core
from aios.processors.stateful.store import Batch, PartitionStore, Services
from aios.schemas.codec import Codec
from aios.streams import failpoints, metrics
from aios.streams.config import Settings
from aios.streams.errors import StateBroken
from aios.streams.kafka import cluster_id
from aios.streams.security import faust_credentials
from aios.streams.topics import Topic
from aios.streams.topology import Stage

LEFT = 70  # exit status: this process cannot go on, its records are untouched, start it again
FETCH_RECORDS_MAX = 24_000  # of one round over all partitions
FETCH_BYTES_MAX = 4 << 20  # of one partition and request
FETCH_WAIT_S_MAX = 0.25  # when there is nothing; a rebalance waits as long
FETCH_WAIT_PART_S_MAX = 0.05  # while some partitions have no room: they may have it soon
SESSION_S = 6.0
HEARTBEAT_S = 1.0
COMMIT_S = 1.0
IDLE_S_MAX = 7 * 86_400.0  # a paused partition is not polled, and stays ours
STOP_S_MAX = 12.0
LAG_EVERY_S = 5.0
MIXED_S_MAX = 30.0  # of a partition that is split between members of two subscriptions

log = logging.getLogger(__name__)
_faust_log = logging.getLogger("faust")  # of our subclasses too; its progress reports are not ours
for _name in ("faust", "mode", "aiokafka"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def leave(error: BaseException) -> None:
    """End the process at once: whatever is in hand is not acknowledged and will be processed by the next owner."""
    log.critical("leaving: %s: %s", type(error).__name__, error)
    logging.shutdown()
    os._exit(LEFT)


def end_now(why: str) -> None:
    """End the process as asked, with whatever waits in it."""
    log.warning("%s: leaving", why)
    logging.shutdown()
    os._exit(0)


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
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """After each assignment: to the committed offsets, and where there are none to the log's beginning.

        aiokafka leaves a partition without committed offset where it is, and something may be read from it already.
        """
        async with self._fetching:
            await super().perform_seek()
            places = {tp: offset for tp, offset in self._read_offset.items() if offset}
            unread = [tp for tp in self.assignment() if tp not in places]
            if unread:
                places |= await self.earliest_offsets(*unread)
                await self.seek_wait({tp: places[tp] for tp in unread})
            self._next = places

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
            fetched = await self._getmany(active_partitions=wanted, timeout=wait_s) or {}
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

    def _end(self, tp: TP, records: Sequence[Any]) -> int:
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


def carriers(stage: Stage) -> Iterable[Topic]:
    """Topics whose schema ids a stage asks the registry for, best before the first record."""
    return (*stage.writes, *((stage.changelog,) if stage.changelog else ()))


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


async def run_stage(
    stage: Stage,
    core: Core,
    codec: Codec,
    settings: Settings,
    *,
    slot: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
    again: asyncio.Event | None = None,
) -> None:
    """One process of a stateful stage, until `stop`. `ready` is called when its first assignment is open.

    again: of a stage whose inputs may grow (growing.py); set, it ends in good order, too, and leaves its group.
    Raises StateBroken or Unavailable before it is a member; afterwards what cannot go on leaves the process.
    """
    cluster = await asyncio.to_thread(cluster_id, settings.kafka)
    breakers = GroupBreakers(settings.kafka, codec, stage)
    await asyncio.to_thread(breakers.start)
    services = Services(
        stage=stage,
        core=core,
        codec=codec,
        log=KafkaLog(settings.kafka, stage, codec),
        deaths=Deaths(settings.home, stage.name),
        settler=Settler(stage, cluster, breakers=breakers),
    )
    lanes = Lanes(stage.name, lambda partition: PartitionStore(services, partition), leave)
    app = build(stage, settings, slot, lanes)
    try:
        await Member(stage, app, lanes, ready, again).run(stop)
    finally:
        await asyncio.to_thread(breakers.close)


class Member:
    """One member of the group, from its start to its stop."""

    def __init__(
        self,
        stage: Stage,
        app: StageApp,
        lanes: Lanes,
        ready: Callable[[], None],
        again: asyncio.Event | None = None,
    ) -> None:
        self._stage = stage
        self._again = again
        self._mixed: asyncio.TimerHandle | None = None
        self._app = app
        self._lanes = lanes
        self._ready: Callable[[], None] | None = ready
        self._opening: set[asyncio.Task[None]] = set()
        names = [topic.name for topic in stage.inputs]
        self._names = frozenset(names)
        inputs = app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(inputs, name=f"{stage.name}.take", concurrency=1)(self._take)
        app.on_partitions_assigned.connect(self._assigned)
        app.on_partitions_revoked.connect(self._revoked)

    async def run(self, stop: asyncio.Event) -> None:
        """Until stop; then at most STOP_S_MAX more, whatever Faust waits for."""
        starting = asyncio.ensure_future(self._app.start())
        asked = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            end_now("asked to stop while Faust still waits for Kafka; nothing is in hand")
        await starting
        watch = asyncio.create_task(self._watch())
        other = asyncio.ensure_future(self._again.wait()) if self._again is not None else asked
        await asyncio.wait({asked, other}, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        late = "Faust did not stop in time; everything in hand is settled, or comes again"
        give_up = partial(end_now, late) if stop.is_set() else partial(leave, StateBroken(late))
        bound = threading.Timer(STOP_S_MAX, give_up)  # a thread: what Faust catches, or blocks, cannot stop it
        bound.daemon = True
        bound.start()
        await self._end(for_good=stop.is_set())
        bound.cancel()
        asked.cancel()
        other.cancel()

    async def _take(self, stream: Any) -> None:
        """The agent. Its acks mean `handed over`; what is committed is the store's position."""
        try:
            async for batch in stream:
                self._lanes.give(batch)
        except Exception as error:  # noqa: BLE001 - nothing may leave an agent: Faust would go on past it
            leave(error)

    async def _assigned(self, _app: Any, assigned: Iterable[TP], **_: Any) -> None:
        try:
            partitions = self._whole(assigned)
            task = asyncio.create_task(self._opened(self._lanes.assigned(partitions)))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        except Exception as error:  # noqa: BLE001 - Faust would log it and go on
            leave(error)

    async def _revoked(self, _app: Any, revoked: Iterable[TP], **_: Any) -> None:
        try:
            await self._lanes.revoked({tp.partition for tp in revoked})
        except Exception as error:  # noqa: BLE001 - Faust would log it and go on
            leave(error)

    def _whole(self, assigned: Iterable[TP]) -> set[int]:
        """Partition numbers, each with all inputs of the stage: they share one store. Raises StateBroken."""
        found: dict[int, set[str]] = {}
        for tp in assigned:
            found.setdefault(tp.partition, set()).add(tp.topic)
        split = {partition: topics for partition, topics in found.items() if topics != self._names}
        if self._mixed is not None:
            self._mixed.cancel()
            self._mixed = None
        if split and self._again is not None:
            log.warning("partitions %s are split with members that read other inputs, and wait", sorted(split))
            self._mixed = asyncio.get_running_loop().call_later(MIXED_S_MAX, self._again.set)
            return found.keys() - split.keys()
        for partition, topics in split.items():
            raise StateBroken(
                f"{self._stage.group} was assigned partition {partition} of {sorted(topics)} only: its inputs "
                "need the same number of partitions"
            )
        return set(found)

    async def _opened(self, lanes: list[Lane]) -> None:
        await asyncio.gather(*(lane.opened.wait() for lane in lanes))
        if self._ready is not None:
            self._ready()
            self._ready = None

    async def _watch(self) -> None:
        """Leave when Faust gives up; meanwhile say how far behind each partition is."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAG_EVERY_S):
                    await self._app._crashed.wait()
            if self._app.crashed:
                leave(self._app.crash_reason or StateBroken("Faust stopped"))
            consumer = self._app.consumer
            for tp in consumer.assignment():
                metrics.LAG.labels(self._stage.name, tp.topic, str(tp.partition)).set(consumer.lag(tp))

    async def _end(self, *, for_good: bool) -> None:
        """Finish the running transactions, commit the positions, leave Faust.

        Not for good: leave the group, too. A static member that came back with another subscription would be given
        what it had before, without a rebalance.
        """
        if self._mixed is not None:
            self._mixed.cancel()
        self._app.consumer.stop_flow()
        await self._lanes.stop()
        await self._app.consumer.commit()
        if not for_good:
            self._app.consumer.leave_group()
        await self._app.stop()
