"""What the gateway answers, on a real HTTP server with its neighbours in memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from aios.schemas.models import CaseCancelled, DocumentReceived, ReviewDecided
from aios.streams.config import EndpointSettings, GatewaySettings
from aios.streams.gateway import api, cases
from aios.streams.gateway.routes import ROUTES
from aios.streams.http.openapi import Caller
from aios.streams.http.problem import REASONS
from aios.streams.outcome_views import CaseView, ReviewView
from aios.streams.topics import CASE_CANCELLED, DOCUMENT_RECEIVED, RETENTION_MS, REVIEW_DECIDED
from tests.fakes.gateway import Served, served

TEXT = {"text": "My card has not arrived yet."}


def run(test: Callable[[Served], Awaitable[None]], limits: GatewaySettings | None = None) -> None:
    async def within() -> None:
        async with asyncio.timeout(20), served(limits) as gateway:
            await test(gateway)

    asyncio.run(within())


async def until(true: Callable[[], bool]) -> None:
    """Within the time that run() gives."""
    while not true():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.005)


async def problem(response: ClientResponse, reason: str) -> dict[str, Any]:
    """The body, after everything that holds for each problem."""
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(await response.text())
    assert body["type"] == f"urn:aios:problem:{reason}"
    assert response.status == body["status"] == REASONS[reason]
    assert body["detail"]
    return body


def sent(gateway: Served) -> DocumentReceived:
    (out,) = gateway.roads.delivered
    return gateway.codec.decode(out.value, DocumentReceived)


def test_a_case_is_accepted_once_the_broker_has_it() -> None:
    """202 with the case, its link and its key; the record carries the tenant of the key and the bulk lane."""

    async def test(gateway: Served) -> None:
        async with gateway.post(TEXT) as response:
            body = await response.json()
            assert response.status == 202
            assert response.headers["Location"] == body["links"]["case"] == f"/v1/cases/{body['case_id']}"
            assert response.headers["Idempotency-Key"] == body["idempotency_key"]
            assert body["status"] == "accepted"
        event = sent(gateway)
        assert (event.text, event.tenant, event.lane) == (TEXT["text"], "acme", "bulk")
        (out,) = gateway.roads.delivered
        headers = dict(out.headers)
        assert (out.topic, out.key) == (DOCUMENT_RECEIVED.name, body["case_id"].encode())
        assert headers["ce_id"] == event.event_id.encode()
        assert headers["aios-tenant"] == b"acme"

    run(test)


def test_the_same_request_again_is_the_same_case() -> None:
    """With the key it was given back, and without."""

    async def test(gateway: Served) -> None:
        answers = []
        for headers in ({}, {}, {"Idempotency-Key": "k"}, {"Idempotency-Key": "k"}):
            async with gateway.post(TEXT, headers=headers) as response:
                assert response.status == 202
                answers.append((await response.json())["case_id"])
        assert answers[0] == answers[1] != answers[2] == answers[3]
        assert len({out.value for out in gateway.roads.delivered}) == 2

    run(test)


def test_a_key_may_be_used_again_when_its_case_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long this process has been serving; not before."""
    passed = [0.0]
    monkeypatch.setattr(cases, "monotonic", lambda: passed[0], raising=False)

    async def test(gateway: Served) -> None:
        async with gateway.post(TEXT, headers={"Idempotency-Key": "k"}) as response:
            assert response.status == 202
        passed[0] = RETENTION_MS / 1000 - 1
        async with gateway.post({"text": "b"}, headers={"Idempotency-Key": "k"}) as response:
            await problem(response, "conflicting_duplicate")
        passed[0] = RETENTION_MS / 1000 + 1
        async with gateway.post({"text": "b"}, headers={"Idempotency-Key": "k"}) as response:
            assert response.status == 202

    run(test)


def test_another_body_under_the_same_key_is_a_conflict() -> None:
    """As this process remembers, and as the outcome store knows it from another one."""

    async def test(gateway: Served) -> None:
        async with gateway.post(TEXT, headers={"Idempotency-Key": "k"}) as response:
            case_id = (await response.json())["case_id"]
        async with gateway.post({"text": "b"}, headers={"Idempotency-Key": "k"}) as response:
            assert (await problem(response, "conflicting_duplicate"))["case_id"] == case_id
        event_id = sent(gateway).event_id
        async with served() as other:
            other.outcomes.cases[case_id] = CaseView(
                case_id=case_id, tenant="acme", status="classifying", event_id=event_id
            )
            async with other.post({"text": "b"}, headers={"Idempotency-Key": "k"}) as response:
                await problem(response, "conflicting_duplicate")
            async with other.post(TEXT, headers={"Idempotency-Key": "k"}) as response:
                assert response.status == 202

    run(test)


