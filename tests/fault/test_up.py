"""`aios up` and its sisters as a user runs them: real Kafka, registry and Valkey, with stages of a few lines.

The stages come from a sitecustomize.py that every started Python reads: two processes whose `run` serves until it
is asked to stop. Everything else is the product's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from aios.infra.local import control
from aios.infra.local.home import Home
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING
from aios.streams.config import KafkaSettings

S_MAX = 60.0
ADDRESSES = ("kafka", "registry", "valkey", "gateway", "operations")
AIOS = (sys.executable, "-P", "-m", "aios.infra")
STAGES = """
import asyncio, os, socket, sys, types

def module(process):
    async def run(settings, *, slot, stop, ready):
        if os.environ.get("TEST_BROKEN") == process:
            from aios.streams.errors import ConfigError
            raise ConfigError("the reason why it cannot start")
        if os.environ.get("TEST_SLOW") == process:
            await stop.wait()
            return
        ready()
        await stop.wait()
        if os.environ.get("TEST_DEAF") == process:
            await asyncio.sleep(60)
        host, port = settings.kafka.bootstrap_servers.split(":")
        with socket.create_connection((host, int(port))):
            print("stopped while Kafka was there", flush=True)
    made = types.ModuleType(process)
    made.run = run
    return made

from aios.streams import topology
topology.PROCESSES = ("gateway", "admit")
sys.modules["aios.streams.gateway.server"] = module("gateway")
sys.modules["aios.processors.admit"] = module("admit")
"""


class Machine:
    """Runs `aios` in one home. outside: addresses of what it shall use instead of starting it."""

    def __init__(self, folder: Path, outside: Mapping[str, str]) -> None:
        stages = folder / "stages"
        stages.mkdir(parents=True)
        (stages / "sitecustomize.py").write_text(STAGES)
        self.home = Home(folder / "home")
        self.environment = {
            **os.environ,
            **outside,
            "PYTHONPATH": str(stages),
            "AIOS_HOME": str(self.home.folder),
        }

    def aios(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*AIOS, *arguments],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=S_MAX,
            check=False,
        )

    @contextlib.contextmanager
    def up(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """`aios up` as a terminal would run it; killed at the end if it still runs."""
        with subprocess.Popen(
            [*AIOS, "up", *arguments],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def status(self) -> dict[str, Any]:
        """As `aios status --json` prints it."""
        return control.ask(self.home, {"do": "status"})

    def down(self) -> None:
        self.aios("down")


@pytest.fixture
def machine(tmp_path: Path, kafka: KafkaSettings, registry_url: str, valkey_url: str) -> Iterator[Machine]:
    """With Kafka, registry and Valkey of the test run."""
    outside = {
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "AIOS_REGISTRY__URL": registry_url,
        "AIOS_REDIS__URL": valkey_url,
    }
    made = Machine(tmp_path, outside)
    yield made
    made.down()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """With nothing: it starts everything itself."""
    made = Machine(tmp_path, {})
    yield made
    made.down()


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if words in line:
            return lines
    raise AssertionError(f"{words!r} was never said:\n" + "\n".join(lines))


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + S_MAX
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def listens(address: str) -> bool:
    split = urlsplit(address if "//" in address else f"//{address}")
    with socket.socket() as probe:
        return probe.connect_ex((split.hostname or "", split.port or 0)) == 0


def nothing_is_left(machine: Machine, status: Mapping[str, Any]) -> None:
    """No process, no port, no lock, no word that something runs here."""
    for each in status["processes"]:
        until(lambda pid=each["pid"]: gone(pid), f"{each} still runs")
    until(lambda: not any(listens(status[name]) for name in ADDRESSES), "a port is still open")
    assert machine.home.is_free(within_s=5.0)
    assert machine.aios("status").returncode == NOT_RUNNING


def test_everything_starts_in_order_and_is_there_again_after_a_kill(bare: Machine) -> None:
    """From nothing to ready; kill -9 of it all leaves nothing that runs; the same data at the next start; down."""
    bare.home.make()
    bare.home.prepare()
    old = bare.home.folder / "lake" / "case.decided.v1" / "old.parquet"
    old.parent.mkdir(parents=True)
    old.touch()
    with bare.up("--fresh") as process:
        said = read_until(process, "system       ready")
        started = [line.split()[0].removesuffix(".0") for line in said]
        order = ["home", "kafka", "topics", "registry", "contracts", "valkey", "tenant", "system"]
        assert [name for name in dict.fromkeys(started) if name in order] == order
        first = json.loads(bare.aios("status", "--json").stdout)
        assert list(first) == ["ready", *ADDRESSES, "breakers", "processes"]
        assert first["ready"] is True
        assert not old.exists()
        refused = bare.aios("up", "--fresh")
        assert (refused.returncode, bare.home.system.is_file()) == (FAILED, True)
        assert [each["stage"] for each in first["processes"]] == ["kafka", "registry", "valkey", "gateway", "admit"]
        assert {tuple(each) for each in first["processes"]} == {
            ("stage", "slot", "pid", "state", "restarts", "last_exit")
        }
        assert json.loads(bare.home.system.read_text()) == {
            **{name: first[name] for name in ADDRESSES},
            "extensions": "",
        }
        with redis.Redis.from_url(first["valkey"]) as valkey:
            valkey.set("kept", "yes")
            valkey.execute_command("WAITAOF", 1, 0, 5000)  # on the disk; else up to a second may be lost
        process.kill()
    nothing_is_left(bare, first)

    detached = bare.aios("up", "--detach")
    assert detached.returncode == 0, detached.stdout
    assert "topics       0 created" in detached.stdout
    assert detached.stdout.splitlines()[-1].startswith("system       ready")
    second = bare.status()
    assert [second[name] for name in ADDRESSES] == [first[name] for name in ADDRESSES]
    with redis.Redis.from_url(second["valkey"], decode_responses=True) as valkey:
        assert valkey.get("kept") == "yes"
    assert bare.aios("down").stdout == "stopped\n"
    nothing_is_left(bare, second)
    for stage in ("gateway", "admit"):
        assert bare.home.log(stage, 0).read_text().count("stopped while Kafka was there") == 1
    assert "has stopped" in bare.home.log("up", 0).read_text()


def test_while_it_runs(machine: Machine, tmp_path: Path) -> None:
    """One more in the same home is refused, one beside it is not; scaling; logs; what is configured is not started."""
    with machine.up() as process:
        read_until(process, "system       ready")
        status = machine.status()
        assert [each["stage"] for each in status["processes"]] == ["gateway", "admit"]
        assert status["valkey"] == machine.environment["AIOS_REDIS__URL"]

        os.kill(status["processes"][1]["pid"], signal.SIGKILL)
        read_until(process, "admit.0      ended: SIGKILL; starts again at once")
        read_until(process, "admit.0      ready")
        killed = machine.status()["processes"][1]
        assert (killed["slot"], killed["state"], killed["restarts"], killed["last_exit"]) == (0, "ready", 1, "SIGKILL")

        refused = machine.aios("up")
        assert refused.returncode == FAILED
        assert "aios down" in refused.stderr
        assert machine.home.system.is_file()

        beside = Machine(tmp_path / "beside", {k: v for k, v in machine.environment.items() if k.startswith("AIOS_")})
        with beside.up() as other:
            read_until(other, "system       ready")
            assert beside.status()["gateway"] != status["gateway"]
            other.send_signal(signal.SIGTERM)
            assert other.wait(S_MAX) == 0

        scaled = machine.aios("scale", "admit=0", "admit=3")
        assert (scaled.returncode, scaled.stdout) == (0, "admit: 0 processes\nadmit: 3 processes\n")
        slots = [(each["stage"], each["slot"], each["state"]) for each in machine.status()["processes"]]
        assert slots == [("gateway", 0, "ready"), *(("admit", slot, "ready") for slot in range(3))]
        for wanted, why in (("gateway=2", "one port"), ("kafka=2", "these have: gateway"), ("admit=17", "0 to 16")):
            refused = machine.aios("scale", wanted)
            assert refused.returncode == FAILED
            assert why in refused.stderr
        assert machine.aios("scale", "admit").returncode == 2

        targets = json.loads((machine.home.metrics / "admit.2.json").read_text())
        assert targets[0]["labels"] == {"process": "admit", "slot": "2"}
        assert listens(targets[0]["targets"][0])

        words = machine.aios("logs", "admit", "-n", "1").stdout.splitlines()
        assert [line.split(" | ")[0] for line in words] == ["admit.0", "admit.1", "admit.2"]
        assert machine.aios("logs", "admit.1", "-n", "1").stdout.endswith("ready\n")
        assert machine.aios("logs", "nothing").returncode == NOT_FOUND

        down = machine.aios("down")
        assert (down.returncode, down.stdout) == (0, "stopped\n")
        assert process.wait(S_MAX) == 0
    assert not machine.home.metrics.exists()


def test_a_start_that_fails_says_why_and_leaves_nothing(machine: Machine) -> None:
    """Detached too: the reason is printed, the code is 1, the home is free."""
    failed = machine.aios("up", "--detach", TEST_BROKEN="admit")
    assert failed.returncode == FAILED
    assert "admit.0 ended 3 times (exit 1)" in failed.stdout
    assert "the reason why it cannot start" in failed.stdout
    assert not machine.home.is_held()
    refused = machine.aios("up", "--fresh")
    assert refused.returncode == FAILED
    assert "would not fit" in refused.stderr


@pytest.mark.parametrize(
    ("ports", "says"),
    [
        ({"AIOS_METRICS__PORT": "29400"}, "metrics.port 29400 is one port"),
        ({"AIOS_GATEWAY__PORT": "29401", "AIOS_OPERATIONS__PORT": "29401"}, "29401 is taken by gateway.port"),
    ],
)
def test_one_port_for_several_is_refused_before_anything_starts(
    machine: Machine, ports: Mapping[str, str], says: str
) -> None:
    """The first process would take it, and each other one end without a word of which address is in use."""
    failed = machine.aios("up", **ports)
    assert (failed.returncode, says in failed.stderr) == (FAILED, True)
    assert "admit" not in failed.stdout


def test_a_start_that_is_interrupted_leaves_nothing(machine: Machine) -> None:
    """Ctrl-C while it starts detached ends what was started so far."""
    with machine.up("--detach", TEST_SLOW="admit") as process:
        read_until(process, "gateway.0    ready")
        pids = [each["pid"] for each in machine.status()["processes"]]
        process.send_signal(signal.SIGINT)
        read_until(process, "system       has stopped")
        assert process.wait(S_MAX) != 0
    assert [gone(pid) for pid in pids] == [True] * 2
    assert not machine.home.is_held()


def test_a_second_signal_does_not_wait(machine: Machine) -> None:
    """Ctrl-C twice: what does not stop is killed at once."""
    with machine.up(TEST_DEAF="admit") as process:
        read_until(process, "system       ready")
        pids = [each["pid"] for each in machine.status()["processes"]]
        process.send_signal(signal.SIGINT)
        read_until(process, "system       stops")
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(S_MAX) == 0
        assert time.monotonic() - started < 10
    assert [gone(pid) for pid in pids] == [True] * 2


def test_without_a_system_commands_say_so(machine: Machine) -> None:
    """Exit codes, and the same JSON with nothing in it."""
    status = machine.aios("status", "--json")
    assert status.returncode == NOT_RUNNING
    assert json.loads(status.stdout)["processes"] == []
    assert machine.aios("scale", "admit=2").returncode == NOT_RUNNING
    down = machine.aios("down")
    assert down.returncode == 0
    assert "nothing runs" in down.stdout
