"""Requests that nobody waits for any more: whoever works on one is told, whenever it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aios.inference_workers import cancels as module
from aios.inference_workers.cancels import Cancels, Tail
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCancelled
from aios.streams import topics
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from tests.fakes.registry import FakeRegistry


def cancelled(request_id: str) -> InferenceCancelled:
    return InferenceCancelled(
        request_id=request_id, case_id="c", tenant="demo", pool="p", reason="timed_out", cancelled_at=1
    )


def test_who_begins_after_it_was_heard_is_told_at_once() -> None:
    """It may come between a first look and the work: then it is told when the work begins, and once."""

    async def work() -> list[str]:
        known, told = Cancels(), list[str]()
        known.heard(cancelled("r"))
        await asyncio.sleep(0)
        with known.working("r", lambda: told.append("before")):
            known.heard(cancelled("r"))
            await asyncio.sleep(0)
        with known.working("s", lambda: told.append("while")):
            known.heard(cancelled("s"))
            await asyncio.sleep(0)
        known.heard(cancelled("t"))
        return told

    assert asyncio.run(work()) == ["before", "while"]


def test_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that runs for months fills no memory with what was called off."""
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)

    async def work() -> list[str]:
        known = Cancels()
        for name in "abc":
            known.heard(cancelled(name))
        await asyncio.sleep(0)
        return [known.reason(name) for name in "abc"]

    assert asyncio.run(work()) == ["", "timed_out", "timed_out"]


def test_a_request_that_came_again_is_told_though_its_first_work_has_ended() -> None:
    """A partition that rested is read again: the end of the first work leaves the second one known."""

    async def work() -> list[str]:
        known, told = Cancels(), list[str]()
        first = known.working("r", lambda: told.append("first"))
        second = known.working("r", lambda: told.append("second"))
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        known.heard(cancelled("r"))
        await asyncio.sleep(0)
        second.__exit__(None, None, None)
        return told

    assert asyncio.run(work()) == ["second"]


class Waiting:
    """A wait that ends without its event, so often, and what happens meanwhile."""

    def __init__(self, times: int, meanwhile: Callable[[], None]) -> None:
        self._left = times
        self._meanwhile = meanwhile

    def wait(self, seconds: float) -> bool:
        assert seconds > 0
        self._left -= 1
        self._meanwhile()
        return self._left < 0


def test_a_start_waits_as_long_as_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is: only where nothing more is read within the bound it is given up."""

    async def tail() -> Tail:
        return Tail(KafkaSettings(), Codec(FakeRegistry()), topics.inference_cancelled("p"), Cancels())

    monkeypatch.setattr(Tail, "_follow", lambda _: None)
    reads = asyncio.run(tail())

    def read() -> None:
        reads._read_count += 1

    monkeypatch.setattr(reads, "_known", Waiting(20, read))
    reads.start()
    stands = asyncio.run(tail())
    monkeypatch.setattr(stands, "_known", Waiting(20, lambda: None))
    with pytest.raises(Unavailable, match="nothing of"):
        stands.start()