def test_nothing_is_acknowledged_that_the_broker_does_not_have() -> None:
    """503 with Retry-After; and no case is remembered."""

    async def test(gateway: Served) -> None:
        gateway.roads.away = True
        async with gateway.post(TEXT) as response:
            body = await problem(response, "not_acknowledged")
            assert response.headers["Retry-After"] == "1"
        async with gateway.request("GET", f"/v1/cases/{body['case_id']}") as response:
            await problem(response, "not_found")
        async with gateway.request("GET", "/readyz", tenant="") as response:
            assert response.status == 503
            assert await response.json() == {"ready": False, "kafka": False, "outcomes": True}

    run(test)


def test_who_waits_gets_the_decision() -> None:
    """The interactive lane, and 200 with the whole decision."""

    async def test(gateway: Served) -> None:
        async def decide() -> None:
            await until(lambda: bool(gateway.roads.delivered))
            case = gateway.roads.delivered[0].key.decode()
            gateway.outcomes.cases[case] = CaseView(
                case_id=case, tenant="acme", status="decided", label="card_arrival", decided_at=5
            )

        deciding = asyncio.create_task(decide())
        async with gateway.post(TEXT, headers={"Prefer": "wait=10"}) as response:
            assert response.status == 200
            assert response.headers["Preference-Applied"] == "wait=10"
            assert (await response.json())["label"] == "card_arrival"
        await deciding
        assert sent(gateway).lane == "interactive"

    run(test)


@pytest.mark.parametrize(("status", "task"), [("classifying", ""), ("waiting_for_person", "t1")])
def test_who_waits_in_vain_is_told_how_far_it_is(status: str, task: str) -> None:
    """202 with the status: after the time, or at once when a person is asked."""

    async def test(gateway: Served) -> None:
        async with gateway.post(TEXT) as response:
            case_id = (await response.json())["case_id"]
        gateway.outcomes.cases[case_id] = CaseView(case_id=case_id, tenant="acme", status=status, task_id=task)
        async with gateway.post(TEXT, headers={"Prefer": "wait=1"}) as response:
            assert response.status == 202
            assert (await response.json())["status"] == status

    run(test)


@pytest.mark.parametrize(
    ("reason", "expected"), [("conflicting_duplicate", "conflicting_duplicate"), ("unknown_tenant", "refused")]
)
def test_who_waits_is_told_of_a_refusal(reason: str, expected: str) -> None:
    """plan refuses for certain what this process could not know."""

    async def test(gateway: Served) -> None:
        async def refuse() -> None:
            await until(lambda: bool(gateway.roads.delivered))
            case = gateway.roads.delivered[0].key.decode()
            refusal = {"reason": reason, "detail": "because"}
            gateway.outcomes.cases[case] = CaseView(case_id=case, tenant="acme", status="refused", refusal=refusal)

        refusing = asyncio.create_task(refuse())
        async with gateway.post(TEXT, headers={"Prefer": "wait=10"}) as response:
            await problem(response, expected)
        await refusing

    run(test)


def test_without_the_outcome_store_cases_are_accepted_and_nothing_is_read() -> None:
    """202 without waiting, in the bulk lane once it is known; reading is a 503, what was just accepted included."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.away = True
        for _ in range(2):
            async with gateway.post(TEXT, headers={"Prefer": "wait=10", "Idempotency-Key": "k"}) as response:
                assert response.status == 202
                case_id = (await response.json())["case_id"]
        assert gateway.codec.decode(gateway.roads.delivered[1].value, DocumentReceived).lane == "bulk"
        for path in (f"/v1/cases/{case_id}", "/v1/reviews", "/v1/reviews/t1"):
            async with gateway.request("GET", path) as response:
                await problem(response, "unavailable")
        async with gateway.request("GET", "/readyz", tenant="") as response:
            assert await response.json() == {"ready": True, "kafka": True, "outcomes": False}

    run(test)


def test_an_outcome_store_that_hangs_holds_up_nobody_who_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request asks and pays a moment, the ones after it do not ask; nobody waits for a decision."""
    monkeypatch.setattr(api, "ASK_AGAIN_S", 60.0)

    async def test(gateway: Served) -> None:
        gateway.outcomes.hangs = True
        for number in range(5):
            headers = {"Prefer": "wait=30", "Idempotency-Key": str(number)}
            async with gateway.post(TEXT, headers=headers) as response:
                assert response.status == 202
        assert gateway.outcomes.asked == 1
        async with gateway.request("GET", "/readyz", tenant="") as response:
            assert (await response.json())["outcomes"] is False

    run(test)


