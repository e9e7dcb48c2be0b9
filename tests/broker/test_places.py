"""Records by their place, read by one consumer that outlives what it was told wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest

from aios.dlq.places import Places
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.kafka import Delivery, ensure_topics
from aios.streams.record import Outgoing
from aios.streams.topics import Family, Topic

pytestmark = pytest.mark.broker


@pytest.fixture
def places(kafka: KafkaSettings) -> Iterator[Places]:
    with closing(Places(kafka)) as found:
        yield found


def test_a_topic_that_the_broker_does_not_know_is_no_proof_that_its_records_are_gone(
    kafka: KafkaSettings, places: Places, unique: str
) -> None:
    """A broker that has just started may know none; what it said is not remembered, by none of the questions."""
    topic = Topic(name=f"{unique}.dlq", contracts=(), key="k", family=Family.REFERENCE, retention_hours=3)
    place = (topic.name, 0, 0)
    for ask in (
        lambda: places.fetch([place]),
        lambda: places.ends(topic.name, 0),
        lambda: places.since(topic.name, 0, 0),
    ):
        with pytest.raises(Unavailable, match=topic.name):
            ask()
    asyncio.run(ensure_topics(kafka, [topic]))
    delivery = Delivery(kafka, client_id="test")
    try:
        asyncio.run(delivery.deliver(Outgoing(topic.name, b"k", b"v")))
    finally:
        delivery.close()
    assert places.ends(topic.name, 0) == (0, 1)
    assert places.since(topic.name, 0, 0) == 0
    assert [record.value for record in places.fetch([place]).values()] == [b"v"]
