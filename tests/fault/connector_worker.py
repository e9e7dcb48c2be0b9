"""One process of the connectors, with one outside system that is not shipped: python connector_worker.py {json}."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aios.infra.local import child
from aios.processors.connectors import registry, serving
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorRequested
from aios.schemas.registry import register_all
from aios.streams import failpoints
from aios.streams.config import ConnectorsSettings, KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import Delivery, ensure_topics
from aios.streams.record import Outgoing
from aios.streams.system_files import Again, Circuit, Effect, Goal, Http, Limits, System
from aios.streams.topics import Topic
from aios.streams.topology import Stage, connecting

LETTERS = str.maketrans("0123456789", "ghijklmnop")  # systems are named in letters
WAIT_S_MAX = 60.0
EFFECTS = (Effect.AT_LEAST_ONCE, Effect.AT_MOST_ONCE, Effect.RECONCILED)


def system(unique: str) -> System:
    """A bank of this test alone, as tests/fakes/outside.py has it."""
    return System(
        system="bank" + unique.translate(LETTERS),
        does="books, for tests",
        connector="http",
        limits=Limits(calls_max=16, rate_per_s=500, call_s_max=1.0),
        again=Again(first_s=0.05, longest_s=0.5, unsure_s=0.2),
        circuit=Circuit(failures_max=5, open_s=0.2, open_s_max=1.0),
        operations={
            "book": Http(
                path="/bookings",
                request={"account": "text", "amount": "number"},
                response={"booking": "text"},
                effects=EFFECTS,
                done="/bookings/{idempotency_key}",
            ),
            "look": Http(
                method="GET", path="/rates/{currency}", request={"currency": "text"}, response={"rate": "number"}
            ),
        },
        objective=Goal(p95_ms=1000),
    )


def stage_of(unique: str) -> Stage:
    return connecting(system(unique))


def create(kafka: KafkaSettings, registry_url: str, stage: Stage) -> None:
    """What it needs of the topics that `aios up` creates, and its own."""
    asyncio.run(ensure_topics(kafka, topics_of(stage)))
    register_all(registry_url, stage.inputs)


def topics_of(stage: Stage) -> list[Topic]:
    return [*stage.inputs, *stage.writes, stage.dead_letters, *(tier.topic for tier in stage.tiers)]


def settings_of(kafka: KafkaSettings, registry_url: str, home: Path, unique: str, url: str) -> Settings:
    return Settings(
        home=home,
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        connectors=ConnectorsSettings(options={system(unique).system: {"url": url}}),
    )


def served(unique: str) -> Sequence[serving.Served]:
    one = system(unique)
    return [serving.served(one, functools.partial(registry.connector, one), dict(registry.operations_of(one)))]


def start(settings: Settings, unique: str, *, slot: int = 0, armed: str = "") -> subprocess.Popen[bytes]:
    """Another process of it; its words are appended to home/<slot>.log, READY among them once it serves."""
    asked = {
        "settings": settings.model_dump(mode="json", exclude={"token"}),
        "unique": unique,
        "slot": slot,
        "armed": armed,
    }
    return child.start(
        [sys.executable, __file__, json.dumps(asked)],
        settings.home / f"{slot}.log",
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


async def put(kafka: KafkaSettings, codec: Codec, stage: Stage, asked: Sequence[ConnectorRequested]) -> None:
    """As plan does."""
    topic = stage.reads[0]
    delivery = Delivery(kafka, client_id="test", deliver_s_max=30)
    try:
        await delivery.deliver_all(
            Outgoing(topic.name, one.case_id.encode(), codec.encode(topic, one), (("aios-tenant", b"demo"),))
            for one in asked
        )
    finally:
        await asyncio.to_thread(delivery.close)


def wait_for(what: Callable[[], bool], s_max: float = WAIT_S_MAX) -> None:
    """Look at it until it is so."""
    deadline = time.monotonic() + s_max
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


async def main(asked: dict[str, Any]) -> None:
    failpoints.arm(asked["armed"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serving.run(
        Settings(**asked["settings"]),
        slot=asked["slot"],
        stop=stop,
        ready=lambda: print("READY", flush=True),
        systems=served(asked["unique"]),
    )
    print("STOPPED", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