def test_a_case_is_shown_with_its_timeline_and_only_to_its_tenant() -> None:
    """accepted, not 404, before any stage has seen it; another tenant's is a 404, like one that does not exist."""

    async def test(gateway: Served) -> None:
        async with gateway.post(TEXT) as response:
            case_id = (await response.json())["case_id"]
        for known in (True, False):
            if not known:
                gateway.outcomes.cases.clear()  # the sink has not caught up, and the mark is gone
            async with gateway.request("GET", f"/v1/cases/{case_id}") as response:
                assert (await response.json())["status"] == "accepted"
            async with gateway.request("GET", f"/v1/cases/{case_id}", tenant="globex") as response:
                others = await problem(response, "not_found")
        async with gateway.request("GET", "/v1/cases/nothing", tenant="globex") as response:
            assert await problem(response, "not_found") == others
        gateway.outcomes.cases[case_id] = CaseView(case_id=case_id, tenant="acme", status="classifying")
        async with gateway.request("GET", f"/v1/cases/{case_id}") as response:
            body = await response.json()
            assert body["status"] == "classifying"
            assert body["timeline"] == [{"case_seq": 1, "transition": "admitted"}]
        async with gateway.request("GET", "/openapi.json") as response:
            told = (await response.json())["components"]["schemas"]["CaseShown"]
            assert set(told["properties"]) == set(body)

    run(test)


def test_a_case_is_called_off_by_its_producer_or_an_operator() -> None:
    """202 and one record keyed by case, which says who wishes it; the same wish again is the same event."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.cases["c1"] = CaseView(case_id="c1", tenant="acme", status="classifying", case_seq=2)
        why = {"reason": "the customer withdrew"}
        for principal in ("", "", "opa"):
            async with gateway.request("POST", "/v1/cases/c1/cancel", principal=principal, json=why) as response:
                assert (response.status, response.headers["Location"]) == (202, "/v1/cases/c1")
        assert {(out.topic, out.key) for out in gateway.roads.delivered} == {(CASE_CANCELLED.name, b"c1")}
        first, again, operator = (gateway.codec.decode(out.value, CaseCancelled) for out in gateway.roads.delivered)
        assert first == replace(again, cancelled_at=first.cancelled_at)
        assert (first.tenant, first.by, first.reason) == ("acme", "producer", why["reason"])
        assert (operator.tenant, operator.by) == ("acme", "operator:opa")

    run(test)


def test_a_cancellation_says_what_it_leaves_as_it_is() -> None:
    """A meeting that was booked stays booked: the answer names what was done outside, and what perhaps was."""

    def call(transition: str, step: str, **detail: str) -> dict[str, object]:
        return {"transition": transition, "step": step, "detail": {"system": "calendars", "operation": step, **detail}}

    async def test(gateway: Served) -> None:
        gateway.outcomes.cases["c1"] = CaseView(case_id="c1", tenant="acme", status="booked", case_seq=9)
        gateway.outcomes.timelines["c1"] = [
            call("call_requested", "find", effect="none"),
            call("call_completed", "find", outcome="ok"),
            call("call_requested", "book", effect="reconciled"),
            call("call_completed", "book", outcome="ok", reason=""),
            call("call_requested", "undo", effect="reconciled"),
            call("call_completed", "undo", outcome="failed", reason="away"),
            call("call_requested", "move", effect="reconciled"),
        ]
        async with gateway.request("POST", "/v1/cases/c1/cancel", json={"reason": "no"}) as response:
            said = await response.json()
        assert said["stands"] == ["book in calendars (step book)", "perhaps move in calendars (step move)"]

    run(test)


def test_a_cancellation_that_cannot_count_is_refused() -> None:
    """Unknown, another tenant's, decided, not begun, without a reason, by who may not."""

    async def test(gateway: Served) -> None:
        case = CaseView(case_id="c1", tenant="acme", status="classifying", case_seq=2)
        gateway.outcomes.cases |= {
            "c1": case,
            "c2": replace(case, case_id="c2", status="decided", decided_at=1),
            "c3": replace(case, case_id="c3", status="accepted"),
        }
        why = {"reason": "withdrawn"}
        for path, caller, body, reason in (
            ("/v1/cases/c9/cancel", {}, why, "not_found"),
            ("/v1/cases/c1/cancel", {"tenant": "globex"}, why, "not_found"),
            ("/v1/cases/c1/cancel", {"principal": "ada"}, why, "forbidden"),
            ("/v1/cases/c2/cancel", {}, why, "already_decided"),
            ("/v1/cases/c3/cancel", {}, why, "wrong_state"),
            ("/v1/cases/c1/cancel", {}, {}, "invalid_body"),
            ("/v1/cases/c1/cancel", {}, {"reason": ""}, "invalid_body"),
        ):
            async with gateway.request("POST", path, json=body, **caller) as response:
                await problem(response, reason)
        assert gateway.roads.delivered == []

    run(test)


