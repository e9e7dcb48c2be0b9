"""How a turn asks people: one, or two who must agree. Pure.

In: a step that asks, a verdict, silence. Out: questions (review.requested.v1), a timer with each. Guaranteed: the first
valid verdict counts; of two who are asked each is another principal, the second is told nothing of the first, and
nobody overrules the other of two who disagreed; what a person in shadow is not shown stands on the audit alone; a
question fits its record, without its longest evidence if need be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aios.processors.cases.turn import ROOM_BYTES, bytes_of, step_of, within
from aios.processors.cases.waits import Waiting
from aios.processors.language import autonomy
from aios.processors.language.workflow import Review
from aios.schemas import ids
from aios.schemas.models import ReviewDecided, ReviewRequested
from aios.streams import documents, topics
from aios.streams.durations import HOUR_MS

PEOPLE_MAX = 2
EVIDENCE_BYTES_MAX = 200_000  # of a task, less where the input leaves less room; what is longest is left out beyond


class People(Waiting):
    """A turn that may ask a person."""

    def ask_person(self, path: str, step: Review, number: int = 1) -> None:
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
            evidence=within(
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
            self.ask_person(self._state.step, step, len(verdicts) + 1)
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


def _people(step: Review, view: Mapping[str, Any]) -> int:
    """How many must agree."""
    return PEOPLE_MAX if step.people is not None and step.people.evaluate(view) > 1 else 1


def _round(people: int, number: int) -> dict[str, Any]:
    """What the audit says beside a question or verdict where several are asked."""
    return {} if people == 1 else {"people": people, "round": number}
