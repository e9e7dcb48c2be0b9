"""Versions of models in several folders: which there are, which can be asked, and which are drafts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.streams import model_files
from aios.streams.errors import ConfigError

SHIPPED = model_files.FOLDERS
CACHED = (model_files.card, model_files.versions, model_files.heads)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A team's own folder, beside the one that ships."""
    monkeypatch.setattr(model_files, "FOLDERS", (*SHIPPED, tmp_path))
    for cached in CACHED:
        cached.cache_clear()
    yield tmp_path
    for cached in CACHED:
        cached.cache_clear()


def put(folder: Path, reference: str, *, of: str = "triage-encoder@1") -> Path:
    """A version that says what another one says of itself."""
    said = (model_files.folder(of) / model_files.CARD).read_text(encoding="utf-8")
    name, _, version = reference.partition("@")
    place = folder / name / version
    place.mkdir(parents=True)
    (place / model_files.CARD).write_text(said.replace(of, reference, 1), encoding="utf-8")
    model_files.versions.cache_clear()
    return place


def test_a_model_and_a_version_in_another_folder_are_more_of_both(own: Path) -> None:
    """A model of its own, and the next version of one that ships; the newest is the newest of all folders."""
    before = model_files.known()
    put(own, "claims@1")
    put(own, "triage-encoder@7")
    assert sorted(model_files.known()) == sorted([*before, "claims@1", "triage-encoder@7"])
    assert model_files.reference("triage-encoder") == "triage-encoder@7"
    assert model_files.card("claims@1").model == "claims@1"
    assert model_files.folder("claims@1") == own / "claims" / "1"
    assert model_files.folder("triage-encoder@2").is_relative_to(SHIPPED[0])
    assert model_files.following("triage-encoder") == "triage-encoder@8"
    assert model_files.following("new-one") == "new-one@1"
    assert model_files.folder("new-one@1") == own / "new-one" / "1"


def test_a_version_that_is_in_two_folders_is_refused(own: Path) -> None:
    """A release may bring the number that a team has taken: which of them has decided would depend on the machine."""
    put(own, "triage-encoder@2", of="triage-encoder@2")
    with pytest.raises(ConfigError, match=r"triage-encoder@2 is both in .* and in .*rename yours"):
        model_files.card("triage-encoder@2")
    with pytest.raises(ConfigError, match="is both in"):
        model_files.versions("triage-encoder")


def test_what_ships_is_what_was_judged() -> None:
    """The figures of a version that labels say of which heads they are."""
    labelling = [one for one in model_files.known() if model_files.heads(one)]
    assert labelling
    for one in labelling:
        assert model_files.metrics(one)[model_files.HEADS_JUDGED] == model_files.heads_digest(one)


def test_nobody_is_served_by_a_version_that_was_not_judged_yet(own: Path) -> None:
    """One that is made to be trained is neither known nor the newest, and its model, if it is the first, is none yet;
    with its figures it is both.
    """
    before = model_files.known()
    newest = model_files.reference("triage-encoder")
    for reference in ("triage-encoder@7", "claims@1"):
        (put(own, reference) / model_files.DATA).mkdir()
    assert model_files.known() == before
    assert model_files.reference("triage-encoder") == newest
    assert "claims" not in model_files.names()
    assert model_files.drafts() == ["claims@1", "triage-encoder@7"]
    assert model_files.card("claims@1").task == "classify"
    (own / "claims" / "1" / model_files.METRICS).write_text("{}", encoding="utf-8")
    model_files.versions.cache_clear()
    assert model_files.reference("claims") == "claims@1"
    assert model_files.drafts() == ["triage-encoder@7"]
