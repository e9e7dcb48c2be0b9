"""A Kafka with access rules: stages under principals of their own, allowed what `aios topology --format acls` says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from aios.infra import deploying
from aios.infra.commands import list as list_command
from aios.infra.commands import tenant
from aios.infra.commands.topology import topology as command
from aios.infra.local.broker import Broker
from aios.infra.local.ports import free_ports
from aios.infra.prepare import PATIENCE_S, patiently
from aios.infra.running import Running
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import acls, config, principals, tenants, topics, topology
from aios.streams.acls import Rule
from aios.streams.admin import ensure_topics, read_all, read_one
from aios.streams.config import GatewaySettings, KafkaSettings, RedisSettings, RegistrySettings, Settings, client
from aios.streams.errors import Unavailable
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing
from aios.streams.topics import CASE_DECIDED
from aios.streams.topology import ADMIT
from tests.broker import test_lists
from tests.broker.test_workflow_deploy import events, post, process, until
from tests.fakes import claims

pytestmark = pytest.mark.broker
STARTING_MAX = 4  # processes at once
ADMIN, PASSWORD = "admin", "correct horse"
PRINCIPALS = (ADMIN, *(f"aios-{process}" for process in topology.PROCESSES))
KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


class GuardedBroker(Broker):
    """The local node with passwords, where nobody may do anything that no rule allows."""

    def settings(self, principal: str) -> KafkaSettings:
        properties = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": principal,
            "sasl.password": "env:GUARDED_PASSWORD",
        }
        return KafkaSettings(bootstrap_servers=self.address, properties=properties)

    def answers(self) -> bool:
        try:
            return bool(AdminClient(client(self.settings(ADMIN), log_level=0)).list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def command(self) -> list[str]:
        """Its log names whatever is denied."""
        command = super().command()
        logging = self._folder / "log4j2.properties"
        more = "logger.authorizer.name = kafka.authorizer.logger\nlogger.authorizer.level = INFO\n"
        logging.write_text(logging.read_text(encoding="utf-8") + more, encoding="utf-8")
        return command

    def denied(self) -> list[str]:
        """Lines of the authorizer, each once."""
        lines = (self._folder / "kafka.log").read_text(encoding="utf-8").splitlines()
        return sorted({line.partition("Principal = ")[2] for line in lines if " is Denied " in line})

    def _properties(self) -> str:
        users = " ".join(f'user_{name}="{PASSWORD}"' for name in PRINCIPALS)
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        more = [
            "listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name=SASL_PLAINTEXT",
            "sasl.mechanism.inter.broker.protocol=PLAIN",
            "sasl.enabled.mechanisms=PLAIN",
            f"listener.name.sasl_plaintext.plain.sasl.jaas.config={login}"
            f' username="{ADMIN}" password="{PASSWORD}" {users};',
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            f"super.users=User:{ADMIN};User:ANONYMOUS",  # the controller's own listener knows no names
            "",
        ]
        kept = [
            line
            for line in super()._properties().replace("PLAINTEXT://", "SASL_PLAINTEXT://").splitlines()
            if not line.startswith("listener.security")
        ]
        return "\n".join([*kept, *more])


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardedBroker]:
    monkeypatch.setenv("GUARDED_PASSWORD", PASSWORD)
    node = GuardedBroker(tmp_path / "guarded")
    node.start()
    yield node
    node.stop()


def test_no_process_is_denied_what_it_does_under_rules_that_were_printed(
    *,
    guarded: GuardedBroker,
    registry_url: str,
    valkey_url: str,
    unique: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All processes, each a principal of its own, and a workflow with an input of its own. Cases are decided by policy
    and through a model, a dead letter is shown, replayed and archived, a list's new version raises a decided case: the
    broker denies nothing meanwhile, and does say so when somebody asks for more.
    """
    declared = topology.all_topics().values()
    gateway, operations = free_ports(2)
    settings = Settings(
        home=tmp_path / "home",
        kafka=guarded.settings(ADMIN),
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
        gateway=GatewaySettings(port=gateway),
    )
    asyncio.run(ensure_topics(settings.kafka, declared))
    register_all(registry_url, declared)
    with closing(RegistrySource(registry_url)) as source:
        story = Story(settings, Codec(source), unique, f"http://127.0.0.1:{operations}", tmp_path, monkeypatch)
        allow(settings.kafka, acls.rules(topology.taking([topics.source(story.contract)])))
        story.prepare()
        with ExitStack() as started:

            def start(stage: str) -> None:
                own = as_principal(guarded, stage, {"gateway": gateway, "operations": operations}, story.screening)
                begun.append(started.enter_context(process(settings, stage, 0, sys.executable, **own)))

            begun: list[subprocess.Popen[bytes]] = []
            with ThreadPoolExecutor(STARTING_MAX) as starting:
                list(starting.map(start, topology.PROCESSES))
            story.cases()
            story.letter()
            story.screened_again()
            for one in begun:
                one.terminate()
        assert guarded.denied() == []
        for name, value in addresses(settings).items():
            monkeypatch.setenv(name, value)
        rule = f"User:aios-admit --operation Describe --operation Read --topic {story.contract}\n"
        assert rule in printed("acls")
        assert json.loads(printed("asyncapi"))["channels"][story.contract]["messages"]
    with suppress(Unavailable, KafkaException):
        read_one(guarded.settings("aios-lake"), topics.OPERATION_REQUESTED.name, 0, 0)
    assert "aios-lake" in str(guarded.denied())


