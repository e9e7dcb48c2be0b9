"""kyc.review through admit, plan and the connectors: documents by reference, the real list, two people."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession

from aios.infra.demo import applicants, papers
from aios.infra.demo.applicants import Application
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, ReviewDecided, ReviewRequested
from aios.streams import tenants
from aios.streams.config import Settings
from aios.streams.gateway import server
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing
from aios.streams.topics import CASE_DECIDED, REVIEW_DECIDED, REVIEW_REQUESTED
from tests.broker import test_workflow_deploy
from tests.broker.running import running
from tests.broker.test_workflow_deploy import events, process, until

pytestmark = pytest.mark.broker
settings = test_workflow_deploy.settings


def application(kind: str) -> Application:
    """Of that kind, with nothing but text."""
    drawn = applicants.drawn(200, 7, "a", scans=False)
    return next(one for one in drawn if one.kind == kind and len(one.documents) == 2 and not one.documents[0].damage)


async def handed_in(settings: Settings, key: str, one: Application) -> None:
    """The passport as a scan by reference, what is left in the case."""
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{settings.gateway.port}"
    body = one.plain()
    async with ClientSession(url, headers=headers) as client:
        pdf = papers.as_pdf(one.documents[0].paper)
        async with client.post("/v1/documents", data=pdf) as answer:
            assert answer.status == 201, await answer.text()
            reference = (await answer.json())["reference"]
        body["documents"][0] |= {"text": "", "content": "", "reference": reference}
        async with client.post("/v1/workflows/kyc.review/cases", json=body) as answer:
            assert answer.status == 202, await answer.text()


async def said(settings: Settings, codec: Codec, task: ReviewRequested, reviewer: str, label: str) -> None:
    decided = ReviewDecided(
        event_id=f"{task.task_id}-{reviewer}",
        task_id=task.task_id,
        case_id=task.case_id,
        tenant=task.tenant,
        label=label,
        reviewer=reviewer,
        decided_at=task.requested_at,
    )
    delivery = Delivery(settings.kafka, client_id="test")
    try:
        value = codec.encode(REVIEW_DECIDED, decided)
        await delivery.deliver(Outgoing(REVIEW_DECIDED.name, task.case_id.encode(), value))
    finally:
        delivery.close()


def test_a_clear_application_is_approved_and_a_listed_one_goes_to_two_people(
    settings: Settings, codec: Codec, unique: str
) -> None:
    """A passport by reference: read, screened, approved without anybody. Somebody of the list, misspelt: two people are
    asked, one after the other, each with the hits and their reasons; both reject, and so it is.
    """
    tenant = f"t-{unique}"
    key = tenants.register(settings.kafka, codec, tenant)
    clear, listed = application("ordinary"), application("on the list")

    async def hand_in() -> None:
        async with running(server.run, settings):
            for one in (clear, listed):
                await handed_in(settings, key, one)

    def asked() -> list[Any]:
        return events(settings, codec, REVIEW_REQUESTED, ReviewRequested, tenant)

    def decided() -> list[Any]:
        return events(settings, codec, CASE_DECIDED, CaseDecided, tenant)

    with process(settings, "admit"), process(settings, "plan"), process(settings, "connectors"):
        asyncio.run(hand_in())
        (approved,) = until(decided, 1)
        assert (approved.outcome, approved.decided_by, approved.reasons) == ("approved", "policy", ("clear",))
        assert json.loads(approved.output)["people"][0]["name"] == clear.fields["applicant_name"]
        (first,) = until(asked, 1)
        evidence = json.loads(first.evidence)
        assert (first.people, first.round, first.skills) == (2, 1, "sanctions")
        assert listed.entry in [hit["entry"] for hit in evidence["hits"]]
        assert all(hit["reasons"] for hit in evidence["hits"])
        asyncio.run(said(settings, codec, first, "ada", "reject"))
        second = next(task for task in until(asked, 2) if task.task_id != first.task_id)
        assert (second.round, json.loads(second.evidence)["hits"]) == (2, evidence["hits"])
        asyncio.run(said(settings, codec, second, "ben", "reject"))
        rejected = next(one for one in until(decided, 2) if one.case_id != approved.case_id)
        assert (rejected.outcome, rejected.reasons[0]) == ("rejected", "sanctions_match")
        assert set(rejected.decided_by.removeprefix("reviewer:").split("+")) == {"ada", "ben"}
