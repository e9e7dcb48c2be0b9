"""Which version of a model serves, on a real broker: activated by a principal, on the audit, seen by plan."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aios.infra.commands import model, tenant
from aios.infra.output import FAILED, NOT_FOUND
from aios.infra.running import Running
from aios.processors.cases.active import Active
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded
from aios.streams import model_files, principals
from aios.streams.admin import ensure_topics, read_all
from aios.streams.config import KafkaSettings, RegistrySettings, Settings
from aios.streams.topics import AUDIT_RECORDED, MODEL_ACTIVATED, PRINCIPAL_REGISTERED, PROMPT_ACTIVATED
from tests.broker.test_reference import until

pytestmark = pytest.mark.broker

NAME = "triage-encoder"
NEWEST = f"{NAME}@{model_files.newest(NAME)}"
OLDEST = f"{NAME}@{model_files.versions(NAME)[0]}"


class Person:
    """Somebody at the command line, with a token."""

    def __init__(self, token: Path) -> None:
        self._token = token

    def asks(self, *words: str) -> Result:
        return CliRunner().invoke(model.group, [*words, "--token-file", str(self._token), "--json"])


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    asyncio.run(ensure_topics(kafka, (MODEL_ACTIVATED, PROMPT_ACTIVATED, PRINCIPAL_REGISTERED, AUDIT_RECORDED)))
    found = Settings(home=tmp_path, kafka=kafka, registry=RegistrySettings(url=registry_url))
    for module in (tenant, model):
        monkeypatch.setattr(module, "running" if module is tenant else "found_running", lambda: Running(found, "", ""))
    return found


def person(settings: Settings, codec: Codec, name: str, role: str) -> Person:
    path = settings.home / f"{name}.token"
    path.write_text(principals.register(settings.kafka, codec, name, roles=[role]), encoding="ascii")
    return Person(path)


def audits(settings: Settings, codec: Codec, actor: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (event.transition, json.loads(event.detail))
        for record in read_all(settings.kafka, AUDIT_RECORDED.name)
        if record.key == f"model:{NAME}".encode()
        for event in [codec.decode(record.value, AuditRecorded)]
        if event.actor == actor
    ]


def test_an_operator_activates_and_retires_and_plan_follows(settings: Settings, codec: Codec, unique: str) -> None:
    """Under the name of the token; each act is on the audit; plan's table has it within moments."""
    operator = person(settings, codec, f"op-{unique}", "operator")
    following = Active(settings.kafka, codec)
    following.start()
    try:
        said = operator.asks("activate", OLDEST, "--why", "it is known")
        assert said.exit_code == 0, said.output
        assert json.loads(said.stdout)["by"] == f"op-{unique}"
        assert until(lambda: following.model(NAME, "case") == OLDEST)
        assert operator.asks("retire", NAME).exit_code == 0
        assert until(lambda: following.model(NAME, "case") == "")
        assert operator.asks("activate", NEWEST).exit_code == 0
        assert until(lambda: following.model(NAME, "case") == NEWEST)
    finally:
        following.close()
    told = audits(settings, codec, f"op-{unique}")
    assert [transition for transition, _ in told] == ["model_activated", "model_retired", "model_activated"]
    assert told[0][1]["reason"] == "it is known"
    assert told[0][1]["digests"] == {OLDEST: model_files.digest(OLDEST)}
    listed = json.loads(CliRunner().invoke(model.group, ["list", "--json"]).stdout)
    assert next(one["serves"] for one in listed if one["model"] == NEWEST) == "all"


def test_who_may_not_changes_nothing(settings: Settings, codec: Codec, unique: str) -> None:
    """An analyst, a made-up token, and a version that is not there."""
    analyst = person(settings, codec, f"an-{unique}", "analyst")
    refused = analyst.asks("activate", NEWEST)
    assert refused.exit_code == FAILED
    assert "operator" in refused.stderr
    false = settings.home / "false.token"
    false.write_text("nobody", encoding="ascii")
    assert Person(false).asks("retire", NAME).exit_code == FAILED
    assert person(settings, codec, f"op-{unique}", "operator").asks("activate", f"{NAME}@99").exit_code == NOT_FOUND
    assert audits(settings, codec, f"an-{unique}") == []
