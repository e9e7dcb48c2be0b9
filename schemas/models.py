"""Frozen twins of the contracts in avro/: one class a record, one field a field.

Meanings, units and bounds are the `doc` of each field in avro/<contract>.avsc; `aios schema check`
compares the two, so that neither can drift. Times are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class Event:
    """Base of every twin; `contract` names its file in avro/."""

    __slots__ = ()
    contract: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReceived(Event):
    """A letter or short message from a customer: the input of document.triage. `text` is the only field a producer must
    fill; admit fills the others deterministically.
    """

    contract: ClassVar[str] = "document.received.v1"

    text: str
    event_id: str = ""
    idempotency_key: str = ""
    tenant: str = ""
    channel: str = ""
    subject: str = ""
    customer_id: str = ""
    received_at: int = 0
    lane: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAdmitted(Event):
    """An event accepted as a case, keyed by case id; written by admit, once for each accepted event (plan is the judge
    of repeats).
    """

    contract: ClassVar[str] = "case.admitted.v1"

    case_id: str
    tenant: str
    workflow: str
    event_id: str
    idempotency_key: str
    body_hash: str
    lane: str
    input_contract: str
    input: str
    received_at: int
    admitted_at: int
    source_topic: str
    source_partition: int
    source_offset: int
    replaces_body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRefused(Event):
    """An event that will never become a case, and why; settled."""

    contract: ClassVar[str] = "event.refused.v1"

    event_id: str
    tenant: str
    workflow: str
    case_id: str = ""
    idempotency_key: str = ""
    reason: str
    detail: str
    duplicate_of: str = ""
    refused_by: str
    refused_at: int
    source_topic: str
    source_partition: int
    source_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequested(Event):
    """One command to a model pool, keyed by case id."""

    contract: ClassVar[str] = "inference.requested.v1"

    request_id: str
    case_id: str
    tenant: str
    workflow: str
    step: str
    attempt: int
    task: str
    model: str
    prompt: str = ""
    input: str
    options: str
    lane: str
    priority: int = 0
    deadline_at: int
    requested_at: int
    pool: str = ""
    fallback_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceCompleted(Event):
    """The answer of a model pool, failures included, keyed by case id."""

    contract: ClassVar[str] = "inference.completed.v1"

    request_id: str
    case_id: str
    tenant: str
    workflow: str
    step: str
    attempt: int
    task: str
    status: str
    reason: str = ""
    output: str
    output_contract: str = ""
    model: str
    prompt: str = ""
    engine: str
    seed: int = 0
    input_hash: str
    prompt_tokens: int
    output_tokens: int
    lane: str
    queue_ms: int
    compute_ms: int
    completed_at: int
    pool: str = ""
    fallback_of: str = ""
    cached: bool = False
    first_token_ms: int = 0
    engine_us: int = 0
    cost_micro: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRequested(Event):
    """A question to a person, keyed by case id."""

    contract: ClassVar[str] = "review.requested.v1"

    task_id: str
    case_id: str
    tenant: str
    workflow: str
    workflow_version: int
    step: str
    reasons: tuple[str, ...]
    suggestion: str = ""
    confidence: float = 0.0
    out_of_scope: float = 0.0
    choices: tuple[str, ...]
    input_contract: str
    input: str
    requested_at: int
    expires_at: int
    evidence: str = ""
    people: int = 1
    round: int = 1
    skills: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDecided(Event):
    """A person's decision, keyed by case id; the first valid one wins."""

    contract: ClassVar[str] = "review.decided.v1"

    event_id: str
    task_id: str
    case_id: str
    tenant: str
    label: str
    reviewer: str
    comment: str = ""
    decided_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDecided(Event):
    """The one final outcome of a case, complete in itself, keyed by case id."""

    contract: ClassVar[str] = "case.decided.v1"

    decision_id: str
    case_id: str
    tenant: str
    workflow: str
    workflow_version: int
    event_id: str
    idempotency_key: str
    outcome: str
    label: str = ""
    confidence: float = 0.0
    channel: str = ""
    reasons: tuple[str, ...]
    summary: str = ""
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    decided_by: str
    received_at: int
    admitted_at: int
    decided_at: int
    case_seq: int
    lane: str
    source_topic: str
    source_partition: int
    source_offset: int
    suggestion: str = ""
    output: str = ""
    autonomy: str = ""
    cost_centre: str = ""
    retain_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecorded(Event):
    """One transition of a case (or one act of an operator), keyed by case id; written in the transaction that makes the
    transition.
    """

    contract: ClassVar[str] = "audit.recorded.v1"

    audit_id: str
    case_id: str
    tenant: str
    workflow: str
    case_seq: int
    transition: str
    status: str = ""
    step: str = ""
    actor: str
    detail: str
    input_topic: str
    input_partition: int
    input_offset: int
    at: int
    shown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    """A durable timer of a case came due, keyed by case id; an input of plan like any other."""

    contract: ClassVar[str] = "timer.fired.v1"

    timer_id: str
    case_id: str
    due_at: int
    fired_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRegistered(Event):
    """A tenant as it is now, keyed by its name; compacted."""

    contract: ClassVar[str] = "tenant.registered.v1"

    tenant: str
    key_hashes: tuple[str, ...]
    active: bool
    registered_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRemembered(Event):
    """The input position of one partition of a stateful stage; the reserved record of its changelog."""

    contract: ClassVar[str] = "position.remembered.v1"

    inputs: Mapping[str, int]
    topic_ids: Mapping[str, str]
    partitions: int
    written_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerRemembered(Event):
    """A durable timer that has not fired; a record of a stage's changelog."""

    contract: ClassVar[str] = "timer.remembered.v1"

    timer_id: str
    key: str
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRemembered(Event):
    """What plan remembers of a case; a record of its changelog. A decided case keeps only what makes a repeat
    recognisable.
    """

    contract: ClassVar[str] = "case.remembered.v1"

    case_id: str
    tenant: str
    workflow: str
    workflow_version: int
    status: str
    case_seq: int
    event_id: str
    idempotency_key: str
    body_hash: str
    lane: str = ""
    input_contract: str = ""
    input: str = ""
    step: str = ""
    attempt: int = 0
    waiting_for: str = ""
    answers: str
    reasons: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    received_at: int = 0
    admitted_at: int = 0
    decided_at: int = 0
    traceparent: str = ""
    source_topic: str = ""
    source_partition: int = 0
    source_offset: int = 0
    pool: str = ""
    turn: int = 0
    asked: int = 0
    fallback_of: str = ""
    purse: str = ""
    branches: str = ""
    autonomy: str = ""
    told: str = ""
    visits: str = ""
    verdicts: str = ""
    again: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalRegistered(Event):
    """A person or program that may operate the system, as it is now, keyed by its name; compacted."""

    contract: ClassVar[str] = "principal.registered.v1"

    name: str
    roles: tuple[str, ...]
    tenants: tuple[str, ...]
    token_hashes: tuple[str, ...]
    active: bool
    registered_at: int
    skills: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequested(Event):
    """What a principal asks of dead letters, replay jobs or breakers; keyed by the object's id. The one way by
    which operators change anything.
    """

    contract: ClassVar[str] = "operation.requested.v1"

    command_id: str
    kind: str
    object_id: str
    arguments: str
    value: bytes | None = None
    principal: str
    reason: str
    requested_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationAnswered(Event):
    """What became of one operation.requested; keyed by command id."""

    contract: ClassVar[str] = "operation.answered.v1"

    command_id: str
    kind: str
    object_id: str
    status: str
    problem: str
    detail: str
    result: str
    answered_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterChanged(Event):
    """A dead letter changed its state by somebody's act or by a replay job; keyed by dead letter id."""

    contract: ClassVar[str] = "letter.changed.v1"

    change_id: str
    letter_id: str
    generation: int
    state: str
    group: str
    tenant: str
    topic: str
    partition: int
    offset: int
    job_id: str
    reason: str
    to: str
    edit_hash_before: str
    edit_hash_after: str
    by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRemembered(Event):
    """What replay remembers of a dead letter that somebody acted on."""

    contract: ClassVar[str] = "letter.remembered.v1"

    letter_id: str
    state: str
    generation: int
    group: str
    topic: str
    partition: int
    offset: int
    job_id: str
    freed: bool
    restored: bool
    edit: bytes | None = None
    edit_hash_before: str
    edited_by: str
    approved_by: str
    changed_at: int
    returned_at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRemembered(Event):
    """A replay job as it is now, keyed by its id; compacted."""

    contract: ClassVar[str] = "replay.remembered.v1"

    job_id: str
    kind: str
    action: str
    state: str
    filter: str
    edit: str
    rate_per_s: int
    cap: int
    order: str
    marks: Mapping[str, int]
    next: Mapping[str, int]
    replayed: int
    skipped: Mapping[str, int]
    selected: int
    report: str
    planned_by: str
    approved_by: str
    run_by: str
    stopped_because: str
    reason: str
    planned_at: int
    changed_at: int
    took_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRemembered(Event):
    """A key of an ordered topic that waits behind a record that failed; a record of a stage's changelog."""

    contract: ClassVar[str] = "parked.remembered.v1"

    lowest: int
    next: int
    discarded: tuple[int, ...]
    dead: tuple[int, ...]
    place: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRemembered(Event):
    """How many commands of a tenant stand with a pool, and who of its cases waits to ask; of plan's changelog."""

    contract: ClassVar[str] = "pool.remembered.v1"

    outstanding: int
    first: int
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRemembered(Event):
    """A case that waits for its turn to ask a pool; a record of plan's changelog."""

    contract: ClassVar[str] = "turn.remembered.v1"

    case_id: str
    timer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """A breaker as it is now, keyed by its key; compacted."""

    contract: ClassVar[str] = "breaker.changed.v1"

    key: str
    group: str
    partition: int
    tenant: str
    state: str
    reason: str
    fingerprint: str
    failed: int
    settled: int
    action: str
    by: str
    changed_at: int
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceCancelled(Event):
    """A request that nobody waits for any more, keyed by request id; every worker of its pool reads all of them."""

    contract: ClassVar[str] = "inference.cancelled.v1"

    request_id: str
    case_id: str
    tenant: str
    pool: str
    reason: str
    cancelled_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCancelled(Event):
    """The wish that a case ends without a decision on its merits, keyed by case id; a decided case stays decided."""

    contract: ClassVar[str] = "case.cancelled.v1"

    event_id: str
    case_id: str
    tenant: str
    reason: str
    by: str
    cancelled_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelActivated(Event):
    """Which version of a model serves from now on, keyed by the model's name; compacted."""

    contract: ClassVar[str] = "model.activated.v1"

    model: str
    version: int
    canary_version: int = 0
    canary_permille: int = 0
    limits: str = ""
    reason: str
    by: str
    activated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptActivated(Event):
    """Which version of a prompt serves from now on, keyed by the prompt's name; compacted."""

    contract: ClassVar[str] = "prompt.activated.v1"

    prompt: str
    version: int
    evaluation: str
    reason: str
    by: str
    activated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDrifted(Event):
    """What a model or workflow sees or says has moved away from its reference window, keyed by subject."""

    contract: ClassVar[str] = "model.drifted.v1"

    event_id: str
    subject: str
    measure: str
    value: float
    limit: float
    test: str
    chance: float
    reference_count: int
    window_count: int
    window_from: int
    window_to: int
    detected_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDeclared(Event):
    """What a tenant may spend in a workflow in a window, keyed by tenant/workflow; compacted."""

    contract: ClassVar[str] = "budget.declared.v1"

    budget: str
    tenant: str
    workflow: str
    window: str
    hard_micro: int
    soft_micro: int
    policy: str
    by: str
    declared_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequested(Event):
    """A reservation that a case asks for before its first call, keyed by tenant."""

    contract: ClassVar[str] = "budget.requested.v1"

    reservation_id: str
    case_id: str
    tenant: str
    workflow: str
    amount_micro: int
    cheaper_micro: int = 0
    requested_at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAnswered(Event):
    """The answer to a reservation, keyed by case id."""

    contract: ClassVar[str] = "budget.answered.v1"

    reservation_id: str
    case_id: str
    tenant: str
    workflow: str
    status: str
    reason: str = ""
    amount_micro: int
    resume_at: int = 0
    answered_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSettled(Event):
    """What one answer or person has cost a case, or the end of its reservation; keyed by tenant. The ledger."""

    contract: ClassVar[str] = "usage.settled.v1"

    settlement_id: str
    reservation_id: str
    case_id: str
    tenant: str
    workflow: str
    kind: str
    pool: str = ""
    model: str = ""
    prompt: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    engine_us: int = 0
    person_ms: int = 0
    cost_micro: int
    settled_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChanged(Event):
    """Where a budget stands in its window, keyed by tenant/workflow; compacted."""

    contract: ClassVar[str] = "budget.changed.v1"

    budget: str
    tenant: str
    workflow: str
    window_from: int
    window_to: int
    reserved_micro: int
    spent_micro: int
    wasted_micro: int
    over_micro: int = 0
    denied: int
    soft_reached: bool
    changed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRemembered(Event):
    """What budget remembers of a limit's window; a record of its changelog."""

    contract: ClassVar[str] = "account.remembered.v1"

    window: str
    window_from: int
    window_to: int
    reserved_micro: int
    spent_micro: int
    wasted_micro: int
    over_micro: int
    denied: int
    soft_reached: bool
    settled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationRemembered(Event):
    """What budget remembers of an open reservation; a record of its changelog."""

    contract: ClassVar[str] = "reservation.remembered.v1"

    status: str
    amount_micro: int
    left_micro: int
    budgets: tuple[str, ...]
    settled: tuple[str, ...]
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorRequested(Event):
    """One command to an outside system, keyed by case id."""

    contract: ClassVar[str] = "connector.requested.v1"

    request_id: str
    case_id: str
    tenant: str
    workflow: str
    step: str
    attempt: int
    system: str
    operation: str
    request: str
    effect: str
    idempotency_key: str
    lane: str
    deadline_at: int
    requested_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorIntended(Event):
    """That an effect on an outside system is about to be tried; acknowledged before the effect, keyed by case
    id.
    """

    contract: ClassVar[str] = "connector.intended.v1"

    request_id: str
    case_id: str
    tenant: str
    system: str
    operation: str
    tried: int
    intended_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorCompleted(Event):
    """The answer of an outside system, failures included, keyed by case id."""

    contract: ClassVar[str] = "connector.completed.v1"

    request_id: str
    case_id: str
    tenant: str
    workflow: str
    step: str
    attempt: int
    system: str
    operation: str
    status: str
    reason: str
    output: str
    output_contract: str
    tries: int
    reconciled: bool
    waited_ms: int
    call_ms: int
    completed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTold(Event):
    """Something that happened to an open case and that its workflow waits for, keyed by case id."""

    contract: ClassVar[str] = "case.told.v1"

    event_id: str
    case_id: str
    tenant: str
    kind: str
    body: str
    by: str
    told_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDeployed(Event):
    """One version of a workflow as its file says, keyed by workflow@version; compacted, kept as long as cases
    may run on it.
    """

    contract: ClassVar[str] = "workflow.deployed.v1"

    workflow: str
    version: int
    definition: str
    input_schema: str = ""
    definition_hash: str
    tests: str
    reason: str
    by: str
    deployed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowActivated(Event):
    """Which version of a workflow new cases take and how far they decide alone, keyed by the workflow's name;
    compacted.
    """

    contract: ClassVar[str] = "workflow.activated.v1"

    workflow: str
    version: int
    autonomy: str
    auto_permille: int
    reason: str
    by: str
    activated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPublished(Event):
    """A new version of a list that cases are screened against, keyed by the list's name; compacted."""

    contract: ClassVar[str] = "list.published.v1"

    list: str
    version: str
    reference: str
    sha256: str
    entries: int
    reason: str
    by: str
    published_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSubmitted(Event):
    """Somebody applies to become a customer: the input of kyc.review. `applicant_name` is the only field a producer
    must fill.
    """

    contract: ClassVar[str] = "kyc.application.submitted.v1"

    applicant_name: str
    birth_date: str = ""
    country: str = ""
    address: str = ""
    documents: tuple[Mapping[str, str], ...] = ()
    event_id: str = ""
    idempotency_key: str = ""
    tenant: str = ""
    customer_id: str = ""
    received_at: int = 0
    lane: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingRequested(Event):
    """Somebody asks for a meeting in plain words: the input of meeting.schedule. `organiser` and `text` are the only
    fields a producer must fill.
    """

    contract: ClassVar[str] = "meeting.requested.v1"

    organiser: str
    text: str
    time_zone: str = ""
    sent_at: int = 0
    event_id: str = ""
    idempotency_key: str = ""
    tenant: str = ""
    received_at: int = 0
    lane: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesAnnounced(Event):
    """What a member of a stage's group has since it started, keyed by the member's name; compacted."""

    contract: ClassVar[str] = "files.announced.v1"

    member: str
    files: str
    announced_at: int


