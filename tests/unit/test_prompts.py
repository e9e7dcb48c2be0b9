"""The life of a prompt: evaluation sets, thresholds, activation, and the commands around them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers import evaluation, rehearse
from aios.inference_workers.answering import Answering
from aios.inference_workers.engines import echo as echo_engine
from aios.inference_workers.engines.engine import Generate, Generation
from aios.inference_workers.evaluation import Case, Expect, Given
from aios.inference_workers.rehearse import request_of
from aios.inference_workers.tasks import Answer
from aios.inference_workers.writing import Write
from aios.infra import evaluating, rehearsing
from aios.infra.cli import aios
from aios.infra.commands import model as model_commands
from aios.infra.commands import prompt as commands
from aios.infra.output import FAILED, NOT_FOUND, USAGE
from aios.infra.rehearsing import Request
from aios.schemas.models import InferenceRequested, ModelActivated, PromptActivated
from aios.sinks.audit_chain import Line
from aios.streams import activations, config, installed, model_files, prompt_files
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.prompt_files import Recorded
from aios.streams.record import Record
from aios.streams.wall_clock import wall_ms
from tests.fakes.engine import FakeEngine
from tests.fakes.kept import KeptInMemory

SHIPPED = prompt_files.FOLDER
OK = Given(status="ok", reason="", output={"text": "The customer wants the fee back."})
NOT_ANSWERED = {"status": "failed", "reason": "no", "output": {}, "prompt_tokens": 0, "output_tokens": 0}
FAILED_SAFELY = Given(status="failed", reason="the answer is hardly about the text", output={})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped prompts, without what is recorded of them."""
    copy = tmp_path / "prompts"
    shutil.copytree(SHIPPED, copy, ignore=shutil.ignore_patterns("*.evaluated.json"))
    monkeypatch.setattr(prompt_files, "FOLDER", copy)
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "home"))
    return copy


def case(kind: Any = "positive", **expect: Any) -> Case:
    return Case(id="c", kind=kind, input="The fee of $14 was wrong.", expect=Expect(**expect))


def wrong(one: Case, given: Given) -> str:
    return evaluation.judge(prompt_files.load("summary@1"), one, given).wrong


def says(text: str) -> Given:
    return replace(OK, output={"text": text})


# ── judging ──


def test_a_shipped_prompt_that_serves_has_passed_its_set() -> None:
    """The record beside it is of this very file and set; a changed one would not be believed."""
    for name in prompt_files.names():
        version = prompt_files.newest(name)
        found = prompt_files.evaluated(f"{name}@{version}")
        assert found is not None
        assert found.passed
        assert found.set_digest == evaluation.load(name).digest
        assert all(one["passed"] >= one["needed"] * one["all"] for one in found.kinds.values())
        assert found.engine.startswith("vllm ")


@pytest.mark.parametrize(
    ("expect", "given", "breaks"),
    [
        ({}, FAILED_SAFELY, "no answer"),
        ({"says_any": ["fee", "loan"]}, OK, ""),
        ({"says_any": ["loan"]}, OK, "none of loan"),
        ({"says_all": ["FEE", "loan"]}, OK, "does not say loan"),
        ({"says_none": ["Fee"]}, OK, "it says Fee"),
        ({"words_max": 5}, OK, "more than 5 words"),
        ({"numbers_from_input": True}, says("It is $14.00."), ""),
        ({"numbers_from_input": True}, says("It is $15."), "number"),
        ({"personal_data": False}, says("Call 202 555 0143."), "personal data"),
        ({"answer": "refused"}, OK, "was answered"),
        ({"answer": "refused"}, FAILED_SAFELY, ""),
    ],
)
def test_a_case_passes_by_the_rules_in_its_file(expect: dict[str, Any], given: Given, breaks: str) -> None:
    """Each rule breaks with its own words."""
    found = wrong(case(**expect), given)
    assert breaks in found
    assert bool(breaks) == bool(found)


