"""What an engine does by itself, for `aios bench engine`: python -m aios.infra.bench.engine_offline PROCESS COUNT.

Enters: which model, how many requests. Leaves: answers a second, on standard output. Runs in the workers' environment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice

from aios.inference_workers import splits
from aios.inference_workers.worker import SERVED
from aios.schemas import ids
from aios.schemas.models import InferenceRequested
from aios.streams.config import InferenceSettings

EDGE = 0.1  # of the answers, at either end, that are not timed
DEADLINE_S = 3600
ASKS = {
    "classify": ("messages", {"head": "messages"}, ""),
    "generate": ("letters", {"tokens_max": 48}, "summary@1"),
}


def requests(process: str, count: int) -> list[InferenceRequested]:
    """So many requests of the training's texts, again and again, each with a line of its own."""
    kind, options, prompt = ASKS[process]
    texts = islice(cycle(row["text"] for row in splits.read(splits.TRAINING / f"{kind}.csv")), count)
    now_ms = time.time_ns() // 1_000_000
    return [
        InferenceRequested(
            request_id=f"{process}-{number}",
            case_id=f"{process}-{number}",
            tenant="bench",
            workflow="bench",
            step="bench",
            attempt=1,
            task=process,
            model=SERVED[process].model,
            prompt=prompt,
            input=f"{number}. {text}",
            options=ids.canonical(options),
            lane="bulk",
            deadline_at=now_ms + DEADLINE_S * 1000,
            requested_at=now_ms,
        )
        for number, text in enumerate(texts)
    ]


def rate(times: Sequence[float]) -> float:
    """Answers a second between the first and the last tenth of them. times: seconds, any order."""
    ordered = sorted(times)
    first, last = int(len(ordered) * EDGE), int(len(ordered) * (1 - EDGE)) - 1
    return (last - first) / (ordered[last] - ordered[first])


async def alone(process: str, count: int) -> float:
    served = SERVED[process]
    engine = served.engine(InferenceSettings())
    await engine.start()
    task = served.task(engine)
    times: list[float] = []

    async def answer(request: InferenceRequested) -> None:
        await task.answer(request, 0)
        times.append(time.monotonic())

    try:
        await asyncio.gather(*map(answer, requests(process, count)))
    finally:
        await engine.close()
    return rate(times)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(alone(sys.argv[1], int(sys.argv[2])))))
