"""A stage with one partition and two processes: one works, the other stands by."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from aios.streams.config import KafkaSettings
from aios.streams.topology import Stage
from tests.broker.stages import committed, counting_stage, create, put
from tests.fault import stage_worker

TAKEN_OVER_S_MAX = 25.0
READY_S_MAX = 40.0


def test_a_process_without_partition_is_ready_and_takes_over(kafka: KafkaSettings, unique: str, tmp_path: Path) -> None:
    """Both serve at once; the one that works is killed and not started again, and the other goes on where it was."""
    stage = counting_stage(unique)
    create(kafka, stage, partitions=1)
    processes = [stage_worker.start(kafka, unique, tmp_path, slot=slot, inputs=1) for slot in range(2)]
    try:
        _until_ready(tmp_path, processes)
        put(kafka, stage.reads[0].name, [("a", "1")])
        assert _told(kafka, stage, 1) == [("1", 1)]
        working = next(slot for slot in range(2) if "partition 0 is open" in (tmp_path / f"{slot}.log").read_text())
        processes[working].kill()
        put(kafka, stage.reads[0].name, [("a", "2")])
        assert _told(kafka, stage, 2) == [("1", 1), ("2", 2)]
        assert processes[1 - working].poll() is None
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _until_ready(home: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    logs = [home / f"{slot}.log" for slot in range(len(processes))]
    deadline = time.monotonic() + READY_S_MAX
    while not all(log.exists() and "READY" in log.read_text() for log in logs):
        assert time.monotonic() < deadline, "\n".join(log.read_text()[-2000:] for log in logs)
        assert [process.poll() for process in processes] == [None] * len(processes)
        time.sleep(0.1)


def _told(kafka: KafkaSettings, stage: Stage, count: int) -> list[tuple[str, int]]:
    deadline = time.monotonic() + TAKEN_OVER_S_MAX
    while len(found := committed(kafka, stage.writes[0].name)) < count:
        assert time.monotonic() < deadline, f"only {len(found)} told"
    return [(one["id"], one["n"]) for one in map(json.loads, (one.value() for one in found))]
