"""A whole system as a stranger starts it: real Kafka, registry, Valkey, stages and two real vLLM engines.

One system for all tests of this file; they go in order and each leaves it running.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil
import pytest
from click.testing import CliRunner, Result

from aios.inference_workers.training import unseen
from aios.infra.cli import aios
from aios.infra.demo import texts
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    CaseDecided,
    DocumentReceived,
    InferenceCompleted,
    TenantRegistered,
    TimerFired,
    UsageSettled,
)
from aios.schemas.registry import RegistrySource
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, Place, read_all
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing
from aios.streams.topics import (
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    EVALUATION,
    INFERENCE_COMPLETED,
    TENANT_REGISTERED,
    TIMER_FIRED,
    USAGE_SETTLED,
    Topic,
)

pytestmark = [pytest.mark.broker, pytest.mark.engine]
E = TypeVar("E", CaseDecided, InferenceCompleted, UsageSettled)

ROOT = Path(__file__).parents[2]
WORKFLOW = "document.triage"
READY_S_MAX = 180
SETTLE_S_MAX = 90.0
POLL_S = 0.2
CLEAR = "I still have not received my new card, can you tell me when it will arrive?"
STRAY = "which planet has the most moons in the solar system"
QUERIES = sorted(path.stem for path in (ROOT / "sinks" / "queries").glob("*.sql"))


@dataclass(frozen=True, slots=True)
class System:
    """A running system in a home of its own."""

    home: Path
    kafka: str
    registry: str
    gateway: str
    key: str

    def aios(self, *command: str) -> Result:
        """In this process, which imports once what a command needs; the readme's own are run below, in a shell."""
        return CliRunner().invoke(aios, command, env={"AIOS_HOME": str(self.home)})

    def said(self, *command: str) -> Any:
        """What a command prints with --json; it must succeed."""
        ran = self.aios(*command, "--json")
        assert ran.exit_code == 0, failed(ran)
        return json.loads(ran.stdout)

    def post(self, text: str, **headers: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"{self.gateway}/v1/workflows/{WORKFLOW}/cases",
            data=json.dumps({"text": text}).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)

    def publish(self, *records: Outgoing) -> list[Place]:
        """Where each stands, acknowledged."""

        async def deliver() -> list[Place]:
            compressed = KafkaSettings(bootstrap_servers=self.kafka, properties={"compression.type": "zstd"})
            delivery = Delivery(compressed, client_id="e2e")
            try:
                return await delivery.deliver_all(records)
            finally:
                delivery.close()

        return asyncio.run(deliver())

    def send(self, codec: Codec, messages: Mapping[str, str]) -> dict[str, str]:
        """Texts by key, published; by the id of the case that each becomes."""
        self.publish(
            *(
                Outgoing(
                    DOCUMENT_RECEIVED.name, key.encode(), codec.encode(DOCUMENT_RECEIVED, DocumentReceived(text=text))
                )
                for key, text in messages.items()
            )
        )
        return {ids.case_id("demo", WORKFLOW, key): text for key, text in messages.items()}

    def events(self, codec: Codec, topic: Topic, kind: type[E]) -> dict[str, list[E]]:
        """All that the topic holds, by case."""
        found: dict[str, list[E]] = defaultdict(list)
        for record in read_all(KafkaSettings(bootstrap_servers=self.kafka), topic.name):
            one = codec.decode(record.value, kind)
            found[one.case_id].append(one)
        return found


def run(home: Path, *command: str, timeout_s: float = READY_S_MAX) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "AIOS_HOME": str(home), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-m", "aios.infra", *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=timeout_s,
        cwd=ROOT,
    )


def failed(ran: Result) -> str:
    """What a command said, or what it raised."""
    return f"{ran.output}{ran.exception!r}"


