"""The house: what is packaged, what the README shows, what must not be in the tree."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from aios.dlq import decide
from aios.infra import deploying
from aios.infra.local import broker
from aios.infra.prove import matrix
from aios.infra.prove.simulation import mutations
from aios.schemas.models import EVENTS
from aios.streams import draw, topology

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "streams", "processors", "inference_workers", "sinks", "dlq", "infra")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGES = {
    page: (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "dlq/README.md", "infra/prove/README.md")
}
README = PAGES["README.md"]


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines()]


def test_every_package_of_the_tree_is_in_the_wheel() -> None:
    """A sub-package missing from the list works when editable and is absent from the wheel."""
    found = {path.parent.relative_to(ROOT) for top in FOLDERS for path in (ROOT / top).rglob("__init__.py")}
    expected = {f"aios.{'.'.join(path.parts)}" for path in found}
    setuptools = PROJECT["tool"]["setuptools"]
    assert set(setuptools["packages"]) == expected
    assert {f"aios.{folder.replace('/', '.')}" for folder in setuptools["package-dir"].values()} == expected


def test_every_package_says_that_it_is_typed() -> None:
    assert [
        p for top in FOLDERS for p in (ROOT / top).rglob("__init__.py") if not (p.parent / "py.typed").exists()
    ] == []


def test_what_an_hour_and_a_day_are_in_milliseconds_is_said_in_one_place() -> None:
    """And by nobody's own number."""
    said = re.compile(r"\b(3_600_000|86_400_000)\b|^(MINUTE|HOUR|DAY)_MS =", re.MULTILINE)
    found = [path for path in tracked(*(f"{each}/*.py" for each in FOLDERS)) if said.search(path.read_text("utf-8"))]
    assert [str(path.relative_to(ROOT)) for path in found] == ["streams/durations.py"]


def test_vllm_is_imported_by_the_process_of_an_engine_alone() -> None:
    """And by the bench, which measures it by itself; both only where it is asked for, so that all others do without."""
    said = re.compile(r"^( *)(?:import|from) vllm\b", re.MULTILINE)
    found = {path: said.findall(path.read_text("utf-8")) for path in tracked(*(f"{each}/*.py" for each in FOLDERS))}
    asking = {str(path.relative_to(ROOT)): indents for path, indents in found.items() if indents}
    assert sorted(asking) == ["inference_workers/engines/vllm_core.py", "infra/bench/inference_direct.py"]
    assert all(indents and all(indents) for indents in asking.values())


def test_every_topic_carries_contracts_that_exist() -> None:
    assert {name for topic in topology.all_topics().values() for name in topic.contracts} <= set(EVENTS)


@pytest.mark.parametrize("drawn", [draw.mermaid, draw.topics_table])
def test_the_readme_shows_the_topology_as_it_is(drawn: Callable[[], str]) -> None:
    assert drawn() in README


def test_the_readme_counts_the_recorded_cases_of_each_workflow() -> None:
    told = re.findall(r"^\| \[[a-z.]+\]\(([^)]+\.yaml)\).*\| (\d+) \|$", README, flags=re.MULTILINE)
    found = {file: len(deploying.judge(ROOT / file).ran) for file, _ in told}
    assert {file: int(count) for file, count in told} == found
    assert len(told) == 3


def test_the_operators_page_says_what_each_reason_means() -> None:
    """As the commands do."""
    assert decide.reasons_table() in PAGES["dlq/README.md"]


def test_the_page_of_dead_letters_names_the_topics_whose_order_counts() -> None:
    parked = PAGES["dlq/README.md"].partition("## Parked keys\n\n")[2].partition(" the order of a key")[0]
    ordered = {one.name for one in topology.all_topics().values() if one.ordered}
    assert re.findall(r"`([^`]+)`", parked) == sorted(ordered)


def test_the_reviewers_page_promises_no_more_than_there_is() -> None:
    """Faults of the matrix, and mistakes that the simulation finds."""
    found = {"faults": sum(len(each.faults) for each in matrix.rounds()), "mistakes": len(mutations.MUTATIONS)}
    told = re.findall(r"more than (\d+) (faults|mistakes)", PAGES["infra/prove/README.md"])
    assert {what for count, what in told if found[what] > int(count)} == set(found)


def test_every_file_and_heading_that_a_page_links_exists() -> None:
    linked = [
        (page, page.parent / path if path else page, heading)
        for page in tracked("*.md")
        for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8"))
    ]
    assert {path.name for _, path, heading in linked if heading} >= {"README.md"}
    assert [(page, path) for page, path, _ in linked if not path.exists()] == []
    assert [(page, heading) for page, path, heading in linked if heading and heading not in headings(path)] == []


def headings(page: Path) -> set[str]:
    """As links name them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    """In one of the files that its line links: a promise without its test is none."""
    named = 0
    for line in PAGES[page].splitlines():
        paths = [(ROOT / page).parent / path for path in re.findall(r"\]\(([^)]*tests/[^)]+\.py)\)", line)]
        told = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        tests = re.findall(r"`(test_[a-z0-9_]+)`", line)
        assert [name for name in tests if f"def {name}(" not in told] == []
        named += len(tests)
    assert named


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGES[page], flags=re.MULTILINE)) <= targets


def test_no_registry_has_its_address_in_the_tree() -> None:
    """Lock files pin names, versions and hashes; where they come from is the machine's own setting."""
    forbidden = re.compile(r"pypi\.org|files\.pythonhosted|repo1?\.maven|registry\.npmjs|index-url")
    here = Path(__file__)
    named = [
        p for p in tracked("*.lock", "*.toml", "*.xml", "*.py", "*.yaml", "Makefile", "*.in", ".ci/*") if p != here
    ]
    assert [path for path in named if forbidden.search(path.read_text(encoding="utf-8"))] == []


def test_setup_and_broker_agree_on_kafkas_version() -> None:
    setup = (ROOT / "infra" / "setup.py").read_text(encoding="utf-8")
    pom = (ROOT / "infra" / "local" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    assert f'KAFKA = "{broker.VERSION}"' in setup
    assert f"<version>{broker.VERSION}</version>" in pom
