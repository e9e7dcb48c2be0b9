"""`aios workflow deploy|list|autonomy|migrate|cancel|activate` and `aios publish` of a workflow that came later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aios.infra import deploying
from aios.infra.cli import aios
from aios.infra.output import FAILED, NOT_FOUND
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseAdmitted
from aios.streams import config, limits, principals, tenants
from aios.streams.config import Settings
from aios.streams.errors import ConfigError
from aios.streams.topics import AUDIT_RECORDED, CASE_ADMITTED
from tests.broker import test_workflow_deploy
from tests.broker.test_workflow_deploy import events, process, until
from tests.fakes import claims, questions

pytestmark = pytest.mark.broker
settings = test_workflow_deploy.settings


@dataclass
class Here:
    """A home whose system is the test run's broker, registry and Valkey."""

    settings: Settings
    codec: Codec
    tenant: str

    def aios(self, *arguments: str) -> Result:
        config.load.cache_clear()
        environment = {
            "AIOS_HOME": str(self.settings.home),
            "AIOS_DEFAULT_TENANT": self.tenant,
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": self.settings.registry.url,
            "AIOS_REDIS__URL": self.settings.redis.url,
        }
        return CliRunner().invoke(aios, arguments, env=environment)

    def said(self, *arguments: str) -> Any:
        result = self.aios(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def here(settings: Settings, codec: Codec, unique: str) -> Iterator[Here]:
    settings.home.mkdir()
    tenants.own_key(settings.home, settings.kafka, codec, f"t-{unique}")
    principals.own_tokens(settings.home, settings.kafka, codec)
    yield Here(settings, codec, f"t-{unique}")
    config.load.cache_clear()


def test_a_workflow_lives_from_its_deployment_to_its_end(here: Here, unique: str, tmp_path: Path) -> None:
    """By command alone: deployed, listed, given more freedom, its rows published, open cases moved, retired, back."""
    name, contract = f"claims.c{unique}", f"claim.c{unique}.v1"
    file = claims.write(tmp_path, name, contract)
    with process(here.settings, "admit"), process(here.settings, "plan"):
        told = here.said("workflow", "deploy", str(file), "--why", "finance asked for it")
        assert (told["active"], told["read"], told["tests"]) == (True, True, {"passed": 5, "all": 5})
        (row,) = [one for one in here.said("workflow", "list") if one["workflow"] == name]
        assert (row["state"], row["autonomy"], row["by"]) == ("active", "auto", "operator")
        narrower = here.said("workflow", "autonomy", name, "suggest", "--share", "0.5", "--why", "an audit")
        assert (narrower["autonomy"], narrower["auto_permille"]) == ("suggest", 500)
        here.said("workflow", "autonomy", name, "auto", "--why", "the audit is over")

        rows = tmp_path / "claims.csv"
        rows.write_text('employee,purpose,receipts\nAnn,taxi,[]\nBob,taxi,"[{""cents"": 1}]"\nEve,taxi,no\n', "utf-8")
        result = here.aios("publish", str(rows), "--workflow", name, "--json")
        assert result.exit_code == FAILED
        assert json.loads(result.stdout)["published"] == 2
        admitted = until(lambda: events(here.settings, here.codec, CASE_ADMITTED, CaseAdmitted, here.tenant), 2)
        assert sorted(json.loads(one.input)["receipts"] for one in admitted) == [[], [{"what": "", "cents": 1}]]

        file.write_text(file.read_text("utf-8").replace("version: 1", "version: 2").replace("10000", "20000"), "utf-8")
        changes = here.said("workflow", "diff", str(file))["changes"]
        assert changes == ["~ policy.alone_max_cents: 10000 → 20000"]
        here.said("workflow", "deploy", str(file), "--why", "more at once")
        moves = until(lambda: here.said("workflow", "migrate", name, "--to", "2", "--dry-run"), 1)
        assert [(one["from"], one["moves"], one["why"]) for one in moves] == [(1, "would go", "")]
        assert here.aios("workflow", "migrate", name, "--to", "9", "--dry-run").exit_code == NOT_FOUND
        assert here.aios("workflow", "migrate", f"{name}x", "--to", "2", "--dry-run").exit_code == NOT_FOUND
        file.write_text(
            file.read_text("utf-8").replace("version: 2", "version: 3").replace("_h: 24", "_h: 48"), "utf-8"
        )
        here.said("workflow", "deploy", str(file), "--why", "two days", "--inactive")
        stays = here.aios("workflow", "migrate", name, "--to", "3", "--dry-run").stdout
        assert f"stays  it waits in ask, which asks something else in {name}@3: expires_h" in stays
        assert "what stays finishes on its own version" in stays

        would = here.said("workflow", "cancel", name, "--why", "over", "--open-cases", "--dry-run")
        assert would == {"workflow": name, "retired": False, "dry_run": True, "open_cases": 1, "called_off": 0}
        text = here.aios("workflow", "cancel", name, "--why", "over", "--open-cases", "--dry-run").stdout
        assert text == f"{name} would be retired: new events of it would be refused\n1 open cases would be called off\n"
        here.said("workflow", "cancel", name, "--why", "over")
        assert "is retired already" in here.aios("workflow", "cancel", name, "--why", "over").stdout
        assert here.aios("publish", str(rows), "--workflow", name).exit_code == NOT_FOUND
        here.said("workflow", "activate", f"{name}@1", "--why", "not over")
        (state,) = {
            one["state"] for one in here.said("workflow", "list") if one["workflow"] == name and one["version"] == 1
        }
        assert state == "active"
    told = [one for one in events(here.settings, here.codec, AUDIT_RECORDED, AuditRecorded, "") if name in one.case_id]
    assert [one.transition for one in sorted(told, key=lambda one: one.at)] == [
        "workflow_deployed",
        "workflow_activated",
        "autonomy_narrowed",
        "autonomy_widened",
        "workflow_deployed",
        "workflow_activated",
        "workflow_deployed",
        "workflow_retired",
        "workflow_activated",
    ]
    assert {one.actor for one in told} == {"operator"}


def test_a_limit_that_would_bind_nothing_is_refused_by_name(here: Here, unique: str, tmp_path: Path) -> None:
    """Of a workflow that came later too, alone or among all; nor may such a one take cases where a limit is declared.
    With a `budget:` both may be.
    """
    name = f"questions.q{unique}"
    file = questions.write(tmp_path, name, f"question.q{unique}.v1")

    def deploy() -> None:
        deploying.deploy(here.settings, here.codec, deploying.judge(file), by="ada", reason="", active=True)

    def limit(*workflow: str) -> Result:
        return here.aios("budget", "set", here.tenant, *workflow, "--hard", "5")

    deploy()
    for refused in (limit(name), limit()):
        assert refused.exit_code == FAILED
        assert f"{name}@1 asks models and has no `budget:" in refused.stderr
    assert here.said("budget", "show", here.tenant) == []
    assert limit("kyc.review").exit_code == FAILED
    assert limit("mine.own").exit_code == NOT_FOUND
    cheaper = here.aios("budget", "set", here.tenant, "document.triage", "--hard", "5", "--over", "cheaper")
    assert "document.triage@4 has no `cheaper_max_micro`" in cheaper.stderr

    of_all = limits.limit(here.tenant, limits.ALL, window="day", hard_micro=5, soft_micro=0, policy="refuse")
    limits.declare(here.settings.kafka, here.codec, replace(of_all, by="ada"))
    try:
        assert f"{here.tenant}/*: {name}@1 asks models" in here.aios("budget", "show", here.tenant).stderr
        here.said("workflow", "cancel", name, "--why", "it passes the limit")
        again = here.aios("workflow", "activate", f"{name}@1", "--why", "not over")
        assert again.exit_code == FAILED
        assert f"{here.tenant}/*" in again.stderr
        text = file.read_text("utf-8").replace("version: 1", "version: 2")
        file.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match="would pass the limits"):
            deploy()
        budget = "budget: {per_case_max_micro: 5000, on_denied: {reason: over_budget, then: failed}}"
        file.write_text(text.replace("start: first\n", f"{budget}\nstart: first\n"), "utf-8")
        deploy()
        assert limit(name).exit_code == 0
    finally:
        here.aios("budget", "lift", here.tenant)
