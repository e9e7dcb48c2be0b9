"""Child processes that cannot outlive their parent, not even its kill -9.

Enters: a command. Leaves: the same process, exec'd by a short script (this file) that first asks Linux for SIGKILL
at the parent's death. Guaranteed: also when the parent died before it was asked; a session of its own keeps a
terminal's Ctrl-C for the parent, which ends its children in order.
Linux means the parent's *thread* by it, so children are started from the main thread only.
Rejected: preexec_fn (unsafe in a process with threads), setpriv --pdeathsig (does not see a parent already dead),
a watching process beside each child (a dozen more processes).
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_S_MAX = 15.0


def bound(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` as a child of this process. Raises RuntimeError off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a child bound to its parent is started from the main thread: it would end with this one")
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Run it, bound to this process, with its words appended to a file."""
    with log.open("ab") as out:
        return subprocess.Popen(
            bound(command),
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=dict(environment) if environment is not None else None,
        )


def stop(process: "subprocess.Popen[bytes]", how: signal.Signals = signal.SIGTERM) -> None:
    """End it, by force after STOP_S_MAX."""
    process.send_signal(how)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _exec(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what this script is for
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    _exec(int(sys.argv[1]), sys.argv[2:])
