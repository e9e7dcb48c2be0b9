"""A process that has imported everything and waits: it takes the place of the next of its kind that dies.

Enters: the command of a process that can become any of several (`python -m aios.infra.stage --spare …`). Leaves: that
process, told what to be, as if it had just been started so. Guaranteed: it knows nothing of a stage before it is told,
and holds nothing of one; it is told once; without one waiting, or with one that has died, nobody waits for another.
The imports are two thirds of what a stage costs to start, and most of the time that its records wait for it.
Rejected: forking from a process with everything in it (librdkafka, Arrow and BLAS do not survive that), a second
running process of each stage (fifteen more, for seconds).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aios.infra.local import child, logfiles, priority


@dataclass(frozen=True, slots=True)
class Waiting:
    """read_end: of the pipe through which it says that it serves; ready_fd: its other end, as the process knows it."""

    process: asyncio.subprocess.Process
    read_end: int
    ready_fd: int


class Spare:
    """At most one process that waits. kin: of whom it can take the place, as they are named in a supervisor."""

    def __init__(self, command: Sequence[str], kin: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.kin = frozenset(kin)
        self._command = [*command, "--spare", *kin]
        self._environment = environment
        self._log = log
        self._waiting: Waiting | None = None

    async def keep(self) -> None:
        """Have one waiting. Raises OSError."""
        if self._alive() is None:
            self._forget()
            logfiles.keep_bounded(self._log)
            self._waiting = await started(self._command, self._environment, self._log, is_told=True)
            priority.of_session(self._waiting.process.pid, priority.WAITING)

    def take(self, arguments: Sequence[str], log: Path) -> Waiting | None:
        """The one that waits, told to be what these arguments say and to write there; None if none does."""
        waiting = self._alive()
        if waiting is None:
            return None
        self._waiting = None
        priority.of_session(waiting.process.pid, priority.STARTING)
        told = {"arguments": [*arguments, "--ready-fd", str(waiting.ready_fd)], "log": str(log)}
        assert waiting.process.stdin is not None
        waiting.process.stdin.write(json.dumps(told).encode() + b"\n")
        return waiting

    async def end(self) -> None:
        """End the one that waits, at once."""
        waiting = self._alive()
        self._forget()
        if waiting is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(waiting.process.pid, signal.SIGKILL)
            await waiting.process.wait()

    def _alive(self) -> Waiting | None:
        return self._waiting if self._waiting is not None and self._waiting.process.returncode is None else None

    def _forget(self) -> None:
        if self._waiting is not None:
            os.close(self._waiting.read_end)
            self._waiting = None


async def started(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, is_told: bool = False, tells: bool = True
) -> Waiting:
    """A process bound to this one, in a session of its own. Raises OSError.

    tells: it gets a pipe to say that it serves, --ready-fd as its last argument; one that is told what to be hears
    that later. is_told: it is told so on its standard input.
    """
    read_end, write_end = os.pipe()
    arguments = ["--ready-fd", str(write_end)] if tells and not is_told else []
    try:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *child.bound([*command, *arguments]),
                stdin=asyncio.subprocess.PIPE if is_told else asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **environment},
                pass_fds=(write_end,) if tells else (),
            )
    except OSError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return Waiting(process, read_end, write_end)
