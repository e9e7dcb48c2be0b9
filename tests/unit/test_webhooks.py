"""Signed webhooks: in at the gateway, and the signature itself."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aios.schemas.models import CaseTold
from aios.streams import signing
from aios.streams.config import EndpointSettings
from aios.streams.deployments import MIGRATED
from aios.streams.errors import ConfigError
from aios.streams.outcome_views import CaseView
from tests.fakes.gateway import served

SECRET = "a-secret-of-more-than-24-bytes"
NOW = 1_700_000_000


@given(st.binary(max_size=200), st.text("abc123-_", min_size=1, max_size=40), st.integers(-400, 400))
def test_what_was_signed_is_believed_for_a_while_and_nothing_else(body: bytes, name: str, late_s: int) -> None:
    headers = signing.signed(SECRET, name, NOW, body)
    assert (signing.refusal(SECRET, headers, body, NOW + late_s) == "") == (abs(late_s) <= signing.TOLERANCE_S)
    assert signing.refusal(SECRET, headers, body + b" ", NOW)
    assert signing.refusal(SECRET + "x", headers, body, NOW)
    assert signing.refusal(SECRET, {**headers, signing.ID: name + "x"}, body, NOW)
    assert signing.refusal(SECRET, {**headers, signing.AT: str(NOW + 1)}, body, NOW)


@given(st.dictionaries(st.sampled_from([signing.ID, signing.AT, signing.SIGNATURE]), st.text(max_size=60)))
def test_headers_of_anybody_are_refused_and_break_nothing(headers: dict[str, str]) -> None:
    assert signing.refusal(SECRET, headers, b"{}", NOW)


def test_a_copied_message_is_no_new_one_under_a_second_id() -> None:
    """A header that stands there twice would be one id for the signature and another for whoever tells repeats."""
    headers = CIMultiDict(signing.signed(SECRET, "m", NOW, b"{}"))
    assert signing.refusal(SECRET, headers, b"{}", NOW) == ""
    for name in (signing.ID, signing.AT, signing.SIGNATURE):
        twice = CIMultiDict([(name.title(), "other"), *headers.items()])
        assert signing.refusal(SECRET, twice, b"{}", NOW) == f"it has more than one {name}"


def test_a_signature_of_bytes_that_are_no_text_is_refused() -> None:
    headers = {**signing.signed(SECRET, "m", NOW, b"{}"), signing.SIGNATURE: "v1,\udcff"}
    assert signing.refusal(SECRET, headers, b"{}", NOW) == "its signature is not ours"


def test_it_is_the_signature_of_standard_webhooks() -> None:
    """The example of the specification's libraries: secret, id, time, body and signature."""
    headers = signing.signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers[signing.SIGNATURE] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("hears", "kind", "status", "says"),
    [
        (["changed", "paid"], "changed", 202, ""),
        (["changed", "paid"], "chnged", 409, "it can be told changed, paid; now it is at step book (booking)"),
        ([], "changed", 409, "it waits for no event at any step"),
        (None, "chnged", 202, ""),  # admitted before plan said what it can be told
        (["changed"], MIGRATED, 202, ""),  # what an operator does to any case
    ],
)
def test_a_case_is_told_only_what_one_of_its_waits_asks_for(
    hears: list[str] | None, kind: str, status: int, says: str
) -> None:
    """Whoever mistypes a kind hears at once that nobody waits for it, and what this case can be told."""

    async def ask() -> None:
        async with served() as gateway:
            gateway.outcomes.cases["c1"] = CaseView(
                case_id="c1",
                tenant="acme",
                status="booking",
                step="book",
                hears=None if hears is None else tuple(hears),
            )
            body = {"kind": kind, "body": {}}
            async with gateway.request("POST", "/v1/cases/c1/events", principal="opa", json=body) as response:
                assert response.status == status
                assert says in (await response.json()).get("detail", "")
            assert len(gateway.roads.delivered) == (status == 202)

    asyncio.run(ask())


def test_while_secrets_change_one_signature_that_fits_is_enough() -> None:
    old, new = signing.signed(SECRET, "m", NOW, b"{}"), signing.signed(SECRET + "2", "m", NOW, b"{}")
    both = {**new, signing.SIGNATURE: f"{new[signing.SIGNATURE]} {old[signing.SIGNATURE]}"}
    assert signing.refusal(SECRET, both, b"{}", NOW) == ""


@pytest.mark.parametrize("secret", ["short", "whsec_" + base64.b64encode(b"short").decode(), "whsec_*"])
def test_a_secret_that_guards_nothing_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        signing.signed(secret, "m", NOW, b"")
    assert secret not in str(refused.value)


@pytest.fixture
def endpoints(tmp_path: Path) -> dict[str, EndpointSettings]:
    (tmp_path / "secret").write_text(SECRET)
    return {"claims": EndpointSettings(tenant="acme", secret=f"file:{tmp_path / 'secret'}")}


