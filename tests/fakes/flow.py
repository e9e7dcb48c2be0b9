"""One case of any workflow, driven event by event: what its stage, its broker and everybody it asks would do."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from aios.processors.cases import case, turn
from aios.processors.cases.active import Versions
from aios.processors.cases.branches import strands_of
from aios.processors.cases.spending import Funds
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseCancelled,
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
from tests.fakes import admissions
from tests.fakes.answers import answer_to

START_MS = 1_700_000_000_000
COMMANDS = (InferenceRequested, ConnectorRequested, ReviewRequested)
SAID = {"label": "card_arrival", "confidence": 0.97, "out_of_scope": 0.02}
INPUT = {"name": "Ana Alvarez", "risk": 10, "documents": ["passport", "bill"]}

EVERY_KIND = """
workflow: every.kind
version: 1
owner: tests
about: A workflow with every kind of step, and a circle.
cost_centre: CC-1
signed_off: {by: Somebody, on: 2026-11-20}
input: kind.asked.v1
objectives: {interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.5}
autonomy: {mode: auto, share: 1.0, ask: ask}
policy: {risk_max: 50}
labels: {verdicts: [accept, reject], topics: [card_arrival, change_pin]}
samples: [{text: hello}]
start: gather
steps:
  gather:
    parallel:
      status: gathering
      of:
        screen:
          connect:
            system: sanctions
            operation: screen
            request: {name: input.name}
            deadline_s: {interactive: 60, bulk: 600}
            attempts_max: 2
        about:
          infer:
            task: classify
            pool: classify
            model: triage-encoder
            input: input.name
            input_chars_max: 100
            options: {head: "'messages'"}
            labels: labels.topics
            deadline_s: {interactive: 60, bulk: 600}
            attempts_max: 2
      then: read
      on_error: {reason: gathering_failed, then: ask}
  read:
    map:
      status: reading
      over: input.documents
      items_max: 3
      each:
        connect:
          system: documents
          operation: read
          request: {document: item, number: index}
          deadline_s: {interactive: 60, bulk: 600}
      then: weigh
      on_error: {reason: unreadable, then: ask}
  weigh:
    rule:
      first_of:
        - {when: answers.screen.score > policy.risk_max, reason: near_match, then: ask}
      otherwise: {then: book}
  ask:
    review:
      status: waiting_for_person
      suggestion: "'accept'"
      confidence: "0.5"
      out_of_scope: "0.0"
      choices: labels.verdicts
      people: "input.risk > policy.risk_max ? 2 : 1"
      on_disagreement: {reason: reviewers_disagree, then: refuse}
      skills: sanctions
      evidence: {answers: answers}
      expires_h: 24
      then: judged
      on_expiry: {reason: nobody_in_time, then: close}
  judged:
    rule:
      first_of:
        - {when: answers.ask.label == 'accept', then: book}
      otherwise: {reason: rejected, then: refuse}
  book:
    connect:
      status: booking
      system: calendars
      operation: book
      request: {name: input.name}
      effect: reconciled
      deadline_s: {interactive: 60, bulk: 600}
      attempts_max: 2
      then: booked
      on_error: {reason: not_booked, then: refuse}
  booked:
    wait:
      status: booked
      event: changed
      for_s: 3600
      rounds_max: 2
      says: {slot: answers.book.slot}
      answers_caller: true
      then: changed
      on_expiry: {reason: took_place, then: done}
  changed:
    rule:
      first_of:
        - {when: answers.booked.what == 'cancelled', reason: withdrawn, then: refuse}
      otherwise: {then: book}
  done:
    emit: {status: decided, outcome: booked, decided_by: "'policy'", output: {slot: answers.book.slot}}
  refuse:
    emit:
      status: decided
      outcome: refused
      decided_by: "has(answers.ask) ? 'reviewer:' + answers.ask.reviewer : 'policy'"
  close:
    emit: {status: expired, outcome: expired, decided_by: "'timer'"}
"""


EVERY = yaml.safe_load(EVERY_KIND)


def workflow(**changed: Any) -> Workflow:
    """EVERY_KIND with other values at its top."""
    return Workflow.model_validate({**EVERY, **changed})


def asking_again(times: int = 1, **changed: Any) -> Workflow:
    """The same, where every step that asks asks again after a minute, two minutes, and so on."""
    steps = copy.deepcopy(EVERY["steps"])
    for name, kind in (("gather", "parallel"), ("read", "map"), ("book", "connect")):
        steps[name][kind]["on_error"]["again"] = {"times": times, "first_s": 60, "longest_s": 600}
    return workflow(steps=steps, **changed)


def returned(command: ConnectorRequested, status: str = "ok", **said: Any) -> ConnectorCompleted:
    """What a system's stage answers."""
    return ConnectorCompleted(
        request_id=command.request_id,
        case_id=command.case_id,
        tenant=command.tenant,
        workflow=command.workflow,
        step=command.step,
        attempt=command.attempt,
        system=command.system,
        operation=command.operation,
        status=status,
        reason="" if status == "ok" else "away: the system did not answer",
        output=ids.canonical(said or {"score": 5, "slot": "nine"}) if status == "ok" else "",
        output_contract="said.v1" if status == "ok" else "",
        tries=1,
        reconciled=False,
        waited_ms=0,
        call_ms=1,
        completed_at=START_MS,
    )


