"""Run by the workers' Python: the encoders of two versions of one worker, each asked alone and then both together."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from aios.inference_workers.engines.engine import Embed, Runner
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.inference_workers.weights import convert
from aios.streams import model_files
from aios.streams.config import InferenceSettings

MODEL, OTHER = "triage-encoder@2", "triage-encoder@1"
TEXTS = [f"{number}. My card was charged twice{' and again' * (number % 12)}." for number in range(48)]
ROUNDS = 12  # two engines that get in each other's way do so in some steps, not in all
APART = 1e-3  # of two vectors' cosine from 1, for the same text in another batch


async def vectors(shelf: Shelf, model: str) -> Sequence[Sequence[float]]:
    engine = shelf.of(model)
    return [one.vector for one in await asyncio.gather(*(engine.embed(Embed(text=text)) for text in TEXTS))]


def differing(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> int:
    """How many are not the same vector; one that is no number is not."""
    return sum(
        not abs(1 - sum(a * b for a, b in zip(one, other, strict=True))) < APART
        for one, other in zip(before, after, strict=True)
    )


async def found() -> dict[str, Any]:
    settings = InferenceSettings(load_s_max=900)
    shelf = Shelf(
        lambda weights: VllmEngine(convert.folder(weights), Runner.EMBED, settings),
        key_of=lambda model: model_files.card(model).weights,
        first=model_files.card(MODEL).weights,
    )
    await shelf.start()
    try:
        first = await vectors(shelf, MODEL)
        loading = asyncio.ensure_future(vectors(shelf, OTHER))
        while_it_loads = 0
        while not loading.done():
            while_it_loads += differing(first, await vectors(shelf, MODEL))
        alone = {MODEL: first, OTHER: await vectors(shelf, OTHER)}
        together = dict.fromkeys(alone, 0)
        for _ in range(ROUNDS):
            for model, said in zip(alone, await asyncio.gather(*(vectors(shelf, each) for each in alone)), strict=True):
                together[model] += differing(alone[model], said)
        return {
            "the same": differing(first, alone[OTHER]),
            "while it loads": while_it_loads,
            "loaded": differing(alone[OTHER], await loading),
            "together": sum(together.values()),
        }
    finally:
        await shelf.close()


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print
    print(json.dumps(asyncio.run(found())), file=out, flush=True)
