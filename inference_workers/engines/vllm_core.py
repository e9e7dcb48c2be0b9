"""The process of an engine: vLLM, stepped for the worker that started it. The one file that imports vllm.

    python -m aios.inference_workers.engines.vllm_core WORKER FD     WORKER: its process id; FD: this end of the channel

Enters: what the worker asks and takes back (channel.py). Leaves: after each step what it has brought. Guaranteed:
requests share vLLM's continuous batch; a lower priority number goes first, and whoever waits finds a seat though the
batch is full of bulk work (batch.py); one that vLLM refuses fails alone; an error in vLLM ends the process, and so does
the end of the worker, at once (Linux) also where a step would never end.
One thread: nothing competes with vLLM for the interpreter, and what is asked while a step runs waits in the socket.
Rejected: vLLM in a thread of the worker (it holds the interpreter for nearly half of an encoder's time, and the worker
for as long), AsyncLLM, its HTTP server: infra/decisions/0002-an-engine-has-a-process-of-its-own.md.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import logging
import os
import resource
import socket
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import prometheus_client

from aios.inference_workers import prompt
from aios.inference_workers.engines import batch, engine_arguments
from aios.inference_workers.engines.batch import Line
from aios.inference_workers.engines.bound import bind_to
from aios.inference_workers.engines.channel import NOTHING, Ask, Cancel, Died, End, Load, Loaded, Stepped
from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, Runner, Structured
from aios.inference_workers.engines.giving_way import give_way
from aios.streams import logs
from aios.streams.errors import ConfigError

METRICS_S = 5.0  # between two looks at vLLM's own metrics, while there is work
COMMAND_NAME = Path("/proc/self/comm")
WARM_UP = -1  # the number of what nobody asked
NOBODY = {
    "running": 0,
    "running_bulk": 0,
    "waiting": 0,
    "waiting_bulk": 0,
    "kv_used": 0.0,
    "step_seconds": 0.0,
    "prefix_queries": 0,
    "prefix_hits": 0,
}
"""What is told when the last who sat has left, after which no step is made."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Seated:
    """A request in vLLM. inner: its id there; stats: its RequestStateStats, which grow with each step; written: how
    many tokens of it are told.
    """

    number: int
    priority: int
    inner: str
    stats: Any = None
    written: int = 0


