"""A log whose processed records are gone: it ends behind markers of transactions, which no reader is ever given."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from aios.processors.stateful.member import LEFT
from aios.streams.config import KafkaSettings, client
from tests.broker.stages import committed, counting_stage, create, put
from tests.fault import stage_worker

WAIT_S_MAX = 40.0


def test_a_partition_that_was_quiet_for_longer_than_its_retention_opens_again(
    kafka: KafkaSettings, unique: str, tmp_path: Path
) -> None:
    """Nothing that a reader could have had was deleted: the stage starts, counts on, and fires its timers."""
    stage = counting_stage(unique, inputs=2)
    create(kafka, stage, 1)
    first = stage.reads[0].name
    _in_transactions(kafka, first, unique)
    with _running(kafka, unique, tmp_path):
        _until_told(kafka, stage.writes[0].name, 1)
    _take_everything(kafka, first)
    put(kafka, first, [("a", "2"), ("a", '{"do": "timer", "in_ms": 300}')])
    with _running(kafka, unique, tmp_path):
        told = _until_told(kafka, stage.writes[0].name, 3)
    assert told[1:] == [b'{"id": "2", "n": 2}', b'{"id": "fired t", "n": 3}']


def test_records_that_are_deleted_under_a_running_stage_stop_it(
    kafka: KafkaSettings, unique: str, tmp_path: Path
) -> None:
    """What it was to read next is gone: nothing behind that is processed, then or after a restart, and it says why. It
    goes on with what is left where that is given up.
    """
    stage = counting_stage(unique, inputs=2)
    create(kafka, stage, 1)
    first, out = stage.reads[0].name, stage.writes[0].name
    process = stage_worker.start(kafka, unique, tmp_path)
    try:
        put(kafka, first, [("a", "1")])
        _until_told(kafka, out, 1)
        process.send_signal(signal.SIGSTOP)  # for less than its session
        put(kafka, first, [("a", "2")])  # the answer to the fetch that waits
        put(kafka, first, [("a", "3"), ("a", "4")])
        _take_everything(kafka, first)
        put(kafka, first, [("a", "5")])
        process.send_signal(signal.SIGCONT)
        assert _end_of(process, tmp_path) == LEFT
        process = stage_worker.start(kafka, unique, tmp_path)
        assert _end_of(process, tmp_path) == LEFT
    finally:
        process.kill()
        process.wait()
    assert b'"5"' not in b"".join(one.value() for one in committed(kafka, out))
    said = (tmp_path / "0.log").read_text()
    assert "records were deleted before they were processed" in said
    (place, offset) = re.findall(r"set `kafka.given_up: \{(\S+): (\d+)\}`", said)[-1]
    with _running(kafka.model_copy(update={"given_up": {place: int(offset)}}), unique, tmp_path):
        assert _until_told(kafka, out, 2)[1:] == [b'{"id": "5", "n": 2}']
    assert f"it goes on at offset {offset}" in (tmp_path / "0.log").read_text()
    with _running(kafka, unique, tmp_path):  # and without the setting from then on
        put(kafka, first, [("a", "6")])
        assert _until_told(kafka, out, 3)[2:] == [b'{"id": "6", "n": 3}']


def _in_transactions(kafka: KafkaSettings, topic: str, unique: str) -> None:
    """One record that counts, and a transaction behind it that was given up."""
    producer = Producer(client(kafka, **{"transactional.id": unique, "log_level": 0}))
    producer.init_transactions(20)
    for value, end in ((b"1", producer.commit_transaction), (b"never", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, b"a", partition=0)
        producer.flush(10)
        end(20)


def _take_everything(kafka: KafkaSettings, topic: str) -> None:
    """As retention does."""
    admin = AdminClient(client(kafka, log_level=0))
    place = TopicPartition(topic, 0)
    end = admin.list_offsets({place: OffsetSpec.latest()})[place].result(10).offset
    admin.delete_records([TopicPartition(topic, 0, end)])[place].result(10)


@contextmanager
def _running(kafka: KafkaSettings, unique: str, home: Path) -> Iterator[None]:
    process = stage_worker.start(kafka, unique, home)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert _end_of(process, home) == 0
    finally:
        process.kill()
        process.wait()


def _end_of(process: subprocess.Popen[bytes], home: Path) -> int:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(WAIT_S_MAX)
    pytest.fail((home / "0.log").read_text(errors="replace")[-3000:])


def _until_told(kafka: KafkaSettings, topic: str, count: int) -> list[bytes]:
    deadline = time.monotonic() + WAIT_S_MAX
    while len(told := committed(kafka, topic)) < count:
        assert time.monotonic() < deadline, f"{len(told)} of {count}"
    return [one.value() for one in told]
