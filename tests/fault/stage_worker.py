"""One process of the counting stage, as the oracle starts and kills it: python stage_worker.py {json}."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from aios.processors.app import run_stage
from aios.streams import failpoints
from aios.streams.config import KafkaSettings, Settings
from tests.broker.stages import Count, codec_of, counting_stage


async def main(asked: dict[str, str]) -> None:
    settings = Settings(
        home=Path(asked["home"]),
        kafka=KafkaSettings(bootstrap_servers=asked["kafka"]),
    )
    failpoints.arm(asked.get("failpoints", ""))
    stage = counting_stage(asked["unique"], inputs=2)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_stage(
        stage,
        Count(stage.writes[0].name, stage.reads[-1].name),
        codec_of(stage),
        settings,
        slot=int(asked["slot"]),
        stop=stop,
        ready=lambda: print("READY", flush=True),
    )
    print("STOPPED", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
