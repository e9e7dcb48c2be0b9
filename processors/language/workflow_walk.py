"""Runs a workflow's samples along every way, so that what contracts do not say is found before any event is. Pure.

In: a workflow whose names are right, and the contract of its input. Out: problems, each with its place. Guaranteed: an
expression is evaluated over every combination of answers that a later expression of its way tells apart (the corners of
what contracts allow, the workflow's own examples, failures, a person's silence), WAYS_MAX of them at each step, drawn
alike whoever checks. Two ways that differ in answers that nothing ahead reads are one, so that long workflows can be
walked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from aios.processors.language import policy_files, workflow_names, workflow_samples
from aios.processors.language.workflow import (
    NOTED,
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
    closure,
    may_act,
)
from aios.schemas import ids
from aios.streams import model_files
from aios.streams.errors import ConfigError
from aios.streams.expression import Expression, ExpressionError
from aios.streams.inputs import Input
from aios.streams.part import close_to
from aios.streams.slots import PRIORITY_MAX

Place = tuple[str | int, ...]
LABELS_WALKED = 4  # of what a person may choose
SAMPLE_MS = 1_772_366_400_000  # when samples arrive: 2026-03-01T12:00:00Z
WAYS_MAX = 60  # walked on from each step, for each sample
MOMENT_MS_MIN = 10**11  # 1973; as seconds the year 5138


def walk(workflow: Workflow, taken: Input) -> list[tuple[Place, str]]:
    """Everything that is wrong. taken: the contract of the workflow's input."""
    found = _Walk(workflow)
    for number, partial in enumerate(workflow.samples):
        found.run(taken.of_case(taken.complete(partial), SAMPLE_MS), f"sample {number + 1}")
    unreached: list[tuple[Place, str]] = [
        (("steps", name), f"no sample reaches step {name}: add one to `samples` or `examples`, or remove the step")
        for name in workflow.steps
        if name not in found.reached
    ]
    return list(found.problems.items()) or unreached


class Need(NamedTuple):
    """What a value must be at its place."""

    what: str
    fits: Callable[[Any], bool]


TEXT = Need("a text", lambda v: isinstance(v, str))
DECIDERS = Need(
    "'policy', 'timer' or 'reviewer:' with a name",
    lambda v: v in ("policy", "timer") or (isinstance(v, str) and v.startswith("reviewer:") and v != "reviewer:"),
)
TRUTH = Need("true or false", lambda v: isinstance(v, bool))
SHARE = Need("a number from 0 to 1", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1)
PLAIN = Need("a text, number or truth value", lambda v: isinstance(v, str | int | float | bool))
MOMENT = Need("a time in Unix ms, of 13 digits,", lambda v: isinstance(v, int) and v >= MOMENT_MS_MIN)
WHOLE = Need("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
PRIORITY = Need(
    f"a whole number from {-PRIORITY_MAX} to {PRIORITY_MAX}",
    lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) <= PRIORITY_MAX,
)
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


class Way(NamedTuple):
    """A case on its way into a step. said: the answers so far. asked: a person was, because of its autonomy."""

    step: str
    said: Mapping[str, Any]
    asked: bool = False


