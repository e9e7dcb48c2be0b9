"""Topics and reads without a group, on a real broker."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError, StateBroken
from aios.streams.kafka import Delivery, ensure_topics, read_all, read_one
from aios.streams.record import Outgoing
from aios.streams.topics import Cleanup, Family, Topic

pytestmark = pytest.mark.broker


@pytest.fixture
def declared(unique: str) -> list[Topic]:
    return [
        Topic(name=f"{unique}.events", contracts=(), key="k", family=Family.CASE, retention_hours=3),
        Topic(name=f"{unique}.table", contracts=(), key="k", family=Family.REFERENCE, cleanup=Cleanup.COMPACT),
    ]


def test_topics_are_created_as_declared_and_once(kafka: KafkaSettings, declared: list[Topic]) -> None:
    """Partitions and every setting; a second run finds them; two at once do not disturb each other."""

    async def run() -> None:
        both = await asyncio.gather(ensure_topics(kafka, declared), ensure_topics(kafka, declared))
        assert sorted({name for created in both for name in created}) == sorted(topic.name for topic in declared)
        assert await ensure_topics(kafka, declared) == []

    asyncio.run(run())
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    found = admin.list_topics(timeout=10).topics
    assert [len(found[topic.name].partitions) for topic in declared] == [6, 1]
    for topic in declared:
        (answer,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic.name)]).values()
        settings = answer.result(10)
        assert {name: settings[name].value for name in topic.config()} == topic.config()


def test_another_partition_count_is_refused_before_anything_is_created(
    kafka: KafkaSettings, declared: list[Topic]
) -> None:
    """Keys would move; the message names the topic and what to do."""
    asyncio.run(ensure_topics(kafka, declared[:1]))
    more = kafka.model_copy(update={"partitions": 8})
    with pytest.raises(StateBroken, match=r"events has 6 partitions, not 8"):
        asyncio.run(ensure_topics(more, declared))
    assert asyncio.run(ensure_topics(kafka, declared)) == [declared[1].name]


def test_a_table_that_forgets_what_is_old_is_refused_before_anything_is_created(
    kafka: KafkaSettings, declared: list[Topic]
) -> None:
    """Somebody made it with the broker's own settings: what is remembered in it would go with its retention."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    (made,) = admin.create_topics([NewTopic(declared[1].name, 1, 1)]).values()
    made.result(10)
    with pytest.raises(StateBroken, match=r"table has cleanup.policy=delete .* --add-config cleanup.policy=compact"):
        asyncio.run(ensure_topics(kafka, declared))
    producers = [replace(declared[1], family=Family.SOURCE, name=f"{declared[1].name}.theirs")]
    (made,) = admin.create_topics([NewTopic(producers[0].name, 6, 1)]).values()
    made.result(10)
    assert asyncio.run(ensure_topics(kafka, [*producers, declared[0]])) == [declared[0].name]


def test_what_kafka_refuses_is_the_settings_fault(kafka: KafkaSettings, declared: list[Topic]) -> None:
    """More replicas than brokers; a name that is none."""
    with pytest.raises(ConfigError, match="replication"):
        asyncio.run(ensure_topics(kafka.model_copy(update={"replication_factor": 3}), declared))
    with pytest.raises(ConfigError):
        asyncio.run(ensure_topics(kafka, [replace(declared[0], name="no spaces")]))


def test_a_whole_topic_is_read_to_the_ends_seen_at_the_start(kafka: KafkaSettings, declared: list[Topic]) -> None:
    """Every record once, in order within a partition; what is written meanwhile is not waited for."""

    async def run() -> None:
        await ensure_topics(kafka, declared)
        name = declared[0].name
        assert list(read_all(kafka, name)) == []
        delivery = Delivery(kafka, client_id="test")
        await delivery.deliver_all(Outgoing(name, str(n).encode(), b"v", (("n", b"1"),)) for n in range(200))
        reading = read_all(kafka, name)
        first = next(reading)
        await delivery.deliver_all(Outgoing(name, b"later", b"v") for _ in range(50))
        delivery.close()
        read = [first, *reading]
        assert sorted(int(record.key or b"") for record in read) == list(range(200))
        for partition in range(6):
            offsets = [record.offset for record in read if record.partition == partition]
            assert offsets == list(range(len(offsets)))
        assert {record.partition for record in read_all(kafka, name, partitions=[2, 4])} == {2, 4}

    asyncio.run(run())


def test_a_place_without_a_record_is_none(kafka: KafkaSettings, declared: list[Topic]) -> None:
    """Past the end, in a partition or topic that does not exist; a whole topic that does not exist is broken."""
    asyncio.run(ensure_topics(kafka, declared))
    name = declared[0].name
    assert read_one(kafka, name, 0, 0) is None
    assert read_one(kafka, name, 0, 1_000) is None
    assert read_one(kafka, name, 17, 0) is None
    assert read_one(kafka, name + ".no", 0, 0) is None
    with pytest.raises(StateBroken):
        list(read_all(kafka, name + ".no"))
