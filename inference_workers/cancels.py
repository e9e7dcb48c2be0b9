"""Requests that nobody waits for any more: the tail of a pool's cancelled topic, and what it ends here.

Enters: inference.cancelled.v1 of one pool, which every worker of it reads whole. Leaves: for a request whether it was
cancelled, and a word to whoever works on it at this moment. Guaranteed: of what was cancelled before start() returned,
the last REMEMBERED_MAX are known, and no more are read, however long the pool was away; later ones are seen within
POLL_S, and the latest REMEMBERED_MAX remembered. A cancellation that is lost or comes too late costs an answer that
nobody reads, so nothing waits for it, and what nobody can decode is skipped.
Rejected: a consumer group (each worker needs all of it: the request may be in any worker's hands), asking plan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aios.schemas.codec import Codec
from aios.schemas.errors import ContractError
from aios.schemas.models import InferenceCancelled
from aios.streams.admin import reader
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.topics import Topic

CANCELLED = "cancelled"  # how the reason of an answer begins that nobody waits for
REMEMBERED_MAX = 100_000
STANDSTILL_S_MAX = 10.0  # at start, without one more of them read
POLL_S = 0.2
AGAIN_S = 1.0
END_OF = -2000  # librdkafka's logical offset `so many before the end` is this minus the number (RD_KAFKA_OFFSET_TAIL)

log = logging.getLogger(__name__)


class Cancelled(Protocol):
    """What a pool asks."""

    def reason(self, request_id: str) -> str: ...

    def working(self, request_id: str, abort: Callable[[], object]) -> contextlib.AbstractContextManager[None]: ...


class Cancels:
    """What was cancelled, and who works on what. Of one event loop; heard() from any thread."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self._working: dict[str, Callable[[], object]] = {}
        self._loop = asyncio.get_running_loop()

    def reason(self, request_id: str) -> str:
        """Why nobody waits for it; empty: somebody does."""
        return self._reasons.get(request_id, "")

    @contextlib.contextmanager
    def working(self, request_id: str, abort: Callable[[], object]) -> Iterator[None]:
        """abort: called in the loop, at most once, if it is cancelled meanwhile or has been."""
        if request_id in self._reasons:
            abort()
        else:
            self._working[request_id] = abort
        try:
            yield
        finally:
            if self._working.get(request_id) is abort:  # it may have come again, and be worked on anew
                del self._working[request_id]

    def heard(self, event: InferenceCancelled) -> None:
        """It was cancelled."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._cancel, event.request_id, event.reason)

    def _cancel(self, request_id: str, reason: str) -> None:
        self._reasons[request_id] = reason
        if len(self._reasons) > REMEMBERED_MAX:
            self._reasons.popitem(last=False)
        abort = self._working.pop(request_id, None)
        if abort is not None:
            abort()


class Tail:
    """The topic's reader, in a thread of its own."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, topic: Topic, cancels: Cancels) -> None:
        self._kafka = kafka
        self._codec = codec
        self._topic = topic.name
        self._cancels = cancels
        self._stop = threading.Event()
        self._known = threading.Event()
        self._read_count = 0
        self._thread = threading.Thread(target=self._follow, name=self._topic, daemon=True)

    def start(self) -> None:
        """Returns when what was there is known. Raises Unavailable."""
        self._thread.start()
        before = -1
        while not self._known.wait(STANDSTILL_S_MAX):
            if self._read_count == before:
                raise Unavailable(f"nothing of {self._topic} could be read for {STANDSTILL_S_MAX:.0f} s")
            before = self._read_count

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        consumer = reader(self._kafka, **{"auto.offset.reset": "earliest"})  # there are fewer, or old ones are gone
        try:
            consumer.assign([TopicPartition(self._topic, 0, END_OF - REMEMBERED_MAX)])
            while not self._stop.is_set():
                self._read(consumer)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> None:
        try:
            message = consumer.poll(POLL_S)
        except KafkaException as error:
            log.warning("%s cannot be followed at this moment: %s", self._topic, error.args[0])
            self._stop.wait(AGAIN_S)
            return
        if message is None:
            return
        if message.error() is not None:  # librdkafka reconnects by itself
            if message.error().code() == KafkaError._PARTITION_EOF:
                self._known.set()
            return
        self._read_count += 1
        while not self._stop.is_set():
            try:
                self._cancels.heard(self._codec.decode(message.value(), InferenceCancelled))
            except Unavailable as error:
                log.warning("%s is not up to date: %s", self._topic, error)
                self._stop.wait(AGAIN_S)
                continue
            except ContractError as error:
                log.warning("skipped %s at offset %d: %s", self._topic, message.offset(), error)
            except Exception as error:  # noqa: BLE001 - a tail that stops following aborts nothing any more
                log.error("skipped %s at offset %d: %s", self._topic, message.offset(), type(error).__name__)  # noqa: TRY400 - the text may hold payload
            return


class Nobody:
    """Where nothing is ever cancelled."""

    def reason(self, request_id: str) -> str:  # noqa: ARG002 - Cancelled's
        return ""

    def working(self, request_id: str, abort: Callable[[], object]) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - Cancelled's
        return contextlib.nullcontext()
