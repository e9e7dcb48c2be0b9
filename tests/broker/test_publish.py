"""`aios publish`, `tenant`, `env`, `review` and the README's two programs, against a real broker and registry."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from aios.infra.cli import aios
from aios.infra.commands import publish as publishing
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, DocumentReceived
from aios.streams import config, credentials, inputs, tenants
from aios.streams.admin import ensure_topics, read_all
from aios.streams.config import KafkaSettings
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    TENANT_REGISTERED,
    WORKFLOW_ACTIVATED,
    WORKFLOW_DEPLOYED,
)
from tests.broker.running import begin_at_the_end

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]
WORKFLOW = "document.triage"
WAIT_S_MAX = 30.0
TOPICS = (
    DOCUMENT_RECEIVED,
    CASE_DECIDED,
    TENANT_REGISTERED,
    AUDIT_RECORDED,
    WORKFLOW_DEPLOYED,
    WORKFLOW_ACTIVATED,
)


@dataclass
class Here:
    """A home whose system is the test run's broker and registry."""

    kafka: KafkaSettings
    codec: Codec
    home: Path
    tenant: str
    environment: dict[str, str]

    def aios(self, *arguments: str) -> Result:
        config.load.cache_clear()
        return CliRunner().invoke(aios, arguments, env=dict(self.environment))

    def publish(self, file: Path, *options: str) -> Result:
        return self.aios("publish", str(file), "--workflow", WORKFLOW, "--tenant", self.tenant, "--json", *options)

    def events(self) -> list[DocumentReceived]:
        """Of this test's tenant, by partition and offset."""
        return [
            self.codec.decode(record.value, DocumentReceived)
            for record in read_all(self.kafka, DOCUMENT_RECEIVED.name)
            if record.header("aios-tenant") == self.tenant
        ]


@pytest.fixture
def here(kafka: KafkaSettings, registry_url: str, codec: Codec, unique: str, tmp_path: Path) -> Iterator[Here]:
    asyncio.run(ensure_topics(kafka, TOPICS))
    tenant = f"t-{unique}"
    tenants.own_key(tmp_path, kafka, codec, tenant)
    yield Here(
        kafka,
        codec,
        tmp_path,
        tenant,
        {
            "AIOS_HOME": str(tmp_path),
            "AIOS_DEFAULT_TENANT": tenant,
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": registry_url,
            "AIOS_REDIS__URL": "redis://127.0.0.1:1/0",
        },
    )
    config.load.cache_clear()


def said(result: Result) -> Any:
    return json.loads(result.stdout)


def test_rows_become_cases_and_bad_rows_are_named(here: Here, tmp_path: Path) -> None:
    """Each good row one event in the bulk lane; each bad one a line in the file of rejected rows; exit 1."""
    file = tmp_path / "letters.csv"
    file.write_bytes(
        b'\xef\xbb\xbfnumber,text,subject,label\n1,first,s,x\n2,,s,x\n3,"two\nlines",s,x\n4,\xff,s,x\n5,last,s,x,extra\n'
    )
    result = here.publish(file, "--key", "number")
    assert result.exit_code == 1
    assert said(result) | {"rejected_file": ""} == {
        "rows": 5,
        "published": 2,
        "before": 0,
        "rejected": 3,
        "rejected_file": "",
        "tenant": here.tenant,
        "workflow": WORKFLOW,
    }
    events = {event.idempotency_key: event for event in here.events()}
    assert {key: (event.text, event.subject, event.lane) for key, event in events.items()} == {
        "1": ("first", "s", "bulk"),
        "3": ("two\nlines", "s", "bulk"),
    }
    rejected = [json.loads(line) for line in (tmp_path / "letters.csv.rejected.jsonl").read_text().splitlines()]
    assert [(each["line"], each["reason"].partition(":")[0]) for each in rejected] == [
        (3, "text"),
        (6, "not UTF-8"),
        (7, "more cells than columns"),
    ]
    assert f"{file}:3: text" in result.stderr


def test_a_folder_that_takes_no_rejected_rows_is_said(here: Here, tmp_path: Path) -> None:
    """Before anything is published: a row that is rejected later must have its place."""
    file = tmp_path / "in.csv"
    file.write_text("text\na\n", encoding="utf-8")
    (tmp_path / "in.csv.rejected.jsonl").mkdir()
    result = here.publish(file)
    assert (result.exit_code, "Is a directory" in result.stderr, here.events()) == (1, True, [])


