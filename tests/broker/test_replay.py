"""The replay stage on a real broker and registry, in processes that are killed: what is asked happens once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from aios.dlq import commands, envelope, filters, jobs, parking
from aios.dlq.commands import JobCommand, Kind, LetterCommand, PlanCommand, Target
from aios.dlq.decide import Throttled
from aios.dlq.envelope import Failure
from aios.dlq.jobs import job_key
from aios.dlq.places import Places
from aios.processors.replay import positions
from aios.processors.replaying.missed import MissedWalk
from aios.processors.replaying.walk import Found, Nothing
from aios.schemas.codec import Codec
from aios.schemas.models import (
    AuditRecorded,
    BreakerChanged,
    DocumentReceived,
    Event,
    LetterChanged,
    OperationAnswered,
    ReplayRemembered,
)
from aios.streams import principals, reference, topics, topology
from aios.streams.admin import reader, record_of
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Reason, RecordError, SchemaMismatch
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.record import Outgoing, Record
from aios.streams.topology import ADMIT, PLAN, REPLAY, RETRY
from aios.streams.wall_clock import wall_ms
from tests.fakes.breakers import open_breaker

pytestmark = pytest.mark.broker
WAIT_S_MAX = 60.0
NOWHERE = 1_000_000  # an offset that nothing here comes to


class Stage:
    """One process of the stage at a time, started again whenever it ends, each time with other failpoints."""

    def __init__(self, kafka: KafkaSettings, registry_url: str, home: Path) -> None:
        self._environment = os.environ | {
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": registry_url,
            "AIOS_HOME": str(home),
            "PYTHONSAFEPATH": "1",
        }
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.failpoints: list[str] = []
        self.exits: list[int] = []

    def alive(self) -> None:
        """Start one if there is none."""
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self.exits.append(status)
        armed = self.failpoints.pop(0) if self.failpoints else ""
        with (self._home / "replay.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aios.infra.stage", "replay", "--slot", "0"],
                stdout=log,
                stderr=log,
                env=self._environment | {"AIOS_FAILPOINTS": armed},
            )

    def until(self, found: Callable[[], Any]) -> Any:
        """What is found, when there is something. Fails with the process's words."""
        deadline = time.monotonic() + WAIT_S_MAX
        while True:
            self.alive()
            what = found()
            if what:
                return what
            assert time.monotonic() < deadline, (self._home / "replay.log").read_text(errors="replace")[-4000:]
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Tail:
    """A topic as it grows, from its beginning, committed records only; without a new consumer at each look."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._consumer = reader(kafka)
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in partitions])
        self._records: list[Record] = []

    def look(self) -> list[Record]:
        """All that came so far."""
        found = self._consumer.consume(1_000, 0.05)
        self._records.extend(record_of(one) for one in found if one.error() is None)
        return self._records

    def close(self) -> None:
        self._consumer.close()


class Desk:
    """Operators, without HTTP: requests in, answers out."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, unique: str, stage: Stage) -> None:
        self.kafka, self.codec, self.unique, self.stage = kafka, codec, unique, stage
        self.ada, self.kim = f"ada-{unique}", f"kim-{unique}"
        principals.register(kafka, codec, self.ada, roles=["operator"])
        principals.register(kafka, codec, self.kim, roles=["approver"])
        self._count = 0
        assert REPLAY.changelog is not None
        self._answers = Tail(kafka, topics.OPERATION_ANSWERED.name)
        self._states = Tail(kafka, REPLAY.changelog.name)

    def close(self) -> None:
        self.stage.kill()
        self._answers.close()
        self._states.close()

    def deliver(self, *outs: Outgoing) -> list[Any]:
        async def send() -> list[Any]:
            delivery = Delivery(self.kafka, client_id="test")
            try:
                return list(await delivery.deliver_all(outs))
            finally:
                delivery.close()

        return asyncio.run(send())

    def ask(self, by: str, command: commands.Command, object_id: str = "", value: bytes | None = None) -> Any:
        self._count += 1
        asked = commands.requested(
            command,
            object_id=object_id,
            principal=by,
            key=f"{self.unique}.{self._count}",
            reason="as the test says",
            now_ms=wall_ms(),
            value=value,
        )
        topic = topics.OPERATION_REQUESTED
        self.deliver(Outgoing(topic.name, asked.object_id.encode(), self.codec.encode(topic, asked)))
        mine = asked.command_id.encode()
        answers = self.stage.until(lambda: [one for one in self._answers.look() if one.key == mine])
        return self.codec.decode(answers[0].value, OperationAnswered)

    def events(self, kind: type[Any]) -> list[Any]:
        """Those that this test's letters and jobs are about are for the caller to choose."""
        return [self.codec.decode(one.value, kind) for one in self.written(kind) if one.header("ce_type")]

    def written(self, kind: type[Event]) -> Iterator[Record]:
        return read_all(self.kafka, kind.contract)

    def job(self, job_id: str) -> ReplayRemembered:
        found = self.stage.until(lambda: [one for one in self._states.look() if one.key == job_key(job_id)])
        return self.codec.decode(found[-1].value, ReplayRemembered)

    def began_ms(self, job_id: str) -> int:
        """When the broker took the first record that says it runs."""
        states = [one for one in self._states.look() if one.key == job_key(job_id)]
        return next(
            one.timestamp_ms for one in states if self.codec.decode(one.value, ReplayRemembered).state == "running"
        )

    def planned(self, **plan: Any) -> str:
        answer = self.ask(self.ada, PlanCommand(**plan))
        assert answer.status == "done", answer.detail
        self.stage.until(lambda: json.loads(self.job(answer.object_id).report)["complete"])
        assert self.ask(self.kim, JobCommand(kind=Kind.APPROVE), answer.object_id).status == "done"
        return str(answer.object_id)

    def ran(self, job_id: str) -> ReplayRemembered:
        assert self.ask(self.ada, JobCommand(kind=Kind.RUN), job_id).status == "done"
        self.stage.until(lambda: self.job(job_id).state == "done")
        return self.job(job_id)

    def letters(self, count: int, value: bytes = b"garbage") -> list[str]:
        """Dead letters of this test's own tenant, of places where no record stands; their ids."""
        outs = [self._dead(number, value) for number in range(count)]
        self.deliver(*outs)
        return [envelope.headers_said(one.headers)["id"] for one in outs]

    def _dead(self, number: int, value: bytes) -> Outgoing:
        headers = (("aios-tenant", self.unique.encode()),)
        now_ms = wall_ms()
        record = Record(
            "document.received.v1",
            number % 6,
            NOWHERE + number,
            now_ms,
            f"{self.unique}.{number}".encode(),
            value,
            headers,
        )
        error = SchemaMismatch("not in Confluent's framing")
        return envelope.wrap(record, Failure(stage=ADMIT, error=error, attempts=1, now_ms=now_ms, cluster=self.unique))

    @property
    def now_ms(self) -> int:
        return wall_ms()

    def failed(self, record: Record, stage: topology.Stage, error: Exception) -> Outgoing:
        """The dead letter of a record."""
        failure = Failure(stage=stage, error=error, attempts=1, now_ms=self.now_ms, cluster=self.unique)
        return envelope.wrap(record, failure)

    def returned(self) -> list[Record]:
        mine = self.unique.encode()
        return [one for one in read_all(self.kafka, ADMIT.retries.name) if (one.key or b"").startswith(mine)]

    @property
    def mine(self) -> str:
        return json.dumps({"tenant": self.unique})


