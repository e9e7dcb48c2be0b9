"""Kafka as the second witness of the audit chain, where audit.recorded is written in transactions, as stages do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from aios.sinks.audit import check_witness
from aios.streams import topology
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import StateBroken
from aios.streams.kafka import ensure_topics
from aios.streams.topics import AUDIT_RECORDED
from aios.streams.topology import AUDIT
from tests.broker.running import forget

pytestmark = pytest.mark.broker
PARTITION = 3
MARKER_S_MAX = 10.0


@pytest.fixture
def reached(kafka: KafkaSettings, unique: str) -> Iterator[tuple[int, int]]:
    """One record written and committed in a transaction: its offset, and the end that the stage's group has reached."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    forget(kafka, AUDIT.group)
    producer = Producer(client(kafka, **{"transactional.id": unique, "log_level": 0}))
    producer.init_transactions(20)
    producer.begin_transaction()
    offsets: list[int] = []
    producer.produce(
        AUDIT_RECORDED.name,
        value=b"one",
        partition=PARTITION,
        on_delivery=lambda _, message: offsets.append(message.offset()),
    )
    producer.commit_transaction(20)
    consumer = Consumer(client(kafka, **{"group.id": AUDIT.group, "enable.auto.commit": False}))
    end = _end_behind(consumer, offsets[0] + 1)
    consumer.commit(offsets=[TopicPartition(AUDIT_RECORDED.name, PARTITION, end)], asynchronous=False)
    consumer.close()
    yield offsets[0], end
    forget(kafka, AUDIT.group)


def test_the_end_of_a_transaction_is_no_lost_record(kafka: KafkaSettings, reached: tuple[int, int]) -> None:
    """Offsets are committed behind a transaction's marker; a chain that ends with its last record is whole."""
    offset, end = reached
    assert end == offset + 2  # the record, and the marker
    place = f"{AUDIT_RECORDED.name}/{PARTITION}"
    check_witness(kafka, {place: offset + 1})
    with pytest.raises(StateBroken, match="its end is lost"):
        check_witness(kafka, {place: offset})


def test_what_retention_has_taken_is_no_witness(kafka: KafkaSettings, reached: tuple[int, int]) -> None:
    """A partition that was quiet for so long that its log is empty ends behind a marker: the stage starts all the same.

    Where a record that the chain lacks is still there, its end is lost, whatever was deleted before it.
    """
    offset, end = reached
    place = f"{AUDIT_RECORDED.name}/{PARTITION}"
    admin = AdminClient(client(kafka, log_level=0))
    _delete_up_to(admin, offset)
    with pytest.raises(StateBroken, match="its end is lost"):
        check_witness(kafka, {place: offset - 1})
    _delete_up_to(admin, end)
    check_witness(kafka, {place: offset + 1})


def _end_behind(consumer: Consumer, offset: int) -> int:
    """The end of what is committed, once the transaction's marker is written: that follows the commit's answer."""
    deadline = time.monotonic() + MARKER_S_MAX
    while True:
        _, end = consumer.get_watermark_offsets(TopicPartition(AUDIT_RECORDED.name, PARTITION), timeout=20)
        if end > offset:
            return int(end)
        assert time.monotonic() < deadline, f"it ends at {end}"


def _delete_up_to(admin: AdminClient, offset: int) -> None:
    (done,) = admin.delete_records([TopicPartition(AUDIT_RECORDED.name, PARTITION, offset)]).values()
    done.result(10)
