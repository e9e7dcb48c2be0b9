"""The changelog of one partition: what its records are called, and reading them back.

Enters: the records of one partition of `<group>.state`, committed ones only. Leaves: state by key, timers, keys
that are held, the position. Names: state is kept under the core's own key, its end, if it has one, in a header; the
others under names that begin with a zero byte, which no core may use. Guaranteed: reading ends at the end seen when it
began, or raises; never in between.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aios.processors.stateful.states import States
from aios.processors.stateful.timers import Timers
from aios.schemas.codec import Codec
from aios.schemas.models import ParkedRemembered, PositionRemembered, TimerRemembered
from aios.streams.admin import reader, watermarks
from aios.streams.config import KafkaSettings
from aios.streams.errors import SchemaMismatch, StateBroken, Unavailable
from aios.streams.record import Headers
from aios.streams.topics import Topic

RESERVED = b"\0"
POSITION = RESERVED + b"position"
TIMER = RESERVED + b"timer:"
PARKED = RESERVED + b"parked:"  # before the key that is held
END = "aios.end"  # header: when the state is forgotten, log time in Unix ms
READ_RECORDS_MAX = 1_000  # per call of the client
READ_AHEAD_KIB_MAX = 4 << 10  # fetched and not taken in yet; the client's own 64 MiB a partition would stay in memory
READ_WAIT_S_MAX = 0.005  # of a call that finds fewer
READ_QUIET_S_MAX = 15.0  # without any answer while reading


def timer_name(key: str, timer_id: str) -> bytes:
    """Under which a timer stands; the length keeps ("a", "bc") and ("ab", "c") apart."""
    return TIMER + f"{len(key)}:{key}{timer_id}".encode()


def timer_of(name: bytes) -> tuple[str, str]:
    """Key and timer id of a timer's name."""
    length, _, rest = name.removeprefix(TIMER).decode().partition(":")
    return rest[: int(length)], rest[int(length) :]


@dataclass(slots=True)
class Remembered:
    """All that one partition of a stage remembers. next_offset: of the changelog, where reading goes on."""

    states: States = field(default_factory=States)
    timers: Timers = field(default_factory=Timers)
    parked: dict[bytes, ParkedRemembered] = field(default_factory=dict)
    position: PositionRemembered | None = None
    next_offset: int = 0


def read(kafka: KafkaSettings, codec: Codec, topic: Topic, partition: int, into: Remembered) -> int:
    """Take in everything from into.next_offset to the end; the number of records read.

    Raises Unavailable when the broker does not answer, StateBroken for a record this deploy cannot read.
    """
    place = TopicPartition(topic.name, partition, into.next_offset)
    # assigned by hand and never committed: the group's name is only asked for by the client
    consumer = reader(
        kafka,
        **{
            "group.id": f"{topic.name}.reader",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
            "queued.max.messages.kbytes": READ_AHEAD_KIB_MAX,
        },
    )
    try:
        consumer.assign([place])
        count = _to_the_end(consumer, codec, topic, partition, into)
    except KafkaException as error:
        raise Unavailable(f"{topic.name}/{partition} cannot be read: {error}") from error
    finally:
        consumer.close()
    if count > READ_RECORDS_MAX:
        _hand_back()
    return count


def _hand_back() -> None:
    """What reading took beside what it kept: glibc holds tens of MiB until it is told; others have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _to_the_end(consumer: Consumer, codec: Codec, topic: Topic, partition: int, into: Remembered) -> int:
    """The end is the one that the broker says when asked: it says none before it knows all that was committed.

    A fetch from a leader that has just become one may end before that (KIP-207).
    """
    _, end = watermarks(consumer, TopicPartition(topic.name, partition), READ_QUIET_S_MAX)
    count = 0
    quiet_until = time.monotonic() + READ_QUIET_S_MAX
    while time.monotonic() < quiet_until:
        for message in consumer.consume(READ_RECORDS_MAX, READ_WAIT_S_MAX):
            error = message.error()
            if error is None:
                take(codec, topic, message.key(), message.value(), into, headers=message.headers() or ())
                into.next_offset = message.offset() + 1
                count += 1
                quiet_until = time.monotonic() + READ_QUIET_S_MAX
            elif error.code() == KafkaError._PARTITION_EOF:
                into.next_offset = message.offset()
                if message.offset() >= end:
                    return count
            elif not error.retriable():
                raise KafkaException(error)
    raise Unavailable(f"{topic.name}/{partition}: no answer in {READ_QUIET_S_MAX:.0f} s")


def end_headers(end_ms: int | None) -> list[tuple[str, bytes | None]] | None:
    """Of a state's record."""
    return None if end_ms is None else [(END, b"%d" % end_ms)]


def take(
    codec: Codec, topic: Topic, key: bytes | None, value: bytes | None, into: Remembered, *, headers: Headers
) -> None:
    """One record of the changelog. State values stay bytes: the core reads the few it needs."""
    if key is None:
        raise StateBroken(f"{topic.name} holds a record without key: another program wrote it")
    try:
        if not key.startswith(RESERVED):
            into.states.set(key, value, next((int(end) for name, end in headers if name == END and end), None))
        elif key == POSITION:
            into.position = codec.decode(value, PositionRemembered)
        elif key.startswith(PARKED):
            if value is None:
                into.parked.pop(key.removeprefix(PARKED), None)
            else:
                into.parked[key.removeprefix(PARKED)] = codec.decode(value, ParkedRemembered)
        elif value is None:
            into.timers.set(key, None)
        else:
            into.timers.set(key, codec.decode(value, TimerRemembered).due_at)
    except SchemaMismatch as error:
        raise StateBroken(
            f"{topic.name} holds a record that this version cannot read ({error}): "
            "start the version that wrote it, or a newer one"
        ) from error
