"""The language of workflows: what a file in workflows/ may say, and what a loaded workflow is.

In: YAML files, `<name>.yaml` for the newest version of a workflow and `<name>@<version>.yaml` for older ones
that cases may still run on. Out: frozen Workflow values. Guaranteed: a workflow that loads has no unknown or
doubled key, no step that nothing leads to, no cycle, and every expression was evaluated over its own samples
(workflow_check.py); so a case takes at most one turn a step.

A step has exactly one kind: `infer` asks a model, `rule` chooses where to go, `review` asks a person, `emit`
ends the case. Values marked CEL are expressions over

    input    the event's business fields
    answers  by step: what the model (label, confidence, out_of_scope; or text, object, choice or vector: answers.py)
             or the person (label, reviewer, suggestion) said
    policy   the workflow's own constants, such as thresholds; changing one is a new version
    labels   the workflow's lists of labels

Models and prompts are named, never by address: with a version, or without one, which asks for the version that is
active when the case first comes there (active.py). Rejected: steps as a list with implied order (a jump would hide in
it); Python as configuration (cannot be validated before it runs).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from aios.schemas.models import EVENTS
from aios.streams import topology
from aios.streams.expression import Expression
from aios.streams.pool_files import Lane

STEPS_MAX = 100
HOUR_MS = 3_600_000

Cel = Annotated[
    Expression, BeforeValidator(lambda value: value if isinstance(value, Expression) else Expression(value))
]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Named = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}(@[1-9][0-9]{0,5})?$")]  # name, or name@version


def close_to(word: str, allowed: list[str]) -> str:
    """A hint for a word that is not allowed: the nearest one, and all of them."""
    nearest = difflib.get_close_matches(word, allowed, n=1)
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{meant} (allowed here: {', '.join(sorted(allowed))})"


class Part(BaseModel):
    """Base of every part of a workflow: frozen, and an unknown key is refused with a hint."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key {key}{hint}",
                    {"key": key, "hint": close_to(str(key), list(cls.model_fields))},
                )
        return data


class Jump(Part):
    """Where to go, and the reason that is written into the decision (none: nothing is written)."""

    then: Word
    reason: Word | None = None


class Deadline(Part):
    """Seconds a model has to answer, by lane; later answers are worth nothing."""

    interactive: Annotated[int, Field(ge=1, le=3_600)]
    bulk: Annotated[int, Field(ge=1, le=7 * 86_400)]

    def ms(self, lane: str) -> int:
        return 1_000 * (self.interactive if lane == Lane.INTERACTIVE else self.bulk)


class Infer(Part):
    """Ask a model. Where the answer failed, expired or is not what the task promises, the fallback is asked that the
    pool's file names; after the last one it is on_error.
    """

    status: Word  # of the case while it waits
    task: Literal["classify", "embed", "generate"]
    pool: Word
    model: Named
    prompt: Named | None = None
    input: Cel  # the text
    input_chars_max: Annotated[int, Field(ge=1, le=200_000)]  # the text is cut to this
    options: Mapping[Word, Cel] = {}
    labels: Cel | None = None  # a label outside this list is a failed answer
    lane: Lane | None = None  # of the pool; without, interactive where somebody waits for the case, else bulk
    deadline_s: Deadline
    attempts_max: Annotated[int, Field(ge=1, le=5)]  # an unanswered request is asked again, this often in all
    then: Word
    on_error: Jump

    @model_validator(mode="after")
    def _served(self) -> Infer:
        for lane in Lane:
            try:
                topology.pool_of(self.pool, lane)
            except KeyError as error:
                raise ValueError(f"there is no pool {self.pool}.{lane}") from error
        if (self.task == "classify") != (self.labels is not None):
            raise ValueError("`labels` belongs to task classify, which needs it")
        if (self.task == "generate") != (self.prompt is not None):
            raise ValueError("`prompt` belongs to task generate, which needs it")
        return self


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
    """Ask a person; the first valid decision wins; without one in time the case goes to on_expiry."""

    status: Word
    suggestion: Cel
    confidence: Cel
    out_of_scope: Cel
    choices: Cel  # the labels that may be chosen
    expires_h: Annotated[int, Field(ge=1, le=30 * 24)]
    minutes: Annotated[float, Field(ge=0, le=480)] = 0.0  # a person is assumed to take; priced, not measured
    then: Word
    on_expiry: Jump


class Emit(Part):
    """End the case with its one decision."""

    status: Literal["decided", "expired"]
    outcome: Word
    decided_by: Cel  # 'policy', 'reviewer:<name>' or 'timer'
    channel: Cel | None = None
    label: Cel | None = None
    confidence: Cel | None = None
    summary: Cel | None = None


class Step(Part):
    """Exactly one kind."""

    infer: Infer | None = None
    rule: Rule | None = None
    review: Review | None = None
    emit: Emit | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        if len(self._kinds()) != 1:
            raise ValueError(f"a step has exactly one kind: {', '.join(type(self).model_fields)}")
        return self

    def _kinds(self) -> list[Infer | Rule | Review | Emit]:
        return [kind for kind in (self.infer, self.rule, self.review, self.emit) if kind is not None]

    @property
    def kind(self) -> Infer | Rule | Review | Emit:
        return self._kinds()[0]

    def jumps(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every step it may lead to, with the place in the file that says so."""
        match self.kind:
            case Infer() as infer:
                yield ("infer", "then"), infer.then
                yield ("infer", "on_error", "then"), infer.on_error.then
            case Rule() as rule:
                for number, row in enumerate(rule.first_of):
                    yield ("rule", "first_of", number, "then"), row.then
                yield ("rule", "otherwise", "then"), rule.otherwise.then
            case Review() as review:
                yield ("review", "then"), review.then
                yield ("review", "on_expiry", "then"), review.on_expiry.then
            case Emit():
                pass


class Objectives(Part):
    """What the workflow owes its owner; `aios workflow show` says it."""

    interactive_p95_s: Annotated[float, Field(gt=0)]  # from the event to the decision, cases without a person
    bulk_p95_s: Annotated[float, Field(gt=0)]
    without_person_min: Annotated[float, Field(ge=0, le=1)]  # share of cases


class Allowance(Part):
    """The most that one case may cost, in millionths of money.currency; reserved before its first call where its tenant
    has a limit. cheaper_max_micro: when the pools' fallbacks are asked first; 0: that is no way for this workflow.
    """

    per_case_max_micro: Annotated[int, Field(ge=1, le=10**12)]
    cheaper_max_micro: Annotated[int, Field(ge=0, le=10**12)] = 0
    on_denied: Jump


class Workflow(Part):
    """One version of one workflow; a case keeps the version it started with."""

    workflow: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+$")]
    version: Annotated[int, Field(ge=1, le=999_999)]
    owner: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1)]
    input: Literal[tuple(EVENTS)]  # type: ignore[valid-type]  # name of a contract; the list is made when this runs
    objectives: Objectives
    budget: Allowance | None = None
    policy: Mapping[str, Any]
    labels: Mapping[Word, Annotated[tuple[str, ...], Field(min_length=1, max_length=1_000)]]
    samples: Annotated[tuple[Mapping[str, Any], ...], Field(min_length=1, max_length=50)]  # inputs it is checked with
    start: Word
    steps: Annotated[Mapping[Word, Step], Field(min_length=1, max_length=STEPS_MAX)]

    @property
    def reference(self) -> str:
        return f"{self.workflow}@{self.version}"

    def view(self, case_input: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
        """What an expression sees."""
        labels = {name: list(values) for name, values in self.labels.items()}
        return {"input": case_input, "answers": answers, "policy": self.policy, "labels": labels}
