"""Who may ask a pool now, and who waits: at most a share of commands of one tenant stand with a pool at once. Pure.

Enters: the cases of one partition that want to ask, and those that are done with asking. Leaves: whether a command may
go out, under which ordinal its case waits if not, and whose turn has come. Guaranteed, for one tenant and pool in one
partition of plan: `outstanding` is the number of cases that hold a place there; it stays within the share, and nobody
waits while there is room; who waits is called in the order of coming; a case that gave up its wait is never called
after that, and one that was called and then gave up hands its place on. No step looks at more than it moves: beside a
place handed on, what is passed over are ordinals of cases that left, each once.

How: `pool:<pool>/<tenant>` holds three numbers, `turn:<pool>/<ordinal>/<tenant>` one case that waits. A place is taken
when a case is let in or called, and given back by that case alone, on its own way out: answered, given up, decided.
Called is: the entry goes, the place is taken, and a timer record tells the case (plan.py), so that the case moves by an
input of its own. A case that leaves and finds its entry gone knows by that it was called, and gives a place back.

The number of commands in all is bounded by the share times plan's partitions, so that a tenant with a backlog stands
with the pools with what they need to be busy, and with the rest here, where the commands of others do not queue behind
it. What is said of pools holds of outside systems too (`connectors.<system>`), and of each endpoint of one that is many
(`connectors.<system>:<endpoint>`): one that is slow or away holds up no other.

Rejected: a list of who waits in one record (it grows with the backlog, and each change writes it whole); asking when
the topic is short (its length says nothing of a tenant, and reading it is no input of a case).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from aios.schemas.models import Event, PoolRemembered, TurnRemembered
from aios.streams.errors import StateBroken

WAITING_MAX = 100_000  # cases of one tenant at one pool, in one partition; one more is not asked (turn.py)
POOL, TURN = b"pool:", b"turn:"  # begin the keys; no case id does
SYSTEMS = "connectors."  # begins the places at outside systems; no pool is of that process
NOBODY = PoolRemembered(outstanding=0, first=1, next=1)

E = TypeVar("E", bound=Event)


class Full(Exception):
    """WAITING_MAX cases wait there already."""


class Turnstile:
    """What one record does to the places and waits of its partition.

    look: what is remembered under a key. share: by pool, how many places a tenant has in this partition, ≥ 1.
    changes: by key, of what is not as it was; None forgets. called: case and timer id of those whose turn has come.
    counts: whether who is let in holds a place, to be given back.
    """

    counts = True

    def __init__(self, look: Callable[[bytes, type[Event]], Event | None], share: Callable[[str], int]) -> None:
        self._look = look
        self._share = share
        self._looked: dict[bytes, Event | None] = {}  # as it was
        self.changes: dict[bytes, Event | None] = {}
        self.called: list[tuple[str, str]] = []

    def enter(self, tenant: str, pool: str, case_id: str, timer_id: str) -> int:
        """Take a place: 0. Or wait for one, under the ordinal that is returned, until timer_id is fired for the case.

        Raises Full.
        """
        known = self.known(tenant, pool)
        if known.first == known.next and known.outstanding < self._share(pool):
            self._keep(tenant, pool, known.outstanding + 1, known.first, known.next)
            return 0
        if known.next - known.first >= WAITING_MAX:
            raise Full
        ordinal = known.next
        self.changes[turn_key(tenant, pool, ordinal)] = TurnRemembered(case_id=case_id, timer_id=timer_id)
        self._call(tenant, pool, known.outstanding, known.first, ordinal + 1)
        return ordinal

    def leave(self, tenant: str, pool: str, ordinal: int) -> None:
        """Give the place back, or the wait up. ordinal: what enter() returned, 0 once the case has asked."""
        known = self.known(tenant, pool)
        if ordinal and self._read(key := turn_key(tenant, pool, ordinal), TurnRemembered) is not None:
            self.changes[key] = None
            self._call(tenant, pool, known.outstanding, known.first, known.next)
            return
        if not known.outstanding:
            raise StateBroken(f"nobody holds a place at {pool}, and one is given back")
        self._call(tenant, pool, known.outstanding - 1, known.first, known.next)

    def known(self, tenant: str, pool: str) -> PoolRemembered:
        return self._read(pool_key(tenant, pool), PoolRemembered) or NOBODY

    def _call(self, tenant: str, pool: str, outstanding: int, first: int, after: int) -> None:
        """Whoever comes first, as long as there is room; ordinals of those who left are passed over."""
        share = self._share(pool)
        while first < after:
            key = turn_key(tenant, pool, first)
            waiting = self._read(key, TurnRemembered)
            if waiting is not None:
                if outstanding >= share:
                    break
                self.changes[key] = None
                self.called.append((waiting.case_id, waiting.timer_id))
                outstanding += 1
            first += 1
        self._keep(tenant, pool, outstanding, first, after)

    def _keep(self, tenant: str, pool: str, outstanding: int, first: int, after: int) -> None:
        """Where nobody stands or waits nothing is kept: no ordinal is known to anybody, so they may begin anew."""
        key, idle = pool_key(tenant, pool), not outstanding and first == after
        kept = None if idle else PoolRemembered(outstanding=outstanding, first=first, next=after)
        if kept == self._looked[key]:  # given back and taken again
            self.changes.pop(key, None)
        else:
            self.changes[key] = kept

    def _read(self, key: bytes, kind: type[E]) -> E | None:
        if key in self.changes:
            found = self.changes[key]
        elif key in self._looked:
            found = self._looked[key]
        else:
            found = self._looked[key] = self._look(key, kind)
        if found is not None and not isinstance(found, kind):
            raise StateBroken(f"{key!r} does not hold a {kind.contract}")
        return found


class Open(Turnstile):
    """Lets everybody in and remembers nobody: for whoever runs a case by itself."""

    counts = False

    def __init__(self) -> None:
        super().__init__(lambda key, kind: None, lambda pool: 1)  # noqa: ARG005 - as a turnstile's

    def enter(self, tenant: str, pool: str, case_id: str, timer_id: str) -> int:  # noqa: ARG002 - as a turnstile's
        return 0

    def leave(self, tenant: str, pool: str, ordinal: int) -> None:
        """Nobody is counted."""


def pool_key(tenant: str, pool: str) -> bytes:
    """Names of pools hold no slash."""
    return POOL + f"{pool}/{tenant}".encode()


def name_in(key: bytes) -> str:
    """Of a pool_key: the pool or system; of an endpoint, its system."""
    return key[len(POOL) :].partition(b"/")[0].partition(b":")[0].decode()


def turn_key(tenant: str, pool: str, ordinal: int) -> bytes:
    return TURN + f"{pool}/{ordinal}/{tenant}".encode()


def shares(outstanding_max: Mapping[str, int], partitions: int) -> Callable[[str], int]:
    """By pool or system, of a tenant in one of plan's partitions: what all partitions may have together, spread; at
    least one. What is not known has one.
    """
    spread = {pool: max(1, most // partitions) for pool, most in outstanding_max.items()}
    return lambda pool: spread.get(pool.partition(":")[0], 1)


def place_at(system: str, endpoint: str = "") -> str:
    """At an outside system, or at one endpoint of it. Neither name holds a slash or a colon."""
    return f"{SYSTEMS}{system}:{endpoint}" if endpoint else f"{SYSTEMS}{system}"


def is_system(pool: str) -> bool:
    """Whether a place is at an outside system."""
    return pool.startswith(SYSTEMS)
