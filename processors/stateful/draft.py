"""A micro-batch that is being computed: outputs, changed states, timers and held keys, before any of it is written.

Enters: the effects of one record after the other. Leaves: what one transaction writes, and the view of state that a
core is given meanwhile. Guaranteed: nothing here is seen by anybody until the transaction is committed; a draft that is
full takes no further record; what its topic would refuse is refused before it is part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import timer_name
from aios.processors.stateful.log import FRAMING_BYTES, MESSAGES_MAX
from aios.processors.stateful.state import OUTPUTS_MAX, Effects
from aios.processors.stateful.states import States
from aios.schemas.models import ParkedRemembered as Parked
from aios.streams import topology
from aios.streams.errors import Reason, SchemaMismatch
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RECORD_BYTES_MAX

RECORDS_MAX = 4_000  # of one transaction
BYTES_MAX = 16 << 20  # written by one transaction; one record more may exceed it
_LIMITS = {name: topic.bytes_max for name, topic in topology.all_topics().items()}


@dataclass(slots=True)
class Draft:
    """A micro-batch that is being computed; also the view of state that the core is given."""

    states: States
    held: Mapping[bytes, Parked]
    position: dict[str, int]
    outputs: list[Outgoing] = field(default_factory=list)
    changes: dict[bytes, bytes | None] = field(default_factory=dict)
    ends: dict[bytes, int] = field(default_factory=dict)  # of changed states
    timers: dict[bytes, int | None] = field(default_factory=dict)
    parked: dict[bytes, Parked | None] = field(default_factory=dict)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    stamps: list[int] = field(default_factory=list)
    succeeded: list[Record] = field(default_factory=list)  # not done() yet
    records: int = 0
    size: int = 0

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        return self.states.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self.states.items():
            if key.startswith(prefix) and key not in self.changes:
                yield key, value
        for key, changed in self.changes.items():
            if key.startswith(prefix) and changed is not None:
                yield key, changed

    def parked_of(self, key: bytes) -> Parked | None:
        return self.parked[key] if key in self.parked else self.held.get(key)

    def park(self, key: bytes, known: Parked | None) -> None:
        if known != self.parked_of(key):
            self.parked[key] = known

    def write(self, out: Outgoing) -> None:
        self.outputs.append(out)
        self.size += _bytes_of(out)

    def add(self, effects: Effects, size: int) -> None:
        self.outputs += effects.outputs
        self.changes.update(effects.changes)
        if self.ends:
            for key in effects.changes:
                self.ends.pop(key, None)
        self.ends.update(effects.ends)
        for (whose, timer_id), due in effects.timers.items():
            self.timers[timer_name(whose, timer_id)] = due
        self.size += size

    def done(self, records: Sequence[Record], verdict: str) -> None:
        """One after the other, of one topic."""
        if records:
            last = records[-1]
            self.position[last.topic] = last.offset + 1
            self.verdicts[last.topic, verdict] += len(records)
            self.stamps += [record.timestamp_ms for record in records if record.timestamp_ms]
            self.records += len(records)

    @property
    def full(self) -> bool:
        written = len(self.outputs) + len(self.changes) + len(self.timers) + len(self.parked)
        return self.records + len(self.succeeded) >= RECORDS_MAX or written >= MESSAGES_MAX or self.size >= BYTES_MAX


def size_of(effects: Effects) -> int:
    """Bytes of what a record leads to. Raises SchemaMismatch(OVERSIZE) for what its topic would refuse."""
    if len(effects.outputs) > OUTPUTS_MAX:
        raise SchemaMismatch(f"{len(effects.outputs)} outputs of one record, at most {OUTPUTS_MAX}", Reason.OVERSIZE)
    total = 0
    for out in effects.outputs:
        size = _bytes_of(out)
        if size > _LIMITS.get(out.topic, RECORD_BYTES_MAX):
            raise SchemaMismatch(f"{size} bytes are too many for {out.topic}", Reason.OVERSIZE)
        total += size
    for key, value in effects.changes.items():
        if key.startswith(changelog.RESERVED):
            raise ValueError("a state key begins with a zero byte, which is reserved")
        size = len(key) + len(value or b"") + FRAMING_BYTES
        if size > RECORD_BYTES_MAX:
            raise SchemaMismatch(f"{size} bytes of state are too many", Reason.OVERSIZE)
        total += size
    return total


def _bytes_of(out: Outgoing) -> int:
    """On the wire."""
    size = len(out.key or b"") + len(out.value or b"") + FRAMING_BYTES
    for name, value in out.headers:
        size += len(name) + len(value or b"")
    return size
