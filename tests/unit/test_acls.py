"""Access rules and the AsyncAPI document: all that stages do, deployed workflows' topics too, and nothing more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aios.streams import acls, asyncapi, inputs, topics, topology
from aios.streams.acls import Rule
from aios.streams.inputs import Input

CLAIM = "claim.submitted.v1"
TEXT = json.dumps(
    {
        "type": "record",
        "name": "ClaimSubmitted",
        "namespace": "insurer",
        "doc": "A claim.",
        "fields": [{"name": "text", "type": "string", "doc": "What happened."}],
    }
)


@pytest.fixture
def claim() -> Input:
    return inputs.of_text(CLAIM, TEXT)


def allowed(rules: list[Rule], name: str) -> set[tuple[str, str]]:
    """Process and operation."""
    return {(one.process, operation) for one in rules if one.name == name for operation in one.operations}


def test_what_a_deployed_workflow_takes_may_be_written_and_read(claim: Input) -> None:
    """Written by the gateway alone, read by admit and who looks back; without it no rule names the topic."""
    rules = acls.rules(topology.taking([claim.topic]))
    looking_back = {"operations", "replay", "letters"}  # at records that failed there
    assert allowed(rules, CLAIM) == {
        ("gateway", "Write"),
        *((process, "Read") for process in ("admit", *looking_back)),
        *((process, "Describe") for process in ("gateway", "admit", *looking_back)),
    }
    assert set(rules) > set(acls.rules(topology.STAGES))
    assert not allowed(acls.rules(topology.STAGES), CLAIM)


def test_a_stage_may_do_what_the_topology_says_of_it() -> None:
    """Every topic that it reads and writes, its group, its own topics."""
    rules = acls.rules(topology.STAGES)
    for stage in topology.STAGES:
        for topic in stage.writes:
            assert (stage.process, "Write") in allowed(rules, topic.name)
        for topic in stage.inputs:
            assert (stage.process, "Read") in allowed(rules, topic.name)
        if stage.reads:
            assert (stage.process, "Read") in allowed(rules, stage.group)
            assert (stage.process, "Write") in allowed(rules, stage.dead_letters.name)


BESIDE = [
    ("classify", "Read", "inference.classify.interactive.cancelled.v1"),
    ("generate", "Read", "inference.generate.bulk.cancelled.v1"),
    ("connectors", "Read", "connector.intended.v1"),
    ("connectors", "Read", "case.decided.v1"),
    ("connectors", "Read", "aios.rescreening.ofac_sdn@2.0123"),
    ("connectors", "Write", "kyc.application.submitted.v1"),
    ("connectors", "Write", "audit.recorded.v1"),
    ("operations", "Read", "operation.answered.v1"),
    ("operations", "Read", "aios.replay.state"),
    ("outcomes", "Describe", "aios.readers"),
    ("plan", "Describe", "aios.plan.state.reader"),
    ("operations", "Read", "aios.letters.dlq"),
    ("operations", "Read", "inference.generate.bulk.requested.v1"),
    ("replay", "Read", "aios.plan.dlq"),
    ("replay", "Read", "case.admitted.v1"),
    ("replay", "Read", "event.refused.v1"),
    ("replay", "Read", "document.received.v1"),
    ("replay", "Read", "aios.retry.10m"),
    ("replay", "Read", "aios.admit.retry"),
    ("replay", "Describe", "aios.retry"),
    ("replay", "Describe", "aios.admit"),
    ("letters", "Read", "aios.outcomes.retry"),
    ("watch", "Read", "model.drifted.v1"),
    ("watch", "Write", "aios.watch"),
]
"""What processes do outside of their groups, by their code; a word missing in the topology's declaration fails here."""


@pytest.mark.parametrize(("process", "operation", "name"), BESIDE)
def test_what_a_process_does_outside_of_its_group_is_allowed(process: str, operation: str, name: str) -> None:
    """tests/broker/test_acls.py asks a broker; this names what only seldom happens too."""
    assert any(
        one.process == process
        and operation in one.operations
        and (name.startswith(one.name) if one.prefixed else name == one.name)
        for one in acls.rules(topology.STAGES)
    )


def test_nobody_may_write_what_is_not_his() -> None:
    """Decisions are plan's, permissions to spend budget's; into what returns to a group only those who return it."""
    rules = acls.rules(topology.STAGES)

    def writers(name: str) -> set[str]:
        return {process for process, operation in allowed(rules, name) if operation == "Write"}

    assert writers(topics.CASE_DECIDED.name) == {"plan"}
    assert writers(topics.BUDGET_ANSWERED.name) == {"budget"}
    assert writers(topics.CASE_ADMITTED.name) == {"admit"}
    for stage in topology.STAGES:
        if stage.reads:
            assert writers(stage.retries.name) == {"retry", "replay"}
        if stage.changelog is not None:
            assert writers(stage.changelog.name) == {stage.process}


def test_no_rule_is_for_all_topics() -> None:
    """Prefixes are of transactions and groups alone."""
    for rule in acls.rules(topology.STAGES):
        assert "*" not in rule.name
        assert not rule.prefixed or rule.kind in ("transactional-id", "group")


def test_a_line_is_a_command(claim: Input) -> None:
    (line,) = [
        one for one in acls.script(topology.taking([claim.topic])).splitlines() if CLAIM in one and "admit" in one
    ]
    assert line == (
        "$KAFKA_ACLS --add --allow-principal User:aios-admit --operation Describe --operation Read"
        " --topic claim.submitted.v1"
    )


def test_the_document_has_every_topic_and_contract_and_leads_nowhere(claim: Input) -> None:
    """The deployed contract as it was deployed; every reference is to something that is there."""
    told = asyncapi.document(topology.taking([claim.topic]), [claim])
    assert set(told["channels"]) == {*topology.all_topics(), CLAIM}
    assert told["components"]["messages"][CLAIM]["payload"]["schema"]["doc"] == "A claim."
    assert f"admit.receive.{CLAIM}" in told["operations"]
    assert f"gateway.send.{CLAIM}" in told["operations"]

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            return [
                *([value["$ref"]] if "$ref" in value else []),
                *(each for one in value.values() for each in references(one)),
            ]
        return [each for one in value for each in references(one)] if isinstance(value, list) else []

    for reference in references(told):
        at: object = told
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(at, dict)
            at = at[part]


def test_the_document_is_plain_json(claim: Input, tmp_path: Path) -> None:
    file = tmp_path / "asyncapi.json"
    told = asyncapi.document(topology.taking([claim.topic]), [claim])
    file.write_text(json.dumps(told), encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8")) == told
