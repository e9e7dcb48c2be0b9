"""Weights by name: what they are made of, and a folder on a disk that holds what was committed or is not used."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from aios.inference_workers.weights import convert, weights
from aios.inference_workers.worker import SERVED
from aios.streams import model_files
from aios.streams.errors import ConfigError

NAME = "writer-8b"
FILES = {"config.json": b"{}", "model.safetensors": b"numbers", "1_Pooling/config.json": b"[]"}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second folder of models, whose files.json has a folder on a disk; what is downloaded leaves hidden notes."""
    disk = tmp_path / "disk" / NAME
    for file, content in {**FILES, ".cache/note": b""}.items():
        (disk / file).parent.mkdir(parents=True, exist_ok=True)
        (disk / file).write_bytes(content)
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setattr(model_files, "FOLDERS", (*model_files.FOLDERS, models))
    monkeypatch.setattr(convert, "CACHE", tmp_path / "cache")
    say(models, {})
    return models


def say(models: Path, changed: dict[str, Any], name: str = NAME) -> None:
    """What files.json has, but for the changed; None: not at all."""
    files = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
    said = {"form": "folder", "path": f"../disk/{NAME}", "licence": "Apache-2.0", "files": files, **changed}
    one = {key: value for key, value in said.items() if value is not None}
    (models / "files.json").write_text(json.dumps({name: one}), encoding="utf-8")


def test_what_ships_is_known_by_name_beside_what_a_team_has() -> None:
    """Those that pools load are among them."""
    loaded = {served.pool.weights for served in SERVED.values()}
    assert loaded < weights.every().keys()
    assert NAME in weights.every()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"licence": None}, "licence"),
        ({"colour": "red"}, "colour"),
        ({"form": "onnx"}, "form"),
        ({"path": None}, "form folder is path"),
        ({"base": "all-minilm-l6-v2"}, "form folder is path"),
        ({"form": "adapter", "path": None, "base": "all-minilm-l6-v2"}, "form adapter is base, folder"),
        ({"files": {}}, "files"),
        ({"files": {"config.json": "abc"}}, "files.*config.json"),
        ({"files": {"../secret": "0" * 64}}, "within the folder"),
        ({"files": {"/etc/passwd": "0" * 64}}, "within the folder"),
    ],
)
def test_what_is_no_description_of_weights_is_refused(own: Path, changed: dict[str, Any], says: str) -> None:
    """With the file, the name and the key."""
    say(own, changed)
    with pytest.raises(ConfigError, match=says) as caught:
        weights.every()
    assert f"{own / 'files.json'}" in str(caught.value)
    assert NAME in str(caught.value)


def test_a_name_stands_for_one_thing(own: Path) -> None:
    """One that ships is not replaced; a name that leads out of a folder is none; nor is a list."""
    say(own, {}, "all-minilm-l6-v2")
    with pytest.raises(ConfigError, match=f"{own}.* all-minilm-l6-v2 is in .*inference_workers/models/files.json"):
        weights.every()
    say(own, {}, "../up")
    with pytest.raises(ConfigError, match=r"\.\./up"):
        weights.every()
    (own / "files.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="no JSON object"):
        weights.every()


def test_weights_that_nobody_knows_are_said_with_those_there_are(own: Path) -> None:
    """And with the files that were looked in."""
    with pytest.raises(ConfigError, match=f"no weights small in .* or {own / 'files.json'}; there are .*{NAME}"):
        convert.folder("small")


def test_a_folder_on_a_disk_is_read_where_it_lies(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied; setup passes it over, since it may be another machine's."""
    assert convert.folder(NAME).samefile(own / "../disk" / NAME)
    monkeypatch.setattr(model_files, "FOLDERS", (own,))
    assert [said for _, said in convert.convert_all()] == [f"read where it lies, in {own / '../disk' / NAME}"]
    say(own, {"path": str(own.parent / "disk" / NAME)})
    assert convert.folder(NAME) == own.parent / "disk" / NAME


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("model.safetensors", b"Numbers", "has SHA-256"),
        ("model-2.safetensors", b"more", "is not in .*files.json"),
        ("model.safetensors", None, "is missing"),
    ],
    ids=["changed", "more", "fewer"],
)
def test_a_folder_that_is_not_what_was_committed_is_refused(
    own: Path, file: str, content: bytes | None, says: str
) -> None:
    """After it was right, too: with the file, and what to do."""
    disk = convert.folder(NAME)
    if content is None:
        (disk / file).unlink()
    else:
        (disk / file).write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        convert.folder(NAME)
    assert file in str(caught.value)
    assert f"put back what was there; other files are other weights: `aios model new` with --weights {disk}" in str(
        caught.value
    )


def test_a_folder_that_is_not_there_says_where_it_is_looked_for(own: Path) -> None:
    """And where that is said."""
    say(own, {"path": "/nowhere"})
    with pytest.raises(ConfigError, match=f"no folder /nowhere: mount or copy {NAME} there, or set `path` in {own}"):
        convert.folder(NAME)


def test_what_was_read_is_read_again_only_when_it_is_another(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By size and time; where nothing can be remembered, each time."""
    read: list[str] = []

    def digest(path: Path) -> str:
        read.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(weights, "digest", digest)
    disk = convert.folder(NAME)
    assert len(read) == len(FILES)
    convert.folder(NAME)
    assert len(read) == len(FILES)
    os.utime(disk / "model.safetensors", (1, 1))
    convert.folder(NAME)
    assert read[len(FILES) :] == ["model.safetensors"]
    say(own, {"files": dict.fromkeys(FILES, "0" * 64)})
    with pytest.raises(ConfigError, match="has SHA-256"):
        convert.folder(NAME)
    say(own, {})
    (own.parent / "file").touch()
    monkeypatch.setattr(convert, "CACHE", own.parent / "file")
    for _ in range(2):
        read.clear()
        convert.folder(NAME)
        assert len(read) == len(FILES)
