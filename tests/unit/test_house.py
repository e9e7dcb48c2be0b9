"""The house: what is packaged, what the README shows, what must not be in the tree."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from aios.infra.local import broker
from aios.schemas.models import EVENTS
from aios.streams import draw, topology

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "streams", "processors", "inference_workers", "sinks", "dlq", "infra")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_every_topic_carries_contracts_that_exist() -> None:
    assert {name for topic in topology.all_topics().values() for name in topic.contracts} <= set(EVENTS)


@pytest.mark.parametrize("drawn", [draw.mermaid, draw.topics_table])
def test_the_readme_shows_the_topology_as_it_is(drawn: Callable[[], str]) -> None:
    assert drawn() in README


def test_every_test_that_the_readme_names_exists() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    rows = re.findall(r"^\| .* \| (\[test_.*) \|$", README, flags=re.MULTILINE)
    assert rows
    for row in rows:
        linked = re.findall(r"\]\((tests/[^)]+)\)", row)
        assert [path for path in linked if not (ROOT / path).is_file()] == []
        named = re.findall(r"`(test_[a-z0-9_]+)`", row)
        assert [name for name in named if not any(f"def {name}(" in files[Path(path).name] for path in linked)] == []


def test_every_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets


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
