"""JSON over HTTP against a real server: statuses, broken answers, cuts, and what travels."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aios.processors.connectors import http, registry, webhook
from aios.processors.connectors.connector import TOO_LARGE, Ask, CallFailed, Failure, Setup
from aios.processors.connectors.http import Http
from aios.processors.connectors.webhook import Message, Webhook
from aios.streams import installed, signing, system_files
from aios.streams.config import ConnectorsSettings, EndpointSettings, Settings
from aios.streams.errors import ConfigError
from aios.streams.part import FIELD_TYPE
from aios.streams.system_files import Effect, Goal, Limits, System

ASK = Ask(request_id="r", idempotency_key="key/1", tenant="acme", case_id="c", deadline_s=2.0)
SECRET = "a-secret-of-more-than-24-bytes"


def system(**changed: Any) -> System:
    fields: dict[str, Any] = {
        "system": "bank",
        "does": "books",
        "connector": "http",
        "limits": Limits(answer_bytes_max=2_000),
        "operations": {
            "book": system_files.Http(
                path="/accounts/{account}/bookings",
                request={"account": "text", "amount": "number", "note": "text?"},
                response={"booking": "text"},
                effects=(Effect.RECONCILED, Effect.AT_LEAST_ONCE),
                done="/bookings/{idempotency_key}",
            ),
        },
        "objective": Goal(p95_ms=1000),
    }
    return System(**fields | changed)


Answer = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def against(
    answer: Answer, tmp_path: Path, *, token: bool = False, asked: System | None = None
) -> AsyncIterator[tuple[Http, list[Any]]]:
    """The connector, and what the server saw."""
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.raw_path, dict(request.headers), await request.text()))
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    server = TestServer(app)
    await server.start_server()
    (tmp_path / "token").write_text("t0ken\n")
    secrets = {"bank": {"token": f"file:{tmp_path / 'token'}"}} if token else {}
    options = {"bank": {"url": str(server.make_url("/"))}}
    settings = Settings(connectors=ConnectorsSettings(options=options, secrets=secrets))
    connector = registry.connector(asked or system(), settings)
    assert isinstance(connector, Http)
    await connector.open()
    try:
        yield connector, seen
    finally:
        await connector.close()
        await server.close()


def call(answer: Answer, tmp_path: Path, *, asks: str = "call", token: bool = False) -> tuple[Any, list[Any]]:
    """The response, None, or how the connector classifies what it raised."""

    async def work() -> tuple[Any, list[Any]]:
        async with against(answer, tmp_path, token=token) as (connector, seen):
            request = connector.operations["book"].request(account="a b/c", amount=5)
            try:
                return await getattr(connector, asks)("book", request, ASK), seen
            except Exception as error:  # noqa: BLE001 - that is what is asked for
                return (connector.classify(error), error), seen

    return asyncio.run(work())


def booked(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"booking": "b-1", "more": "than was declared"})


def test_what_travels_is_the_request_its_key_and_the_token(tmp_path: Path) -> None:
    response, ((method, path, headers, body),) = call(booked, tmp_path, token=True)
    assert response.booking == "b-1"
    assert (method, path, body) == ("POST", "/accounts/a%20b%2Fc/bookings", '{"amount":5.0}')
    assert headers["Idempotency-Key"] == ASK.idempotency_key
    assert headers["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_an_address_says_is_what_json_would_say(method: str, tmp_path: Path) -> None:
    """A flag is true or false, in the path too; of a list each text by itself; what is missing is left out."""
    fields = {"open": "flag", "tags": "texts", "active": "flag", "amount": "whole?", "note": "text?"}
    find = system_files.Http.model_validate({"method": method, "path": "/accounts/{open}", "request": fields})

    async def work() -> list[Any]:
        async with against(booked, tmp_path, asked=system(operations={"find": find})) as (connector, seen):
            request = connector.operations["find"].request(open=False, tags=["a b", "c&d"], active=True, amount=5)
            await connector.call("find", request, ASK)
            return seen

    ((_, path, headers, body),) = asyncio.run(work())
    assert (path, body) == ("/accounts/false?tags=a+b&tags=c%26d&active=true&amount=5", "")
    assert "Content-Type" not in headers


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (401, Failure.TRANSIENT),
        (429, Failure.TRANSIENT),
        (503, Failure.TRANSIENT),
        (500, Failure.AMBIGUOUS),
        (502, Failure.AMBIGUOUS),
        (409, Failure.REFUSED),
        (422, Failure.REFUSED),
        (400, Failure.PERMANENT),
        (404, Failure.PERMANENT),
        (302, Failure.PERMANENT),
    ],
)
def test_a_status_says_whether_it_was_done(status: int, failure: Failure, tmp_path: Path) -> None:
    def refused(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="a secret word", headers={"Retry-After": "7", "Location": "/x"})

    (found, error), _ = call(refused, tmp_path)
    assert found is failure
    assert isinstance(error, CallFailed)
    assert "secret word" not in str(error)
    assert error.again_after_s == (7.0 if status in (401, 429, 503, 500, 502) else 0.0)


@pytest.mark.parametrize("text", ["<html>", "", "[]", '{"booking": 5', '{"other": "x"}', '{"booking": {}}'])
def test_an_answer_that_does_not_fit_may_have_been_done(text: str, tmp_path: Path) -> None:
    """A gateway's page, half a body."""
    (found, _), _ = call(lambda _request: web.Response(text=text, content_type="application/json"), tmp_path)
    assert found is Failure.AMBIGUOUS


