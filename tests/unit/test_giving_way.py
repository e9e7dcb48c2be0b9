"""Bulk work comes after whoever waits, on its machine too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aios.inference_workers.engines import giving_way
from aios.streams.pool_files import Lane

SCRIPT = """
import os, sys
from aios.inference_workers.engines.giving_way import give_way
from aios.streams.pool_files import Lane
os.setsid()
for _ in range(2):
    give_way([Lane(lane) for lane in sys.argv[1:]])
print(os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.mark.parametrize("lanes", [(Lane.BULK,), (Lane.INTERACTIVE,), (Lane.BULK, Lane.INTERACTIVE)])
def test_only_who_serves_bulk_alone_gives_way(lanes: tuple[Lane, ...]) -> None:
    """By the priority of its threads; saying it again changes nothing."""
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, *lanes], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert int(said) == (max(giving_way.NICE, before) if lanes == (Lane.BULK,) else before)