TASK = ReviewView(
    task_id="t1",
    case_id="c1",
    tenant="acme",
    workflow="document.triage",
    workflow_version=1,
    step="ask",
    reasons=("low_confidence",),
    suggestion="card",
    confidence=0.4,
    out_of_scope=0.1,
    choices=("card", "mortgage"),
    input={"text": "a"},
    requested_at=1,
    expires_at=2,
    status="open",
)
DECISION = {"label": "mortgage"}


def test_a_tenant_lists_its_cases_those_that_changed_last_first() -> None:
    """Its own alone, by workflow and status; a misspelt part is refused, it would select everything."""

    async def test(gateway: Served) -> None:
        for number, (tenant, status) in enumerate((("acme", "decided"), ("globex", "decided"), ("acme", "asking"))):
            view = CaseView(case_id=f"c{number}", tenant=tenant, workflow="document.triage", status=status)
            gateway.outcomes.cases[view.case_id] = replace(view, changed_at=number)

        async def listed(query: str, **more: Any) -> list[str]:
            async with gateway.request("GET", f"/v1/cases{query}", **more) as response:
                assert response.status == 200, await response.text()
                return [one["case_id"] for one in await response.json()]

        assert await listed("") == ["c2", "c0"]
        assert await listed("?status=decided&workflow=document.triage") == ["c0"]
        assert await listed("?limit=1") == ["c2"]
        assert await listed("", tenant="globex") == ["c1"]
        for wrong in ("?stauts=decided", "?limit=0", "?limit=201", "?limit=x"):
            async with gateway.request("GET", f"/v1/cases{wrong}") as response:
                await problem(response, "invalid_query")
        async with gateway.request("GET", "/v1/cases", principal="ada") as response:
            await problem(response, "unauthorized")

    run(test)


