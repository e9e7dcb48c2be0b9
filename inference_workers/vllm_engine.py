"""The engine of this process: vLLM. The one file that imports vllm.

Beyond what every engine promises (engine.py): requests share the engine's continuous batch; a lower priority number
goes first, and whoever waits finds a seat though the batch is full of bulk work (batch.py); an engine that makes no
step for step_s_max is as good as dead, also where it holds the interpreter and nothing of ours runs any more; one for
which there is not the memory says at start which setting to change.
What a request takes of the engine is counted for whoever asks, also when it is cancelled.

vLLM lives in one thread of its own, which loads it, steps it in its turn (turns.py) and sleeps on a condition while
nothing is asked: off the event loop and off Kafka's threads, and nothing of it survives kill -9.
Rejected: AsyncLLM (three more processes, orphans of 2.6 GiB after kill -9); its HTTP server (openai.py speaks to one).
"""

from __future__ import annotations

import asyncio
import faulthandler
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from aios.inference_workers import batch, engine_arguments, prompt, turns
from aios.inference_workers.batch import Line, Usage
from aios.inference_workers.engine import (
    ENVIRONMENT,
    Embed,
    Embedding,
    Generate,
    Generation,
    RequestRefused,
    Runner,
    Structured,
    Told,
)
from aios.streams import failpoints
from aios.streams.config import InferenceSettings
from aios.streams.errors import ConfigError, EngineDead

log = logging.getLogger(__name__)

CLOSE_S_MAX = 5.0
WATCH_S = 1.0  # how often a step's age is looked at
HELD_S_MORE = 5.0  # beyond step_s_max without such a look: a thread of C ends the process, and says where it stood


@dataclass(slots=True, eq=False)
class _Ask:
    """A request on its way: what to put to vLLM, and who waits. inner: vLLM's id once it is in the engine; stats: its
    RequestStateStats, which grow with each step; written, written_at: how much of that is counted, and until when.
    """

    request: Embed | Generate
    answer: asyncio.Future[Any]
    usage: Usage
    inner: str = ""
    cancelled: bool = False
    stats: Any = None
    written: int = 0
    written_at: float | None = None

    @property
    def beginning(self) -> object:
        """What other requests of its kind may begin with as well: the conversation but for what is last said."""
        return self.request.messages[:-1] or None if isinstance(self.request, Generate) else None


