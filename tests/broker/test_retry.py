"""retry on a real broker: never early, late by less than a second, through restarts, and to the failing group alone.

The tiers are the declared ones with delays that a test can wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aios.dlq import envelope, retry
from aios.dlq.settle import Settler
from aios.streams.config import KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.record import Outgoing, Record
from aios.streams.topics import BREAKER_CHANGED, RETRY_TIERS
from aios.streams.topology import LAKE, OUTCOMES, RETRY, Stage
from aios.streams.wall_clock import wall_ms
from tests.broker.running import running, until
from tests.fakes.breakers import OwnBreakers

pytestmark = pytest.mark.broker

AFTER_MS = (4_000, 700, 400)  # the first: a stage starts and ends within it, where the machine is not too busy
LATE_MS_MAX = 1_000
SHORT = tuple(replace(tier, after_ms=ms) for tier, ms in zip(RETRY_TIERS, AFTER_MS, strict=True))
TOPICS = (*RETRY.inputs, RETRY.dead_letters, LAKE.retries, OUTCOMES.retries, BREAKER_CHANGED)


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka, registry=RegistrySettings(url=registry_url), home=tmp_path)


def of(kafka: KafkaSettings, topic: str, unique: str) -> Callable[[], list[Record]]:
    return lambda: [one for one in read_all(kafka, topic) if (one.key or b"").startswith(unique.encode())]


def failed(stage: Stage, key: str, partition: int = 0) -> Outgoing:
    """A record of a topic that outcomes and lake both read, on which one of them failed for an unknown reason."""
    record = Record("case.decided.v1", partition, 3, 1_000, key.encode(), b"decision", (("ce_id", b"e"),))
    return again(stage, record)


def again(stage: Stage, record: Record) -> Outgoing:
    """What becomes of a record that fails there."""
    settled = Settler(replace(stage, tiers=SHORT), "c", breakers=OwnBreakers()).settle(
        record, ValueError("?"), wall_ms()
    )
    assert settled.outgoing is not None
    return settled.outgoing


def test_what_waits_returns_in_time_through_a_restart_and_to_the_failing_group_alone(
    kafka: KafkaSettings, settings: Settings, unique: str
) -> None:
    """Two groups read one topic, and one of them failed: it alone gets the record back, 0 to 1 s after due."""

    async def scenario() -> None:
        await ensure_topics(kafka, TOPICS)
        out = Delivery(kafka, client_id="test")
        first = await out.deliver_all([failed(LAKE, f"{unique}.{n}", n) for n in range(3)])
        async with running(retry.run, settings):  # ends while they wait
            pass
        async with running(retry.run, settings):
            up_ms = wall_ms()
            late = await out.deliver_all([failed(LAKE, f"{unique}.{n}", n) for n in range(3, 6)])
            found = await until(of(kafka, LAKE.retries.name, unique), 6)
            due = {f"{unique}.{n}": place.timestamp_ms + AFTER_MS[0] for n, place in enumerate([*first, *late])}
            for one in found:
                due_ms = due[(one.key or b"").decode()]
                assert due_ms <= one.timestamp_ms < max(due_ms, up_ms) + LATE_MS_MAX
                assert (one.value, one.header("ce_id")) == (b"decision", "e")
                assert one.partition == int((one.key or b"").decode().rpartition(".")[2])
                assert envelope.origin(one) == envelope.Origin("case.decided.v1", one.partition, 3, 1_000)
                assert envelope.attempt_of(one) == 2
        assert of(kafka, OUTCOMES.retries.name, unique)() == []
        out.close()

    asyncio.run(scenario())


def test_a_record_goes_through_every_tier_and_no_further(kafka: KafkaSettings, settings: Settings, unique: str) -> None:
    """Each wait is its tier's own, not held up by what a longer one holds; then a dead letter with the whole count."""
    seconds = replace(SHORT[2], after_ms=60_000)

    async def scenario() -> None:
        await ensure_topics(kafka, TOPICS)
        out = Delivery(kafka, client_id="test")
        one = Settler(replace(LAKE, tiers=(seconds,)), "c", breakers=OwnBreakers()).settle(
            Record("case.decided.v1", 2, 9, 1_000, f"{unique}.held".encode(), b""), ValueError("?"), 0
        )
        assert one.outgoing is not None
        await out.deliver(one.outgoing)
        async with running(retry.run, settings):
            waits = failed(LAKE, f"{unique}.key", 2)
            for number, tier in enumerate(SHORT, start=1):
                assert waits.topic == tier.topic.name
                due_ms = (await out.deliver(waits)).timestamp_ms + tier.after_ms
                returned = (await until(of(kafka, LAKE.retries.name, unique), number))[-1]
                assert due_ms <= returned.timestamp_ms < due_ms + LATE_MS_MAX
                assert envelope.attempt_of(returned) == number + 1
                waits = again(LAKE, returned)
        assert (waits.topic, waits.value) == (LAKE.dead_letters.name, b"decision")
        assert envelope.headers_said(waits.headers)["attempts"] == "4"
        out.close()

    asyncio.run(scenario())


def test_what_waited_while_nobody_held_it_returns_at_once_and_once(
    kafka: KafkaSettings, settings: Settings, unique: str
) -> None:
    """Overdue after an outage; and a restart afterwards returns nothing again."""

    async def scenario() -> None:
        await ensure_topics(kafka, TOPICS)
        out = Delivery(kafka, client_id="test")
        short = [(n, v) if n != envelope.RETRY_AFTER else (n, b"1") for n, v in failed(OUTCOMES, unique).headers]
        waiting = failed(OUTCOMES, unique)
        await out.deliver(Outgoing(waiting.topic, waiting.key, waiting.value, short, 5))
        for _ in range(2):
            async with running(retry.run, settings):
                started = wall_ms()
                (one,) = await until(of(kafka, OUTCOMES.retries.name, unique), 1)
                assert one.timestamp_ms < started + LATE_MS_MAX
        out.close()

    asyncio.run(scenario())


def test_what_nobody_can_return_is_a_dead_letter_with_its_reason(
    kafka: KafkaSettings, settings: Settings, unique: str
) -> None:
    """It names a topic that others read; it goes nowhere, and nothing behind it waits for it."""

    async def scenario() -> None:
        await ensure_topics(kafka, TOPICS)
        out = Delivery(kafka, client_id="test")
        forged = ((envelope.RETRY_TARGET, b"case.decided.v1"), (envelope.RETRY_AFTER, b"1"))
        await out.deliver(Outgoing("aios.retry.5s", f"{unique}.forged".encode(), b"x", forged, 1))
        good = failed(LAKE, f"{unique}.good", 1)
        await out.deliver(good)
        async with running(retry.run, settings):
            (dead,) = await until(of(kafka, RETRY.dead_letters.name, unique), 1)
            assert envelope.headers_said(dead.headers)["reason"] == "unattributable"
            assert (dead.key, dead.value, dead.partition) == (f"{unique}.forged".encode(), b"x", 1)
            await until(of(kafka, LAKE.retries.name, unique), 1)
        out.close()

    asyncio.run(scenario())
