"""Which version of a model or prompt serves a case."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aios.processors.cases import active, case, turn
from aios.processors.cases.turnstile import Open, Turnstile
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import FOLDER, Workflows
from aios.schemas.models import (
    AuditRecorded,
    Event,
    InferenceRequested,
    ModelActivated,
    PromptActivated,
    ReviewRequested,
    TimerFired,
)
from aios.streams import activations, model_files, prompt_files
from aios.streams.errors import ConfigError
from aios.streams.pool_files import Pool
from aios.streams.prompt_files import Recorded
from tests.fakes.flow import EVERY, Flow
from tests.fakes.pools import chained
from tests.unit.test_case import START_MS, admitted

NAME = "triage-encoder"
STABLE = ModelActivated(model=NAME, version=1, reason="", by="", activated_at=0)
CANARY = replace(STABLE, canary_version=2, canary_permille=100)
OTHER = "00000002-0000-0000-0000-000000000000"  # a case
CASES = [f"case-{number}" for number in range(4_000)]


def test_without_an_activation_the_newest_version_of_the_deploy_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of models and of prompts (of these, the newest that passed its evaluation)."""
    monkeypatch.setattr(active, "_newest_prompt", lambda _name: 7)
    assert active.model_of(NAME, "c", None) == f"{NAME}@{model_files.newest(NAME)}"
    assert active.prompt_of("summary", None) == "summary@7"


def test_a_name_that_nobody_knows_is_an_error() -> None:
    """No case is answered by something else; what becomes of the step is asking.py's."""
    with pytest.raises(ConfigError, match="nothing"):
        active.model_of("nothing", "c", None)


def test_what_is_retired_serves_nobody() -> None:
    """Neither a model nor a prompt."""
    assert active.model_of(NAME, "c", replace(STABLE, version=0)) == ""
    retired = PromptActivated(prompt="summary", version=0, evaluation="", reason="", by="", activated_at=0)
    assert active.prompt_of("summary", retired) == ""


def test_a_prompt_serves_as_the_text_that_was_activated() -> None:
    """One that was edited since serves nobody; one that this deploy has not yet is left to who has it."""
    file = prompt_files.load("summary@2").digest

    def serves(version: int, digest: str) -> str:
        said = Recorded(
            prompt=f"summary@{version}",
            prompt_digest=digest,
            set_digest="",
            model="summariser@1",
            engine="fake 1",
            passed=True,
            kinds={},
        ).model_dump_json()
        told = PromptActivated(prompt="summary", version=version, evaluation=said, reason="", by="", activated_at=0)
        return active.prompt_of("summary", told)

    assert (serves(2, file), serves(2, "0" * 64), serves(900, "0" * 64)) == ("summary@2", "", "summary@900")


@given(st.uuids().map(str), st.integers(0, 1000))
def test_a_case_stays_in_a_canary_that_grows(case_id: str, permille: int) -> None:
    """The share of a case is a hash: asked again it is the same, and a larger share keeps whom it had."""
    some, more = (replace(CANARY, canary_permille=each) for each in (permille, min(1000, permille + 100)))
    first = active.model_of(NAME, case_id, some)
    assert active.model_of(NAME, case_id, some) == first
    if first.endswith("@2"):
        assert active.model_of(NAME, case_id, more) == first


def test_the_share_of_a_canary_is_what_was_asked() -> None:
    """A tenth within a percent, and of another canary another tenth."""
    chosen = {case for case in CASES if active.model_of(NAME, case, CANARY).endswith("@2")}
    assert abs(len(chosen) / len(CASES) - 0.1) < 0.02
    other = {c for c in CASES if active.model_of(NAME, c, replace(CANARY, canary_version=3)).endswith("@3")}
    assert len(chosen & other) < len(chosen) / 3


def test_all_or_none_is_exact() -> None:
    """No case at 0, every case at 1000."""
    for permille, version in ((0, 1), (1000, 2)):
        told = replace(CANARY, canary_permille=permille)
        assert {active.model_of(NAME, case, told) for case in CASES[:200]} == {f"{NAME}@{version}"}


def test_a_canary_is_another_version_than_the_one_that_serves() -> None:
    """And there is none of a retired model."""
    ask = {"stable": 1, "canary_permille": 50, "limits": ""}
    told = activations.activated(None, NAME, 2, **ask)
    assert (told.version, told.canary_version, told.canary_permille) == (1, 2, 50)
    with pytest.raises(ConfigError, match=rf"activate {NAME}@V`, then the canary"):  # nobody is moved unsaid
        activations.activated(None, NAME, 2, **{**ask, "stable": 2})
    with pytest.raises(ConfigError, match="every case already"):
        activations.activated(STABLE, NAME, 1, **ask)
    with pytest.raises(ConfigError, match="retired"):
        activations.activated(replace(STABLE, version=0), NAME, 2, **ask)


def test_the_version_beside_a_canary_serves_and_the_newest_where_nobody_has_activated_one() -> None:
    """And of a retired model none does."""

    def serving(told: ModelActivated | None) -> list[int]:
        return [version for version in (1, 2) if activations.serves(f"{NAME}@{version}", told, f"{NAME}@2")]

    assert (serving(CANARY), serving(None), serving(replace(STABLE, version=0))) == ([1], [2], [])


