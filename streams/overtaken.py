"""What a group of a stateless stage can never read any more, and what becomes of the stage then.

Enters: where the group was to read on in a partition, what came instead, and where the log begins. Leaves: an error in
the log and a count, or StateBroken. Guaranteed: where retention took records before they were read, and where a topic
that was read is shorter than that (it was created again, or lost its end), somebody is told. Which stages go on then
is declared in topology.py. Stateful ones have more to compare (processors/stateful/ground.py).

Told from nothing is what Kafka has forgotten: of a group that was away for offsets.retention.minutes (7 days) it keeps
no positions, and who has none begins at the beginning. The other way round, markers of transactions count as records:
who died between the last record and the marker behind it, and stays away until retention takes both, misses nothing.
Rejected: auto.offset.reset=error (a partition that it stopped can only be given away and assigned anew, and so can one
of which nothing was ever committed).
"""

from __future__ import annotations

import logging

from aios.streams import metrics
from aios.streams.errors import StateBroken

log = logging.getLogger(__name__)


class Overtaken:
    """Of one group. skips: it goes on behind what is gone; else it stops, for a person to decide."""

    def __init__(self, group: str, *, skips: bool) -> None:
        self._group = group
        self._skips = skips

    def deleted(self, topic: str, partition: int, first: int, end: int) -> None:
        """Offsets from first up to end are gone, unread. Raises StateBroken."""
        self._tell(
            topic,
            partition,
            f"offsets {first} to {end - 1} of {topic}[{partition}] ({end - first}) were deleted before {self._group} "
            "read them",
            end,
        )
        metrics.OVERTAKEN.labels(self._group.removeprefix("aios."), topic).inc(end - first)

    def fell(self, topic: str, partition: int, position: int, came: int) -> None:
        """Everything below position was done, and now there is an offset below it. Raises StateBroken."""
        self._tell(
            topic,
            partition,
            f"{self._group} has read {topic}[{partition}] up to offset {position}, and finds offset {came} behind it: "
            "the topic was created again, or lost its end",
            came,
        )

    def _tell(self, topic: str, partition: int, what: str, goes_on: int) -> None:
        if not self._skips:
            raise StateBroken(
                f"{what}. Nothing that it reads may be missed without a person's word: restore the topic from a "
                f"backup; or, to go on with what is there, run `kafka-consumer-groups --group {self._group} --topic "
                f"{topic}:{partition} --reset-offsets --to-earliest --execute` while the stage is down"
            )
        log.error("%s; it goes on at offset %d", what, goes_on)
