"""Which offset of a partition may be committed, when its records end out of order. Pure.

Enters: offsets as they are read (rising, with gaps: compaction, transaction markers), and what became of each.
Leaves: the next offset to commit. Guaranteed: it never passes an unfinished record, and never falls; an offset read
again after a seek is handed on only if it was given back. Remembered are the offsets from the lowest unfinished one
on, so the caller bounds `span`.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto


class _State(Enum):
    OPEN = auto()  # read, not ended
    GIVEN_BACK = auto()  # will be read again
    FINISHED = auto()


class OffsetTracker:
    """One partition, for as long as it is assigned once."""

    __slots__ = ("_committed", "_next", "_order", "_states", "ended_behind")

    def __init__(self) -> None:
        self._order: deque[int] = deque()  # offsets read, the lowest unfinished one first
        self._states: dict[int, _State] = {}  # of those
        self._next: int | None = None  # after everything read
        self._committed = -1
        self.ended_behind = 0  # finished ones that stand behind an unfinished one

    def read(self, offset: int) -> bool:
        """An offset was read. False: it is known already (open or finished), do not work on it again."""
        state = self._states.get(offset)
        if state is _State.GIVEN_BACK:
            self._states[offset] = _State.OPEN
            return True
        if self._next is not None and offset < self._next:
            return False
        self._order.append(offset)
        self._states[offset] = _State.OPEN
        self._next = offset + 1
        return True

    def reached(self, offset: int) -> None:
        """The end of the partition: everything below was read, or holds nothing for us."""
        self._next = max(self._next or 0, offset)

    def finish(self, offset: int) -> bool:
        """False: it was not open."""
        if self._states.get(offset) is not _State.OPEN:
            return False
        self._states[offset] = _State.FINISHED
        self.ended_behind += 1
        while self._order and self._states[self._order[0]] is _State.FINISHED:
            del self._states[self._order.popleft()]
            self.ended_behind -= 1
        return True

    def give_back(self, offset: int) -> bool:
        """It will not be finished now; read(offset) hands it on again. False: it was not open."""
        if self._states.get(offset) is not _State.OPEN:
            return False
        self._states[offset] = _State.GIVEN_BACK
        return True

    def give_back_all(self) -> None:
        """Everything open."""
        for offset, state in self._states.items():
            if state is _State.OPEN:
                self._states[offset] = _State.GIVEN_BACK

    def passed_over(self, below: int) -> None:
        """The log holds nothing below any more: what was given back there never comes again."""
        for offset in [o for o, state in self._states.items() if o < below and state is _State.GIVEN_BACK]:
            self._states[offset] = _State.OPEN
            self.finish(offset)
        self.reached(below)

    @property
    def again_from(self) -> int | None:
        """Where to seek: the lowest offset given back, None if there is none."""
        return next((o for o in self._order if self._states[o] is _State.GIVEN_BACK), None)

    @property
    def position(self) -> int | None:
        """Everything below is finished; None while that is not known."""
        return self._order[0] if self._order else self._next

    @property
    def to_commit(self) -> int | None:
        """The position, if it is higher than what is committed."""
        position = self.position
        return position if position is not None and position > self._committed else None

    def resume(self, committed: int) -> None:
        """Before anything was read: others of the group have finished everything below."""
        self._next = self._committed = committed

    def committed(self, offset: int) -> None:
        """The broker has it."""
        self._committed = max(self._committed, offset)

    @property
    def span(self) -> int:
        """Offsets remembered: unfinished ones, and finished ones behind them."""
        return len(self._order)
