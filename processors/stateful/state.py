"""What a stateful stage's core is given and what it gives back; processors/stateful/store.py keeps it.

Enters: a record and what the stage remembers. Leaves: effects, which become visible together or not at all.
Guaranteed: a core is free of Kafka, clocks and chance; its effects on a record may be computed again (after a
crash, in a smaller batch) and must then be the same.

A core may also work by itself, between batches (`Working`): jobs that read elsewhere and go on for long. Each turn
of work is one transaction with the partition's state, so that a job's progress and what it wrote are one thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from aios.streams.record import Outgoing, Record

OUTPUTS_MAX = 10_000  # of one record, or of one turn of work
FORGET = "forget"  # id of the timer that ends a state


@dataclass(frozen=True, slots=True)
class Effects:
    """What one record leads to. changes: state by key, None forgets it. timers: (key, timer id) → due, None cancels.

    ends: of changed states that only wait to be forgotten, when the timer FORGET fires for their key; said again with
    each change, and minutes late rather than exact (states.py). For states that lie there by the million: an
    end costs a fraction of a timer. Due is log time in Unix ms: the broker's, as in `now_ms`.
    """

    outputs: Sequence[Outgoing] = ()
    changes: Mapping[bytes, bytes | None] = field(default_factory=dict)
    timers: Mapping[tuple[str, str], int | None] = field(default_factory=dict)
    ends: Mapping[bytes, int] = field(default_factory=dict)


class StateView(Protocol):
    """What the stage remembers in the record's partition, with the changes of earlier records applied."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every key that begins so, with its state, in no order; looks at all the partition remembers."""
        ...


class Core(Protocol):
    """A stage's decisions, pure."""

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        """Effects of one record. now_ms: log time, never falling within a partition. Raises to fail the record."""
        ...

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        """The input event of a timer that came due, for the partition the timer belongs to."""
        ...


@runtime_checkable
class Telling(Protocol):
    """What a core has beside Core if it tells Prometheus of what its partitions hold. From the partition's thread."""

    def kept(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """This is committed; of a partition that came, all that has no end. None: it is forgotten."""
        ...

    def left(self, partition: int) -> None:
        """It is not ours any more."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What one turn of work leads to. effects: None writes nothing. again_in_ms: None until another record came."""

    effects: Effects | None
    again_in_ms: int | None


@runtime_checkable
class Working(Protocol):
    """What a core has beside Core if it works by itself. Both are called from the partition's one thread."""

    def opened(self, state: StateView) -> None:
        """The partition is complete and ours, perhaps again: forget what was kept of it in memory, look it up anew."""
        ...

    def work(self, state: StateView, now_ms: int) -> Work:
        """One turn: at once after opening and after each transaction of records, then as it asked.

        It may read from elsewhere, and keeps records waiting meanwhile: stay under a second, and within OUTPUTS_MAX
        outputs and 16 MiB, or the broker ends the transaction. Raises Unavailable to be called again after a
        pause; anything else ends the process. What it raises or what the commit loses has changed nothing: keep in
        memory only what can be looked up in `state`.
        """
        ...
