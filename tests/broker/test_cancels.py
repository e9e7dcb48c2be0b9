"""What was cancelled before a worker came, on a real broker: the last of it, and in a time that does not grow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from aios.inference_workers import cancels
from aios.inference_workers.cancels import Cancels, Tail
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCancelled
from aios.streams import topics
from aios.streams.admin import ensure_topics
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing
from aios.streams.wall_clock import wall_ms

pytestmark = pytest.mark.broker
TOPIC = topics.inference_cancelled("generate.interactive")
FEW = 5


class Counting:
    """A codec that counts what it decodes."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.decoded = 0

    def decode(self, value: bytes, event: type[Any]) -> Any:
        self.decoded += 1
        return self._codec.decode(value, event)


async def put(kafka: KafkaSettings, codec: Codec, names: Sequence[str]) -> None:
    delivery = Delivery(kafka, client_id="test")
    told = [
        InferenceCancelled(
            request_id=name, case_id="c", tenant="demo", pool="p", reason="timed_out", cancelled_at=wall_ms()
        )
        for name in names
    ]
    try:
        await delivery.deliver_all(
            Outgoing(TOPIC.name, one.request_id.encode(), codec.encode(TOPIC, one)) for one in told
        )
    finally:
        await asyncio.to_thread(delivery.close)


def test_after_a_long_outage_the_last_are_read_and_no_more(
    kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as many were cancelled as are remembered: the latest are known when the worker starts; what comes
    afterwards is heard.
    """
    monkeypatch.setattr(cancels, "REMEMBERED_MAX", FEW)
    names = [f"{unique}-{number}" for number in range(10 * FEW)]
    counting = Counting(codec)

    async def work() -> None:
        await ensure_topics(kafka, (TOPIC,))
        await put(kafka, codec, names)
        known = Cancels()
        tail = Tail(kafka, counting, TOPIC, known)  # type: ignore[arg-type] - it decodes as a codec does
        await asyncio.to_thread(tail.start)
        try:
            await asyncio.sleep(0)  # what was said from the thread
            assert [name for name in names if known.reason(name)] == names[-FEW:]
            assert counting.decoded == FEW
            heard = asyncio.Event()
            with known.working(f"{unique}-late", heard.set):
                await put(kafka, codec, [f"{unique}-late"])
                await asyncio.wait_for(heard.wait(), 10)
        finally:
            await asyncio.to_thread(tail.close)

    asyncio.run(work())


def test_fewer_than_are_remembered_are_all_known(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """The topic is read from its first record."""
    names = [f"{unique}-{number}" for number in range(FEW)]

    async def work() -> list[str]:
        await ensure_topics(kafka, (TOPIC,))
        await put(kafka, codec, names)
        known = Cancels()
        tail = Tail(kafka, codec, TOPIC, known)
        await asyncio.to_thread(tail.start)
        await asyncio.sleep(0)
        await asyncio.to_thread(tail.close)
        return [name for name in names if known.reason(name)]

    assert asyncio.run(work()) == names
