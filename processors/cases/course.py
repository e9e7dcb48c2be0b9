"""Where a case goes: from step to step until it waits for somebody outside, or is decided. Pure.

In: a step, a jump, a person's verdict, a cancellation. Out: questions to people, and the one decision. Guaranteed: each
turn ends, since steps lead in a circle through a wait alone; a case that must not decide alone (autonomy.py) has no
effect outside and is not decided by policy before a person has decided in it: where none does in time, it expires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aios.processors.cases import weighing
from aios.processors.cases.turn import (
    ACTOR,
    REASON_CHARS_MAX,
    ROOM_BYTES,
    Around,
    bytes_of,
    forget_at,
    opened,
    step_of,
)
from aios.processors.cases.waits import Waiting
from aios.processors.language import autonomy, workflow_names
from aios.processors.language.workflow import (
    Connect,
    Emit,
    Infer,
    Jump,
    Kind,
    Map,
    Parallel,
    Review,
    Rule,
    Wait,
    may_act,
)
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseCancelled,
    CaseDecided,
    CaseRemembered,
    ReviewDecided,
    ReviewRequested,
)
from aios.streams import documents, topics
from aios.streams.durations import HOUR_MS
from aios.streams.transitions import CUT_SHORT

RETENTION_DAYS = topics.RETENTION_HOURS // 24
CANCELLED = "cancelled"  # status, outcome and reason of a case that somebody called off
EXPIRED = "expired"  # status and outcome of a case that had to be decided by a person, and was not
ALONE = "not_decided_alone"  # reason of a question that is asked because of the case's autonomy
PEOPLE_MAX = 2
EVIDENCE_BYTES_MAX = 200_000  # of a task, less where the input leaves less room; what is longest is left out beyond
SUMMARY_CHARS_MAX = 50_000  # of a decision
OUTPUT_BYTES_MAX = 700_000  # of a decision; what is longest is left out beyond


class Course(Waiting):
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
                self._ask_person(path, step)
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

    # People

    def _ask_person(self, path: str, step: Review, number: int = 1) -> None:
        """number: of the person, 1-based; the second is told nothing of the first."""
        now, state = self._cause.now_ms, self._change(step=path)
        view = self.view()
        is_shown = state.autonomy != autonomy.SHADOW
        suggestion = step.suggestion.evaluate(view)
        task = ReviewRequested(
            task_id=ids.command_id(state.case_id, path, number),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            workflow_version=state.workflow_version,
            step=path,
            reasons=state.reasons,
            suggestion=suggestion if is_shown else "",
            confidence=float(step.confidence.evaluate(view)) if is_shown else 0.0,
            out_of_scope=float(step.out_of_scope.evaluate(view)) if is_shown else 0.0,
            choices=tuple(step.choices.evaluate(view)),
            input_contract=state.input_contract,
            input=state.input,
            requested_at=now,
            expires_at=now + step.expires_h * HOUR_MS,
            evidence=_within(
                {name: value.evaluate(view) for name, value in step.evidence.items()},
                min(EVIDENCE_BYTES_MAX, ROOM_BYTES - bytes_of(state.input)),
            ),
            people=_people(step, view),
            round=number,
            skills=step.skills or "",
        )
        self._tell(topics.REVIEW_REQUESTED, task)
        self._wait(path, number, task.task_id, task.expires_at)
        self.record(
            "review_requested",
            status=step.status,
            task_id=task.task_id,
            reasons=list(task.reasons),
            suggestion=suggestion,
            confidence=task.confidence,
            out_of_scope=task.out_of_scope,
            expires_at=task.expires_at,
            **_round(task.people, number),
        )

    def hear_person(self, step: Review, event: ReviewDecided) -> None:
        """A person decides: the case goes on, asks another one, or notes why it does not count."""
        actor, view, first = f"reviewer:{event.reviewer}", self.view(), self._verdicts()
        wrong = ""
        if not event.reviewer:
            wrong = "reviewer_missing"
        elif event.reviewer in [*(one["reviewer"] for one in first), *self._disagreed()]:
            wrong = "same_person_twice"
        elif event.label not in step.choices.evaluate(view):
            wrong = "label_not_offered"
        if wrong:
            self.record("ignored", actor=actor, event_id=event.event_id, reason=wrong)
            return
        self.stop_waiting()
        self.settle_person(step, event)
        suggestion = step.suggestion.evaluate(view)
        unseen: dict[str, Any] = {"unseen": True} if self._state.autonomy == autonomy.SHADOW else {}
        says = {"comment": event.comment[: documents.SUBJECT_CHARS_MAX]} if event.comment else {}
        verdicts = [*first, {"label": event.label, "reviewer": event.reviewer}]
        people = _people(step, view)
        self.record(
            "review_decided",
            actor=actor,
            event_id=event.event_id,
            label=event.label,
            suggestion=suggestion,
            task_id=event.task_id,
            models=list(self._state.models),
            shown=ids.canonical(says) if says else "",
            **({"says_hash": ids.body_hash(says)} if says else {}),
            **unseen,
            **_round(people, len(verdicts)),
        )
        if len(verdicts) < people:
            self._change(verdicts=ids.canonical(verdicts))
            self._ask_person(self._state.step, step, len(verdicts) + 1)
        else:
            self._take_verdicts(step, verdicts, "" if unseen else suggestion)

    def _take_verdicts(self, step: Review, verdicts: list[dict[str, str]], suggestion: str) -> None:
        """One label, or none where they disagree. suggestion: that they were shown."""
        labels = {one["label"] for one in verdicts}
        names = [one["reviewer"] for one in verdicts]
        said: dict[str, Any] = {
            "label": labels.pop() if len(labels) == 1 else "",
            "reviewer": "+".join(names),
            "suggestion": suggestion,
        }
        if step.people is not None:
            said |= {"reviewers": names, "labels": [one["label"] for one in verdicts]}
        self.remember_answer(said)
        self._change(verdicts="")
        if said["label"] or step.on_disagreement is None:
            self.enter(step.then)
        else:
            self.jump(step.on_disagreement)

    def expire_review(self, step: Review) -> None:
        """Nobody decided in time, or only one of two."""
        self._change(verdicts="")
        self.forget_answer(step_of(self._state.step))
        self.jump(step.on_expiry)

    def _disagreed(self) -> list[str]:
        """Who answered the reviews whose disagreement led to this one: nobody overrules the other of two."""
        answers = self.answers()
        before = (answers.get(name, {}) for name in self._workflow.overrules.get(step_of(self._state.step), ()))
        return [reviewer for said in before if not said.get("label") for reviewer in said.get("reviewers", ())]

    def _verdicts(self) -> list[dict[str, str]]:
        return json.loads(self._state.verdicts) if self._state.verdicts else []

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
            output=_within({key: value.evaluate(view) for key, value in step.output.items()}, OUTPUT_BYTES_MAX),
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


def _people(step: Review, view: Mapping[str, Any]) -> int:
    """How many must agree."""
    return PEOPLE_MAX if step.people is not None and step.people.evaluate(view) > 1 else 1


def _round(people: int, number: int) -> dict[str, Any]:
    """What the audit says beside a question or verdict where several are asked."""
    return {} if people == 1 else {"people": people, "round": number}


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


def _object(values: Mapping[str, Any]) -> str:
    return ids.canonical(values) if values else ""


def _within(values: Mapping[str, Any], bytes_max: int) -> str:
    """Canonical JSON within a bound: beyond, the longest values give way to a word that says so."""
    kept, text = dict(values), _object(values)
    for _ in values:
        if bytes_of(text) <= bytes_max:
            break
        longest = max(kept, key=lambda name: len(ids.canonical(kept[name])))
        kept[longest] = f"left out: {len(ids.canonical(kept[longest]))} characters"
        text = _object(kept)
    return text
