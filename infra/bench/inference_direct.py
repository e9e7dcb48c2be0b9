"""One model by itself, as its users call it without Kafka: python -m aios.infra.bench.inference_direct PROCESS.

Enters: orders on standard input, a JSON object a line (below). Leaves: one answer to each on standard output; the first
line says that the model is loaded. Runs in the workers' environment. Guaranteed: vLLM is told what the workers tell it
(inference_workers/engines/engine_arguments.py), and asked what they ask it: the task itself makes the prompts, before
the clock starts. What LLM.chat and LLM.embed do themselves, the chat template and the tokens, is timed, as it is in a
pool.

    {"do": "offline", "first": 0, "count": 64}                LLM.generate or LLM.embed with all of them, once
    {"do": "steady", "first": 0, "count": 64, "at_once": 16}  so many in the engine, the next when one is done
    {"do": "paced", "first": 0, "count": 64, "per_s": 20}     one at a time as they are due
    {"do": "loop", "first": 0, "count": 64, "at_once": 16, …} what people write around a model (inference_loop.py)
Each is answered {"seconds": …, "took_ms": [of each]}. Rejected: texts of several pieces (a pool would have more to do).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from aios.inference_workers.engines import engine_arguments
from aios.inference_workers.engines.engine import ENVIRONMENT, Embed, Embedding, Generate, Generation, Runner
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.tasks import Task
from aios.inference_workers.weights import convert
from aios.inference_workers.worker import SERVED
from aios.infra.bench.inference_requests import requests
from aios.schemas.models import InferenceRequested
from aios.streams import config

Asks = Embed | Generate
Prompt = tuple[dict[str, Any], Any]  # what LLM takes, and its parameters


class _Asked(Exception):
    """What the task would have asked the engine."""

    def __init__(self, request: Asks) -> None:
        self.request = request


class _Listens:
    """In an engine's place: tells what it was asked."""

    def __init__(self) -> None:
        self.times = 0

    async def embed(self, request: Embed) -> Embedding:
        raise self._asked(request)

    async def generate(self, request: Generate) -> Generation:
        raise self._asked(request)

    def _asked(self, request: Asks) -> _Asked:
        self.times += 1
        return _Asked(request)


def asked_of(listens: _Listens, task: Task, loop: asyncio.Runner, request: InferenceRequested) -> Asks:
    """What a task asks an engine for this request. Raises ValueError where that is not one thing."""
    before = listens.times

    async def answer() -> Asks | None:
        try:
            await task.answer(request, 0)
        except _Asked as asked:
            return asked.request
        return None

    asked = loop.run(answer())
    if asked is None or listens.times != before + 1:
        raise ValueError(f"{request.request_id}: {listens.times - before} pieces; what is compared is one")
    return asked


class Direct:
    """vLLM's LLM for the model of a process."""

    def __init__(self, process: str) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        served = SERVED[process]
        settings = served.told(config.load().inference)
        os.environ.update(engine_arguments.environment(settings))
        import vllm

        self._process = process
        self._embeds = served.kind.runner is Runner.EMBED
        self._context = engine_arguments.context_tokens(settings, embeds=self._embeds)
        chosen = engine_arguments.here(convert.folder(served.pool.weights), embeds=self._embeds, settings=settings)
        self._llm = vllm.LLM(**chosen)
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()
        listens: Any = _Listens()  # a task asks it to embed and to generate, nothing else
        self._listens: _Listens = listens
        self._task = served.task(Shelf(lambda _: listens, key_of=lambda _: process, first=process))
        self._loop = asyncio.Runner()
        self.offline(self.asked(10**9, 2).values())  # kernels and lazy imports

    def asked(self, first: int, count: int) -> dict[str, Asks]:
        """What the task asks the engine for these requests, by request."""
        wanted = islice(requests(self._process, first), count)
        return {each.request_id: asked_of(self._listens, self._task, self._loop, each) for each in wanted}

    def prompt(self, asked: Asks) -> Prompt:
        """The same for LLM."""
        from vllm import PoolingParams, SamplingParams

        if isinstance(asked, Embed):
            tokens = self._tokenizer.encode(asked.text, truncation=True, max_length=self._context)
            return {"prompt_token_ids": tokens}, PoolingParams(task="embed")
        tokens = self._tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in asked.messages],
            add_generation_prompt=True,
            return_dict=False,
        )
        return {"prompt_token_ids": tokens}, SamplingParams(
            max_tokens=asked.tokens_max, temperature=asked.temperature, seed=asked.seed or None
        )

    def offline(self, asked: Iterable[Asks]) -> None:
        """All at once, as a batch job does."""
        prompts = list(map(self.prompt, asked))
        texts = [text for text, _ in prompts]
        if self._embeds:
            self._llm.embed(texts, use_tqdm=False)
        else:
            self._llm.generate(texts, [parameters for _, parameters in prompts], use_tqdm=False)

    def steady(self, asked: Mapping[str, Asks], at_once: int) -> list[float]:
        """Milliseconds of each."""
        waiting, began, took_ms = deque(asked.items()), dict[str, float](), list[float]()
        while waiting or began:
            while waiting and len(began) < at_once:
                self._begin(*waiting.popleft(), began)
            self._step(began, took_ms)
        return took_ms

    def paced(self, asked: Mapping[str, Asks], per_s: float) -> list[float]:
        """Milliseconds of each since it was due."""
        began, took_ms, start = dict[str, float](), list[float](), time.monotonic()
        due = deque((start + number / per_s, *each) for number, each in enumerate(asked.items()))
        while due or began:
            while due and due[0][0] <= time.monotonic():
                at, name, request = due.popleft()
                self._begin(name, request, began, at)
            if began:
                self._step(began, took_ms)
            elif due:
                time.sleep(max(0.0, due[0][0] - time.monotonic()))
        return took_ms

    def _begin(self, name: str, asked: Asks, began: dict[str, float], at: float | None = None) -> None:
        began[name] = time.monotonic() if at is None else at
        self._engine.add_request(name, *self.prompt(asked))

    def _step(self, began: dict[str, float], took_ms: list[float]) -> None:
        done = [output.request_id for output in self._engine.step() if output.finished]
        took_ms.extend((time.monotonic() - began.pop(name)) * 1000 for name in done)

    def do(self, order: Mapping[str, Any]) -> dict[str, Any]:
        asked = self.asked(order["first"], order["count"])
        if order["do"] == "loop":
            from aios.infra.bench import inference_loop

            return inference_loop.run(self, asked, order)
        began, took_ms = time.monotonic(), list[float]()
        if order["do"] == "offline":
            self.offline(asked.values())
        elif order["do"] == "steady":
            took_ms = self.steady(asked, order["at_once"])
        else:
            took_ms = self.paced(asked, order["per_s"])
        return {"seconds": time.monotonic() - began, "took_ms": took_ms}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else speaks on standard output
    with contextlib.closing(answers):
        direct = Direct(sys.argv[1])
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(direct.do(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
