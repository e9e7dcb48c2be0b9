"""Recorded cases beside a workflow; what may be deployed; what may be migrated; how a workflow is drawn. No broker."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from aios.infra import deploying, drawing, open_cases
from aios.infra.commands import workflow_acts
from aios.infra.commands.workflow import group
from aios.infra.deploying import There
from aios.infra.ways import BUDGET, boxes, head
from aios.processors.cases import case, case_files, migrating, workflow_cases
from aios.processors.cases.turn import Cause
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Kind
from aios.processors.language.workflow_files import Sound, Workflows
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseRemembered, CaseTold, EventRefused, WorkflowActivated
from aios.streams import deployments, inputs
from aios.streams.config import KafkaSettings, Settings
from aios.streams.deployments import MIGRATED, Catalogue
from aios.streams.errors import ConfigError, Reason, RecordError
from tests.fakes import admissions, claims, flow
from tests.fakes.deployments import Tables, deployed
from tests.fakes.registry import FakeRegistry

NOW_MS = 1_772_366_400_000
SHIPPED = [file for file in workflow_files.files_of(workflow_files.FOLDER) if case_files.file_of(file).is_file()]
UNVISITED = {"document.triage": ["refuse"]}  # where money is denied, which no recorded case has (test_spending.py)


def sound(folder: Path, old: str = "", new: str = "", name: str = "expenses.claim") -> Sound:
    file = claims.write(folder, name)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    found, problems = workflow_files.read_file(file)
    assert found is not None, problems
    return found


def recorded(**said: Any) -> case_files.Recorded:
    given = {"name": "one", "input": {"employee": "A", "purpose": "b", "receipts": []}, "expect": {}, **said}
    return case_files.Recorded.model_validate(given)


# ── recorded cases ──


def test_the_recorded_cases_of_a_team_come_out_as_recorded(tmp_path: Path) -> None:
    """Policy, a person, silence, a case that stays open; together they go through every step."""
    judged = deploying.judge(claims.write(tmp_path))
    assert [one.wrong for one in judged.ran] == [()] * 5
    assert workflow_cases.unvisited(judged.sound.workflow, judged.ran) == []
    assert judged.tests == deployments.Tests(passed=5, all=5)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_recorded_cases_of_what_ships_come_out_as_recorded(file: Path) -> None:
    """All of them; together they go through every step but those that UNVISITED names with the reason."""
    judged = deploying.judge(file)
    assert [one for one in judged.ran if one.wrong] == []
    expected = UNVISITED.get(judged.sound.workflow.workflow, [])
    assert workflow_cases.unvisited(judged.sound.workflow, judged.ran) == expected


@pytest.mark.parametrize("name", ["kyc.review", "meeting.schedule"])
def test_who_agrees_with_a_case_that_may_only_suggest_gets_what_it_would_have_decided_alone(name: str) -> None:
    """Every recorded case that is decided alone: there is a label that is suggested, and that leads there."""
    file = workflow_files.FOLDER / f"{name}.yaml"
    whole, _ = workflow_files.read_file(file)
    assert whole is not None
    assert whole.workflow.autonomy is not None
    ask, labels = whole.workflow.autonomy.ask, [label for every in whole.workflow.labels.values() for label in every]
    for one in case_files.read(case_files.file_of(file), whole):
        expect = {"outcome": one.expect.outcome, "summary": one.expect.summary}
        alone = case_files.Expected.model_validate({**expect, "decided_by": "policy"})
        if one.autonomy != "auto" or workflow_cases.run(whole, one.model_copy(update={"expect": alone})).wrong:
            continue
        tried = {
            label: one.model_copy(
                update={
                    "autonomy": "suggest",
                    "given": {**one.given, ask: [{"label": label, "reviewer": who} for who in ("ada", "ben")]},
                    "expect": case_files.Expected.model_validate({**expect, "suggestion": label}),
                }
            )
            for label in labels
        }
        assert any(not workflow_cases.run(whole, agreed).wrong for agreed in tried.values()), one.name


def test_whatever_takes_new_cases_ships_with_recorded_ones() -> None:
    shipped = workflow_files.shipped()
    assert {file.stem for file in SHIPPED} == {each.workflow for each in shipped}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"expect": {"outcome": "paid"}}, 'outcome: "expired" came, "paid" is expected'),
        ({"expect": {"waits_in": "pay"}}, "it was to wait in pay, and is decided: expired"),
        ({"given": {"ask": {"label": "pay", "reviewer": "a"}}, "expect": {"outcome": "refused"}}, "outcome"),
    ],
)
def test_a_case_that_comes_out_in_another_way_is_no_pass(tmp_path: Path, said: dict[str, Any], says: str) -> None:
    """Whatever the reason: another outcome, another end, another label."""
    ran = workflow_cases.run(sound(tmp_path), recorded(**said))
    assert any(says in line for line in ran.wrong), ran


def test_an_answer_of_a_person_that_is_not_offered_is_no_pass(tmp_path: Path) -> None:
    """As in service it changes nothing, and nobody else answers; whoever wrote it meant something else."""
    ran = workflow_cases.run(
        sound(tmp_path), recorded(given={"ask": {"label": "pai", "reviewer": "a"}}, expect={"outcome": "expired"})
    )
    assert ran.wrong == ("ask: pai is not offered; did you mean pay? (allowed here: pay, refuse)",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("outcome: paid, decided_by: policy", "outcom: paid", "unknown key outcom; did you mean outcome?"),
        ("  - name: nobody answers", "  - nam: nobody answers", "unknown key nam; did you mean name?"),
        ("reasons: []", "reasons: none", "expect.reasons: a list belongs here"),
        ("given: {ask: {label: pay", "given: {asc: {label: pay", "there is no step asc; did you mean ask?"),
        ("given: {ask: {label: pay", "given: {weigh: {label: pay", "step weigh asks nobody"),
        ("given: {ask: {label: pay", "given: {ask/0: {label: pay", "step ask has no branches: write ask"),
        ("{ask: {label: pay, reviewer: ada}}", "{ask: pay}", "an answer is a mapping, or a list of them"),
        (
            "{ask: {label: pay, reviewer: ada}}",
            "{ask: {label: pay, reviewr: ada}}",
            "unknown key reviewr; did you mean",
        ),
        ("{ask: {label: pay, reviewer: ada}}", "{ask: {reviewer: ada}}", "given.ask.label: Field required"),
        (
            "{ask: {label: pay, reviewer: ada}}",
            "{ask: [{label: no}]}",
            "given.ask.0.label: a text belongs here; YAML reads",
        ),
        ("waits_in: ask", "waits_in: asks", "there is no step asks; did you mean ask?"),
        ("{outcome: paid, decided_by: policy, reasons: [], output: {to: Ann}}", "{}", "expect: it names nothing that"),
        ("{employee: Ann, purpose", "{employe: Ann, purpose", "has no field employe; did you mean employee?"),
        ("{employee: Ann, purpose: train, receipts", "{employee: Ann, receipts", "purpose is missing"),
        ("purpose: train, receipts", "purpose: 2026-11-20, receipts", "YAML reads 2026-11-20 as a date; put it in"),
        ("outcome: paid, decided_by", "outcome: {}}, decided_by", "expected"),
        (
            "outcome: paid, decided_by",
            "outcome: paid, outcome: x, decided_by",
            "the key outcome stands here a second time",
        ),
    ],
)
def test_a_mistake_in_recorded_cases_is_told_where_it_stands(tmp_path: Path, old: str, new: str, says: str) -> None:
    """`file:line:column: what is wrong`, with what was probably meant."""
    one = sound(tmp_path)
    file = case_files.file_of(tmp_path / "expenses.claim.yaml")
    text = claims.CASES.replace(old, new, 1)
    assert text != claims.CASES
    file.write_text(text, encoding="utf-8")
    line = next(
        number for number, (a, b) in enumerate(zip(text.split("\n"), claims.CASES.split("\n"), strict=True)) if a != b
    )
    with pytest.raises(ConfigError) as refused:
        case_files.read(file, one)
    (problem,) = str(refused.value).splitlines()
    assert problem.startswith(f"{file}:{line + 1}:"), problem
    assert says in problem


def test_an_answer_is_given_by_the_path_that_a_step_asks_by() -> None:
    """Of branches and items: those of a branch, each by itself."""
    whole = Sound(workflow=flow.workflow(), text="", input=inputs.shipped("document.received.v1"))
    fits = {"gather/screen": {}, "read/0": [{}, {}], "booked#2": {"told": {}}, "book": {}}
    assert _given(fits, whole) == []
    said = _given({"gather": {}, "gather/scren": {}, "read": {}, "read/first": {}}, whole)
    assert said == [
        "step gather asks by branch; did you mean gather/about? (allowed here: gather/about, gather/screen)",
        "step gather asks by branch; did you mean gather/screen? (allowed here: gather/about, gather/screen)",
        "step read asks for each item: read/0, read/1, …",
        "step read asks for each item: read/0, read/1, …",
    ]


def test_what_a_wait_is_told_stands_under_told() -> None:
    """Else the wait would lapse without a word."""
    whole = Sound(workflow=flow.workflow(), text="", input=inputs.shipped("document.received.v1"))
    assert _given({"booked": {"what": "moved"}}, whole) == ["unknown key what (allowed here: by, told)"]
    assert _given({"booked": [{"told": {"what": "moved"}}, {"by": "ada"}]}, whole) == ["Field required"]


def test_a_wait_for_a_time_is_told_nothing() -> None:
    """Whoever gives it an event meant another step."""
    steps = flow.EVERY["steps"]
    booked = {"wait": {name: said for name, said in steps["booked"]["wait"].items() if name not in ("event", "then")}}
    timed = flow.workflow(steps={**steps, "booked": booked})
    whole = Sound(workflow=timed, text="", input=inputs.shipped("document.received.v1"))
    assert _given({"booked": {"told": {}}}, whole) == ["step booked waits for its time alone, and is told nothing"]


def test_an_answer_that_no_model_gives_is_no_pass() -> None:
    """In service it would be none either, and the case went on without; whoever wrote it meant something else."""
    whole, _ = workflow_files.read_file(workflow_files.FOLDER / "document.triage.yaml")
    assert whole is not None
    classified = {"label": "card_arrival", "confidense": 0.9, "out_of_scope": 0.0}
    said = recorded(input={"text": "Where is my card?"}, given={"classify": classified})
    assert "classify: confidence: Field required" in workflow_cases.run(whole, said).wrong


def _given(said: dict[str, Any], whole: Sound) -> list[str]:
    return [says for _, says in case_files.unasked(recorded(given=said), whole.workflow)]


def test_a_file_without_cases_is_told(tmp_path: Path) -> None:
    """None, an empty one, one that is no text."""
    file, one = tmp_path / "a.cases.yaml", sound(tmp_path)
    with pytest.raises(ConfigError, match="there are no recorded cases"):
        case_files.read(file, one)
    for content in (b"", b"[]"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.cases\.yaml:1:1: recorded cases are a list under the key `cases`"):
            case_files.read(file, one)
    file.write_bytes(b"cases: \xff")
    with pytest.raises(ConfigError, match="1:1: not UTF-8 text"):
        case_files.read(file, one)


# ── what may come ──


def there(*ones: Sound) -> There:
    return There({one.workflow.reference: deployed(one) for one in ones}, {})


def test_a_new_workflow_may_come_and_the_same_may_come_again(tmp_path: Path) -> None:
    one = sound(tmp_path)
    assert deploying.refused(one, there()) == []
    assert deploying.refused(one, there(one)) == []
    assert deploying.refused(sound(tmp_path, "version: 1", "version: 2"), there(one)) == []


def test_nobody_goes_back_by_an_old_file(tmp_path: Path) -> None:
    """Neither to a version that was never here, nor to one that new cases have left."""
    old, new = sound(tmp_path), sound(tmp_path, "version: 1", "version: 2")
    assert "is here already" in deploying.refused(old, there(new))[0]
    left = replace(there(old, new), activated={new.workflow.workflow: activated("auto", version=2)})
    assert f"`aios workflow activate {old.workflow.reference}` goes back" in deploying.refused(old, left)[0]
    assert deploying.refused(new, left) == []


def test_what_may_not_come_says_why(tmp_path: Path) -> None:
    """Each reason by itself; nothing is judged by the first one alone."""
    one = sound(tmp_path)
    unsigned = sound(tmp_path, "signed_off: {by: Head of Finance, on: 2026-11-20}\n")
    other_text = sound(tmp_path, "10000", "20000")
    other_name = replace(one, workflow=one.workflow.model_copy(update={"workflow": "other.claim"}))
    assert "signed" in deploying.refused(unsigned, there())[0]
    assert "raise `version`" in deploying.refused(other_text, there(one))[0]
    assert "an input of its own" in deploying.refused(other_name, there(one))[0]
    (shipped,) = [each for each in workflow_files.shipped() if each.reference == "document.triage@2"]
    entry = workflow_files.shipped().entry(shipped.input)
    assert entry is not None
    same = Sound(
        workflow=shipped.model_copy(update={"signed_off": one.workflow.signed_off}), text="", input=entry.input
    )
    assert "this release ships" in deploying.refused(same, there())[0]


def test_a_contract_that_old_readers_cannot_read_does_not_come(tmp_path: Path) -> None:
    """A field without a default, against the versions that are deployed."""
    one = sound(tmp_path)
    raw = json.loads(one.input.schema.text)
    raw["fields"].append({"name": "boss", "type": "string"})
    (tmp_path / "expense.claimed.v1.avsc").write_text(json.dumps(raw), encoding="utf-8")
    grown, problems = workflow_files.read_file(tmp_path / "expenses.claim.yaml")
    assert grown is None  # its samples do not have that field
    assert "boss is missing" in problems[0]
    text = (tmp_path / "expenses.claim.yaml").read_text(encoding="utf-8").replace("purpose:", "boss: Eve, purpose:")
    (tmp_path / "expenses.claim.yaml").write_text(text.replace("version: 1", "version: 2"), encoding="utf-8")
    later, problems = workflow_files.read_file(tmp_path / "expenses.claim.yaml")
    assert later is not None, problems
    assert any("boss" in why for why in deploying.refused(later, there(one)))


def test_a_difference_names_place_and_value(tmp_path: Path) -> None:
    before, after = sound(tmp_path), sound(tmp_path, "alone_max_cents: 10000", "alone_max_cents: 20000")
    assert deploying.compared(before, after) == ["~ policy.alone_max_cents: 10000 → 20000"]
    assert deploying.compared(before, before) == []


def test_a_catalogue_follows_what_is_deployed_active_and_retired(tmp_path: Path) -> None:
    """A topic that was there once is read for ever; a retired workflow takes nothing."""
    tables, one = Tables(), sound(tmp_path)
    known = Catalogue(tables.given)
    assert known.input_of("expenses.claim") is None
    tables.put(one)
    assert "expenses.claim" in known.names()
    assert [topic.name for topic in known.topics()][-1] == "expense.claimed.v1"
    tables.put(one, version=0)
    assert "expenses.claim" not in known.names()
    entry = known.entry("expense.claimed.v1")
    assert entry is not None
    assert (entry.workflow, entry.open) == ("expenses.claim", False)
    assert [topic.name for topic in known.topics()][-1] == "expense.claimed.v1"


def test_live_workflows_are_looked_for_before_they_are_denied(tmp_path: Path) -> None:
    """A name that is not known yet, and a version: the tables are read to their ends first."""
    tables, one = Tables(), sound(tmp_path)
    live = workflow_files.Live(workflow_files.shipped(), tables.given)
    assert live.latest("expenses.claim") is None
    assert tables.asked == 1
    tables.put(one, mode="suggest", permille=250)
    latest = live.latest("expenses.claim")
    assert latest is not None
    assert latest.reference == "expenses.claim@1"
    assert live.autonomy(latest) == ("suggest", 250)
    assert live.at("expenses.claim", 1) is latest
    with pytest.raises(ConfigError, match="nobody deployed"):
        live.at("expenses.claim", 9)
    tables.put(one, version=0)
    assert live.latest("expenses.claim") is None
    assert live.at("expenses.claim", 1) is latest  # open cases finish on it
    assert live.at("document.triage", 1).version == 1


def test_what_admit_took_before_the_workflow_was_retired_is_refused(tmp_path: Path) -> None:
    """As admit refuses what comes later; it counts against no tenant, as a dead letter would."""
    tables, one = Tables(), sound(tmp_path)
    tables.put(one, version=0)
    live = workflow_files.Live(workflow_files.shipped(), tables.given)
    event = admissions.admitted({}, tenant="acme", workflow="expenses.claim", contract=one.input.contract, at=NOW_MS)
    moved = case.plan(None, event, Cause("t", 0, 0, NOW_MS), live)
    assert moved.state is None
    (_, refused), (_, audit) = moved.events
    assert isinstance(refused, EventRefused)
    assert isinstance(audit, AuditRecorded)
    assert (refused.reason, refused.case_id, refused.duplicate_of) == ("workflow_retired", event.case_id, "")
    assert (audit.transition, audit.case_seq) == ("refused", 0)
    unknown = replace(event, workflow="expenses.unknown")
    with pytest.raises(RecordError, match="no workflow"):
        case.plan(None, unknown, Cause("t", 0, 1, NOW_MS), live)


def test_open_cases_are_called_off_when_no_more_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened while they were counted would stay open."""
    done: list[str] = []

    def counted(*_: object) -> list[CaseRemembered]:
        done.append("read")
        return []

    monkeypatch.setattr(workflow_acts, "connected", lambda: nullcontext((Settings(), None)))
    monkeypatch.setattr(workflow_acts, "acting", lambda *_: "operator:ada")
    monkeypatch.setattr(deploying, "there", lambda *_: There({}, {}))
    monkeypatch.setattr(deploying, "retire", lambda *_, **__: done.append("retired"))
    monkeypatch.setattr(open_cases, "read", counted)
    ran = CliRunner().invoke(group, ["cancel", "document.triage", "--why", "over", "--open-cases"])
    assert ran.exit_code == 0, ran.output
    assert done == ["retired", "read"]


