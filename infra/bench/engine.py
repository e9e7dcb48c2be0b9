"""`aios bench engine`: what the workers carry through Kafka, as a share of what their engine can do by itself.

Enters: nothing; it starts a broker and a registry of its own in a temporary folder, and one worker of each model after
the other. Leaves: a table and infra/bench/results/engine.json. By itself: the same requests, all handed to a fresh
engine at once, without Kafka (infra/bench/engine_offline.py). Through Kafka: a filled bulk topic, worked through by
the worker as the supervisor starts it, timed by the broker's timestamps of its answers. Both are the rate between the
first and the last tenth of the answers, so that neither start nor end counts. Broker and worker share the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aios.infra import output
from aios.infra.bench import machine
from aios.infra.bench.engine_offline import rate, requests
from aios.infra.commands.model import WORKERS_PYTHON
from aios.infra.local import child
from aios.infra.local.broker import Broker
from aios.infra.local.registry import Registry
from aios.infra.output import FAILED, fail
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceRequested
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import topics, topology
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.record import Outgoing
from aios.streams.slots import key_of
from aios.streams.topics import INFERENCE_COMPLETED

WAIT_S_MAX = 300.0
LOOK_S = 5.0  # seldom: looking costs what is measured


@click.command()
@click.option("--classify", type=click.IntRange(100, 100_000), default=2_000, show_default=True, help="Messages.")
@click.option("--generate", type=click.IntRange(40, 10_000), default=100, show_default=True, help="Letters.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def engine(classify: int, generate: int, keep: bool) -> None:
    """Each worker's rate through Kafka as a share of its engine's own, in the same run."""
    if not WORKERS_PYTHON.exists():
        fail("the workers' environment .venv-inference is not there: run `make setup`")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        home = Path(folder)
        broker = Broker(home / "kafka")
        broker.start()
        try:
            kafka = KafkaSettings(bootstrap_servers=broker.address)
            asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
            registry = Registry(kafka, home / "registry.log")
            registry.start()
            register_all(registry.url, topology.all_topics().values())
            for process, count in (("classify", classify), ("generate", generate)):
                figures[process] = _measure(process, count, kafka, registry.url, home)
            registry.stop()
        finally:
            broker.stop()
    rows = [{"pool": process, **found} for process, found in figures.items()]
    output.rows(rows, ("pool", "requests", "alone_per_s", "worker_per_s", "share"), as_json=False, none="")
    if keep:
        machine.keep("engine", f"aios bench engine --classify {classify} --generate {generate}", figures)


def _measure(process: str, count: int, kafka: KafkaSettings, registry_url: str, home: Path) -> dict[str, Any]:
    environment = os.environ | {
        "AIOS_HOME": str(home),
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "AIOS_REGISTRY__URL": registry_url,
        "AIOS_TRACING__SAMPLE_RATIO": "0.01",
        "PYTHONSAFEPATH": "1",
    }
    alone = _alone(process, count, environment, home)
    asked = requests(process, count)
    asyncio.run(_ask(process, asked, kafka, registry_url))
    log = home / f"{process}.log"
    worker = child.start([str(WORKERS_PYTHON), "-m", "aios.infra.stage", process], log, environment)
    try:
        times = _answered(kafka, {one.case_id for one in asked})
    except TimeoutError as error:
        fail(f"{error}; the end of its log:\n{log.read_text(encoding='utf-8', errors='replace')[-1500:]}", FAILED)
    finally:
        child.stop(worker)
    through = rate(times)
    return {
        "requests": count,
        "alone_per_s": round(alone, 1),
        "worker_per_s": round(through, 1),
        "share": round(through / alone, 2),
    }


def _alone(process: str, count: int, environment: Mapping[str, str], home: Path) -> float:
    log = home / f"{process}.offline.log"
    with log.open("wb") as words:
        done = subprocess.run(
            [WORKERS_PYTHON, "-m", "aios.infra.bench.engine_offline", process, str(count)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=words,
            timeout=WAIT_S_MAX,
            check=False,
        )
    if done.returncode:
        fail(f"the engine alone failed:\n{log.read_text(encoding='utf-8', errors='replace')[-1500:]}", FAILED)
    return float(json.loads(done.stdout))


async def _ask(process: str, asked: Sequence[InferenceRequested], kafka: KafkaSettings, registry_url: str) -> None:
    source = RegistrySource(registry_url)
    codec, topic = Codec(source), topics.inference_requested(f"{process}.bulk")
    delivery = Delivery(kafka, client_id="bench", deliver_s_max=WAIT_S_MAX)
    try:
        await delivery.deliver_all(
            Outgoing(topic.name, key_of(one.tenant, one.case_id), codec.encode(topic, one)) for one in asked
        )
    finally:
        delivery.close()
        source.close()


def _answered(kafka: KafkaSettings, wanted: set[str]) -> list[float]:
    """When each answer was written, in seconds by the broker's clock. wanted: case ids. Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        answers = read_all(kafka, INFERENCE_COMPLETED.name)
        found = {one.header("ce_subject"): one.timestamp_ms / 1000 for one in answers}
        times = [at for case, at in found.items() if case in wanted]
        if len(times) == len(wanted):
            return times
    raise TimeoutError(f"{len(wanted)} requests were not answered within {WAIT_S_MAX:.0f} s")
