"""Who has an open question in hand, so that two people do not work on one: claims with a lease, in Valkey.

Enters: a question, a reviewer's name. Leaves: the claim that holds now, theirs or another's. Guaranteed: while one
holds it nobody else gets it, whichever gateway is asked (one script decides); a claim that is not renewed ends by
itself after LEASE_S, so that who goes home holds up nobody; one person has IN_HAND_MAX at once and no more, so that
the queue is shared by how fast people answer. Claims are a courtesy among people: what decides is the first valid
decision that plan reads, so a Valkey that was emptied costs double work and never a second decision.

Rejected: a fencing token in the decision (it carries its person, and another person's claim refuses it already);
claims as records of the log (nothing of a case depends on them, and each is worth a quarter of an hour).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

LEASE_S = 900
IN_HAND_MAX = 10  # questions that one person has claimed and not answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """by: a reviewer. until: when it ends unless it is renewed, Unix ms of the store's clock."""

    by: str
    until: int


def claim_key(task_id: str) -> str:
    """String `<until>:<by>`, for as long as the claim holds."""
    return f"aios:claim:{task_id}"


def hand_key(by: str) -> str:
    """Sorted set of what somebody has in hand: questions, by when their claims end."""
    return f"aios:hand:{by}"


def read(value: str | None) -> Claim | None:
    """What stands under a claim's key."""
    if value is None:
        return None
    until, _, by = value.partition(":")
    return Claim(by=by, until=int(until))


async def claim(redis: Redis, task_id: str, by: str) -> Claim | None:
    """Take it, or renew it; what is returned is another's where another has it, None where one's hands are full."""
    return read(await _run(redis, _CLAIM, task_id, by, round(LEASE_S * 1000), IN_HAND_MAX))


async def release(redis: Redis, task_id: str, by: str) -> Claim | None:
    """Give one's own back; what is returned is another's, None where nobody has it now."""
    return read(await _run(redis, _RELEASE, task_id, by))


async def answered(redis: Redis, task_id: str, by: str) -> None:
    """It is in hand no more; the claim stays until it ends, for the answer is on its way."""
    await redis.zrem(hand_key(by), task_id)


async def _run(redis: Redis, script: str, task_id: str, by: str, *arguments: int) -> Any:
    return await redis.eval(script, 2, claim_key(task_id), hand_key(by), task_id, by, *map(str, arguments))


_HELD = """
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+:(.*)$') ~= ARGV[2] then return held end
"""

_CLAIM = (
    _HELD
    + """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_ms)
local full = redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4])
if full and not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return false end
held = string.format('%.0f:%s', now_ms + ARGV[3], ARGV[2])
redis.call('SET', KEYS[1], held, 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], now_ms + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return held
"""
)

_RELEASE = (
    _HELD
    + """
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return false
"""
)