@pytest.mark.parametrize(
    "said",
    ['{"score": NaN}', '{"score": 1e999}', '{"said": "\\ud800"}', '{"more": {"a": "\\ud800"}}']
    + [f'{{"more": {{"a": {"[" * levels}{"]" * levels}}}}}' for levels in (300, 900, 50_000)],
    ids=["nan", "infinite", "half", "half-inside", "deep", "deeper", "endless"],
)
def test_an_answer_that_no_record_can_hold_is_a_broken_one(said: str, tmp_path: Path) -> None:
    """It is the system's mistake: taken for one of ours, its partition would stop over a few of them."""
    fields = {"score": "number?", "said": "text?", "more": "object?"}
    operations = {"book": system_files.Http.model_validate({"path": "/book", "response": fields})}
    asked = system(operations=operations, limits=Limits(answer_bytes_max=200_000))

    def strange(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=said, content_type="application/json")

    async def work() -> None:
        async with against(strange, tmp_path, asked=asked) as (connector, _):
            await connector.call("book", connector.operations["book"].request(), ASK)

    with pytest.raises(CallFailed, match="answer_broken"):
        asyncio.run(work())


@pytest.mark.parametrize("asks", ["call", "done"])
@pytest.mark.parametrize("status", [200, 204])
def test_an_answer_without_a_body_is_one_where_no_field_is_asked_for(status: int, asks: str, tmp_path: Path) -> None:
    """Taken for a broken one, what was done would be done again until the deadline, and the circuit open meanwhile."""
    hold = {
        "method": "PUT",
        "path": "/hold",
        "response": {"until": "text?"},
        "effects": ["reconciled"],
        "done": "/hold",
    }
    operations = {"hold": system_files.Http.model_validate(hold)}

    def bare(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async def work() -> Any:
        async with against(bare, tmp_path, asked=system(operations=operations)) as (connector, _):
            return await getattr(connector, asks)("hold", connector.operations["hold"].request(), ASK)

    assert asyncio.run(work()).model_dump() == {"until": None}


def test_an_answer_over_the_bound_is_not_read_on(tmp_path: Path) -> None:
    """Nor tried again; whether it was done says its status."""
    for status, was_done in ((201, True), (400, False)):

        def answers(_request: web.Request, status: int = status) -> web.Response:
            return web.json_response({"booking": "x" * 5_000}, status=status)

        (found, error), _ = call(answers, tmp_path)
        assert (found, error.word, error.was_done) == (Failure.PERMANENT, TOO_LARGE, was_done)


def test_a_cut_connection_may_have_been_done_and_a_closed_port_was_not(tmp_path: Path) -> None:
    def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    (found, _), _ = call(cut, tmp_path)
    assert found is Failure.AMBIGUOUS

    async def closed() -> Failure:
        settings = Settings(connectors=ConnectorsSettings(options={"bank": {"url": "http://127.0.0.1:9"}}))
        connector = registry.connector(system(), settings)
        await connector.open()
        try:
            await connector.call("book", connector.operations["book"].request(account="a", amount=1), ASK)
        except Exception as error:  # noqa: BLE001 - that is what is asked for
            return connector.classify(error)
        finally:
            await connector.close()
        raise AssertionError

    assert asyncio.run(closed()) is Failure.TRANSIENT


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_a_request_whose_connection_is_lost_is_sent_once(method: str, tmp_path: Path) -> None:
    """Whether it may be sent again is for its effect to say: aiohttp would, for all of these but POST."""

    def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    told = system_files.Http.model_validate({"method": method, "path": "/book", "effects": ("at_most_once",)})

    async def work() -> tuple[Failure, list[Any]]:
        async with against(cut, tmp_path, asked=system(operations={"book": told})) as (connector, seen):
            with pytest.raises(Exception) as raised:  # noqa: PT011 - how it is judged is what is asked for
                await connector.call("book", connector.operations["book"].request(), ASK)
            return connector.classify(raised.value), seen

    failure, seen = asyncio.run(work())
    assert (failure, len(seen)) == (Failure.AMBIGUOUS, 1)


def test_an_address_that_is_none_is_told_before_anything_is_asked() -> None:
    """While it is not put right commands wait, and none is answered as perhaps done."""
    settings = Settings(connectors=ConnectorsSettings(options={"bank": {"url": "bank.example.org/api"}}))
    with pytest.raises(ConfigError, match=r"connectors\.options\.bank\.url begins with http"):
        registry.connector(system(), settings)


def test_a_token_of_several_lines_keeps_commands_waiting(tmp_path: Path) -> None:
    """Until a person puts it right: it is no fault of the records."""

    async def work() -> tuple[Failure, list[Any]]:
        async with against(booked, tmp_path, token=True) as (connector, seen):
            (tmp_path / "token").write_text("t0ken\nold-t0ken\n")
            request = connector.operations["book"].request(account="a", amount=1)
            with pytest.raises(Exception, match="several lines") as raised:
                await connector.call("book", request, ASK)
            return connector.classify(raised.value), seen

    assert asyncio.run(work()) == (Failure.TRANSIENT, [])


@pytest.mark.parametrize("who", ["http", "webhook"])
def test_a_name_that_nobody_resolves_is_no_connection(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that is silent: nothing was sent, so nothing can have been done."""

    async def silent(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(aiohttp.connector.DefaultResolver, "resolve", silent)
    monkeypatch.setattr(http, "CONNECT_S_MAX", 0.1)
    monkeypatch.setattr(webhook, "CONNECT_S_MAX", 0.1)
    (tmp_path / "s").write_text(SECRET)
    url = "http://bank.example.org/in"
    endpoint = EndpointSettings(tenant="acme", secret=f"file:{tmp_path / 's'}", url=url)
    settings = Settings(connectors=ConnectorsSettings(options={"bank": {"url": url}}, endpoints={"claims": endpoint}))

    async def work() -> Failure:
        connector: Any
        if who == "http":
            connector = registry.connector(system(), settings)
            asked = "book", connector.operations["book"].request(account="a", amount=1)
        else:
            connector = Webhook(Setup(system=installed.systems()["webhook"], settings=settings, options={}))
            asked = "send", Message(endpoint="claims", kind="x", body={})
        await connector.open()
        try:
            async with asyncio.timeout(ASK.deadline_s):
                await connector.call(*asked, ASK)
        except Exception as error:  # noqa: BLE001 - that is what is asked for
            return Failure(connector.classify(error))
        finally:
            await connector.close()
        raise AssertionError

    assert asyncio.run(work()) is Failure.TRANSIENT


@pytest.mark.parametrize(("status", "is_done"), [(200, True), (404, False)])
def test_whether_it_was_done_is_asked_by_the_key(status: int, is_done: bool, tmp_path: Path) -> None:
    found, ((method, path, _, _),) = call(
        lambda _request: web.json_response({"booking": "b-1"}, status=status), tmp_path, asks="done"
    )
    assert (method, path) == ("GET", "/bookings/key%2F1")
    assert (found is not None) is is_done


BANK = """
system: bank
does: books
connector: http
objective: {p95_ms: 1}
operations:
  book:
    path: /accounts/{account}
    request: {account: text}
    response: {booking: text}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            "{account}",
            "{acount}",
            "8:5: operations.book: /accounts/{acount} names acount, which its request",
        ),
        ("{account}", "{acount}", "did you mean account? (allowed here: account, idempotency_key)"),
        (
            "account: text",
            "account: texts!",
            "9:15: operations.book.request.account: 'texts!' does not fit here",
        ),
        (
            "booking: text",
            "booking: date",
            "10:16: operations.book.response.booking: 'date' does not fit here",
        ),
        (
            "account: text",
            "account: texts",
            "9:5: operations.book: account is texts, which cannot stand in a path (allowed",
        ),
        (
            "request: {account: text}",
            'method: GET\n    request: {account: text, who: "object?"}',
            "10:5: operations.book: who is object, which cannot stand in the address of a GET (allowed here: text,",
        ),
        ("response", "reponse", "10:5: operations.book: unknown key reponse; did you mean response? (allowed here:"),
        ("  book", "  bookIt", "7:3: operations.bookIt"),
        ("path: ", "effects: [reconciled]\n    path: ", "7:3: operations.book: effects: reconciled needs `done`"),
        ("path: ", "effects: [none, reconciled]\n    path: ", "7:3: operations.book: effects: reconciled needs `done`"),
        ("does", "secrets: {token: hunter2}\ndoes", "3:11: secrets.token: this does not fit here (allowed here: where"),
        ("does", "does: twice\ndoes", "4:1: the key does stands here a second time"),
        ("does: books", "does: [", "5:10: "),
        ("system: bank", "system: bench", "2:1: system: the file is named after its system, and this one is bank.yaml"),
        ("p95_ms: 1", "p95_ms: 1s", "5:13: objective.p95_ms: "),
    ],
)
def test_a_mistake_in_a_file_has_its_line_and_column(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    """And a hint; a secret that stands there is not repeated."""
    path = tmp_path / "bank.yaml"
    path.write_text(BANK.replace(right, wrong, 1))
    with pytest.raises(ConfigError) as caught:
        system_files.read(tmp_path)
    assert str(caught.value).startswith(f"{path}:")
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_type_that_a_file_may_name_is_served() -> None:
    """The reader refuses the others, so who makes the operations of it knows all of these."""
    fields = {name: f"{name}?" for name in http.KINDS}
    made = http.operations_of(system(operations={"book": system_files.Http(path="/x", response=fields)}))
    assert set(made["book"].response.model_fields) == set(fields)
    (named,) = re.findall(r"\((.*)\)", FIELD_TYPE)
    assert named.split("|") == list(http.KINDS)


def test_every_shipped_system_has_a_connector_with_operations() -> None:
    for name, shipped in installed.systems().items():
        operations = registry.operations(name)
        assert operations
        for operation in operations.values():
            assert operation.effects
            assert operation.request.model_config.get("extra") == "forbid"
        assert shipped.connector in registry.CONNECTORS


def test_a_webhook_is_signed_and_reaches_its_tenants_endpoint_alone(tmp_path: Path) -> None:
    """A receiver verifies it; another tenant's case, and an endpoint that is not there, reach nobody."""
    seen: list[tuple[dict[str, str], bytes]] = []

    async def work() -> list[Any]:
        async def take(request: web.Request) -> web.Response:
            seen.append((dict(request.headers), await request.read()))
            return web.Response(status=(200, 503, 410)[len(seen) - 1])

        app = web.Application()
        app.router.add_post("/in", take)
        server = TestServer(app)
        await server.start_server()
        (tmp_path / "s").write_text(SECRET)
        endpoint = EndpointSettings(tenant="acme", secret=f"file:{tmp_path / 's'}", url=str(server.make_url("/in")))
        settings = Settings(connectors=ConnectorsSettings(endpoints={"claims": endpoint}))
        shipped = installed.systems()["webhook"]
        hooks = Webhook(Setup(system=shipped, settings=settings, options={}))
        await hooks.open()
        ends: list[Any] = []
        for name, tenant in (
            ("claims", "acme"),
            ("claims", "acme"),
            ("claims", "acme"),
            ("claims", "globex"),
            ("x", "acme"),
        ):
            ask = Ask(request_id="r", idempotency_key="k", tenant=tenant, case_id="c", deadline_s=2.0)
            try:
                await hooks.call("send", Message(endpoint=name, kind="case.decided", body={"a": 1}), ask)
                ends.append("ok")
            except CallFailed as error:
                ends.append(hooks.classify(error))
        await hooks.close()
        await server.close()
        return ends

    ends = asyncio.run(work())
    assert ends == ["ok", Failure.AMBIGUOUS, Failure.REFUSED, Failure.PERMANENT, Failure.PERMANENT]
    for headers, body in seen:
        at_s = int({name.lower(): value for name, value in headers.items()}[signing.AT])
        assert signing.refusal(SECRET, headers, body, at_s) == ""
    assert len({body for _, body in seen}) == 1


@pytest.mark.parametrize("account", ["", ".", ".."])
def test_a_field_names_no_other_place_than_its_own(account: str, tmp_path: Path) -> None:
    """`/accounts/../bookings` would be `/bookings`: nothing is sent."""

    async def work() -> tuple[Any, list[Any]]:
        async with against(booked, tmp_path) as (connector, seen):
            try:
                return await connector.call(
                    "book", connector.operations["book"].request(account=account, amount=5), ASK
                ), seen
            except CallFailed as error:
                return error, seen

    error, seen = asyncio.run(work())
    assert (error.failure, error.word, seen) == (Failure.PERMANENT, "request_broken", [])


def test_what_one_tenant_is_given_as_a_cookie_is_not_sent_for_another(tmp_path: Path) -> None:
    async def work() -> list[Any]:
        def given(_request: web.Request) -> web.StreamResponse:
            answer = web.json_response({"booking": "b-1"})
            answer.set_cookie("session", "of-acme")
            return answer

        async with against(given, tmp_path) as (connector, seen):
            connector._url = connector._url.replace("127.0.0.1", "localhost")  # addresses get no cookies
            for _ in range(2):
                await connector.call("book", connector.operations["book"].request(account="a", amount=5), ASK)
            return seen

    assert all("Cookie" not in headers for _, _, headers, _ in asyncio.run(work()))


def test_an_endpoint_without_its_secret_says_nothing_of_the_others(tmp_path: Path) -> None:
    """Its messages wait until somebody puts it there; the circuit of all tenants' webhooks stays closed."""

    async def work(secret: str) -> Exception:
        endpoint = EndpointSettings(tenant="acme", secret=secret, url="http://127.0.0.1:9/in")
        settings = Settings(connectors=ConnectorsSettings(endpoints={"claims": endpoint}))
        hooks = Webhook(Setup(system=installed.systems()["webhook"], settings=settings, options={}))
        await hooks.open()
        try:
            await hooks.call("send", Message(endpoint="claims", kind="x", body={}), ASK)
        except Exception as error:  # noqa: BLE001 - that is what is asked for
            return error
        finally:
            await hooks.close()
        raise AssertionError

    (tmp_path / "short").write_text("short")
    for secret in (f"file:{tmp_path / 'nowhere'}", f"file:{tmp_path / 'short'}"):
        error = asyncio.run(work(secret))
        assert isinstance(error, CallFailed)
        assert (error.failure, error.is_systems) == (Failure.TRANSIENT, False)
