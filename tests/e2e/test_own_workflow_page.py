"""The page for who writes a workflow of his own: its files are fine, and every output that it shows is what is said.

What it does with a running system is tests/broker/test_workflow_deploy.py and test_workflow_acts.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aios.infra.cli import aios
from aios.processors.language.workflow import Connect, Emit, Infer, Map, Parallel, Review, Rule, Wait
from aios.processors.language.workflow_files import FOLDER
from tests.fakes import own_files
from tests.fakes.own_files import FIRST, OWN, PAGE

FILES = own_files.blocks(FIRST)
OUTPUTS = re.findall(r"^```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
MISTAKES = re.findall(r"^\| `(.*)` \| `(.*)` \| `(supplier.*)` \|$", PAGE, flags=re.MULTILINE)
WORKFLOW = "supplier.onboard.yaml"
KINDS = (Rule, Infer, Connect, Parallel, Map, Review, Wait, Emit)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, with the files of the page's workflow."""
    monkeypatch.chdir(own_files.write(tmp_path, FILES))
    return tmp_path


@pytest.fixture
def own(folder: Path) -> Iterator[Path]:
    """The same, with a system, a policy and a workflow that uses both; its settings name it."""
    own_files.write(folder, own_files.blocks(OWN))
    with own_files.read_anew():
        yield folder


def said(*words: str) -> list[str]:
    """What a command of the page says, to people and about mistakes."""
    return CliRunner().invoke(aios, list(words)).output.rstrip().splitlines()


@pytest.mark.usefixtures("folder")
def test_the_files_are_fine_and_say_what_the_page_shows() -> None:
    """Checked, drawn (the page shows the beginning) and tried, to the letter."""
    assert list(FILES) == ["supplier.proposed.v1.avsc", WORKFLOW, "supplier.onboard.cases.yaml"]
    checked, drawn, tried = (text.rstrip().splitlines() for text in OUTPUTS[:3])
    assert said("workflow", "check", ".") == checked
    shown = said("workflow", "show", WORKFLOW)
    assert drawn.pop() == "…"
    assert shown[: len(drawn)] == drawn
    assert said("workflow", "test", ".") == tried
    assert f"`tests {tried[-1].split(' cases')[0]}`" in PAGE, "what deploy says of the same cases"


@pytest.mark.parametrize(("right", "wrong", "told"), MISTAKES)
def test_a_mistake_is_told_as_the_page_says(folder: Path, right: str, wrong: str, told: str) -> None:
    """At its line and column; … stands for what the page leaves out."""
    text = (folder / WORKFLOW).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (folder / WORKFLOW).write_text(text.replace(right, wrong), encoding="utf-8")
    pattern = ".*".join(map(re.escape, told.split("…")))
    (line,) = said("workflow", "check", ".")
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


@pytest.mark.usefixtures("own")
def test_a_system_and_a_policy_of_ones_own_are_as_the_page_says() -> None:
    """Checked, tried and used by a workflow, to the letter; the folder is checked whole, with its settings in it."""
    (commands, *_) = re.findall(r"^```sh\n(.*?)^```$", OWN, flags=re.MULTILINE | re.DOTALL)
    ran = [line for command in commands.splitlines() for line in said(*shlex.split(command)[1:])]
    assert ran == OUTPUTS[-1].rstrip().splitlines()
    assert len(said("workflow", "check", ".")) == 2


def test_a_prompt_of_ones_own_is_made_and_asks_no_case_before_it_has_passed(own: Path) -> None:
    """It lies in the team's folder, not in the release's."""
    made = said("prompt", "new", "letter", "--from", "summary@2")
    assert [line.partition(":")[0] for line in made[:2]] == [
        str(own / "prompts" / "letter" / "1.md"),
        str(own / "prompts" / "letter" / "evaluation.yaml"),
    ]
    listed = said("prompt", "list")
    assert any(line.startswith("letter@1") and "not evaluated" in line for line in listed)
    path = own / "supplier.letter.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("prompt: summary", "prompt: letter"), encoding="utf-8")
    (refused,) = said("workflow", "check", path.name)
    assert "supplier.letter.yaml:31:7: steps.brief.infer.prompt: no version of prompt letter has passed" in refused


def test_the_example_is_nowhere_but_on_the_page() -> None:
    """A domain team starts from an empty folder, so it works without files of the release."""
    assert not list(FOLDER.glob("supplier*"))
