"""What it brings to let requests of one beginning follow each other: python -m aios.infra.bench.inference_prefix.

Enters: {"rounds": …, "each": …} as its argument. Leaves: one JSON line: of each way, in each round, the engine's
seconds, its process's CPU seconds, and the share of prompt tokens found in the cache. Runs in the workers'
environment, with the pool's own model and the engine's own line (inference_workers/engines/batch.py). Guaranteed: both
ways take the same number of tokens of texts that no other round had, turn about; the KV cache has room for some of the
beginnings and not for all, as where many prompts and long instructions share a pool.
Rejected: a cache that holds every beginning (there it changes nothing).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from aios.inference_workers.engines import batch
from aios.inference_workers.engines.batch import Usage
from aios.inference_workers.engines.engine import Generate
from aios.inference_workers.engines.engine_arguments import BLOCK_TOKENS
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.inference_workers.weights import convert
from aios.inference_workers.worker import SERVED
from aios.streams import config

BEGINNINGS = 12
SEATS = 4
ROOM_TOKENS = 2048  # of the KV cache: of twelve beginnings of some 230 tokens about half, beside those at work
ROOM = {"max_num_seqs": SEATS, "block_size": BLOCK_TOKENS, "num_gpu_blocks_override": ROOM_TOKENS // BLOCK_TOKENS}
TOKENS_MAX = 4  # of an answer: what is measured is reading
WAYS: Mapping[str, int] = {"as they come": 0, "alike together": batch.OVERTAKEN_MAX}
RULES = "The bank answers within ten days, never asks for a password, and says which office decides. " * 12


class Told:
    """What the engine says of its steps."""

    def __init__(self) -> None:
        self.busy_s, self.queries, self.hits = 0.0, 0, 0

    def __call__(self, *, step_seconds: float, prefix_queries: int, prefix_hits: int, **_: Any) -> None:
        self.busy_s += step_seconds
        self.queries += prefix_queries
        self.hits += prefix_hits


def requests(tag: str, each: int) -> Sequence[Generate]:
    """So many of each beginning, in turn. tag: that no other round has."""
    return [
        Generate(
            messages=(
                ("system", f"{tag}, instruction {number % BEGINNINGS}. {RULES}"),
                ("user", f"Case {number}: my card was charged twice."),
            ),
            tokens_max=TOKENS_MAX,
        )
        for number in range(BEGINNINGS * each)
    ]


async def measure(engine: VllmEngine, told: Told, tag: str, each: int) -> dict[str, float]:
    """All of them at once."""
    process = psutil.Process(engine.pid)
    busy_s, queries, hits, cpu_s = told.busy_s, told.queries, told.hits, _cpu_s(process)
    batch.METER.set(Usage())
    await asyncio.gather(*(engine.generate(request) for request in requests(tag, each)))
    return {
        "busy_s": round(told.busy_s - busy_s, 3),
        "cpu_s": round(_cpu_s(process) - cpu_s, 3),
        "found": round((told.hits - hits) / (told.queries - queries), 3),
    }


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


async def run(rounds: int, each: int) -> dict[str, Any]:
    served, told = SERVED["generate"], Told()
    settings = served.told(config.load().inference)
    weights = convert.folder(served.pool.weights)
    engines = {
        way: VllmEngine(weights, served.kind.runner, settings, told, overtaken_max=overtaken_max, **ROOM)
        for way, overtaken_max in WAYS.items()
    }
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    try:
        for engine in engines.values():
            await engine.start()
        for number in range(rounds):
            for way in sorted(WAYS, reverse=bool(number % 2)):
                found[way].append(await measure(engines[way], told, f"Round {number}, {way}", each))
                print(f"round {number + 1} of {rounds}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
        return {"requests": BEGINNINGS * each, "room_tokens": engine.tokens_max, "ways": found}
    finally:
        await asyncio.gather(*(each.close() for each in engines.values()))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else speaks on standard output
    with answers:
        print(json.dumps(asyncio.run(run(**json.loads(sys.argv[1])))), file=answers)


if __name__ == "__main__":
    main()
