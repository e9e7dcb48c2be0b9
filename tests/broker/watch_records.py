"""Answers and decisions as workers and plan write them, for what reads them."""

from __future__ import annotations

from typing import Any

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, InferenceCompleted
from aios.streams import tracing
from aios.streams.record import Outgoing
from aios.streams.topics import CASE_DECIDED, INFERENCE_COMPLETED
from tests.fakes.answers import answer as completed

WORKFLOW = "document.triage"


def answer(
    case: str,
    label: str,
    *,
    model: str = "triage-encoder",
    version: int = 1,
    workflow: str = WORKFLOW,
    status: str = "ok",
    confidence: float = 0.8,
    out_of_scope: float = 0.1,
    tokens: int = 20,
    compute_ms: int = 7,
    reason: str = "late",
    output: str | None = None,
    **more: Any,
) -> InferenceCompleted:
    said = {"label": label, "confidence": confidence, "out_of_scope": out_of_scope}
    return completed(
        request_id=ids.command_id(case, "classify", 1),
        case_id=case,
        workflow=workflow,
        status=status,
        reason="" if status == "ok" else reason,
        output=output if output is not None else ids.canonical(said if status == "ok" else {}),
        output_contract="classification.v1" if status == "ok" else "",
        model=f"{model}@{version}",
        input_hash="0" * 64,
        prompt_tokens=tokens,
        queue_ms=1,
        compute_ms=compute_ms,
        **more,
    )


def decision(
    case: str,
    label: str,
    *,
    by_person: bool,
    model: str = "triage-encoder",
    version: int = 1,
    workflow: str = WORKFLOW,
) -> CaseDecided:
    return CaseDecided(
        decision_id=f"d-{case}",
        case_id=case,
        tenant="demo",
        workflow=workflow,
        workflow_version=1,
        event_id=f"e-{case}",
        idempotency_key=f"k-{case}",
        outcome="routed",
        label=label,
        confidence=1.0 if by_person else 0.8,
        channel="letter",
        reasons=(),
        models=(f"{model}@{version}",),
        prompts=(),
        decided_by="reviewer:ann" if by_person else "policy",
        received_at=0,
        admitted_at=0,
        decided_at=0,
        case_seq=4,
        lane="bulk",
        source_topic="document.received.v1",
        source_partition=0,
        source_offset=0,
        suggestion="card" if by_person else "",
    )


def outgoing(codec: Codec, event: InferenceCompleted | CaseDecided) -> Outgoing:
    """As its stage delivers it."""
    topic = INFERENCE_COMPLETED if isinstance(event, InferenceCompleted) else CASE_DECIDED
    headers = tracing.envelope(
        event,
        event_id=event.case_id,
        source="/test",
        subject=event.case_id,
        tenant=event.tenant,
        traceparent=tracing.new_traceparent(event.case_id),
        time_ms=0,
    )
    return Outgoing(topic.name, event.case_id.encode(), codec.encode(topic, event), headers)
