"""The evaluation set of a prompt, and what a version of it makes of it. Pure.

In: prompts/<name>/evaluation.yaml, one for all versions, so that they can be compared; the answers of a version. Out:
how many cases of each kind passed, which did not and why, and whether that is enough to activate it. Guaranteed: a set
has positive cases, negative ones of every kind, and a threshold for each kind; a case passes by plain rules that
anybody can read in the file; no model judges another.

    positive         must be answered, and well
    injection        the text gives the model orders
    empty            there is nothing to answer
    wrong_language   not the language the prompt is made for
    contradiction    the text says one thing and its opposite
    personal_data    the text holds what an answer must not repeat

A negative case passes by failing safely (the request is refused or fails, so that a person or the workflow's on_error
has it) or by an answer that keeps its rules.
Rejected: one score over all kinds (a prompt that follows every injection could still pass it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from aios.inference_workers import guard
from aios.inference_workers import prompt as rendering
from aios.streams import mistakes, prompt_files, yaml_text
from aios.streams.errors import ConfigError
from aios.streams.part import Part
from aios.streams.prompt_files import Guard, Prompt, Recorded

ECHO = "echo"  # begins the version of the engine without a model
FILE_NAME = "evaluation.yaml"
CASES_MAX = 1_000
SET_CHARS_MAX = 16 << 20

Kind = Literal["positive", "injection", "empty", "wrong_language", "contradiction", "personal_data"]
KINDS: tuple[Kind, ...] = get_args(Kind)
POSITIVE = KINDS[0]
Texts = tuple[Annotated[str, Field(min_length=1)], ...]


class Expect(Part):
    """Rules of an answer; texts are compared without their case. answer: whether there must be one at all; by default
    a positive case needs one and a negative may fail. properties: of an object.v1, by name.
    """

    answer: Literal["required", "optional", "refused", ""] = ""
    says_any: Texts = ()
    says_all: Texts = ()
    says_none: Texts = ()
    words_max: Annotated[int, Field(ge=1)] | None = None
    numbers_from_input: bool = False
    words_from_input_min: Annotated[float, Field(ge=0, le=1)] = 0.0
    personal_data: bool = True  # False: none of it may be in the answer
    choice_in: Texts = ()
    properties: Mapping[str, Any] = {}


class Case(Part):
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    kind: Kind
    input: Annotated[str, Field(max_length=100_000)]
    expect: Expect


class EvaluationSet(Part):
    """thresholds: by kind, the share of its cases that must pass. digest: of the file."""

    prompt: str
    about: str
    thresholds: Mapping[Kind, Annotated[float, Field(gt=0, le=1)]]
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=CASES_MAX)]
    digest: str = ""

    @model_validator(mode="after")
    def _whole(self) -> EvaluationSet:
        if lacking := [kind for kind in KINDS if kind not in self.thresholds]:
            raise ValueError(f"thresholds: {lacking[0]} has none")
        kinds = {case.kind for case in self.cases}
        if lacking := [kind for kind in KINDS if kind not in kinds]:
            raise ValueError(f"cases: there is none of {lacking[0]}")
        names = [case.id for case in self.cases]
        if doubled := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"cases: {doubled} stands there twice")
        return self


def load(name: str) -> EvaluationSet:
    """The set of a prompt. Raises ConfigError naming what is wrong and where."""
    path = path_of(name)
    try:
        raw = path.read_bytes()
        root, said = yaml_text.read_file(path, SET_CHARS_MAX)
        found = EvaluationSet.model_validate({**said, "digest": hashlib.sha256(raw).hexdigest()})
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: a prompt needs an evaluation set beside it") from error
    except ValidationError as error:
        raise ConfigError("\n".join(mistakes.lines(str(path), root, error))) from error
    if found.prompt != name:
        raise ConfigError(mistakes.line(str(path), root, ("prompt",), f"the file says it is of {found.prompt}"))
    return found


def path_of(name: str) -> Path:
    return prompt_files.folder(name) / FILE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a model gave to one case. output: fields of the contract; empty unless status is ok."""

    status: str
    reason: str
    output: Mapping[str, Any]
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """wrong: the rule that was broken; empty: it passed."""

    case: Case
    given: Given
    wrong: str


def judge(prompt: Prompt, case: Case, given: Given) -> Judged:
    return Judged(case=case, given=given, wrong=next(_wrong(prompt, case, given), ""))


def _wrong(prompt: Prompt, case: Case, given: Given) -> Iterator[str]:
    """Every rule that is broken."""
    expect = case.expect
    wanted = expect.answer or ("required" if case.kind == POSITIVE else "optional")
    if given.status != "ok":
        if wanted == "required":
            yield f"there is no answer: {given.reason}"
        return
    if wanted == "refused":
        yield "it was answered"
    found = next((given.output[name] for name in ("text", "object", "choice") if name in given.output), None)
    said = "\n".join(guard.texts(found))
    yield from _words(expect, said)
    rules = Guard(
        numbers_from_input=expect.numbers_from_input,
        words_from_input_min=expect.words_from_input_min,
        words_max=expect.words_max,
        personal_data="keep" if expect.personal_data else "refuse",
    )
    if broken := guard.breaks(rules, case.input, found, rendering.frame(prompt)):
        yield broken
    if prompt.contract == prompt_files.CHOICE and expect.choice_in and found not in expect.choice_in:
        yield f"it chose {found}"
    for name, value in expect.properties.items():
        if not isinstance(found, Mapping) or found.get(name) != value:
            yield f"its {name} is not {value!r}"


def _words(expect: Expect, said: str) -> Iterator[str]:
    lower = said.lower()
    if expect.says_any and not any(each.lower() in lower for each in expect.says_any):
        yield f"it says none of {', '.join(expect.says_any)}"
    for each in expect.says_all:
        if each.lower() not in lower:
            yield f"it does not say {each}"
    for each in expect.says_none:
        if each.lower() in lower:
            yield f"it says {each}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Of one kind: how many passed, of how many (≥ 1), and the share that is needed."""

    passed: int
    all: int
    needed: float

    @property
    def enough(self) -> bool:
        return self.passed / self.all >= self.needed


def by_kind(chosen: EvaluationSet, judged: Sequence[Judged]) -> dict[str, Kinds]:
    """In the order of KINDS."""
    found: dict[str, Kinds] = {}
    for kind in KINDS:
        of_kind = [one for one in judged if one.case.kind == kind]
        passed = sum(not one.wrong for one in of_kind)
        found[kind] = Kinds(passed=passed, all=len(of_kind), needed=chosen.thresholds[kind])
    return found


def recorded(prompt: Prompt, chosen: EvaluationSet, judged: Sequence[Judged], *, model: str, engine: str) -> Recorded:
    """What is kept of an evaluation: beside the prompt, and in the event of its activation.

    What the echo says passes nothing: it repeats the text, and is no model.
    """
    kinds = by_kind(chosen, judged)
    return Recorded(
        prompt=prompt.reference,
        prompt_digest=prompt.digest,
        set_digest=chosen.digest,
        model=model,
        engine=engine,
        passed=all(one.enough for one in kinds.values()) and not engine.startswith(ECHO),
        kinds={kind: {"passed": one.passed, "all": one.all, "needed": one.needed} for kind, one in kinds.items()},
    )