@dataclass(frozen=True, slots=True)
class Story:
    """What happens meanwhile. operations: where it listens."""

    settings: Settings
    codec: Codec
    unique: str
    operations: str
    folder: Path
    patch: pytest.MonkeyPatch

    @property
    def contract(self) -> str:
        return f"claim.x{self.unique}.v1"

    @property
    def workflow(self) -> str:
        return f"claims.x{self.unique}"

    @property
    def screening(self) -> str:
        return f"tiny{self.unique}"

    def prepare(self) -> None:
        """The workflow, and the list's first version."""
        judged = deploying.judge(claims.write(self.folder, self.workflow, self.contract))
        deploying.deploy(self.settings, self.codec, judged, by="ada", reason="finance asked for it", active=True)
        self._publish(f"{self.screening}@1", test_lists.OLD)

    def cases(self) -> None:
        tenant = f"t-{self.unique}"
        key = asyncio.run(patiently(lambda: tenants.register(self.settings.kafka, self.codec, tenant), PATIENCE_S))
        assert deploying.is_read(self.settings.kafka, self.contract, ADMIT.group)
        claim = {"employee": "Ann", "purpose": "train", "receipts": [{"what": "ticket", "cents": 4200}]}
        until(lambda: [1] * self._posted(self.workflow, key, claim), 1)
        (decided,) = until(lambda: events(self.settings, self.codec, CASE_DECIDED, CaseDecided, tenant), 1)
        assert decided.outcome == "paid"
        assert self._posted("document.triage", key, {"text": "My bank charged me twice for one transfer."})
        until(lambda: list(read_all(self.settings.kafka, topics.INFERENCE_COMPLETED.name)), 1)

    def letter(self) -> None:
        """Bytes that nobody can read: a dead letter of admit, which operations shows and returns, in vain."""
        token = principals.register(self.settings.kafka, self.codec, "ada", roles=["operator"])
        approver = principals.register(self.settings.kafka, self.codec, "bob", roles=["approver"])

        async def spoil() -> None:
            delivery = Delivery(self.settings.kafka, client_id="test")
            await delivery.deliver(Outgoing(topics.DOCUMENT_RECEIVED.name, b"k", b"\x00nonsense"))
            await asyncio.to_thread(delivery.close)

        asyncio.run(spoil())
        (one,) = until(lambda: self._asked("GET", "/v1/dead-letters", token).get("letters", []), 1)
        path = f"/v1/dead-letters/{one['id']}"
        assert self._asked("GET", path, token)["id"] == one["id"]
        job = self._asked("POST", "/v1/replays", token, reason="again", filter={"ids": [one["id"]]})["object_id"]
        replay = f"/v1/replays/{job}"
        until(lambda: [1] * ("status" in self._asked("POST", f"{replay}/approve", approver, reason="fine")), 1)
        until(lambda: [1] * ("status" in self._asked("POST", f"{replay}/run", token, reason="now")), 1)
        until(lambda: [1] * (self._asked("GET", replay, token).get("state") == "done"), 1)
        (again,) = until(lambda: self._asked("GET", "/v1/dead-letters", token)["letters"], 1)
        self._asked("POST", f"/v1/dead-letters/{again['id']}/discard", token, reason="it is nonsense")
        until(lambda: list((self.settings.home / "lake").rglob("*.avro")), 1)

    def screened_again(self) -> None:
        """A person of a decided case stands on the list's second version."""
        case = str(uuid4())
        asyncio.run(test_lists.decide(self.settings, self.codec, test_lists.outcome(self.screening, case)))
        self._publish(f"{self.screening}@2", test_lists.NEW)
        until(lambda: list(test_lists.raised(self.settings, self.codec, case)), 1)

    def _publish(self, reference: str, rows: list[Any]) -> None:
        self.patch.setattr(list_command, "found_running", lambda: Running(self.settings, "", ""))
        self.patch.setattr(tenant, "running", lambda: Running(self.settings, "", ""))
        self.settings.home.mkdir(exist_ok=True)
        done = test_lists.publish(self.settings, self.codec, reference, rows, "operator")
        assert done.exit_code == 0, done.output

    def _posted(self, workflow: str, key: str, body: dict[str, Any]) -> bool:
        status, _ = asyncio.run(post(self.settings, f"/v1/workflows/{workflow}/cases", key, body))
        return status == 202

    def _asked(self, method: str, path: str, token: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body else None
        request = Request(f"{self.operations}{path}", data=data, headers=headers, method=method)
        try:
            with urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except HTTPError as error:
            if error.code in (401, 404, 409):  # the principal, the job, or what was done before, is not known there yet
                return {}
            raise AssertionError(f"{path}: {error.read().decode()}") from error


def printed(as_format: str) -> str:
    """By the command, of the system that the environment says."""
    config.load.cache_clear()
    done = CliRunner().invoke(command, ["--format", as_format])
    assert done.exit_code == 0, done.output
    return done.output


def addresses(settings: Settings) -> dict[str, str]:
    return {
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "AIOS_KAFKA__PROPERTIES": json.dumps(settings.kafka.properties),
        "AIOS_REGISTRY__URL": settings.registry.url,
        "AIOS_REDIS__URL": settings.redis.url,
    }


def as_principal(guarded: GuardedBroker, stage: str, ports: dict[str, int], screening: str) -> dict[str, str]:
    """The environment of a process of the stage. screening: the list against which connectors screen."""
    own = {"AIOS_INFERENCE__ENGINE": "echo"}
    own["AIOS_CONNECTORS__OPTIONS"] = json.dumps({"sanctions": {"list": screening}})
    if stage in ports:
        own[f"AIOS_{stage.upper()}__PORT"] = str(ports[stage])
    properties = json.dumps(guarded.settings(f"aios-{stage}").properties)
    return {**own, "AIOS_KAFKA__PROPERTIES": properties, "GUARDED_PASSWORD": os.environ["GUARDED_PASSWORD"]}


def allow(kafka: KafkaSettings, rules: Iterable[Rule]) -> None:
    """As kafka-acls.sh would."""
    bindings = [
        AclBinding(
            KINDS[rule.kind],
            rule.name,
            ResourcePatternType.PREFIXED if rule.prefixed else ResourcePatternType.LITERAL,
            f"User:aios-{rule.process}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for rule in rules
        for operation in rule.operations
    ]
    admin = AdminClient(client(kafka, log_level=0))
    for future in admin.create_acls(bindings).values():
        future.result(30)
