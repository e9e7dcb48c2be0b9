"""Holds every name and type in a workflow's expressions against its contracts, before any sample is tried.

In: a workflow whose jumps are sound, and the contract of its input. Out: problems, each with its place. Guaranteed when
there are none: every field that an expression names is one of the input, of what a task or an operation answers, of a
policy or a list of labels, of an item; no expression may compute too much over lists as long as their contracts allow;
an answer is that of a step that may come before; each place is given a value of its type; each request has the fields
that its operation asks for, and what is constant in it is what the operation takes. What is known of no contract (the
body that a case is told, where the workflow gives no examples) is let through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError

from aios.processors.connectors import registry
from aios.processors.connectors.connector import Operation
from aios.processors.language import cel_bounds, cel_types, policy_files, workflow_samples
from aios.processors.language.cel_types import ANY, BOOL, DOUBLE, INT, SAID, TEXT, Shape, Typed
from aios.processors.language.questions import Call, Guards, Question
from aios.processors.language.workflow import NOTED, Emit, Map, Parallel, Review, Rule, Wait, Workflow, closure, may_act
from aios.streams import cel_tree, installed, mistakes, model_files, prompt_files
from aios.streams.errors import ConfigError
from aios.streams.expression import Expression, ExpressionError
from aios.streams.inputs import Input
from aios.streams.part import close_to, wrong_in

Place = tuple[str | int, ...]
TEXTS = Shape("list", TEXT)
LISTED = Shape("list", ANY)
PLAIN = ("text", "int", "double", "bool", "any")
PERSON = {"label": TEXT, "reviewer": TEXT, "suggestion": TEXT}
PEOPLE = {**PERSON, "reviewers": TEXTS, "labels": TEXTS}
CLASSIFIED = Shape("object", fields={"label": TEXT, "confidence": DOUBLE, "out_of_scope": DOUBLE})


class Used(NamedTuple):
    """One expression. wanted: what its place needs; None: any JSON value. plain: a text, number or truth value."""

    place: Place
    expression: Expression
    wanted: Shape | None
    plain: bool = False


def reads(expression: Expression) -> frozenset[str] | None:
    """The answers that an expression looks at; None: perhaps all."""
    return expression.reads.get("answers", frozenset())


def expressions(workflow: Workflow, name: str) -> Iterator[Used]:
    """Every expression of a step, with its place under it."""
    kind = workflow.steps[name].kind
    match kind:
        case Question() | Call():
            yield from _asked(kind, (type(kind).__name__.lower(),))
        case Parallel():
            for branch, one in kind.of.items():
                yield from _asked(one.asks, ("parallel", "of", branch, one.kind))
        case Map():
            yield Used(("map", "over"), kind.over, LISTED)
            yield from _asked(kind.each.asks, ("map", "each", kind.each.kind))
        case Rule():
            for number, row in enumerate(kind.first_of):
                yield Used(("rule", "first_of", number, "when"), row.when, BOOL)
        case Review():
            yield from _review(kind)
        case Wait():
            if kind.until is not None:
                yield Used(("wait", "until"), kind.until, INT)
            for key, value in kind.says.items():
                yield Used(("wait", "says", key), value, None)
        case Emit():
            yield from _emit(kind)


def _asked(ask: Question | Call, place: Place) -> Iterator[Used]:
    if isinstance(ask, Call):
        for key, value in ask.request.items():
            yield Used((*place, "request", key), value, None)
        return
    yield Used((*place, "input"), ask.input, TEXT)
    if ask.labels is not None:
        yield Used((*place, "labels"), ask.labels, TEXTS)
    if ask.priority is not None:
        yield Used((*place, "priority"), ask.priority, INT)
    for key, value in ask.options.items():
        yield Used((*place, "options", key), value, None, plain=True)


def _review(step: Review) -> Iterator[Used]:
    yield Used(("review", "suggestion"), step.suggestion, TEXT)
    yield Used(("review", "confidence"), step.confidence, DOUBLE)
    yield Used(("review", "out_of_scope"), step.out_of_scope, DOUBLE)
    yield Used(("review", "choices"), step.choices, TEXTS)
    if step.people is not None:
        yield Used(("review", "people"), step.people, INT)
    for key, value in step.evidence.items():
        yield Used(("review", "evidence", key), value, None)


def _emit(step: Emit) -> Iterator[Used]:
    yield Used(("emit", "decided_by"), step.decided_by, TEXT)
    for key, expression, wanted in (
        ("channel", step.channel, TEXT),
        ("label", step.label, TEXT),
        ("confidence", step.confidence, DOUBLE),
        ("summary", step.summary, TEXT),
        ("joined_to", step.joined_to, TEXT),
    ):
        if expression is not None:
            yield Used(("emit", key), expression, wanted)
    for key, value in step.output.items():
        yield Used(("emit", "output", key), value, None)


def ahead(workflow: Workflow) -> dict[str, set[str]]:
    """By step: those that a case may come to next; where it must not act alone, the one that asks a person."""
    found = {name: {target for _, target in step.jumps()} for name, step in workflow.steps.items()}
    if workflow.autonomy is not None and workflow.autonomy.ask in workflow.steps:
        for name, step in workflow.steps.items():
            if may_act(step.kind):
                found[name].add(workflow.autonomy.ask)
    return found


def unfit(ask: Question) -> Iterator[tuple[str, str]]:
    """Why nobody can answer it, with the key that says so: a pool that does not do this, a model that there is not, or
    that is not the pool's, no head to label by.
    """
    pools = installed.pools().values()
    pool = next(pool for pool in pools if pool.process == ask.pool)  # its lanes agree in task and model
    name = ask.model.partition("@")[0]
    if ask.task not in pool.serves:
        fitting = sorted({pool.process for pool in pools if ask.task in pool.serves})
        yield "pool", f"pool {ask.pool} answers no {ask.task}{close_to(ask.pool, fitting)}"
    if name not in model_files.names():
        yield "model", f"there is no model {name}{close_to(name, model_files.names())}"
    elif "@" in ask.model and ask.model not in model_files.known():
        there = [f"{name}@{version}" for version in model_files.versions(name)]
        yield "model", f"there is no model {ask.model}{close_to(ask.model, there)}"
    elif ask.task in pool.serves and name != pool.model:
        yield "model", f"pool {ask.pool} answers with {pool.model}, not with {name}"
    if ask.task == "classify" and "head" not in ask.options:
        yield "options", "task classify needs `head`, the model's head that labels"


def wrong_names(workflow: Workflow, taken: Input, *, kept: bool = False) -> list[tuple[Place, str]]:
    """Everything that does not meet its contract. taken: the contract of the workflow's input. kept: for the cases that
    began with it alone, which end with the prompts it named then.
    """
    return _Names(workflow, taken, kept).problems()


@dataclass(slots=True)
class _Names:
    workflow: Workflow
    taken: Input
    kept: bool
    found: list[tuple[Place, str]] = field(default_factory=list)

    def problems(self) -> list[tuple[Place, str]]:
        answers = self._answers()
        leads = closure(ahead(self.workflow))
        given = {
            "input": cel_types.of_avro({"type": "record", "name": "", "fields": self.taken.business}),
            "policy": cel_types.of_value(self.workflow.policy),
            "labels": cel_types.of_value(self.workflow.labels),
            "noted": TEXTS,
        }
        for name in self.workflow.steps:
            before = {each for each in self.workflow.steps if name in leads[each]}
            known = {each: shape for step in before for each, shape in answers[step].items()}
            names = {**given, "answers": Shape("object", fields=known)}
            for used in expressions(self.workflow, name):
                if NOTED in used.expression.names and (says := self._moves(name, used.place)):
                    self.found.append((("steps", name, *used.place), says))
                self._judge(("steps", name, *used.place), used, self._inside(name, used, names), answers)
            self._requests(name, names)
        return self.found

    def _moves(self, name: str, place: Place) -> str:
        """Why what policies note may not be read there: it grows while the step is under way."""
        if place == ("map", "over"):
            return f"what is {NOTED} grows while the items are asked: a list that stays is needed here"
        if place[-2:] != ("infer", "input"):
            return ""
        kind = self.workflow.steps[name].kind
        ask = kind.of[str(place[2])].asks if isinstance(kind, Parallel) else kind
        ask = kind.each.asks if isinstance(kind, Map) else ask
        if not isinstance(ask, Question) or ask.guards == Guards():
            return ""
        return (
            f"its policies judge one text, and with what they have {NOTED} the model would read another: ask without "
            f"`guards`, or put {NOTED} into `options` or a rule"
        )

    def _inside(self, name: str, used: Used, names: Mapping[str, Shape]) -> Mapping[str, Shape]:
        """With the item, in a map's `each`."""
        kind = self.workflow.steps[name].kind
        if not isinstance(kind, Map) or used.place[1] != "each":
            return names
        over = Typed(names).give(kind.over.tree)
        return {**names, "item": over.of or ANY, "index": INT}

    def _judge(self, place: Place, used: Used, names: Mapping[str, Shape], answers: Mapping[str, Any]) -> None:
        typed = Typed(names)
        gives = typed.give(used.expression.tree)
        for says in typed.wrong:
            told = f"`{used.expression.source}`: {says}{self._later(says, answers)}{_quoted(used)}"
            self.found.append((place, told))
        if typed.wrong:
            return
        if much := cel_bounds.much(used.expression, names):
            self.found.append((place, much))
        if used.wanted is not None and not cel_types.fits(gives, used.wanted):
            self._mismatch(place, used, gives, SAID[used.wanted.kind])
        elif used.plain and gives.kind not in PLAIN:
            self._mismatch(place, used, gives, "a text, number or truth value")

    def _mismatch(self, place: Place, used: Used, gives: Shape, wanted: str) -> None:
        says = f"`{used.expression.source}` gives {SAID[gives.kind]} where {wanted} is needed{_quoted(used)}"
        self.found.append((place, says))

    def _later(self, says: str, answers: Mapping[str, Any]) -> str:
        """Why an answer that the workflow has is not here."""
        known = {each for shapes in answers.values() for each in shapes}
        asked = says.partition("answers has no field ")[2].partition(";")[0].partition(" ")[0]
        return f"; no way leads from step {asked} to here" if asked in known else ""

    # What each step answers

    def _answers(self) -> dict[str, dict[str, Shape]]:
        """By step: its answers by name, a parallel step's by branch."""
        found: dict[str, dict[str, Shape]] = {}
        for name, step in self.workflow.steps.items():
            match step.kind:
                case Question() | Call() as ask:
                    found[name] = {name: self._answer(name, ask, (type(ask).__name__.lower(),), name)}
                case Parallel() as parallel:
                    found[name] = {
                        branch: self._answer(name, one.asks, ("parallel", "of", branch, one.kind), branch)
                        for branch, one in parallel.of.items()
                    }
                case Map() as each:
                    item = self._answer(name, each.each.asks, ("map", "each", each.each.kind), name)
                    found[name] = {name: Shape("list", item, most=each.items_max)}
                case Review() as review:
                    found[name] = {name: Shape("object", fields=PERSON if review.people is None else PEOPLE)}
                case Wait():
                    told = self.workflow.examples.get(name)
                    found[name] = {name: cel_types.merged(map(cel_types.of_value, told)) if told else ANY}
                case _:
                    found[name] = {}
        return found

    def _answer(self, name: str, ask: Question | Call, place: Place, answer: str) -> Shape:
        where = ("steps", name, *place)
        if isinstance(ask, Call):
            operation = self._operation(where, ask)
            if operation is None:
                return ANY
            self._examples(answer, operation)
            return cel_types.of_schema(workflow_samples.schema_of(operation.response))
        self.found += [((*where, key), says) for key, says in unfit(ask)]
        self._guards(where, ask)
        if ask.task == "classify":
            return CLASSIFIED
        if ask.task == "embed":
            return Shape("object", fields={"vector": Shape("list", DOUBLE)})
        return self._generated((*where, "prompt"), ask.prompt or "", ask.model.partition("@")[0])

    def _generated(self, where: Place, prompt: str, model: str) -> Shape:
        try:
            chosen = prompt_files.load(prompt if "@" in prompt else f"{prompt}@{prompt_files.newest(prompt)}")
        except ConfigError as error:
            self.found.append((where, str(error)))
            return ANY
        if model not in {each.partition("@")[0] for each in chosen.models}:
            made_for = ", ".join(chosen.models)
            self.found.append((where, f"prompt {chosen.reference} is made for {made_for}, not for {model}"))
        if not self.kept and (why := prompt_files.unpassed(chosen.reference)):
            self.found.append((where, why))
        if chosen.contract == prompt_files.OBJECT:
            return Shape("object", fields={"object": cel_types.of_schema(chosen.shape)})
        return Shape("object", fields={"choice" if chosen.contract == prompt_files.CHOICE else "text": TEXT})

    def _guards(self, where: Place, ask: Question) -> None:
        for at, references in (("before", ask.guards.before), ("after", ask.guards.after)):
            for number, reference in enumerate(references):
                place = (*where, "guards", at, number)
                try:
                    policy = policy_files.load(reference)
                except ConfigError as error:
                    self.found.append((place, str(error)))
                else:
                    if policy.at != at:
                        self.found.append((place, f"{reference} judges {policy.at} a model, not {at}"))

    def _operation(self, where: Place, ask: Call) -> Operation | None:
        try:
            known = registry.operations(ask.system)
        except ConfigError as error:
            self.found.append(((*where, "system"), str(error)))
            return None
        if ask.operation not in known:
            hint = close_to(ask.operation, list(known))
            self.found.append(((*where, "operation"), f"{ask.system} cannot be asked to {ask.operation}{hint}"))
            return None
        gives = sorted(map(str, known[ask.operation].effects))
        if ask.effect not in gives:
            says = f"{ask.system}.{ask.operation} cannot be asked for effect {ask.effect}; it gives {', '.join(gives)}"
            self.found.append(((*where, "effect"), says))
        return known[ask.operation]

    def _examples(self, answer: str, operation: Operation) -> None:
        for number, example in enumerate(self.workflow.examples.get(answer, ())):
            try:
                operation.response.model_validate(example)
            except ValidationError as error:
                says = f"is no {operation.response_contract}: {wrong_in(error)[0]}"
                self.found.append((("examples", answer, number), says))

    # What an operation is asked with

    def _requests(self, name: str, names: Mapping[str, Shape]) -> None:
        kind = self.workflow.steps[name].kind
        if isinstance(kind, Call):
            self._request(("steps", name, "connect"), kind, names)
        elif isinstance(kind, Parallel):
            for branch, one in kind.of.items():
                if isinstance(one.asks, Call):
                    self._request(("steps", name, "parallel", "of", branch, "connect"), one.asks, names)
        elif isinstance(kind, Map) and isinstance(kind.each.asks, Call):
            used = Used(("map", "each"), kind.over, None)
            self._request(("steps", name, "map", "each", "connect"), kind.each.asks, self._inside(name, used, names))

    def _request(self, where: Place, ask: Call, names: Mapping[str, Shape]) -> None:
        try:
            model = registry.operation(ask.system, ask.operation).request
        except ConfigError:
            return  # said already
        schema = workflow_samples.schema_of(model)
        wanted = cel_types.of_schema(schema).fields
        constant: dict[str, Any] = {}
        for key, value in ask.request.items():
            place = (*where, "request", key)
            if key not in wanted:
                says = f"{ask.system}.{ask.operation} is asked nothing of the name {key}"
                self.found.append((place, says + close_to(key, list(wanted))))
                continue
            typed = Typed(names)
            gives = typed.give(value.tree)
            if not typed.wrong and not cel_types.fits(gives, wanted[key]):
                self._mismatch(place, Used(place, value, None), gives, SAID.get(wanted[key].kind, "another value"))
            elif not typed.wrong and value.names <= {"policy", "labels"}:
                with suppress(ExpressionError):  # said where the workflow is walked
                    constant[key] = value.evaluate(self.workflow.view({}, {}))
        try:
            model.model_validate(constant)
        except ValidationError as error:
            for inside, says, _ in mistakes.told(error):
                if inside and inside[0] in constant:
                    self.found.append(((*where, "request", *inside), says))
        for key in schema.get("required", ()):
            if key not in ask.request:
                self.found.append(((*where, "request"), f"{ask.system}.{ask.operation} needs {key}"))


def _quoted(used: Used) -> str:
    """What was probably meant by a bare word where a text may stand."""
    is_word = isinstance(used.expression.tree, cel_tree.Name) and (used.wanted is None or used.wanted == TEXT)
    return f"; a text has quotes of its own: \"'{used.expression.source}'\"" if is_word else ""
