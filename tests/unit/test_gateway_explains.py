"""The gateway explains cases to those whose they are, and notes who opened a question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aios.schemas.models import AuditRecorded
from aios.sinks.outcome_writes import transition_json
from aios.streams.outcome_views import CaseView
from aios.streams.topics import AUDIT_RECORDED
from tests.fakes.gateway import Served
from tests.unit.test_case import CASE
from tests.unit.test_explanation import by_a_person
from tests.unit.test_gateway import TASK, problem, run

PATH = f"/v1/cases/{CASE}/explanation"


def test_a_case_is_explained_to_its_tenant_and_to_nobody_else() -> None:
    """In sentences and as data; another tenant is told that there is no such case."""
    world = by_a_person()
    moves = [json.loads(transition_json(one)) for one in world.audit()]
    (decided,) = world.decisions()

    async def timeline(_case: str, _tenant: str | None) -> Sequence[Mapping[str, Any]]:
        return moves

    async def test(gateway: Served) -> None:
        gateway.outcomes.timeline = timeline  # type: ignore[method-assign]
        gateway.outcomes.cases[CASE] = CaseView(
            case_id=CASE,
            tenant="acme",
            workflow="document.triage",
            workflow_version=decided.workflow_version,
            status="decided",
            outcome=decided.outcome,
            label=decided.label,
            decided_by=decided.decided_by,
            decided_at=decided.decided_at,
        )
        async with gateway.request("GET", PATH) as response:
            assert response.status == 200
            body = await response.json()
        assert body["says"] == "Routed as activate_my_card, decided by ana (reviewer)."
        assert body["complete"]
        assert body["story"][0]["evidence"]["event_id"] == "e1"
        assert body["workflow"] == f"document.triage@{decided.workflow_version}"
        async with gateway.request("GET", PATH, tenant="globex") as response:
            await problem(response, "not_found")

    run(test)


def test_a_case_that_no_stage_has_seen_is_explained_as_such() -> None:
    async def test(gateway: Served) -> None:
        async with gateway.post({"text": "a"}) as response:
            case_id = (await response.json())["case_id"]
        gateway.outcomes.cases.clear()
        async with gateway.request("GET", f"/v1/cases/{case_id}/explanation") as response:
            assert (await response.json())["says"] == "Nothing has happened to it yet."

    run(test)


def test_who_opens_a_question_is_noted_once() -> None:
    """The person by the token, never a tenant's program; a closed question is opened by nobody."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks |= {"t1": TASK, "t2": replace(TASK, task_id="t2", status="closed")}
        for path, principal in (("t1", ""), ("t2", "ada"), ("t1", "ada"), ("t1", "ada")):
            async with gateway.request("GET", f"/v1/reviews/{path}", principal=principal) as response:
                assert response.status == 200
        (out,) = gateway.roads.delivered
        assert (out.topic, out.key) == (AUDIT_RECORDED.name, b"c1")
        event = gateway.codec.decode(out.value, AuditRecorded)
        assert (event.transition, event.actor, event.case_seq) == ("review_opened", "reviewer:ada", 0)
        assert json.loads(event.detail) == {"task_id": "t1"}

    run(test)


def test_a_question_is_read_though_kafka_is_away() -> None:
    """That it was opened is a measure; nobody is kept from working by it."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks["t1"] = TASK
        gateway.roads.away = True
        async with gateway.request("GET", "/v1/reviews/t1", principal="ada") as response:
            assert (await response.json())["task_id"] == "t1"
        gateway.roads.away = False
        async with gateway.request("GET", "/v1/reviews/t1", principal="ada"):
            pass
        assert len(gateway.roads.delivered) == 1

    run(test)
