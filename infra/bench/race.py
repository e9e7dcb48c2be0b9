"""Several programs doing the same work on the same records, one after the other, each watched from outside.

Enters: entrants, and how many records. Leaves: for each its records a second, CPU and memory, medians over the runs.
Guaranteed: entrants take turns (a noisy machine is noisy for all of them); what each wrote is read back, committed
only, and compared with what must come out: the number of records, and the last running mean of sampled keys; one that
wrote anything else fails the benchmark.

Rates are of records read, taken from the broker's timestamps in the output, so that starting up is not counted:
`records_per_s` from the first moment of output to the last; `warm_per_s` over the second half of them.
An entrant learns from its environment: BROKER, IN, OUT, CHANGELOG, GROUP, FOLDER, SCHEMA.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click
import psutil
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from aios.infra.bench.entrants.wire import SCHEMA_TEXT, decode, encode
from aios.infra.local import child
from aios.infra.local.broker import Broker
from aios.infra.output import FAILED, fail
from aios.streams.topics import BREAKER_CHANGED
from aios.streams.wall_clock import wall_ms

PARTITIONS = 6
KEYS = 20_000
SAMPLED_KEYS = 50
LOOK_S = 0.2
QUIET_S = 2.0  # without new output, after which an entrant that has written enough is at its end
ENTRANT_S_MAX = 300.0
ANSWER_S_MAX = 30.0
READ_RECORDS_MAX = 5_000  # of one call
MIB = 1 << 20
SEED = 42
ENTRANTS = Path(__file__).parent / "entrants"


class Wrong(Exception):
    """An entrant that wrote something else than it had to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """command: its program. topics: more that it needs, given its group and input. poison: reads the spoilt input."""

    name: str
    command: Sequence[str]
    topics: Callable[[str, str], Sequence[NewTopic]] = lambda *_: ()
    poison: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of one entrant."""

    records_per_s: float
    warm_per_s: float
    cpu_us_per_record: float
    memory_mib: float
    ready_s: float  # from its start to its first output


@dataclass(slots=True)
class Filled:
    """What lies in the input. ends: the last running mean of each sampled key, and how many records it has."""

    topic: str
    good: int
    bad: int
    sampled: dict[bytes, tuple[int, float]] = field(default_factory=dict)


class Race:
    """On one broker. Needs close()."""

    def __init__(self, folder: Path, records: int, poison_share: float) -> None:
        self._folder = folder
        self._records = records
        self._poison_share = poison_share
        self._broker = Broker(folder / "kafka")
        self._broker.start()
        self._admin = AdminClient({"bootstrap.servers": self._broker.address})
        self._inputs: dict[bool, Filled] = {}
        self._create([NewTopic(BREAKER_CHANGED.name, 1, 1, config=BREAKER_CHANGED.config())])

    def close(self) -> None:
        self._broker.stop()

    def run(self, entrants: Sequence[Entrant], runs: int) -> dict[str, dict[str, Any]]:
        """Medians by entrant. Raises Wrong, TimeoutError."""
        found: dict[str, list[Run]] = {entrant.name: [] for entrant in entrants}
        for number in range(runs):
            for entrant in entrants:
                click.echo(f"run {number + 1} of {runs}: {entrant.name} …", err=True)
                one = self._turn(entrant)
                click.echo(f"  {one.records_per_s:,.0f} records/s, {one.cpu_us_per_record:.0f} µs CPU each", err=True)
                found[entrant.name].append(one)
        return {name: _medians(turns) for name, turns in found.items()}

    def _input(self, *, poison: bool) -> Filled:
        if poison not in self._inputs:
            self._inputs[poison] = self._fill(f"race-{'spoilt' if poison else 'clean'}", poison)
        return self._inputs[poison]

    def _fill(self, topic: str, poison: bool) -> Filled:
        click.echo(f"filling {topic} with {self._records:,} records …", err=True)
        self._create([NewTopic(topic, PARTITIONS, 1)])
        chance = random.Random(SEED)  # noqa: S311 - the same records in every run
        text = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz     ", k=MIB))
        sampled = {b"k%06d" % key for key in chance.sample(range(KEYS), SAMPLED_KEYS)}
        filled = Filled(topic, 0, 0)
        sums: dict[bytes, tuple[int, float]] = {}
        producer = Producer(
            {
                "bootstrap.servers": self._broker.address,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        for number in range(self._records):
            key = b"k%06d" % (number * 7919 % KEYS)
            if poison and chance.random() < self._poison_share:
                filled.bad += 1
                producer.produce(topic, b"\x7fnot avro" + text[:900].encode(), key)
            else:
                filled.good += 1
                scored = _scored(number, key, text, chance)
                if key in sampled:
                    count, total = sums.get(key, (0, 0.0))
                    sums[key] = count + 1, total + scored["score"]
                producer.produce(topic, encode(scored), key)
            if number % 1000 == 0:
                producer.poll(0)
        producer.flush(ANSWER_S_MAX)
        filled.sampled = {key: (count, total / count) for key, (count, total) in sums.items()}
        return filled

    def _turn(self, entrant: Entrant) -> Run:
        source = self._input(poison=entrant.poison)
        unique = f"{re.sub('[^a-z0-9]+', '-', entrant.name.lower())}-{wall_ms() % 10**8}"
        out, changelog, group = f"out-{unique}", f"changelog-{unique}", f"aios.race-{unique}"
        folder = self._folder / unique
        folder.mkdir()
        needed = entrant.topics(group, source.topic)
        stamped = {"message.timestamp.type": "LogAppendTime"}
        compacted = {"cleanup.policy": "compact"}
        topics = [NewTopic(out, PARTITIONS, 1, config=stamped), NewTopic(changelog, PARTITIONS, 1, config=compacted)]
        self._create([*topics, *needed])
        environment = {
            "BROKER": self._broker.address,
            "IN": source.topic,
            "OUT": out,
            "CHANGELOG": changelog,
            "GROUP": group,
            "FOLDER": str(folder),
            "SCHEMA": json.dumps(SCHEMA_TEXT),
        }
        began = time.time()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                child.bound(list(entrant.command)),
                env=os.environ | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            cpu_s, memory = self._watch(process, out, source.good, folder / "log")
        finally:
            child.stop(process)
        stamps = self._check(out, source)
        shutil.rmtree(folder)
        self._admin.delete_topics([out, changelog, *(each.topic for each in needed)])
        half = stamps[len(stamps) // 2]
        first = sum(1 for stamp in stamps if stamp == stamps[0])  # its first batch took its time before it was written
        read = (source.good + source.bad) / source.good  # for each that came out; dead letters were work, too
        return Run(
            records_per_s=read * (len(stamps) - first) / max(stamps[-1] - stamps[0], 1) * 1000,
            warm_per_s=read * len(stamps) / 2 / max(stamps[-1] - half, 1) * 1000,
            cpu_us_per_record=1e6 * cpu_s / (source.good + source.bad),
            memory_mib=memory / MIB,
            ready_s=stamps[0] / 1000 - began,
        )

    def _watch(self, process: subprocess.Popen[bytes], out: str, wanted: int, log: Path) -> tuple[float, float]:
        """CPU seconds and the most memory until everything is written. Raises TimeoutError with the end of its log."""
        watched = psutil.Process(process.pid)
        deadline = time.monotonic() + ENTRANT_S_MAX
        written, since, memory, cpu_s = 0, time.monotonic(), 0, 0.0
        while written < wanted or time.monotonic() - since < QUIET_S:
            time.sleep(LOOK_S)
            if process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(encoding="utf-8", errors="replace")[-1500:]
                raise TimeoutError(f"{written} of {wanted} records were written; the end of its log:\n{text}")
            now = self._committed(out)
            if now != written:
                written, since = now, time.monotonic()
                cpu_s = sum(watched.cpu_times()[:2])
            memory = max(memory, watched.memory_info().rss)
        return cpu_s, memory

    def _committed(self, topic: str, partitions: int = PARTITIONS) -> int:
        """Ends of what is committed, markers of transactions included (one a partition and batch of hundreds)."""
        places = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
        asked = self._admin.list_offsets(places, isolation_level=IsolationLevel.READ_COMMITTED)
        return sum(future.result(ANSWER_S_MAX).offset for future in asked.values())

    def _check(self, out: str, source: Filled) -> list[int]:
        """The outputs' timestamps, in order, ms. Raises Wrong."""
        stamps: list[int] = []
        last: dict[bytes, bytes] = {}
        counts: dict[bytes, int] = {}
        for message in self._read(out):
            key = message.key()
            stamps.append(message.timestamp()[1])
            if key in source.sampled:
                last[key], counts[key] = message.value(), counts.get(key, 0) + 1
        if len(stamps) != source.good:
            raise Wrong(f"{len(stamps)} records came out, {source.good} must")
        for key, (count, mean) in source.sampled.items():
            if counts.get(key) != count or abs(decode(last[key])["score"] - mean) > 1e-9:
                raise Wrong(f"{key!r} does not end with its mean")
        return sorted(stamps)

    def _read(self, topic: str) -> Iterator[Message]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._broker.address,
                "group.id": "race.reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        ended, quiet_until = 0, time.monotonic() + ANSWER_S_MAX
        while ended < PARTITIONS:
            if time.monotonic() > quiet_until:
                raise Wrong(f"{topic} cannot be read: nothing came in {ANSWER_S_MAX:.0f} s")
            for message in consumer.consume(READ_RECORDS_MAX, LOOK_S):  # which waits for so many, or so long
                quiet_until = time.monotonic() + ANSWER_S_MAX
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
                else:
                    raise Wrong(f"{topic} cannot be read: {error.str()}")
        consumer.close()

    def _create(self, topics: Sequence[NewTopic]) -> None:
        for future in self._admin.create_topics(list(topics)).values():
            future.result(ANSWER_S_MAX)
        deadline = time.monotonic() + ANSWER_S_MAX
        for topic in topics:
            while not self._led(topic):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic.topic} has no leaders")
                time.sleep(LOOK_S)

    def _led(self, topic: NewTopic) -> bool:
        try:
            self._committed(topic.topic, topic.num_partitions)
        except KafkaException:  # it keeps an older leader in mind until it asks again
            self._admin.list_topics(topic.topic, timeout=ANSWER_S_MAX)
            return False
        return True


