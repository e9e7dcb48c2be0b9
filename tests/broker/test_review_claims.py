"""Claims in a real Valkey: one holder whoever asks at once, and none for longer than the lease."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from redis import Redis

from aios.infra.local.valkey import Valkey
from aios.streams import outcome_store, review_claims
from aios.streams.review_claims import Claim, claim_key
from aios.streams.wall_clock import wall_ms
from tests.broker import outcome_records as records
from tests.broker.test_outcomes import CODEC, NOW, apply, redis, server

__all__ = ["redis", "server"]  # fixtures

pytestmark = pytest.mark.broker


def test_of_many_who_claim_at_once_one_has_it(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Through as many connections; everybody is told the same; whoever looks sees it, also in the list."""
    out = [records.outgoing(CODEC, event) for event in records.waiting("b", NOW)]
    read = [records.taken(one, offset, NOW) for offset, one in enumerate(out)]

    async def ask() -> None:
        await apply(server, tmp_path, read)
        async with outcome_store.opened(server.url) as store:
            names = [f"reviewer:{number}" for number in range(20)]
            asked_at = wall_ms()
            held = await asyncio.gather(*(store.claim("t-b", name) for name in names))
            (one,) = set(held)
            assert one is not None
            assert one.by in names
            answered_at = wall_ms()
            assert asked_at <= one.until - review_claims.LEASE_S * 1000 <= answered_at
            seen = await store.review("t-b", "demo")
            assert seen is not None
            assert seen.claim == one
            assert [each.claim for each in await store.reviews("demo")] == [one]
            other = next(name for name in names if name != one.by)
            assert await store.release("t-b", other) == one
            assert await store.release("t-b", one.by) is None
            now = await store.claim("t-b", other)
            assert now is not None
            assert now.by == other

    asyncio.run(ask())


def test_a_claim_that_is_not_renewed_ends_by_itself(
    server: Valkey, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes home holds up nobody; who renews keeps it for the whole lease again."""

    async def ask() -> None:
        async with outcome_store.opened(server.url) as store:
            monkeypatch.setattr(review_claims, "LEASE_S", 0.5)
            await store.claim("t", "ana")
            monkeypatch.setattr(review_claims, "LEASE_S", 900)
            renewed = await store.claim("t", "ana")
            assert int(redis.pttl(claim_key("t"))) > 500_000
            assert await store.claim("t", "ben") == renewed
            monkeypatch.setattr(review_claims, "LEASE_S", 0.1)
            await store.claim("t", "ana")
            assert await _until_it_has(store, "ben")

    asyncio.run(ask())


def test_one_person_has_so_many_in_hand_whoever_counts(server: Valkey, redis: Redis) -> None:
    """However many they take at once, through as many connections; answered ones and lapsed ones count no more."""
    most = review_claims.IN_HAND_MAX

    async def ask() -> None:
        async with outcome_store.opened(server.url) as store:
            held = await asyncio.gather(*(store.claim(f"t{number}", "ana") for number in range(3 * most)))
            mine = [f"t{number}" for number, one in enumerate(held) if one is not None]
            assert len(mine) == most
            assert await store.claim(mine[0], "ana") is not None, "renewed"
            assert await store.claim("more", "ana") is None
            other = await store.claim(mine[0], "ben")
            assert other is not None
            assert other.by == "ana"
            await store.answered(mine[0], "ana")
            again = await store.claim(mine[0], "ben")
            assert again is not None
            assert again.by == "ana", "the answer is on its way"
            assert await store.claim("more", "ana") is not None
            assert await store.release(mine[1], "ana") is None
            assert await store.claim("one more", "ana") is not None
            assert await store.claim("too many", "ana") is None
            redis.zadd(review_claims.hand_key("ana"), dict.fromkeys(mine[2:], 1))  # their leases ended
            assert await store.claim("too many", "ana") is not None

    asyncio.run(ask())


async def _until_it_has(store: outcome_store.OutcomeStore, name: str) -> Claim:
    deadline = time.monotonic() + 10
    while (held := await store.claim("t", name)) is None or held.by != name:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return held