def until(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer before the deadline."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(POLL_S)
    pytest.fail(f"{what} did not come within {SETTLE_S_MAX:.0f} s")


def at_rest(system: System, cases: Collection[str]) -> dict[str, str] | None:
    """How each of these cases stands, once all are decided or wait for a person."""
    listed = {each["case_id"]: each["status"] for each in system.said("case", "list", "--limit", "200")}
    found = {case_id: listed.get(case_id, "") for case_id in cases}
    return found if set(found.values()) <= {"decided", "waiting_for_person"} else None


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    home = tmp_path_factory.mktemp("system") / "home"
    up = run(home, "up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    said = json.loads(run(home, "status", "--json").stdout)
    key = run(home, "tenant", "key", "demo").stdout.strip()
    pids = [each["pid"] for each in said["processes"]]
    yield System(home, said["kafka"], said["registry"], said["gateway"], key)
    down = run(home, "down")
    assert down.returncode == 0, down.stderr
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert [p for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or ())] == []


@pytest.fixture(scope="module")
def codec(system: System) -> Iterator[Codec]:
    source = RegistrySource(system.registry)
    yield Codec(source)
    source.close()


def test_status_names_every_process_and_address(system: System) -> None:
    said = system.said("status")
    assert said["ready"] is True
    assert set(said) == {"ready", "kafka", "registry", "valkey", "gateway", "operations", "breakers", "processes"}
    assert said["breakers"] == []
    assert {each["state"] for each in said["processes"]} == {"ready"}


def test_a_caller_who_waits_gets_the_decision(system: System) -> None:
    """Interactive: posted, classified by a real engine, decided and answered in one request."""
    status, body = system.post(CLEAR, Prefer="wait=30")
    assert status == 200
    assert (body["status"], body["outcome"], body["decided_by"]) == ("decided", "routed", "policy")
    assert body["label"] in {"card_arrival", "card_delivery_estimate"}


def test_a_letter_gets_a_summary_by_the_second_model(system: System) -> None:
    """Or, where it breaks the prompt's guard, none, and the decision says so."""
    letter = next(
        text.text for text in texts.load("e2e") if text.kind == "letters" and text.label == "credit_reporting"
    )
    _, body = system.post(letter, Prefer="wait=30")
    case = until(lambda: decided(system, body["case_id"]), "the letter's decision")
    assert case["decided_by"] == "policy"
    reasons = next(one["detail"]["reasons"] for one in case["timeline"] if one["transition"] == "decided")
    assert ("no_summary" in reasons) != any(model.startswith("summariser@") for model in case["models"])


def test_what_the_model_is_not_sure_of_waits_for_a_person_whose_first_decision_wins(system: System) -> None:
    _, body = system.post(STRAY)
    task = until(
        lambda: next((t for t in system.said("review", "list") if t["case_id"] == body["case_id"]), None), "a question"
    )["task_id"]
    decide = ("review", "decide", task, "--label", "belongs_elsewhere")
    assert system.aios(*decide).exit_code == 0
    case = until(lambda: decided(system, body["case_id"]), "the decision")
    assert (case["decided_by"], case["label"]) == ("reviewer:operator", "belongs_elsewhere")
    assert system.aios(*decide).exit_code != 0
    assert decided(system, body["case_id"])["decided_by"] == "reviewer:operator"


def test_what_was_decided_is_decided_again_for_no_token(system: System, codec: Codec) -> None:
    """The messages of decided cases, under new keys: new cases, the same labels, and not a token more in the ledger."""
    name = uuid4().hex[:8]
    messages = [f"{text.text} Thank you, {name}." for text in texts.load(name) if text.kind == "messages"]
    first = system.send(codec, {f"{name}-{number}": text for number, text in enumerate(messages[:20])})
    stands = until(lambda: at_rest(system, first), "twenty cases at rest")
    sure = [case_id for case_id in first if stands[case_id] == "decided"]
    assert len(sure) >= 5
    again = system.send(codec, {f"{name}-again-{case_id}": first[case_id] for case_id in sure})
    stands = until(lambda: at_rest(system, again), "the same cases at rest once more")
    assert set(stands.values()) == {"decided"}
    labels, lines = system.events(codec, CASE_DECIDED, CaseDecided), system.events(codec, USAGE_SETTLED, UsageSettled)
    for before, after in zip(sure, again, strict=True):
        assert labels[after][0].label == labels[before][0].label
        (paid,), (free,) = lines[before], lines[after]
        assert paid.prompt_tokens > 0
        assert (free.kind, free.prompt_tokens, free.output_tokens, free.engine_us) == ("inference", 0, 0, 0)


def test_a_version_of_the_classifier_is_judged_by_the_answers_of_the_running_system(
    system: System, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty unseen texts a head, each answered; no case comes of it, and what it took is in the ledger as wasted."""
    whole = unseen.texts

    def some(model: str, head: str) -> Iterator[tuple[str, str]]:
        every = list(whole(model, head))
        parts = [part for part in ([one for one in every if one[1]], [one for one in every if not one[1]]) if part]
        return chain(*(part[: 20 // len(parts)] for part in parts))

    monkeypatch.setattr(unseen, "texts", some)
    figures = {one["head"]: one for one in system.said("model", "evaluate", "--through-pipeline")}
    assert {head: (one["texts"], one["failed"]) for head, one in figures.items()} == dict.fromkeys(
        ("intents", "messages", "letters"), (20, 0)
    )
    assert min(one["accuracy"] for one in figures.values()) >= 0.6
    assert min(figures[head]["out_of_scope_auroc"] for head in ("intents", "messages")) >= 0.8
    assert [head for head, one in figures.items() if one["calibrated_here"]] == ["messages"]

    answers = system.events(codec, INFERENCE_COMPLETED, InferenceCompleted).values()
    took = sum(one.cost_micro for each in answers for one in each if one.workflow == EVALUATION)

    def wasted() -> list[UsageSettled]:
        lines = system.events(codec, USAGE_SETTLED, UsageSettled).values()
        return [one for each in lines for one in each if one.workflow == EVALUATION]

    until(lambda: sum(one.cost_micro for one in wasted()) == took > 0, "the ledger's lines of what it took")
    assert {one.kind for one in wasted()} == {"wasted"}


def test_stages_killed_under_load_lose_nothing_and_decide_nothing_twice(system: System, codec: Codec) -> None:
    """kill -9 of plan, the classifier and a sink while forty cases are on their way."""
    name = uuid4().hex[:8]
    messages = [text.text for text in texts.load(name) if text.kind == "messages"]
    cases = system.send(codec, {f"{name}-{number}": text for number, text in enumerate(messages[:40])})
    for stage in ("plan", "classify", "outcomes"):
        (pid,) = (each["pid"] for each in system.said("status")["processes"] if each["stage"] == stage)
        os.kill(pid, signal.SIGKILL)
    until(lambda: at_rest(system, cases), "forty cases at rest")
    until(lambda: system.said("status")["ready"], "a system that is whole again")
    resting, decisions = at_rest(system, cases), system.events(codec, CASE_DECIDED, CaseDecided)
    assert {case_id: len(decisions[case_id]) for case_id in cases} == {
        case_id: int(status == "decided") for case_id, status in (resting or {}).items()
    }


BAD = {
    "garbage": (b"\xffnot avro at all", "undecodable"),
    "unknown-schema": (b"\x00" + (987_654).to_bytes(4, "big") + b"\x02a", "unknown_schema"),
    "oversize": (texts.OVERSIZE, "oversize"),
    "empty": (None, "empty"),
}


def test_bad_input_on_the_kafka_road_is_a_dead_letter_with_its_reason(system: System, codec: Codec) -> None:
    """Nothing is lost, nothing stops; also what sits where the partitioner of another client put it."""
    name = uuid4().hex[:8]
    wrong_contract = codec.encode(
        TENANT_REGISTERED, TenantRegistered(tenant="x", key_hashes=(), active=True, registered_at=0)
    )
    bad = BAD | {"wrong-contract": (wrong_contract, "contract_broken")}
    case = ids.case_id("demo", WORKFLOW, name)
    elsewhere = (partition_of(case.encode(), 6) + 1) % 6
    timer = codec.encode(TIMER_FIRED, TimerFired(timer_id="t", case_id=case, due_at=0, fired_at=0))
    system.publish(
        *(Outgoing(DOCUMENT_RECEIVED.name, f"{name}-{what}".encode(), value) for what, (value, _) in bad.items()),
        Outgoing(TIMER_FIRED.name, case.encode(), timer, (), elsewhere),
    )
    expected = {f"{name}-{what}": reason for what, (_, reason) in bad.items()} | {case: "wrong_partition"}

    def found() -> dict[str, str]:
        return {each["key"]: each["reason"] for each in system.said("dlq", "list", "--limit", "200")["letters"]}

    until(lambda: expected.items() <= found().items(), "dead letters of every kind")


def test_an_event_without_a_key_is_a_case_and_one_of_an_unknown_tenant_is_refused(system: System, codec: Codec) -> None:
    """A case of its place on the topic; and a refusal that says why."""
    name = uuid4().hex
    keyless = DocumentReceived(text=CLEAR)
    foreign = DocumentReceived(text=CLEAR, tenant="nobody")
    place, _ = system.publish(
        Outgoing(DOCUMENT_RECEIVED.name, None, codec.encode(DOCUMENT_RECEIVED, keyless), (), 0),
        Outgoing(DOCUMENT_RECEIVED.name, name.encode(), codec.encode(DOCUMENT_RECEIVED, foreign)),
    )
    find = ("case", "find", "--key", name, "--tenant", "nobody")
    until(lambda: "unknown_tenant" in system.aios(*find).stdout, "the refusal")
    event_id = ids.derive("event", place.topic, str(place.partition), str(place.offset))
    case = until(lambda: decided(system, ids.case_id("demo", WORKFLOW, event_id)), "the case without a key")
    assert case["outcome"] == "routed"


def test_bad_input_on_the_http_road_is_refused_with_what_to_do(system: System) -> None:
    """Unknown workflow, wrong key, wrong field: problem+json, and nothing was written."""
    for path, key, body, expected in (
        (f"/v1/workflows/{WORKFLOW}x/cases", system.key, {"text": CLEAR}, 404),
        (f"/v1/workflows/{WORKFLOW}/cases", "nobodys", {"text": CLEAR}, 401),
        (f"/v1/workflows/{WORKFLOW}/cases", system.key, {"txt": CLEAR}, 422),
    ):
        request = urllib.request.Request(
            system.gateway + path,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        with refused.value as answer:
            assert (answer.status, answer.headers.get_content_type()) == (expected, "application/problem+json")
            assert json.load(answer)["detail"]


def test_a_dead_letter_is_listed_with_its_reason_and_returns_when_two_principals_repair_it(
    system: System, codec: Codec, tmp_path: Path
) -> None:
    """Who edits cannot approve; each act is in the audit under the name of its token."""
    key = uuid4().hex
    system.publish(Outgoing(DOCUMENT_RECEIVED.name, key.encode(), b"\xffnot avro at all"))
    letter = until(lambda: system.said("dlq", "list", "--key", key)["letters"], "the dead letter")[0]
    assert letter["reason"] == "undecodable"
    assert letter["id"][:8] in system.aios("case", "find", "--key", key).stdout
    file = tmp_path / "repaired.avro"
    file.write_bytes(codec.encode(DOCUMENT_RECEIVED, DocumentReceived(text=CLEAR)))
    system.said("dlq", "edit", letter["id"][:12], "--bytes", str(file), "--why", "by hand")
    operator = ("--token-file", str(system.home / "run" / "operator.token"))
    assert system.aios("dlq", "approve", letter["id"], *operator).exit_code == 1
    system.said("dlq", "approve", letter["id"])
    job = system.said("replay", "plan", "--id", letter["id"])
    assert job["report"]["groups"]["aios.admit"]["returns"] == 1
    assert system.aios("replay", "run", job["job_id"]).exit_code == 1
    system.said("replay", "approve", job["job_id"])
    assert system.said("replay", "run", job["job_id"])["replayed"] == 1
    case = until(lambda: decided(system, ids.case_id("demo", WORKFLOW, key)), "the decision of the replayed record")
    assert case["outcome"] == "routed"
    wanted = [("edited", "operator"), ("edit_approved", "approver"), ("replayed", "operator")]

    def acts() -> list[tuple[str, str]]:
        return [(act["transition"], act["actor"]) for act in system.said("audit", "show", letter["id"])]

    until(lambda: acts() == wanted, "every act in the audit")


@pytest.mark.parametrize("query", QUERIES)
def test_every_shipped_query_runs_on_real_outcomes(system: System, query: str) -> None:
    until(lambda: system.said("query", "automation_rate"), "decisions in the lake")
    ran = system.aios("query", query)
    assert ran.exit_code == 0, failed(ran)


def test_a_tenant_over_its_budget_is_refused_and_the_cost_report_is_the_ledger(system: System) -> None:
    """No call is made that nobody pays; without a limit again, cases go on; the report adds up to the last unit."""
    assert system.aios("budget", "set", "demo", WORKFLOW, "--hard", "0.000001", "--per", "total").exit_code == 0
    refused = until(lambda: _refused(system), "a case over the budget")
    assert refused["reasons"] == ["over_budget"]
    assert [row["denied"] for row in system.said("budget", "show", "demo")] != [0]
    assert system.aios("budget", "lift", "demo", WORKFLOW).exit_code == 0
    until(lambda: _outcome(system).get("outcome") == "routed", "a case without a limit")
    checked = system.aios("cost", "report", "--check")
    assert checked.exit_code == 0, failed(checked)
    report = system.said("cost", "report", "--by", "tenant,workflow,model,day")
    for name in ("answers", "models", "people", "total", "wasted"):
        assert sum(row[name] for row in report["rows"]) == report["sum"][name]
    assert report["sum"]["models"] > 0


def _refused(system: System) -> dict[str, Any] | None:
    """A case that was refused; limits are followed, so the first ones may still be free."""
    body = _outcome(system)
    return body if body.get("outcome") == "refused" else None


def _outcome(system: System) -> dict[str, Any]:
    """Of a new case, if it is decided while its caller waits."""
    return system.post(CLEAR, **{"Idempotency-Key": uuid4().hex, "Prefer": "wait=20"})[1]


def test_the_audit_chain_verifies_and_a_case_tells_its_story(system: System) -> None:
    assert system.aios("audit", "verify").exit_code == 0
    case = next(c for c in system.said("case", "list", "--status", "decided", "--limit", "50"))
    shown = system.said("case", "show", case["case_id"])
    transitions = [each["transition"] for each in shown["timeline"]]
    assert transitions[0] == "admitted"
    assert transitions[-1] == "decided"
    trace = system.aios("case", "show", case["case_id"], "--trace").stdout
    assert "admit" in trace
    assert "plan" in trace


def test_the_commands_of_the_readme_run_as_they_are_written(system: System) -> None:
    """Every shell block after the system was started, in one shell, stopping at the first that fails."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## A case of your own")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", readme, flags=re.DOTALL)
    assert len(blocks) >= 5
    script = "set -euo pipefail\nshopt -s expand_aliases\n" + "\n".join(blocks)
    ran = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "AIOS_HOME": str(system.home)},
        timeout=SETTLE_S_MAX,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]


@pytest.mark.parametrize("example", ["producer_example.py", "consumer_example.py"])
def test_the_readme_shows_the_examples_as_they_are(example: str) -> None:
    """The files themselves are run by tests/broker/test_publish.py."""
    shown = (ROOT / "infra" / "demo" / example).read_text(encoding="utf-8").strip()
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8")


def decided(system: System, case_id: str) -> Any:
    """The case once it is decided, else None."""
    ran = system.aios("case", "show", case_id, "--json")
    if ran.exit_code:
        return None
    shown = json.loads(ran.stdout)
    return shown if shown["status"] == "decided" else None
