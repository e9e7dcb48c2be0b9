"""A member that is killed while partitions are taken from it: what it gave up must not stay without a reader."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from aios.streams.config import KafkaSettings

pytestmark = pytest.mark.broker

PARTITIONS = 6
WITHIN_S = 40.0  # on a machine that runs other tests besides; a few seconds by itself
MEMBER = Path(__file__).with_name("intake_member.py")

Start = Callable[[str, str], "subprocess.Popen[bytes]"]


@pytest.fixture
def names(kafka: KafkaSettings) -> tuple[str, str]:
    """A topic and a group of this test's own."""
    topic = f"orphans-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    return topic, f"aios.orphans.{topic}"


@pytest.fixture
def start(kafka: KafkaSettings, names: tuple[str, str]) -> Iterator[Start]:
    """Start a member; all are killed at the end."""
    topic, group = names
    started: list[subprocess.Popen[bytes]] = []

    def one(instance: str, armed: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", str(MEMBER), kafka.bootstrap_servers, group, topic, instance, armed]
        started.append(subprocess.Popen(command))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.wait()


def test_what_a_member_gave_up_as_it_died_is_read_again_when_it_is_back(
    kafka: KafkaSettings, names: tuple[str, str], start: Start
) -> None:
    """Two members, one of them killed in the middle of a rebalance and started again: every partition has a reader."""
    topic, group = names
    first = start("one", "orphans.revoking=kill")
    _read_by_all(kafka, topic, group, 1)
    start("two", "")
    assert first.wait(WITHIN_S) == -signal.SIGKILL
    start("one", "")
    _read_by_all(kafka, topic, group, 2)


def _read_by_all(kafka: KafkaSettings, topic: str, group: str, many: int) -> None:
    """Send a record to each partition; all of them are committed, so many in all of each."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for partition in range(PARTITIONS):
        producer.produce(topic, b"x", partition=partition)
    producer.flush(10)
    asking = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group, "log_level": 0})  # never joins
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    deadline, found = time.monotonic() + WITHIN_S, [0]
    while found != [many] * PARTITIONS:
        assert time.monotonic() < deadline, f"committed by partition: {found}"
        with contextlib.suppress(KafkaException):  # the group is new
            found = [one.offset for one in asking.committed(places, timeout=10)]
        time.sleep(0.1)
    asking.close()
