"""An event of a contract without a twin: what goes into a workflow, whoever wrote that workflow.

Enters: fields as plain values (texts, numbers, lists, mappings) and the schema they are written with. Leaves: an event
like any other for whoever carries it. Rejected: making classes of contracts that come while the system runs (nothing
here asks such an event for a field by its name but through its workflow's expressions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.schemas.models import Event
from aios.schemas.safety import Schema


@dataclass(frozen=True, slots=True)
class Plain(Event):
    """fields: by name; those left out are written with the contract's defaults."""

    contract: str  # type: ignore[misc]  # of the class in twins; this has none of its own
    schema: Schema = field(repr=False, compare=False)
    fields: Mapping[str, Any]