def test_a_full_activation_ends_the_canary_and_so_does_its_return() -> None:
    """Everybody on the version that was asked for; or on the one that served before."""
    told = activations.activated(CANARY, NAME, 2, stable=1, canary_permille=0)
    assert (told.version, told.canary_version) == (2, 0)
    back = activations.returned(replace(CANARY, limits='{"error_share":0.5}'))
    assert (back.version, back.canary_version, back.canary_permille, back.limits) == (1, 0, 0, "")


def test_the_limits_of_a_canary_are_read_or_refused() -> None:
    """Empty: the defaults. Unknown names are a mistake, never ignored."""
    assert activations.Limits.of(CANARY) == activations.Limits()
    assert activations.Limits.of(replace(CANARY, limits='{"error_share":0.5}')).error_share == 0.5
    for wrong in (
        '{"errors":1}',
        "[]",
        "[1]",
        "{",
        '{"error_share":"much"}',
        '{"error_share":-1}',
        '{"error_share":true}',
    ):
        with pytest.raises(ConfigError):
            activations.Limits.of(replace(CANARY, limits=wrong))


# ── a case ───────────────────────────────────────────────────────────────────────────────────────────


class Told:
    """Versions as a test says them, and who asked."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions

    def model(self, name: str, _case_id: str) -> str:
        return self.versions[name.replace("-", "_")]

    def prompt(self, name: str) -> str:
        return self.versions[name]


def unversioned() -> Workflows:
    """The shipped workflow, asking for whatever is active."""
    text = (FOLDER / "document.triage.yaml").read_text(encoding="utf-8")
    for name in ("triage-encoder", "summariser", "summary"):
        text = re.sub(rf"{name}@\d+", name, text)
    return Workflows([Workflow.model_validate(yaml.safe_load(text))])


def cause(versions: Told, offset: int = 0) -> turn.Cause:
    return turn.Cause("topic", 0, offset, START_MS, versions)


def asked(moved: turn.Moved) -> InferenceRequested:
    return next(event for _, event in moved.events if isinstance(event, InferenceRequested))


def test_a_case_is_served_by_the_version_it_began_with() -> None:
    """Another activation while it waits does not move it: the second attempt asks the same version."""
    workflows = unversioned()
    opened = case.plan(None, admitted(), cause(Told(triage_encoder="triage-encoder@1")), workflows)
    assert asked(opened).model == "triage-encoder@1"
    assert opened.state is not None
    assert opened.state.stamps == ("model/triage-encoder@1",)
    timer = TimerFired(
        timer_id=turn.timer_of(opened.state), case_id=opened.state.case_id, due_at=START_MS, fired_at=START_MS
    )
    again = case.plan(opened.state, timer, cause(Told(triage_encoder="triage-encoder@2"), 1), workflows)
    assert asked(again).model == "triage-encoder@1"


def test_another_case_takes_what_is_active_now() -> None:
    """The version is asked for when a case first needs it."""
    later = case.plan(None, admitted(), cause(Told(triage_encoder="triage-encoder@2")), unversioned())
    assert asked(later).model == "triage-encoder@2"


def fixed() -> Workflows:
    """The same, asking for the first version, whatever is active."""
    text = (FOLDER / "document.triage.yaml").read_text(encoding="utf-8")
    return Workflows([Workflow.model_validate(yaml.safe_load(text.replace("triage-encoder", "triage-encoder@1")))])


@pytest.mark.parametrize("workflows", [unversioned, fixed])
def test_a_retired_model_is_not_asked_and_a_person_decides(workflows: Callable[[], Workflows]) -> None:
    """The step's on_error runs at once, also where the workflow names a version; the audit says why."""
    moved = case.plan(None, admitted(), cause(Told(triage_encoder="")), workflows())
    told = [event for _, event in moved.events]
    assert not [event for event in told if isinstance(event, InferenceRequested)]
    assert [event for event in told if isinstance(event, ReviewRequested)]
    assert "not_asked" in [event.transition for event in told if isinstance(event, AuditRecorded)]


Began = tuple[turn.Moved, Callable[[], Turnstile]]


def first_attempt(versions: Told, workflows: Workflows) -> Began:
    """A case that has asked, and what nobody answers: its timer fires next."""
    return case.plan(None, admitted(), cause(versions), workflows), Open


def wait_for_a_turn(versions: Told, workflows: Workflows) -> Began:
    """A case behind another one that has asked; next it is called."""
    kept: dict[bytes, Event | None] = {}

    def door() -> Turnstile:
        return Turnstile(lambda key, _kind: kept.get(key), lambda _pool: 1)

    before, behind = door(), door()
    case.plan(None, admitted(), cause(versions), workflows, turnstile=before)
    kept |= before.changes
    moved = case.plan(None, admitted(case_id=OTHER), cause(versions, 1), workflows, turnstile=behind)
    kept |= behind.changes
    leaving = door()
    leaving.leave("demo", "classify.bulk", 0)
    kept |= leaving.changes
    return moved, door


