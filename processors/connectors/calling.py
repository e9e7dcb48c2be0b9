"""From one command to its answer: refused, waiting, tried, tried again, reconciled, or too late.

Enters: a connector.requested.v1, decoded. Leaves: the connector.completed.v1 that answers it, failures included.
Guaranteed, whatever dies in between:

    none            tried until it answers or its deadline passes
    at_least_once   the same; an intent is acknowledged before each try
    reconciled      after any try of which nobody knows whether it was done, by this process or a former one, the system
                    is asked first; it is asked only when that try can be under way no more
    at_most_once    tried by whose intent stands first in the log, and again only after an answer that surely did
                    nothing; else the answer is `unknown`

What waits (closed bulkhead, rate, open circuit) costs no try. A failure that may heal is tried again, after a random
part of a growing bound, until the deadline. After a try of ours that nobody answered the system may still be at it: it
is left alone for `again.unsure_s`, and a random part of as much again, before it is asked or tried; where the deadline
comes first, the answer is `unknown`. Nothing here raises but Lost, Aside, Unavailable and what nobody foresaw.
Time: a deadline is compared with this machine's clock, as in inference_workers/answering.py; plan's own timer is the
judge of deadlines. What others may have done is in claims.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from random import Random
from typing import Any, TypeVar

from pydantic import BaseModel

from aios.dlq.one_record import Lost
from aios.processors.connectors import lines, measures, pace, understanding
from aios.processors.connectors.claims import PROCESS, Claims, Intend, Known
from aios.processors.connectors.connector import TOO_LARGE, CallFailed, Connector, Effect, Failure, failure_of
from aios.processors.connectors.course import EXPIRED, FAILED, OK, UNKNOWN, Answer, Course, failed, unknown
from aios.processors.connectors.gate import Gate, Permit
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.opened import Opened, Unopened
from aios.schemas import ids
from aios.schemas.models import ConnectorCompleted, ConnectorRequested
from aios.streams import failpoints
from aios.streams.errors import ConfigError
from aios.streams.record import Record
from aios.streams.system_files import System
from aios.streams.wall_clock import wall_ms

REASON_CHARS_MAX = 300
USED_SHARE = 0.8  # of the time that a try was given: behind it silence says that it was too little

log = logging.getLogger(__name__)
T = TypeVar("T")


class Calling:
    """Of one system, in one process and event loop."""

    def __init__(
        self,
        system: System,
        operations: Callable[[], Any],
        opened: Opened,
        gate: Gate,
        *,
        intents: Known,
        intend: Intend,
        guard: Guard,
        away_since: Callable[[], int] = lambda: 0,
        random: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """operations: what the system can be asked; raises ConfigError while its connector cannot be loaded.

        away_since: from when the circuit has not been closed, Unix ms; 0: it is.
        """
        self._system = system
        self._operations = operations
        self._opened = opened
        self._gate = gate
        self._claims = Claims(system, intents, intend)
        self._guard = guard
        self._away_since = away_since
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads tries, guards nothing

    async def answer(
        self,
        record: Record,
        command: ConnectorRequested,
        wanted: Callable[[], bool],
        *,
        aside_ms: int | None = None,
    ) -> ConnectorCompleted:
        """wanted: whether the command is still ours. aside_ms: the least that it is away for if it is put off; None: it
        cannot be.

        Raises Lost, Aside, Unavailable, RecordError, and what nobody foresaw.
        """
        course = self._understood(record, command, wanted)
        answer = course if isinstance(course, Answer) else await self._pursue(course, aside_ms)
        return self.completed(record, command, answer, None if isinstance(course, Answer) else course)

    @property
    def try_ms(self) -> int:
        """What one try may take."""
        return round(self._system.limits.call_s_max * 1000)

    def completed(
        self, record: Record, command: ConnectorRequested, answer: Answer, course: Course | None = None
    ) -> ConnectorCompleted:
        """The event of an answer."""
        now_ms = wall_ms()
        first_ms = course.first_try_ms if course is not None and course.first_try_ms else now_ms
        measures.ANSWERS.labels(self._system.system, answer.status).inc()
        return ConnectorCompleted(
            request_id=command.request_id,
            case_id=command.case_id,
            tenant=command.tenant,
            workflow=command.workflow,
            step=command.step,
            attempt=command.attempt,
            system=command.system,
            operation=command.operation,
            status=answer.status,
            reason=f"{answer.word}: {answer.sentence}"[:REASON_CHARS_MAX] if answer.word else "",
            output=answer.output,
            output_contract=answer.contract,
            tries=course.tries if course is not None else 0,
            reconciled=answer.reconciled,
            waited_ms=max(0, first_ms - record.timestamp_ms) if record.timestamp_ms else 0,
            call_ms=round(course.call_s * 1000) if course is not None else 0,
            completed_at=now_ms,
        )

    def _understood(self, record: Record, command: ConnectorRequested, wanted: Callable[[], bool]) -> Course | Answer:
        """What is asked, or why it can never be."""
        asked = understanding.understood(self._system.system, self._operations, command)
        if isinstance(asked, Answer):
            return asked
        left_s = (command.deadline_at - wall_ms()) / 1000
        return Course(
            record=record,
            command=command,
            operation=asked.operation,
            request=asked.request,
            effect=Effect(command.effect),
            party=lines.party(self._system, asked.request, command.tenant),
            deadline=self._clock() + left_s,
            wanted=wanted,
            clock=self._clock,
        )

    async def _pursue(self, course: Course, aside_ms: int | None) -> Answer:
        """Try until there is an answer."""
        if course.effect is not Effect.NONE and not await self._claims.look(course):
            return unknown("not_known", "whether it was tried before could not be read in time")
        while True:
            if course.effect is Effect.AT_MOST_ONCE and course.maybe_done:
                return unknown("tried_before", "it was tried once, and nobody told what became of it")
            may_go = aside_ms is not None and not (course.tries or course.own or course.marks)
            aside_until = course.deadline - ((aside_ms or 0) + self.try_ms) / 1000 if may_go else 0.0
            answer = await self._turn(course, aside_until)
            if answer is not None:
                return answer
            await self._rest(course)

    async def _turn(self, course: Course, aside_until: float) -> Answer | None:
        """Wait at the gate, then try once. None: again."""
        await self._claims.let_others_end(course)
        permit = await self._gate.enter(course.deadline, course.wanted, course.party, aside_until=aside_until)
        if permit is None:
            if not course.wanted():
                raise Lost
            return self._too_late(course)
        try:
            async with self._guard.of(course.record):
                return await self._try(course, permit)
        finally:
            self._gate.abandon(permit)

    async def _try(self, course: Course, permit: Permit) -> Answer | None:
        connector: Connector | None = None
        course.before, course.given_s = course.maybe_done, inf
        try:
            connector = await self._opened.get(max(0.0, self._seconds(course)))
            if connector is None:
                return None
            if course.left_s() <= 0:
                return self._too_late(course)  # a question now would come before the system may be done
            if course.maybe_done and course.effect is Effect.RECONCILED:
                if self._claims.under_way_s(course) > 0:
                    return None  # somebody began while this one waited at the gate: the question would come too early
                answer = await self._reconciled(course, permit, connector)
                if answer is not None:
                    return answer
            if course.effect is not Effect.NONE and not await self._claims.claim(course):
                return None
            seconds = self._seconds(course)
            if seconds <= 0:
                return self._too_late(course)
            response = await self._called(course, connector, seconds)
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is raised again
            is_short = course.given_s < self._system.limits.call_s_max
            is_late = _is_silence(error) and is_short and course.took_s >= USED_SHARE * course.given_s
            return self._failed(course, permit, connector, error, is_late=is_late)
        self._gate.succeed(permit)
        return self._ok(course, response)

    async def _reconciled(self, course: Course, permit: Permit, connector: Connector) -> Answer | None:
        """The answer, if a former try has had its effect. None: none has."""
        seconds = max(0.0, self._seconds(course))
        asked = self._claims.others(course)
        try:
            found = await self._timed(
                course, connector.done(course.command.operation, course.request, course.ask(seconds)), seconds
            )
        except CallFailed as error:
            if error.failure not in (Failure.PERMANENT, Failure.REFUSED):
                raise
            self._gate.succeed(permit)
            return unknown(error.word, f"it does not say whether it was done: {error.sentence}")
        if found is None:
            course.refuted |= {intent.offset for intent in asked}
            course.maybe_done = course.before = False
            return None
        self._gate.succeed(permit)
        measures.RECONCILED.labels(self._system.system).inc()
        return self._ok(course, found, reconciled=True)

    async def _called(self, course: Course, connector: Connector, seconds: float) -> BaseModel:
        """One call. maybe_done is true from here on, until an answer says otherwise."""
        course.tries += 1
        course.first_try_ms = course.first_try_ms or wall_ms()
        course.maybe_done = course.effect is not Effect.NONE
        call = connector.call(course.command.operation, course.request, course.ask(seconds))
        try:
            response: BaseModel = await self._timed(course, call, seconds)
        finally:
            course.ended = self._clock()
        failpoints.hit(f"{PROCESS}.computed")
        return response

    async def _timed(self, course: Course, call: Awaitable[T], seconds: float) -> T:
        begun, course.given_s = self._clock(), seconds
        try:
            async with asyncio.timeout(seconds):
                return await call
        finally:
            course.took_s = self._clock() - begun
            course.call_s += course.took_s
            measures.CALL.labels(self._system.system).observe(course.took_s)

    def _failed(
        self, course: Course, permit: Permit, connector: Connector | None, error: Exception, *, is_late: bool
    ) -> Answer | None:
        """What follows of a failed try; None: again. is_late: it was given less time than the system may take.

        Raises what nobody foresaw.
        """
        failure, cause = _judged(connector, error)
        if failure is Failure.UNFORESEEN and not (course.effect is Effect.AT_MOST_ONCE and course.maybe_done):
            raise error
        course.word, course.sentence = _said(cause)
        course.was_done |= course.effect is not Effect.NONE and getattr(cause, "was_done", False)
        course.failures += 1
        course.again_after_s = cause.again_after_s if isinstance(cause, CallFailed) else 0.0
        measures.CALLS.labels(self._system.system, failure).inc()
        if failure in (Failure.PERMANENT, Failure.REFUSED):
            if getattr(cause, "was_called", True):
                self._gate.succeed(permit)
            else:
                self._gate.abandon(permit)
            status = UNKNOWN if course.before or course.was_done else FAILED
            return Answer(status=status, word=course.word, sentence=course.sentence)
        if is_late or failure is Failure.UNFORESEEN:
            self._gate.abandon(permit)
        elif not getattr(cause, "is_systems", True):
            self._gate.fail_endpoint(permit, course.word)
        else:
            self._gate.fail(permit, course.word, course.again_after_s)
        if failure is Failure.TRANSIENT:
            course.maybe_done = course.before
        if course.effect is Effect.AT_MOST_ONCE and course.maybe_done:
            return unknown(course.word, course.sentence)
        return None

    async def _rest(self, course: Course) -> None:
        """Before the next try, or the question whether the last one was done."""
        if course.failures:
            wait_s = pace.again_s(self._system.again, course.failures, course.again_after_s, self._random)
            if course.maybe_done and course.tries:
                quiet_s = pace.unsure_s(self._system.again, self._random)
                wait_s = max(wait_s, course.ended + quiet_s - self._clock())
            await course.pause(min(wait_s, max(0.0, course.left_s())))

    def _seconds(self, course: Course) -> float:
        """Of one try."""
        return min(self._system.limits.call_s_max, course.left_s())

    def _too_late(self, course: Course) -> Answer:
        status = UNKNOWN if course.maybe_done or course.was_done else EXPIRED
        since = self._away_since()
        if since:
            at = datetime.fromtimestamp(since / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            why = f"; last: {course.word}" if course.word else ""
            return Answer(status=status, word="away", sentence=f"{self._system.system} has been away since {at}{why}")
        if self._gate.is_away(course.party):
            said = f"; last: {course.word}" if course.word else ""
            who = f"{course.party.name} of {self._system.system}"
            return Answer(status=status, word="away", sentence=f"{who} is away{said}")
        if course.word:
            sentence = f"{course.sentence} (tried {course.tries} times until the deadline)"
            return Answer(status=status, word=course.word, sentence=sentence)
        return Answer(status=status, word="late", sentence="its deadline passed before it could be tried")

    def _ok(self, course: Course, response: BaseModel, *, reconciled: bool = False) -> Answer:
        operation = course.operation
        if not isinstance(response, operation.response):
            raise TypeError(f"{self._system.system} answered with a {type(response).__name__}")
        measures.CALLS.labels(self._system.system, OK).inc()
        output = ids.canonical(response.model_dump(mode="json"))
        size = len(output.encode())
        if size > self._system.limits.answer_bytes_max:
            said = f"the answer of {size} bytes is over the {self._system.limits.answer_bytes_max} allowed"
            if course.effect is Effect.NONE:
                return failed(TOO_LARGE, said)
            return unknown(TOO_LARGE, f"it was done; {said}")
        return Answer(status=OK, output=output, contract=operation.response_contract, reconciled=reconciled)


def _judged(connector: Connector | None, error: Exception) -> tuple[Failure, Exception]:
    """What an error says, and the one that says it. A connector that cannot be opened is a system that is away."""
    if isinstance(error, Unopened):
        failure = error.connector.classify(error.error)
        if failure is Failure.UNFORESEEN:
            log.error("a connector cannot be opened:\n%s", "".join(traceback.format_tb(error.error.__traceback__)))
        return Failure.TRANSIENT, error.error
    return (failure_of(error) if connector is None else connector.classify(error)), error


def _is_silence(error: Exception) -> bool:
    """Whether it is nothing but that no answer came in the time that was given."""
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)


def _said(error: Exception) -> tuple[str, str]:
    """A word and a sentence; of errors that are not ours the kind alone, since their words may hold payload."""
    if isinstance(error, CallFailed):
        return error.word, error.sentence
    if isinstance(error, ConfigError):
        return "not_configured", str(error)
    if isinstance(error, TimeoutError):
        return "no_answer", "it did not answer in time"
    if isinstance(error, OSError):
        return "no_connection", type(error).__name__
    return "failed", type(error).__name__
