"""What test_mechanics.py and test_structured.py ask of the real engine, in the workers' environment, with a model of
no sense: in one process, since loading takes longest.

python tests/engine/mechanics.py FOLDER → one JSON object on standard output: what each question found.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import structured
import tiny

from aios.inference_workers.engines import batch
from aios.inference_workers.engines.batch import BULK_PRIORITY, Usage
from aios.inference_workers.engines.engine import Generate, RequestRefused, Runner
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.streams import prompt_files
from aios.streams.config import InferenceSettings
from aios.streams.errors import EngineDead

SEATS = 8
LONG = 400  # tokens; some seconds' work beside others
SHARED = "my account was closed why when how please help the bank card claim payment was late " * 4


class Told:
    """What the engine says of its steps."""

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.running = self.running_max = 0
        self.queries = 0
        self.hits = 0

    def __call__(self, **said: Any) -> None:
        self.busy_s += said["step_seconds"]
        self.running = said["running"]
        self.running_max = max(self.running_max, self.running)
        self.queries += said["prefix_queries"]
        self.hits += said["prefix_hits"]


def say(text: str, *, tokens_max: int = 8, priority: int = 0, system: str = "") -> Generate:
    messages = [("system", system)] if system else []
    return Generate(messages=(*messages, ("user", text)), tokens_max=tokens_max, priority=priority)


async def ask(engine: VllmEngine, request: Generate, usage: Usage) -> str:
    batch.METER.set(usage)
    try:
        return (await engine.generate(request)).finish_reason
    except RequestRefused:
        return "refused"


async def poison(engine: VllmEngine, _: Told) -> dict[str, int]:
    """One of 64 is longer than the model reads."""
    texts = ["card " * 2_000 if number == 17 else f"claim {number}" for number in range(64)]
    found = await asyncio.gather(*(ask(engine, say(text), Usage()) for text in texts))
    return dict(Counter(found))


async def charged(engine: VllmEngine, told: Told) -> dict[str, float]:
    """The engine's time, and what the requests were charged for together; the first token is before the last."""
    before, usages = told.busy_s, [Usage() for _ in range(20)]
    begun = time.monotonic()
    await asyncio.gather(
        *(ask(engine, say(f"late fee {n}", tokens_max=20 + n), usage) for n, usage in enumerate(usages))
    )
    return {
        "busy_s": told.busy_s - before,
        "charged_s": sum(usage.engine_us for usage in usages) / 1_000_000,
        "first_ms_min": min(usage.first_token_ms for usage in usages),
        "first_ms_max": max(usage.first_token_ms for usage in usages),
        "took_ms": (time.monotonic() - begun) * 1000,
        "tokens": sum(usage.output_tokens for usage in usages),
    }


async def cancelled(engine: VllmEngine, told: Told) -> dict[str, Any]:
    """A long answer, taken back at once and by its deadline: who asks next is alone, and the time was counted."""
    usages = [Usage(), Usage()]
    running = [asyncio.create_task(ask(engine, say("why", tokens_max=900), usage)) for usage in usages]
    await asyncio.gather(*(_begun(usage) for usage in usages))
    running[0].cancel()
    late = False
    try:
        async with asyncio.timeout(0.05):
            await running[1]
    except TimeoutError:
        late = True
    await ask(engine, say("how"), Usage())
    return {
        "late": late,
        "left": told.running,
        "counted": min(min(usage.engine_us, usage.prompt_tokens, usage.output_tokens) for usage in usages) > 0,
    }


async def _begun(usage: Usage) -> None:
    """The engine tells nobody but the meter."""
    if not usage.engine_us:
        await asyncio.sleep(0.01)
        await _begun(usage)


async def urgent(engine: VllmEngine, told: Told) -> dict[str, Any]:
    """Every seat taken by long bulk answers, and as many in line: who waits is answered before any of them."""
    order: list[str] = []

    async def one(name: str, request: Generate) -> None:
        await ask(engine, request, Usage())
        order.append(name)

    bulk = [
        asyncio.create_task(one("bulk", say(f"money {n}", tokens_max=LONG, priority=BULK_PRIORITY)))
        for n in range(3 * SEATS)
    ]
    await asyncio.sleep(0.3)
    await one("urgent", say("help", tokens_max=4))
    for each in bulk:
        each.cancel()
    await asyncio.gather(*bulk, return_exceptions=True)
    return {"first": order[0], "running_max": told.running_max}


async def prefix(engine: VllmEngine, told: Told) -> dict[str, int]:
    """The same beginning, sixteen times: it is computed once."""
    queries, hits = told.queries, told.hits
    await ask(engine, say("first", system=SHARED), Usage())
    await asyncio.gather(*(ask(engine, say(f"fee {n}", system=SHARED), Usage()) for n in range(15)))
    return {"queries": told.queries - queries, "hits": told.hits - hits}


async def hung(engine: VllmEngine, _: Told) -> dict[str, Any]:
    """A step that does not come back: watch() ends within step_s_max and a moment. The last question."""
    engine._settings = engine._settings.model_copy(update={"step_s_max": 1})
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    asking = asyncio.create_task(ask(engine, say("when"), Usage()))
    begun = time.monotonic()
    try:
        await asyncio.wait_for(engine.watch(), 20)
    except EngineDead as error:
        return {"said": str(error), "after_s": time.monotonic() - begun}
    finally:
        asking.cancel()


async def no_room(folder: Path, settings: InferenceSettings) -> str:
    """A KV cache that holds no request: what start() says."""
    return await tiny.refused(
        VllmEngine(folder, Runner.GENERATE, settings, load_format="dummy", kv_cache_memory_bytes=4096)
    )


async def all_of_it(folder: Path) -> dict[str, Any]:
    settings = InferenceSettings(step_s_max=20, kv_cache_mib=64, load_s_max=900)
    found: dict[str, Any] = {"no_room": await no_room(folder, settings)}
    told = Told()
    engine = VllmEngine(folder, Runner.GENERATE, settings, told, load_format="dummy", max_num_seqs=SEATS)
    await engine.start()
    found["tokens_max"] = engine.tokens_max
    try:
        for question in (poison, charged, cancelled, urgent, prefix, structured.bounded, hung):
            print(time.monotonic(), question.__name__, flush=True)  # to standard error: see below
            found[question.__name__] = await asyncio.wait_for(question(engine, told), 240)
    finally:
        await engine.close()
    return found


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print
    place = Path(sys.argv[1])
    prompt_files.FOLDER = structured.prompts(place / "prompts")
    print(json.dumps(asyncio.run(all_of_it(tiny.make(place / "model")))), file=out, flush=True)
