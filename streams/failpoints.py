"""Named points at which a process can be made to die, for tests and drills.

Enters: `failpoints` of the settings, e.g. `admit.decode=segv:DRILL,plan.committed=kill@3`. At the third visit of
plan.committed the process sends itself SIGKILL; at a visit of admit.decode whose payload contains DRILL it ends
by SIGSEGV. Guaranteed: with nothing armed a visit costs one dictionary look-up; an unknown action is refused
when armed.

    name=action[:argument][@visit]     visit: 1-based, default every one
    kill                SIGKILL
    stop                SIGSTOP (the test continues it)
    segv[:bytes]        SIGSEGV; with an argument only if the payload contains it
    exit[:status]       leave at once with this status (default 70)
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass

from aios.streams.errors import ConfigError

_SPEC = re.compile(r"(?P<name>[a-z_.]+)=(?P<action>kill|stop|segv|exit)(:(?P<argument>[^@,]*))?(@(?P<visit>\d+))?")


@dataclass(slots=True)
class _Point:
    action: str
    argument: str
    visit: int  # 0: every one
    visits: int = 0


_armed: dict[str, _Point] = {}


def arm(specification: str) -> None:
    """Replace what is armed in this process. Raises ConfigError naming the part that cannot be read."""
    _armed.clear()
    for part in filter(None, specification.split(",")):
        match = _SPEC.fullmatch(part)
        if match is None:
            raise ConfigError(f"failpoint {part!r}: expected name=kill|stop|segv|exit[:argument][@visit]")
        _armed[match["name"]] = _Point(match["action"], match["argument"] or "", int(match["visit"] or 0))


def hit(name: str, payload: bytes = b"") -> None:
    """Visit a point. Does nothing unless it is armed."""
    point = _armed.get(name)
    if point is not None:
        _visit(point, payload)


def _visit(point: _Point, payload: bytes) -> None:
    if point.action == "segv" and point.argument.encode() not in payload:
        return
    point.visits += 1
    if point.visit and point.visits != point.visit:
        return
    if point.action == "exit":
        os._exit(int(point.argument or 70))
    signals = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "segv": signal.SIGSEGV}
    signal.raise_signal(signals[point.action])  # to this thread: it must not run on while another takes the signal
