"""What a stage is handed of one input partition: a batch of records as the client fetched them.

Enters: records. Leaves: the same, with the offsets that they stand for and the memory that they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aios.streams.record import Record

HEADER_BYTES = 150  # of a header in memory, beside its name and value


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one input partition as the consumer gave them, in order.

    start, end: what is not here of these offsets was handed over before, or nobody is ever given it (markers of
    transactions, aborted records). records: perhaps none. size: what they hold of memory.
    """

    topic: str
    partition: int
    start: int
    records: Sequence[Record]
    end: int
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(map(_held_bytes, self.records)))


def _held_bytes(record: Record) -> int:
    """Key and headers too: whoever fills those must not fill the memory."""
    size = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value or b"") + HEADER_BYTES
    return size