def answered(request: InferenceRequested, status: str = "ok", **said: Any) -> InferenceCompleted:
    """What a pool answers."""
    return answer_to(
        request,
        status=status,
        output=ids.canonical({**SAID, **said}) if status == "ok" else "{}",
        output_tokens=1,
        completed_at=START_MS,
    )


def judged(task: ReviewRequested, label: str, reviewer: str, event_id: str = "r1") -> ReviewDecided:
    return ReviewDecided(
        event_id=event_id,
        task_id=task.task_id,
        case_id=task.case_id,
        tenant=task.tenant,
        label=label,
        reviewer=reviewer,
        decided_at=START_MS,
    )


def timers_of(state: CaseRemembered | None) -> set[str]:
    """Those that must be there: of the case's own wait, or of each branch that is open."""
    if state is None:
        return set()
    if state.decided_at:
        return {FORGET}
    strands = strands_of(state)
    if not strands:
        return {turn.timer_of(state)}
    open_ones = [one for one in strands if not one.done]
    assert open_ones, "a case waits for somebody"
    return {turn.timer_of(one) for one in open_ones}


@dataclass
class Flow:
    """The case `k1`; feed() checks after every step what must hold then."""

    workflow: Workflow = field(default_factory=workflow)
    input: Mapping[str, Any] = field(default_factory=lambda: INPUT)
    key: str = "k1"
    versions: Versions = field(default_factory=turn.Newest)
    funds: Funds = field(default_factory=Funds)
    state: CaseRemembered | None = None
    now_ms: int = START_MS
    written: list[Event] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    timers_ever: dict[str, int] = field(default_factory=dict)
    history: list[tuple[Event, turn.Cause]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workflows = Workflows([self.workflow])
        self.case_id = ids.case_id("demo", self.workflow.workflow, self.key)

    def admit(self, **changed: Any) -> list[Event]:
        return self.feed(self.admission(**changed))

    def admission(self, **changed: Any) -> CaseAdmitted:
        workflow = self.workflow
        return admissions.admitted(
            self.input, key=self.key, workflow=workflow.workflow, contract=workflow.input, at=START_MS, **changed
        )

    def feed(self, event: Event) -> list[Event]:
        """Apply an event as the stage does; what it wrote."""
        cause = turn.Cause("topic", 0, len(self.history), self.now_ms, self.versions, self.funds)
        self.history.append((event, cause))
        was_decided = bool(self.of(CaseDecided))
        moved = case.plan(self.state, event, cause, self.workflows)
        told = [one for _, one in moved.events]
        self.written += told
        self.state = moved.state
        self.skipped += [moved.skipped] if moved.skipped else []
        for timer_id, due in moved.timers.items():
            self.timers.pop(timer_id, None)
            if due is not None:
                self.timers[timer_id] = self.timers_ever[timer_id] = due
        assert not was_decided or not [one for one in told if isinstance(one, (*COMMANDS, CaseDecided))]
        assert self.timers.keys() == timers_of(self.state), "every wait has its timer, and no other"
        return told

    def fire(self, timer_id: str) -> list[Event]:
        """Time passes until the timer is due; its firing is read."""
        due = self.timers.pop(timer_id, self.timers_ever[timer_id])
        self.now_ms = max(self.now_ms, due)
        return self.feed(TimerFired(timer_id=timer_id, case_id=self.case_id, due_at=due, fired_at=self.now_ms))

    def tell(self, kind: str, event_id: str = "t1", body: Mapping[str, Any] | None = None) -> list[Event]:
        return self.feed(
            CaseTold(
                event_id=event_id,
                case_id=self.case_id,
                tenant="demo",
                kind=kind,
                body=ids.canonical(body or {"what": "moved"}),
                by="producer",
                told_at=self.now_ms,
            )
        )

    def cancel(self) -> list[Event]:
        return self.feed(
            CaseCancelled(
                event_id="x1",
                case_id=self.case_id,
                tenant="demo",
                reason="withdrawn",
                by="operator:opa",
                cancelled_at=0,
            )
        )

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.written if isinstance(one, kind)]

    def out(self, step: str) -> Any:
        """The last command of a step."""
        return next(one for one in reversed(self.written) if isinstance(one, COMMANDS) and cast(Any, one).step == step)

    def calls(self, step: str) -> ConnectorRequested:
        return cast(ConnectorRequested, self.out(step))

    def answer(self, step: str, status: str = "ok", **said: Any) -> list[Event]:
        """Whoever was asked last by a step answers."""
        command = self.out(step)
        if isinstance(command, ConnectorRequested):
            return self.feed(returned(command, status, **said))
        return self.feed(answered(command, status, **said))

    def judge(self, step: str, label: str, reviewer: str, event_id: str = "r1") -> list[Event]:
        return self.feed(judged(self.out(step), label, reviewer, event_id))

    @property
    def decided(self) -> CaseDecided:
        (one,) = self.of(CaseDecided)
        return cast(CaseDecided, one)

    def transitions(self) -> list[str]:
        return [one.transition for one in self.of(AuditRecorded)]

    def run_out(self) -> None:
        """Nobody answers any more: timers alone end the case and forget it."""
        for _ in range(200):
            if not self.timers:
                return
            self.fire(min(self.timers, key=lambda timer_id: (self.timers[timer_id], timer_id)))
        raise AssertionError("timers never end")
