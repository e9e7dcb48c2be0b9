"""Delivery: records out of this process, each acknowledged by the broker before anybody is told so.

Enters: Outgoing, from any number of asyncio tasks (and loops). Leaves: Place. Guaranteed: a record is acknowledged by
all in-sync replicas, or its delivery raises within deliver_s_max and a moment; in order and once per partition while
one producer lives (idempotence); placed by murmur2. After Unavailable a record may still have been written: outcomes
are unknown then, and every reader bears repeats. Waiting records are bounded in number and bytes: a full queue makes
deliver() wait, then refuse.

One idempotent producer, served by one thread; a round of acknowledgements wakes each event loop once, so that
thousands of deliveries a second cost an event loop little. A producer that failed for good, or owes an answer for too
long, is purged and replaced.
Rejected: a transaction a record (only fences, at many times the cost), confluent-kafka's own asyncio producer (a
thread hop for each record), a timer for each delivery.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from aios.streams import failpoints, metrics, topology
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import AiosError, ConfigError, Reason, SchemaMismatch, StateBroken, Unavailable
from aios.streams.record import Outgoing
from aios.streams.topics import DEAD_LETTER_BYTES_MAX

LINGER_MS = 2  # a few records wait for each other; the price is this much latency a hop
QUEUE_RECORDS_MAX = 100_000
QUEUE_KIB_MAX = 64 << 10
ROOM_S = 0.01  # between two tries when the queue is full
POLL_S = 0.2
SAY_S = 30.0  # between two log lines about the same trouble
GRACE_S = 2.0  # beyond deliver_s_max, until a producer that owes an answer is replaced
BATCH_BYTES = 61 + 32  # around one record, at most
BROKER_BYTES_MAX = DEAD_LETTER_BYTES_MAX + (32 << 10)
_NO_PLACE = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
_FORBIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the broker put a record. timestamp_ms: Unix ms."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class _Ticket:
    """One call of deliver_all: what it still waits for. Touched by the loop until produced, then by one thread."""

    __slots__ = ("deadline", "error", "future", "left", "loop", "places")

    def __init__(self, records: int, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self.places: list[Place | None] = [None] * records
        self.left = records
        self.error: AiosError | None = None
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()
        self.deadline = deadline


class Delivery:
    """See the module. Needs close()."""

    def __init__(self, kafka: KafkaSettings, *, client_id: str, deliver_s_max: float = 10.0) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._process = failpoints.process_of(client_id)
        self._deliver_s_max = deliver_s_max
        self._bytes_max = {name: topic.bytes_max for name, topic in topology.all_topics().items()}
        self._said: dict[int, float] = {}  # by error code, when to say it again
        self._lock = threading.Lock()  # over _producer: nothing is produced to one that was given up
        self._producer = self._new()
        self._broken = ""  # why the producer must be replaced
        self._waiting: deque[_Ticket] = deque()  # by deadline
        self._done: deque[_Ticket] = deque()
        self._delivered = metrics.DELIVERED.labels(client_id)
        self._undelivered = metrics.UNDELIVERED.labels(client_id)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"deliver {client_id}", daemon=True)
        self._thread.start()

    async def deliver(self, out: Outgoing) -> Place:
        """Return when the broker has it. Raises as deliver_all does."""
        return (await self.deliver_all((out,)))[0]

    async def deliver_all(self, outs: Iterable[Outgoing]) -> list[Place]:
        """Return when the broker has all of them; places in the order given.

        Raises SchemaMismatch (OVERSIZE, nothing was written), Unavailable (some may have been), StateBroken for
        a topic or partition that does not exist, ConfigError for one we may not write.
        """
        records = list(outs)
        for out in records:
            self._check(out)
        if not records:
            return []
        loop = asyncio.get_running_loop()
        ticket = _Ticket(len(records), loop, time.monotonic() + self._deliver_s_max)
        await self._produce_all(records, ticket)
        failpoints.hit(f"{self._process}.produced")
        self._waiting.append(ticket)
        await ticket.future
        failpoints.hit(f"{self._process}.delivered")
        return [place for place in ticket.places if place is not None]

    def close(self) -> None:
        """Wait for what is under way, deliver_s_max at most; what remains then is undelivered."""
        self._closing.set()
        self._thread.join()
        self._producer.flush(self._deliver_s_max)
        self._give_up(self._producer, self._waiting)
        self._settle()

    def _check(self, out: Outgoing) -> None:
        """Raises SchemaMismatch."""
        size = len(out.key or b"") + len(out.value or b"") + BATCH_BYTES
        size += sum(_counted(len(name)) + _counted(len(value or b"")) for name, value in out.headers)
        bound = self._bytes_max.get(out.topic, DEAD_LETTER_BYTES_MAX)
        if size > bound:
            raise SchemaMismatch(f"a record of {size} bytes is over the {bound} of {out.topic}", Reason.OVERSIZE)

    async def _produce_all(self, records: Sequence[Outgoing], ticket: _Ticket) -> None:
        """Hand them to librdkafka; wait while its queue is full, up to the ticket's deadline."""
        at = 0
        while at < len(records):
            if self._closing.is_set():
                raise Unavailable("this process is closing its connection to Kafka")
            at = self._produce(records, at, ticket)
            if at < len(records):
                if time.monotonic() > ticket.deadline:
                    raise Unavailable(f"Kafka takes nothing: {QUEUE_RECORDS_MAX} records or {QUEUE_KIB_MAX} KiB wait")
                await asyncio.sleep(ROOM_S)

    def _produce(self, records: Sequence[Outgoing], first: int, ticket: _Ticket) -> int:
        """As many as there is room for; returns the first that was not taken."""
        with self._lock:
            produce = self._producer.produce
            for at in range(first, len(records)):
                out = records[at]
                try:
                    produce(
                        out.topic,
                        value=out.value,
                        key=out.key,
                        partition=-1 if out.partition is None else out.partition,
                        headers=list(out.headers),
                        on_delivery=partial(self._report, ticket, at),
                    )
                except BufferError:
                    return at
                except KafkaException as error:
                    raise self._error(error.args[0]) from error
        return len(records)

    def _report(self, ticket: _Ticket, at: int, error: KafkaError | None, message: Message) -> None:
        """Called by librdkafka's poll, in the serving thread."""
        if error is None:
            self._delivered.inc()
            ticket.places[at] = Place(message.topic(), message.partition(), message.offset(), message.timestamp()[1])
        else:
            self._undelivered.inc()
            ticket.error = ticket.error or self._error(error)
        ticket.left -= 1
        if not ticket.left:
            self._done.append(ticket)

    def _error(self, error: KafkaError) -> AiosError:
        code = error.code()
        if code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE):
            return SchemaMismatch(f"Kafka refuses the record: {error.str()}", Reason.OVERSIZE)
        if code == KafkaError.INVALID_RECORD:
            return SchemaMismatch(f"Kafka refuses the record: {error.str()}", Reason.CONTRACT_BROKEN)
        if code in _NO_PLACE:
            return StateBroken(f"the topic or partition does not exist: {error.str()}; `aios up` creates every topic")
        if code in _FORBIDDEN:
            return ConfigError(f"Kafka does not let {self._client_id} write: {error.str()}")
        if error.fatal() or code == KafkaError._FATAL:
            self._broken = error.str()
        return Unavailable(f"Kafka did not acknowledge the record: {error.str()}")

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(POLL_S)
            self._settle()
            self._watch()
            if self._broken:
                self._replace(self._broken)

    def _settle(self) -> None:
        """Tell each loop, once, what has ended since the last time."""
        ended: dict[asyncio.AbstractEventLoop, list[_Ticket]] = {}
        while self._done:
            ticket = self._done.popleft()
            ended.setdefault(ticket.loop, []).append(ticket)
        for loop, tickets in ended.items():
            _in_loop(loop, partial(_resolve, tickets))

    def _watch(self) -> None:
        """A ticket long over its deadline means that librdkafka owes an answer: give that producer up."""
        while self._waiting and self._waiting[0].left <= 0:
            self._waiting.popleft()
        if self._waiting and time.monotonic() > self._waiting[0].deadline + GRACE_S:
            self._broken = self._broken or "it owes an answer for too long"

    def _replace(self, why: str) -> None:
        log.warning("the producer of %s is replaced: %s", self._client_id, why)
        try:
            new = self._new()
        except (AiosError, KafkaException) as error:  # a secret that is just being changed: this thread must live
            log.warning("%s keeps the producer it has: %s", self._client_id, error)
            new = self._producer
        with self._lock:
            old, self._producer = self._producer, new
            waiting, self._waiting = self._waiting, deque()
            self._broken = ""
        self._give_up(old, waiting)
        self._settle()

    def _give_up(self, producer: Producer, waiting: Iterable[_Ticket]) -> None:
        """Undelivered is everything that it did not report by now; nothing may wait for it."""
        producer.purge()
        producer.flush(GRACE_S)
        for ticket in waiting:
            if ticket.left > 0:
                ticket.left = 0
                ticket.error = Unavailable("Kafka did not say what became of the record")
                self._done.append(ticket)

    def _new(self) -> Producer:
        deliver_ms = int(self._deliver_s_max * 1000)
        return Producer(
            client(
                self._kafka,
                **{
                    "client.id": self._client_id,
                    "partitioner": "murmur2_random",
                    "acks": "all",
                    "enable.idempotence": True,
                    "linger.ms": LINGER_MS,
                    "delivery.timeout.ms": deliver_ms,
                    "request.timeout.ms": deliver_ms,
                    "socket.timeout.ms": max(1_000, deliver_ms),
                    "topic.metadata.propagation.max.ms": deliver_ms // 2,  # unknown for longer: it does not exist
                    "reconnect.backoff.max.ms": 1000,
                    "queue.buffering.max.messages": QUEUE_RECORDS_MAX,
                    "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
                    "message.max.bytes": BROKER_BYTES_MAX,
                    "error_cb": self._heard,
                    "log_level": 2,  # the rest is said by _heard, once in a while
                },
            ),
            logger=log,
        )

    def _heard(self, error: KafkaError) -> None:
        """What librdkafka says beside deliveries. It reconnects by itself; what is fatal to a producer replaces it."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._broken = error.str()
        elif time.monotonic() >= self._said.get(error.code(), 0.0):
            self._said[error.code()] = time.monotonic() + SAY_S
            log.warning("%s: %s", self._client_id, error.str())


def _counted(size: int) -> int:
    """With its length before it, as Kafka writes it: thousands of small headers must not look like a large record."""
    return size + (1 if size < 64 else 2 if size < 8192 else 4)


def _resolve(tickets: Sequence[_Ticket]) -> None:
    for ticket in tickets:
        if ticket.future.done():  # its caller was cancelled
            continue
        if ticket.error is not None:
            ticket.future.set_exception(ticket.error)
        else:
            ticket.future.set_result(None)


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # the loop has ended, and with it whoever waited
        log.debug("a loop ended before its deliveries")
