"""What becomes of the circuits towards a system and its endpoints, told to everybody: breaker.changed.v1.

Enters: changes of a circuit of this process, and what people say of it (`aios breaker close`). Leaves: one record for
each change, in order, again and again until Kafka takes it. Guaranteed: a process that starts knows how its former life
left each circuit, and since when; what a person closes is closed here within moments. Every process has its own
circuits and its own keys: `system/<name>` is that of slot 0, `system/<name>/<slot>` that of another; of an endpoint
`endpoint/<system>/<tenant>/<name>`, with the slot in the same place.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from aios.dlq import breakers
from aios.dlq.breakers import GroupBreakers
from aios.processors.connectors.circuit import Change, State
from aios.processors.connectors.lines import Party
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.kafka import Place
from aios.streams.record import Outgoing
from aios.streams.topology import Stage
from aios.streams.waiting import CIRCUITS, ENDPOINTS
from aios.streams.wall_clock import wall_ms

AGAIN_S = 1.0  # before a Kafka that was away is told again
WAITING_MAX = 1_000  # changes not told yet; the oldest are left out: the last one is what counts

log = logging.getLogger(__name__)


class Out(Protocol):
    """What telling needs of a Delivery."""

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]: ...


class Breakers(GroupBreakers):
    """The breakers of a system's group, which also hears when a person closes a circuit of this process."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, stage: Stage, own: Callable[[str], bool]) -> None:
        """own: whether a key is that of one of these circuits."""
        self._is_own_circuit = own
        self._closed: Callable[[BreakerChanged], None] = _nobody
        super().__init__(kafka, codec, stage)

    def hear(self, closed: Callable[[BreakerChanged], None]) -> None:
        """closed: called by the reader's thread for each closing of a circuit, our own included."""
        self._closed = closed

    def _seen(self, name: str, before: BreakerChanged | None, after: BreakerChanged | None) -> None:
        super()._seen(name, before, after)
        if after is not None and after.state == State.CLOSED and self._is_own_circuit(name):
            self._closed(after)


class Telling:
    """Of one circuit of this process: a system's, or a party's of it that is an endpoint. Needs close()."""

    def __init__(
        self, codec: Codec, out: Out, stage: Stage, *, system: str, slot: int, party: Party | None = None
    ) -> None:
        self.key = key_of(system, slot, party)
        self.by = f"{stage.name}.{slot}"
        self._codec = codec
        self._out = out
        self._stage = stage
        self._system = system
        self._tenant, _, self._endpoint = party.name.rpartition("/") if party is not None else ("", "", "")
        self._last: BreakerChanged | None = None
        self._untold: deque[BreakerChanged] = deque(maxlen=WAITING_MAX)
        self._task: asyncio.Task[None] | None = None

    @property
    def since(self) -> int:
        """From when the circuit has not been closed, Unix ms; 0: it is."""
        return 0 if self._last is None or self._last.state == State.CLOSED else self._last.since

    @property
    def is_over(self) -> bool:
        """Closed, and everybody told."""
        return not self.since and not self._untold

    def resume(self, left: BreakerChanged | None) -> bool:
        """How a former life of this process left it. True: it was open."""
        self._last = left
        return left is not None and left.state != State.CLOSED

    def changed(self, change: Change, word: str) -> None:
        """Tell it, in order. word: what the call said that opened it."""
        last, now_ms = self._last, wall_ms()
        is_closed, was_closed = change.state is State.CLOSED, last is None or last.state == State.CLOSED
        reason = word or ("" if last is None else last.reason)
        told = BreakerChanged(
            key=self.key,
            group=self._stage.group,
            partition=-1,
            tenant=self._tenant,
            state=change.state,
            reason=reason,
            fingerprint="",
            failed=change.failed,
            settled=change.counted,
            action="" if is_closed else self._action(reason),
            by=self.by,
            changed_at=max(now_ms, last.changed_at + 1 if last is not None else 0),
            since=0 if is_closed else now_ms if was_closed or last is None else last.since,
        )
        log.warning("circuit %s is %s (%s)", self.key, change.state, reason)
        self._last = told
        self._untold.append(told)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tell_all())

    def closed_by(self, closed: BreakerChanged) -> bool:
        """Somebody closed it: whether that was not this process, and meant this opening; changes may have crossed."""
        if closed.by == self.by or not self.since or closed.changed_at < self.since:
            return False
        self._last = closed
        return True

    async def close(self, s_max: float, *, leaves: bool) -> None:
        """leaves: this slot may never come back, so its circuit is not left standing open."""
        if leaves and self._last is not None and self._last.state != State.CLOSED:
            self.changed(Change(State.CLOSED, self._last.failed, self._last.settled), "")
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=s_max)
            self._task.cancel()

    async def _tell_all(self) -> None:
        while self._untold:
            told = self._untold[0]
            try:
                await self._out.deliver_all((breakers.outgoing(self._codec, told),))
            except Unavailable as error:
                log.warning("circuit %s is %s, but not told yet: %s", self.key, told.state, error)
                await asyncio.sleep(AGAIN_S)
            else:
                if self._untold and self._untold[0] is told:
                    self._untold.popleft()

    def _action(self, word: str) -> str:
        if self._endpoint:
            return (
                f"{self._endpoint} of {self._tenant} is away ({word}): what {self._system} has for it waits, until its "
                "deadlines, and goes on by itself; one call tries from time to time, and the others' go on. If it "
                f"stays away, look at connectors.endpoints.{self._endpoint} and at its receiver; `aios breaker close "
                f"{self.key}` has it tried at once."
            )
        return (
            f"{self._system} is away ({word}): its commands wait, until their deadlines, and go on by themselves; one "
            f"call tries from time to time. If it stays away, look there; `aios breaker close {self.key}` has them try "
            "at once."
        )


