"""Principals and operators' commands on a real broker: tokens made once, known to every table; answers that return."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aios.dlq import commands
from aios.dlq.answers import Answers
from aios.dlq.commands import JobCommand, Kind
from aios.infra.commands import principal, tenant
from aios.infra.output import NOT_FOUND
from aios.infra.running import Running
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, OperationAnswered, OperationRequested, PrincipalRegistered
from aios.streams import credentials, principals
from aios.streams.admin import ensure_topics, read_all
from aios.streams.config import KafkaSettings, RegistrySettings, Settings
from aios.streams.credentials import digest
from aios.streams.delivery import Delivery
from aios.streams.errors import ConfigError
from aios.streams.principals import PrincipalTable
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, OPERATION_ANSWERED, OPERATION_REQUESTED, PRINCIPAL_REGISTERED
from tests.broker.test_reference import until

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, (PRINCIPAL_REGISTERED, AUDIT_RECORDED, OPERATION_REQUESTED, OPERATION_ANSWERED)))


def test_who_may_do_what_is_on_the_audit_before_it_holds(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """Making and removing a principal each leave an audit record with its roles, and none with a token or its hash."""
    name = f"p-{unique}"
    token = principals.register(kafka, codec, name, roles=["operator"])
    principals.remove(kafka, codec, name)
    told = [
        (event.transition, event.actor, json.loads(event.detail)["roles"])
        for record in read_all(kafka, AUDIT_RECORDED.name)
        if record.key == f"principal:{name}".encode()
        for event in [codec.decode(record.value, AuditRecorded)]
        if token not in event.detail and digest(token) not in event.detail
    ]
    assert told == [
        ("principal_registered", "administrator", ["operator"]),
        ("principal_removed", "administrator", ["operator"]),
    ]


def test_a_token_opens_its_principal_until_it_is_removed(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """Only its hash is stored; roles and tenants change with the next registration; a removed one is nobody."""
    name = f"p-{unique}"
    table = PrincipalTable(kafka, codec)
    table.start()
    try:
        first = principals.register(
            kafka, codec, name, roles=["operator", "analyst"], tenants=["acme"], skills=["sanctions"]
        )
        assert until(lambda: table.by_token(first) is not None)
        second = principals.register(kafka, codec, name, roles=["approver"])
        assert until(lambda: table.by_token(second) is not None)
        found = table.by_token(first)
        assert found is not None
        assert (found.name, found.roles, found.tenants) == (name, ("approver",), ("acme",))
        assert first not in repr(found)
        assert digest(first) in found.token_hashes
        assert [principals.can(found, skill) for skill in ("sanctions", "calendars", "")] == [True, False, True]
        assert [principals.may(found, tenant) for tenant in ("acme", "globex", "")] == [True, False, False]
        assert principals.remove(kafka, codec, name)
        assert until(lambda: table.by_token(first) is None and table.by_token(second) is None)
        assert not principals.remove(kafka, codec, name)
        with pytest.raises(ConfigError, match="at least one role"):
            principals.register(kafka, codec, name)
    finally:
        table.close()


@pytest.mark.parametrize("roles", [(), ("analyst",)])
def test_a_token_that_is_made_while_its_principal_is_removed_brings_nothing_back(
    kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...]
) -> None:
    """Removed between the look and the record: with roles of its own it is made anew, without it stays removed."""
    name, write = f"p-{unique}", principals._write
    principals.register(kafka, codec, name, roles=["operator"], tenants=["acme"])

    def late(_kafka: KafkaSettings, _codec: Codec, principal: PrincipalRegistered) -> None:
        monkeypatch.setattr(principals, "_write", write)
        assert principals.remove(kafka, codec, name)
        write(kafka, codec, principal)

    monkeypatch.setattr(principals, "_write", late)
    if roles:
        token = principals.register(kafka, codec, name, roles=roles)
        found = principals.read(kafka, codec)[name]
        assert (found.active, found.roles, found.tenants, found.token_hashes) == (True, roles, (), (digest(token),))
        return
    with pytest.raises(ConfigError, match="at least one role"):
        principals.register(kafka, codec, name)
    assert not principals.read(kafka, codec)[name].active


@pytest.mark.parametrize(
    ("name", "role", "tenants", "says"),
    [
        ("Ann", "operator", [], "1 to 63 of a-z"),
        ("ann", "root", [], "is no role"),
        ("ann", "operator", ["A B"], "1 to 63 of a-z"),
        ("ann", "operator", [f"t{n}" for n in range(101)], "100 tenants at most"),
    ],
)
def test_what_is_no_principal_is_refused(codec: Codec, name: str, role: str, tenants: list[str], says: str) -> None:
    """Before Kafka is asked anything."""
    with pytest.raises(ConfigError, match=says):
        principals.register(KafkaSettings(), codec, name, roles=[role], tenants=tenants)


def test_a_skill_is_a_word_as_workflows_name_it(codec: Codec) -> None:
    """Before Kafka is asked anything."""
    for skill in ("Sanctions", "", "a-b", "x" * 65, "**"):
        with pytest.raises(ConfigError, match="a letter first"):
            principals.register(KafkaSettings(), codec, "ann", roles=["reviewer"], skills=[skill])
    with pytest.raises(ConfigError, match="100 skills at most"):
        principals.register(KafkaSettings(), codec, "ann", roles=["reviewer"], skills=[f"s{n}" for n in range(101)])


def test_a_home_has_two_principals_whose_tokens_are_its_own(kafka: KafkaSettings, codec: Codec, tmp_path: Path) -> None:
    """Kept for their owner alone, and made anew when they are not valid any more."""
    principals.own_tokens(tmp_path, kafka, codec)
    files = [principals.token_file(tmp_path, name) for name in principals.OWN]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    kept = [credentials.kept(file) for file in files]
    principals.own_tokens(tmp_path, kafka, codec)
    assert [credentials.kept(file) for file in files] == kept
    principals.remove(kafka, codec, principals.APPROVER)
    principals.own_tokens(tmp_path, kafka, codec)
    found = principals.read(kafka, codec)
    assert credentials.kept(files[0]) == kept[0]
    assert digest(credentials.kept(files[1])) in found[principals.APPROVER].token_hashes
    assert found[principals.APPROVER].roles == ("approver",)
    principals.register(kafka, codec, principals.OPERATOR, skills=[])  # as in a home of before there were skills
    principals.own_tokens(tmp_path, kafka, codec)
    operator = principals.read(kafka, codec)[principals.OPERATOR]
    assert principals.can(operator, "sanctions")
    assert digest(credentials.kept(files[0])) in operator.token_hashes


def test_principals_are_made_listed_and_removed_by_command(
    kafka: KafkaSettings, registry_url: str, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token on standard output alone, once; never in a list."""
    settings = Settings(home=tmp_path, kafka=kafka, registry=RegistrySettings(url=registry_url))
    monkeypatch.setattr(tenant, "running", lambda: Running(settings, "", ""))
    name, invoke = f"c-{unique}", CliRunner().invoke

    def skills() -> list[str]:
        every = json.loads(invoke(principal.group, ["list", "--json"]).stdout)
        return next(each["skills"] for each in every if each["principal"] == name)

    added = invoke(principal.group, ["add", name, "--role", "reviewer", "--tenant", "acme", "--skill", "sanctions"])
    assert added.exit_code == 0, added.output
    token = added.stdout.strip()
    listed = invoke(principal.group, ["list", "--json"])
    assert token not in listed.stdout
    (mine,) = [each for each in json.loads(listed.stdout) if each["principal"] == name]
    assert (mine["roles"], mine["tenants"], mine["tokens"], mine["active"]) == (["reviewer"], ["acme"], 1, True)
    assert mine["skills"] == ["sanctions"]
    assert invoke(principal.group, ["add", name]).exit_code == 0
    assert skills() == ["sanctions"], "as they were"
    assert invoke(principal.group, ["add", name, "--no-skills"]).exit_code == 0
    assert skills() == []
    assert invoke(principal.group, ["remove", name]).exit_code == 0
    assert invoke(principal.group, ["remove", name]).exit_code == NOT_FOUND


