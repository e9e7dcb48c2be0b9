"""What pools do with a request: `classify` labels a text, `embed` makes a vector of it, `generate` (writing.py) writes.

In: one InferenceRequested. Out: an Answer, whose output has the fields of its contract. Guaranteed: a request
that can never be answered (unknown model, head or prompt, wrong options) raises RequestRefused and costs no
token. Pure but for the engine.

    task       answers with                        of a long text
    classify   classification.v1                   classify.py: at most CHUNKS_MAX pieces, their weighted mean; what
                                                   was not read is said (unread_words, cut_pieces)
    embed      embedding.v1                        the same
    generate   generation.v1, object.v1,           as its prompt says (streams/prompt_files.py)
               choice.v1, by its prompt
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from zipfile import ZipFile

from aios.inference_workers import classify
from aios.inference_workers.engines.engine import Embed, Engine, RequestRefused
from aios.inference_workers.engines.shelf import Shelf
from aios.schemas.models import InferenceRequested
from aios.streams import model_files
from aios.streams.errors import ConfigError

T = TypeVar("T")

CLASSIFIER = model_files.reference("triage-encoder")
WRITER = model_files.reference("summariser")
"""The newest versions of what ships."""
VECTOR_DIGITS = 6  # of each number in an embedding.v1: what an encoder in bfloat16 knows is less

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """output: fields of contract. rendered: what the model read, for the hash of the input.

    failure: why there is no output, although the model was asked and cost tokens; empty: there is one.
    """

    output: Mapping[str, Any]
    contract: str
    rendered: str
    failure: str = ""
    prompt_tokens: int
    output_tokens: int = 0
    seed: int = 0


class Task(Protocol):
    """One model's work. model: its newest version. models: all that it answers for, each with the digest of its card
    and heads as this process has read them. serves: the tasks it answers, as requests name them.
    """

    model: str
    models: Mapping[str, str]
    serves: tuple[str, ...]

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        """Raises RequestRefused, EngineDead, ConfigError, Unavailable."""


class Classify:
    """Texts to labels: one embedding a piece, then a linear head (options.head)."""

    serves: tuple[str, ...] = ("classify",)

    def __init__(
        self, engine: Engine, heads: Mapping[str, classify.Head] | None = None, model: str = CLASSIFIER
    ) -> None:
        self.model = model
        self.models: Mapping[str, str] = {model: model_files.digest(model)}
        self._engine = engine
        self._heads = heads if heads is not None else _heads(model)

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        name = options(request, {"head"}).get("head")
        head = self._heads.get(name) if isinstance(name, str) else None
        if head is None:
            raise RequestRefused(f"unknown head {name!r}; {self.model} has {', '.join(self._heads)}")
        read = await _embedded(self._engine, request.input, priority)
        if len(read.vector) != head.weights.shape[1]:
            raise ConfigError(
                f"the engine's vectors have {len(read.vector)} dimensions, {self.model}'s heads need another"
            )
        return Answer(
            output={**head.classify(read.vector), **read.left_out},
            contract="classification.v1",
            rendered="\n".join(read.pieces),
            prompt_tokens=read.tokens,
        )


class EmbedText:
    """Texts to vectors: one embedding a piece, and their weighted mean, of length 1 (embedding.v1)."""

    serves: tuple[str, ...] = ("embed",)

    def __init__(self, engine: Engine, model: str = CLASSIFIER) -> None:
        self.model = model
        self.models: Mapping[str, str] = {model: model_files.digest(model)}
        self._engine = engine

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        options(request, set())
        if not request.input.strip():
            raise RequestRefused("there is no text to embed")
        read = await _embedded(self._engine, request.input, priority)
        vector = [round(float(each), VECTOR_DIGITS) for each in read.vector]
        return Answer(
            output={"vector": vector, "pieces": len(read.pieces), **read.left_out},
            contract="embedding.v1",
            rendered="\n".join(read.pieces),
            prompt_tokens=read.tokens,
        )


class Several:
    """Tasks that share a model; a request is answered by the one it names."""

    def __init__(self, *tasks: Task) -> None:
        self.model = tasks[0].model
        self.models = tasks[0].models
        self.serves = tuple(name for task in tasks for name in task.serves)
        self._by_name = {name: task for task in tasks for name in task.serves}

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        task = self._by_name.get(request.task)
        if task is None:
            raise RequestRefused(f"{self.model} serves {', '.join(self.serves)}, not {request.task}")
        return await task.answer(request, priority)


class Unreadable:
    """A version whose files cannot be read: who asks it hears why; where it serves all others, the worker stops."""

    serves: tuple[str, ...] = ()

    def __init__(self, model: str, why: Exception) -> None:
        self.model = model
        self.models: Mapping[str, str] = {model: ""}
        self._why = str(why)

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:  # noqa: ARG002 - as of any version
        raise ConfigError(self._why)


class Versions:
    """Versions of one model, newest first; a request is answered by the one it names. serves: what any of them does."""

    def __init__(self, *tasks: Task) -> None:
        self.model = tasks[0].model
        self.models: Mapping[str, str] = {model: digest for task in tasks for model, digest in task.models.items()}
        self.serves = tuple(dict.fromkeys(name for task in tasks for name in task.serves))
        self._by_model = {task.model: task for task in tasks}

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        task = self._by_model.get(request.model)
        if task is None:
            raise RequestRefused(f"this worker serves {', '.join(self.models)}, not {request.model}")
        return await task.answer(request, priority)


def encoder(engines: Shelf, name: str) -> Task:
    """What a pool of the sentence encoder of this name does, in each version: one without heads labels nothing."""

    def task(own: Engine, each: str) -> Task:
        labels = [Classify(own, model=each)] if heads_of(each).is_file() else []
        return Several(*labels, EmbedText(own, each))

    return each_version(engines, name, task)


def each_version(engines: Shelf, name: str, task: Callable[[Engine, str], Task]) -> Task:
    """A model's task in every version that ships, each on its own weights. task: of an engine and name@version.

    One whose files cannot be read stands in the way of nobody but who asks it. Raises ConfigError, OSError: there is no
    other one.
    """
    found: list[Task] = []
    broken: Exception | None = None
    for each in (f"{name}@{version}" for version in reversed(model_files.versions(name))):
        own = engines.of(each)
        try:
            found.append(task(own, each))
        except (ConfigError, OSError) as error:
            log.exception("%s cannot be served: what asks it fails", each)
            found.append(Unreadable(each, error))
            broken = error
    if broken is not None and not any(one.serves for one in found):
        raise broken
    return Versions(*found)


def refusal(task: Task, request: InferenceRequested) -> str:
    """Why this can never be answered here, empty if it can: what must answer is stamped on it."""
    if request.task not in task.serves:
        return f"this pool serves {', '.join(task.serves)}, not {request.task}"
    if request.model not in task.models:
        return f"this worker serves {', '.join(task.models)}, not {request.model}"
    return ""


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order. Raises what the first to fail raises; the others are taken out of the engine then."""
    asked = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*asked)
    finally:
        for each in asked:
            each.cancel()


