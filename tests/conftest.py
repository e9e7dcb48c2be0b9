"""One local Kafka a file of tests, started when its first test asks; a topic and a group of its own for each test.

On several workers (-n) a file is one worker's, from its first test to its last; the files of tests/engine are too, so
that no two of them load engines at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import settings

from aios.infra.local.broker import Broker
from aios.infra.local.radicale import Radicale
from aios.infra.local.registry import Registry
from aios.infra.local.registry_log import TOPIC
from aios.infra.local.valkey import Valkey
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import config, topology
from aios.streams.config import KafkaSettings, client
from aios.streams.kafka import read_all
from aios.streams.record import Record
from tests.fakes import apicurio

settings.register_profile("house", deadline=None)  # no test is timed: another's work would fail it
settings.load_profile("house")

WAIT_S_MAX = 30.0
TOGETHER = "tests/engine/"


@pytest.fixture(autouse=True)
def settings_of_its_own() -> Iterator[None]:
    """What one test has set in the environment is read by no other."""
    config.load.cache_clear()
    yield
    config.load.cache_clear()


@contextmanager
def kafka_in(folder: Path) -> Iterator[Broker]:
    """Apache Kafka on loopback."""
    node = Broker(folder)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The file's own."""
    with kafka_in(tmp_path_factory.mktemp("kafka")) as node:
        yield node


@pytest.fixture(scope="module")
def kafka(broker: Broker) -> KafkaSettings:
    """How to reach it."""
    return KafkaSettings(bootstrap_servers=broker.address)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Instead of --dist."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.partition("::")[0]

    return ByFile(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--apicurio", metavar="FOLDER", help="the registry's tests against Apicurio, unpacked there")


@pytest.fixture(scope="session")
def registered() -> list[Record]:
    """What the run's first registry has written, for the next ones to begin with: a contract alone is a transaction."""
    return []


@pytest.fixture(scope="module")
def registry_url(
    kafka: KafkaSettings,
    registered: list[Record],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[str]:
    """The local registry on that broker, or Apicurio, with every contract of the topology registered."""
    folder = request.config.getoption("--apicurio")
    if folder:
        with apicurio.running(Path(folder).resolve(), kafka, tmp_path_factory.mktemp("apicurio") / "log") as url:
            register_all(url, topology.all_topics().values())
            yield url
        return
    with registry_on(kafka, registered, tmp_path_factory.mktemp("registry") / "registry.log") as url:
        yield url


@contextmanager
def registry_on(kafka: KafkaSettings, registered: list[Record], log: Path) -> Iterator[str]:
    """The local registry, with every contract of the topology. registered: what the run's first one wrote, or empty."""
    registry = Registry(kafka, log)
    if registered:
        written_before(kafka, registered)
    registry.start()
    try:
        register_all(registry.url, topology.all_topics().values())
        registered[:] = registered or read_all(kafka, TOPIC)
        yield registry.url
    finally:
        registry.stop()


def written_before(kafka: KafkaSettings, records: list[Record]) -> None:
    """The registry's topic, as one that served here would have left it."""
    admin = AdminClient(client(kafka, log_level=0))
    admin.create_topics([NewTopic(TOPIC, 1, 1, config={"cleanup.policy": "compact"})])[TOPIC].result(WAIT_S_MAX)
    producer = Producer(client(kafka, log_level=0))
    for record in records:
        producer.produce(TOPIC, record.value, record.key)
    assert producer.flush(WAIT_S_MAX) == 0


@pytest.fixture(scope="module")
def codec(registry_url: str) -> Iterator[Codec]:
    """Reads and writes the events of our topics, with the ids of that registry."""
    source = RegistrySource(registry_url)
    yield Codec(source)
    source.close()


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server; each test uses keys of its own, or a server of its own where it empties one."""
    with valkey_in(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@contextmanager
def valkey_in(folder: Path) -> Iterator[str]:
    """A Valkey server on loopback."""
    server = Valkey(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    """A calendar server; every test has calendars of its own."""
    server = Radicale(tmp_path_factory.mktemp("radicale"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def unique() -> str:
    """Part of a name that no other test uses."""
    return uuid4().hex[:8]
