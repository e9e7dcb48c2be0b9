"""A whole system to be broken: `aios up` in a home of its own, on brokers and stores behind proxies, with an echo.

Enters: a folder. Leaves: a running system, and the handles that faults pull: processes, failpoints, clocks, brokers,
Valkey, the registry, the network. Guaranteed: the stages meet these only through a proxy, whoever watches them only
without it; everything is stopped at the end, whatever happens, and ends with this process. Its engine answers without
a model (inference_workers/engines/echo.py): what is proven here is everything around an engine. The load's tenant has a
limit, which no case comes near: each holds a reservation while stages die.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aios.infra.demo.texts import FAILPOINTS
from aios.infra.local import child, control
from aios.infra.local.home import Home
from aios.infra.prove.cluster import NODES, Cluster
from aios.infra.prove.load import WORKFLOW
from aios.infra.prove.reading import Addresses
from aios.infra.prove.stores import Stores
from aios.streams import tenants, topology
from aios.streams.errors import AiosError, ConfigError, Unavailable
from aios.streams.topology import Stage

AIOS = (sys.executable, "-P", "-m", "aios.infra")
UP_S_MAX = 180.0
DOWN_S_MAX = 60.0
SCALE_S_MAX = 200.0
READY_S_MAX = 60.0
POLL_S = 0.1
TENANT = "demo"
HARD = "1000"  # of the tenant, in money.currency; a case reserves 0.005
LIMIT_S_MAX = 60.0
CLOCK = Path(__file__).with_name("clock.c")

T = TypeVar("T")


class Missed(AiosError):
    """What a drill waited for did not come."""


@dataclass(frozen=True, slots=True)
class Life:
    """One process of the system as it is now."""

    process: str
    slot: int
    pid: int | None
    state: str
    restarts: int


class Stand:
    """Not running until start(). say: a line for people."""

    def __init__(self, folder: Path, say: Callable[[str], None], nodes: int = NODES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        self._say = say
        self.home = Home(self._folder / "home")
        self.cluster = Cluster(self._folder / "kafka", nodes)
        self.stores = Stores(self._folder / "stores")
        self.clock = compiled(self._folder / "clock.so")
        self._clocks = self._folder / "clocks"
        self._clocks.mkdir(exist_ok=True)
        self.addresses = Addresses(kafka=self.cluster.direct, registry="", valkey="")
        self.operations = ""  # where operators ask
        self._up: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Brokers, stores, then the system. Raises Unavailable with what `aios up` said."""
        self._say(f"{len(self.cluster.brokers)} brokers start")
        self.cluster.start()
        self.stores.start(self.environment())
        self._say("the system starts")
        log = self._folder / "up.log"
        self._up = up = child.start([*AIOS, "up"], log, self.environment())
        with suppress(Missed):
            self.until(lambda: self.home.system.is_file() or up.poll() is not None, "it is up", UP_S_MAX)
        if not self.home.system.is_file():
            raise Unavailable(f"the system did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
        said = self.status()
        self.operations = said["operations"]
        self.addresses = Addresses(
            kafka=self.cluster.direct,
            registry=self.stores.registry,
            valkey=self.stores.valkey,
            gateway=said["gateway"],
            key=tenants.kept_key(self.home.folder, TENANT),
            tenant=TENANT,
        )
        declared = self.aios("budget", "set", TENANT, WORKFLOW, "--hard", HARD, "--per", "total", s_max=LIMIT_S_MAX)
        if declared.returncode:
            raise Unavailable(f"no limit could be declared: {(declared.stdout + declared.stderr).strip()}")

    def stop(self) -> None:
        if self._up is not None:
            self._up.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._up.wait(DOWN_S_MAX)
            self._up.kill()
        self.stores.stop()
        self.cluster.stop()

    def aios(self, *command: str, s_max: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*AIOS, *command], env=self.environment(), capture_output=True, text=True, check=False, timeout=s_max
        )

    def environment(self) -> Mapping[str, str]:
        own = {
            "AIOS_HOME": str(self.home.folder),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.cluster.proxied,
            "AIOS_KAFKA__REPLICATION_FACTOR": str(len(self.cluster.brokers)),
            **self.stores.proxied,
            "AIOS_INFERENCE__ENGINE": "echo",
            "AIOS_LAKE__FLUSH_S_MAX": "2",  # every wait for rest waits for the lake
            "AIOS_TRACING__SAMPLE_RATIO": "0",
            "AIOS_FAILPOINTS": FAILPOINTS,
            "PYTHONSAFEPATH": "1",
        }
        if self.clock is not None:
            own |= {"LD_PRELOAD": str(self.clock), "CLOCK_FOLDER": str(self._clocks)}
        return {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")} | own

    # ── its processes ──

    def status(self) -> dict[str, Any]:
        return control.ask(self.home, {"do": "status"})

    def lives(self, *processes: str) -> list[Life]:
        """All slots of these processes; of every one without a name."""
        return [
            Life(each["stage"], each["slot"], each["pid"], each["state"], each["restarts"])
            for each in self.status()["processes"]
            if not processes or each["stage"] in processes
        ]

    def life(self, process: str) -> Life:
        """Its first slot. Raises Missed."""
        for life in self.lives(process):
            if life.slot == 0:
                return life
        raise Missed(f"no {process} runs")

    def pid(self, process: str) -> int:
        """Of its first slot, once there is one. Raises Missed."""
        found = self.until(lambda: self.life(process).pid, f"{process} has a process")
        assert found is not None
        return found

    def signal(self, process: str, number: signal.Signals) -> None:
        os.kill(self.pid(process), number)

    def arm(self, process: str, *lives: str) -> None:
        """Arm the process's first slot as it runs with the first of these, and its next lives with the others."""
        file = self.home.run / "failpoints" / f"{process}.0"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"{life}\n" for life in lives), encoding="utf-8")
        self.signal(process, signal.SIGUSR1)
        self.until(lambda: file.read_text(encoding="utf-8").count("\n") < max(1, len(lives)), f"{process} is armed")

    def disarm(self, process: str) -> None:
        self.arm(process)

    def until_died(self, before: Life, deaths: int, s_max: float) -> bool:
        """Whether it died so many times in time; returns as soon as it did."""
        with suppress(Missed):
            self.until(lambda: self.life(before.process).restarts >= before.restarts + deaths, "it died", s_max)
            return True
        return False

    def until_ready(self, *processes: str, s_max: float = READY_S_MAX) -> None:
        """Raises Missed naming who is not; Unavailable, where what they stand on is not."""
        self.stores.restore()

        def ready() -> bool:
            return all(life.state == "ready" for life in self.lives(*processes))

        try:
            self.until(ready, "ready", s_max)
        except Missed:
            late = [f"{each.process}.{each.slot} is {each.state}" for each in self.lives() if each.state != "ready"]
            raise Missed(f"not ready within {s_max:.0f} s: {', '.join(late)}") from None

    def scale(self, process: str, count: int) -> None:
        """Raises Missed with what the system says."""
        said = control.ask(self.home, {"do": "scale", "stage": process, "count": count}, s_max=SCALE_S_MAX)
        if "error" in said:
            raise Missed(f"{process}={count}: {said['error']}")

    def log(self, process: str) -> str:
        """What its first slot has written lately."""
        try:
            return self.home.log(process, 0).read_text(encoding="utf-8", errors="replace")[-20_000:]
        except FileNotFoundError:
            return ""

    # ── its clock and its waits ──

    def move_clock(self, process: str, seconds: int) -> None:
        """Of its first slot as it runs; 0 puts it right. Raises ConfigError where no compiler made the shim."""
        if self.clock is None:
            raise ConfigError("no C compiler (cc) is here to build infra/prove/clock.c")
        (self._clocks / str(self.pid(process))).write_text(str(seconds), encoding="ascii")

    def until(self, ask: Callable[[], T], what: str, s_max: float = READY_S_MAX) -> T:
        """The first true answer. Raises Missed."""
        deadline = time.monotonic() + s_max
        while True:
            with suppress(Unavailable, ProcessLookupError):
                if answer := ask():
                    return answer
            if time.monotonic() > deadline:
                raise Missed(f"not within {s_max:.0f} s: {what}")
            time.sleep(POLL_S)


def stages_of(process: str) -> list[Stage]:
    """Those that run in a process."""
    return [stage for stage in topology.STAGES if stage.process == process]


def compiled(shim: Path) -> Path | None:
    """The clock shim, built here; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(shim), str(CLOCK), "-ldl"]
    return shim if subprocess.run(command, check=False, capture_output=True).returncode == 0 else None
