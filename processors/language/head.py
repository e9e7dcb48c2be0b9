"""What a workflow's file says before its steps: who answers for it, what it owes, what it may cost and decide alone."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aios.processors.language.part import Jump, Part, Word


class Objectives(Part):
    """What the workflow owes its owner; `aios workflow show` says it."""

    interactive_p95_s: Annotated[float, Field(gt=0)]  # from the event to the decision, cases without a person
    bulk_p95_s: Annotated[float, Field(gt=0)]
    without_person_min: Annotated[float, Field(ge=0, le=1)]  # share of cases


class Allowance(Part):
    """The most that one case may cost, in millionths of money.currency; reserved before its first call where its tenant
    has a limit. cheaper_max_micro: when the pools' fallbacks are asked first; 0: that is no way for this workflow.
    """

    per_case_max_micro: Annotated[int, Field(ge=1, le=10**12)]
    cheaper_max_micro: Annotated[int, Field(ge=0, le=10**12)] = 0
    on_denied: Jump


class SignedOff(Part):
    """Who answers for the workflow's policies."""

    by: Annotated[str, Field(min_length=1, max_length=200)]
    on: datetime.date

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, data: Any) -> Any:
        """YAML 1.1 reads the key `on` as a truth value."""
        return {"on" if key is True else key: value for key, value in data.items()} if isinstance(data, dict) else data


class Autonomy(Part):
    """How far cases decide alone, until an activation says otherwise (processors/language/autonomy.py).

    share: of cases, by hash; the others have the next lower mode. ask: the review step of those that must not be
    decided alone.
    """

    mode: Literal["shadow", "suggest", "auto"] = "auto"
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    ask: Word
