"""Pools of model workers: pools/<pool>.yaml, one file a pool. Adding a pool is adding a file.

In: the files beside this module. Out: frozen Pool values; the pool's topic, consumer group, process, metrics and
autoscaling signal follow from them (topology.py). Guaranteed: unknown keys are refused with the file's name; pools of
one process agree in model, engine, its options and server, since they share them; a fallback leads to a pool of the
same lane, or to a person, and in no circle; a key of a server stands in no file. Rejected: pools in aios.yaml (what a
pool promises and costs belongs to the product's versions, not to a machine).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aios.streams.errors import ConfigError

FOLDER = Path(__file__).parent / "pools"
SERVES: Mapping[str, tuple[str, ...]] = {
    "classify": ("classify", "embed"),
    "embed": ("classify", "embed"),
    "generate": ("generate",),
}
"""By the task of a pool's file: those that it answers. An encoder's labels and vectors come of the same embedding."""
PERSON = "person"  # a fallback: the workflow's on_error, without another model

ContextTokens = Annotated[int, Field(ge=16, le=1 << 20)]
Sequences = Annotated[int, Field(ge=1, le=4096)]
CacheMib = Annotated[int, Field(ge=16, le=1 << 20)]
MemoryShare = Annotated[float, Field(gt=0, le=1)]
Devices = Annotated[int, Field(ge=1, le=64)]
EngineMode = Literal["in_process", "subprocess"]
"""What an engine is told: of a pool in its file, of all others by `inference` of the settings (config.py)."""


class Lane(StrEnum):
    INTERACTIVE = "interactive"  # somebody waits
    BULK = "bulk"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # it may be a key


class Limits(Part):
    """in_flight_max: requests handed to the engine at once. tokens_in_flight_max: their prompt and output tokens, the
    room they take in the KV cache. tenant_outstanding_max: commands of one tenant that wait in the topic or are worked
    on, over all partitions of plan; the rest waits in plan's state.
    """

    in_flight_max: Annotated[int, Field(ge=1, le=4096)]
    tokens_in_flight_max: Annotated[int, Field(ge=256)]
    tenant_outstanding_max: Annotated[int, Field(ge=1, le=100_000)]


class Price(Part):
    """Millionths of the currency in `money.currency`. An answer costs the sum of the three."""

    per_1000_prompt_tokens: Annotated[int, Field(ge=0)]
    per_1000_output_tokens: Annotated[int, Field(ge=0)]
    per_engine_second: Annotated[int, Field(ge=0)]

    def of(self, *, prompt_tokens: int, output_tokens: int, engine_us: int) -> int:
        """Of one answer, rounded once, up: a label of a short message takes less than a millionth, and is not free."""
        thousandths = prompt_tokens * self.per_1000_prompt_tokens + output_tokens * self.per_1000_output_tokens
        return (1_000 * thousandths + engine_us * self.per_engine_second + 999_999) // 1_000_000


class Goal(Part):
    """p95_ms: from a request's broker timestamp to the acknowledged answer. success: share without dead letter."""

    p95_ms: Annotated[int, Field(ge=1)]
    success: Annotated[float, Field(gt=0, le=1)] = 0.999


