"""Records of a few cases, as the stages before write them, for tests of what rests."""

from __future__ import annotations

import json
from typing import Any

from aios.dlq import envelope
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided, Event, EventRefused, ReviewRequested
from aios.streams import topics, tracing
from aios.streams.errors import Reason, SchemaMismatch
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Topic
from aios.streams.topology import ADMIT, PLAN

PARTITIONS = 6
WORKFLOW = "document.triage"


def audit(  # noqa: PLR0917 - a line of the timelines below reads as one
    case: str, seq: int, transition: str, status: str, at: int, tenant: str = "demo", **detail: Any
) -> Event:
    return AuditRecorded(
        audit_id=ids.derive("audit", case, str(seq), transition, str(at)),
        case_id=case,
        tenant=tenant,
        workflow=WORKFLOW,
        case_seq=seq,
        transition=transition,
        status=status,
        step="classify",
        actor="plan",
        detail=json.dumps(detail),
        input_topic="case.admitted.v1",
        input_partition=0,
        input_offset=seq,
        at=at,
    )


def decided(case: str, seq: int, at: int, tenant: str = "demo", outcome: str = "routed") -> Event:
    return CaseDecided(
        decision_id=f"d-{case}",
        case_id=case,
        tenant=tenant,
        workflow=WORKFLOW,
        workflow_version=1,
        event_id=f"e-{case}",
        idempotency_key=f"k-{case}",
        outcome=outcome,
        label="mortgage",
        confidence=0.9,
        channel="letter",
        reasons=("confident",),
        summary="A letter.",
        models=("triage-encoder@1",),
        prompts=(),
        decided_by="policy",
        received_at=at - 3,
        admitted_at=at - 2,
        decided_at=at,
        case_seq=seq,
        lane="bulk",
        source_topic="document.received.v1",
        source_partition=0,
        source_offset=1,
    )


def asked(case: str, at: int, tenant: str = "demo") -> Event:
    return ReviewRequested(
        task_id=f"t-{case}",
        case_id=case,
        tenant=tenant,
        workflow=WORKFLOW,
        workflow_version=1,
        step="ask",
        reasons=("low_confidence",),
        suggestion="mortgage",
        confidence=0.4,
        choices=("mortgage", "card"),
        input_contract="document.received.v1",
        input='{"text":"My house"}',
        requested_at=at,
        expires_at=at + 1000,
    )


def refused(case: str, event_id: str, at: int, tenant: str = "demo", reason: str = "invalid_field") -> Event:
    return EventRefused(
        event_id=event_id,
        tenant=tenant,
        workflow=WORKFLOW,
        case_id=case,
        reason=reason,
        detail="text is empty",
        refused_by="admit",
        refused_at=at,
        source_topic="document.received.v1",
        source_partition=0,
        source_offset=at % 1000,
    )


def straight(case: str, at: int, tenant: str = "demo") -> list[Event]:
    """Decided by policy."""
    return [
        audit(case, 1, "admitted", "admitted", at, tenant, event_id=f"e-{case}", lane="bulk", workflow_version=1),
        audit(case, 2, "requested", "classifying", at + 1, tenant, model="triage-encoder@1"),
        audit(case, 3, "answered", "classifying", at + 5, tenant, model="triage-encoder@1", confidence=0.9, queue_ms=3),
        audit(case, 4, "decided", "decided", at + 5, tenant, outcome="routed"),
        decided(case, 4, at + 5, tenant),
    ]


def waiting(case: str, at: int, tenant: str = "demo") -> list[Event]:
    """A person is asked, and one answer came that was none."""
    return [
        *straight(case, at, tenant)[:3],
        audit(case, 4, "review_requested", "waiting_for_person", at + 6, tenant, task_id=f"t-{case}"),
        audit(case, 5, "ignored", "waiting_for_person", at + 9, tenant, reason="label_not_offered"),
        asked(case, at + 6, tenant),
    ]


def by_person(case: str, at: int, tenant: str = "demo") -> list[Event]:
    """A person was asked and has answered."""
    return [
        *waiting(case, at, tenant),
        audit(case, 6, "review_decided", "waiting_for_person", at + 20, tenant, task_id=f"t-{case}"),
        audit(case, 7, "decided", "decided", at + 20, tenant),
        decided(case, 7, at + 20, tenant),
    ]


_TOPIC: dict[type[Event], Topic] = {
    AuditRecorded: topics.AUDIT_RECORDED,
    CaseDecided: topics.CASE_DECIDED,
    EventRefused: topics.EVENT_REFUSED,
    ReviewRequested: topics.REVIEW_REQUESTED,
}


def outgoing(codec: Codec, event: Any) -> Outgoing:
    """As its stage delivers it."""
    topic = _TOPIC[type(event)]
    headers = tracing.envelope(
        event,
        event_id="x",
        source="/test",
        subject=event.case_id,
        tenant=event.tenant,
        traceparent=tracing.new_traceparent(event.case_id),
        time_ms=0,
    )
    return Outgoing(topic.name, event.case_id.encode(), codec.encode(topic, event), headers)


def dead(key: str, at: int, offset: int, tenant: str = "demo", stage: Any = ADMIT) -> Outgoing:
    """A dead letter of admit (key: the producer's) or plan (key: the case)."""
    headers = (("aios-tenant", tenant.encode()),)
    source = (ADMIT if stage is ADMIT else PLAN).reads[0].name
    failed = Record(source, 0, offset, at, key.encode(), b"garbage", headers)
    error = SchemaMismatch("not in Confluent's framing", Reason.UNDECODABLE)
    return envelope.wrap(failed, envelope.Failure(stage=stage, error=error, attempts=1, now_ms=at, cluster="c"))


def taken(out: Outgoing, offset: int, at: int) -> Record:
    """As a consumer would have it."""
    partition = partition_of(out.key or b"", PARTITIONS) if out.partition is None else out.partition
    return Record(out.topic, partition, offset, at, out.key, out.value, out.headers)
