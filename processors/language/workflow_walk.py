"""Runs a workflow's samples along every way, so that what contracts do not say is found before any event is. Pure.

In: a workflow whose names are right, and the contract of its input. Out: problems, each with its place. Guaranteed: an
expression is evaluated over every combination of answers that a later expression of its way tells apart (the corners of
what contracts allow, the workflow's own examples, failures, a person's silence), WAYS_MAX of them at each step, drawn
alike whoever checks. Two ways that differ in answers that nothing ahead reads are one, so that long workflows can be
walked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from aios.processors.language import policy_files, workflow_names, workflow_samples
from aios.processors.language.needs import (
    ANY,
    DECIDERS,
    LABELS,
    LIST,
    MOMENT,
    PEOPLE,
    PLAIN,
    PRIORITY,
    SHARE,
    TEXT,
    TRUTH,
    WHOLE,
    Need,
)
from aios.processors.language.questions import Call, Connect, Infer, Question
from aios.processors.language.workflow import (
    NOTED,
    Emit,
    Kind,
    Map,
    Parallel,
    Review,
    Rule,
    Wait,
    Workflow,
    asks,
    closure,
    may_act,
)
from aios.schemas import ids
from aios.streams import cel_tree, model_files
from aios.streams.errors import ConfigError
from aios.streams.expression import Expression, ExpressionError
from aios.streams.inputs import Input
from aios.streams.part import close_to

Place = tuple[str | int, ...]
LABELS_WALKED = 4  # of what a person may choose, beside those that an expression names
SAMPLE_MS = 1_772_366_400_000  # when samples arrive: 2026-03-01T12:00:00Z
WAYS_MAX = 60  # walked on from each step, for each sample
PERSONS = ("somebody", "another")
MIXED = re.compile(r"No such overload|float \S int|int \S float")  # in what the library says


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
    _words: frozenset[str] = frozenset()  # texts in its expressions

    def __post_init__(self) -> None:
        every = [
            one.expression for name in self.workflow.steps for one in workflow_names.expressions(self.workflow, name)
        ]
        literals = (node for one in every for node in cel_tree.parts(one.tree) if isinstance(node, cel_tree.Literal))
        self._words = frozenset(one.value for one in literals if one.kind == "text")
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
        visit = _Visit(way.step, view, who, self.problems, self.workflow.examples, self._words)
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


def _noted(step: Kind) -> list[str]:
    """Everything that its policies may note."""
    guards = [ask.guards.before for ask in asks(step) if isinstance(ask, Question)]
    policies = [policy_files.load(reference) for references in guards for reference in references]
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
    words: frozenset[str]

    def ways(self, kind: Kind) -> Iterator[Onward]:
        """Evaluate what the step evaluates, and yield every way on, also with what policies may note there."""
        noted = _noted(kind)
        for target, answer in self._ways(kind):
            yield target, answer
            if noted:
                yield target, {**(answer or {}), NOTED: sorted({*self.view[NOTED], *noted})}

    def _ways(self, kind: Kind) -> Iterator[Onward]:
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
                given: list[Any] = list(self.examples.get(name, ()))
            else:
                for key, value in ask.request.items():
                    self._value(value, ANY, *place, "request", key, view=view)
                found = workflow_samples.of_call(ask)
                given = workflow_samples.returned(ask, self.examples.get(name, ()))
        except ConfigError as error:
            where = ("steps", self.name, *place, "prompt" if isinstance(ask, Question) else "operation")
            self.problems.setdefault(where, str(error))
            return []
        return [*given, *found]

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
        for lost in (*({name} for name in every), set(every)):
            yield step.on_error.then, {name: found[0] for name, found in every.items() if found and name not in lost}

    def _map(self, step: Map) -> Iterator[Onward]:
        items = self._value(step.over, LIST, "map", "over")
        said: list[Any] = []
        for index, item in enumerate((items or [])[: step.items_max]):
            view = {**self.view, "item": item, "index": index}
            found = self._answers(self.name, step.each.asks, view, "map", "each", step.each.kind)
            said.append(found)
        for number in range(max(map(len, said), default=1)):
            yield step.then, {self.name: [found[number % len(found)] for found in said if found]}
        first = [found[0] for found in said if found]
        for lost in (*({index} for index in range(len(first))), set(range(len(first)))) if first else ():
            yield step.on_error.then, {self.name: [None if n in lost else one for n, one in enumerate(first)]}
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
        asked = 1 if step.people is None else self._value(step.people, PEOPLE, "review", "people") or len(PERSONS)
        said = {"suggestion": choices[0] if choices else ""}
        for label in self._chosen(choices or []):
            yield step.then, {self.name: {**said, **_decided(step, [label] * asked), "label": label}}
        if step.on_disagreement is not None and choices:
            both = _decided(step, [choices[0], choices[-1]])
            yield step.on_disagreement.then, {self.name: {**said, **both, "label": ""}}
        yield step.on_expiry.then, None

    def _chosen(self, choices: Sequence[str]) -> list[str]:
        """Of what a person may choose, each that an expression names: it may lead elsewhere; and some others."""
        named = [label for label in choices if label in self.words]
        others = [label for label in choices if label not in self.words]
        return named + others[: max(0, LABELS_WALKED - len(named))]

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
            mixed = "; whole and broken numbers do not mix: double(n), 1.0" if MIXED.search(str(error)) else ""
            self.problems.setdefault(place, f"{error}{mixed} ({self.who})")
            return None
        if need.fits(found):
            return found
        says = f"`{expression.source}` gives {type(found).__name__} where {need.what} is needed ({self.who})"
        self.problems.setdefault(place, says)
        return None


def _decided(step: Review, labels: Sequence[str]) -> dict[str, Any]:
    """Who decided, by the labels that each of them chose."""
    names = PERSONS[: len(labels)]
    every = {} if step.people is None else {"reviewers": list(names), "labels": list(labels)}
    return {"reviewer": "+".join(names), **every}


def _is_written(text: str, expression: Expression) -> bool:
    """Whether the expression says it, and not what was made up for an answer that it reads."""
    return f"'{text}'" in expression.source or f'"{text}"' in expression.source
