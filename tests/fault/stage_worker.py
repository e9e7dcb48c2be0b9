"""One process of the counting stage, for tests that kill it, or need a real one: python stage_worker.py {json}."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from aios.infra.local import child
from aios.processors.stateful.member import run_stage
from aios.streams import failpoints
from aios.streams.config import KafkaSettings, Settings
from tests.broker.stages import Count, codec_of, counting_stage


def start(
    kafka: KafkaSettings,
    unique: str,
    home: Path,
    *,
    slot: int = 0,
    inputs: int = 2,
    ordered: bool = False,
    failpoints: str = "",
) -> subprocess.Popen[bytes]:
    """Another process of it; its words are appended to home/<slot>.log, READY among them once it is open."""
    asked = {
        "kafka": kafka.model_dump(),
        "unique": unique,
        "home": str(home),
        "slot": slot,
        "inputs": inputs,
        "ordered": ordered,
        "failpoints": failpoints,
    }
    return child.start(
        [sys.executable, __file__, json.dumps(asked)],
        home / f"{slot}.log",
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


async def main(asked: dict[str, Any]) -> None:
    settings = Settings(home=Path(asked["home"]), kafka=KafkaSettings(**asked["kafka"]))
    failpoints.arm(asked["failpoints"])
    stage = counting_stage(asked["unique"], inputs=asked["inputs"], ordered=asked["ordered"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_stage(
        stage,
        Count(stage.writes[0].name, stage.reads[-1].name),
        codec_of(stage),
        settings,
        slot=asked["slot"],
        stop=stop,
        ready=lambda: print("READY", flush=True),
    )
    print("STOPPED", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
