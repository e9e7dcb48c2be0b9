"""The gateway with a real broker, registry and Valkey: what a 2xx means, and what is left when things die."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession
from click.testing import CliRunner, Result

from aios.infra.commands import review
from aios.infra.local.broker import Broker
from aios.infra.local.home import Home
from aios.infra.local.ports import free_ports
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided, DocumentReceived, Event, ReviewDecided, ReviewRequested
from aios.sinks.outcome_writes import write_of
from aios.sinks.outcomes import Store
from aios.streams import config, credentials, principals, tenants, topology
from aios.streams.admin import ensure_topics, read_all
from aios.streams.config import GatewaySettings, KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.gateway import server
from aios.streams.partitioner import partition_of
from aios.streams.record import Record
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    Topic,
)
from aios.streams.wall_clock import wall_ms
from tests.stopping import stopped

pytestmark = pytest.mark.broker
PATH = "/v1/workflows/document.triage/cases"
WAIT_S_MAX = 20.0


@dataclass(frozen=True)
class World:
    """settings: of a gateway. tenant: of this test alone, with its key."""

    settings: Settings
    codec: Codec
    tenant: str
    key: str

    def with_gateway(self, **changed: Any) -> World:
        settings = self.settings.model_copy(update={"gateway": GatewaySettings(**changed)})
        return World(settings, self.codec, self.tenant, self.key)


@pytest.fixture
def world(  # noqa: PLR0917 - pytest passes them by name
    kafka: KafkaSettings, registry_url: str, valkey_url: str, codec: Codec, unique: str, tmp_path: Path
) -> World:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    settings = Settings(
        home=tmp_path, kafka=kafka, registry=RegistrySettings(url=registry_url), redis=RedisSettings(url=valkey_url)
    )
    return World(settings, codec, f"t-{unique}", tenants.register(kafka, codec, f"t-{unique}"))


@dataclass
class Caller:
    client: ClientSession
    url: str
    key: str

    def post(self, body: Any, path: str = PATH, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(self.url + path, json=body, headers={"Authorization": f"Bearer {self.key}"} | named)

    def get(self, path: str) -> Any:
        return self.client.get(self.url + path, headers={"Authorization": f"Bearer {self.key}"})


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Caller]:
    """A gateway in this process, until the end of the block."""
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(server.run(world.settings, slot=0, stop=stop, ready=ready.set))
    try:
        async with asyncio.timeout(WAIT_S_MAX), ClientSession() as client:
            await asyncio.wait({running, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            port = (world.settings.home / "run" / "gateway.0.port").read_text()
            yield Caller(client, f"http://127.0.0.1:{port}", world.key)
    finally:
        stop.set()
        await running


def _nothing() -> Generator[Any, None, None]:
    yield from ()


@asynccontextmanager
async def outcomes(world: World) -> AsyncIterator[Callable[[Topic, Event], Any]]:
    """Writes events into Valkey as the outcomes stage does."""
    store = Store(world.settings.redis.url, world.settings.home / "epoch")
    try:
        await store.ensure(_nothing)

        async def put(topic: Topic, event: Event) -> None:
            record = Record(topic.name, 0, 0, 1, b"", world.codec.encode(topic, event))
            await store.apply([write_of(record, world.codec)])

        yield put
    finally:
        await store.close()


def records(world: World, topic: Topic, kind: type[Any]) -> list[tuple[Record, Any]]:
    """Of this test's tenant."""
    return [
        (record, world.codec.decode(record.value, kind))
        for record in read_all(world.settings.kafka, topic.name)
        if record.header("aios-tenant") == world.tenant
    ]


def decision_of(event: DocumentReceived, case_id: str) -> CaseDecided:
    return CaseDecided(
        decision_id=f"d-{case_id}",
        case_id=case_id,
        tenant=event.tenant,
        workflow="document.triage",
        workflow_version=1,
        event_id=event.event_id,
        idempotency_key=event.idempotency_key,
        outcome="routed",
        label="card_arrival",
        confidence=0.9,
        reasons=("confident",),
        models=("triage-encoder@1",),
        prompts=(),
        decided_by="policy",
        received_at=1,
        admitted_at=2,
        decided_at=wall_ms(),
        case_seq=5,
        lane=event.lane,
        source_topic=DOCUMENT_RECEIVED.name,
        source_partition=0,
        source_offset=0,
    )


