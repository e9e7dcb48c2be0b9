"""The language of workflows: what a file in workflows/ may say, and what a loaded workflow is.

In: YAML files, `<name>.yaml` for the newest version of a workflow and `<name>@<version>.yaml` for older ones
that cases may still run on. Out: frozen Workflow values. Guaranteed: a workflow that loads has no unknown or
doubled key, no step that nothing leads to, no circle but through a wait for an event (and that bounded), and every
expression was checked against the contracts and evaluated over samples (workflow_check.py).

A step has exactly one kind:

    infer      asks a model                     parallel   asks several models and systems at the same time
    connect    asks an outside system           map        asks the same of each item of a list
    rule       chooses where to go              wait       for an event that the case is told, or for a time
    review     asks a person, or two            emit       ends the case

Values marked CEL are expressions over

    input    the event's business fields
    answers  by step: what the model (label, confidence, out_of_scope; or text, object, choice or vector: answers.py),
             the system (its operation's response) or the person (label, reviewer, suggestion) said, or the event
    policy   the workflow's own constants, such as thresholds; changing one is a new version
    labels   the workflow's lists of labels
    noted    what policies noted of the texts that were read so far: policy and rule, `urgent.deadline`
    item, index   inside `each` of a map

Models and prompts are named, never by address: with a version, or without one, which asks for the version that is
active when the case first comes there (active.py). Rejected: steps as a list with implied order (a jump would hide in
it); Python as configuration (cannot be validated before it runs); a retry written as steps (`on_error` has `again`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from aios.processors.language.head import Allowance, Autonomy, Objectives, SignedOff
from aios.processors.language.part import Again, Cel, Jump, OnError, Part, Word
from aios.processors.language.questions import Branch, Call, Connect, Infer, Question
from aios.streams.part import INPUT, WORKFLOW

STEPS_MAX = 100
NOTED = "noted"  # a place among the answers that no step may have
BRANCHES_MAX = 10  # of one parallel step
ITEMS_MAX = 50  # of one map step
ROUNDS_MAX = 100  # of one wait step
WAIT_S_MAX = 400 * 86_400


class Parallel(Part):
    """Ask several at the same time, each again by itself, and go on when all have come: to on_error if one of them
    failed. What each said is the answer of its name.
    """

    status: Word
    of: Annotated[Mapping[Word, Branch], Field(min_length=2, max_length=BRANCHES_MAX)]
    then: Word
    on_error: OnError


class Map(Part):
    """Ask the same of each item of a list at the same time, each again by itself, and go on when all have come: to
    on_error if one of them failed, or there are too many items to ask any. The answer is the list of answers, in the
    order of the items; null stands in the place of one that failed. `each` sees `item` and `index`, counted from 0.
    """

    status: Word
    over: Cel
    items_max: Annotated[int, Field(ge=1, le=ITEMS_MAX)]
    each: Branch
    then: Word
    on_error: OnError


class Row(Jump):
    """One row of a rule."""

    when: Cel


class Rule(Part):
    """A decision table, first hit: the first row whose `when` holds leads on, else `otherwise`."""

    first_of: Annotated[tuple[Row, ...], Field(min_length=1, max_length=50)]
    otherwise: Jump

    def choose(self, view: Mapping[str, Any]) -> Jump:
        """Raises ExpressionError."""
        return next((row for row in self.first_of if row.when.evaluate(view) is True), self.otherwise)


class Review(Part):
    """Ask a person; the first valid decision wins; without one in time the case goes to on_expiry.

    Where two are asked (`people`), they are two principals, the second does not see what the first said, and unless
    they agree the case goes to on_disagreement: whoever is asked there is neither of them.
    """

    status: Word
    suggestion: Cel
    confidence: Cel
    out_of_scope: Cel
    choices: Cel  # the labels that may be chosen
    expires_h: Annotated[int, Field(ge=1, le=30 * 24)]  # for each person
    minutes: Annotated[float, Field(ge=0, le=480)] = 0.0  # a person is assumed to take; priced, not measured
    people: Cel | None = None  # 1 or 2; without: 1
    on_disagreement: Jump | None = None
    skills: Word | None = None  # what the person must be able to do
    evidence: Mapping[Word, Cel] = {}  # what the person sees beside the input
    then: Word
    on_expiry: Jump

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.people is None) != (self.on_disagreement is None):
            raise ValueError("`people` and `on_disagreement` belong together: two may disagree")
        return self


class Wait(Part):
    """Wait for an event that the case is told (case.told.v1, of this kind), for a time at most. Its body is the answer.

    A circle of steps leads through the `then` of a wait, at most rounds_max times; in the round after these the case
    listens to the clock alone.
    """

    status: Word
    event: Word | None = None  # without: only for the time
    until: Cel | None = None  # Unix ms; or
    for_s: Annotated[int, Field(ge=1, le=WAIT_S_MAX)] | None = None
    rounds_max: Annotated[int, Field(ge=1, le=ROUNDS_MAX)] = 1
    says: Mapping[Word, Cel] = {}  # shown with the status while it waits
    answers_caller: bool = False  # who waits for the case is given this
    then: Word | None = None
    on_expiry: Jump

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (self.until is None) == (self.for_s is None):
            raise ValueError("a wait has `until` (CEL, Unix ms) or `for_s`")
        if (self.event is None) != (self.then is None):
            raise ValueError("`event` and `then` belong together: without an event a wait ends by on_expiry")
        return self


class Emit(Part):
    """End the case with its one decision."""

    status: Literal["decided", "expired"]
    outcome: Word
    decided_by: Cel  # 'policy', 'reviewer:<name>' or 'timer'
    channel: Cel | None = None
    label: Cel | None = None
    confidence: Cel | None = None
    summary: Cel | None = None
    output: Mapping[Word, Cel] = {}  # what else the decision says
    joined_to: Cel | None = None  # id of an earlier case, on whose audit this one is noted


Kind = Infer | Connect | Rule | Review | Parallel | Map | Wait | Emit


def asks(kind: Kind | Question | Call) -> tuple[Question | Call, ...]:
    """What a step asks of models and outside systems."""
    match kind:
        case Question() | Call():
            return (kind,)
        case Parallel():
            return tuple(one.asks for one in kind.of.values())
        case Map():
            return (kind.each.asks,)
    return ()


def again_of(kind: Kind) -> Again | None:
    """What a step says of asking again what time may heal; None: nothing, or it asks nobody."""
    return kind.on_error.again if isinstance(kind, Infer | Connect | Parallel | Map) else None


def may_act(kind: Kind | Question | Call) -> bool:
    """Whether a case that is not to decide alone is stopped before this."""
    return kind.status == "decided" if isinstance(kind, Emit) else has_effect(kind)


def has_effect(kind: Kind | Question | Call) -> bool:
    """Whether something is done outside."""
    return any(isinstance(one, Call) and one.effect != "none" for one in asks(kind))


def closure(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """By step: everything that it leads to, at once or later."""
    found = {}
    for name in edges:
        seen: set[str] = set()
        left = [name]
        while left:
            new = edges.get(left.pop(), set()) - seen
            seen |= new
            left += new
        found[name] = seen
    return found


class Step(Part):
    """Exactly one kind."""

    infer: Infer | None = None
    connect: Connect | None = None
    rule: Rule | None = None
    review: Review | None = None
    parallel: Parallel | None = None
    map: Map | None = None
    wait: Wait | None = None
    emit: Emit | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len(self._kinds()) != 1:
            raise ValueError(f"a step has exactly one kind: {', '.join(type(self).model_fields)}")
        return self

    def _kinds(self) -> list[Kind]:
        every = (self.infer, self.connect, self.rule, self.review, self.parallel, self.map, self.wait, self.emit)
        return [kind for kind in every if kind is not None]

    @cached_property
    def kind(self) -> Kind:
        return self._kinds()[0]

    def jumps(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every step it may lead to, with the place in the file that says so."""
        name, kind = type(self.kind).__name__.lower(), self.kind
        match kind:
            case Rule():
                for number, row in enumerate(kind.first_of):
                    yield (name, "first_of", number, "then"), row.then
                yield (name, "otherwise", "then"), kind.otherwise.then
            case Infer() | Connect() | Parallel() | Map():
                yield (name, "then"), kind.then
                yield (name, "on_error", "then"), kind.on_error.then
            case Review():
                yield (name, "then"), kind.then
                if kind.on_disagreement is not None:
                    yield (name, "on_disagreement", "then"), kind.on_disagreement.then
                yield (name, "on_expiry", "then"), kind.on_expiry.then
            case Wait():
                if kind.then is not None:
                    yield (name, "then"), kind.then
                yield (name, "on_expiry", "then"), kind.on_expiry.then
            case Emit():
                pass