class Server(Part):
    """Where the engine `openai` asks. url: the API's base, e.g. http://gpu-1:8000/v1. api_key: by reference, which each
    process resolves; empty: it wants none.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    api_key: Annotated[str, Field(pattern=r"^((env|file):.+)?$")] = ""


class EngineOptions(Part):
    """What the engine of the pool's process is told. What is left out is as the setting `inference.<name>` says.

    context_tokens: of a request, prompt and answer together, or of a piece of text that is encoded; a server's own, of
    the engine openai, for which no other of these may stand here.
    """

    context_tokens: ContextTokens | None = None
    sequences_max: Sequences | None = None
    kv_cache_mib: CacheMib | None = None
    gpu_memory_share: MemoryShare | None = None
    tensor_parallel: Devices | None = None
    engine_mode: EngineMode | None = None
    eager: bool | None = None

    def said(self) -> dict[str, Any]:
        """By name, what the file says."""
        return self.model_dump(exclude_none=True)


class Pool(Part):
    """One pool; see the module. name: `<process>.<lane>`."""

    pool: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}\.(interactive|bulk)$")]
    does: Annotated[str, Field(min_length=1, max_length=80)]  # one line for people
    task: Literal["classify", "generate", "embed"]
    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]  # which version of it: aios model activate
    engine: Literal["vllm", "openai", "echo"]
    weights: str  # for vllm: a name in files.json (inference_workers/weights.py); for a server: its name of the model
    server: Server | None = None  # of the engine openai; None: the one at inference.url
    engine_options: EngineOptions = EngineOptions()
    limits: Limits
    price: Price
    objective: Goal
    retries: tuple[str, ...]  # tiers of topics.RETRY_TIERS for failures nobody foresaw, shortest first
    fallback: str = PERSON  # the process of another pool (same lane) that is asked when this one cannot answer

    @property
    def process(self) -> str:
        """Pools of one process share an engine."""
        return self.pool.partition(".")[0]

    @property
    def serves(self) -> tuple[str, ...]:
        """The tasks it answers."""
        return SERVES[self.task]

    @property
    def devices(self) -> int:
        """GPUs of one worker; 0: what computes is elsewhere, or nothing does."""
        return (self.engine_options.tensor_parallel or 1) if self.engine == "vllm" else 0

    @property
    def lane(self) -> Lane:
        return Lane(self.pool.partition(".")[2])


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Pool]:
    """Every pool by name, those of one process together, interactive first. Raises ConfigError."""
    return read(FOLDER)


def chain(pools: Mapping[str, Pool], name: str) -> tuple[Pool, ...]:
    """The pool, and those that are asked one after the other when it cannot answer. Raises KeyError."""
    found = [pools[name]]
    while found[-1].fallback != PERSON:
        found.append(pools[f"{found[-1].fallback}.{found[-1].lane}"])
    return tuple(found)


def read(folder: Path) -> Mapping[str, Pool]:
    """The pools of a folder. Raises ConfigError naming the file and what is wrong with it."""
    pools = [_read(path) for path in sorted(folder.glob("*.yaml"))]
    pools.sort(key=lambda pool: (pool.process, pool.lane is Lane.BULK))
    by_name = {pool.pool: pool for pool in pools}
    for pool in pools:
        _check(pool, by_name)
    return by_name


def _read(path: Path) -> Pool:
    try:
        pool = Pool.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if pool.pool != path.stem:
        raise ConfigError(f"{path} declares {pool.pool}; the file is named after its pool")
    return pool


def _check(pool: Pool, by_name: Mapping[str, Pool]) -> None:
    for other in by_name.values():
        if other.process == pool.process and _shared(other) != _shared(pool):
            raise ConfigError(
                f"{pool.pool} and {other.pool} share a process and so task, model, engine, engine_options, weights and "
                "server"
            )
    if pool.server is not None and pool.engine != "openai":
        raise ConfigError(f"{pool.pool}: `server` belongs to the engine openai, not to {pool.engine}")
    own = {"vllm": pool.engine_options.said().keys(), "openai": {"context_tokens"}}.get(pool.engine, set())
    if strange := sorted(pool.engine_options.said().keys() - own):
        raise ConfigError(f"{pool.pool}: engine_options.{strange[0]} says nothing to the engine {pool.engine}")
    seen, at = {pool.pool}, pool
    while at.fallback != PERSON:
        following = by_name.get(f"{at.fallback}.{at.lane}")
        if following is None or following.task != pool.task:
            raise ConfigError(f"{at.pool}: there is no pool {at.fallback}.{at.lane} for the task {pool.task}")
        if following.pool in seen:
            raise ConfigError(f"{pool.pool}: its fallbacks lead in a circle")
        seen.add(following.pool)
        at = following


def _shared(pool: Pool) -> tuple[object, ...]:
    """In which pools of one process are the same."""
    return pool.task, pool.model, pool.engine, pool.engine_options, pool.weights, pool.server