def test_json_lines_with_columns_of_other_names(here: Here, tmp_path: Path) -> None:
    """--set says which field is which; without a key, the file's content and the row are the key."""
    file = tmp_path / "in.jsonl"
    file.write_text('{"body": "a", "subject": 7}\n\n{"body": 5}\n[]\n{"body": "a"}\nnonsense\n', encoding="utf-8")
    result = here.publish(file, "--set", "text=body")
    assert result.exit_code == 1
    assert (said(result)["published"], said(result)["rejected"]) == (2, 3)
    events = here.events()
    assert [event.text for event in events] == ["a", "a"]
    assert len({event.idempotency_key for event in events}) == 2


def test_published_again_nothing_goes_out_and_from_the_start_it_is_the_same_cases(here: Here, tmp_path: Path) -> None:
    """The home remembers; and where it does not, repeats are the same events."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f'{{"text": "text {n}"}}\n' for n in range(20)), encoding="utf-8")
    assert said(here.publish(file))["published"] == 20
    again = here.publish(file)
    assert (said(again)["before"], again.exit_code) == (20, 0)
    assert len(here.events()) == 20
    assert here.publish(file, "--from-start").exit_code == 0
    events = here.events()
    assert len(events) == 40
    assert len(set(events)) == 20
    assert not (tmp_path / "in.jsonl.rejected.jsonl").exists()


def test_interrupted_it_goes_on_where_it_stopped(here: Here, tmp_path: Path) -> None:
    """Killed without warning in the middle: the second run publishes the rest, and no rejected row stands twice."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f'{{"text": "text {n}"}}\n' if n % 10 else "{}\n" for n in range(400)), encoding="utf-8")
    command = [sys.executable, "-m", "aios.infra", "publish", str(file), "--workflow", WORKFLOW, "--rate", "120"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
    running = subprocess.Popen(
        command,
        env=clean | here.environment | {"PYTHONSAFEPATH": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + WAIT_S_MAX
        while done_rows(here.home) < 40 and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    before = done_rows(here.home)
    assert 40 <= before < 400
    result = here.publish(file)
    assert said(result)["before"] == before
    assert said(result)["published"] == 360
    assert {event.text for event in here.events()} == {f"text {n}" for n in range(400) if n % 10}
    rejected = (tmp_path / "in.jsonl.rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in rejected] == [n + 1 for n in range(400) if n % 10 == 0]


def done_rows(home: Path) -> int:
    return max((json.loads(each.read_text())["rows"] for each in (home / "run" / "publish").glob("*.json")), default=0)


def test_a_rate_is_kept(here: Here, tmp_path: Path) -> None:
    """30 rows at 60 a second take half a second, and no less."""
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": "a"}\n' * 30, encoding="utf-8")
    began = time.monotonic()
    assert here.publish(file, "--rate", "60").exit_code == 0
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--set", "txt=text"), 2, "fields are text"),
        (("--set", "tenant=text"), 2, "cannot be set"),
        (("--set", "text=nothing"), 2, "has no column nothing"),
        (("--key", "nothing"), 2, "has no column nothing"),
        (("--tenant", "nobody-here"), 3, "aios tenant add nobody-here"),
    ],
)
def test_a_wrong_command_says_what_is_right(
    here: Here, tmp_path: Path, options: tuple[str, ...], status: int, says: str
) -> None:
    """Nothing is published, and the exit code tells usage from absence."""
    file = tmp_path / "in.csv"
    file.write_text("text\na\n", encoding="utf-8")
    result = here.publish(file, *options)
    assert (result.exit_code, says in result.stderr) == (status, True)
    assert here.events() == []


def test_a_tenant_is_made_listed_and_deactivated(here: Here, unique: str) -> None:
    """The key is on standard output alone; only the home's own can be asked for again; env says it."""
    name = f"made-{unique}"
    added = here.aios("tenant", "add", name)
    key = added.stdout.strip()
    assert key.startswith(credentials.PREFIX)
    assert credentials.digest(key) in tenants.read(here.kafka, here.codec)[name].key_hashes
    assert here.aios("tenant", "key", name).exit_code == 3
    assert here.aios("tenant", "key", "../../etc/passwd").exit_code == 3
    own = here.aios("tenant", "key", here.tenant).stdout.strip()
    assert f"export KEY={own}" in here.aios("env").stdout.splitlines()
    assert here.aios("tenant", "deactivate", name).exit_code == 0
    listed = {each["tenant"]: each for each in said(here.aios("tenant", "list", "--json"))}
    assert (listed[name]["active"], listed[name]["keys"], listed[here.tenant]["keys"]) == (False, 0, 1)
    assert here.aios("tenant", "deactivate", f"nobody-{unique}").exit_code == 3
    assert here.aios("tenant", "add", "Not A Name").exit_code == 1


def test_a_new_key_of_the_homes_tenant_is_kept(here: Here) -> None:
    """After `tenant add --only` the commands of this home still have a key that is valid."""
    key = here.aios("tenant", "add", here.tenant, "--only").stdout.strip()
    assert here.aios("tenant", "key", here.tenant).stdout.strip() == key
    assert tenants.read(here.kafka, here.codec)[here.tenant].key_hashes == (credentials.digest(key),)


def example(here: Here, name: str) -> subprocess.Popen[str]:
    """A program of the README, with what `aios env` exports."""
    exported = said(here.aios("env", "--json"))
    return subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "infra" / "demo" / name)],
        env={"PATH": os.environ["PATH"], "KAFKA": exported["KAFKA"], "REGISTRY": exported["REGISTRY"]},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_readmes_producer_is_read_as_an_event(here: Here) -> None:
    """20 lines, a serializer with default settings, no partitioner: its record is whole and has a key."""
    with example(here, "producer_example.py") as program:
        assert program.wait(WAIT_S_MAX) == 0
        assert program.stdout is not None
        assert program.stdout.read().strip().isdigit()
    found = [r for r in read_all(here.kafka, DOCUMENT_RECEIVED.name) if r.key == b"letter-1"]
    assert "card" in here.codec.decode(found[-1].value, DocumentReceived).text


