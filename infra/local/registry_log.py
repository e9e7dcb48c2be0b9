"""The registry's topic: one compacted partition, one writer.

Enters: records to append, in turns. Leaves: every committed record, applied to the catalogue in order.
Guaranteed:
  - append returns when the records are committed and applied: what is answered is what the topic says, and a
    kill -9 loses none of it;
  - after a write whose outcome is unknown (the broker did not answer in time), the next turn first fences that
    write off and reads to the end of the topic, so that no decision rests on a guess;
  - one writer: the transactional id belongs to the instance that opened the topic last. The older one is refused
    by the broker at its next write and sees the newer one's record within about a second; `left` tells it to leave;
  - a topic that does not keep its records (cleanup.policy other than compact, more than one partition) is refused.
Rejected: a state of the writer's own beside the topic's (it would have to guess after a timeout); plain idempotent
writes (a second instance would give the same id again).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from aios.infra.local.registry_catalogue import Catalogue, Change
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import AiosError, Fenced, StateBroken, Unavailable

log = logging.getLogger(__name__)

TOPIC = "_schemas"
PARTITION = 0
WRITE_S_MAX = 10.0  # one transaction; also how long the broker keeps one open that was left
READ_S_MAX = 10.0  # from committed to applied
OPEN_S_MAX = 30.0  # until the broker answers and the topic is read
POLL_S = 0.5
FETCH_WAIT_MS = (
    250  # an idle registry asks this often; a new record is answered at once, but the end of the topic is not
)
BATCH_MAX = 500

FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})

Message = tuple[bytes | None, bytes | None]


class SchemaLog:
    """open() first; then turns. Everything but the reading thread runs on one event loop."""

    def __init__(self, kafka: KafkaSettings, catalogue: Catalogue, *, topic: str = TOPIC) -> None:
        self._kafka = kafka
        self._topic = topic
        self._catalogue = catalogue
        self._writer = uuid4().hex
        self._producer: Any = None  # None: the outcome of the last write is unknown, or nothing was written yet
        self._owns = False  # our opening record was applied
        self._next = 0  # offset after the last applied record
        self._wanted = 0  # offset that a turn must have seen applied before it decides
        self._arrived: asyncio.Event = asyncio.Event()
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "registry-write")
        self._stop = threading.Event()
        self._reading: threading.Thread | None = None
        self.left: asyncio.Future[AiosError] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Create or check the topic, take it, and read it. Raises Unavailable or StateBroken."""
        await self._call(self._ensure)
        self._reading = threading.Thread(
            target=self._read, args=(asyncio.get_running_loop(),), name="registry-read", daemon=True
        )
        self._reading.start()
        async with self.turn():
            pass

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Within it the catalogue is what the topic says, and nobody else of this process writes.

        Raises Unavailable, or Fenced when another instance has taken the topic.
        """
        async with self._turn:
            if self.left.done():
                raise self.left.result()
            if self._producer is None:
                await self._take()
            await self._applied()
            yield

    async def append(self, changes: Sequence[Change]) -> None:
        """Within a turn only. All of the records or none. Raises Unavailable or Fenced."""
        producer, self._producer = self._producer, None
        last = await self._call(self._write, producer, changes)
        self._producer = producer
        self._want(last + 1)
        await self._applied()

    async def close(self) -> None:
        """Stop reading and writing; a write that is under way is finished first."""
        async with self._turn:
            self._stop.set()
            self._thread.shutdown(wait=True)
            if self._reading is not None:
                await asyncio.to_thread(self._reading.join, POLL_S + READ_S_MAX)

    async def _take(self) -> None:
        """Fence whoever wrote before (ourselves included), read what is there, and say that it is ours."""
        producer = await self._call(self._fence)
        self._want(await self._call(self._end))
        await self._applied()
        if self.left.done():
            raise self.left.result()
        self._producer = producer
        await self.append(self._catalogue.opening(self._writer))
        self._owns = True

    def _want(self, following: int) -> None:
        """The offset up to which the topic must be applied. Raises StateBroken when it was longer before."""
        if following < self._next:
            self._leave(StateBroken(f"{self._topic} was deleted and made anew: what it held is lost"))
            raise self.left.result()
        self._wanted = following

    async def _applied(self) -> None:
        deadline = time.monotonic() + READ_S_MAX
        while self._next < self._wanted:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), deadline - time.monotonic())
            except TimeoutError as error:
                raise Unavailable(f"{self._topic} cannot be read to its end") from error

    def _absorb(self, messages: Sequence[Message], following: int) -> None:
        """Called on the loop for each batch. following: the offset after it."""
        for key, value in messages:
            self._catalogue.apply(key, value)
            if self._owns and self._catalogue.writer not in ("", self._writer):
                self._leave(Fenced(f"another registry has taken {self._topic}"))
        self._next = max(self._next, following)
        self._arrived.set()

    def _leave(self, error: AiosError) -> None:
        if not self.left.done():
            self.left.set_result(error)

    async def _call(self, work: Any, *arguments: Any) -> Any:
        """Run on the writing thread; librdkafka's errors become ours."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except KafkaException as error:
            if error.args[0].code() in FENCED:
                fenced = Fenced(f"another registry has taken {self._topic}")
                self._leave(fenced)
                raise fenced from error
            raise Unavailable(f"Kafka at {self._kafka.bootstrap_servers}: {error.args[0].str()}") from error

    # ── on the writing thread ──

    def _ensure(self) -> None:
        admin = AdminClient(client(self._kafka, log_level=0))
        found = admin.list_topics(timeout=OPEN_S_MAX).topics
        if self._topic not in found:
            fresh = NewTopic(self._topic, 1, self._kafka.replication_factor, config={"cleanup.policy": "compact"})
            admin.create_topics([fresh], operation_timeout=OPEN_S_MAX)[self._topic].result(OPEN_S_MAX)
            return
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        policy = admin.describe_configs([resource])[resource].result(OPEN_S_MAX)["cleanup.policy"].value
        if policy != "compact":
            raise StateBroken(
                f"{self._topic} has cleanup.policy={policy}, which loses schemas: set it to compact "
                f"(kafka-configs --alter --topic {self._topic} --add-config cleanup.policy=compact)"
            )
        if len(found[self._topic].partitions) != 1:
            raise StateBroken(f"{self._topic} has {len(found[self._topic].partitions)} partitions; it must have one")

    def _fence(self) -> Any:
        producer = Producer(
            client(
                self._kafka,
                **{
                    "transactional.id": f"aios.registry.{self._topic}",
                    "transaction.timeout.ms": int(WRITE_S_MAX * 1000),
                    "message.timeout.ms": int(WRITE_S_MAX * 1000),
                    "linger.ms": 0,
                    "log_level": 0,
                },
            )
        )
        producer.init_transactions(OPEN_S_MAX)
        return producer

    def _end(self) -> int:
        """Offset after the last record of the topic, whoever wrote it."""
        partition = TopicPartition(self._topic, PARTITION)
        admin = AdminClient(client(self._kafka, log_level=0))
        found = admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return int(found[partition].result(OPEN_S_MAX).offset)

    def _write(self, producer: Any, changes: Sequence[Change]) -> int:
        """One transaction. Returns the offset of its last record."""
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Any) -> None:
            if error is None:
                offsets.append(message.offset())

        producer.begin_transaction()
        for key, value in changes:
            producer.produce(self._topic, value, key, PARTITION, on_delivery=delivered)
        producer.flush(WRITE_S_MAX)
        producer.commit_transaction(WRITE_S_MAX)
        return max(offsets)

    # ── on the reading thread ──

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        consumer = Consumer(
            client(
                self._kafka,
                **{
                    "group.id": "aios.registry",  # asked for by the client; nothing is committed
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,  # tells that transaction markers at the end were passed
                    "fetch.wait.max.ms": FETCH_WAIT_MS,
                    "log_level": 0,
                },
            )
        )
        consumer.assign([TopicPartition(self._topic, PARTITION, 0)])
        try:
            while not self._stop.is_set():
                first = consumer.poll(POLL_S)
                if first is not None:
                    self._hand_over(loop, [first, *consumer.consume(BATCH_MAX, 0)])
        except Exception as error:  # without its reader the registry would answer from the past
            log.exception("reading %s ended", self._topic)
            with contextlib.suppress(RuntimeError):  # the loop has ended before us
                loop.call_soon_threadsafe(self._leave, StateBroken(f"reading {self._topic} ended: {error}"))
        finally:
            consumer.close()

    def _hand_over(self, loop: asyncio.AbstractEventLoop, batch: Sequence[Any]) -> None:
        messages: list[Message] = []
        following = 0
        for message in batch:
            error = message.error()
            if error is None:
                messages.append((message.key(), message.value()))
                following = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                following = max(following, message.offset())
            elif error.fatal() or error.code() in GONE:
                raise StateBroken(f"{error.str()}: was the topic deleted?")
        if following:
            loop.call_soon_threadsafe(self._absorb, messages, following)
