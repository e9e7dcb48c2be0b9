"""A process that has imported everything and waits: it takes the place of the next of its kind that dies.

Enters: the command of a process that can become any of several (`python -m aios.infra.stage --spare …`). Leaves: that
process, told what to be, as if it had just been started so. Guaranteed: it knows nothing of a stage before it is told,
and holds nothing of one; it is told once; nobody waits for one: where none is, or it has died, or is not through with
its imports yet, what dies is started as ever.
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

from aios.infra.local import child, priority

WAITS = b"waiting\n"  # what a spare says once it has imported everything


@dataclass(frozen=True, slots=True)
class Started:
    """read_end: of the pipe through which it says that it waits, and later that it serves."""

    process: asyncio.subprocess.Process
    read_end: int


class Spare:
    """At most one process that waits. kin: of whom it can take the place, as they are named in a supervisor."""

    def __init__(self, command: Sequence[str], kin: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.kin = frozenset(kin)
        self._command = [*command, "--spare", *kin]
        self._environment = environment
        self._log = log
        self._waiting: Started | None = None

    async def keep(self) -> None:
        """Have one waiting. Raises OSError."""
        if self._alive() is None:
            self._forget()
            self._waiting = await started(self._command, self._environment, self._log, is_told=True)
            priority.of_session(self._waiting.process.pid, priority.WAITING)

    def take(self, arguments: Sequence[str], log: Path) -> Started | None:
        """The one that waits, told to be what these arguments say and to write there; None if none does."""
        waiting = self._alive()
        if waiting is None or not _said(waiting.read_end, WAITS):
            return None
        self._waiting = None
        priority.of_session(waiting.process.pid, priority.STARTING)
        told = {"arguments": [*arguments], "log": str(log)}
        assert waiting.process.stdin is not None
        waiting.process.stdin.write(json.dumps(told).encode() + b"\n")
        waiting.process.stdin.close()
        return waiting

    async def end(self) -> None:
        """End the one that waits, at once."""
        waiting = self._alive()
        self._forget()
        if waiting is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(waiting.process.pid, signal.SIGKILL)
            await waiting.process.wait()

    def _alive(self) -> Started | None:
        return self._waiting if self._waiting is not None and self._waiting.process.returncode is None else None

    def _forget(self) -> None:
        if self._waiting is not None:
            os.close(self._waiting.read_end)
            self._waiting = None


async def started(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, is_told: bool = False, tells: bool = True
) -> Started:
    """A process bound to this one, in a session of its own. Raises OSError.

    tells: it gets a pipe to say that it serves, --ready-fd at the end of its arguments. is_told: it hears on its
    standard input what to be.
    """
    read_end, write_end = os.pipe()
    try:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *child.bound([*command, *(("--ready-fd", str(write_end)) if tells else ())]),
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
    return Started(process, read_end)


def _said(read_end: int, word: bytes) -> bool:
    """Whether this has come through the pipe by now."""
    os.set_blocking(read_end, False)
    try:
        return os.read(read_end, len(word)) == word
    except BlockingIOError:
        return False
