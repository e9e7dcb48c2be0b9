"""Runs a workflow's samples through every path, so that a wrong name or type is found before any event is.

In: a Workflow that is well formed. Out: problems, each with its place in the file. Guaranteed when there are
none: every jump leads to a step, there is no cycle, every step was reached by a sample, and every expression
on the way gave a value of the type its place needs. A model's answers are taken from the corners of what its
contract allows, its failure and a person's silence included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.processors import workflow_samples
from aios.processors.part import close_to
from aios.processors.workflow import (
    Call,
    Connect,
    Emit,
    Infer,
    Kind,
    Map,
    Parallel,
    Question,
    Review,
    Rule,
    Wait,
    Workflow,
)
from aios.schemas import ids
from aios.streams.errors import ConfigError
from aios.streams.expression import Expression, ExpressionError
from aios.streams.inputs import Input

Place = tuple[str | int, ...]
LABELS_WALKED = 4  # of what a person may choose
SAMPLE_MS = 1_772_366_400_000  # when samples arrive: 2026-03-01T12:00:00Z
RUNS_MAX = 20_000  # steps walked in one check; more means a graph nobody can read


@dataclass(frozen=True, slots=True)
class Problem:
    """place: keys from the file's root."""

    place: Place
    says: str


def check(workflow: Workflow, taken: Input) -> list[Problem]:
    """Everything that is wrong; empty: the workflow may run. taken: the contract of its input."""
    problems = [*_jumps(workflow), *_samples(workflow, taken)]
    if problems or (problems := _cycle(workflow)):
        return problems
    walk = _Walk(workflow)
    for number, partial in enumerate(workflow.samples):
        sample = taken.of_case(taken.complete(partial), SAMPLE_MS)
        walk.run(workflow.start, sample, {}, f"sample {number + 1}")
        if workflow.budget is not None:
            walk.run(workflow.budget.on_denied.then, sample, {}, f"sample {number + 1}")
    unreached = [
        Problem(("steps", name), f"no sample reaches step {name}: add one to `samples`, or remove the step")
        for name in workflow.steps
        if name not in walk.reached
    ]
    return list(walk.problems.values()) or unreached


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


class Need(NamedTuple):
    """What a value must be at its place."""

    what: str
    fits: Callable[[Any], bool]


