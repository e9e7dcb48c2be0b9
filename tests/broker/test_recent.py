"""What happened lately is read from a real broker: every case that moved since then, and nothing before it."""

from __future__ import annotations

import asyncio
import json

import pytest

from aios.infra import objectives, recent
from aios.processors.language import workflow_files
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided
from aios.sinks.outcome_writes import transition_json
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, ensure_topics
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, CASE_DECIDED
from aios.streams.wall_clock import wall_ms
from tests.unit.test_explanation import by_a_person

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, (AUDIT_RECORDED, CASE_DECIDED)))


def put(kafka: KafkaSettings, codec: Codec, *events: AuditRecorded | CaseDecided) -> None:
    """As plan writes them, keyed by case."""

    async def deliver() -> None:
        delivery = Delivery(kafka, client_id="test")
        for event in events:
            topic = CASE_DECIDED if isinstance(event, CaseDecided) else AUDIT_RECORDED
            await delivery.deliver(Outgoing(topic.name, event.case_id.encode(), codec.encode(topic, event)))
        delivery.close()

    asyncio.run(deliver())


def test_a_case_of_the_window_is_there_whole_and_is_judged(kafka: KafkaSettings, codec: Codec) -> None:
    """Its transitions in order with their evidence, its decision; from a time behind it nothing of it is read."""
    world = by_a_person()
    began = wall_ms() - 1_000
    put(kafka, codec, *world.of(AuditRecorded), *world.of(CaseDecided))
    seen = recent.read(kafka, codec, began)
    (trail,) = [one for one in seen.trails if one.case_id == world.decisions()[0].case_id]
    assert [move.transition for move in trail.moves] == world.transitions()
    assert trail.decided == world.decisions()[0]
    assert [move.detail for move in trail.moves] == [
        json.loads(transition_json(one))["detail"] for one in world.audit()
    ]
    workflow = workflow_files.shipped().latest("document.triage")
    assert workflow is not None
    (alone,) = [one for one in objectives.judge([workflow], [trail], began) if one.objective == "without_person_min"]
    assert (alone.measured, alone.kept) == (0.0, False)
    later = recent.read(kafka, codec, wall_ms() + 60_000)
    assert trail.case_id not in [one.case_id for one in later.trails]
