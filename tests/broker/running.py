"""A stage of ours run inside a test, the wait for what it is to bring about, what a process has in hand, and groups."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from aios.infra.local import child
from aios.infra.local.home import Home
from aios.streams.admin import watermarks
from aios.streams.config import KafkaSettings, Settings, client
from aios.streams.delivery import Place
from aios.streams.record import Record

WAIT_S_MAX = 30.0
READY_S_MAX = 120.0  # of a process, on a machine that others use too


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


def until_in_hand(home: Path, process: str, stage: str, count: int) -> None:
    """The process has taken so many records, and finished none of them."""
    deadline = time.monotonic() + WAIT_S_MAX
    while (now := _in_hand(home, process, stage)) < count:
        assert time.monotonic() < deadline, f"{now} of {count}"
        time.sleep(0.05)


def _in_hand(home: Path, process: str, stage: str) -> int:
    """As the process in its first slot tells Prometheus."""
    (told,) = json.loads((Home(home).metrics / f"{process}.0.json").read_text(encoding="utf-8"))
    with urllib.request.urlopen(f"http://{told['targets'][0]}/metrics", timeout=WAIT_S_MAX) as answer:
        said = text_string_to_metric_families(answer.read().decode())
        samples = (sample for family in said for sample in family.samples)
        return sum(int(one.value) for one in samples if (one.name, one.labels) == ("aios_in_flight", {"stage": stage}))


def read_again(kafka: KafkaSettings, group: str, places: Mapping[str, Place]) -> set[str]:
    """By name, those of these places that the group has not committed."""
    consumer = Consumer(client(kafka, **{"group.id": group, "enable.auto.commit": False, "log_level": 0}))
    try:
        asked = [TopicPartition(*each) for each in {(place.topic, place.partition) for place in places.values()}]
        found = {(one.topic, one.partition): one.offset for one in consumer.committed(asked, timeout=WAIT_S_MAX)}
    finally:
        consumer.close()
    return {name for name, place in places.items() if place.offset >= found[place.topic, place.partition]}


def owed(places: Mapping[str, Place], finished: Collection[str]) -> set[str]:
    """By name, those of these places at which, or before which in their partition, something is not finished."""
    lowest: dict[tuple[str, int], int] = {}
    for name, place in places.items():
        if name not in finished:
            partition = place.topic, place.partition
            lowest[partition] = min(place.offset, lowest.get(partition, place.offset))
    return {
        name
        for name, place in places.items()
        if place.offset >= lowest.get((place.topic, place.partition), place.offset + 1)
    }


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


def environment(settings: Settings) -> dict[str, str]:
    """Of a process that is to have these addresses and this home."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIOS_")},
        "PYTHONSAFEPATH": "1",
        "AIOS_HOME": str(settings.home),
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "AIOS_REGISTRY__URL": settings.registry.url,
        "AIOS_REDIS__URL": settings.redis.url,
    }


@contextmanager
def process(
    settings: Settings, name: str, slot: int = 0, python: str = sys.executable, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A stage as the supervisor starts it, serving; its log is printed when a test fails. more: environment."""
    settings.home.mkdir(exist_ok=True)
    log = settings.home / f"{name}.{slot}.log"
    read, write = os.pipe()
    with log.open("wb") as out:
        started = subprocess.Popen(
            [python, "-m", "aios.infra.stage", name, "--slot", str(slot), "--ready-fd", str(write)],
            env=environment(settings) | more,
            pass_fds=(write,),
            stdout=out,
            stderr=out,
        )
    os.close(write)
    try:
        with os.fdopen(read) as said:
            assert select.select([said], [], [], READY_S_MAX)[0], "it does not serve, and waits"
            assert said.readline() == "ready\n", log.read_text(encoding="utf-8")
        yield started
    finally:
        child.stop(started)
        print(log.read_text(encoding="utf-8"))