class Core:
    """vLLM, its line, and what is to be told of them."""

    def __init__(self, order: Load) -> None:
        self._order = order
        self._settings = order.settings
        self._context = engine_arguments.context_tokens(order.settings, embeds=order.runner is Runner.EMBED)
        # With both lanes here, some seats more than a full batch of bulk work, for those who wait.
        seats = order.overrides.get("max_num_seqs", order.settings.sequences_max)
        self._kept_free = batch.kept_free(seats, order.settings.lanes)
        self._line: Line[Ask] = Line(seats + self._kept_free, self._kept_free, order.overtaken_max)
        self._in_line: dict[int, Ask] = {}
        self._seated: dict[str, _Seated] = {}
        self._ids = itertools.count()
        self._stepped = Stepped()
        self._stats: Any = None  # vLLM's SchedulerStats of the last step
        self._metrics_at, self._owes_metrics = 0.0, False
        self._engine: Any = None

    @property
    def is_busy(self) -> bool:
        return bool(self._seated or self._in_line)

    @property
    def rests_s(self) -> float | None:
        """How long it may sleep while nothing is asked; None: for ever."""
        return METRICS_S if self._owes_metrics else None

    def load(self) -> Loaded:
        """Raises ConfigError where a setting must change, and whatever else vLLM raises."""
        logging.getLogger("vllm").setLevel(logging.ERROR)  # it warns of what is meant: no compiling, no Triton
        import vllm
        from vllm.v1.engine.llm_engine import LLMEngine

        model, embeds = self._order.model, self._order.runner is Runner.EMBED
        engine_arguments.check_memory(model, self._settings)
        chosen = engine_arguments.here(model, embeds=embeds, settings=self._settings)
        chosen |= self._order.overrides
        chosen["max_num_seqs"] += self._kept_free
        try:
            config = vllm.EngineArgs(**chosen).create_engine_config()
            self._engine = LLMEngine.from_vllm_config(config, stat_loggers=[_stats(self)])
        except (RuntimeError, ValueError, MemoryError) as error:
            raise engine_arguments.setting_to_change(error, model, self._settings) or error from error
        self._on_cpu = "gpu_memory_utilization" not in chosen
        self._tokenizer = self._engine.get_tokenizer()
        if not embeds and not getattr(self._tokenizer, "chat_template", None):
            raise ConfigError(f"{model.name} has no chat template, so it answers nobody: take its instruct version")
        self._conversation = prompt.Tokens(self._tokenizer)
        cache = self._engine.vllm_config.cache_config
        self._warm_up()
        return Loaded(
            version=f"vllm {vllm.__version__}",
            tokens_max=0 if embeds else int((cache.num_gpu_blocks or 0) * cache.block_size),
        )

    def _warm_up(self) -> None:
        """The first request pays for lazy imports and kernels, the first structured one for its grammars' too."""
        first: list[Embed | Generate] = [Embed(text="warm-up")]
        if self._order.runner is Runner.GENERATE:
            free = Generate(messages=(("user", "Say yes."),), tokens_max=2)
            first = [free, replace(free, structured=Structured(choices=("yes", "no")))]
        for number, each in enumerate(first):
            self.take(Ask(WARM_UP - number, each))
        while self.is_busy:
            self.step()

    def take(self, message: Ask | Cancel) -> None:
        if isinstance(message, Ask):
            self._in_line[message.number] = message
            self._line.add(message, message.request.priority, _beginning(message.request))
            return
        if (ask := self._in_line.pop(message.number, None)) is not None:
            self._line.remove(ask)
        elif (seated := self._seat_of(message.number)) is not None:
            del self._seated[seated.inner]
            self._engine.abort_request([seated.inner])
        else:
            return
        self._stepped.left.append(message.number)

    def _seat_of(self, number: int) -> _Seated | None:
        return next((seated for seated in self._seated.values() if seated.number == number), None)

    def step(self) -> Stepped:
        """Seat whom there is room for, have vLLM make a step if anybody sits, and say what has happened."""
        while (ask := self._line.next(len(self._seated))) is not None:
            self._seat(self._in_line.pop(ask.number))
        stepped, self._stepped = self._stepped, Stepped()
        stepped.metrics = self._metrics()
        if not self._seated:
            if stepped.left:
                stepped.told = NOBODY
            return stepped
        began = time.monotonic()
        outputs = self._engine.step()
        stepped.seconds = time.monotonic() - began
        for seated in self._seated.values():
            _count(seated, stepped)
        stepped.told, self._owes_metrics = self._told(stepped.seconds), True
        for output in outputs:
            if output.finished and (ended := self._seated.pop(output.request_id, None)) is not None:
                stepped.ended.append((ended.number, _answer(output, self._context)))
        return stepped

    def _seat(self, ask: Ask) -> None:
        from vllm.exceptions import VLLMClientError

        inner, priority = str(next(self._ids)), ask.request.priority
        try:
            tokens, parameters = self._translate(ask.request)
        except Exception as error:  # noqa: BLE001 - a model's template raises what it likes, and vLLM knows nothing of it
            self._refuse(ask, error)
            return
        try:
            theirs = self._engine.add_request(inner, {"prompt_token_ids": tokens}, parameters, priority=priority)
        except (VLLMClientError, ValueError, TypeError) as error:
            self._refuse(ask, error)
            return
        generates = isinstance(ask.request, Generate)
        stats = self._engine.output_processor.request_states[theirs].stats if generates else None
        self._seated[inner] = _Seated(ask.number, priority, inner, stats)
        self._stepped.seated.append((ask.number, len(tokens), time.monotonic()))

    def _refuse(self, ask: Ask, error: Exception) -> None:
        self._stepped.refused.append((ask.number, f"{type(error).__name__}: {error}"))

    def _translate(self, request: Embed | Generate) -> tuple[list[int], Any]:
        """Into vLLM's terms: the prompt's tokens and its parameters. Raises ValueError, or what a tokenizer or template
        raises: it can never be answered.
        """
        from vllm import PoolingParams, SamplingParams

        if isinstance(request, Embed):
            tokens = self._tokenizer.encode(request.text, truncation=True, max_length=self._context)
            return tokens, PoolingParams(task="embed")
        from vllm.sampling_params import RequestOutputKind

        tokens = self._conversation.of(request.messages)
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

    def _told(self, seconds: float) -> dict[str, Any] | None:
        stats, self._stats = self._stats, None
        if stats is None:
            return None
        prefix, held_up = stats.prefix_cache_stats, stats.num_waiting_reqs
        seated_bulk = sum(batch.is_bulk(seated.priority) for seated in self._seated.values())
        held_up_bulk = min(held_up, seated_bulk)  # vLLM does not say who waits in it: who goes last
        return {
            "running": stats.num_running_reqs,
            "running_bulk": min(stats.num_running_reqs, seated_bulk - held_up_bulk),
            "waiting": held_up + len(self._line),
            "waiting_bulk": held_up_bulk + self._line.bulk,
            "kv_used": stats.kv_cache_usage,
            "step_seconds": seconds,
            "prefix_queries": prefix.queries if prefix is not None else 0,
            "prefix_hits": prefix.hits if prefix is not None else 0,
        }

    def _metrics(self) -> str:
        """VLLM's own, as they stand, every METRICS_S; empty: they are not due."""
        now = time.monotonic()
        if not self._owes_metrics or now - self._metrics_at < METRICS_S:
            return ""
        self._metrics_at, self._owes_metrics = now, False
        return prometheus_client.generate_latest().decode()


