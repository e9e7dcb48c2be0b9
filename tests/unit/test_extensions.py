"""A team's own systems, pools, policies and prompts: read beside those that ship, and nothing of these is replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from aios.inference_workers import evaluation
from aios.infra import deploying
from aios.infra.commands import system as command
from aios.infra.local.home import Home
from aios.infra.output import FAILED
from aios.infra.running import unread
from aios.processors.cases import active
from aios.processors.connectors import registry
from aios.processors.language import policy_files
from aios.schemas.models import PromptActivated
from aios.streams import announced, config, installed, pool_files, prompt_files, system_files
from aios.streams.errors import ConfigError, StateBroken
from tests.fakes import own_files

ERP = """\
system: erp
does: what we know of our suppliers
connector: http
operations:
  find: {method: GET, path: "/suppliers/{registration}", request: {registration: text}, response: {name: text}}
objective: {p95_ms: 1000}
"""
POLICY = """\
policy: new_account
version: 1
owner: purchasing
about: A letter that tells of another bank account is read by a person.
at: before
rules: {account: {says: another bank account, never: [new account]}}
"""
CASES = """\
policy: new_account@1
passes: [{name: a question, text: Please tell us when you pay our invoice.}]
stops: [{name: an account, rules: [account], text: This is our new account.}]
"""
SUMMARY = prompt_files.FOLDER / "summary"
BRIEF, LETTER, SET = "pools/brief.bulk.yaml", "prompts/letter/1.md", "prompts/letter/evaluation.yaml"
MINE = ERP[ERP.index("connector") : ERP.index("objective")]  # what the connector http has alone
FILES: Mapping[str, str] = {
    "systems/erp.yaml": ERP,
    BRIEF: (pool_files.FOLDER / "generate.bulk.yaml")
    .read_text(encoding="utf-8")
    .replace("generate.bulk", "brief.bulk"),
    "policies/new_account@1.yaml": POLICY,
    "policies/new_account@1.cases.yaml": CASES,
    LETTER: (SUMMARY / "2.md")
    .read_text(encoding="utf-8")
    .replace("name: summary", "name: letter")
    .replace("version: 2", "version: 1"),
    SET: (SUMMARY / "evaluation.yaml").read_text(encoding="utf-8").replace("prompt: summary", "prompt: letter"),
}
DECLARED = """
import json
from aios.infra import pool_manifests, stage_manifests
from aios.infra.local.system import POOLS
from aios.processors.connectors import serving
from aios.streams import acls, installed, model_files, topology
print(json.dumps({
    "topics": sorted(topology.all_topics()),
    "processes": list(topology.PROCESSES),
    "pools": list(POOLS),
    "served": [each.system.system for each in serving.shipped()],
    "acls": acls.script(topology.STAGES),
    "compose": stage_manifests.compose(),
    "kubernetes": pool_manifests.manifests(installed.pools().values()),
    "models": list(map(str, model_files.FOLDERS)),
}))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one file of each kind, which the settings name."""
    monkeypatch.setenv("AIOS_EXTENSIONS__FOLDER", str(own_files.write(tmp_path, FILES)))
    with own_files.read_anew():
        yield tmp_path


def declared(**environment: str) -> dict[str, Any]:
    """What a process says that starts with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
    said = subprocess.run([sys.executable, "-c", DECLARED], env=kept | environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_a_file_of_each_kind_is_known_beside_those_that_ship(own: Path) -> None:
    """By the readers that all stages have, and with its digest, as those of the release."""
    assert list(installed.systems()) == [*system_files.read(system_files.FOLDER), "erp"]
    assert set(installed.pools()) == {*pool_files.read(pool_files.FOLDER), "brief.bulk"}
    assert set(registry.operations("erp")) == {"find"}
    assert {"no_injection@1", "new_account@1"} < set(policy_files.known())
    assert len(policy_files.load("new_account@1").digest) == len(policy_files.load("no_injection@1").digest)
    assert [one.name for one in policy_files.cases("new_account@1").stops] == ["an account"]
    assert {"summary@2", "letter@1"} < set(prompt_files.known())
    assert (prompt_files.names(), prompt_files.versions("letter")) == (["letter", "summary"], [1])
    assert evaluation.load("letter").prompt == "letter"


def test_a_prompt_of_ones_own_serves_by_the_record_beside_it_and_while_its_file_is_that_one(own: Path) -> None:
    """As one that ships; the record is in the team's folder, where the workers look too."""
    prompt, chosen = prompt_files.load("letter@1"), evaluation.load("letter")
    told = {kind: {"passed": 1.0, "all": 1.0, "needed": 1.0} for kind in chosen.thresholds}
    record = prompt_files.Recorded(
        prompt="letter@1",
        prompt_digest=prompt.digest,
        set_digest=chosen.digest,
        model="summariser@1",
        engine="vllm",
        passed=True,
        kinds=told,
    )
    path = prompt_files.record_of("letter@1")
    assert path.parent == own / "prompts" / "letter"
    path.write_text(record.model_dump_json(), encoding="utf-8")
    assert (prompt_files.newest("letter"), prompt_files.unanswerable("letter@1", "summariser@1")) == (1, "")
    file = own / "prompts" / "letter" / "1.md"
    file.write_text(file.read_text(encoding="utf-8") + "\nAnd be brief.\n", encoding="utf-8")
    assert "never evaluated" in prompt_files.unanswerable("letter@1", "summariser@1")


def test_topics_processes_rules_and_manifests_follow_from_the_files(own: Path) -> None:
    """Of every process that starts with the setting; what ships is there with and without it."""
    before, after = declared(), declared(AIOS_EXTENSIONS__FOLDER=str(own))
    more = set(after["topics"]) - set(before["topics"])
    groups = ("aios.connectors.erp", "aios.brief.bulk")
    assert more == {
        "connector.erp.requested.v1",
        "inference.brief.bulk.requested.v1",
        "inference.brief.bulk.cancelled.v1",
        *(f"{group}.{kind}" for group in groups for kind in ("retry", "dlq")),
    }
    assert set(before["topics"]) < set(after["topics"])
    assert set(after["processes"]) - set(before["processes"]) == {"brief"}
    assert set(after["pools"]) - set(before["pools"]) == {"brief"}
    assert after["served"] == [*before["served"], "erp"]
    assert {"erp", "brief"} <= set(re.findall(r"\b(?:erp|brief)\b", after["acls"]))
    services = set(yaml.safe_load(after["compose"])["services"])
    assert services - set(yaml.safe_load(before["compose"])["services"]) == {"brief"}
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(after["kubernetes"]) if each]
    assert names.count("aios-brief-bulk") == 2
    assert after["models"] == [*before["models"], str(own / "models")]


