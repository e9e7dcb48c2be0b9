"""Whether a partition's state and the topics it was made from still belong together.

Enters: the remembered position of one partition, what the broker says of its inputs, and what somebody has given up
(kafka.given_up). Leaves: the position to go on from. Guaranteed: whatever would lose or repeat records silently (a
topic that was created again, a log cut above the position, offsets committed beyond it, another partition count, a
changelog that is gone) is refused with StateBroken, which names the topic and what to do; `earliest` applies only
where there is no position yet. Deleted records alone can be given up, as far as the setting says and no further: the
state stands, as if they had never been written.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from aios.processors.stateful.changelog import Remembered
from aios.schemas.models import PositionRemembered
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.topology import Stage

ANSWER_S_MAX = 15.0
AGAIN = "`aios up --fresh` starts over with empty topics"


@dataclass(frozen=True, slots=True)
class Input:
    """One input partition as the broker has it. committed: of the stage's group, None if it has none."""

    topic_id: str
    partitions: int
    start: int
    high: int  # its end, with transactions that are still open
    committed: int | None


@dataclass(frozen=True, slots=True)
class Ground:
    """What a partition stands on. position: next offset to process, by topic. missing: how many offsets below it were
    given up, by topic; control records are offsets too.
    """

    position: dict[str, int]
    topic_ids: dict[str, str]
    partitions: int
    missing: dict[str, int]


def check(
    stage: Stage,
    partition: int,
    remembered: Remembered,
    inputs: Mapping[str, Input],
    *,
    partitions: int,
    given_up: Mapping[str, int],
) -> Ground:
    """Pure. partitions: of the changelog. given_up: as in kafka.given_up.

    Raises StateBroken with the first thing that does not fit.
    """
    position = remembered.position
    where = f"partition {partition} of {stage.group}"
    if position is None and (len(remembered.states) or len(remembered.timers) or remembered.parked):
        raise StateBroken(f"{where}: its changelog holds state but no position; {AGAIN}")
    if position is not None and position.partitions != partitions:
        raise StateBroken(
            f"{where}: its state was made for {position.partitions} partitions, its changelog has {partitions}; {AGAIN}"
        )
    before = dict(position.inputs) if position else {}
    starts, missing = dict[str, int](), dict[str, int]()
    for topic, one in inputs.items():
        offset = _start(where, topic, one, position, partitions)
        if one.start > offset:
            place = f"{topic}/{partition}"
            if one.start > given_up.get(place, 0):
                raise StateBroken(
                    f"{where}: {topic} starts at {one.start}, above its position {offset}: records were deleted before "
                    f"they were processed. To go on without them, set `kafka.given_up: {{{place}: {one.start}}}` and "
                    f"start it again; {AGAIN}"
                )
            missing[topic] = one.start - offset
        starts[topic] = max(offset, one.start)
    ids = dict(position.topic_ids) if position else {}
    return Ground(
        position=before | starts,
        topic_ids=ids | {topic: one.topic_id for topic, one in inputs.items()},
        partitions=partitions,
        missing=missing,
    )


def _start(where: str, topic: str, found: Input, position: PositionRemembered | None, partitions: int) -> int:
    """Where it was to go on, whether or not that is still there."""
    if found.partitions != partitions:
        raise StateBroken(
            f"{where}: {topic} has {found.partitions} partitions, the changelog {partitions}; "
            "all topics of a family need the same number"
        )
    offset = position.inputs.get(topic) if position else None
    if position is None or offset is None:
        if found.committed:  # at 0 nothing was ever processed, so nothing of it is lost
            raise StateBroken(
                f"{where}: its group committed offset {found.committed} of {topic}, but its changelog knows no "
                f"position there: the changelog was lost; restore it from a backup, or {AGAIN}"
            )
        return found.start
    if position.topic_ids.get(topic) != found.topic_id:
        raise StateBroken(f"{where}: {topic} was deleted and created again; {AGAIN}")
    if offset > found.high:
        raise StateBroken(
            f"{where}: {topic} ends at {found.high}, below its position {offset}: records were lost; {AGAIN}"
        )
    if found.committed is not None and found.committed > offset:
        raise StateBroken(
            f"{where}: its group committed offset {found.committed} of {topic}, above its position {offset}; run "
            f"`kafka-consumer-groups --group {where.rsplit(' ', 1)[1]} --topic {topic} --reset-offsets "
            f"--to-offset {offset} --execute` for that partition while the stage is down"
        )
    return offset


