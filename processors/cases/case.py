"""One case, one event at a time: the state machine of every workflow. Pure.

In: what is remembered of the case (nothing, if it is new), one event, and the record and time that brought it.
Out: what to remember now, the events to write, the timers to set. Guaranteed:

- an event whose workflow was retired since admit took it is refused, as admit would;
- one decision: after `case.decided` nothing but refusals of conflicts and 'ignored' entries leaves a case, and who
  cancels a decided one changes nothing;
- every path ends: each wait has a timer, steps lead in a circle through a wait for an event alone, and that takes
  rounds_max of them; asking again is bounded by attempts_max and again.times, branches and items by the step;
- a case whose next record would be too large ends at once (cut_short), since no timer would come again;
- each transition is one audit.recorded with the next case_seq, and no transition is without one;
- an approved edit of an event replaces the body that repeats of its key are held against, and nothing else;
- ids are derived, times come in: the same inputs give the same outputs, byte for byte.

Only the command in `waiting_for` is listened to, or, where the case waits for its turn to ask, the timer that tells it.
An answer to an earlier attempt, a zombie's repeat or a decision of a second reviewer changes nothing.

Rejected: keeping the history of a case in its state (it is on audit.recorded, and state must stay small).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from aios.processors.cases import migrating, spending
from aios.processors.cases.course import Course
from aios.processors.cases.turn import ACTOR, REASON_CHARS_MAX, Around, Cause, Moved, Parsed
from aios.processors.cases.turnstile import Open, Turnstile
from aios.processors.language import autonomy
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import Review, Wait
from aios.processors.language.workflow_files import Workflows
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    BudgetAnswered,
    CaseAdmitted,
    CaseCancelled,
    CaseRemembered,
    CaseTold,
    ConnectorCompleted,
    Event,
    EventRefused,
    InferenceCompleted,
    ReviewDecided,
    TimerFired,
)
from aios.streams import installed, topics
from aios.streams.deployments import MIGRATED, OPERATOR
from aios.streams.errors import ConfigError, Reason, RecordError
from aios.streams.pool_files import Pool


def plan(
    state: CaseRemembered | None,
    event: Event,
    cause: Cause,
    workflows: Workflows,
    traceparent: str = "",
    *,
    turnstile: Turnstile | None = None,
    pools: Mapping[str, Pool] | None = None,
    parsed: Parsed | None = None,
) -> Moved:
    """Apply one event to a case.

    traceparent: of the record; a new case keeps it. turnstile: of its partition; it takes what changes there. pools: by
    name, where they are not those of this deploy. parsed: of this case, perhaps from its last event; it takes what this
    one reads. Raises RecordError (nothing here can ever own the event), ConfigError (the case's workflow version is
    gone) and ExpressionError (the workflow does not fit the case).
    """
    around = Around(workflows, cause, turnstile or Open(), pools or installed.pools(), parsed or Parsed())
    match event:
        case CaseAdmitted():
            return _admitted(state, event, around, traceparent)
        case InferenceCompleted():
            return _answered(state, event, around)
        case ConnectorCompleted():
            return _returned(state, event, around)
        case CaseTold():
            return _told(state, event, around)
        case ReviewDecided():
            return _reviewed(state, event, around)
        case CaseCancelled():
            return _cancelled(state, event, around)
        case BudgetAnswered():
            return _funded(state, event, around)
        case TimerFired():
            return _fired(state, event, around)
    raise RecordError(f"plan has no use for {event.contract}", Reason.CONTRACT_BROKEN)


def cut_short(state: CaseRemembered, cause: Cause, workflows: Workflows, *, turnstile: Turnstile) -> Moved:
    """End a case whose next records would be too large, so that it waits for nothing for ever."""
    turn = Course(state, Around(workflows, cause, turnstile, installed.pools()))
    turn.cut_short()
    return turn.moved()


def _admitted(state: CaseRemembered | None, event: CaseAdmitted, around: Around, traceparent: str) -> Moved:
    if state is not None:
        if state.body_hash == ids.short(event.body_hash):
            return Moved(state, skipped="repeated")
        if event.replaces_body:
            return _replaced(state, event, around)
        return _conflict(state, event, around.cause)
    try:
        workflow = around.workflows.latest(event.workflow)
    except ConfigError as error:  # deployed for a newer release: the others' cases go on
        raise RecordError(str(error)[:REASON_CHARS_MAX], Reason.UNATTRIBUTABLE) from error
    if around.workflows.retired(event.workflow):  # since admit took it
        return _refused(state, event, around.cause, "workflow_retired", f"{event.workflow} takes no new cases")
    if workflow is None or workflow.input != event.input_contract:
        raise RecordError(f"no workflow {event.workflow} takes {event.input_contract} here", Reason.UNATTRIBUTABLE)
    mode = autonomy.drawn(workflow, *around.workflows.autonomy(workflow), event.case_id)
    remembered = "" if mode == autonomy.AUTO else mode
    turn = Course(replace(_opened(event, workflow.version, traceparent), autonomy=remembered), around)
    turn.record(
        "admitted",
        status="admitted",
        event_id=event.event_id,
        lane=event.lane,
        workflow_version=workflow.version,
        hears=list(workflow.hears),
        **({"autonomy": remembered} if remembered else {}),
    )
    turn.begin()
    return turn.moved()


def _opened(event: CaseAdmitted, version: int, traceparent: str) -> CaseRemembered:
    return CaseRemembered(
        case_id=event.case_id,
        tenant=event.tenant,
        workflow=event.workflow,
        workflow_version=version,
        status="admitted",
        case_seq=0,
        event_id=event.event_id,
        idempotency_key=event.idempotency_key,
        body_hash=ids.short(event.body_hash),
        lane=event.lane,
        input_contract=event.input_contract,
        input=event.input,
        answers="{}",
        received_at=event.received_at,
        admitted_at=event.admitted_at,
        traceparent=traceparent,
        source_topic=event.source_topic,
        source_partition=event.source_partition,
        source_offset=event.source_offset,
    )


def _replaced(state: CaseRemembered, event: CaseAdmitted, around: Around) -> Moved:
    """An edit that a second person approved: its body is the one that repeats are held against from now on.

    The case goes on with what it was opened with, decided or not: an edit makes no second decision.
    """
    turn = Course(replace(state, body_hash=ids.short(event.body_hash)), around)
    turn.record(
        "body_replaced",
        event_id=event.event_id,
        body_hash=event.body_hash,
        body_hash_before=state.body_hash,
        bytes_before=event.replaces_body,
    )
    return turn.moved()


def _conflict(state: CaseRemembered, event: CaseAdmitted, cause: Cause) -> Moved:
    """The key is taken by another body: the event is refused under its own id, the case goes on untouched."""
    detail = "another event holds this idempotency key with a different body"
    return _refused(state, event, cause, "conflicting_duplicate", detail)


def _refused(state: CaseRemembered | None, event: CaseAdmitted, cause: Cause, reason: str, detail: str) -> Moved:
    """state: of the case whose key the event has; None: there is none."""
    duplicate_of = "" if state is None else state.event_id
    refused = EventRefused(
        event_id=event.event_id,
        tenant=event.tenant,
        workflow=event.workflow,
        case_id=event.case_id,
        idempotency_key=event.idempotency_key,
        reason=reason,
        detail=detail,
        duplicate_of=duplicate_of,
        refused_by=ACTOR,
        refused_at=cause.now_ms,
        source_topic=event.source_topic,
        source_partition=event.source_partition,
        source_offset=event.source_offset,
    )
    told = {"event_id": event.event_id, "reason": reason} | ({"duplicate_of": duplicate_of} if duplicate_of else {})
    audit = AuditRecorded(
        audit_id=ids.derive("refused", event.source_topic, str(event.source_partition), str(event.source_offset)),
        case_id=event.case_id,
        tenant=event.tenant,
        workflow=event.workflow,
        case_seq=0,
        transition="refused",
        status="refused",
        actor=ACTOR,
        detail=ids.canonical(told),
        input_topic=cause.topic,
        input_partition=cause.partition,
        input_offset=cause.offset,
        at=cause.now_ms,
    )
    return Moved(state, ((topics.EVENT_REFUSED, refused), (topics.AUDIT_RECORDED, audit)))


def _answered(state: CaseRemembered | None, event: InferenceCompleted, around: Around) -> Moved:
    turn = Course(state, around) if state is not None else None
    if turn is None or not turn.awaits(event.request_id):
        return _wasted(state, event, around.cause)  # a zombie, a repeat, an earlier attempt
    step = turn.waiting_step()
    if not isinstance(step, Question):
        return _wasted(state, event, around.cause)
    turn.stop_waiting()
    turn.take_answer(step, event)
    turn.rejoin()
    return turn.moved()


def _returned(state: CaseRemembered | None, event: ConnectorCompleted, around: Around) -> Moved:
    """A system's answer; one that nobody waits for has no price, and changes nothing."""
    turn = Course(state, around) if state is not None else None
    if turn is None or not turn.awaits(event.request_id):
        return Moved(state, skipped="wasted")
    step = turn.waiting_step()
    if not isinstance(step, Call):
        return Moved(state, skipped="wasted")
    turn.stop_waiting()
    turn.take_return(step, event)
    turn.rejoin()
    return turn.moved()