@pytest.fixture
def desk(kafka: KafkaSettings, registry_url: str, codec: Codec, unique: str, tmp_path: Path) -> Iterator[Desk]:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    made = Desk(kafka, codec, unique, Stage(kafka, registry_url, tmp_path))
    yield made
    made.close()


def test_a_stage_killed_at_every_step_of_a_job_returns_each_letter_once(desk: Desk) -> None:
    """kill -9 before, in and after transactions, in planning and running; a second job finds nothing to do."""
    letters = desk.letters(90)
    steps = ("computed", "produced", "delivered", "committed")
    desk.stage.failpoints = [f"replay.{step}=kill@2" for step in steps]
    job = desk.ran(desk.planned(filter=desk.mine, rate_per_s=45))  # enough transactions for the last step's second
    assert desk.stage.exits == [-signal.SIGKILL] * len(desk.stage.exits)
    assert len(desk.stage.exits) == len(steps)
    assert (job.selected, job.replayed, dict(job.skipped)) == (90, 90, {})
    again = desk.ran(desk.planned(filter=desk.mine))
    assert (again.selected, again.replayed) == (0, 0)
    ids = Counter(one.header("aios.dlq.id") for one in desk.returned())
    assert ids == Counter(letters)
    changes = Counter(one.letter_id for one in desk.events(LetterChanged) if one.tenant == desk.unique)
    assert changes == Counter(letters)
    audits = [one for one in desk.events(AuditRecorded) if one.tenant == desk.unique]
    assert Counter(one.case_id for one in audits if one.transition == "replayed") == Counter(letters)
    assert Counter(one.transition for one in audits if one.case_id == job.job_id) == Counter(
        replay_planned=1, replay_approved=1, replay_started=1, replay_done=1
    )


