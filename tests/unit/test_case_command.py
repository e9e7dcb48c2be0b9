"""`aios case show`: what a case has cost stands where one looks for it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from aios.infra.commands import case as command
from aios.schemas.models import UsageSettled
from aios.sinks import lake_query, ledger
from aios.sinks.lake import lake_folder
from aios.streams.config import Settings
from aios.streams.outcome_views import CaseView
from tests.unit.test_ledger import NOW_MS, kept

CASE, OTHER = "0a" * 16, "0b" * 16
VIEW = CaseView(case_id=CASE, tenant="demo", workflow="document.triage", status="decided", decided_at=NOW_MS)


def line(number: int, kind: str, cost_micro: int, case_id: str = CASE) -> UsageSettled:
    return UsageSettled(
        settlement_id=f"s{number}",
        reservation_id="",
        case_id=case_id,
        tenant="demo",
        workflow="document.triage",
        kind=kind,
        cost_micro=cost_micro,
        settled_at=NOW_MS,
    )


LINES = [
    line(1, "inference", 40),
    line(2, "inference", 2),
    line(3, "person", 1_800_000),
    line(4, "wasted", 7),
    line(5, "closed", 0),
    line(6, "inference", 999, OTHER),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a running system that knows the case and has written nothing of it to the lake."""
    monkeypatch.setattr(command, "running", lambda: SimpleNamespace(settings=Settings(home=tmp_path)))
    monkeypatch.setattr(command, "_ask", lambda _: (VIEW, []))
    return tmp_path


def shown(*more: str) -> str:
    said = CliRunner().invoke(command.group, ["show", CASE, *more])
    assert said.exit_code == 0, said.output
    return said.stdout


def of_json() -> Any:
    return json.loads(shown("--json"))["cost"]


def test_a_case_shows_what_models_and_people_have_cost(home: Path) -> None:
    """Its own lines of the ledger, each once; what was wasted stands beside the total."""
    kept(lake_folder(home), [*LINES, LINES[0]])
    assert of_json() == {"currency": "EUR", "models": 42, "people": 1_800_000, "total": 1_800_042, "wasted": 7}
    assert "1.800042 EUR (models 0.000042, people 1.800000, wasted 0.000007)" in shown()


def test_an_answer_that_cost_nothing_is_told_and_a_case_that_asked_nobody_is_not(home: Path) -> None:
    """A known answer is 0; of a case without a line, or none yet, nothing is said."""
    assert of_json() is None
    kept(lake_folder(home), [line(1, "inference", 0), LINES[5]])
    assert of_json()["total"] == 0
    assert "0.000000 EUR" in shown()


def test_a_lake_that_cannot_be_read_hides_no_case(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is shown, and why the cost is not."""

    def refused(*_: object, **__: object) -> Any:
        raise lake_query.QueryRefused("the lake cannot be read")

    monkeypatch.setattr(ledger, "report", refused)
    said = CliRunner().invoke(command.group, ["show", CASE])
    assert said.exit_code == 0
    assert CASE in said.stdout
    assert "its cost is not known: the lake cannot be read" in said.output
