"""What the two pools do with a request: `classify` labels a text, `generate` writes about it.

In: one InferenceRequested. Out: an Answer, whose output has the fields of its contract. Guaranteed: a request
that can never be answered (unknown model, head or prompt, wrong options) raises RequestRefused and costs no
token. Pure but for the engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aios.inference_workers import classify, prompt
from aios.inference_workers.engine import Embed, Engine, Generate, RequestRefused
from aios.schemas.models import InferenceRequested
from aios.streams.errors import ConfigError

CARDS = Path(__file__).parent / "models"
CLASSIFIER = "triage-encoder@1"
WRITER = "summariser@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """output: fields of contract. rendered: what the model read, for the hash of the input."""

    output: Mapping[str, Any]
    contract: str
    rendered: str
    prompt_tokens: int
    output_tokens: int = 0
    seed: int = 0


class Task(Protocol):
    """One model's work."""

    model: str

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        """Raises RequestRefused, EngineDead, ConfigError, Unavailable."""


class Classify:
    """Texts to labels: one embedding a chunk, then a linear head (options.head)."""

    def __init__(self, engine: Engine, heads: Mapping[str, classify.Head] | None = None) -> None:
        self.model = CLASSIFIER
        self._engine = engine
        self._heads = heads if heads is not None else classify.load(heads_of(CLASSIFIER))

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        name = options(request, {"head"}).get("head")
        head = self._heads.get(name) if isinstance(name, str) else None
        if head is None:
            raise RequestRefused(f"unknown head {name!r}; {self.model} has {', '.join(self._heads)}")
        pieces = classify.chunks(request.input)
        embeddings = await asyncio.gather(
            *(self._engine.embed(Embed(text=piece, priority=priority)) for piece in pieces)
        )
        vector = classify.pooled([embedding.vector for embedding in embeddings])
        if len(vector) != head.weights.shape[1]:
            raise ConfigError(f"the engine's vectors have {len(vector)} dimensions, {self.model}'s heads need another")
        return Answer(
            output=head.classify(vector),
            contract="classification.v1",
            rendered="\n".join(pieces),
            prompt_tokens=sum(embedding.prompt_tokens for embedding in embeddings),
        )


class Write:
    """Texts to short texts, by a versioned prompt (options.tokens_max may ask for less than it allows)."""

    def __init__(self, engine: Engine) -> None:
        self.model = WRITER
        self._engine = engine

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        try:
            chosen = prompt.load(request.prompt)
        except ConfigError as error:
            raise RequestRefused(str(error)) from error
        if chosen.model != self.model:
            raise RequestRefused(f"prompt {request.prompt} is made for {chosen.model}, not {self.model}")
        wanted = options(request, {"tokens_max"}).get("tokens_max", chosen.sampling.tokens_max)
        if type(wanted) is not int or not 1 <= wanted <= chosen.sampling.tokens_max:
            raise RequestRefused(f"tokens_max must be 1..{chosen.sampling.tokens_max}")
        messages = chosen.render(request.input)
        sampling = chosen.sampling
        written = await self._engine.generate(
            Generate(
                messages=messages,
                tokens_max=wanted,
                temperature=sampling.temperature,
                seed=sampling.seed,
                priority=priority,
            )
        )
        return Answer(
            output={"text": prompt.tidy(written.text), "finish_reason": written.finish_reason},
            contract=chosen.contract,
            rendered="\n".join(f"{role}: {content}" for role, content in messages),
            prompt_tokens=written.prompt_tokens,
            output_tokens=written.output_tokens,
            seed=sampling.seed,
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


def heads_of(model: str) -> Path:
    """The file of a classifier's trained heads."""
    name, _, version = model.partition("@")
    return CARDS / name / version / "heads.npz"