def test_a_retired_workflow_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as one that there never was."""
    tables, one = Tables(), sound(tmp_path)
    tables.put(one, version=0)
    monkeypatch.setattr(workflow_acts, "connected", lambda: nullcontext((Settings(), None)))
    monkeypatch.setattr(deploying, "there", lambda *_: There(tables.deployed, tables.activated))
    ran = CliRunner().invoke(group, ["diff", str(tmp_path / "expenses.claim.yaml")])
    assert ran.exit_code == 3
    assert "expenses.claim is retired" in ran.output


# ── migration ──


def waiting(one: Sound) -> CaseRemembered:
    """A case of it that waits for a person."""
    fields = {"employee": "A", "purpose": "b", "receipts": []}
    event = admissions.admitted(
        fields, tenant="acme", workflow=one.workflow.workflow, contract=one.input.contract, at=NOW_MS
    )
    moved = case.plan(None, event, Cause("", 0, 0, NOW_MS), Workflows([one.workflow], {one.input.contract: one.input}))
    assert moved.state is not None
    return moved.state


def test_a_case_moves_where_its_step_asks_the_same(tmp_path: Path) -> None:
    """Another threshold and another way on are no hindrance; the step's own question is."""
    one = sound(tmp_path)
    state = waiting(one)
    freer = sound(tmp_path, "alone_max_cents: 10000}", "alone_max_cents: 20000}")
    later = freer.workflow.model_copy(update={"version": 2})
    moved = migrating.migrated(state, one.workflow, later)
    assert isinstance(moved, CaseRemembered)
    assert moved == replace(state, workflow_version=2)
    other = sound(tmp_path, "expires_h: 24", "expires_h: 48").workflow.model_copy(update={"version": 2})
    assert "asks something else" in str(migrating.migrated(state, one.workflow, other))
    assert "already" in str(migrating.migrated(state, one.workflow, one.workflow))
    assert "decided" in str(migrating.migrated(replace(state, decided_at=1), one.workflow, later))
    gone = later.model_copy(update={"steps": {n: s for n, s in later.steps.items() if n != "ask"}})
    assert "does not have" in str(migrating.migrated(state, one.workflow, gone))


