"""Prompts: prompts/<name>/<version>.md, one file a version, read strictly.

In: a file of front matter (YAML between two lines `---`) and messages, each under a line `# system`, `# user` or
`# assistant`; in FOLDER, or in a team's own (extensions.py), where all versions of a name are. Out: frozen Prompt
values, for the workers that render them and for plan, which checks what models answer with them. Guaranteed: unknown
keys, a missing {input}, a shape without bounds and a merging rule that does not belong to the contract are refused with
file, line and column; a version says its own name. A version that has served is never changed: `aios prompt new` makes
the next one.

The contract says what comes back:

    generation.v1   text                           merge: beginning, join, again
    object.v1       an object of output.schema     merge: beginning, fill
    choice.v1       one of output.choices          merge: beginning, vote

A text over input.words_max words is read in pieces of that many, each with the last overlap_words of the one before,
chunks_max of them at most; what is left over is not read, and the answer says how many words that were. Merging:

    beginning   only the first piece is read
    join        the pieces' texts, one behind the other
    again       the pieces' texts, joined, are the text of one more request with the same prompt
    fill        each property from the first piece that has more than an empty value; lists united, in order
    vote        what most pieces chose; of as many, what was chosen first

Rejected: prompts in YAML alone (long texts in it are read badly and diffed worse); templates with logic (what was said
to a model must be seen in the file).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
from pydantic import Field, ValidationError, model_validator

from aios.streams import config, extensions, mistakes, shapes, yaml_text
from aios.streams.errors import ConfigError
from aios.streams.part import NAMED, Part, close_to

FOLDER = Path(__file__).parents[1] / "inference_workers" / "prompts"
PLACEHOLDER = "{input}"
REFERENCE = re.compile(r"([a-z][a-z0-9-]{0,63})@([1-9][0-9]{0,5})")
HEADING = re.compile(r"^# (system|user|assistant)[ \t]*$", re.MULTILINE)
FILE_CHARS_MAX = 64 << 10

TEXT, OBJECT, CHOICE = "generation.v1", "object.v1", "choice.v1"
MERGES = {TEXT: ("beginning", "join", "again"), OBJECT: ("beginning", "fill"), CHOICE: ("beginning", "vote")}


class Sampling(Part):
    """tokens_max: of one answer. temperature 0: the most probable word each time, so the same text has one answer."""

    tokens_max: Annotated[int, Field(ge=1, le=4096)]
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0


class Input(Part):
    """See the module. words_min: a text of fewer is refused before a token is spent."""

    words_max: Annotated[int, Field(ge=1, le=20_000)]
    words_min: Annotated[int, Field(ge=0, le=1_000)] = 0
    overlap_words: Annotated[int, Field(ge=0)] = 0
    chunks_max: Annotated[int, Field(ge=1, le=64)] = 1
    merge: Literal["beginning", "join", "again", "fill", "vote"] = "beginning"

    @model_validator(mode="after")
    def _moves_on(self) -> Input:
        if self.overlap_words * 2 > self.words_max:
            raise ValueError("overlap_words is at most half of words_max")
        if (self.merge == "beginning") != (self.chunks_max == 1):
            raise ValueError("merge `beginning` belongs to chunks_max 1, every other rule to more")
        return self


class Output(Part):
    """shape: of an object.v1 (streams/shapes.py), `schema` in the file. choices: of a choice.v1."""

    shape: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    choices: Annotated[tuple[str, ...], Field(max_length=shapes.CHOICES_MAX)] = ()

    @model_validator(mode="after")
    def _is_a_shape(self) -> Output:
        if self.shape is not None:
            shapes.complete(self.shape)
        return self


Patterns = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=32)]


class Guard(Part):
    """What an answer must hold; one that does not is not used, and the request fails, so that on_error runs.

    numbers_from_input: every number in it stands in the text. words_from_input_min: share of its longer words that
    stand in the text. words_max: of the answer. personal_data: account, card and telephone numbers and addresses of
    mail are kept, masked, or make the answer unusable, as a number also where they are masked. never: regular
    expressions that match no answer. never_read: expressions that match no text; one with a match is refused before a
    token (a text that gives the model orders in a known way, say). Both are RE2's: their time is linear in the text,
    whatever it says; letters, digits and edges of words are ASCII's alone to their classes.
    """

    numbers_from_input: bool = False
    words_from_input_min: Annotated[float, Field(ge=0, le=1)] = 0.0
    words_max: Annotated[int, Field(ge=1)] | None = None
    personal_data: Literal["keep", "mask", "refuse"] = "keep"
    never: Patterns = ()
    never_read: Patterns = ()

    @model_validator(mode="after")
    def _expressions(self) -> Guard:
        for each in (*self.never, *self.never_read):
            try:
                compiled(each)
            except re2.error as error:
                why = error.args[0].decode()
                raise ValueError(
                    f"{each!r} is no regular expression of RE2, which looks neither ahead nor back: {why}"
                ) from error
        return self


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """An expression of a guard, for bytes of UTF-8. Raises re2.error."""
    chosen = re2.Options()
    chosen.log_errors = False
    return re2.compile(pattern, chosen)


class Message(Part):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(min_length=1)]


Model = Annotated[str, Field(pattern=NAMED)]


class Prompt(Part):
    """One version of one prompt. model: a name, for all of its versions, or name@version. also_for: other models, of
    pools that stand in for the first one's (`fallback` of its file); each answers by it once it has passed itself.
    digest: of its file.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    version: Annotated[int, Field(ge=1, le=999_999)]
    about: Annotated[str, Field(max_length=200)] = ""
    model: Model
    also_for: Annotated[tuple[Model, ...], Field(max_length=8)] = ()
    task: Literal["generate"]
    contract: Literal["generation.v1", "object.v1", "choice.v1"]
    sampling: Sampling
    input: Input
    output: Output = Output()
    guard: Guard = Guard()
    messages: Annotated[tuple[Message, ...], Field(min_length=1, max_length=32)]
    digest: str = ""

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def shape(self) -> dict[str, Any]:
        """Of an object.v1, complete."""
        return shapes.complete(self.output.shape)

    def made_for(self, model: str) -> bool:
        """Whether it is meant for this name@version."""
        return not {model, model.partition("@")[0]}.isdisjoint(self.models)

    @property
    def models(self) -> tuple[str, ...]:
        """Its own first."""
        return (self.model, *self.also_for)

    def stands_in(self, model: str) -> str:
        """The name of a model that it is also for; empty: it is its own, or none of its models."""
        name = model.partition("@")[0]
        return name if name in {each.partition("@")[0] for each in self.also_for} else ""

    @model_validator(mode="after")
    def _fits_contract(self) -> Prompt:
        if self.input.merge not in MERGES[self.contract]:
            raise ValueError(f"{self.contract} merges by {', '.join(MERGES[self.contract])}, not {self.input.merge}")
        if (self.output.shape is not None) != (self.contract == OBJECT):
            raise ValueError(f"output.schema belongs to {OBJECT}, which needs it")
        if bool(self.output.choices) != (self.contract == CHOICE):
            raise ValueError(f"output.choices belongs to {CHOICE}, which needs it")
        if len(set(self.output.choices)) != len(self.output.choices) or "" in self.output.choices:
            raise ValueError("output.choices are texts, each of them once")
        if len({each.partition("@")[0] for each in self.models}) != len(self.models):
            raise ValueError("model and also_for name different models")
        if not any(PLACEHOLDER in message.content for message in self.messages):
            raise ValueError(f"no message contains {PLACEHOLDER}")
        return self


