"""An engine without a model: it does what a text says. tests/engine/ asks the real one the same questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

from aios.inference_workers.engines.batch import METER
from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, RequestRefused
from aios.inference_workers.engines.shelf import Shelf
from aios.streams.errors import EngineDead, Unavailable

ENGINE_US = 20_000  # charged for each ask


def shelf_of(engine: Any) -> Shelf:
    """That has this one engine for whatever version is asked."""
    return Shelf(lambda _: engine, lambda _: "one", "one")


class FakeEngine:
    """A text's first word says what happens: refuse, die, away (once), bug, hang; anything else is answered.

    asked: priorities in the order of asking. cancelled: how many were taken back.
    """

    def __init__(self, dimensions: int = 4) -> None:
        self.asked: list[int] = []
        self.texts: list[str] = []
        self.cancelled = 0
        self.any_cancelled = asyncio.Event()
        self.together_max = 0
        self._together = 0
        self._dimensions = dimensions
        self._away: set[str] = set()
        self._death: asyncio.Future[EngineDead] | None = None

    @property
    def version(self) -> str:
        return "fake 1"

    @property
    def tokens_max(self) -> int:
        return 0

    async def start(self) -> None:
        self._death = asyncio.get_running_loop().create_future()

    async def embed(self, request: Embed) -> Embedding:
        await self._do(request.text, request.priority)
        return Embedding(vector=vector_of(request.text, self._dimensions), prompt_tokens=len(request.text.split()))

    async def generate(self, request: Generate) -> Generation:
        text = request.messages[-1][1]
        await self._do(text, request.priority)
        return Generation(text=f"About {text[:20]}.", finish_reason="stop", prompt_tokens=5, output_tokens=3)

    async def watch(self) -> NoReturn:
        assert self._death is not None
        raise await self._death

    async def close(self) -> None:
        pass

    async def _do(self, text: str, priority: int) -> None:
        usage = METER.get()
        if usage is not None:
            usage.engine_us += ENGINE_US
        self.asked.append(priority)
        self.texts.append(text)
        self._together += 1
        self.together_max = max(self.together_max, self._together)
        try:
            await self._obey(text)
        except asyncio.CancelledError:
            self.cancelled += 1
            self.any_cancelled.set()
            raise
        finally:
            self._together -= 1

    async def _obey(self, text: str) -> None:
        await asyncio.sleep(0)
        verb = text.split(maxsplit=1)[0] if text.split() else ""
        if verb == "refuse":
            raise RequestRefused("it is too long")
        if verb == "die":
            assert self._death is not None
            if not self._death.done():
                self._death.set_result(EngineDead("the fake engine died"))
            raise EngineDead("the fake engine died")
        if verb == "away" and text not in self._away:
            self._away.add(text)
            raise Unavailable("the fake engine is away")
        if verb == "bug":
            raise ZeroDivisionError(text)
        if verb == "hang":
            await asyncio.sleep(3600)


def vector_of(text: str, dimensions: int) -> Sequence[float]:
    """The same for the same text."""
    return [float(len(text) % (7 + i)) + 1 for i in range(dimensions)]
