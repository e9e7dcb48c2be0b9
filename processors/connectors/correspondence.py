"""What a customer wrote before: a letter that came already, in other words or the same, is found again.

Operation `recall`: a text, and whose it is. Leaves: the case of the nearest earlier text of the same customer and
tenant, how much of the two is the same (0 to 1; 0 without any), and what became of that case. Who asks for a case that
somebody reads or has read says what must have become of it (`among`) and how near it must be (`same_min`): such a one
goes before a nearer one that nobody read. Guaranteed: of two that come at the same time one is the earlier; a try that
is repeated finds the texts that the first found, and is never compared with itself; of a customer the last TEXTS_MAX
texts of KEPT_DAYS days are known, and of each no word but SKETCH_MAX hashes of three words in a row.
Names and words are hashed under this deployment's key: who has the store alone cannot look them up from a list of
telephone numbers, addresses or phrases. The key is the secret `key` (connectors.secrets.correspondence.key; on many
machines the same for all), without one a file in the home, made once, for its owner alone. Under another key nothing
that was kept would be found: so the key's fingerprint is kept too, and who has another key is not served until a person
puts it right.

How much is the same is the Jaccard share of those hashes: exact for texts of up to SKETCH_MAX of them (some 250 words),
an estimate beyond (the smallest hashes of both stand for all). Kept in this deployment's Valkey, which may forget: then
a letter that came before is taken for new, and nobody is harmed.

Rejected: comparing with what other customers wrote (form letters of many people are not one complaint); a model's
vectors (they find what is about the same, not what is the same; and a person whose letter is thrown together with
another one's is not helped); an index over all (nothing asks for it, since a customer has few).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from aios.processors.cases import facts
from aios.processors.connectors.connector import Ask, CallFailed, Effect, Failure, Operation, Part, Setup, failure_of
from aios.streams import credentials, outcome_store
from aios.streams.durations import DAY_MS
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.outcome_store import OutcomeStore

TEXT_CHARS_MAX = 200_000
WORDS_IN_A_ROW = 3
SKETCH_MAX = 256
TEXTS_MAX = 50  # of a customer
KEPT_DAYS = 30
KEPT_MS = KEPT_DAYS * DAY_MS
CONNECTIONS_MAX = 8
DIGEST = 8  # bytes of a hash
LOOKED_AT_MAX = 10  # earlier cases, the nearest: what became of them
RECALL = "recall"
OPEN = "open"
KEY, KEY_FILE = "key", "correspondence.key"
KEY_PLACE = "aios:correspondence:key"  # in Valkey: the fingerprint of the key


class Written(Part):
    """customer: as the producer names them; without one nothing is compared. among: `open`, or outcomes; without any
    the nearest is asked for, whatever became of it. same_min: how near one of these must be.
    """

    customer: Annotated[str, Field(max_length=400)]
    text: Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
    among: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    same_min: Annotated[float, Field(ge=0, le=1)] = 0.0


class Earlier(Part):
    """case_id: of the nearest earlier text; empty if there is none. came_at: when it came, Unix ms. became: `open`, or
    its outcome; empty: not known, or not asked for.
    """

    case_id: str
    similarity: Annotated[float, Field(ge=0, le=1)]
    came_at: Annotated[int, Field(ge=0)]
    became: str = ""


OPERATIONS: Mapping[str, Operation] = {
    RECALL: Operation(
        request=Written, response=Earlier, response_contract="correspondence.v1", effects=frozenset({Effect.NONE})
    )
}

NOTHING = Earlier(case_id="", similarity=0.0, came_at=0)

# The text's own place first, so that of two at the same time one is the earlier; a repeat keeps its first one.
KEEP = f"""
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], 'NX', at, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local function forget(cases)
  for _, case in ipairs(cases) do
    redis.call('ZREM', KEYS[1], case)
    redis.call('HDEL', KEYS[2], case)
  end
end
forget(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at - {KEPT_MS}))
forget(redis.call('ZRANGE', KEYS[1], 0, -{TEXTS_MAX + 1}))
redis.call('PEXPIRE', KEYS[1], {KEPT_MS})
redis.call('PEXPIRE', KEYS[2], {KEPT_MS})
local known = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local found = {{}}
for n = 1, #known, 2 do
  if known[n] == ARGV[1] then break end
  table.insert(found, {{known[n], known[n + 1], redis.call('HGET', KEYS[2], known[n]) or ''}})
