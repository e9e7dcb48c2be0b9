"""Moves an open case to another version of its workflow. Pure.

Enters: what is remembered of a case, the version it runs on and the one it is to run on. Leaves: the case on that
version, or one sentence why it cannot go. Guaranteed: nothing is asked again and nothing is answered twice: the case
stays in the step where it waits, and its command, timer and answers stay as they are; so that step must be there in the
new version, of the same kind and asking the same, by the same constants. How often it asks may be another: attempts are
counted on, so that no id is taken twice, as long as connectors look for all that may be sent (claims.py). No way that
it has walked becomes a circle there, since a second visit would take the ids of the first; no step ahead counts on an
answer of one that the case is past, and never asked, or asked something else; a case that must not decide alone finds
a person to ask there; and none that reserved nothing, since its version had no `budget`, goes to one that has, where a
limit is declared: it would spend there without a bound. A case that stays finishes on its version; who wants it
otherwise calls it off, and hands it in again.

Rejected: moving a case to another step (an effect would be lost or done twice); moving it while the questions of a
parallel or map step are out, unless the step is the very same; reserving in the middle of a case (the step in which it
waits would have to end before it is left).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from aios.processors.cases.branches import strands_of
from aios.processors.cases.turn import step_of
from aios.processors.language import autonomy, workflow_names
from aios.processors.language.part import Part
from aios.processors.language.questions import Call
from aios.processors.language.workflow import Map, Parallel, Wait, Workflow, again_of, asks, closure
from aios.schemas.models import CaseRemembered
from aios.streams.expression import Expression
from aios.streams.system_files import ATTEMPTS_MAX

WAYS = frozenset({"then", "on_error", "on_expiry", "on_disagreement", "otherwise"})  # on from a step: may be others
OFTEN = "attempts_max"  # how often it asks, and not what
ASKED = frozenset(
    {"task", "prompt", "input", "options", "labels"}
    | {"system", "operation", "request", "effect"}
    | {"over", "event", "choices", "people"}
)
"""Fields of a step that make its answer another one; the others: whom it asks, how long, and where it leads."""


def migrated(
    state: CaseRemembered, before: Workflow, after: Workflow, *, limited: bool = False
) -> CaseRemembered | str:
    """The case on its new version; a text says why it stays where it is.

    limited: whether a limit is declared for it now. One that began before that, on a version with a `budget`, may go:
    a limit holds for cases that begin once it is declared.
    """
    if state.decided_at:
        return "it is decided"
    if after.workflow != before.workflow or after.input != before.input:
        return f"{after.reference} is no version of {before.workflow} that takes the same input"
    if after.version == before.version:
        return f"it runs on {before.reference} already"
    if state.autonomy not in ("", autonomy.AUTO) and after.autonomy is None:
        return f"it must not decide alone, and {after.reference} names nobody to ask: it has no `autonomy`"
    if limited and not state.purse and before.budget is None and after.budget is not None:
        return f"it has reserved nothing, its tenant has a limit, and {after.reference} has a `budget`"
    if circles := sorted(after.circles - before.circles):
        return f"steps lead in a circle in {after.reference} that do not in {before.reference}: {', '.join(circles)}"
    name = step_of(state.step)
    if name not in before.steps:  # before its first step
        if after.budget != before.budget:
            return f"it waits for its budget, which is another one in {after.reference}"
        return replace(state, workflow_version=after.version)
    if name not in after.steps:
        return f"it waits in {name}, which {after.reference} does not have"
    if others := _differing(_asks(before, name), _asks(after, name)):
        return f"it waits in {name}, which asks something else in {after.reference}: {', '.join(others)}"
    if (most := _commands(state, after, name)) > ATTEMPTS_MAX:
        return f"it waits in {name}, of which {after.reference} may send {most} commands in all: {ATTEMPTS_MAX} at most"
    answered = json.loads(state.answers).keys()
    same = {answer for answer in answered if _question(before, answer) == _question(after, answer)}
    if missed := sorted(_missed(after, name, same, answered - same) - _missed(before, name, answered, frozenset())):
        step, answer = missed[0]
        other = f"answers another question in {before.reference}"
        why = other if answer in answered else "the case does not have and is past"
        return f"{step} reads answers.{answer} in {after.reference}, which {why}"
    return replace(state, workflow_version=after.version)


def _missed(workflow: Workflow, name: str, answered: Set[str], others: Set[str]) -> set[tuple[str, str]]:
    """Steps that may come behind this one, and an answer that each reads as if it were there, which no step in between
    has to give. others: answers that are there, to another question.
    """
    edges, missed = workflow_names.ahead(workflow), set[tuple[str, str]]()
    parallels = {name: step.kind.of for name, step in workflow.steps.items() if isinstance(step.kind, Parallel)}
    givers = {branch: name for name, of in parallels.items() for branch in of}
    for step in closure(edges)[name]:
        for used in workflow_names.expressions(workflow, step):
            for answer in (workflow_names.reads(used.expression) or frozenset()) - answered:
                giver = givers.get(answer, answer)
                around = {one: targets - {giver} for one, targets in edges.items()}
                first = answer not in others and _asks_first(used.expression, answer)
                if giver != name and step in closure(around)[name] and not first:
                    missed.add((step, answer))
    return missed


def _asks_first(expression: Expression, answer: str) -> bool:
    """Whether it looks whether the answer is there."""
    return re.search(rf"\bhas\(\s*answers\.{answer}\b", expression.source) is not None


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Places in the step of which the two do not say the same; of another kind of step, its kind alone."""
    if one["kind"] != other["kind"]:
        return ["kind"]
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _asks(workflow: Workflow, name: str) -> dict[str, str]:
    """A step without its ways on and how often it asks, by key. Expressions are the same as their texts."""
    kind = workflow.steps[name].kind
    parts = ((key, value) for key, value in kind if key not in WAYS)
    kept = {place: said for key, value in parts if key != OFTEN for place, said in _said(key, value)}
    return {"kind": type(kind).__name__.lower()} | kept | _constants(workflow, name)