def test_a_2xx_means_that_the_broker_has_it(world: World) -> None:
    """One record in the partition of its key; the case is `accepted` for its tenant, before any stage has seen it."""

    async def test() -> None:
        async with outcomes(world), serving(world) as caller:
            async with caller.post({"text": "a"}, Idempotency_Key="k") as response:
                assert response.status == 202
                case_id = (await response.json())["case_id"]
            async with caller.get(f"/v1/cases/{case_id}") as response:
                assert (await response.json())["status"] == "accepted"
            async with caller.post({"text": "b"}, Idempotency_Key="k") as response:
                assert response.status == 409
            async with caller.get("/readyz") as response:
                assert await response.json() == {"ready": True, "kafka": True, "outcomes": True}
            other = tenants.register(world.settings.kafka, world.codec, f"{world.tenant}-b")
            caller.key = other
            await _until_known(caller)
            async with caller.get(f"/v1/cases/{case_id}") as response:
                assert response.status == 404
        ((record, event),) = records(world, DOCUMENT_RECEIVED, DocumentReceived)
        assert (event.text, event.idempotency_key, event.tenant) == ("a", "k", world.tenant)
        assert record.key == case_id.encode()
        assert record.partition == partition_of(record.key, world.settings.kafka.partitions)

    asyncio.run(test())


async def _until_known(caller: Caller) -> None:
    """The gateway follows the tenants' topic; a new key is known in a moment."""
    while True:
        async with caller.get("/v1/reviews") as response:
            if response.status != 401:
                return
        await asyncio.sleep(0.02)


def test_who_waits_gets_the_decision_when_it_is_written(world: World) -> None:
    """200 with the whole decision, from Valkey, woken by it."""

    async def test() -> None:
        async with outcomes(world) as put, serving(world) as caller:
            waiting = asyncio.create_task(caller.post({"text": "a"}, Prefer="wait=15").__aenter__())
            while not (found := await asyncio.to_thread(records, world, DOCUMENT_RECEIVED, DocumentReceived)):
                pass
            ((record, event),) = found
            assert event.lane == "interactive"
            began = time.monotonic()
            await put(CASE_DECIDED, decision_of(event, record.key.decode()))
            response = await waiting
            assert response.status == 200
            assert time.monotonic() - began < 5
            body = await response.json()
            assert (body["label"], body["status"], body["decided_by"]) == ("card_arrival", "decided", "policy")
            async with caller.get(f"/v1/cases/{record.key.decode()}") as response:
                assert (await response.json())["outcome"] == "routed"

    asyncio.run(test())


def asked(world: World, task: str, case: str) -> ReviewRequested:
    return ReviewRequested(
        task_id=task,
        case_id=case,
        tenant=world.tenant,
        workflow="document.triage",
        workflow_version=1,
        step="ask",
        reasons=("low_confidence",),
        choices=("card", "mortgage"),
        input_contract="document.received.v1",
        input='{"text":"where is my card"}',
        requested_at=wall_ms(),
        expires_at=4_000_000_000_000,
    )


def moved(world: World, case: str, seq: int, transition: str, **detail: str) -> AuditRecorded:
    return AuditRecorded(
        audit_id=f"{case}-{seq}",
        case_id=case,
        tenant=world.tenant,
        workflow="document.triage",
        case_seq=seq,
        transition=transition,
        status="any",
        actor="plan",
        detail=json.dumps(detail),
        input_topic="t",
        input_partition=0,
        input_offset=0,
        at=wall_ms(),
    )


