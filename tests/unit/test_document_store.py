"""The claim check: documents kept by what they are."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.schemas.errors import Unavailable
from aios.streams import document_store
from aios.streams.document_store import BYTES_MAX, Differs, FolderStore, NotKept, Quota, QuotaUsedUp, TooLarge, _Part

MONTH_S = 31 * 86_400.0


def kept(folder: Path) -> list[Path]:
    """Every document, of whomever."""
    return [path for path in folder.glob("*/*/*") if path.is_file()]


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
    assert len(kept(folder)) == 1


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
    (path,) = kept(tmp_path)
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


def test_what_was_dropped_leaves_nothing_however_late_its_last_piece_is_written(tmp_path: Path) -> None:
    """An upload that is cancelled: its thread writes on while it is dropped, or only begins behind that."""
    part, began, goes_on = cast(_Part, FolderStore(tmp_path).new("demo")), threading.Event(), threading.Event()
    opened = part._opened

    def slowly() -> Any:
        began.set()
        goes_on.wait()
        return opened()

    part._opened = slowly  # type: ignore[method-assign]
    writes, drops = threading.Thread(target=part.write, args=(b"one",)), threading.Thread(target=part.drop)
    writes.start()
    began.wait()
    drops.start()
    drops.join(0.1)  # without a lock it is through by now
    goes_on.set()
    writes.join()
    drops.join()
    with pytest.raises(Unavailable):
        part.write(b"two")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_swept_holds_up_no_other_and_whoever_stops_is_not_held_up(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for tenant in ("one", "two", "three"):
        store.put(tenant, b"old")
    for path in kept(tmp_path):
        os.utime(path, (0, 0))
    used = next(tmp_path.glob(document_store._TENANTS)) / document_store._USED
    used.unlink()
    used.mkdir()
    goes_on = iter([True, False])
    assert store.sweep(MONTH_S, lambda: next(goes_on)) == 0  # the bad one, and then it was stopped
    assert store.sweep(MONTH_S) == 2


def test_too_much_is_refused_while_it_arrives(tmp_path: Path) -> None:
    """Nothing of it stays."""
    part = FolderStore(tmp_path).new("demo")
    for _ in range(BYTES_MAX // (1 << 20)):
        part.write(bytes(1 << 20))
    with pytest.raises(TooLarge):
        part.write(b"1")
    part.drop()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("size", [1_000, 3 << 20], ids=["held in memory", "on its way"])
def test_where_the_disk_is_full_a_document_is_refused_and_nothing_of_it_stays(tmp_path: Path, size: int) -> None:
    """Refused as something that is away, to be sent again; once there is room it is kept."""
    store = FolderStore(tmp_path)
    with full_disk(), pytest.raises(Unavailable, match="cannot be written"):
        store.put("demo", bytes(size))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert store.get("demo", store.put("demo", bytes(size))) == bytes(size)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_old_is_swept(tmp_path: Path) -> None:
    """By when it was last handed in: a repeat keeps it."""
    store = FolderStore(tmp_path)
    old, new = store.put("demo", b"old"), store.put("demo", b"new")
    for path in kept(tmp_path):
        os.utime(path, (0, 0))
    store.put("demo", b"new")
    assert store.sweep(older_than_s=document_store.RETENTION_DAYS * 86_400) == 1
    assert not store.has("demo", old)
    assert store.has("demo", new)


def test_a_tenant_keeps_no_more_than_its_quota(tmp_path: Path) -> None:
    """Neither in number nor in bytes; what is there may come again, another tenant has room, forgetting makes some."""
    store = FolderStore(tmp_path, Quota(bytes_max=10, count_max=2))
    store.put("demo", b"12345")
    with pytest.raises(QuotaUsedUp, match=r"1 documents of at most 2, 5 bytes of at most 10"):
        store.put("demo", b"123456")
    store.put("demo", b"1234")
    with pytest.raises(QuotaUsedUp):
        store.put("demo", b"1")
    assert len(kept(tmp_path)) == 2
    for again in (b"12345", b"1234"):
        assert store.get("demo", store.put("demo", again)) == again
    store.put("other", b"1")
    for path in kept(tmp_path):
        os.utime(path, (0, 0))
    assert store.sweep(MONTH_S) == 3
    store.put("demo", b"0123456789")


@pytest.mark.parametrize("line", [b"", b"torn", b"%020d %020d %020d\n" % (10, 2, 7)])
def test_a_line_that_is_wrong_is_made_right_by_the_next_sweep(tmp_path: Path, line: bytes) -> None:
    """Cut off by a power cut, or too high because its process died: then the documents are counted."""
    store = FolderStore(tmp_path, Quota(bytes_max=10, count_max=2))
    store.put("demo", b"1")
    (used,) = tmp_path.glob("*/used")
    used.write_bytes(line)
    store.sweep(MONTH_S)
    store.put("demo", b"2")
    with pytest.raises(QuotaUsedUp):
        store.put("demo", b"3")


CALLS = ("stat", "replace", "unlink", "utime", "pwrite", "fsync", "pread")


@settings(max_examples=150, deadline=None)
@given(
    first=st.sampled_from(["hand in", "sweep"]),
    second=st.sampled_from(["hand in", "sweep"]),
    at=st.sampled_from(CALLS),
    number=st.integers(1, 6),
    old=st.booleans(),
)
def test_nothing_that_was_acknowledged_is_swept_whoever_is_faster(
    *, first: str, second: str, at: str, number: int, old: bool
) -> None:
    """One acts in the midst of the other, before any of its calls to the disk: what came again is there, counted once.

    Who would have to wait for the other is refused here instead.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        store = FolderStore(folder)
        reference = store.put("demo", b"content")
        if old:
            for path in kept(folder):
                os.utime(path, (0, 0))
        came: list[str] = []
        acts: dict[str, Callable[[], object]] = {
            "hand in": lambda: came.append(store.put("demo", b"content")),
            "sweep": lambda: store.sweep(MONTH_S),
        }

        def interrupt() -> None:
            with suppress(Unavailable):
                acts[second]()

        with interrupted(at, number, interrupt), suppress(Unavailable):
            acts[first]()
        if came or not old:
            assert store.get("demo", reference) == b"content"
        (used,) = folder.glob("*/used")
        store.sweep(MONTH_S)
        there = len(kept(folder))
        assert [int(each) for each in used.read_bytes().split()[:2]] == [7 * there, there]
    finally:
        shutil.rmtree(folder)


@contextmanager
def interrupted(name: str, number: int, act: Callable[[], None]) -> Iterator[None]:
    """Before the number-th call of that name act() runs, once; locks are refused instead of waited for."""
    calls: Counter[str] = Counter()
    real, flock = getattr(os, name), document_store.fcntl.flock

    def called(*given: Any, **named: Any) -> Any:
        calls[name] += 1
        if calls[name] == number:
            act()
        return real(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, called)
        patch.setattr(
            document_store.fcntl, "flock", lambda handle, how: flock(handle, how | document_store.fcntl.LOCK_NB)
        )
        yield
