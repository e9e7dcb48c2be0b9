"""What a stateful stage's core is given and what it gives back; processors/store.py keeps it.

Enters: a record and what the stage remembers. Leaves: effects, which become visible together or not at all.
Guaranteed: a core is free of Kafka, clocks and chance; its effects on a record may be computed again (after a
crash, in a smaller batch) and must then be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aios.streams.record import Outgoing, Record


@dataclass(frozen=True, slots=True)
class Effects:
    """What one record leads to. changes: state by key, None forgets it. timers: (key, timer id) → due, None cancels.

    Due is log time in Unix ms: the broker's, as in `now_ms`.
    """

    outputs: Sequence[Outgoing] = ()
    changes: Mapping[bytes, bytes | None] = field(default_factory=dict)
    timers: Mapping[tuple[str, str], int | None] = field(default_factory=dict)


class StateView(Protocol):
    """What the stage remembers in the record's partition, with the changes of earlier records applied."""

    def get(self, key: bytes) -> bytes | None: ...


class Core(Protocol):
    """A stage's decisions, pure."""

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        """Effects of one record. now_ms: log time, never falling within a partition. Raises to fail the record."""
        ...

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        """The input event of a timer that came due, for the partition the timer belongs to."""
        ...
