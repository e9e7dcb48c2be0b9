"""Records by their place, for those who were told where one stands.

Enters: topic, partition and offsets, or a time. Leaves: the records that are still there. Guaranteed: read committed;
every call ends within ANSWER_S_MAX without progress, by Unavailable, and the next one is made by a new client. One
consumer in no group, kept while all goes well, because a new one for each record costs a connection; not for several
threads at once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aios.streams.admin import reader, record_of
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.record import Record, Where

ANSWER_S_MAX = 10.0
POLL_S = 0.2
BATCH_MAX = 500
FETCH_MS_MAX = 10  # a broker answers one request of a connection after the other: at an end, the next question waits
SKIP_MAX = 200  # records read in vain rather than sought anew


_BEYOND = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


class _Beyond(Unavailable):
    """The place is outside of the log."""


class Places:
    """See the module. Needs close()."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._consumer = self._new()

    def fetch(self, wanted: Iterable[Where]) -> dict[Where, Record]:
        """Those that are there, by place. Raises Unavailable."""
        by_partition: dict[tuple[str, int], set[int]] = defaultdict(set)
        for topic, partition, offset in wanted:
            by_partition[topic, partition].add(offset)
        found: dict[Where, Record] = {}
        for (topic, partition), offsets in by_partition.items():
            for run in _runs(sorted(offsets)):
                for record in self._there(topic, partition, run[0], run[-1] + 1):
                    if record.offset in offsets:
                        found[topic, partition, record.offset] = record
        return found

    def _there(self, topic: str, partition: int, first: int, stop: int) -> list[Record]:
        """What is left of these offsets. The log is asked for its ends only where it does not hold them all."""
        try:
            return list(self.scan(topic, partition, first, stop))
        except _Beyond:
            if partition not in self._partitions(topic):
                return []
            low, high = self.ends(topic, partition)
            first, stop = max(first, low), min(stop, high)
            return list(self.scan(topic, partition, first, stop)) if first < stop else []

    def scan(self, topic: str, partition: int, first: int, stop: int) -> Iterator[Record]:
        """Records first..stop-1, in order; ends early where the log ends. Raises Unavailable.

        And another Unavailable where the log holds no `first` (any more, or yet).
        """
        with self._renewed_on_error(f"{topic} cannot be read"):
            try:
                self._consumer.assign([TopicPartition(topic, partition, first)])
                yield from self._until(topic, stop)
            finally:
                self._consumer.unassign()

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """The first record that is left, and after the last. Raises Unavailable."""
        with self._renewed_on_error(f"{topic} cannot be read"):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S_MAX)
        return low, high

    def since(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset written at that time or later, else the end. Raises Unavailable."""
        with self._renewed_on_error(f"{topic} cannot be read"):
            asked = TopicPartition(topic, partition, max(timestamp_ms, 0))
            (first,) = self._consumer.offsets_for_times([asked], timeout=ANSWER_S_MAX)
        return first.offset if first.offset >= 0 else self.ends(topic, partition)[1]

    def close(self) -> None:
        self._consumer.close()

    def _partitions(self, topic: str) -> Iterable[int]:
        """Of a topic that a broker does not know, for it has just started perhaps, nothing is known to be gone."""
        with self._renewed_on_error(f"{topic} cannot be read"):
            found = self._consumer.list_topics(topic, timeout=ANSWER_S_MAX).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            return list(found.partitions)

    def _new(self) -> Consumer:
        return reader(self._kafka, **{"fetch.wait.max.ms": FETCH_MS_MAX})

    @contextmanager
    def _renewed_on_error(self, what: str) -> Iterator[None]:
        """A client that was told once, while brokers came back, that a partition is unknown says so for ever.

        It never asks again (`aios prove matrix brokers` tells when this can go). Raises Unavailable instead.
        """
        try:
            yield
        except KafkaException as error:
            self._consumer.close()
            self._consumer = self._new()
            raise Unavailable(f"{what}: {error.args[0].str()}") from error

    def _until(self, topic: str, stop: int) -> Iterator[Record]:
        deadline = time.monotonic() + ANSWER_S_MAX
        while True:
            first = self._consumer.poll(POLL_S)
            if first is None:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{topic} was not read within {ANSWER_S_MAX:.0f} s")
                continue
            deadline = time.monotonic() + ANSWER_S_MAX
            for message in (first, *self._consumer.consume(BATCH_MAX, 0)):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    return
                if error is not None and error.code() in _BEYOND:
                    raise _Beyond(f"{topic} does not hold what is asked for: {error.str()}")
                if error is not None:
                    raise KafkaException(error)
                if message.offset() < stop:
                    yield record_of(message)
                if message.offset() + 1 >= stop:
                    return


def _runs(offsets: list[int]) -> Iterator[list[int]]:
    """Rising offsets, parted where the gap is worth a seek."""
    run: list[int] = []
    for offset in offsets:
        if run and offset - run[-1] > SKIP_MAX:
            yield run
            run = []
        run.append(offset)
    if run:
        yield run
