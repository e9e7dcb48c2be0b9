"""The engine of a worker: vLLM, in a process of its own (vllm_core.py).

Beyond what every engine promises (engine.py): what a request takes of the engine is counted for whoever asks, also when
it is cancelled; an engine that says nothing for step_s_max while it is asked something is as good as dead, is made to
say in the log where it stands, and killed; one for which there is not the memory says at start which setting to
change. Whatever the engine does, this process's event loop goes on; whatever becomes of this process, the engine's
ends with it.
Rejected: see vllm_core.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from aios.inference_workers.engines import batch, channel, engine_arguments, vllm_metrics
from aios.inference_workers.engines.batch import Usage
from aios.inference_workers.engines.channel import Ask, Cancel, Died, Load, Loaded, Stepped
from aios.inference_workers.engines.engine import (
    ENVIRONMENT,
    Embed,
    Embedding,
    Generate,
    Generation,
    RequestRefused,
    Runner,
    Told,
)
from aios.streams import logs
from aios.streams.config import InferenceSettings
from aios.streams.errors import ConfigError, EngineDead

CORE = "aios.inference_workers.engines.vllm_core"
CLOSE_S_MAX = 5.0
ABORT_S_MAX = 2.0  # for saying where it hangs
WATCH_S = 1.0  # how often its silence is looked at; who was stopped himself looks twice before he judges

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Asked:
    """Who waits. written_at: when its last tokens were."""

    answer: asyncio.Future[Any]
    usage: Usage
    written_at: float | None = None


class VllmEngine:
    """vLLM in a child process."""

    def __init__(
        self,
        model: Path,
        runner: Runner,
        settings: InferenceSettings,
        told: Told | None = None,
        *,
        overtaken_max: int = batch.OVERTAKEN_MAX,
        **overrides: Any,
    ) -> None:
        """model: folder of safetensors and tokenizer. settings: as its pool has them. overtaken_max: of its line, and
        overrides: of vLLM's EngineArgs, for tests and bench.
        """
        self._load = Load(
            model=model,
            runner=runner,
            settings=settings,
            overtaken_max=overtaken_max,
            overrides=overrides,
            who=logs.who(),
        )
        self._told = told
        self._settings = settings
        self._numbers = itertools.count()
        self._asked: dict[int, _Asked] = {}  # until the engine has done with them; as many as a worker has in flight
        self._seated: dict[int, _Asked] = {}
        self._heard_at = 0.0
        self._loaded = Loaded(version="vllm", tokens_max=0)
        self._error: EngineDead | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        return self._loaded.version

    @property
    def tokens_max(self) -> int:
        return self._loaded.tokens_max

    @property
    def pid(self) -> int | None:
        """Of its process, once there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        self._death: asyncio.Future[EngineDead] = asyncio.get_running_loop().create_future()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                CORE,
                str(os.getpid()),
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=ENVIRONMENT | os.environ | engine_arguments.environment(self._settings),
                start_new_session=True,  # a terminal's Ctrl-C is for the worker, which lets it finish
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._writer.write(channel.framed(self._load))
        try:
            said = await asyncio.wait_for(self._hear(), self._settings.load_s_max)
        except TimeoutError as error:
            why = f"{self._name} did not load within inference.load_s_max: {self._settings.load_s_max} s"
            raise EngineDead(why) from error
        if isinstance(said, Died):
            raise ConfigError(said.why) if said.is_setting else EngineDead(said.why)
        assert isinstance(said, Loaded)
        self._loaded = said
        self._listening = asyncio.create_task(self._listen())

    @property
    def _name(self) -> str:
        return self._load.model.name

    async def embed(self, request: Embed) -> Embedding:
        answer: Embedding = await self._ask(request)
        return answer

    async def generate(self, request: Generate) -> Generation:
        answer: Generation = await self._ask(request)
        return answer

    async def watch(self) -> NoReturn:
        seen_silent = False
        while True:
            await asyncio.wait((self._death,), timeout=WATCH_S)
            if self._death.done():
                raise self._death.result()
            silent = bool(self._asked) and time.monotonic() - self._heard_at > self._settings.step_s_max
            if silent and seen_silent:
                await self._abort()
                raise EngineDead(f"one step of {self._name} has run for {self._settings.step_s_max} s: it hangs")
            seen_silent = silent

    async def close(self) -> None:
        if self._process is None:
            return
        if self._listening is not None:
            self._listening.cancel()
        self._writer.close()
        await self._ended_within(CLOSE_S_MAX)
        vllm_metrics.forget(self)
        self._die(EngineDead(f"{self._name} was closed"))

    async def _abort(self) -> None:
        """It says where it stands (faulthandler), and ends."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)
        await self._ended_within(ABORT_S_MAX)

    async def _ended_within(self, s_max: float) -> None:
        """By itself, or killed."""
        assert self._process is not None
        try:
            await asyncio.wait_for(self._process.wait(), s_max)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # just then, by itself
                self._process.kill()
            await self._process.wait()

    async def _ask(self, request: Embed | Generate) -> Any:
        if self._error is not None:
            raise self._error
        number = next(self._numbers)
        asked = _Asked(asyncio.get_running_loop().create_future(), batch.metered(time.monotonic()))
        if not self._asked:
            self._heard_at = time.monotonic()  # its silence until now was for want of a question
        self._asked[number] = asked
        self._writer.write(channel.framed(Ask(number, request)))
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if number in self._asked and self._error is None:
                self._writer.write(channel.framed(Cancel(number)))
            raise

    # ── what the engine says ─────────────────────────────────────────────────────────────────────────

    async def _hear(self) -> channel.Message:
        """What it says next; its end is its last word."""
        try:
            return await channel.read(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            assert self._process is not None
            return Died(f"{self._name}: its process ended, {_how(await self._process.wait())}")

    async def _listen(self) -> None:
        try:
            while not isinstance(said := await self._hear(), Died):
                assert isinstance(said, Stepped)
                self._heard_at = time.monotonic()
                self._apply(said)
            self._die(EngineDead(said.why))
        except Exception as error:  # a mistake of ours, which would pass for an engine that hangs
            log.exception("what %s said was not understood", self._name)
            self._die(EngineDead(f"what {self._name} said was not understood: {type(error).__name__}"))

    def _apply(self, stepped: Stepped) -> None:
        """In the order in which it happened there."""
        for number in stepped.left:
            self._done(number)
        for number, why in stepped.refused:
            self._tell(number, RequestRefused(why))
        for number, tokens, at in stepped.seated:
            self._seat(number, tokens, at)
        batch.share(stepped.seconds, [asked.usage for asked in self._seated.values()])
        for number, tokens, at in stepped.wrote:
            asked = self._asked[number]
            asked.usage.wrote(tokens, at=at, before=asked.written_at)
            asked.written_at = at
        for number, answer in stepped.ended:
            self._tell(number, answer)
        if self._told is not None and stepped.told is not None:
            self._told(**stepped.told)
        if stepped.metrics:
            vllm_metrics.keep(self, stepped.metrics)

    def _seat(self, number: int, tokens: int, at: float) -> None:
        asked = self._seated[number] = self._asked[number]
        asked.usage.seated_at = asked.usage.seated_at or at
        asked.usage.prompt_tokens += tokens  # read, whether or not anybody waits for the end

    def _done(self, number: int) -> _Asked:
        self._seated.pop(number, None)
        return self._asked.pop(number)

    def _tell(self, number: int, result: Embedding | Generation | Exception) -> None:
        _resolve(self._done(number).answer, result)

    def _die(self, error: EngineDead) -> None:
        if self._error is not None:
            return
        self._error = error
        if not self._death.done():
            self._death.set_result(error)
        for number in list(self._asked):
            self._tell(number, error)


def _resolve(future: asyncio.Future[Any], result: Embedding | Generation | Exception) -> None:
    if future.done():  # cancelled
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _how(status: int) -> str:
    """What an exit status says."""
    if status >= 0:
        return f"with status {status}"
    killed = " (by the kernel, where memory was out)" if status == -signal.SIGKILL else ""
    return f"by {signal.Signals(-status).name}{killed}"
