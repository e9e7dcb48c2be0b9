"""Answers given before, in Valkey: the same question to the same model costs no token.

Enters: a request, with what would answer it; an answer. Leaves: an answer, if the same question was answered within the
time it is kept. The same question is the same task, model@version with its card and heads, prompt@version and its file,
engine and how much it reads, options and text (to the letter, in Unicode's composed form), of the same tenant; so no
tenant learns from the time an answer takes what another has asked. Guaranteed: only answers of greedy sampling are
kept, and only good ones; their number, size and age are bounded; Valkey being away or slow costs its answers and
ASK_S_MAX, once in AWAY_S and by whoever asks just then, and never a request: the model is asked.
While Valkey is asked, what comes meanwhile gathers, and goes together with the next round trip: a command for each
question and each answer took a third of the event loop of a busy encoder. Nobody waits for an answer to be kept.
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
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

from prometheus_client import Counter
from redis.asyncio import ConnectionPool, Redis

from aios.schemas import ids
from aios.schemas.models import InferenceRequested
from aios.streams.errors import Unavailable
from aios.streams.wall_clock import wall_ms

ASK_S_MAX = 0.25
AWAY_S = 2.0  # after a question without an answer nothing is asked for so long
TOGETHER_MAX = 64  # questions, and answers, of one round trip
PUTS_WAITING_MAX = 1_000  # answers not kept yet; more are let go
ANSWER_BYTES_MAX = 64 << 10
SAY_S = 30.0
PREFIX = "aios:answer:"
INDEX = "aios:answers"  # every key by when it was last written, oldest first
TRIM_MAX = 100  # keys taken out at once, when there are too many

ASKED = Counter("aios_answer_cache_queries", "Questions looked up, by what came of it.", ["outcome"])

log = logging.getLogger(__name__)
T = TypeVar("T")

_PUT = """
local kept_ms, now_ms = ARGV[1], ARGV[2]
for at = 2, #KEYS do
  redis.call('SET', KEYS[at], ARGV[3 + at], 'PX', kept_ms)
  redis.call('ZADD', KEYS[1], now_ms, KEYS[at])
end
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
if over > 0 then
  local gone = redis.call('ZPOPMIN', KEYS[1], math.min(over, tonumber(ARGV[4])))
  for at = 1, #gone, 2 do redis.call('DEL', gone[at]) end
end
"""
"""Keep some answers, and let the oldest go where there are too many."""


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

    def put(self, key: str, kept: Kept) -> None: ...


def key_of(request: InferenceRequested, *, engine: str, model: str, prompt: str = "", context_tokens: int = 0) -> str:
    """The question, as a name. engine: with its version; another one may put its words differently. model, prompt: the
    digests of their files, whose answers do not outlive them. context_tokens: of a piece, beyond which it is cut.
    """
    asked = {
        "tenant": request.tenant,
        "task": request.task,
        "model": request.model,
        "model_files": model,
        "prompt": request.prompt,
        "prompt_file": prompt,
        "engine": engine,
        "context_tokens": context_tokens,
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
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=ASK_S_MAX,
            socket_connect_timeout=ASK_S_MAX,
            decode_responses=True,
            protocol=2,
        )
        self._redis = Redis(connection_pool=pool)
        self._ms = seconds * 1000
        self._answers_max = answers_max
        self._questions: deque[tuple[str, asyncio.Future[str | None]]] = deque()  # no more than requests in hand
        self._answers: deque[tuple[str, str]] = deque()
        self._working: asyncio.Task[None] | None = None
        self._say_at = 0.0
        self._away_until = 0.0

    async def get(self, key: str) -> Kept | None:
        """None: it is not known, or Valkey does not answer."""
        if time.monotonic() < self._away_until:
            ASKED.labels("away").inc()
            return None
        answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._questions.append((PREFIX + key, answered))
        self._work()
        try:
            found = await answered
        except Unavailable:
            ASKED.labels("away").inc()
            return None
        kept = _read(found) if found is not None else None
        ASKED.labels("miss" if kept is None else "hit").inc()
        return kept

    def put(self, key: str, kept: Kept) -> None:
        """Keep it soon, unless it is too large, Valkey does not answer, or too many wait to be kept."""
        value = ids.canonical(asdict(kept))
        if len(value) > ANSWER_BYTES_MAX or time.monotonic() < self._away_until:
            return
        if len(self._answers) < PUTS_WAITING_MAX:
            self._answers.append((PREFIX + key, value))
            self._work()

    async def close(self) -> None:
        """What waits to be kept is kept, if Valkey answers."""
        if self._working is not None:
            await self._working
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _work(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._until_nothing_waits())

    async def _until_nothing_waits(self) -> None:
        while self._questions or self._answers:
            asked, kept = _some(self._questions), _some(self._answers)
            try:
                async with asyncio.timeout(ASK_S_MAX):
                    found = await self._ask([key for key, _ in asked], dict(kept))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and nobody waits here for ever
                self._failed(error, asked)
                continue
            for (_, answered), value in zip(asked, found, strict=True):
                if not answered.done():
                    answered.set_result(value)

    async def _ask(self, keys: Sequence[str], kept: Mapping[str, str]) -> list[str | None]:
        """One round trip: keep these, and what is kept under the keys."""
        pipe = self._redis.pipeline(transaction=False)
        if kept:
            given = map(str, (self._ms, wall_ms(), self._answers_max, TRIM_MAX, *kept.values()))
            pipe.eval(_PUT, 1 + len(kept), INDEX, *kept, *given)
        if keys:
            pipe.mget(keys)
        answers = await pipe.execute()
        return list(answers[-1]) if keys else []

    def _failed(self, error: Exception, asked: Iterable[tuple[str, asyncio.Future[str | None]]]) -> None:
        """Nobody who waits now waits for another try."""
        now = time.monotonic()
        self._away_until = now + AWAY_S
        self._answers.clear()
        for _, answered in (*asked, *self._questions):
            if not answered.done():
                answered.set_exception(Unavailable("Valkey does not answer"))
        self._questions.clear()
        if now >= self._say_at:
            self._say_at = now + SAY_S
            log.warning("answers are not remembered at this moment: %s", type(error).__name__)


def _some(waiting: deque[T]) -> list[T]:
    return [waiting.popleft() for _ in range(min(TOGETHER_MAX, len(waiting)))]


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

    def put(self, key: str, kept: Kept) -> None:
        """Forgotten."""
