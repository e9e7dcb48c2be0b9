"""Who ends a command that has started a system ends the system with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from aios.infra import ending
from aios.infra.commands import up
from aios.infra.demo import run
from aios.infra.local import system
from aios.infra.local.home import Home
from aios.infra.prove import soak


@pytest.mark.parametrize("number", ending.ENDINGS)
@pytest.mark.parametrize("started", ["demo", "soak"])
def test_a_system_is_stopped_by_whoever_is_told_to_end(
    started: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose time is over gets SIGTERM, a terminal that is closed SIGHUP; and who ends it asks no further."""
    said: list[str] = []

    def ran(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        said.append(command[len(run.AIOS)])
        return subprocess.CompletedProcess(command, 0, "", "")

    def is_ended(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "run", ran)
    monkeypatch.setattr(soak, "_announce", lambda *_: None)
    monkeypatch.setattr(soak, "_soak", is_ended)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    asked = {"within": tmp_path, "cases": 100, "keep": False, "report": False, "as_json": True}
    begun = {"demo": lambda: demo(is_ended), "soak": lambda: cast(Any, soak.soak.callback)(**asked)}
    with passed_over(number), pytest.raises(SystemExit):
        begun[started]()
    assert said == ["up", "down"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_ignored_is_ignored_still() -> None:
    """By `nohup`: a terminal that is closed ends nothing."""
    with passed_over(signal.SIGHUP, signal.SIG_IGN), ending.in_order():
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize("how", ["up", "up --detach"])
def test_a_system_that_nohup_started_outlives_its_terminal(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the foreground, and while a detached one is waited for."""

    class System:
        def __init__(self, *_: object) -> None: ...

        async def run(self, *_: object) -> None:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def left(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(system, "System", System)
    monkeypatch.setattr(os, "_exit", left)
    with passed_over(signal.SIGHUP, signal.SIG_IGN), passed_over(signal.SIGTERM):
        if how == "up":
            with pytest.raises(SystemExit, match="0"):
                asyncio.run(up._run(Home(tmp_path), detached=False))
        else:
            with up._passing_on(cast(Any, None)):
                os.kill(os.getpid(), signal.SIGHUP)


def demo(work: Callable[[], None]) -> None:
    with run.system(Console(quiet=True), keep=False):
        work()


@contextmanager
def passed_over(number: signal.Signals, how: Any = lambda *_: None) -> Iterator[None]:
    """Without it a signal that nobody hears would end the tests."""
    before = signal.signal(number, how)
    try:
        yield
    finally:
        signal.signal(number, before)
