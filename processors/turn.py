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

from aios.processors import answers, spending
from aios.processors.accounts import CHEAPER, DEFERRED, DENIED
from aios.processors.active import Newest, Versions
from aios.processors.spending import Funds, Purse
from aios.processors.state import FORGET
from aios.processors.turnstile import Full, Open, Turnstile
from aios.processors.workflow import HOUR_MS, Emit, Infer, Jump, Review, Rule, Workflow
from aios.processors.workflow_files import Workflows
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    BudgetAnswered,
    CaseCancelled,
    CaseDecided,
    CaseRemembered,
    Event,
    InferenceCancelled,
    InferenceCompleted,
    InferenceRequested,
    ReviewDecided,
    ReviewRequested,
    UsageSettled,
)
from aios.streams import pool_files, topics, topology
from aios.streams.pool_files import PERSON, Pool
from aios.streams.topics import Topic

FORGET_AFTER_MS = topics.RETENTION_HOURS * HOUR_MS  # the idempotency window
ANSWER_GRACE_MS = 15_000  # after a deadline, for the worker's own `expired` to arrive before the timer

REASON_CHARS_MAX = 200  # of a worker's words on the audit

ACTOR = "plan"
CANCELLED = "cancelled"  # status, outcome and reason of a case that somebody called off


@dataclass(frozen=True, slots=True)
class Cause:
    """The record that moves the case, the log's time, which versions of models and prompts are active now, and what
    limits and prices hold.
    """

    topic: str
    partition: int
    offset: int
    now_ms: int
    versions: Versions = field(default_factory=Newest)
    funds: Funds = field(default_factory=Funds)


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
    """The timer of the wait the case is in; another attempt has another one, and so has the wait for a turn to ask."""
    return f"queue/{state.step}/{state.attempt}" if state.turn else f"{state.step}/{state.attempt}"


def forget_at(state: CaseRemembered) -> int:
    """When a decided case is forgotten, Unix ms."""
    return state.decided_at + FORGET_AFTER_MS


@dataclass(frozen=True, slots=True)
class Around:
    """What a case does not know of itself. turnstile: before the pools, of its partition. pools: by name."""

    workflows: Workflows
    cause: Cause
    turnstile: Turnstile = field(default_factory=Open)
    pools: Mapping[str, Pool] = field(default_factory=pool_files.shipped)