EVENTS: Mapping[str, type[Event]] = {
    event.contract: event
    for event in (
        DocumentReceived,
        ApplicationSubmitted,
        MeetingRequested,
        CaseAdmitted,
        EventRefused,
        InferenceRequested,
        InferenceCompleted,
        ReviewRequested,
        ReviewDecided,
        CaseDecided,
        AuditRecorded,
        TimerFired,
        TenantRegistered,
        PositionRemembered,
        TimerRemembered,
        CaseRemembered,
        PrincipalRegistered,
        OperationRequested,
        OperationAnswered,
        LetterChanged,
        LetterRemembered,
        ReplayRemembered,
        ParkedRemembered,
        PoolRemembered,
        TurnRemembered,
        BreakerChanged,
        InferenceCancelled,
        CaseCancelled,
        ModelActivated,
        PromptActivated,
        ModelDrifted,
        BudgetDeclared,
        BudgetRequested,
        BudgetAnswered,
        UsageSettled,
        BudgetChanged,
        AccountRemembered,
        ReservationRemembered,
        ConnectorRequested,
        ConnectorIntended,
        ConnectorCompleted,
        CaseTold,
        WorkflowDeployed,
        WorkflowActivated,
        ListPublished,
        FilesAnnounced,
    )
}
"""Every contract by name."""