class Recorded(Part):
    """How a version did on its evaluation set (inference_workers/evaluation.py).

    prompt_digest, set_digest: SHA-256 of the two files it is about. model, engine: what answered. kinds: by kind,
    passed, all, and the share that is needed.
    """

    prompt: str
    prompt_digest: str
    set_digest: str
    model: str
    engine: str
    passed: bool
    kinds: dict[str, dict[str, float]]


def load(reference: str) -> Prompt:
    """`name@version` → the prompt as its file is now. Raises ConfigError naming what is wrong and where."""
    matched = REFERENCE.fullmatch(reference)
    path = folder(matched[1]) / f"{matched[2]}.md" if matched else None
    try:
        written = path.stat() if path is not None else None
    except OSError:
        written = None
    if path is None or written is None:
        raise ConfigError(f"there is no prompt {reference[:80]}{close_to(reference, known())}")
    return _read(path, written.st_mtime_ns, written.st_size)


@lru_cache(maxsize=256)
def _read(path: Path, written_ns: int, size: int) -> Prompt:  # noqa: ARG001 - another file than the one kept
    """Once for as long as it is the same file: a new one is written while processes look what there is."""
    return read(path)


def read(path: Path) -> Prompt:
    """One file. Raises ConfigError naming what is wrong and where."""
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if len(text) > FILE_CHARS_MAX:
        raise ConfigError(f"{path}: over {FILE_CHARS_MAX} characters")
    head, body = _parts(path, text)
    line = head.count("\n") + 2
    try:
        root, fields = yaml_text.read(head)
    except yaml_text.Unreadable as error:
        raise ConfigError("\n".join(f"{path}:{each}" for each in error.problems)) from error
    if root is None or not isinstance(fields, dict) or fields.keys() & {"messages", "digest"}:
        raise ConfigError(f"{path}:1:1: the front matter is a mapping without messages, which stand below it")
    messages = [{"role": role, "content": content} for role, content in _messages(path, body, line)]
    try:
        prompt = Prompt.model_validate({**fields, "messages": messages, "digest": hashlib.sha256(raw).hexdigest()})
    except ValidationError as error:
        raise ConfigError("\n".join(mistakes.lines(str(path), root, error))) from error
    if (prompt.name, str(prompt.version)) != (path.parent.name, path.stem):
        raise ConfigError(mistakes.line(str(path), root, ("name",), f"the file says it is {prompt.reference}"))
    return prompt