@dataclass(slots=True)
class _Walk:
    """All that can happen to the samples."""

    workflow: Workflow
    reached: set[str] = field(default_factory=set)
    problems: dict[Place, str] = field(default_factory=dict)  # the first one of each place
    _read: dict[str, frozenset[str] | None] = field(default_factory=dict)  # answers that a step, or what follows, reads

    def __post_init__(self) -> None:
        leads = closure(workflow_names.ahead(self.workflow))
        own = {name: self._reads(name) for name in self.workflow.steps}
        for name in self.workflow.steps:
            self._read[name] = _union([own[each] for each in (name, *leads[name])])

    def _reads(self, name: str) -> frozenset[str] | None:
        return _union([workflow_names.reads(one.expression) for one in workflow_names.expressions(self.workflow, name)])

    def run(self, sample: Mapping[str, Any], who: str) -> None:
        """who: the sample's name."""
        starts = [self.workflow.start]
        if self.workflow.budget is not None:
            starts.append(self.workflow.budget.on_denied.then)
        draw = Random(0)  # noqa: S311 - the same ways whoever checks
        left = [Way(name, {}) for name in starts]
        walked: dict[str, int] = {}
        seen: set[tuple[str, bool, str]] = set()
        while left:
            at = draw.randrange(len(left))
            left[at], left[-1] = left[-1], left[at]
            way = left.pop()
            key = (way.step, way.asked, self._told_apart(way))
            if key in seen or walked.get(way.step, 0) >= WAYS_MAX:
                continue
            seen.add(key)
            walked[way.step] = walked.get(way.step, 0) + 1
            left += self._onward(way, sample, who)

    def _told_apart(self, way: Way) -> str:
        """What a step, or one behind it, can see of a way."""
        read = self._read[way.step]
        seen = {name: said for name, said in way.said.items() if self._tells(name, read)}
        return ids.canonical(seen)

    def _tells(self, name: str, read: frozenset[str] | None) -> bool:
        return read is None or name in read or name == NOTED or self._is_review(name)

    def _is_review(self, name: str) -> bool:
        step = self.workflow.steps.get(name)
        return self.workflow.autonomy is not None and step is not None and step.review is not None

    def _onward(self, way: Way, sample: Mapping[str, Any], who: str) -> list[Way]:
        self.reached.add(way.step)
        kind = self.workflow.steps[way.step].kind
        view = self.workflow.view(sample, way.said)
        visit = _Visit(way.step, view, who, self.problems, self.workflow.examples)
        found = [
            Way(target, way.said if answer is None else {**way.said, **answer}, way.asked)
            for target, answer in visit.ways(kind)
        ]
        if self._stopped(way, kind, view):
            found += [Way(self.workflow.autonomy.ask, way.said, asked=True)] if self.workflow.autonomy else []
        return found

    def _stopped(self, way: Way, kind: Kind, view: Mapping[str, Any]) -> bool:
        """Whether a case that must not decide alone asks a person here; noted where it was asked before."""
        if self.workflow.autonomy is None or not may_act(kind):
            return False
        if any(self._is_review(name) and said.get("label") for name, said in way.said.items()):
            return False
        if isinstance(kind, Emit) and self._by_person(kind, way, view):
            return False
        if way.asked:
            says = f"where nobody decides, step {way.step} would be done alone: end such cases with status expired"
            self.problems.setdefault(("autonomy", "ask"), says)
        return not way.asked

    def _by_person(self, step: Emit, way: Way, view: Mapping[str, Any]) -> bool:
        """As course.py has it."""
        people = [said["reviewer"] for name, said in way.said.items() if self._is_review(name)]
        try:
            return step.decided_by.evaluate(view) in [f"reviewer:{one}" for one in people]
        except ExpressionError:
            return True  # noted where it is evaluated


