"""Commits of one member of a group: what has finished, told to Kafka from time to time. Of the thread in polling.py.

Enters: the partitions in hand with their positions, and Kafka's answers. Leaves: committed positions. Guaranteed: none
passes an unfinished record (offsets.py says which); one that Kafka did not take is asked for again, unless another
generation owns the partition: then it is dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aios.streams import failpoints
from aios.streams.hands import Hands, Lane

COMMIT_S = 0.2  # between two commits; what a killed process did within it is done again
COMMIT_S_MAX = 10.0  # until a commit without an answer is asked again
_STALE = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID})


class Commits:
    """See the module. changed: the lock around every call of hands. trouble: what is told of Kafka being away."""

    def __init__(
        self, hands: Hands, changed: threading.Condition, *, process: str, trouble: Callable[[KafkaError], None]
    ) -> None:
        self._hands = hands
        self._changed = changed
        self._process = process
        self._trouble = trouble
        self._at = 0.0

    def step(self, consumer: Consumer, now: float) -> None:
        """Ask for the positions that have risen, when it is time; answered() hears the answer. now: monotonic."""
        if now < self._at:
            return
        with self._changed:
            offsets = _to_commit(self._hands.lanes.values())
        self._at = now + (COMMIT_S_MAX if offsets else COMMIT_S)
        if not offsets:
            return
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._refused(error.args[0])

    def answered(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """Called by poll."""
        self._at = time.monotonic() + COMMIT_S
        if error is not None:
            self._refused(error)
            return
        failpoints.hit(f"{self._process}.committed")
        with self._changed:
            for place in places:
                if place.error is not None:
                    self._refused(place.error)
                elif place.offset >= 0:
                    for lane in self._hands.of([(place.topic, place.partition)]):
                        lane.tracker.committed(place.offset)

    def now(self, consumer: Consumer, lanes: Iterable[Lane]) -> None:
        """And wait for the answer."""
        with self._changed:
            offsets = _to_commit(lanes)
        if not offsets:
            return
        try:
            self.answered(None, consumer.commit(offsets=offsets, asynchronous=False))
        except KafkaException as error:
            self._refused(error.args[0])

    def _refused(self, error: KafkaError) -> None:
        """A commit that was not taken. Another generation owns the partition: dropped. Kafka is away: tried again."""
        if error.code() not in _STALE:
            self._trouble(error)


def place_of(lane: Lane) -> TopicPartition:
    """The partition, as Kafka's client names it."""
    return TopicPartition(lane.topic, lane.partition)


def _to_commit(lanes: Iterable[Lane]) -> list[TopicPartition]:
    return [
        TopicPartition(lane.topic, lane.partition, offset)
        for lane in lanes
        if (offset := lane.tracker.to_commit) is not None
    ]