@pytest.mark.parametrize(
    ("name", "text", "taken"),
    [
        ("systems/webhook.yaml", ERP.replace("system: erp", "system: webhook"), system_files.FOLDER / "webhook.yaml"),
        ("pools/generate.bulk.yaml", "pool: generate.bulk\n", pool_files.FOLDER / "generate.bulk.yaml"),
        ("policies/no_injection@2.yaml", POLICY, policy_files.FOLDER / "no_injection@1"),
        ("prompts/summary/3.md", "---\n---\n", SUMMARY),
    ],
)
def test_a_name_that_ships_is_refused_with_both_paths(own: Path, name: str, text: str, taken: Path) -> None:
    """In any version: what a shipped workflow names is what ships, on every machine."""
    own_files.write(own, {name: text})
    readers = {
        "systems": installed.systems,
        "pools": installed.pools,
        "policies": policy_files.known,
        "prompts": prompt_files.names,
    }
    kind, _, rest = name.partition("/")
    with pytest.raises(ConfigError) as caught:
        readers[kind]()
    (told,) = str(caught.value).splitlines()
    assert told.startswith(f"{own / kind / rest.partition('/')[0]}:1:1: ")
    assert str(taken) in told


def test_a_file_that_would_never_be_read_is_told(own: Path) -> None:
    """Else its system would be missing, and nobody would know why."""
    own_files.write(own, {"systems/crm.yml": ERP})
    with pytest.raises(ConfigError, match=r"crm\.yml:1:1: a file that ends in \.yml is not read: name it crm\.yaml"):
        installed.systems()


