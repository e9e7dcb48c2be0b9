"""Named points at which a process can be made to die or to hang, for tests and drills.

Enters: `failpoints` of the settings, e.g. `admit.decode=segv:DRILL,plan.committed=kill@3`. At the third visit of
plan.committed the process sends itself SIGKILL; at a visit of admit.decode whose payload contains DRILL it ends
by SIGSEGV. Guaranteed: with nothing armed a visit costs one dictionary look-up (0.1 µs, tests/unit/test_failpoints.py);
an unknown action is refused when armed.

    name=action[:argument][@visit]     visit: 1-based, default every one
    kill                SIGKILL
    stop                SIGSTOP (the test continues it)
    segv[:bytes]        SIGSEGV; with an argument only if the payload contains it
    exit[:status]       leave at once with this status (default 70)

A name is `<process>.<step>`, and every process has these six, one at each boundary of its work:

    taken       records have come from Kafka (over HTTP: a body), nothing is done with them
    computed    the work is done: a core has stepped, a model has answered, a sink's effect rests where it belongs
    produced    records are given to the client, the broker has reported none of them
    delivered   the broker has reported all of them, no offset is committed
    committed   the offsets are committed, nothing in memory knows it yet
    revoking    partitions are being taken away, with records of them in hand

MISSING says which process lacks one, and why. Beside them are points of one stage alone: decode (before each record
that a segv may look at), acked (a stateful stage's group offsets follow its transaction), intended (of the connectors:
an intent is acknowledged, its effect has not begun), raised (of the connectors: what a list's new version changes is
raised, and not committed), and what a file of its own
needs: outcomes.rebuilding, audit.half_written, lake.unfinished, lake.merging, lake.merged, watch.telling, watch.told.

A drill arms a process that runs: a line in home/run/failpoints/<process>.<slot> and SIGUSR1 to the process, or its next
start. A line is taken out as it is read, so it holds for one life; two lines are two deaths in a row.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from aios.streams.errors import ConfigError

STEPS = ("taken", "computed", "produced", "delivered", "committed", "revoking")
_NO_GROUP = "it is no member of a group: the answer to the caller is its commit, and the caller asks again"
MISSING = {f"{process}.{step}": _NO_GROUP for process in ("gateway", "operations") for step in STEPS[-2:]}
_SPEC = re.compile(r"(?P<name>[a-z_.]+)=(?P<action>kill|stop|segv|exit)(:(?P<argument>[^@,]*))?(@(?P<visit>\d+))?")


@dataclass(slots=True)
class _Point:
    action: str
    argument: str
    visit: int  # 0: every one
    visits: int = 0


_armed: dict[str, _Point] = {}


def names(process: str) -> list[str]:
    """The step points that a process of the topology has, in the order of its work."""
    return [name for step in STEPS if (name := f"{process}.{step}") not in MISSING]


def process_of(client: str) -> str:
    """The process that calls itself so towards Kafka: aios.classify.bulk → classify."""
    return client.removeprefix("aios.").partition(".")[0]


def arm(specification: str) -> None:
    """Replace what is armed in this process. Raises ConfigError naming the part that cannot be read."""
    armed: dict[str, _Point] = {}
    for part in filter(None, specification.split(",")):
        match = _SPEC.fullmatch(part)
        if match is None:
            raise ConfigError(f"failpoint {part!r}: expected name=kill|stop|segv|exit[:argument][@visit]")
        armed[match["name"]] = _Point(match["action"], match["argument"] or "", int(match["visit"] or 0))
    _armed.clear()
    _armed.update(armed)


def arm_for_one_life(always: str, lives: Path) -> None:
    """Arm `always`, and the first line of the file `lives`, which is taken out of it. Raises ConfigError."""
    try:
        first, _, rest = lives.read_text(encoding="utf-8").partition("\n")
        lives.write_text(rest, encoding="utf-8")
    except FileNotFoundError:
        first = ""
    arm(",".join(filter(None, (always, first.strip()))))


def is_armed(name: str) -> bool:
    """For a point that needs work before it."""
    return name in _armed


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