class _Read(NamedTuple):
    """A text as it was read. left_out: unread_words behind the last piece, and cut_pieces, of more tokens than the
    encoder reads (a text without blanks, say); what is nothing is left out.
    """

    pieces: Sequence[str]
    vector: classify.Vector
    tokens: int
    left_out: Mapping[str, int]


async def _embedded(engine: Engine, text: str, priority: int) -> _Read:
    pieces = classify.chunks(text)
    asked = [engine.embed(Embed(text=piece, priority=priority)) for piece in pieces]
    found = await together(asked) if len(asked) > 1 else [await asked[0]]
    left_out = {"unread_words": classify.unread_words(text), "cut_pieces": sum(one.is_cut for one in found)}
    return _Read(
        pieces=pieces,
        vector=classify.pooled([one.vector for one in found]),
        tokens=sum(one.prompt_tokens for one in found),
        left_out={name: count for name, count in left_out.items() if count},
    )


def options(request: InferenceRequested, allowed: set[str]) -> dict[str, Any]:
    """The request's options. Raises RequestRefused on anything but a JSON object with allowed keys."""
    try:
        found = json.loads(request.options)
    except ValueError as error:
        raise RequestRefused("options are not JSON") from error
    if not isinstance(found, dict) or not found.keys() <= allowed:
        raise RequestRefused(f"options must be a JSON object with no other keys than {', '.join(sorted(allowed))}")
    return found


def _heads(model: str) -> Mapping[str, classify.Head]:
    path = heads_of(model)
    try:
        ZipFile(path).close()  # numpy would leave a file open that is none
        found = classify.load(path)
    except Exception as error:  # whatever numpy and zip make of bytes that are no heads
        raise ConfigError(f"{path} holds no heads: {type(error).__name__}: {error}") from error
    if why := model_files.changed(model):
        raise ConfigError(why)
    return found


def heads_of(model: str) -> Path:
    """The file of a classifier's trained heads."""
    return model_files.folder(model) / model_files.HEADS