def test_a_job_is_never_faster_than_its_rate(desk: Desk) -> None:
    """By more than 5 % over 5 s, by the broker's timestamps from where the job is said to run, and by its own count.

    Slower is `aios bench replay`'s.
    """
    desk.letters(560)
    job_id = desk.planned(filter=desk.mine, rate_per_s=100)
    assert desk.ask(desk.ada, JobCommand(kind=Kind.RUN), job_id).status == "done"
    job = desk.stage.until(lambda: (job := desk.job(job_id)).state == "done" and job)
    stamps = [one.timestamp_ms for one in desk.returned()]
    assert len(stamps) == 560
    took_ms = max(stamps) - desk.began_ms(job_id)
    assert len(stamps) / took_ms * 1000 <= 105
    assert len(stamps) / job.took_ms * 1000 <= 105


def test_an_operator_repairs_a_letter_and_another_one_lets_it_go(desk: Desk) -> None:
    """Through broker and registry: refused, edited, approved, returned; a breaker closed for all to read."""
    (letter,) = desk.letters(1, desk.codec.encode(topics.DOCUMENT_RECEIVED, DocumentReceived(text="first")))
    (stands,) = [one for one in read_all(desk.kafka, ADMIT.dead_letters.name) if one.header("aios.dlq.id") == letter]
    place = (stands.topic, stands.partition, stands.offset)
    edit = LetterCommand(kind=Kind.EDIT, place=place, generation=0)
    assert desk.ask(desk.ada, edit, letter, b"no avro").problem == "does_not_fit"
    assert desk.ask("nobody", edit, letter, b"x").problem == "unknown_principal"
    patch = '[{"op": "replace", "path": "/text", "value": "second"}]'
    patched = LetterCommand(kind=Kind.EDIT, place=place, generation=0, patch=patch)
    after = json.loads(desk.ask(desk.ada, patched, letter).result)["hash_after"]
    approve = LetterCommand(kind=Kind.APPROVE_EDIT, place=place, generation=0, hash_after=after)
    assert desk.ask(desk.ada, approve, letter).problem == "role_missing"
    assert desk.ask(desk.kim, approve, letter).status == "done"
    assert desk.ran(desk.planned(filter=desk.mine)).replayed == 1
    (back,) = desk.returned()
    assert desk.codec.decode(back.value, DocumentReceived).text == "second"

    breaker = open_breaker("aios.plan", tenant=desk.unique, at=1)
    key = breaker.key
    reference.write(desk.kafka, desk.codec, topics.BREAKER_CHANGED, breaker, name=key, tenant=desk.unique, seed="f")
    desk.stage.until(lambda: desk.ask(desk.ada, commands.BreakerCommand(), key).status == "done")
    assert [one.state for one in desk.events(BreakerChanged) if one.key == key][-1] == "closed"