def _parts(path: Path, text: str) -> tuple[str, str]:
    """Front matter, whose lines count as in the file, and body."""
    lines = text.splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        raise ConfigError(f"{path}:1:1: a prompt begins with front matter between two lines ---")
    return "".join(lines[: ends[1]]), "".join(lines[ends[1] + 1 :])


def _messages(path: Path, body: str, line: int) -> Iterator[tuple[str, str]]:
    """line: of the file, where the body begins."""
    before, *rest = HEADING.split(body)
    if before.strip():
        line += before[: len(before) - len(before.lstrip())].count("\n")
        says = "text above the first message, which begins with `# system` or `# user`"
        raise ConfigError(f"{path}:{line}:1: {says}")
    yield from ((role, content.strip()) for role, content in zip(rest[::2], rest[1::2], strict=True))


def known() -> list[str]:
    """Every prompt there is, as `name@version`, oldest version first."""
    return [f"{name}@{version}" for name in names() for version in versions(name)]


def names() -> list[str]:
    return sorted({path.parent.name for folder in _folders() for path in folder.glob("*/*.md") if _version(path)})


def folder(name: str) -> Path:
    """Where the versions of a prompt are, or will be: in a team's own folder, where it has one. Raises ConfigError."""
    folders = _folders()
    return next((each / name for each in folders if (each / name).is_dir()), folders[-1] / name)


def _folders() -> tuple[Path, ...]:
    """Raises ConfigError: a team's own prompt has the name of one that ships."""
    return extensions.folders(FOLDER, config.load().extensions.folder)


def versions(name: str) -> list[int]:
    """Of one prompt, rising; empty: there is none of that name."""
    if not REFERENCE.fullmatch(f"{name}@1"):
        return []
    return sorted(filter(None, map(_version, folder(name).glob("*.md"))))


def newest(name: str) -> int:
    """The newest version whose evaluation is recorded beside it and was passed: what serves where nobody has activated
    another one (prompt.activated.v1). A version that nobody has tested, or that cannot be read, serves nobody. Raises
    ConfigError.
    """
    there = versions(name)
    if not there:
        raise ConfigError(f"there is no prompt {name[:80]}{close_to(name, names())}")
    for version in reversed(there):
        with contextlib.suppress(ConfigError):  # a draft that is being written
            found = evaluated(f"{name}@{version}")
            if found is not None and found.passed:
                return version
    asks = f"`aios prompt test {name}@{there[-1]} --record`"
    raise ConfigError(f"no version of prompt {name} has passed its evaluation: {asks}")


def unpassed(reference: str, model: str = "") -> str:
    """Why no new case may be served by this version; empty: it passed, as its file is. Raises ConfigError.

    model: that answers, where it is not the prompt's own.
    """
    found = evaluated(reference, model)
    on, option = (f" on {model}", f" --model {model}") if model else ("", "")
    if found is None:
        says = f"prompt {reference} was never evaluated{on} as its file is now"
        return f"{says}: `aios prompt test {reference}{option} --record`"
    return "" if found.passed else f"prompt {reference} has not passed its evaluation{on}"


def unanswerable(reference: str, model: str) -> str:
    """Why nothing may be answered by it with this name@version, not even for a case that began with it: its file is not
    the one whose evaluation is recorded, or a model that stands in has not passed it. Empty: it may. Raises
    ConfigError.
    """
    if load(reference).stands_in(model):
        return unpassed(reference, model)
    return "" if evaluated(reference) is not None else unpassed(reference)


def evaluated(reference: str, model: str = "") -> Recorded | None:
    """The recorded evaluation of this very file; None if there is none, or it is of another. Raises ConfigError.

    model: whose; the prompt's own, unless it is one that stands in.
    """
    prompt = load(reference)
    path = record_of(reference, model)
    try:
        written = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    found = _recorded(path, written.st_mtime_ns, written.st_size)
    return found if (found.prompt, found.prompt_digest) == (reference, prompt.digest) else None


@lru_cache(maxsize=256)
def _recorded(path: Path, written_ns: int, size: int) -> Recorded:  # noqa: ARG001 - another file than the one kept
    """Read once for as long as it is the same file: whoever answers requests asks for each. Raises ConfigError."""
    try:
        return Recorded.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def record_of(reference: str, model: str = "") -> Path:
    """Where `aios prompt test --record` keeps what a version made of its evaluation set, with this model. Raises
    ConfigError.
    """
    name, _, version = reference.partition("@")
    stands_in = load(reference).stands_in(model)
    return folder(name) / f"{version}.evaluated{f'.{stands_in}' if stands_in else ''}.json"


def _version(path: Path) -> int:
    return int(path.stem) if REFERENCE.fullmatch(f"a@{path.stem}") else 0
