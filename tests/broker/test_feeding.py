"""The commands that a matrix feeds to the connectors, answered by the shipped ones."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from aios.infra.prove.feeding import Feeding
from aios.infra.prove.reading import Addresses
from aios.processors.connectors import serving
from aios.streams import topology
from aios.streams.config import KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import ensure_topics
from aios.streams.topics import LIST_PUBLISHED
from tests.broker.running import WAIT_S_MAX, running
from tests.fault.connector_worker import topics_of

pytestmark = pytest.mark.broker
COMMANDS = 4
ANSWERED_S_MAX = 60.0


def test_every_command_that_is_fed_has_its_answer_and_one_without_is_found(
    kafka: KafkaSettings, registry_url: str, tmp_path: Path
) -> None:
    """While no connector runs all of them are found; afterwards none."""
    needed = [LIST_PUBLISHED, *(topic for stage in topology.CONNECTORS for topic in topics_of(stage))]
    asyncio.run(ensure_topics(kafka, {topic.name: topic for topic in needed}.values()))
    feeding = Feeding(Addresses(kafka=kafka.bootstrap_servers, registry=registry_url, valkey=""))
    feeding.start()
    deadline = time.monotonic() + WAIT_S_MAX
    while feeding.sent < COMMANDS:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    feeding.close()
    assert len(feeding.unanswered()) == feeding.sent
    settings = Settings(home=tmp_path, kafka=kafka, registry=RegistrySettings(url=registry_url))

    async def work() -> None:
        async with running(serving.run, settings):
            deadline = time.monotonic() + ANSWERED_S_MAX
            while await asyncio.to_thread(feeding.unanswered):
                assert time.monotonic() < deadline

    asyncio.run(work())
    assert feeding.unanswered() == {}
    feeding.end()