def test_a_letter_by_reference_and_parked_ones_come_back_whole_and_in_order(desk: Desk) -> None:
    """The bytes from where they were left; the letters of a key by their ordinals, with those behind the chosen one."""
    many = tuple((f"x{number}", b"") for number in range(envelope.HEADERS_MAX + 1))
    (at,) = desk.deliver(Outgoing(topics.DOCUMENT_RECEIVED.name, f"{desk.unique}.large".encode(), b"as it was", many))
    large = Record(at.topic, at.partition, at.offset, desk.now_ms, f"{desk.unique}.large".encode(), b"as it was", many)
    left = desk.failed(large, ADMIT, SchemaMismatch("no"))
    assert (left.value, "aios.dlq.payload_ref" in dict(left.headers)) == (None, True)
    head = Record(topics.CASE_ADMITTED.name, 1, 5, desk.now_ms, f"{desk.unique}.case".encode(), b"garbage")
    waits = RecordError("behind another", Reason.PARKED)
    behind = [desk.failed(replace(head, offset=each), PLAN, waits) for each in (6, 7)]
    desk.deliver(
        left,
        parking.marked(behind[1], 43),
        parking.marked(desk.failed(head, PLAN, SchemaMismatch("no")), 41),
        parking.marked(behind[0], 42),
    )
    assert desk.ran(desk.planned(filter=json.dumps({"key": f"{desk.unique}.large"}))).replayed == 1
    (back,) = desk.returned()
    assert (back.value, back.key, back.header("aios.dlq.payload_ref")) == (large.value, large.key, None)
    assert tuple(envelope.foreign(back.headers)) == many
    chosen = {"group": PLAN.group, "key": f"{desk.unique}.case", "reason": "undecodable"}
    assert desk.ran(desk.planned(filter=json.dumps(chosen))).replayed == 3
    back_again = [one for one in read_all(desk.kafka, PLAN.retries.name) if one.key == head.key]
    assert [one.header(parking.ORDINAL) for one in back_again] == ["41", "42", "43"]


def test_an_event_that_admit_passed_over_is_found_by_its_place(
    kafka: KafkaSettings, codec: Codec, desk: Desk, unique: str
) -> None:
    """Below admit's position, with neither case nor refusal nor dead letter; not one that died, nor one that waits.

    What waits and was committed went on, and is to be found elsewhere.
    """
    source, key, tier = topics.DOCUMENT_RECEIVED.name, unique.encode(), topics.RETRY_TIERS[2]
    over, died, went_on, waits, later = desk.deliver(*(Outgoing(source, key, b"x", (), 0) for _ in range(5)))
    record = Record(source, 0, died.offset, desk.now_ms, key, b"x")
    desk.deliver(desk.failed(record, ADMIT, SchemaMismatch("no")))
    failure = Failure(stage=ADMIT, error=Throttled("x"), attempts=0, now_ms=desk.now_ms, cluster=unique)
    _, waiting = desk.deliver(
        *(envelope.waiting(replace(record, offset=each.offset), failure, tier) for each in (went_on, waits))
    )
    places = Places(kafka)
    groups = [
        Consumer(client(kafka, **{"group.id": stage.group, "enable.auto.commit": False})) for stage in (ADMIT, RETRY)
    ]
    try:
        for group, at in zip(groups, (later, waiting), strict=True):
            group.commit(offsets=[TopicPartition(at.topic, at.partition, at.offset)], asynchronous=False)
        marks = {f"{source}/0": later.offset}
        assert positions(kafka).items() >= {**marks, f"{tier.topic.name}/0": waiting.offset}.items()
        plan = PlanCommand(target=Target.MISSED, filter=json.dumps({"key": unique}))
        job = jobs.planned("job", plan, marks, by="ada", reason="", now_ms=desk.now_ms + 60_000)
        walk = MissedWalk(
            job,
            places,
            codec,
            cluster=unique,
            selected=filters.parse(plan.filter),
            settled_after_ms=0,
            positions=lambda: positions(kafka),
            partitions=kafka.partitions,
        )
        reads = iter(lambda: walk.read(lambda _: False), Nothing(over=True))
        found = [read for read in reads if isinstance(read, Found) and read.selected]
    finally:
        for group in groups:
            group.close()
        places.close()
    assert [one.letter.place for one in found] == [(source, 0, over.offset), (source, 0, went_on.offset)]


def test_a_letter_that_ends_who_decodes_it_is_found_by_the_third_process(desk: Desk) -> None:
    """Dead for another reason, it ends the dry run's process by SIGSEGV twice, and is reported; nobody waits for it."""
    killer = desk.codec.encode(topics.DOCUMENT_RECEIVED, DocumentReceived(text=f"SEGV {desk.unique}"))
    desk.letters(1, killer)
    desk.stage.failpoints = [f"admit.decode=segv:{desk.unique}"] * 3
    report = json.loads(desk.job(desk.planned(filter=desk.mine)).report)
    assert desk.stage.exits == [-signal.SIGSEGV] * 2
    assert report["groups"][ADMIT.group]["fails"] == {"kills_its_process": 1}
