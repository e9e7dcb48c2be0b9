"""What running stages have, as they announce it: a deploy is refused where they lack what a workflow names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aios.infra import deploying, needing
from aios.processors.language import policy_files, workflow_files
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason, SchemaMismatch, Unavailable
from aios.schemas.models import FilesAnnounced
from aios.streams import announced, model_files, prompt_files, reference
from aios.streams.announced import Announcer, Files
from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError
from aios.streams.record import Outgoing
from aios.streams.topology import BY_NAME, PLAN
from tests.fakes.registry import FakeRegistry

TRIAGE = deploying.judge(Path("processors/workflows/document.triage.yaml")).sound.workflow
CODEC = Codec(FakeRegistry())
WAIT_S_MAX = 10.0
INJECTION = "policy/no_injection@1"


def here() -> Files:
    return announced.here(policy_files.digests())


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ── what is needed ──


def test_a_process_has_every_policy_prompt_and_model_by_its_digest() -> None:
    """And pools and systems by name, whose files may differ between machines."""
    found = here()
    assert found[INJECTION] == policy_files.load("no_injection@1").digest
    assert found["prompt/summary@2"] == prompt_files.load("summary@2").digest
    assert found["model/triage-encoder@2"] == model_files.digest("triage-encoder@2")
    assert (found["pool/classify.bulk"], found["system/sanctions"]) == ("", "")


def test_plan_needs_all_that_a_workflow_names_and_a_pool_what_it_is_asked() -> None:
    """What names no version is asked in the one that is activated, else the newest; a retired one is not asked."""
    needed = needing.of(TRIAGE, {}, here())
    assert {INJECTION, "policy/facts_in_source@1", "model/triage-encoder@2", "pool/generate.bulk"} <= set(
        needed[PLAN.group]
    )
    prompt = f"prompt/summary@{prompt_files.newest('summary')}"
    assert prompt in needed[PLAN.group]
    for lane in ("interactive", "bulk"):
        assert set(needed[BY_NAME[f"classify.{lane}"].group]) == {"model/triage-encoder@2"}
        assert prompt in needed[BY_NAME[f"generate.{lane}"].group]
    (fixed,) = (one for one in workflow_files.shipped() if one.reference == "document.triage@1")
    assert "model/triage-encoder@1" in needing.of(fixed, {"model/triage-encoder": 2}, here())[PLAN.group]
    assert "model/triage-encoder@1" not in needing.of(fixed, {"model/triage-encoder": 0}, here())[PLAN.group]
    earlier = needing.of(TRIAGE, {"model/triage-encoder": 1, "prompt/summary": 0}, here())
    assert set(earlier[BY_NAME["classify.bulk"].group]) == {"model/triage-encoder@1"}
    assert not [name for name in earlier[PLAN.group] if name.startswith("prompt/")]
    assert "system/sanctions" in needing.of(kyc(), {}, here())[PLAN.group]


def kyc() -> Any:
    return deploying.judge(Path("processors/workflows/kyc.review.yaml")).sound.workflow


# ── what is lacking ──


def test_who_lacks_a_file_and_who_has_another_is_named() -> None:
    """A member that is gone counts no more, and of one that announced nothing nothing is said."""
    needed = {PLAN.group: {INJECTION: "a" * 64, "pool/classify.bulk": ""}}
    there = {PLAN.group: [f"{PLAN.group}.{slot}" for slot in range(4)]}
    told = {
        "aios.plan.0": {INJECTION: "a" * 64, "pool/classify.bulk": ""},
        "aios.plan.1": {"pool/classify.bulk": ""},
        "aios.plan.2": {INJECTION: "b" * 64},
        "aios.plan.9": {},
    }
    assert list(announced.lacking(needed, there, told)) == [
        f"policy no_injection@1 is here, and aios.plan.1 does not have it: {announced.AGAIN}",
        f"policy no_injection@1 is another for aios.plan.2 (bbbbbbbbbbbb) than here (aaaaaaaaaaaa): {announced.AGAIN}",
        f"pool classify.bulk is here, and aios.plan.2 does not have it: {announced.AGAIN}",
    ]


@pytest.fixture
def stands(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Files]]:
    """What one plan announces, look by look, the last for ever; everything serves in its newest version."""
    looks: list[dict[str, Files]] = []
    monkeypatch.setattr(needing, "serving", lambda *_: {})
    monkeypatch.setattr(announced, "members", lambda *_: {PLAN.group: ["aios.plan.0"]})
    monkeypatch.setattr(announced, "read", lambda *_: looks.pop(0) if len(looks) > 1 else looks[0])
    monkeypatch.setattr(needing, "AGAIN_S", 0.01)
    monkeypatch.setattr(needing, "WAIT_S_MAX", 0.1)
    return looks


def test_a_version_whose_policy_plan_lacks_takes_no_new_cases(
    stands: list[dict[str, Files]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when it is deployed nor when it is activated: plan would stop over its first case."""
    stands.append({"aios.plan.0": {name: digest for name, digest in here().items() if name != INJECTION}})
    (why,) = needing.lacking(KafkaSettings(), CODEC, TRIAGE)
    assert why.startswith("policy no_injection@1 is here, and aios.plan.0 does not have it")
    monkeypatch.setattr(deploying, "_passed_by", lambda *_: [])
    with pytest.raises(ConfigError, match="no_injection@1 is here"):
        deploying.activate(KafkaSettings(), CODEC, TRIAGE, None, by="ada", reason="")


