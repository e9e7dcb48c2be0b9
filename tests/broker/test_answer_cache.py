"""Answers kept in Valkey: found again, bounded in number, size and age, and never missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from redis.asyncio import Redis

from aios.inference_workers import cache
from aios.inference_workers.cache import INDEX, PREFIX, AnswerCache, Kept

T = TypeVar("T")
ANSWER = Kept(output='{"label":"mortgage"}', contract="classification.v1", input_hash="ab", seed=3)


def run(url: str, work: Callable[[AnswerCache, Redis], Awaitable[T]], *, seconds: int = 60, answers_max: int = 10) -> T:
    async def whole() -> T:
        kept = AnswerCache(url, seconds=seconds, answers_max=answers_max)
        beside = Redis.from_url(url, decode_responses=True)
        await beside.flushdb()
        try:
            return await work(kept, beside)
        finally:
            await kept.close()
            await beside.aclose()

    return asyncio.run(whole())


def test_an_answer_is_found_again_and_ends_with_its_time(valkey_url: str) -> None:
    """As it was put; its key has a time to live."""

    async def work(kept: AnswerCache, beside: Redis) -> tuple[Kept | None, Kept | None, int]:
        await kept.put("q", ANSWER)
        return await kept.get("q"), await kept.get("other"), int(await beside.pttl(PREFIX + "q"))

    found, other, left_ms = run(valkey_url, work)
    assert found == ANSWER
    assert other is None
    assert 0 < left_ms <= 60_000


def test_the_oldest_go_when_there_are_too_many(valkey_url: str) -> None:
    async def work(kept: AnswerCache, beside: Redis) -> tuple[list[bool], int]:
        for number in range(25):
            await kept.put(f"q{number:02}", ANSWER)
        known = [await kept.get(f"q{number:02}") is not None for number in range(25)]
        return known, int(await beside.zcard(INDEX))

    known, indexed = run(valkey_url, work)
    assert sum(known) == indexed == 10


def test_a_large_answer_and_a_strange_one_are_not_kept(valkey_url: str) -> None:
    async def work(kept: AnswerCache, beside: Redis) -> list[Kept | None]:
        await kept.put("large", Kept(output="x" * cache.ANSWER_BYTES_MAX, contract="c", input_hash="h"))
        await beside.set(PREFIX + "strange", '{"colour":1}')
        return [await kept.get("large"), await kept.get("strange")]

    assert run(valkey_url, work) == [None, None]


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0"])
def test_a_cache_that_is_away_costs_a_moment_and_no_answer(address: str) -> None:
    async def work() -> float:
        kept = AnswerCache(address, seconds=60, answers_max=10)
        begun = time.monotonic()
        assert await kept.get("q") is None
        await kept.put("q", ANSWER)
        await kept.close()
        return time.monotonic() - begun

    assert asyncio.run(work()) < 10 * cache.ASK_S_MAX
