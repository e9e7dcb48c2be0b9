"""`aios bench stage`: what one process of a stateful stage carries, and how long a record takes through it.

Enters: nothing; it starts a broker of its own in a temporary folder, and one process of a stage with a trivial core
(infra/bench/stage_process.py). Leaves: a table. Throughput: a filled topic is worked through; counted is what is
committed in the output, between the first look that finds something and the last. Latency: records sent one by one at
a steady rate, from just before `produce` to the moment a read_committed consumer holds the output. Broker, producer
and consumer share the machine's cores with the process, so both figures are a lower bound.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import psutil
from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from aios.infra import output
from aios.infra.bench import machine
from aios.infra.bench.stage_process import IN, OUT, STAGE, codec
from aios.infra.local import child
from aios.infra.local.broker import Broker
from aios.infra.output import FAILED, fail
from aios.schemas.models import DocumentReceived
from aios.streams import tracing
from aios.streams.topics import BREAKER_CHANGED
from aios.streams.wall_clock import wall_ms

PARTITIONS = 6
KEYS = 1_000
TEXT = "My card was charged twice for one purchase, and the bank does not answer my letters. " * 11  # about 1 KB
LOOK_S = 0.05
WAIT_S_MAX = 180.0
MIB = 1 << 20


@click.command()
@click.option("--records", type=click.IntRange(10_000, 5_000_000), default=200_000, show_default=True)
@click.option(
    "--rate", type=click.IntRange(1, 5_000), default=200, show_default=True, help="Of the latency run, a second."
)
@click.option("--seconds", type=click.IntRange(1, 600), default=15, show_default=True, help="Of the latency run.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def stage(records: int, rate: int, seconds: int, keep: bool) -> None:
    """Records a second through one process of a stateful stage with a trivial core, and P50, P95, P99 of one record."""
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        home = Path(folder)
        broker = Broker(home / "kafka")
        broker.start()
        try:
            figures = _measure(broker.address, home, records, rate, seconds)
        finally:
            broker.stop()
    output.one(figures, as_json=False)
    if keep:
        machine.keep("stage", f"aios bench stage --records {records} --rate {rate} --seconds {seconds}", figures)


def _measure(bootstrap: str, home: Path, records: int, rate: int, seconds: int) -> dict[str, Any]:
    _create(bootstrap)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for number in range(records):
        _send(producer, number)
    producer.flush(WAIT_S_MAX)
    process = child.start(
        [sys.executable, "-m", "aios.infra.bench.stage_process", bootstrap, str(home)], home / "stage.log"
    )
    try:
        per_s = _throughput(bootstrap, records)
        cpu = psutil.Process(process.pid)
        cpu_s, memory = sum(cpu.cpu_times()[:2]), cpu.memory_info().rss
        took = _latency(bootstrap, producer, records, rate, seconds)
    except TimeoutError as error:
        log = (home / "stage.log").read_text(encoding="utf-8", errors="replace")[-1500:]
        fail(f"{error}; the end of the stage's log:\n{log}", FAILED)
    finally:
        child.stop(process)
    return {
        "records": records,
        "bytes_per_record": len(TEXT),
        "records_per_s": round(per_s),
        "cpu_us_per_record": round(1e6 * cpu_s / records, 1),  # its start included
        "memory_mib": round(memory / MIB),
        "latency_rate_per_s": rate,
        "latency_ms": machine.percentiles(took),
    }


def _create(bootstrap: str) -> None:
    wanted = (
        *STAGE.inputs,
        OUT,
        STAGE.dead_letters,
        *(tier.topic for tier in STAGE.tiers),
        BREAKER_CHANGED,
        *((STAGE.changelog,) if STAGE.changelog else ()),
    )
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics(
        [NewTopic(topic.name, topic.partitions(PARTITIONS), 1, config=topic.config()) for topic in wanted]
    )
    for future in made.values():
        future.result(WAIT_S_MAX)


_CODEC = codec()


def _send(producer: Producer, number: int) -> None:
    """One document; its id says when it was sent."""
    document = DocumentReceived(text=TEXT, event_id=f"{time.time_ns()}", customer_id=str(number % KEYS), tenant="bench")
    headers = tracing.envelope(
        document,
        event_id=document.event_id,
        source="/bench",
        subject=document.event_id,
        tenant="bench",
        traceparent="",
        time_ms=wall_ms(),
    )
    value = _CODEC.encode(IN, document)
    producer.produce(IN.name, value, document.customer_id.encode(), headers=list(headers))
    if number % 1000 == 0:
        producer.poll(0)


def _throughput(bootstrap: str, records: int) -> float:
    """Committed outputs a second, from the first look that finds any. Raises TimeoutError."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    deadline = time.monotonic() + WAIT_S_MAX
    first: tuple[float, int] | None = None
    while time.monotonic() < deadline:
        found, now = _committed(admin), time.monotonic()
        if first is None and found:
            first = now, found
        if first is not None and found >= records:
            return (found - first[1]) / (now - first[0])
        time.sleep(LOOK_S)
    raise TimeoutError(f"{_committed(admin)} of {records} outputs in {WAIT_S_MAX:.0f} s")


def _committed(admin: AdminClient) -> int:
    """End of what is committed, over all partitions; a marker for each transaction is in it (one in thousands)."""
    places = {TopicPartition(OUT.name, partition): OffsetSpec.latest() for partition in range(PARTITIONS)}
    asked = admin.list_offsets(places, isolation_level=IsolationLevel.READ_COMMITTED)
    return sum(future.result(WAIT_S_MAX).offset for future in asked.values())


def _latency(bootstrap: str, producer: Producer, sent: int, rate: int, seconds: int) -> list[float]:
    """Milliseconds of each record sent now. Raises TimeoutError."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench.reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
    )
    admin = AdminClient({"bootstrap.servers": bootstrap})
    places = {TopicPartition(OUT.name, p): OffsetSpec.latest() for p in range(PARTITIONS)}
    ends = [(place, future.result(WAIT_S_MAX).offset) for place, future in admin.list_offsets(places).items()]
    consumer.assign([TopicPartition(place.topic, place.partition, end) for place, end in ends])
    consumer.poll(1.0)
    took: list[float] = []
    number, total = 0, rate * seconds
    began = time.monotonic()
    while len(took) < total:
        if time.monotonic() > began + seconds + WAIT_S_MAX:
            raise TimeoutError(f"{len(took)} of {total} outputs came back")
        if number < total and time.monotonic() >= began + number / rate:
            _send(producer, sent + number)
            producer.poll(0)
            number += 1
        message = consumer.poll(0.001)
        if message is not None and message.error() is None:
            sent_ns = int(_CODEC.decode(message.value(), DocumentReceived).event_id)
            took.append((time.time_ns() - sent_ns) / 1e6)
    consumer.close()
    producer.flush(WAIT_S_MAX)
    return took