def _said(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """What a part of a step says, each by its place in it."""
    if isinstance(value, Part):
        for key, each in value:
            if key != OFTEN:
                yield from _said(f"{place}.{key}", each)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _said(f"{place}.{key}", each)
    else:
        yield place, repr(value)


def _commands(state: CaseRemembered, after: Workflow, name: str) -> int:
    """How many a system may be sent there at most for this step, with those that it was sent before."""
    kind = after.steps[name].kind
    often = max((ask.attempts_max for ask in asks(kind) if isinstance(ask, Call)), default=0)
    times = again.times if (again := again_of(kind)) is not None else 0
    under_way = [(one.attempt, one.again) for one in strands_of(state) if not one.done]
    return max(_upto(*one, often, times) for one in under_way or [(state.attempt, state.again)]) if often else 0


def _question(workflow: Workflow, answer: str) -> dict[str, str]:
    """What an answer is one to: of a step, or of a branch; empty: nobody gives it."""
    found = dict[str, str]()
    for name, step in workflow.steps.items():
        match step.kind:
            case Parallel(of=of) if answer in of:
                found = _asked(of[answer].asks)
            case Map() as each if name == answer:
                found = _asked(each) | _asked(each.each.asks)
            case Wait() as wait if name == answer:
                found = _asked(wait) | {"examples": repr(workflow.examples.get(name))}
            case kind if name == answer:
                found = _asked(kind)
    return found


def _asked(part: Part) -> dict[str, str]:
    return {key: repr(value) for key, value in part if key in ASKED}


def _constants(workflow: Workflow, name: str) -> dict[str, str]:
    """What the step's expressions read of the workflow's policy and labels, with their values."""
    found = {}
    for given, values in (("policy", workflow.policy), ("labels", workflow.labels)):
        for used in workflow_names.expressions(workflow, name):
            read = used.expression.reads.get(given, frozenset())
            for key in values if read is None else read & values.keys():
                found[f"{given}.{key}"] = repr(values[key])
    return found


def _upto(attempt: int, again: int, often: int, times: int) -> int:
    """The last attempt of a call that stands at this one, and has been asked again so many times; as calling.py counts.

    often: commands each time; times: that it may be asked again in all.
    """
    last = max(attempt, often * (1 + again))
    for before in range(again + 1, times + 1):
        last = max(last + 1, often * (1 + before))
    return last
