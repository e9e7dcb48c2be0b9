"""The one door to a system: whoever wants to call it waits here, each in the line of its party (lines.py).

Enters: commands that want to call, each until its deadline. Leaves: a Permit each, when the circuit, the bulkhead and
the rate let it through; or nothing. Guaranteed: what waits costs no try; one party that hangs or asks much holds up no
other; a permit is given back, once, with what it showed about the system or the endpoint; while the circuit is open
nobody passes, then one alone, and the same for an endpoint's; whoever cannot call any more (his partition has left,
the process stops) is sent away within a moment.
Of one event loop. Time is monotonic, seconds.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from aios.processors.connectors.circuit import Change, Circuit, Leave, State
from aios.processors.connectors.lines import Line, Lines, Party, Waiter
from aios.processors.connectors.pace import Rate
from aios.streams.system_files import System

HOLD_S_MAX = 300.0  # however long a system asks to be left alone
SLACK = 1e-9  # of a share, which is no exact number
SLACK_S = 0.001  # a timer that comes a little early comes again
ANYBODY = Party()

log = logging.getLogger(__name__)


def calls_at_once(calls_max: int, share: float) -> int:
    """How many of a system's calls a process may make, by its share of the partitions: at least one.

    All together make at most calls_max wherever there are no more processes than that.
    """
    return max(1, int(calls_max * share + SLACK))


class Aside(Exception):
    """Its endpoint is away, and enough wait for it: it may come again later. It was never tried."""


@dataclass(eq=False, slots=True)
class Permit:
    """Leave for one call. probe: as the system's circuit wants it back; lines_probe: as its endpoint's does."""

    line: Line
    probe: int | None
    lines_probe: int | None = None
    is_open: bool = True  # not given back yet


class Gate:
    """See the module. changed: hears of every change of the circuit, with the word that stands for its cause;
    endpoint_changed: of one of an endpoint's.
    """

    def __init__(
        self,
        system: System,
        changed: Callable[[Change, str], None],
        *,
        endpoint_changed: Callable[[Party, Change, str], None] = lambda _party, _change, _word: None,
        share: Callable[[], float] = lambda: 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """share: of the system's limits that is this process's, 0 to 1."""
        self._system = system.system
        self._limits = system.limits
        self.circuit = Circuit(system.circuit)
        self._lines = Lines(system.circuit, system.limits.waiting_max)
        self._changed = changed
        self._endpoint_changed = endpoint_changed
        self._share = share
        self._clock = clock
        self._rate = Rate(system.limits.rate_per_s)
        self._numbers = count()
        self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        return sum(not waiter.granted.done() for line in self._lines for waiter in line.waiting)

    @property
    def calls(self) -> int:
        """Under way."""
        return self._lines.calls

    @property
    def away(self) -> int:
        """Endpoints."""
        return sum(line.is_away for line in self._lines)

    def is_away(self, party: Party) -> bool:
        """Whether it is an endpoint that is away; a system that is has its own circuit."""
        return self._lines.is_away(party)

    async def enter(
        self, deadline: float, wants: Callable[[], bool], party: Party = ANYBODY, *, aside_until: float = 0.0
    ) -> Permit | None:
        """Leave to call; None: not before the deadline, or not wanted any more. wants: asked while it waits.

        aside_until: until when it may go and come again later, since it was never tried; 0: it may not. Raises Aside
        where that is better for the others.
        """
        waiter = Waiter(deadline, next(self._numbers), asyncio.get_running_loop().create_future(), wants, aside_until)
        line = self._lines.of(party)
        heapq.heappush(line.waiting, waiter)
        self._lines.thin(self._clock(), line)
        self._pump()
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                permit = await asyncio.shield(waiter.granted)
        except TimeoutError:
            permit = self._grant_of(waiter)
        except asyncio.CancelledError:
            permit = self._grant_of(waiter)
            if permit is not None:
                self.abandon(permit)
            raise
        if waiter.is_aside:
            raise Aside
        return permit

    def succeed(self, permit: Permit) -> None:
        """The system answered, whatever it said; where that was a probe, it asks no more to be left alone."""
        if self._end(permit):
            closed = self.circuit.succeeded(probe=permit.probe)
            self._held_until = self._held_until if closed is None else 0.0
            self._tell(closed, "")
            if permit.line.circuit is not None:
                self._say(permit.line, permit.line.circuit.succeeded(probe=permit.lines_probe), "")
            self._pump()

    def fail(self, permit: Permit, word: str, hold_s: float = 0.0) -> None:
        """It did not answer, or cannot. hold_s: how long it asked to be left alone."""
        if self._end(permit):
            now = self._clock()
            self._held_until = max(self._held_until, now + min(hold_s, HOLD_S_MAX)) if hold_s else self._held_until
            if permit.line.circuit is not None:
                permit.line.circuit.abandoned(probe=permit.lines_probe)
            self._tell(self.circuit.failed(now, probe=permit.probe), word)
            self._pump()

    def fail_endpoint(self, permit: Permit, word: str) -> None:
        """Its endpoint did not answer, or cannot, which says nothing of the others; a tenant has no circuit."""
        if self._end(permit):
            self.circuit.abandoned(probe=permit.probe)
            if permit.line.circuit is not None:
                self._say(permit.line, permit.line.circuit.failed(self._clock(), probe=permit.lines_probe), word)
            self._pump()

    def abandon(self, permit: Permit) -> None:
        """Nothing was shown: it was not called, or our own code failed. A permit given back before is left as it is."""
        if self._end(permit):
            self.circuit.abandoned(probe=permit.probe)
            if permit.line.circuit is not None:
                permit.line.circuit.abandoned(probe=permit.lines_probe)
            self._pump()

    def close_circuit(self) -> None:
        """A person says that the system is there again, and has told everybody: its endpoints are believed too."""
        self.circuit.close()
        self._held_until = 0.0
        for line in self._lines:
            if line.circuit is not None:
                self._say(line, line.circuit.close(), "")
        self._pump()

    def close_endpoint(self, party: Party) -> None:
        """The same of one endpoint."""
        line = self._lines.of(party)
        if line.circuit is not None:
            line.circuit.close()
        self._pump()

    def reopen_endpoint(self, party: Party) -> None:
        """As a former life of this process left it: the first call is a probe."""
        line = self._lines.of(party)
        if line.circuit is not None:
            line.circuit.reopen(self._clock())

    def sweep(self) -> None:
        """Send those away who do not want any more, and look again at what may pass."""
        for line in self._lines:
            line.sweep()
        self._pump()

    def leave(self) -> None:
        """The process stops: nobody passes any more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for line in self._lines:
            for waiter in line.waiting:
                waiter.send_away()
            line.waiting.clear()

    def _grant_of(self, waiter: Waiter) -> Permit | None:
        """What it was given in the very moment in which it went; nothing is given to it from now on."""
        if waiter.granted.done():
            return None if waiter.granted.cancelled() else waiter.granted.result()
        waiter.granted.set_result(None)
        return None

    def _end(self, permit: Permit) -> bool:
        if not permit.is_open:
            return False
        permit.is_open = False
        self._lines.end(permit.line)
        return True

    def _tell(self, change: Change | None, word: str) -> None:
        if change is not None:
            self._changed(change, word)

    def _say(self, line: Line, change: Change | None, word: str) -> None:
        """Of an endpoint."""
        if change is not None:
            went = self._lines.thin(self._clock())
            log.info("%s: %d wait for %s, %d came aside", self._system, len(line.waiting), line.party.name, went)
            self._endpoint_changed(line.party, change, word)

    def _pump(self) -> None:
        """Let through whoever may pass now; be called again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while not self._is_closed:
            wait_s = self._pass_one()
            if wait_s is None:
                return  # until something ends, or comes
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s + SLACK_S, self._pump)
                return

    def _pass_one(self) -> float | None:
        """0: somebody has passed. Else seconds until somebody may; None: that is not known."""
        now, share = self._clock(), min(1.0, max(0.0, self._share()))
        room = calls_at_once(self._limits.calls_max, share)
        if self.calls >= room:
            return None
        line, wakes_at = self._lines.next(now, room)
        if line is None:
            return max(wakes_at - now, SLACK_S) if wakes_at is not None else None
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
        self._pass(line, now, leave)
        return 0.0

    def _pass(self, line: Line, now: float, leave: Leave) -> None:
        lines_leave, change = (Leave.YES, None) if line.circuit is None else line.circuit.leave(now)
        self._say(line, change, "")
        lines_probe = None if line.circuit is None else line.circuit.probe_of(lines_leave)
        permit = Permit(line, self.circuit.probe_of(leave), lines_probe)
        self._lines.begin(line).granted.set_result(permit)
