"""The gateway serves workflows that come while it runs, and tells open cases what happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Sound
from aios.schemas.models import CaseTold
from aios.streams.deployments import MIGRATED, Catalogue
from aios.streams.gateway import api
from aios.streams.outcome_views import CaseView
from aios.streams.topics import CASE_TOLD
from tests.fakes import claims
from tests.fakes.deployments import Tables
from tests.fakes.gateway import Served, served
from tests.unit.test_gateway import problem

CLAIM: dict[str, Any] = {"employee": "Ann", "purpose": "train", "receipts": [{"what": "ticket", "cents": 4200}]}
OPEN = CaseView(case_id="c1", tenant="acme", status="booked", case_seq=2)


def run(test: Callable[[Served], Awaitable[None]], tables: Tables | None = None) -> None:
    async def within() -> None:
        catalogue = Catalogue((tables or Tables()).given)
        async with asyncio.timeout(20), served(catalogue=catalogue) as gateway:
            await test(gateway)

    asyncio.run(within())


@pytest.fixture
def claim(tmp_path: Path) -> Sound:
    found, problems = workflow_files.read_file(claims.write(tmp_path))
    assert found is not None, problems
    return found


def test_a_workflow_is_served_from_when_it_is_deployed_until_it_is_retired(claim: Sound) -> None:
    """404 before, 202 with its fields on its own topic, and 404 again; the document follows."""
    tables = Tables()

    async def described(gateway: Served) -> tuple[list[str], set[str]]:
        async with gateway.request("GET", "/openapi.json") as response:
            said = await response.json()
        names = said["paths"]["/v1/workflows/{workflow}/cases"]["post"]["parameters"][0]["schema"]["enum"]
        return names, set(said["components"]["schemas"])

    async def test(gateway: Served) -> None:
        async with gateway.post(CLAIM, workflow="expenses.claim") as response:
            await problem(response, "unknown_workflow")
        tables.put(claim)
        async with gateway.post(CLAIM, workflow="expenses.claim") as response:
            assert response.status == 202
            case_id = (await response.json())["case_id"]
        (out,) = gateway.roads.delivered
        assert (out.topic, out.key) == ("expense.claimed.v1", case_id.encode())
        event = gateway.codec.decode_plain(out.value, claim.input.contract, claim.input.schema)
        assert event.fields["receipts"] == CLAIM["receipts"]
        assert (event.fields["tenant"], event.fields["lane"]) == ("acme", "bulk")
        names, schemas = await described(gateway)
        assert "expenses.claim" in names
        assert {"expense.claimed.v1", "expense_claimed_v1_Receipt", "DocumentReceived"} <= schemas
        tables.put(claim, version=0)
        async with gateway.post(CLAIM, workflow="expenses.claim") as response:
            await problem(response, "unknown_workflow")
        assert "expenses.claim" not in (await described(gateway))[0]

    run(test, tables)


def test_every_wrong_place_of_a_nested_body_is_named(claim: Sound) -> None:
    """And nothing of the body is repeated."""
    tables = Tables()
    tables.put(claim)

    async def test(gateway: Served) -> None:
        body = CLAIM | {"receipts": [{"cents": -1}, {"cents": "x"}, {"price": 5}], "purpose": " ", "boss": "Eve"}
        async with gateway.post(body, workflow="expenses.claim") as response:
            said = await problem(response, "invalid_body")
        fields = {each["field"] for each in said["errors"]}
        assert {"receipts[0].cents", "receipts[1].cents", "receipts[2].cents", "purpose", "boss"} <= fields
        assert "Eve" not in json.dumps(said)
        assert gateway.roads.delivered == []

    run(test, tables)


def test_a_case_is_told_once_the_broker_has_it() -> None:
    """By its producer, or by an operator under their name; the same again is the same event."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.cases["c1"] = OPEN
        said = {"kind": "meeting_changed", "body": {"action": "move"}}
        seen = []
        for more in ({}, {}, {"headers": {"Idempotency-Key": "2"}}, {"principal": "opa"}):
            async with gateway.request("POST", "/v1/cases/c1/events", json=said, **more) as response:
                assert response.status == 202
                seen.append((await response.json())["event_id"])
        assert [seen[0] == one for one in seen] == [True, True, False, True]
        told = [gateway.codec.decode(out.value, CaseTold) for out in gateway.roads.delivered]
        assert {(out.topic, out.key) for out in gateway.roads.delivered} == {(CASE_TOLD.name, b"c1")}
        assert [one.by for one in told] == ["producer", "producer", "producer", "operator:opa"]
        assert told[0].event_id == seen[0]
        assert (told[0].kind, told[0].body, told[0].tenant) == ("meeting_changed", '{"action":"move"}', "acme")

    run(test)


