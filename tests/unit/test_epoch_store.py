"""The marker of a store in Valkey, as this home remembers it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded
from aios.sinks import epoch_store
from aios.sinks.epoch_store import Write, everything
from aios.sinks.outcome_writes import write_of
from aios.sinks.outcomes import Store
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.topics import AUDIT_RECORDED
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())


def nothing() -> Generator[Write, None, None]:
    yield from ()


def test_a_full_disk_ends_no_store_and_loses_no_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with the marker that it found; the file still says which one was there before, and not nothing."""
    remembered = tmp_path / "outcomes.epoch"
    remembered.write_text("before", encoding="ascii")
    store = Store("redis://127.0.0.1:1", remembered)

    async def answer(*_: object) -> str:
        return "now"

    def full(file: Path, *_: Any, **__: Any) -> int:
        file.open("w").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    async def ask() -> None:
        try:
            await store.ensure(nothing)
        finally:
            await store.close()

    monkeypatch.setattr(store, "_ask", answer)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        asyncio.run(ask())
    assert (store.epoch, remembered.read_text(encoding="ascii")) == ("now", "before")


def waiting(offset: int, detail: str) -> Record:
    event = AuditRecorded(
        audit_id=f"a-{offset}",
        case_id=f"case-{offset}",
        tenant="demo",
        workflow="w",
        case_seq=1,
        transition="waiting",
        actor="plan",
        detail=detail,
        input_topic="",
        input_partition=-1,
        input_offset=-1,
        at=1,
    )
    return Record(AUDIT_RECORDED.name, 0, offset, 1, b"k", CODEC.encode(AUDIT_RECORDED, event))


def test_what_nobody_foresaw_in_a_record_leaves_it_out_of_a_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the group dead-letters it; what is away ends the reading."""
    whole = '{"answers_caller":false,"says":{},"until":5}'
    taken = [waiting(0, whole), waiting(1, '{"until":5}'), waiting(2, whole)]
    monkeypatch.setattr(epoch_store, "read_all", lambda *_: iter(taken))
    found = list(everything(KafkaSettings(), [AUDIT_RECORDED], lambda one: write_of(one, CODEC)))
    assert [one.args[1] for one in found] == ["case-0", "case-2"]

    def away(_: Record) -> Write:
        raise Unavailable("the registry does not answer")

    with pytest.raises(Unavailable):
        list(everything(KafkaSettings(), [AUDIT_RECORDED], away))
