"""What the dead-letter topics say, for people: one line a dead letter, and whether it is still open.

Enters: the records of <group>.dlq, of replay.requested.v1, and how far the replay stage has come. Leaves: DeadLetter,
one for each id, as it is now. Guaranteed: a dead letter written twice (a stage died between writing and committing) is
one; one that was replayed and failed again is open again, with its count; a replay that could not be done leaves it
open. Reads whole topics: some seconds for 100,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum

from confluent_kafka import Consumer, KafkaException, TopicPartition

from aios.dlq import envelope
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import ReplayRequested
from aios.streams import topology
from aios.streams.admin import read_all
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.topics import REPLAY_REQUESTED
from aios.streams.topology import REPLAY, Stage

ANSWER_S_MAX = 10.0
TOPICS_AT_ONCE = 8

Where = tuple[str, int, int]


class State(StrEnum):
    OPEN = "open"  # nobody has asked for it, or what was asked could not be done
    REQUESTED = "requested"  # the replay stage has not come to it yet
    REPLAYED = "replayed"  # returned to its group, and not failed again


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Times: Unix ms. replays: how often it came back before. place: where it stands; orig_*: where it first stood."""

    id: str
    group: str
    state: State
    reason: str
    kind: str
    key: str
    tenant: str
    fingerprint: str
    error: str  # type
    where: str
    message: str
    attempts: int
    replays: int
    first_failed_at: int
    failed_at: int
    written_at: int
    size: int
    place: Where
    orig_topic: str
    orig_partition: int
    orig_offset: int

    @property
    def generation(self) -> tuple[str, int]:
        """The same for copies of one failure."""
        return self.id, self.replays


def letter_of(record: Record, stage: Stage) -> DeadLetter | None:
    """None for a record that is no dead letter of ours."""
    said = envelope.headers_said(record.headers)
    if not said.get("id"):
        return None
    return DeadLetter(
        id=said["id"],
        group=stage.group,
        state=State.OPEN,
        reason=said.get("reason", ""),
        kind=said.get("class", ""),
        key=key_text(record.key),
        tenant=said.get("tenant", ""),
        fingerprint=said.get("fingerprint", ""),
        error=said.get("error.type", ""),
        where=said.get("error.where", ""),
        message=said.get("error.message", ""),
        attempts=envelope.number(said, "attempts"),
        replays=envelope.number(said, "replay.count"),
        first_failed_at=envelope.number(said, "first_failed_at"),
        failed_at=envelope.number(said, "last_failed_at"),
        written_at=record.timestamp_ms,
        size=len(record.value or b""),
        place=(record.topic, record.partition, record.offset),
        orig_topic=said.get("orig.topic", ""),
        orig_partition=envelope.number(said, "orig.partition"),
        orig_offset=envelope.number(said, "orig.offset"),
    )


def key_text(key: bytes | None) -> str:
    """As UTF-8, else as hex; empty if there is none."""
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return (key or b"").hex()


@dataclass(frozen=True, slots=True)
class Asked:
    """A replay request: the dead letter's place, and its own offset by partition."""

    letter: Where
    partition: int
    offset: int


def fold(
    letters: Iterable[DeadLetter], asked: Iterable[Asked], done: Mapping[int, int], failed: Iterable[tuple[int, int]]
) -> list[DeadLetter]:
    """One a dead letter, newest first. done: by partition, the offset up to which requests were served.

    failed: (partition, offset) of requests that became dead letters themselves.
    """
    undone = set(failed)
    states: dict[Where, State] = {}
    for one in asked:
        if (one.partition, one.offset) not in undone:
            served = one.offset < done.get(one.partition, 0)
            if states.get(one.letter) is not State.REPLAYED:
                states[one.letter] = State.REPLAYED if served else State.REQUESTED
    by_generation: dict[tuple[str, int], State] = {}
    latest: dict[str, DeadLetter] = {}
    for letter in letters:
        state = states.get(letter.place, State.OPEN)
        known = by_generation.get(letter.generation, State.OPEN)
        by_generation[letter.generation] = max(state, known, key=list(State).index)
        before = latest.get(letter.id)
        if before is None or (before.replays, before.written_at) <= (letter.replays, letter.written_at):
            latest[letter.id] = letter
    now = (replace(letter, state=by_generation[letter.generation]) for letter in latest.values())
    return sorted(now, key=lambda letter: (-letter.failed_at, letter.id))


def read(kafka: KafkaSettings, codec: Codec, group: str = "") -> list[DeadLetter]:
    """All dead letters, or one group's, as they are now. Raises Unavailable, and StateBroken without topics."""
    stages = [stage for stage in topology.STAGES if stage.reads and group in ("", stage.group)]
    with ThreadPoolExecutor(TOPICS_AT_ONCE) as pool:
        letters = [letter for found in pool.map(lambda stage: _of(kafka, stage), stages) for letter in found]
    if not letters:
        return []
    asked = list(_asked(kafka, codec))
    of_replay = letters if REPLAY in stages else _of(kafka, REPLAY)
    failed = [(o.orig_partition, o.orig_offset) for o in of_replay if o.orig_topic == REPLAY_REQUESTED.name]
    return fold(letters, asked, _served(kafka) if asked else {}, failed)


def _of(kafka: KafkaSettings, stage: Stage) -> list[DeadLetter]:
    found = (letter_of(record, stage) for record in read_all(kafka, stage.dead_letters.name))
    return [letter for letter in found if letter is not None]


def _asked(kafka: KafkaSettings, codec: Codec) -> Iterable[Asked]:
    for record in read_all(kafka, REPLAY_REQUESTED.name):
        try:
            request = codec.decode(record.value, ReplayRequested)
        except SchemaMismatch:
            continue  # the replay stage has made a dead letter of it
        yield Asked((request.topic, request.partition, request.offset), record.partition, record.offset)


def _served(kafka: KafkaSettings) -> dict[int, int]:
    """How far the replay stage has committed, by partition of replay.requested.v1. Raises Unavailable."""
    consumer = Consumer(client(kafka, **{"group.id": REPLAY.group, "enable.auto.commit": False, "log_level": 0}))
    try:
        name = REPLAY_REQUESTED.name
        partitions = consumer.list_topics(name, timeout=ANSWER_S_MAX).topics[name].partitions
        places = consumer.committed([TopicPartition(name, one) for one in partitions], timeout=ANSWER_S_MAX)
        return {place.partition: max(place.offset, 0) for place in places}
    except KafkaException as error:
        raise Unavailable(f"Kafka does not say how far replays are: {error.args[0].str()}") from error
    finally:
        consumer.close()
