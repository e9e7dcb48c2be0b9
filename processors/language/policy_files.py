"""The language of guardrails: what a file in policies/ may say, and what a loaded policy is.

In: `<name>@<version>.yaml`, one file a version, and beside it `<name>@<version>.cases.yaml` with texts that must pass
and texts that must be stopped; in FOLDER, or in a team's own (streams/extensions.py). Out: frozen Policy values.
Guaranteed: unknown keys, a rule of no kind or of two, a pattern that is none and a rule on the wrong side of the model
are refused with the file's name; a version says its own name. A version that has judged is never changed: cases are
explained by it. Another one is another file.

`at` says where it stands: `before` a model reads a text, or `after` it answered. Each rule has exactly one kind:

    never                  patterns that may not stand there (RE2: its time is linear in the text, whatever it says)
    invisible_max          characters that no reader sees: zero-width ones, direction marks, Unicode tags
    chars, words           how long it may be
    languages              what it may be written in; a text under chars_min is too short to tell, and passes
    personal               cards, ibans, social security numbers, mail addresses, telephone numbers
    facts                  after only: figures, dates, names, quotes and references that must stand in the source
    words_from_source_min  after only: share of its longer words that stand in the source
    shape                  after only: what an object must look like (streams/shapes.py)

and says in `then` what a breach means: `refuse` (the model is not asked, or its answer not used, and the step goes to
its on_error), `mask` (what was found is replaced, and the rest goes on), `note` (it is only recorded). Whatever a
policy cannot judge, or mask (a number, for which no text can stand), it refuses.

Rejected: a model as a guard (a second thing that a text can talk to; it may come as a step of its own); expressions
(CEL cannot say where in a text something stands).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from aios.processors.language.part import Part, Word
from aios.streams import config, extensions, mistakes, shapes, yaml_text
from aios.streams.errors import ConfigError
from aios.streams.part import close_to

FOLDER = Path(__file__).parents[1] / "policies"
REFERENCE = re.compile(r"([a-z][a-z0-9_]{0,63})@([1-9][0-9]{0,5})")
FILE_CHARS_MAX = 256 << 10
PATTERN_CHARS_MAX = 500

At = Literal["before", "after"]
Personal = Literal["card", "iban", "social_security", "mail", "telephone"]
Fact = Literal["numbers", "dates", "names", "quotes", "references", "values"]


def _pattern(source: str) -> str:
    try:
        re2.compile(source, options())
    except re2.error as error:
        raise ValueError(f"{source!r} is no regular expression of RE2: {error}") from error
    return source


def options() -> Any:
    """How patterns are read: upper and lower case are the same, nothing is printed."""
    chosen = re2.Options()
    chosen.case_sensitive = False
    chosen.log_errors = False
    return chosen


Pattern = Annotated[str, Field(min_length=1, max_length=PATTERN_CHARS_MAX), AfterValidator(_pattern)]


class Span(Part):
    """How many there may be, both included."""

    min: Annotated[int, Field(ge=0, le=200_000)] = 0
    max: Annotated[int, Field(ge=1, le=200_000)]


class Languages(Part):
    """allowed: ISO 639-1. sure_min: below it the language is not known, and the text passes."""

    allowed: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...], Field(min_length=1)]
    chars_min: Annotated[int, Field(ge=1, le=10_000)] = 60
    sure_min: Annotated[float, Field(gt=0, le=1)] = 0.8


class Rule(Part):
    """Exactly one kind; see the module. says: to people, what it is that was found."""

    says: Annotated[str, Field(min_length=1, max_length=200)]
    then: Literal["refuse", "mask", "note"] = "refuse"
    never: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=100)] | None = None
    invisible_max: Annotated[int, Field(ge=0, le=10_000)] | None = None
    chars: Span | None = None
    words: Span | None = None
    languages: Languages | None = None
    personal: Annotated[tuple[Personal, ...], Field(min_length=1)] | None = None
    facts: Annotated[tuple[Fact, ...], Field(min_length=1)] | None = None
    words_from_source_min: Annotated[float, Field(gt=0, le=1)] | None = None
    shape: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        return next(name for name in KINDS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_kind(self) -> Rule:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a rule has exactly one kind: {', '.join(KINDS)}")
        if self.then == "mask" and given[0] not in MASKS:
            raise ValueError(f"what a rule of kind {given[0]} finds has no place that could be masked")
        if self.shape is not None:
            shapes.complete(self.shape)
        return self


KINDS = (
    "never",
    "invisible_max",
    "chars",
    "words",
    "languages",
    "personal",
    "facts",
    "words_from_source_min",
    "shape",
)
MASKS = ("never", "invisible_max", "personal")
NEEDS_SOURCE = ("facts", "words_from_source_min", "shape")


class Policy(Part):
    """One version of one guardrail. digest: SHA-256 of its file, which stands in the audit beside its name."""

    policy: Word
    version: Annotated[int, Field(ge=1, le=999_999)]
    owner: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1, max_length=400)]
    at: At
    rules: Annotated[Mapping[Word, Rule], Field(min_length=1, max_length=50)]
    digest: str = ""

    @property
    def reference(self) -> str:
        return f"{self.policy}@{self.version}"

    @model_validator(mode="after")
    def _right_side(self) -> Policy:
        for name, rule in self.rules.items():
            if self.at == "before" and rule.kind in NEEDS_SOURCE:
                raise ValueError(f"rule {name}: {rule.kind} belongs to a policy that stands `after` a model")
        return self


class Case(Part):
    """What a policy must do with one text. answer: of a policy that stands after; source: what the model had read.

    rules: those that must find something. leaves: the text as it goes on, where something is masked.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    text: str | None = None
    repeat: Annotated[int, Field(ge=1, le=100_000)] = 1  # of the text, for long ones
    source: str = ""
    answer: Any = None
    rules: tuple[Word, ...] = ()
    leaves: str | None = None


