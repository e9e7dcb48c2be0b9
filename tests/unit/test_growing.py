"""A stage whose inputs grow: one member after the other in the same process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from aios.processors.stateful import growing, member
from aios.processors.stateful.store import PartitionStore
from aios.streams.config import Settings
from aios.streams.topology import ADMIT


def test_a_member_that_ends_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each growth begins another one: what they held open would add up to the bound of the process."""
    stop, changed = asyncio.Event(), asyncio.Event()
    open_files: list[int] = []

    class Breakers:
        def __init__(self, *_: Any) -> None: ...
        def start(self) -> None: ...
        def close(self) -> None: ...

    class Member:
        def __init__(self, _stage: Any, _app: Any, lanes: Callable[[int], PartitionStore], *_: Any) -> None:
            self._store = lanes(0)

        async def run(self, stop: asyncio.Event) -> None:
            for topic in ADMIT.reads:
                self._store._services.deaths.begin(topic.name, 0, 0, 1)
            open_files.append(len(os.listdir("/proc/self/fd")))
            if len(open_files) == 3:
                stop.set()

    monkeypatch.setattr(member, "cluster_id", lambda _: "a cluster")
    monkeypatch.setattr(member, "GroupBreakers", Breakers)
    monkeypatch.setattr(member, "KafkaLog", lambda *_: None)
    monkeypatch.setattr(member, "Lanes", lambda _name, make, _broken: make)
    monkeypatch.setattr(member, "build", lambda *_: None)
    monkeypatch.setattr(member, "Member", Member)
    asyncio.run(
        growing.run(
            lambda: ADMIT,
            changed,
            cast(Any, None),
            cast(Any, None),
            Settings(home=tmp_path),
            slot=0,
            stop=stop,
            ready=lambda: None,
        )
    )
    assert open_files[1:] == open_files[:-1]
