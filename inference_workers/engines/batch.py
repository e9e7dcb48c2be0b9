"""What goes into the engine's batch next, and what each request takes of the engine's time. Pure.

Enters: asks as the event loop makes them. Leaves: the ask that takes the next free seat. Guaranteed: lower priority
numbers go first; bulk work never takes the last `kept_free` seats, so that whoever waits is in the next step and not
behind the shortest of many long answers; among equals, one that begins like the last one goes first, since the engine
has computed that beginning, and nobody is overtaken more than OVERTAKEN_MAX times for it.
The engine's time: a step's seconds are shared evenly among the asks in it, so that what all requests are charged for
is what the engine was busy.
Rejected: sharing by tokens (the scheduler's numbers are no interface of vLLM), vLLM's own queue alone (when its batch
is full of bulk work, it lets nobody in before one of those has ended).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from aios.streams.slots import PRIORITY_MAX

BULK_PRIORITY = 1_000_000  # added to a bulk request's own: after everybody who waits
WINDOW = 32  # of those who wait, in order: among them one may be chosen for its beginning
OVERTAKEN_MAX = 16
FREE_SHARE = 8  # one seat in so many is kept free of bulk work

T = TypeVar("T")


@dataclass(slots=True)
class Usage:
    """What a request has taken of the engine so far, over all it was asked for it: pieces of a text at the same time,
    what was asked for once more, and tries that a server left unanswered. Told as it happens, so that what nobody waits
    for any more is counted too.

    asked_at, seated_at: of its first question, monotonic seconds; 0: not yet, or the engine does not tell.
    first_token_ms: since it was asked; 0 before one. between_s: from one token of a question to its next, summed over
    the `between` tokens that were not the first of theirs.
    """

    engine_us: float = 0.0
    first_token_ms: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    asked_at: float = 0.0
    seated_at: float = 0.0
    between_s: float = 0.0
    between: int = 0

    def in_line_ms(self, now: float) -> int:
        """How long it waited for a seat in the batch, or has waited until now."""
        return round(((self.seated_at or now) - self.asked_at) * 1000) if self.asked_at else 0

    def wrote(self, tokens: int, *, at: float, before: float | None) -> None:
        """Some more tokens of one of its questions, at a time; before: when its last ones were, None for its first.

        Several at once (a speculating engine's) are as far from the last one as from each other.
        """
        self.output_tokens += tokens
        if before is not None:
            self.between_s += at - before
            self.between += tokens
        elif not self.first_token_ms:
            self.first_token_ms = max(0.0, (at - self.asked_at) * 1000)


METER: ContextVar[Usage | None] = ContextVar("aios_usage", default=None)
"""Whom the engine charges for what is asked in this context."""


def metered(now: float) -> Usage:
    """Whom this context charges; it asks now, unless it has asked before. now: monotonic seconds."""
    usage = METER.get() or Usage()
    usage.asked_at = usage.asked_at or now
    return usage


def share(seconds: float, usages: Collection[Usage]) -> None:
    """A step took that long, with these in it."""
    for usage in usages:
        usage.engine_us += seconds * 1_000_000 / len(usages)


def kept_free(seats: int, lanes: Collection[object]) -> int:
    """Seats beside a full batch of bulk work, for those who wait; none where one lane is served. seats: of it."""
    return -(-seats // FREE_SHARE) if len(lanes) > 1 else 0


def is_bulk(priority: int) -> bool:
    return priority >= BULK_PRIORITY - PRIORITY_MAX


@dataclass(eq=False, slots=True)
class _Waits(Generic[T]):
    """One in line. beginning: what it may share with others; None: nothing."""

    ask: T
    priority: int
    beginning: Hashable
    number: int
    overtaken: int = 0

    @property
    def place(self) -> tuple[int, int]:
        return self.priority, self.number


class Line(Generic[T]):
    """Asks without a seat. seats: of the batch, kept_free of which are for those who wait. overtaken_max: how often one
    is overtaken for its beginning; 0: beginnings do not count.
    """

    def __init__(self, seats: int, kept_free: int, overtaken_max: int = OVERTAKEN_MAX) -> None:
        self._seats = seats
        self._kept_free = kept_free
        self._overtaken_max = overtaken_max
        self._line: list[_Waits[T]] = []  # by place
        self._numbers = itertools.count()
        self._last: Hashable = None

    def __len__(self) -> int:
        return len(self._line)

    @property
    def bulk(self) -> int:
        """How many of them are bulk work: they stand behind all others."""
        return len(self._line) - bisect.bisect_left(
            self._line, BULK_PRIORITY - PRIORITY_MAX, key=lambda one: one.priority
        )

    def add(self, ask: T, priority: int, beginning: Hashable = None) -> None:
        waits = _Waits(ask, priority, beginning, next(self._numbers))
        bisect.insort(self._line, waits, key=lambda one: one.place)

    def remove(self, ask: T) -> bool:
        """False: it is not in line."""
        for at, waits in enumerate(self._line):
            if waits.ask is ask:
                del self._line[at]
                return True
        return False

    def next(self, taken: int) -> T | None:
        """Who sits down next, with `taken` seats taken; None: nobody may."""
        if not self._line or taken >= self._seats:
            return None
        if is_bulk(self._line[0].priority) and taken >= self._seats - self._kept_free:
            return None
        chosen = self._line.pop(self._alike())
        self._last = chosen.beginning
        return chosen.ask

    def _alike(self) -> int:
        """Where in line the first is that begins like the last one; 0, unless that is within what is allowed."""
        head = self._line[0]
        if self._last is None or head.beginning == self._last:
            return 0
        for at, waits in enumerate(self._line[:WINDOW]):
            if waits.priority != head.priority:
                return 0
            if waits.beginning == self._last:
                for passed in self._line[:at]:
                    passed.overtaken += 1
                return at
            if waits.overtaken >= self._overtaken_max:
                return 0
        return 0