@pytest.mark.parametrize(
    ("name", "right", "wrong", "told"),
    [
        (BRIEF, "engine: vllm", "engine: vlm", ":6:1: engine: Input should be 'vllm', 'openai' or"),
        (BRIEF, "limits:", "limit:", ":8:1: unknown key limit; did you mean limits?"),
        (BRIEF, "pool: brief", "pool: brif", ":2:1: pool: the file is named after its pool, and this"),
        (BRIEF, "retries", "fallback: nobody\nretries", "fallback: there is no pool nobody.bulk for the task gen"),
        (BRIEF, "retries", "server: {url: 'http://me:hunter2@x'}\nretries", "server.url: this does not fit here"),
        (LETTER, "contract: gen", "contrct: gen", ": unknown key contrct; did you mean contract?"),
        (LETTER, "name: letter", "name: letters", ":2:1: name: the file says it is letters@1"),
        (LETTER, "name: letter", "name: [", ":4:6: expected ',' or ']', but got ':'"),
        (SET, "prompt: letter", "prompt: other", ":2:1: prompt: the file says it is of other"),
        (SET, "thresholds:", "treshholds:", ": unknown key treshholds; did you mean thresholds?"),
    ],
)
def test_a_mistake_has_its_line_its_column_and_a_hint(own: Path, name: str, right: str, wrong: str, told: str) -> None:
    """As in workflows; what may be a secret is not repeated."""
    text = FILES[name]
    assert right in text
    own_files.write(own, {name: text.replace(right, wrong, 1)})

    def read() -> None:
        installed.pools()
        prompt_files.load("letter@1")
        evaluation.load("letter")

    with pytest.raises(ConfigError) as caught:
        read()
    lines = str(caught.value).splitlines()
    assert all(re.match(rf"{re.escape(str(own / name))}:\d+:\d+: ", line) for line in lines), lines
    assert any(told in line for line in lines), lines
    assert "hunter2" not in str(caught.value)


def test_a_text_above_the_first_message_has_its_line(own: Path) -> None:
    """It would be read by no model."""
    text = FILES[LETTER]
    line = text[: text.index("\n# system")].count("\n") + 1
    own_files.write(own, {LETTER: text.replace("\n# system", "\nBe brief.\n# system", 1)})
    with pytest.raises(ConfigError, match=rf"1\.md:{line + 1}:1: text above the first message"):
        prompt_files.load("letter@1")


