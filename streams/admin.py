"""Topics and single records, for those who are in no consumer group: creating, counting, reading whole.

Enters: the declared topics, the name of a topic, a place. Leaves: topics that exist as declared, records. Guaranteed:
a topic is created with all of its settings or not at all, never automatically; one whose partitions differ from the
declaration is refused, because keys would move, and one that loses other records than declared; a read ends at the ends
seen at its start, reads committed records only, and has a bound in time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic, ResourceType

from aios.streams.config import KafkaSettings, client
from aios.streams.errors import ConfigError, StateBroken, Unavailable
from aios.streams.record import APPENDED, CREATED, Record
from aios.streams.topics import Family, Topic

ANSWER_S_MAX = 30.0
PAUSE_S = 0.1
POLL_S = 0.2
BATCH_MAX = 500
_NOTHING_THERE = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_FORBIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
TIMESTAMP_TYPES = {TIMESTAMP_CREATE_TIME: CREATED, TIMESTAMP_LOG_APPEND_TIME: APPENDED}
READERS = "aios.readers"  # librdkafka wants a group's name; nothing is joined or committed

log = logging.getLogger(__name__)


async def ensure_topics(kafka: KafkaSettings, topics: Iterable[Topic]) -> list[str]:
    """Create the topics that are missing, and return their names.

    Raises StateBroken naming every topic whose partition count or cleanup.policy is another one, before anything is
    created; ConfigError when Kafka refuses the settings; Unavailable when it does not answer.
    """
    return await asyncio.to_thread(_ensure, kafka, list(topics))


def _ensure(kafka: KafkaSettings, topics: Sequence[Topic]) -> list[str]:
    admin = AdminClient(client(kafka, **{"log_level": 0}))
    found = _metadata(admin)
    _refuse_other_counts(kafka, topics, found)
    _refuse_other_policies(admin, [topic for topic in topics if topic.name in found.topics])
    missing = [topic for topic in topics if topic.name not in found.topics]
    if missing:
        _create(admin, kafka, missing)
        _wait_for(admin, kafka, missing)
    return [topic.name for topic in missing]


def _metadata(admin: AdminClient) -> ClusterMetadata:
    """Raises Unavailable."""
    deadline = time.monotonic() + ANSWER_S_MAX
    while True:
        try:
            return admin.list_topics(timeout=5)
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
            time.sleep(PAUSE_S)


def _refuse_other_counts(kafka: KafkaSettings, topics: Iterable[Topic], found: ClusterMetadata) -> None:
    counts = {name: len(metadata.partitions) for name, metadata in found.topics.items()}
    differing = [
        f"{topic.name} has {counts[topic.name]} partitions, not {topic.partitions(kafka.partitions)}"
        for topic in topics
        if counts.get(topic.name) not in (None, topic.partitions(kafka.partitions))
    ]
    if differing:
        raise StateBroken(
            "partitions are fixed when topics are created: set kafka.partitions to what they have, or start anew "
            "with `aios up --fresh`: " + "; ".join(differing)
        )


def _refuse_other_policies(admin: AdminClient, topics: Sequence[Topic]) -> None:
    """State that a broker deletes when it is old is lost in silence. Producers' own topics are theirs to set."""
    ours = {topic.name: topic.cleanup for topic in topics if topic.family is not Family.SOURCE}
    if not ours:
        return
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in ours])
    try:
        policies = {one.name: future.result(ANSWER_S_MAX)["cleanup.policy"].value for one, future in asked.items()}
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() in _FORBIDDEN:
            log.warning("Kafka does not let us see the settings of topics: they are not compared with ours")
            return
        raise Unavailable(f"Kafka does not say how topics are set: {error}") from error
    differing = [
        f"{name} has cleanup.policy={policies[name]} (kafka-configs --alter --topic {name} --add-config "
        f"cleanup.policy={policy})"
        for name, policy in ours.items()
        if policies[name] != policy
    ]
    if differing:
        raise StateBroken(f"records would be lost that have to stay, or stay that have to go: {'; '.join(differing)}")


def _create(admin: AdminClient, kafka: KafkaSettings, topics: Sequence[Topic]) -> None:
    replicas = kafka.replication_factor
    in_sync = {"min.insync.replicas": str(replicas - 1)} if replicas > 2 else {}
    new = [
        NewTopic(topic.name, topic.partitions(kafka.partitions), replicas, config=topic.config() | in_sync)
        for topic in topics
    ]
    for name, done in admin.create_topics(new, request_timeout=ANSWER_S_MAX).items():
        try:
            done.result(ANSWER_S_MAX)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue  # somebody else was faster; counted below
            if error.args[0].code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT):
                raise Unavailable(f"Kafka did not create {name}: {error.args[0].str()}") from error
            raise ConfigError(f"Kafka refuses to create {name}: {error.args[0].str()}") from error