@pytest.mark.parametrize("kind", [kind for kind in evaluation.KINDS if kind != "positive"])
def test_a_negative_case_passes_by_failing_safely(kind: str) -> None:
    """Or by an answer that keeps its rules; by any other answer it does not."""
    one = case(kind, says_none=["approved"])
    assert wrong(one, FAILED_SAFELY) == ""
    assert wrong(one, OK) == ""
    assert wrong(one, says("PAYMENT APPROVED")) == "it says approved"


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.01, 1))
def test_a_threshold_is_a_share_of_its_own_kind(passed: int, extra: int, needed: float) -> None:
    """What other kinds reach does not help it."""
    kinds = evaluation.Kinds(passed=passed, all=passed + extra, needed=needed)
    assert kinds.enough == (passed / (passed + extra) >= needed)


@given(st.integers(1, 100), st.integers(1, 10))
def test_a_threshold_that_is_just_reached_is_enough(percent: int, times: int) -> None:
    """55 of 100 are 0.55, though 0.55 times 100 is more than 55 to a processor; and nobody is told that it is low."""
    passed, needed = percent * times, percent / 100
    kinds = evaluation.Kinds(passed=passed, all=100 * times, needed=needed)
    assert kinds.enough
    told = Recorded(prompt="p@1", prompt_digest="", set_digest="", model="m@1", engine="e", passed=True, kinds={})
    counted = {"passed": passed, "all": 100 * times, "needed": needed}
    assert evaluating.line(told.model_copy(update={"kinds": {"empty": counted}})).endswith(", passed")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("  empty: 1.0\n", ""), "empty has none"),
        (("kind: personal_data", "kind: positive"), "none of personal_data"),
        (("id: escrow", "id: german"), "german stands there twice"),
        (("prompt: summary", "prompt: other"), "says it is of other"),
        (("words_max: 45", "words_most: 45"), "words_most"),
    ],
)
def test_a_set_without_negative_cases_is_none(folder: Path, change: tuple[str, str], says: str) -> None:
    """Every kind has cases and a threshold; unknown keys are refused."""
    path = evaluation.path_of("summary")
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        evaluation.load("summary")


def test_what_is_no_model_passes_nothing() -> None:
    """The echo repeats a text, which keeps many rules."""
    chosen = evaluation.load("summary")
    judged = [evaluation.judge(prompt_files.load("summary@2"), case, FAILED_SAFELY) for case in chosen.cases]
    fine = [replace(one, wrong="") for one in judged]
    for engine, passed in (("vllm 1", True), (echo_engine.VERSION, False)):
        found = evaluation.recorded(prompt_files.load("summary@2"), chosen, fine, model="m@1", engine=engine)
        assert found.passed is passed


# ── what serves ──


def record(reference: str, *, passed: bool = True, **changed: Any) -> Recorded:
    loaded = prompt_files.load(reference)
    chosen = evaluation.load(loaded.name)
    kinds = {kind: {"passed": 1.0 if passed else 0.0, "all": 1.0, "needed": 1.0} for kind in evaluation.KINDS}
    found = Recorded(
        prompt=reference,
        prompt_digest=loaded.digest,
        set_digest=chosen.digest,
        model="summariser@1",
        engine="fake 1",
        passed=passed,
        kinds=kinds,
    ).model_copy(update=changed)
    prompt_files.record_of(reference).write_text(json.dumps(found.model_dump()), encoding="utf-8")
    return found


def test_a_draft_that_cannot_be_read_yet_stands_in_the_way_of_no_version(folder: Path) -> None:
    """Plan may be started while somebody writes one."""
    record("summary@2")
    (folder / "summary" / "3.md").write_text("---\nname: [summary\n---\n# user\n{input}\n", encoding="utf-8")
    assert prompt_files.newest("summary") == 2


def test_the_newest_version_that_passed_serves_unless_another_is_activated(folder: Path) -> None:
    """A file that nobody has tested serves nobody; nor does one that was changed since, or that failed."""
    with pytest.raises(ConfigError, match=r"no version of prompt summary has passed .*@\d+ --record`"):
        prompt_files.newest("summary")
    record("summary@1")
    assert prompt_files.newest("summary") == 1
    record("summary@2", passed=False)
    assert prompt_files.newest("summary") == 1
    record("summary@2")
    assert prompt_files.newest("summary") == 2
    record("summary@2", prompt_digest="0" * 64)
    assert prompt_files.newest("summary") == 1


