"""What a worker does before it joins its groups: the roads are fakes, the worker's own course is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from aios.inference_workers import worker
from aios.streams.config import Settings
from aios.streams.errors import EngineDead
from tests.fakes.engine import FakeEngine, shelf_of
from tests.fakes.registry import FakeRegistry
from tests.fakes.roads import FakeRoads

S_MAX = 20.0


class Loading(FakeEngine):
    """Loads and warms up when it is let, or dies of it."""

    def __init__(self, happened: list[str]) -> None:
        super().__init__()
        self.happened = happened
        self.may = asyncio.Event()
        self.error: Exception | None = None

    async def start(self) -> None:
        self.happened.append("loading")
        await self.may.wait()
        if self.error is not None:
            raise self.error
        await super().start()
        self.happened.append("warm")


class Registry(FakeRegistry):
    """Says what it was asked."""

    def __init__(self, happened: list[str]) -> None:
        super().__init__()
        self.happened = happened

    def id_of(self, subject: str, schema: str) -> int:
        self.happened.append(f"written {subject}")
        return super().id_of(subject, schema)

    def by_id(self, schema_id: int) -> str:
        self.happened.append("read")
        return super().by_id(schema_id)

    def close(self) -> None:
        pass


class Beside:
    """Whatever else a worker opens and closes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the worker has done to registry and groups so far."""
    found: list[str] = []

    class Intake(FakeRoads):
        def __init__(self, *_: Any, group: str, **__: Any) -> None:
            super().__init__([])
            self.group = group

        async def start(self) -> None:
            found.append(f"joined {self.group}")

        def rouse(self) -> None:
            pass

    monkeypatch.setattr(worker, "Intake", Intake)
    monkeypatch.setattr(worker, "RegistrySource", lambda _: Registry(found))
    monkeypatch.setattr(worker, "cluster_id", lambda _: "cluster")
    for name in ("Announcer", "Delivery", "GroupBreakers", "Tail"):
        monkeypatch.setattr(worker, name, Beside)
    monkeypatch.setattr(worker.activations, "models", Beside)
    return found


def run(
    engine: Loading,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[asyncio.Event], Coroutine[Any, Any, Any]] = asyncio.Event.wait,
) -> None:
    """The worker of `classify`. until: what to wait for, once it is told of readiness; then it is stopped."""
    monkeypatch.setattr(worker.Served, "engine", lambda *_: shelf_of(engine))

    async def course() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(
            worker.run(Settings(home=home), process="classify", slot=0, stop=stop, ready=ready.set)
        )
        waiting = asyncio.create_task(until(ready))
        await asyncio.wait((running, waiting), timeout=S_MAX, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await asyncio.wait_for(running, S_MAX)
        await waiting

    asyncio.run(course())


def test_the_groups_are_joined_when_the_model_is_loaded_and_warm(
    happened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: partitions would stand still while it loads. Both lanes, and then the process is ready."""
    engine = Loading(happened)

    async def until_ready(ready: asyncio.Event) -> None:
        while "loading" not in happened:  # noqa: ASYNC110 - it happens in this loop
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert happened == ["loading"]
        assert not ready.is_set()
        engine.may.set()
        await ready.wait()

    run(engine, tmp_path, monkeypatch, until_ready)
    assert happened[:2] == ["loading", "warm"]
    assert happened[-2:] == ["joined aios.classify.interactive", "joined aios.classify.bulk"]


def test_what_its_requests_are_written_with_is_known_before_the_first_comes(
    happened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both lanes, as its answers' schema is: no record of this release waits for the registry."""
    engine = Loading(happened)
    engine.may.set()
    run(engine, tmp_path, monkeypatch)
    asked = happened[2:-2]
    wanted = [f"inference.classify.{lane}.requested.v1-value" for lane in ("interactive", "bulk")]
    assert [each for each in asked if each.startswith("written")] == [
        "written inference.completed.v1-value",
        *(f"written {subject}" for subject in wanted),
    ]
    assert "read" in asked


def test_a_model_that_does_not_load_joins_nothing(
    happened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends with the reason."""
    engine = Loading(happened)
    engine.error = EngineDead("it did not load in time")
    engine.may.set()
    with pytest.raises(EngineDead, match="in time"):
        run(engine, tmp_path, monkeypatch)
    assert happened == ["loading"]