class Workflow(Part):
    """One version of one workflow; a case keeps the version it started with."""

    workflow: Annotated[str, Field(pattern=WORKFLOW)]
    version: Annotated[int, Field(ge=1, le=999_999)]
    owner: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1)]
    cost_centre: Annotated[str, Field(max_length=100)] = ""
    signed_off: SignedOff | None = None  # without, it may not be deployed
    input: Annotated[str, Field(pattern=INPUT)]  # name of a contract
    objectives: Objectives
    autonomy: Autonomy | None = None
    retention_days: Annotated[int, Field(ge=1, le=30)] = 30  # the outcome of a decided case is kept; nothing else
    budget: Allowance | None = None
    policy: Mapping[str, Any]
    labels: Mapping[Word, Annotated[tuple[str, ...], Field(min_length=1, max_length=1_000)]]
    samples: Annotated[tuple[Mapping[str, Any], ...], Field(min_length=1, max_length=50)]  # inputs it is checked with
    examples: Mapping[Word, Annotated[tuple[Any, ...], Field(min_length=1, max_length=12)]] = {}  # answers, by step
    start: Word
    steps: Annotated[Mapping[Word, Step], Field(min_length=1, max_length=STEPS_MAX)]

    @property
    def reference(self) -> str:
        return f"{self.workflow}@{self.version}"

    @cached_property
    def _labels(self) -> dict[str, list[str]]:
        return {name: list(values) for name, values in self.labels.items()}

    @cached_property
    def circles(self) -> frozenset[str]:
        """Steps that a case may visit again."""
        leads = closure({name: {target for _, target in step.jumps()} for name, step in self.steps.items()})
        return frozenset(name for name, reached in leads.items() if name in reached)

    @cached_property
    def _unanswered(self) -> dict[str, set[str]]:
        """By step: what it leads to with no person in between who answers."""
        return closure(
            {
                name: {to for at, to in step.jumps() if not isinstance(step.kind, Review) or "on_expiry" in at}
                for name, step in self.steps.items()
            }
        )

    @cached_property
    def undecided(self) -> frozenset[str]:
        """Steps that a case may come to before any person has decided in it."""
        starts = {self.start} if self.budget is None else {self.start, self.budget.on_denied.then}
        return frozenset(starts.union(*(self._unanswered.get(start, set()) for start in starts)))

    @cached_property
    def overrules(self) -> Mapping[str, frozenset[str]]:
        """By review: those whose disagreement may lead to it, with no other person asked in between who answers."""
        reached, found = self._unanswered, dict[str, frozenset[str]]()
        for name, step in self.steps.items():
            if isinstance(step.kind, Review) and step.kind.on_disagreement is not None:
                first = step.kind.on_disagreement.then
                for behind in {first, *reached[first]} - {name}:
                    if isinstance(self.steps[behind].kind, Review):
                        found[behind] = found.get(behind, frozenset()) | {name}
        return found

    @cached_property
    def hears(self) -> tuple[str, ...]:
        """Kinds of events that one of its waits asks for."""
        kinds = (step.kind for step in self.steps.values())
        return tuple(sorted({kind.event for kind in kinds if isinstance(kind, Wait) and kind.event is not None}))

    def waits_for(self, event: str) -> list[str]:
        """Those of its steps that wait for this kind of event."""
        return [name for name, step in self.steps.items() if isinstance(step.kind, Wait) and step.kind.event == event]

    def view(self, case_input: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
        """What an expression sees."""
        noted = answers.get(NOTED, [])
        return {"input": case_input, "answers": answers, "policy": self.policy, "labels": self._labels, "noted": noted}
