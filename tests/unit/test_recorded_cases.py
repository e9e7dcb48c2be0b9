"""Decided cases read back from the log: what they were told is put where plan took it, so that they are repeatable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aios.infra import recorded_cases
from aios.processors.cases import again
from aios.processors.cases.again import Decision, Recorded
from aios.processors.language.autonomy import AUTO, SHADOW, SUGGEST
from aios.processors.language.workflow_files import Workflows
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded
from aios.streams import topics
from aios.streams.record import Record
from tests.fakes.flow import INPUT, Flow, workflow
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())
TOPICS = (
    topics.CASE_ADMITTED,
    topics.INFERENCE_COMPLETED,
    topics.REVIEW_DECIDED,
    topics.CONNECTOR_COMPLETED,
    topics.CASE_TOLD,
)
BY_CONTRACT = {topic.contracts[0]: topic for topic in TOPICS}


def read_back(flow: Flow) -> Recorded:
    """As it is read from Kafka, from what moved the case and what its audit says."""
    trail, records = recorded_cases._Trail(), {}
    for audit in flow.of(AuditRecorded):
        event = flow.history[audit.input_offset][0]
        topic = BY_CONTRACT.get(event.contract)
        name = "timer.fired.v1" if topic is None else topic.name
        recorded_cases._follow(trail, replace(audit, input_topic=name))
        if topic is not None:
            value = CODEC.encode(topic, event)
            records[name, 0, audit.input_offset] = Record(name, 0, audit.input_offset, 0, None, value)
    found = recorded_cases._recorded(trail, records, CODEC)
    assert found is not None
    return found


def repeated(flow: Flow) -> Decision:
    """The decision, out of the records alone; it was the case's own."""
    found = again.baseline(read_back(flow), Workflows([flow.workflow]))
    assert isinstance(found, Decision), found
    assert (found.outcome, found.reasons) == (flow.decided.outcome, flow.decided.reasons)
    return found


def gathered(flow: Flow, score: int = 5) -> Flow:
    flow.admit()
    flow.answer("gather/screen", score=score)
    for step in ("gather/about", "read/0", "read/1"):
        flow.answer(step)
    return flow


@pytest.mark.parametrize("in_file", [AUTO, SUGGEST, SHADOW])
@pytest.mark.parametrize("drawn", [AUTO, SUGGEST, SHADOW])
def test_a_case_is_repeated_with_the_autonomy_that_was_drawn_for_it(in_file: str, drawn: str) -> None:
    """Whatever its workflow's file says: what was active then may have been another one."""
    flow = Flow(workflow=workflow(autonomy={"mode": in_file, "ask": "ask"}))
    flow.workflows = Workflows([flow.workflow], mode=drawn)
    gathered(flow)
    assert (flow.state is not None and flow.state.step == "ask") == (drawn != AUTO)
    if drawn != AUTO:
        flow.judge("ask", "reject", "ana")
    else:
        flow.answer("book", "failed")
    assert repeated(flow).decided_by == ("policy" if drawn == AUTO else "reviewer:ana")


@pytest.mark.parametrize("second", ["accept", "reject"])
def test_a_case_of_two_people_is_repeated_with_what_each_said(second: str) -> None:
    """Whether they agree or not."""
    flow = gathered(Flow(input={**INPUT, "risk": 80}), score=80)
    flow.judge("ask", "reject", "ana", "r1")
    flow.judge("ask", second, "ben", "r2")
    assert repeated(flow).decided_by == "reviewer:ana+ben"


@pytest.mark.parametrize("early", [False, True])
def test_what_a_case_was_told_is_given_to_it_where_it_took_it(*, early: bool) -> None:
    """Also where it came before the case waited for it, and was kept; what changed nothing is left out."""
    flow = Flow()
    flow.admit()
    flow.tell("surprise", "t0")
    if early:
        flow.tell("changed", "t1", {"what": "cancelled"})
    flow.answer("gather/screen")
    for step in ("gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    if not early:
        flow.tell("changed", "t1", {"what": "cancelled"})
    assert read_back(flow).told.keys() == {"booked"}
    assert repeated(flow).reasons == ("withdrawn",)
