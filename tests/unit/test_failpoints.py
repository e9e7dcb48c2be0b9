"""Points at which a process dies when a test says so, and never otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from aios.streams import failpoints
from aios.streams.errors import ConfigError

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


@pytest.mark.parametrize("armed", ["x", "x=die", "x=kill@", "X=kill", "x=kill,,y=", "x=kill@-1"])
def test_what_cannot_be_read_is_refused(armed: str) -> None:
    """When armed, not when visited."""
    with pytest.raises(ConfigError, match="failpoint"):
        failpoints.arm(armed)
    failpoints.arm("")
    failpoints.hit("x")
