"""Fetches of aiokafka's client as records of ours.

Enters: what a broker answered for a partition. Leaves: its committed records, as ours at once: made as aiokafka's
first, each would be made twice. Guaranteed: a header whose name is no UTF-8, which brokers take from whoever may write,
stops no stage. aiokafka refuses such a record, and with it all that stands behind it in the partition; so a fetch that
it cannot read is read once more in pure Python, with U+FFFD for what is no text.
Rejected: pure Python for every fetch (ten times slower).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

from aios.streams.record import APPENDED, CREATED, Record

_TIMESTAMP_TYPES = {0: CREATED, 1: APPENDED}  # as aiokafka has them


class Fetched:
    """What aiokafka's MemoryRecords is, with the bytes that it was made of."""

    def __init__(self, data: bytes) -> None:
        batches = MemoryRecords(data)
        self.data = data
        self.has_next, self.next_batch, self.size_in_bytes = (
            batches.has_next,
            batches.next_batch,
            batches.size_in_bytes,
        )


class Unpacked(fetcher.PartitionRecords):
    """What aiokafka's PartitionRecords is, of our records."""

    def __init__(self, tp: TopicPartition, records: Fetched, aborted_transactions: Any, *rest: Any) -> None:
        super().__init__(tp, records, aborted_transactions, *rest)
        self._data, self._aborted = records.data, sorted(aborted_transactions or (), key=lambda one: one[1])
        self._records_iterator = self._readable()

    def __iter__(self) -> Iterator[Record]:
        """What its own __next__ goes on with, without a call of that for each."""
        return self._records_iterator

    def _readable(self) -> Iterator[Record]:
        try:
            yield from self._unpack_records()
        except (CorruptRecordException, UnicodeDecodeError):
            first = self.next_fetch_offset
            self._records, self._aborted_transactions = _Lenient(self._data), self._aborted
            self._aborted_producers.clear()
            yield from (record for record in self._unpack_records() if record.offset >= first)

    def _consumer_record(self, tp: TopicPartition, read: Any) -> Record:
        whose = _TIMESTAMP_TYPES.get(read.timestamp_type, "")
        stamp = max(read.timestamp or 0, 0)  # a producer that writes none is read as -1
        return Record(tp.topic, tp.partition, read.offset, stamp, read.key, read.value, tuple(read.headers), whose)


class _Lenient(_MemoryRecordsPy):
    """Batches whose headers can be read whatever their names are."""

    def next_batch(self) -> Any:
        data = self._next_slice
        if data is None or data[self.MAGIC_OFFSET] < 2:  # older formats have no headers
            return super().next_batch()
        self._cache_next()
        return _LenientBatch(data)


class _LenientBatch(_DefaultRecordBatchPy):
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Text(self._buffer)


class _Text(bytearray):
    """Bytes of which every piece is text."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(at, slice) else found

    def decode(self, *_: Any) -> str:
        return super().decode("utf-8", "replace")


fetcher.MemoryRecords, fetcher.PartitionRecords = Fetched, Unpacked
