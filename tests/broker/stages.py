"""A small stateful stage for tests: it counts records by key, and does what a record's value says."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from aios.processors.stateful.state import Effects, StateView
from aios.schemas.codec import Codec
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Reason, RecordError, Unavailable
from aios.streams.record import Outgoing, Record
from aios.streams.topics import BREAKER_CHANGED, Family, Topic
from aios.streams.topology import Kind, Objective, Stage
from tests.fakes.registry import FakeRegistry

LETTERS = str.maketrans("0123456789", "ghijklmnop")  # stages are named in letters; failpoints rely on it


def counting_stage(unique: str, inputs: int = 1, *, ordered: bool = False) -> Stage:
    """`inputs` topics in, one out; the last input is also where its timers fire. ordered: the first input is."""

    def topic(name: str) -> Topic:
        kept = ordered and name == "in0"
        return Topic(name=f"{name}.{unique}", contracts=(), key="key", family=Family.CASE, ordered=kept)

    return Stage(
        name="count" + unique.translate(LETTERS),
        kind=Kind.FAUST,
        does="counts records by key",
        reads=tuple(topic(f"in{number}") for number in range(inputs)),
        writes=(topic("out"),),
        process="count",
        objective=Objective(p95_ms=1000),
        state_contracts=("parked.remembered.v1",) if ordered else (),
    )


def create(kafka: KafkaSettings, stage: Stage, partitions: int) -> None:
    """All topics of the stage, as streams/topics.py would have them."""
    assert stage.changelog is not None
    tiers = [tier.topic for tier in stage.tiers]
    own = (*stage.inputs, *stage.writes, stage.changelog, stage.dead_letters)
    wanted = {topic.name: topic for topic in (*own, *tiers, BREAKER_CHANGED)}
    shared = {topic.name: topic.partitions(kafka.partitions) for topic in (*tiers, BREAKER_CHANGED)}
    admin = AdminClient(client(kafka, log_level=0))
    missing = wanted.keys() - admin.list_topics(timeout=10).topics.keys()
    made = admin.create_topics(
        [NewTopic(name, shared.get(name, partitions), 1, config=wanted[name].config()) for name in missing]
    )
    for future in made.values():
        future.result(10)


def codec_of(stage: Stage) -> Codec:
    """The same schema ids in every process: no registry is asked."""
    codec = Codec(FakeRegistry())
    assert stage.changelog is not None
    codec.warm([stage.changelog])
    return codec


@dataclass
class Count:
    """The core. Values: a number or word is counted and told; `{"do": …}` does it."""

    out: str
    timer_topic: str = ""
    away: bool = False

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        assert record.key is not None
        assert record.value is not None
        if self.away:
            raise Unavailable("the test said so")
        asked: dict[str, Any] = json.loads(record.value) if record.value.startswith(b"{") else {}
        match asked.get("do"):
            case "fail":
                raise RecordError("as asked", Reason.UNDECODABLE)
            case "die":
                signal.raise_signal(signal.SIGSEGV)
            case "oversize":
                return Effects(outputs=(Outgoing(self.out, record.key, b"x" * (2 << 20)),), changes={record.key: b"9"})
            case "forget":
                return Effects(changes={record.key: None})
            case "end":
                return Effects(changes={record.key: b"1"}, ends={record.key: int(asked["at_ms"])})
            case "timer":
                return Effects(timers={(record.key.decode(), "t"): now_ms + int(asked["in_ms"])})
            case "cancel":
                return Effects(timers={(record.key.decode(), "t"): None})
        count = int(state.get(record.key) or b"0") + 1
        told = json.dumps({"id": record.value.decode(), "n": count})
        return Effects(
            outputs=(Outgoing(self.out, record.key, told.encode(), (), record.partition),),
            changes={record.key: b"%d" % count},
        )

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        return Outgoing(self.timer_topic, key.encode(), f"fired {timer_id}".encode())


def put(kafka: KafkaSettings, topic: str, values: list[tuple[str, str]], partition: int = 0, stamp: int = 0) -> None:
    """Plain records, acknowledged."""
    producer = Producer(client(kafka, log_level=0))
    for key, value in values:
        producer.produce(topic, value.encode(), key.encode(), partition=partition, timestamp=stamp)
    assert producer.flush(10) == 0


def put_back(kafka: KafkaSettings, stage: Stage, letters: list[tuple[Any, bytes]]) -> None:
    """Dead letters return to the stage, each with the value it is given, as replay would write them."""
    producer = Producer(client(kafka, log_level=0))
    for letter, value in letters:
        producer.produce(
            stage.retries.name, value, letter.key(), partition=letter.partition(), headers=letter.headers()
        )
    assert producer.flush(10) == 0


def committed(kafka: KafkaSettings, topic: str, partition: int = 0) -> list[Any]:
    """Everything committed in a partition, as a stranger reads it: aiokafka's fields by confluent-kafka.

    A commit is answered before its marker stands in the partition: read is what stood there when this was called, or
    after 10 s, behind a transaction that nobody ends, what can be read.
    """
    own = {
        "group.id": "tests.stranger",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
        "enable.auto.commit": False,
        "log_level": 0,
    }
    consumer = Consumer(client(kafka, **own))
    consumer.assign([TopicPartition(topic, partition, 0)])
    found: list[Any] = []
    deadline = time.monotonic() + 10
    end = _end(consumer, TopicPartition(topic, partition), deadline)
    while True:
        message = consumer.poll(1)
        error = None if message is None else message.error()
        if message is not None and error is None:
            found.append(message)
        ended = message is not None and error is not None and error.code() == KafkaError._PARTITION_EOF
        if (ended and message.offset() >= end) or time.monotonic() > deadline:
            consumer.close()
            return found


def _end(consumer: Consumer, place: TopicPartition, deadline: float) -> int:
    """Of what was written, committed or not. A topic that was just created has no leader for a moment."""
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, 10)[1])
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def raw(kafka: KafkaSettings, topic: str) -> list[Record]:
    """What stands in its partition 0, as the store is given it."""
    return [
        Record(topic, 0, m.offset(), m.timestamp()[1], m.key(), m.value(), tuple(m.headers() or ()), "append")
        for m in committed(kafka, topic)
    ]