def _beginning(request: Embed | Generate) -> object:
    """What other requests of its kind may begin with as well: the conversation but for what is last said."""
    return request.messages[:-1] or None if isinstance(request, Generate) else None


def _structured(wanted: Structured | None) -> Any:
    """What vLLM holds the model to."""
    if wanted is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    if wanted.choices:
        return StructuredOutputsParams(choice=list(wanted.choices))
    return StructuredOutputsParams(json=wanted.schema)


def _stats(core: Core) -> Any:
    """What vLLM calls for each step with what its scheduler knows."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Stats(StatLoggerBase):
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Nothing of ours."""

        def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                core._stats = scheduler_stats

        def log_engine_initialized(self) -> None:
            """Nothing to say."""

    return Stats


def _count(seated: _Seated, stepped: Stepped) -> None:
    """What it wrote in this step, and when, for whoever asked: with each step, since nobody may wait for the last."""
    if seated.stats is not None and (more := seated.stats.num_generation_tokens - seated.written):
        stepped.wrote.append((seated.number, more, seated.stats.last_token_ts))
        seated.written += more


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


def serve(end: End) -> None:
    """Until the worker lets go (EOFError), or the engine dies: the worker is told why."""
    while not (come := end.read()):
        end.wait()
    order, *asked = come
    assert isinstance(order, Load)
    give_way(order.settings.lanes)
    if order.who is not None:
        logs.start(*order.who)
        with contextlib.suppress(OSError):  # for top and ps
            COMMAND_NAME.write_text(f"{'.'.join(map(str, order.who))} vllm", encoding="ascii")
    core = Core(order)
    try:
        end.send(core.load())
        while True:
            for message in (*asked, *end.read()):
                assert isinstance(message, Ask | Cancel)
                core.take(message)
            asked = []
            if (stepped := core.step()) != NOTHING:
                end.send(stepped)
            if not core.is_busy:
                end.wait(core.rests_s)
    except EOFError:
        raise
    except ConfigError as error:
        end.send(Died(str(error), is_setting=True))
    except Exception as error:  # whatever it is, vLLM's state is not known any more
        log.exception("the engine died")
        end.send(Died(f"{order.model.name}: {type(error).__name__}: {error}"))


def main() -> None:
    worker, number = map(int, sys.argv[1:3])
    bind_to(worker)
    faulthandler.enable()  # a worker that finds it hanging has it say where, by SIGABRT
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(2, 1)  # vLLM prints; whoever reads the worker's output reads no engine's
    try:
        serve(End(socket.socket(fileno=number)))
    except (EOFError, ConnectionError):
        log.debug("the worker has let go")


if __name__ == "__main__":
    main()