def _told(state: CaseRemembered | None, event: CaseTold, around: Around) -> Moved:
    if state is None or state.tenant != event.tenant:
        raise RecordError("an event for a case that this tenant does not have", Reason.UNATTRIBUTABLE)
    turn = Course(state, around)
    if state.decided_at:
        turn.record("ignored", actor=event.by, event_id=event.event_id, kind=event.kind, reason="decided_before")
    elif turn.has_heard(event):
        return Moved(state, skipped="repeated")
    elif event.kind == MIGRATED:
        return _migrated(state, event, around)
    else:
        turn.hear(event)
    return turn.moved()


def _migrated(state: CaseRemembered, event: CaseTold, around: Around) -> Moved:
    """An operator moves an open case to another version; where it cannot go, it stays and the audit says why."""
    turn = Course(state, around)
    moved = _on_version(state, event, around)
    if isinstance(moved, str):
        turn.record("ignored", actor=event.by, event_id=event.event_id, kind=event.kind, reason=moved)
        return turn.moved()
    turn = Course(moved, around)
    turn.record(
        "migrated",
        actor=event.by,
        event_id=event.event_id,
        from_version=state.workflow_version,
        workflow_version=moved.workflow_version,
        hears=list(around.workflows.at(moved.workflow, moved.workflow_version).hears),
    )
    return turn.moved()


