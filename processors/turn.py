"""One turn of a case: what one event does to it, collected. Pure.

In: what is remembered of the case, its workflow, the record and time that move it. Out: a Moved. Guaranteed:
a turn ends waiting (with a timer) or decided; each transition takes the next case_seq and writes one
audit.recorded; ids are derived from the case, the step and the attempt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aios.processors import answers
from aios.processors.state import FORGET
from aios.processors.workflow import HOUR_MS, Emit, Infer, Jump, Review, Rule, Workflow
from aios.processors.workflow_files import Workflows
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseDecided,
    CaseRemembered,
    Event,
    InferenceCompleted,
    InferenceRequested,
    ReviewRequested,
)
from aios.streams import topics, topology
from aios.streams.topics import Topic

FORGET_AFTER_MS = topics.RETENTION_HOURS * HOUR_MS  # the idempotency window
ANSWER_GRACE_MS = 15_000  # after a deadline, for the worker's own `expired` to arrive before the timer

REASON_CHARS_MAX = 200  # of a worker's words on the audit

ACTOR = "plan"


@dataclass(frozen=True, slots=True)
class Cause:
    """The record that moves the case, and the log's time."""

    topic: str
    partition: int
    offset: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Moved:
    """state: None = forget the case. timers: id within the case → due, Unix ms; None cancels.

    skipped: why the event changed nothing and left no trace in the audit: repeated, wasted, late_timer; else empty.
    """

    state: CaseRemembered | None
    events: tuple[tuple[Topic, Event], ...] = ()
    timers: Mapping[str, int | None] = field(default_factory=dict)
    skipped: str = ""


def timer_of(state: CaseRemembered) -> str:
    """The timer of the wait the case is in; another attempt has another one."""
    return f"{state.step}/{state.attempt}"


def forget_at(state: CaseRemembered) -> int:
    """When a decided case is forgotten, Unix ms."""
    return state.decided_at + FORGET_AFTER_MS


