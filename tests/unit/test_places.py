"""Records by their place: what a client that was misled says is not believed for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from aios.dlq import places
from aios.dlq.places import Places
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable

ASKED: dict[str, Callable[[Places], object]] = {
    "ends": lambda one: one.ends("t", 0),
    "since": lambda one: one.since("t", 0, 7),
    "scan": lambda one: list(one.scan("t", 0, 0, 1)),
}


class Client:
    """One that was told that a partition is unknown, or one that was not."""

    def __init__(self, *, is_misled: bool) -> None:
        self.is_misled = is_misled
        self.is_closed = False

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        self._check()
        return 0, 5

    def offsets_for_times(self, asked: list[Any], **_: Any) -> list[Any]:
        self._check()
        return asked

    def assign(self, _: Any) -> None:
        self._check()

    def poll(self, _: float) -> Any:
        return self

    def consume(self, *_: Any) -> list[Any]:
        return []

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._PARTITION_EOF)

    def unassign(self) -> None:
        assert not self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def _check(self) -> None:
        if self.is_misled:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))


@pytest.mark.parametrize("asks", ASKED.values(), ids=ASKED)
def test_after_an_error_a_client_that_knows_nothing_is_asked(
    asks: Callable[[Places], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was misled is closed, and asked no more."""
    made: list[Client] = []

    def reader(*_: Any, **__: Any) -> Client:
        made.append(Client(is_misled=not made))
        return made[-1]

    monkeypatch.setattr(places, "reader", reader)
    one = Places(KafkaSettings(bootstrap_servers="nowhere:1"))
    with pytest.raises(Unavailable, match="t cannot be read"):
        asks(one)
    asks(one)
    assert [client.is_closed for client in made] == [True, False]