def test_a_person_decides_once() -> None:
    """202 and one record keyed by case; the same decision again is the same event; another is told it is late."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks["t1"] = TASK
        for principal in ("", "ada"):
            async with gateway.request("GET", "/v1/reviews", principal=principal) as response:
                assert [each["task_id"] for each in await response.json()] == ["t1"]
        for _ in range(2):
            async with gateway.request("POST", "/v1/reviews/t1/decision", principal="ada", json=DECISION) as response:
                assert response.status == 202
                assert response.headers["Location"] == "/v1/cases/c1"
        assert len({out.key for out in gateway.roads.delivered}) == 1
        events = [gateway.codec.decode(out.value, ReviewDecided) for out in gateway.roads.delivered]
        assert gateway.roads.delivered[0].topic == REVIEW_DECIDED.name
        assert events[0] == replace(events[1], decided_at=events[0].decided_at)
        assert (events[0].tenant, events[0].label, events[0].reviewer) == ("acme", "mortgage", "ada")
        other = DECISION | {"label": "card"}
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="ada", json=other) as response:
            await problem(response, "already_decided")

    run(test)


def test_a_decision_that_cannot_count_is_refused() -> None:
    """Unknown task, another tenant's task, a label nobody offered, a closed task, who is no reviewer, a name given."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks |= {"t1": TASK, "t2": replace(TASK, task_id="t2", status="closed")}
        for path, principal, body, reason in (
            ("/v1/reviews/t9/decision", "ada", DECISION, "not_found"),
            ("/v1/reviews/t1/decision", "gus", DECISION, "not_found"),
            ("/v1/reviews/t1/decision", "bob", DECISION, "forbidden"),
            ("/v1/reviews/t1/decision", "", DECISION, "unauthorized"),  # a tenant's key names nobody
            ("/v1/reviews/t1/decision", "ada", DECISION | {"label": "fish"}, "label_not_offered"),
            ("/v1/reviews/t2/decision", "ada", DECISION, "already_decided"),
            ("/v1/reviews/t1/decision", "ada", {}, "invalid_body"),
            ("/v1/reviews/t1/decision", "ada", DECISION | {"reviewer": "eve"}, "invalid_body"),
            ("/v1/reviews/t1/decision", "ada", DECISION | {"tenant": "acme"}, "invalid_body"),
        ):
            async with gateway.request("POST", path, principal=principal, json=body) as response:
                await problem(response, reason)
        async with gateway.request("GET", "/v1/reviews/t1", tenant="globex") as response:
            await problem(response, "not_found")
        for who in ({"tenant": "globex"}, {"principal": "gus"}):
            async with gateway.request("GET", "/v1/reviews", **who) as response:
                assert await response.json() == []
        async with gateway.request("GET", "/v1/reviews", principal="bob") as response:
            await problem(response, "forbidden")
        assert gateway.roads.delivered == []

    run(test)


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "9" * 50, "\u0665"])
def test_a_wrong_limit_is_named(limit: str) -> None:
    async def test(gateway: Served) -> None:
        async with gateway.request("GET", "/v1/reviews", params={"limit": limit}) as response:
            assert "limit" in (await problem(response, "invalid_query"))["detail"]

    run(test)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "aios_acme-key", "Bearer \udcff"]
)
def test_every_route_needs_a_key_or_token(authorization: str | None) -> None:
    """401 on all of them, before anything of the request is looked at."""

    async def test(gateway: Served) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}
        for route in ROUTES:
            if route.caller is Caller.NOBODY:
                continue
            path = route.path.replace("{", "").replace("}", "")
            async with gateway.request(route.method, path, tenant="", headers=headers) as response:
                await problem(response, "unauthorized")
                asked_for = "Webhook-Signature" if route.caller is Caller.SENDER else "Bearer"
                assert response.headers["WWW-Authenticate"].startswith(asked_for)

    run(test)


def test_no_header_makes_another_tenant() -> None:
    """Headers with the names of ours change nothing."""

    async def test(gateway: Served) -> None:
        forged = {"aios-tenant": "globex", "ce_id": "forged", "aios.dlq.id": "x", "X-Forwarded-For": "127.0.0.1"}
        async with gateway.post(TEXT, headers=forged) as response:
            assert response.status == 202
        (out,) = gateway.roads.delivered
        assert sent(gateway).tenant == "acme"
        names = [name for name, _ in out.headers]
        assert len(names) == len(set(names))
        assert b"globex" not in repr(out.headers).encode()
        assert not {name for name in names if name.startswith(("aios.", "X-"))}

    run(test)


@pytest.mark.parametrize(
    "said", ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "nonsense", "00-" + "0" * 32]
)
def test_a_callers_trace_is_continued(said: str) -> None:
    """A valid traceparent keeps its trace id; without one the case gets one, the same each time."""

    async def test(gateway: Served) -> None:
        for _ in range(2):
            async with gateway.post(TEXT, headers={"traceparent": said} if said else {}) as response:
                assert response.status == 202
        traces = [dict(out.headers)["traceparent"].decode().split("-")[1] for out in gateway.roads.delivered]
        assert traces[0] == traces[1]
        assert (traces[0] == "4bf92f3577b34da6a3ce929d0e0e4736") is (len(said) == 55)
        assert len(traces[0]) == 32

    run(test)


