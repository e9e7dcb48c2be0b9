"""How far a case decides alone: shadow, suggest or auto. Pure.

Enters: the mode and share that a workflow's file or its last activation says, and the case. Leaves: the mode of this
case, drawn by hash when it is admitted, so that it is the same whoever asks, and remembered with the case.

    auto      the case runs as its steps say
    suggest   before its first effect, and before the policy decides, a person is asked (`autonomy.ask`) who sees what
              the case would say
    shadow    the same, but the person is not shown it: their verdicts can be held against the case's own

A person who decided in the case before is enough: then it is not decided alone.
"""

from __future__ import annotations

from typing import Final

from aios.processors.language.workflow import Workflow
from aios.streams.activations import PERMILLE, draw

SHADOW: Final = "shadow"
SUGGEST: Final = "suggest"
AUTO: Final = "auto"
LOWER: Final = {AUTO: SUGGEST, SUGGEST: SHADOW, SHADOW: SHADOW}


def of_file(workflow: Workflow) -> tuple[str, int]:
    """Mode and permille as the file says."""
    said = workflow.autonomy
    return (AUTO, PERMILLE) if said is None else (said.mode, round(said.share * PERMILLE))


def drawn(workflow: Workflow, mode: str, permille: int, case_id: str) -> str:
    """The mode of a case. A workflow that names nobody to ask is always auto."""
    if workflow.autonomy is None:
        return AUTO
    return mode if draw(f"autonomy/{workflow.workflow}", case_id) < permille else LOWER[mode]
