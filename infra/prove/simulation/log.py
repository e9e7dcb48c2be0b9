"""A Kafka in memory, exact where the product leans on it and bare where it does not.

Enters: records, transactions, commits of groups, a clock. Leaves: records to readers of committed ones, offsets, errors
in confluent-kafka's words. Kept as Kafka keeps them: offsets with gaps (markers, aborted records, compaction), the last
stable offset, one owner a transactional id (epochs: the earlier one is fenced and what it left open is aborted), the
broker's own timestamps, transactions that nobody ends (TRANSACTION_MS_MAX), an end of a transaction that is asked for
and arrives late, or never.

Rejected: a model of replication, leaders and segments: what a broker does with disks and other brokers is its own
business, and none of the product's code can tell the difference.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException

from aios.dlq.envelope import PREFIX
from aios.processors.stateful.log import TRANSACTION_MS_MAX
from aios.streams.partitioner import partition_of
from aios.streams.record import Headers, Outgoing
from aios.streams.topics import Topic

Place = tuple[str, int]  # topic, partition


class Ending(Enum):
    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(eq=False, slots=True)
class Transaction:
    """touched: first offset in each partition it wrote to."""

    begun_ms: int
    touched: dict[Place, int] = field(default_factory=dict)
    ending: Ending = Ending.OPEN


@dataclass(eq=False, slots=True)
class Entry:
    """One slot of a log; read by the product as what its clients hand over. marker: of a transaction's end."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    transaction: Transaction | None = None
    marker: bool = False

    @property
    def committed(self) -> bool:
        """A record that a reader of committed ones is given."""
        return not self.marker and (self.transaction is None or self.transaction.ending is Ending.COMMITTED)

    def header(self, name: str) -> str:
        """The last header of that name; empty without."""
        return next((value.decode() for key, value in reversed(self.headers) if key == name and value), "")

    @property
    def origin(self) -> tuple[str, int, int]:
        """Where it first stood: topic, partition, offset."""
        topic = self.header(f"{PREFIX}orig.topic")
        if not topic:
            return self.topic, self.partition, self.offset
        return topic, int(self.header(f"{PREFIX}orig.partition")), int(self.header(f"{PREFIX}orig.offset"))


@dataclass(slots=True)
class Partition:
    """history: everything ever written. kept, offsets: what compaction has left of it."""

    topic: Topic
    number: int
    history: list[Entry] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    open: list[Transaction] = field(default_factory=list)
    stamp: int = 0

    @property
    def end(self) -> int:
        return len(self.history)

    @property
    def stable(self) -> int:
        """Where readers of committed records end."""
        place = (self.topic.name, self.number)
        return min((one.touched[place] for one in self.open), default=self.end)

    def read(self, offset: int, count_max: int) -> tuple[list[Entry], int]:
        """Committed records from offset on, and where to read next."""
        stable, found = self.stable, list[Entry]()
        for at in range(bisect_left(self.offsets, offset), len(self.kept)):
            entry = self.kept[at]
            if entry.offset >= stable:
                return found, max(offset, stable)
            if entry.committed:
                if len(found) == count_max:
                    return found, found[-1].offset + 1
                found.append(entry)
        return found, max(offset, stable)

    def committed(self) -> Iterator[Entry]:
        """Every record that was ever visible."""
        return (entry for entry in self.history if entry.committed)

    def compact(self) -> int:
        """Drop what a later record of its key replaces, below what is open; how many went."""
        stable = self.stable
        last = {e.key: e.offset for e in self.kept if e.offset < stable and e.committed}
        before = len(self.kept)
        self.kept = [
            e
            for e in self.kept
            if e.offset >= stable or e.offset == self.end - 1 or (e.committed and last[e.key] == e.offset)
        ]
        self.offsets = [e.offset for e in self.kept]
        return before - len(self.kept)