def _told(topic: str, answer: Future[Any]) -> Any:
    """The broker's answer about one topic; its own words name none. Raises Unavailable, TimeoutError."""
    try:
        return answer.result(ANSWER_S_MAX)
    except KafkaException as error:
        raise Unavailable(f"{topic} cannot be looked up: {error.args[0].str()}") from error


class Surveyor:
    """Asks the broker; one per process."""

    def __init__(self, kafka: KafkaSettings, stage: Stage) -> None:
        self._stage = stage
        quiet = {"log_level": 0, "client.id": f"{stage.group}.survey"}
        self._asking = client(kafka, **quiet)
        self._admin = AdminClient(self._asking)
        self._group = client(kafka, **quiet, **{"group.id": stage.group, "enable.auto.commit": False})

    def inputs(self, partition: int) -> tuple[dict[str, Input], int]:
        """Every input at this partition number, and the partition count of the changelog.

        Raises Unavailable, also for a topic that does not exist (yet).
        """
        names = [topic.name for topic in self._stage.inputs]
        changelog = self._stage.changelog
        if changelog is None:
            raise StateBroken(f"{self._stage.name} is declared without state")
        places = [TopicPartition(name, partition) for name in names]
        try:
            about = self._admin.describe_topics(TopicCollection([*names, changelog.name]), request_timeout=ANSWER_S_MAX)
            topics = {name: _told(name, future) for name, future in about.items()}
            starts = self._offsets(places, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
            highs = self._offsets(places, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
            committed = self._committed(places)
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"the inputs of {self._stage.group} cannot be looked up: {error}") from error
        found = {
            name: Input(
                topic_id=str(topics[name].topic_id),
                partitions=len(topics[name].partitions),
                start=starts[name],
                high=highs[name],
                committed=committed[name],
            )
            for name in names
        }
        return found, len(topics[changelog.name].partitions)

    def ends(self, partition: int) -> dict[str, int]:
        """Where the inputs end for who reads committed records: behind markers too. Raises Unavailable."""
        places = [TopicPartition(topic.name, partition) for topic in self._stage.inputs]
        try:
            return self._offsets(places, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"the ends of the inputs of {self._stage.group} cannot be looked up: {error}") from error

    def _offsets(self, places: list[TopicPartition], which: OffsetSpec, isolation: IsolationLevel) -> dict[str, int]:
        asked = self._admin.list_offsets(
            dict.fromkeys(places, which), isolation_level=isolation, request_timeout=ANSWER_S_MAX
        )
        try:
            return {place.topic: future.result(ANSWER_S_MAX).offset for place, future in asked.items()}
        except KafkaException:
            # A client that has seen another leader asks with its epoch for ever (librdkafka#4620; `aios prove matrix
            # brokers` tells when this can go): the next question is asked by one that knows nothing.
            self._admin = AdminClient(self._asking)
            raise

    def _committed(self, places: list[TopicPartition]) -> dict[str, int | None]:
        consumer = Consumer(self._group)
        try:
            answer = consumer.committed(places, timeout=ANSWER_S_MAX)
        finally:
            consumer.close()
        for place in answer:
            if place.error is not None:  # not to be taken for a group that committed nothing
                raise KafkaException(place.error)
        return {place.topic: place.offset if place.offset >= 0 else None for place in answer}
