"""Commands that start a system end it with them, also where nobody pressed Ctrl-C: a job's time is over, say.

Enters: SIGTERM, SIGHUP. Leaves: SystemExit where the command is. Guaranteed: what is ignored (`nohup`) stays so.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aios.infra.output import FAILED

ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def heard() -> list[signal.Signals]:
    """Those that end a command: of ENDINGS what is not ignored."""
    return [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def in_order() -> Iterator[None]:
    """Within: they raise SystemExit in the main thread, so that what was begun is ended on the way out."""

    def leave(_: int, __: FrameType | None) -> None:
        sys.exit(FAILED)

    before = {number: signal.signal(number, leave) for number in heard()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
