"""Moves an open case to another version of its workflow. Pure.

Enters: what is remembered of a case, the version it runs on and the one it is to run on. Leaves: the case on that
version, or one sentence why it cannot go. Guaranteed: nothing is asked again and nothing is answered twice: the case
stays in the step where it waits, and its command, timer and answers stay as they are; so that step must be there in the
new version, of the same kind and asking the same, by the same constants; no way that it has walked becomes a circle
there, since a second visit would take the ids of the first; and no step ahead counts on an answer of one that the case
is past, and never asked. Who wants it otherwise calls the case off, and hands it in again.

Rejected: moving a case to another step (an effect would be lost or done twice); moving it while the questions of a
parallel or map step are out, unless the step is the very same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import replace

from aios.processors.cases.turn import step_of
from aios.processors.language import workflow_names
from aios.processors.language.workflow import Parallel, Workflow, closure
from aios.schemas.models import CaseRemembered
from aios.streams.expression import Expression


def migrated(state: CaseRemembered, before: Workflow, after: Workflow) -> CaseRemembered | str:
    """The case on its new version; a text says why it stays where it is."""
    if state.decided_at:
        return "it is decided"
    if after.workflow != before.workflow or after.input != before.input:
        return f"{after.reference} is no version of {before.workflow} that takes the same input"
    if after.version == before.version:
        return f"it runs on {before.reference} already"
    if circles := sorted(after.circles - before.circles):
        return f"steps lead in a circle in {after.reference} that do not in {before.reference}: {', '.join(circles)}"
    name = step_of(state.step)
    if name not in before.steps:  # before its first step
        if after.budget != before.budget:
            return f"it waits for its budget, which is another one in {after.reference}"
        return replace(state, workflow_version=after.version)
    if name not in after.steps:
        return f"it waits in {name}, which {after.reference} does not have"
    if _asks(before, name) != _asks(after, name):
        return f"it waits in {name}, which asks something else in {after.reference}"
    answered = json.loads(state.answers).keys()
    if missed := sorted(_missed(after, name, answered) - _missed(before, name, answered)):
        step, answer = missed[0]
        return f"{step} reads answers.{answer} in {after.reference}, which the case does not have and is past"
    return replace(state, workflow_version=after.version)


def _missed(workflow: Workflow, name: str, answered: Set[str]) -> set[tuple[str, str]]:
    """Steps that may come behind this one, and an answer that each reads as if it were there, which no step in between
    has to give.
    """
    edges, missed = workflow_names.ahead(workflow), set[tuple[str, str]]()
    parallels = {name: step.kind.of for name, step in workflow.steps.items() if isinstance(step.kind, Parallel)}
    givers = {branch: name for name, of in parallels.items() for branch in of}
    for step in closure(edges)[name]:
        for used in workflow_names.expressions(workflow, step):
            for answer in (workflow_names.reads(used.expression) or frozenset()) - answered:
                giver = givers.get(answer, answer)
                around = {one: targets - {giver} for one, targets in edges.items()}
                if giver != name and step in closure(around)[name] and not _asks_first(used.expression, answer):
                    missed.add((step, answer))
    return missed


def _asks_first(expression: Expression, answer: str) -> bool:
    """Whether it looks whether the answer is there."""
    return re.search(rf"\bhas\(\s*answers\.{answer}\b", expression.source) is not None


def _asks(workflow: Workflow, name: str) -> tuple[str, dict[str, str]]:
    """A step without its ways on, which may be others in the new version. Expressions are the same as their texts."""
    kind = workflow.steps[name].kind
    ways = {"then", "on_error", "on_expiry", "on_disagreement", "otherwise"}
    asked = {key: repr(value) for key, value in kind if key not in ways}
    return type(kind).__name__, asked | _constants(workflow, name)


def _constants(workflow: Workflow, name: str) -> dict[str, str]:
    """What the step's expressions read of the workflow's policy and labels, with their values."""
    found = {}
    for given, values in (("policy", workflow.policy), ("labels", workflow.labels)):
        for used in workflow_names.expressions(workflow, name):
            read = used.expression.reads.get(given, frozenset())
            for key in values if read is None else read & values.keys():
                found[f"{given}.{key}"] = repr(values[key])
    return found
