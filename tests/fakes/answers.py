"""What a pool answers: one builder for whoever needs such a record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aios.schemas.models import InferenceCompleted, InferenceRequested

ANSWER = InferenceCompleted(
    request_id="r",
    case_id="case",
    tenant="demo",
    workflow="document.triage",
    step="classify",
    attempt=1,
    task="classify",
    status="ok",
    output="{}",
    output_contract="classification.v1",
    model="triage-encoder@1",
    engine="fake 1",
    input_hash="",
    prompt_tokens=1,
    output_tokens=0,
    lane="bulk",
    queue_ms=0,
    compute_ms=0,
    completed_at=0,
)

SAID = ("request_id", "case_id", "tenant", "workflow", "step", "attempt", "task", "model", "prompt", "lane")


def answer(**changed: Any) -> InferenceCompleted:
    """To nobody's question in particular."""
    return replace(ANSWER, **changed)


def answer_to(request: InferenceRequested, **changed: Any) -> InferenceCompleted:
    """To this one, with what it says of itself."""
    said = {name: getattr(request, name) for name in SAID}
    return replace(ANSWER, **{**said, **changed})


def request(model: str) -> InferenceRequested:
    """What a classifier may be asked."""
    return InferenceRequested(
        request_id="r",
        case_id="c",
        tenant="t",
        workflow="w",
        step="s",
        attempt=1,
        task="classify",
        model=model,
        input="hello",
        options='{"head":"h"}',
        lane="bulk",
        deadline_at=0,
        requested_at=0,
    )
