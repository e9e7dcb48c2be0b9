"""A version of a classifier whose heads are missing, or are none: what becomes of the versions beside it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aios.inference_workers.engines.engine import RequestRefused
from aios.inference_workers.tasks import Task, encoder, refusal
from aios.schemas.models import InferenceRequested
from aios.streams import model_files
from aios.streams.errors import ConfigError
from tests.fakes.answers import request
from tests.fakes.engine import FakeEngine, shelf_of

SHIPPED = model_files.FOLDER / "triage-encoder" / "2"
WHOLE = (SHIPPED / model_files.HEADS).read_bytes()


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A team's own folder, beside the one that ships."""
    monkeypatch.setattr(model_files, "FOLDERS", (model_files.FOLDER, tmp_path))
    model_files.versions.cache_clear()
    yield tmp_path
    model_files.versions.cache_clear()


def put(folder: Path, reference: str, heads: bytes | None) -> None:
    """A version that was judged, with these bytes for its heads; None: it has none."""
    name, _, version = reference.partition("@")
    place = folder / name / version
    shutil.copytree(SHIPPED, place, ignore=shutil.ignore_patterns(model_files.HEADS, model_files.DATA))
    card = place / model_files.CARD
    card.write_text(card.read_text(encoding="utf-8").replace("triage-encoder@2", reference, 1), encoding="utf-8")
    if heads is not None:
        (place / model_files.HEADS).write_bytes(heads)
    model_files.versions.cache_clear()


def served(name: str = "triage-encoder") -> Task:
    return encoder(shelf_of(FakeEngine(dimensions=384)), name)


def label(model: str) -> InferenceRequested:
    return replace(request(model), options='{"head": "messages"}')


def test_a_newer_version_without_heads_takes_the_labels_of_no_other(own: Path) -> None:
    """What asks it for a label is refused alone; those before it label on, and it makes vectors."""
    put(own, "triage-encoder@3", None)
    task = served()
    assert task.model == "triage-encoder@3"
    for before in ("triage-encoder@1", "triage-encoder@2"):
        assert refusal(task, label(before)) == ""
        assert asyncio.run(task.answer(label(before), 0)).output["label"]
    with pytest.raises(RequestRefused, match="triage-encoder@3 serves embed, not classify"):
        asyncio.run(task.answer(label("triage-encoder@3"), 0))
    vector = replace(request("triage-encoder@3"), task="embed", options="{}")
    assert asyncio.run(task.answer(vector, 0)).output["vector"]


@pytest.mark.parametrize(
    "torn", [WHOLE[:90_000], b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x05\x06" + bytes(8)]
)
def test_heads_that_cannot_be_read_stand_in_the_way_of_no_other_version(own: Path, torn: bytes) -> None:
    """Half a file, or what stands for one: who asks that version hears which file it is; the others are answered."""
    put(own, "triage-encoder@3", torn)
    task = served()
    assert asyncio.run(task.answer(label("triage-encoder@2"), 0)).output["label"]
    assert refusal(task, label("triage-encoder@3")) == ""
    with pytest.raises(ConfigError, match=r"3/heads\.npz holds no heads: "):
        asyncio.run(task.answer(label("triage-encoder@3"), 0))


def test_heads_that_are_others_than_were_judged_answer_nobody(own: Path) -> None:
    """A version never changes: who asks it hears so, and the versions beside it are answered."""
    put(own, "triage-encoder@3", (model_files.folder("triage-encoder@1") / model_files.HEADS).read_bytes())
    task = served()
    assert asyncio.run(task.answer(label("triage-encoder@2"), 0)).output["label"]
    with pytest.raises(ConfigError, match=r"3/heads\.npz is not what triage-encoder@3 was judged with: put that back"):
        asyncio.run(task.answer(label("triage-encoder@3"), 0))
    put_back = own / "triage-encoder" / "3" / model_files.HEADS
    put_back.write_bytes(WHOLE)
    assert asyncio.run(served().answer(label("triage-encoder@3"), 0)).output["label"]


def test_where_no_version_can_be_read_nothing_starts(own: Path) -> None:
    put(own, "claims@1", WHOLE[:90_000])
    put(own, "claims@2", b"")
    with pytest.raises(ConfigError, match="holds no heads"):
        served("claims")
    put(own, "claims@3", WHOLE)
    assert served("claims").serves == ("classify", "embed")
