"""A stage that is asked to stop while Kafka is away."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aios.infra.local.broker import Broker
from aios.processors.stateful import member
from aios.processors.stateful.member import LEFT, STOP_S_MAX, Member
from aios.streams.config import KafkaSettings
from aios.streams.topology import PLAN
from tests.broker.stages import counting_stage, create
from tests.fault import stage_worker

READY_S_MAX = 60.0
SLACK_S = 10.0  # a busy machine


def test_a_stage_ends_when_asked_while_the_broker_is_away(unique: str, tmp_path: Path) -> None:
    """SIGTERM, and within the bound the process is gone by itself, whatever its clients wait for."""
    broker = Broker(tmp_path / "kafka")
    broker.start()
    kafka = KafkaSettings(bootstrap_servers=broker.address)
    create(kafka, counting_stage(unique, inputs=2), partitions=1)
    process = stage_worker.start(kafka, unique, tmp_path)
    log = tmp_path / "0.log"
    try:
        deadline = time.monotonic() + READY_S_MAX
        while not (log.exists() and "READY" in log.read_text()):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        broker.stop()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S_MAX + SLACK_S) in {0, LEFT}
    finally:
        process.kill()
        process.wait()
        broker.stop()


def test_a_stage_ends_when_asked_before_it_ever_reached_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's start waits for as long as nobody answers; the process does not."""
    ended: list[str] = []

    class Ended(Exception):
        """In place of the end of this process."""

    def end(why: str) -> None:
        ended.append(why)
        raise Ended

    monkeypatch.setattr(member, "end_now", end)
    faust = SimpleNamespace(
        start=asyncio.Event().wait,
        topic=lambda *_, **__: None,
        agent=lambda *_, **__: lambda take: take,
        on_partitions_assigned=SimpleNamespace(connect=lambda _: None),
        on_partitions_revoked=SimpleNamespace(connect=lambda _: None),
    )

    async def run() -> None:
        stop = asyncio.Event()
        one = Member(PLAN, cast(Any, faust), cast(Any, None), lambda: None)
        asyncio.get_running_loop().call_later(0.05, stop.set)
        async with asyncio.timeout(5):
            await one.run(stop)

    with pytest.raises(Ended):
        asyncio.run(run())
    assert len(ended) == 1
