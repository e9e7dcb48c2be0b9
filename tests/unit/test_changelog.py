"""Reading a changelog back, from a broker that does as it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import Remembered
from aios.streams.config import KafkaSettings
from aios.streams.topology import PLAN


class NewLeader:
    """It has become one a moment ago: fetches end before the last records, which it names when it is asked."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._answers = [[_record(0), _record(1), _end(2)], [], [_record(2), _record(3), _end(4)]]

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 0, 4

    def assign(self, places: Any) -> None: ...

    def consume(self, *_: Any) -> list[Any]:
        return self._answers.pop(0)

    def close(self) -> None: ...


def test_state_is_read_up_to_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a fetch ends too soon the reader goes on: what it missed would be done again, on an older state."""
    monkeypatch.setattr(changelog, "reader", NewLeader)
    found, topic = Remembered(), PLAN.changelog
    assert topic is not None
    assert changelog.read(KafkaSettings(), SimpleNamespace(), topic, 0, found) == 4  # type: ignore[arg-type]
    assert found.next_offset == 4
    assert sorted(key for key, _ in found.states.items()) == [b"0", b"1", b"2", b"3"]


def _record(offset: int) -> Any:
    key = b"%d" % offset
    return SimpleNamespace(
        error=lambda: None, key=lambda: key, value=lambda: b"v", headers=lambda: None, offset=lambda: offset
    )


def _end(offset: int) -> Any:
    return SimpleNamespace(error=lambda: KafkaError(KafkaError._PARTITION_EOF), offset=lambda: offset)