def _wait_for(admin: AdminClient, kafka: KafkaSettings, topics: Sequence[Topic]) -> None:
    """Until every partition has a leader, so that the first record finds it."""
    deadline = time.monotonic() + ANSWER_S_MAX
    while time.monotonic() < deadline:
        found = _metadata(admin)
        if all(_is_led(found, topic.name) for topic in topics):
            _refuse_other_counts(kafka, topics, found)
            return
        time.sleep(PAUSE_S)
    raise Unavailable("Kafka created the topics, but some partitions have no leader")


def _is_led(found: ClusterMetadata, name: str) -> bool:
    return name in found.topics and all(p.leader >= 0 for p in found.topics[name].partitions.values())


def read_all(
    kafka: KafkaSettings, topic: str, *, partitions: Sequence[int] | None = None
) -> Generator[Record, None, None]:
    """Every committed record from the beginning to the ends seen at the start, in order within a partition.

    partitions: None for all.
    Raises Unavailable after ANSWER_S_MAX without any progress, and StateBroken when there is no such topic.
    """
    consumer = reader(kafka)
    try:
        ends = _ends(consumer, topic, partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        yield from _until(consumer, ends, topic)
    except KafkaException as error:
        raise Unavailable(f"{topic} cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _until(consumer: Consumer, ends: dict[int, int], topic: str) -> Iterator[Record]:
    """ends: by partition, exclusive; emptied."""
    deadline = time.monotonic() + ANSWER_S_MAX
    while ends:
        if time.monotonic() > deadline:
            raise Unavailable(f"{topic} was not read to its end within {ANSWER_S_MAX:.0f} s without progress")
        first = consumer.poll(POLL_S)
        if first is None:
            continue
        for message in (first, *consumer.consume(BATCH_MAX, 0)):
            partition, error = message.partition(), message.error()
            if error is None and message.offset() < ends.get(partition, 0):
                yield record_of(message)
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise Unavailable(f"{topic} cannot be read: {error.str()}")
            # The last may be a marker, or compacted; and what a new leader calls the end may lie before it (KIP-207).
            if message.offset() + (1 if error is None else 0) >= ends.get(partition, 0):
                ends.pop(partition, None)
        deadline = time.monotonic() + ANSWER_S_MAX  # not before: how long the caller works is no lack of progress


def partitions_of(kafka: KafkaSettings, topic: str) -> list[int]:
    """Its partitions as they are. Raises Unavailable, and StateBroken when there is no such topic."""
    try:
        found = AdminClient(client(kafka, log_level=0)).list_topics(topic, timeout=ANSWER_S_MAX).topics[topic]
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
    if found.error is not None:
        raise StateBroken(f"there is no topic {topic}; `aios up` creates every topic")
    return sorted(found.partitions)


def _ends(consumer: Consumer, topic: str, partitions: Sequence[int] | None) -> dict[int, int]:
    """The ends of the partitions that hold anything. Raises StateBroken."""
    found = consumer.list_topics(topic, timeout=ANSWER_S_MAX).topics[topic]
    if found.error is not None:
        raise StateBroken(f"there is no topic {topic}; `aios up` creates every topic")
    ends = {}
    for partition in found.partitions if partitions is None else partitions:
        low, high = watermarks(consumer, TopicPartition(topic, partition), ANSWER_S_MAX)
        if high > low:
            ends[partition] = high
    return ends


def watermarks(consumer: Consumer, place: TopicPartition, wait_s_max: float) -> tuple[int, int]:
    """The first offset and the end. A partition that is just created or moved has no leader for a moment."""
    deadline = time.monotonic() + wait_s_max
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=wait_s_max)
            return low, high
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)


def read_one(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> Record | None:
    """The record at this place; None if there is none (any more, or yet). Raises Unavailable."""
    consumer = reader(kafka)
    try:
        if partition not in consumer.list_topics(topic, timeout=ANSWER_S_MAX).topics[topic].partitions:
            return None
        consumer.assign([TopicPartition(topic, partition, offset)])
        message = consumer.poll(ANSWER_S_MAX)
    except KafkaException as error:
        raise Unavailable(f"{topic} cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()
    if message is None:
        raise Unavailable(f"{topic} was not read within {ANSWER_S_MAX:.0f} s")
    said = message.error()
    if said is None:
        return record_of(message) if message.offset() == offset else None
    if said.code() in _NOTHING_THERE:
        return None
    raise Unavailable(f"{topic} cannot be read: {said.str()}")


def record_of(message: Message) -> Record:
    """As read by librdkafka, without an error."""
    kind, timestamp_ms = message.timestamp()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        timestamp_ms if kind else 0,
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
        TIMESTAMP_TYPES.get(kind, ""),
    )


def cluster_id(kafka: KafkaSettings) -> str:
    """Of the Kafka cluster: part of a dead letter's id. Raises Unavailable."""
    try:
        return str(AdminClient(client(kafka, log_level=0)).list_topics(timeout=ANSWER_S_MAX).cluster_id)
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error


def reader(kafka: KafkaSettings, **own: Any) -> Consumer:
    """A consumer in no group, for places named to it. own: what it needs beside that."""
    return Consumer(
        client(
            kafka,
            **{
                "group.id": READERS,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 20,  # a full queue would be filled again a second later
                "log_level": 0,
                **own,
            },
        )
    )
