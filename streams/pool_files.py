"""Pools of model workers: pools/<pool>.yaml, one file a pool. Adding a pool is adding a file.

In: folders of files: FOLDER, and a team's own (installed.py). Out: frozen Pool values; the pool's topic, consumer
group, process, metrics and autoscaling signal follow from them (topology.py). Guaranteed: every mistake in any file is
told with file, line and column; pools of one process agree in model, engine, its options and server, since they share
them; a fallback leads to a pool of the same lane, or to a person, and in no circle; a server's key stands in no file.
Rejected: pools in aios.yaml (what a pool promises and costs belongs to versions of files, not to a machine).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from aios.streams import mistakes, part_file
from aios.streams.errors import ConfigError
from aios.streams.part import POOL, SECRET_OR_NONE, SERVER, Part, close_to

FOLDER = Path(__file__).parent / "pools"
SERVES: Mapping[str, tuple[str, ...]] = {
    "classify": ("classify", "embed"),
    "embed": ("classify", "embed"),
    "generate": ("generate",),
}
"""By the task of a pool's file: those that it answers. An encoder's labels and vectors come of the same embedding."""
PERSON = "person"  # a fallback: the workflow's on_error, without another model
STATUSES = ("ok", "expired", "cancelled", "failed")  # of answers, as they are counted: to be called off is no failure

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

    url: Annotated[str, Field(pattern=SERVER)]
    api_key: Annotated[str, Field(pattern=SECRET_OR_NONE)] = ""


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

    pool: Annotated[str, Field(pattern=POOL)]
    does: Annotated[str, Field(min_length=1, max_length=80)]  # one line for people
    task: Literal["classify", "generate", "embed"]
    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]  # which version of it: aios model activate
    engine: Literal["vllm", "openai", "echo"]
    weights: str  # for vllm: a name in files.json (inference_workers/weights); for a server: its name of the model
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


def chain(pools: Mapping[str, Pool], name: str) -> tuple[Pool, ...]:
    """The pool, and those that are asked one after the other when it cannot answer. Raises KeyError."""
    found = [pools[name]]
    while found[-1].fallback != PERSON:
        found.append(pools[f"{found[-1].fallback}.{found[-1].lane}"])
    return tuple(found)


def read(*folders: Path) -> Mapping[str, Pool]:
    """Every pool by name, those of one process together, interactive first. Raises ConfigError, a line a mistake."""
    said: dict[str, tuple[Path, yaml.Node]] = {}
    pools, problems = [], list[str]()
    for path in (path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        pool, root, wrong = part_file.read(path, Pool, "pool")
        problems += wrong
        if pool is not None and root is not None:
            pools.append(pool)
            said[pool.pool] = path, root
    pools.sort(key=lambda pool: (pool.process, pool.lane is Lane.BULK))
    by_name = {pool.pool: pool for pool in pools}
    if not problems:  # else a pool that another one names may be among those that could not be read
        for pool in pools:
            path, root = said[pool.pool]
            problems += [
                mistakes.line(str(path), root, tuple(key.split(".")), says) for key, says in _wrong(pool, by_name)
            ]
    if problems:
        raise ConfigError("\n".join(problems))
    return by_name


def _wrong(pool: Pool, by_name: Mapping[str, Pool]) -> Iterator[tuple[str, str]]:
    """What does not fit to the other pools, with the key that says so."""
    for other in by_name.values():
        if other.process == pool.process and _shared(other) != _shared(pool):
            both = f"{pool.pool} and {other.pool}"
            yield "pool", f"{both} share a process and so task, model, engine, engine_options, weights and server"
    if pool.server is not None and pool.engine != "openai":
        yield "server", f"it belongs to the engine openai, not to {pool.engine}"
    own = {"vllm": pool.engine_options.said().keys(), "openai": {"context_tokens"}}.get(pool.engine, set())
    if strange := sorted(pool.engine_options.said().keys() - own):
        yield f"engine_options.{strange[0]}", f"it says nothing to the engine {pool.engine}"
    seen, at = {pool.pool}, pool
    while at.fallback != PERSON:
        following = by_name.get(f"{at.fallback}.{at.lane}")
        if following is None or following.task != pool.task:
            if at is pool:
                names = [each.process for each in by_name.values() if (each.task, each.lane) == (pool.task, pool.lane)]
                hint = close_to(at.fallback, [PERSON, *names])
                yield "fallback", f"there is no pool {at.fallback}.{at.lane} for the task {pool.task}{hint}"
            return
        if following.pool in seen:
            yield "fallback", "the fallbacks lead in a circle"
            return
        seen.add(following.pool)
        at = following


def _shared(pool: Pool) -> tuple[object, ...]:
    """In which pools of one process are the same."""
    return pool.task, pool.model, pool.engine, pool.engine_options, pool.weights, pool.server
