"""replay and `aios dlq` on a real broker and registry: what an operator asks for returns, once and accounted for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from aios.dlq import envelope, replay
from aios.dlq.envelope import Failure
from aios.dlq.places import Places
from aios.infra.cli import aios
from aios.infra.output import FAILED, NOT_FOUND, USAGE
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, DocumentReceived, ReplayRequested
from aios.streams import config, topics
from aios.streams.config import KafkaSettings, RegistrySettings, Settings, client
from aios.streams.errors import SchemaMismatch
from aios.streams.kafka import Delivery, Place, ensure_topics, read_all
from aios.streams.record import Outgoing, Record
from aios.streams.topology import ADMIT, REPLAY, STAGES
from tests.broker.running import WAIT_S_MAX, running, until

pytestmark = pytest.mark.broker

TOPICS = {
    topic.name: topic
    for topic in (
        *REPLAY.inputs,
        *REPLAY.writes,
        ADMIT.retries,
        topics.DOCUMENT_RECEIVED,
        *(stage.dead_letters for stage in STAGES if stage.reads),
    )
}


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka, registry=RegistrySettings(url=registry_url), home=tmp_path)


def dead(key: str, *, partition: int = 1, offset: int = 7) -> Outgoing:
    record = Record("document.received.v1", partition, offset, 1_000, key.encode(), b"garbage", (("ce_id", b"e"),))
    error = SchemaMismatch("not in Confluent's framing")
    return envelope.wrap(record, Failure(stage=ADMIT, error=error, attempts=1, now_ms=2_000, cluster=key))


def request(letter: Outgoing, place: Place, **changed: Any) -> ReplayRequested:
    letter_id = envelope.headers_said(letter.headers)["id"]
    asked = ReplayRequested(
        replay_id=f"r.{letter_id}",
        dead_letter_id=letter_id,
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        requested_by="ada",
        reason="fixed",
        requested_at=3_000,
    )
    return replace(asked, **changed)


def asking(codec: Codec, one: ReplayRequested) -> Outgoing:
    name = topics.REPLAY_REQUESTED.name
    return Outgoing(name, one.dead_letter_id.encode(), codec.encode(topics.REPLAY_REQUESTED, one))


def test_dead_letters_return_to_their_group_once_and_are_accounted_for(
    settings: Settings, codec: Codec, unique: str
) -> None:
    """The original and a repaired one; asked twice before and after a restart; what cannot be done is no loop."""
    kafka = settings.kafka

    def returned() -> list[Record]:
        return [one for one in read_all(kafka, ADMIT.retries.name) if (one.key or b"").startswith(unique.encode())]

    def refused() -> list[Record]:
        ids = {one.dead_letter_id.encode() for one in impossible}
        return [one for one in read_all(kafka, REPLAY.dead_letters.name) if one.key in ids]

    async def scenario() -> None:
        await ensure_topics(kafka, TOPICS.values())
        out = Delivery(kafka, client_id="test")
        letters = [dead(f"{unique}.{n}", partition=n) for n in range(3)]
        places = await out.deliver_all(letters)
        original, edited = request(letters[0], places[0]), request(letters[1], places[1], value=b"repaired")
        impossible.extend(
            [
                request(letters[2], replace(places[2], offset=10_000_000), replay_id="gone"),
                request(letters[2], places[2], replay_id="other", dead_letter_id=f"{unique}.no such id"),
                request(letters[2], replace(places[2], topic="document.received.v1"), replay_id="forbidden"),
            ]
        )
        await out.deliver_all([asking(codec, one) for one in (original, original, *impossible, edited)])
        async with running(replay.run, settings):
            await until(returned, 2)
            dead_requests = await until(refused, 3)
        await out.deliver_all([asking(codec, one) for one in (original, edited, request(letters[2], places[2]))])
        async with running(replay.run, settings):
            first, second, third = sorted(await until(returned, 3), key=lambda one: one.partition)
        assert [one.value for one in (first, second, third)] == [b"garbage", b"repaired", b"garbage"]
        assert [one.partition for one in (first, second, third)] == [0, 1, 2]
        said = envelope.headers_said(second.headers)
        assert (said["replay.count"], said["replay.by"], said["replay.job"]) == ("1", "ada", edited.replay_id)
        assert said["replay.edited"] == envelope.sha256(b"garbage")
        assert envelope.origin(second) == envelope.Origin("document.received.v1", 1, 7, 1_000)
        assert {envelope.headers_said(one.headers)["reason"] for one in dead_requests} == {"unattributable"}
        assert len(refused()) == 3
        written = [one for one in read_all(kafka, topics.AUDIT_RECORDED.name) if one.header("ce_type")]
        audits = [codec.decode(one.value, AuditRecorded) for one in written]  # others write there without an envelope
        told = [json.loads(one.detail)["replay_id"] for one in audits if one.transition == "replayed"]
        asked = {original.replay_id, edited.replay_id, f"r.{impossible[0].dead_letter_id}"}
        assert sorted(one for one in told if one in asked) == sorted(asked)
        out.close()

    impossible: list[ReplayRequested] = []
    asyncio.run(scenario())


class Died(Exception):
    """In place of a kill: the process leaves at this point, with nothing finished."""


def test_a_process_that_dies_between_its_steps_returns_a_dead_letter_once(
    settings: Settings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step in turn; the retry topic itself says what was delivered."""
    kafka = settings.kafka
    visited: list[str] = []

    def hit(name: str, payload: bytes = b"") -> None:
        visited.append(name)
        if name == dies_at:
            raise Died(name)

    async def scenario() -> None:
        nonlocal dies_at
        await ensure_topics(kafka, TOPICS.values())
        out = Delivery(kafka, client_id="test")
        letter = dead(unique, partition=3)
        await out.deliver(asking(codec, request(letter, await out.deliver(letter))))
        out.close()
        for dies_at in ("replay.taken", "replay.computed", "replay.delivered"):  # noqa: B007 - read by hit()
            with pytest.raises(Died):
                await asyncio.wait_for(replay.run(settings, slot=0, stop=asyncio.Event(), ready=int), WAIT_S_MAX)
        dies_at = ""
        visited.clear()
        async with running(replay.run, settings):
            while "replay.finished" not in visited:  # noqa: ASYNC110 - the stage runs beside
                await asyncio.sleep(0.01)

    dies_at = ""
    monkeypatch.setattr(replay.failpoints, "hit", hit)
    asyncio.run(asyncio.wait_for(scenario(), 2 * WAIT_S_MAX))
    assert len([one for one in read_all(kafka, ADMIT.retries.name) if one.key == unique.encode()]) == 1


