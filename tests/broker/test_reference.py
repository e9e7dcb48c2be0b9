"""A reference table on a real broker: it outlives what nobody foresaw in a record, and listeners that fail."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from aios.schemas.codec import Codec
from aios.schemas.models import TenantRegistered
from aios.streams import reference
from aios.streams.config import KafkaSettings
from aios.streams.reference import ReferenceTable
from aios.streams.topics import TENANT_REGISTERED, Cleanup, Family, Topic
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.broker
WAIT_S_MAX = 10.0


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.fixture
def topic(kafka: KafkaSettings, unique: str) -> Topic:
    name = f"reference-{unique}"
    made = Topic(
        name=name, contracts=TENANT_REGISTERED.contracts, key="tenant", family=Family.REFERENCE, cleanup=Cleanup.COMPACT
    )
    new = NewTopic(name, 1, 1, config=made.config())
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([new])[name].result()
    return made


def test_a_table_outlives_every_record_and_every_listener(kafka: KafkaSettings, topic: Topic) -> None:
    """Rubbish, a foreign key, a key that is no text and a listener that raises: each is skipped, and the next one is
    seen; a tombstone takes a name away.
    """
    codec = Codec(FakeRegistry())
    seen: list[tuple[str, bool]] = []

    def changed(name: str, _: TenantRegistered | None, after: TenantRegistered | None) -> None:
        if name == "breaks":
            raise KeyError("not foreseen")
        seen.append((name, after is not None))

    table = ReferenceTable(kafka, codec, topic, TenantRegistered, name_of=lambda each: each.tenant, changed=changed)
    table.start()
    try:
        for name in ("breaks", "first"):
            tenant = TenantRegistered(tenant=name, key_hashes=(), active=True, registered_at=1)
            reference.write(kafka, codec, topic, tenant, name=name, tenant=name, seed="")
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        good = codec.encode(topic, TenantRegistered(tenant="first", key_hashes=(), active=False, registered_at=1))
        for key, value in ((b"x", b"rubbish"), (b"another", good), (b"\xff", good), (b"first", None)):
            producer.produce(topic.name, key=key, value=value)
        producer.flush(WAIT_S_MAX)
        last = TenantRegistered(tenant="last", key_hashes=(), active=True, registered_at=1)
        reference.write(kafka, codec, topic, last, name="last", tenant="last", seed="")
        assert until(lambda: table.get("last") is not None)
        assert set(table.all()) == {"breaks", "last"}
        assert seen == [("first", True), ("first", False), ("last", True)]
    finally:
        table.close()
