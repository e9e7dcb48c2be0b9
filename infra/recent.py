"""What happened to cases lately, as the audit and the decisions have it, read from Kafka.

Enters: since when. Leaves: Trails, one a case that moved in the window, with its transitions in order. Guaranteed:
found by broker time; nothing is written; RECORDS_MAX of each topic at most, the newest, and it is told when that cut
something off. A case that began before the window is there with what it did in it. Open cases that did nothing in the
window are in the outcome store alone: resting().
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.dlq.places import Places
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import AuditRecorded, CaseDecided
from aios.streams.config import KafkaSettings
from aios.streams.outcome_store import LISTED_MAX, OutcomeStore
from aios.streams.topics import AUDIT_RECORDED, CASE_DECIDED, Topic

RECORDS_MAX = 400_000
CUT = "there was more than is read here; the newest of it counts"
_READ: Mapping[Topic, type[AuditRecorded | CaseDecided]] = {AUDIT_RECORDED: AuditRecorded, CASE_DECIDED: CaseDecided}


class Move(NamedTuple):
    """One transition. seq: 0 for an act outside the case's order."""

    seq: int
    at: int
    transition: str
    step: str
    actor: str
    detail: Mapping[str, Any]


@dataclass(slots=True)
class Trail:
    """A case in the window. decided: None while it is open, or where the decision is not in it."""

    case_id: str
    tenant: str = ""
    workflow: str = ""
    moves: list[Move] = field(default_factory=list)
    decided: CaseDecided | None = None

    def first(self, transition: str) -> Move | None:
        return next((move for move in self.moves if move.transition == transition), None)

    def all(self, *transitions: str) -> Iterator[Move]:
        return (move for move in self.moves if move.transition in transitions)


@dataclass(frozen=True, slots=True)
class Recent:
    """cut: whether there was more than was read; whoever shows it says CUT."""

    since_ms: int
    trails: tuple[Trail, ...]
    cut: bool


def read(kafka: KafkaSettings, codec: Codec, since_ms: int) -> Recent:
    """Raises Unavailable."""
    places = Places(kafka)
    trails: dict[str, Trail] = {}
    cut = False
    try:
        for topic, kind in _READ.items():
            count = topic.partitions(kafka.partitions)
            for partition in range(count):
                first, (_, end) = places.since(topic.name, partition, since_ms), places.ends(topic.name, partition)
                start = max(first, end - RECORDS_MAX // count)
                cut |= start > first
                for record in places.scan(topic.name, partition, start, end) if start < end else ():
                    try:
                        follow(trails, codec.decode(record.value, kind))
                    except SchemaMismatch:
                        continue  # of somebody who writes something else there: no case of ours
    finally:
        places.close()
    for trail in trails.values():
        trail.moves.sort(key=lambda move: (move.at, move.seq))
    return Recent(since_ms, tuple(trails.values()), cut)


async def resting(store: OutcomeStore, workflow: str, since_ms: int) -> list[Trail]:
    """Open cases of a workflow that have not moved since then and wait for nobody outside: the newest LISTED_MAX.

    Raises Unavailable.
    """
    views = await store.list_cases(tenant=None, workflow=workflow, limit=LISTED_MAX, resting_ms=since_ms)
    stand = [view for view in views if not (view.settled or view.task_id or view.until)]
    return [
        Trail(view.case_id, view.tenant, workflow, [_shown(one) for one in await store.timeline(view.case_id, None)])
        for view in stand
    ]


def _shown(one: Mapping[str, Any]) -> Move:
    """A transition as timelines show it."""
    return Move(one["case_seq"], one["at"], one["transition"], one["step"], one["actor"], one["detail"])


def follow(trails: dict[str, Trail], event: AuditRecorded | CaseDecided) -> None:
    """Take one record in."""
    trail = trails.setdefault(event.case_id, Trail(event.case_id))
    trail.tenant, trail.workflow = event.tenant or trail.tenant, event.workflow or trail.workflow
    if isinstance(event, CaseDecided):
        trail.decided = event
        return
    detail = json.loads(event.detail or "{}")
    trail.moves.append(
        Move(
            event.case_seq,
            event.at,
            event.transition,
            event.step,
            event.actor,
            detail if isinstance(detail, dict) else {},
        )
    )
