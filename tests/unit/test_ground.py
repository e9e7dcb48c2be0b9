"""What a partition is held against before it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from aios.processors.stateful import ground
from aios.processors.stateful.changelog import Remembered
from aios.processors.stateful.ground import Input, Surveyor
from aios.schemas.models import ParkedRemembered, PositionRemembered
from aios.streams.config import KafkaSettings
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.topology import ADMIT

PARKED = ParkedRemembered(lowest=1, next=2, discarded=(), dead=(), place="t", since=1)


class Admin:
    """Whatever is asked for is there, from 0 to 9."""

    def __init__(self, _config: object) -> None: ...

    def describe_topics(self, topics: Any, **_: object) -> dict[str, Future[Any]]:
        return {name: _answered(SimpleNamespace(topic_id="id", partitions=[0])) for name in topics.topic_names}

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: object) -> dict[TopicPartition, Future[Any]]:
        return {place: _answered(SimpleNamespace(offset=9)) for place in asked}


def _remembered(**changed: Any) -> Remembered:
    """Of a partition that has processed input a up to 5 and b up to 3."""
    position = PositionRemembered(inputs={"a": 5, "b": 3}, topic_ids={"a": "ia", "b": "ib"}, partitions=6, written_at=1)
    return Remembered(position=replace(position, **changed))


def _state_without_position() -> Remembered:
    remembered = Remembered()
    remembered.states.set(b"k", b"v")
    return remembered


def _timer_without_position() -> Remembered:
    remembered = Remembered()
    remembered.timers.set(b"k", 1)
    return remembered


A = Input("ia", 6, 2, 9, 4)


@pytest.mark.parametrize(
    ("remembered", "found", "partitions", "words"),
    [
        (_remembered(), A, 12, "was made for 6 partitions, its changelog has 12"),
        (_remembered(), replace(A, partitions=12), 6, "a has 12 partitions, the changelog 6"),
        (_remembered(), replace(A, topic_id="other"), 6, "a was deleted and created again"),
        (_remembered(), replace(A, high=4), 6, "a ends at 4, below its position 5"),
        (_remembered(), replace(A, start=6), 6, "a starts at 6, above its position 5"),
        (_remembered(), replace(A, committed=6), 6, "committed offset 6 of a, above its position 5"),
        (_remembered(inputs={"b": 3}), A, 6, "committed offset 4 of a, but its changelog knows no position there"),
        (Remembered(), A, 6, "the changelog was lost"),
        (_state_without_position(), replace(A, committed=None), 6, "holds state but no position"),
        (_timer_without_position(), replace(A, committed=None), 6, "holds state but no position"),
        (Remembered(parked={b"k": PARKED}), replace(A, committed=None), 6, "holds state but no position"),
    ],
)
def test_what_would_lose_or_repeat_records_is_refused(
    remembered: Remembered, found: Input, partitions: int, words: str
) -> None:
    """Each with what it is."""
    with pytest.raises(StateBroken, match=words):
        ground.check(ADMIT, 0, remembered, {"a": found}, partitions=partitions, given_up={})


@pytest.mark.parametrize(
    ("remembered", "found", "goes_on"),
    [
        (_remembered(), A, {"a": 5, "b": 3}),
        (_remembered(), replace(A, start=5, high=5, committed=5), {"a": 5, "b": 3}),
        (_remembered(), replace(A, committed=None), {"a": 5, "b": 3}),
        (_remembered(inputs={"b": 3}), replace(A, committed=None), {"a": 2, "b": 3}),
        (Remembered(), replace(A, committed=None), {"a": 2}),
        (Remembered(), replace(A, committed=0), {"a": 2}),
    ],
)
def test_a_partition_goes_on_where_it_was_and_begins_what_is_new(
    remembered: Remembered, found: Input, goes_on: dict[str, int]
) -> None:
    """Its position of an input that is read no more stays: the input may come back."""
    found_ = ground.check(ADMIT, 0, remembered, {"a": found}, partitions=6, given_up={})
    assert (found_.position, found_.partitions) == (goes_on, 6)
    assert found_.topic_ids["a"] == "ia"


GONE = replace(A, start=8, committed=5)  # three records behind its position


@pytest.mark.parametrize("given_up", [{}, {"a/0": 7}, {"a/1": 8}, {"b/0": 8}])
def test_deleted_records_are_given_up_by_name_and_as_far_as_is_said(given_up: dict[str, int]) -> None:
    with pytest.raises(StateBroken, match=r"set `kafka.given_up: \{a/0: 8\}` and start it again"):
        ground.check(ADMIT, 0, _remembered(), {"a": GONE}, partitions=6, given_up=given_up)


@pytest.mark.parametrize(
    ("found", "given_up", "goes_on", "missing"),
    [
        (GONE, 8, 8, {"a": 3}),
        (GONE, 100, 8, {"a": 3}),
        (A, 8, 5, {}),
        (replace(A, start=5), 8, 5, {}),
    ],
)
def test_a_partition_goes_on_behind_what_was_given_up(
    found: Input, given_up: int, goes_on: int, missing: dict[str, int]
) -> None:
    """At what the topic still has, and where it was if nothing of it is gone."""
    found_ = ground.check(ADMIT, 0, _remembered(), {"a": found}, partitions=6, given_up={"a/0": given_up})
    assert (found_.position["a"], found_.missing) == (goes_on, missing)


@pytest.mark.parametrize("committed", [6, 8, 9])
def test_a_changelog_that_is_older_than_its_offsets_is_refused_whatever_was_given_up(committed: int) -> None:
    """What was processed since is not in the state."""
    with pytest.raises(StateBroken, match=f"committed offset {committed} of a, above its position 5"):
        ground.check(
            ADMIT, 0, _remembered(), {"a": replace(GONE, committed=committed)}, partitions=6, given_up={"a/0": 8}
        )


def _answered(what: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(what)
    return future


@pytest.mark.parametrize("code", [None, KafkaError.NOT_COORDINATOR])
def test_an_offset_that_the_broker_does_not_tell_is_not_one_that_is_none(
    monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    """Beside a lost changelog the whole input would be processed once more."""

    class Group:
        def __init__(self, _config: object) -> None: ...
        def committed(self, places: Sequence[TopicPartition], **_: object) -> list[Any]:
            error = None if code is None else KafkaError(code)
            return [SimpleNamespace(topic=place.topic, offset=OFFSET_INVALID, error=error) for place in places]

        def close(self) -> None: ...

    monkeypatch.setattr(ground, "AdminClient", Admin)
    monkeypatch.setattr(ground, "Consumer", Group)
    surveyor = Surveyor(KafkaSettings(), ADMIT)
    if code is None:
        found, _ = surveyor.inputs(0)
        assert {one.committed for one in found.values()} == {None}
        return
    with pytest.raises(Unavailable, match="cannot be looked up"):
        surveyor.inputs(0)


def test_a_topic_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage waits for it, with all that it reads: whoever looks must be told which it is."""

    class Without(Admin):
        def describe_topics(self, topics: Any, **_: object) -> dict[str, Future[Any]]:
            gone: Future[Any] = Future()
            gone.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
            return super().describe_topics(topics) | {ADMIT.reads[1].name: gone}

    monkeypatch.setattr(ground, "AdminClient", Without)
    with pytest.raises(Unavailable, match=rf"^{ADMIT.reads[1].name} cannot be looked up"):
        Surveyor(KafkaSettings(), ADMIT).inputs(0)