CASE = CaseView(case_id="case-1", tenant="acme", workflow="w", status="booked", hears=("meeting_changed",))
SAID = {"case_id": "case-1", "kind": "meeting_changed", "body": {"slot": "10:00"}}


def hook(
    endpoints: dict[str, EndpointSettings], said: Any, changed: dict[str, str], name: str = "claims", times: int = 1
) -> Any:
    """Statuses, and what the case was told."""

    async def work() -> tuple[list[int], list[CaseTold]]:
        async with served(endpoints=endpoints) as gateway:
            gateway.outcomes.cases["case-1"] = CASE
            gateway.outcomes.cases["case-2"] = CaseView(case_id="case-2", tenant="globex", workflow="w", status="open")
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            headers = {**signing.signed(SECRET, "m-1", int(time.time()), body), "Content-Type": "application/json"}
            statuses = []
            for _ in range(times):
                async with gateway.request(
                    "POST", f"/v1/hooks/{name}", tenant="", data=body, headers={**headers, **changed}
                ) as answer:
                    statuses.append(answer.status)
            told = [gateway.codec.decode(out.value, CaseTold) for out in gateway.roads.delivered]
            return statuses, told

    return asyncio.run(work())


def test_a_signed_message_tells_the_case_once_however_often_it_comes(endpoints: dict[str, EndpointSettings]) -> None:
    statuses, told = hook(endpoints, SAID, {}, times=2)
    assert statuses == [202, 202]
    assert len({one.event_id for one in told}) == 1
    assert (told[0].case_id, told[0].tenant, told[0].kind, told[0].by) == (
        "case-1",
        "acme",
        "meeting_changed",
        "webhook:claims",
    )
    assert json.loads(told[0].body) == {"slot": "10:00"}


def test_a_secret_that_is_not_there_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The sender comes again, and meanwhile a person knows what to put right."""
    endpoint = EndpointSettings(tenant="acme", secret="env:NOT_SET_ANYWHERE")
    statuses, told = hook({"claims": endpoint}, SAID, {})
    assert (statuses, told) == ([503], [])
    assert "NOT_SET_ANYWHERE is not set" in caplog.text


def test_a_hook_may_tell_what_nobody_waits_for(endpoints: dict[str, EndpointSettings]) -> None:
    """Who posts all his events to one address would be refused for some, and might stop; plan passes it over."""
    statuses, told = hook(endpoints, {**SAID, "kind": "invoice_paid"}, {})
    assert (statuses, [one.kind for one in told]) == ([202], ["invoice_paid"])


@pytest.mark.parametrize(
    ("said", "changed", "name", "status"),
    [
        (SAID, {"webhook-signature": "v1,bm90aGluZw=="}, "claims", 401),
        (SAID, {"webhook-id": "m-2"}, "claims", 401),
        (SAID, {"webhook-timestamp": "1"}, "claims", 401),
        (b'{"case_id":"case-1","kind":"meeting_changed","body":{"a":1e400}}', {}, "claims", 400),
        (SAID, {}, "nobody", 401),
        ({**SAID, "case_id": "case-2"}, {}, "claims", 404),
        ({**SAID, "case_id": "case-3"}, {}, "claims", 404),
        ({**SAID, "more": 1}, {}, "claims", 422),
        ({**SAID, "kind": "workflow_migrated"}, {}, "claims", 422),
    ],
)
def test_whatever_is_not_believed_tells_nobody_anything(
    said: Any, changed: dict[str, str], name: str, status: int, endpoints: dict[str, EndpointSettings]
) -> None:
    """Another's signature, another endpoint, another tenant's case, what only operators say."""
    statuses, told = hook(endpoints, said, changed, name)
    assert (statuses, told) == ([status], [])


def test_what_decided_a_case_may_come_again(endpoints: dict[str, EndpointSettings]) -> None:
    """The sender did not hear the answer: a repeat is the same, also when the case is decided by it; no other is."""

    async def work() -> None:
        async with served(endpoints=endpoints) as gateway:
            gateway.outcomes.cases["case-1"] = CASE

            async def send(name: str) -> tuple[int, Any]:
                body = json.dumps(SAID).encode()
                headers = {**signing.signed(SECRET, name, int(time.time()), body), "Content-Type": "application/json"}
                async with gateway.request("POST", "/v1/hooks/claims", tenant="", data=body, headers=headers) as answer:
                    return answer.status, await answer.json()

            first = await send("m-1")
            gateway.outcomes.cases["case-1"] = replace(CASE, status="decided", decided_at=1)
            gateway.outcomes.timelines["case-1"] = [
                {"transition": "admitted", "detail": {}},
                {"transition": "told", "detail": {"event_id": first[1]["event_id"]}},
            ]
            assert await send("m-1") == first == (202, first[1])
            assert len(gateway.roads.delivered) == 1
            status, said = await send("m-2")
            assert (status, said["type"]) == (409, "urn:aios:problem:already_decided")
            assert len(gateway.roads.delivered) == 1

    asyncio.run(work())
