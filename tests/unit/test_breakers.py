"""Breakers are written by a thread of their own, whatever becomes of it; tests/broker/test_breakers.py has a Kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from aios.dlq import breakers
from aios.dlq.breakers import GroupBreakers
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaRefused
from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.topology import ADMIT
from tests.fakes.breakers import open_breaker
from tests.fakes.registry import FakeRegistry

WAIT_S_MAX = 10.0


class Kafka:
    """Fails with each of `fails`, in their order, then takes what is written. writer: the thread that wrote last."""

    def __init__(self) -> None:
        self.fails: list[BaseException] = []
        self.taken: list[str] = []
        self.writer = threading.current_thread()

    def write(self, *_: Any, name: str, **__: Any) -> None:
        self.writer = threading.current_thread()
        if self.fails:
            raise self.fails.pop(0)
        self.taken.append(name)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()
    monkeypatch.setattr(breakers.reference, "write", kafka.write)
    monkeypatch.setattr(breakers, "AGAIN_S", 0.01)
    return kafka


@pytest.fixture
def group() -> Iterator[GroupBreakers]:
    found = GroupBreakers(KafkaSettings(), Codec(FakeRegistry()), ADMIT)
    yield found
    found.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("error", [Unavailable, ConfigError, SchemaRefused])
def test_a_breaker_is_written_once_what_was_in_the_way_is_gone(
    error: type[Exception], kafka: Kafka, group: GroupBreakers
) -> None:
    """A secret that is just being replaced too; and those that open later are written as well."""
    kafka.fails = [error("as the test says"), error("and once more")]
    group.open(open_breaker(ADMIT.group, 0))
    until(lambda: kafka.taken == ["aios.admit/0"])
    group.open(open_breaker(ADMIT.group, 1))
    until(lambda: kafka.taken == ["aios.admit/0", "aios.admit/1"])
    assert set(group.partitions) == {0, 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_ended_has_a_successor(kafka: Kafka, group: GroupBreakers) -> None:
    """Of an error that nobody foresaw: the next breaker that opens brings what was left unwritten with it."""
    kafka.fails = [KeyError("a fault of ours")]
    group.open(open_breaker(ADMIT.group, 0))
    until(lambda: not kafka.fails)
    kafka.writer.join(WAIT_S_MAX)
    group.open(open_breaker(ADMIT.group, 1))
    until(lambda: kafka.taken == ["aios.admit/0", "aios.admit/1"])


def test_a_breaker_that_was_found_here_is_closed_by_no_older_word(kafka: Kafka, group: GroupBreakers) -> None:
    """What was said of it before it opened comes late; what is said of it as it stands closes it, on any clock."""
    opened = open_breaker(ADMIT.group, 0, at=100)
    for _ in range(2):
        group.open(opened)  # found again before anybody has heard of it
    group._put(opened.key, replace(opened, state=breakers.CLOSED, changed_at=50))
    assert set(group.partitions) == {0}
    group._put(opened.key, opened)
    assert set(group.partitions) == {0}
    group._put(opened.key, breakers.closed(opened, by="ada", now_ms=50))
    assert set(group.partitions) == set()
    group.open(open_breaker(ADMIT.group, 1))
    until(lambda: kafka.taken == ["aios.admit/0", "aios.admit/1"])


def test_a_breaker_is_closed_after_it_opened_whatever_the_clock_says() -> None:
    """Else it would count as what was before."""
    opened = open_breaker(ADMIT.group, 0, at=100)
    assert [breakers.closed(opened, by="ada", now_ms=now).changed_at for now in (50, 100, 200)] == [101, 101, 200]
