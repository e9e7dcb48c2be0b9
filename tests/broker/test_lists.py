"""A list's new version on a real broker: published by a principal, loaded by a running connector, cases raised."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import TopicPartition

from aios.infra.commands import list as list_command
from aios.infra.commands import tenant
from aios.infra.output import FAILED
from aios.infra.running import Running
from aios.processors.connectors import rescreening
from aios.processors.connectors.connector import Ask, Setup
from aios.processors.connectors.sanctions import Sanctions, Screening, ScreenRequest
from aios.processors.screening import list_files, published
from aios.schemas.codec import Codec
from aios.schemas.models import ApplicationSubmitted, AuditRecorded, CaseDecided
from aios.streams import carrying, installed, principals
from aios.streams.admin import ensure_topics, read_all, reader
from aios.streams.config import KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import Delivery
from aios.streams.topics import (
    APPLICATION_SUBMITTED,
    AUDIT_RECORDED,
    CASE_DECIDED,
    LIST_PUBLISHED,
    PRINCIPAL_REGISTERED,
)
from tests.broker import rescreening_life
from tests.unit.test_rescreen import NEW as NEW_LOADED
from tests.unit.test_rescreen import PERSON, decided

pytestmark = pytest.mark.broker

TOPICS = (LIST_PUBLISHED, CASE_DECIDED, APPLICATION_SUBMITTED, AUDIT_RECORDED, PRINCIPAL_REGISTERED)
OLD = [("1", "BIN LADIN, Usama", "individual", "SDGT", "", "DOB 30 Jul 1957.")]
NEW = [*OLD, ("9", "VALDERRAMA QUINTANA, Eusebio", "individual", "SDNT", "", "DOB 02 Feb 1980.")]
WAIT_S_MAX, AGAIN_S = 60.0, 0.1
ASK = Ask(request_id="r", idempotency_key="k", tenant="acme", deadline_s=10.0)


async def until(true: Callable[[], object]) -> bool:
    """Whether it becomes true before the deadline."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not (found := await asyncio.to_thread(true)) and time.monotonic() < deadline:  # noqa: ASYNC110 - Kafka knows it
        await asyncio.sleep(AGAIN_S)
    return bool(found)


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    asyncio.run(ensure_topics(kafka, TOPICS))
    found = Settings(home=tmp_path, kafka=kafka, registry=RegistrySettings(url=registry_url))
    monkeypatch.setattr(tenant, "running", lambda: Running(found, "", ""))
    monkeypatch.setattr(list_command, "found_running", lambda: Running(found, "", ""))
    return found


@pytest.fixture
def name() -> str:
    """Of a list that no other test publishes."""
    return f"tiny{uuid4().hex[:8]}"


def publish(settings: Settings, codec: Codec, reference: str, rows: list[tuple[str, ...]], role: str) -> Result:
    path = settings.home / f"{reference}.csv"
    with io.StringIO() as text:
        writer = csv.writer(text)
        writer.writerows([list_files.COLUMNS, *rows])
        path.write_text(text.getvalue(), encoding="utf-8")
    token = settings.home / f"{uuid4().hex}.token"
    who = f"who-{uuid4().hex[:8]}"
    token.write_text(principals.register(settings.kafka, codec, who, roles=[role]), encoding="ascii")
    words = ["publish", reference, "--file", str(path), "--why", "it changed", "--token-file", str(token)]
    return CliRunner().invoke(list_command.group, words)


async def decide(settings: Settings, codec: Codec, *events: CaseDecided) -> None:
    delivery = Delivery(settings.kafka, client_id="aios.tests.lists")
    try:
        for event in events:
            await delivery.deliver(
                carrying.outgoing(
                    codec,
                    CASE_DECIDED,
                    event,
                    key=event.case_id,
                    event_id=event.decision_id,
                    source="/tests",
                    subject=event.case_id,
                    tenant=event.tenant,
                    time_ms=event.decided_at,
                )
            )
    finally:
        await asyncio.to_thread(delivery.close)


def outcome(name: str, case: str) -> CaseDecided:
    screening = {"list": name, "version": "1", "verdict": "clear", "hits": []}
    said = json.dumps({"people": [PERSON], "screenings": [screening]})
    return replace(decided(case=case), decision_id=str(uuid4()), output=said)


def raised(settings: Settings, codec: Codec, case: str) -> Iterator[ApplicationSubmitted]:
    for record in read_all(settings.kafka, APPLICATION_SUBMITTED.name):
        if case in (record.key or b"").decode():
            yield codec.decode(record.value, ApplicationSubmitted)


