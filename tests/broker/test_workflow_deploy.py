"""A workflow that comes to a running system: no process starts again, nothing is lost on the way."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from aios.infra import deploying
from aios.infra.local.ports import free_ports
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseAdmitted, CaseDecided, DocumentReceived, Event
from aios.streams import tenants, topology
from aios.streams.admin import ensure_topics, read_all
from aios.streams.config import GatewaySettings, KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.errors import ConfigError
from aios.streams.gateway import server
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, CASE_ADMITTED, CASE_DECIDED, DOCUMENT_RECEIVED, Topic
from aios.streams.topology import ADMIT
from tests.broker.running import process, running
from tests.fakes import claims

pytestmark = pytest.mark.broker
WAIT_S_MAX = 60.0


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    (port,) = free_ports(1)
    return Settings(
        home=tmp_path / "home",
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
        gateway=GatewaySettings(port=port),
    )


def events(settings: Settings, codec: Codec, topic: Topic, kind: type[Event], tenant: str) -> list[Any]:
    found = (codec.decode(record.value, kind) for record in read_all(settings.kafka, topic.name))
    return [one for one in found if getattr(one, "tenant", None) == tenant]


def until(found: Callable[[], list[Any]], count: int) -> list[Any]:
    deadline = time.monotonic() + WAIT_S_MAX
    while len(there := found()) < count:
        assert time.monotonic() < deadline, f"{len(there)} of {count}"
        time.sleep(0.2)
    return there


async def post(settings: Settings, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    url, headers = f"http://127.0.0.1:{settings.gateway.port}{path}", {"Authorization": f"Bearer {key}"}
    async with ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


def test_a_fourth_workflow_from_an_empty_folder_decides_a_case(
    settings: Settings, codec: Codec, unique: str, tmp_path: Path
) -> None:
    """Checked, tested, deployed while admit, plan and gateway run; a case of it is decided, and no process was new."""
    name, contract = f"claims.x{unique}", f"claim.x{unique}.v1"
    tenant = f"t-{unique}"
    key = tenants.register(settings.kafka, codec, tenant)
    judged = deploying.judge(claims.write(tmp_path, name, contract))
    claim = {"employee": "Ann", "purpose": "train", "receipts": [{"what": "ticket", "cents": 4200}]}

    async def serve(processes: list[subprocess.Popen[bytes]]) -> dict[str, Any]:
        async with running(server.run, settings):
            status, said = await post(settings, f"/v1/workflows/{name}/cases", key, claim)
            assert (status, said["type"]) == (404, "urn:aios:problem:unknown_workflow")
            await asyncio.to_thread(
                deploying.deploy, settings, codec, judged, by="ada", reason="finance asked for it", active=True
            )
            assert await asyncio.to_thread(deploying.is_read, settings.kafka, contract, ADMIT.group)
            status, said = await post(settings, f"/v1/workflows/{name}/cases", key, claim)
            assert (status, said["workflow"]) == (202, name)
            assert all(one.poll() is None for one in processes)
            return said

    with process(settings, "admit") as admit, process(settings, "plan") as plan:
        said = asyncio.run(serve([admit, plan]))
        (decided,) = until(lambda: events(settings, codec, CASE_DECIDED, CaseDecided, tenant), 1)
        assert (admit.poll(), plan.poll()) == (None, None)
    assert (decided.case_id, decided.outcome, decided.decided_by) == (said["case_id"], "paid", "policy")
    assert json.loads(decided.output) == {"to": "Ann"}
    assert decided.cost_centre == "CC-7"
    acts = [one for one in events(settings, codec, AUDIT_RECORDED, AuditRecorded, "") if name in one.case_id]
    assert sorted((one.transition, one.actor) for one in acts) == [  # of several partitions, in any order
        ("workflow_activated", "ada"),
        ("workflow_deployed", "ada"),
    ]


def test_nothing_is_lost_while_two_members_come_over_to_a_new_input(
    settings: Settings, codec: Codec, unique: str, tmp_path: Path
) -> None:
    """Documents flow while a workflow comes: each is admitted once, and both members read the new input."""
    name, contract = f"claims.y{unique}", f"claim.y{unique}.v1"
    tenant, count = f"t-{unique}", 100
    tenants.register(settings.kafka, codec, tenant)
    judged = deploying.judge(claims.write(tmp_path, name, contract))

    async def flow(done: threading.Event) -> int:
        delivery = Delivery(settings.kafka, client_id=f"test.{unique}")
        sent = 0
        try:
            while sent < count or not done.is_set():
                event = DocumentReceived(text="a", idempotency_key=str(sent), tenant=tenant)
                value = codec.encode(DOCUMENT_RECEIVED, event)
                await delivery.deliver(Outgoing(DOCUMENT_RECEIVED.name, str(sent).encode(), value))
                sent += 1
        finally:
            await asyncio.to_thread(delivery.close)
        return sent

    async def both() -> int:
        done = threading.Event()
        flowing = asyncio.create_task(flow(done))
        await asyncio.to_thread(deploying.deploy, settings, codec, judged, by="ada", reason="", active=True)
        read = await asyncio.to_thread(deploying.is_read, settings.kafka, contract, ADMIT.group)
        done.set()
        sent = await flowing
        assert read
        return sent

    with ExitStack() as stack:
        members = [stack.enter_context(process(settings, "admit", slot)) for slot in range(2)]
        sent = asyncio.run(both())
        admitted = until(lambda: events(settings, codec, CASE_ADMITTED, CaseAdmitted, tenant), sent)
        assert all(one.poll() is None for one in members)
    assert sorted(int(one.idempotency_key) for one in admitted) == list(range(sent))


def test_what_may_not_come_is_refused_before_anything_is_written(
    settings: Settings, codec: Codec, unique: str, tmp_path: Path
) -> None:
    """Unsigned, with a case that came out in another way, with another text, or with another workflow's input."""
    name, contract = f"claims.z{unique}", f"claim.z{unique}.v1"
    file = claims.write(tmp_path, name, contract)
    text, cases = file.read_text(encoding="utf-8"), file.with_name(f"{name}.cases.yaml")

    def deploy() -> None:
        deploying.deploy(settings, codec, deploying.judge(file), by="ada", reason="", active=True)

    file.write_text(text.replace("signed_off:", "# signed_off:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="signed"):
        deploy()
    file.write_text(text, encoding="utf-8")
    cases.write_text(claims.CASES.replace("outcome: paid, decided_by: policy", "outcome: refused"), encoding="utf-8")
    with pytest.raises(ConfigError, match="4 of 5"):
        deploy()
    assert name not in str(deploying.there(settings, codec))
    cases.write_text(claims.CASES, encoding="utf-8")
    deploy()
    deploy()  # the same again changes nothing
    file.write_text(text.replace("10000", "20000"), encoding="utf-8")
    with pytest.raises(ConfigError, match="raise `version`"):
        deploy()
    other = claims.write(tmp_path, f"{name}.two", contract)
    with pytest.raises(ConfigError, match="an input of its own"):
        deploying.deploy(settings, codec, deploying.judge(other), by="ada", reason="", active=True)
