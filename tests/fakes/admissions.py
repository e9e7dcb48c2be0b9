"""An event that became a case: one builder for whoever needs such a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aios.schemas import ids
from aios.schemas.models import CaseAdmitted


def admitted(
    body: Mapping[str, Any],
    *,
    key: str = "k1",
    tenant: str = "demo",
    workflow: str = "document.triage",
    contract: str = "document.received.v1",
    at: int = 0,
    **changed: Any,
) -> CaseAdmitted:
    """As admit makes it of a record whose idempotency key is key, received and admitted at once."""
    event = CaseAdmitted(
        case_id=ids.case_id(tenant, workflow, key),
        tenant=tenant,
        workflow=workflow,
        event_id="e1",
        idempotency_key=key,
        body_hash=ids.body_hash(body),
        lane="bulk",
        input_contract=contract,
        input=ids.canonical(body),
        received_at=at,
        admitted_at=at,
        source_topic=contract,
        source_partition=0,
        source_offset=0,
    )
    return replace(event, **changed)
