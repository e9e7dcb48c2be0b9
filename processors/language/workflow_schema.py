"""The language of workflows as a JSON Schema, so that editors complete it and mark mistakes as they are typed.

Enters: the classes of workflow.py, which are the language. Leaves: workflows/workflow.schema.json beside the workflows;
a workflow's file names it in its first line: `# yaml-language-server: $schema=workflow.schema.json`. Guaranteed: what
the schema refuses is refused when the file is read; names of pools, systems, prompts and steps it does not know: those
`aios workflow check` finds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aios.processors.language.questions import Branch
from aios.processors.language.workflow import Step, Workflow

FILE = Path(__file__).parents[1] / "workflows" / "workflow.schema.json"


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    found: dict[str, Any] = _tidy(Workflow.model_json_schema())
    for one in (Step, Branch):
        found["$defs"][one.__name__] |= {"minProperties": 1, "maxProperties": 1}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def text() -> str:
    """As it stands in FILE."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any) -> Any:
    """Without what only pydantic needs: titles, and the null that stands for a key that is not there."""
    if isinstance(node, list):
        return [_tidy(one) for one in node]
    if not isinstance(node, dict):
        return node
    ways = [one for one in node.get("anyOf", ()) if one != {"type": "null"}]
    if len(ways) == 1 and len(ways) < len(node["anyOf"]):
        node = {**{key: value for key, value in node.items() if key not in ("anyOf", "default")}, **ways[0]}
    kept = {key: value for key, value in node.items() if key != "title" or not isinstance(value, str)}
    return {key: _tidy(value) for key, value in kept.items()}
