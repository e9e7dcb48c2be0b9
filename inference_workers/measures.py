"""What a pool of model workers measures: of each answer, of each step of its engine, and of the work that waits.

Enters: what pool.py and worker.py see. Leaves: metrics on the process's port (streams/metrics.py), by pool. Names are
those of OpenTelemetry's GenAI conventions where it has one (gen_ai_server_request_duration, _time_to_first_token,
_time_per_output_token, gen_ai_client_token_usage, with its buckets), else vLLM's noun behind `aios_`. vLLM's own
(`vllm:…`, by model and engine) stand beside them on the same port, as they last were (vllm_metrics.py).
Guaranteed: labels are pools, models, weights, lanes, processes, devices, statuses and kinds, so their number is bounded
by the files of streams/pools and models; a pool's values are there from the start, at 0, an engine's from its loading,
and none is NaN. An engine's values are by its weights, since a canary may have another one, and by the lanes that
its process serves, since the lanes of a model may have workers of their own.

What scales a pool is `aios_work_queued_seconds`: what waits in this worker's partitions ÷ the rate at which this worker
answers while it has work. Summed over the workers of a pool it is the time that one worker would need for what stands
in the pool's topic. What waits for its turn before that is told by plan (queues.py); both together ÷ the
seconds one accepts are the number of workers (infra/pool_manifests.py).
Rejected: records waiting (a thousand are a second of labels or an hour of summaries); the rate of the last minute (an
idle pool has none, and would look overloaded by its first request).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram

from aios.inference_workers import device
from aios.inference_workers.cancels import CANCELLED
from aios.inference_workers.engines.batch import Usage, kept_free
from aios.inference_workers.engines.engine import Told
from aios.schemas.models import InferenceCompleted
from aios.streams import metrics
from aios.streams.pool_files import STATUSES, Lane, Pool

RATE_S = 60.0  # of work, within which a new rate has replaced most of the old one
SHARE_S = 15.0  # the same for the share of time that an engine is busy
ANSWER_S_MIN = 0.0001  # a rate stays finite
WORKED_MEMORY = 100  # answers, after which most of what share of them took work is known anew
MICRO = 1_000_000

OPERATIONS: Mapping[str, str] = {"classify": "classify", "generate": "chat", "embed": "embeddings"}
"""A pool's task → gen_ai_operation_name; classify is ours, the convention has none."""

