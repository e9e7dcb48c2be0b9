"""A stateful stage under faults, judged from outside while its processes are killed, stopped and restarted."""

from __future__ import annotations

import contextlib
import json
import random
import select
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from aios.streams.config import KafkaSettings
from aios.streams.topology import Stage
from tests.broker.stages import committed, counting_stage, create
from tests.fault import stage_worker

PARTITIONS = 6
WORKERS = 3
KEYS = 120
RATE_PER_S = 500
FAULTS_S = 32.0
STOPPED_S = (6.5, 8.5)  # longer than the session timeout of a stage: another process takes over meanwhile
DRAINED_S_MAX = 30.0
LEFT = 70


class Workers:
    """Processes of the stage, each with its slot; whatever ends is started again, as the supervisor does."""

    def __init__(self, kafka: KafkaSettings, unique: str, home: Path) -> None:
        self._kafka = kafka
        self._unique = unique
        self._home = home
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._stopped: dict[int, float] = {}
        self.exits: Counter[int] = Counter()
        for slot in range(WORKERS):
            self._start(slot)

    def _start(self, slot: int) -> None:
        self._running[slot] = stage_worker.start(self._kafka, self._unique, self._home, slot=slot)

    def look_after(self) -> None:
        for slot, until in list(self._stopped.items()):
            if time.monotonic() > until:
                self._running[slot].send_signal(signal.SIGCONT)
                del self._stopped[slot]
        for slot, process in self._running.items():
            if (status := process.poll()) is not None:
                self.exits[status] += 1
                self._start(slot)

    def hurt(self, how: str, chance: random.Random) -> None:
        able = [slot for slot in self._running if slot not in self._stopped]
        slot = chance.choice(able)
        self._running[slot].send_signal({"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}[how])
        if how == "stop":
            self._stopped[slot] = time.monotonic() + chance.uniform(*STOPPED_S)

    def end(self) -> list[int]:
        for slot in list(self._stopped):
            self._running[slot].send_signal(signal.SIGCONT)
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        return [process.wait(30) for process in self._running.values()]

    def kill(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def test_nothing_is_lost_repeated_or_out_of_order(kafka: KafkaSettings, unique: str, tmp_path: Path) -> None:
    """kill -9, SIGTERM and SIGSTOP past the session timeout, every few seconds: each record counts exactly once."""
    stage = counting_stage(unique, inputs=2)
    create(kafka, stage, PARTITIONS)
    workers = Workers(kafka, unique, tmp_path)
    try:
        sent = _publish_under_faults(kafka, stage, workers)
        _until_drained(kafka, stage, workers)
        statuses = workers.end()
    finally:
        workers.kill()
    logs = "".join(path.read_text(errors="replace")[-3000:] for path in tmp_path.glob("*.log"))
    told = _told(kafka, stage)
    counted = Counter(one["id"] for ones in told.values() for one in ones)
    wanted = {one for ids in sent.values() for one in ids}
    lost = wanted - counted.keys()
    assert not lost, f"lost {len(lost)}: {_places_of(kafka, stage, lost)}\n{logs}"
    assert [one for one, times in counted.items() if times > 1] == [], f"repeated\n{logs}"
    for key, ones in told.items():
        assert [one["n"] for one in ones] == list(range(1, len(ones) + 1)), f"counts of {key!r}\n{logs}"
        for topic in ("in0", "in1"):
            assert [one["id"] for one in ones if one["id"].startswith(topic)] == [
                one for one in sent[key] if one.startswith(topic)
            ], f"order of {key!r}\n{logs}"
    assert workers.exits[-signal.SIGKILL], "no fault was there to survive"
    assert set(workers.exits) <= {0, -signal.SIGKILL, -signal.SIGTERM, LEFT}, logs  # SIGTERM: still starting
    assert set(statuses) <= {0, -signal.SIGTERM}, logs
    assert _refusals(tmp_path) == []


def _refusals(home: Path) -> list[str]:
    """Processes that left because something did not fit. A zombie's failed transaction is what faults may cause."""
    lines = [line for path in home.glob("*.log") for line in path.read_text(errors="replace").splitlines()]
    return [line for line in lines if "leaving: StateBroken" in line and "transaction failed" not in line]


def _publish_under_faults(kafka: KafkaSettings, stage: Stage, workers: Workers) -> dict[bytes, list[str]]:
    """By key, what the broker has acknowledged, in order. The first faults come when the workers had time to start."""
    chance = random.Random(7)
    faults = ["stop", "kill", "term", "kill", "stop", "term", "kill"]
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "enable.idempotence": True,
        }
    )
    sent: dict[bytes, list[str]] = defaultdict(list)
    failed: set[str] = set()
    began = time.monotonic()
    next_fault = began + 5.0
    number = 0
    while (now := time.monotonic()) < began + FAULTS_S:
        while number < (now - began) * RATE_PER_S:
            topic, key = stage.reads[number // KEYS % 2].name, b"k%d" % (number % KEYS)
            event_id = f"{topic.split('.')[0]}-{number}"
            producer.produce(topic, event_id.encode(), key, on_delivery=_noting(failed, event_id))
            sent[key].append(event_id)
            number += 1
        producer.poll(0.02)
        workers.look_after()
        if now > next_fault:
            workers.hurt(faults[0], chance)
            faults.append(faults.pop(0))
            next_fault = now + chance.uniform(2.0, 4.0)
    assert producer.flush(30) == 0
    assert len(failed) < number / 100, "the broker took too little"
    return {key: [one for one in ids if one not in failed] for key, ids in sent.items()}


def _noting(failed: set[str], event_id: str) -> Callable[[object, object], None]:
    def delivered(error: object, _: object) -> None:
        if error is not None:
            failed.add(event_id)

    return delivered


def _until_drained(kafka: KafkaSettings, stage: Stage, workers: Workers) -> None:
    """The group has committed all there is, or the time is over: then the test says what is missing."""
    places = [TopicPartition(topic.name, partition) for topic in stage.reads for partition in range(PARTITIONS)]
    group = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": stage.group})
    ends = {(p.topic, p.partition): group.get_watermark_offsets(p, 10)[1] for p in places}
    deadline = time.monotonic() + DRAINED_S_MAX
    while {(p.topic, p.partition): p.offset for p in group.committed(places, 10)} != ends:
        assert time.monotonic() < deadline, "the group did not commit to the end"
        workers.look_after()
        select.select([], [], [], 0.2)
    group.close()


def _places_of(kafka: KafkaSettings, stage: Stage, lost: set[str]) -> list[tuple[str, int, list[int]]]:
    """Where the lost ones stand: topic, partition, first and last offset."""
    found = []
    for topic in stage.reads:
        for partition in range(PARTITIONS):
            offsets = [m.offset() for m in committed(kafka, topic.name, partition) if m.value().decode() in lost]
            if offsets:
                found.append((topic.name, partition, [offsets[0], offsets[-1]]))
    return found


def _told(kafka: KafkaSettings, stage: Stage) -> dict[bytes, list[Any]]:
    told = defaultdict(list)
    for partition in range(PARTITIONS):
        for message in committed(kafka, stage.writes[0].name, partition):
            told[message.key()].append(json.loads(message.value()))
    return told
