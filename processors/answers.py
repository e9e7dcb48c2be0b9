"""What a model may answer: the output contracts of inference.completed.v1, read strictly.

In: a contract's name and canonical JSON. Out: the fields a workflow may use, as plain values. Guaranteed: an
answer that does not follow its contract is a ValueError, so that plan treats it like any failed answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

TEXT_CHARS_MAX = 10_000
Share = Annotated[float, Field(ge=0, le=1)]


class Answer(BaseModel):
    """Fields that a newer worker adds are left out, so that pipeline and workers can be rolled out apart."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Classification(Answer):
    """classification.v1: confidence is calibrated; out_of_scope is the probability that no label fits."""

    label: Annotated[str, Field(min_length=1, max_length=200)]
    confidence: Share
    out_of_scope: Share


class Generation(Answer):
    """generation.v1."""

    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


CONTRACTS: Mapping[str, tuple[str, type[Answer]]] = {
    "classify": ("classification.v1", Classification),
    "generate": ("generation.v1", Generation),
}
"""By task: the contract its answers follow."""


def read(task: str, contract: str, output: str) -> dict[str, Any]:
    """The usable fields of an answer. Raises ValueError when it is not what the task promises."""
    expected, shape = CONTRACTS[task]
    if contract != expected:
        raise ValueError(f"{task} answers with {expected}")
    return shape.model_validate_json(output).model_dump()


def samples(task: str, label: str) -> list[dict[str, Any]]:
    """Answers at the corners of what is possible: every threshold lies between them."""
    if task == "generate":
        return [Generation(text="A summary.").model_dump()]
    return [
        Classification(label=label, confidence=confidence, out_of_scope=out_of_scope).model_dump()
        for confidence in (0.0, 1.0)
        for out_of_scope in (0.0, 1.0)
    ]
