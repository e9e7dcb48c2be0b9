"""What loads longest, once for all files of this folder: the engine with a model of no sense, and workers of pools."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import topology
from aios.streams.config import KafkaSettings
from aios.streams.kafka import ensure_topics
from aios.streams.record import Record
from tests.conftest import kafka_in, registry_on, valkey_in
from tests.engine.scripts import found_by
from tests.engine.workers import PYTHON, Workers

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder asks a real engine, which has an environment of its own."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-inference: run `make setup`"))


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What mechanics.py has found out, in a process of its own."""
    return found_by("mechanics.py", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="package")
def workers(tmp_path_factory: pytest.TempPathFactory, registered: list[Record]) -> Iterator[Workers]:
    """None yet, on a broker, a registry and a Valkey of their own; whoever runs behind the last test of this folder
    leaves well, for what follows would keep an idle engine from the machine for longer than its session lasts.
    """
    home = tmp_path_factory.mktemp("workers")
    with kafka_in(home / "kafka") as broker, valkey_in(home / "valkey") as valkey_url:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        with registry_on(kafka, registered, home / "registry.log") as url:
            asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
            source = RegistrySource(url)
            made = Workers(kafka, url, valkey_url, Codec(source), home)
            try:
                yield made
                for process in list(made.processes):
                    made.end(process)
            finally:
                made.kill()
                source.close()