class Turn:
    """What one event does to one case, collected until moved()."""

    def __init__(self, state: CaseRemembered, workflows: Workflows, cause: Cause) -> None:
        self._state = state
        self._workflows = workflows
        self._cause = cause
        self._events: list[tuple[Topic, Event]] = []
        self._timers: dict[str, int | None] = {}

    @property
    def _workflow(self) -> Workflow:
        """The version the case runs on; a decided case never asks for it. Raises ConfigError when it is gone."""
        return self._workflows.at(self._state.workflow, self._state.workflow_version)

    def moved(self) -> Moved:
        return Moved(self._state, tuple(self._events), dict(self._timers))

    def waiting_step(self) -> Infer | Rule | Review | Emit | None:
        """The kind of the step the case waits in; None when it waits for nothing."""
        return self._workflow.steps[self._state.step].kind if self._state.waiting_for else None

    def view(self) -> Mapping[str, Any]:
        """The case as expressions see it."""
        return self._workflow.view(json.loads(self._state.input), json.loads(self._state.answers))

    def record(self, transition: str, *, status: str = "", step: str = "", actor: str = ACTOR, **detail: Any) -> None:
        """The next transition of the case. status: empty = unchanged. detail: evidence, never payload."""
        state = self._change(case_seq=self._state.case_seq + 1, status=status or self._state.status)
        self._tell(
            topics.AUDIT_RECORDED,
            AuditRecorded(
                audit_id=str(ids.derive("audit", state.case_id, str(state.case_seq))),
                case_id=state.case_id,
                tenant=state.tenant,
                workflow=state.workflow,
                case_seq=state.case_seq,
                transition=transition,
                status=state.status,
                step=step or state.step,
                actor=actor,
                detail=ids.canonical(detail),
                input_topic=self._cause.topic,
                input_partition=self._cause.partition,
                input_offset=self._cause.offset,
                at=self._cause.now_ms,
            ),
        )

    def jump(self, where: Jump) -> None:
        self._because(where.reason)
        self.enter(where.then)

    def enter(self, name: str) -> None:
        """Go on from a step until the case waits or is decided; workflows have no cycle, so this ends."""
        while isinstance(rule := self._workflow.steps[name].kind, Rule):
            chosen = rule.choose(self.view())
            self._because(chosen.reason)
            name = chosen.then
        match self._workflow.steps[name].kind:
            case Infer() as step:
                self.ask_model(name, step, attempt=1)
            case Review() as step:
                self._ask_person(name, step)
            case Emit() as step:
                self._decide(name, step)

    def stop_waiting(self) -> None:
        """The answer is here: its timer is not needed any more."""
        self._timers[timer_of(self._state)] = None
        self._change(waiting_for="")

    def remember_answer(self, said: Mapping[str, Any]) -> None:
        """Keep what the step in hand was told, for later expressions."""
        self._change(answers=ids.canonical({**json.loads(self._state.answers), self._state.step: said}))

    def take_answer(self, step: Infer, event: InferenceCompleted) -> None:
        """Go on with a model's answer, or to on_error with what is none."""
        evidence: dict[str, Any] = {
            "model": event.model,
            "prompt": event.prompt,
            "attempt": event.attempt,
            "queue_ms": event.queue_ms,
            "compute_ms": event.compute_ms,
        }
        said, failure = self._read(step, event)
        if said is None:
            self.record("answered", **evidence, outcome=event.status, reason=failure)
            self.jump(step.on_error)
            return
        shown = {name: value for name, value in said.items() if name != "text"}
        self.remember_answer(said)
        self._change(models=_with(self._state.models, event.model), prompts=_with(self._state.prompts, event.prompt))
        self.record("answered", **evidence, **shown, outcome=event.status)
        self.enter(step.then)

    def _read(self, step: Infer, event: InferenceCompleted) -> tuple[dict[str, Any] | None, str]:
        """The answer's fields, or None and why they cannot be used."""
        if event.status != "ok":
            return None, event.reason[:REASON_CHARS_MAX] or event.status
        try:
            said = answers.read(step.task, event.output_contract, event.output)
        except ValueError:
            return None, "answer_breaks_contract"
        if step.labels is not None and said["label"] not in step.labels.evaluate(self.view()):
            return None, "label_unknown"
        return said, ""

    def ask_model(self, name: str, step: Infer, attempt: int) -> None:
        """Send the step's command; a timer asks again when nobody answers."""
        now, state, view = self._cause.now_ms, self._state, self.view()
        request = InferenceRequested(
            request_id=ids.command_id(state.case_id, name, attempt),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            step=name,
            attempt=attempt,
            task=step.task,
            model=step.model,
            prompt=step.prompt or "",
            input=step.input.evaluate(view)[: step.input_chars_max],
            options=ids.canonical({key: option.evaluate(view) for key, option in step.options.items()}),
            lane=state.lane,
            deadline_at=now + step.deadline_s.ms(state.lane),
            requested_at=now,
        )
        self._tell(topology.pool_of(step.pool, state.lane).reads[0], request)
        self._wait(name, attempt, request.request_id, request.deadline_at + ANSWER_GRACE_MS)
        self.record(
            "requested",
            status=step.status,
            request_id=request.request_id,
            attempt=attempt,
            model=step.model,
            prompt=request.prompt,
            deadline_at=request.deadline_at,
        )

    def _ask_person(self, name: str, step: Review) -> None:
        now, state, view = self._cause.now_ms, self._state, self.view()
        task = ReviewRequested(
            task_id=ids.command_id(state.case_id, name, 1),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            workflow_version=state.workflow_version,
            step=name,
            reasons=state.reasons,
            suggestion=step.suggestion.evaluate(view),
            confidence=float(step.confidence.evaluate(view)),
            out_of_scope=float(step.out_of_scope.evaluate(view)),
            choices=tuple(step.choices.evaluate(view)),
            input_contract=state.input_contract,
            input=state.input,
            requested_at=now,
            expires_at=now + step.expires_h * HOUR_MS,
        )
        self._tell(topics.REVIEW_REQUESTED, task)
        self._wait(name, 1, task.task_id, task.expires_at)
        self.record(
            "review_requested",
            status=step.status,
            task_id=task.task_id,
            reasons=list(task.reasons),
            suggestion=task.suggestion,
            confidence=task.confidence,
            out_of_scope=task.out_of_scope,
            expires_at=task.expires_at,
        )

    def _decide(self, name: str, step: Emit) -> None:
        """The one final outcome. Afterwards only what makes a repeat recognisable is kept, and that for a while."""
        now, state, view = self._cause.now_ms, self._state, self.view()
        decision = CaseDecided(
            decision_id=str(ids.derive("decision", state.case_id)),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            workflow_version=state.workflow_version,
            event_id=state.event_id,
            idempotency_key=state.idempotency_key,
            outcome=step.outcome,
            label="" if step.label is None else step.label.evaluate(view),
            confidence=0.0 if step.confidence is None else float(step.confidence.evaluate(view)),
            channel="" if step.channel is None else step.channel.evaluate(view),
            reasons=state.reasons,
            summary="" if step.summary is None else step.summary.evaluate(view),
            models=state.models,
            prompts=state.prompts,
            decided_by=step.decided_by.evaluate(view),
            received_at=state.received_at,
            admitted_at=state.admitted_at,
            decided_at=now,
            case_seq=state.case_seq + 1,
            lane=state.lane,
            source_topic=state.source_topic,
            source_partition=state.source_partition,
            source_offset=state.source_offset,
        )
        self._tell(topics.CASE_DECIDED, decision)
        self.record(
            "decided",
            status=step.status,
            step=name,
            outcome=decision.outcome,
            label=decision.label,
            confidence=decision.confidence,
            decided_by=decision.decided_by,
            reasons=list(decision.reasons),
            models=list(decision.models),
            prompts=list(decision.prompts),
        )
        self._state = _decided(self._state, now)
        self._timers[FORGET] = forget_at(self._state)

    def _wait(self, name: str, attempt: int, command: str, due_ms: int) -> None:
        state = self._change(step=name, attempt=attempt, waiting_for=command)
        self._timers[timer_of(state)] = due_ms

    def _because(self, reason: str | None) -> None:
        if reason is not None:
            self._change(reasons=(*self._state.reasons, reason))

    def _tell(self, topic: Topic, event: Event) -> None:
        self._events.append((topic, event))

    def _change(self, **fields: Any) -> CaseRemembered:
        self._state = replace(self._state, **fields)
        return self._state


def _with(seen: tuple[str, ...], name: str) -> tuple[str, ...]:
    return seen if not name or name in seen else (*seen, name)


def _decided(state: CaseRemembered, now_ms: int) -> CaseRemembered:
    return CaseRemembered(
        case_id=state.case_id,
        tenant=state.tenant,
        workflow=state.workflow,
        workflow_version=state.workflow_version,
        status=state.status,
        case_seq=state.case_seq,
        event_id=state.event_id,
        idempotency_key="",
        body_hash=state.body_hash,
        answers="{}",
        decided_at=now_ms,
    )
