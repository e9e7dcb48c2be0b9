"""Prompts on a real broker: an activation and its audit; recorded cases are found with all that they were given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from aios.inference_workers import evaluation
from aios.infra import recorded_cases
from aios.infra.cli import aios
from aios.infra.commands import prompt_history
from aios.processors.cases import again, case
from aios.processors.cases.again import Decision
from aios.processors.cases.turn import Cause
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided, CaseRemembered, Event
from aios.streams import activations
from aios.streams.config import KafkaSettings, Settings
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.prompt_files import Recorded
from aios.streams.record import Outgoing
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_ADMITTED,
    INFERENCE_COMPLETED,
    PROMPT_ACTIVATED,
    REVIEW_DECIDED,
    WORKFLOW_ACTIVATED,
    WORKFLOW_DEPLOYED,
    Topic,
)
from tests.fakes.triage import plain
from tests.unit.test_again import AT, Ran, asking

pytestmark = pytest.mark.broker
INPUTS = {topic.contracts[0]: topic for topic in (CASE_ADMITTED, INFERENCE_COMPLETED, REVIEW_DECIDED)}


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    tables = (PROMPT_ACTIVATED, WORKFLOW_ACTIVATED, WORKFLOW_DEPLOYED)
    asyncio.run(ensure_topics(kafka, (*INPUTS.values(), AUDIT_RECORDED, *tables)))


def passed(reference: str, *, ok: bool = True) -> Recorded:
    return Recorded(
        prompt=reference,
        prompt_digest="1" * 64,
        set_digest="2" * 64,
        model="summariser@1",
        engine="fake 1",
        passed=ok,
        kinds={kind: {"passed": 1, "all": 1, "needed": 1} for kind in evaluation.KINDS},
    )


def test_an_activation_is_one_record_and_one_of_the_audit(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """Under the name of who acted; whoever reads the table sees what serves; a later one takes its place."""
    name = f"p-{unique}"
    for version in (1, 2):
        activations.write_prompt(
            kafka, codec, name, version, evaluation=passed(f"{name}@{version}"), by="ann", reason="because"
        )
    told = activations.read_prompts(kafka, codec)[name]
    assert (told.version, told.by, told.reason) == (2, "ann", "because")
    assert json.loads(told.evaluation)["passed"] is True
    key = f"prompt:{name}".encode()  # others are of other tests, some in the ids of another registry
    mine = [codec.decode(one.value, AuditRecorded) for one in read_all(kafka, AUDIT_RECORDED.name) if one.key == key]
    assert [(one.actor, one.transition, json.loads(one.detail)["version"]) for one in mine] == [
        ("ann", "prompt_activated", 1),
        ("ann", "prompt_activated", 2),
    ]


def ran_on(kafka: KafkaSettings, codec: Codec, ran: Ran) -> CaseDecided:
    """The same case again, with its records where they belong, as plan would have had and written them."""

    async def run() -> CaseDecided:
        delivery = Delivery(kafka, client_id="test")
        state: CaseRemembered | None = None
        decided: list[CaseDecided] = []

        async def put(topic: Topic, event: Event) -> tuple[str, int, int]:
            place = await delivery.deliver(Outgoing(topic.name, key, codec.encode(topic, event)))
            return place.topic, place.partition, place.offset

        key = ran.admitted.case_id.encode()
        for event in (ran.admitted, *ran.answers.values(), *ran.reviews.values()):
            cause = Cause(*await put(INPUTS[event.contract], event), AT)
            moved = case.plan(state, event, cause, plain())
            state = moved.state
            for topic, told in moved.events:
                if topic is AUDIT_RECORDED:
                    await put(topic, told)
                decided += [told] if isinstance(told, CaseDecided) else []
        delivery.close()
        return decided[0]

    return asyncio.run(run())


def test_recorded_cases_are_found_and_lead_to_their_decision_again(
    kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """Decided by policy, or by a person; one that is not decided yet is none; only as many as are wanted."""
    _, others = recorded_cases.read(kafka, codec, "document.triage", 1_000)
    runs = [Ran(key=f"{unique}-1"), Ran(confidence=0.1, key=f"{unique}-2"), Ran("message", key=f"{unique}-3")]
    decided = {run.admitted.case_id: ran_on(kafka, codec, run) for run in runs}
    cases, gone = recorded_cases.read(kafka, codec, "document.triage", 1_000)
    found = {one.admitted.case_id: one for one in cases if one.admitted.case_id in decided}
    assert (found.keys(), gone) == (decided.keys(), others)  # what other tests leave is theirs
    for case_id, one in found.items():
        result = again.baseline(one, plain())
        assert isinstance(result, Decision)
        assert (result.label, result.decided_by) == (decided[case_id].label, decided[case_id].decided_by)
    asked = found[runs[1].admitted.case_id]
    assert (set(asked.reviews), set(asked.answers)) == ({("ask", 1)}, {("classify", 1)})
    assert len(recorded_cases.read(kafka, codec, "document.triage", 2)[0]) == 2
    assert recorded_cases.read(kafka, codec, "other.workflow", 10) == ([], 0)
    assert ids.case_id("demo", "document.triage", "nobody") not in found


def test_a_prompt_is_tried_on_recorded_cases_by_one_command(
    kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from Kafka, decided again, told, and judged by the gate: exit 0, or 1 where answers fail that did not."""

    @contextmanager
    def connected() -> Iterator[tuple[Settings, Codec]]:
        yield Settings(kafka=kafka), codec

    monkeypatch.setattr(prompt_history, "connected", connected)
    ran_on(kafka, codec, Ran(key=f"{unique}-h"))
    command = ["prompt", "test", "summary@1", "--against", "history", "--json"]
    for changed, code in (({}, 0), ({"status": "failed", "output": {}}, 1)):
        asked = asking(monkeypatch, "summary@1", **changed)
        said = CliRunner().invoke(aios, command)
        assert said.exit_code == code, said.output
        told = json.loads(said.stdout)
        assert told["cases"] == sum(request.prompt == "summary@1" for request in asked) >= 1
        assert told["passed"] is (code == 0)
        assert told["changed"] == (0 if code == 0 else told["cases"])
