"""What owners of a partition were about to do: nobody waits for ever for a client that was misled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from aios.processors.connectors import intents
from aios.processors.connectors.intents import Intents
from aios.schemas.codec import Codec
from aios.streams.config import KafkaSettings
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
