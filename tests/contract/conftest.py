"""A registry of a test's own, beside the file's; and requests in plain HTTP, so that every byte is seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from aios.infra.local.registry import Registry
from aios.infra.local.registry_api import CONTENT_TYPE
from aios.streams.config import KafkaSettings
from tests.fakes import apicurio
from tests.fakes.apicurio_deviations import DEVIATIONS

Answer = tuple[int, Any]


class Http:
    """Asks one registry. Every answer must be JSON of the protocol's content type, or of the one that is expected."""

    def __init__(self, url: str, content_type: str = CONTENT_TYPE) -> None:
        self.url = url
        self._content_type = content_type
        self._session = requests.Session()

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        headers = {"Content-Type": CONTENT_TYPE}
        answer = self._session.request(method, self.url + path, data=data, headers=headers, timeout=20)
        assert answer.headers["Content-Type"].split(";")[0] == self._content_type
        return answer.status_code, answer.json()

    def code(self, method: str, path: str, body: Any = None) -> tuple[int, int]:
        """HTTP status and error code of a refusal, whose body is the protocol's."""
        status, said = self(method, path, body)
        assert set(said) == {"error_code", "message"}, said
        assert said["message"]
        return status, said["error_code"]

    def close(self) -> None:
        self._session.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Against Apicurio what it is known to do otherwise must fail, and for the reason that is listed."""
    if not config.getoption("--apicurio"):
        return
    # It closes connections by itself, of which the client's sockets then complain, the last ones behind the last test.
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if item.name in DEVIATIONS:
            item.add_marker(pytest.mark.xfail(reason=DEVIATIONS[item.name], strict=True))


@pytest.fixture(scope="module")
def ask(registry_url: str, request: pytest.FixtureRequest) -> Iterator[Http]:
    """The registry of the file; subjects must be of the test's own."""
    http = Http(registry_url, apicurio.CONTENT_TYPE if request.config.getoption("--apicurio") else CONTENT_TYPE)
    yield http
    http.close()


@pytest.fixture
def start(kafka: KafkaSettings, tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Starts registries that end with the test."""
    started: list[Registry] = []

    def one(topic: str = "", **more: Any) -> Registry:
        topic = topic or f"_schemas.{uuid4().hex[:8]}"
        registry = Registry(kafka, tmp_path / f"registry-{len(started)}.log", topic=topic, **more)
        started.append(registry)
        registry.start()
        return registry

    yield one
    for registry in started:
        registry.stop()
