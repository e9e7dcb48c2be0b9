"""Follows the topics of a running system and keeps what the demo counts; asks no stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aios.infra.tail import Tail
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, InferenceCompleted, ReviewRequested
from aios.streams import topology
from aios.streams.config import KafkaSettings
from aios.streams.record import Record
from aios.streams.topics import CASE_ADMITTED, CASE_DECIDED, INFERENCE_COMPLETED, REVIEW_REQUESTED

TOLD = (CASE_ADMITTED.name, INFERENCE_COMPLETED.name, REVIEW_REQUESTED.name, CASE_DECIDED.name)
TASKS = {"classify": "classified", "generate": "summarised"}


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
    """Reads the topics that tell an outcome, from where they end now."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self.seen = Seen()
        self._codec = codec
        self._dead = {stage.dead_letters.name for stage in topology.STAGES if stage.reads}
        self._tail = Tail(kafka, (*TOLD, *sorted(self._dead)), gathers=True)

    def poll(self, wait_s: float) -> None:
        """Read what is there, waiting up to wait_s for the first of it. Raises Unavailable."""
        for record in self._tail.poll(wait_s):
            self._apply(record)

    def close(self) -> None:
        self._tail.close()

    def _apply(self, record: Record) -> None:
        seen = self.seen
        if record.topic in self._dead:
            key = (record.key or b"").decode("utf-8", "replace")
            seen.dead[key] = {name: record.header(name) or "" for name, _ in record.headers}
            seen.counts["dead letters"] += 1
        elif record.topic == CASE_ADMITTED.name:
            seen.counts["admitted"] += 1
        elif record.topic == INFERENCE_COMPLETED.name:
            seen.counts[TASKS[self._codec.decode(record.value, InferenceCompleted).task]] += 1
        elif record.topic == REVIEW_REQUESTED.name:
            task = self._codec.decode(record.value, ReviewRequested)
            seen.waiting[task.case_id] = task
            seen.settled_ms.setdefault(task.case_id, record.timestamp_ms)
            seen.counts["waiting for a person"] += 1
        else:
            decision = self._codec.decode(record.value, CaseDecided)
            seen.decided[decision.case_id] = decision
            seen.settled_ms.setdefault(decision.case_id, record.timestamp_ms)
            seen.counts["decided"] += 1