class VllmEngine:
    """vLLM in a thread of this process."""

    def __init__(
        self, model: Path, runner: Runner, settings: InferenceSettings, told: Told | None = None, **overrides: Any
    ) -> None:
        """model: folder of safetensors and tokenizer. settings: as its pool has them. overrides: of vLLM's EngineArgs,
        for tests and bench.
        """
        self._model = model
        self._runner = runner
        self._settings = settings
        self._context = engine_arguments.context_tokens(settings, embeds=runner is Runner.EMBED)
        self._overrides = overrides
        self._wake = threading.Condition()
        self._inbox: deque[_Ask] = deque()  # bounded by the worker's in-flight limit
        self._told, self._turn = told, turns.of(settings)
        self._stats: Any = None  # vLLM's SchedulerStats of the last step
        # With both lanes here, some seats more than a full batch of bulk work, for those who wait.
        seats = overrides.get("max_num_seqs", settings.sequences_max)
        self._kept_free = -(-seats // batch.FREE_SHARE) if len(settings.lanes) > 1 else 0
        self._line: Line[_Ask] = Line(seats + self._kept_free, self._kept_free)
        self._in_engine: dict[str, _Ask] = {}
        self._ids, self._closing = itertools.count(), False
        self._error: EngineDead | None = None
        self._step_since: float | None = None
        self._version = "vllm"
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._engine: Any = None

    @property
    def version(self) -> str:
        return self._version

    @property
    def tokens_max(self) -> int:
        if self._runner is Runner.EMBED:
            return 0  # an encoder keeps nothing from one step to the next
        cache = self._engine.vllm_config.cache_config
        return int((cache.num_gpu_blocks or 0) * cache.block_size)

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
        try:
            while True:
                faulthandler.dump_traceback_later(self._settings.step_s_max + HELD_S_MORE, exit=True)
                await asyncio.wait((self._death,), timeout=WATCH_S)
                if self._death.done():
                    raise self._death.result()
                since = self._step_since
                if since is not None and time.monotonic() - since > self._settings.step_s_max:
                    why = f"one step of {self._model.name} has run for {self._settings.step_s_max} s: it hangs"
                    raise EngineDead(why)
        finally:
            faulthandler.cancel_dump_traceback_later()

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_S_MAX)

    async def _ask(self, request: Embed | Generate) -> Any:
        ask = _Ask(request, self._loop.create_future(), batch.metered(time.monotonic()))
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
        except ConfigError as error:
            self._tell(self._ready, error)
            self._die(EngineDead(str(error)))
            return
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

        engine_arguments.check_memory(self._model, self._settings)
        chosen = engine_arguments.here(self._model, embeds=self._runner is Runner.EMBED, settings=self._settings)
        chosen |= self._overrides
        chosen["max_num_seqs"] += self._kept_free
        try:
            with self._turn():
                config = vllm.EngineArgs(**chosen).create_engine_config()
                self._engine = LLMEngine.from_vllm_config(config, stat_loggers=[_stats(self)])
        except (RuntimeError, ValueError, MemoryError) as error:
            raise engine_arguments.setting_to_change(error, self._model, self._settings) or error from error
        self._on_cpu = "gpu_memory_utilization" not in chosen
        self._tokenizer = self._engine.get_tokenizer()
        if self._runner is Runner.GENERATE and not getattr(self._tokenizer, "chat_template", None):
            raise ConfigError(
                f"{self._model.name} has no chat template, so it answers nobody: take its instruct version"
            )
        self._control = prompt.control_words({*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()})
        self._version = f"vllm {vllm.__version__}"

    def _warm_up(self) -> None:
        """The first request pays for lazy imports and kernels, the first structured one for its grammars' too."""
        loop = self._loop
        first: list[Embed | Generate] = [Embed(text="warm-up")]
        if self._runner is Runner.GENERATE:
            free = Generate(messages=(("user", "Say yes."),), tokens_max=2)
            first = [free, replace(free, structured=Structured(choices=("yes", "no")))]
        for each in first:
            self._add(_Ask(each, loop.create_future(), Usage()))
        while self._in_engine:
            self._step()

    def _take(self) -> bool:
        """Hand vLLM what was asked; sleep while there is nothing to do. False: close."""
        with self._wake:
            while not (self._inbox or len(self._line) or self._in_engine or self._closing):
                self._wake.wait()
            if self._closing:
                return False
            asked = list(self._inbox)
            self._inbox.clear()
        for ask in asked:
            if not ask.cancelled:
                self._line.add(ask, ask.request.priority, ask.beginning)
            elif not self._line.remove(ask) and self._in_engine.pop(ask.inner, None) is not None:
                self._engine.abort_request([ask.inner])
        while (seated := self._line.next(len(self._in_engine))) is not None:
            self._add(seated)
        return True

    def _add(self, ask: _Ask) -> None:
        from vllm.exceptions import VLLMClientError

        request_id, priority = str(next(self._ids)), ask.request.priority
        try:
            tokens, parameters = self._translate(ask.request)
            theirs = self._engine.add_request(request_id, {"prompt_token_ids": tokens}, parameters, priority=priority)
        except (VLLMClientError, ValueError, TypeError) as error:
            self._tell(ask.answer, RequestRefused(f"{type(error).__name__}: {error}"))
            return
        ask.inner = request_id
        if isinstance(ask.request, Generate):
            ask.stats = self._engine.output_processor.request_states[theirs].stats
        ask.usage.seated_at = ask.usage.seated_at or time.monotonic()
        ask.usage.prompt_tokens += len(tokens)  # read, whether or not anybody waits for the end
        self._in_engine[request_id] = ask

    def _translate(self, request: Embed | Generate) -> tuple[list[int], Any]:
        from vllm import PoolingParams, SamplingParams

        if isinstance(request, Embed):
            tokens = self._tokenizer.encode(request.text, truncation=True, max_length=self._context)
            return tokens, PoolingParams(task="embed")
        from vllm.sampling_params import RequestOutputKind

        tokens = self._tokenizer.apply_chat_template(
            [{"role": role, "content": prompt.plain(self._control, content)} for role, content in request.messages],
            add_generation_prompt=True,
            return_dict=False,
        )
        if len(tokens) + request.tokens_max > self._context:
            raise ValueError(f"{len(tokens)} prompt tokens and {request.tokens_max} more exceed {self._context}")
        return tokens, SamplingParams(
            max_tokens=request.tokens_max,
            temperature=request.temperature,
            seed=self._seed(request),
            structured_outputs=_structured(request.structured),
            output_kind=RequestOutputKind.FINAL_ONLY,  # nobody reads an answer word by word
        )

    def _seed(self, request: Generate) -> int | None:
        """Of its sampling; a greedy request needs none. On a CPU the engine dies of one: where a prompt is read in
        pieces, vLLM 0.32 rewinds its generator, which a CPU's cannot (tests/engine/test_structured.py tells when).
        """
        if not request.temperature or not request.seed:
            return None
        if self._on_cpu:
            raise ValueError("vLLM on a CPU takes no seed of a request: set temperature 0, or seed 0 for any words")
        return request.seed

    def _step(self) -> None:
        with self._turn():
            began = self._step_since = time.monotonic()
            failpoints.hit("engine.step")
            outputs = self._engine.step()
            self._step_since = None
            seconds = time.monotonic() - began
        batch.share(seconds, [ask.usage for ask in self._in_engine.values()])
        for ask in self._in_engine.values():
            _count(ask)
        self._measure(seconds)
        finished = [output for output in outputs if output.finished and output.request_id in self._in_engine]
        ended = [(self._in_engine.pop(output.request_id).answer, _answer(output, self._context)) for output in finished]
        if ended:
            self._in_loop(partial(_resolve_all, ended))

    def _measure(self, seconds: float) -> None:
        stats, self._stats = self._stats, None
        if self._told is None or stats is None:
            return
        prefix, held_up = stats.prefix_cache_stats, stats.num_waiting_reqs
        seated_bulk = sum(batch.is_bulk(ask.request.priority) for ask in self._in_engine.values())
        held_up_bulk = min(held_up, seated_bulk)  # vLLM does not say who waits in it: who goes last
        self._told(
            running=stats.num_running_reqs,
            running_bulk=min(stats.num_running_reqs, seated_bulk - held_up_bulk),
            waiting=held_up + len(self._line),
            waiting_bulk=held_up_bulk + self._line.bulk,
            kv_used=stats.kv_cache_usage,
            step_seconds=seconds,
            prefix_queries=prefix.queries if prefix is not None else 0,
            prefix_hits=prefix.hits if prefix is not None else 0,
        )

    def _die(self, error: EngineDead) -> None:
        with self._wake:
            self._error = error  # nothing is posted from here on
            waiting = [*self._in_engine.values(), *self._inbox]
            while (ask := self._line.next(0)) is not None:
                waiting.append(ask)
            self._inbox.clear()
        self._in_engine.clear()
        self._tell(self._death, error)
        for ask in waiting:
            self._tell(ask.answer, error)
        self._tell(self._ready, error)

    def _tell(self, future: asyncio.Future[Any], result: Any) -> None:
        self._in_loop(partial(_resolve, future, result, as_value=future is self._death))

    def _in_loop(self, call: Callable[[], None]) -> None:
        """From the engine's thread to the event loop; a loop that is gone has nobody waiting."""
        try:
            self._loop.call_soon_threadsafe(call)
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


