"""The circuit of one endpoint on a real broker: in the list of breakers, over a restart, and closed by a person."""

from __future__ import annotations

import asyncio
import functools
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from aios.dlq import breakers
from aios.processors.connectors import registry, serving
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.streams import installed
from aios.streams.config import ConnectorsSettings, EndpointSettings, KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import Delivery, read_all
from aios.streams.system_files import Circuit
from aios.streams.topics import BREAKER_CHANGED
from aios.streams.topology import connecting
from aios.streams.wall_clock import wall_ms
from tests.broker.running import running
from tests.fakes.calls import requested
from tests.fault import connector_worker
from tests.fault.connector_worker import LETTERS, create, wait_for

pytestmark = pytest.mark.broker
NOWHERE = "http://127.0.0.1:9/"


def test_an_endpoint_that_is_away_is_listed_over_a_restart_until_a_person_closes_it(
    kafka: KafkaSettings, registry_url: str, codec: Codec, tmp_path: Path, unique: str
) -> None:
    """Nobody answers there: open, with its tenant; the process's next life knows it, and tries by one call; an
    operator's closing has it believed until it fails again. The system's own circuit stays closed.
    """
    hook = installed.systems()["webhook"].model_copy(
        update={"system": "hook" + unique.translate(LETTERS), "circuit": Circuit(open_s=60, open_s_max=60)}
    )
    stage = connecting(hook)
    create(kafka, registry_url, stage)
    (tmp_path / "s").write_text("a-secret-of-more-than-24-bytes")
    far = EndpointSettings(tenant="demo", secret=f"file:{tmp_path / 's'}", url=NOWHERE)
    settings = Settings(
        home=tmp_path,
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        connectors=ConnectorsSettings(endpoints={"far": far}),
    )
    key = f"endpoint/{hook.system}/demo/far"

    def changes() -> list[BreakerChanged]:
        told = (codec.decode(each.value, BreakerChanged) for each in read_all(kafka, BREAKER_CHANGED.name))
        return [each for each in told if hook.system in each.key]

    def serve() -> AbstractAsyncContextManager[None]:
        made = serving.served(hook, functools.partial(registry.connector, hook), dict(registry.operations_of(hook)))
        return running(functools.partial(serving.run, systems=[made]), settings)

    async def put(count: int) -> None:
        now_ms, request = wall_ms(), {"endpoint": "far", "kind": "k", "body": {}}
        names = [f"{unique}-{now_ms}-{number}" for number in range(count)]
        told = {"at": now_ms, "system": hook.system, "operation": "send", "deadline_s": 600}
        await connector_worker.put(kafka, codec, stage, [requested(request, name=name, **told) for name in names])

    async def work() -> None:
        await put(hook.circuit.failures_max)
        async with serve():
            await asyncio.to_thread(wait_for, lambda: bool(changes()))
        (opened,) = changes()
        assert (opened.key, opened.tenant, opened.state) == (key, "demo", "open")
        assert opened in await asyncio.to_thread(breakers.read, kafka, codec), "as `aios breaker list` has it"
        async with serve():
            await asyncio.to_thread(wait_for, lambda: len(changes()) >= 3)  # half-open for one call, and open again
            assert {each.since for each in changes()} == {opened.since}, "what was left is not opened anew"
            closed = breakers.closed(opened, by="olga", now_ms=wall_ms())
            delivery = Delivery(kafka, client_id="test", deliver_s_max=30)
            await delivery.deliver(breakers.outgoing(codec, closed))
            await asyncio.to_thread(delivery.close)
            await put(hook.circuit.failures_max)
            await asyncio.to_thread(wait_for, lambda: changes()[-1].since > opened.since)

    asyncio.run(work())
    assert {each.key for each in changes()} == {key}
    assert [each.state for each in changes() if each.by == "olga"] == ["closed"]
