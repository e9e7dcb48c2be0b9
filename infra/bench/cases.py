"""`aios bench cases`: what remembered cases cost: memory and restart of plan, and the CPU of the cases that come next.

Enters: nothing; it starts a broker and a registry in a temporary folder, and the real process of plan. Leaves:
a table, one row a number of decided cases, and ratios to the first. The cases of a row are written to plan's changelog
directly, with the product's own codec, as plan itself would have left them (to decide a million takes an hour); the
cases driven through afterwards are real ones: admitted, answered, decided by the running process.

Memory: of the process once all partitions are open, beside the same process without a case. Restart: from its start
to the last partition that is open. CPU: of the process, for each record it was given; two records a case.

With --open the cases are not decided: each waits for a person, with its text and its timers, as plan left the first of
them. The process is killed (-9) and started again at once; goes_on_s is from the kill to the decision of one that was
answered when it was back.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from aios.infra import output
from aios.infra.bench import case_events, machine
from aios.infra.local import child
from aios.infra.local.broker import Broker
from aios.infra.local.registry import Registry
from aios.infra.output import FAILED, fail
from aios.processors.cases.turn import FORGET_AFTER_MS
from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import Remembered, end_headers, timer_name, timer_of
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import CaseAdmitted, CaseRemembered, TimerRemembered
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import topology
from aios.streams.admin import ensure_topics
from aios.streams.config import KafkaSettings, client
from aios.streams.partitioner import partition_of
from aios.streams.topics import (
    CASE_ADMITTED,
    CASE_DECIDED,
    INFERENCE_COMPLETED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    Topic,
)
from aios.streams.topology import PLAN
from aios.streams.wall_clock import wall_ms

FIRST = "the first"
REQUESTED = "inference.classify.bulk.requested.v1"
WARM = 1_000  # cases before those that are measured
WAVE = 250  # cases driven at once: a tenant has no more commands to a pool outstanding than its file allows
WAIT_S_MAX = 300.0
LOOK_S = 0.05
OPEN_ROWS = ("open", "memory_mb", "bytes_per_case", "open_cpu_s", "goes_on_s")
ROWS = ("cases", "memory_mb", "bytes_per_case", "open_s", "open_cpu_s", "cpu_us_per_event")


@click.command()
@click.option("--cases", "sizes", default="10000,100000,1000000", show_default=True, help="Decided cases, ascending.")
@click.option("--open", "are_open", is_flag=True, help="Cases that wait, and plan killed: when does it go on?")
@click.option("--driven", type=click.IntRange(500, 100_000), default=4_000, show_default=True, help="Cases driven.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def cases(sizes: str, are_open: bool, driven: int, keep: bool) -> None:
    """Memory, restart and CPU of plan with many decided cases behind it; or with many open ones."""
    try:
        wanted = sorted({int(size) for size in sizes.split(",")})
    except ValueError as error:
        raise click.BadParameter(sizes, param_hint="--cases") from error
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder, _bench(Path(folder)) as bench:
        rows = _opened(bench, wanted) if are_open else _measure(bench, wanted, driven)
    if are_open:
        output.rows(rows, OPEN_ROWS, as_json=False, none="")
        if keep:
            machine.keep("open-cases", f"aios bench cases --open --cases {sizes}", {"rows": rows})
        return
    output.rows(rows, ROWS, as_json=False, none="")
    ratios = {f"CPU at {row['cases']:,} ÷ {rows[0]['cases']:,}": _ratio(row, rows[0]) for row in rows[1:]}
    output.one(ratios, as_json=False)
    if keep:
        machine.keep("cases", f"aios bench cases --cases {sizes} --driven {driven}", {"rows": rows, "ratios": ratios})


def _ratio(row: dict[str, Any], first: dict[str, Any]) -> float:
    return float(round(row["cpu_us_per_event"] / first["cpu_us_per_event"], 2))


@contextmanager
def _bench(home: Path) -> Iterator[Bench]:
    broker = Broker(home / "kafka")
    broker.start()
    kafka = KafkaSettings(bootstrap_servers=broker.address)
    registry = Registry(kafka, home / "registry.log")
    try:
        declared = topology.all_topics().values()
        asyncio.run(ensure_topics(kafka, declared))
        registry.start()
        register_all(registry.url, declared)
        with closing(RegistrySource(registry.url)) as source:
            yield Bench(home, kafka, source, registry.url)
    finally:
        registry.stop()
        broker.stop()


def _measure(bench: Bench, sizes: list[int], driven: int) -> list[dict[str, Any]]:
    with bench.plan():
        empty = bench.rss()
    rows = []
    for size in sizes:
        bench.fill(size)
        with bench.plan():
            memory = bench.rss() - empty
            row = {"open_s": round(bench.open_s, 1), "open_cpu_s": round(bench.cpu_s(), 1)}
            row |= {"cases": bench.remembered, "memory_mb": round(memory / 1e6)}
            row["bytes_per_case"] = round(memory / bench.remembered)
            bench.drive(WARM)
            row["cpu_us_per_event"] = round(1e6 * bench.drive(driven) / (2 * driven))
        rows.append(row)
    return rows


def _opened(bench: Bench, sizes: list[int]) -> list[dict[str, Any]]:
    with bench.plan():
        empty = bench.rss()
        first = bench.first_open()
    rows = []
    for size in sizes:
        bench.fill(size, first)
        with bench.plan():
            bench.decide(size - 1)
            bench.kill()
        killed = time.monotonic()
        with bench.plan():
            row: dict[str, Any] = {"open": size, "open_cpu_s": round(bench.cpu_s(), 1)}
            memory = bench.rss() - empty
            row |= {"memory_mb": round(memory / 1e6), "bytes_per_case": round(memory / size)}
            bench.decide(size - 2)
            row["goes_on_s"] = round(time.monotonic() - killed, 1)
        rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class Open:
    """One real case that waits for a person, as plan remembers it. timers: when each is due, by id."""

    state: CaseRemembered
    timers: Mapping[str, int]


class Bench:
    """Plan as a process, and what stands around it."""

    def __init__(self, home: Path, kafka: KafkaSettings, source: RegistrySource, registry: str) -> None:
        self._home = home
        self._kafka = kafka
        self._registry = registry
        self._codec = Codec(source)
        self._producer = Producer(
            client(kafka, **{"linger.ms": 20, "queue.buffering.max.messages": 200_000, "log_level": 0})
        )
        self._partitions = CASE_ADMITTED.partitions(kafka.partitions)
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / "plan.log"
        self.remembered = 0
        self.open_s = 0.0

    @contextmanager
    def plan(self) -> Iterator[None]:
        """Its process, from open to stopped."""
        self._starts += 1
        self._log = self._home / f"plan.{self._starts}.log"
        began = time.monotonic()
        self._process = child.start(
            [sys.executable, "-P", "-m", "aios.infra.stage", "plan"],
            self._log,
            os.environ
            | {
                "AIOS_HOME": str(self._home),
                "AIOS_KAFKA__BOOTSTRAP_SERVERS": self._kafka.bootstrap_servers,
                "AIOS_REGISTRY__URL": self._registry,
            },
        )
        try:
            deadline = began + WAIT_S_MAX
            while self._opened() < self._partitions:
                self._alive(deadline, "plan did not open")
                time.sleep(LOOK_S)
            self.open_s = time.monotonic() - began
            yield
        finally:
            child.stop(self._process)

    def rss(self) -> int:
        return int(self._seen().memory_info().rss)

    def cpu_s(self) -> float:
        return float(sum(self._seen().cpu_times()[:2]))

    def kill(self) -> None:
        process = self._seen()
        process.kill()
        process.wait(WAIT_S_MAX)

    def first_open(self) -> Open:
        """One that is driven there, by plan."""
        self._feed(CASE_ADMITTED, [case_events.admitted(FIRST)], REQUESTED)
        self._feed(INFERENCE_COMPLETED, [case_events.answer(FIRST, confidence=0.1)], REVIEW_REQUESTED.name)
        topic, case_id = cast(Topic, PLAN.changelog), case_events.admitted(FIRST).case_id
        found = Remembered()
        changelog.read(self._kafka, self._codec, topic, partition_of(case_id.encode(), self._partitions), found)
        named = ((timer_of(name), due_ms) for name, due_ms in found.timers.items())
        return Open(
            self._codec.decode(found.states.get(case_id.encode()), CaseRemembered),
            {timer_id: due_ms for (key, timer_id), due_ms in named if key == case_id},
        )

    def decide(self, number: int) -> None:
        """One of the open cases gets its answer."""
        self._feed(REVIEW_DECIDED, [case_events.reviewed(f"filled {number}")], CASE_DECIDED.name)

    def fill(self, count: int, first: Open | None = None) -> None:
        """Cases up to so many, in plan's changelog: decided ones, or open ones like the first."""
        topic, now_ms = cast(Topic, PLAN.changelog), wall_ms()
        for number in range(self.remembered, count):
            event = case_events.admitted(f"filled {number}")
            partition = partition_of(event.case_id.encode(), self._partitions)
            if first is None:
                end = end_headers(now_ms + FORGET_AFTER_MS) or []
                self._put(topic.name, self._decided(topic, event), event.case_id.encode(), partition, end)
                continue
            for name, value in self._open(topic, event, first):
                self._put(topic.name, value, name, partition, [])
        self._flush()
        self.remembered = max(self.remembered, count)

    def drive(self, count: int) -> float:
        """CPU seconds of plan for so many new cases, admitted and answered."""
        keys = [f"driven {self.remembered + number}" for number in range(count)]
        before = self.cpu_s()
        for first in range(0, count, WAVE):
            wave = keys[first : first + WAVE]
            self._feed(CASE_ADMITTED, [case_events.admitted(key) for key in wave], REQUESTED)
            self._feed(INFERENCE_COMPLETED, [case_events.answer(key) for key in wave], CASE_DECIDED.name)
        self.remembered += count
        return self.cpu_s() - before

    def _decided(self, topic: Topic, event: CaseAdmitted) -> bytes:
        """As processors/cases/turn.py leaves it; the event's id as the gateway derives it."""
        state = CaseRemembered(
            case_id="",
            tenant=case_events.TENANT,
            workflow=case_events.WORKFLOW,
            workflow_version=1,
            status="decided",
            case_seq=4,
            event_id=f"{event.case_id}.{event.body_hash[:16]}",
            idempotency_key="",
            body_hash=ids.short(event.body_hash),
            answers="{}",
            decided_at=event.received_at,
        )
        return self._codec.encode(topic, state)

    def _open(self, topic: Topic, event: CaseAdmitted, first: Open) -> Iterator[tuple[bytes, bytes]]:
        """State and timers, as the first case has them."""
        known = first.state
        own = replace(
            known,
            event_id=event.event_id,
            idempotency_key=event.idempotency_key,
            waiting_for=ids.command_id(event.case_id, known.step, known.attempt),
        )
        yield event.case_id.encode(), self._codec.encode(topic, own)
        for of_first, due_ms in first.timers.items():
            timer_id = of_first.replace(known.waiting_for, own.waiting_for)
            timer = TimerRemembered(timer_id=timer_id, key=event.case_id, due_at=due_ms)
            yield timer_name(event.case_id, timer_id), self._codec.encode(topic, timer)

    def _feed(self, topic: Topic, events: list[Any], answers: str) -> None:
        """Write them, and wait until each has led to a record there."""
        reader = self._at_the_end(answers)
        try:
            for event in events:
                headers = list(case_events.headers(event))
                key = event.case_id.encode()
                self._put(
                    topic.name, self._codec.encode(topic, event), key, partition_of(key, self._partitions), headers
                )
            self._flush()
            deadline, found = time.monotonic() + WAIT_S_MAX, 0
            while found < len(events):
                self._alive(deadline, f"{found} of {len(events)} records in {answers}")
                found += sum(1 for one in reader.consume(1_000, LOOK_S) if one.error() is None)
        finally:
            reader.close()

    def _at_the_end(self, topic: str) -> Consumer:
        count = topology.all_topics()[topic].partitions(self._kafka.partitions)
        places = [TopicPartition(topic, partition) for partition in range(count)]
        admin = AdminClient(client(self._kafka, log_level=0))
        ends = admin.list_offsets(dict.fromkeys(places, OffsetSpec.latest()))
        own = {"group.id": "bench.reader", "isolation.level": "read_committed", "enable.auto.commit": False}
        consumer = Consumer(client(self._kafka, **own, log_level=0))
        consumer.assign(
            [TopicPartition(topic, place.partition, end.result(WAIT_S_MAX).offset) for place, end in ends.items()]
        )
        return consumer

    def _put(self, topic: str, value: bytes, key: bytes, partition: int, headers: list[Any]) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self._producer.poll(0)

    def _flush(self) -> None:
        if self._producer.flush(WAIT_S_MAX):
            fail("the broker did not take the records", FAILED)

    def _opened(self) -> int:
        return self._log.read_text(encoding="utf-8", errors="replace").count(" is open, read ")

    def _seen(self) -> psutil.Process:
        if self._process is None:
            raise ValueError("plan was not started")
        return psutil.Process(self._process.pid)

    def _alive(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline or (self._process is not None and self._process.poll() is not None):
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-1500:]
            fail(f"{what}; the end of plan's log:\n{tail}", FAILED)
