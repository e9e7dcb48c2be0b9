"""What a careful person writes by hand with confluent-kafka: a program of `aios bench peers` and `aios bench laws`.

    loop.py eos      one transaction a batch: outputs, changelog and offsets; state read back on assignment
    loop.py naive    outputs flushed, then offsets committed; state in memory alone: none of the laws of delivery

Settings by environment, see race.py. Not one of our stages: no dead letters, no bounds, no fencing by partition.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from aios.infra.bench.entrants.wire import decode, encode

BATCH_MAX = 1_000
WAIT_S_MAX = 30.0

State = dict[bytes, list[float]]


class Loop:
    """One process, any number of partitions."""

    def __init__(self, *, exactly_once: bool) -> None:
        self._broker, self._group = os.environ["BROKER"], os.environ["GROUP"]
        self._in, self._out, self._changelog = os.environ["IN"], os.environ["OUT"], os.environ["CHANGELOG"]
        self._exactly_once = exactly_once
        settings: dict[str, Any] = {
            "bootstrap.servers": self._broker,
            "acks": "all",
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 500_000,
        }
        if exactly_once:
            settings |= {"transactional.id": self._group, "transaction.timeout.ms": 60_000}
        self._producer = Producer(settings)
        if exactly_once:
            self._producer.init_transactions(WAIT_S_MAX)
        self._states: dict[int, State] = {}
        self._consumer = self._consume(self._group)
        self._consumer.subscribe([self._in], on_assign=self._assigned, on_revoke=self._revoked)
        self.stopped = False

    def run(self) -> None:
        while not self.stopped:
            messages = [each for each in self._consumer.consume(BATCH_MAX, 0.1) if each.error() is None]
            if messages:
                self._batch(messages)
        self._consumer.close()

    def _batch(self, messages: list[Any]) -> None:
        if self._exactly_once:
            self._producer.begin_transaction()
        dirty: dict[tuple[int, bytes], list[float]] = {}
        ends: dict[int, int] = {}
        for each in messages:
            key, states = each.key(), self._states[each.partition()]
            record = decode(each.value())
            before = states.get(key, [0, 0.0])
            after = states[key] = dirty[each.partition(), key] = [before[0] + 1, before[1] + record["score"]]
            record["score"] = after[1] / after[0]
            self._producer.produce(self._out, encode(record), key)
            ends[each.partition()] = each.offset() + 1
        offsets = [TopicPartition(self._in, partition, end) for partition, end in ends.items()]
        if not self._exactly_once:
            self._producer.flush(WAIT_S_MAX)
            self._consumer.commit(offsets=offsets, asynchronous=False)
            return
        for (partition, key), state in dirty.items():
            self._producer.produce(self._changelog, json.dumps(state), key, partition)
        self._producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), WAIT_S_MAX)
        self._producer.commit_transaction(WAIT_S_MAX)

    def _assigned(self, _: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._states[place.partition] = self._read_back(place.partition) if self._exactly_once else {}

    def _revoked(self, _: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._states.pop(place.partition, None)

    def _read_back(self, partition: int) -> State:
        reader, states = self._consume("reader", **{"enable.partition.eof": True}), {}
        reader.assign([TopicPartition(self._changelog, partition, OFFSET_BEGINNING)])
        while (message := reader.poll(WAIT_S_MAX)) is not None:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                break
            states[message.key()] = json.loads(message.value())
        reader.close()
        return states

    def _consume(self, group: str, **more: Any) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._broker,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                **more,
            }
        )


if __name__ == "__main__":
    loop = Loop(exactly_once=sys.argv[1] == "eos")
    signal.signal(signal.SIGTERM, lambda *_: setattr(loop, "stopped", True))
    loop.run()