def test_what_is_not_there_is_said_in_the_same_form() -> None:
    """Unknown path, unknown workflow, wrong method."""

    async def test(gateway: Served) -> None:
        async with gateway.request("GET", "/v1/nothing") as response:
            await problem(response, "not_found")
        async with gateway.post(TEXT, workflow="no.such") as response:
            assert "document.triage" in (await problem(response, "unknown_workflow"))["detail"]
        async with gateway.request("PUT", "/v1/reviews") as response:
            await problem(response, "method_not_allowed")
            assert "GET" in response.headers["Allow"]

    run(test)


def test_bodies_are_bounded_and_plain() -> None:
    """Too long, told or found out; compressed; another type or charset."""

    async def test(gateway: Served) -> None:
        path = "/v1/workflows/document.triage/cases"
        big = b'{"text": "' + b"a" * 2000 + b'"}'

        async def in_pieces() -> Any:
            yield big

        json_type = {"Content-Type": "application/json"}
        for body, headers, reason in (
            (big, json_type, "too_large"),
            (in_pieces(), json_type, "too_large"),
            (gzip.compress(b'{"text": "a"}'), json_type | {"Content-Encoding": "gzip"}, "unsupported_media_type"),
            (b'{"text": "a"}', {"Content-Type": "text/plain"}, "unsupported_media_type"),
            (b'{"text": "a"}', {"Content-Type": "application/json; charset=latin-1"}, "unsupported_media_type"),
            (b"{", json_type, "invalid_json"),
        ):
            async with gateway.request("POST", path, data=body, headers=headers) as response:
                await problem(response, reason)
        assert gateway.roads.delivered == []

    run(test, GatewaySettings(body_bytes_max=1024))


def test_a_tenant_over_its_rate_waits_and_the_other_does_not() -> None:
    """429 with Retry-After; after that time there is room again."""

    async def test(gateway: Served) -> None:
        for _ in range(2):
            async with gateway.post(TEXT) as response:
                assert response.status == 202
        async with gateway.post(TEXT) as response:
            await problem(response, "too_many_requests")
            wait = int(response.headers["Retry-After"])
        async with gateway.post(TEXT, tenant="globex") as response:
            assert response.status == 202
        gateway.clock.now_s += wait
        async with gateway.post(TEXT) as response:
            assert response.status == 202

    run(test, GatewaySettings(rate_per_s_max=2))


def test_requests_in_flight_are_bounded() -> None:
    """The request over the bound is told to come again; those in hand are served."""

    async def test(gateway: Served) -> None:
        gateway.roads.hold = asyncio.Event()
        first = asyncio.create_task(gateway.post(TEXT).__aenter__())
        await until(lambda: gateway.guard.in_flight == 1)
        async with gateway.post(TEXT) as response:
            await problem(response, "busy")
        async with gateway.request("GET", "/healthz", tenant="") as response:
            assert response.status == 200
        gateway.roads.hold.set()
        assert (await first).status == 202

    run(test, GatewaySettings(requests_in_flight_max=1))


def test_half_of_the_places_are_for_those_who_do_not_wait() -> None:
    """A waiting request over that share is accepted without waiting."""

    async def test(gateway: Served) -> None:
        waits = {"Prefer": "wait=30"}
        first = asyncio.create_task(gateway.post({"text": "a"}, headers=waits).__aenter__())
        await until(lambda: not gateway.guard.may_wait("acme"))
        async with gateway.post({"text": "b"}, headers=waits) as response:
            assert response.status == 202
            assert "Preference-Applied" not in response.headers
        gateway.api.leave()
        assert (await first).status == 202

    run(test, GatewaySettings(requests_in_flight_max=2))


def test_one_tenant_that_waits_leaves_others_their_wait() -> None:
    """Half of those that wait at most are of one tenant; the other's case takes the interactive lane."""

    async def test(gateway: Served) -> None:
        def post(number: int, tenant: str) -> asyncio.Task[ClientResponse]:
            asked = gateway.post({"text": str(number)}, tenant=tenant, headers={"Prefer": "wait=30"})
            return asyncio.create_task(asked.__aenter__())

        kept = []
        for number in range(2):
            kept.append(post(number, "acme"))
            await until(lambda: gateway.guard._waiting.total() == len(kept))
        over = await post(2, "acme")
        assert over.status == 202
        assert "Preference-Applied" not in over.headers
        kept.append(post(3, "globex"))
        await until(lambda: gateway.guard._waiting.total() == len(kept))
        lanes = [gateway.codec.decode(out.value, DocumentReceived).lane for out in gateway.roads.delivered]
        assert lanes == ["interactive", "interactive", "bulk", "interactive"]
        gateway.api.leave()
        assert {(await one).status for one in kept} == {202}
        await until(lambda: not gateway.guard._waiting)

    run(test, GatewaySettings(requests_in_flight_max=8))


