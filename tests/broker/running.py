"""A stage of ours run inside a test, the wait for what it is to bring about, and groups that are to begin anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from aios.streams.admin import watermarks
from aios.streams.config import KafkaSettings, Settings, client
from aios.streams.record import Record

WAIT_S_MAX = 30.0


@asynccontextmanager
async def running(run: Callable[..., Awaitable[None]], settings: Settings) -> AsyncIterator[None]:
    """The stage, from ready to its orderly end; what it ends with by itself is raised at the end of the block."""
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(run(settings, slot=0, stop=stop, ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S_MAX)
    try:
        yield
    finally:
        stop.set()
        waiting.cancel()
        await asyncio.wait_for(task, WAIT_S_MAX)


async def until(found: Callable[[], list[Record]], count: int) -> list[Record]:
    """Ask until there are so many. They must not become more than asked for: the caller compares."""
    deadline = time.monotonic() + WAIT_S_MAX
    while len(records := await asyncio.to_thread(found)) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count}"
    return records


def forget(kafka: KafkaSettings, group: str) -> None:
    """What a group has committed in other tests, once its last member has left."""
    admin = AdminClient(client(kafka, log_level=0))
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            admin.delete_consumer_groups([group])[group].result(10)
        except (KafkaException, TimeoutError) as error:  # a broker that just started has no coordinator yet
            if isinstance(error, KafkaException) and error.args[0].name() == "GROUP_ID_NOT_FOUND":
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def begin_at_the_end(kafka: KafkaSettings, group: str, topic: str) -> None:
    """A group that is to see nothing of what other tests wrote."""
    consumer = Consumer(client(kafka, **{"group.id": group, "enable.auto.commit": False, "log_level": 0}))
    try:
        places = [
            TopicPartition(topic, number) for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        for place in places:
            _, place.offset = watermarks(consumer, place, WAIT_S_MAX)
    finally:
        consumer.close()
    begin_at(kafka, group, places)


def begin_at(kafka: KafkaSettings, group: str, places: list[TopicPartition]) -> None:
    """As soon as the group has no members: a static one is expected back for its session's timeout."""
    consumer = Consumer(client(kafka, **{"group.id": group, "enable.auto.commit": False, "log_level": 0}))
    try:
        _commit(consumer, places)
    finally:
        consumer.close()


def _commit(consumer: Consumer, places: list[TopicPartition]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_MEMBER_ID or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
