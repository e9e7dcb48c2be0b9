"""Engines of one process: the first is loaded at the start, another one when it is first asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aios.inference_workers.classify import Head
from aios.inference_workers.engines import shelf
from aios.inference_workers.engines.engine import Embed, RequestRefused
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.tasks import Classify, Versions
from aios.inference_workers.worker import SERVED
from aios.inference_workers.writing import writer
from aios.streams import model_files
from aios.streams.config import Settings
from aios.streams.errors import ConfigError, EngineDead
from tests.fakes.answers import request
from tests.fakes.engine import FakeEngine

KEYS = {"m@2": "new", "m@3": "new", "m@1": "old"}


class Slow(FakeEngine):
    """Loads when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = 0
        self.may = asyncio.Event()

    async def start(self) -> None:
        self.starts += 1
        await self.may.wait()
        await super().start()


class Made:
    """Every engine that a shelf made, by key."""

    def __init__(self) -> None:
        self.engines: dict[str, Slow] = {}
        self.shelf = Shelf(self.make, KEYS.__getitem__, "new")

    def make(self, key: str) -> Slow:
        self.engines[key] = Slow()
        return self.engines[key]

    async def made(self, key: str) -> Slow:
        """Once somebody's question has had it made."""
        while key not in self.engines:  # noqa: ASYNC110 - made in this loop
            await asyncio.sleep(0)
        return self.engines[key]


