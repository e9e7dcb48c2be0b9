"""Workflow files: what is refused, and whether the message leads to the line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Workflows
from aios.streams import installed, prompt_files
from aios.streams.errors import ConfigError
from aios.streams.expression import Expression, ExpressionError
from tests.fakes import claims

SHIPPED = workflow_files.FOLDER / "document.triage@2.yaml"  # a plain one
NAMED = "document.triage.yaml"
TRAINING = workflow_files.FOLDER.parents[1] / "inference_workers" / "models" / "triage-encoder" / "1" / "data"


def edited(folder: Path, old: str, new: str, name: str = NAMED) -> Path:
    """The shipped workflow with one change."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = folder / name
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "line_of", "says"),
    [
        ("owner: customer", "ownr: customer", "ownr:", "unknown key ownr; did you mean owner?"),
        (
            "attempts_max: 2\n      then: gate",
            "attempt_max: 2\n      then: gate",
            "attempt_max",
            "did you mean attempts_max?",
        ),
        ("owner: customer-operations", "owner: a\nowner: b", "owner: b", "the key owner stands here a second time"),
        ("then: gate", "then: gat", "then: gat", "there is no step gat; did you mean gate?"),
        ("start: classify", "start: clasify", "start:", "did you mean classify?"),
        (
            "answers.classify.out_of_scope >",
            "answers.classify.out_of_scop >",
            "out_of_scop >",
            "answers.classify has no field out_of_scop; did you mean out_of_scope?",
        ),
        (
            "when: answers.classify.conf",
            "when: answer.classify.conf",
            "answer.classify",
            "no name answer; did you mean answers?",
        ),
        (
            "when: policy[input.channel].summarise",
            "when: policy[input.channel].head",
            "when: policy[input.channel].head",
            "gives a text where a truth value is needed",
        ),
        (
            "label: answers.ask.label",
            "label: answers.ask.confidence",
            "answers.ask.conf",
            "answers.ask has no field confidence",
        ),
        (
            "input: input.text\n      input_chars_max: 8000",
            "input: noted.map(n, n)[0] + input.text\n      guards: {before: [urgent@1]}\n      input_chars_max: 8000",
            "noted.map(n, n)[0]",
            "put noted into `options` or a rule",
        ),
        ('confidence: "1.0"', "confidence: 1.0", "confidence: 1.0", 'is written as text: "1.0"'),
        ('confidence: "1.0"', 'confidence: "2.0"', 'confidence: "2.0"', "a number from 0 to 1 is needed"),
        ("when: answers.classify.conf", "when: '1 +' #", "when: '1 +'", "Failed to parse expression"),
        ("pool: classify", "pool: clasify", "pool: clasify", "there is no pool clasify; did you mean classify?"),
        ("pool: generate", "pool: classify #", "pool: classify #", "pool classify answers no generate"),
        (
            "model: summariser\n",
            "model: sumariser\n",
            "model: sumariser",
            "no model sumariser; did you mean summariser?",
        ),
        ("model: summariser\n", "model: summariser@99\n", "model: summariser", "did you mean summariser@1?"),
        ("model: summariser\n", "model: triage-encoder@2\n", "model: triage-encoder@2", "answers with summariser"),
        (
            'head: "policy[input.channel].head"',
            "head: \"'leters'\"",
            "options: {head",
            "triage-encoder@2 has no head leters; did you mean letters?",
        ),
        (
            "answers.classify.label : ''",
            "answers.classify.label : 'belong_elsewhere'",
            "suggestion: ",
            "belong_elsewhere is none of the choices; did you mean belongs_elsewhere?",
        ),
        ('options: {head: "', 'options: {hed: "', "options: {hed", "task classify needs `head`"),
        (
            "model: summariser\n",
            "model: summariser@0\n",
            "model: summariser",
            "'summariser@0' does not fit here (allowed here: a name of lower-case letters",
        ),
        (
            "status: summ",
            "status: Is-summ",
            "status: Is-summ",
            "did you mean is_summarising? (allowed here: lower-case",
        ),
        ("input: document.received.v1", "input: Letters", "input: Letters", "as in expense.claimed.v1"),
        (
            "input: document.received.v1",
            "input: document.receved.v1",
            "input: document",
            "there is no contract document.receved.v1; did you mean document.received.v1?",
        ),
        ("channel: letter, subject", "chanel: letter, subject", "chanel", "has no field chanel"),
        ("  - {channel: letter, subj", "  #", "  summarise:", "no sample reaches step summarise"),
        ("otherwise: {then: route}", "otherwise: {then: classify}", "  classify:\n", "steps lead in a circle"),
        ('summary: "has(answers.summarise) ?', 'summary: "true ?', 'summary: "true', "no field 'summarise'"),
        ("      on_error: {reason: no_summary, then: route}\n", "", "    infer:\n      status: summ", "Field required"),
        (
            "  ask:\n",
            "  ask:\n    emit: {status: decided, outcome: x, decided_by: \"'x'\"}\n",
            "  ask:\n",
            "exactly one kind",
        ),
        ("start: classify", "start: [", "start: [", "expected"),
        (
            "owner: customer-operations",
            "signed_off: {by: A, on: 2026-02-30}",
            "on: 2026-02-30",
            "2026-02-30 is none: day is out of range",
        ),
        (
            "when: answers.classify.conf",
            "when: {{ answers.x }} #",
            "{ answers.x",
            "an expression stands without braces",
        ),
        ("owner: customer-operations", "owner: !team x", "!team", "the tag !team means nothing here"),
        ("policy:\n", "policy:\n  opens: 12:30\n", "opens: 12:30", "YAML reads 12:30 as 750; put it in quotes"),
        (
            "start: classify",
            "examples: {ask: [{day: 2026-11-20}]}\nstart: classify",
            "examples:",
            "YAML reads 2026-11-20 as a date; put it in quotes",
        ),
        ("owner: customer-operations", "owner: a\n<<: [1]", "[1]", "expected a mapping"),
        ("policy:\n", "policy: &all\n  all: *all\n", "&all", "stands inside itself"),
        ("owner: customer-operations", f"owner: {'[' * 60}{']' * 60}", "[[[", "nested more than 50 levels deep"),
        ("owner: customer-operations", "owner: NO", "owner: NO", "put the word in quotes"),
        ("owner: customer-operations", 'owner: "\\UFFFFFFFF"', "# Letters", "a character that there is none of"),
        ("attempts_max: 2\n      then: gate", "attempts_max: 2h\n      then: gate", "attempts_max: 2h", "the unit"),
        ("when: answers.classify.conf", "when: a = 1 and b #", "when: a = 1", "equal is ==; and is &&"),
        ("when: answers.classify.conf", "when: input.text is null #", "when: input.text", "is is ==, and is not"),
        ("when: answers.classify.conf", "when: input.text in ('a', 'b') #", "when: input.text", "in brackets, as in x"),
        ("when: answers.classify.conf", "when: len(input.text) > 3 #", "when: len(", "did you mean size?"),
        (
            "owner: customer-operations",
            "owner: a\nsigned_off: {by: A, on: 20.11.2026}",
            "signed_off:",
            "a date belongs here, written as in 2026-11-20",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_line(tmp_path: Path, old: str, new: str, line_of: str, says: str) -> None:
    """`file:line:column: what is wrong`, and where there is one, a hint."""
    path = edited(tmp_path, old, new)
    workflow, problems = workflow_files.read(path)
    assert workflow is None
    text = path.read_text(encoding="utf-8")
    line = text[: text.index(line_of)].count("\n") + 1
    assert any(says in problem for problem in problems), problems
    if line_of != "start: [":  # YAML itself names the place where it gave up
        assert any(problem.startswith(f"{path}:{line}:") for problem in problems), (line, problems)
    with pytest.raises(ConfigError, match="document"):
        workflow_files.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{alone_max_cents: 10000}", "{alone_max_cents: 50,000}", "policy.0: 0 is no name; in braces a comma ends a"),
        ("{answers: [pay, refuse]}", "{answers: pay}", "labels.answers: a list belongs here: in brackets, or a line"),
        ("{by: Head of Finance, on: 2026-11-20}", "me", "signed_off: several values belong here by their names"),
        ("otherwise: {then: pay}", "otherwise: pay", "otherwise: several values belong here by their names"),
        ("{mode: auto, ask: ask}", "{mode: auto, ask: [ask]}", "autonomy.ask: a text belongs here"),
        (
            '{when: "size(input.receipts) == 0", ',
            "{when: input.purpose in ['a'], ",
            "but got '['; in braces and brackets, text with one of [ ] { } ? or a comma in it stands in quotes",
        ),
    ],
)
def test_what_belongs_in_a_place_is_said_in_words_of_the_file(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Not in those of the library that reads it."""
    path = claims.write(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    (problem,) = workflow_files.read(path)[1]
    assert problem.startswith(f"{path}:{text[: text.index(old)].count(chr(10)) + 1}:")
    assert says in problem


def test_a_whole_is_not_told_for_a_wrong_part_of_it(tmp_path: Path) -> None:
    """One condition that is none is one mistake, and the table is not called too short for it."""
    (wrong,) = workflow_files.read(edited(tmp_path, "when: answers.classify.conf", "when: '1 +' #"))[1]
    assert "Failed to parse expression" in wrong


def test_a_file_that_ends_otherwise_is_not_passed_over(tmp_path: Path) -> None:
    """A workflow that nobody checked would be found when it is missed."""
    path = edited(tmp_path, "owner: ", "owner: ")
    other = path.rename(path.with_suffix(".yml"))
    with pytest.raises(ConfigError, match=rf"{other}: .*ends in \.yaml: rename it"):
        workflow_files.load(tmp_path)


def test_brackets_without_end_are_a_mistake_and_no_traceback(tmp_path: Path) -> None:
    path = edited(tmp_path, "owner: customer-operations", f"owner: {'[' * 5000}{']' * 5000}")
    assert workflow_files.read(path)[1] == [f"{path}:1:1: nested more than 50 levels deep"]


def test_a_step_that_fixes_its_lane_needs_that_lane_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pool may have one lane; who asks it in the other is told so, where the pool is named."""
    bulk = {name: pool for name, pool in installed.pools().items() if name != "classify.interactive"}
    monkeypatch.setattr(installed, "pools", lambda: bulk)
    _, problems = workflow_files.read(edited(tmp_path, "owner: ", "owner: "))
    (wrong,) = problems
    assert re.search(r":38:7: .*pool classify has no lane interactive: with `lane: bulk` the step asks", wrong)
    workflow, problems = workflow_files.read(edited(tmp_path, "pool: classify\n", "pool: classify\n      lane: bulk\n"))
    assert (workflow is not None, problems) == (True, [])


def test_a_prompt_is_made_for_the_model_of_its_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker would refuse every request of it."""
    load = prompt_files.load
    monkeypatch.setattr(prompt_files, "load", lambda name: load(name).model_copy(update={"model": "other"}))
    (wrong,) = workflow_files.read(edited(tmp_path, "owner: ", "owner: "))[1]
    assert "prompt: prompt summary@2 is made for other, not for summariser" in wrong


def test_a_time_in_seconds_is_not_taken_for_milliseconds(tmp_path: Path) -> None:
    """It would be over at once, decades late."""
    shipped = (workflow_files.FOLDER / "meeting.schedule.yaml").read_text(encoding="utf-8")
    path = tmp_path / "meeting.schedule.yaml"
    path.write_text(re.sub(r'(until: &starts_at) ".*"', r"\1 '1774342800'", shipped), encoding="utf-8")
    assert any("a time in Unix ms" in problem for problem in workflow_files.read(path)[1])


def test_versions_stand_side_by_side(tmp_path: Path) -> None:
    """New cases take the newest; open ones find theirs; a version that is gone is named with what to do."""
    edited(tmp_path, "version: 2\n", "version: 1\n", "document.triage@1.yaml")
    edited(tmp_path, "version: 2\n", "version: 2\n")
    workflows = workflow_files.load(tmp_path)
    latest = workflows.latest("document.triage")
    assert latest is not None
    assert (latest.version, workflows.at("document.triage", 1).version) == (2, 1)
    assert workflows.of_input("document.received.v1") is latest
    with pytest.raises(ConfigError, match=r"put document\.triage@3\.yaml back"):
        workflows.at("document.triage", 3)


def test_a_file_is_named_like_its_workflow(tmp_path: Path) -> None:
    """Else nobody finds the version a case ran on."""
    _, problems = workflow_files.read(edited(tmp_path, "version: 2\n", "version: 1\n", "other.yaml"))
    assert "must be named document.triage.yaml or document.triage@1.yaml" in problems[0]


def test_the_same_version_twice_is_refused(tmp_path: Path) -> None:
    """Which of the two would a case have run on?"""
    for name in ("document.triage.yaml", "document.triage@1.yaml"):
        edited(tmp_path, "version: 2\n", "version: 1\n", name)
    with pytest.raises(ConfigError, match=r"two files hold document\.triage@1"):
        workflow_files.load(tmp_path)


def test_two_workflows_of_one_input_are_refused() -> None:
    """admit could not tell which of them an event is for."""
    triage = workflow_files.shipped().latest("document.triage")
    assert triage is not None
    with pytest.raises(ConfigError, match="same input contract"):
        Workflows([triage, triage.model_copy(update={"workflow": "document.other"})])


@pytest.mark.parametrize("head", ["letters", "messages"])
def test_the_labels_are_those_the_heads_were_trained_on(head: str) -> None:
    """A label only one side knows would send every such case to a person."""
    with (TRAINING / f"{head}.csv").open(encoding="utf-8", newline="") as file:
        trained = {row["label"] for row in csv.DictReader(file)}
    triage = workflow_files.shipped().latest("document.triage")
    assert triage is not None
    assert set(triage.labels[head]) == trained


def test_an_expression_never_shows_the_case() -> None:
    """What a customer wrote must not reach a log through an error."""
    with pytest.raises(ExpressionError) as caught:
        Expression("input.text > 3").evaluate({"input": {"text": "my secret"}})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", workflow_files.files_of(workflow_files.FOLDER), ids=lambda path: path.stem)
def test_every_shipped_workflow_is_sound(path: Path) -> None:
    """Its names, its types and every way of its samples; processes that start rely on this."""
    workflow, problems = workflow_files.read(path)
    assert problems == []
    assert workflow is not None
