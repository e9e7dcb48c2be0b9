"""The watch as a process on a real broker: planted drift is told once, a planted bad canary goes back once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from aios.dlq.deaths import ALONE_MAX, given_up
from aios.dlq.envelope import Failure, wrap
from aios.infra.cli import aios
from aios.infra.local.valkey import Valkey
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import AuditRecorded, Event, ModelActivated, ModelDrifted
from aios.sinks.watch import state_key
from aios.streams import activations, config, slots, topology
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, cluster_id, ensure_topics, read_all
from aios.streams.record import Outgoing, Record
from aios.streams.topics import AUDIT_RECORDED, INFERENCE_COMPLETED, MODEL_ACTIVATED, MODEL_DRIFTED
from aios.streams.topology import WATCH
from tests.broker import watch_records as records
from tests.broker.running import forget
from tests.broker.test_sinks import KILLED, Sink, dead_keys, garbage

pytestmark = pytest.mark.broker
WAIT_S_MAX = 120.0  # scipy takes seconds of a quiet machine to load, and each life loads it anew
SMALL = {"AIOS_WATCH__REFERENCE_COUNT": "100", "AIOS_WATCH__WINDOW_COUNT": "50", "AIOS_WATCH__WINDOW_MIN": "20"}


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """One to empty."""
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.stop()


def deliver(kafka: KafkaSettings, outs: list[Outgoing]) -> None:
    async def all_of_them() -> None:
        delivery = Delivery(kafka, client_id="test", deliver_s_max=WAIT_S_MAX)
        try:
            await delivery.deliver_all(outs)
        finally:
            delivery.close()

    asyncio.run(all_of_them())


def until(true: Callable[[], bool]) -> None:
    """Fails after a bound."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


class Watched:
    """The stage on a home of its own, and what one model of its own is told and tells."""

    def __init__(self, home: Path, addresses: dict[str, str], kafka: KafkaSettings, codec: Codec, unique: str) -> None:
        self.sink = Sink(WATCH, home, addresses)
        self.addresses = addresses
        self.kafka = kafka
        self.codec = codec
        self.model, self.workflow = f"m{unique}", f"w{unique}"
        self._chance = random.Random(1)
        self._cases = 0

    def answers(self, count: int, *labels: str, version: int = 1, **more: Any) -> None:
        """So many, acknowledged."""
        deliver(self.kafka, [records.outgoing(self.codec, self._answer(labels, version, more)) for _ in range(count)])

    def letters(self, count: int, *, version: int) -> None:
        """So many requests, given up as a worker gives up those that end it."""
        pool = topology.POOLS[0]
        for number in range(count):
            headers = slots.headers(0, 0, f"{self.model}@{version}")
            record = Record(pool.inputs[0].name, 0, number, int(time.time() * 1000), b"k", b"v", headers)
            error = given_up(ALONE_MAX)
            assert error is not None
            failure = Failure(stage=pool, error=error, attempts=1, now_ms=record.timestamp_ms, cluster="")
            deliver(self.kafka, [wrap(record, failure)])

    def _answer(self, labels: tuple[str, ...], version: int, more: dict[str, Any]) -> Any:
        self._cases += 1
        own = {"model": self.model, "workflow": self.workflow, "version": version}
        label = self._chance.choice(labels)
        return records.answer(
            f"{self.model}-{self._cases}", label, confidence=self._chance.uniform(0.5, 1), **own, **more
        )

    def canary(self) -> ModelActivated:
        told = activations.activated(None, self.model, 2, stable=1, canary_permille=100)
        return activations.write(self.kafka, self.codec, told, by="somebody", reason="a test")

    def dies(self, failpoints: str) -> None:
        """One process, ended by SIGKILL there."""
        with self.sink.process(failpoints) as child:
            assert child.wait(WAIT_S_MAX) == KILLED

    def drifted(self) -> list[ModelDrifted]:
        return [one for one in self._all(MODEL_DRIFTED.name, ModelDrifted) if self.workflow in one.subject]

    def activated(self) -> list[ModelActivated]:
        return [one for one in self._all(MODEL_ACTIVATED.name, ModelActivated) if one.model == self.model]

    def audited(self) -> list[AuditRecorded]:
        acts = self._all(AUDIT_RECORDED.name, AuditRecorded)
        return [one for one in acts if one.case_id == f"model:{self.model}" and one.transition == "canary_returned"]

    def has_taken(self) -> bool:
        """Whether Valkey holds the state after every answer of the model."""
        ends = {
            f"position:{one.topic}/{one.partition}": one.offset + 1
            for one in read_all(self.kafka, INFERENCE_COMPLETED.name)
            if (one.key or b"").startswith(self.model.encode())
        }
        with Redis.from_url(self.addresses["AIOS_REDIS__URL"], decode_responses=True) as redis:
            kept = redis.hgetall(state_key(cluster_id(self.kafka)))
        return all(int(kept.get(place, 0)) >= end for place, end in ends.items())

    def shown(self) -> dict[str, Any]:
        """What `aios model watch --json` prints."""
        config.load.cache_clear()
        said = CliRunner().invoke(aios, ["model", "watch", "--json"], env=self.addresses)
        config.load.cache_clear()
        found: dict[str, Any] = json.loads(said.output) if said.exit_code == 0 else {"drift": [], "canaries": []}
        return found

    def _all(self, topic: str, event: type[Any]) -> list[Any]:
        found: list[Event] = []
        for record in read_all(self.kafka, topic):
            with suppress(SchemaMismatch):  # other tests of this broker put there what nobody can read
                found.append(self.codec.decode(record.value, event))
        return found


