"""Where a case goes: from step to step until it waits for a model or a person, or is decided. Pure.

In: a step, a jump, a cancellation. Out: questions to people, and the one decision. Guaranteed: workflows have no cycle,
so each turn ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aios.processors.asking import Asking
from aios.processors.state import FORGET
from aios.processors.turn import REASON_CHARS_MAX, forget_at
from aios.processors.workflow import HOUR_MS, Emit, Infer, Jump, Review, Rule
from aios.schemas import ids
from aios.schemas.models import CaseCancelled, CaseDecided, CaseRemembered, ReviewRequested
from aios.streams import topics

CANCELLED = "cancelled"  # status, outcome and reason of a case that somebody called off


class Course(Asking):
    """A turn as case.py takes it."""

    def jump(self, where: Jump) -> None:
        self._because(where.reason)
        self.enter(where.then)

    def enter(self, name: str) -> None:
        """Go on from a step until the case waits or is decided; workflows have no cycle, so this ends."""
        self.leave_pool()
        while isinstance(rule := self._workflow.steps[name].kind, Rule):
            chosen = rule.choose(self.view())
            self._because(chosen.reason)
            name = chosen.then
        match self._workflow.steps[name].kind:
            case Infer() as step:
                self.ask_model(name, step)
            case Review() as step:
                self._ask_person(name, step)
            case Emit() as step:
                self._decide(name, step)

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

    def cancel(self, event: CaseCancelled) -> None:
        """The case ends here, whatever it waits for; a model that works for it is told to stop."""
        self.call_off("case_cancelled")
        self.stop_waiting()
        self.leave_pool()
        why = event.reason[:REASON_CHARS_MAX]
        self.record("cancelled", actor=event.by, event_id=event.event_id, reason=why)
        self._because(CANCELLED)
        self._end(self._state.step, CANCELLED, outcome=CANCELLED, decided_by=event.by)

    def _decide(self, name: str, step: Emit) -> None:
        view = self.view()
        self._end(
            name,
            step.status,
            outcome=step.outcome,
            label="" if step.label is None else step.label.evaluate(view),
            confidence=0.0 if step.confidence is None else float(step.confidence.evaluate(view)),
            channel="" if step.channel is None else step.channel.evaluate(view),
            summary="" if step.summary is None else step.summary.evaluate(view),
            decided_by=step.decided_by.evaluate(view),
        )

    def _end(
        self,
        name: str,
        status: str,
        *,
        outcome: str,
        decided_by: str,
        label: str = "",
        confidence: float = 0.0,
        channel: str = "",
        summary: str = "",
    ) -> None:
        """The one final outcome. Afterwards only what makes a repeat recognisable is kept, and that for a while."""
        now, state = self._cause.now_ms, self._state
        decision = CaseDecided(
            decision_id=str(ids.derive("decision", state.case_id)),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            workflow_version=state.workflow_version,
            event_id=state.event_id,
            idempotency_key=state.idempotency_key,
            outcome=outcome,
            label=label,
            confidence=confidence,
            channel=channel,
            reasons=state.reasons,
            summary=summary,
            models=state.models,
            prompts=state.prompts,
            decided_by=decided_by,
            received_at=state.received_at,
            admitted_at=state.admitted_at,
            decided_at=now,
            case_seq=state.case_seq + 1,
            lane=state.lane,
            source_topic=state.source_topic,
            source_partition=state.source_partition,
            source_offset=state.source_offset,
            suggestion=_suggestion(json.loads(state.answers), decided_by),
        )
        self._tell(topics.CASE_DECIDED, decision)
        self.record(
            "decided",
            status=status,
            step=name,
            outcome=outcome,
            label=label,
            confidence=confidence,
            decided_by=decided_by,
            reasons=list(decision.reasons),
            models=list(decision.models),
            prompts=list(decision.prompts),
        )
        self._close_purse()
        self._state = _decided(self._state, now)
        self._timers[FORGET] = forget_at(self._state)


def _suggestion(answers: Mapping[str, Mapping[str, Any]], decided_by: str) -> str:
    """What the person who decided was shown as the models' own label; empty if it was no person."""
    shown = (said for said in answers.values() if f"reviewer:{said.get('reviewer', '')}" == decided_by)
    return next((str(said.get("suggestion", "")) for said in shown), "")


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
