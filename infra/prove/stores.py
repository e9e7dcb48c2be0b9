"""Valkey and the schema registry, each behind a proxy: what a bad network between them and the stages needs.

Enters: a folder, then the environment of a system, which says where Kafka is. Leaves: addresses for whoever watches,
`valkey` and `registry`, and `proxied` ones, as settings, for whoever is watched. Guaranteed: what ended comes back at
the same port with the data that it left; the processes die with their parent.
`aios up` uses what has an address in its settings and starts neither, so nobody but restore() brings them back.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from aios.infra.local import child, ports
from aios.infra.local.valkey import Valkey
from aios.infra.prove.proxy import Proxy
from aios.streams.errors import Unavailable

READY_S_MAX = 60.0
ASK_S_MAX = 1.0
POLL_S = 0.1
VALKEY, REGISTRY = "valkey", "registry"


class Stores:
    """Not running until start()."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._server = Valkey(folder / VALKEY)
        own = ports.remembered(folder / "ports.json", ("registry", "proxied_registry", "proxied_valkey"))
        self.proxy = Proxy({own["proxied_registry"]: own["registry"], own["proxied_valkey"]: self._server.port})
        self.registry, self.valkey = f"http://{ports.LOOPBACK}:{own['registry']}", self._server.url
        self.proxied: Mapping[str, str] = {
            "AIOS_REGISTRY__URL": f"http://{ports.LOOPBACK}:{own['proxied_registry']}",
            "AIOS_REDIS__URL": f"redis://{ports.LOOPBACK}:{own['proxied_valkey']}/0",
        }
        self._commands: Mapping[str, list[str]] = {
            VALKEY: self._server.command(),
            REGISTRY: [sys.executable, "-P", "-m", "aios.infra.local.registry", "--port", str(own["registry"])],
        }
        self._answers: Mapping[str, Callable[[], bool]] = {VALKEY: self._server.answers, REGISTRY: self._registered}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment: Mapping[str, str] = {}

    def start(self, environment: Mapping[str, str]) -> None:
        """Raises Unavailable."""
        self._environment = environment
        self.proxy.start()
        self.restore()

    def stop(self) -> None:
        for process in self._processes.values():
            child.stop(process, signal.SIGKILL)  # one of them may be stopped
        if self._processes:
            self.proxy.close()

    def signal(self, name: str, number: signal.Signals) -> None:
        """name: VALKEY or REGISTRY."""
        self._processes[name].send_signal(number)

    def empty_valkey(self) -> None:
        """End it, and take away what it keeps; restore() brings it back with nothing."""
        child.stop(self._processes[VALKEY], signal.SIGKILL)
        shutil.rmtree(self._folder / VALKEY / "appendonlydir")

    def restore(self) -> None:
        """Run again what has ended, and wait until both answer. Raises Unavailable with the end of a log."""
        for name, command in self._commands.items():
            if name not in self._processes or self._processes[name].poll() is not None:
                self._processes[name] = child.start(command, self._log(name), self._environment)
        for name, answers in self._answers.items():
            deadline = time.monotonic() + READY_S_MAX
            while not answers():
                if time.monotonic() > deadline:
                    said = self._log(name).read_text(encoding="utf-8", errors="replace")[-1500:]
                    raise Unavailable(f"{name} does not answer; the end of {self._log(name)}:\n{said}")
                time.sleep(POLL_S)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _registered(self) -> bool:
        try:
            with urllib.request.urlopen(self.registry, timeout=ASK_S_MAX):  # noqa: S310 - our own server
                return True
        except OSError:
            return False
