"""From one request to its answer: refused, late, cancelled, known from before, or asked of the model.

Enters: an inference.requested.v1, decoded. Leaves: the inference.completed.v1 that answers it, failures included, with
what it took and what that costs. Guaranteed: a request that is late, cancelled or never to be answered costs no token;
one whose deadline passes or that is cancelled while the model works on it is taken out of the engine, and what it took
until then is counted; so is one whose partition has left; an answer known from before costs nothing and says so.

A request whose engine was asked, and away or busy, until its deadline is `unanswered`; one that came too late to be
asked is `late`: only the former says something of its version.

Time: a deadline is compared with this machine's clock, since a model is asked in real time; plan's own timer is the
judge of deadlines, so that a wrong clock here costs an answer and never a case.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from aios.inference_workers.cache import Answers, Kept, Nothing, key_of
from aios.inference_workers.cancels import CANCELLED, Cancelled, Nobody
from aios.inference_workers.engines import batch
from aios.inference_workers.engines.batch import BULK_PRIORITY, Usage
from aios.inference_workers.engines.engine import Engine, RequestRefused
from aios.inference_workers.tasks import Answer, Task, refusal
from aios.schemas import ids
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import prompt_files
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.pool_files import Lane, Pool
from aios.streams.record import Record
from aios.streams.slots import PRIORITY_MAX
from aios.streams.wall_clock import wall_ms

REASON_CHARS_MAX = 300
OK, FAILED, EXPIRED = "ok", "failed", "expired"
LATE, UNANSWERED, LET_GO = "late", "unanswered", "let_go"
LOOK_S = 0.5  # between two looks at whether the answer would still be taken


class Loading(Exception):
    """The engine of its version is being loaded: it may come again later. It was never asked."""


@dataclass(slots=True)
class Tries:
    """Of one request. usage: what it has taken so far, over all of them. unanswered: in one, the engine was away."""

    usage: Usage = field(default_factory=Usage)
    unanswered: bool = False

    @property
    def overdue(self) -> str:
        """Why it has no answer at its deadline."""
        return UNANSWERED if self.unanswered else LATE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of a question. in_line_ms: before the engine had room for it; compute_ms: after that."""

    status: str
    reason: str = ""
    answer: Answer | None = None
    kept: Kept | None = None
    in_line_ms: int = 0
    compute_ms: int = 0


