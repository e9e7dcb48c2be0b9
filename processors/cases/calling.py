"""How a turn asks an outside system, and what it makes of the answer. Pure.

In: a step that calls, a case that was called, what the system's stage answered, silence. Out: commands
(connector.requested.v1), a timer with each; a wait for a turn. Guaranteed: a case that asks a system holds one of its
tenant's places there (turnstile.py; of an endpoint, where the system is many that fail one by one), and whichever way
it goes on gives it back; it waits for one at most as long as for answers; at most attempts_max commands of a step leave
a case, and as many each time that the step is asked again, all under one idempotency key, so that a system that was
asked twice can tell; only silence is asked again at once, since whoever answers has tried as often as its file says; a
request has all the room that a record leaves it, so that what a case may be given may be handed on whole; a system that
cannot answer is never a dead letter: the step has failed.

Rejected: the answer's contract read here once more (the connector that wrote it holds it; plan would have to import
every connector); calling a command off (an effect that is under way is not undone by it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.processors.cases.asking import ANSWER_GRACE_MS, CROWDED, EXPIRED, OK, Asking
from aios.processors.cases.turn import REASON_CHARS_MAX, ROOM_BYTES, TOO_LARGE, bytes_of
from aios.processors.cases.turnstile import Full, place_at
from aios.processors.language import answers
from aios.processors.language.questions import Call
from aios.schemas import ids, twins
from aios.schemas.models import ConnectorCompleted, ConnectorRequested
from aios.streams import installed, topics

UNKNOWN = "unknown"  # a status too: perhaps it was done
HEALS = (EXPIRED, UNKNOWN)  # statuses of what may be answered later
_command = twins.maker(ConnectorRequested)


class Calling(Asking):
    """A turn that may ask an outside system."""

    def call_system(self, path: str, step: Call, attempt: int = 1) -> None:
        """Take a place at the system and send the command, or wait for a place, for at most as long as for answers."""
        state = self._change(step=path, attempt=attempt)
        asks = self._asks(step)
        request, whom, turn_id = ids.canonical(asks), _whom(step.system, asks), f"turn/{path}/{attempt}"
        place = place_at(**whom)
        if bytes_of(request) > ROOM_BYTES:
            self._not_called(step, "request_too_large")
            self.failed(step, heals=False)
            return
        try:
            ordinal = self._turnstile.enter(state.tenant, place, state.case_id, turn_id)
        except Full:
            self._not_called(step, CROWDED)
            self.failed(step, heals=True)
            return
        self._change(pool=place if self._turnstile.counts else "", turn=ordinal)
        if not ordinal:
            self._send_call(step, request, whom)
            return
        until = self._cause.now_ms + step.attempts_max * step.deadline_s.ms(step.lane or state.lane)
        self._wait(path, attempt, turn_id, until)
        self.record(
            "call_queued",
            status=step.status or "",
            attempt=attempt,
            **whom,
            operation=step.operation,
            until=until,
        )

    def take_call_turn(self, step: Call) -> None:
        """The case was called, and holds a place at the system: its command goes out."""
        self.stop_waiting()
        self._change(turn=0)
        self._send_again(step)

    def _send_again(self, step: Call) -> None:
        asks = self._asks(step)
        self._send_call(step, ids.canonical(asks), _whom(step.system, asks))

    def _asks(self, step: Call) -> dict[str, Any]:
        view = self.view()
        return {name: value.evaluate(view) for name, value in step.request.items()}

    def _not_called(self, step: Call, reason: str) -> None:
        self.record("not_called", system=step.system, operation=step.operation, reason=reason)

    def _send_call(self, step: Call, request: str, whom: Mapping[str, str]) -> None:
        """The command of this attempt goes out; a timer tells when nobody answers."""
        now, state = self._cause.now_ms, self._state
        path, attempt = state.step, state.attempt
        lane = step.lane or state.lane
        command = _command(
            request_id=ids.command_id(state.case_id, path, attempt),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            step=path,
            attempt=attempt,
            system=step.system,
            operation=step.operation,
            request=request,
            effect=step.effect,
            idempotency_key=ids.derive("effect", state.case_id, path),
            lane=lane,
            deadline_at=now + step.deadline_s.ms(lane),
            requested_at=now,
        )
        self._tell(topics.connector_requested(step.system), command)
        self._wait(path, attempt, command.request_id, command.deadline_at + ANSWER_GRACE_MS)
        self.record(
            "call_requested",
            status=step.status or "",
            request_id=command.request_id,
            attempt=attempt,
            **whom,
            operation=step.operation,
            effect=step.effect,
            deadline_at=command.deadline_at,
        )

    def take_return(self, step: Call, event: ConnectorCompleted) -> None:
        """Go on with what the system said, or without."""
        said, failure = _read(event)
        if said is not None and bytes_of(event.output) > self.room():
            said, failure = None, TOO_LARGE
        self.record(
            "call_completed",
            request_id=event.request_id,
            attempt=event.attempt,
            system=event.system,
            operation=event.operation,
            outcome=event.status,
            reason=failure.partition(":")[0],  # the word: the system's own sentence stays off the audit
            tries=event.tries,
            reconciled=event.reconciled,
            waited_ms=event.waited_ms,
            call_ms=event.call_ms,
        )
        if said is None:
            self.failed(step, heals=event.status in HEALS)
        else:
            self.came(step, said)

    def call_again(self, step: Call) -> None:
        """Nobody answered in time: the command is repeated, as often as the step says. Or no turn came."""
        state = self._state
        if state.turn:
            self._not_called(step, "no_turn")
            self.failed(step, heals=True)
            return
        if state.attempt < step.attempts_max * (1 + state.again):
            self._change(attempt=state.attempt + 1)
            self._send_again(step)
            return
        self.record("call_unanswered", system=step.system, operation=step.operation, attempt=state.attempt)
        self.failed(step, heals=True)


def _whom(system: str, request: Mapping[str, Any]) -> dict[str, str]:
    """The system, and where it is many the endpoint that a request names: its place, and on the audit who is asked."""
    known = installed.systems().get(system)
    endpoint = "" if known is None else known.endpoint_of(request)
    return {"system": system, "endpoint": endpoint} if endpoint else {"system": system}


def _read(event: ConnectorCompleted) -> tuple[dict[str, Any] | None, str]:
    """The answer's fields, or None and why there are none."""
    if event.status != OK:
        return None, event.reason[:REASON_CHARS_MAX] or event.status
    try:
        return answers.plain(event.output), ""
    except ValueError:
        return None, "answer_breaks_contract"
