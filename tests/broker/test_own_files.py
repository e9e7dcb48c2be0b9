"""A system, a policy and a workflow of a team's own, as the page writes them, with stages that stand already."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from aios.infra.local.ports import free_ports
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided
from aios.streams import principals, tenants, topology
from aios.streams.admin import ensure_topics, read_all
from aios.streams.config import GatewaySettings, KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.gateway import server
from aios.streams.record import Record
from aios.streams.topics import AUDIT_RECORDED, CASE_DECIDED
from tests.broker.running import environment, process, running, until
from tests.fakes import own_files

pytestmark = pytest.mark.broker
SUPPLIERS = {"IE-48213": {"name": "Cork Paper Ltd", "open_eur": 400}, "ES-1": {"name": "Bilbao SA", "open_eur": 90000}}


@contextmanager
def erp(asked: list[str]) -> Iterator[str]:
    """What knows suppliers, in a thread of its own. asked: the paths that it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = SUPPLIERS.get(self.path.rpartition("/")[2])
            said = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, valkey_url: str, codec: Codec, tmp_path: Path) -> Settings:
    """Of a system that stood before the team came: the topics of the release are there."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    (port,) = free_ports(1)
    home = tmp_path / "home"
    home.mkdir()
    principals.own_tokens(home, kafka, codec)
    return Settings(
        home=home,
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
        gateway=GatewaySettings(port=port),
    )


def test_a_case_asks_a_system_and_meets_a_policy_that_no_release_has(
    settings: Settings, codec: Codec, unique: str, tmp_path: Path
) -> None:
    """Refused until the topics of the new system are there, and while plan, which reads a folder of its own, lacks the
    policy; then deployed: one case is ended by what the system says, one by the policy, before any model was asked.
    """
    own, asked, tenant = own_files.write(tmp_path / "own", own_files.blocks(own_files.OWN)), list[str](), f"t-{unique}"
    key = tenants.register(settings.kafka, codec, tenant)
    elsewhere = own_files.write(tmp_path / "elsewhere", own_files.blocks(own_files.OWN))
    policy = elsewhere / "policies" / "new_account@1.yaml"
    text = policy.read_text("utf-8")

    async def letters() -> list[CaseDecided]:
        async with running(server.run, settings):
            told = ("ES-1", "Please tell us when you pay our invoice."), ("IE-48213", "This is our new bank account.")
            return [await decided(settings, codec, key, registration=one, text=text) for one, text in told]

    with erp(asked) as url:
        more = {"AIOS_EXTENSIONS__FOLDER": str(own), "AIOS_CONNECTORS__OPTIONS": json.dumps({"erp": {"url": url}})}
        deploy = ("aios.infra", "workflow", "deploy", str(own / "supplier.letter.yaml"), "--why", "purchasing asked")
        with process(settings, "admit", **more):
            refused = ran(settings, more, *deploy)
            assert "connectors.erp has its file here, and the running system started without it" in refused.stderr
            prepared = ran(settings, more, "aios.infra.prepare")
            assert (prepared.returncode, "3 topics created" in prepared.stderr) == (0, True), prepared.stderr
            policy.unlink()
            there = more | {"AIOS_EXTENSIONS__FOLDER": str(elsewhere)}
            with process(settings, "plan", **there), process(settings, "connectors", **more):
                refused = ran(settings, more, *deploy)
                assert "policy new_account@1 is here, and aios.plan.0 does not have it" in refused.stderr
                policy.write_text(text, "utf-8")
                deployed = ran(settings, more, *deploy)
                assert deployed.returncode == 0, deployed.stderr
                big, moved = asyncio.run(letters())
    assert (big.outcome, big.reasons) == ("by_hand", ("much_is_open",))
    assert (moved.outcome, "not_read" in moved.reasons) == ("by_hand", True)
    assert asked == ["/suppliers/ES-1", "/suppliers/IE-48213"]
    audited = [codec.decode(one.value, AuditRecorded) for one in read_all(settings.kafka, AUDIT_RECORDED.name)]
    assert any("new_account@1" in one.detail for one in audited if one.case_id == moved.case_id)


def ran(settings: Settings, more: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """A module of ours as a command."""
    command, own = [sys.executable, "-m", *words], environment(settings) | dict(more)
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False)


async def decided(settings: Settings, codec: Codec, key: str, **letter: str) -> CaseDecided:
    """How the case of a letter ended."""
    url = f"http://127.0.0.1:{settings.gateway.port}/v1/workflows/supplier.letter/cases"
    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession() as session, session.post(url, json=letter, headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        case_id = (await answer.json())["case_id"]

    def ends() -> list[Record]:
        return [one for one in read_all(settings.kafka, CASE_DECIDED.name) if one.key == case_id.encode()]

    (record,) = await until(ends, 1)
    return codec.decode(record.value, CaseDecided)
