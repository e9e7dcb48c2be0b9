"""Whether an outside system may be called now: closed, open, half-open. Pure; time is the caller's, seconds.

Enters: what became of calls. Leaves: leave to call, or not, and each change of state. Guaranteed: while it is open no
call is made; half-open, one at a time; it never needs anybody to go on; a result of a call that began before the
circuit opened changes nothing. Opens after failures_max failures in a row, or when more than share_max of a whole
window failed, so that rare failures among good answers never open it.

Rejected: pybreaker and aiobreaker (neither tells a caller when to come again, and both raise into every waiting call
what is a state to wait for), circuits shared between processes (one machine's broken network would close the road of
the others; each process finds out within failures_max calls).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from aios.streams import system_files


class State(StrEnum):
    """As breaker.changed.v1 has it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Leave(Enum):
    """To call now."""

    NO = auto()
    YES = auto()
    PROBE = auto()  # this one alone; what becomes of it decides


@dataclass(frozen=True, slots=True)
class Change:
    """failed, counted: of the calls that were looked at when it opened."""

    state: State
    failed: int
    counted: int


@dataclass(slots=True)
class Circuit:
    """Towards one system, or one endpoint of it, as one process sees it. limits: of the system's file.

    A call is given back with `probe`: how often the circuit had closed when it was let through as a PROBE, else None.
    One from before a close is a probe no more.
    """

    limits: system_files.Circuit
    state: State = State.CLOSED
    closes: int = 0
    _in_a_row: int = 0
    _last: deque[bool] = field(default_factory=deque)  # of the window; True: failed
    _failed: int = 0
    _until: float = 0.0  # open until then
    _open_s: float = 0.0
    _is_probing: bool = False

    def leave(self, now: float) -> tuple[Leave, Change | None]:
        """Asked right before a call, and then followed: YES and PROBE count as begun."""
        if self.state is State.CLOSED:
            return Leave.YES, None
        if self.state is State.OPEN:
            if now < self._until:
                return Leave.NO, None
            self._is_probing = True
            return Leave.PROBE, self._become(State.HALF_OPEN)
        if self._is_probing:
            return Leave.NO, None
        self._is_probing = True
        return Leave.PROBE, None

    def probe_of(self, leave: Leave) -> int | None:
        """With what a call that was let through so is given back."""
        return self.closes if leave is Leave.PROBE else None

    def may(self, now: float) -> bool:
        """Whether leave() would let a call through; nothing counts as begun."""
        if self.state is State.OPEN:
            return now >= self._until
        return self.state is State.CLOSED or not self._is_probing

    @property
    def wakes_at(self) -> float | None:
        """When to ask again; None: not before something ends."""
        return self._until if self.state is State.OPEN else None

    def succeeded(self, *, probe: int | None) -> Change | None:
        """The system answered, whatever it said."""
        if probe == self.closes:
            return self._close()
        if self.state is State.CLOSED:
            self._count(failed=False)
        return None

    def failed(self, now: float, *, probe: int | None) -> Change | None:
        """It did not answer, or said that it cannot."""
        if probe == self.closes:
            self._is_probing = False
            return self._open(now)
        if self.state is not State.CLOSED:
            return None
        self._count(failed=True)
        window, share = self.limits.window, self.limits.share_max
        if self._in_a_row >= self.limits.failures_max:
            return self._open(now)
        if len(self._last) == window and sum(self._last) > share * window:
            return self._open(now)
        return None

    def abandoned(self, *, probe: int | None) -> None:
        """A call that was let through was not made, or says nothing of the system."""
        if probe == self.closes:
            self._is_probing = False

    def close(self) -> Change | None:
        """Somebody says that the system is there again: believed until it fails."""
        return None if self.state is State.CLOSED else self._close()

    def reopen(self, now: float) -> None:
        """As a former life of this process left it: the first call is a probe."""
        self.state, self._until, self._open_s = State.OPEN, now, self.limits.open_s

    def _open(self, now: float) -> Change:
        longer = self._open_s * 2 if self.state is State.HALF_OPEN else self.limits.open_s
        self._open_s = min(longer, self.limits.open_s_max)
        self._until = now + self._open_s
        if self.state is State.CLOSED:
            self._failed = max(self._in_a_row, sum(self._last))
        return self._become(State.OPEN)

    def _close(self) -> Change:
        self._is_probing = False
        self.closes += 1
        self._in_a_row, self._open_s = 0, 0.0
        change = self._become(State.CLOSED)
        self._last.clear()
        return change

    def _become(self, state: State) -> Change:
        self.state = state
        return Change(state, self._failed, max(self._failed, len(self._last)))

    def _count(self, *, failed: bool) -> None:
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self._last.append(failed)
        if len(self._last) > self.limits.window:
            self._last.popleft()
