"""The registry process killed, doubled and cut off from its broker: what was answered stays, ids stay unique."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from aios.infra.local import registry_log
from aios.infra.local.broker import Broker
from aios.infra.local.registry import LEFT, Registry
from aios.infra.local.registry_catalogue import Catalogue
from aios.infra.local.registry_log import SchemaLog
from aios.infra.local.registry_protocol import candidate
from aios.streams.config import KafkaSettings
from aios.streams.errors import Fenced, StateBroken, Unavailable
from tests.contract.conftest import Http
from tests.stopping import stop, stopped

LEAVES_S_MAX = 15.0


def body(number: int) -> dict[str, str]:
    return {"schema": json.dumps({"type": "record", "name": f"R{number}", "fields": []})}


def register(url: str, number: int) -> int | None:
    """The id, None where the registry did not answer with one."""
    try:
        answer = requests.post(f"{url}/subjects/s-{number}/versions", json=body(number), timeout=5)
        return int(answer.json()["id"]) if answer.status_code == 200 else None
    except requests.RequestException:
        return None


def verify(url: str, answered: dict[int, int]) -> None:
    """Every answered id leads to its schema, under its subject, and to no other."""
    assert len(set(answered.values())) == len(answered)
    with requests.Session() as ask:
        for number, schema_id in answered.items():
            found = ask.get(f"{url}/schemas/ids/{schema_id}", timeout=5).json()
            assert json.loads(found["schema"])["name"] == f"R{number}"
            assert ask.get(f"{url}/subjects/s-{number}/versions/1", timeout=5).json()["id"] == schema_id


def test_kill_9_while_writing_loses_nothing_that_was_answered(start: Callable[..., Registry]) -> None:
    """Four writers, two deaths: every answered registration is there, no id is given twice, levels and modes stay."""
    registry = start()
    ask = Http(registry.url)
    assert ask("PUT", "/config", {"compatibility": "BACKWARD"}) == (200, {"compatibility": "BACKWARD"})
    assert ask("PUT", "/mode/frozen", {"mode": "READONLY"}) == (200, {"mode": "READONLY"})
    answered: dict[int, int] = {}
    for life in range(2):
        enough = threading.Event()

        def write(lane: int, life: int = life, enough: threading.Event = enough) -> None:
            for number in range(life * 4000 + lane * 1000, life * 4000 + lane * 1000 + 1000):
                schema_id = register(registry.url, number)
                if schema_id is None:
                    return
                answered[number] = schema_id
                if len(answered) >= (life + 1) * 40:
                    enough.set()

        with ThreadPoolExecutor(4) as writers:
            running = [writers.submit(write, lane) for lane in range(4)]
            assert enough.wait(30)
            registry.stop(signal.SIGKILL)
            for each in running:
                each.result(30)
        registry.start()
        verify(registry.url, answered)
    assert len(answered) >= 80
    assert ask("GET", "/config/any?defaultToGlobal=true") == (200, {"compatibilityLevel": "BACKWARD"})
    assert ask("DELETE", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    assert ask("GET", "/config") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})
    assert ask.code("POST", "/subjects/frozen/versions", body(1)) == (422, 42205)
    ask.close()


def test_a_zombie_answers_no_write(start: Callable[..., Registry], unique: str) -> None:
    """Stopped while another takes over, then continued with a request in hand: refused, and it leaves."""
    topic = f"_schemas.{unique}"
    zombie = start(topic)
    assert register(zombie.url, 1)
    assert zombie.pid is not None
    stop(zombie.pid)
    newer = start(topic)
    answers: list[int | None] = []
    asking = threading.Thread(target=lambda: answers.append(register(zombie.url, 2)))
    asking.start()
    os.kill(zombie.pid, signal.SIGCONT)
    asking.join(10)
    assert answers == [None]
    assert zombie.wait(LEAVES_S_MAX) == LEFT
    verify(newer.url, {3: register(newer.url, 3) or 0})
    assert requests.get(f"{newer.url}/subjects/s-2/versions", timeout=5).status_code == 404


class Instance:
    """A registry without its process: a catalogue and its log."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.catalogue = Catalogue()
        self.log = SchemaLog(kafka, self.catalogue, topic=topic)

    async def __aenter__(self) -> Instance:
        await self.log.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.log.close()

    async def add(self, number: int) -> int:
        async with self.log.turn():
            schema_id, changes = self.catalogue.registration(f"s-{number}", candidate(body(number)))
            await self.log.append(changes)
        return schema_id

    async def delete(self, number: int) -> None:
        for permanent in (False, True):
            async with self.log.turn():
                await self.log.append(self.catalogue.subject_deletion(f"s-{number}", permanent=permanent)[1])