@pytest.mark.parametrize("workflows", [unversioned(), fixed()], ids=["the active version", "a fixed one"])
@pytest.mark.parametrize("began", [first_attempt, wait_for_a_turn])
def test_a_model_that_is_retired_is_asked_no_more_by_cases_that_have_its_version(
    began: Callable[[Told, Workflows], Began], workflows: Workflows
) -> None:
    """Neither by a second attempt nor by the backlog that waits for its turn: a person is asked, the audit says why."""
    versions = Told(triage_encoder="triage-encoder@1")
    opened, door = began(versions, workflows)
    assert opened.state is not None
    timer = TimerFired(
        timer_id=opened.state.waiting_for if opened.state.turn else turn.timer_of(opened.state),
        case_id=opened.state.case_id,
        due_at=START_MS,
        fired_at=START_MS,
    )

    def moved() -> list[Event]:
        found = case.plan(opened.state, timer, cause(versions, 2), workflows, turnstile=door())
        return [event for _, event in found.events]

    assert [event.model for event in moved() if isinstance(event, InferenceRequested)] == ["triage-encoder@1"]
    versions.versions["triage_encoder"] = ""
    told = moved()
    assert not [event for event in told if isinstance(event, InferenceRequested)]
    assert [event for event in told if isinstance(event, ReviewRequested)]
    (why,) = [event for event in told if isinstance(event, AuditRecorded) and event.transition == "not_asked"]
    assert json.loads(why.detail)["reason"] == "retired"


def test_a_case_that_waits_for_a_retired_models_answer_takes_it_and_asks_it_no_more() -> None:
    """What was asked is answered; a later step of the same case goes its on_error."""
    versions, told = Told(triage_encoder="triage-encoder@1"), copy.deepcopy(EVERY)
    about = told["steps"]["gather"]["parallel"]["of"]["about"]["infer"]
    for name, then in (("gather", "rate"), ("rate", "ask")):
        told["steps"][name] = {
            "infer": about | {"status": name, "then": then, "on_error": {"reason": f"no_{name}", "then": then}}
        }
    told["steps"]["weigh"] = {"rule": {"first_of": [{"when": "true", "then": "book"}], "otherwise": {"then": "book"}}}
    flow = Flow(workflow=Workflow.model_validate(told), versions=versions)
    flow.admit()
    versions.versions["triage_encoder"] = ""
    flow.answer("gather")
    assert [one.step for one in flow.of(InferenceRequested)] == ["gather"]
    assert flow.out("ask").reasons == ("no_rate",)


class Unwritten(active.Newest):
    """Nobody has evaluated the prompt as its file is."""

    def prompt(self, name: str) -> str:
        raise ConfigError(f"no version of prompt {name} has passed its evaluation")


def test_a_prompt_that_nobody_knows_stops_no_other_case() -> None:
    """Its step goes its on_error, and the audit says why: a prompt whose file was edited holds up no stage."""
    told = copy.deepcopy(EVERY)
    written = {
        "task": "generate",
        "pool": "generate",
        "model": "summariser",
        "prompt": "summary",
        "input": "input.name",
    }
    written |= {"input_chars_max": 100, "deadline_s": {"interactive": 60, "bulk": 600}, "attempts_max": 1}
    told["steps"]["gather"] = {
        "infer": written | {"status": "s", "then": "ask", "on_error": {"reason": "no_summary", "then": "ask"}}
    }
    told["steps"]["weigh"] = {"rule": {"first_of": [{"when": "true", "then": "book"}], "otherwise": {"then": "book"}}}
    flow = Flow(workflow=Workflow.model_validate(told), versions=Unwritten())
    flow.admit()
    assert flow.out("ask").reasons == ("no_summary",)
    (why,) = [event for event in flow.of(AuditRecorded) if event.transition == "not_asked"]
    assert json.loads(why.detail)["reason"] == "unknown_prompt"


@pytest.mark.parametrize("pools", [None, chained()], ids=["a person", "another pool"])
def test_a_model_that_nobody_knows_stops_no_other_case(pools: Mapping[str, Pool] | None) -> None:
    """Its step goes the way of a pool that cannot answer: the fallback's model, else on_error. The audit says why."""
    text = (FOLDER / "document.triage.yaml").read_text(encoding="utf-8").replace("triage-encoder", "triage-encodr")
    workflows = Workflows([Workflow.model_validate(yaml.safe_load(text))])
    moved = case.plan(None, admitted(), turn.Cause("topic", 0, 0, START_MS), workflows, pools=pools)
    told = [event for _, event in moved.events]
    (why,) = [event for event in told if isinstance(event, AuditRecorded) and event.transition == "not_asked"]
    assert json.loads(why.detail)["reason"] == "unknown_model"
    assert any(isinstance(event, ReviewRequested) for event in told) == (pools is None)
    if pools is not None:
        assert (asked(moved).model, asked(moved).fallback_of) == ("summariser@1", "classify.bulk")
