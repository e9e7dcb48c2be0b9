"""What this and former owners of a partition were about to do: connector.intended.v1, read where it is needed.

Enters: a partition, and from when. Leaves: the intents of a command, in the order of the log. Guaranteed: known()
returns when everything is known that stood in the partition from then on until now, or says that it is not; reached()
when everything up to an offset is. The log's order decides who was first, so two owners of one partition, of whom one
does not know yet that it is one no longer, agree on it.

A command's intents stand in the partition of the same number (one key, one family), so a partition is read from a
little before its command was asked, once, and followed from then on. KEPT_MAX commands are remembered of a partition;
asked about older ones, it is read again from there.
Rejected: a table with all intents of 30 days (nobody asks about those whose deadline has passed), a read for each
command (a poll's latency each), the store of a stateful stage (nothing else is to be remembered).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from aios.schemas.codec import Codec
from aios.schemas.errors import ContractError
from aios.schemas.models import ConnectorIntended
from aios.streams.admin import reader, watermarks
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.topics import CONNECTOR_INTENDED

BEFORE_MS = 60_000  # read from that much before a command was asked: clocks of brokers differ
KEPT_MAX = 20_000  # commands of one partition
POLL_S = 0.05
BATCH_MAX = 500
IDLE_S = 0.5  # while no partition is followed
ASK_S_MAX = 10.0
AGAIN_S = 0.5

log = logging.getLogger(__name__)


Mark = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Intent:
    """at_ms: the broker's time, Unix ms. mark: what its writer knows it by again, acknowledged or not.

    seen_s: when this process read it, monotonic.
    """

    offset: int
    at_ms: int
    mark: Mark
    seen_s: float = 0.0


@dataclass(slots=True)
class _Followed:
    """since_ms: everything from then on is known. next: everything below is read."""

    since_ms: int
    next: int = 0
    of: OrderedDict[str, tuple[Intent, ...]] = field(default_factory=OrderedDict)


@dataclass(slots=True)
class _Wish:
    """A partition that is to be read up to `until`; None: to its end as it is now. since_ms: from then on; -1: any."""

    partition: int
    since_ms: int
    until: int | None
    loop: asyncio.AbstractEventLoop
    heard: asyncio.Future[None]


class Intents:
    """See the module. Of one process, for all its systems; one reader thread. Needs start() and close()."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._kafka = kafka
        self._codec = codec
        self._lock = threading.Lock()  # over _followed
        self._followed: dict[int, _Followed] = {}
        self._wishes: queue.SimpleQueue[_Wish] = queue.SimpleQueue()
        self._waiting: list[_Wish] = []  # of the reader thread alone
        self._unread: deque[Message] = deque()  # too; consumed already, kept while the registry is away
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=CONNECTOR_INTENDED.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    async def known(self, partition: int, asked_ms: int) -> bool:
        """Whether the intents of a command that was asked then are known; False: more than KEPT_MAX came behind it."""
        since_ms = max(0, asked_ms - BEFORE_MS)
        if not self._is_known(partition, since_ms):
            await self._wish(partition, since_ms, None)
        return self._is_known(partition, since_ms)

    def _is_known(self, partition: int, since_ms: int) -> bool:
        with self._lock:
            followed = self._followed.get(partition)
            return followed is not None and followed.since_ms <= since_ms

    async def reached(self, partition: int, offset: int) -> bool:
        """True when everything up to this offset is read; of a partition that was asked for by known()."""
        with self._lock:
            followed = self._followed.get(partition)
            if followed is not None and followed.next > offset:
                return True
        await self._wish(partition, -1, offset + 1)
        return True

    def of(self, partition: int, request_id: str) -> Sequence[Intent]:
        """Those that are known, the first first."""
        with self._lock:
            followed = self._followed.get(partition)
            return () if followed is None else followed.of.get(request_id, ())

    def age_ms(self, intent: Intent) -> int:
        """How old it is at least: since it was read, for a broker's clock may leap, and whose try it is goes on."""
        return int((time.monotonic() - intent.seen_s) * 1000)

    async def _wish(self, partition: int, since_ms: int, until: int | None) -> None:
        loop = asyncio.get_running_loop()
        wish = _Wish(partition, since_ms, until, loop, loop.create_future())
        self._wishes.put(wish)
        await wish.heard

    # The reader thread

    def _serve(self) -> None:
        consumer, asking = reader(self._kafka, **{"fetch.wait.max.ms": 50}), reader(self._kafka)
        try:
            while not self._stop.is_set():
                try:
                    self._obey(consumer, asking)
                    self._read(consumer)
                except (KafkaException, Unavailable) as error:
                    log.warning("intents cannot be read at this moment: %s", error)
                    asking.close()  # what it was told while brokers came back it would believe for ever: dlq/places.py
                    asking = reader(self._kafka)
                    self._stop.wait(AGAIN_S)
        finally:
            consumer.close()
            asking.close()

    def _obey(self, consumer: Consumer, asking: Consumer) -> None:
        while True:
            try:
                wish = self._wishes.get(timeout=0 if self._followed or self._waiting else IDLE_S)
            except queue.Empty:
                break
            self._waiting.append(wish)
        for wish in self._waiting:
            if wish.until is None:
                self._follow(consumer, asking, wish)
        self._grant()

    def _follow(self, consumer: Consumer, asking: Consumer, wish: _Wish) -> None:
        """Read its partition from where it is wished, and say how far that is. Raises KafkaException, Unavailable."""
        place = TopicPartition(CONNECTOR_INTENDED.name, wish.partition)
        _, high = watermarks(asking, place, ASK_S_MAX)
        followed = self._followed.get(wish.partition)
        if followed is None or followed.since_ms > wish.since_ms:
            (at,) = asking.offsets_for_times(
                [TopicPartition(place.topic, place.partition, wish.since_ms)], timeout=ASK_S_MAX
            )
            start = high if at.offset in (-1, OFFSET_END) else at.offset
            if followed is not None:
                consumer.incremental_unassign([place])
                self._unread = deque(one for one in self._unread if one.partition() != place.partition)
            consumer.incremental_assign([TopicPartition(place.topic, place.partition, start)])
            with self._lock:
                self._followed[wish.partition] = _Followed(wish.since_ms, start)
        wish.until = high

    def _read(self, consumer: Consumer) -> None:
        if not self._followed:
            return
        if not self._unread:
            first = consumer.poll(POLL_S)
            if first is None:
                return
            self._unread.append(first)
            self._unread.extend(consumer.consume(BATCH_MAX, 0))
        with self._lock:
            while self._unread:
                self._take(self._unread[0])
                self._unread.popleft()
        self._grant()

    def _take(self, message: Message) -> None:
        """Raises Unavailable where the registry must be asked and is away: then nothing is taken of it."""
        followed = self._followed.get(message.partition())
        if followed is None:
            return
        error = message.error()
        if error is None:
            self._put(followed, message)
            followed.next = message.offset() + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            followed.next = max(followed.next, message.offset())

    def _put(self, followed: _Followed, message: Message) -> None:
        try:
            intended = self._codec.decode(message.value(), ConnectorIntended)
        except ContractError as error:
            log.warning("skipped %s at offset %d: %s", message.topic(), message.offset(), error)
            return
        intent = Intent(message.offset(), message.timestamp()[1], mark_of(intended), time.monotonic())
        followed.of[intended.request_id] = (*followed.of.pop(intended.request_id, ()), intent)
        if len(followed.of) > KEPT_MAX:
            _, (forgotten, *_) = followed.of.popitem(last=False)
            followed.since_ms = max(followed.since_ms, forgotten.at_ms + 1)

    def _grant(self) -> None:
        left: list[_Wish] = []
        for wish in self._waiting:
            followed = self._followed.get(wish.partition)
            if wish.heard.cancelled():
                continue
            if wish.until is not None and followed is not None and followed.next >= wish.until:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                    wish.loop.call_soon_threadsafe(_heard, wish.heard)
            else:
                left.append(wish)
        self._waiting = left


def _heard(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def mark_of(intended: ConnectorIntended) -> Mark:
    """Two writers never have the same: they would have to try as often, in the same millisecond."""
    return intended.tried, intended.intended_at