def test_a_published_version_takes_over_and_raises_decided_cases(settings: Settings, codec: Codec, name: str) -> None:
    """In a running connector, without a restart; who is near to a new entry is raised with an audit, others are not."""
    assert publish(settings, codec, f"{name}@1", OLD, "operator").exit_code == 0
    before, after, other = (str(uuid4()) for _ in range(3))
    system = installed.systems()["sanctions"]

    async def story() -> tuple[Screening, Screening]:
        connector = Sanctions(Setup(system=system, settings=settings, options={"list": name}))
        await connector.open()
        try:
            asked = ScreenRequest(name=PERSON["name"], born=PERSON["born"], kind="individual")
            clear = await connector.call("screen", asked, ASK)
            other_person = json.dumps(
                {
                    "people": [{**PERSON, "name": "John Smith"}],
                    "screenings": [{"list": name, "version": "1", "hits": []}],
                }
            )
            await decide(settings, codec, outcome(name, before), replace(outcome(name, other), output=other_person))
            said = await asyncio.to_thread(publish, settings, codec, f"{name}@2", NEW, "operator")
            assert said.exit_code == 0, said.output
            assert await until(lambda: list(raised(settings, codec, before)))
            found = await connector.call("screen", asked, ASK)
            await decide(settings, codec, outcome(name, after))  # by a process that had not heard yet
            assert await until(lambda: list(raised(settings, codec, after)))
        finally:
            await connector.close()
        assert isinstance(clear, Screening)
        assert isinstance(found, Screening)
        return clear, found

    clear, found = asyncio.run(story())
    assert (clear.verdict, clear.version) == ("clear", "1")
    assert (found.version, found.hits[0].entry) == ("2", "9")
    (event,) = {one.idempotency_key: one for one in raised(settings, codec, before)}.values()
    assert event.idempotency_key == f"rescreen/{name}@2/{before}/0"
    assert not list(raised(settings, codec, other))
    audits = [
        codec.decode(record.value, AuditRecorded)
        for record in read_all(settings.kafka, AUDIT_RECORDED.name)
        if record.key in (before.encode(), f"list:{name}".encode())
    ]
    assert {one.transition for one in audits} == {"list_published", "screened_again"}
    assert {one.case_seq for one in audits} == {0}, "it replaces no transition of the case in its timeline"


def test_a_walk_goes_on_from_where_it_was_committed(settings: Settings, codec: Codec, name: str) -> None:
    """Killed when it has raised, before it commits: the same case again. Killed behind its commit: never again."""
    first, later = str(uuid4()), str(uuid4())

    def life(*, until_: Callable[[], object], dies: bool) -> None:
        walk = rescreening_life.start(settings, name, dies=dies)
        try:
            assert asyncio.run(until(until_)), (settings.home / "walk.log").read_text()
            if dies:
                walk.wait(WAIT_S_MAX)
        finally:
            walk.kill()
            walk.wait()

    def count(case: str) -> int:
        return len(list(raised(settings, codec, case)))

    asyncio.run(decide(settings, codec, outcome(name, first)))
    for life_ in (1, 2):
        life(until_=lambda often=life_: count(first) == often, dies=True)
    life(until_=lambda: committed(settings, name), dies=False)
    often = count(first)
    asyncio.run(decide(settings, codec, outcome(name, later)))
    life(until_=lambda: count(later), dies=False)
    assert count(first) == often == 3
    events = list(raised(settings, codec, first))
    assert len({(event.idempotency_key, event.event_id, event.documents[0]["text"]) for event in events}) == 1


def committed(settings: Settings, name: str) -> bool:
    """Whether a walk with version 2 of the list has committed."""
    group = f"{rescreening.GROUP}.{name}@2.{NEW_LOADED.listed.sha256[: rescreening.HASH_LETTERS]}"
    asking = reader(settings.kafka, **{"group.id": group})
    try:
        partitions = asking.list_topics(CASE_DECIDED.name, timeout=WAIT_S_MAX).topics[CASE_DECIDED.name].partitions
        places = asking.committed([TopicPartition(CASE_DECIDED.name, each) for each in partitions], timeout=WAIT_S_MAX)
        return any(place.offset > 0 for place in places)
    finally:
        asking.close()


def test_who_may_not_publishes_nothing(settings: Settings, codec: Codec, name: str) -> None:
    """A reviewer's token, and a file that cannot be read whole."""
    assert publish(settings, codec, f"{name}@1", OLD, "reviewer").exit_code == FAILED
    assert publish(settings, codec, f"{name}@1", [*OLD, *OLD], "operator").exit_code == FAILED
    assert name not in published.read(settings.kafka, codec)


def test_a_version_is_one_file(settings: Settings, codec: Codec, name: str) -> None:
    """Decisions name it: by other bytes of the same name nobody would be screened again."""
    assert publish(settings, codec, f"{name}@1", OLD, "operator").exit_code == 0
    said = publish(settings, codec, f"{name}@1", NEW, "operator")
    assert (said.exit_code, published.read(settings.kafka, codec)[name].entries) == (FAILED, len(OLD))
    assert "give this one its own" in said.output
    assert publish(settings, codec, f"{name}@1", OLD, "operator").exit_code == 0
    shipped, version = list_files.known()[-1]
    assert publish(settings, codec, f"{shipped}@{version}", OLD, "operator").exit_code == FAILED