def test_a_tenant_that_sends_all_at_once_waits_with_no_more_than_its_share() -> None:
    """A place is taken when it is given, and not when the broker has the case."""

    async def test(gateway: Served) -> None:
        gateway.roads.hold = asyncio.Event()
        waits = {"Prefer": "wait=30"}
        sent = [
            asyncio.create_task(gateway.post({"text": str(number)}, headers=waits).__aenter__()) for number in range(4)
        ]
        await until(lambda: gateway.guard.in_flight == len(sent))
        gateway.roads.hold.set()
        await until(lambda: len(gateway.roads.delivered) == len(sent))
        lanes = [gateway.codec.decode(out.value, DocumentReceived).lane for out in gateway.roads.delivered]
        assert sorted(lanes) == ["bulk", "bulk", "interactive", "interactive"]
        gateway.api.leave()
        assert {(await one).status for one in sent} == {202}

    run(test, GatewaySettings(requests_in_flight_max=8))


def test_a_gateway_that_leaves_answers_those_in_hand_and_refuses_the_rest() -> None:
    """Who waits is answered at once with what is known."""

    async def test(gateway: Served) -> None:
        waiting = asyncio.create_task(gateway.post(TEXT, headers={"Prefer": "wait=30"}).__aenter__())
        await until(lambda: bool(gateway.roads.delivered))
        gateway.api.leave()
        assert (await waiting).status == 202
        async with gateway.post(TEXT) as response:
            await problem(response, "stopping")
        async with gateway.request("GET", "/readyz", tenant="") as response:
            assert response.status == 503

    run(test)


def test_a_body_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """408, and the place is free again; whoever left in the middle of it holds up no stop."""
    monkeypatch.setattr("aios.streams.http.guard.BODY_S_MAX", 0.05)
    monkeypatch.setattr("aios.streams.http.serve.LINGER_S", 0.1)

    async def test(gateway: Served) -> None:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/workflows/document.triage/cases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer aios_acme-key\r\nContent-Length: 100\r\n\r\n{"
        )
        assert b" 408 " in await reader.readline()
        writer.close()
        assert gateway.guard.in_flight == 0
        ended.append(time.monotonic())

    ended: list[float] = []
    run(test)
    assert time.monotonic() - ended[0] < 5


@pytest.mark.parametrize(
    ("path", "key"),
    [("/v1/workflows/document.triage/cases", "Authorization: Bearer aios_acme-key\r\n"), ("/v1/hooks/shop", "")],
    ids=["of a tenant", "of whoever knows a hook"],
)
def test_bodies_that_do_not_come_take_half_of_the_places(path: str, key: str) -> None:
    """Whoever sends many at once and slowly is told so; others are served meanwhile, and they too when one has come."""

    async def test() -> None:
        shop = EndpointSettings.model_construct(url="", tenant="acme", secret="")
        async with (
            asyncio.timeout(20),
            served(GatewaySettings(requests_in_flight_max=4), endpoints={"shop": shop}) as gateway,
        ):
            host, port = gateway.url.removeprefix("http://").split(":")
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\n{key}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
            )
            slow = []
            for _ in range(2):
                slow.append(await asyncio.open_connection(host, int(port)))
                slow[-1][1].write(head.encode())
                await until(lambda: gateway.guard.in_flight == len(slow))
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode())
            assert b" 429 " in await reader.readline()
            for _ in range(3):
                async with gateway.post(TEXT, tenant="globex") as response:
                    assert response.status == 202
            for _, one in (*slow, (reader, writer)):
                one.close()
            await until(lambda: gateway.guard.in_flight == 0)
            assert not gateway.guard._bodies

    asyncio.run(test())


def test_what_breaks_inside_is_not_told_outside(caplog: pytest.LogCaptureFixture) -> None:
    """500 without the error's text; the log names the place and not the payload."""

    async def test(gateway: Served) -> None:
        async def broken(*_: object) -> None:
            raise ValueError("secret payload")

        gateway.outcomes.note_accepted = broken  # type: ignore[method-assign]  # of a fake
        async with gateway.post(TEXT) as response:
            body = await problem(response, "internal")
        assert "secret" not in json.dumps(body)
        assert "secret" not in caplog.text
        assert "ValueError at" in caplog.text

    run(test)


