"""A Kafka with access rules: stages under principals of their own, allowed what `aios topology --format acls` says."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

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
from aios.infra.commands.topology import topology as command
from aios.infra.local.broker import Broker
from aios.infra.local.ports import free_ports
from aios.infra.prepare import PATIENCE_S, patiently
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import acls, config, tenants, topics, topology
from aios.streams.acls import Rule
from aios.streams.admin import ensure_topics
from aios.streams.config import GatewaySettings, KafkaSettings, RedisSettings, RegistrySettings, Settings, client
from aios.streams.topics import CASE_DECIDED
from aios.streams.topology import ADMIT
from tests.broker.test_workflow_deploy import events, post, process, until
from tests.fakes import claims

pytestmark = pytest.mark.broker
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


def test_stages_do_their_work_under_rules_that_were_printed_for_them(
    *,
    guarded: GuardedBroker,
    registry_url: str,
    valkey_url: str,
    unique: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A workflow with an input of its own is deployed; gateway, admit and plan, three principals, decide a case."""
    name, contract, tenant = f"claims.x{unique}", f"claim.x{unique}.v1", f"t-{unique}"
    declared = topology.all_topics().values()
    (port,) = free_ports(1)
    settings = Settings(
        home=tmp_path / "home",
        kafka=guarded.settings(ADMIN),
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
        gateway=GatewaySettings(port=port),
    )
    asyncio.run(ensure_topics(settings.kafka, declared))
    register_all(registry_url, declared)
    source = RegistrySource(registry_url)
    codec = Codec(source)
    allow(settings.kafka, acls.rules(topology.taking([topics.source(contract)])))
    key = asyncio.run(patiently(lambda: tenants.register(settings.kafka, codec, tenant), PATIENCE_S))
    judged = deploying.judge(claims.write(tmp_path, name, contract))
    deploying.deploy(settings, codec, judged, by="ada", reason="finance asked for it", active=True)
    claim = {"employee": "Ann", "purpose": "train", "receipts": [{"what": "ticket", "cents": 4200}]}
    try:
        with ExitStack() as started:
            for stage in ("admit", "plan", "gateway"):
                started.enter_context(process(settings, stage, **as_principal(guarded, stage, port)))
            assert deploying.is_read(settings.kafka, contract, ADMIT.group)
            status, said = asyncio.run(post(settings, f"/v1/workflows/{name}/cases", key, claim))
            assert status == 202
            (decided,) = until(lambda: events(settings, codec, CASE_DECIDED, CaseDecided, tenant), 1)
        assert (decided.case_id, decided.outcome) == (said["case_id"], "paid")
        for name, value in addresses(settings).items():
            monkeypatch.setenv(name, value)
        assert f"User:aios-admit --operation Describe --operation Read --topic {contract}\n" in printed("acls")
        assert json.loads(printed("asyncapi"))["channels"][contract]["messages"]
    finally:
        source.close()


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


def as_principal(guarded: GuardedBroker, stage: str, port: int) -> dict[str, str]:
    """The environment of a process of the stage."""
    own = {"AIOS_GATEWAY__PORT": str(port)} if stage == "gateway" else {}
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
