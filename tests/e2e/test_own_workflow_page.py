"""The page for who writes a workflow of his own: its files are fine, and every output that it shows is what is said.

What it does with a running system is tests/broker/test_workflow_deploy.py and test_workflow_acts.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from aios.infra.cli import aios
from aios.processors.language.workflow import Connect, Emit, Infer, Map, Parallel, Review, Rule, Wait
from aios.processors.language.workflow_files import FOLDER

PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```(?:yaml|json) (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
OUTPUTS = re.findall(r"^```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
MISTAKES = re.findall(r"^\| `(.*)` \| `(.*)` \| `(supplier.*)` \|$", PAGE, flags=re.MULTILINE)
WORKFLOW = "supplier.onboard.yaml"
KINDS = (Rule, Infer, Connect, Parallel, Map, Review, Wait, Emit)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, with the page's files."""
    for name, text in FILES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*words: str) -> list[str]:
    """What a command of the page says, to people and about mistakes."""
    return CliRunner().invoke(aios, ["workflow", *words]).output.rstrip().splitlines()


@pytest.mark.usefixtures("folder")
def test_the_files_are_fine_and_say_what_the_page_shows() -> None:
    """Checked, drawn (the page shows the beginning) and tried, to the letter."""
    assert [name for name, _ in FILES] == ["supplier.proposed.v1.avsc", WORKFLOW, "supplier.onboard.cases.yaml"]
    checked, drawn, tried = (text.rstrip().splitlines() for text in OUTPUTS[:3])
    assert said("check", ".") == checked
    shown = said("show", WORKFLOW)
    assert drawn.pop() == "…"
    assert shown[: len(drawn)] == drawn
    assert said("test", ".") == tried
    assert f"`tests {tried[-1].split(' cases')[0]}`" in PAGE, "what deploy says of the same cases"


@pytest.mark.parametrize(("right", "wrong", "told"), MISTAKES)
def test_a_mistake_is_told_as_the_page_says(folder: Path, right: str, wrong: str, told: str) -> None:
    """At its line and column; … stands for what the page leaves out."""
    text = (folder / WORKFLOW).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (folder / WORKFLOW).write_text(text.replace(right, wrong), encoding="utf-8")
    pattern = ".*".join(map(re.escape, told.split("…")))
    (line,) = said("check", ".")
    assert re.fullmatch(pattern, line), line


def test_three_mistakes_are_shown() -> None:
    """What reads the table reads all of it."""
    assert len(MISTAKES) == 3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.lower())
def test_every_field_of_a_kind_stands_in_its_row(kind: type[Rule]) -> None:
    """And none that it does not have."""
    (row,) = re.findall(rf"^\| `{kind.__name__.lower()}` \|.*\|(.*)\|$", PAGE, flags=re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", row))
    inside = {"when", "then", "reason", "infer", "connect", "item", "index"}  # of rows and branches
    assert set(kind.model_fields) <= named <= set(kind.model_fields) | inside


def test_the_example_is_nowhere_but_on_the_page() -> None:
    """A domain team starts from an empty folder, so it works without files of the release."""
    assert not list(FOLDER.glob("supplier*"))