def ours(*, poison: bool = False) -> Entrant:
    """Our stateful stage, with all topics of its own."""
    return Entrant(
        name="aios, 1 % poison" if poison else "aios",
        command=(sys.executable, "-m", "aios.infra.bench.entrants.ours"),
        topics=_our_topics,
        poison=poison,
    )


def loop(how: str, name: str) -> Entrant:
    """The loop written by hand; how: eos or naive."""
    return Entrant(name=name, command=(sys.executable, "-m", "aios.infra.bench.entrants.loop", how))


def _our_topics(group: str, source: str) -> Sequence[NewTopic]:
    from aios.infra.bench.entrants.ours import stage_of

    stage = stage_of(group.removeprefix("aios."), source)
    wanted = [stage.retries, stage.dead_letters, *((stage.changelog,) if stage.changelog else ())]
    return [NewTopic(topic.name, PARTITIONS, 1, config=topic.config()) for topic in wanted]


def _scored(number: int, key: bytes, text: str, chance: random.Random) -> dict[str, Any]:
    """About a kilobyte."""
    start = chance.randrange(len(text) - 1_000)
    return {
        "id": f"id-{number:09d}",
        "ts": 1_760_000_000_000 + number,
        "user": key.decode(),
        "text": text[start : start + chance.randrange(850, 951)],
        "score": round(chance.uniform(0, 100), 3),
        "tags": ["alpha", "beta", f"t{number % 97}"],
        "n": None if number % 3 else number,
    }


def _medians(turns: Sequence[Run]) -> dict[str, Any]:
    rates = [turn.records_per_s for turn in turns]
    return {
        "records_per_s": round(median(rates)),
        "range": f"{min(rates):,.0f} to {max(rates):,.0f}",
        "warm_per_s": round(median(turn.warm_per_s for turn in turns)),
        "cpu_us_per_record": round(median(turn.cpu_us_per_record for turn in turns), 1),
        "memory_mib": round(median(turn.memory_mib for turn in turns)),
        "ready_s": round(median(turn.ready_s for turn in turns), 1),
    }


def shown(figures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As rows of a table."""
    return [{"entrant": name, **each} for name, each in figures.items()]


def measure(folder: Path, records: int, runs: int, entrants: Sequence[Entrant], poison_share: float = 0.01) -> Any:
    """The medians of each, or an exit that says what went wrong."""
    race = Race(folder, records, poison_share)
    try:
        return race.run(entrants, runs)
    except (Wrong, TimeoutError) as error:
        fail(str(error), FAILED)
    finally:
        race.close()