def _on_version(state: CaseRemembered, event: CaseTold, around: Around) -> CaseRemembered | str:
    """The case on the version that the event names, or why it stays."""
    if not event.by.startswith(OPERATOR):
        return "only_operators_migrate"
    try:
        to = json.loads(event.body)["to"]
        if type(to) is not int:
            return "no_version_named"
        before = around.workflows.at(state.workflow, state.workflow_version)
        after = around.workflows.at(state.workflow, to)
        limited = around.cause.funds.limited(state.tenant, state.workflow)
        return migrating.migrated(state, before, after, limited=limited)
    except (ValueError, TypeError, KeyError):
        return "no_version_named"
    except ConfigError as error:
        return str(error)[:REASON_CHARS_MAX]


def _wasted(state: CaseRemembered | None, event: InferenceCompleted, cause: Cause) -> Moved:
    """Paid for, but not needed: the ledger says so, and no case is charged."""
    line = spending.wasted(event, (cause.topic, cause.partition, cause.offset), cause.now_ms)
    return Moved(state, ((topics.USAGE_SETTLED, line),) if event.cost_micro else (), skipped="wasted")


def _funded(state: CaseRemembered | None, event: BudgetAnswered, around: Around) -> Moved:
    """What budget says. A grant that no case waits for, or has, is given back at once."""
    purse = spending.purse_of(state) if state is not None else None
    if state is None or purse is None or purse.reservation != event.reservation_id:
        line = spending.closed(event, event.reservation_id, around.cause.now_ms)
        return Moved(state, ((topics.USAGE_SETTLED, line),) if spending.is_granted(event) else (), skipped="wasted")
    if state.waiting_for != event.reservation_id or (purse.resume_at and not spending.is_granted(event)):
        return Moved(state, skipped="repeated")
    turn = Course(state, around)
    turn.take_budget(purse, event)
    return turn.moved()


def _reviewed(state: CaseRemembered | None, event: ReviewDecided, around: Around) -> Moved:
    if state is None or state.tenant != event.tenant:
        raise RecordError("a review decision for a case that this tenant does not have", Reason.UNATTRIBUTABLE)
    turn = Course(state, around)
    step = turn.waiting_step()
    if not isinstance(step, Review) or state.waiting_for != event.task_id:
        actor = f"reviewer:{event.reviewer}"
        turn.record("ignored", actor=actor, event_id=event.event_id, reason="not_waiting_for_this")
    else:
        turn.hear_person(step, event)
    return turn.moved()


def _cancelled(state: CaseRemembered | None, event: CaseCancelled, around: Around) -> Moved:
    if state is None or state.tenant != event.tenant:
        raise RecordError("the cancellation of a case that this tenant does not have", Reason.UNATTRIBUTABLE)
    turn = Course(state, around)
    if state.decided_at:
        turn.record("ignored", actor=event.by, event_id=event.event_id, reason="decided_before")
    else:
        turn.cancel(event)
    return turn.moved()


def _fired(state: CaseRemembered | None, event: TimerFired, around: Around) -> Moved:
    if state is not None and state.decided_at and event.timer_id == FORGET:
        return Moved(None)
    turn = Course(state, around) if state is not None else None
    if state is None or turn is None or not turn.awaits_timer(event.timer_id):
        return Moved(state, skipped="late_timer")
    if (purse := spending.purse_of(state)) is not None and state.step == spending.STEP:
        if purse.resume_at:
            turn.ask_budget(purse.attempt + 1)
        else:
            turn.deny("budget_unanswered")
        return turn.moved()
    _pass_time(turn, event.timer_id)
    turn.rejoin()
    return turn.moved()


def _pass_time(turn: Course, timer_id: str) -> None:
    """What the case, or its branch, does when its timer fires."""
    match turn.waiting_step():
        case Question() | Call() as step if turn.rests():
            turn.ask_after_rest(step)
        case Question() as step if turn.is_called(timer_id):
            turn.take_turn(step)
        case Question() as step:
            turn.ask_again(step)
        case Call() as step if turn.is_called(timer_id):
            turn.take_call_turn(step)
        case Call() as step:
            turn.call_again(step)
        case Review() as step:
            turn.expire_review(step)
        case Wait() as step:
            turn.jump(step.on_expiry)
