"""The claim check: documents kept by what they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.streams import document_store
from aios.streams.document_store import BYTES_MAX, Differs, FolderStore, NotKept, TooLarge


@given(content=st.binary(max_size=2000), pieces=st.integers(1, 5))
def test_what_was_handed_in_comes_back(tmp_path_factory: pytest.TempPathFactory, content: bytes, pieces: int) -> None:
    """Whatever pieces it arrives in; its reference is its hash, a repeat is kept once."""
    folder = tmp_path_factory.mktemp("documents")
    store = FolderStore(folder)
    references = set()
    for _ in range(2):
        part = store.new("demo")
        for index in range(pieces):
            part.write(
                content[index::pieces]
                if pieces == 1
                else content[index * len(content) // pieces : (index + 1) * len(content) // pieces]
            )
        references.add(part.keep())
        part.drop()
    assert references == {f"sha256:{hashlib.sha256(content).hexdigest()}"}
    assert store.get("demo", references.pop()) == content
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_a_tenant_reads_its_own_and_nobody_elses(tmp_path: Path) -> None:
    """The same reference under another tenant leads to nothing."""
    store = FolderStore(tmp_path)
    reference = store.put("one", b"secret")
    assert store.has("one", reference)
    assert not store.has("other", reference)
    with pytest.raises(NotKept):
        store.get("other", reference)


@pytest.mark.parametrize(
    "reference", ["", "sha256:", "sha256:../../etc/passwd", "md5:0", "sha256:" + "g" * 64, "sha256:" + "a" * 64]
)
def test_what_is_no_reference_leads_nowhere(tmp_path: Path, reference: str) -> None:
    """No path can be made of one."""
    with pytest.raises(NotKept):
        FolderStore(tmp_path).get("demo", reference)


def test_bytes_that_changed_on_the_disk_are_not_given_out(tmp_path: Path) -> None:
    """The hash is taken again at every reading."""
    store = FolderStore(tmp_path)
    reference = store.put("demo", b"as it was")
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    path.write_bytes(b"as it is now")
    with pytest.raises(Differs):
        store.get("demo", reference)


def test_half_a_document_is_none(tmp_path: Path) -> None:
    """What was not kept is under no reference; sweeping takes what an ended process left."""
    store = FolderStore(tmp_path)
    part = store.new("demo")
    part.write(b"half")
    assert not store.has("demo", f"sha256:{hashlib.sha256(b'half').hexdigest()}")
    (left,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    os.utime(left, (0, 0))
    assert store.sweep(older_than_s=60) == 0
    assert not left.exists()


def test_too_much_is_refused_while_it_arrives(tmp_path: Path) -> None:
    """Nothing of it stays."""
    part = FolderStore(tmp_path).new("demo")
    for _ in range(BYTES_MAX // (1 << 20)):
        part.write(bytes(1 << 20))
    with pytest.raises(TooLarge):
        part.write(b"1")
    part.drop()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_old_is_swept(tmp_path: Path) -> None:
    """By when it was last handed in: a repeat keeps it."""
    store = FolderStore(tmp_path)
    old, new = store.put("demo", b"old"), store.put("demo", b"new")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))
    store.put("demo", b"new")
    assert store.sweep(older_than_s=document_store.RETENTION_DAYS * 86_400) == 1
    assert not store.has("demo", old)
    assert store.has("demo", new)