@pytest.mark.parametrize(
    ("by", "to", "transition", "reason"),
    [
        ("operator:ada", 2, "migrated", ""),
        ("producer", 2, "ignored", "only_operators_migrate"),
        ("operator:ada", 9, "ignored", "cases run on"),
        ("operator:ada", "x", "ignored", "no_version_named"),
        ("operator:ada", None, "ignored", "no_version_named"),
    ],
)
def test_an_operator_moves_an_open_case_and_nobody_else_does(
    tmp_path: Path, by: str, to: Any, transition: str, reason: str
) -> None:
    """One audit entry each way; a version that nobody has stops nothing."""
    one = sound(tmp_path)
    both = Workflows([one.workflow, one.workflow.model_copy(update={"version": 2})], {one.input.contract: one.input})
    state = replace(waiting(one), workflow_version=1)
    event = CaseTold(
        event_id="t",
        case_id="c-1",
        tenant="acme",
        kind=MIGRATED,
        body=json.dumps({"to": to} if to is not None else {}),
        by=by,
        told_at=NOW_MS,
    )
    moved = case.plan(state, event, Cause("", 0, 1, NOW_MS), both)
    ((_, audit),) = moved.events
    assert moved.state is not None
    assert moved.state.workflow_version == (2 if transition == "migrated" else 1)
    assert moved.state.waiting_for == state.waiting_for
    assert audit.transition == transition  # type: ignore[attr-defined]
    assert reason in json.loads(audit.detail).get("reason", "")  # type: ignore[attr-defined]