class Turn:
    """What one event does to one case, collected until moved()."""

    def __init__(self, state: CaseRemembered, around: Around) -> None:
        self._state = state
        self._workflows = around.workflows
        self._cause = around.cause
        self._turnstile = around.turnstile
        self._pools = around.pools
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
        if not self._state.waiting_for or self._state.step == spending.STEP:
            return None
        return self._workflow.steps[self._state.step].kind

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

    def begin(self) -> None:
        """The first step; before it the reservation, if the workflow has a most and its tenant a limit."""
        limited = self._cause.funds.limited(self._state.tenant, self._state.workflow)
        if limited and self._workflow.budget is not None:
            self.ask_budget(1)
        else:
            self.enter(self._workflow.start)

    def ask_budget(self, attempt: int) -> None:
        """Ask for the most that the case may cost. After ATTEMPTS_MAX it goes on as denied."""
        now = self._cause.now_ms
        request = spending.request(self._state, self._workflow, attempt, now)
        if attempt > spending.ATTEMPTS_MAX:
            self.deny("waited_too_long")
            return
        purse = Purse(reservation=request.reservation_id, attempt=attempt, expires_at=request.expires_at)
        self._change(purse=spending.remembered(purse))
        self._tell(topics.BUDGET_REQUESTED, request)
        self._wait(spending.STEP, attempt, request.reservation_id, now + spending.ANSWER_MS_MAX)
        self.record(
            "budget_requested",
            status="waiting_for_budget",
            reservation_id=request.reservation_id,
            amount_micro=request.amount_micro,
        )

    def take_budget(self, purse: Purse, event: BudgetAnswered) -> None:
        """Go on with what was granted, wait for the time that was said, or go on as denied."""
        self.stop_waiting()
        if event.status == DEFERRED:
            self._change(purse=spending.remembered(replace(purse, resume_at=event.resume_at)))
            self._wait(spending.STEP, purse.attempt, purse.reservation, event.resume_at)
            self.record("budget_answered", outcome=event.status, reason=event.reason, resume_at=event.resume_at)
        elif spending.is_granted(event):
            cheaper = event.status == CHEAPER
            granted = replace(purse, reserved_micro=event.amount_micro, cheaper=cheaper, resume_at=0)
            self._change(purse=spending.remembered(granted))
            self.record("budget_answered", outcome=event.status, amount_micro=event.amount_micro)
            self.enter(self._workflow.start)
        else:
            self.deny(event.reason)

    def deny(self, reason: str) -> None:
        """There is no money for this case."""
        self._change(purse="", waiting_for="")
        self.record("budget_answered", outcome=DENIED, reason=reason)
        if (allowance := self._workflow.budget) is not None:
            self.jump(allowance.on_denied)

    def settle(self, line: UsageSettled) -> None:
        """A line of the ledger; what it costs is gone from the purse."""
        purse = spending.purse_of(self._state)
        if purse is not None and line.cost_micro:
            spent = replace(purse, spent_micro=purse.spent_micro + line.cost_micro)
            self._change(purse=spending.remembered(spent))
        self._tell(topics.USAGE_SETTLED, line)

    def settle_person(self, step: Review, event: ReviewDecided) -> None:
        """A person has worked for this case."""
        minute = self._cause.funds.person_minute_micro
        self.settle(spending.person(self._state, event.task_id, step, minute, self._cause.now_ms))

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

    def stop_waiting(self) -> None:
        """What the case waits for is here, or not wanted: nor is its timer."""
        self._timers[timer_of(self._state)] = None
        self._change(waiting_for="")

    def leave_pool(self) -> None:
        """Whichever way the case goes on: its place at the pool, or its wait for one, is given up."""
        state = self._state
        if state.pool:
            self._turnstile.leave(state.tenant, state.pool, state.turn)
            self._change(pool="", turn=0, asked=0, fallback_of="")

    def call_off(self, reason: str) -> None:
        """Tell the pool that nobody waits for the case's command any more, if one is out."""
        state = self._state
        if not state.pool or state.turn or not state.waiting_for:
            return
        cancelled = InferenceCancelled(
            request_id=state.waiting_for,
            case_id=state.case_id,
            tenant=state.tenant,
            pool=state.pool,
            reason=reason,
            cancelled_at=self._cause.now_ms,
        )
        self._tell(topics.inference_cancelled(state.pool), cancelled)

    def remember_answer(self, said: Mapping[str, Any]) -> None:
        """Keep what the step in hand was told, for later expressions."""
        self._change(answers=ids.canonical({**json.loads(self._state.answers), self._state.step: said}))

    def take_answer(self, step: Infer, event: InferenceCompleted) -> None:
        """Go on with a model's answer; with what is none, to another pool or to on_error."""
        evidence: dict[str, Any] = {
            "pool": self._state.pool,
            "fallback_of": self._state.fallback_of,
            "model": event.model,
            "prompt": event.prompt,
            "attempt": event.attempt,
            "queue_ms": event.queue_ms,
            "compute_ms": event.compute_ms,
        }
        self.settle(spending.used(self._state, event, self._cause.now_ms))
        said, failure = self._read(step, event)
        if said is None:
            self.record("answered", **evidence, outcome=event.status, reason=failure)
            self._ask_another(step)
            return
        self.remember_answer(said)
        self._change(models=_with(self._state.models, event.model), prompts=_with(self._state.prompts, event.prompt))
        self.record("answered", **evidence, **answers.shown(said), outcome=event.status)
        self.enter(step.then)

    def _read(self, step: Infer, event: InferenceCompleted) -> tuple[dict[str, Any] | None, str]:
        """The answer's fields, or None and why they cannot be used."""
        if event.status != "ok":
            return None, event.reason[:REASON_CHARS_MAX] or event.status
        try:
            said = answers.read(step.task, event.output_contract, event.output, event.prompt)
        except ValueError:
            return None, "answer_breaks_contract"
        if step.labels is not None and said["label"] not in step.labels.evaluate(self.view()):
            return None, "label_unknown"
        return said, ""

    def ask_model(self, name: str, step: Infer) -> None:
        """Ask the step's pool: now, or when it is the case's turn."""
        pool, purse = self._pools[f"{step.pool}.{step.lane or self._state.lane}"], spending.purse_of(self._state)
        if purse is not None and purse.cheaper and pool.fallback != PERSON:
            cheaper = self._pools[f"{pool.fallback}.{pool.lane}"]
            self._ask(name, step, cheaper, attempt=1, fallback_of=pool.pool)
        else:
            self._ask(name, step, pool, attempt=1)

    def take_turn(self, step: Infer) -> None:
        """The case was called, and holds a place at the pool: its command goes out."""
        self.stop_waiting()
        self._change(turn=0)
        self._send(self._state.step, step, self._state.attempt)

    def ask_again(self, step: Infer) -> None:
        """Nobody answered in time: the same pool is asked again, as often as the step says, then another one.

        Where no turn came in time another is asked at once.
        """
        state = self._state
        self.call_off("timed_out")
        if state.pool and not state.turn and state.asked < step.attempts_max:
            self._send(state.step, step, state.attempt + 1)
        elif not state.pool and state.attempt < step.attempts_max:  # it asked when cases did not remember the pool
            pool = self._pools[f"{step.pool}.{step.lane or state.lane}"]
            self._ask(state.step, step, pool, attempt=state.attempt + 1)
        else:
            self._ask_another(step)

    def _ask_another(self, step: Infer) -> None:
        """The pool cannot answer."""
        before = self._pools.get(self._state.pool)
        self.leave_pool()
        self._go_on_from(before, step)

    def _go_on_from(self, pool: Pool | None, step: Infer) -> None:
        """Ask the pool that this one's file names instead; after the last it is the step's on_error."""
        if pool is None or pool.fallback == PERSON:
            self.jump(step.on_error)
            return
        state, following = self._state, self._pools[f"{pool.fallback}.{pool.lane}"]
        self._ask(state.step, step, following, attempt=state.attempt + 1, fallback_of=pool.pool)

    def _ask(self, name: str, step: Infer, pool: Pool, *, attempt: int, fallback_of: str = "") -> None:
        """Take a place at the pool and send the command, or wait for a place, for at most as long as for answers."""
        self._change(step=name, attempt=attempt)
        turn_id, why_not, ordinal = f"turn/{name}/{attempt}", "", 0
        if not all(self._served(step, pool)):
            why_not = "retired"
        elif not self._affords(step, pool):
            why_not = "budget_spent"
        else:
            try:
                ordinal = self._turnstile.enter(self._state.tenant, pool.pool, self._state.case_id, turn_id)
            except Full:
                why_not = "too_many_wait"
        if why_not:
            self.record("not_asked", pool=pool.pool, model=step.model, prompt=step.prompt or "", reason=why_not)
            self._go_on_from(pool, step)
            return
        self._change(pool=pool.pool, turn=ordinal, asked=0, fallback_of=fallback_of)
        if not ordinal:
            self._send(name, step, attempt)
            return
        until = self._cause.now_ms + step.attempts_max * step.deadline_s.ms(pool.lane)
        self._wait(name, attempt, turn_id, until)
        self.record("queued", status=step.status, pool=pool.pool, attempt=attempt, until=until, fallback_of=fallback_of)

    def _affords(self, step: Infer, pool: Pool) -> bool:
        """Whether the purse holds what the call is expected to cost."""
        purse = spending.purse_of(self._state)
        if purse is None:
            return True
        view = self.view()
        text = step.input.evaluate(view)[: step.input_chars_max]
        tokens = int(step.options["tokens_max"].evaluate(view)) if "tokens_max" in step.options else 0
        return spending.affords(purse, pool, text, tokens, self._cause.now_ms + step.deadline_s.ms(pool.lane))

    def _served(self, step: Infer, pool: Pool) -> tuple[str, ...]:
        """Model and prompt with the versions that serve this case; an empty one is retired.

        Another pool than the step's own is asked for its own model.
        """
        model = self._stamped("model", step.model if pool.process == step.pool else pool.model)
        return (model, self._stamped("prompt", step.prompt)) if step.prompt else (model,)

    def _send(self, name: str, step: Infer, attempt: int) -> None:
        """The command to the pool where the case holds a place; a timer tells when nobody answers."""
        now, view, pool = self._cause.now_ms, self.view(), self._pools[self._state.pool]
        model, *prompt = self._served(step, pool)
        state = self._change(asked=self._state.asked + 1)
        request = InferenceRequested(
            request_id=ids.command_id(state.case_id, name, attempt),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            step=name,
            attempt=attempt,
            task=step.task,
            model=model,
            prompt="".join(prompt),
            input=step.input.evaluate(view)[: step.input_chars_max],
            options=ids.canonical({key: option.evaluate(view) for key, option in step.options.items()}),
            lane=pool.lane,
            deadline_at=now + step.deadline_s.ms(pool.lane),
            requested_at=now,
            pool=pool.pool,
            fallback_of=state.fallback_of,
        )
        self._tell(topology.BY_NAME[pool.pool].reads[0], request)
        self._wait(name, attempt, request.request_id, request.deadline_at + ANSWER_GRACE_MS)
        self.record(
            "requested",
            status=step.status,
            request_id=request.request_id,
            attempt=attempt,
            pool=request.pool,
            fallback_of=request.fallback_of,
            model=request.model,
            prompt=request.prompt,
            deadline_at=request.deadline_at,
        )

    def _stamped(self, kind: str, name: str) -> str:
        """A name with the version that serves this case, remembered from its first use on; empty: it is retired."""
        if not name or "@" in name:
            return name
        prefix = f"{kind}/{name}@"
        known = next((stamp for stamp in self._state.stamps if stamp.startswith(prefix)), "")
        if known:
            return known.removeprefix(f"{kind}/")
        versions, case_id = self._cause.versions, self._state.case_id
        found = versions.model(name, case_id) if kind == "model" else versions.prompt(name)
        if found:
            self._change(stamps=(*self._state.stamps, f"{kind}/{found}"))
        return found

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

    def _close_purse(self) -> None:
        """Nothing more will be used: what is left of the reservation returns."""
        purse = spending.purse_of(self._state)
        if purse is not None:
            self._tell(topics.USAGE_SETTLED, spending.closed(self._state, purse.reservation, self._cause.now_ms))

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


def _suggestion(answers: Mapping[str, Mapping[str, Any]], decided_by: str) -> str:
    """What the person who decided was shown as the models' own label; empty if it was no person."""
    shown = (said for said in answers.values() if f"reviewer:{said.get('reviewer', '')}" == decided_by)
    return next((str(said.get("suggestion", "")) for said in shown), "")


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
