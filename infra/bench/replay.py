"""`aios bench replay`: how fast dead letters come back.

Enters: nothing; it starts a broker, a registry and one replay process of its own in a temporary folder. Leaves: letters
a second of a job without a rate, by the broker's timestamps of what returned; of its dry run, by those of what the job
remembers; CPU a letter of the replay process in each. Guaranteed: dead letters of a real group as its stage writes
them, of about a kilobyte and from many keys, which decode, so that the dry run tries what admit would do with each; a
plan, an approval by another principal, and a run, by records alone; every letter came back exactly once, or it fails.
Broker and process share the machine's cores, so the figures are a lower bound.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import click
import psutil
from confluent_kafka import OFFSET_BEGINNING, Producer, TopicPartition

from aios.dlq import commands, envelope, jobs
from aios.dlq.commands import JobCommand, Kind, PlanCommand
from aios.infra import output
from aios.infra.bench import machine
from aios.infra.local import child
from aios.infra.local.broker import Broker
from aios.infra.local.registry import Registry
from aios.infra.output import FAILED, fail
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import DocumentReceived, ReplayRemembered
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import principals, tenants, topics, topology, tracing
from aios.streams.admin import ensure_topics, read_all, reader, record_of
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Reason, RecordError
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Topic
from aios.streams.topology import ADMIT, REPLAY

TEXT = "My card was charged twice for one purchase, and the bank does not answer my letters. " * 8
TENANT, CLUSTER = "bench", "bench"
OPERATOR, APPROVER = "ada", "kim"
FAILURES = ("the policy is being changed", "a step that nobody knows", "the limit was wrong")
LOOK_S = 0.05
WAIT_S_MAX = 300.0
PRODUCED_AT_ONCE = 1_000


@click.command()
@click.option("--letters", type=click.IntRange(1_000, 2_000_000), default=100_000, show_default=True)
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def replay(letters: int, keep: bool) -> None:
    """Dead letters a second that one replay process brings back, unthrottled; and its dry run."""
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder, _ground(Path(folder)) as (kafka, registry):
        source = RegistrySource(registry)
        try:
            figures = _measure(kafka, registry, Codec(source), Path(folder), letters)
        finally:
            source.close()
    output.one(figures, as_json=False)
    if keep:
        machine.keep("replay", f"aios bench replay --letters {letters}", figures)


@contextmanager
def _ground(folder: Path) -> Iterator[tuple[KafkaSettings, str]]:
    """A broker with every topic, and a registry with every contract."""
    broker = Broker(folder / "kafka")
    broker.start()
    try:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        registry = Registry(kafka, folder / "registry.log")
        registry.start()
        try:
            register_all(registry.url, topology.all_topics().values())
            asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
            yield kafka, registry.url
        finally:
            registry.stop()
    finally:
        broker.stop()


def _measure(kafka: KafkaSettings, registry: str, codec: Codec, home: Path, letters: int) -> dict[str, Any]:
    bytes_each = _fill(kafka, codec, letters)
    tenants.register(kafka, codec, TENANT)
    principals.register(kafka, codec, OPERATOR, roles=["operator"])
    principals.register(kafka, codec, APPROVER, roles=["approver"])
    own = {"AIOS_KAFKA": kafka.model_dump_json(), "AIOS_REGISTRY__URL": registry, "AIOS_HOME": str(home)}
    process = child.start(
        [sys.executable, "-P", "-m", "aios.infra.stage", "replay", "--slot", "0"], home / "replay.log", os.environ | own
    )
    desk = _Desk(kafka, codec)
    cpu = psutil.Process(process.pid)
    try:
        job_id = desk.plan()
        desk.until(job_id, lambda job: job.job_id == job_id)
        began_s = _cpu_s(cpu)
        tried = desk.until(job_id, jobs.is_tried)
        dry_cpu_s = _cpu_s(cpu) - began_s
        dry = list(desk.stamps)
        desk.tell(APPROVER, Kind.APPROVE, job_id)
        desk.until(job_id, lambda job: job.state == jobs.JobState.APPROVED)
        began_s = _cpu_s(cpu)
        desk.tell(OPERATOR, Kind.RUN, job_id)
        done = desk.until(job_id, lambda job: job.state == jobs.JobState.DONE)
        cpu_s, memory = _cpu_s(cpu) - began_s, cpu.memory_info().rss
    except TimeoutError as error:
        log = (home / "replay.log").read_text(encoding="utf-8", errors="replace")[-1500:]
        fail(f"{error}; the end of the process's log:\n{log}", FAILED)
    finally:
        child.stop(process)
        desk.close()
    if (tried.selected, done.replayed) != (letters, letters):
        fail(f"{tried.selected} of {letters} selected, {done.replayed} replayed, {dict(done.skipped)}", FAILED)
    stamps = _came_back(kafka, letters)
    return {
        "letters": letters,
        "bytes_per_letter": bytes_each,
        "replayed_per_s": round(letters / ((max(stamps) - min(stamps)) / 1000)),
        "cpu_us_per_letter": round(1e6 * cpu_s / letters),
        "dry_run_per_s": round(letters / ((max(dry) - min(dry)) / 1000)),
        "dry_run_cpu_us_per_letter": round(1e6 * dry_cpu_s / letters),
        "memory_mib": round(memory / (1 << 20)),
    }


def _fill(kafka: KafkaSettings, codec: Codec, letters: int) -> int:
    """Dead letters, as admit writes them; the bytes of one."""
    producer = Producer(client(kafka, **{"linger.ms": 5, "queue.buffering.max.messages": 4 * PRODUCED_AT_ONCE}))
    size = 0
    for number in range(letters):
        out = _letter(codec, number, kafka.partitions)
        size = len(out.value or b"") + sum(len(name) + len(value or b"") for name, value in out.headers)
        producer.produce(out.topic, out.value, out.key, cast(int, out.partition), headers=list(out.headers))
        if number % PRODUCED_AT_ONCE == PRODUCED_AT_ONCE - 1:
            producer.flush(WAIT_S_MAX)
    if producer.flush(WAIT_S_MAX):
        fail("Kafka did not take the dead letters", FAILED)
    return size


def _letter(codec: Codec, number: int, partitions: int) -> Outgoing:
    key, now_ms = f"customer-{number}", time.time_ns() // 1_000_000
    document = DocumentReceived(text=TEXT, event_id=f"event-{number}", customer_id=key, tenant=TENANT)
    headers = tracing.envelope(
        document,
        event_id=document.event_id,
        source="/bench",
        subject=document.event_id,
        tenant=TENANT,
        traceparent="",
        time_ms=now_ms,
    )
    value = codec.encode(topics.DOCUMENT_RECEIVED, document)
    record = Record(
        topics.DOCUMENT_RECEIVED.name, number % partitions, number, now_ms, key.encode(), value, tuple(headers)
    )
    error = RecordError(FAILURES[number % len(FAILURES)], Reason.UNATTRIBUTABLE)
    return envelope.wrap(record, envelope.Failure(stage=ADMIT, error=error, attempts=1, now_ms=now_ms, cluster=CLUSTER))


class _Desk:
    """An operator and an approver, by records alone. Needs close()."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._codec = codec
        self._producer = Producer(client(kafka))
        self._states = reader(kafka)
        self._changelog = cast(Topic, REPLAY.changelog)
        self._states.assign([TopicPartition(self._changelog.name, 0, OFFSET_BEGINNING)])
        self._job: ReplayRemembered | None = None
        self.stamps: list[int] = []  # the broker's, of whenever the job was remembered

    def plan(self) -> str:
        """The id of a job over all that is there."""
        request = commands.requested(
            PlanCommand(), principal=OPERATOR, key="plan", reason="bench", now_ms=time.time_ns() // 1_000_000
        )
        self._send(request)
        return request.object_id

    def tell(self, by: str, kind: Kind, job_id: str) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._send(
            commands.requested(
                JobCommand(kind=kind), object_id=job_id, principal=by, key=kind, reason="bench", now_ms=now_ms
            )
        )

    def until(self, job_id: str, is_so: Callable[[ReplayRemembered], bool]) -> ReplayRemembered:
        """The job when it is so. Raises TimeoutError."""
        deadline, key = time.monotonic() + WAIT_S_MAX, jobs.job_key(job_id)
        while time.monotonic() < deadline:
            for one in self._states.consume(1_000, LOOK_S):
                if one.error() is None and one.key() == key and one.value() is not None:
                    self._job = self._codec.decode(one.value(), ReplayRemembered)
                    self.stamps.append(record_of(one).timestamp_ms)
            if self._job is not None and is_so(self._job):
                return self._job
        raise TimeoutError(f"the job is {self._job or 'not there'}")

    def close(self) -> None:
        self._producer.flush(WAIT_S_MAX)
        self._states.close()

    def _send(self, request: Any) -> None:
        value = self._codec.encode(topics.OPERATION_REQUESTED, request)
        self._producer.produce(topics.OPERATION_REQUESTED.name, value, request.object_id.encode())
        self._producer.flush(WAIT_S_MAX)


def _came_back(kafka: KafkaSettings, letters: int) -> list[int]:
    """The broker's times of what returned; each letter once."""
    wanted = {str(ids.derive("dead-letter", CLUSTER, *_place(kafka, number), ADMIT.group)) for number in range(letters)}
    found, stamps = Counter[str](), list[int]()
    for record in read_all(kafka, ADMIT.retries.name):
        found[record.header(f"{envelope.PREFIX}id") or ""] += 1
        stamps.append(record.timestamp_ms)
    if set(found) != wanted or found.total() != letters:
        fail(f"{found.total()} records of {len(found)} letters came back, not each of {letters} once", FAILED)
    return stamps


def _place(kafka: KafkaSettings, number: int) -> tuple[str, str, str]:
    return topics.DOCUMENT_RECEIVED.name, str(number % kafka.partitions), str(number)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
