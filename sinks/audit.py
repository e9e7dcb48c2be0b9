"""audit: the one writer of the hash chain.

Enters: audit.recorded, every transition of every case. Leaves: the chain of audit_chain.py in home/audit, its head in
home/run/audit.head.json. Guaranteed: a record is on disk before its offset moves, within a round (TAKE_MAX records or
IDLE_MS); one that is repeated after kill -9 is skipped by its position; one that cannot be decoded is chained as such,
with its reason and the hash of its bytes, and goes to the dead letters; words for people, which may have to be erased
one day, are no part of it, but their hash is. The stage has one process; a second one finds the lock taken and leaves.

Kafka is a second witness: if the group's committed offsets are past what the chain holds, the chain has lost its end,
and the process stops rather than hide that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aios.dlq.envelope import sha256
from aios.dlq.settle import Settlement
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded
from aios.sinks import shell
from aios.sinks.audit_chain import Chain, Entry
from aios.sinks.shell import ASK_S_MAX, Read, Shell
from aios.streams import failpoints
from aios.streams.admin import watermarks
from aios.streams.config import KafkaSettings, Settings, client
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.record import Record
from aios.streams.topology import AUDIT

IN_FLIGHT_MAX = 5_000
IDLE_MS = 1_000

log = logging.getLogger(__name__)


def chain_folder(home: Path) -> Path:
    return home / "audit"


def head_file(home: Path) -> Path:
    """Outside the chain's folder, so that removing its end does not remove the memory of it."""
    return home / "run" / "audit.head.json"


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop."""
    async with shell.opened(AUDIT, settings, slot=slot, stop=stop, in_flight_max=IN_FLIGHT_MAX) as (desk, codec):
        chain = Chain(chain_folder(settings.home), head_file(settings.home), desk.cluster)
        try:
            await asyncio.to_thread(chain.open)
            witness = partial(asyncio.to_thread, check_witness, settings.kafka, chain.positions)
            if await desk.persevere(witness):
                await desk.intake.start()
                ready()
            while not stop.is_set():
                await _round(desk, chain, codec)
        finally:
            chain.close()


def check_witness(kafka: KafkaSettings, positions: dict[str, int]) -> None:
    """Compare the chain's positions with Kafka's. Raises StateBroken if either has lost what the other has."""
    for place, (committed, end) in _offsets(kafka).items():
        chained = positions.get(place, 0)
        if committed > chained and _held_records(kafka, place, chained, committed):
            raise StateBroken(
                f"the audit chain holds {place} up to offset {chained}, but {committed} was reached before: its end is "
                f"lost. Restore home/audit; or reset group {AUDIT.group} to the earliest offset, to chain again what "
                "the topic still holds"
            )
        if chained > end:
            raise StateBroken(
                f"the audit chain holds {place} up to offset {chained}, but that partition ends at {end}: the topic "
                "was made anew. Move home/audit away to begin another chain"
            )


def _offsets(kafka: KafkaSettings) -> dict[str, tuple[int, int]]:
    """Committed offset (0 if none) and end of every partition the group reads."""
    consumer = Consumer(client(kafka, **{"group.id": AUDIT.group, "enable.auto.commit": False}), logger=log)
    try:
        known = consumer.list_topics(timeout=ASK_S_MAX).topics
        places = [
            TopicPartition(topic.name, number)
            for topic in AUDIT.inputs
            if topic.name in known
            for number in known[topic.name].partitions
        ]
        answer = consumer.committed(places, timeout=ASK_S_MAX)
        for one in answer:
            if one.error is not None:  # not to be taken for a group that committed nothing
                raise KafkaException(one.error)
        return {
            f"{one.topic}/{one.partition}": (max(one.offset, 0), watermarks(consumer, one, ASK_S_MAX)[1])
            for one in answer
        }
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
    finally:
        consumer.close()


def _held_records(kafka: KafkaSettings, place: str, first: int, end: int) -> bool:
    """Whether the topic holds a record there: the ends of transactions have offsets too, and are passed.

    Of what retention has taken nothing can be told: a partition that was quiet for so long ends in such an offset.
    """
    topic, _, partition = place.rpartition("/")
    own = {"group.id": AUDIT.group, "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer(client(kafka, **own), logger=log)
    try:
        low, _ = watermarks(consumer, TopicPartition(topic, int(partition)), ASK_S_MAX)
        if low >= end:
            log.warning("%s does not hold offsets %d to %d any more: it is no witness of them", place, first, end - 1)
            return False
        consumer.assign([TopicPartition(topic, int(partition), max(first, low))])
        message = consumer.poll(ASK_S_MAX)
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
    finally:
        consumer.close()
    if message is None:
        raise Unavailable(f"{topic} was not read within {ASK_S_MAX:.0f} s")
    if message.error() is None:
        return bool(message.offset() < end)
    if message.error().code() == KafkaError._PARTITION_EOF:
        return False
    raise Unavailable(f"{topic} cannot be read: {message.error().str()}")


async def _round(desk: Shell, chain: Chain, codec: Codec) -> None:
    """Take, chain, finish."""
    records = await desk.take(wait_ms_max=IDLE_MS)
    if not records:
        return

    def meaning(record: Record) -> Entry:
        failpoints.hit("audit.decode", record.value or b"")
        return _entry(record, {"kind": "audit", "event": chained(codec.decode(record.value, AuditRecorded))})

    read = await desk.understand(records, meaning)

    async def rest() -> None:
        await asyncio.to_thread(chain.append, in_order(read))
        failpoints.hit("audit.computed")

    if await desk.persevere(rest):
        desk.finish(record for record, _ in read.good)
        await desk.persevere(lambda: desk.give_up(read))


def chained(event: AuditRecorded) -> dict[str, Any]:
    """What the chain keeps for ever: everything but the words for people, whose hash is in the detail."""
    return {name: value for name, value in asdict(cast(Any, event)).items() if name != "shown"}


def in_order(read: Read[Entry]) -> list[Entry]:
    """What was understood and what was not, each partition by offset: the chain skips what is below its position."""
    bad = (_given_up(record, settled) for record, settled in read.bad)
    return _by_offset((*(entry for _, entry in read.good), *bad))


def _by_offset(entries: Iterable[Entry]) -> list[Entry]:
    """Partitions in the order they came, offsets within each growing."""
    order: dict[str, int] = {}
    listed = list(entries)
    for entry in listed:
        order.setdefault(entry.place, len(order))
    return sorted(listed, key=lambda entry: (order[entry.place], entry.offset))


def _given_up(record: Record, settled: Settlement) -> Entry:
    return _entry(
        record,
        {
            "kind": "not_understood",
            "verdict": str(settled.verdict),
            "reason": str(settled.reason),
            "value_sha256": sha256(record.value),
        },
    )


def _entry(record: Record, said: dict[str, Any]) -> Entry:
    return Entry(record.topic, record.partition, record.offset, record.timestamp_ms, said)