@dataclass(slots=True)
class _Owner:
    """Who holds a transactional id."""

    epoch: int = 0
    transaction: Transaction | None = None


class Cluster:
    """See the module. clock: the broker's, Unix ms. written: told of every record as it is appended.

    visible: told of a partition in which readers of committed records may find more.
    """

    def __init__(
        self,
        topics: Mapping[str, Topic],
        per_family: int,
        clock: Callable[[], int],
        written: Callable[[Entry], None],
        visible: Callable[[str, int], None],
    ) -> None:
        self._clock = clock
        self._written = written
        self._visible = visible
        self._owners: dict[str, _Owner] = {}
        self.away = False
        self.partitions = {
            name: [Partition(topic, number) for number in range(topic.partitions(per_family))]
            for name, topic in topics.items()
        }

    def append(self, out: Outgoing, transaction: Transaction | None = None) -> Entry:
        """Write one record; murmur2 of the key chooses where it names no partition."""
        logs = self.partitions[out.topic]
        log = logs[partition_of(out.key or b"", len(logs)) if out.partition is None else out.partition]
        place = (out.topic, log.number)
        if transaction is not None and place not in transaction.touched:
            transaction.touched[place] = log.end
            log.open.append(transaction)
        entry = self._write(log, out, transaction)
        if transaction is None:
            self._visible(*place)
        return entry

    def _write(self, log: Partition, out: Outgoing, transaction: Transaction | None, *, marker: bool = False) -> Entry:
        log.stamp = max(log.stamp, self._clock())
        name, number, offset = log.topic.name, log.number, log.end
        entry = Entry(name, number, offset, log.stamp, out.key, out.value, out.headers, transaction, marker)
        log.history.append(entry)
        log.kept.append(entry)
        log.offsets.append(offset)
        self._written(entry)
        return entry

    # Transactions

    def claim(self, transactional_id: str) -> int:
        """Fence the earlier owner, end what it left open; the new owner's epoch."""
        owner = self._owners.setdefault(transactional_id, _Owner())
        owner.epoch += 1
        if owner.transaction is not None:
            self._end(owner.transaction, Ending.ABORTED)
            owner.transaction = None
        return owner.epoch

    def begin(self, transactional_id: str, epoch: int) -> Transaction:
        """The id's running transaction. Raises KafkaException when another owner came."""
        owner = self._owned(transactional_id, epoch)
        if owner.transaction is None:
            owner.transaction = Transaction(self._clock())
        return owner.transaction

    def end(self, transactional_id: str, epoch: int, ending: Ending) -> None:
        """Commit or abort. Raises KafkaException when another owner came, or nothing runs any more."""
        owner = self._owned(transactional_id, epoch)
        running, owner.transaction = owner.transaction, None
        if running is not None:
            self._end(running, ending)

    def expire(self) -> None:
        """Abort what has run for too long, and fence who ran it."""
        for transactional_id, owner in self._owners.items():
            running = owner.transaction
            if running is not None and self._clock() - running.begun_ms >= TRANSACTION_MS_MAX:
                self.claim(transactional_id)

    @property
    def is_transacting(self) -> bool:
        return any(owner.transaction is not None for owner in self._owners.values())

    def _owned(self, transactional_id: str, epoch: int) -> _Owner:
        owner = self._owners[transactional_id]
        if owner.epoch != epoch:
            raise KafkaException(KafkaError(KafkaError._FENCED, "a newer owner came", fatal=True))
        return owner

    def _end(self, transaction: Transaction, ending: Ending) -> None:
        transaction.ending = ending
        for topic, number in transaction.touched:
            log = self.partitions[topic][number]
            self._write(log, Outgoing(topic, None, None), transaction, marker=True)
            log.open.remove(transaction)
        for topic, number in transaction.touched:
            self._visible(topic, number)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a delivery report says of a record."""

    entry: Entry

    def offset(self) -> int:
        return self.entry.offset

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self.entry.timestamp
