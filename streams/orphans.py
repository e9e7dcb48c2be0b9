"""Partitions that a group has forgotten: nobody reads them, and the group is at peace with it.

Enters: what the coordinator says of a group. Leaves: whether this member must join it anew. Guaranteed: a member that
has been up for LOOK_S_MAX asks no more; nothing here waits for Kafka.

A cooperative rebalance takes partitions from their owner first and gives them away in a second one, for which the owner
asks. An owner that is killed between the two and comes back as the same static member gets what the first one has left
it, and the group is stable: nobody asks for the second, and what was taken has no owner until somebody joins or leaves,
which may be never. So whoever has just come looks whether everything has an owner.
Rejected: to join anew at every start (a rebalance a restart, which static membership is there to save).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from aios.streams.config import KafkaSettings, client

LOOK_S = 1.0
LOOK_S_MAX = 60.0
ANSWER_S_MAX = 5.0
LOOKS = 2  # in a row, before nobody's is nobody's: between its two halves a rebalance looks the same

log = logging.getLogger(__name__)


class Orphans:
    """Of one member's life, from its first assignment on. Used from one thread."""

    def __init__(self, kafka: KafkaSettings, group: str, topics: Sequence[str]) -> None:
        self._admin = AdminClient(client(kafka, log_level=0))
        self._group = group
        self._topics = TopicCollection(list(topics))
        self._asked: list[Future[Any]] = []
        self._look_at = 0.0
        self._until = 0.0
        self._seen = 0

    def found(self, now: float) -> bool:
        """Whether there are some: join anew. now: monotonic; call it again and again."""
        self._until = self._until or now + LOOK_S_MAX
        if self._asked:
            if all(one.done() for one in self._asked):
                self._seen = self._seen + 1 if self._count() else 0
                self._asked = []
        elif self._look_at <= now < self._until:
            self._look_at = now + LOOK_S
            self._asked = [
                *self._admin.describe_consumer_groups([self._group], request_timeout=ANSWER_S_MAX).values(),
                *self._admin.describe_topics(self._topics, request_timeout=ANSWER_S_MAX).values(),
            ]
        if self._seen < LOOKS:
            return False
        self._seen = 0
        return True

    def over(self, now: float) -> bool:
        """Whether nothing will be asked any more, and this can be let go with its client."""
        return bool(self._until) and now >= self._until and not self._asked

    def _count(self) -> int:
        """Partitions without an owner; 0 while the group finds its order, and while Kafka does not say."""
        try:
            group, *topics = (one.result() for one in self._asked)
        except KafkaException as error:
            log.debug("%s cannot be looked at: %s", self._group, error)
            return 0
        if group.state != ConsumerGroupState.STABLE:
            return 0
        owned = {(one.topic, one.partition) for member in group.members for one in member.assignment.topic_partitions}
        return sum((topic.name, part.id) not in owned for topic in topics for part in topic.partitions)