class Endpoints:
    """The circuits towards the endpoints of one system, in this process. Needs close()."""

    def __init__(self, codec: Codec, out: Out, stage: Stage, *, system: str, slot: int) -> None:
        self._tell = functools.partial(Telling, codec, out, stage, system=system, slot=slot)
        self._system = system
        self._slot = slot
        self._known: dict[Party, Telling] = {}

    def changed(self, party: Party, change: Change, word: str) -> None:
        """Tell it; those that closed and were told are forgotten."""
        telling = self._known.get(party)
        if telling is None:
            self._known = {one: told for one, told in self._known.items() if not told.is_over}
            telling = self._known[party] = self._tell(party=party)
        telling.changed(change, word)

    def party_of(self, key: str) -> Party | None:
        """Whose circuit of this process a key is; None: of none."""
        return party_of(key, self._system, self._slot)

    def resume(self, left: Iterable[BreakerChanged]) -> list[Party]:
        """Those that a former life of this process left open."""
        for one in left:
            party = self.party_of(one.key)
            if party is not None and one.state != State.CLOSED:
                self._known[party] = self._tell(party=party)
                self._known[party].resume(one)
        return list(self._known)

    def closed_by(self, closed: BreakerChanged) -> Party | None:
        """Whose circuit somebody else has closed, if it is open here."""
        party = self.party_of(closed.key)
        telling = None if party is None else self._known.get(party)
        return party if telling is not None and telling.closed_by(closed) else None

    async def close(self, s_max: float, *, leaves: bool) -> None:
        """See Telling."""
        await asyncio.gather(*(one.close(s_max, leaves=leaves) for one in self._known.values()))


def key_of(system: str, slot: int, party: Party | None = None) -> str:
    """Of the circuit towards a system, or one that it is asked for, in the process of this slot."""
    begin = f"{CIRCUITS}{system}" if party is None else f"{ENDPOINTS}{system}/{party.name}"
    return begin + (f"/{slot}" if slot else "")


def party_of(key: str, system: str, slot: int) -> Party | None:
    """Whose circuit it is, of those of this process; None: none of its endpoints'. No endpoint is named in digits."""
    begin = f"{ENDPOINTS}{system}/"
    if not key.startswith(begin):
        return None
    name, _, last = key.removeprefix(begin).rpartition("/")
    if not last.isdigit():
        return None if slot else Party(f"{name}/{last}", is_endpoint=True)
    return Party(name, is_endpoint=True) if slot and last == str(slot) else None


def _nobody(_closed: BreakerChanged) -> None:
    """Until somebody wants to hear it."""