def test_the_folder_must_be_there_and_may_be_named_from_where_one_stands(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a slip in it would be a system without its systems."""
    monkeypatch.chdir(own)
    monkeypatch.setenv("AIOS_EXTENSIONS__FOLDER", ".")
    assert config.read().extensions.folder == own
    monkeypatch.setenv("AIOS_EXTENSIONS__FOLDER", "owm")
    with pytest.raises(ConfigError, match=r"extensions\.folder"):
        config.read()


def test_a_command_may_say_which_home_is_its_own_after_the_stages_are_declared(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are at import; what measures in a home of its own says so later."""
    assert "erp" in installed.systems()
    monkeypatch.setenv("AIOS_HOME", str(own / "home"))
    assert config.load().home == own / "home"


# ── aios system ──


def test_systems_are_listed_with_where_they_come_from(own: Path) -> None:
    """And what each can be asked."""
    rows = {one["system"]: one for one in json.loads(CliRunner().invoke(command.group, ["list", "--json"]).stdout)}
    assert (rows["erp"]["operations"], rows["erp"]["from"], rows["erp"]["at"]) == (["find"], "own folder", "")
    assert rows["webhook"]["from"] == "shipped"


def test_a_system_is_checked_before_it_is_anywhere(tmp_path: Path) -> None:
    """What is fine says what it can be asked, and what a deployment still has to say."""
    path = own_files.write(tmp_path, {"erp.yaml": ERP}) / "erp.yaml"
    result = CliRunner().invoke(command.group, ["check", str(path)])
    said = f"{path}: erp is fine, it can be asked to find; where it is stands nowhere yet: connectors.options.erp.url"
    assert (result.exit_code, result.stdout) == (0, f"{said} in aios.yaml\n")


@pytest.mark.parametrize(
    ("name", "right", "wrong", "told"),
    [
        ("erp.yaml", "connector: http", "connector: htp", ":3:1: the connector http has `operations` in its file"),
        (
            "erp.yaml",
            MINE,
            "connector: webhok\n",
            "did you mean webhook?",
        ),
        ("erp.yaml", "does:", "endpoint: tenant\ndoes:", ":2:1: endpoint: requests of find have no field tenant"),
        ("erp.yaml", "p95_ms: 1000", "p95: 1000", ":6:13: objective: unknown key p95; did you mean p95_ms?"),
        ("webhook.yaml", "system: erp", "system: webhook", "and is not replaced: take another name"),
    ],
)
def test_a_system_with_a_mistake_is_told_where(tmp_path: Path, name: str, right: str, wrong: str, told: str) -> None:
    """A connector that there is not, an endpoint that no request names, a name that ships."""
    path = own_files.write(tmp_path, {name: ERP.replace(right, wrong, 1)}) / name
    result = CliRunner().invoke(command.group, ["check", str(tmp_path)])
    assert result.exit_code == FAILED
    assert any(line.startswith(f"{path}:") and told in line for line in result.stderr.splitlines()), result.stderr


@pytest.mark.parametrize(("reads", "says"), [("", "reads no folder of its own, not "), (".", "")])
def test_a_workflow_is_not_deployed_to_a_system_that_reads_another_folder(
    own: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, reads: str, says: str
) -> None:
    """Its policies and prompts would be missing there, and plan would stop over it."""
    home = Home(tmp_path_factory.mktemp("home"))
    monkeypatch.setenv("AIOS_HOME", str(home.folder))
    home.prepare()
    assert unread() == "", "nothing runs"
    with home.lock():
        home.publish({"extensions": str(own) if reads else ""})
        assert (says in unread(), bool(unread())) == (True, bool(says))


def test_a_workflow_is_not_deployed_to_stages_that_do_not_know_its_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its topic is not there: the file came after they started, and plan would stop over such a version."""
    asked: list[str] = []

    def partitions_of(_kafka: object, topic: str) -> list[int]:
        asked.append(topic)
        if topic == "connector.sanctions.requested.v1":
            raise StateBroken("no such topic")
        return [0]

    monkeypatch.setattr(deploying, "partitions_of", partitions_of)
    workflow = deploying.judge(Path("processors/workflows/kyc.review.yaml")).sound.workflow
    (why,) = deploying._unserved(config.KafkaSettings(), workflow)
    assert why.startswith("connectors.sanctions has its file here")
    assert len(asked) > 1


def test_a_prompt_that_running_stages_have_seen_as_a_draft_serves_as_it_was_activated(own: Path) -> None:
    """They announce what is here every few seconds, so they have read the copy that its author then edited."""
    assert announced.here()["prompt/letter@1"]
    file = own / "prompts" / "letter" / "1.md"
    file.write_text(file.read_text(encoding="utf-8") + "\nAnd be brief.\n", encoding="utf-8")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    passed: dict[str, Any] = {"set_digest": "", "model": "summariser@1", "engine": "vllm", "passed": True, "kinds": {}}
    said = prompt_files.Recorded(prompt="letter@1", prompt_digest=digest, **passed).model_dump_json()
    prompt_files.record_of("letter@1").write_text(said, encoding="utf-8")
    told = PromptActivated(prompt="letter", version=1, evaluation=said, reason="", by="", activated_at=0)
    assert announced.here()["prompt/letter@1"] == digest
    assert active.prompt_of("letter", told) == "letter@1"
    assert prompt_files.unanswerable("letter@1", "summariser@1") == ""
