"""Processes that stand still for a while."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STOPPED_S_MAX = 10.0


def stop(pid: int) -> None:
    """SIGSTOP, in force when this returns: the thread that takes it tells the others, which until then go on working,
    on a busy machine for long enough to answer.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + STOPPED_S_MAX
    while not all(_state(task) == "T" for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.005)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Within it, and no longer."""
    stop(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _state(task: Path) -> str:
    """See proc(5); what stands in parentheses may hold any character."""
    return (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
