"""A process whose wall clock is moved while it runs, and whose waits stay as long as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aios.infra.prove.stand import compiled

SCRIPT = """
import datetime, pathlib, sys, threading, time
from os import getpid
from confluent_kafka import Producer

file = pathlib.Path(sys.argv[1], str(getpid()))
producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
producer.list_topics(timeout=10)
producer.poll(0.1)
true = time.time() - time.monotonic()
for moved in (3600, -3600, 0):
    file.write_text(str(moved))
    time.sleep(0.25)
    began = time.monotonic()
    threading.Event().wait(0.1)  # Python's own wait
    producer.poll(0.1)  # librdkafka's
    took = time.monotonic() - began
    said = round(time.time() - time.monotonic() - true)
    print(said, round(datetime.datetime.now().timestamp() - time.monotonic() - true), took < 5)
"""


def test_a_moved_clock_is_seen_by_python_and_librdkafka_and_lengthens_no_wait(tmp_path: Path) -> None:
    """An hour ahead, an hour behind, and right again, without a restart."""
    shim = compiled(tmp_path / "clock.so")
    if shim is None:
        pytest.skip("no C compiler (cc) is here to build the clock's shim")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, "LD_PRELOAD": str(shim), "CLOCK_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["3600 3600 True", "-3600 -3600 True", "0 0 True"], done.stderr
