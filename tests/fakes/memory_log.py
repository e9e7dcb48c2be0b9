"""A log in memory: the Log of unit tests, one partition of each topic, with transactions and fencing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import Remembered
from aios.processors.stateful.ground import Input
from aios.processors.stateful.log import Transactions
from aios.schemas.codec import Codec
from aios.streams.record import Headers, Record
from aios.streams.topics import Topic
from aios.streams.topology import Stage


class Crash(Exception):
    """The process dies here."""


@dataclass
class MemoryLog:
    """die: when the next transaction ends, `before` or `after` it is committed."""

    codec: Codec
    stage: Stage
    die: str = ""
    now_ms: int = 1_000
    partition: int = 0
    topics: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def put(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Record:
        self.now_ms += 1
        one = Record(topic, self.partition, len(self.topics[topic]), self.now_ms, key, value, headers, "append")
        self.topics[topic].append(one)
        return one

    def producer(self, transactional_id: str) -> Transactions:
        self.owners[transactional_id] += 1
        return _Producer(self, transactional_id, self.owners[transactional_id])

    def remember(self, topic: Topic, partition: int, into: Remembered) -> int:
        found = self.topics[topic.name][into.next_offset :]
        for one in found:
            changelog.take(self.codec, topic, one.key, one.value, into, headers=one.headers)
        into.next_offset += len(found)
        return len(found)

    def inputs(self, partition: int) -> tuple[dict[str, Input], int]:
        names = [topic.name for topic in self.stage.inputs]
        return {name: Input(name, 1, 0, len(self.topics[name]), None) for name in names}, 1

    def ends(self, partition: int) -> dict[str, int]:
        return {topic.name: len(self.topics[topic.name]) for topic in self.stage.inputs}


class _Producer:
    def __init__(self, log: MemoryLog, transactional_id: str, owner: int) -> None:
        self._log = log
        self._id = transactional_id
        self._owner = owner
        self._open: list[tuple[Any, ...]] = []

    def begin_transaction(self) -> None:
        self._check()

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        *,
        on_delivery: Callable[[Any, Any], None] | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        assert partition in (-1, self._log.partition)
        self._open.append((topic, key, value, tuple(headers or ())))

    def flush(self, timeout: float) -> int:
        return 0

    def commit_transaction(self, timeout: float) -> None:
        self._check()
        die, self._log.die = self._log.die, ""
        if die == "before":
            raise Crash
        for one in self._open:
            self._log.put(*one)
        self._open.clear()
        if die == "after":
            raise Crash

    def _check(self) -> None:
        if self._log.owners[self._id] != self._owner:
            raise KafkaException(KafkaError(KafkaError._FENCED, "another owner", fatal=True))
