"""One dead letter as its record says it.

Enters: a record of a <group>.dlq topic. Leaves: DeadLetter, facts that never change, or None for a record that is none.
Guaranteed: nothing here raises, whatever the record is: the stage that reads dead letters makes none of them. What has
become of one since (replayed, discarded …) is no fact of the record; dlq/index.py knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from aios.dlq import envelope
from aios.schemas.errors import Reason
from aios.streams import slots, topology
from aios.streams.record import Record, Where, key_text
from aios.streams.topics import RETENTION_MS

REPLAYS_FREE_MAX = 2  # of one letter; the next one needs a person
KEY_BYTES_MAX = 1 << 10  # of a producer's key, as it is shown and filtered by

GROUPS: Mapping[str, str] = {stage.dead_letters.name: stage.group for stage in topology.STAGES if stage.reads}
"""The consumer group by the name of its dead-letter topic."""

_COMMANDS = frozenset(pool.reads[0].name for pool in topology.POOLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Times: Unix ms. generation: how often it came back before. place: where it stands; orig_*: where it first stood.

    key: the record's; of a command to a model its case, because its record's key is but a slot of its tenant.
    written_at is the broker's, the others the failing stage's. job: the replay job it came back from and failed again.
    ordinal: its number behind the record for which its key is parked, -1 without. reference: where its bytes stand if
    they did not fit, as topic/partition/offset.
    """

    id: str
    generation: int
    group: str
    stage: str
    reason: str
    kind: str
    key: str
    tenant: str
    fingerprint: str
    error: str  # type
    where: str
    message: str
    code_version: str
    attempts: int
    first_failed_at: int
    failed_at: int
    written_at: int
    size: int
    sha256: str
    schema_id: str
    reference: str
    job: str
    edited: str  # SHA-256 of the value before an edit
    ordinal: int
    place: Where
    orig_topic: str
    orig_partition: int
    orig_offset: int
    orig_timestamp: int

    @property
    def is_quarantined(self) -> bool:
        """Whether only a person lets it return again, from the moment it failed: replays did not help.

        Not while it is only parked behind another one: it was not tried. Once it fails itself all its replays count,
        for what came back is known by their number.
        """
        return self.generation >= REPLAYS_FREE_MAX and self.reason != Reason.PARKED

    @property
    def stood_at(self) -> int:
        """When its record first stood, Unix ms: by that it may return; where it is not known, when the letter did.

        No later than that: a producer's clock may be ahead.
        """
        return min(self.orig_timestamp or self.written_at, self.written_at)

    @property
    def returns_until(self) -> int:
        """When its record is too old to return, Unix ms, however often it failed since."""
        return self.stood_at + RETENTION_MS

    def plain(self) -> dict[str, Any]:
        """For JSON and for expressions; place as topic/partition/offset."""
        said = {name: getattr(self, name) for name in _FIELDS}
        said["place"] = "/".join(map(str, self.place))
        return said


_FIELDS = tuple(one.name for one in fields(DeadLetter))


def letter_of(record: Record) -> DeadLetter | None:
    """None for a record that is no dead letter of ours."""
    group = GROUPS.get(record.topic)
    said = envelope.headers_said(record.headers)
    if group is None or not said.get("id"):
        return None
    return DeadLetter(
        id=said["id"],
        generation=envelope.number(said, "replay.count"),
        group=group,
        stage=said.get("stage", ""),
        reason=said.get("reason", ""),
        kind=said.get("class", ""),
        key=envelope.clipped(_key(record, said), KEY_BYTES_MAX),
        tenant=said.get("tenant", ""),
        fingerprint=said.get("fingerprint", ""),
        error=said.get("error.type", ""),
        where=said.get("error.where", ""),
        message=said.get("error.message", ""),
        code_version=said.get("code_version", ""),
        attempts=envelope.number(said, "attempts"),
        first_failed_at=envelope.number(said, "first_failed_at"),
        failed_at=envelope.number(said, "last_failed_at"),
        written_at=record.timestamp_ms,
        size=len(record.value or b""),
        sha256=said.get("payload_sha256", ""),
        schema_id=said.get("orig.schema_id", ""),
        reference=said.get("payload_ref", ""),
        job=said.get("replay.job", ""),
        edited=said.get("replay.edited", ""),
        ordinal=envelope.number(said, "park.ordinal") if "park.ordinal" in said else -1,
        place=(record.topic, record.partition, record.offset),
        orig_topic=said.get("orig.topic", ""),
        orig_partition=envelope.number(said, "orig.partition"),
        orig_offset=envelope.number(said, "orig.offset"),
        orig_timestamp=envelope.number(said, "orig.timestamp"),
    )


def _key(record: Record, said: Mapping[str, str]) -> str:
    case_id = slots.case_of(record.headers) if said.get("orig.topic") in _COMMANDS else ""
    return case_id or key_text(record.key)


def of_plain(values: Mapping[str, Any]) -> DeadLetter:
    """What plain() made."""
    topic, partition, offset = values["place"].rsplit("/", 2)
    return DeadLetter(**{**values, "place": (topic, int(partition), int(offset))})
