"""The newest decided cases of a running system, with everything they were given, read from Kafka.

Enters: how many. Leaves: Recorded cases, and how many were passed over. Guaranteed: found by their audit records, each
of which names the place of the record that moved the case; nothing is written; what is read is bounded by how many are
wanted. A record that came back through a retry, or that the log has deleted, leaves its case out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.dlq.places import Places
from aios.processors.cases.again import Recorded
from aios.processors.language.autonomy import AUTO
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseTold,
    ConnectorCompleted,
    InferenceCompleted,
    ReviewDecided,
)
from aios.streams.config import KafkaSettings
from aios.streams.record import Record, Where
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_ADMITTED,
    CASE_TOLD,
    CONNECTOR_COMPLETED,
    INFERENCE_COMPLETED,
    REVIEW_DECIDED,
)

RECORDS_A_CASE = 12  # of the audit, seldom more
SPARE = 500  # of them in each partition
_EVENTS: Mapping[str, type[Any]] = {
    CASE_ADMITTED.name: CaseAdmitted,
    INFERENCE_COMPLETED.name: InferenceCompleted,
    REVIEW_DECIDED.name: ReviewDecided,
    CONNECTOR_COMPLETED.name: ConnectorCompleted,
    CASE_TOLD.name: CaseTold,
}


@dataclass(slots=True)
class _Trail:
    """What the audit says of one case. decided: detail of its decision; at: its time. taken: by the id of what it was
    told and did not just keep, the step that took it, and which person's it is, 1-based.
    """

    moves: list[AuditRecorded] = field(default_factory=list)
    decided: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    autonomy: str = AUTO
    at: int = 0
    taken: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return bool(self.version and self.decided)

    def places(self) -> Iterator[Where]:
        for move in self.moves:
            if move.input_topic in _EVENTS:
                yield move.input_topic, move.input_partition, move.input_offset


def read(kafka: KafkaSettings, codec: Codec, workflow: str, cases_max: int) -> tuple[list[Recorded], int]:
    """The newest decided cases of a workflow (empty: of all), and how many of these are not in the log any more.

    Raises Unavailable.
    """
    places = Places(kafka)
    try:
        trails = [trail for trail in _trails(places, codec, kafka.partitions, cases_max).values() if trail.whole]
        wanted = [trail for trail in trails if workflow in ("", trail.moves[0].workflow)]
        newest = sorted(wanted, key=lambda trail: -trail.at)[:cases_max]
        records = places.fetch({where for trail in newest for where in trail.places()})
    finally:
        places.close()
    found = [one for trail in newest if (one := _recorded(trail, records, codec)) is not None]
    return found, len(newest) - len(found)


def _trails(places: Places, codec: Codec, partitions: int, cases_max: int) -> dict[str, _Trail]:
    """By case, of the ends of the audit's partitions."""
    tail = RECORDS_A_CASE * cases_max // partitions + SPARE
    trails: dict[str, _Trail] = {}
    for partition in range(AUDIT_RECORDED.partitions(partitions)):
        low, high = places.ends(AUDIT_RECORDED.name, partition)
        if low == high:
            continue
        for record in places.scan(AUDIT_RECORDED.name, partition, max(low, high - tail), high):
            move = _decoded(codec, record, AuditRecorded)
            if move is not None and move.case_seq:
                _follow(trails.setdefault(move.case_id, _Trail()), move)
    return trails


def _follow(trail: _Trail, move: AuditRecorded) -> None:
    trail.moves.append(move)
    detail = json.loads(move.detail or "{}")
    if move.transition == "admitted":
        trail.version, trail.autonomy = detail.get("workflow_version", 0), detail.get("autonomy", AUTO)
    elif move.transition == "decided":
        trail.decided, trail.at = detail, move.at
    elif move.transition in ("told", "review_decided") and not detail.get("kept"):
        trail.taken[detail.get("event_id", "")] = (move.step, detail.get("round", 1))


def _recorded(trail: _Trail, records: Mapping[Where, Record], codec: Codec) -> Recorded | None:
    admitted: CaseAdmitted | None = None
    answers: dict[tuple[str, int], InferenceCompleted] = {}
    reviews: dict[tuple[str, int], ReviewDecided] = {}
    calls: dict[tuple[str, int], ConnectorCompleted] = {}
    told: dict[str, CaseTold] = {}
    for where in trail.places():
        record = records.get(where)
        event = None if record is None else _decoded(codec, record, _EVENTS[where[0]])
        match event:
            case None:
                return None
            case CaseAdmitted():
                admitted = event
            case InferenceCompleted():
                answers[event.step, event.attempt] = event
            case ConnectorCompleted():
                calls[event.step, event.attempt] = event
            case ReviewDecided() if event.event_id in trail.taken:
                reviews[trail.taken[event.event_id]] = event
            case CaseTold() if event.event_id in trail.taken:
                told[trail.taken[event.event_id][0]] = event
    if admitted is None:
        return None
    return Recorded(
        admitted=admitted,
        version=trail.version,
        answers=answers,
        reviews=reviews,
        decided=trail.decided,
        calls=calls,
        told=told,
        autonomy=trail.autonomy,
    )


def _decoded(codec: Codec, record: Record, kind: type[Any]) -> Any:
    try:
        return codec.decode(record.value, kind)
    except SchemaMismatch:
        return None  # of somebody who writes something else there: no case of ours
