"""Contracts and their releases: what was promised stays readable, and `aios schema` says where it would not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aios.infra.commands import schema as command
from aios.schemas import contracts
from aios.schemas.errors import ContractError
from aios.schemas.models import EVENTS
from aios.schemas.release import Releases

TIMER = "timer.fired.v1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of our contracts and their releases."""
    return Path(shutil.copytree(contracts.FOLDER, tmp_path / "avro"))


def _change(path: Path, change: Callable[[Any], object]) -> None:
    raw = json.loads(path.read_text(encoding="utf-8"))
    change(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")


def _add(name: str, **more: Any) -> Callable[[Any], object]:
    return lambda raw: raw["fields"].append({"name": name, "type": "string", "doc": "New.", **more})


def _whys(folder: Path) -> list[str]:
    return [str(problem) for problem in Releases(folder).problems()]


def test_every_contract_is_released_and_nothing_is_wrong() -> None:
    """What `make check` asks: safe, compatible with every release, equal to its twin, no release altered."""
    releases = Releases()
    assert releases.problems() == []
    assert all(releases.versions(name) for name in EVENTS)


def test_personal_fields_are_those_tagged() -> None:
    """The lake and the logs leave these out."""
    assert contracts.personal_fields("document.received.v1") == {"text", "subject", "customer_id"}
    assert contracts.personal_fields(TIMER) == frozenset()


def test_a_name_that_is_no_contract_is_a_key_error() -> None:
    """Whatever the name, no file outside the list is read."""
    with pytest.raises(KeyError):
        contracts.working("../models")


def test_a_change_that_old_readers_cannot_read_is_named(folder: Path) -> None:
    """A field without a default, a removed one, another type: each is a problem of its file."""
    _change(folder / f"{TIMER}.avsc", _add("extra"))
    assert any(why.startswith(f"{TIMER}.avsc: cannot read version 1") for why in _whys(folder))


def test_a_field_with_a_default_becomes_the_next_release(folder: Path) -> None:
    """Compatible and with its twin equal, it is written once and guarded from then on."""
    releases = Releases(folder)
    _change(folder / f"{TIMER}.avsc", lambda raw: raw.update(namespace="aios.case", extra="of no meaning"))
    assert releases.changed(TIMER)
    path = releases.release(TIMER)
    assert path is not None
    assert (path.name, releases.versions(TIMER), releases.changed(TIMER)) == ("2.avsc", [1, 2], False)
    assert releases.release(TIMER) is None
    assert _whys(folder) == []


def test_what_is_incompatible_is_not_released(folder: Path) -> None:
    """The problems are said, and no file is written."""
    _change(folder / f"{TIMER}.avsc", lambda raw: raw["fields"].pop(0))
    with pytest.raises(ContractError, match="timer_id"):
        Releases(folder).release(TIMER)
    assert Releases(folder).versions(TIMER) == [1]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file: file.write_text(file.read_text() + "\n"), "a release never changes"),
        (lambda file: file.unlink(), "a release is for ever"),
        (lambda file: shutil.copy(file, file.with_name("2.avsc")), "is not in SHA256SUMS"),
    ],
)
def test_an_altered_removed_or_smuggled_release_is_seen(folder: Path, harm: Any, said: str) -> None:
    """Each by its SHA-256, though the schemas may still be compatible."""
    harm(folder / "released" / TIMER / "1.avsc")
    assert any(said in why for why in _whys(folder))


def test_a_contract_cannot_vanish_nor_appear_without_a_twin(folder: Path) -> None:
    """Removing a released file, or adding one that no class mirrors, is a problem."""
    (folder / f"{TIMER}.avsc").rename(folder / "timer.stopped.v1.avsc")
    whys = _whys(folder)
    assert any("was released" in why for why in whys)
    assert any("no twin of timer.stopped.v1" in why for why in whys)


def test_an_unsafe_contract_is_named_with_its_place(folder: Path) -> None:
    """A field that holds its own record is refused before anything is compared."""
    _change(folder / f"{TIMER}.avsc", _add("next", type=["null", "TimerFired"]))
    assert any("schema.next[1]: aios.case.TimerFired contains itself" in why for why in _whys(folder))


def test_the_command_says_what_is_wrong_and_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aios schema check`: one line a problem on stderr, exit 1; exit 0 when all is well."""
    monkeypatch.setattr(command, "Releases", lambda: Releases(folder))
    assert CliRunner().invoke(command.group, ["check"]).exit_code == 0
    _change(folder / f"{TIMER}.avsc", lambda raw: raw["fields"].pop(0))
    result = CliRunner().invoke(command.group, ["check"])
    assert (result.exit_code, f"{TIMER}.avsc: version 1 cannot read it" in result.stderr) == (1, True)
    assert CliRunner().invoke(command.group, ["release", TIMER]).exit_code == 1


def test_the_command_lists_shows_and_releases(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`list --json` has every contract, `show` one of a version, `release` writes a file; unknown names exit 3."""
    monkeypatch.setattr(command, "Releases", lambda: Releases(folder))
    run = CliRunner().invoke
    listed = json.loads(run(command.group, ["list", "--json"]).stdout)
    assert [each["contract"] for each in listed] == sorted(EVENTS)
    assert "timer_id" in run(command.group, ["show", TIMER]).stdout
    shown = run(command.group, ["show", f"{TIMER}@1", "--json"]).stdout
    assert shown == (folder / "released" / TIMER / "1.avsc").read_text(encoding="utf-8")
    assert "has not changed" in run(command.group, ["release", TIMER]).stdout
    statuses = [run(command.group, ["show", name]).exit_code for name in ("none.v1", f"{TIMER}@7", f"{TIMER}@x")]
    assert statuses == [3, 3, 3]
