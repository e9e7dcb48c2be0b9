"""What a partition is held against before it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition

from aios.processors.stateful import ground
from aios.processors.stateful.ground import Surveyor
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.topology import ADMIT


class Admin:
    """Whatever is asked for is there, from 0 to 9."""

    def __init__(self, _config: object) -> None: ...

    def describe_topics(self, topics: Any, **_: object) -> dict[str, Future[Any]]:
        return {name: _answered(SimpleNamespace(topic_id="id", partitions=[0])) for name in topics.topic_names}

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: object) -> dict[TopicPartition, Future[Any]]:
        return {place: _answered(SimpleNamespace(offset=9)) for place in asked}


def _answered(what: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(what)
    return future


@pytest.mark.parametrize("code", [None, KafkaError.NOT_COORDINATOR])
def test_an_offset_that_the_broker_does_not_tell_is_not_one_that_is_none(
    monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    """Beside a lost changelog the whole input would be processed once more."""

    class Group:
        def __init__(self, _config: object) -> None: ...
        def committed(self, places: Sequence[TopicPartition], **_: object) -> list[Any]:
            error = None if code is None else KafkaError(code)
            return [SimpleNamespace(topic=place.topic, offset=OFFSET_INVALID, error=error) for place in places]

        def close(self) -> None: ...

    monkeypatch.setattr(ground, "AdminClient", Admin)
    monkeypatch.setattr(ground, "Consumer", Group)
    surveyor = Surveyor(KafkaSettings(), ADMIT)
    if code is None:
        found, _ = surveyor.inputs(0)
        assert {one.committed for one in found.values()} == {None}
        return
    with pytest.raises(Unavailable, match="cannot be looked up"):
        surveyor.inputs(0)
