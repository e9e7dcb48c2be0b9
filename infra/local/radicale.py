"""Radicale as a child process: a real CalDAV server on loopback, its calendars as files in a folder.

Enters: a folder. Leaves: an address, an account. Guaranteed: the port is a free one, remembered in the folder; what was
answered is on the disk; the process dies with its parent. It is a program of its own (GPL), run and never imported.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from aios.infra.local import child, ports
from aios.streams.errors import ConfigError, Unavailable

READY_S_MAX = 60.0
POLL_S = 0.05
ASK_S_MAX = 1.0
ACCOUNT = "aios"


class Radicale:
    """One server with one account, whose calendars are under `<account>/`. Not running until start()."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError where the package is missing."""
        if find_spec("radicale") is None:
            raise ConfigError("the package radicale is missing: pip install radicale")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = ports.remembered(folder / "ports.json", ("client",))["client"]
        self.user, self.password = ACCOUNT, self._password()

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self) -> list[str]:
        """What to run; options on the command line, no file but the account's."""
        options = {
            "server-hosts": f"{ports.LOOPBACK}:{self.port}",
            "server-max-connections": "64",
            "auth-type": "htpasswd",
            "auth-htpasswd-filename": str(self._folder / "users"),
            "auth-htpasswd-encryption": "plain",
            "auth-delay": "0",
            "storage-filesystem-folder": str(self._folder / "collections"),
            "rights-type": "owner_only",
            "logging-level": "warning",
        }
        # Without a file of its own it would read that of this machine.
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [sys.executable, "-P", "-m", "radicale", "--config", "", *words]

    def answers(self) -> bool:
        """Whether it serves now."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), ASK_S_MAX) as asked:
                asked.sendall(b"GET /.well-known/caldav HTTP/1.0\r\n\r\n")
                return asked.recv(16).startswith(b"HTTP/")
        except OSError:
            return False

    def start(self) -> None:
        """Run it and wait until it answers. Raises Unavailable with the end of its log."""
        log = self._folder / "radicale.log"
        self._process = child.start(self.command(), log)
        deadline = time.monotonic() + READY_S_MAX
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(encoding="utf-8", errors="replace")[-1500:]
                raise Unavailable(f"Radicale did not start; the end of {log}:\n{words}")
            time.sleep(POLL_S)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force after child.STOP_S_MAX."""
        if self._process is not None:
            child.stop(self._process, how)
            self._process = None

    def _password(self) -> str:
        file = self._folder / "users"
        if not file.is_file():
            file.write_text(f"{ACCOUNT}:{secrets.token_hex(16)}\n", encoding="ascii")
            file.chmod(0o600)
        return file.read_text(encoding="ascii").strip().partition(":")[2]