def test_every_kind_of_step_is_used_by_a_case_that_ships() -> None:
    """By its latest version: what nobody needs is no part of the language."""
    shipped = workflow_files.shipped()
    latest = [shipped.latest(name) for name in ("document.triage", "kyc.review", "meeting.schedule")]
    used = {type(step.kind) for one in latest if one is not None for step in one.steps.values()}
    assert used == set(get_args(Kind))


# ── drawing ──


@pytest.mark.parametrize("name", [file.stem for file in SHIPPED])
def test_a_drawing_has_every_step_and_every_way(name: str) -> None:
    """Well-formed, alone, the same each time."""
    workflow = workflow_files.shipped().latest(name)
    assert workflow is not None
    drawn = drawing.svg(workflow)
    assert drawn == drawing.svg(workflow)
    root = ET.fromstring(drawn)
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    titles = " ".join(title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title"))
    drawn_boxes = boxes(workflow)
    assert (BUDGET in drawn_boxes, set(drawn_boxes) - {BUDGET}) == (workflow.budget is not None, set(workflow.steps))
    for step, box in drawn_boxes.items():
        assert step in texts
        assert box.does
        assert not box.guards or box.guards in titles
        for way in box.ways:
            assert way.to in workflow.steps or way.to.startswith("■")
            assert way.to.startswith("■") or " ".join(way.when.split()) in " ".join(titles.split())
    assert all(line in titles for line in head(workflow))
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_what_is_shown_says_where_money_is_denied_what_guards_and_who_signed(tmp_path: Path) -> None:
    """To people, and as data; a step that a case comes to without money alone is led to."""
    told = CliRunner().invoke(group, ["show", "document.triage"]).output
    for line in (
        "signed off by Head of Customer Operations on ",
        "the budget (budget): reserve 0.005000 at most",
        "denied ─▶ refuse [over_budget]",
        "guarded before urgent@1, vulnerable@1, no_injection@1",
    ):
        assert line in told, told
    (data,) = json.loads(CliRunner().invoke(group, ["show", "document.triage", "--json"]).output)
    assert data["budget"]["on_denied"] == {"then": "refuse", "reason": "over_budget"}
    assert data["steps"]["classify"]["guards"].startswith("before urgent@1")
    whole = sound(tmp_path, "{mode: auto, ask: ask}", "{mode: auto, share: 0.8, ask: ask}").workflow
    asked = "a person is asked in ask before a case acts or is decided"
    assert f"autonomy auto of 80%, suggest of the others; where it is not auto, {asked}" in head(whole)


# ── what this release cannot read, and autonomy ──


def test_a_share_is_shown_as_it_is() -> None:
    owed = {**flow.EVERY["objectives"], "without_person_min": 0.955}
    shown = list(head(flow.workflow(objectives=owed, autonomy={"mode": "auto", "share": 0.004, "ask": "ask"})))
    assert "at least 95.5% without a person" in shown[0]
    assert "autonomy auto of 0.4%, suggest of the others" in shown[2]


def test_a_version_that_this_release_cannot_read_stops_nobody_else(tmp_path: Path) -> None:
    """Its own new cases are dead letters with a hint; ConfigError would end plan for all."""
    tables, one = Tables(), sound(tmp_path)
    tables.put(one)
    told = tables.deployed["expenses.claim@1"]
    tables.deployed["expenses.claim@1"] = replace(told, definition=told.definition.replace("steps:", "stairs:", 1))
    live = workflow_files.Live(workflow_files.shipped(), tables.given)
    event = admissions.admitted({}, tenant="acme", workflow="expenses.claim", contract=one.input.contract, at=NOW_MS)
    with pytest.raises(RecordError, match="cannot read") as refused:
        case.plan(None, event, Cause("t", 0, 0, NOW_MS), live)
    assert refused.value.reason is Reason.UNATTRIBUTABLE


def test_a_version_that_names_a_policy_that_is_not_here_is_not_read(tmp_path: Path) -> None:
    """Before a case comes to the step that would ask for it."""
    text = Path(workflow_files.FOLDER / "document.triage.yaml").read_text(encoding="utf-8")
    assert "no_injection@1" in text
    found, problems = workflow_files.read_text(text, "t", inputs.shipped, walked=True)
    assert found is not None, problems
    told = replace(deployed(found), definition=text.replace("no_injection@1", "no_injection@99"))
    with pytest.raises(ConfigError, match="lacks what document"):
        workflow_files.of_deployed(replace(told, input_schema=""))


def test_a_deployed_model_that_nobody_knows_takes_no_new_cases_and_stops_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its version cannot be activated; where an earlier release let it in, it is read, and the log says what is off."""
    text = (workflow_files.FOLDER / "document.triage.yaml").read_text(encoding="utf-8")
    edited = text.replace("model: summariser", "model: sumariser").replace("version: 4", "version: 9", 1)
    found, problems = workflow_files.read_text(edited, "t", inputs.shipped, walked=True)
    assert found is not None, problems
    tables = Tables()
    tables.put(found)
    tables.deployed[found.workflow.reference] = replace(deployed(found), input_schema="")
    live = workflow_files.Live(workflow_files.shipped(), tables.given)
    assert live.at("document.triage", 9).version == 9
    assert "there is no model sumariser; did you mean summariser?" in caplog.text
    with pytest.raises(ConfigError, match=r"no model sumariser.*takes no new cases"):
        deploying.activate(KafkaSettings(), Codec(FakeRegistry()), found.workflow, None, by="ada", reason="")


def activated(mode: str, permille: int = 1000, version: int = 1) -> WorkflowActivated:
    return WorkflowActivated(
        workflow="every.kind",
        version=version,
        autonomy=mode,
        auto_permille=permille,
        reason="",
        by="",
        activated_at=0,
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_what_came_of_recorded_cases_is_told_on_stdout(tmp_path: Path, as_json: bool) -> None:
    """So that it can be piped; for scripts there is JSON and nothing beside it. One that came out otherwise: exit 1."""
    file = claims.write(tmp_path, "expenses.claim", "expense.claimed.v1")
    more = ["--json"] if as_json else []
    told = CliRunner().invoke(group, ["test", str(file), *more])
    assert (told.exit_code, told.stderr) == (0, "")
    if as_json:
        assert [one["wrong"] for one in json.loads(told.stdout)[0]["cases"]] == [[]] * 5
    else:
        assert "5 of 5 cases of expenses.claim@1 are as recorded" in told.stdout
    cases = case_files.file_of(file)
    cases.write_text(cases.read_text("utf-8").replace("outcome: ", "outcome: not_", 1), "utf-8")
    told = CliRunner().invoke(group, ["test", str(file), *more])
    assert told.exit_code == 1
    assert "not_" in told.stdout


def test_a_version_that_names_nobody_to_ask_widens_nothing() -> None:
    """Where somebody had to be asked it is refused; a mode is kept while the workflow is retired."""
    asks, alone = flow.workflow(version=2), flow.workflow(version=2, autonomy=None)
    assert deploying.inherited(asks, activated("suggest", 250)) == ("suggest", 250)
    assert deploying.inherited(asks, activated("shadow", version=0)) == ("shadow", 1000)
    assert deploying.inherited(alone, activated("auto")) == ("auto", 1000)
    for held in (activated("suggest"), activated("auto", 500), activated("shadow", version=0)):
        with pytest.raises(ConfigError, match="names nobody to ask"):
            deploying.inherited(alone, held)


def test_a_widening_is_one_in_the_audit_also_with_another_version() -> None:
    """Nobody hides it behind a new version."""
    say = deployments._transition
    assert say(activated("suggest"), activated("auto", version=2)) == "autonomy_widened"
    assert say(activated("auto"), activated("auto", version=2)) == "workflow_activated"
    assert say(activated("auto"), activated("suggest")) == "autonomy_narrowed"
    assert say(activated("shadow"), activated("shadow", version=0)) == "workflow_retired"
