"""The one door to a system: whoever wants to call it waits here, the earliest deadline first.

Enters: commands that want to call, each until its deadline. Leaves: a Permit each, when the circuit, the bulkhead and
the rate let it through; or nothing. Guaranteed: what waits costs no try; a permit is given back, once, with what it
showed about the system; while the circuit is open nobody passes, then one alone; whoever cannot call any more (his
partition has left, the process stops) is sent away within a moment.
Of one event loop. Time is monotonic, seconds.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import ceil

from aios.processors.connectors.circuit import Change, Circuit, Leave, State
from aios.processors.connectors.pace import Rate
from aios.streams.system_files import System

HOLD_S_MAX = 300.0  # however long a system asks to be left alone
SLACK_S = 0.001  # a timer that comes a little early comes again


@dataclass(eq=False, slots=True)
class Permit:
    """Leave for one call."""

    is_probe: bool
    is_open: bool = True  # not given back yet


@dataclass(order=True, slots=True)
class _Waiter:
    deadline: float
    number: int
    granted: asyncio.Future[Permit | None] = field(compare=False)
    wants: Callable[[], bool] = field(compare=False)


class Gate:
    """See the module. changed: hears of every change of the circuit, with the word that stands for its cause."""

    def __init__(
        self,
        system: System,
        changed: Callable[[Change, str], None],
        *,
        share: Callable[[], float] = lambda: 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """share: of the system's limits that is this process's, 0 to 1."""
        self._limits = system.limits
        self.circuit = Circuit(system.circuit)
        self._changed = changed
        self._share = share
        self._clock = clock
        self._rate = Rate(system.limits.rate_per_s)
        self._calls = 0
        self._waiting: list[_Waiter] = []
        self._numbers = count()
        self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        return sum(not waiter.granted.done() for waiter in self._waiting)

    @property
    def calls(self) -> int:
        """Under way."""
        return self._calls

    async def enter(self, deadline: float, wants: Callable[[], bool]) -> Permit | None:
        """Leave to call; None: not before the deadline, or not wanted any more. wants: asked while it waits."""
        waiter = _Waiter(deadline, next(self._numbers), asyncio.get_running_loop().create_future(), wants)
        heapq.heappush(self._waiting, waiter)
        self._pump()
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                return await asyncio.shield(waiter.granted)
        except TimeoutError:
            return self._grant_of(waiter)
        except asyncio.CancelledError:
            permit = self._grant_of(waiter)
            if permit is not None:
                self.abandon(permit)
            raise

    def succeed(self, permit: Permit) -> None:
        """The system answered, whatever it said."""
        if self._end(permit):
            self._tell(self.circuit.succeeded(is_probe=permit.is_probe), "")
            self._pump()

    def fail(self, permit: Permit, word: str, hold_s: float = 0.0) -> None:
        """It did not answer, or cannot. hold_s: how long it asked to be left alone."""
        if self._end(permit):
            now = self._clock()
            self._held_until = max(self._held_until, now + min(hold_s, HOLD_S_MAX)) if hold_s else self._held_until
            self._tell(self.circuit.failed(now, is_probe=permit.is_probe), word)
            self._pump()

    def abandon(self, permit: Permit) -> None:
        """Nothing was shown: it was not called, or our own code failed. A permit given back before is left as it is."""
        if self._end(permit):
            self.circuit.abandoned(is_probe=permit.is_probe)
            self._pump()

    def close_circuit(self) -> None:
        """A person says that the system is there again, and has told everybody."""
        self.circuit.close()
        self._pump()

    def sweep(self) -> None:
        """Send those away who do not want any more, and look again at what may pass."""
        for waiter in self._waiting:
            if not waiter.granted.done() and not waiter.wants():
                waiter.granted.set_result(None)
        self._waiting = [waiter for waiter in self._waiting if not waiter.granted.done()]
        heapq.heapify(self._waiting)
        self._pump()

    def leave(self) -> None:
        """The process stops: nobody passes any more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiting:
            if not waiter.granted.done():
                waiter.granted.set_result(None)
        self._waiting.clear()

    def _grant_of(self, waiter: _Waiter) -> Permit | None:
        """What it was given in the very moment in which it went; nothing is given to it from now on."""
        if waiter.granted.done():
            return None if waiter.granted.cancelled() else waiter.granted.result()
        waiter.granted.set_result(None)
        return None

    def _end(self, permit: Permit) -> bool:
        if not permit.is_open:
            return False
        permit.is_open = False
        self._calls -= 1
        return True

    def _tell(self, change: Change | None, word: str) -> None:
        if change is not None:
            self._changed(change, word)

    def _pump(self) -> None:
        """Let through whoever may pass now; be called again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while not self._is_closed and self._next_waits():
            wait_s = self._pass_one()
            if wait_s is None:
                return  # until something ends
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s + SLACK_S, self._pump)
                return

    def _next_waits(self) -> bool:
        """Whether somebody waits; those who went are forgotten."""
        while self._waiting and (self._waiting[0].granted.done() or not self._waiting[0].wants()):
            gone = heapq.heappop(self._waiting)
            if not gone.granted.done():
                gone.granted.set_result(None)
        return bool(self._waiting)

    def _pass_one(self) -> float | None:
        """0: the first has passed. Else seconds until it may; None: that is not known."""
        now, share = self._clock(), min(1.0, max(0.0, self._share()))
        if self._calls >= max(1, ceil(self._limits.calls_max * share)):
            return None
        if now < self._held_until and self.circuit.state is not State.OPEN:
            return self._held_until - now
        self._rate.per_s = max(self._limits.rate_per_s * share, 0.01)
        wait_s = self._rate.wait_s(now)
        if wait_s > 0:
            return wait_s
        leave, change = self.circuit.leave(now)
        self._tell(change, "")
        if leave is Leave.NO:
            return max(self.circuit.wakes_at - now, SLACK_S) if self.circuit.wakes_at is not None else None
        self._rate.take(now)
        self._calls += 1
        heapq.heappop(self._waiting).granted.set_result(Permit(is_probe=leave is Leave.PROBE))
        return 0.0
