"""One command on its way to an answer: what has become of it so far, in this process, and how it waits.

Enters: a command that was understood. Leaves: an Answer. Guaranteed: whoever waits here notices within LOOK_S that the
command has left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

from pydantic import BaseModel

from aios.dlq.one_record import Lost
from aios.processors.connectors.connector import Ask, Effect, Operation
from aios.processors.connectors.intents import Mark
from aios.processors.connectors.lines import Party
from aios.schemas.models import ConnectorRequested
from aios.streams.record import Record

OK, FAILED, EXPIRED, UNKNOWN = "ok", "failed", "expired", "unknown"
LOOK_S = 1.0  # between two looks whether a command that waits is still ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a command. word, sentence: why it is not ok."""

    status: str
    word: str = ""
    sentence: str = ""
    output: str = ""
    contract: str = ""
    reconciled: bool = False


@dataclass(slots=True, kw_only=True)
class Course:
    """What has become of a command so far, in this process. deadline, clock: monotonic, seconds.

    maybe_done: a try may have had its effect. before: as it was before the try that is under way. was_done: one has had
    it, for all to see, and did not come to its end. ended: when our last try was. given_s, took_s: of the last call or
    question, or the one under way. own: offsets of our intents; marks: of those of which Kafka has not said where they
    stand. refuted: offsets of intents of which the system says that they had no effect.
    """

    record: Record
    command: ConnectorRequested
    operation: Operation
    request: BaseModel
    effect: Effect
    party: Party
    deadline: float
    wanted: Callable[[], bool]
    clock: Callable[[], float]
    tries: int = 0
    failures: int = 0
    call_s: float = 0.0
    first_try_ms: int = 0
    ended: float = 0.0
    given_s: float = inf
    took_s: float = 0.0
    maybe_done: bool = False
    before: bool = False
    was_done: bool = False
    again_after_s: float = 0.0
    word: str = ""
    sentence: str = ""
    own: set[int] = field(default_factory=set)
    marks: set[Mark] = field(default_factory=set)
    refuted: set[int] = field(default_factory=set)

    def ask(self, seconds: float) -> Ask:
        command = self.command
        return Ask(
            request_id=command.request_id,
            idempotency_key=command.idempotency_key,
            tenant=command.tenant,
            case_id=command.case_id,
            deadline_s=seconds,
        )

    def left_s(self) -> float:
        return self.deadline - self.clock()

    async def pause(self, seconds: float) -> None:
        """Raises Lost when the command leaves meanwhile."""
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            await asyncio.sleep(min(left, LOOK_S))
            if not self.wanted():
                raise Lost
        if not self.wanted():
            raise Lost

    async def within(self, wait: Callable[[], Awaitable[bool]]) -> bool | None:
        """What came before the deadline; None: nothing did. Raises Lost."""
        while self.wanted():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(LOOK_S, self.left_s()))):
                    return await wait()
            if self.left_s() <= 0:
                return None
        raise Lost


def failed(word: str, sentence: str) -> Answer:
    return Answer(status=FAILED, word=word, sentence=sentence)


def unknown(word: str, sentence: str) -> Answer:
    return Answer(status=UNKNOWN, word=word, sentence=sentence)