def test_bytes_that_did_not_fit_are_fetched_from_where_they_stand(
    settings: Settings, codec: Codec, unique: str
) -> None:
    """A dead letter by reference returns whole."""
    kafka = settings.kafka

    def returned() -> list[Record]:
        return [one for one in read_all(kafka, ADMIT.retries.name) if one.key == unique.encode()]

    async def scenario() -> None:
        await ensure_topics(kafka, TOPICS.values())
        out = Delivery(kafka, client_id="test")
        stood = await out.deliver(Outgoing(topics.DOCUMENT_RECEIVED.name, unique.encode(), b"where it stood", (), 4))
        whole = dead(unique, partition=4)
        ref = f"{stood.topic}/{stood.partition}/{stood.offset}".encode()
        letter = replace(whole, value=None, headers=(*whole.headers, ("aios.dlq.payload_ref", ref)))
        place = await out.deliver(letter)
        await out.deliver(asking(codec, request(letter, place)))
        async with running(replay.run, settings):
            (one,) = await until(returned, 1)
        assert (one.value, one.header("aios.dlq.payload_ref")) == (b"where it stood", None)
        out.close()

    asyncio.run(scenario())


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """`aios …` against this broker and registry, in this process."""
    monkeypatch.setenv("AIOS_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)
    monkeypatch.setenv("AIOS_REGISTRY__URL", settings.registry.url)
    monkeypatch.setenv("AIOS_REDIS__URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("AIOS_HOME", str(settings.home))
    monkeypatch.setenv("USER", "grace")
    monkeypatch.setenv("LOGNAME", "grace")
    config.load.cache_clear()
    yield lambda *words: CliRunner().invoke(aios, ["dlq", *words])
    config.load.cache_clear()


def test_an_operator_finds_a_dead_letter_repairs_it_and_sees_it_replayed(
    settings: Settings, codec: Codec, unique: str, command: Callable[..., Result], tmp_path: Path
) -> None:
    """groups, list, show, replay --dry-run, --bytes; open, requested, replayed; mistakes have their exit codes."""
    kafka = settings.kafka

    def say(*words: str) -> Any:
        done = command(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async def publish() -> None:
        await ensure_topics(kafka, TOPICS.values())
        out = Delivery(kafka, client_id="test")
        await out.deliver_all([dead(f"{unique}.{n}", offset=n) for n in (1, 2, 2)])  # one of them twice
        out.close()

    async def serve() -> None:
        async with running(replay.run, settings):
            await until(
                lambda: [one for one in read_all(kafka, ADMIT.retries.name) if one.key == f"{unique}.2".encode()], 1
            )

    asyncio.run(publish())
    one, two = sorted(
        (each for each in say("list", "--group", "aios.admit", "--limit", "1000") if unique in each["key"]),
        key=lambda each: each["key"],
    )
    assert (two["state"], two["reason"], two["class"], two["attempts"]) == ("open", "undecodable", "permanent", 1)
    kinds = [kind for kind in say("groups") if kind["fingerprint"] == one["fingerprint"]]
    assert len(kinds) == 1
    assert kinds[0]["open"] >= 2
    assert "registry serializer" in kinds[0]["hint"]

    shown = say("show", two["id"][:20])
    assert shown["headers"]["aios.dlq.orig.topic"] == "document.received.v1"
    assert "utf8" not in shown
    assert say("show", two["id"], "--payload")["utf8"] == "garbage"
    assert "garbage" not in command("show", two["id"]).output

    assert say("replay", two["id"], "--dry-run")[0]["replay"] == "would be requested"
    assert say("list", "--key", two["key"])[0]["state"] == "open"

    repaired = tmp_path / "repaired"
    repaired.write_bytes(b"still garbage")
    refused = command("replay", two["id"], "--bytes", str(repaired), "--yes")
    assert refused.exit_code == FAILED
    assert "would fail again" in refused.output
    repaired.write_bytes(codec.encode(topics.DOCUMENT_RECEIVED, DocumentReceived(text="My card is lost")))
    (asked,) = say("replay", two["id"], "--bytes", str(repaired), "--yes", "--reason-text", "repaired by hand")
    assert asked["replay"] == "requested"
    assert say("list", "--key", two["key"], "--state", "all")[0]["state"] == "requested"
    again = say("replay", "--key", two["key"], "--yes")
    assert [each["replay"] for each in again] == ["skipped: requested already"]

    asyncio.run(serve())
    assert say("list", "--key", two["key"], "--state", "replayed")[0]["id"] == two["id"]
    assert [
        each["key"] for each in say("list", "--group", "aios.admit", "--limit", "1000") if unique in each["key"]
    ] == [one["key"]]
    (back,) = [each for each in read_all(kafka, ADMIT.retries.name) if each.key == two["key"].encode()]
    assert envelope.headers_said(back.headers)["replay.by"] == "grace"
    assert codec.decode(back.value, DocumentReceived).text == "My card is lost"

    assert command("show", "00000000-none").exit_code == NOT_FOUND
    assert command("replay").exit_code == USAGE
    assert command("replay", one["id"], "--key", "k").exit_code == USAGE
    assert command("replay", one["id"]).exit_code == USAGE  # nobody can be asked
    assert command("replay", "--key", f"{unique}.none", "--yes").exit_code == NOT_FOUND
    assert "undecodable" in command("list", "--key", one["key"]).output


def test_what_was_delivered_is_known_also_when_retention_was_faster(kafka: KafkaSettings, unique: str) -> None:
    """Records came and were deleted between two looks: the next one goes on with what is left."""
    admin = AdminClient(client(kafka, log_level=0))
    admin.create_topics([NewTopic(unique, 1)])[unique].result(10)
    places = Places(kafka)
    delivered = replay.Delivered(places)
    target = (unique, 0)

    def put(*jobs: str) -> None:
        producer = Producer(client(kafka, log_level=0))
        for job in jobs:
            producer.produce(unique, b"v", headers=[("aios.dlq.replay.job", job.encode())], partition=0)
        assert producer.flush(10) == 0

    try:
        put("r1")
        delivered.look(target, 0)
        put("r2", "r3")
        admin.delete_records([TopicPartition(unique, 0, 2)])[TopicPartition(unique, 0)].result(10)
        delivered.look(target, 0)
        assert [delivered.has(target, job) for job in ("r1", "r2", "r3")] == [True, False, True]
    finally:
        places.close()
