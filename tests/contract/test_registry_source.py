"""What the codec asks of a registry: the real one and the fake of the unit tests answer alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from aios.infra.local.ports import free_ports
from aios.schemas import contracts, registry
from aios.schemas.codec import Codec, SchemaSource
from aios.schemas.errors import Reason, SchemaMismatch, SchemaRefused, Unavailable
from aios.schemas.models import EVENTS, TimerFired
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import topology
from aios.streams.topics import TIMER_FIRED
from tests.fakes.registry import FakeRegistry


@pytest.fixture(params=["real", "fake"])
def source(request: pytest.FixtureRequest) -> Iterator[SchemaSource]:
    if request.param == "fake":
        yield FakeRegistry()
        return
    real = RegistrySource(request.getfixturevalue("registry_url"))
    yield real
    real.close()


@contextmanager
def answering(status: int, body: bytes, content: str = "application/json") -> Iterator[tuple[str, list[str]]]:
    """A server that gives the same answer to everything, and the paths it was asked for."""
    asked: list[str] = []

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Same)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def at(url: str) -> Iterator[RegistrySource]:
    source = RegistrySource(url)
    yield source
    source.close()


def both(source: RegistrySource) -> list[Callable[[], object]]:
    return [lambda: source.by_id(7), lambda: source.id_of("s", '"int"')]


def test_a_contract_has_an_id_and_the_id_leads_back(source: SchemaSource) -> None:
    """Same text, same id; the schema that comes back is the one that was registered."""
    text = contracts.working("timer.fired.v1").text
    schema_id = source.id_of("timer.fired.v1-value", text)
    assert source.id_of("timer.fired.v1-value", text) == schema_id
    assert json.loads(source.by_id(schema_id)) == json.loads(text)


def test_an_id_that_nobody_gave_is_a_property_of_the_record(source: SchemaSource) -> None:
    """Small, large, and beyond what an id can be."""
    for schema_id in (0, 2**31 - 1, 2**32 - 1):
        with pytest.raises(SchemaMismatch) as caught:
            source.by_id(schema_id)
        assert caught.value.reason is Reason.UNKNOWN_SCHEMA


def test_the_codec_works_on_both(source: SchemaSource) -> None:
    """Write, read."""
    codec, event = Codec(source), TimerFired(timer_id="t", case_id="c", due_at=1, fired_at=2)
    assert codec.decode(codec.encode(TIMER_FIRED, event), TimerFired) == event


def test_all_contracts_are_registered_once(registry_url: str) -> None:
    """Again gives the same ids; every contract has a subject; a subject without its contract is said."""
    topics = topology.all_topics().values()
    ids = register_all(registry_url, topics)
    assert register_all(registry_url, topics) == ids
    assert {contract for topic in topics for contract in topic.contracts} == set(EVENTS)
    assert len(ids) == sum(len(topic.contracts) for topic in topics)
    with at(registry_url) as source, pytest.raises(SchemaRefused, match=r"timer\.fired\.v1-value does not have"):
        source.id_of("timer.fired.v1-value", '"int"')


def test_an_unsafe_or_incompatible_contract_is_refused_by_name(registry_url: str) -> None:
    """The message has the subject and the place."""
    with at(registry_url) as source:
        with pytest.raises(SchemaRefused, match=r"timer\.fired\.v1-value refused by .*incompatible"):
            source.register("timer.fired.v1-value", '"string"')
        with pytest.raises(SchemaRefused, match="items of zero width"):
            source.register("bomb-value", '{"type":"array","items":"null"}')


def test_an_unknown_id_is_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage does not become load on the registry; a schema registered later is found after UNKNOWN_S."""
    monkeypatch.setattr(registry, "UNKNOWN_S", 0.2)
    with answering(404, b'{"error_code": 40403, "message": "Schema not found"}') as (url, asked), at(url) as source:
        started = time.monotonic()
        tries = 0
        while time.monotonic() < started + 0.35:
            tries += 1
            with pytest.raises(SchemaMismatch):
                source.by_id(7)
        assert len(asked) == 2
        assert tries > 20


@pytest.mark.parametrize(
    ("status", "body", "content"),
    [
        (500, b'{"error_code": 50001, "message": "store"}', "application/json"),
        (429, b"{}", "application/json"),
        (401, b"{}", "application/json"),
        (404, b"<html>no such page</html>", "text/html"),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}', "application/json"),
        (200, b"<html>welcome</html>", "text/html"),
        (200, b"[]", "application/json"),
        (200, b'{"unexpected": 1}', "application/json"),
    ],
)
def test_what_answers_but_not_as_a_registry_condemns_no_record(status: int, body: bytes, content: str) -> None:
    """Its own trouble, a proxy's page, another server on that port: Unavailable, which pauses."""
    with answering(status, body, content) as (url, _), at(url) as source:
        with pytest.raises(Unavailable):
            source.by_id(7)
        if status != 404:  # there, it says that the subject does not have it
            with pytest.raises(Unavailable):
                source.id_of("s", '"int"')


@pytest.mark.parametrize("status", [401, 500])
def test_the_password_of_a_registry_stands_in_no_error(status: int) -> None:
    """Errors are logged, and what is unavailable is said in answers to operators."""
    with answering(status, b"{}") as (url, _):
        source = RegistrySource(url.replace("//", "//aios:hunter2@"))
        for ask in (lambda: source.by_id(7), lambda: source.id_of("s", "{}")):
            with pytest.raises(Unavailable) as raised:
                ask()
            assert url in str(raised.value)
            assert "hunter2" not in str(raised.value)
        source.close()


def test_a_registry_that_is_away_is_unavailable_in_time() -> None:
    """Nobody listens, or somebody who never answers."""
    with at(f"http://127.0.0.1:{free_ports(1)[0]}") as source:
        for call in both(source):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                call()
            assert time.monotonic() - started < 5


def test_a_registry_that_never_answers_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the timeout and one retry."""
    import socket

    monkeypatch.setattr(registry, "TIMEOUT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        with at(f"http://127.0.0.1:{silent.getsockname()[1]}") as source:
            started = time.monotonic()
            with pytest.raises(Unavailable):
                source.by_id(7)
            assert time.monotonic() - started < 4
