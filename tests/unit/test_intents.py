"""What owners of a partition were about to do: nobody waits for ever for a client that was misled."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from aios.processors.connectors import intents
from aios.processors.connectors.intents import Intents
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorIntended
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.topics import CONNECTOR_INTENDED
from tests.fakes.registry import FakeRegistry


class Client:
    """Of an empty topic, or one that was told that there is no such partition."""

    def __init__(self, *, is_misled: bool) -> None:
        self.is_misled = is_misled

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        if self.is_misled:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 0, 0

    def offsets_for_times(self, asked: list[Any], **_: Any) -> list[Any]:
        asked[0].offset = -1
        return asked

    def incremental_assign(self, _: Any) -> None: ...
    def poll(self, _: float) -> None: ...
    def close(self) -> None: ...


def test_after_an_error_a_client_that_knows_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of that partition go on."""
    made: list[Client] = []

    def reader(*_: Any, **__: Any) -> Client:
        made.append(Client(is_misled=len(made) < 2))  # the one that follows, and the first that is asked
        return made[-1]

    monkeypatch.setattr(intents, "reader", reader)
    monkeypatch.setattr(intents, "ASK_S_MAX", 0.0)
    monkeypatch.setattr(intents, "AGAIN_S", 0.0)
    one = Intents(KafkaSettings(bootstrap_servers="nowhere:1"), Codec(FakeRegistry()))
    one.start()
    try:
        assert asyncio.run(asyncio.wait_for(one.known(0, 1), 5.0))
    finally:
        one.close()


class Record:
    """One intent, of the command that its value names."""

    def __init__(self, offset: int, value: bytes) -> None:
        self._offset = offset
        self._value = value

    def value(self) -> bytes:
        return self._value

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return CONNECTOR_INTENDED.name

    def partition(self) -> int:
        return 0

    def error(self) -> None: ...

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000


class Full(Client):
    """Of a topic with these records, each consumed once: all but the last together."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__(is_misled=False)
        self.high = len(records)
        self.left = deque(records)

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 0, self.high

    def offsets_for_times(self, asked: list[Any], **_: Any) -> list[Any]:
        asked[0].offset = 0
        return asked

    def poll(self, _: float) -> Any:
        return self.left.popleft() if self.left else None

    def consume(self, _: int, __: float) -> list[Any]:
        return [self.left.popleft() for _ in range(len(self.left) - 1)]


def intended(request_id: str) -> ConnectorIntended:
    return ConnectorIntended(
        request_id=request_id,
        case_id="case",
        tenant="demo",
        system="calendars",
        operation="book",
        tried=1,
        intended_at=1_000,
    )


def test_while_the_registry_is_away_no_intent_is_jumped_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema id not seen yet in the middle of a batch: that one and the rest of it are read when it is back."""
    codec = Codec(FakeRegistry())
    asked = [intended(f"c{number}") for number in range(4)]
    records = [Record(number, codec.encode(CONNECTOR_INTENDED, one)) for number, one in enumerate(asked)]
    decode, times = codec.decode, 0

    def unknown_twice(value: Any, expected: Any) -> Any:
        nonlocal times
        event = decode(value, expected)
        if event.request_id == "c1" and times < 2:
            times += 1
            raise Unavailable("the registry is away")
        return event

    monkeypatch.setattr(codec, "decode", unknown_twice)
    client = Full(records)
    monkeypatch.setattr(intents, "reader", lambda *_, **__: client)
    monkeypatch.setattr(intents, "AGAIN_S", 0.0)
    one = Intents(KafkaSettings(bootstrap_servers="nowhere:1"), codec)
    one.start()
    try:
        assert asyncio.run(asyncio.wait_for(one.known(0, 1), 5.0))
        assert [[each.offset for each in one.of(0, f"c{number}")] for number in range(4)] == [[0], [1], [2], [3]]
    finally:
        one.close()
