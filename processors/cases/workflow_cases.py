"""Recorded cases beside a workflow, run through plan with given answers. Pure.

In: of each case its input, what models, systems, people and events said by step path, and what is to come of it
(case_files.py). Out: for each case what came, and where it differs. Guaranteed: the state machine is plan's own; what a
step is not given stays silent and its timer fires, so that deadlines and expiries are tried too; an answer of a system
or a model that its contract does not allow, or of a person that is not offered, is a difference, never a pass; a run
ends within MOVES_MAX moves. Nothing is asked of anybody.

Rejected: recording from a live system only (a new workflow has no history yet; infra/recorded_cases.py does that for
one that has).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from aios.processors.cases import case
from aios.processors.cases.asking import EXPIRED, FAILED, OK
from aios.processors.cases.case_files import Recorded
from aios.processors.cases.turn import Cause, step_of
from aios.processors.connectors import registry
from aios.processors.language import answers
from aios.processors.language.workflow import STEPS_MAX, Wait, Workflow
from aios.processors.language.workflow_files import Sound, Workflows
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseDecided,
    CaseRemembered,
    CaseTold,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    InferenceCompleted,
    InferenceRequested,
    ReviewDecided,
    ReviewRequested,
    TimerFired,
)
from aios.streams import prompt_files
from aios.streams.errors import AiosError
from aios.streams.part import close_to, wrong_in

MOVES_MAX = 8 * STEPS_MAX
TENANT = "recorded"
STEP_MS = 1_000  # between what happens

_CONTRACTS = {
    "label": "classification.v1",
    "vector": "embedding.v1",
    "text": prompt_files.TEXT,
    "object": prompt_files.OBJECT,
    "choice": prompt_files.CHOICE,
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one case. wrong: where it differs, for people; empty: it passed. steps: those it went through."""

    name: str
    wrong: tuple[str, ...]
    came: str
    steps: frozenset[str]


def run(sound: Sound, recorded: Recorded) -> Ran:
    """One case through plan. Nothing raised: what cannot run has failed, and says why."""
    attempt = _Run(sound, recorded)
    try:
        attempt.go()
    except AiosError as error:
        attempt.wrong.append(f"plan refuses it: {error}")
    return Ran(recorded.name, tuple(attempt.wrong), attempt.came, frozenset(attempt.steps))


def unvisited(workflow: Workflow, ran: Sequence[Ran]) -> list[str]:
    """Steps that no case went through."""
    seen = {step for one in ran for step in one.steps}
    return [name for name in workflow.steps if name not in seen]


