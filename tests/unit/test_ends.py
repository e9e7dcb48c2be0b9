"""Reading to the end, from a leader that has just become one: a fetch from it may end before what was committed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError

from aios.schemas.models import TenantRegistered
from aios.streams import admin
from aios.streams.config import KafkaSettings
from aios.streams.reference import ReferenceTable
from aios.streams.topics import TENANT_REGISTERED


class NewLeader:
    """Two records, an end that is none, two more, and the end, behind a marker."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._answers = [_record(0), _record(1), _end(2), None, _record(2), _record(3), _end(5)]

    def list_topics(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(topics={TENANT_REGISTERED.name: SimpleNamespace(error=None, partitions=[0])})

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 0, 5

    def assign(self, places: Any) -> None:
        assert [place.offset for place in places] == [OFFSET_BEGINNING]

    def poll(self, *_: Any) -> Any:
        return self._answers.pop(0)

    def consume(self, *_: Any) -> list[Any]:
        return []

    def close(self) -> None: ...


def test_a_topic_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out of a rebuild or a report is missed by nobody else."""
    monkeypatch.setattr(admin, "reader", NewLeader)
    assert [one.offset for one in admin.read_all(KafkaSettings(), TENANT_REGISTERED.name)] == [0, 1, 2, 3]


def test_a_table_knows_all_that_was_there_when_it_starts() -> None:
    """Whom it does not know yet would be refused."""
    table = ReferenceTable(
        KafkaSettings(), cast(Any, None), TENANT_REGISTERED, TenantRegistered, name_of=lambda one: one.tenant
    )
    read = table._until_end(cast(Consumer, NewLeader()), {0: 5})
    assert [message.offset() for message in read] == [0, 1, 2, 3]
    assert table._read_to == {0: 5}


def _record(offset: int) -> Any:
    return SimpleNamespace(
        error=lambda: None,
        topic=lambda: TENANT_REGISTERED.name,
        partition=lambda: 0,
        offset=lambda: offset,
        timestamp=lambda: (TIMESTAMP_LOG_APPEND_TIME, 1),
        key=lambda: b"k",
        value=lambda: b"v",
        headers=lambda: None,
    )


def _end(offset: int) -> Any:
    error = KafkaError(KafkaError._PARTITION_EOF)
    return SimpleNamespace(error=lambda: error, partition=lambda: 0, offset=lambda: offset)