@pytest.fixture
def watched(  # noqa: PLR0917 - a fixture takes what it stands on
    tmp_path: Path, kafka: KafkaSettings, registry_url: str, codec: Codec, unique: str, valkey: Valkey
) -> Callable[[], Watched]:
    def make() -> Watched:
        forget(kafka, WATCH.group)
        home = tmp_path / "home"
        home.mkdir()
        addresses = {
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": registry_url,
            "AIOS_REDIS__URL": valkey.url,
        }
        return Watched(home, addresses | SMALL, kafka, codec, unique)

    return make


def test_planted_drift_is_told_once_whatever_dies(watched: Callable[[], Watched], valkey: Valkey) -> None:
    """A model that begins to say other labels is found out: one event, though the process is killed before it tells,
    after it has told and before it remembers, and though Valkey is emptied afterwards. Lengths stayed, and stay.
    """
    w = watched()
    w.answers(150, "card", "loan", "mortgage")
    with w.sink.process():
        until(w.has_taken)
    assert w.drifted() == []
    w.answers(50, "fraud", "lawsuit")
    w.dies("watch.telling=kill")
    assert w.drifted() == []
    w.dies("watch.told=kill")
    with w.sink.process():
        until(w.has_taken)
    (found,) = w.drifted()
    assert (found.subject, found.measure) == (f"model:{w.model}@1/{w.workflow}", "labels")
    assert (found.value, found.test, found.reference_count, found.window_count) == (1.0, "chi_square", 100, 50)
    assert found.value > found.limit
    assert found.chance < 0.001
    with Redis.from_url(valkey.url) as redis:
        redis.flushall()
    with w.sink.process():
        until(w.has_taken)
    states = {row["measure"]: row["state"] for row in w.shown()["drift"] if row["subject"] == found.subject}
    assert states == {"labels": "moved", "confidence": "steady", "input_length": "steady", "out_of_scope": "steady"}
    assert w.drifted() == [found]


def test_a_bad_canary_goes_back_once_whatever_dies(watched: Callable[[], Watched]) -> None:
    """It fails a third of its answers: one activation without it, by the watch, and one audit, though the process is
    killed before it tells and after it has told. Answers of the canary that still come bring no second one.
    """
    w = watched()
    before = w.canary()
    w.answers(100, "card", "loan")
    w.answers(20, "card", version=2)
    w.answers(10, "card", version=2, status="failed")
    w.dies("watch.telling=kill")
    assert w.activated() == [before]
    w.dies("watch.told=kill")
    after = w.activated()
    assert [(one.canary_version, one.by) for one in after] == [(2, "somebody"), (0, WATCH.name)]
    w.answers(10, "card", version=2, status="failed")
    with w.sink.process():
        until(w.has_taken)
    assert w.activated() == after
    assert (after[1].version, after[1].canary_permille, after[1].limits) == (1, 0, "")
    assert "of its answers fail" in after[1].reason
    (audit,) = w.audited()
    said = json.loads(audit.detail)
    assert (audit.actor, audit.case_seq, said["measure"], said["canary_version"]) == (WATCH.name, 0, "error_share", 2)
    assert said["why"] == after[1].reason


def test_a_canary_that_ends_its_engine_goes_back(watched: Callable[[], Watched]) -> None:
    """Its requests have no answers: they are dead letters, and three of them are enough."""
    w = watched()
    w.canary()
    w.answers(100, "card", "loan")
    w.letters(2, version=2)
    with w.sink.process():
        until(w.has_taken)
        assert len(w.activated()) == 1
        w.letters(1, version=2)
        until(lambda: len(w.activated()) == 2)
    (_, after) = w.activated()
    assert (after.version, after.canary_version, after.by) == (1, 0, WATCH.name)
    assert "3 of its requests ended their engine" in after.reason


def test_a_good_canary_stays_and_is_shown(watched: Callable[[], Watched]) -> None:
    """As many failures as beside it end nothing; `aios model watch` says how both stand. A record that nobody can read
    is a dead letter, and stops nothing.
    """
    w = watched()
    w.canary()
    for version, count in ((1, 190), (2, 40)):
        w.answers(count, "card", "loan", version=version)
        w.answers(count // 20, "card", version=version, status="failed")
    deliver(w.kafka, [garbage(WATCH.reads[0].name, f"bad-{w.model}")])
    with w.sink.process():
        until(w.has_taken)
        rows = [one for one in w.shown()["canaries"] if one["canary"] == f"{w.model}@2"]
        until(lambda: f"bad-{w.model}" in dead_keys(w.kafka, WATCH))
    errors = rows[0]
    assert [one["measure"] for one in rows] == ["error_share", "latency_ratio", "override_share"]
    assert (errors["of canary"], errors["of stable"], errors["counted"]) == ("4.8%", "4.5%", "42 and 199")
    assert len(w.activated()) == 1
