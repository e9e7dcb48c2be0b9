"""The engines of one worker, one for each set of weights that versions of its model are served with.

Enters: what is asked of a version. Leaves: the answer of its engine. Guaranteed: the engine of the newest version is
loaded and warm before the process serves anybody; another one is loaded when its first request comes, and stays; who
asks it meanwhile waits for it, or asks is_here() first and comes again; one that cannot be loaded beside it (memory,
weights that are not there) fails what is asked of it, says why, and disturbs nobody else; a loaded one that dies or
hangs ends the process like the only one would. As an Engine, a shelf is its first one.
Rejected: every engine from the start (twice the memory and the start-up for a version that may serve nobody), a process
a version (who starts it when a canary begins?).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from aios.inference_workers.engines.engine import Embed, Embedding, Engine, Generate, Generation, RequestRefused

LOAD_AGAIN_S = 300.0  # after one that failed: until somebody who asks has it tried once more
AT_ONCE_S = 0.5  # an engine elsewhere has nothing to load: nobody is sent away for that

log = logging.getLogger(__name__)


class _Load(NamedTuple):
    """engine: once it is loaded. begun_at: in the loop's time."""

    engine: asyncio.Task[Engine]
    begun_at: float


class Shelf:
    """See the module. make: the engine of a key. key_of: the key of a version. first: what start() loads, a key."""

    def __init__(self, make: Callable[[str], Engine], key_of: Callable[[str], str], first: str) -> None:
        self._make = make
        self._key_of = key_of
        self._first = make(first)
        self._key = first
        self._engines: set[Engine] = {self._first}
        self._loads: dict[str, _Load] = {}
        self._watches: set[asyncio.Task[NoReturn]] = set()
        self._death: asyncio.Future[Exception] | None = None

    @property
    def version(self) -> str:
        return self._first.version

    @property
    def tokens_max(self) -> int:
        return self._first.tokens_max

    async def start(self) -> None:
        self._death = asyncio.get_running_loop().create_future()
        await self._first.start()
        self._watch(self._first)

    async def embed(self, request: Embed) -> Embedding:
        return await self._first.embed(request)

    async def generate(self, request: Generate) -> Generation:
        return await self._first.generate(request)

    async def watch(self) -> NoReturn:
        assert self._death is not None  # start() made it
        raise await asyncio.shield(self._death)

    async def close(self) -> None:
        ending = (*self._watches, *(load.engine for load in self._loads.values()))
        for each in ending:
            each.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in self._engines))

    def of(self, model: str) -> Engine:
        """What answers for name@version; loaded when it is first asked."""
        key = self._key_of(model)
        return self._first if key == self._key else OnDemand(self, key)

    async def is_here(self, model: str) -> bool:
        """Whether what answers for name@version answers, or refuses, without being waited for.

        False: it is loaded from now on, and that takes longer than AT_ONCE_S.
        """
        key = self._key_of(model)
        if key == self._key:
            return True
        load = self._loading(key)
        left_s = load.begun_at + AT_ONCE_S - asyncio.get_running_loop().time()
        await asyncio.wait((load.engine,), timeout=max(0.0, left_s))
        return load.engine.done()

    async def loaded(self, key: str) -> Engine:
        """Raises RequestRefused where it cannot be. Whoever is cancelled leaves the loading to the others."""
        return await asyncio.shield(self._loading(key).engine)

    def _loading(self, key: str) -> _Load:
        if key not in self._loads:
            engine = asyncio.ensure_future(self._load(key))
            engine.add_done_callback(lambda done: done.cancelled() or done.exception())  # logged, if nobody asks again
            self._loads[key] = _Load(engine, asyncio.get_running_loop().time())
        return self._loads[key]

    async def _load(self, key: str) -> Engine:
        try:
            engine = await asyncio.to_thread(self._make, key)  # which may read all files of its weights
            self._engines.add(engine)
            await self._start(engine)
        except Exception as error:
            log.exception("%s cannot be loaded beside what this process serves", key)
            asyncio.get_running_loop().call_later(LOAD_AGAIN_S, self._loads.pop, key, None)
            raise RequestRefused(f"{key} cannot be loaded here: {error}") from error
        self._watch(engine)
        return engine

    async def _start(self, engine: Engine) -> None:
        """Nothing stays of one that fails."""
        try:
            await engine.start()
        except Exception:
            self._engines.discard(engine)
            await engine.close()
            raise

    def _watch(self, engine: Engine) -> None:
        watching: asyncio.Task[NoReturn] = asyncio.ensure_future(engine.watch())
        self._watches.add(watching)
        watching.add_done_callback(self._ended)

    def _ended(self, watching: asyncio.Task[NoReturn]) -> None:
        error = None if watching.cancelled() else watching.exception()
        if isinstance(error, Exception) and self._death is not None and not self._death.done():
            self._death.set_result(error)


class OnDemand:
    """An engine of a shelf, for who asks it. What it is, and its life, are the shelf's."""

    def __init__(self, shelf: Shelf, key: str) -> None:
        self._shelf = shelf
        self._key = key

    @property
    def version(self) -> str:
        return self._shelf.version

    @property
    def tokens_max(self) -> int:
        return self._shelf.tokens_max

    async def start(self) -> None:
        await self._shelf.loaded(self._key)

    async def embed(self, request: Embed) -> Embedding:
        return await (await self._shelf.loaded(self._key)).embed(request)

    async def generate(self, request: Generate) -> Generation:
        return await (await self._shelf.loaded(self._key)).generate(request)

    async def watch(self) -> NoReturn:
        await self._shelf.watch()

    async def close(self) -> None:
        pass