def test_a_person_decides_through_the_gateway(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed, shown, decided by command: one record on review.decided, keyed by its case; once closed it is late."""
    task, case = f"task-{world.tenant}", f"case-{world.tenant}"
    command = _commands(world, monkeypatch)

    async def test() -> None:
        home = Home(world.settings.home)
        async with outcomes(world) as put, serving(world) as caller:
            with home.lock():
                home.publish({"gateway": caller.url})
                await put(AUDIT_RECORDED, moved(world, case, 1, "review_requested", task_id=task))
                await put(REVIEW_REQUESTED, asked(world, task, case))

                listed = await command("list")
                assert task in listed.stdout
                assert "where is my card" in listed.stdout
                shown = await command("show", task, "--json")
                assert json.loads(shown.stdout)["choices"] == ["card", "mortgage"]
                assert (await command("show", "no-task")).exit_code == 3
                wrong = await command("decide", task, "--label", "fish")
                assert (wrong.exit_code, "choose one of: card, mortgage" in wrong.stderr) == (1, True)
                done = await command("decide", task, "--label", "card", "--comment", "clear")
                assert (done.exit_code, case in done.stdout) == (0, True)

                await put(AUDIT_RECORDED, moved(world, case, 2, "decided"))
                late = await command("decide", task, "--label", "mortgage")
                assert (late.exit_code, "answered" in late.stderr) == (1, True)
                assert "nobody is asked" in (await command("list")).stdout
        assert (await command("list")).exit_code == 4

    asyncio.run(test())
    ((record, event),) = records(world, REVIEW_DECIDED, ReviewDecided)
    assert (event.task_id, event.label, event.reviewer, event.comment) == (task, "card", f"ada-{world.tenant}", "clear")
    assert record.key == case.encode()


def _commands(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Result]]:
    """`aios review …` in this world's home, which keeps the tenant's key and a reviewer's token."""
    token = principals.register(
        world.settings.kafka, world.codec, f"ada-{world.tenant}", roles=["reviewer"], tenants=[world.tenant]
    )
    credentials.keep(principals.token_file(world.settings.home, principals.OPERATOR), token)
    tenants.keep_key(world.settings.home, world.tenant, world.key)
    monkeypatch.setattr(config, "load", lambda: world.settings.model_copy(update={"default_tenant": world.tenant}))
    return lambda *arguments: asyncio.to_thread(CliRunner().invoke, review.group, arguments)


def test_a_broker_that_does_not_answer_is_a_503_and_the_repeat_is_the_same_case(world: World, broker: Broker) -> None:
    """Kafka hangs: no 2xx. It comes back: the same request is accepted, under the same case id."""
    world = world.with_gateway(deliver_s_max=1)

    async def test() -> None:
        async with serving(world) as caller:
            assert broker.pid is not None
            with stopped(broker.pid):
                async with caller.post({"text": "a"}) as response:
                    assert response.status == 503
                    assert response.headers["Retry-After"]
                    case_id = (await response.json())["case_id"]
            while True:
                async with caller.post({"text": "a"}) as response:
                    if response.status == 202:
                        assert (await response.json())["case_id"] == case_id
                        return

    asyncio.run(test())


def test_without_valkey_cases_are_accepted_and_reading_says_so(world: World) -> None:
    """202 without waiting; 503 for what only the outcome store knows."""
    (port,) = free_ports(1)
    away = world.settings.model_copy(update={"redis": RedisSettings(url=f"redis://127.0.0.1:{port}/0")})
    world = World(away, world.codec, world.tenant, world.key)

    async def test() -> None:
        async with serving(world) as caller:
            async with caller.post({"text": "a"}, Prefer="wait=20") as response:
                assert response.status == 202
            async with caller.get("/v1/cases/x") as response:
                assert response.status == 503
                assert response.content_type == "application/problem+json"
            async with caller.get("/readyz") as response:
                assert await response.json() == {"ready": True, "kafka": True, "outcomes": False}

    asyncio.run(test())
    assert len(records(world, DOCUMENT_RECEIVED, DocumentReceived)) == 1


@contextmanager
def process(world: World, failpoints: str = "") -> Iterator[str]:
    """A gateway as the supervisor starts it."""
    (port,) = free_ports(1)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIOS_")},
        "PYTHONSAFEPATH": "1",
        "AIOS_HOME": str(world.settings.home),
        "AIOS_FAILPOINTS": failpoints,
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": world.settings.kafka.bootstrap_servers,
        "AIOS_REGISTRY__URL": world.settings.registry.url,
        "AIOS_REDIS__URL": world.settings.redis.url,
        "AIOS_GATEWAY__PORT": str(port),
    }
    read, write = os.pipe()
    started = subprocess.Popen(
        [sys.executable, "-m", "aios.infra.stage", "gateway", "--ready-fd", str(write)],
        env=environment,
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as said:
            assert said.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        started.kill()
        started.wait()


@pytest.mark.parametrize(("step", "written"), [("taken", 0), ("computed", 0), ("delivered", 1)])
def test_a_gateway_killed_before_it_answers_has_acknowledged_nothing(world: World, step: str, written: int) -> None:
    """Before the broker has it or after: the caller gets no answer, repeats, and it is one case."""

    async def post(url: str) -> None:
        async with ClientSession() as client, Caller(client, url, world.key).post({"text": "a"}):
            pass

    async def again() -> None:
        async with serving(world) as caller, caller.post({"text": "a"}) as response:
            assert response.status == 202

    with process(world, f"gateway.{step}=kill") as url, pytest.raises(ClientConnectionError):
        asyncio.run(post(url))
    assert len(records(world, DOCUMENT_RECEIVED, DocumentReceived)) == written
    asyncio.run(again())
    events = [event for _, event in records(world, DOCUMENT_RECEIVED, DocumentReceived)]
    assert len(events) == written + 1
    assert len(set(events)) == 1