def test_the_same_words_to_the_next_question_are_new() -> None:
    """An hour later, and an hour later again: while the case waits since the same moment it is one, then another; what
    has a key of its own is the same in both.
    """

    async def test(gateway: Served) -> None:
        said = {"kind": "meeting_changed", "body": {"text": "an hour later"}}
        seen = []
        for since, key in ((7, ""), (7, ""), (12, ""), (7, "k"), (12, "k")):
            gateway.outcomes.cases["c1"] = replace(OPEN, waits_from=since)
            headers = {"Idempotency-Key": key} if key else {}
            async with gateway.request("POST", "/v1/cases/c1/events", json=said, headers=headers) as response:
                assert response.status == 202
                seen.append((await response.json())["event_id"])
        assert [seen.index(one) for one in seen] == [0, 0, 2, 3, 3]

    run(test)


def test_a_number_that_no_double_holds_is_the_callers_fault() -> None:
    """What a case is told is free JSON; no contract of ours is there to refuse it."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.cases["c1"] = OPEN
        for said in (b'{"kind":"paid","body":{"amount":1e400}}', b'{"kind":"paid","body":{"a":[{"b":-1e400}]}}'):
            headers = {"Content-Type": "application/json"}
            async with gateway.request("POST", "/v1/cases/c1/events", data=said, headers=headers) as response:
                assert "larger than a double" in (await problem(response, "invalid_json"))["detail"]
        assert gateway.roads.delivered == []

    run(test)


def test_what_a_case_cannot_be_told_is_refused() -> None:
    """Unknown, another tenant's, decided, not begun, no word, too much, and what is for operators."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.cases |= {
            "c1": OPEN,
            "c2": replace(OPEN, case_id="c2", status="decided", decided_at=1),
            "c3": replace(OPEN, case_id="c3", status="accepted"),
        }
        said: dict[str, Any] = {"kind": "meeting_changed"}
        for path, caller, body, reason in (
            ("/v1/cases/c9/events", {}, said, "not_found"),
            ("/v1/cases/c1/events", {"tenant": "globex"}, said, "not_found"),
            ("/v1/cases/c1/events", {"principal": "ada"}, said, "forbidden"),
            ("/v1/cases/c2/events", {}, said, "already_decided"),
            ("/v1/cases/c3/events", {}, said, "wrong_state"),
            ("/v1/cases/c1/events", {}, {}, "invalid_body"),
            ("/v1/cases/c1/events", {}, {"kind": "No Word"}, "invalid_body"),
            ("/v1/cases/c1/events", {}, said | {"body": []}, "invalid_body"),
            ("/v1/cases/c1/events", {}, said | {"by": "me"}, "invalid_body"),
            ("/v1/cases/c1/events", {}, {"kind": MIGRATED, "body": {"to": 2}}, "invalid_body"),
            ("/v1/cases/c1/events", {}, said | {"body": {"a": "x" * api.TOLD_BYTES_MAX}}, "too_large"),
        ):
            async with gateway.request("POST", path, json=body, **caller) as response:
                await problem(response, reason)
        assert gateway.roads.delivered == []
        migrate = {"kind": MIGRATED, "body": {"to": 2}}
        async with gateway.request("POST", "/v1/cases/c1/events", json=migrate, principal="opa") as response:
            assert response.status == 202

    run(test)
