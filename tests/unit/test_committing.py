"""What a member tells Kafka of its positions, and what it makes of the answers."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aios.streams.committing import COMMIT_S, COMMIT_S_MAX, Commits
from aios.streams.hands import Hands
from aios.streams.record import Record

PLACES = [("t", 0), ("t", 1)]


class Broker:
    """Takes commits; refuses: the next one, altogether."""

    def __init__(self) -> None:
        self.asked: list[dict[int, int]] = []
        self.refuses: int | None = None

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self.asked.append({place.partition: place.offset for place in offsets})
        if self.refuses is not None:
            raise KafkaException(KafkaError(self.refuses))
        return offsets


class Member:
    """Of two partitions; of each the first `finished` records have ended."""

    def __init__(self, finished: int = 3) -> None:
        self.hands = Hands(in_flight_max=10, waiting_max=10)
        self.troubles: list[int] = []
        self.broker = Broker()
        self.commits = Commits(
            self.hands,
            threading.Condition(),
            process="member",
            trouble=lambda error: self.troubles.append(error.code()),
        )
        self.hands.assign(PLACES)
        for place in PLACES:
            (lane,) = self.hands.of([place])
            for offset in range(finished):
                self.hands.arrive(Record(*place, offset, 0, None, None), lane)
                self.hands.finish(*self.hands.take(1))

    def step(self, now: float) -> None:
        self.commits.step(cast(Consumer, self.broker), now)

    def to_commit(self) -> list[int | None]:
        return [lane.tracker.to_commit for lane in self.hands.lanes.values()]


def place(partition: int, offset: int, code: int | None = None) -> Any:
    """As an answer names it."""
    one = TopicPartition("t", partition, offset)
    if code is not None:
        one = cast(Any, type("Refused", (), {"topic": "t", "partition": partition, "offset": offset}))
        one.error = KafkaError(code)
    return one


def test_a_partition_that_was_not_taken_is_asked_for_again_and_the_others_are_not() -> None:
    """Kafka answers for each; what it says is told."""
    member = Member()
    member.step(0.0)
    answer = [place(0, 3), place(1, 3, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)]
    member.commits.answered(None, answer)
    assert member.to_commit() == [None, 3]
    assert member.troubles == [KafkaError.COORDINATOR_LOAD_IN_PROGRESS]
    member.step(time.monotonic() + COMMIT_S)
    assert member.broker.asked == [{0: 3, 1: 3}, {1: 3}]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (KafkaError.ILLEGAL_GENERATION, False),
        (KafkaError.UNKNOWN_MEMBER_ID, False),
        (KafkaError.REBALANCE_IN_PROGRESS, False),
        (KafkaError.NOT_COORDINATOR, True),
        (KafkaError.FENCED_INSTANCE_ID, True),
    ],
)
@pytest.mark.parametrize("how", ["answered", "raised", "at once"])
def test_what_another_generation_owns_is_dropped_and_everything_else_is_told(how: str, code: int, told: bool) -> None:
    """However Kafka refuses; nothing counts as committed then."""
    member = Member()
    if how == "answered":
        member.step(0.0)
        member.commits.answered(KafkaError(code), [])
    else:
        member.broker.refuses = code
        lanes = member.hands.lanes.values()
        member.step(0.0) if how == "raised" else member.commits.now(cast(Consumer, member.broker), lanes)
    assert member.troubles == ([code] if told else [])
    assert member.to_commit() == [3, 3]


def test_a_commit_is_asked_once_until_it_is_answered_or_late() -> None:
    """And nothing at all where nothing has finished."""
    member = Member()
    for now in (0.0, COMMIT_S, COMMIT_S_MAX - 0.1, COMMIT_S_MAX):
        member.step(now)
    assert member.broker.asked == [{0: 3, 1: 3}] * 2
    idle = Member(finished=0)
    idle.step(0.0)
    idle.commits.now(cast(Consumer, idle.broker), idle.hands.lanes.values())
    assert idle.broker.asked == []


def test_what_is_committed_at_once_is_not_asked_for_again() -> None:
    """Of the partitions that leave; the others wait for their turn."""
    member = Member()
    member.commits.now(cast(Consumer, member.broker), member.hands.of(PLACES[:1]))
    assert member.broker.asked == [{0: 3}]
    assert member.to_commit() == [None, 3]