def test_what_came_to_a_machine_just_now_is_waited_for(stands: list[dict[str, Files]]) -> None:
    """A process looks again every few seconds, and so does who deploys."""
    stands += [{"aios.plan.0": {}}, {"aios.plan.0": {}}, {"aios.plan.0": here()}]
    assert needing.lacking(KafkaSettings(), CODEC, TRIAGE) == []


# ── who announces ──


def test_what_a_member_has_is_announced_once_and_again_when_it_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of its memberships; a Kafka that does not take it is tried again."""
    written: list[FilesAnnounced] = []
    away, files = threading.Event(), {INJECTION: "a"}
    away.set()

    def write(_kafka: object, _codec: object, _topic: object, said: FilesAnnounced, **_: object) -> None:
        if away.is_set():
            away.clear()
            raise Unavailable("Kafka did not take it")
        written.append(said)

    monkeypatch.setattr(reference, "write", write)
    monkeypatch.setattr(announced, "LOOK_S", 0.01)
    looked: list[Mapping[str, str]] = []

    def look() -> Files:
        looked.append(files.copy())
        return looked[-1]

    announcer = Announcer(KafkaSettings(), CODEC, ["aios.classify.interactive.0", "aios.classify.bulk.0"], look)
    announcer.start()
    until(lambda: len(looked) > 5)
    files["policy/new@1"] = "b"
    until(lambda: len(written) == 4)
    announcer.close()
    assert [(one.member, json.loads(one.files)) for one in written] == [
        ("aios.classify.interactive.0", {INJECTION: "a"}),
        ("aios.classify.bulk.0", {INJECTION: "a"}),
        ("aios.classify.interactive.0", files),
        ("aios.classify.bulk.0", files),
    ]


def test_who_cannot_announce_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the client itself takes no record; nobody would hear of a thread that has ended."""
    monkeypatch.setattr(announced, "LOOK_S", 0.01)
    full = KafkaSettings(bootstrap_servers="127.0.0.1:1", properties={"queue.buffering.max.kbytes": "1"})
    looks: list[None] = []

    def look() -> Files:
        looks.append(None)
        return {INJECTION: "a" * 4096}

    announcer = Announcer(full, CODEC, ["aios.plan.0"], look)
    announcer.start()
    until(lambda: len(looks) > 2 or not announcer._thread.is_alive())
    assert announcer._thread.is_alive()
    announcer.close()
    assert "aios.plan.0 could not announce what it has: Kafka did not take the" in caplog.text


def test_a_record_that_is_too_large_is_named() -> None:
    """It never heals: it is no Kafka that is away."""
    out = Outgoing("files.announced.v1", b"aios.plan.0", bytes(2 << 20), ())
    with pytest.raises(SchemaMismatch, match=r"aios\.plan\.0 is too large for files\.announced\.v1") as refused:
        reference._deliver(KafkaSettings(bootstrap_servers="127.0.0.1:1"), [out], "member")
    assert refused.value.reason is Reason.OVERSIZE


def test_one_that_never_began_to_announce_is_closed() -> None:
    Announcer(KafkaSettings(), CODEC, ["aios.plan.0"], here).close()