class Cases(Part):
    """passes: nothing may be found. notes, masks: it goes on, and the rules are told. stops: it must not go on."""

    policy: Annotated[str, Field(pattern=rf"^{REFERENCE.pattern}$")]
    passes: Annotated[tuple[Case, ...], Field(min_length=1)]
    stops: tuple[Case, ...] = ()
    masks: tuple[Case, ...] = ()
    notes: tuple[Case, ...] = ()

    @model_validator(mode="after")
    def _fails_too(self) -> Cases:
        if not (self.stops or self.masks or self.notes):
            raise ValueError("cases that only pass show nothing: add some that must be stopped, masked or noted")
        if unnamed := [case.name for case in (*self.stops, *self.masks, *self.notes) if not case.rules]:
            raise ValueError(f"`rules` is missing: which rules must find something in {', '.join(unnamed)}?")
        return self


@lru_cache(maxsize=256)
def load(reference: str) -> Policy:
    """`name@version` → the policy. Raises ConfigError naming what is wrong and where."""
    return read(_path(reference))


def read(path: Path) -> Policy:
    """One file. Raises ConfigError naming what is wrong and where."""
    raw, root, fields = _mapping(path)
    try:
        policy = Policy.model_validate({**fields, "digest": hashlib.sha256(raw).hexdigest()})
    except ValidationError as error:
        raise ConfigError("\n".join(mistakes.lines(str(path), root, error))) from error
    except shapes.ShapeRefused as error:
        raise ConfigError(f"{path}: {error}") from error
    if policy.reference != path.stem:
        raise ConfigError(f"{path} says it is {policy.reference}")
    return policy


def cases(reference: str) -> Cases:
    """The cases beside a policy. Raises ConfigError: there are none, or they are of another one."""
    return read_cases(_path(reference).with_suffix(".cases.yaml"), reference)


def read_cases(path: Path, reference: str) -> Cases:
    """One file of cases. Raises ConfigError."""
    _, root, fields = _mapping(path)
    try:
        found = Cases.model_validate(fields)
    except ValidationError as error:
        raise ConfigError("\n".join(mistakes.lines(str(path), root, error))) from error
    if found.policy != reference:
        raise ConfigError(f"{path} says it is of {found.policy}")
    return found


def known() -> list[str]:
    """Every policy of this deploy, as `name@version`, oldest version first."""
    found = [REFERENCE.fullmatch(path.stem) for folder in _folders() for path in folder.glob("*.yaml")]
    named = sorted((each[1], int(each[2])) for each in found if each)
    return [f"{name}@{version}" for name, version in named]


def digests() -> dict[str, str]:
    """Of each policy of this deploy that can be read, the SHA-256 of its file, by `name@version`."""
    found = {}
    for reference in known():
        with suppress(ConfigError):
            found[reference] = load(reference).digest
    return found


def _folders() -> tuple[Path, ...]:
    """Raises ConfigError: a team's own file has the name of one that ships."""
    return extensions.folders(FOLDER, config.load().extensions.folder)


def _path(reference: str) -> Path:
    """Raises ConfigError: there is none of that name."""
    paths = [folder / f"{reference}.yaml" for folder in _folders()] if REFERENCE.fullmatch(reference) else []
    for path in paths:
        if path.is_file():
            return path
    raise ConfigError(f"there is no policy {reference[:80]}{close_to(reference, known())}")


def _mapping(path: Path) -> tuple[bytes, yaml.Node, dict[str, Any]]:
    try:
        raw = path.read_bytes()
        text = raw.decode()
        if len(text) > FILE_CHARS_MAX:
            raise ConfigError(f"{path}: over {FILE_CHARS_MAX} characters")
        root, fields = yaml_text.read(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except yaml_text.Unreadable as error:
        raise ConfigError("\n".join(f"{path}:{each}" for each in error.problems)) from error
    if root is None or not isinstance(fields, dict) or "digest" in fields:
        raise ConfigError(f"{path}:1: a policy is a mapping, and has no digest of its own")
    return raw, root, fields