end
return found
"""


class Correspondence:
    """See the module."""

    operations: Mapping[str, Operation] = OPERATIONS

    def __init__(self, setup: Setup) -> None:
        self._redis = outcome_store.connect(setup.settings.redis.url, connections_max=CONNECTIONS_MAX)
        self._keep = self._redis.register_script(KEEP)
        self._cases = OutcomeStore(setup.settings.redis.url)
        self._setup = setup
        self._key = b""

    async def open(self) -> None:
        self._key = await asyncio.to_thread(key_of, self._setup)
        mark = hashlib.blake2b(KEY_PLACE.encode(), digest_size=16, key=self._key).hexdigest()
        await self._redis.set(KEY_PLACE, mark, nx=True)
        if await self._redis.get(KEY_PLACE) != mark:
            raise ConfigError(
                f"this machine's key is not the one under which correspondence is kept: give all machines one, as "
                f"connectors.secrets.{self._setup.system.system}.{KEY}; where it was changed on purpose, delete "
                f"{KEY_PLACE} in Valkey, and what was kept before is not found any more"
            )

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        if operation != RECALL:
            raise CallFailed(Failure.PERMANENT, "unknown_operation", f"there is no {operation}")
        if not request.customer:
            return NOTHING
        sketch = await asyncio.to_thread(sketch_of, request.text, self._key)
        names = keys_of(ask.tenant, request.customer, self._key)
        told = await self._keep(keys=names, args=[ask.case_id, packed(sketch)])
        near = nearest(sketch, [(case, int(float(at)), unpacked(kept)) for case, at, kept in told])
        if not near or not request.among:
            return near[0] if near else NOTHING
        return await self._read(near[:LOOKED_AT_MAX], request, ask.tenant)

    async def _read(self, near: Sequence[Earlier], request: Written, tenant: str) -> Earlier:
        """The nearest that is near enough and became what is asked for; where there is none, the nearest of all."""
        first = near[0].model_copy(update={"became": await self._became(near[0].case_id, tenant)})
        if first.became in request.among:
            return first
        for one in near[1:]:
            if one.similarity < request.same_min:
                break
            if (became := await self._became(one.case_id, tenant)) in request.among:
                return one.model_copy(update={"became": became})
        return first

    async def _became(self, case_id: str, tenant: str) -> str:
        """Raises Unavailable."""
        view = await self._cases.status(case_id, tenant)
        if view is None:
            return ""
        return (view.outcome or view.status) if view.settled else OPEN

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:  # noqa: ARG002 - nothing has an effect
        return None

    def classify(self, error: Exception) -> Failure:
        return Failure.TRANSIENT if isinstance(error, RedisError | Unavailable) else failure_of(error)

    async def close(self) -> None:
        await self._cases.close()
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()


def key_of(setup: Setup) -> bytes:
    """This deployment's. Raises ConfigError: a secret that is named is not there."""
    if KEY in {**setup.system.secrets, **setup.settings.connectors.secrets.get(setup.system.system, {})}:
        said = setup.secret(KEY)
    else:
        said = _made_once(setup.settings.home / KEY_FILE)
    return hashlib.sha256(said.encode()).digest()


def _made_once(file: Path) -> str:
    """Whole, and the same for every process of the home."""
    if not file.is_file():
        own = file.with_name(f"{file.name}.{os.getpid()}")
        credentials.keep(own, credentials.make())
        with contextlib.suppress(FileExistsError):
            os.link(own, file)
        own.unlink()
    return credentials.kept(file)


def keys_of(tenant: str, customer: str, key: bytes) -> list[str]:
    """When a customer's texts came, and their sketches. The customer's name is not in it."""
    who = hashlib.blake2b(f"{len(tenant)}/{tenant}/{customer}".encode(), digest_size=16, key=key).hexdigest()
    return [f"aios:correspondence:{who}:when", f"aios:correspondence:{who}:what"]


def nearest(sketch: Sequence[int], known: Iterable[tuple[str, int, Sequence[int]]]) -> list[Earlier]:
    """All that share anything, the nearest first, of equals the earliest. known: case, time and sketch of the earlier
    ones, as they came. Pure.
    """
    shares = [(similarity(sketch, other), case, at) for case, at, other in known]
    near = [Earlier(case_id=case, similarity=share, came_at=at) for share, case, at in shares if share]
    return sorted(near, key=lambda one: -one.similarity)


def sketch_of(text: str, key: bytes = b"") -> tuple[int, ...]:
    """The smallest hashes of three words in a row, rising. Pure."""
    words = facts.plain(text).split()
    rows = {" ".join(words[at : at + WORDS_IN_A_ROW]) for at in range(max(1, len(words) - WORDS_IN_A_ROW + 1))}
    hashed = {
        int.from_bytes(hashlib.blake2b(row.encode(), digest_size=DIGEST, key=key).digest(), "big")
        for row in rows
        if row
    }
    return tuple(sorted(hashed)[:SKETCH_MAX])


def similarity(one: Sequence[int], other: Sequence[int]) -> float:
    """The share of both that stands in both, by the smallest hashes of the two together. Pure."""
    together = sorted({*one, *other})[:SKETCH_MAX]
    both = {*one} & {*other}
    return sum(each in both for each in together) / len(together) if together else 0.0


def packed(sketch: Sequence[int]) -> str:
    return b"".join(each.to_bytes(DIGEST, "big") for each in sketch).hex()


def unpacked(kept: str) -> tuple[int, ...]:
    """Raises nothing: what is not readable is like nothing."""
    try:
        raw = bytes.fromhex(kept)
        return struct.unpack(f">{len(raw) // DIGEST}Q", raw[: len(raw) // DIGEST * DIGEST])
    except ValueError:
        return ()
