"""meeting.schedule through admit, plan and the connectors, with a real calendar server that flaps: nobody is bothered.

What stands in the calendars is counted at the server.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from datetime import time as clock
from typing import Any

import pytest
import yaml

from aios.infra.local.radicale import Radicale
from aios.processors.connectors import registry, serving
from aios.processors.connectors.caldav import CalDav
from aios.processors.meetings import invitation, zones
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided, CaseTold, Event, MeetingRequested, ReviewRequested
from aios.sinks.outcome_writes import transition_json
from aios.streams import explanation, installed, tenants, topology
from aios.streams.config import ConnectorsSettings, KafkaSettings, RegistrySettings, Settings
from aios.streams.explanation import Explanation
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.record import Outgoing
from aios.streams.system_files import Again, Circuit
from aios.streams.topics import AUDIT_RECORDED, CASE_DECIDED, CASE_TOLD, MEETING_REQUESTED, REVIEW_REQUESTED, Topic
from aios.streams.topology import ADMIT, PLAN, connecting
from aios.streams.wall_clock import wall_ms
from tests.broker.running import running
from tests.broker.test_workflow_deploy import events, process, until
from tests.fakes.flapping import Flapping
from tests.fault.test_calendars import PATTERNS

pytestmark = pytest.mark.broker
PEOPLE = {"ana": "Ana Lopez", "ben": "Ben Weiss"}
BERLIN = zones.zone("Europe/Berlin")
SHIPPED = installed.systems()["calendars"]
CALENDARS = SHIPPED.model_copy(
    update={
        "limits": SHIPPED.limits.model_copy(update={"call_s_max": 3.0}),
        "again": Again(first_s=0.05, longest_s=0.5),
        "circuit": Circuit(failures_max=5, open_s=0.2, open_s_max=1.0),
    }
)


@pytest.fixture(scope="module")
def settings(kafka: KafkaSettings, registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of a system whose admit and plan run."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    home = tmp_path_factory.mktemp("system") / "home"
    found = Settings(home=home, kafka=kafka, registry=RegistrySettings(url=registry_url))
    with process(found, "admit"), process(found, "plan"):
        yield found


@dataclass
class Desk:
    """One tenant and its calendars."""

    settings: Settings
    codec: Codec
    server: Radicale
    unique: str

    def __post_init__(self) -> None:
        self.tenant = f"t-{self.unique}"
        self.day = date.today() + timedelta(days=14)
        self.day -= timedelta(days=max(0, self.day.weekday() - 4))
        tenants.register(self.settings.kafka, self.codec, self.tenant)

    def case(self, name: str) -> str:
        return ids.case_id(self.tenant, "meeting.schedule", name)

    def calendar(self, person: str) -> str:
        return f"aios/{self.unique}.{person}"

    def connected(self, url: str) -> Settings:
        """For the connectors, with the calendars at that address."""
        people = [
            {"id": one, "name": name, "zone": BERLIN.key, "calendar": self.calendar(one)}
            for one, name in PEOPLE.items()
        ]
        file = self.settings.home / f"{self.unique}.yaml"
        file.write_text(yaml.safe_dump({"people": people}), encoding="utf-8")
        connectors = ConnectorsSettings(
            options={"calendars": {"url": url, "directory": str(file)}},
            secrets={"calendars": {"user": "env:CALENDAR_USER", "password": "env:CALENDAR_PASSWORD"}},
        )
        return self.settings.model_copy(update={"connectors": connectors})

    async def make(self) -> None:
        dav = CalDav(self.server.url, self.server.user, self.server.password)
        for person in PEOPLE:
            await dav.make(self.calendar(person))
        await dav.close()

    async def ask(self, name: str, hour: str) -> None:
        text = f"Schedule a meeting with Ana Lopez on {self.day:%d %B %Y} at {hour}"
        event = MeetingRequested(
            organiser="ben", text=text, tenant=self.tenant, idempotency_key=name, lane="interactive"
        )
        await self._put(MEETING_REQUESTED, name, event)

    async def tell(self, name: str, words: str) -> None:
        event = CaseTold(
            event_id=f"{self.unique}-{name}",
            case_id=self.case(name),
            tenant=self.tenant,
            kind="meeting_changed",
            body=ids.canonical({"text": words}),
            by="producer",
            told_at=wall_ms(),
        )
        await self._put(CASE_TOLD, self.case(name), event)

    async def _put(self, topic: Topic, key: str, event: Event) -> None:
        delivery = Delivery(self.settings.kafka, client_id="test")
        try:
            await delivery.deliver(Outgoing(topic.name, key.encode(), self.codec.encode(topic, event)))
        finally:
            await asyncio.to_thread(delivery.close)

    def audit(self) -> list[AuditRecorded]:
        return events(self.settings, self.codec, AUDIT_RECORDED, AuditRecorded, self.tenant)

    def stands(self, *paths: str) -> list[Any]:
        """Transitions by which a case came to wait there; no person was asked meanwhile."""
        assert self.asked() == []
        return [one for one in self.audit() if one.transition == "waiting" and one.step in paths]

    def asked(self) -> list[ReviewRequested]:
        return events(self.settings, self.codec, REVIEW_REQUESTED, ReviewRequested, self.tenant)

    def decided(self) -> list[CaseDecided]:
        return events(self.settings, self.codec, CASE_DECIDED, CaseDecided, self.tenant)

    def explained(self, name: str) -> Explanation:
        moves = [json.loads(transition_json(one)) for one in self.audit() if one.case_id == self.case(name)]
        return explanation.explain(self.case(name), "meeting.schedule", moves)

    async def marks(self, person: str, at: clock) -> list[tuple[str, bool]]:
        """What stands at that time in somebody's calendar: its case, and whether it is confirmed."""
        dav = CalDav(self.server.url, self.server.user, self.server.password)
        begin = zones.moment(self.day, at, BERLIN)
        found = [invitation.mark(one.text) for one in await dav.span(self.calendar(person), (begin, begin + 60))]
        await dav.close()
        return [(mark.case, mark.is_confirmed) for mark in found if mark is not None]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_calendar_server_that_flaps_sends_no_case_to_a_person(
    *,
    pattern: str,
    radicale: Radicale,
    settings: Settings,
    codec: Codec,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three meetings are booked, one is moved and one is called off: each stands once where it should, or nowhere; no
    question to a person, no dead letter, and every case is explained without a gap.
    """
    monkeypatch.setenv("CALENDAR_USER", radicale.user)
    monkeypatch.setenv("CALENDAR_PASSWORD", radicale.password)
    desk = Desk(settings, codec, radicale, unique)
    made = serving.served(
        CALENDARS, functools.partial(registry.connector, CALENDARS), dict(registry.operations_of(CALENDARS))
    )

    async def work(url: str) -> None:
        await desk.make()
        async with running(functools.partial(serving.run, systems=[made]), desk.connected(url)):
            for name, hour in (("kept", "9am"), ("moved", "10am"), ("dropped", "11am")):
                await desk.ask(name, hour)
            await asyncio.to_thread(until, lambda: desk.stands("booked"), 3)
            await desk.tell("moved", "move it to 3pm")
            await desk.tell("dropped", "cancel the meeting")
            await asyncio.to_thread(until, lambda: desk.stands("booked#2"), 1)
            await asyncio.to_thread(until, desk.decided, 1)

    with Flapping(radicale.url, PATTERNS[pattern]) as flapping:
        asyncio.run(work(flapping.url))
        assert any(becomes != 200 for _, becomes in flapping.asked)
    (dropped,) = desk.decided()
    assert (dropped.case_id, dropped.outcome, dropped.decided_by) == (desk.case("dropped"), "called_off", "policy")
    assert desk.asked() == []
    for stage in (ADMIT, PLAN, connecting(CALENDARS)):
        assert not list(read_all(settings.kafka, stage.dead_letters.name))
    there: Sequence[tuple[int, str]] = ((9, "kept"), (10, ""), (11, ""), (15, "moved"))
    for person in PEOPLE:
        for hour, name in there:
            stands = asyncio.run(desk.marks(person, clock(hour)))
            assert stands == ([(desk.case(name), True)] if name else []), (person, hour)
    for name in ("kept", "moved", "dropped"):
        found = desk.explained(name)
        assert (found.complete, found.people, found.systems) == (True, (), ("calendars",))
        assert any("asked calendars to book (an effect, reconciled)" in one.says for one in found.story)
