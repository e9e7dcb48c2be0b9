"""inference.engine_mode 'subprocess': vLLM's core in one process more, as a GPU may want it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.engine.scripts import command, environment

GONE_S_MAX = 10.0


def test_an_engine_apart_answers_and_dies_with_its_killed_owner(tmp_path: Path) -> None:
    """The setting reaches vLLM: the engine's process has one of its own, and answers; kill -9 of the worker leaves
    none behind.
    """
    with (tmp_path / "log").open("wb") as log:
        owner = subprocess.Popen(
            command("apart.py", tmp_path),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert owner.stdout is not None
    try:
        lines = [owner.stdout.readline() for _ in range(2)]
        assert all(lines), (tmp_path / "log").read_text(errors="replace")[-3000:]
        (loaded, answered) = map(json.loads, lines)
        apart = [psutil.Process(pid) for pid in loaded["processes"]]
        assert len(apart) >= 2
        assert answered["tokens"] > 0
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    deadline = time.monotonic() + GONE_S_MAX
    while any(each.is_running() for each in apart) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [each.pid for each in apart if each.is_running()] == []
