"""Kafka's first start on a machine, for what it leaves to all others: python -m aios.infra.local.first_start.

Enters: the jars. Leaves beside them its classes as the JVM maps them, and the records a cluster begins with.
Guaranteed: each is there whole or not at all, and none is needed: without them a start takes the longer way.
Rejected: the JVM's own archive alone (it has none of Kafka's classes), an archive in the release (it
fits one build of Java and the jars' times on one disk).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from aios.infra.local import child
from aios.infra.local.broker import CLASSES, RECORDS, Broker
from aios.streams.errors import Unavailable

USE_S_MAX = 120.0
WRITE_S_MAX = 300.0  # 15 s on a busy machine
ENDED = 128 + 15  # a JVM that was asked to end and did


def main() -> None:
    """Make both anew."""
    for old in (CLASSES, RECORDS):
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=CLASSES.parent) as folder:
        node = Broker(Path(folder) / "node")
        made = Path(folder) / CLASSES.name
        java, *rest = node.command()
        formatted = Path(folder) / RECORDS.name
        shutil.copyfile(Path(folder) / "node" / "data" / RECORDS.name, formatted)
        _put(formatted, RECORDS)
        log = Path(folder) / "node" / "kafka.log"
        process = child.start([java, f"-XX:ArchiveClassesAtExit={made}", *rest], log)
        try:
            node.wait_ready()
            _use(node.address)
            process.terminate()
            code = process.wait(WRITE_S_MAX)
        except (Unavailable, KafkaException, subprocess.TimeoutExpired) as error:
            code = None
            print(f"Kafka's first start: {error}", file=sys.stderr)
        finally:
            process.kill()
            process.wait()
        if code == ENDED and made.is_file():
            _put(made, CLASSES)
        else:
            print("there is no archive of Kafka's classes: its starts take twice as long", file=sys.stderr)


def _use(address: str) -> None:
    """What every system does, so that the classes for it are loaded: topics, a transaction, a group."""
    to = {"bootstrap.servers": address, "log_level": 0}
    admin = AdminClient(to)
    admin.create_topics([NewTopic("first", 1, 1)])["first"].result(USE_S_MAX)
    producer = Producer({**to, "transactional.id": "first"})
    producer.init_transactions(USE_S_MAX)
    producer.begin_transaction()
    producer.produce("first", b"1")
    producer.commit_transaction(USE_S_MAX)
    consumer = Consumer({**to, "group.id": "first", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe(["first"])
        if not (found := consumer.consume(1, USE_S_MAX)):
            raise Unavailable(f"Kafka took a record and gave none within {USE_S_MAX:.0f} s")
        consumer.commit(found[0], asynchronous=False)
    finally:
        consumer.close()


def _put(made: Path, place: Path) -> None:
    """Whole: a JVM that maps half an archive ends with a fault of the memory."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.rename(place)


if __name__ == "__main__":
    main()
