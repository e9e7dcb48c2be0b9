"""Bookings through the connectors' shell on a real broker, against a real calendar server that flaps or is killed.

What stands in the calendars is counted at the server.
"""

from __future__ import annotations

import asyncio
import functools
from datetime import date
from datetime import time as clock
from pathlib import Path

import pytest
import yaml

from aios.infra.local.radicale import Radicale
from aios.processors.connectors import registry, serving
from aios.processors.connectors.caldav import CalDav
from aios.processors.connectors.calendar_parts import BookRequest, Found, Option
from aios.processors.meetings import invitation, zones
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorCompleted, ConnectorRequested
from aios.streams import topology
from aios.streams.config import ConnectorsSettings, KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import ensure_topics, read_all
from aios.streams.system_files import Again, Circuit, Effect, Goal, Limits, System
from aios.streams.topics import CONNECTOR_COMPLETED
from aios.streams.topology import connecting
from aios.streams.wall_clock import wall_ms
from tests.broker.running import running
from tests.fakes.calls import requested
from tests.fakes.flapping import Flapping, Pattern
from tests.fault.connector_worker import LETTERS, create, put, wait_for

pytestmark = pytest.mark.broker
BOOKINGS = 8
HOUR_S = 3600
PEOPLE = ("ana", "ben")
START = zones.moment(date(2027, 3, 1), clock(9), zones.zone("Europe/Berlin"))
PATTERNS: dict[str, Pattern] = {
    "500 in every fourth": lambda number, _method: 500 if number % 4 == 1 else 200,
    "resets, some after it was done": lambda number, _method: ("reset", "lost", 200, 200, 200)[number % 5],
    "every write is lost once, after it was done": lambda number, method: (
        "lost" if method in ("PUT", "DELETE") and number % 3 == 0 else 200
    ),
    "away for a while, then 503": lambda number, _method: "reset" if number < 10 else 503 if number < 16 else 200,
    "silent, then well": lambda number, _method: "hang" if number < 3 else 200,
}


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_calendar_server_that_flaps_bothers_nobody(
    *,
    pattern: str,
    radicale: Radicale,
    kafka: KafkaSettings,
    registry_url: str,
    codec: Codec,
    tmp_path: Path,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight bookings at their own hours: each is answered ok, and stands confirmed, once, in each of its calendars."""
    system = calendars(unique)
    create(kafka, registry_url, connecting(system))
    monkeypatch.setenv("CALENDAR_USER", radicale.user)
    monkeypatch.setenv("CALENDAR_PASSWORD", radicale.password)
    asked = [command(system, unique, number) for number in range(BOOKINGS)]
    with Flapping(radicale.url, PATTERNS[pattern]) as flapping:
        settings = Settings(
            home=tmp_path,
            kafka=kafka,
            registry=RegistrySettings(url=registry_url),
            connectors=ConnectorsSettings(
                options={system.system: {"url": flapping.url, "directory": str(directory(tmp_path, unique))}},
                secrets={system.system: {"user": "env:CALENDAR_USER", "password": "env:CALENDAR_PASSWORD"}},
            ),
        )
        made = serving.served(
            system, functools.partial(registry.connector, system), dict(registry.operations_of(system))
        )

        def answered() -> list[ConnectorCompleted]:
            read = (codec.decode(each.value, ConnectorCompleted) for each in read_all(kafka, CONNECTOR_COMPLETED.name))
            return [each for each in read if each.system == system.system]

        async def work() -> None:
            await fill(radicale, unique)
            await put(kafka, codec, connecting(system), asked)
            async with running(functools.partial(serving.run, systems=[made]), settings):
                await asyncio.to_thread(wait_for, lambda: len(answered()) >= BOOKINGS)

        asyncio.run(work())
        assert sorted((one.request_id, one.status) for one in answered()) == sorted(
            (one.request_id, "ok") for one in asked
        )
        assert any(becomes != 200 for _, becomes in flapping.asked)
    assert not list(read_all(kafka, connecting(system).dead_letters.name))
    stands = asyncio.run(marks(radicale, unique))
    for person in PEOPLE:
        assert sorted(one.case for one in stands[person]) == sorted(one.case_id for one in asked)
        assert all(one.is_confirmed for one in stands[person])


def calendars(unique: str) -> System:
    """A calendar system of this test alone."""
    return System(
        system="cal" + unique.translate(LETTERS),
        does="bookings, for tests",
        connector="calendars",
        limits=Limits(calls_max=4, rate_per_s=500, call_s_max=3.0),
        again=Again(first_s=0.05, longest_s=0.5),
        circuit=Circuit(failures_max=5, open_s=0.2, open_s_max=1.0),
        objective=Goal(p95_ms=1000),
    )


def directory(folder: Path, unique: str) -> Path:
    file = folder / "people.yaml"
    people = [{"id": one, "name": one, "zone": "Europe/Berlin", "calendar": f"aios/{unique}.{one}"} for one in PEOPLE]
    file.write_text(yaml.safe_dump({"people": people}), encoding="utf-8")
    return file


def command(system: System, unique: str, number: int) -> ConnectorRequested:
    start = START + number * 2 * HOUR_S
    option = Option(starts_at=start * 1000, ends_at=(start + HOUR_S) * 1000)
    found = Found(status="found", title=f"m{number}", zone="Europe/Berlin", people=PEOPLE, options=(option,))
    request = BookRequest(organiser="ana", found=found).model_dump(mode="json")
    name = f"{unique}-{number}"
    return requested(request, at=wall_ms(), name=name, system=system.system, effect=Effect.RECONCILED)


async def fill(server: Radicale, unique: str) -> None:
    dav = CalDav(server.url, server.user, server.password)
    for person in PEOPLE:
        await dav.make(f"aios/{unique}.{person}")
    await dav.close()


async def marks(server: Radicale, unique: str) -> dict[str, list[invitation.Mark]]:
    dav = CalDav(server.url, server.user, server.password)
    span = START - 86_400, START + 30 * 86_400
    found = {}
    for person in PEOPLE:
        objects = await dav.span(f"aios/{unique}.{person}", span)
        found[person] = [mark for one in objects if (mark := invitation.mark(one.text)) is not None]
    await dav.close()
    return found
