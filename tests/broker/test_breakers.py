"""Breakers on a real broker: records that outlive their process, and real stages that obey them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from aios.dlq import breakers, envelope
from aios.dlq.breakers import BreakerTable, GroupBreakers
from aios.dlq.decide import LIMITS
from aios.dlq.settle import CLOSED
from aios.infra.local import child
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged, DocumentReceived
from aios.sinks import shell
from aios.streams import metrics, reference, tenants, topology
from aios.streams.config import KafkaSettings, RegistrySettings, Settings, client
from aios.streams.errors import Unavailable
from aios.streams.kafka import ensure_topics, read_all
from aios.streams.record import Record
from aios.streams.topics import BREAKER_CHANGED, CASE_ADMITTED, DOCUMENT_RECEIVED, RETRY_TIERS, Family, Topic
from aios.streams.topology import ADMIT, Kind, Objective, Stage
from aios.streams.wall_clock import wall_ms
from tests.fakes.breakers import open_breaker

pytestmark = pytest.mark.broker
WAIT_S_MAX = 60.0
BAD, GOOD = 10_000, 200


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka, registry=RegistrySettings(url=registry_url), home=tmp_path)


def stage(unique: str) -> Stage:
    """A sink with a topic and a group of its own."""
    entry = Topic(name=f"in.{unique}", contracts=(), key="key", family=Family.CASE)
    return Stage(
        name=f"sink{unique}", kind=Kind.SINK, does="tests", reads=(entry,), process="s", objective=Objective(p95_ms=1)
    )


def change(of: Stage, *, partition: int = -1, tenant: str = "", now_ms: int = 1_000) -> BreakerChanged:
    return open_breaker(of.group, partition, tenant=tenant, at=now_ms)


def close(kafka: KafkaSettings, codec: Codec, key: str) -> None:
    """As the stage that carries out operators' commands does."""
    (before,) = [one for one in breakers.read(kafka, codec) if one.key == key]
    closed = breakers.closed(before, by="ada", now_ms=wall_ms())
    out = breakers.outgoing(codec, closed)
    producer = Producer(client(kafka, log_level=0))
    producer.produce(out.topic, out.value, out.key, headers=list(out.headers))
    assert producer.flush(10) == 0


