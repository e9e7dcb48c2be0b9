"""The engine's thread: what is asked is answered, refused, taken back or told of the death. vLLM itself is faked here;
tests/engine/ has the real one."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest

from aios.inference_workers import vllm_engine as module
from aios.inference_workers.engine import Embed, Embedding, RequestRefused, Runner
from aios.inference_workers.vllm_engine import VllmEngine
from aios.streams.config import InferenceSettings
from aios.streams.errors import EngineDead

ENDED_S_MAX = 10.0
T = TypeVar("T")


class FakeVllm:
    """LLMEngine's three methods. Texts are lists of numbers by then: a 7 waits to be let go, an 8 breaks the step,
    a 9 is refused, a 6 holds the step up."""

    def __init__(self) -> None:
        self.asked: dict[str, list[int]] = {}
        self.aborted: list[str] = []
        self.stepped = threading.Event()
        self.released = threading.Event()

    def add_request(self, request_id: str, prompt: dict[str, list[int]], _parameters: object, *, priority: int) -> None:
        if 9 in prompt["prompt_token_ids"]:
            raise ValueError("too long")
        self.asked[request_id] = prompt["prompt_token_ids"]

    def step(self) -> list[Any]:
        done = []
        for request_id, tokens in list(self.asked.items()):
            if 8 in tokens:
                raise RuntimeError("out of memory")
            if 6 in tokens:
                self.released.wait(ENDED_S_MAX)
            if 7 in tokens:
                self.stepped.set()
                self.released.wait(0.001)
                continue
            del self.asked[request_id]
            data = SimpleNamespace(float=lambda: SimpleNamespace(numpy=lambda: np.array([1.0])))
            outputs = SimpleNamespace(data=data)
            done.append(SimpleNamespace(finished=True, request_id=request_id, prompt_token_ids=tokens, outputs=outputs))
        return done

    def abort_request(self, request_ids: list[str]) -> None:
        self.aborted += request_ids
        for request_id in request_ids:
            self.asked.pop(request_id, None)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVllm]:
    """In the place of the library, and loaded at once."""
    fake = FakeVllm()
    library: Any = ModuleType("vllm")  # a module takes any name
    exceptions: Any = ModuleType("vllm.exceptions")
    library.PoolingParams = lambda **_: None
    library.SamplingParams = lambda **_: None
    exceptions.VLLMClientError = type("VLLMClientError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "vllm", library)
    monkeypatch.setitem(sys.modules, "vllm.exceptions", exceptions)
    monkeypatch.setattr(module, "WATCH_S", 0.01)

    def load(self: VllmEngine) -> None:
        self._engine = fake
        self._tokenizer = SimpleNamespace(encode=lambda text, **_: [int(c) for c in text if c.isdigit()])

    monkeypatch.setattr(VllmEngine, "_load", load)
    yield fake
    fake.released.set()


def run(work: Callable[[VllmEngine], Awaitable[T]], step_s_max: float = 60) -> T:
    """Start an engine, do the work with it, close it."""

    async def whole() -> T:
        settings = InferenceSettings().model_copy(update={"step_s_max": step_s_max})
        engine = VllmEngine(Path("model"), Runner.EMBED, settings)
        await engine.start()
        try:
            return await asyncio.wait_for(work(engine), ENDED_S_MAX)
        finally:
            await engine.close()

    return asyncio.run(whole())


def test_one_refused_request_leaves_the_others_alone(vllm: FakeVllm) -> None:
    """It fails with the library's words; the others have their vectors."""

    async def work(engine: VllmEngine) -> list[Embedding | BaseException]:
        asked = (engine.embed(Embed(text=text)) for text in ("1", "9", "12"))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, refused, last = run(work)
    assert isinstance(refused, RequestRefused)
    assert "too long" in str(refused)
    assert isinstance(first, Embedding)
    assert isinstance(last, Embedding)
    assert last.prompt_tokens == 2


def test_who_is_in_line_sits_down_when_all_others_have_left_at_once(vllm: FakeVllm) -> None:
    """More than there are seats for, and every step empties them all: nobody is forgotten in line."""

    async def work(engine: VllmEngine) -> int:
        asked = (engine.embed(Embed(text="1")) for _ in range(3 * InferenceSettings().sequences_max))
        return len(await asyncio.gather(*asked))

    assert run(work) == 3 * InferenceSettings().sequences_max


def test_a_cancelled_request_is_taken_out_of_the_engine(vllm: FakeVllm) -> None:
    """Nothing goes on computing for nobody."""

    async def work(engine: VllmEngine) -> None:
        waiting = asyncio.create_task(engine.embed(Embed(text="7")))
        await asyncio.to_thread(vllm.stepped.wait, ENDED_S_MAX)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await engine.embed(Embed(text="1"))  # the thread has seen the cancellation before this

    run(work)
    assert len(vllm.aborted) == 1
    assert not vllm.asked


def test_when_the_engine_dies_everybody_is_told(vllm: FakeVllm) -> None:
    """Whoever waits, whoever watches, and whoever asks afterwards."""

    async def work(engine: VllmEngine) -> None:
        watching = asyncio.create_task(engine.watch())
        waiting = [asyncio.create_task(engine.embed(Embed(text=text))) for text in ("7", "8")]
        for told in (watching, *waiting):
            with pytest.raises(EngineDead, match="out of memory"):
                await told
        with pytest.raises(EngineDead):
            await engine.embed(Embed(text="1"))

    run(work)


def test_an_engine_that_hangs_is_as_good_as_dead(vllm: FakeVllm) -> None:
    """One step takes longer than step_s_max: watch() says so, although nobody has raised anything."""

    async def work(engine: VllmEngine) -> None:
        asked = asyncio.create_task(engine.embed(Embed(text="6")))
        with pytest.raises(EngineDead, match="hangs"):
            await engine.watch()
        vllm.released.set()
        await asked

    run(work, step_s_max=0.05)


def test_a_model_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """start() raises, so that the process ends and its supervisor shows the reason."""

    def load(_: VllmEngine) -> None:
        raise OSError("no such model")

    monkeypatch.setattr(VllmEngine, "_load", load)

    async def work(_: VllmEngine) -> None:
        raise AssertionError("it has started")

    with pytest.raises(EngineDead, match="no such model"):
        run(work)
