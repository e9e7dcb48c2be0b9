"""An engine whose core is one process more, for test_apart.py: python tests/engine/apart.py FOLDER.

Says on standard output, a JSON object a line: once it is loaded, its processes; then its first answer. Then it waits
to be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from aios.inference_workers.engines.engine import Generate, Runner
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.streams.config import InferenceSettings


async def main(folder: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else speaks on standard output
    settings = InferenceSettings(engine_mode="subprocess", kv_cache_mib=16, load_s_max=600)
    engine = VllmEngine(tiny.make(folder), Runner.GENERATE, settings, load_format="dummy")
    await engine.start()
    children = psutil.Process().children(recursive=True)
    print(json.dumps({"processes": [each.pid for each in children]}), file=answers, flush=True)
    said = await engine.generate(Generate(messages=(("user", "hello"),), tokens_max=4))
    print(json.dumps({"tokens": said.output_tokens}), file=answers, flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