def test_the_readmes_consumer_reads_committed_decisions(here: Here, unique: str) -> None:
    """A decision that was taken back is not shown; the one that was made is, on one line."""

    def decided(case_id: str) -> bytes:
        return here.codec.encode(
            CASE_DECIDED,
            CaseDecided(
                decision_id="d",
                case_id=case_id,
                tenant=here.tenant,
                workflow=WORKFLOW,
                workflow_version=1,
                event_id="e",
                idempotency_key="k",
                outcome="routed",
                label="card",
                confidence=0.9,
                reasons=("confident",),
                models=(),
                prompts=(),
                decided_by="policy",
                received_at=1,
                admitted_at=1,
                decided_at=1,
                case_seq=1,
                lane="bulk",
                source_topic="t",
                source_partition=0,
                source_offset=0,
            ),
        )

    begin_at_the_end(here.kafka, "analyst", CASE_DECIDED.name)
    aborted = Producer({"bootstrap.servers": here.kafka.bootstrap_servers, "transactional.id": f"t-{unique}"})
    aborted.init_transactions(10)
    aborted.begin_transaction()
    aborted.produce(CASE_DECIDED.name, key=b"k", value=decided(f"taken-back-{unique}"))
    aborted.flush(10)
    aborted.abort_transaction(10)
    aborted.begin_transaction()
    aborted.produce(CASE_DECIDED.name, key=b"k", value=decided(f"made-{unique}"))
    aborted.commit_transaction(10)
    with example(here, "consumer_example.py") as program:
        assert program.stdout is not None
        lines = []
        while not lines or f"made-{unique}" not in lines[-1]:
            lines.append(program.stdout.readline())
            assert lines[-1]
        program.kill()
    assert lines[-1].split() == [f"made-{unique}", "routed", "card", "0.9", "policy"]
    assert not [line for line in lines if "taken-back" in line]


def test_a_row_is_the_case_that_the_gateway_would_make(here: Here, tmp_path: Path) -> None:
    """The key column is the idempotency key: by either road it is one case."""
    row = publishing.Row(1, 1, {"text": "a", "number": "k"})
    plan = publishing.Plan(
        file=tmp_path / "x.csv",
        digest="",
        rows=1,
        workflow=WORKFLOW,
        taken=inputs.shipped(DOCUMENT_RECEIVED.name),
        tenant=here.tenant,
        columns={},
        key="number",
        rate=0,
    )
    out = publishing.outgoing(row, plan, here.codec)
    assert out.key == b"k"
    assert dict(out.headers)["ce_subject"].decode() == ids.case_id(here.tenant, WORKFLOW, "k")