def _union(every: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """All of them; None where one is unknown."""
    known = [one for one in every if one is not None]
    return frozenset().union(*known) if len(known) == len(every) else None


def _noted(ask: Question) -> list[str]:
    """Everything that its policies may note."""
    policies = [policy_files.load(reference) for reference in ask.guards.before]
    return [f"{one.policy}.{name}" for one in policies for name, rule in one.rules.items() if rule.then == "note"]


Onward = tuple[str, Mapping[str, Any] | None]
"""The next step, and what was answered, by name (None: nothing)."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """One sample at one step."""

    name: str
    view: Mapping[str, Any]
    who: str
    problems: dict[Place, str]
    examples: Mapping[str, tuple[Any, ...]]

    def ways(self, kind: Kind) -> Iterator[Onward]:
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

    def _ask(self, step: Infer | Connect) -> Iterator[Onward]:
        for answer in self._answers(self.name, step, self.view, type(step).__name__.lower()):
            yield step.then, {self.name: answer}
            if isinstance(step, Question) and (noted := _noted(step)):
                yield step.then, {self.name: answer, NOTED: noted}
        yield step.on_error.then, None

    def _answers(self, name: str, ask: Question | Call, view: Mapping[str, Any], *place: str | int) -> list[Any]:
        """What may be said; none after noting that whoever is asked is not there. name: of the answer."""
        try:
            if isinstance(ask, Question):
                self._value(ask.input, TEXT, *place, "input", view=view)
                for key, option in ask.options.items():
                    said = self._value(option, PLAIN, *place, "options", key, view=view)
                    if key == "head" and said is not None:
                        self._head(ask.model, said, *place, "options", key)
                if ask.priority is not None:
                    self._value(ask.priority, PRIORITY, *place, "priority", view=view)
                labels = None if ask.labels is None else self._value(ask.labels, LABELS, *place, "labels", view=view)
                found: list[Any] = workflow_samples.of_question(ask, labels[0] if labels else "label")
            else:
                for key, value in ask.request.items():
                    self._value(value, ANY, *place, "request", key, view=view)
                found = workflow_samples.of_call(ask)
        except ConfigError as error:
            where = ("steps", self.name, *place, "prompt" if isinstance(ask, Question) else "operation")
            self.problems.setdefault(where, str(error))
            return []
        return [*self.examples.get(name, ()), *found]

    def _head(self, model: str, said: Any, *place: str | int) -> None:
        """Note a head that the model lacks: as it is named, or in its newest version."""
        reference = model if "@" in model else model_files.reference(model)
        known = model_files.heads(reference)
        if said not in known:
            says = f"{reference} has no head {said}{close_to(str(said), list(known))} ({self.who})"
            self.problems.setdefault(("steps", self.name, *place), says)

    def _parallel(self, step: Parallel) -> Iterator[Onward]:
        every = {
            name: self._answers(name, one.asks, self.view, "parallel", "of", name, one.kind)
            for name, one in step.of.items()
        }
        for number in range(max(map(len, every.values()))):
            yield step.then, {name: found[number % len(found)] for name, found in every.items() if found}
        yield step.on_error.then, {name: found[0] for name, found in list(every.items())[1:] if found}

    def _map(self, step: Map) -> Iterator[Onward]:
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

    def _wait(self, step: Wait) -> Iterator[Onward]:
        if step.until is not None:
            self._value(step.until, WHOLE if step.until.names else MOMENT, "wait", "until")
        for key, value in step.says.items():
            self._value(value, ANY, "wait", "says", key)
        if step.then is not None:
            for body in self.examples.get(self.name, ({},)):
                yield step.then, {self.name: body}
        yield step.on_expiry.then, None

    def _rule(self, step: Rule) -> Iterator[Onward]:
        for number, row in enumerate(step.first_of):
            held = self._value(row.when, TRUTH, "rule", "first_of", number, "when")
            if held is None:
                return
            if held:
                yield row.then, None
                return
        yield step.otherwise.then, None

    def _review(self, step: Review) -> Iterator[Onward]:
        suggestion = self._value(step.suggestion, TEXT, "review", "suggestion")
        self._value(step.confidence, SHARE, "review", "confidence")
        self._value(step.out_of_scope, SHARE, "review", "out_of_scope")
        choices = self._value(step.choices, LABELS, "review", "choices")
        if suggestion and choices and suggestion not in choices and _is_written(suggestion, step.suggestion):
            says = f"{suggestion} is none of the choices{close_to(suggestion, choices)} ({self.who})"
            self.problems.setdefault(("steps", self.name, "review", "suggestion"), says)
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

    def _emit(self, step: Emit) -> Iterator[Onward]:
        by = self._value(step.decided_by, DECIDERS, "emit", "decided_by")
        if by == "timer" and step.status != "expired":
            says = f"what the timer decides has status expired, not {step.status} ({self.who})"
            self.problems.setdefault(("steps", self.name, "emit", "decided_by"), says)
        for key, expression, need in (
            ("channel", step.channel, TEXT),
            ("label", step.label, TEXT),
            ("confidence", step.confidence, SHARE),
            ("summary", step.summary, TEXT),
            ("joined_to", step.joined_to, TEXT),
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
            self.problems.setdefault(place, f"{error} ({self.who})")
            return None
        if need.fits(found):
            return found
        says = f"`{expression.source}` gives {type(found).__name__} where {need.what} is needed ({self.who})"
        self.problems.setdefault(place, says)
        return None


def _is_written(text: str, expression: Expression) -> bool:
    """Whether the expression says it, and not what was made up for an answer that it reads."""
    return f"'{text}'" in expression.source or f'"{text}"' in expression.source
