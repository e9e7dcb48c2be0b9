"""What a stage is handed of one input partition: a batch of records as the client fetched them.

Enters: aiokafka's records. Leaves: the same, with the offsets that they stand for and the memory that they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aios.streams.record import Record

HEADER_BYTES = 150  # of a header in memory, beside its name and value


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one input partition as the consumer gave them, in order.

    start, end: what is not here of these offsets was handed over before, or nobody is ever given it (markers of
    transactions, aborted records). records: aiokafka's, untouched; perhaps none. size: what they hold of memory.
    """

    topic: str
    partition: int
    start: int
    records: Sequence[Any]
    end: int
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(map(_held_bytes, self.records)))


_TIMESTAMP_TYPES = {0: "create", 1: "append"}  # as aiokafka has them


def record_of(raw: Any) -> Record:
    whose = _TIMESTAMP_TYPES.get(raw.timestamp_type, "")
    return Record(raw.topic, raw.partition, raw.offset, raw.timestamp or 0, raw.key, raw.value, raw.headers, whose)


def _held_bytes(raw: Any) -> int:
    """Key and headers too: whoever fills those must not fill the memory."""
    size = len(raw.key or b"") + len(raw.value or b"")
    for name, value in raw.headers:
        size += len(name) + len(value or b"") + HEADER_BYTES
    return size
