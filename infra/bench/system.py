"""The whole system, up while a benchmark measures it.

Enters: AIOS_HOME of this process. Leaves: nothing that runs. Guaranteed: what was started is stopped, whatever happens.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aios.infra.output import FAILED, fail

AIOS = (sys.executable, "-m", "aios.infra")


@contextmanager
def up() -> Iterator[None]:
    """A system runs in AIOS_HOME of this process."""
    try:
        aios("up", "--detach")
        yield
    finally:
        aios("down")


def aios(*command: str) -> None:
    """Run a command; what it says stands beside the figures. Exits when it fails."""
    if subprocess.run([*AIOS, *command], check=False, stdout=sys.stderr).returncode:
        fail(f"`aios {' '.join(command)}` failed", FAILED)
