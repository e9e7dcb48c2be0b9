"""Pools whose models are asked elsewhere: by the server that their file names, in every version, no key in the file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from aiohttp import web

from aios.inference_workers.classify import Head
from aios.inference_workers.engines.engine import Embed, Generate
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.tasks import Classify, each_version
from aios.inference_workers.worker import Served
from aios.streams import installed, model_files, pool_files
from aios.streams.config import InferenceSettings, Settings
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.pool_files import Pool
from tests.fakes.answers import request
from tests.fakes.pools import declared

WEIGHTS = {"triage-encoder@2": "encoder-of-may", "triage-encoder@1": "encoder-of-march"}
HEADS = {"h": Head(("a", "b"), np.ones((2, 4), np.float32), np.zeros(2, np.float32), 1.0, np.zeros(4), 0.0)}


@dataclass
class Server:
    """Speaks OpenAI's API, and knows the models of these names. asked: (key, model) of each call."""

    known: frozenset[str]
    url: str = ""
    takes_s: float = 0.0
    asked: list[tuple[str | None, str]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def answer(self, call: web.Request) -> web.Response:
        said = await call.json()
        self.asked.append((call.headers.get("Authorization"), said["model"]))
        await asyncio.sleep(self.takes_s)
        if said["model"] not in self.known:
            return web.json_response({"error": {"code": "model_not_found"}}, status=404)
        if call.path.endswith("embeddings"):
            return web.json_response({"data": [{"embedding": [1.0] * 4}], "usage": {"prompt_tokens": 1}})
        choice = {"message": {"content": "Yes."}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    async def __aenter__(self) -> Server:
        app = web.Application()
        app.router.add_post("/v1/{rest:.*}", self.answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()


def elsewhere(process: str, weights: str, server: Mapping[str, str] | None = None) -> list[Pool]:
    """The shipped pools of a process, asked of a server."""
    changed = {"engine": "openai", "weights": weights, "server": server}
    shipped = [pool for pool in installed.pools().values() if pool.process == process]
    return [Pool.model_validate({**pool.model_dump(), **changed}) for pool in shipped]


def served(pools: list[Pool]) -> Served:
    """As of files."""
    return Served({pool.lane: pool for pool in declared(pools).values()})


async def asked(engines: Shelf, work: Callable[[Shelf], Awaitable[Any]]) -> Any:
    await engines.start()
    try:
        return await work(engines)
    finally:
        await engines.close()


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards whose weights are a server's names."""
    shipped = model_files.card

    def card(reference: str) -> model_files.Card:
        return shipped(reference).model_copy(update={"weights": WEIGHTS.get(reference, "writer-of-may")})

    monkeypatch.setattr(model_files, "card", card)


def test_each_pool_asks_the_server_that_its_file_names(versions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels at one and texts at another, each with its own key; who names none asks the one of the settings."""
    monkeypatch.setenv("WRITERS_KEY", "hush")
    models = frozenset({*WEIGHTS.values(), "writer-of-may"})

    async def work() -> tuple[Server, Server]:
        async with Server(models) as one, Server(models) as other:
            there = {"url": other.url, "api_key": "env:WRITERS_KEY"}
            settings = Settings(inference=InferenceSettings(url=one.url))
            labels = served(elsewhere("classify", "encoder-of-may")).engine(settings)
            texts = served(elsewhere("generate", "writer-of-may", there)).engine(settings)
            await asked(labels, lambda engine: engine.embed(Embed(text="hi")))
            await asked(texts, lambda engine: engine.generate(Generate(messages=[("user", "Well?")], tokens_max=5)))
            assert labels.version != texts.version
            return one, other

    one, other = asyncio.run(work())
    assert one.asked == [(None, "encoder-of-may")]
    assert other.asked == [("Bearer hush", "writer-of-may")]


def test_every_version_is_asked_by_the_server_s_name_for_it(versions: None) -> None:
    """A canary's cases and those that began with an older version get its answers; one that the server does not know
    says so, and the others answer on.
    """

    async def work() -> list[tuple[str | None, str]]:
        async with Server(frozenset(WEIGHTS.values())) as server:
            engines = served(elsewhere("classify", "encoder-of-may", {"url": server.url})).engine(Settings())
            task = each_version(engines, "triage-encoder", lambda own, each: Classify(own, HEADS, each))

            async def ask(_: Shelf) -> None:
                for model in ("triage-encoder@2", "triage-encoder@1"):
                    assert (await task.answer(request(model), 0)).output["label"] == "a"
                server.known = frozenset({"encoder-of-may"})
                with pytest.raises(ConfigError, match="model_not_found for model encoder-of-march"):
                    await task.answer(request("triage-encoder@1"), 0)
                await task.answer(request("triage-encoder@2"), 0)

            await asked(engines, ask)
            return server.asked

    models = [model for _, model in asyncio.run(work())]
    assert models[:2] == ["encoder-of-may", "encoder-of-march"]


def test_where_a_setting_sends_a_pool_to_a_server_its_versions_have_our_names() -> None:
    """The server's names are ours then."""

    async def work() -> list[tuple[str | None, str]]:
        async with Server(frozenset(WEIGHTS)) as server:
            settings = Settings(inference=InferenceSettings(engine="openai", url=server.url))
            pools = {pool.lane: pool for pool in installed.pools().values() if pool.process == "classify"}

            async def ask(engines: Shelf) -> None:
                await engines.of("triage-encoder@2").embed(Embed(text="hi"))
                await engines.of("triage-encoder@1").embed(Embed(text="hi"))

            await asked(Served(pools).engine(settings), ask)
            return server.asked

    assert [model for _, model in asyncio.run(work())] == ["triage-encoder@2", "triage-encoder@1"]


def test_a_slow_server_is_waited_for_and_not_asked_again(versions: None) -> None:
    """For longer than a step of an engine here may take, and no longer than inference.answer_s_max."""

    async def work(answer_s_max: int) -> int:
        async with Server(frozenset(WEIGHTS.values()), takes_s=1.5) as server:
            settings = Settings(inference=InferenceSettings(step_s_max=1, answer_s_max=answer_s_max))
            engines = served(elsewhere("classify", "encoder-of-may", {"url": server.url})).engine(settings)
            await asked(engines, lambda engine: engine.embed(Embed(text="hi")))
            return len(server.asked)

    assert asyncio.run(work(600)) == 1
    with pytest.raises(Unavailable):
        asyncio.run(work(1))


def test_a_server_s_model_that_is_not_the_newest_version_s_stops_the_start(versions: None) -> None:
    """Its answers would name a version that did not give them."""
    pools = elsewhere("classify", "encoder-of-march", {"url": "http://gpu-1/v1"})
    with pytest.raises(ConfigError, match=r"load encoder-of-march, and triage-encoder@2"):
        served(pools).engine(Settings())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"server": {"url": "http://gpu-1/v1", "api_key": "hunter2"}}, "api_key"),
        ({"server": {"url": "http://me:hunter2@gpu-1/v1"}}, "url"),
        ({"server": {"url": "gpu-1"}}, "url"),
        ({"server": {"url": "http://gpu-1/v1", "key": "env:KEY"}}, "key"),
        ({"engine": "vllm", "server": {"url": "http://gpu-1/v1"}}, "belongs to the engine openai"),
    ],
)
def test_a_server_that_may_not_be_declared_is_refused(changed: Mapping[str, Any], says: str, tmp_path: Path) -> None:
    """A key in the open, which is not repeated; an address that is none; a server for an engine that asks none."""
    said = installed.pools()["classify.bulk"].model_dump(mode="json") | {"engine": "openai"} | changed
    (tmp_path / "classify.bulk.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as caught:
        pool_files.read(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_pools_of_one_process_have_one_server() -> None:
    """They share its engine."""
    pools = elsewhere("classify", "encoder", {"url": "http://gpu-1/v1"})
    pools[1] = pools[1].model_copy(update={"server": None})
    with pytest.raises(ConfigError, match="share a process"):
        declared(pools)


@pytest.mark.parametrize(("url", "server"), [("", None), ("http://gpu-1/v1", None), ("", {"url": "http://gpu-1/v1"})])
def test_a_pool_that_is_asked_elsewhere_has_a_server_or_nothing_starts(
    url: str, server: Mapping[str, str] | None
) -> None:
    """Of its file or of the settings; it is said which pool, and what to set. The topology asks for the pools first."""
    pools = {pool.pool: pool for pool in elsewhere("classify", "encoder", server)}
    if url or server:
        installed.check(pools, InferenceSettings(url=url))
        return
    with pytest.raises(ConfigError, match=r"classify\.interactive, classify\.bulk is openai.*inference\.url"):
        installed.check(pools, InferenceSettings())
