"""On its machine too, bulk work comes after whoever waits.

Enters: the lanes of a process. Leaves: a process that takes a core only as far as nobody of ordinary priority wants it,
but for a tenth of it: bulk work goes on everywhere. Guaranteed: a process that serves whoever waits, too, is as it was.
Both ways in which Linux weighs processes are told: by themselves, in a container, and by their sessions (autogroup),
where nobody else has set up groups.
Rejected: real-time priorities for whoever waits (root alone may set them, and a hang takes the machine).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from aios.streams.pool_files import Lane

NICE = 10  # a tenth of the weight of an ordinary process
AUTOGROUP = Path("/proc/self/autogroup")


def give_way(lanes: Collection[Lane]) -> None:
    """Of this thread and those that it starts, so from a process's first thread, and once."""
    if Lane.INTERACTIVE in lanes:
        return
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    with contextlib.suppress(OSError):  # this kernel has none
        AUTOGROUP.write_text(str(NICE), encoding="ascii")
