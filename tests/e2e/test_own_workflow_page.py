"""The page for who writes a workflow of his own: its files are fine, its commands do what it says, and every output
that it shows is what is said.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aios.infra.cli import aios
from aios.processors.language.questions import Connect, Infer
from aios.processors.language.workflow import Emit, Map, Parallel, Review, Rule, Wait
from aios.processors.language.workflow_files import FOLDER
from tests.fakes import own_files
from tests.fakes.own_files import FIRST, OWN, PAGE

FILES = own_files.blocks(FIRST)
OUTPUTS = re.findall(r"^```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
MISTAKES = re.findall(r"^\| `(.*)` \| `(.*)` \| `(supplier.*)` \|$", PAGE, flags=re.MULTILINE)
WORKFLOW = "supplier.onboard.yaml"
RUN_S_MAX = 300.0
BETWEEN = """
says() {{ printf '\\n@@@ %s\\n' "$1"; }}
became() {{ for _ in $(seq 50); do aios case explain $CASE | grep "$1" > /dev/null && return; done; return 1; }}
says up
{up}
says asked
{asked}
became 'asked at step ask'
TASK=$(aios review list --json | python3 -c 'import json, sys; (one,) = json.load(sys.stdin); print(one["task_id"])')
says listed
aios review list
says decided
{decided}
became 'decided accept'
says explained
aios case explain $CASE
propose '{{"company": "Porto Cork Lda", "country": "PT", "yearly_eur": 900}}' > /dev/null
sed -i 's/^version: 1/version: 2/; s/alone_max_eur: 20000/alone_max_eur: 50000/' supplier.onboard.yaml
says changed
{changed}
says freed
{freed}
says moved
aios workflow activate supplier.onboard@2 --why "after all"
aios workflow migrate supplier.onboard --to 2 --json
became 'moved it from version 1 to 2'
says retired
aios workflow cancel supplier.onboard --why "purchasing has another system" --open-cases
became 'called it off'
says ended
aios case explain $CASE
"""
"""The page's commands of a running system, in their order, in one shell, and what a reader does in between."""
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


def blocks(section: int) -> list[str]:
    """The commands of one of the page's numbered sections."""
    (text,) = re.findall(rf"^## {section}\. .*?\n(.*?)(?=^## )", PAGE, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell in which `aios` is this one, in that folder; what was started there is stopped."""
    command = folder / "bin" / "aios"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aios.infra "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    own = {**os.environ, "PYTHONSAFEPATH": "1", "PATH": f"{command.parent}:{os.environ['PATH']}"}
    yield own
    subprocess.run([str(command), "down"], env=own, cwd=folder, check=True, timeout=RUN_S_MAX)


@pytest.mark.broker
def test_the_commands_of_a_running_system_do_what_the_page_says(folder: Path, shell: dict[str, str]) -> None:
    """Started, deployed, a case from end to end, a version, autonomy; then an open case is moved and called off for
    real. What the page shows is shown, but for ids and times.
    """
    (up,), (asked, decided), (changed, freed) = blocks(3), blocks(4), blocks(5)
    decided = decided.replace("TASK ", "$TASK ", 1)
    script = BETWEEN.format(up=up, asked=asked, decided=decided, changed=changed, freed=freed)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"],
        env=shell,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=RUN_S_MAX,
    )
    assert ran.returncode == 0, ran.stdout
    said = dict(re.findall(r"^@@@ (\w+)\n(.*?)(?=^@@@ |\Z)", ran.stdout, flags=re.MULTILINE | re.DOTALL))
    told = {" ".join(line.split()) for line in said["up"].splitlines()}
    assert {"autonomy suggest", "tests 5 of 5", "read yes"} <= told
    shown, explained = OUTPUTS[3], OUTPUTS[4]
    answer, *listed = shown.splitlines()
    for lines, where in ((answer.split("…"), "asked"), (listed, "listed"), (explained.splitlines(), "explained")):
        for line in lines:
            assert plain(line) in plain(said[where]), f"{line!r} is not in {said[where]}"
    (difference,) = re.findall(r"# (~ .*)", changed)
    assert difference in said["changed"]
    assert re.search(r"would go", said["changed"])
    assert "new cases take supplier.onboard@1; alone: suggest" in said["changed"]
    assert "auto for 20 %" in said["freed"]
    moved: list[dict[str, Any]] = json.loads(said["moved"][said["moved"].index("[") :])
    assert [(one["from"], one["step"], one["moves"]) for one in moved] == [(1, "papers", "told")]
    assert "1 of 1 open cases are called off" in said["retired"]
    assert re.match(r"case \S+, supplier\.onboard@2, cancelled\n", said["ended"])
    assert "called it off: purchasing has another system" in said["ended"]


def plain(text: str) -> str:
    """Without what another run says otherwise."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    return re.sub(r"\d+\.\d\d s|[\s…]", "", text)
