"""Reference tables: a small compacted topic, read whole and followed, so that everybody asks it in memory.

Enters: a topic of one contract keyed by a name (tenants, principals, breakers). Leaves: the latest record of each name.
Guaranteed: start() returns when everything that was there is known; later changes are seen within POLL_S; a change is
seen whole, before or after. Nothing ends the reader: a record that nobody can read, one whose key is not its name and
one that a listener fails at are skipped and said so in the log, never believed; a registry that is away is asked again
until it answers, and the table stays as it was.
Rejected: a consumer group (each process needs all of it, and nothing is to be committed), Faust tables (no lookup by
anything but the key, and a rebalance would empty them).

Use: own a table, give it `changed` where another index is kept, and ask get() and all() from any thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import ContractError
from aios.schemas.models import AuditRecorded, Event
from aios.streams import carrying
from aios.streams.admin import reader, watermarks
from aios.streams.config import KafkaSettings, client
from aios.streams.delivery import BROKER_BYTES_MAX
from aios.streams.errors import AiosError, Reason, SchemaMismatch, Unavailable
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, Topic
from aios.streams.wall_clock import wall_ms

START_S_MAX = 30.0
DELIVER_S_MAX = 10.0
POLL_S = 0.2
AGAIN_S = 1.0  # before a registry that was away is asked again
CATCH_UP_S_MAX = 5.0
CATCH_UP_AGAIN_S = 0.01
ADMINISTRATOR = "administrator"  # in the audit: whoever reaches Kafka as one; there is no principal for it

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Event)


class Started(Protocol):
    """What reads before it is asked."""

    def start(self) -> None: ...


async def start(*tables: Started) -> None:
    """Start them side by side. Raises what the first of them raises, when none is starting any more."""
    done = await asyncio.gather(*(asyncio.to_thread(table.start) for table in tables), return_exceptions=True)
    for failed in filter(None, done):
        raise failed


class ReferenceTable(Generic[E]):
    """See the module. Not filled until start() or load(); one reader thread, any number of askers.

    name_of: the name in a record; it must be the record's key. changed(name, before, after): called by the reader for
    each record, once get() knows it; None is nothing there, or nothing any more. mine: of a topic that holds other
    records too, the keys of these. kept: which of them are held at all; any other is as good as gone.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        codec: Codec,
        topic: Topic,
        event: type[E],
        *,
        name_of: Callable[[E], str],
        changed: Callable[[str, E | None, E | None], None] = lambda _name, _before, _after: None,
        mine: Callable[[bytes], bool] = lambda _key: True,
        kept: Callable[[E], bool] = lambda _event: True,
    ) -> None:
        self._kafka = kafka
        self._codec = codec
        self._topic = topic.name
        self._event = event
        self._name_of = name_of
        self._changed = changed
        self._mine = mine
        self._kept = kept
        self._by_name: dict[str, E] = {}
        self._read_to: dict[int, int] = {}  # by partition, exclusive
        self._consumer: Consumer | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Read the topic to its end, then follow it in a thread. Raises Unavailable."""
        self.load()
        self._thread = threading.Thread(target=self._follow, args=(self._consumer,), name=self._topic, daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Read the topic to its end, once. Raises Unavailable, also when the topic does not exist."""
        self._consumer = consumer = reader(self._kafka, **{"auto.offset.reset": "earliest"})
        try:
            for message in self._until_end(consumer, self._assign(consumer)):
                self._apply(message)
        except KafkaException as error:
            raise Unavailable(f"{self._topic} cannot be read: {error.args[0]}") from error

    def catch_up(self) -> None:
        """Return when everything that is in the topic now is known. Raises Unavailable.

        For who has heard elsewhere of a record that must be here: without it, or before start(), nothing is certain.
        """
        deadline = time.monotonic() + CATCH_UP_S_MAX
        asking = reader(self._kafka)
        try:
            ends = {
                partition: watermarks(asking, TopicPartition(self._topic, partition), CATCH_UP_S_MAX)[1]
                for partition in asking.list_topics(self._topic, timeout=CATCH_UP_S_MAX).topics[self._topic].partitions
            }
        except KafkaException as error:
            raise Unavailable(f"{self._topic} cannot be looked up: {error.args[0]}") from error
        finally:
            asking.close()
        while any(self._read_to.get(partition, 0) < end for partition, end in ends.items() if end):
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._topic} was not read to its end within {CATCH_UP_S_MAX:.0f} s")
            self._stop.wait(CATCH_UP_AGAIN_S)

    def get(self, name: str) -> E | None:
        """The latest of this name."""
        return self._by_name.get(name)

    def all(self) -> dict[str, E]:
        """Everything by name, as it is at this moment."""
        return self._by_name.copy()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _assign(self, consumer: Consumer) -> dict[int, int]:
        """Assign every partition from its beginning; returns, by partition with records, the end to read to."""
        found = consumer.list_topics(self._topic, timeout=START_S_MAX).topics[self._topic]
        if found.error is not None:
            raise Unavailable(f"{self._topic} does not exist in this Kafka; `aios up` creates every topic")
        ends: dict[int, int] = {}
        for partition in found.partitions:
            low, high = watermarks(consumer, TopicPartition(self._topic, partition), START_S_MAX)
            if low < high:
                ends[partition] = high
        consumer.assign([TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in found.partitions])
        return ends

    def _until_end(self, consumer: Consumer, ends: dict[int, int]) -> Iterator[Message]:
        """Up to the ends as they were; librdkafka says that it is there where the last record was compacted."""
        deadline = time.monotonic() + START_S_MAX
        while ends:
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._topic} could not be read within {START_S_MAX:.0f} s")
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            if message.error() is None:
                yield message
            elif message.error().code() != KafkaError._PARTITION_EOF:
                continue
            self._passed(message)
            if self._read_to[message.partition()] >= ends.get(message.partition(), 0):
                ends.pop(message.partition(), None)

    def _passed(self, message: Message) -> None:
        """A record that is known, or the end of a partition, which stands behind what was compacted."""
        self._read_to[message.partition()] = message.offset() + (1 if message.error() is None else 0)

    def _follow(self, consumer: Consumer) -> None:
        waiting: Message | None = None
        while not self._stop.is_set():
            try:
                message = waiting or consumer.poll(POLL_S)
                waiting = None
                if message is None:
                    continue
                if (said := message.error()) is not None:  # librdkafka reconnects by itself
                    if said.code() == KafkaError._PARTITION_EOF:
                        self._passed(message)
                    continue
                waiting = message
                self._apply(message)
                self._passed(message)
                waiting = None
            except Unavailable as error:
                log.warning("%s is not up to date: %s", self._topic, error)
                self._stop.wait(AGAIN_S)
            except KafkaException as error:
                log.warning("%s cannot be followed at this moment: %s", self._topic, error.args[0])
                self._stop.wait(AGAIN_S)

    def _apply(self, message: Message) -> None:
        """Raises Unavailable; everything else that is wrong with a record is skipped."""
        key = message.key() or b""
        if not self._mine(key):
            return
        try:
            name = key.decode()
            found = None if message.value() is None else self._codec.decode(message.value(), self._event)
            if found is not None and self._name_of(found) != name:
                log.warning("skipped %s at offset %d: its key is not its name", self._topic, message.offset())
                return
            self._put(name, found if found is not None and self._kept(found) else None)
        except Unavailable:
            raise
        except (ContractError, UnicodeDecodeError) as error:
            log.warning("skipped %s at offset %d: %s", self._topic, message.offset(), error)
        except Exception as error:  # noqa: BLE001 - a table that stops following would let in whom it no longer may
            log.error("skipped %s at offset %d: %s", self._topic, message.offset(), type(error).__name__)  # noqa: TRY400 - the text may hold payload

    def _put(self, name: str, after: E | None) -> None:
        before = self._by_name.get(name)
        if after is None:
            self._by_name.pop(name, None)
        else:
            self._by_name[name] = after
        self._changed(name, before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Who changed a reference table, for the audit. by: a principal, a stage, or ADMINISTRATOR."""

    by: str
    transition: str  # e.g. 'model_activated'
    detail: Mapping[str, Any]  # evidence, never secrets


def write(
    kafka: KafkaSettings,
    codec: Codec,
    topic: Topic,
    event: Event,
    *,
    name: str,
    tenant: str,
    seed: str,
    why: Why | None = None,
) -> None:
    """One record of a reference table, acknowledged; with `why`, one of the audit before it.

    seed: what makes the event ids, beside name and time. The audit knows the object as `<topic's key>:<name>`.
    Raises SchemaMismatch for a record that is too large; Unavailable: what was asked for may have happened then, and
    asking again is safe.
    """
    now_ms = wall_ms()
    event_id = ids.derive(topic.name, name, str(now_ms), seed)

    def told(road: Topic, what: Event, what_id: str, key: str) -> Outgoing:
        return carrying.outgoing(
            codec,
            road,
            what,
            key=key,
            event_id=what_id,
            source=f"/aios/{topic.key}s",
            subject=name,
            tenant=tenant,
            time_ms=now_ms,
        )

    outs = [told(topic, event, event_id, name)]
    if why is not None:
        audit = AuditRecorded(
            audit_id=ids.derive("audit", event_id),
            case_id=f"{topic.key}:{name}",
            tenant=tenant,
            workflow="",
            case_seq=0,
            transition=why.transition,
            actor=why.by,
            detail=ids.canonical(why.detail),
            input_topic="",
            input_partition=-1,
            input_offset=-1,
            at=now_ms,
        )
        outs.insert(0, told(AUDIT_RECORDED, audit, audit.audit_id, audit.case_id))
    _deliver(kafka, outs, topic.key)


def _deliver(kafka: KafkaSettings, outs: Sequence[Outgoing], what: str) -> None:
    """One after the other, each acknowledged before the next is sent. Raises SchemaMismatch, Unavailable."""
    failed: list[KafkaError] = []
    producer = Producer(
        client(
            kafka,
            **{
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.max.bytes": BROKER_BYTES_MAX,
                "delivery.timeout.ms": int(DELIVER_S_MAX * 1000),
                "log_level": 0,
            },
        )
    )
    for out in outs:
        try:
            producer.produce(
                out.topic,
                key=out.key,
                value=out.value,
                headers=list(out.headers),
                on_delivery=lambda error, _: failed.append(error) if error is not None else None,
            )
        except BufferError as error:
            raise Unavailable(f"Kafka did not take the {what}: {error}") from error
        except KafkaException as error:
            raise _refused(out, what, error.args[0]) from error
        if producer.flush(DELIVER_S_MAX) or failed:
            raise _refused(out, what, failed[0] if failed else None)


def _refused(out: Outgoing, what: str, error: KafkaError | None) -> AiosError:
    if error is not None and error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE):
        name = out.key.decode(errors="replace") if out.key else ""
        return SchemaMismatch(f"{name} is too large for {out.topic}: {error.str()}", Reason.OVERSIZE)
    return Unavailable(f"Kafka did not take the {what}: {error.str() if error is not None else 'no answer'}")