def test_a_command_is_asked_again_until_its_answer_has_come(kafka: KafkaSettings, codec: Codec, unique: str) -> None:
    """None in time is None; once the answer is known nothing is written any more, also by a process started later."""
    command = commands.requested(
        JobCommand(kind=Kind.PAUSE), object_id=f"job-{unique}", principal="ann", key=unique, reason="", now_ms=1
    )
    answer = OperationAnswered(
        command_id=command.command_id,
        kind=command.kind,
        object_id=command.object_id,
        status="done",
        problem="",
        detail="",
        result="{}",
        answered_at=2,
    )

    async def test() -> None:
        delivery = Delivery(kafka, client_id="aios.test")
        answers = Answers(kafka, codec, delivery)
        try:
            await answers.start()
            assert await answers.ask(command, "", 0.1) is None
            asking = asyncio.create_task(answers.ask(command, "", 20.0))
            value = codec.encode(OPERATION_ANSWERED, answer)
            await delivery.deliver(Outgoing(OPERATION_ANSWERED.name, b"x", b"rubbish", ()))
            await delivery.deliver(Outgoing(OPERATION_ANSWERED.name, command.command_id.encode(), value, ()))
            assert await asking == answer
            later = Answers(kafka, codec, delivery)
            try:
                await later.start()
                assert await later.ask(command, "", 20.0) == answer
            finally:
                await asyncio.to_thread(later.close)
        finally:
            await asyncio.to_thread(answers.close)
            await asyncio.to_thread(delivery.close)

    asyncio.run(test())
    found = [record for record in read_all(kafka, OPERATION_REQUESTED.name) if record.key == command.object_id.encode()]
    assert [codec.decode(record.value, OperationRequested) for record in found] == [command, command]