def test_the_older_of_two_instances_sees_the_newer_though_nobody_writes(kafka: KafkaSettings, unique: str) -> None:
    """Within seconds it is told to leave, and decides nothing more; the newer one goes on where it was."""

    async def run() -> None:
        topic = f"_schemas.{unique}"
        async with Instance(kafka, topic) as older:
            first = await older.add(1)
            async with Instance(kafka, topic) as newer:
                assert isinstance(await asyncio.wait_for(asyncio.shield(older.log.left), LEAVES_S_MAX), Fenced)
                with pytest.raises(Fenced):
                    await older.add(2)
                assert await newer.add(3) == first + 1
                assert not newer.log.left.done()

    asyncio.run(run())


def test_an_id_is_not_given_again_after_delete_restart_and_compaction(kafka: KafkaSettings, unique: str) -> None:
    """The topic as its compaction leaves it knows nothing of the schema any more, but that its id was given."""
    before, after = f"_schemas.{unique}", f"_schemas.{unique}.compacted"

    async def first() -> tuple[int, int]:
        async with Instance(kafka, before) as one:
            ids = await one.add(1), await one.add(2)
            await one.delete(2)
            return ids

    async def later(topic: str) -> tuple[int, int]:
        async with Instance(kafka, topic) as one:
            known = one.catalogue.known("s-1", candidate(body(1)))
            return known or 0, await one.add(3)

    kept, gone = asyncio.run(first())
    compacted = {key: value for key, value in dict(read(kafka, before)).items() if value is not None}
    assert not any(b"s-2" in key for key in compacted)
    write(kafka, after, list(compacted.items()))
    assert [asyncio.run(later(topic)) for topic in (before, after)] == [(kept, gone + 1)] * 2


@pytest.mark.parametrize(
    ("partitions", "policy", "said"),
    [(1, "delete", "cleanup.policy=delete"), (1, "compact,delete", "cleanup.policy"), (2, "compact", "2 partitions")],
)
def test_a_topic_that_would_lose_schemas_is_refused(
    kafka: KafkaSettings, unique: str, partitions: int, policy: str, said: str
) -> None:
    """The registry does not start on it, and says what to do."""
    topic = f"_schemas.{unique}"
    create(kafka, topic, partitions=partitions, policy=policy)

    async def attempt() -> None:
        async with Instance(kafka, topic):
            pass

    with pytest.raises(StateBroken, match=said):
        asyncio.run(attempt())


def test_a_topic_that_was_made_anew_is_not_served(kafka: KafkaSettings, unique: str) -> None:
    """What it held is lost, and ids would be given again: the registry leaves at its next write, if not before."""

    async def run() -> None:
        topic = f"_schemas.{unique}"
        async with Instance(kafka, topic) as one:
            for number in range(5):
                await one.add(number)
            admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
            admin.delete_topics([topic], operation_timeout=10)[topic].result(10)
            create(kafka, topic)
            deadline = time.monotonic() + LEAVES_S_MAX
            while time.monotonic() < deadline and not one.log.left.done():
                with contextlib.suppress(Unavailable, StateBroken):
                    await one.add(9)
            assert isinstance(one.log.left.result(), StateBroken)

    asyncio.run(run())


def test_a_write_without_an_answer_is_settled_before_the_next(
    broker: Broker, kafka: KafkaSettings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker stalls in the middle of a write: refused as unavailable; the next turn reads what became of it."""
    monkeypatch.setattr(registry_log, "WRITE_S_MAX", 1.0)
    pid = broker.pid
    assert pid is not None

    async def run() -> tuple[list[int], Catalogue]:
        async with Instance(kafka, f"_schemas.{unique}") as one:
            ids = [await one.add(1)]
            with stopped(pid), pytest.raises(Unavailable):
                await one.add(2)
            return [*ids, await one.add(3)], one.catalogue

    ids, catalogue = asyncio.run(asyncio.wait_for(run(), 40))
    given = {catalogue.by_id(schema_id).subject: schema_id for schema_id in range(1, catalogue.highest_id + 1)}
    assert given["s-1"] == ids[0]
    assert given["s-3"] == ids[1]
    assert len(given) == catalogue.highest_id
    again = Catalogue()
    for key, value in read(kafka, f"_schemas.{unique}"):
        again.apply(key, value)
    assert again.subjects() == catalogue.subjects()


# ── the topic, by hand ──


def create(kafka: KafkaSettings, topic: str, *, partitions: int = 1, policy: str = "compact") -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    fresh = NewTopic(topic, partitions, 1, config={"cleanup.policy": policy})
    admin.create_topics([fresh], operation_timeout=10)[topic].result(10)


def read(kafka: KafkaSettings, topic: str) -> list[tuple[bytes, bytes | None]]:
    """Every committed record, oldest first."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "none",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[bytes, bytes | None]] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        message: Any = consumer.poll(1)
        if message is None:
            continue
        if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
            consumer.close()
            return found
        assert not message.error(), message.error()
        found.append((message.key(), message.value()))
    raise AssertionError(f"{topic} has no end")


def write(kafka: KafkaSettings, topic: str, records: Sequence[tuple[bytes, bytes | None]]) -> None:
    create(kafka, topic)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for key, value in records:
        producer.produce(topic, value, key)
    assert producer.flush(10) == 0
