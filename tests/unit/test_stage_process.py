"""How a stage's process ends, and what it says while it runs."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aios.infra import stage
from aios.streams import collector, config, metrics, topology, tracing
from aios.streams.errors import ConfigError, Fenced, StateBroken, Unavailable


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings with this home, and no server or tracer of this test run's own."""
    monkeypatch.setattr(config, "load", lambda: config.Settings(home=tmp_path))
    monkeypatch.setattr(metrics, "serve", lambda *_: 4711)
    monkeypatch.setattr(tracing, "start", lambda *_: None)
    return tmp_path


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (None, 0),
        (ConfigError("a setting"), 1),
        (Unavailable("Kafka is away"), 1),
        (ValueError("a mistake of ours"), 1),
        (Fenced("another has it"), 70),
        (StateBroken("another partition count"), 70),
    ],
)
def test_the_exit_status_says_whether_to_start_it_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception | None, status: int
) -> None:
    """0 asked to stop, 1 failed, 70 leave it; it is announced while it runs and serves, and not afterwards."""
    targets, serving = home / "run" / "metrics" / "admit.1.json", home / "run" / "serving" / "admit.1"
    seen = []

    async def serve(_process: str, _settings: object, _slot: int, ready: Callable[[], None], _arm: object) -> None:
        seen.extend(json.loads(targets.read_text()))
        assert not serving.exists()
        ready()
        assert serving.exists()
        if raised is not None:
            raise raised

    monkeypatch.setattr(stage, "_serve", serve)
    assert stage._status("admit", 1, None) == status
    assert seen == [{"targets": ["127.0.0.1:4711"], "labels": {"process": "admit", "slot": "1"}}]
    assert not targets.exists()
    assert not serving.exists()


HELD_UP = """
import sys, threading, time
from aios.infra import stage
def fenced(*_):
    threading.Thread(target=time.sleep, args=(60,)).start()
    return 70
stage._status = fenced
sys.argv = ["stage", "audit"]
stage.main()
"""


def test_a_process_that_cannot_go_on_ends_whatever_a_client_of_it_still_does(tmp_path: Path) -> None:
    """Else its place stays empty: nobody starts it again."""
    ended = subprocess.run([sys.executable, "-c", HELD_UP], cwd=tmp_path, timeout=30, check=False)
    assert ended.returncode == 70


def test_wrong_settings_are_a_failure_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They name themselves."""

    def load() -> config.Settings:
        raise ConfigError("kafka.partition: not known")

    monkeypatch.setattr(config, "load", load)
    assert stage._status("admit", 0, None) == 1
    assert caplog.messages == ["kafka.partition: not known"]
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize("process", [name for name in topology.PROCESSES if name not in ("classify", "generate")])
def test_every_process_has_something_to_run(process: str) -> None:
    """Each name of the topology leads to a module with `run`; pools have theirs in the workers' environment."""
    assert callable(stage._run_of(process))


@pytest.fixture
def _collector() -> Iterator[None]:
    """This process's own goes on as before."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_collector")
def test_ready_is_one_line_on_the_pipe(tmp_path: Path) -> None:
    """And the end of it: whoever waits there learns of both. The collector rests from then on."""
    read_end, write_end = os.pipe()
    stage._ready(write_end, tmp_path / "run" / "serving")
    with os.fdopen(read_end, "rb") as said:
        assert said.read() == b"ready\n"
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == collector.COLLECT_AFTER