def served(test: Callable[[Made], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a shelf whose first engine is warm."""

    async def run() -> None:
        made = Made()
        made.engines["new"].may.set()
        await made.shelf.start()
        try:
            await asyncio.wait_for(test(made), 5)
        finally:
            await made.shelf.close()

    asyncio.run(run())


def test_versions_of_the_same_weights_share_an_engine() -> None:
    """And what nobody asks for is never made."""

    async def test(made: Made) -> None:
        assert made.shelf.of("m@2") is made.shelf.of("m@3")
        await made.shelf.of("m@2").embed(Embed(text="hello"))
        assert list(made.engines) == ["new"]

    served(test)


def test_an_older_version_is_loaded_once_by_whoever_asks_first() -> None:
    """Everybody who asks meanwhile waits for the same engine; one of them who gives up does not stop it."""

    async def test(made: Made) -> None:
        old = made.shelf.of("m@1")
        asking = [asyncio.ensure_future(old.embed(Embed(text=f"hello {n}"))) for n in range(5)]
        old_engine = await made.made("old")
        asking[0].cancel()
        old_engine.may.set()
        await asyncio.gather(*asking[1:])
        assert asking[0].cancelled()
        assert made.engines["old"].starts == 1
        assert len(made.engines["old"].texts) == 4
        assert not made.engines["new"].texts

    served(test)


def test_whether_an_engine_is_here_is_said_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking has it loaded, once. One that takes no time is waited for; one that cannot be loaded says so if asked."""

    async def test(made: Made) -> None:
        assert await made.shelf.is_here("m@3")
        made.shelf._make = lambda _key: FakeEngine()
        assert await made.shelf.is_here("m@1")
        made.shelf._loads.clear()
        monkeypatch.setattr(shelf, "AT_ONCE_S", 0.01)
        made.shelf._make = made.make
        assert [await made.shelf.is_here("m@1") for _ in range(3)] == [False] * 3
        (await made.made("old")).may.set()
        await made.shelf.of("m@1").embed(Embed(text="hello"))
        assert await made.shelf.is_here("m@1")
        assert made.engines["old"].starts == 1
        made.shelf._loads.clear()
        made.shelf._make = lambda _key: Broken()
        monkeypatch.setattr(shelf, "AT_ONCE_S", 5.0)
        assert await made.shelf.is_here("m@1")
        with pytest.raises(RequestRefused):
            await made.shelf.of("m@1").embed(Embed(text="hello"))

    served(test)


def test_an_engine_that_dies_ends_the_process_whichever_it_is() -> None:
    """The one that was loaded later too."""

    async def test(made: Made) -> None:
        made_watch = asyncio.ensure_future(made.shelf.watch())
        old = made.shelf.of("m@1")
        asking = asyncio.ensure_future(old.embed(Embed(text="die")))
        (await made.made("old")).may.set()
        with pytest.raises(EngineDead):
            await asking
        with pytest.raises(EngineDead):
            await made_watch

    served(test)


class Broken(FakeEngine):
    """Does not load."""

    starts = 0
    closed = 0

    async def start(self) -> None:
        Broken.starts += 1
        raise ConfigError("set inference.kv_cache_mib lower")

    async def close(self) -> None:
        Broken.closed += 1


def test_an_engine_that_does_not_load_is_let_go_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with each request: meanwhile each is refused with the reason, and the first one serves on."""

    async def test(made: Made) -> None:
        made.shelf._make = lambda _key: Broken()
        Broken.starts = Broken.closed = 0
        for _ in range(3):
            with pytest.raises(RequestRefused, match=r"old cannot be loaded here: set inference\.kv_cache_mib"):
                await made.shelf.of("m@1").embed(Embed(text="hello"))
        assert (Broken.starts, Broken.closed) == (1, 1)
        await made.shelf.of("m@2").embed(Embed(text="hello"))

        monkeypatch.setattr(shelf, "LOAD_AGAIN_S", 0.0)
        made.shelf._loads.clear()
        for tries in (2, 3):
            with pytest.raises(RequestRefused):
                await made.shelf.of("m@1").embed(Embed(text="hello"))
            assert Broken.starts == tries
            while "old" in made.shelf._loads:  # noqa: ASYNC110 - forgotten in this loop
                await asyncio.sleep(0)

    served(test)


def test_others_are_answered_while_the_files_of_a_second_engine_are_read() -> None:
    """Gigabytes may be: they are read beside the event loop, not on it."""
    answered = threading.Event()

    def reads(key: str) -> FakeEngine:
        if not answered.wait(5):
            raise ConfigError(f"nobody was answered while {key} was read")
        return FakeEngine()

    async def test(made: Made) -> None:
        made.shelf._make = reads
        asked = asyncio.ensure_future(made.shelf.of("m@1").embed(Embed(text="hello")))
        await made.shelf.of("m@2").embed(Embed(text="hello"))
        await asyncio.sleep(0)
        answered.set()
        await asked

    served(test)


def test_weights_that_are_not_there_fail_whoever_asked() -> None:
    """The same where there is not even an engine to make."""

    def missing(key: str) -> FakeEngine:
        raise ConfigError(f"{key} is not converted")

    async def test(made: Made) -> None:
        made.shelf._make = missing
        with pytest.raises(RequestRefused, match="old is not converted"):
            await made.shelf.of("m@1").embed(Embed(text="hello"))

    served(test)


def test_a_request_is_answered_by_the_version_it_names() -> None:
    """With that version's own head, on that version's own weights; one that does not ship is refused."""

    async def test(made: Made) -> None:
        heads = {"h": Head(("a", "b"), np.ones((2, 4), np.float32), np.zeros(2, np.float32), 1.0, np.zeros(4), 0.0)}
        task = Versions(*(Classify(made.shelf.of(each), heads, each) for each in ("m@2", "m@1")))
        asking = asyncio.ensure_future(task.answer(request("m@1"), 0))
        (await made.made("old")).may.set()
        assert (await asking).output["label"] == "a"
        assert made.engines["old"].texts == ["hello"]
        assert not made.engines["new"].texts
        assert tuple(task.models) == ("m@2", "m@1")
        with pytest.raises(RequestRefused, match="m@2, m@1"):
            await task.answer(request("m@9"), 0)

    served(test)


def test_every_version_of_a_writer_is_served_on_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a canary of it has answers, and cases that began with the one before still get theirs."""
    monkeypatch.setattr(model_files, "versions", lambda _name: (1, 2))
    writes = {"summariser@2": "new", "summariser@1": "old"}

    async def test(made: Made) -> None:
        made.shelf._key_of = writes.__getitem__
        task = writer(made.shelf, "summariser")
        assert tuple(task.models) == ("summariser@2", "summariser@1")
        asked = replace(request("summariser@1"), task="generate", prompt="summary@2", options="{}")
        asked = replace(asked, input="Please send my card to my new address.")
        asking = asyncio.ensure_future(task.answer(asked, 0))
        (await made.made("old")).may.set()
        await asking
        assert made.engines["old"].texts
        assert not made.engines["new"].texts
        await task.answer(replace(asked, model="summariser@2"), 0)
        assert made.engines["new"].texts

    served(test)


def test_weights_of_a_pool_that_are_not_the_newest_version_s_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers would name a version that did not give them."""
    for each in SERVED.values():
        each._check_weights()
    other = model_files.card("summariser@1").model_copy(update={"weights": "another"})
    monkeypatch.setattr(model_files, "card", lambda _reference: other)
    with pytest.raises(ConfigError, match=r"generate\.interactive, generate\.bulk load .*: set `weights`"):
        SERVED["generate"].engine(Settings())
