"""Who waits at a system's door, in a line for each party: one endpoint, or one tenant. Pure; time is the caller's.

Enters: who wants to call, each with a deadline and a party. Leaves: whose turn it is. Guaranteed:

- of the room for calls the last FREE_SHARE is for parties that have no call under way, so one that hangs or asks much
  never has all of it; alone, a party may use the rest (room for fewer than 4 calls keeps none back);
- the party with the fewest calls under way goes first, then the one that has waited longest for a turn; within a
  party the earliest deadline;
- an endpoint has a circuit of its own: one that is away costs the others a probe from time to time;
- behind an endpoint that is away IN_LINE_MAX wait, and behind all that are away one in AWAY_SHARE of what the process
  has in hand, but one behind each; whoever has not been tried yet and would be back before its deadline goes aside, so
  that what a process has in hand does not fill with what cannot move. Of endpoints that nobody waits for, KEPT_MAX are
  remembered.

All of it is between those in hand. That no party fills what a process has in hand, nor the topic before it, is held
by plan: it lets limits.tenant_outstanding_max of a party out at once (processors/cases/turnstile.py).

Rejected: a fixed room for each party (a tenant that is alone could not use what nobody else asks for).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from aios.processors.connectors.circuit import Circuit, State
from aios.streams import system_files

if TYPE_CHECKING:
    from aios.processors.connectors.gate import Permit

FREE_SHARE = 4  # one in so many places of the room
IN_LINE_MAX = 16  # behind an endpoint that is away
AWAY_SHARE = 4  # of what a process has in hand, one in so many waits behind all of them together; but one behind each
KEPT_MAX = 1_000


class Party(NamedTuple):
    """Whom a call is to (an endpoint, of a tenant), or else for (a tenant)."""

    name: str = ""
    is_endpoint: bool = False


def party(system: system_files.System, request: BaseModel, tenant: str) -> Party:
    """Whose line a call waits in."""
    endpoint = system.endpoint_of(vars(request))
    return Party(f"{tenant}/{endpoint}", is_endpoint=True) if endpoint else Party(tenant)


@dataclass(order=True, slots=True)
class Waiter:
    """number: of its coming. aside_until: until when it may go aside, and be back in time; 0: it may not."""

    deadline: float
    number: int
    granted: asyncio.Future[Permit | None] = field(compare=False)
    wants: Callable[[], bool] = field(compare=False)
    aside_until: float = field(compare=False, default=0.0)
    is_aside: bool = field(compare=False, default=False)

    def send_away(self) -> None:
        if not self.granted.done():
            self.granted.set_result(None)


@dataclass(eq=False, slots=True)
class Line:
    """turn: when it had its last turn, or came. circuit: of an endpoint."""

    party: Party
    turn: int
    circuit: Circuit | None
    calls: int = 0
    waiting: list[Waiter] = field(default_factory=list)

    @property
    def is_away(self) -> bool:
        return self.circuit is not None and self.circuit.state is not State.CLOSED

    def anybody(self) -> bool:
        """Whether somebody waits; those who went are forgotten."""
        while self.waiting and (self.waiting[0].granted.done() or not self.waiting[0].wants()):
            heapq.heappop(self.waiting).send_away()
        return bool(self.waiting)

    def sweep(self) -> None:
        """Send those away who do not want any more."""
        for waiter in self.waiting:
            if not waiter.wants():
                waiter.send_away()
        self.waiting = [waiter for waiter in self.waiting if not waiter.granted.done()]
        heapq.heapify(self.waiting)

    def thin(self, now: float, most: int) -> int:
        """Those who may go aside do, the latest deadlines first, down to so many; how many."""
        if len(self.waiting) <= most:
            return 0
        went = 0
        for waiter in sorted((one for one in self.waiting if not one.granted.done()), reverse=True)[:-most]:
            if now < waiter.aside_until:
                waiter.is_aside = True
                waiter.send_away()
                went += 1
        self.sweep()
        return went


class Lines:
    """Of one gate. limits: of an endpoint's circuit. waiting_max: that the process has in hand of the system."""

    def __init__(self, limits: system_files.Circuit, waiting_max: int) -> None:
        self._limits = limits
        self._away_max = waiting_max // AWAY_SHARE
        self._lines: dict[Party, Line] = {}
        self._turns = 0
        self.calls = 0

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    def of(self, party: Party) -> Line:
        """Its line, which is kept while it means something."""
        line = self._lines.get(party)
        if line is None:
            circuit = Circuit(self._limits) if party.is_endpoint else None
            line = self._lines[party] = Line(party, self._next_turn(), circuit)
        return line

    def is_away(self, party: Party) -> bool:
        line = self._lines.get(party)
        return line is not None and line.is_away

    def thin(self, now: float, entered: Line | None = None) -> int:
        """Behind endpoints that are away, or the one that somebody has entered; how many went aside."""
        if entered is not None and not entered.is_away:
            return 0
        away = [line for line in self if line.is_away]
        most = max(1, min(IN_LINE_MAX, self._away_max // max(1, len(away))))
        return sum(line.thin(now, most) for line in (away if entered is None else [entered]))

    def next(self, now: float, room: int) -> tuple[Line | None, float | None]:
        """Whose turn it is; if nobody's, when an endpoint that is waited for may be tried again; None: not known."""
        chosen: Line | None = None
        wakes: float | None = None
        is_scarce = room - self.calls <= room // FREE_SHARE
        for line in self:
            if not line.anybody():
                self._forget(line)
                continue
            if line.calls and is_scarce:
                continue
            if line.circuit is not None and not line.circuit.may(now):
                at = line.circuit.wakes_at
                wakes = at if wakes is None else wakes if at is None else min(wakes, at)
                continue
            if chosen is None or (line.calls, line.turn) < (chosen.calls, chosen.turn):
                chosen = line
        return chosen, wakes

    def begin(self, line: Line) -> Waiter:
        """Its first passes."""
        line.turn = self._next_turn()
        line.calls += 1
        self.calls += 1
        return heapq.heappop(line.waiting)

    def end(self, line: Line) -> None:
        line.calls -= 1
        self.calls -= 1

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns

    def _forget(self, line: Line) -> None:
        """A tenant's at once; of endpoints those that were wanted least lately, and are not away."""
        if line.calls or line.waiting:
            return
        if line.circuit is None or (len(self._lines) > KEPT_MAX and not line.is_away):
            del self._lines[line.party]
