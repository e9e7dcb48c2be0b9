"""Points at which a process dies when a test says so, and never otherwise."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import timeit
from pathlib import Path

import pytest

from aios.streams import failpoints, topology
from aios.streams.errors import ConfigError
from aios.streams.topology import Kind

SCRIPT = """
import sys
from aios.streams import failpoints
failpoints.arm(sys.argv[1])
for visit in range(1, 4):
    failpoints.hit("other", b"DRILL")
    failpoints.hit("plan.committed", sys.argv[2].encode())
print("lived")
"""


@pytest.mark.parametrize(
    ("armed", "payload", "status", "said"),
    [
        ("", "", 0, "lived\n"),
        ("plan.committed=kill", "", -signal.SIGKILL, ""),
        ("plan.committed=kill@3", "", -signal.SIGKILL, ""),
        ("plan.committed=kill@4", "", 0, "lived\n"),
        ("plan.committed=exit", "", 70, ""),
        ("a=exit:3,plan.committed=exit:5@2", "", 5, ""),
        ("plan.committed=segv:DRILL", "a DRILL", -signal.SIGSEGV, ""),
        ("plan.committed=segv:DRILL", "no such thing", 0, "lived\n"),
    ],
)
def test_a_process_dies_as_armed(armed: str, payload: str, status: int, said: str) -> None:
    """At that point, at that visit, by that payload, in that way."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, armed, payload], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (status, said)


ROOT = Path(__file__).parents[2]
ROADS = ("streams/intake.py", "streams/polling.py", "streams/committing.py", "streams/delivery.py")
VISITS = re.compile(r'failpoints\.hit\(\s*f?"(?:\{[^}]+\}|(?P<process>[a-z]+))\.(?P<step>[a-z]+)"')
S_MAX = 1e-6  # of a visit, with what builds its name; a record of the fastest stage costs 60 times as much


def modules(process: str, kind: Kind) -> tuple[str, ...]:
    """Where a process of this kind takes its steps."""
    return {
        Kind.GATEWAY: ("streams/gateway/api.py", *ROADS),
        Kind.FAUST: ("processors/stateful/store.py", "processors/stateful/lanes.py"),
        Kind.POOL: ("inference_workers/one_request.py", *ROADS),
        Kind.CONNECTOR: ("processors/connectors/calling.py", *ROADS),
        Kind.SINK: (f"sinks/{process}.py", *ROADS),
        Kind.DLQ: (f"dlq/{process}.py", f"dlq/{process}/api.py", *ROADS),
    }[kind]


@pytest.mark.parametrize("process", topology.PROCESSES)
def test_every_process_can_be_made_to_die_at_every_boundary_of_its_work(process: str) -> None:
    """Six points, or the reason why one cannot be."""
    kind = next(stage.kind for stage in topology.STAGES if stage.process == process)
    visited = {
        match["step"]
        for module in modules(process, kind)
        if (ROOT / module).is_file()
        for match in VISITS.finditer((ROOT / module).read_text(encoding="utf-8"))
        if match["process"] in (None, process)
    }
    assert set(failpoints.names(process)) <= {f"{process}.{step}" for step in visited}


def test_a_point_that_is_not_armed_costs_nothing_that_counts() -> None:
    """Measured: 0.06 µs a visit, 0.12 µs with the building of its name; fewer than two visits are made for a record.

    Of this thread's own time: what others do on the machine is no cost of ours.
    """
    failpoints.arm("plan.committed=kill@1000000000")
    stage = "admit"
    times = timeit.repeat(lambda: failpoints.hit(f"{stage}.taken"), number=20_000, repeat=5, timer=time.thread_time)
    failpoints.arm("")
    assert min(times) / 20_000 < S_MAX


def test_a_line_of_the_file_is_armed_for_one_life(tmp_path: Path) -> None:
    """Beside what is armed always; each process that starts takes the next line, until none is left."""
    lives = tmp_path / "admit.0"
    failpoints.arm_for_one_life("admit.decode=segv:X", lives)
    assert not failpoints.is_armed("admit.taken")
    lives.write_text("admit.taken=kill\nadmit.computed=kill@2\n")
    for armed, other in (("admit.taken", "admit.computed"), ("admit.computed", "admit.taken")):
        failpoints.arm_for_one_life("admit.decode=segv:X", lives)
        assert failpoints.is_armed(armed)
        assert failpoints.is_armed("admit.decode")
        assert not failpoints.is_armed(other)
    failpoints.arm_for_one_life("", lives)
    assert not any(failpoints.is_armed(f"admit.{step}") for step in failpoints.STEPS)


@pytest.mark.parametrize("armed", ["x", "x=die", "x=kill@", "X=kill", "x=kill,,y=", "x=kill@-1"])
def test_what_cannot_be_read_is_refused(armed: str) -> None:
    """When armed, not when visited."""
    with pytest.raises(ConfigError, match="failpoint"):
        failpoints.arm(armed)
    failpoints.arm("")
    failpoints.hit("x")
