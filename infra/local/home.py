"""One system's folder: where its parts lie, who holds it, and what may be wiped.

Enters: AIOS_HOME. Leaves: paths, and the lock of the one system that runs there. Guaranteed: two systems never run
in one home (flock on the folder itself, so that no lock file is left behind, and the kernel lets go of it whatever
happens to the process); wiping removes what systems make and nothing else, and only in a folder marked as a home.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from aios.streams import whole
from aios.streams.errors import ConfigError

MARK = "aios-home.json"
LAYOUT = 1
PARTS = ("kafka", "valkey", "logs", "run", "traces", "audit", "lake", "documents", "lists", "ports.json")
OWN_LOG = "up"  # what a detached system itself says
LOCK_S_MAX = 1.0  # to look twice: a command that asks whether a system runs holds the lock for a moment
POLL_S = 0.05


class Home:
    """folder: need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.run = self.folder / "run"
        self.logs = self.folder / "logs"
        self.system = self.run / "system.json"  # addresses, while a system is ready here
        self.metrics = self.run / "metrics"  # one file a process, as Prometheus's file_sd reads them

    def make(self) -> None:
        """The folder alone, for the lock. Raises ConfigError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # cases and keys are nobody else's
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot be made ({error.strerror}): set AIOS_HOME to another") from error

    def prepare(self) -> None:
        """Take the folder as a home; call it under the lock. Raises ConfigError if it is something else."""
        mark = self.folder / MARK
        strangers = sorted(each.name for each in self.folder.iterdir() if each.name not in PARTS)
        if not mark.is_file() and strangers:
            raise ConfigError(
                f"{self.folder} is no AIOS home and not empty ({', '.join(strangers[:3])}): set AIOS_HOME to a new one"
            )
        mark.write_text(json.dumps({"home of": "aios", "layout": LAYOUT}) + "\n", encoding="utf-8")
        for folder in (self.run, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def wipe(self) -> None:
        """Remove what systems made here; call it under the lock. Raises ConfigError where it is not sure to be ours."""
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return
        if not (self.folder / MARK).is_file():
            raise ConfigError(f"{self.folder} is no AIOS home (it has no {MARK}): nothing was wiped")
        parts = [self.folder / name for name in PARTS]
        if links := [each.name for each in parts if each.is_symlink()]:
            raise ConfigError(f"{', '.join(links)} in {self.folder}: a link; empty its folder yourself")
        for part in parts:
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home. Raises ConfigError when another system does. Call make() before."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if not _locked(handle, fcntl.LOCK_EX, LOCK_S_MAX):
                raise ConfigError(
                    f"a system runs in {self.folder}: `aios down` stops it; another AIOS_HOME is another system"
                )
            yield
        finally:
            os.close(handle)

    def is_held(self) -> bool:
        """Whether a system runs here, ready or not."""
        return not self.is_free(within_s=0.0)

    def is_free(self, *, within_s: float) -> bool:
        """Whether no system runs here, or the one that does ends in time."""
        try:
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return True
        try:
            return _locked(handle, fcntl.LOCK_SH, within_s)
        finally:
            os.close(handle)

    def log(self, stage: str, slot: int) -> Path:
        return self.logs / f"{stage}.{slot}.log"

    def publish(self, addresses: Mapping[str, str]) -> None:
        """Say to every command that a system is ready here, where, and which folder of a team's own it reads."""
        whole.write(self.system, json.dumps(dict(addresses)))

    def clear(self) -> None:
        """Nothing is ready here."""
        self.system.unlink(missing_ok=True)
        shutil.rmtree(self.metrics, ignore_errors=True)


def _locked(handle: int, how: int, s_max: float) -> bool:
    deadline = time.monotonic() + s_max
    while True:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
