"""The roads on the images of infra/compose.yaml: another broker build, another registry, Redis instead of Valkey.

Runs where a Docker engine answers, and is skipped with the reason elsewhere.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.compose import DockerCompose

from aios.schemas.codec import Codec
from aios.schemas.models import DocumentReceived
from aios.schemas.registry import RegistrySource, register_all
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.outcome_store import OutcomeStore
from aios.streams.record import Outgoing
from aios.streams.topics import DOCUMENT_RECEIVED
from aios.streams.topology import all_topics

pytestmark = pytest.mark.docker
INFRA = Path(__file__).parents[2] / "infra"
PING = "import docker; docker.from_env(timeout=2).ping()"  # in a child: without an engine it leaves its socket open


def _no_engine() -> str:
    """Why there is no Docker engine; empty if one answers. The presence of the program proves nothing."""
    asked = subprocess.run([sys.executable, "-c", PING], capture_output=True, text=True, check=False, timeout=30)
    return f"no Docker engine answers: {asked.stderr.strip().splitlines()[-1][:120]}" if asked.returncode else ""


@pytest.fixture(scope="module")
def compose() -> Iterator[DockerCompose]:
    if reason := _no_engine():
        pytest.skip(reason)
    with DockerCompose(str(INFRA), compose_file_name="compose.yaml", wait=True) as running:
        yield running


@pytest.fixture(scope="module")
def kafka(compose: DockerCompose) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers="127.0.0.1:9092")


def test_an_event_goes_through_their_broker_and_registry(kafka: KafkaSettings) -> None:
    """Topics are created, contracts registered, an event written and read back."""
    url = "http://127.0.0.1:8081/apis/ccompat/v7"
    asyncio.run(ensure_topics(kafka, all_topics().values()))
    register_all(url, all_topics().values())
    codec = Codec(RegistrySource(url))
    event = DocumentReceived(text="Where is my card?")
    delivery = Delivery(kafka, client_id="test")
    try:
        asyncio.run(delivery.deliver(Outgoing(DOCUMENT_RECEIVED.name, b"k1", codec.encode(DOCUMENT_RECEIVED, event))))
    finally:
        delivery.close()
    found = [codec.decode(r.value, DocumentReceived) for r in read_all(kafka, DOCUMENT_RECEIVED.name) if r.key == b"k1"]
    assert found == [event]


def test_redis_serves_as_the_outcome_store(compose: DockerCompose) -> None:
    async def ask() -> None:
        store = OutcomeStore("redis://127.0.0.1:6379/0")
        try:
            await store.note_accepted("c1", "demo")
            view = await store.status("c1", "demo")
        finally:
            await store.close()
        assert view is not None
        assert view.status == "accepted"

    asyncio.run(ask())
