"""Events of a case as it goes through plan: admitted, answered by a model, decided by a person; of `aios bench cases`.

Enters: the key of a case. Leaves: what a gateway, a worker and a reviewer would write of it.
"""

from __future__ import annotations

from typing import Any, cast

from aios.schemas import ids
from aios.schemas.models import CaseAdmitted, Event, InferenceCompleted, ReviewDecided
from aios.streams import tracing
from aios.streams.wall_clock import wall_ms

TENANT, WORKFLOW, STEP, REVIEW = "demo", "document.triage", "classify", "ask"
BODY = {"text": "My card was charged twice. " * 20, "channel": "message", "subject": "", "customer_id": ""}


def admitted(key: str) -> CaseAdmitted:
    now_ms = wall_ms()
    return CaseAdmitted(
        case_id=ids.case_id(TENANT, WORKFLOW, key),
        tenant=TENANT,
        workflow=WORKFLOW,
        event_id=key,
        idempotency_key=key,
        body_hash=ids.body_hash(BODY),
        lane="bulk",
        input_contract="document.received.v1",
        input=ids.canonical(BODY),
        received_at=now_ms,
        admitted_at=now_ms,
        source_topic="document.received.v1",
        source_partition=0,
        source_offset=0,
    )


def reviewed(key: str) -> ReviewDecided:
    case_id = ids.case_id(TENANT, WORKFLOW, key)
    return ReviewDecided(
        event_id=f"{case_id} reviewed",
        task_id=ids.command_id(case_id, REVIEW, 1),
        case_id=case_id,
        tenant=TENANT,
        label="card_arrival",
        reviewer="bench",
        decided_at=wall_ms(),
    )


def answer(key: str, confidence: float = 0.9) -> InferenceCompleted:
    case_id = ids.case_id(TENANT, WORKFLOW, key)
    return InferenceCompleted(
        request_id=ids.command_id(case_id, STEP, 1),
        case_id=case_id,
        tenant=TENANT,
        workflow=WORKFLOW,
        step=STEP,
        attempt=1,
        task=STEP,
        status="ok",
        output=f'{{"label":"card_arrival","confidence":{confidence},"out_of_scope":0.1}}',
        output_contract="classification.v1",
        model="bench@1",
        engine="bench 1",
        input_hash="",
        prompt_tokens=0,
        output_tokens=0,
        lane="bulk",
        queue_ms=0,
        compute_ms=0,
        completed_at=wall_ms(),
    )


def headers(event: Event) -> Any:
    case_id = cast(Any, event).case_id
    return tracing.envelope(
        event,
        event_id=case_id,
        source="/bench",
        subject=case_id,
        tenant=TENANT,
        traceparent="",
        time_ms=wall_ms(),
    )
