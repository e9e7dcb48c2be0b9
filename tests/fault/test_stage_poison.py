"""A record that kills its process, and processes that die at each step of a transaction."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from aios.streams.config import KafkaSettings
from aios.streams.topology import Stage
from tests.broker.stages import committed, counting_stage, create, put
from tests.fault import stage_worker

DONE_S_MAX = 120.0


class Slot:
    """One process of the counting stage at a time; started again whenever it ends, with other failpoints each time."""

    def __init__(
        self, kafka: KafkaSettings, unique: str, home: Path, failpoints: list[str], *, ordered: bool = False
    ) -> None:
        self._kafka = kafka
        self._unique = unique
        self._home = home
        self._failpoints = failpoints
        self._ordered = ordered
        self.exits: list[int] = []
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        armed = self._failpoints.pop(0) if self._failpoints else ""
        return stage_worker.start(self._kafka, self._unique, self._home, ordered=self._ordered, failpoints=armed)

    def until_told(self, kafka: KafkaSettings, stage: Stage, count: int) -> list[tuple[str, int]]:
        """What is told in partition 0, when it is so much."""
        told = [json.loads(one.value()) for one in self.until(kafka, stage.writes[0].name, count)]
        return [(one["id"], one["n"]) for one in told]

    def until(self, kafka: KafkaSettings, topic: str, count: int) -> list[Any]:
        """What is committed in partition 0 of a topic, when it is so much. Fails with the process's words."""
        deadline = time.monotonic() + DONE_S_MAX
        while True:
            found = committed(kafka, topic)
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, (self._home / "0.log").read_text(errors="replace")[-3000:]
            try:
                self.exits.append(self._process.wait(0.2))
                self._process = self._start()
            except subprocess.TimeoutExpired:
                continue

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def test_a_record_that_kills_its_process_is_given_up_at_the_third_death(
    kafka: KafkaSettings, unique: str, tmp_path: Path
) -> None:
    """Its neighbours are counted once, it lies in the dead letters with its bytes, and three processes died of it."""
    stage = counting_stage(unique, inputs=2)
    create(kafka, stage, 1)
    put(kafka, stage.reads[0].name, [("a", "1"), ("a", '{"do": "die"}'), ("a", "2")])
    slot = Slot(kafka, unique, tmp_path, [])
    try:
        assert slot.until_told(kafka, stage, 2) == [("1", 1), ("2", 2)]
    finally:
        slot.kill()
    assert slot.exits == [-signal.SIGSEGV] * 3
    (dead,) = committed(kafka, stage.dead_letters.name)
    assert dead.value() == b'{"do": "die"}'
    assert dict(dead.headers())["aios.dlq.reason"] == b"kills_its_process"


def test_a_record_that_kills_its_process_holds_its_key(kafka: KafkaSettings, unique: str, tmp_path: Path) -> None:
    """On an ordered topic what follows of its key lies behind it, untried; other keys go on."""
    stage = counting_stage(unique, inputs=2, ordered=True)
    create(kafka, stage, 1)
    put(kafka, stage.reads[0].name, [("a", '{"do": "die"}'), ("a", "1"), ("b", "2")])
    slot = Slot(kafka, unique, tmp_path, [], ordered=True)
    try:
        assert slot.until_told(kafka, stage, 1) == [("2", 1)]
    finally:
        slot.kill()
    head, behind = committed(kafka, stage.dead_letters.name)
    assert [dict(one.headers())["aios.dlq.reason"] for one in (head, behind)] == [b"kills_its_process", b"parked"]
    assert [one.value() for one in (head, behind)] == [b'{"do": "die"}', b"1"]


def test_a_death_at_any_step_changes_nothing(kafka: KafkaSettings, unique: str, tmp_path: Path) -> None:
    """kill -9 after taking, computing, producing and committing: the record counts once, and nobody is suspected."""
    stage = counting_stage(unique, inputs=2)
    create(kafka, stage, 1)
    put(kafka, stage.reads[0].name, [("a", "1")])
    steps = ("taken", "computed", "produced", "delivered", "committed", "acked")
    slot = Slot(kafka, unique, tmp_path, [f"{stage.name}.{step}=kill" for step in steps])
    try:
        slot.until_told(kafka, stage, 1)
        put(kafka, stage.reads[0].name, [("a", "2")])
        assert slot.until_told(kafka, stage, 2) == [("1", 1), ("2", 2)]
    finally:
        slot.kill()
    assert slot.exits[:4] == [-signal.SIGKILL] * 4
    assert committed(kafka, stage.dead_letters.name) == []
