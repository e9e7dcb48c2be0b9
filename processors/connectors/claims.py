"""Who else is about to do what a command asks: intents written before tries, and what those of others mean.

Enters: a command before each of its tries. Leaves: whether it may have been tried by somebody else, and our own claim,
acknowledged. Guaranteed: of two processes that hold one command the log says who came first, and the later one learns
of it before it tries; what another may still be doing is waited for before the system is asked whether it was done. The
same between the commands of one step: plan asks again when its own clock says that nobody will answer any more, and
where this machine's is behind by more than that, the first command is still at work beside the second.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from aios.dlq.one_record import Lost
from aios.processors.connectors.connector import Effect
from aios.processors.connectors.course import LOOK_S, Course
from aios.processors.connectors.intents import Intent, Mark
from aios.schemas import ids
from aios.schemas.models import ConnectorRequested
from aios.streams import failpoints
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.system_files import ATTEMPTS_MAX, System
from aios.streams.wall_clock import wall_ms

LEASE_S = 2.0  # from an intent to its try: later, the intent is written anew
PROCESS = "connectors"

log = logging.getLogger(__name__)


class Known(Protocol):
    """What a command needs of Intents."""

    async def known(self, partition: int, asked_ms: int) -> bool: ...
    async def reached(self, partition: int, offset: int) -> bool: ...
    def of(self, partition: int, request_id: str) -> Sequence[Intent]: ...
    def age_ms(self, intent: Intent) -> int: ...


Intend = Callable[[Record, ConnectorRequested, Mark], Awaitable[int]]
"""Write the intent of a try, acknowledged; its offset. Raises Unavailable."""


class Claims:
    """Towards one system, in one process."""

    def __init__(self, system: System, intents: Known, intend: Intend) -> None:
        self._system = system
        self._intents = intents
        self._intend = intend

    async def look(self, course: Course) -> bool:
        """Whether it may have been tried before, into maybe_done. False: that could not be read before its deadline."""
        command, record = course.command, course.record
        asked_ms = min(command.requested_at, record.timestamp_ms or command.requested_at)
        asked_ms -= round(1000 * self._system.limits.call_s_max)  # the command before may have been tried since then
        known = await course.within(lambda: self._intents.known(record.partition, asked_ms))
        if known is None:
            return False
        again = command.attempt > 1  # the key is the step's, not the attempt's
        course.maybe_done = again or not known or bool(self.others(course))
        return True

    def others(self, course: Course) -> list[Intent]:
        """Intents of others, of former lives, and of the step's other commands, that may have had an effect."""
        partition, command = course.record.partition, course.command
        known = [one for one in self._intents.of(partition, command.request_id) if not _is_own(one, course)]
        if course.effect is Effect.RECONCILED:
            known += (one for other in _repeats(command) for one in self._intents.of(partition, other))
        return [one for one in known if one.offset not in course.refuted]

    async def let_others_end(self, course: Course) -> None:
        """Until no try of another can be under way, nor the system be at it: it must not land behind the question."""
        while course.maybe_done and course.effect is Effect.RECONCILED:
            wait_s = min(self.under_way_s(course), course.left_s())
            if wait_s <= 0:
                return
            await course.pause(wait_s)

    def under_way_s(self, course: Course) -> float:
        """For how long a try of another may still be under way; 0 or less: for no longer."""
        ages = [self._intents.age_ms(one) / 1000 for one in self.others(course)]
        most_s = self._system.limits.call_s_max + LEASE_S + self._system.again.unsure_s
        return most_s - min(ages, default=float("inf"))

    async def claim(self, course: Course) -> bool:
        """Write that it is about to be tried. False: somebody else says the same, or it took too long: look again."""
        begun = course.clock()
        mark = (course.tries + 1, wall_ms())
        course.marks.add(mark)
        try:
            offset = await self._intend(course.record, course.command, mark)
        except Unavailable as error:
            log.warning("%s waits: %s", self._system.system, error)
            await course.pause(LOOK_S)
            return False
        course.marks.discard(mark)  # another may have written the same within this millisecond
        course.own.add(offset)
        failpoints.hit(f"{PROCESS}.intended")
        if course.effect is Effect.AT_LEAST_ONCE:
            return True
        if not await course.within(lambda: self._intents.reached(course.record.partition, offset)):
            return False  # not in time
        if not course.wanted():
            raise Lost
        if self.others(course):
            course.maybe_done = True
            return False
        return course.clock() - begun < LEASE_S


def _is_own(intent: Intent, course: Course) -> bool:
    return intent.offset in course.own or intent.mark in course.marks


def _repeats(command: ConnectorRequested) -> Iterator[str]:
    """Ids of the other commands that its step may send for the same effect."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        if attempt != command.attempt:
            yield ids.command_id(command.case_id, command.step, attempt)
