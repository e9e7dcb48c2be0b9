"""A worker and the process of its engine: what is asked is answered, refused, taken back or told of the death. vLLM
itself is faked here (tests/fakes/vllm_core.py); tests/engine/ has the real one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from aios.inference_workers.engines import batch, vllm_engine
from aios.inference_workers.engines.batch import Usage
from aios.inference_workers.engines.engine import Embed, Embedding, RequestRefused, Runner
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.streams.config import InferenceSettings
from aios.streams.errors import ConfigError, EngineDead

ROOT = Path(__file__).parents[2]
ENDED_S_MAX = 20.0
LOOK_S = 0.01
T = TypeVar("T")


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "CORE", "tests.fakes.vllm_core")
    monkeypatch.setattr(vllm_engine, "WATCH_S", LOOK_S)
    kept = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), *kept))))


class Heard:
    """Of the last step."""

    running = 0

    def __call__(self, *, running: int, **_: Any) -> None:
        self.running = running


def run(
    work: Callable[[VllmEngine], Awaitable[T]], *, model: str = "model", heard: Heard | None = None, **set_: Any
) -> T:
    """Start an engine, do the work with it, close it: nothing of it is left."""

    async def whole() -> T:
        settings = InferenceSettings().model_copy(update=set_)
        engine = VllmEngine(Path(model), Runner.EMBED, settings, heard)
        try:
            await engine.start()
            return await asyncio.wait_for(work(engine), ENDED_S_MAX)
        finally:
            await engine.close()
            assert engine.pid is not None
            assert not psutil.pid_exists(engine.pid)

    return asyncio.run(whole())


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(ENDED_S_MAX):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(LOOK_S)


async def metered(engine: VllmEngine, text: str, usage: Usage) -> Embedding:
    batch.METER.set(usage)
    return await engine.embed(Embed(text=text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("9", "too long", id="the library refuses it"),
        pytest.param("4", "no role of a system", id="its template raises an error of its own"),
    ],
)
def test_one_refused_request_leaves_the_others_alone(text: str, says: str) -> None:
    """It fails with the words that were said; the others have their vectors, and no engine ends."""

    async def work(engine: VllmEngine) -> list[Embedding | BaseException]:
        asked = (engine.embed(Embed(text=each)) for each in ("1", text, "12"))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, refused, last = run(work)
    assert isinstance(refused, RequestRefused)
    assert says in str(refused)
    assert isinstance(first, Embedding)
    assert isinstance(last, Embedding)
    assert last.prompt_tokens == 2


def test_who_is_in_line_sits_down_when_all_others_have_left_at_once() -> None:
    """More than there are seats for, and every step empties them all: nobody is forgotten in line."""

    async def work(engine: VllmEngine) -> int:
        asked = (engine.embed(Embed(text="1")) for _ in range(3 * InferenceSettings().sequences_max))
        return len(await asyncio.gather(*asked))

    assert run(work) == 3 * InferenceSettings().sequences_max


def test_when_the_last_one_is_taken_back_nobody_runs_any_more() -> None:
    """No step follows that would say so, perhaps for hours."""
    heard = Heard()

    async def work(engine: VllmEngine) -> None:
        waiting = asyncio.create_task(engine.embed(Embed(text="7")))
        await until(lambda: heard.running)
        waiting.cancel()
        await until(lambda: not heard.running)

    run(work, heard=heard)


def test_a_cancelled_request_is_taken_out_of_the_engine_and_charged_until_then() -> None:
    """Nothing goes on computing for nobody, in the batch or in line; it is charged for no later step."""
    heard, usage = Heard(), Usage()

    async def work(engine: VllmEngine) -> None:
        seats = InferenceSettings().sequences_max
        waiting = [asyncio.create_task(metered(engine, "7", usage))]
        waiting += [asyncio.create_task(engine.embed(Embed(text="7"))) for _ in range(2 * seats)]
        await until(lambda: usage.engine_us and heard.running >= seats)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await engine.embed(Embed(text="1"))
        charged = usage.engine_us
        await engine.embed(Embed(text="1"))
        assert usage.engine_us == charged

    run(work, heard=heard)
    assert heard.running == 1
    assert usage.prompt_tokens == 1


@pytest.mark.parametrize(("text", "said"), [("8", "out of memory"), ("5", "SIGSEGV")])
def test_when_the_engine_dies_everybody_is_told(text: str, said: str) -> None:
    """Whoever waits, whoever watches, and whoever asks afterwards: by an error of the library, or with its process."""

    async def work(engine: VllmEngine) -> None:
        watching = asyncio.create_task(engine.watch())
        waiting = [asyncio.create_task(engine.embed(Embed(text=each))) for each in ("7", text)]
        for told in (watching, *waiting):
            with pytest.raises(EngineDead, match=said):
                await told
        with pytest.raises(EngineDead):
            await engine.embed(Embed(text="1"))

    run(work)


def test_a_mistake_of_ours_in_listening_is_no_hang(caplog: pytest.LogCaptureFixture) -> None:
    """It ends the engine at once, for whoever watches and whoever waits, and the log says where it was made."""

    class Mistaken(Heard):
        def __call__(self, *, running: int, **_: Any) -> None:
            raise KeyError("mistaken")

    async def work(engine: VllmEngine) -> None:
        asked = asyncio.create_task(engine.embed(Embed(text="7")))
        with pytest.raises(EngineDead, match="not understood: KeyError"):
            await engine.watch()
        with pytest.raises(EngineDead, match="not understood"):
            await asked

    run(work, heard=Mistaken())
    assert "mistaken" in caplog.text


def test_an_engine_that_hangs_says_where_and_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    """It says nothing for longer than step_s_max: watch() raises, and the log has the place in the code. This process's
    loop has gone on meanwhile.
    """
    looks = 0

    async def work(engine: VllmEngine) -> None:
        asked = asyncio.create_task(engine.embed(Embed(text="6")))
        watching = asyncio.create_task(engine.watch())
        nonlocal looks
        while not watching.done():
            looks += 1
            await asyncio.sleep(LOOK_S)
        with pytest.raises(EngineDead, match="hangs"):
            await watching
        with pytest.raises(EngineDead):
            await asked

    run(work, step_s_max=0.5)
    assert looks > 10
    assert "vllm_core.py" in capfd.readouterr().err


def test_an_engine_that_is_stopped_is_killed_too() -> None:
    """Nothing of it runs any more, not even to say where it stands."""

    async def work(engine: VllmEngine) -> None:
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)
        asked = asyncio.create_task(engine.embed(Embed(text="1")))
        with pytest.raises(EngineDead, match="hangs"):
            await engine.watch()
        with pytest.raises(EngineDead):
            await asked

    run(work, step_s_max=0.5)


def test_an_engine_that_nobody_asks_is_not_hanging() -> None:
    """An hour's silence is for want of a question, and is not counted with the next one's."""

    async def work(engine: VllmEngine) -> None:
        engine._heard_at -= 3600
        watching, usage = asyncio.create_task(engine.watch()), Usage()
        await asyncio.wait((watching,), timeout=20 * LOOK_S)
        asked = asyncio.create_task(metered(engine, "7", usage))
        await until(lambda: usage.engine_us)
        await asyncio.wait((watching,), timeout=20 * LOOK_S)
        assert not watching.done()
        for each in (asked, watching):
            each.cancel()

    run(work)


@pytest.mark.parametrize(
    ("model", "error", "said"), [("absent", EngineDead, "no such"), ("large", ConfigError, "set ")]
)
def test_a_model_that_does_not_load_says_why(model: str, error: type[Exception], said: str) -> None:
    """start() raises, so that the process ends and its supervisor shows the reason, or the setting to change."""

    async def work(_: VllmEngine) -> None:
        raise AssertionError("it has started")

    with pytest.raises(error, match=said):
        run(work, model=model)


def test_an_engine_that_ends_just_when_it_would_be_killed_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it takes as long to end as it is given; then there is nothing to kill."""
    monkeypatch.setattr(vllm_engine, "CLOSE_S_MAX", 0.0)

    async def work(engine: VllmEngine) -> Any:
        process = engine._process
        assert process is not None

        def gone() -> None:
            os.kill(process.pid, signal.SIGKILL)
            raise ProcessLookupError

        monkeypatch.setattr(process, "kill", gone)
        return process

    assert run(work).returncode == -signal.SIGKILL