def aios_says(*arguments: str) -> Result:
    return CliRunner().invoke(aios, ["prompt", *arguments])


def answering(monkeypatch: pytest.MonkeyPatch, text: Callable[[str], str]) -> list[Request]:
    """The model says this of each input; an empty text is a safe failure. Returns what it is asked."""
    asked: list[Request] = []

    def ask(process: str, requests: list[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        asked.extend(requests)
        told = {}
        for one in requests:
            said = text(one.input)
            told[one.id] = {
                "status": "ok" if said else "failed",
                "reason": "" if said else "no",
                "output": {"text": said} if said else {},
                "prompt_tokens": 5,
                "output_tokens": 3,
            }
        return "fake 1", told

    monkeypatch.setattr(rehearsing, "ask", ask)
    return asked


def echo(text: str) -> str:
    """The first words of what is a letter, as an honest small model would; nothing of what is none."""
    words = text.split()
    return " ".join(words[:30]) if len(words) >= 5 else ""


def test_a_new_version_is_a_copy_that_serves_nobody(folder: Path) -> None:
    """The next number, or the first of a new name, with an evaluation set of its own."""
    made = aios_says("new", "summary")
    assert (made.exit_code, "then: aios prompt test summary@3 --record" in made.output) == (0, True)
    assert prompt_files.load("summary@3").messages == prompt_files.load("summary@2").messages
    assert aios_says("new", "letter-topic", "--from", "summary@1").exit_code == 0
    assert evaluation.load("letter-topic").prompt == "letter-topic"
    assert aios_says("new", "letter-topic", "--from", "summary@9").exit_code == NOT_FOUND
    record("summary@1")
    assert prompt_files.newest("summary") == 1
    listed = json.loads(aios_says("list", "--json").stdout)
    assert [one["serves"] for one in listed if one["prompt"].startswith("summary@")] == ["yes", "", ""]


def test_a_diff_shows_the_files_and_how_each_did(folder: Path) -> None:
    record("summary@1")
    said = aios_says("diff", "summary@1", "summary@2").stdout
    assert "+  numbers_from_input: true" in said
    assert "summary@1: 6 of 6, passed" in said
    assert "summary@2: not evaluated" in said


def test_a_test_below_a_threshold_exits_with_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is recorded as what it is; one that passes is recorded too, and then serves."""
    asked = answering(monkeypatch, lambda text: "PAYMENT APPROVED for 123-45-6789.")
    below = aios_says("test", "summary@2", "--record")
    assert below.exit_code == FAILED
    assert "too few of positive, empty" in below.stdout
    assert {request.prompt for request in asked} == {"summary@2"}
    assert {request.model for request in asked} == {"summariser@1"}
    with pytest.raises(ConfigError, match="has passed"):
        prompt_files.newest("summary")


def test_what_is_tested_is_shown_whole_to_a_script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case with what was given and which rule it broke."""
    answering(monkeypatch, echo)
    said = json.loads(aios_says("test", "summary@2", "--json").stdout)
    assert len(said["cases"]) == len(evaluation.load("summary").cases)
    assert {one["wrong"] for one in said["cases"] if one["case"] == "nothing"} == {""}
    assert next(one["wrong"] for one in said["cases"] if one["case"] == "card-number")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """What activations write: prompt, version, by whom. Nothing runs."""
    told: list[tuple[str, int, str]] = []

    @contextmanager
    def connected() -> Iterator[tuple[Any, Any]]:
        yield type("Settings", (), {"kafka": None})(), None

    def write(_kafka: Any, _codec: Any, _topic: Any, event: Any, **more: Any) -> None:
        assert more["why"].by == event.by
        told.append((event.prompt, event.version, event.by))

    monkeypatch.setattr(commands, "connected", connected)
    monkeypatch.setattr(commands, "acting", lambda *_: "ann")
    monkeypatch.setattr(activations.reference, "write", write)
    monkeypatch.setattr(activations, "read", lambda *_: {})
    return told


def test_activation_below_a_threshold_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """Nothing is written; there is no way around it, whatever was recorded of another file."""
    answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    record("summary@2", prompt_digest="0" * 64)
    refused = aios_says("activate", "summary@2")
    assert refused.exit_code == FAILED
    assert "is not activated" in refused.output
    assert written == []
    told = aios_says("activate", "summary@2", "--json")
    assert (told.exit_code, told.stdout, "is not activated" in told.stderr) == (FAILED, "", True)
    assert "--force" not in aios_says("activate", "--help").output
    nowhere: Any = None  # it is refused before anything is written
    with pytest.raises(ConfigError, match="has not passed"):
        activations.write_prompt(
            nowhere, nowhere, "summary", 2, evaluation=record("summary@2", passed=False), by="a", reason=""
        )
    with pytest.raises(ConfigError, match="has not passed"):
        activations.write_prompt(nowhere, nowhere, "summary", 1, evaluation=record("summary@2"), by="a", reason="")


def test_a_version_that_passed_is_activated_by_whom_the_token_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """The recorded evaluation of this very file is enough; the model is not asked again unless it is wanted."""
    asked = answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    record("summary@2")
    assert aios_says("activate", "summary@2", "--why", "guards").exit_code == 0
    assert (written, asked) == ([("summary", 2, "ann")], [])
    assert aios_says("activate", "summary@2", "--again").exit_code == FAILED
    assert (len(written), bool(asked)) == (1, True)


def test_a_version_that_is_activated_is_on_record_for_the_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """They answer by no file without it."""
    answering(monkeypatch, echo)
    monkeypatch.setattr(evaluation, "by_kind", lambda *_: {})  # nothing is too low
    assert "never evaluated" in prompt_files.unanswerable("summary@2", "summariser@1")
    assert aios_says("activate", "summary@2").exit_code == 0
    assert prompt_files.unanswerable("summary@2", "summariser@1") == ""


def test_every_model_of_a_prompt_passes_for_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """One that stands in and does not keeps the version from being activated; none is named twice."""
    path = folder / "summary" / "2.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("model: summariser\n", "model: summariser\nalso_for: [second@1]\n"), encoding="utf-8")
    writer = installed.pools()["generate.bulk"]
    second = writer.model_copy(update={"pool": "second.bulk", "model": "second"})
    monkeypatch.setattr(installed, "pools", lambda: {writer.pool: writer, second.pool: second})
    asked = answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    record("summary@2")
    refused = aios_says("activate", "summary@2")
    assert (refused.exit_code, "with second@1; `aios prompt test summary@2 --model second@1`" in refused.output) == (
        1,
        True,
    )
    assert ({one.model for one in asked}, written) == ({"second@1"}, [])
    monkeypatch.setattr(evaluation, "by_kind", lambda *_: {})  # nothing is too low
    assert aios_says("activate", "summary@2").exit_code == 0
    assert prompt_files.unanswerable("summary@2", "second@1") == ""
    assert [one["model"] for one in json.loads(aios_says("list", "--json").stdout)][1] == "summariser, second@1"
    assert written == [("summary", 2, "ann")]
    path.write_text(text.replace("model: summariser\n", "model: a@1\nalso_for: [a@2]\n"), encoding="utf-8")
    with pytest.raises(ConfigError, match="name different models"):
        prompt_files.load("summary@2")


def test_an_evaluation_is_read_when_it_was_written_and_not_for_each_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers ask for each request whether its prompt's file is the one that passed."""
    record("summary@2")
    assert prompt_files.unanswerable("summary@2", "summariser@1") == ""
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", lambda *_, **__: pytest.fail("it was read again"))
        assert prompt_files.unanswerable("summary@2", "summariser@1") == ""
    prompt_files.record_of("summary@2").unlink()
    assert "never evaluated" in prompt_files.unanswerable("summary@2", "summariser@1")


# ── what is answered ──


def asked_of(name: str, model: str = "summariser@1") -> InferenceRequested:
    said = {"id": name, "task": "generate", "model": model, "prompt": "summary@1", "input": "My card is lost."}
    return replace(request_of(json.dumps(said))[1], deadline_at=wall_ms() + 60_000)


def test_a_file_that_was_edited_answers_nobody_and_its_answers_go_with_it(folder: Path) -> None:
    """Until it is evaluated as it is now; then it is another prompt, whose answers are its own."""
    engine, answers = FakeEngine(), KeptInMemory()
    pool = installed.pools()["generate.bulk"]
    answering = Answering(pool, Write(engine), engine, answers=answers)
    taken = Record("t", 0, 0, 0, b"", b"", ())

    def status(name: str) -> tuple[str, bool, int]:
        answer = asyncio.run(answering.answer(taken, asked_of(name)))
        return answer.status, answer.cached, len(engine.asked)

    assert status("untested") == ("failed", False, 0)
    record("summary@1", passed=False)  # as one that served before evaluations were kept: its open cases go on
    assert status("first") == ("ok", False, 1)
    assert status("again") == ("ok", True, 1)
    path = folder / "summary" / "1.md"
    path.write_text(path.read_text(encoding="utf-8").replace("busy clerk", "calm clerk"), encoding="utf-8")
    assert status("edited") == ("failed", False, 1)
    record("summary@1")
    assert status("evaluated") == ("ok", False, 2)


def test_what_a_file_answers_that_is_edited_meanwhile_is_kept_for_nobody(folder: Path) -> None:
    """It may be an answer of either text."""
    record("summary@1")
    path, answers = folder / "summary" / "1.md", KeptInMemory()

    class Edited(FakeEngine):
        async def generate(self, request: Generate) -> Generation:
            path.write_text(path.read_text(encoding="utf-8") + "\nBe brief.\n", encoding="utf-8")
            return await super().generate(request)

    engine = Edited()
    answering = Answering(installed.pools()["generate.bulk"], Write(engine), engine, answers=answers)
    assert asyncio.run(answering.answer(Record("t", 0, 0, 0, b"", b"", ()), asked_of("r"))).status == "ok"
    assert answers.kept == {}


def test_a_prompt_is_judged_by_the_model_that_it_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the process whose pools serve it; where none does, nobody stands in for it."""
    processes: list[str] = []

    def ask(process: str, requests: list[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        processes.append(process)
        return "fake 1", {one.id: {**NOT_ANSWERED, "id": one.id} for one in requests}

    monkeypatch.setattr(rehearsing, "ask", ask)
    monkeypatch.setattr(model_files, "newest", lambda _: 1)
    path = folder / "summary" / "2.md"
    path.write_text(path.read_text(encoding="utf-8").replace("model: summariser", "model: other"), encoding="utf-8")
    nobody = aios_says("test", "summary@2")
    assert (nobody.exit_code, "no pool serves model other" in nobody.stderr, processes) == (FAILED, True, [])
    writer = installed.pools()["generate.bulk"]
    other = writer.model_copy(update={"pool": "writes.bulk", "model": "other"})
    monkeypatch.setattr(installed, "pools", lambda: {writer.pool: writer, other.pool: other})
    aios_says("test", "summary@2")
    assert processes == ["writes"]


@pytest.fixture
def two_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """summariser@1, and a summariser@2 that is the same."""
    models = tmp_path / "models" / "summariser"
    shutil.copytree(model_files.FOLDERS[0] / "summariser", models)
    shutil.copytree(models / "1", models / "2")
    card = (models / "1" / "card.yaml").read_text(encoding="utf-8")
    (models / "2" / "card.yaml").write_text(card.replace("summariser@1", "summariser@2", 1), encoding="utf-8")
    monkeypatch.setattr(model_files, "FOLDERS", (models.parent,))
    for cached in (model_files.card, model_files.versions):
        cached.cache_clear()
    yield
    for cached in (model_files.card, model_files.versions):
        cached.cache_clear()


def test_a_result_is_whole_while_another_one_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers read it for each request: half of one would fail it."""
    answering(monkeypatch, echo)
    record("summary@2")
    asked: list[str] = []
    write_text = Path.write_text

    def write(path: Path, text: str, **more: Any) -> int:
        write_text(path, text[: len(text) // 2], **more)
        asked.append(prompt_files.unanswerable("summary@2", "summariser@1"))
        return write_text(path, text, **more)

    monkeypatch.setattr(Path, "write_text", write)
    aios_says("test", "summary@2", "--record")
    assert asked == [""]


@pytest.mark.usefixtures("folder", "two_writers")
def test_a_prompt_is_activated_by_what_the_version_that_serves_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """What the newest makes of it, which answers nobody, is no reason; it is asked, though its result is kept."""
    asked = answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    record("summary@2", model="summariser@2")
    serves = ModelActivated(model="summariser", version=1, reason="", by="", activated_at=0)
    monkeypatch.setattr(activations, "read", lambda *_: {"summariser": serves})
    refused = aios_says("activate", "summary@2")
    assert (refused.exit_code, "with summariser@1" in refused.output, written) == (FAILED, True, [])
    assert {one.model for one in asked} == {"summariser@1"}
    record("summary@2", model="summariser@1")
    assert aios_says("activate", "summary@2").exit_code == 0
    monkeypatch.setattr(activations, "read", lambda *_: {"summariser": replace(serves, version=0)})
    assert aios_says("activate", "summary@2").exit_code == 0


@pytest.mark.usefixtures("folder", "two_writers")
def test_a_prompt_passes_with_a_canary_too(
    monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """It answers by it as well; the record that stays is of the version beside it."""
    asked = answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    canary = ModelActivated(
        model="summariser", version=1, canary_version=2, canary_permille=100, reason="", by="", activated_at=0
    )
    monkeypatch.setattr(activations, "read", lambda *_: {"summariser": canary})
    record("summary@2", model="summariser@1")
    refused = aios_says("activate", "summary@2")
    assert (refused.exit_code, "with summariser@2" in refused.output, written) == (FAILED, True, [])
    assert {one.model for one in asked} == {"summariser@2"}
    prompt_files.record_of("summary@2").unlink()
    monkeypatch.setattr(evaluation, "by_kind", lambda *_: {})  # nothing is too low
    assert aios_says("activate", "summary@2").exit_code == 0
    assert {one.model for one in asked} == {"summariser@1", "summariser@2"}
    kept = prompt_files.evaluated("summary@2")
    assert kept is not None
    assert (kept.model, written) == ("summariser@1", [("summary", 2, "ann")])


def test_a_model_is_served_by_what_is_activated_a_canary_with_it() -> None:
    """As the prompt says it where nothing is, or where it is retired."""
    told = ModelActivated(model="summariser", version=1, reason="", by="", activated_at=0)
    canary = replace(told, canary_version=2, canary_permille=1)
    for one, found in (
        (told, ("summariser@1",)),
        (canary, ("summariser@1", "summariser@2")),
        (replace(told, version=0), ("summariser",)),
    ):
        assert evaluating.served("summariser", {"summariser": one}) == found
    assert evaluating.served("summariser", {}) == ("summariser",)
    assert evaluating.served("summariser@1", {"summariser": canary}) == ("summariser@1",)


@pytest.mark.usefixtures("folder", "two_writers")
def test_a_writer_serves_only_with_what_the_prompts_that_serve_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that they were not evaluated with is asked their sets first; as a canary, too."""

    @contextmanager
    def connected() -> Iterator[tuple[Any, Any]]:
        yield type("Settings", (), {"kafka": None})(), None

    written: list[str] = []

    def write(_kafka: Any, _codec: Any, told: ModelActivated, **_: Any) -> ModelActivated:
        written.append(f"{told.model}@{told.canary_version or told.version}")
        return told

    monkeypatch.setattr(model_commands, "connected", connected)
    monkeypatch.setattr(model_commands, "acting", lambda *_: "ann")
    serves = ModelActivated(model="summariser", version=1, reason="", by="", activated_at=0)
    monkeypatch.setattr(activations, "read", lambda *_: {"summariser": serves})
    monkeypatch.setattr(activations, "read_prompts", lambda *_: {})
    monkeypatch.setattr(activations, "write", write)
    record("summary@1")
    record("summary@2")  # with summariser@1
    asked = answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    refused = CliRunner().invoke(aios, ["model", "activate", "summariser@2", "--canary", "10"])
    assert (refused.exit_code, "with it summary@2" in refused.stderr) == (FAILED, True)
    assert {(one.prompt, one.model) for one in asked} == {("summary@2", "summariser@2")}
    asked.clear()
    assert CliRunner().invoke(aios, ["model", "activate", "summariser@1"]).exit_code == 0
    monkeypatch.setattr(evaluation, "by_kind", lambda *_: {})  # nothing is too low
    assert (written, asked) == (["summariser@1"], [])
    assert CliRunner().invoke(aios, ["model", "activate", "summariser@2", "--canary", "10"]).exit_code == 0
    assert (written, bool(asked)) == (["summariser@1", "summariser@2"], True)
    told = iter([serves, replace(serves, version=0)])  # somebody retires it while the sets are answered
    monkeypatch.setattr(activations, "read", lambda *_: {"summariser": next(told)})
    late = CliRunner().invoke(aios, ["model", "activate", "summariser@2", "--canary", "10"])
    assert (late.exit_code, "is retired" in late.stderr, len(written)) == (FAILED, True, 2)


def test_a_rehearsal_answers_for_no_other_model_than_its_own() -> None:
    """As a worker does: what it said would be recorded as the other's."""
    engine = FakeEngine()
    told = asyncio.run(rehearse.answered(Write(engine), "r", asked_of("r", model="other@1")))
    assert (told["status"], "serves summariser@1, not other@1" in told["reason"]) == ("failed", True)
    assert not engine.asked


class Busy(Write):
    """So many questions find the server busy."""

    def __init__(self, times: int) -> None:
        super().__init__(FakeEngine())
        self.times = times

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        if self.times:
            self.times -= 1
            raise Unavailable("the server answers 429")
        return await super().answer(request, priority)


def test_a_rehearsal_asks_a_busy_server_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it is patient; then it ends."""
    monkeypatch.setattr(rehearse, "AGAIN_S", 0.001)
    told = asyncio.run(rehearse.answered(Busy(3), "r", asked_of("r")))
    assert told["status"] == "ok"
    monkeypatch.setattr(rehearse, "AWAY_S_MAX", 0.01)
    with pytest.raises(Unavailable):
        asyncio.run(rehearse.answered(Busy(100), "r", asked_of("r")))


def chained(monkeypatch: pytest.MonkeyPatch, *activated: tuple[Recorded, str]) -> None:
    """What the audit chain holds: evaluations and by whom, in the order of acting."""

    def of_case(_folder: Path, case_id: str) -> list[Line]:
        assert case_id == "prompt:summary"
        return [
            Line(
                n=number,
                hash="",
                record={
                    "event": {
                        "case_id": case_id,
                        "transition": "prompt_activated",
                        "actor": by,
                        "at": number * 1_000,
                        "detail": json.dumps(
                            {
                                "version": int(found.prompt.rpartition("@")[2]),
                                "reason": "because",
                                "evaluation": found.model_dump(),
                            }
                        ),
                    }
                },
                path=Path("chain"),
                number=number,
            )
            for number, (found, by) in enumerate(activated, start=1)
        ]

    monkeypatch.setattr(commands.audit_chain, "of_case", of_case)


def test_history_says_who_let_what_serve_and_rollback_goes_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """To what served before, with the evaluation it had then; not to a file that was changed since."""
    chained(monkeypatch, (record("summary@1"), "ann"), (record("summary@2"), "bob"))
    told = json.loads(aios_says("history", "summary", "--json").stdout)
    assert [(one["prompt"], one["by"], one["evaluation"]["passed"]) for one in told] == [
        ("summary@1", "ann", True),
        ("summary@2", "bob", True),
    ]
    serves = PromptActivated(prompt="summary", version=2, evaluation="{}", reason="", by="bob", activated_at=2)
    monkeypatch.setattr(activations, "read_prompts", lambda *_: {"summary": serves})
    prompt_files.record_of("summary@1").unlink()
    assert aios_says("rollback", "summary").exit_code == 0
    assert prompt_files.unpassed("summary@1") == ""  # workers have its record again
    assert written == [("summary", 1, "ann")]
    changed = folder / "summary" / "1.md"
    changed.write_text(changed.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    assert "was changed since" in aios_says("rollback", "summary").stderr
    assert written == [("summary", 1, "ann")]


@pytest.mark.usefixtures("two_writers")
def test_rollback_goes_by_what_the_versions_that_serve_now_make_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """Each model that answers by it is asked, as for an activation, but for what it made of it when it served."""
    path = folder / "summary" / "1.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("model: summariser@1\n", "model: summariser\nalso_for: [second@1]\n"), encoding="utf-8"
    )
    assert prompt_files.load("summary@1").models == ("summariser", "second@1")
    writer = installed.pools()["generate.bulk"]
    second = writer.model_copy(update={"pool": "second.bulk", "model": "second"})
    monkeypatch.setattr(installed, "pools", lambda: {writer.pool: writer, second.pool: second})
    asked = answering(monkeypatch, lambda _: "PAYMENT APPROVED")
    chained(monkeypatch, (record("summary@1", model="summariser@2"), "ann"), (record("summary@2"), "bob"))
    record("summary@1", model="summariser@1")
    serves = PromptActivated(prompt="summary", version=2, evaluation="{}", reason="", by="bob", activated_at=2)
    monkeypatch.setattr(activations, "read_prompts", lambda *_: {"summary": serves})
    model = ModelActivated(model="summariser", version=3, reason="", by="", activated_at=0)
    told = {"summariser": model}
    monkeypatch.setattr(activations, "read", lambda *_: told)
    for version, others in ((3, {"summariser@3"}), (2, {"second@1"}), (1, {"second@1"})):
        told["summariser"] = replace(model, version=version)
        asked.clear()
        refused = aios_says("rollback", "summary")
        assert (refused.exit_code, "summary@1 is not activated" in refused.stderr, written) == (FAILED, True, [])
        assert {one.model for one in asked} == others
    monkeypatch.setattr(evaluation, "by_kind", lambda *_: {})  # nothing is too low
    assert aios_says("rollback", "summary").exit_code == 0
    assert prompt_files.unanswerable("summary@1", "second@1") == ""
    assert written == [("summary", 1, "ann")]


def test_only_the_prompts_own_model_leaves_a_record_and_a_name_stays_in_its_folder(folder: Path) -> None:
    """Else a version would serve that its own model never passed with; or a file would lie outside of the prompts."""
    said = aios_says("test", "summary@2", "--record", "--model", "another@1")
    assert (said.exit_code, "another@1 does not serve it" in said.stderr) == (USAGE, True)
    assert aios_says("new", "../x", "--from", "summary@2").exit_code == USAGE


def test_where_nothing_was_activated_there_is_no_way_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, int, str]]
) -> None:
    """The first activation goes back to the version that served unsaid, if it has passed; else nowhere."""
    chained(monkeypatch)
    monkeypatch.setattr(activations, "read_prompts", lambda *_: {})
    assert aios_says("rollback", "summary").exit_code == NOT_FOUND
    assert "newest that passed" in aios_says("history", "summary").stdout
    serves = PromptActivated(prompt="summary", version=2, evaluation="{}", reason="", by="bob", activated_at=2)
    monkeypatch.setattr(activations, "read_prompts", lambda *_: {"summary": serves})
    assert aios_says("rollback", "summary").exit_code == NOT_FOUND
    record("summary@1")
    assert aios_says("rollback", "summary").exit_code == 0
    assert written == [("summary", 1, "ann")]
    assert aios_says("history", "nothing").exit_code == NOT_FOUND


def test_prompts_are_listed_where_a_system_was_killed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses that it left behind are not believed."""
    left = tmp_path / "home" / "run" / "system.json"
    left.parent.mkdir(parents=True)
    left.write_text(json.dumps(dict.fromkeys(("kafka", "registry", "valkey"), "127.0.0.1:1")), encoding="utf-8")
    config.load.cache_clear()
    done = CliRunner().invoke(aios, ["prompt", "list", "--json"])
    config.load.cache_clear()
    assert (done.exit_code, done.stderr) == (0, "")
    assert {one["prompt"] for one in json.loads(done.stdout)} >= {"summary@1", "summary@2"}