@dataclass
class _Run:
    """One case on its way."""

    sound: Sound
    recorded: Recorded
    wrong: list[str] = field(default_factory=list)
    came: str = ""
    steps: set[str] = field(default_factory=set)
    used: dict[str, int] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)

    def go(self) -> None:
        taken = self.sound.input
        workflows = Workflows([self.sound.workflow], {taken.contract: taken}, self.recorded.autonomy)
        now = _ms(self.recorded.received_at)
        state: CaseRemembered | None = None
        ahead: list[Event] = [self._admitted(now)]
        for offset in range(MOVES_MAX):
            event = ahead.pop(0) if ahead else self._fired(state, now)
            if event is None:
                break
            now = max(now + STEP_MS, event.fired_at if isinstance(event, TimerFired) else 0)
            moved = case.plan(state, event, Cause("", 0, offset, now), workflows)
            state = moved.state
            self._note(moved.timers)
            decided = [told for _, told in moved.events if isinstance(told, CaseDecided)]
            ahead += [answer for _, told in moved.events for answer in self._answers(told, now)]
            if decided:
                self._decided(decided[0])
                return
            if self._stands(state, ahead):
                return
        self.wrong.append(f"it does not end within {MOVES_MAX} moves" if ahead else "it waits for what never comes")

    def _stands(self, state: CaseRemembered | None, ahead: Sequence[Event]) -> bool:
        """Whether it waits where it is to wait, with nothing more on its way."""
        if self.recorded.expect.waits_in is None or state is None or ahead:
            return False
        where = {state.step, step_of(state.step)}
        if not state.waiting_for or self.recorded.expect.waits_in not in where:
            return False
        self.came = f"waits in {state.step}"
        return True

    def _admitted(self, now: int) -> CaseAdmitted:
        taken, key = self.sound.input, self.recorded.name
        fields = taken.complete(self.recorded.input)
        return CaseAdmitted(
            case_id=ids.case_id(TENANT, self.sound.workflow.workflow, key),
            tenant=TENANT,
            workflow=self.sound.workflow.workflow,
            event_id=key,
            idempotency_key=key,
            body_hash=taken.body_hash(fields),
            lane=self.recorded.lane,
            input_contract=taken.contract,
            input=ids.canonical(taken.of_case(fields, now)),
            received_at=now,
            admitted_at=now,
            source_topic=taken.contract,
            source_partition=0,
            source_offset=0,
        )

    def _fired(self, state: CaseRemembered | None, now: int) -> TimerFired | None:
        """The next timer, where nobody says anything more."""
        if state is None or not self.timers:
            return None
        timer_id = min(self.timers, key=lambda name: self.timers[name])
        due = self.timers.pop(timer_id)
        return TimerFired(timer_id=timer_id, case_id=state.case_id, due_at=due, fired_at=max(now, due))

    def _note(self, timers: Mapping[str, int | None]) -> None:
        for timer_id, due in timers.items():
            if due is None:
                self.timers.pop(timer_id, None)
            else:
                self.timers[timer_id] = due

    def _answers(self, told: Event, now: int) -> Iterator[Event]:
        """What the file gives for what plan asks."""
        match told:
            case AuditRecorded():
                self._went(told)
                step = self.sound.workflow.steps.get(step_of(told.step))
                if told.transition == "waiting" and step is not None and isinstance(step.kind, Wait):
                    given = self._given(told.step)
                    if given is not None:
                        yield self._told(told, str(step.kind.event), given, now)
            case InferenceRequested():
                if (given := self._given(told.step)) is not None:
                    yield self._completed(told, given, now)
            case ConnectorRequested():
                if (given := self._given(told.step)) is not None:
                    yield self._returned(told, given, now)
            case ReviewRequested():
                if (given := self._given(told.step)) is not None:
                    if (label := str(given.get("label", ""))) not in told.choices:
                        self.wrong.append(f"{told.step}: {label} is not offered{close_to(label, list(told.choices))}")
                    yield ReviewDecided(
                        event_id=ids.derive("recorded", told.task_id),
                        task_id=told.task_id,
                        case_id=told.case_id,
                        tenant=told.tenant,
                        label=label,
                        reviewer=str(given.get("reviewer", "somebody")),
                        comment=str(given.get("comment", "")),
                        decided_at=now,
                    )

    def _went(self, said: AuditRecorded) -> None:
        """The step of a transition, and the rules before it."""
        ruled = json.loads(said.detail or "{}").get("ruled", ())
        self.steps |= {step_of(said.step), *(str(one["rule"]) for one in ruled)} - {""}

    def _given(self, path: str) -> Mapping[str, Any] | None:
        """The next of what is given for a path, else for its step; None: silence."""
        name = path if path in self.recorded.given else step_of(path) if "/" not in path else path
        found: Any = self.recorded.given.get(name)
        count = self.used.get(name, 0)
        if isinstance(found, list):
            found = found[count] if count < len(found) else None
        elif count and name == path:
            found = None  # given once; a second attempt is silent
        self.used[name] = count + 1
        return found

    def _told(self, said: AuditRecorded, kind: str, given: Mapping[str, Any], now: int) -> CaseTold:
        return CaseTold(
            event_id=ids.derive("recorded", said.case_id, said.step),
            case_id=said.case_id,
            tenant=said.tenant,
            kind=kind,
            body=ids.canonical(given.get("told", {})),
            by=str(given.get("by", "producer")),
            told_at=now,
        )

    def _completed(self, asked: InferenceRequested, given: Mapping[str, Any], now: int) -> InferenceCompleted:
        completed = _completed(asked, given, now)
        if completed.status == OK:
            try:
                answers.read(asked.task, completed.output_contract, completed.output, asked.prompt)
            except ValidationError as error:
                self.wrong.append(f"{asked.step}: {wrong_in(error)[0]}")
            except ValueError as error:
                self.wrong.append(f"{asked.step}: {error}")
        return completed

    def _returned(self, asked: ConnectorRequested, given: Mapping[str, Any], now: int) -> ConnectorCompleted:
        operation = registry.operation(asked.system, asked.operation)
        output, contract = "", ""
        status, reason = _status(given)
        if status == OK:
            try:
                output = ids.canonical(operation.response.model_validate(given).model_dump(mode="json"))
                operation.request.model_validate(json.loads(asked.request))
            except ValidationError as error:
                self.wrong.append(f"{asked.step}: {error.title} of {asked.system}: {wrong_in(error)[0]}")
            contract = operation.response_contract
        return ConnectorCompleted(
            request_id=asked.request_id,
            case_id=asked.case_id,
            tenant=asked.tenant,
            workflow=asked.workflow,
            step=asked.step,
            attempt=asked.attempt,
            system=asked.system,
            operation=asked.operation,
            status=status,
            reason=reason,
            output=output,
            output_contract=contract,
            tries=1,
            reconciled=False,
            waited_ms=0,
            call_ms=0,
            completed_at=now,
        )

    def _decided(self, told: CaseDecided) -> None:
        came: dict[str, Any] = {
            "outcome": told.outcome,
            "label": told.label,
            "channel": told.channel,
            "summary": told.summary,
            "decided_by": told.decided_by,
            "suggestion": told.suggestion,
            "reasons": tuple(told.reasons),
            "output": json.loads(told.output) if told.output else {},
        }
        self.came = f"{told.outcome} by {told.decided_by}, reasons: {', '.join(told.reasons) or 'none'}"
        expected = self.recorded.expect
        if expected.waits_in is not None:
            self.wrong.append(f"it was to wait in {expected.waits_in}, and is decided: {self.came}")
        for name, value in came.items():
            wanted = getattr(expected, name)
            if wanted is not None and wanted != value:
                self.wrong.append(f"{name}: {_shown(value)} came, {_shown(wanted)} is expected")


def _status(given: Mapping[str, Any]) -> tuple[str, str]:
    """Of an answer, and why there is none."""
    return next(((word, str(given[word])) for word in (FAILED, EXPIRED) if word in given), (OK, ""))


def _completed(asked: InferenceRequested, given: Mapping[str, Any], now: int) -> InferenceCompleted:
    contract = next((_CONTRACTS[name] for name in _CONTRACTS if name in given), "")
    status, reason = _status(given)
    return InferenceCompleted(
        request_id=asked.request_id,
        case_id=asked.case_id,
        tenant=asked.tenant,
        workflow=asked.workflow,
        step=asked.step,
        attempt=asked.attempt,
        task=asked.task,
        status=status,
        reason=reason,
        output=ids.canonical(dict(given)) if status == OK else "",
        output_contract=contract,
        model=asked.model,
        prompt=asked.prompt,
        engine="recorded",
        input_hash="",
        prompt_tokens=0,
        output_tokens=0,
        lane=asked.lane,
        queue_ms=0,
        compute_ms=0,
        completed_at=now,
        pool=asked.pool,
    )


def _shown(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False, default=str)


def _ms(moment: datetime.datetime) -> int:
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    return int(zoned.timestamp() * 1000)
