"""Answers given before, in Valkey: the same question to the same model costs no token.

Enters: a request, with what would answer it; an answer. Leaves: an answer, if the same question was answered within the
time it is kept. The same question is the same task, model@version with its card and heads, prompt@version and its file,
engine, options and text (to the letter, in Unicode's composed form), of the same tenant; so no tenant learns from the
time an answer takes what another has asked. Guaranteed: only answers of greedy sampling are kept, and only good ones;
their number, size and age are bounded; Valkey being away or slow costs its answers and ASK_S_MAX, once in AWAY_S and by
whoever asks just then, and never a request: the model is asked.
Rejected: an answer's bytes in the process (a second worker, and a restart, would know nothing of them), the model's
own prefix cache instead (it saves the reading, not the writing), asking at once only once for the same question (a
second worker may have the other half of the questions).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import unicodedata
from dataclasses import asdict, dataclass
from typing import Protocol

from prometheus_client import Counter
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from aios.schemas import ids
from aios.schemas.models import InferenceRequested
from aios.streams.wall_clock import wall_ms

ASK_S_MAX = 0.25
AWAY_S = 2.0  # after a question without an answer nothing is asked for so long
CONNECTIONS_MAX = 16
ANSWER_BYTES_MAX = 64 << 10
SAY_S = 30.0
PREFIX = "aios:answer:"
INDEX = "aios:answers"  # every key by when it was last written, oldest first
TRIM_MAX = 100  # keys taken out at once, when there are too many

ASKED = Counter("aios_answer_cache_queries", "Questions looked up, by what came of it.", ["outcome"])

log = logging.getLogger(__name__)

_PUT = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[4])
if over > 0 then
  local gone = redis.call('ZPOPMIN', KEYS[2], math.min(over, tonumber(ARGV[5])))
  for at = 1, #gone, 2 do redis.call('DEL', gone[at]) end
end
"""
"""Keep one answer, and let the oldest go where there are too many. One round trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer as it was given. output: canonical JSON."""

    output: str
    contract: str
    input_hash: str
    seed: int = 0


class Answers(Protocol):
    """What a pool asks."""

    async def get(self, key: str) -> Kept | None: ...

    async def put(self, key: str, kept: Kept) -> None: ...


def key_of(request: InferenceRequested, *, engine: str, model: str, prompt: str = "") -> str:
    """The question, as a name. engine: with its version; another one may put its words differently. model, prompt: the
    digests of their files, whose answers do not outlive them.
    """
    asked = {
        "tenant": request.tenant,
        "task": request.task,
        "model": request.model,
        "model_files": model,
        "prompt": request.prompt,
        "prompt_file": prompt,
        "engine": engine,
        "options": _canonical(request.options),
        "input": unicodedata.normalize("NFC", request.input),
    }
    return hashlib.sha256(ids.canonical(asked).encode()).hexdigest()


def _canonical(options: str) -> str:
    try:
        return ids.canonical(json.loads(options))
    except ValueError:
        return options


class AnswerCache:
    """See the module. seconds: how long an answer is kept. answers_max: how many, of all pools together."""

    def __init__(self, url: str, *, seconds: int, answers_max: int) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=ASK_S_MAX,
            socket_timeout=ASK_S_MAX,
            socket_connect_timeout=ASK_S_MAX,
            decode_responses=True,
            protocol=2,
        )
        self._redis = Redis(connection_pool=pool)
        self._ms = seconds * 1000
        self._answers_max = answers_max
        self._put = self._redis.register_script(_PUT)
        self._say_at = 0.0
        self._away_until = 0.0

    async def get(self, key: str) -> Kept | None:
        """None: it is not known, or Valkey does not answer."""
        if time.monotonic() < self._away_until:
            ASKED.labels("away").inc()
            return None
        try:
            async with asyncio.timeout(ASK_S_MAX):
                found = await self._redis.get(PREFIX + key)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            ASKED.labels("away").inc()
            return None
        kept = _read(str(found)) if found is not None else None
        ASKED.labels("miss" if kept is None else "hit").inc()
        return kept

    async def put(self, key: str, kept: Kept) -> None:
        """Keep it, unless it is too large or Valkey does not answer."""
        value = ids.canonical(asdict(kept))
        if len(value) > ANSWER_BYTES_MAX or time.monotonic() < self._away_until:
            return
        now_ms = wall_ms()
        try:
            async with asyncio.timeout(ASK_S_MAX):
                await self._put(keys=[PREFIX + key, INDEX], args=[value, self._ms, now_ms, self._answers_max, TRIM_MAX])
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._away_until = now + AWAY_S
        if now >= self._say_at:
            self._say_at = now + SAY_S
            log.warning("answers are not remembered at this moment: %s", type(error).__name__)


def _read(value: str) -> Kept | None:
    """None: another version of this program wrote it."""
    try:
        return Kept(**json.loads(value))
    except (ValueError, TypeError):
        return None


class Nothing:
    """Where no answer is kept."""

    async def get(self, key: str) -> Kept | None:  # noqa: ARG002 - Answers'
        return None

    async def put(self, key: str, kept: Kept) -> None:
        """Forgotten."""
