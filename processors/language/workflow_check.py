"""Whether a workflow may run: everything that is wrong with it, before any event is.

In: a Workflow that is well formed, and the contract of its input. Out: problems, each with its place in the file.
Guaranteed when there are none: every jump leads to a step; steps lead in a circle through a wait for an event alone;
names and types meet their contracts (workflow_names.py); every step was reached by a sample, and every expression on
the way gave a value of the type its place needs (workflow_walk.py); where nobody decides in time, a case that must not
decide alone acts nowhere, and what it is stopped before can follow from what a person decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aios.processors.language import workflow_names, workflow_walk
from aios.processors.language.questions import Call
from aios.processors.language.workflow import (
    NOTED,
    Emit,
    Parallel,
    Review,
    Rule,
    Wait,
    Workflow,
    again_of,
    asks,
    closure,
    has_effect,
)
from aios.streams.inputs import Input
from aios.streams.part import close_to
from aios.streams.system_files import ATTEMPTS_MAX

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """place: keys from the file's root."""

    place: Place
    says: str


def check(workflow: Workflow, taken: Input, *, kept: bool = False) -> list[Problem]:
    """Everything that is wrong; empty: the workflow may run. taken, kept: as wrong_names has them."""
    if problems := form(workflow, taken) or list(_unread(workflow)):
        return problems
    named = [Problem(place, says) for place, says in workflow_names.wrong_names(workflow, taken, kept=kept)]
    if named:
        return named
    walked = [Problem(place, says) for place, says in workflow_walk.walk(workflow, taken)]
    return [*_out_of_reach(workflow), *walked]


def form(workflow: Workflow, taken: Input) -> list[Problem]:
    """What is wrong with its steps as such: quickly told, and enough for a file that was checked when it came."""
    problems = [
        *_jumps(workflow),
        *_samples(workflow, taken),
        *_answers(workflow),
        *_autonomy(workflow),
        *_again(workflow),
    ]
    return problems or _cycle(workflow)


def _jumps(workflow: Workflow) -> Iterator[Problem]:
    known = list(workflow.steps)
    if workflow.start not in workflow.steps:
        yield Problem(("start",), f"there is no step {workflow.start}{close_to(workflow.start, known)}")
    if workflow.budget is not None and workflow.budget.on_denied.then not in workflow.steps:
        target = workflow.budget.on_denied.then
        yield Problem(("budget", "on_denied", "then"), f"there is no step {target}{close_to(target, known)}")
    for name, step in workflow.steps.items():
        for place, target in step.jumps():
            if target not in workflow.steps:
                yield Problem(("steps", name, *place), f"there is no step {target}{close_to(target, known)}")


def _samples(workflow: Workflow, taken: Input) -> Iterator[Problem]:
    known = sorted(one["name"] for one in taken.business)
    for number, sample in enumerate(workflow.samples):
        unknown = [key for key in sample if key not in known]
        for key in unknown:
            yield Problem(("samples", number, key), f"{taken.contract} has no field {key}{close_to(key, known)}")
        if not unknown and (wrong := taken.wrong(sample)):
            yield Problem(("samples", number), wrong)


def _cycle(workflow: Workflow) -> list[Problem]:
    """Steps are left for good, but through a wait for an event: a case must end in a bounded number of turns."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> Problem | None:
        if name in path:
            return Problem(("steps", name), f"steps lead in a circle: {' → '.join((*path[path.index(name) :], name))}")
        if name in done:
            return None
        for place, target in workflow.steps[name].jumps():
            if place == ("wait", "then"):
                continue
            if (found := visit(target, (*path, name))) is not None:
                return found
        done.add(name)
        return None

    starts = (workflow.start, *((workflow.budget.on_denied.then,) if workflow.budget is not None else ()))
    return [found for start in starts if (found := visit(start, ())) is not None][:1]


def _answers(workflow: Workflow) -> Iterator[Problem]:
    """Answers have the names of steps and of branches, so these differ; and examples are those of one."""
    names = {*workflow.steps, NOTED}
    if NOTED in workflow.steps:
        yield Problem(("steps", NOTED), f"{NOTED} is what policies noted: rename this step")
    for name, step in workflow.steps.items():
        for branch in step.kind.of if isinstance(step.kind, Parallel) else ():
            if branch in names:
                yield Problem(("steps", name, "parallel", "of", branch), f"there is another {branch}: rename one")
            names.add(branch)
    for name in workflow.examples:
        if name not in names:
            yield Problem(("examples", name), f"there is no step {name}{close_to(name, sorted(names))}")


def _unread(workflow: Workflow) -> Iterator[Problem]:
    """Examples that nothing is tried with."""
    for name in workflow.examples:
        match workflow.steps[name].kind if name in workflow.steps else None:
            case Review():
                yield Problem(("examples", name), f"what is tried of {name} is each of its choices, and no example")
            case Parallel() as step:
                yield Problem(("examples", name), f"{name} is answered by branch{close_to(name, list(step.of))}")
            case Rule() | Emit() | Wait(event=None):
                yield Problem(("examples", name), f"step {name} is answered nothing")


def _autonomy(workflow: Workflow) -> Iterator[Problem]:
    if workflow.autonomy is None:
        return
    ask = workflow.autonomy.ask
    reviews = [name for name, step in workflow.steps.items() if isinstance(step.kind, Review)]
    if ask not in reviews:
        yield Problem(("autonomy", "ask"), f"there is no review step {ask}{close_to(ask, reviews)}")


def _out_of_reach(workflow: Workflow) -> Iterator[Problem]:
    """What a case that must not act alone is stopped before, and what a person decides there never leads to."""
    if workflow.autonomy is None:
        return
    ask = workflow.autonomy.ask
    behind = closure(workflow_names.ahead(workflow))[ask]
    for name, step in workflow.steps.items():
        if name in workflow.undecided and name not in behind and has_effect(step.kind):
            says = f"a case that must not act alone is stopped before {name}, and what {ask} decides never leads there"
            yield Problem(("autonomy", "ask"), f"{says}: it could never do it")


def _again(workflow: Workflow) -> Iterator[Problem]:
    """What is done once at most is not asked again; nor are more commands sent than connectors look for (claims.py)."""
    for name, step in workflow.steps.items():
        kind = step.kind
        if (again := again_of(kind)) is None:
            continue
        place = ("steps", name, type(kind).__name__.lower(), "on_error", "again")
        calls = [one for one in asks(kind) if isinstance(one, Call)]
        if any(one.effect == "at_most_once" for one in calls):
            yield Problem(place, "what has the effect at_most_once is not asked again")
        elif (most := max((one.attempts_max for one in calls), default=0) * (1 + again.times)) > ATTEMPTS_MAX:
            says = f"attempts_max {most // (1 + again.times)}, {1 + again.times} times, is {most} commands"
            yield Problem((*place, "times"), f"{says}: {ATTEMPTS_MAX} at most")
