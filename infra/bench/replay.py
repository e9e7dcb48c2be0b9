"""`aios bench replay`: how fast dead letters come back.

Enters: nothing; it starts a broker, a registry and one replay process of its own in a temporary folder. Leaves: letters
a second of a job without a rate, by the broker's timestamps of what returned; of its dry run, by those of what the job
remembers; CPU a letter of the replay process in each; and which rate a job kept that asked for RATE (PACED letters).
Guaranteed: dead letters of a real group as its stage writes
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
import psutil
from confluent_kafka import OFFSET_BEGINNING, Producer, TopicPartition

from aios.dlq import commands, envelope, jobs
from aios.dlq.commands import JobCommand, Kind, PlanCommand
from aios.dlq.jobs import JobState
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
from aios.streams.wall_clock import wall_ms

TEXT = "My card was charged twice for one purchase, and the bank does not answer my letters. " * 8
TENANT, CLUSTER = "bench", "bench"
OPERATOR, APPROVER = "ada", "kim"
FAILURES = ("the policy is being changed", "a step that nobody knows", "the limit was wrong")
RATE, PACED = 500, 2_500  # letters a second of the job with a rate, and its cap
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
    bytes_each = _fill(kafka, codec, letters + PACED)
    tenants.register(kafka, codec, TENANT)
    principals.register(kafka, codec, OPERATOR, roles=["operator"])
    principals.register(kafka, codec, APPROVER, roles=["approver"])
    own = {"AIOS_KAFKA": kafka.model_dump_json(), "AIOS_REGISTRY__URL": registry, "AIOS_HOME": str(home)}
    process = child.start(
        [sys.executable, "-P", "-m", "aios.infra.stage", "replay", "--slot", "0"], home / "replay.log", os.environ | own
    )
    desk = _Desk(kafka, codec, psutil.Process(process.pid))
    try:
        paced = desk.job(PlanCommand(rate_per_s=RATE, cap=PACED))
        whole = desk.job(PlanCommand())
        memory = psutil.Process(process.pid).memory_info().rss
    except TimeoutError as error:
        log = (home / "replay.log").read_text(encoding="utf-8", errors="replace")[-1500:]
        fail(f"{error}; the end of the process's log:\n{log}", FAILED)
    finally:
        child.stop(process)
        desk.close()
    stamps = _came_back(kafka, letters + PACED)
    if (len(stamps[paced.job_id]), len(stamps[whole.job_id])) != (PACED, letters):
        fail(f"the jobs returned {[len(each) for each in stamps.values()]} letters", FAILED)
    return {
        "letters": letters,
        "bytes_per_letter": bytes_each,
        "replayed_per_s": _per_s(letters, stamps[whole.job_id]),
        "cpu_us_per_letter": round(1e6 * whole.cpu_s / letters),
        "dry_run_per_s": _per_s(letters, whole.dry_stamps),
        "dry_run_cpu_us_per_letter": round(1e6 * whole.dry_cpu_s / letters),
        "memory_mib": round(memory / (1 << 20)),
        "rate_asked_per_s": RATE,
        "rate_kept_per_s": _per_s(PACED, stamps[paced.job_id]),
    }


def _per_s(count: int, stamps: Sequence[int]) -> int:
    """stamps: the broker's, ms."""
    return round(count / ((max(stamps) - min(stamps)) / 1000))


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
    key, now_ms = f"customer-{number}", wall_ms()
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


class _Job(NamedTuple):
    """A job that is done. dry_stamps: when the broker took what its dry run remembered, ms."""

    job_id: str
    dry_stamps: list[int]
    dry_cpu_s: float
    cpu_s: float


class _Desk:
    """An operator and an approver, by records alone. Needs close(). process: the stage's."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, process: psutil.Process) -> None:
        self._codec = codec
        self._process = process
        self._producer = Producer(client(kafka))
        self._states = reader(kafka)
        self._changelog = cast(Topic, REPLAY.changelog)
        self._states.assign([TopicPartition(self._changelog.name, 0, OFFSET_BEGINNING)])
        self._jobs: dict[str, ReplayRemembered] = {}
        self._stamps: dict[str, list[int]] = {}  # the broker's, of whenever a job was remembered

    def job(self, plan: PlanCommand) -> _Job:
        """From its plan to its end. Raises TimeoutError."""
        request = commands.requested(plan, principal=OPERATOR, key=f"{plan.cap}", reason="bench", now_ms=wall_ms())
        self._send(request)
        job_id = request.object_id
        self.until(job_id, lambda job: job.job_id == job_id)
        began_s = _cpu_s(self._process)
        self.until(job_id, jobs.is_tried)
        dry_cpu_s, dry = _cpu_s(self._process) - began_s, list(self._stamps[job_id])
        self.tell(APPROVER, Kind.APPROVE, job_id)
        self.until(job_id, lambda job: job.state == JobState.APPROVED)
        began_s = _cpu_s(self._process)
        self.tell(OPERATOR, Kind.RUN, job_id)
        self.until(job_id, lambda job: job.state == JobState.DONE)
        return _Job(job_id, dry, dry_cpu_s, _cpu_s(self._process) - began_s)

    def tell(self, by: str, kind: Kind, job_id: str) -> None:
        now_ms = wall_ms()
        self._send(
            commands.requested(
                JobCommand(kind=kind),
                object_id=job_id,
                principal=by,
                key=f"{job_id} {kind}",
                reason="bench",
                now_ms=now_ms,
            )
        )

    def until(self, job_id: str, is_so: Callable[[ReplayRemembered], bool]) -> ReplayRemembered:
        """The job when it is so. Raises TimeoutError."""
        deadline = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < deadline:
            for one in self._states.consume(1_000, LOOK_S):
                if one.error() is None and (one.key() or b"").startswith(jobs.job_key("")):
                    self._see(record_of(one))
            if job_id in self._jobs and is_so(self._jobs[job_id]):
                return self._jobs[job_id]
        raise TimeoutError(f"the job is {self._jobs.get(job_id, 'not there')}")

    def _see(self, record: Record) -> None:
        job = self._codec.decode(record.value, ReplayRemembered)
        self._jobs[job.job_id] = job
        self._stamps.setdefault(job.job_id, []).append(record.timestamp_ms)

    def close(self) -> None:
        self._producer.flush(WAIT_S_MAX)
        self._states.close()

    def _send(self, request: Any) -> None:
        value = self._codec.encode(topics.OPERATION_REQUESTED, request)
        self._producer.produce(topics.OPERATION_REQUESTED.name, value, request.object_id.encode())
        self._producer.flush(WAIT_S_MAX)


def _came_back(kafka: KafkaSettings, letters: int) -> dict[str, list[int]]:
    """The broker's times of what returned, by job; each letter once."""
    wanted = {ids.derive("dead-letter", CLUSTER, *_place(kafka, number), ADMIT.group) for number in range(letters)}
    found, stamps = Counter[str](), defaultdict[str, list[int]](list)
    for record in read_all(kafka, ADMIT.retries.name):
        said = envelope.said(record)
        found[said["id"]] += 1
        stamps[said["replay.job"]].append(record.timestamp_ms)
    if set(found) != wanted or found.total() != letters:
        fail(f"{found.total()} records of {len(found)} letters came back, not each of {letters} once", FAILED)
    return stamps


def _place(kafka: KafkaSettings, number: int) -> tuple[str, str, str]:
    return topics.DOCUMENT_RECEIVED.name, str(number % kafka.partitions), str(number)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
