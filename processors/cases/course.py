"""Where a case goes: from step to step until it waits for somebody outside, or is decided. Pure.

In: a step, a jump, a cancellation. Out: what the steps ask, and the one decision. Guaranteed: each turn ends, since
steps lead in a circle through a wait alone; a case that must not decide alone (autonomy.py) has no effect outside and
is not decided by policy before a person has decided in it: where none does in time, it expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.processors.cases import weighing
from aios.processors.cases.people import People
from aios.processors.cases.turn import (
    ACTOR,
    REASON_CHARS_MAX,
    Around,
    forget_at,
    opened,
    step_of,
    within,
)
from aios.processors.language import autonomy, workflow_names
from aios.processors.language.part import Jump
from aios.processors.language.questions import Connect, Infer
from aios.processors.language.workflow import Emit, Kind, Map, Parallel, Review, Rule, Wait, may_act
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseCancelled,
    CaseDecided,
    CaseRemembered,
)
from aios.streams import topics
from aios.streams.transitions import CUT_SHORT

RETENTION_DAYS = topics.RETENTION_HOURS // 24
CANCELLED = "cancelled"  # status, outcome and reason of a case that somebody called off
EXPIRED = "expired"  # status and outcome of a case that had to be decided by a person, and was not
ALONE = "not_decided_alone"  # reason of a question that is asked because of the case's autonomy
SUMMARY_CHARS_MAX = 50_000  # of a decision
OUTPUT_BYTES_MAX = 700_000  # of a decision; what is longest is left out beyond


class Course(People):
    """A turn as case.py takes it."""

    def jump(self, where: Jump) -> None:
        self._because(where.reason)
        self.enter(where.then)

    def __init__(self, state: CaseRemembered, around: Around) -> None:
        super().__init__(state, around)
        self._ahead = ""  # the step to go on with
        self._walks = False

    def enter(self, name: str) -> None:
        """Go on from a step until the case waits or is decided.

        A step that leads on at once, such as one that nobody can be asked in, is followed by this loop and not from
        inside, so that a hundred of them in a row are no hundred calls deep. Nothing is done after a call of this.
        """
        self._ahead = name
        if self._walks:
            return
        self._walks = True
        while name := self._ahead:
            self._ahead = ""
            self._stand(name)
        self._walks = False

    def _stand(self, name: str) -> None:
        """In a step, or behind the rules that it begins with."""
        self.leave_pool()
        self._change(again=0)
        while isinstance(rule := self._workflow.steps[name].kind, Rule):
            chosen = rule.choose(view := self.view())
            self._ruled.append(weighing.weighed(name, rule, chosen, view))
            self._because(chosen.reason)
            name = chosen.then
        kind = self._workflow.steps[name].kind
        if self._is_alone(kind):
            self._ask_instead(name)
            return
        path = self.visit(name)
        match kind:
            case Infer() as step:
                self.ask_model(path, step)
            case Connect() as step:
                self.call_system(path, step)
            case Review() as step:
                self.ask_person(path, step)
            case Parallel() | Map() as step:
                self.open_branches(path, step)
            case Wait() as step:
                self.wait_for(path, step)
            case Emit() as step:
                self._decide(name, step)

    # Autonomy

    def _is_alone(self, kind: Kind) -> bool:
        """Whether the case would act or be decided here without a person, and must not."""
        if self._state.autonomy in ("", autonomy.AUTO) or not may_act(kind):
            return False
        if isinstance(kind, Emit) and self._by_person(kind):
            return False
        return not any(
            isinstance(self._workflow.steps[name].kind, Review) and said.get("label")
            for name, said in self.answers().items()
            if name in self._workflow.steps
        )

    def _by_person(self, step: Emit) -> bool:
        """Whether the decision is that of a person who was asked."""
        asked = (name for name in self.answers() if name in self._workflow.steps)
        people = [self.answers()[name] for name in asked if isinstance(self._workflow.steps[name].kind, Review)]
        return step.decided_by.evaluate(self.view()) in [f"reviewer:{said['reviewer']}" for said in people]

    def _ask_instead(self, name: str) -> None:
        ask = self._workflow.autonomy
        if ask is None or ALONE in self._state.reasons:  # nobody decided who was asked
            self._end(name, EXPIRED, outcome=EXPIRED, decided_by="timer")
            return
        self._because(ALONE)
        self.enter(ask.ask)

    # The end

    def cancel(self, event: CaseCancelled) -> None:
        """The case ends here, whatever it waits for; a model that works for it is told to stop."""
        self.give_up_branches("case_cancelled")
        self.call_off("case_cancelled")
        self.stop_waiting()
        self.leave_pool()
        why = event.reason[:REASON_CHARS_MAX]
        self.record("cancelled", actor=event.by, event_id=event.event_id, reason=why)
        self._because(CANCELLED)
        self._end(step_of(self._state.step), CANCELLED, outcome=CANCELLED, decided_by=event.by)

    def cut_short(self) -> None:
        """The case ends here, because a record of what it would do next is larger than a record may be."""
        if self._strands:
            self.give_up_branches(CUT_SHORT)
        else:
            self.give_up(CUT_SHORT)
        self._because(CUT_SHORT)
        self._end(step_of(self._state.step), EXPIRED, outcome=EXPIRED, decided_by="timer")

    def _decide(self, name: str, step: Emit) -> None:
        view = self.view()
        decided_by, label = step.decided_by.evaluate(view), "" if step.label is None else step.label.evaluate(view)
        if step.joined_to is not None and (earlier := step.joined_to.evaluate(view)):
            self._note_joined(earlier)
        self._end(
            name,
            step.status,
            outcome=step.outcome,
            label=label,
            confidence=0.0 if step.confidence is None else float(step.confidence.evaluate(view)),
            channel="" if step.channel is None else step.channel.evaluate(view),
            summary="" if step.summary is None else step.summary.evaluate(view)[:SUMMARY_CHARS_MAX],
            decided_by=decided_by,
            suggestion=_suggestion(self.answers(), decided_by, label, workflow_names.reads(step.decided_by)),
            output=within({key: value.evaluate(view) for key, value in step.output.items()}, OUTPUT_BYTES_MAX),
        )

    def _note_joined(self, earlier: str) -> None:
        """On the audit of the earlier case, where whoever reads that one finds this; it is no transition of it."""
        state, cause = self._state, self._cause
        noted = AuditRecorded(
            audit_id=ids.derive("audit", earlier, "joined", state.case_id),
            case_id=earlier,
            tenant=state.tenant,
            workflow=state.workflow,
            case_seq=0,
            transition="case_joined",
            actor=ACTOR,
            detail=ids.canonical({"case_id": state.case_id}),
            input_topic=cause.topic,
            input_partition=cause.partition,
            input_offset=cause.offset,
            at=cause.now_ms,
        )
        self._tell(topics.AUDIT_RECORDED, noted)

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
        suggestion: str = "",
        output: str = "",
    ) -> None:
        """The one final outcome. Afterwards only what makes a repeat recognisable is kept, and that for a while."""
        now, state = self._cause.now_ms, self._state
        decision = CaseDecided(
            decision_id=ids.derive("decision", state.case_id),
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
            suggestion=suggestion,
            output=output,
            autonomy=state.autonomy,
            cost_centre=self._workflow.cost_centre,
            retain_days=self._workflow.retention_days % RETENTION_DAYS,  # 0: as long as anything is kept
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
        self._state = opened(_decided(self._state, now))
        self._timers[FORGET] = forget_at(self._state)


def _suggestion(answers: Mapping[str, Any], decided_by: str, label: str, read: frozenset[str] | None) -> str:
    """What the person who decided was shown as the models' own label, of several questions the one whose answer is the
    decision's; empty if it was no person.

    read: the answers that say who decided; None: perhaps all. The same person may have answered others before.
    """
    own = [
        said
        for name, said in answers.items()
        if (read is None or name in read) and isinstance(said, dict)
        if f"reviewer:{said.get('reviewer', '')}" == decided_by
    ]
    shown = [said for said in own if said.get("label") == label] or own
    return str(shown[0].get("suggestion", "")) if shown else ""


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