_GEN_AI = ("pool", "gen_ai_operation_name", "gen_ai_request_model")
E2E = Histogram(
    "gen_ai_server_request_duration_seconds",
    "From the request's broker timestamp to its acknowledged answer.",
    _GEN_AI,
    buckets=(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 300, 1800),
)
FIRST = Histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From taking the request to its first token, of whichever piece of its text; the engine vllm alone tells it.",
    _GEN_AI,
    buckets=(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
PER_TOKEN = Histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Between two tokens of an answer, after the first; where pieces are read at the same time, of a piece; the "
    "engine vllm alone tells it.",
    _GEN_AI,
    buckets=(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
USAGE = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of an answer.",
    (*_GEN_AI, "gen_ai_token_type"),
    buckets=(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536),
)
QUEUED = Histogram(
    "aios_request_queue_time_seconds",
    "From the request's broker timestamp to a seat in the engine's batch, of each answer.",
    ["pool"],
    buckets=metrics.SECONDS,
)
COMPUTED = Histogram(
    "aios_request_inference_time_seconds", "From that seat to the answer.", ["pool"], buckets=metrics.SECONDS
)
ANSWERS = Counter("aios_inference_answers", f"Answers acknowledged: {', '.join(STATUSES)}.", ["pool", "status"])
REFUSED = Counter("aios_inference_refused", "Of those that failed: refused before a token was spent.", ["pool"])
CACHED = Counter("aios_answer_cache_hits", "Answers that cost nothing: they were known.", ["pool"])
ENGINE_S = Counter("aios_engine_seconds", "Engine time of a pool's answers.", ["pool"])
WASTED_S = Counter(
    "aios_wasted_engine_seconds",
    "Engine time of requests whose partition left or rests: they are asked again.",
    ["pool"],
)
COST = Counter("aios_inference_cost_micro", "Price of a pool's answers, in millionths of money.currency.", ["pool"])
COST_1000 = Gauge("aios_cost_per_1000_inferences", "Since the start, in money.currency.", ["pool"])
BACKLOG = Gauge("aios_backlog_records", "Requests that wait or are in hand, in this worker's partitions.", ["pool"])
RATE = Gauge("aios_answers_per_second", "This worker's rate while it has work of the pool.", ["pool"])
TOKENS = Gauge(
    "aios_tokens_per_second",
    "Read (input) and written (output) by this worker while it has work of the pool.",
    ["pool", "gen_ai_token_type"],
)
WORK = Gauge("aios_work_queued_seconds", "Backlog ÷ rate: the autoscaling signal.", ["pool"])

_ENGINE = ("process", "lanes", "weights")
RUNNING = Gauge("aios_num_requests_running", "Of a lane, in the engine's batch.", (*_ENGINE, "lane"))
WAITING = Gauge("aios_num_requests_waiting", "Of a lane, in the engine, not in its batch.", (*_ENGINE, "lane"))
KV_USED = Gauge("aios_kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", _ENGINE)
FILL = Gauge("aios_batch_fill", "Requests in the batch ÷ its seats, 0 to 1.", _ENGINE)
STEP = Histogram(
    "aios_engine_step_seconds",
    "One step of the engine; its sum grows by the busy share of time.",
    _ENGINE,
    buckets=metrics.SECONDS,
)
PREFIX = Counter(
    "aios_prefix_cache_tokens", "Prompt tokens looked up (queries) and found (hits).", (*_ENGINE, "outcome")
)
UTILISATION = Gauge(
    "aios_device_utilisation",
    "0 to 1: of a GPU by NVML; without one, the share of time that the process's engines are busy.",
    ["process", "lanes", "device"],
)


class Rate:
    """Events per second of work: old work counts less, and time without work not at all. Pure."""

    def __init__(self, per_s: float, memory_s: float = RATE_S) -> None:
        """per_s: believed until there is better knowledge, as if it had been seen for a second."""
        self._memory_s = memory_s
        self._events, self._seconds = per_s, 1.0

    def add(self, events: int, seconds: float) -> None:
        kept = math.exp(-seconds / self._memory_s)
        self._events = self._events * kept + events
        self._seconds = self._seconds * kept + seconds

    @property
    def per_s(self) -> float:
        return self._events / self._seconds


class Share:
    """The share of the last seconds that was spent busy. Pure; times in seconds of any one clock, never falling."""

    def __init__(self, now: float, memory_s: float = SHARE_S) -> None:
        self._memory_s = memory_s
        self._at, self._share = now, 0.0

    def add(self, now: float, seconds: float) -> None:
        """A piece of work of that many seconds ends now."""
        self._share = min(1.0, self.at(now) + 1 - math.exp(-seconds / self._memory_s))
        self._at = now

    def at(self, now: float) -> float:
        return self._share * math.exp(-max(0.0, now - self._at) / self._memory_s)


class Measures:
    """Of one pool in one worker. Called from the event loop; prometheus_client's values are safe to read from another
    thread. clock: monotonic seconds.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = Rate(pool.limits.in_flight_max / (pool.objective.p95_ms / 1000))
        self._worked = 1.0  # of the last answers, the share that took work
        self._answered_at = clock()
        self._backlog = 0
        self._cost_micro, self._answers = 0, 0
        labels = (pool.pool, OPERATIONS[pool.task], pool.model)
        self._e2e, self._first, self._per_token = (each.labels(*labels) for each in (E2E, FIRST, PER_TOKEN))
        self._read, self._written = (USAGE.labels(*labels, kind) for kind in ("input", "output"))
        self._queued, self._computed = QUEUED.labels(pool.pool), COMPUTED.labels(pool.pool)
        self._statuses = {status: ANSWERS.labels(pool.pool, status) for status in STATUSES}
        self._refused, self._cached = REFUSED.labels(pool.pool), CACHED.labels(pool.pool)
        self._engine_s, self._cost = ENGINE_S.labels(pool.pool), COST.labels(pool.pool)
        self._wasted_s = WASTED_S.labels(pool.pool)
        self._cost_1000 = COST_1000.labels(pool.pool)
        self._backlog_now, self._rate_now, self._work = (each.labels(pool.pool) for each in (BACKLOG, RATE, WORK))
        self._rate_now.set(self._per_s)
        self._tokens = {kind: Rate(0.0) for kind in ("input", "output")}
        self._tokens_now = {kind: TOKENS.labels(pool.pool, kind) for kind in self._tokens}

    def wrote(self, usage: Usage) -> None:
        """What an answer took of the engine, which can be used."""
        if usage.between:
            self._per_token.observe(usage.between_s / usage.between)

    def answered(self, completed: InferenceCompleted, seconds: float) -> None:
        """An answer was acknowledged. seconds: since the request's broker timestamp."""
        self._e2e.observe(max(0.0, seconds))
        self._queued.observe(completed.queue_ms / 1000)
        status = CANCELLED if completed.reason.startswith(CANCELLED) else completed.status
        self._statuses.get(status, self._statuses["failed"]).inc()
        self._spent(completed)
        if completed.cached:
            self._cached.inc()
        elif completed.status == "ok":
            self._timed(completed)
        elif completed.status == "failed" and not completed.prompt_tokens and not completed.engine_us:
            self._refused.inc()
        self._progress(completed)

    def wasted(self, completed: InferenceCompleted) -> None:
        """An answer is discarded, or was never given: somebody else answers the request."""
        self._wasted_s.inc(completed.engine_us / 1_000_000)

    def backlog(self, records: int) -> None:
        """How many requests wait or are in hand, of the partitions this worker has. Call it every few seconds."""
        self._backlog = records
        self._backlog_now.set(records)
        self._work.set(records / self._per_s)

    @property
    def _per_s(self) -> float:
        """Answers a second while there is work, those among them that take none."""
        return self._rate.per_s / max(self._worked, 1 / WORKED_MEMORY)

    def _spent(self, completed: InferenceCompleted) -> None:
        self._engine_s.inc(completed.engine_us / 1_000_000)
        self._cost.inc(completed.cost_micro)
        self._cost_micro += completed.cost_micro
        self._answers += 1
        self._cost_1000.set(self._cost_micro / MICRO * 1000 / self._answers)

    def _timed(self, completed: InferenceCompleted) -> None:
        self._computed.observe(completed.compute_ms / 1000)
        self._read.observe(completed.prompt_tokens)
        self._written.observe(completed.output_tokens)
        if completed.first_token_ms:
            self._first.observe(completed.first_token_ms / 1000)

    def _progress(self, completed: InferenceCompleted) -> None:
        """One more answer, worked on until now: that part of it which no earlier answer has counted.

        One that took no work (it was known, late, called off or refused) says nothing of how long work takes, only that
        less of what waits will take any: a thousand such in a second would else make the rate too high for a minute.
        """
        worked = not completed.cached and (completed.status == "ok" or completed.prompt_tokens > 0)
        self._worked += (worked - self._worked) / WORKED_MEMORY
        if worked:
            now = self._clock()
            seconds = max(ANSWER_S_MIN, min(completed.compute_ms / 1000, now - self._answered_at))
            self._rate.add(1, seconds)
            for kind, tokens in (("input", completed.prompt_tokens), ("output", completed.output_tokens)):
                self._tokens[kind].add(tokens, seconds)
                self._tokens_now[kind].set(self._tokens[kind].per_s)
            self._answered_at = now
        self._rate_now.set(self._per_s)
        self._work.set(self._backlog / self._per_s)


class Engines:
    """Of the engines of one process, which share its devices. Called from the engines' threads, which take turns.

    lanes: that it serves. seats: bulk requests in one batch of an engine at most; with both lanes there are some more
    for those who wait. clock: monotonic seconds.
    """

    def __init__(
        self, process: str, lanes: Sequence[Lane], *, seats: int = 32, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._process = process
        self._lanes = "+".join(lane for lane in Lane if lane in lanes)
        self._seats = max(1, seats) + kept_free(max(1, seats), lanes)
        self._clock = clock
        self._share = Share(clock())
        self._shown = False

    def of(self, weights: str) -> Told:
        """Who hears of the steps of the engine with these weights."""
        return _OfEngine((self._process, self._lanes, weights), self._seats, self._worked)

    def _worked(self, seconds: float) -> None:
        """From the first step on: an engine elsewhere has its own devices."""
        self._share.add(self._clock(), seconds)
        if self._shown:
            return
        self._shown = True
        for name, read in device.gpus() or [("cpu", lambda: self._share.at(self._clock()))]:
            UTILISATION.labels(self._process, self._lanes, name).set_function(read)


class _OfEngine:
    """Hears of one engine's steps. labels: process, its lanes, the engine's weights. worked: hears of a step's time."""

    def __init__(self, labels: tuple[str, str, str], seats: int, worked: Callable[[float], None]) -> None:
        self._seats = seats
        self._worked = worked
        self._running = {lane: RUNNING.labels(*labels, lane) for lane in Lane}
        self._waiting = {lane: WAITING.labels(*labels, lane) for lane in Lane}
        self._kv_used, self._fill = KV_USED.labels(*labels), FILL.labels(*labels)
        self._step = STEP.labels(*labels)
        self._queries, self._hits = (PREFIX.labels(*labels, outcome) for outcome in ("queries", "hits"))

    def __call__(
        self,
        *,
        running: int,
        running_bulk: int,
        waiting: int,
        waiting_bulk: int,
        kv_used: float,
        step_seconds: float,
        prefix_queries: int,
        prefix_hits: int,
    ) -> None:
        for gauges, all_of_it, bulk in (
            (self._running, running, running_bulk),
            (self._waiting, waiting, waiting_bulk),
        ):
            gauges[Lane.INTERACTIVE].set(all_of_it - bulk)
            gauges[Lane.BULK].set(bulk)
        self._kv_used.set(kv_used)
        self._fill.set(min(1.0, running / self._seats))
        if step_seconds:  # else everybody has left, and none was made
            self._step.observe(step_seconds)
        self._queries.inc(prefix_queries)
        self._hits.inc(prefix_hits)
        self._worked(step_seconds)