def _stats(engine: VllmEngine) -> Any:
    """What vLLM calls for each step with what its scheduler knows."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Stats(StatLoggerBase):
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Nothing of ours."""

        def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                engine._stats = scheduler_stats

        def log_engine_initialized(self) -> None:
            """Nothing to say."""

    return Stats


def _count(ask: _Ask) -> None:
    """What it wrote in this step, and when, for whoever asked: with each step, since nobody may wait for the last."""
    if ask.stats is not None and (more := ask.stats.num_generation_tokens - ask.written):
        ask.usage.wrote(more, at=ask.stats.last_token_ts, before=ask.written_at)
        ask.written, ask.written_at = ask.written + more, ask.stats.last_token_ts


def _resolve(future: asyncio.Future[Any], result: Any, *, as_value: bool) -> None:
    if future.done():
        return
    if isinstance(result, Exception) and not as_value:
        future.set_exception(result)
    else:
        future.set_result(result)


def _resolve_all(ended: Iterable[tuple[asyncio.Future[Any], Embedding | Generation]]) -> None:
    """What one step has brought: the loop is woken once for all of it."""
    for future, result in ended:
        _resolve(future, result, as_value=True)


def _answer(output: Any, context: int) -> Embedding | Generation:
    """VLLM's finished output → ours. context: tokens of a text that are read."""
    prompt_tokens = len(output.prompt_token_ids or ())
    if hasattr(output.outputs, "data"):
        vector = output.outputs.data.float().numpy()
        return Embedding(vector=vector, prompt_tokens=prompt_tokens, is_cut=prompt_tokens == context)
    best = output.outputs[0]
    return Generation(
        text=best.text,
        finish_reason=best.finish_reason or "",
        prompt_tokens=prompt_tokens,
        output_tokens=len(best.token_ids),
    )
