"""Follows topics of a running system from where they end now, for commands that watch: demo and bench.

Enters: topic names. Leaves: records, read committed, every partition, no group. Guaranteed: what is produced after
the constructor returned is seen; nothing is committed; nothing is fetched before the first poll, so that whoever
measures a system and reads afterwards puts no load on it.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from aios.streams.admin import record_of, watermarks
from aios.streams.config import GATHERING, KafkaSettings, client
from aios.streams.errors import Unavailable
from aios.streams.record import Record

READ_MAX = 1000  # records of one poll
ASK_S_MAX = 10.0


class Tail:
    def __init__(self, kafka: KafkaSettings, names: Iterable[str], *, gathers: bool = False) -> None:
        """gathers: as an Intake's, for who shows people what happens, or wants the broker's times alone.

        Raises Unavailable when the broker does not answer within ASK_S_MAX.
        """
        own: dict[str, object] = {
            "group.id": "aios.tail",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            **(GATHERING if gathers else {}),
        }
        self._consumer = Consumer(client(kafka, **own))
        try:
            known = self._consumer.list_topics(timeout=ASK_S_MAX).topics
            places = [TopicPartition(name, number) for name in names for number in known[name].partitions]
            for place in places:
                _, place.offset = watermarks(self._consumer, place, ASK_S_MAX)
        except KafkaException as error:
            self._consumer.close()
            raise Unavailable(f"Kafka at {kafka.bootstrap_servers}: {error}") from error
        self._places = places  # not assigned yet

    def poll(self, wait_s: float) -> list[Record]:
        """What is there, waiting up to wait_s for the first of it. Raises Unavailable."""
        if self._places:
            self._consumer.assign(self._places)
            self._places = []
        found = []
        for message in self._consumer.consume(READ_MAX, wait_s):
            if message.error():
                raise Unavailable(f"reading what came out: {message.error()}")
            found.append(record_of(message))
        return found

    def close(self) -> None:
        self._consumer.close()
