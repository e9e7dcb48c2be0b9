"""Answers kept in Valkey: found again, bounded in number, size and age, and never missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
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
        kept.put("q", ANSWER)
        return await kept.get("q"), await kept.get("other"), int(await beside.pttl(PREFIX + "q"))

    found, other, left_ms = run(valkey_url, work)
    assert found == ANSWER
    assert other is None
    assert 0 < left_ms <= 60_000


def test_the_oldest_go_when_there_are_too_many(valkey_url: str) -> None:
    async def work(kept: AnswerCache, beside: Redis) -> tuple[list[bool], int]:
        for number in range(25):
            kept.put(f"q{number:02}", ANSWER)
        known = [await kept.get(f"q{number:02}") is not None for number in range(25)]
        return known, int(await beside.zcard(INDEX))

    known, indexed = run(valkey_url, work)
    assert sum(known) == indexed == 10


def test_a_large_answer_and_a_strange_one_are_not_kept(valkey_url: str) -> None:
    async def work(kept: AnswerCache, beside: Redis) -> list[Kept | None]:
        kept.put("large", Kept(output="x" * cache.ANSWER_BYTES_MAX, contract="c", input_hash="h"))
        await beside.set(PREFIX + "strange", '{"colour":1}')
        return [await kept.get("large"), await kept.get("strange")]

    assert run(valkey_url, work) == [None, None]


def test_what_comes_meanwhile_goes_together(valkey_url: str) -> None:
    """A hundred questions and a hundred answers cost a few round trips, not two hundred; each gets its own answer."""

    async def work(kept: AnswerCache, beside: Redis) -> tuple[list[Kept | None], int]:
        for number in range(50):
            kept.put(f"q{number}", replace(ANSWER, seed=number))
        before = await commands(beside)
        found = await asyncio.gather(*(kept.get(f"q{number}") for number in range(100)))
        return list(found), await commands(beside) - before

    found, asked = run(valkey_url, work, answers_max=100)
    assert found == [*(replace(ANSWER, seed=number) for number in range(50)), *(None for _ in range(50))]
    assert asked <= 6


async def commands(beside: Redis) -> int:
    """How often it was asked or told anything about answers."""
    stats = await beside.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "mget", "eval", "evalsha"))


def test_a_value_that_is_no_text_fails_nobody(valkey_url: str) -> None:
    """It was not written by us; whoever asks is not answered from here, and nobody hangs."""

    async def work(kept: AnswerCache, beside: Redis) -> list[Kept | None]:
        await beside.set(PREFIX + "bytes", b"\xff\xfe")
        return list(await asyncio.wait_for(asyncio.gather(kept.get("bytes"), kept.get("other")), 5))

    assert run(valkey_url, work) == [None, None]


def test_whoever_asks_is_answered_whatever_goes_wrong(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that nobody foresaw costs the known answer, and no request waits for it."""

    async def fails(*_: object) -> None:
        raise KeyError("nobody foresaw it")

    monkeypatch.setattr(AnswerCache, "_ask", fails)

    async def work(kept: AnswerCache, _: Redis) -> Kept | None:
        return await asyncio.wait_for(kept.get("q"), 5)

    assert run(valkey_url, work) is None


@pytest.mark.parametrize(("away_s", "asked"), [(3_600.0, 1), (0.0, 3)])
def test_a_server_that_does_not_answer_is_left_alone_for_a_while(
    away_s: float, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question costs its time; those that follow cost nothing until it is asked again. None of them fails.

    What is to be kept goes with the next question.
    """
    monkeypatch.setattr(cache, "AWAY_S", away_s)

    async def work() -> int:
        came = 0

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal came
            came += 1
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        kept = AnswerCache(f"redis://127.0.0.1:{port}/0", seconds=60, answers_max=10)
        for _ in range(2):
            assert await kept.get("q") is None
            kept.put("q", ANSWER)
        await kept.close()
        server.close()
        return came

    assert asyncio.run(work()) == asked
