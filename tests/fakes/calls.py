"""A command to an outside system: one builder for whoever needs such a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aios.schemas import ids
from aios.schemas.models import ConnectorRequested
from aios.streams.system_files import Effect


def requested(
    request: Mapping[str, Any],
    *,
    at: int,
    name: str = "1",
    system: str = "bank",
    operation: str = "book",
    effect: Effect = Effect.AT_LEAST_ONCE,
    deadline_s: float = 300.0,
    **changed: Any,
) -> ConnectorRequested:
    """As plan asks it, at this time, for a case of its own. name: in its ids."""
    asked = ConnectorRequested(
        request_id=name,
        case_id=f"case-{name}",
        tenant="demo",
        workflow="w",
        step=operation,
        attempt=1,
        system=system,
        operation=operation,
        request=ids.canonical(request),
        effect=effect,
        idempotency_key=f"key-{name}",
        lane="bulk",
        deadline_at=at + round(deadline_s * 1000),
        requested_at=at,
    )
    return replace(asked, **changed)