TEXT = Need("a text", lambda v: isinstance(v, str))
TRUTH = Need("true or false", lambda v: isinstance(v, bool))
SHARE = Need("a number from 0 to 1", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1)
PLAIN = Need("a text, number or truth value", lambda v: isinstance(v, str | int | float | bool))
WHOLE = Need("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
PEOPLE = Need("1 or 2", lambda v: isinstance(v, int) and not isinstance(v, bool) and v in (1, 2))
LIST = Need("a list", lambda v: isinstance(v, list))
LABELS = Need(
    "a list of labels",
    lambda v: isinstance(v, list) and bool(v) and all(isinstance(label, str) and label for label in v),
)


def _is_json(value: Any) -> bool:
    try:
        ids.canonical(value)
    except (TypeError, ValueError):
        return False
    return True


ANY = Need("a JSON value", _is_json)


@dataclass(slots=True)
class _Walk:
    """Depth first over all that can happen to the samples."""

    workflow: Workflow
    reached: set[str] = field(default_factory=set)
    problems: dict[Place, Problem] = field(default_factory=dict)  # the first one of each place
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    runs: int = 0

    def run(self, name: str, sample: Mapping[str, Any], said: Mapping[str, Any], who: str) -> None:
        """said: the answers so far. who: the sample's name."""
        self.reached.add(name)
        self.runs += 1
        if self.runs > RUNS_MAX:
            self.problems["steps",] = Problem(("steps",), f"more than {RUNS_MAX} ways through: split the workflow")
            return
        key = (name, ids.canonical(said), who)
        if key in self.seen:
            return
        self.seen.add(key)
        visit = _Visit(name, self.workflow.view(sample, said), who, self.problems, self.workflow.examples)
        for target, answer in visit.ways(self.workflow.steps[name].kind):
            self.run(target, sample, said if answer is None else {**said, **answer}, who)


Way = tuple[str, Mapping[str, Any] | None]
"""The next step, and what the step answered (None: nothing)."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """One sample at one step."""

    name: str
    view: Mapping[str, Any]
    who: str
    problems: dict[Place, Problem]
    examples: Mapping[str, tuple[Any, ...]]

    def ways(self, kind: Kind) -> Iterator[Way]:
        """Evaluate what the step evaluates, and yield every way on."""
        match kind:
            case Question() | Call():
                return self._ask(kind)
            case Parallel():
                return self._parallel(kind)
            case Map():
                return self._map(kind)
            case Wait():
                return self._wait(kind)
            case Rule():
                return self._rule(kind)
            case Review():
                return self._review(kind)
            case Emit():
                return self._emit(kind)

    def _ask(self, step: Infer | Connect) -> Iterator[Way]:
        for answer in self._answers(self.name, step, self.view, type(step).__name__.lower()):
            yield step.then, {self.name: answer}
        yield step.on_error.then, None

    def _answers(self, name: str, ask: Question | Call, view: Mapping[str, Any], *place: str | int) -> list[Any]:
        """What may be said; none after noting that whoever is asked is not there. name: of the answer."""
        try:
            if isinstance(ask, Question):
                self._value(ask.input, TEXT, *place, "input", view=view)
                for key, option in ask.options.items():
                    self._value(option, PLAIN, *place, "options", key, view=view)
                labels = None if ask.labels is None else self._value(ask.labels, LABELS, *place, "labels", view=view)
                found: list[Any] = workflow_samples.of_question(ask, labels[0] if labels else "label")
            else:
                for key, value in ask.request.items():
                    self._value(value, ANY, *place, "request", key, view=view)
                found = workflow_samples.of_call(ask)
        except ConfigError as error:
            where = ("steps", self.name, *place, "prompt" if isinstance(ask, Question) else "operation")
            self.problems.setdefault(where, Problem(where, str(error)))
            return []
        return [*self.examples.get(name, ()), *found]

    def _parallel(self, step: Parallel) -> Iterator[Way]:
        every = {
            name: self._answers(name, one.asks, self.view, "parallel", "of", name, one.kind)
            for name, one in step.of.items()
        }
        for number in range(max(map(len, every.values()))):
            yield step.then, {name: found[number % len(found)] for name, found in every.items() if found}
        yield step.on_error.then, {name: found[0] for name, found in list(every.items())[1:] if found}

    def _map(self, step: Map) -> Iterator[Way]:
        items = self._value(step.over, LIST, "map", "over")
        said: list[Any] = []
        for index, item in enumerate((items or [])[: step.items_max]):
            view = {**self.view, "item": item, "index": index}
            found = self._answers(self.name, step.each.asks, view, "map", "each", step.each.kind)
            said.append(found)
        for number in range(max(map(len, said), default=1)):
            yield step.then, {self.name: [found[number % len(found)] for found in said if found]}
        yield step.on_error.then, {self.name: [None, *(found[0] for found in said[1:] if found)]}
        yield step.on_error.then, None

    def _wait(self, step: Wait) -> Iterator[Way]:
        if step.until is not None:
            self._value(step.until, WHOLE, "wait", "until")
        for key, value in step.says.items():
            self._value(value, ANY, "wait", "says", key)
        if step.then is not None:
            for body in self.examples.get(self.name, ({},)):
                yield step.then, {self.name: body}
        yield step.on_expiry.then, None

    def _rule(self, step: Rule) -> Iterator[Way]:
        for number, row in enumerate(step.first_of):
            held = self._value(row.when, TRUTH, "rule", "first_of", number, "when")
            if held is None:
                return
            if held:
                yield row.then, None
                return
        yield step.otherwise.then, None

    def _review(self, step: Review) -> Iterator[Way]:
        self._value(step.suggestion, TEXT, "review", "suggestion")
        self._value(step.confidence, SHARE, "review", "confidence")
        self._value(step.out_of_scope, SHARE, "review", "out_of_scope")
        choices = self._value(step.choices, LABELS, "review", "choices")
        for key, value in step.evidence.items():
            self._value(value, ANY, "review", "evidence", key)
        if step.people is not None:
            self._value(step.people, PEOPLE, "review", "people")
        said = {"reviewer": "somebody", "suggestion": choices[0] if choices else ""}
        if step.people is not None:
            said |= {"reviewer": "somebody+another", "reviewers": ["somebody", "another"]}
        for label in (choices or [])[:LABELS_WALKED]:
            both = {} if step.people is None else {"labels": [label, label]}
            yield step.then, {self.name: {**said, **both, "label": label}}
        if step.on_disagreement is not None and choices:
            yield step.on_disagreement.then, {self.name: {**said, "label": "", "labels": [choices[0], choices[-1]]}}
        yield step.on_expiry.then, None

    def _emit(self, step: Emit) -> Iterator[Way]:
        self._value(step.decided_by, TEXT, "emit", "decided_by")
        for key, expression, need in (
            ("channel", step.channel, TEXT),
            ("label", step.label, TEXT),
            ("confidence", step.confidence, SHARE),
            ("summary", step.summary, TEXT),
        ):
            if expression is not None:
                self._value(expression, need, "emit", key)
        for key, value in step.output.items():
            self._value(value, ANY, "emit", "output", key)
        return iter(())

    def _value(
        self, expression: Expression, need: Need, *inside: str | int, view: Mapping[str, Any] | None = None
    ) -> Any:
        """The value, or None after noting what is wrong."""
        place = ("steps", self.name, *inside)
        try:
            found = expression.evaluate(self.view if view is None else view)
        except ExpressionError as error:
            self.problems.setdefault(place, Problem(place, f"{error} ({self.who})"))
            return None
        if need.fits(found):
            return found
        says = f"`{expression.source}` gives {type(found).__name__} where {need.what} is needed ({self.who})"
        self.problems.setdefault(place, Problem(place, says))
        return None