class Answering:
    """Of one pool."""

    def __init__(
        self,
        pool: Pool,
        task: Task,
        engine: Engine,
        *,
        answers: Answers | None = None,
        context_tokens: int = 0,
        cancels: Cancelled | None = None,
        wrote: Callable[[Usage], None] | None = None,
        here: Callable[[str], Awaitable[bool]] | None = None,
        serves: Callable[[str], bool] | None = None,
    ) -> None:
        """context_tokens: that the engine reads at once. wrote: hears what each answer that can be used took of the
        engine. here: whether that of a version is loaded; None: always. serves: whether a version answers all new
        cases, or all but a canary's: what stops the process when such a one meets it (a server that does not know the
        model, heads for other vectors) fails the requests of any other; None: each does.
        """
        self._pool = pool
        self._task = task
        self._engine = engine
        self._context_tokens = context_tokens
        self._answers: Answers = answers if answers is not None else Nothing()
        self._cancels: Cancelled = cancels if cancels is not None else Nobody()
        self._wrote = wrote
        self._here = here
        self._serves = serves
        self._asked: dict[asyncio.Task[Answer], Callable[[], bool]] = {}  # and whether its answer would be taken
        self._looking: asyncio.TimerHandle | None = None

    async def answer(
        self,
        record: Record,
        request: InferenceRequested,
        owned: Callable[[], bool] = lambda: True,
        *,
        aside: Callable[[], bool] = lambda: False,
        tries: Tries | None = None,
    ) -> InferenceCompleted:
        """Raises Unavailable, EngineDead, ConfigError (of the version that serves), what nobody foresaw, and Loading if
        it can go aside.

        owned: False once this worker's answer would be discarded; it is taken out of the engine then, and what comes
        back only says what it took. aside: whether it can come again later; else it waits here for what loads. tries:
        the same each time it is tried; None: that is once.
        """
        started_ms = wall_ms()
        tries = tries if tries is not None else Tries()
        outcome = await self._outcome(request, started_ms, owned, aside, tries)
        return self._completed(record, request, outcome, started_ms, tries.usage)

    def failed(self, record: Record, request: InferenceRequested, reason: str, usage: Usage) -> InferenceCompleted:
        """The answer to a request that is given up."""
        return self._completed(record, request, _Outcome(status=FAILED, reason=reason), wall_ms(), usage)

    async def _outcome(
        self,
        request: InferenceRequested,
        now_ms: int,
        owned: Callable[[], bool],
        aside: Callable[[], bool],
        tries: Tries,
    ) -> _Outcome:
        reason = self._refusal(request)
        if reason:
            return _Outcome(status=FAILED, reason=reason)
        if request.deadline_at <= now_ms:
            return _Outcome(status=EXPIRED, reason=tries.overdue)
        reason = self._cancels.reason(request.request_id)
        if reason:
            return _Outcome(status=EXPIRED, reason=f"{CANCELLED}: {reason}")
        key = self._key(request)
        kept = await self._answers.get(key) if key else None
        if kept is not None:
            return _Outcome(status=OK, kept=kept)
        if self._here is not None and not await self._here(request.model) and aside():
            raise Loading(f"{request.model} is being loaded")
        outcome = await self._ask(request, (request.deadline_at - wall_ms()) / 1000, owned, tries)
        is_good = key and outcome.status == OK
        if is_good and outcome.answer is not None and (not request.prompt or key == self._key(request)):
            self._answers.put(key, _kept(outcome.answer))  # else its prompt's file was edited meanwhile
        return outcome

    def _key(self, request: InferenceRequested) -> str:
        """Under which its answer is kept; empty: it is not."""
        if not is_repeatable(request):
            return ""
        model = self._task.models[request.model]
        return key_of(
            request,
            engine=self._engine.version,
            model=model,
            prompt=_file(request),
            context_tokens=self._context_tokens,
        )

    async def _ask(
        self, request: InferenceRequested, left_s: float, owned: Callable[[], bool], tries: Tries
    ) -> _Outcome:
        """Ask the model, until the deadline or until nobody waits any more, here or at all."""
        usage = tries.usage
        begun, read, written = time.monotonic(), usage.prompt_tokens, usage.output_tokens
        batch.METER.set(usage)
        answer: Answer | None = None
        asking = asyncio.create_task(self._task.answer(request, self._priority(request)))
        try:
            with self._cancels.working(request.request_id, asking.cancel), self._while_owned(asking, owned):
                async with asyncio.timeout(left_s):
                    answer = await asking
            usage.prompt_tokens = read + answer.prompt_tokens  # also of an engine that does not tell
            usage.output_tokens = written + answer.output_tokens
            status, reason = (FAILED, answer.failure) if answer.failure else (OK, "")
            if self._wrote is not None and status == OK:
                self._wrote(usage)
        except TimeoutError:
            status, reason = EXPIRED, tries.overdue
        except Unavailable:
            tries.unanswered = True
            raise
        except RequestRefused as error:
            status, reason = FAILED, str(error)
        except ConfigError as error:
            if self._serves is None or self._serves(request.model):
                raise
            status, reason = FAILED, f"{request.model} cannot be asked here: {error}"
        except asyncio.CancelledError:
            why = self._cancels.reason(request.request_id) or ("" if owned() else LET_GO)
            if not why or _is_cancelled():
                raise
            status, reason = EXPIRED, f"{CANCELLED}: {why}"
        now = time.monotonic()
        in_line_ms = usage.in_line_ms(now)
        return _Outcome(
            status=status,
            reason=reason,
            answer=answer,
            in_line_ms=in_line_ms,
            compute_ms=max(0, round((now - begun) * 1000) - in_line_ms),
        )

    @contextlib.contextmanager
    def _while_owned(self, asking: asyncio.Task[Answer], owned: Callable[[], bool]) -> Iterator[None]:
        """It is taken out of the engine once nobody would take its answer. One timer looks after all that are asked."""
        self._asked[asking] = owned
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        try:
            yield
        finally:
            del self._asked[asking]

    def _look(self) -> None:
        for asking, owned in self._asked.items():
            if not owned():
                asking.cancel()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self._asked else None

    def _refusal(self, request: InferenceRequested) -> str:
        """Why this worker can never answer it, empty if it can: plan has stamped what must answer. A prompt's file that
        nobody has evaluated as it is answers nobody, nor does a model that stands in and has not passed it.
        """
        if reason := refusal(self._task, request):
            return reason
        try:
            return prompt_files.unanswerable(request.prompt, request.model) if request.prompt else ""
        except ConfigError as error:
            return str(error)

    def _priority(self, request: InferenceRequested) -> int:
        own = max(-PRIORITY_MAX, min(request.priority, PRIORITY_MAX))
        return own + (BULK_PRIORITY if self._pool.lane is Lane.BULK else 0)

    def _completed(
        self, record: Record, request: InferenceRequested, outcome: _Outcome, started_ms: int, usage: Usage
    ) -> InferenceCompleted:
        answer, kept = outcome.answer, outcome.kept
        engine_us = round(usage.engine_us)
        return InferenceCompleted(
            request_id=request.request_id,
            case_id=request.case_id,
            tenant=request.tenant,
            workflow=request.workflow,
            step=request.step,
            attempt=request.attempt,
            task=request.task,
            status=outcome.status,
            reason=outcome.reason[:REASON_CHARS_MAX],
            output=ids.canonical(answer.output) if answer else kept.output if kept else "{}",
            output_contract=answer.contract if answer else kept.contract if kept else "",
            model=request.model,
            prompt=request.prompt,
            engine=self._engine.version,
            seed=answer.seed if answer else kept.seed if kept else 0,
            input_hash=kept.input_hash if kept else _hash(answer.rendered if answer else request.input),
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.output_tokens,
            lane=self._pool.lane,
            queue_ms=(max(0, started_ms - record.timestamp_ms) if record.timestamp_ms else 0) + outcome.in_line_ms,
            compute_ms=outcome.compute_ms,
            completed_at=wall_ms(),
            pool=self._pool.pool,
            fallback_of=request.fallback_of,
            cached=kept is not None,
            first_token_ms=round(usage.first_token_ms),
            engine_us=engine_us,
            cost_micro=self._pool.price.of(
                prompt_tokens=usage.prompt_tokens, output_tokens=usage.output_tokens, engine_us=engine_us
            ),
        )


def is_repeatable(request: InferenceRequested) -> bool:
    """Whether the model answers it the same each time: no prompt and so no sampling, or sampling at temperature 0."""
    if not request.prompt:
        return True
    try:
        return prompt_files.load(request.prompt).sampling.temperature == 0
    except ConfigError:
        return False


def _file(request: InferenceRequested) -> str:
    """The digest of its prompt's file: another file has other answers."""
    return prompt_files.load(request.prompt).digest if request.prompt else ""


def _kept(answer: Answer) -> Kept:
    return Kept(
        output=ids.canonical(answer.output),
        contract=answer.contract,
        input_hash=_hash(answer.rendered),
        seed=answer.seed,
    )


def _hash(rendered: str) -> str:
    return hashlib.sha256(rendered.encode()).hexdigest()


def _is_cancelled() -> bool:
    """Whether somebody wants this very task to end, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
