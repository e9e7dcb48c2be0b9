"""Who goes first on a machine that is full: what starts, then what serves, then what only waits to be needed.

Enters: a process that leads a session of its own. Leaves: its weight with Linux's scheduler. Guaranteed: nothing is
taken from anybody while there is room; a process that has ended is no error.
A process that starts must read in a second or two what it needs, among a dozen that are busy: with an equal share it
would take ten.
"""

import contextlib
import os
from pathlib import Path

STARTING = 0
SERVING = 10  # a ninth of the share of one that starts
WAITING = 15


def of_threads(pid: int, nice: int) -> None:
    """Of each: Linux means one thread by a priority, and new ones inherit it. Nobody but root can take it back."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), nice)


def of_session(pid: int, nice: int) -> None:
    """Of all it has, where Linux weighs sessions before threads (sched_autogroup); elsewhere nothing."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