def test_an_open_breaker_is_known_at_once_here_and_soon_to_everybody(
    kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """To other processes of the group, after a restart, and until it is closed; another group's is not."""
    own, other = stage(unique), stage(f"{unique}x")
    first, second = GroupBreakers(kafka, codec, own), GroupBreakers(kafka, codec, own)
    stranger = GroupBreakers(kafka, codec, other)
    try:
        for each in (first, second, stranger):
            each.start()
        first.open(change(own, partition=3))
        first.open(change(own, tenant="acme"))
        assert (set(first.partitions), set(first.tenants)) == ({3}, {"acme"})
        until(lambda: (set(second.partitions), set(second.tenants)) == ({3}, {"acme"}))
        assert (set(stranger.partitions), set(stranger.tenants)) == (set(), set())
        assert metrics.BREAKERS.labels(own.name, "tenant")._value.get() == 1
        close(kafka, codec, f"{own.group}/3")
        until(lambda: not first.partitions and not second.partitions)
        assert set(first.tenants) == {"acme"}
        first.open(change(own, partition=3, now_ms=2_000))
        until(lambda: set(second.partitions) == {3})
    finally:
        for each in (first, second, stranger):
            each.close()
    again = GroupBreakers(kafka, codec, own)
    again.start()
    again.close()
    assert (set(again.partitions), set(again.tenants)) == ({3}, {"acme"})
    table = BreakerTable(kafka, codec)
    table.load()
    table.close()
    mine = [one for one in table.open_ones() if one.group == own.group]
    assert {one.key for one in mine} == {f"{own.group}/3", f"{own.group}/tenant/acme"}


def test_a_breaker_that_kafka_does_not_take_yet_is_open_here_and_written_later(
    kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again; and what its own topic said before does not close it meanwhile."""
    own = stage(unique)
    reference.write(
        kafka,
        codec,
        BREAKER_CHANGED,
        breakers.closed(change(own, partition=1, now_ms=5), by="ada", now_ms=6),
        name=f"{own.group}/1",
        tenant="",
        seed="",
    )
    refused = 2

    def write(*arguments: Any, **more: Any) -> None:
        nonlocal refused
        refused -= 1
        if refused >= 0:
            raise Unavailable("the test said so")
        really(*arguments, **more)

    really = reference.write
    monkeypatch.setattr(breakers, "AGAIN_S", 0.01)
    monkeypatch.setattr(reference, "write", write)
    group = GroupBreakers(kafka, codec, own)
    group.open(change(own, partition=1))
    group.start()
    try:
        assert set(group.partitions) == {1}
        until(lambda: any(one.key == f"{own.group}/1" for one in breakers.read(kafka, codec)))
        assert set(group.partitions) == {1}
    finally:
        group.close()


# A stage whose code is broken


@asynccontextmanager
async def serving(
    of: Stage, settings: Settings, meaning: Callable[[Record], bytes], done: list[bytes]
) -> AsyncIterator[None]:
    """A sink: what means something is done, the rest is settled as every sink settles it."""
    stop = asyncio.Event()

    async def work(desk: shell.Shell) -> None:
        await desk.intake.start()
        while not stop.is_set():
            records = await desk.take()
            read = await desk.understand(records, meaning)
            await desk.give_up(read)
            done.extend(value for _, value in read.good)
            desk.finish(record for record, _ in read.good)

    async with shell.opened(of, settings, slot=0, stop=stop, in_flight_max=100) as (desk, _):
        task = asyncio.create_task(work(desk))
        try:
            yield
        finally:
            stop.set()
            await task


async def until_done(done: Sequence[bytes], count: int) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while len(done) < count:
        assert time.monotonic() < deadline, f"{len(done)} of {count}"
        await asyncio.sleep(0.02)


def test_a_broken_deploy_pauses_its_partition_until_it_is_mended_and_the_breaker_closed(
    kafka: KafkaSettings, codec: Codec, settings: Settings, unique: str
) -> None:
    """Nothing becomes a dead letter, nothing is tried meanwhile, not even by a new process; then everything is done."""
    own, tried, done = stage(unique), list[int](), list[bytes]()
    broken = True

    def meaning(record: Record) -> bytes:
        if record.partition == 0:
            tried.append(record.offset)
            if broken:
                raise ZeroDivisionError
        return record.value or b""

    def put(partition: int, values: Sequence[str]) -> None:
        producer = Producer(client(kafka, log_level=0))
        for value in values:
            producer.produce(own.reads[0].name, value.encode(), value.encode(), partition=partition)
        assert producer.flush(10) == 0

    async def scenario() -> None:
        nonlocal broken
        await ensure_topics(kafka, (*own.inputs, own.dead_letters))
        put(0, [f"{unique}.{number}" for number in range(40)])
        put(1, ["a", "b"])
        async with serving(own, settings, meaning, done):
            await until_done(done, 2)
            await asyncio.to_thread(until, lambda: [one.key for one in opened()] == [f"{own.group}/0"])
        assert tried == list(range(LIMITS.unknown_in_a_row_max + 1))
        tried.clear()
        broken = False
        put(1, ["c"])
        async with serving(own, settings, meaning, done):  # mended; but nobody has closed it
            await until_done(done, 3)
            assert not tried
            close(kafka, codec, f"{own.group}/0")
            await until_done(done, 3 + 40 - LIMITS.unknown_in_a_row_max)
        assert sorted(done[3:]) == sorted(f"{unique}.{number}".encode() for number in range(20, 40))
        waiting = [one for one in read_all(kafka, RETRY_TIERS[0].topic.name) if unique.encode() in (one.key or b"")]
        assert len(waiting) == LIMITS.unknown_in_a_row_max
        assert not list(read_all(kafka, own.dead_letters.name))

    def opened() -> list[BreakerChanged]:
        return [one for one in breakers.read(kafka, codec) if one.group == own.group]

    asyncio.run(scenario())


# A producer whose data is broken


@contextmanager
def admit(settings: Settings) -> Iterator[None]:
    """The real stage, in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIOS_")},
        "AIOS_HOME": str(settings.home),
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "AIOS_REGISTRY__URL": settings.registry.url,
        "PYTHONSAFEPATH": "1",
    }
    process = child.start([sys.executable, "-m", "aios.infra.stage", "admit"], settings.home / "admit.log", environment)
    try:
        yield
    finally:
        child.stop(process)


def of_tenant(kafka: KafkaSettings, topic: str, tenant: str) -> list[Record]:
    return [one for one in read_all(kafka, topic) if one.header("aios-tenant") == tenant]


def test_a_producer_who_sends_nothing_but_bad_records_stops_nobody_else(
    kafka: KafkaSettings, codec: Codec, settings: Settings, unique: str
) -> None:
    """Its 10,000 reach the dead letters as a trickle, also after a restart; others, behind it, wait for none of it."""
    good, poor = f"good-{unique}", f"poor-{unique}"
    tenants.register(kafka, codec, good)
    key = f"{ADMIT.group}/tenant/{poor}"
    producer = Producer(client(kafka, **{"log_level": 0, "partitioner": "murmur2_random"}))

    def put_bad(count: int) -> None:
        for number in range(count):
            headers = [("aios-tenant", poor.encode())]
            producer.produce(DOCUMENT_RECEIVED.name, b"\x00\xff", f"{unique}.{number}".encode(), headers=headers)
            if number % 1_000 == 0:
                producer.poll(0)

    def put_good(first: int, count: int) -> None:
        for number in range(first, first + count):
            event = DocumentReceived(text="a letter", idempotency_key=f"{unique}.{number}", tenant=good)
            value = codec.encode(DOCUMENT_RECEIVED, event)
            producer.produce(DOCUMENT_RECEIVED.name, value, b"%d" % number, headers=[("aios-tenant", good.encode())])

    def admitted() -> list[Record]:
        return of_tenant(kafka, CASE_ADMITTED.name, good)

    with admit(settings):
        put_bad(BAD)
        put_good(0, GOOD)
        assert producer.flush(20) == 0
        written_ms = wall_ms()
        until(lambda: len(admitted()) == GOOD)
        late_ms = max(one.timestamp_ms for one in admitted()) - written_ms
        assert late_ms < RETRY_TIERS[1].after_ms  # the process's start included
        until(lambda: [one.key for one in breakers.read(kafka, codec) if one.tenant == poor] == [key])
    dead = of_tenant(kafka, ADMIT.dead_letters.name, poor)
    deferred = of_tenant(kafka, RETRY_TIERS[1].topic.name, poor)
    assert len(dead) + len(deferred) == BAD
    assert len(dead) < BAD / 5
    assert {envelope.headers_said(one.headers)["reason"] for one in deferred} == {"throttled"}
    with admit(settings):
        put_bad(200)
        put_good(GOOD, 1)
        assert producer.flush(20) == 0
        until(lambda: len(admitted()) == GOOD + 1)
        until(lambda: len(of_tenant(kafka, RETRY_TIERS[1].topic.name, poor)) > len(deferred) + 100)
        close(kafka, codec, key)
        until(lambda: all(one.key != key for one in breakers.read(kafka, codec)))
    assert not [one for topic in (t.topic.name for t in RETRY_TIERS) for one in of_tenant(kafka, topic, good)]
    changes = [
        codec.decode(one.value, BreakerChanged)
        for one in read_all(kafka, BREAKER_CHANGED.name)
        if one.key == key.encode()
    ]
    assert (changes[0].reason, changes[-1].state, changes[-1].by) == ("undecodable", CLOSED, "ada")
