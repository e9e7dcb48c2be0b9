"""Which version of a list serves: published ones take over, and none that is older than these."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aios.processors.screening import list_files, published
from aios.processors.screening.index import Asked, Index
from aios.processors.screening.published import Current
from aios.schemas.models import ListPublished
from aios.streams.config import RegistrySettings, Settings
from aios.streams.document_store import FolderStore
from aios.streams.errors import Unavailable
from tests.unit.test_screening import ENTRIES

FILE = b'ent_num,name,type,program,title,remarks\n1,"BIN LADIN, Usama",individual,SDGT,,DOB 30 Jul 1957.\n'
NEXT = FILE + b'2,"ZAPATA BERRIO, Jorge",individual,SDNT,,DOB 15 May 1979.\n'
WAIT_S_MAX = 30.0


class Table:
    """list.published.v1, as it is followed."""

    told: ListPublished | None = None
    changed: Callable[[str, Any, Any], None]

    def __init__(self, *_: Any, changed: Callable[[str, Any, Any], None], **__: Any) -> None:
        Table.changed = staticmethod(changed)  # type: ignore[assignment]

    def start(self) -> None: ...
    def close(self) -> None: ...

    def get(self, _name: str) -> ListPublished | None:
        return Table.told


def publish(settings: Settings, version: str, content: bytes, *, kept: bool) -> Path:
    """Say it; kept: its file lies where it belongs. Where that is."""
    store = FolderStore(published.lists_folder(settings))
    reference = store.put(published.OWNER, content)
    path = store._path(published.OWNER, reference)
    if not kept:
        path.unlink()
    Table.told = ListPublished(
        list="ofac_sdn",
        version=version,
        reference=reference,
        sha256=reference.removeprefix(published.BY_HASH),
        entries=1,
        reason="it changed",
        by="operator",
        published_at=1_700_000_000_000,
    )
    return path


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(published, "ReferenceTable", Table)
    monkeypatch.setattr(published, "AGAIN_S", 0.01)
    monkeypatch.setattr(Table, "told", None)
    return Settings(home=tmp_path, registry=RegistrySettings(url="http://127.0.0.1:9"))


def test_a_process_that_starts_screens_by_no_older_list_than_the_published_one(settings: Settings) -> None:
    """Its file is not there (a volume is away): the system is away, and says no `clear` by the shipped one."""
    publish(settings, "2", FILE, kept=False)
    current = Current("ofac_sdn", settings)
    with pytest.raises(Unavailable):
        current.open()
    current.close()


def test_a_version_whose_file_comes_late_serves_when_it_is_there(settings: Settings) -> None:
    """Also without another word about it; until then the former one goes on."""
    publish(settings, "2", FILE, kept=True)
    current = Current("ofac_sdn", settings)
    current.open()
    try:
        path = publish(settings, "3", NEXT, kept=False)
        Table.changed("ofac_sdn", None, None)
        late = weakref.ref(current.now().index)
        assert current.now().listed.version == "2"
        path.write_bytes(NEXT)
        deadline = time.monotonic() + WAIT_S_MAX
        while current.now().listed.version != "3":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert late() is None
    finally:
        current.close()


def test_the_same_bytes_under_another_name_serve_under_that_one(settings: Settings) -> None:
    """Answers say which version they are of, and the commands what was published last."""
    publish(settings, "2", FILE, kept=True)
    current = Current("ofac_sdn", settings)
    current.open()
    try:
        publish(settings, "3", FILE, kept=True)
        assert current.published_at() == 0
        Table.changed("ofac_sdn", None, None)
        deadline = time.monotonic() + WAIT_S_MAX
        while current.now().listed.version != "3":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert current.published_at() > 0
    finally:
        current.close()


def test_without_a_published_version_the_shipped_one_serves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_files, "shipped", lambda name: list_files.read(name, "1", FILE))
    current = Current("ofac_sdn", settings)
    current.open()
    assert (current.now().listed.version, current.published_at()) == ("1", 0)
    current.close()


def test_an_index_that_went_leaves_nothing_behind() -> None:
    """Its objects are frozen: the collector never looks at them again, so that a circle would stay for good."""
    index = Index(ENTRIES)
    assert index.search(Asked("Usama bin Ladin"))
    left, words = weakref.ref(index), weakref.ref(index.vocabulary)
    gc.disable()
    try:
        del index
        assert (left(), words()) == (None, None)
    finally:
        gc.enable()
