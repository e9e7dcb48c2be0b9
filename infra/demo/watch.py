"""Follows the topics of a running system and keeps what the demo counts; asks no stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, ReviewRequested
from aios.streams import topology
from aios.streams.config import KafkaSettings, client
from aios.streams.topics import CASE_ADMITTED, CASE_DECIDED, EVENT_REFUSED, INFERENCE_COMPLETED, REVIEW_REQUESTED

STAGES = ("published", "admitted", "answered by models", "waiting for a person", "decided", "refused", "dead letters")


@dataclass(slots=True)
class Seen:
    """What has come out so far. settled: source key or case id → broker ms at which it came to rest."""

    counts: Counter[str] = field(default_factory=Counter)
    decided: dict[str, CaseDecided] = field(default_factory=dict)
    waiting: dict[str, ReviewRequested] = field(default_factory=dict)
    dead: dict[str, Mapping[str, str]] = field(default_factory=dict)  # record key → its aios.dlq.* headers
    settled_ms: dict[str, int] = field(default_factory=dict)


class Watch:
    """Reads every partition of the topics that tell an outcome, from the beginning, read committed."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self.seen = Seen()
        self._codec = codec
        self._dead = {stage.dead_letters.name for stage in topology.STAGES if stage.reads}
        names = [t.name for t in (CASE_ADMITTED, INFERENCE_COMPLETED, REVIEW_REQUESTED, CASE_DECIDED, EVENT_REFUSED)]
        self._consumer = Consumer(
            client(
                kafka,
                **{"group.id": "aios.demo", "enable.auto.commit": False, "isolation.level": "read_committed"},
            )
        )
        metadata = self._consumer.list_topics(timeout=10)
        self._consumer.assign(
            [
                TopicPartition(name, partition, OFFSET_BEGINNING)
                for name in (*names, *sorted(self._dead))
                for partition in metadata.topics[name].partitions
            ]
        )

    def poll(self, wait_s: float) -> None:
        """Read what is there, waiting up to wait_s for the first of it."""
        for message in self._consumer.consume(500, wait_s):
            if message.error():
                raise RuntimeError(message.error())
            self._apply(message)

    def _apply(self, message: object) -> None:
        topic, value, at = message.topic(), message.value(), message.timestamp()[1]  # type: ignore[attr-defined]
        if topic in self._dead:
            headers = {k: v.decode() for k, v in message.headers() or () if k.startswith("aios.dlq.")}  # type: ignore[attr-defined]
            key = (message.key() or b"").decode("utf-8", "replace")  # type: ignore[attr-defined]
            self.seen.dead[key] = headers
            self._count("dead letters", key, at)
        elif topic == CASE_ADMITTED.name:
            self._count("admitted")
        elif topic == EVENT_REFUSED.name:
            self._count("refused")
        elif topic == INFERENCE_COMPLETED.name:
            self._count("answered by models")
        elif topic == REVIEW_REQUESTED.name:
            task = self._codec.decode(value, ReviewRequested)
            self.seen.waiting[task.case_id] = task
            self._count("waiting for a person", task.case_id, at)
        else:
            decision = self._codec.decode(value, CaseDecided)
            self.seen.decided[decision.case_id] = decision
            self._count("decided", decision.case_id, at)

    def _count(self, what: str, settled: str = "", at: int = 0) -> None:
        self.seen.counts[what] += 1
        if settled:
            self.seen.settled_ms.setdefault(settled, at)

    def close(self) -> None:
        self._consumer.close()
