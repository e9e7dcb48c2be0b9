"""Follows the topics of a running system and keeps what the demo counts; asks no stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from aios.schemas.codec import Codec
from aios.schemas.models import CaseAdmitted, CaseDecided, InferenceCompleted, ReviewRequested
from aios.streams import topology
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Unavailable
from aios.streams.topics import CASE_ADMITTED, CASE_DECIDED, INFERENCE_COMPLETED, REVIEW_REQUESTED

READ_MAX = 500  # records of one poll
ASK_S_MAX = 10.0


@dataclass(slots=True)
class Seen:
    """What has come out so far, by case id; dead letters by record key. settled_ms: broker time of the outcome."""

    counts: Counter[str] = field(default_factory=Counter)  # by stage, as it went by
    decided: dict[str, CaseDecided] = field(default_factory=dict)
    waiting: dict[str, ReviewRequested] = field(default_factory=dict)
    dead: dict[str, Mapping[str, str]] = field(default_factory=dict)  # record key → its aios.dlq.* headers
    settled_ms: dict[str, int] = field(default_factory=dict)

    def at_rest(self, cases: Iterable[str]) -> int:
        """How many of these cases are decided or wait for a person."""
        return sum(case in self.decided or case in self.waiting for case in cases)


class Watch:
    """Reads the topics that tell an outcome from where they end now, read committed."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self.seen = Seen()
        self._codec = codec
        self._dead = {stage.dead_letters.name for stage in topology.STAGES if stage.reads}
        self._consumer = Consumer(
            client(
                kafka,
                **{"group.id": "aios.demo", "enable.auto.commit": False, "isolation.level": "read_committed"},
            )
        )
        told = (CASE_ADMITTED.name, INFERENCE_COMPLETED.name, REVIEW_REQUESTED.name, CASE_DECIDED.name)
        known = self._consumer.list_topics(timeout=ASK_S_MAX).topics
        places = [
            TopicPartition(name, number) for name in (*told, *sorted(self._dead)) for number in known[name].partitions
        ]
        for place in places:
            _, place.offset = self._consumer.get_watermark_offsets(place, timeout=ASK_S_MAX)
        self._consumer.assign(places)

    def poll(self, wait_s: float) -> None:
        """Read what is there, waiting up to wait_s for the first of it. Raises Unavailable."""
        for message in self._consumer.consume(READ_MAX, wait_s):
            if message.error():
                raise Unavailable(f"reading what came out: {message.error()}")
            self._apply(message)

    def close(self) -> None:
        self._consumer.close()

    def _apply(self, message: Any) -> None:
        topic, value, at = message.topic(), message.value(), message.timestamp()[1]
        if topic in self._dead:
            key = (message.key() or b"").decode("utf-8", "replace")
            self.seen.dead[key] = {k: v.decode() for k, v in message.headers() or () if k.startswith("aios.dlq.")}
            self.seen.counts["dead letters"] += 1
        elif topic == CASE_ADMITTED.name:
            self._codec.decode(value, CaseAdmitted)
            self.seen.counts["admitted"] += 1
        elif topic == INFERENCE_COMPLETED.name:
            self.seen.counts[f"{self._codec.decode(value, InferenceCompleted).task}d"] += 1
        elif topic == REVIEW_REQUESTED.name:
            task = self._codec.decode(value, ReviewRequested)
            self.seen.waiting[task.case_id] = task
            self.seen.settled_ms.setdefault(task.case_id, at)
            self.seen.counts["waiting for a person"] += 1
        else:
            decision = self._codec.decode(value, CaseDecided)
            self.seen.decided[decision.case_id] = decision
            self.seen.settled_ms.setdefault(decision.case_id, at)
            self.seen.counts["decided"] += 1