def test_metrics_count_what_happened() -> None:
    """Durations by route and status, refusals by reason; no tenant, no case; none of it on the server's own port."""

    async def test(gateway: Served) -> None:
        async with gateway.post(TEXT) as response:
            case_id = (await response.json())["case_id"]
        async with gateway.post({}) as response:
            await problem(response, "invalid_body")
        async with gateway.request("GET", "/metrics", tenant="") as response:
            await problem(response, "not_found")
        text = generate_latest().decode()
        assert 'route="/v1/workflows/{workflow}/cases",status="202"' in text
        assert 'aios_http_rejected_total{reason="invalid_body"}' in text
        assert case_id not in text
        assert "acme" not in text

    run(test)


def test_the_openapi_document_is_what_is_served() -> None:
    """Every route and no other; bodies are those that are validated; every refusal is of the closed list."""

    async def test(gateway: Served) -> None:
        async with gateway.request("GET", "/openapi.json", tenant="") as response:
            document = await response.json()
        served_routes = {
            (route.method.lower(), route.resource.canonical)
            for route in gateway.api.app().router.routes()
            if route.resource is not None
        }
        told = {(method, path) for path, operations in document["paths"].items() for method in operations}
        assert told == served_routes
        post = document["paths"]["/v1/workflows/{workflow}/cases"]["post"]
        assert set(post["parameters"][0]["schema"]["enum"]) >= {"document.triage", "kyc.review"}
        body = document["components"]["schemas"]["DocumentReceived"]
        assert body["required"] == ["text"]
        assert body["additionalProperties"] is False
        assert body["properties"]["text"]["maxLength"] == 200_000
        assert {"401", "409", "413", "422", "429", "503"} <= post["responses"].keys()
        assert post["security"] == [{"apiKey": []}]
        assert "security" not in document["paths"]["/healthz"]["get"]
        for reference in _references(document):
            assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]

    run(test)


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [each for value in part.values() for each in _references(value)]
    return [each for value in part for each in _references(value)] if isinstance(part, list) else []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(math.inf) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["text", "label", "reviewer"]), inner),
)
TOLD = JSON.map(lambda value: {"kind": "paid", "body": {"amount": value}})
BODIES = (JSON | TOLD).map(json.dumps) | TOLD.map(lambda told: json.dumps(told).replace("Infinity", "1e400"))
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/v1/workflows/document.triage/cases", "/v1/reviews/t1/decision", "/v1/cases/c1/events"]),
            st.binary(max_size=200) | BODIES.map(str.encode),
            TEXTS,
            TEXTS,
        ),
        min_size=5,
        max_size=5,
    )
)
def test_no_request_makes_the_gateway_fail(requests: list[tuple[str, bytes, str, str]]) -> None:
    """Any body, key and preference: accepted, or refused as the caller's fault."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks["t1"] = TASK
        gateway.outcomes.cases["c1"] = CaseView(case_id="c1", tenant="acme", status="booked")
        for path, body, key, prefer in requests:
            headers = {"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": prefer}
            who = "ada" if path.endswith("decision") else ""
            async with gateway.request("POST", path, principal=who, data=body, headers=headers) as response:
                assert response.status in (202, 400, 409, 422)

    run(test)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "expectation_failed"),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "expectation_failed"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\0aios_acme-key\r\n\r\n", "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "bad_request"),
    ],
    ids=["expects what nobody knows", "and of no route", "a header that is none", "TLS"],
)
def test_what_never_comes_to_a_route_is_a_problem_too(sent: bytes, reason: str) -> None:
    """Of the closed list, and without a word of what came."""

    async def test(gateway: Served) -> None:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert f" {REASONS[reason]} " in head.partition("\r\n")[0]
        assert "content-type: application/problem+json" in head
        said = json.loads(await reader.readexactly(int(head.partition("content-length: ")[2].split()[0])))
        assert said["type"] == f"urn:aios:problem:{reason}"
        assert "aios_acme-key" not in json.dumps(said)
        writer.close()

    run(test)
