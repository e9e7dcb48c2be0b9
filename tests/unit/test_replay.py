"""replay's core: what operators ask happens once, to whom they may, whatever dies in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, TypeVar

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import commands, edits, envelope, jobs, letter_states, parking
from aios.dlq.answers import Answers
from aios.dlq.commands import Action, BreakerCommand, JobCommand, Kind, LetterCommand, Order, PlanCommand, Target
from aios.dlq.dead_letter import DeadLetter, letter_of
from aios.dlq.deaths import ALONE_MAX
from aios.dlq.decide import Throttled
from aios.dlq.jobs import BURST_S, Bucket, JobState
from aios.dlq.letter_states import Skip
from aios.processors import replay
from aios.processors.admit import Admit
from aios.processors.language.workflow_files import shipped
from aios.processors.plan import Plan
from aios.processors.replay import Replay, World
from aios.processors.replaying import jobs as replaying
from aios.processors.replaying import missed, recent, sweep, walk
from aios.processors.replaying.prints import Prints
from aios.processors.replaying.probe import Probes
from aios.processors.replaying.turn import Turn
from aios.processors.stateful.state import Effects, StateView
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    AuditRecorded,
    BreakerChanged,
    DocumentReceived,
    Event,
    InferenceRequested,
    LetterChanged,
    LetterRemembered,
    OperationAnswered,
    OperationRequested,
    PrincipalRegistered,
    ReplayRemembered,
    TenantRegistered,
)
from aios.streams import model_files, topics, topology
from aios.streams.config import KafkaSettings
from aios.streams.durations import DAY_MS, HOUR_MS
from aios.streams.errors import Reason, RecordError, SchemaMismatch, Unavailable
from aios.streams.record import Outgoing, Record
from aios.streams.system_files import Effect
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import ADMIT, PLAN, Stage
from tests.fakes import admissions, calls
from tests.fakes.breakers import open_breaker
from tests.fakes.gateway import Roads
from tests.fakes.registry import FakeRegistry

REGISTRY = FakeRegistry()
CODEC = Codec(REGISTRY)
E = TypeVar("E", bound=Event)
NOW_MS = 1_800_000_000_000
PARTITIONS = 2
PEOPLE = {
    "ada": ("operator",),
    "eve": ("operator", "approver"),
    "kim": ("approver",),
    "lou": ("analyst",),
}


@dataclass
class Shelf:
    """The dead-letter topics and others, in memory; offsets of a partition from `low` on.

    away: places that cannot be asked where they end (`ends`), or for records by their offsets (`fetch`).
    """

    logs: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    low: dict[tuple[str, int], int] = field(default_factory=dict)
    away: set[tuple[str, str, int]] = field(default_factory=set)

    def _ask(self, what: str, topic: str, partition: int) -> None:
        if (what, topic, partition) in self.away:
            raise Unavailable(f"{topic}/{partition} is away")

    def put(self, topic: str, out: Outgoing, at_ms: int = NOW_MS) -> Record:
        partition = out.partition or 0
        log = self.logs.setdefault((topic, partition), [])
        log.append(Record(topic, partition, len(log), at_ms, out.key, out.value, out.headers))
        return log[-1]

    def fetch(self, wanted: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int, int], Record]:
        wanted = list(wanted)
        for topic, partition, _ in wanted:
            self._ask("fetch", topic, partition)
        return {
            (topic, partition, offset): self.logs[topic, partition][offset]
            for topic, partition, offset in wanted
            if self.low.get((topic, partition), 0) <= offset < len(self.logs.get((topic, partition), ()))
        }

    def scan(self, topic: str, partition: int, first: int, stop: int) -> Iterator[Record]:
        yield from self.logs.get((topic, partition), [])[first:stop]

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        self._ask("ends", topic, partition)
        return self.low.get((topic, partition), 0), len(self.logs.get((topic, partition), ()))

    def close(self) -> None: ...


class Memory(dict[bytes, bytes]):
    """What the store would remember."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((key, value) for key, value in list(self.items()) if key.startswith(prefix))


@dataclass
class People:
    roles: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(PEOPLE))
    tenants: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, name: str) -> PrincipalRegistered | None:
        if name not in self.roles:
            return None
        return PrincipalRegistered(
            name=name,
            roles=self.roles[name],
            tenants=self.tenants.get(name, ()),
            token_hashes=(),
            active=True,
            registered_at=0,
        )


class Tenants:
    def get(self, name: str) -> TenantRegistered | None:
        return TenantRegistered(tenant=name, key_hashes=(), active=True, registered_at=0) if name == "demo" else None


@dataclass
class Marks:
    """Hands that outlive the process: what was in one when it ended."""

    hand: str = ""
    deaths: Counter[str] = field(default_factory=Counter)

    def opened(self) -> None:
        if self.hand:
            self.deaths[self.hand] += 1
        self.hand = ""

    def begin(self, name: str) -> None:
        self.hand = name

    def end(self) -> None:
        if not isinstance(sys.exception(), Segfault):
            self.hand = ""

    def is_given_up(self, name: str) -> bool:
        return self.deaths[name] >= ALONE_MAX


class Segfault(BaseException):
    """The process is gone."""


class Desk:
    """The stage on the shelf: every request and every turn of work is a transaction that is kept or lost whole."""

    def __init__(self, **changed: Any) -> None:
        self.shelf, self.people, self.breakers = Shelf(), People(), dict[str, BreakerChanged]()
        self.memory, self.told = Memory(), list[Outgoing]()
        self.now_ms, self.passed_s, self.asked = NOW_MS, 0.0, 0
        self.positions: dict[str, int] = {}
        self.marks = Marks()
        self.changed = changed
        self.start()

    def start(self) -> None:
        """A new process."""
        world = World(
            source=lambda: self.shelf,
            positions=lambda: self.positions,
            principals=self.people,
            breakers=self.breakers,
            probe=Probes(CODEC, Admit(CODEC, Tenants(), shipped(), "demo"), Plan(CODEC, shipped(), PARTITIONS)),
            hands=self.marks,
            cluster="cluster",
            default_tenant="demo",
            partitions=PARTITIONS,
            monotonic=lambda: self.passed_s,
        )
        self.core = Replay(CODEC, replace(world, **self.changed))
        self.core.opened(self.memory)

    def ask(self, by: str, command: commands.Command, object_id: str = "", **more: Any) -> OperationAnswered:
        self.asked += 1
        asked = commands.requested(
            command,
            object_id=object_id,
            principal=by,
            key=more.pop("key", f"k{self.asked}"),
            reason="as the test says",
            now_ms=self.now_ms,
            **more,
        )
        self.keep(self.core.step(_asked(asked, self.asked), self.memory, self.now_ms))
        return self.events(OperationAnswered)[-1]

    def keep(self, effects: Effects) -> None:
        self.told.extend(effects.outputs)
        for key, value in effects.changes.items():
            if value is None:
                self.memory.pop(key, None)
            else:
                self.memory[key] = value

    def turn(self, *, dies: bool = False) -> int | None:
        """One turn of work; dies: before its transaction."""
        self.now_ms, self.passed_s = self.now_ms + 10, self.passed_s + 0.01
        work = self.core.work(self.memory, self.now_ms)
        if dies:
            self.start()
            return 0
        if work.effects is not None:
            self.keep(work.effects)
        return work.again_in_ms

    def work(self) -> None:
        """Until nothing is due."""
        for _ in range(10_000):
            if self.turn() != 0:
                return
        raise AssertionError("it never ends")

    def run(self, by: str = "ada", approver: str = "kim", **plan: Any) -> str:
        """A job from its plan to its end; its id."""
        planned = self.ask(by, PlanCommand(**plan))
        assert planned.status == "done", planned.detail
        self.work()
        for who, kind in ((approver, Kind.APPROVE), (by, Kind.RUN)):
            assert self.ask(who, JobCommand(kind=kind), planned.object_id).status == "done"
        self.work()
        return planned.object_id

    def job(self, job_id: str) -> ReplayRemembered:
        return CODEC.decode(self.memory[jobs.job_key(job_id)], ReplayRemembered)

    def letter(self, letter_id: str) -> LetterRemembered:
        return CODEC.decode(self.memory[letter_states.letter_key(letter_id)], LetterRemembered)

    def events(self, kind: type[E]) -> list[E]:
        return [CODEC.decode(one.value, kind) for one in self.told if one.topic == kind.contract]

    def returned(self) -> list[Outgoing]:
        return [one for one in self.told if one.topic.endswith(".retry") and parking.CONTROL not in dict(one.headers)]

    def controls(self) -> list[str]:
        return [
            dict(one.headers)[parking.ORDINAL].decode() for one in self.told if parking.CONTROL in dict(one.headers)
        ]

    # dead letters

    def dead(
        self,
        key: str,
        *,
        stage: Stage = ADMIT,
        value: bytes | None = b"garbage",
        error: Exception | None = None,
        ordinal: int | None = None,
        partition: int = 0,
        orig: str = "",
        at_ms: int = NOW_MS - 1_000,
        tenant: str = "demo",
    ) -> DeadLetter:
        topic = orig or stage.reads[0].name
        offset = sum(map(len, self.shelf.logs.values()))
        record = Record(topic, partition, offset, at_ms, key.encode(), value, (("aios-tenant", tenant.encode()),))
        return self.fail(record, stage, error or SchemaMismatch("not in Confluent's framing"), ordinal, at_ms)

    def fail(
        self, record: Record, stage: Stage, error: Exception, ordinal: int | None = None, at_ms: int = NOW_MS
    ) -> DeadLetter:
        failure = envelope.Failure(stage=stage, error=error, attempts=1, now_ms=at_ms, cluster="cluster")
        out = parking.marked(envelope.wrap(record, failure), ordinal)
        letter = letter_of(self.shelf.put(stage.dead_letters.name, out, at_ms))
        assert letter is not None
        return letter

    def fail_again(self, out: Outgoing, stage: Stage = ADMIT, error: Exception | None = None) -> DeadLetter:
        record = Record(out.topic, out.partition or 0, 0, self.now_ms, out.key, out.value, out.headers)
        ordinal = parking.ordinal_of(record)
        return self.fail(record, stage, error or SchemaMismatch("again"), ordinal, self.now_ms)


def _asked(request: OperationRequested, offset: int = 0) -> Record:
    value = CODEC.encode(topics.OPERATION_REQUESTED, request)
    return Record(topics.OPERATION_REQUESTED.name, 0, offset, request.requested_at, b"k", value)


def about(letter: DeadLetter, kind: Kind, **more: Any) -> LetterCommand:
    return LetterCommand(kind=kind, place=letter.place, generation=letter.generation, **more)


def strangers(name: str, fields: list[dict[str, str]], **values: Any) -> bytes:
    """A value under a schema that somebody else registered in our namespace."""
    schema = {"type": "record", "name": name, "namespace": "aios.document", "fields": fields}
    out = BytesIO()
    out.write(b"\0" + REGISTRY.add(schema).to_bytes(4, "big"))
    schemaless_writer(out, parse_schema(schema), values)
    return out.getvalue()


def document(text: str = "My card is lost", **more: Any) -> bytes:
    return CODEC.encode(topics.DOCUMENT_RECEIVED, DocumentReceived(text=text, channel="letter", **more))


def test_a_job_goes_from_plan_to_done_and_everything_it_returns_is_accounted_for() -> None:
    """Dry run, another principal's approval, run; each letter returns with its headers, its change and its audit."""
    desk = Desk()
    letters = [desk.dead(f"k{n}", partition=n % PARTITIONS) for n in range(7)]
    job_id = desk.run(filter=json.dumps({"group": "aios.admit"}))
    job = desk.job(job_id)
    assert (job.state, job.selected, job.replayed, job.skipped) == ("done", 7, 7, {})
    back = desk.returned()
    assert {one.key for one in back} == {f"k{n}".encode() for n in range(7)}
    assert {(one.topic, one.partition) for one in back} == {("aios.admit.retry", 0), ("aios.admit.retry", 1)}
    said = envelope.headers_said(back[0].headers)
    assert (said["replay.count"], said["replay.by"], said["replay.job"]) == ("1", "ada", job_id)
    assert said["orig.topic"] == "document.received.v1"
    changes = desk.events(LetterChanged)
    assert {one.letter_id for one in changes} == {one.id for one in letters}
    assert {one.state for one in changes} == {"replayed"}
    audits = Counter(one.transition for one in desk.events(AuditRecorded))
    assert audits == Counter(replayed=7, replay_planned=1, replay_approved=1, replay_started=1, replay_done=1)
    assert desk.run(filter=json.dumps({"group": "aios.admit"})) != job_id  # the same again
    assert len(desk.returned()) == 7


def test_nobody_approves_what_he_planned_or_edited_and_roles_are_todays() -> None:
    """Four eyes at jobs and edits; a role that is missing, a name nobody knows, a right that was taken away since."""
    desk = Desk()
    letter = desk.dead("k", value=document())
    job_id = desk.ask("eve", PlanCommand()).object_id
    assert desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id).problem == "wrong_state"  # its dry run goes on
    desk.work()
    for who, problem in (("eve", "same_principal"), ("ada", "role_missing"), ("zoe", "unknown_principal")):
        assert desk.ask(who, JobCommand(kind=Kind.APPROVE), job_id).problem == problem
    assert desk.ask("eve", JobCommand(kind=Kind.RUN), job_id).problem == "wrong_state"
    assert desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id).status == "done"
    edit = about(letter, Kind.EDIT, patch='[{"op": "replace", "path": "/text", "value": "My PIN"}]')
    after = json.loads(desk.ask("eve", edit, letter.id).result)["hash_after"]
    assert desk.ask("eve", about(letter, Kind.APPROVE_EDIT, hash_after=after), letter.id).problem == "same_principal"
    assert desk.ask("kim", about(letter, Kind.APPROVE_EDIT, hash_after="0" * 64), letter.id).problem == "changed"
    del desk.people.roles["kim"]
    assert desk.ask("eve", JobCommand(kind=Kind.RUN), job_id).problem == "role_missing"
    desk.people.roles["kim"] = ("approver",)
    assert desk.ask("eve", JobCommand(kind=Kind.RUN), job_id).status == "done"
    desk.people.roles["eve"] = ("analyst",)
    desk.work()
    assert (desk.job(job_id).state, desk.returned()) == ("paused", [])


def test_who_acts_for_some_tenants_touches_no_others() -> None:
    """Letters and jobs; a job without a tenant is about all."""
    desk = Desk()
    desk.people.tenants["ada"] = ("demo",)
    mine, other = desk.dead("a"), desk.dead("b", tenant="other")
    assert desk.ask("ada", about(other, Kind.DISCARD), other.id).problem == "other_tenant"
    assert desk.ask("ada", PlanCommand()).problem == "other_tenant"
    desk.run(filter=json.dumps({"tenant": "demo"}))
    assert [dict(one.headers)["aios.dlq.id"].decode() for one in desk.returned()] == [mine.id]


def test_an_edit_returns_only_once_it_is_approved_and_keeps_both_hashes() -> None:
    """Patched under its contract; unapproved it is passed over; the original's hash travels with the edited bytes."""
    desk = Desk()
    letter = desk.dead("k", value=document("first"), error=RecordError("x", Reason.UNKNOWN))
    edit = about(letter, Kind.EDIT, patch='[{"op": "replace", "path": "/text", "value": "second"}]')
    answer = desk.ask("ada", edit, letter.id)
    hashes = json.loads(answer.result)
    assert hashes["hash_before"] == envelope.sha256(document("first"))
    first = desk.job(desk.run())
    assert (first.skipped, desk.returned()) == ({"edit_unapproved": 1}, [])
    approve = about(letter, Kind.APPROVE_EDIT, hash_after=hashes["hash_after"])
    assert desk.ask("kim", approve, letter.id).status == "done"
    desk.run()
    (back,) = desk.returned()
    assert CODEC.decode(back.value, DocumentReceived).text == "second"
    assert envelope.headers_said(back.headers)["replay.edited"] == hashes["hash_before"]
    changed = desk.events(LetterChanged)[-1]
    assert (changed.state, changed.edit_hash_before) == ("replayed", hashes["hash_before"])
    assert changed.edit_hash_after == envelope.sha256(back.value) == hashes["hash_after"]
    assert desk.letter(letter.id).edit is None


def test_an_edit_that_was_approved_by_whom_may_not_any_more_does_not_return() -> None:
    """Roles are those of the moment; once he may again, or another approves, it returns."""
    desk = Desk()
    letter = desk.dead("k", value=document("first"), error=RecordError("x", Reason.UNKNOWN))
    edit = about(letter, Kind.EDIT, patch='[{"op": "replace", "path": "/text", "value": "second"}]')
    after = json.loads(desk.ask("ada", edit, letter.id).result)["hash_after"]
    assert desk.ask("kim", about(letter, Kind.APPROVE_EDIT, hash_after=after), letter.id).status == "done"
    desk.people.roles["max"] = ("approver",)
    del desk.people.roles["kim"]
    assert desk.job(desk.run(approver="max")).skipped == {"edit_unapproved": 1}
    assert desk.returned() == []
    desk.people.roles["kim"] = ("approver",)
    assert desk.job(desk.run(approver="max")).replayed == 1


@pytest.mark.parametrize(
    ("value", "patch", "words"),
    [
        (b"garbage", '[{"op":"add","path":"/text","value":"x"}]', "does not decode"),
        (document(), '[{"op":"add","path":"/nothing","value":"x"}]', "unexpected keyword argument 'nothing'"),
        (document(), '[{"op":"replace","path":"/text","value":7}]', "does not hold"),
        (document(), '[{"op":"test","path":"/text","value":"other"}]', "test of the patch"),
        (document(), '[{"op":"remove","path":"/nowhere"}]', "does not apply"),
        (document(), '[{"op":"replace","path":"","value":[]}]', "no object"),
        (
            document("x" * 400_000),
            '[{"op":"copy","from":"","path":"/a"},{"op":"copy","from":"","path":"/b"}]',
            "larger",
        ),
    ],
)
def test_an_edit_that_would_fail_again_is_refused_with_what_does_not_fit(value: bytes, patch: str, words: str) -> None:
    """And nothing is remembered of it; no payload is in the words."""
    desk = Desk()
    letter = desk.dead("k", value=value)
    answer = desk.ask("ada", about(letter, Kind.EDIT, patch=patch), letter.id)
    assert (answer.status, answer.problem) == ("refused", "does_not_fit")
    assert words in answer.detail
    assert "card is lost" not in answer.detail
    assert not list(desk.memory.scan(b"letter:"))
    bytes_ = desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=b"still garbage")
    assert bytes_.problem == "does_not_fit"
    assert desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=document("good")).status == "done"


@pytest.mark.parametrize(
    ("field", "words"),
    [("tenant", "changes the tenant"), ("idempotency_key", "the idempotency key"), ("event_id", "the event id")],
)
def test_an_edit_keeps_tenant_key_and_event_id(field: str, words: str) -> None:
    """By patch, by bytes and by the patch of a job, whoever approves; what was left out may be said as it is filled."""
    desk = Desk()
    desk.people.tenants |= {"ada": ("demo",), "kim": ("demo",)}
    names = {"event_id": "e1"} if field == "event_id" else {}
    letter = desk.dead("k", value=document(**names), error=RecordError("x", Reason.UNKNOWN))
    patch = json.dumps([{"op": "replace", "path": f"/{field}", "value": "another's"}])
    changed = document(**(names | {field: "another's"}))
    for edit, value in ((about(letter, Kind.EDIT, patch=patch), None), (about(letter, Kind.EDIT), changed)):
        answer = desk.ask("ada", edit, letter.id, value=value)
        assert (answer.problem, words in answer.detail, "another" in answer.detail) == ("does_not_fit", True, False)
    assert desk.job(desk.run(filter='{"tenant": "demo"}', edit=patch)).skipped == {"unfit": 1}
    assert desk.returned() == []
    same = document("mended", tenant="demo", idempotency_key="k", **names)
    assert desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=same).status == "done"


@pytest.mark.parametrize(
    ("key", "named", "words"),
    [
        ("k", {}, ""),
        ("k", {"tenant": "demo", "idempotency_key": "k", "event_id": "the producer's own"}, ""),
        ("k", {"tenant": "globex"}, "tenant; the original does not decode"),
        ("k", {"idempotency_key": "victim"}, "idempotency key; the original"),
        ("", {}, ""),
        ("", {"event_id": "another's"}, "idempotency key; the original"),
    ],
)
@pytest.mark.parametrize("orig", ["document.received.v1", "claim.submitted.v1"])
def test_bytes_for_what_does_not_decode_are_held_against_its_header_and_key(
    orig: str, key: str, named: dict[str, str], words: str
) -> None:
    """A producer's repaired bytes name what he always names; without a key an event is known by its place alone."""
    desk = Desk()
    letter = desk.dead(key, orig=orig)
    answer = desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=document("mended", **named))
    assert answer.problem == ("does_not_fit" if words else "")
    assert words in answer.detail
    assert desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=b"still garbage").problem == "does_not_fit"


@pytest.mark.parametrize("orig", ["document.received.v1", "claim.submitted.v1"])
def test_a_tenant_that_is_written_as_bytes_is_one(orig: str) -> None:
    """Avro reads bytes where a contract wants text, and admit would take it for the tenant."""
    desk = Desk()
    letter = desk.dead("k", orig=orig)
    fields = [{"name": "text", "type": "string"}, {"name": "tenant", "type": "bytes"}]
    value = strangers("DocumentReceived", fields, text="mended", tenant=b"globex")
    assert "tenant" in desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=value).detail


def test_an_edit_between_stages_keeps_what_the_value_names() -> None:
    """A case's records are not filled as events are; undecodable ones are their header's tenant's."""
    desk = Desk()
    case = admissions.admitted({}, key="k")
    letter, garbage = (
        desk.dead(case.case_id, stage=PLAN, value=value, error=RecordError("x", Reason.UNKNOWN))
        for value in (CODEC.encode(topics.CASE_ADMITTED, case), b"garbage")
    )
    for one, changed, status in (
        (letter, {"tenant": "globex"}, "refused"),
        (letter, {"idempotency_key": "victim"}, "refused"),
        (letter, {"event_id": "another's"}, "refused"),
        (letter, {"lane": "interactive"}, "done"),
        (garbage, {"tenant": "globex"}, "refused"),
        (garbage, {}, "done"),
    ):
        value = CODEC.encode(topics.CASE_ADMITTED, replace(case, **changed))
        assert desk.ask("ada", about(one, Kind.EDIT), one.id, value=value).status == status, changed


def test_who_discards_a_letter_of_a_key_hears_by_which_key_those_behind_it_return() -> None:
    """Nobody returns them by himself; a letter that nobody waits for has none."""
    desk, follows = Desk(), RecordError("behind", Reason.PARKED)
    head, lone = desk.dead("a", stage=PLAN, ordinal=4), desk.dead("b")
    desk.dead("a", stage=PLAN, ordinal=5, error=follows)
    told = [json.loads(desk.ask("ada", about(one, Kind.DISCARD), one.id).result) for one in (head, lone)]
    assert [one.get("parked_key") for one in told] == ["a", None]
    desk.work()
    assert desk.returned() == []
    assert desk.job(desk.run(filter=json.dumps({"key": told[0]["parked_key"]}))).replayed == 1


def test_what_was_asked_already_is_answered_as_done_and_changes_nothing() -> None:
    """Discard, restore, plan, run, pause: once in the audit, however often they are asked."""
    desk = Desk()
    letter = desk.dead("k")
    for kind, state in ((Kind.DISCARD, "discarded"), (Kind.RESTORE, "open")):
        assert [desk.ask("ada", about(letter, kind), letter.id).status for _ in range(2)] == ["done", "done"]
        assert desk.letter(letter.id).state == state
    job_id = desk.ask("ada", PlanCommand(rate_per_s=1), key="same").object_id
    desk.work()
    assert desk.ask("ada", PlanCommand(rate_per_s=1), key="same").object_id == job_id
    for who, kind in (("kim", Kind.APPROVE), ("ada", Kind.RUN), ("ada", Kind.PAUSE), ("ada", Kind.RESUME)):
        assert [desk.ask(who, JobCommand(kind=kind), job_id).status for _ in range(2)] == ["done", "done"]
    assert [desk.ask("ada", JobCommand(kind=Kind.ABORT), job_id).status for _ in range(2)] == ["done", "done"]
    transitions = Counter(one.transition for one in desk.events(AuditRecorded))
    assert set(transitions.values()) == {1}
    assert desk.ask("ada", JobCommand(kind=Kind.RUN), job_id).problem == "wrong_state"


def test_an_idempotency_key_names_one_command() -> None:
    """Another plan under it, or another letter, gets no answer of the first; the first asked again does."""
    desk = Desk()
    letters = [desk.dead(key) for key in "ab"]
    first = PlanCommand(filter='{"key":"a"}')
    others: list[dict[str, Any]] = [
        {"filter": '{"key":"b"}'},
        {"action": Action.DISCARD},
        {"rate_per_s": 7},
        {"cap": 7},
        {"order": Order.NEWEST},
        {"edit": '[{"op": "replace", "path": "/text", "value": "other"}]'},
        {"target": Target.MISSED},
    ]
    job_id = desk.ask("ada", first, key="nightly").object_id
    assert jobs.is_planned_by(first, desk.job(job_id))
    for other in others:
        assert desk.ask("ada", replace(first, **other), key="nightly").problem == "key_reused", other
        assert not jobs.is_planned_by(replace(first, **other), desk.job(job_id)), other
    again = desk.ask("ada", first, key="nightly")
    assert (again.status, desk.job(job_id).action, len(list(desk.memory.scan(b"job:")))) == ("done", "replay", 1)

    def command(letter: DeadLetter, **more: Any) -> OperationRequested:
        about_it = LetterCommand(kind=Kind.EDIT, place=letter.place, generation=0, **more)
        return commands.requested(about_it, object_id=letter.id, principal="ada", key="k", reason="", now_ms=NOW_MS)

    one, patched, another = command(letters[0], patch="[1]"), command(letters[0], patch="[2]"), command(letters[1])
    desk.keep(desk.core.step(_asked(one), desk.memory, NOW_MS))
    roads = Roads()
    answers = Answers(KafkaSettings(), CODEC, roads)
    answers._settle(desk.events(OperationAnswered)[-1])

    async def ask() -> None:
        assert await answers.ask(replace(one, requested_at=NOW_MS + 1), "demo", 1.0) is not None
        for wrong in (patched, another, replace(one, value=b"x")):
            with pytest.raises(commands.Refused, match="another command"):
                await answers.ask(wrong, "demo", 1.0)

    asyncio.run(ask())
    assert roads.delivered == []


def test_of_two_commands_that_two_processes_took_at_once_under_one_key_the_first_is_carried_out() -> None:
    """Neither knows of the other: the stage refuses the second, and who repeats the first is told what came of it."""
    desk = Desk()
    letters = [desk.dead(key) for key in "ab"]
    wanted = [about(one, Kind.DISCARD) for one in letters]
    said = [desk.ask("ada", *one, key="k") for one in zip(wanted, (letter.id for letter in letters), strict=True)]
    assert [(one.status, one.problem) for one in said] == [("done", ""), ("refused", "key_reused")]
    assert letter_states.letter_key(letters[1].id) not in desk.memory
    assert desk.ask("ada", wanted[0], letters[0].id, key="k").status == "done"
    answers = Answers(KafkaSettings(), CODEC, Roads())
    for one in desk.events(OperationAnswered)[:2]:
        answers._settle(one)
    again = commands.requested(wanted[0], object_id=letters[0].id, principal="ada", key="k", reason="", now_ms=NOW_MS)
    found = asyncio.run(answers.ask(again, "demo", 1.0))
    assert found is not None
    assert found.status == "done"


def test_of_many_commands_the_latest_keep_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two processes may have taken at once was asked just now; what is remembered is bounded."""
    monkeypatch.setattr(recent, "KEPT_MAX", 2)
    desk = Desk()
    one, other = (about(desk.dead(key), Kind.DISCARD) for key in "ab")

    def asked(command: LetterCommand, key: str) -> OperationRequested:
        return commands.requested(command, object_id="x", principal="ada", key=key, reason="", now_ms=NOW_MS)

    done = recent.Recent()
    for key in "klm":
        done.expect(asked(one, key))
        done.done(asked(one, key))
    done.expect(asked(other, "k"))
    for key in "lm":
        with pytest.raises(commands.Refused):
            done.expect(asked(other, key))


def test_of_two_commands_at_once_under_one_key_one_is_carried_out() -> None:
    """The second is refused while the first waits for its answer; the first asked again waits beside it."""
    roads = Roads()
    answers = Answers(KafkaSettings(), CODEC, roads)

    def command(patch: str) -> OperationRequested:
        wanted = LetterCommand(kind=Kind.EDIT, place="aios.plan.dlq/0/0", generation=0, patch=patch)
        return commands.requested(wanted, object_id="one", principal="ada", key="k", reason="", now_ms=NOW_MS)

    async def ask() -> None:
        waits = [asyncio.create_task(answers.ask(command("[1]"), "demo", 0.1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(commands.Refused, match="another command"):
            await answers.ask(command("[2]"), "demo", 0.1)
        assert await asyncio.gather(*waits) == [None, None]

    asyncio.run(ask())
    assert len({one.value for one in roads.delivered}) == 1
    assert not answers._waiting


def test_no_more_jobs_run_than_at_once_may() -> None:
    """However many were approved before; who pauses one makes room for another, also for one that goes on."""
    desk = Desk()
    made = []
    for _ in range(jobs.JOBS_MAX + 1):
        job_id = desk.ask("ada", PlanCommand(rate_per_s=1)).object_id
        desk.dead("k")
        desk.work()
        desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
        made.append(job_id)
    *most, last = made
    assert {desk.ask("ada", JobCommand(kind=Kind.RUN), one).status for one in most} == {"done"}
    assert desk.ask("ada", JobCommand(kind=Kind.RUN), last).problem == "too_many"
    desk.ask("ada", JobCommand(kind=Kind.PAUSE), most[0])
    assert desk.ask("ada", JobCommand(kind=Kind.RUN), last).status == "done"
    assert desk.ask("ada", JobCommand(kind=Kind.RESUME), most[0]).problem == "too_many"
    assert desk.ask("ada", JobCommand(kind=Kind.RUN), last).status == "done"


def test_requests_that_make_no_sense_are_refused_with_what_to_do() -> None:
    """Unknown kinds, arguments nobody knows, places that hold no letter, letters that are not the one meant."""
    desk = Desk()
    letter = desk.dead("k")
    good = commands.requested(
        about(letter, Kind.DISCARD), object_id=letter.id, principal="ada", key="k", reason="", now_ms=0
    )
    for changed, problem in (
        ({"kind": "letter.eat"}, "unknown_command"),
        ({"object_id": ""}, "bad_arguments"),
        ({"arguments": "[]"}, "bad_arguments"),
        ({"arguments": "[" * 100_000}, "bad_arguments"),
        ({"arguments": good.arguments[:-1] + ',"more":1}'}, "bad_arguments"),
        ({"value": b"x"}, "bad_arguments"),
        ({"object_id": "another"}, "not_found"),
        ({"arguments": '{"place":["document.received.v1",0,0],"generation":0}'}, "not_found"),
        ({"arguments": '{"place":["aios.admit.dlq",99,0],"generation":0}'}, "not_found"),
        ({"arguments": '{"place":["aios.admit.dlq",0,0],"generation":1}'}, "changed"),
    ):
        desk.keep(desk.core.step(_asked(replace(good, **changed)), desk.memory, NOW_MS))
        assert desk.events(OperationAnswered)[-1].problem == problem, changed
    assert desk.ask("ada", PlanCommand(filter='{"colour":"red"}')).problem == "bad_arguments"
    assert desk.ask("ada", PlanCommand(edit="{}")).problem == "bad_arguments"
    for value in ("1e400", "[" * 20 + "]" * 20, "[" * 20_000 + "]" * 20_000):
        patch = f'[{{"op":"add","path":"/text","value":{value}}}]'
        assert desk.ask("ada", PlanCommand(edit=patch)).problem == "bad_arguments"
        assert desk.ask("ada", about(letter, Kind.EDIT, patch=patch), letter.id).problem == "bad_arguments"
    assert desk.ask("ada", PlanCommand(action=Action.DISCARD, edit='[{"op":"test"}]')).problem == "bad_arguments"
    assert desk.ask("ada", JobCommand(kind=Kind.RUN), "no such job").problem == "not_found"
    assert not desk.memory


def test_the_third_replay_needs_a_person() -> None:
    """Two replays are free; the third is refused and the letter quarantined until an approver frees it, each time."""
    desk = Desk()
    desk.dead("k")
    for _ in range(2):
        desk.run()
        letter = desk.fail_again(desk.returned()[-1])
    assert (letter.generation, len(desk.returned())) == (2, 2)
    assert desk.job(desk.run()).skipped == {"quarantined": 1}
    assert (changed := desk.events(LetterChanged)[-1]).state == "skipped"
    assert changed.reason == "quarantined"
    assert desk.ask("ada", about(letter, Kind.FREE), letter.id).problem == "role_missing"
    assert desk.ask("kim", about(letter, Kind.FREE), letter.id).status == "done"
    desk.run()
    assert len(desk.returned()) == 3
    desk.fail_again(desk.returned()[-1])
    assert desk.job(desk.run()).skipped == {"quarantined": 1}


@pytest.mark.parametrize("before", ["", "edited", "restored"])
def test_what_a_dry_run_calls_quarantined_a_person_can_free(before: str) -> None:
    """From the moment it failed again, without a job that runs; an edit stays what it is, and returns."""
    desk = Desk()
    letter = desk.dead("k", value=document(), error=RecordError("x", Reason.UNKNOWN))
    for _ in range(2):
        assert letter_states.state_of(letter, None) == "open"
        assert desk.ask("kim", about(letter, Kind.FREE), letter.id).problem == "wrong_state"
        desk.run()
        letter = desk.fail_again(desk.returned()[-1], error=RecordError("x", Reason.UNKNOWN))
    assert letter_states.state_of(letter, desk.letter(letter.id)) == "quarantined"
    if before == "edited":
        patch = '[{"op": "replace", "path": "/text", "value": "mended"}]'
        after = json.loads(desk.ask("ada", about(letter, Kind.EDIT, patch=patch), letter.id).result)["hash_after"]
        desk.ask("kim", about(letter, Kind.APPROVE_EDIT, hash_after=after), letter.id)
    if before == "restored":
        for kind in (Kind.DISCARD, Kind.RESTORE):
            desk.ask("ada", about(letter, kind), letter.id)
        assert desk.events(LetterChanged)[-1].state == "quarantined"
    job_id = desk.ask("ada", PlanCommand()).object_id
    desk.work()
    assert json.loads(desk.job(job_id).report)["groups"]["aios.admit"]["skips"] == {"quarantined": 1}
    for _ in range(2):
        assert desk.ask("kim", about(letter, Kind.FREE), letter.id).status == "done"
    assert desk.letter(letter.id).state == ("edited" if before == "edited" else "open")
    desk.run()
    text = CODEC.decode(desk.returned()[-1].value, DocumentReceived).text
    assert (len(desk.returned()), text == "mended") == (3, before == "edited")


def test_what_was_only_parked_behind_another_is_never_quarantined() -> None:
    """As long as it only waits, however often it came back; once it fails itself, every replay before it counts."""
    desk, follows = Desk(), RecordError("behind", Reason.PARKED)
    letter = desk.dead("k", stage=PLAN, ordinal=4, error=follows)
    for count in range(1, 4):
        desk.run()
        letter = desk.fail_again(desk.returned()[-1], PLAN, follows)
        assert (letter.generation, letter_states.state_of(letter, None)) == (count, "open")
    desk.run()
    letter = desk.fail_again(desk.returned()[-1], PLAN)
    assert (letter.generation, letter_states.state_of(letter, None)) == (4, "quarantined")


@pytest.mark.parametrize("named", ["reason", "fingerprint", "ids"])
def test_what_ends_its_process_returns_only_where_it_is_named_or_mended(named: str) -> None:
    """A job over a whole group passes it over, however few its replays are: each return would end two processes."""
    desk = Desk()
    letter = desk.dead("k", value=document(), error=RecordError("x", Reason.KILLS_ITS_PROCESS))
    desk.dead("other")
    for wanted in ({}, {"group": "aios.admit"}, {"key": letter.key}):
        assert desk.job(desk.run(filter=json.dumps(wanted))).skipped["kills_its_process"] == 1, wanted
    assert [one.key for one in desk.returned()] == [b"other"]
    name = {"reason": letter.reason, "fingerprint": letter.fingerprint, "ids": [letter.id]}[named]
    assert desk.job(desk.run(filter=json.dumps({named: name}))).replayed == 1
    letter = desk.fail_again(desk.returned()[-1], error=RecordError("x", Reason.KILLS_ITS_PROCESS))
    answer = desk.ask("ada", about(letter, Kind.EDIT), letter.id, value=document("mended"))
    after = json.loads(answer.result)["hash_after"]
    desk.ask("kim", about(letter, Kind.APPROVE_EDIT, hash_after=after), letter.id)
    desk.run()
    assert CODEC.decode(desk.returned()[-1].value, DocumentReceived).text == "mended"


def test_what_may_not_return_is_passed_over_with_its_reason() -> None:
    """Older than the idempotency window, gone, too large, edited after the plan; and none of it stops the others."""
    desk, source = Desk(), topics.DOCUMENT_RECEIVED.name
    desk.dead("stale", at_ms=NOW_MS - RETENTION_MS - 1)
    gone = desk.dead("gone", value=b"x" * (2 << 20))
    assert gone.reference
    whole = desk.shelf.put(source, Outgoing(source, b"large", b"x" * (2 << 20), (), 1), NOW_MS - 1_000)
    desk.fail(whole, ADMIT, RecordError("x", Reason.UNKNOWN))
    changed, good = desk.dead("changed", value=document()), desk.dead("good")
    job_id = desk.ask("ada", PlanCommand()).object_id
    desk.work()
    patch = '[{"op": "replace", "path": "/text", "value": "other"}]'
    after = json.loads(desk.ask("ada", about(changed, Kind.EDIT, patch=patch), changed.id).result)["hash_after"]
    desk.ask("kim", about(changed, Kind.APPROVE_EDIT, hash_after=after), changed.id)
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    desk.work()
    assert desk.job(job_id).skipped == {"stale": 1, "gone": 1, "oversize": 1, "changed": 1}
    assert [one.key for one in desk.returned()] == [b"good"]
    reasons = {one.letter_id: one.reason for one in desk.events(LetterChanged) if one.state == "skipped"}
    assert reasons[gone.id] == Skip.GONE
    assert good.id not in reasons


@pytest.mark.parametrize("edited", [False, True])
def test_a_letter_by_reference_returns_with_its_producers_headers(edited: bool) -> None:
    """What has too many of them to travel with is left where it is: it is its tenant's all the same, also edited."""
    desk, source = Desk(), topics.DOCUMENT_RECEIVED.name
    many = (*((f"x-{n}", b"1") for n in range(envelope.HEADERS_MAX + 1)), ("aios-tenant", b"acme"))
    record = desk.shelf.put(source, Outgoing(source, b"k", document("first"), many, 1), NOW_MS - 1_000)
    letter = desk.fail(record, ADMIT, RecordError("x", Reason.UNKNOWN))
    assert (letter.reference, letter.tenant) == (f"{source}/1/0", "acme")
    if edited:
        edit = about(letter, Kind.EDIT, patch='[{"op": "replace", "path": "/text", "value": "second"}]')
        after = json.loads(desk.ask("ada", edit, letter.id).result)["hash_after"]
        desk.ask("kim", about(letter, Kind.APPROVE_EDIT, hash_after=after), letter.id)
    assert desk.job(desk.run()).skipped == {}
    (back,) = desk.returned()
    assert envelope.foreign(back.headers) == many
    told = envelope.headers_said(back.headers)
    assert (told["id"], told["tenant"], told["replay.count"], "payload_ref" in told) == (letter.id, "acme", "1", False)
    assert CODEC.decode(back.value, DocumentReceived).text == ("second" if edited else "first")


def test_a_job_ends_at_its_marks_its_cap_and_in_its_order() -> None:
    """What fails after the plan is not of the job; the oldest or newest of a partition first; the rest is the cap's."""
    for order, keys in ((Order.OLDEST, ["k0", "k1", "k2"]), (Order.NEWEST, ["k4", "k3", "k2"])):
        desk = Desk()
        for n in range(5):
            desk.dead(f"k{n}", at_ms=NOW_MS - 100 + n)
        job_id = desk.ask("ada", PlanCommand(cap=3, order=order)).object_id
        desk.dead("late")
        desk.work()
        desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
        desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
        desk.work()
        assert [(one.key or b"").decode() for one in desk.returned()] == keys
        assert (desk.job(job_id).selected, desk.job(job_id).skipped) == (5, {"cap": 2})


@pytest.mark.parametrize(("order", "keys"), [(Order.OLDEST, ["k2", "k3", "k4"]), (Order.NEWEST, ["k4", "k3", "k2"])])
def test_a_job_ends_where_retention_took_the_beginning_meanwhile(order: Order, keys: list[str]) -> None:
    """What is left returns, and nobody waits for the rest."""
    desk = Desk()
    for n in range(5):
        desk.dead(f"k{n}", at_ms=NOW_MS - 100 + n)
    desk.shelf.low[ADMIT.dead_letters.name, 0] = 2
    job_id = desk.run(order=order)
    assert [(one.key or b"").decode() for one in desk.returned()] == keys
    assert desk.job(job_id).state == JobState.DONE


@pytest.mark.parametrize("bound", ["SLICE_LOOKED", "SLICE_BYTES"])
def test_a_transaction_of_a_job_is_bounded_and_a_dry_run_begins_anew_in_every_process(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the letters that are looked at, and by their bytes; what one process had counted the next one counts again."""
    monkeypatch.setattr(replaying, bound, 1)
    desk = Desk()
    for n in range(4):
        desk.dead(f"k{n}")
    job_id = desk.ask("ada", PlanCommand()).object_id
    desk.turn()
    desk.turn()
    assert desk.job(job_id).selected == 2
    desk.start()
    desk.work()
    assert desk.job(job_id).selected == 4
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    for turns in range(1, 5):
        desk.turn()
        assert len(desk.returned()) == turns
    desk.work()
    assert desk.job(job_id).state == JobState.DONE


@pytest.mark.parametrize("order", list(Order))
def test_a_letter_that_failed_again_counts_once_in_either_order(order: Order) -> None:
    """It stands there twice, and what returned before the job was planned is not passed over by it."""
    desk = Desk()
    desk.dead("k")
    desk.run()
    desk.fail_again(desk.returned()[0])
    job = desk.job(desk.run(order=order))
    assert (job.selected, job.replayed, job.skipped) == (1, 1, {})


def test_a_dry_run_finds_what_would_fail_again_and_changes_nothing() -> None:
    """By group: decoded, held against contract and policy; letters that are settled are not selected."""
    desk = Desk()
    desk.dead("garbage")
    desk.dead("good", value=document(), error=RecordError("no workflow", Reason.UNATTRIBUTABLE))
    desk.dead("stranger", value=document(tenant="nobody"))
    desk.dead("k", stage=PLAN, error=SchemaMismatch("x"))
    settled = desk.dead("settled")
    desk.ask("ada", about(settled, Kind.DISCARD), settled.id)
    before = dict(desk.memory)
    job_id = desk.ask("ada", PlanCommand()).object_id
    desk.work()
    report = json.loads(desk.job(job_id).report)
    assert report["complete"]
    assert (report["looked"], report["selected"]) == (5, 4)
    admit = report["groups"]["aios.admit"]
    assert (admit["returns"], admit["fails"]) == (3, {"undecodable": 1, "refused: unknown_tenant": 1})
    assert report["groups"]["aios.plan"]["fails"] == {"undecodable": 1}
    assert {key: value for key, value in desk.memory.items() if key != jobs.job_key(job_id)} == before
    assert desk.returned() == []


SCREEN = calls.requested({"name": "Ann Example"}, at=NOW_MS, system="sanctions", operation="screen", effect=Effect.NONE)
CLASSIFY = InferenceRequested(
    request_id="r1",
    case_id="c1",
    tenant="demo",
    workflow="document.triage",
    step="classify",
    attempt=1,
    task="classify",
    model=model_files.known()[-1],
    prompt="",
    input="My card is lost",
    options='{"head": "message"}',
    lane="bulk",
    deadline_at=NOW_MS + 60_000,
    requested_at=NOW_MS,
)
SYSTEM, POOL = topology.BY_NAME["connectors.sanctions"], topology.BY_NAME["classify.bulk"]


@pytest.mark.parametrize(
    ("stage", "command", "fails"),
    [
        (SYSTEM, SCREEN, ""),
        (SYSTEM, replace(SCREEN, operation="forget"), "failed: unknown_operation"),
        (SYSTEM, replace(SCREEN, request='{"nom": "Ann Example"}'), "failed: request_broken"),
        (SYSTEM, replace(SCREEN, effect="at_most_once"), "failed: effect_not_given"),
        (SYSTEM, replace(SCREEN, deadline_at=NOW_MS), "expired"),
        (POOL, CLASSIFY, ""),
        (POOL, replace(CLASSIFY, model="triage-encoder@999"), "failed: unknown_model"),
        (POOL, replace(CLASSIFY, model="summariser@1"), "failed: other_model"),
        (POOL, replace(CLASSIFY, prompt="summary@999"), "failed: unknown_prompt"),
        (POOL, replace(CLASSIFY, deadline_at=NOW_MS), "expired"),
    ],
)
def test_a_dry_run_finds_commands_that_nobody_can_carry_out(stage: Stage, command: Event, fails: str) -> None:
    """By what systems and pools are made of today; a connector's answers are those that it would give."""
    desk = Desk()
    desk.dead("c1", stage=stage, value=CODEC.encode(stage.reads[0], command), error=RecordError("x", Reason.UNKNOWN))
    job_id = desk.ask("ada", PlanCommand()).object_id
    desk.work()
    group = json.loads(desk.job(job_id).report)["groups"][stage.group]
    assert (group["returns"], group["fails"]) == (1, {fails: 1} if fails else {})


def test_a_bulk_edit_and_a_bulk_discard() -> None:
    """A patch for all of a job, passed over where it does not fit; letters that are discarded return no more."""
    desk = Desk()
    fits, garbage = desk.dead("fits", value=document("a")), desk.dead("garbage")
    edit = '[{"op": "replace", "path": "/text", "value": "b"}]'
    job = desk.job(desk.run(edit=edit))
    assert (job.replayed, job.skipped) == (1, {"unfit": 1})
    (back,) = desk.returned()
    assert CODEC.decode(back.value, DocumentReceived).text == "b"
    assert envelope.headers_said(back.headers)["replay.edited"] == envelope.sha256(document("a"))
    assert desk.job(desk.run(action=Action.DISCARD)).replayed == 1
    assert desk.letter(garbage.id).state == "discarded"
    assert desk.letter(fits.id).state == "replayed"
    desk.run()
    assert len(desk.returned()) == 1


def test_parked_letters_return_by_their_ordinals_with_those_behind_a_selected_one() -> None:
    """Whatever the log's order; nothing goes before one that is held back, also after a restart."""
    desk = Desk()
    follows = RecordError("behind", Reason.PARKED)
    for key in ("a", "b"):
        desk.dead(key, stage=PLAN, ordinal=6, error=follows, partition=1)
        desk.dead(key, stage=PLAN, ordinal=5, error=follows, partition=1)
    desk.dead("a", stage=PLAN, ordinal=4, partition=1)
    gone = desk.dead("b", stage=PLAN, ordinal=4, partition=1, value=b"x" * (2 << 20))
    job_id = desk.ask(
        "ada", PlanCommand(filter='{"reason": "undecodable"}', order=Order.NEWEST, rate_per_s=5)
    ).object_id
    desk.work()
    assert json.loads(desk.job(job_id).report)["groups"]["aios.plan"]["skips"] == {"gone": 1, "behind": 2}
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    for number in range(400):
        desk.turn(dies=number % 7 == 3)
        desk.passed_s += 0.05
    assert desk.job(job_id).state == "done"
    ordinals = [int(dict(one.headers)[parking.ORDINAL] or b"") for one in desk.returned()]
    assert ordinals == [4, 5, 6]
    assert {one.key for one in desk.returned()} == {b"a"}
    assert desk.job(job_id).skipped == {"gone": 1, "behind": 2}
    desk.ask("ada", about(gone, Kind.DISCARD), gone.id)
    assert desk.controls() == ["4"]
    desk.run(filter='{"key": "b"}')
    assert [int(dict(one.headers)[parking.ORDINAL] or b"") for one in desk.returned()[3:]] == [5, 6]


@pytest.mark.parametrize("filter_", ['{"reason": "undecodable"}', '{"ids": ["%s"]}'])
def test_what_is_parked_behind_a_letter_that_a_job_discards_stays(filter_: str) -> None:
    """It was never tried, and the filter does not select it; the stage is told that it need not wait any more."""
    desk, follows = Desk(), RecordError("behind", Reason.PARKED)
    head = desk.dead("a", stage=PLAN, ordinal=4, partition=1)
    for ordinal in (5, 6):
        desk.dead("a", stage=PLAN, ordinal=ordinal, error=follows, partition=1)
    job = desk.job(desk.run(action=Action.DISCARD, filter=filter_.replace("%s", head.id)))
    assert (job.selected, job.replayed, desk.controls()) == (1, 1, ["4"])
    assert [one.letter_id for one in desk.events(LetterChanged)] == [head.id]
    assert desk.job(desk.run(filter='{"key": "a"}')).replayed == 2


def test_what_is_settled_keeps_no_parked_letter_from_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds so many in memory at most, of those that wait; it says how many it leaves, and the next one has them."""
    monkeypatch.setattr(walk, "PARKED_MAX", 3)
    desk = Desk()
    for number in range(5):
        desk.dead(f"k{number}", stage=PLAN, ordinal=number)
    jobs_ = [desk.job(desk.run()) for _ in range(2)]
    assert [(job.replayed, json.loads(job.report)["left_out"]) for job in jobs_] == [(3, 2), (2, 0)]


def test_the_patch_of_a_job_is_for_what_its_filter_selects() -> None:
    """What is parked behind it returns as it is, whether or not the patch would fit."""
    desk, follows = Desk(), RecordError("behind", Reason.PARKED)
    first, second = (
        CODEC.encode(topics.CASE_ADMITTED, admissions.admitted({}, case_id="a", event_id=f"e{n}")) for n in range(2)
    )
    head = desk.dead("a", stage=PLAN, ordinal=4, value=first, error=RecordError("x", Reason.UNKNOWN))
    for ordinal, value in ((5, second), (6, b"of another contract")):
        desk.dead("a", stage=PLAN, ordinal=ordinal, value=value, error=follows)
    patch = '[{"op": "replace", "path": "/lane", "value": "interactive"}]'
    job = desk.job(desk.run(edit=patch, filter=json.dumps({"ids": [head.id]})))
    assert (job.replayed, job.skipped) == (3, {})
    back = desk.returned()
    assert [one.value == first for one in back] == [False, False, False]
    assert [one.value for one in back[1:]] == [second, b"of another contract"]
    assert ["aios.dlq.replay.edited" in dict(one.headers) for one in back] == [True, False, False]


@pytest.mark.parametrize("action", list(Action))
def test_what_is_parked_is_not_taken_along_with_what_was_settled_before(action: Action) -> None:
    """A job that selects none that is open takes none, though an earlier one of the same key had been selected."""
    desk, follows = Desk(), RecordError("behind", Reason.PARKED)
    old = desk.dead("a", stage=PLAN, ordinal=4, partition=1)
    desk.run(filter=json.dumps({"ids": [old.id]}))
    desk.now_ms += 1_000
    desk.dead("a", stage=PLAN, ordinal=90, error=RecordError("bug", Reason.UNKNOWN), partition=1)
    desk.dead("a", stage=PLAN, ordinal=91, error=follows, partition=1)
    job = desk.job(desk.run(action=action, filter='{"reason": "undecodable"}'))
    assert (job.selected, job.replayed, job.skipped) == (0, 0, {})


def test_a_letter_that_was_discarded_and_restored_has_no_place_among_the_others() -> None:
    """Those behind it go without it, also when the process is another one by then; it returns without its ordinal."""
    desk, follows = Desk(), RecordError("behind", Reason.PARKED)
    letter = desk.dead("a", stage=PLAN, ordinal=4)
    for kind in (Kind.DISCARD, Kind.RESTORE):
        desk.ask("ada", about(letter, kind), letter.id)
    behind = [desk.dead("a", stage=PLAN, ordinal=ordinal, error=follows).id for ordinal in (5, 6)]
    job_id = desk.ask("ada", PlanCommand(filter=json.dumps({"ids": behind}), rate_per_s=1)).object_id
    desk.work()
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    for _ in range(3):
        desk.passed_s += 1
        desk.turn()
        desk.start()
    desk.passed_s += 1
    desk.work()
    for _ in range(3):
        desk.passed_s += 1
        desk.turn()
    assert (desk.job(job_id).replayed, desk.job(job_id).skipped) == (2, {})
    desk.told.clear()
    desk.run()
    (back,) = desk.returned()
    assert parking.ORDINAL not in dict(back.headers)


def test_old_letters_expire_by_themselves_and_old_states_are_forgotten() -> None:
    """Open ones at nine tenths of their retention, once; those behind them go on; nothing is kept for ever."""
    desk = Desk()
    old = NOW_MS - int(RETENTION_MS * 0.91)
    letter = desk.dead("a", stage=PLAN, ordinal=4, at_ms=old)
    settled, young = desk.dead("b", at_ms=old), desk.dead("c")
    desk.ask("ada", about(settled, Kind.DISCARD), settled.id)
    desk.work()
    desk.start()
    desk.work()
    changed = [one for one in desk.events(LetterChanged) if one.state == "expired"]
    assert [one.letter_id for one in changed] == [letter.id]
    assert desk.controls() == ["4"]
    assert desk.ask("ada", about(letter, Kind.RESTORE), letter.id).problem == "wrong_state"
    assert desk.job(desk.run(filter=json.dumps({"ids": [letter.id, young.id]}))).replayed == 1
    desk.now_ms += RETENTION_MS + sweep.LIE_MS + 1
    desk.passed_s += 3_600
    desk.shelf.low = {place: len(log) for place, log in desk.shelf.logs.items()}
    desk.work()
    assert not desk.memory


def test_a_letter_that_a_bug_of_ours_made_would_fail_again_while_the_bug_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lies there for that very bug, and the dry run runs the same code."""
    desk = Desk()
    desk.dead("a", value=document("no"), error=KeyError("bug"))
    desk.dead("b", value=document("yes"), error=KeyError("bug"))
    admit = Admit.step

    def broken(self: Admit, record: Record, state: StateView, now_ms: int) -> Effects:
        if record.key == b"a":
            raise KeyError("bug")
        return admit(self, record, state, now_ms)

    monkeypatch.setattr(Admit, "step", broken)
    planned = desk.ask("ada", PlanCommand())
    desk.work()
    report = json.loads(desk.job(planned.object_id).report)
    assert report["complete"]
    assert [(one["returns"], one["fails"]) for one in report["groups"].values()] == [(2, {"unknown": 1})]


@pytest.mark.parametrize("state", [JobState.DRAFT, JobState.RUNNING])
def test_a_job_on_which_our_own_code_fails_is_stopped_and_holds_up_nobody(
    state: JobState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fail in the next process as well: who planned it reads why, and the letters whose time is up expire."""
    desk = Desk()
    desk.dead("a")
    late = desk.dead("b", stage=PLAN, at_ms=NOW_MS - int(RETENTION_MS * 0.95))
    planned = desk.ask("ada", PlanCommand(filter=json.dumps({"group": ADMIT.group})))
    if state is JobState.RUNNING:
        desk.work()
        for who, kind in (("kim", Kind.APPROVE), ("ada", Kind.RUN)):
            assert desk.ask(who, JobCommand(kind=kind), planned.object_id).status == "done"

    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(letter_states, "returned", broken)
    desk.start()
    desk.work()
    stopped = desk.job(planned.object_id)
    assert stopped.state == (JobState.ABORTED if state is JobState.DRAFT else JobState.PAUSED)
    assert "our own code failed on it (KeyError)" in stopped.stopped_because
    assert f"replay_{stopped.state}" in [one.transition for one in desk.events(AuditRecorded)]
    assert [one.letter_id for one in desk.events(LetterChanged) if one.state == "expired"] == [late.id]


def test_a_patch_that_nests_without_end_makes_a_letter_unfit() -> None:
    """Ten copies of the whole into itself are small, and a thousand deep."""
    desk, path = Desk(), "/text"
    desk.dead("a", value=document("text"), error=RecordError("no workflow", Reason.UNATTRIBUTABLE))
    patch = []
    for _ in range(10):
        patch.append({"op": "copy", "from": "", "path": path})
        path *= 2
    planned = desk.ask("ada", PlanCommand(edit=json.dumps(patch)))
    desk.work()
    report = json.loads(desk.job(planned.object_id).report)
    assert [one["skips"] for one in report["groups"].values()] == [{"unfit": 1}]


def test_a_job_that_cannot_read_holds_up_neither_other_jobs_nor_letters_whose_time_is_up() -> None:
    """It is tried again, and ends once it can read."""
    desk = Desk()
    desk.dead("a")
    desk.dead("b", stage=PLAN)
    late = desk.dead("c", stage=PLAN, at_ms=NOW_MS - int(RETENTION_MS * 0.95))
    waits, goes = (
        desk.ask("ada", PlanCommand(filter=json.dumps({"group": stage.group}))).object_id for stage in (ADMIT, PLAN)
    )
    desk.shelf.away = {("ends", ADMIT.dead_letters.name, 0)}

    def work() -> None:
        for _ in range(1_000):
            with contextlib.suppress(Unavailable):
                desk.turn()

    work()
    assert jobs.is_tried(desk.job(goes))
    assert not jobs.is_tried(desk.job(waits))
    assert [one.letter_id for one in desk.events(LetterChanged) if one.state == "expired"] == [late.id]
    desk.shelf.away = set()
    work()
    assert jobs.is_tried(desk.job(waits))


def test_letters_expire_while_another_partition_cannot_be_read() -> None:
    """Neither those that are looked up nor those whose hour has come wait for it; its own do within the hour after."""
    desk = Desk()
    old = NOW_MS - int(RETENTION_MS * 0.91)
    letters = [desk.dead("a", stage=stage, at_ms=old) for stage in (ADMIT, PLAN)]
    away = ADMIT.dead_letters.name
    desk.shelf.away = {("ends", away, 0)}

    def expired() -> list[str]:
        for _ in range(1_000):
            with contextlib.suppress(Unavailable):
                if desk.turn() != 0:
                    break
        return sorted({one.letter_id for one in desk.events(LetterChanged) if one.state == "expired"})

    assert expired() == [letters[1].id]
    desk.passed_s += sweep.EVERY_S
    desk.shelf.away = {("fetch", away, 0)}
    assert expired() == [letters[1].id]
    desk.shelf.away = set()
    desk.passed_s, desk.now_ms = desk.passed_s + sweep.EVERY_S, desk.now_ms + HOUR_MS
    assert expired() == sorted(one.id for one in letters)


def test_what_is_settled_expires_never_however_long_its_record_lies_there() -> None:
    """Kafka deletes whole segments, a week after the retention at the latest; a process begins anew every day."""
    day = DAY_MS
    desk = Desk()
    for key, kind in (("returned", None), ("discarded", Kind.DISCARD)):
        letter = desk.dead(key, stage=PLAN, ordinal=4)
        if kind is None:
            desk.run(filter=json.dumps({"ids": [letter.id]}))
        else:
            desk.ask("ada", about(letter, kind), letter.id)
    told = len(desk.told)
    for _ in range(topics.RETENTION_HOURS // 24 + topics.SEGMENT_HOURS // 24):
        desk.now_ms, desk.passed_s = desk.now_ms + day, desk.passed_s + 86_400
        desk.start()
        desk.work()
        desk.passed_s += 3_600
        desk.work()
    assert desk.told[told:] == []


def test_a_letter_whose_record_is_older_than_itself_expires_while_the_record_might_return() -> None:
    """It failed again on day 20 of 30, or had waited as long: on day 29, not with its retention on day 47."""
    day = RETENTION_MS // 30
    desk = Desk()
    first = desk.dead("a")
    desk.run(filter=json.dumps({"ids": [first.id]}))
    (back,) = desk.returned()
    desk.now_ms += 20 * day
    again = desk.fail_again(back)
    waited = Record(PLAN.reads[0].name, 0, 7, NOW_MS, b"w", b"garbage", (("aios-tenant", b"demo"),))
    late = desk.fail(waited, PLAN, SchemaMismatch("x"), at_ms=desk.now_ms)
    restored = desk.dead("b", at_ms=NOW_MS)
    desk.ask("ada", about(restored, Kind.DISCARD), restored.id)

    def expired_after(days: float) -> set[str]:
        desk.now_ms, desk.passed_s = int(NOW_MS + days * day), desk.passed_s + 3_600
        desk.work()
        return {one.letter_id for one in desk.events(LetterChanged) if one.state == "expired"}

    assert expired_after(26) == set()
    desk.ask("ada", about(restored, Kind.RESTORE), restored.id)
    assert expired_after(28) == {restored.id}
    assert expired_after(29.1) == {restored.id, again.id, late.id}


def test_a_letter_whose_producer_s_clock_is_ahead_expires_before_it_is_gone() -> None:
    """Its record stands in a topic with producers' times, a year ahead: it lies there no longer than any other."""
    desk = Desk()
    ahead = Record(ADMIT.reads[0].name, 0, 7, NOW_MS + 365 * DAY_MS, b"k", b"garbage", (("aios-tenant", b"demo"),))
    letter = desk.fail(ahead, ADMIT, SchemaMismatch("x"), at_ms=NOW_MS)
    desk.work()
    desk.now_ms, desk.passed_s = NOW_MS + 28 * DAY_MS, desk.passed_s + 3_600
    desk.work()
    assert [(one.letter_id, one.state) for one in desk.events(LetterChanged)] == [(letter.id, "expired")]
    assert letter.returns_until == NOW_MS + RETENTION_MS


@pytest.mark.parametrize(
    ("restored", "expired_by"),
    [(27.5, 28.5), (29.5, 29.99), (31.5, 32.5)],
    ids=["after its hour", "on its last day", "after its retention"],
)
def test_a_letter_that_is_restored_after_its_hour_expires_all_the_same(restored: float, expired_by: float) -> None:
    """Within about a day, and before the broker may delete its record; nobody has to start the process anew."""
    desk = Desk()
    letter = desk.dead("b", at_ms=NOW_MS)
    desk.ask("ada", about(letter, Kind.DISCARD), letter.id)

    def expired_after(days: float) -> list[str]:
        desk.now_ms, desk.passed_s = int(NOW_MS + days * DAY_MS), desk.passed_s + 3_600
        desk.work()
        return [one.letter_id for one in desk.events(LetterChanged) if one.state == "expired"]

    for hours in range(int(restored * 24)):
        assert expired_after(hours / 24) == []
    assert desk.ask("ada", about(letter, Kind.RESTORE), letter.id).status == "done"
    for hours in range(int(restored * 24), int(expired_by * 24)):
        expired_after(hours / 24)
    assert expired_after(expired_by) == [letter.id]


def test_a_discarded_letter_is_looked_at_until_its_record_is_gone() -> None:
    """Each day, and in the last hours in which it may return; a process that lives long does not look for ever."""
    desk = Desk()
    letter = desk.dead("b", at_ms=NOW_MS)
    desk.ask("ada", about(letter, Kind.DISCARD), letter.id)
    desk.work()
    looked, fetch = [], desk.shelf.fetch

    def counted(wanted: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int, int], Record]:
        looked.append(desk.now_ms)
        return fetch(wanted)

    desk.shelf.fetch = counted  # type: ignore[method-assign]
    for hour in range(50 * 24):
        desk.now_ms, desk.passed_s = NOW_MS + hour * HOUR_MS, desk.passed_s + 3_600
        if hour == 35 * 24:
            desk.shelf.low = {place: len(log) for place, log in desk.shelf.logs.items()}
        desk.work()
    assert [(at - NOW_MS) // HOUR_MS for at in looked] == [649, 674, 699, 719, 744, 769, 794, 819, 844]
    assert [one.state for one in desk.events(LetterChanged)] == ["discarded"]


def test_a_breaker_is_closed_once_and_audited() -> None:
    """By who may; a closed one stays closed, an unknown one is not found."""
    desk = Desk()
    breaker = open_breaker("aios.plan", 1, at=NOW_MS)
    desk.breakers[breaker.key] = breaker
    assert desk.ask("lou", BreakerCommand(), breaker.key).problem == "role_missing"
    assert desk.ask("ada", BreakerCommand(), "aios.plan/9").problem == "not_found"
    assert desk.ask("ada", BreakerCommand(), breaker.key).status == "done"
    (closed,) = desk.events(BreakerChanged)
    assert (closed.state, closed.by, closed.reason) == ("closed", "ada", "unknown")
    desk.breakers[breaker.key] = closed
    assert desk.ask("ada", BreakerCommand(), breaker.key).status == "done"
    assert [one.transition for one in desk.events(AuditRecorded)] == ["breaker_closed"]


def test_events_that_were_passed_over_are_found_and_returned_as_what_they_were() -> None:
    """Neither case nor refusal nor dead letter, below admit's position, and old enough; across a restart; once."""
    desk = Desk(settled_after_ms=1_000)
    source = topics.DOCUMENT_RECEIVED.name
    for offset in range(300):
        out = Outgoing(source, f"k{offset}".encode(), document(), (), 1)
        desk.shelf.put(source, out, NOW_MS - (100 if offset == 299 else 5_000))
    lost = {7, 8, 250}
    for offset in set(range(299)) - lost - {9}:
        case = admissions.admitted(
            {}, case_id=f"c{offset}", source_topic=source, source_partition=1, source_offset=offset
        )
        value = CODEC.encode(topics.CASE_ADMITTED, case)
        desk.shelf.put(topics.CASE_ADMITTED.name, Outgoing("", b"c", value, (), offset % PARTITIONS))
    desk.fail(desk.shelf.logs[source, 1][9], ADMIT, SchemaMismatch("x"))
    desk.positions = {f"{source}/0": 0, f"{source}/1": 300}
    assert desk.ask("ada", PlanCommand(target=Target.MISSED, filter='{"reason": "empty"}')).problem == "bad_arguments"
    job_id = desk.ask("ada", PlanCommand(target=Target.MISSED, cap=2)).object_id
    desk.work()
    assert desk.job(job_id).selected == 3
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    desk.turn(dies=True)
    desk.work()
    assert desk.job(job_id).skipped == {"cap": 1}
    again = desk.job(desk.run(target=Target.MISSED))
    assert (again.replayed, again.skipped) == (1, {})
    back = {(one.key or b"").decode(): one for one in desk.returned()}
    assert set(back) == {"k7", "k8", "k250"}
    assert len(desk.returned()) == 3
    record = Record(ADMIT.retries.name, 1, 0, 0, b"k7", back["k7"].value, back["k7"].headers)
    assert envelope.origin(record) == envelope.Origin(source, 1, 7, NOW_MS - 5_000)
    assert missed.as_letter(record).id == ids.derive("dead-letter", "cluster", source, "1", "7", ADMIT.group)


def test_however_many_were_passed_over_all_are_found_and_of_a_time_those_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than are fetched at once; from a moment on, and before another one."""
    monkeypatch.setattr(missed, "FETCH_MAX", 2)
    desk, source = Desk(settled_after_ms=1_000), topics.DOCUMENT_RECEIVED.name
    for offset in range(7):
        desk.shelf.put(source, Outgoing(source, b"k%d" % offset, document(), (), 0), NOW_MS - 9_000 + offset)
    desk.positions[f"{source}/0"] = 7
    within = json.dumps({"since": NOW_MS - 9_000 + 2, "until": NOW_MS - 9_000 + 5})
    assert desk.job(desk.run(target=Target.MISSED, filter=within)).selected == 3
    assert [one.key for one in desk.returned()] == [b"k2", b"k3", b"k4"]
    desk.run(target=Target.MISSED)
    assert [one.key for one in desk.returned()[3:]] == [b"k0", b"k1", b"k5", b"k6"]


def test_who_acts_for_some_tenants_looks_for_their_missed_events() -> None:
    """By the header's tenant, which he has to name; nothing of others returns by it."""
    desk = Desk(settled_after_ms=1_000)
    desk.people.tenants |= {"ada": ("demo",), "kim": ("demo",)}
    source = topics.DOCUMENT_RECEIVED.name
    for offset, headers in enumerate([(("aios-tenant", b"demo"),), (("aios-tenant", b"other"),), ()]):
        desk.shelf.put(source, Outgoing(source, b"k%d" % offset, document(), headers, 0), NOW_MS - 5_000)
    desk.positions[f"{source}/0"] = 3
    for tenant in ("", "other"):
        wanted = PlanCommand(target=Target.MISSED, filter=json.dumps({"tenant": tenant}))
        assert desk.ask("ada", wanted).problem == "other_tenant"
    assert desk.job(desk.run(target=Target.MISSED, filter='{"tenant": "demo"}')).selected == 1
    assert [one.key for one in desk.returned()] == [b"k0"]


def test_what_is_only_slowed_is_not_taken_for_lost() -> None:
    """In a retry tier or admit's retry topic, for however long; what stood there before and went nowhere is lost."""
    desk = Desk(settled_after_ms=1_000)
    source, hours_ago = topics.DOCUMENT_RECEIVED.name, NOW_MS - 7_200_000
    tier = topics.RETRY_TIERS[2]
    for offset, (topic, committed) in enumerate(
        [
            (tier.topic.name, 1),  # lost by retry itself
            (tier.topic.name, 1),
            (ADMIT.retries.name, 1),  # lost on its way back
            (ADMIT.retries.name, 1),
        ]
    ):
        record = desk.shelf.put(source, Outgoing(source, b"k%d" % offset, document(), (), 0), hours_ago)
        failure = envelope.Failure(stage=ADMIT, error=Throttled("x"), attempts=0, now_ms=hours_ago, cluster="cluster")
        waits = envelope.waiting(record, failure, tier)
        desk.shelf.put(topic, waits, hours_ago)
        desk.positions[f"{topic}/0"] = committed
    desk.positions[f"{source}/0"] = 4
    desk.run(target=Target.MISSED)
    assert [one.key for one in desk.returned()] == [b"k0", b"k2"]


def test_what_is_older_than_the_retention_is_not_taken_for_missed() -> None:
    """Its record may lie there when the topic with its case was cut already; the younger one beside it is found."""
    desk, source = Desk(settled_after_ms=1_000), topics.DOCUMENT_RECEIVED.name
    for offset, age_ms in enumerate((topics.RETENTION_MS + 1_000, topics.RETENTION_MS - 60_000)):
        desk.shelf.put(source, Outgoing(source, b"k%d" % offset, document(), (), 0), NOW_MS - age_ms)
    desk.positions[f"{source}/0"] = 2
    job = desk.job(desk.run(target=Target.MISSED))
    assert (job.selected, job.skipped, [one.key for one in desk.returned()]) == (1, {}, [b"k1"])


def test_what_a_job_looks_for_may_come_to_rest_after_it_was_planned() -> None:
    """Its case is no copy's: a job looks at what there is when it runs."""
    desk = Desk(settled_after_ms=1_000)
    source = topics.DOCUMENT_RECEIVED.name
    desk.shelf.put(source, Outgoing(source, b"k", document(), (), 0), NOW_MS - 5_000)
    desk.positions[f"{source}/0"] = 1
    job_id = desk.ask("ada", PlanCommand(target=Target.MISSED)).object_id
    desk.work()
    assert desk.job(job_id).selected == 1
    value = CODEC.encode(topics.CASE_ADMITTED, admissions.admitted({}, source_offset=0))
    desk.shelf.put(topics.CASE_ADMITTED.name, Outgoing("", b"c", value, (), 0))
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    desk.work()
    assert (desk.job(job_id).state, desk.returned()) == ("done", [])


def test_an_audit_of_a_job_names_the_request_that_caused_it() -> None:
    """What the stage does by itself names none."""
    desk = Desk()
    desk.dead("k")
    job_id = desk.run()
    places = {
        one.transition: (one.input_topic, one.input_offset)
        for one in desk.events(AuditRecorded)
        if one.case_id == job_id
    }
    requests = topics.OPERATION_REQUESTED.name
    assert places["replay_planned"] == (requests, 1)
    assert places["replay_approved"][0] == places["replay_started"][0] == requests
    assert places["replay_approved"][1] < places["replay_started"][1]
    assert places["replay_done"] == ("", -1)


@pytest.mark.parametrize("rate", [1, 40, 700, 5_000])
def test_a_job_keeps_its_rate_within_five_percent_over_five_seconds(rate: int) -> None:
    """Also when each turn takes its time, and now and then one is late."""
    now = 0.0
    bucket = Bucket(rate, lambda: now)
    gone: list[tuple[float, int]] = []
    for number in range(4_000):
        count = min(bucket.available(), 1_000)
        bucket.take(count)
        gone.append((now, count))
        now += max(0.05, bucket.again_in_ms() / 1000) + (0.1 if number % 50 == 7 else 0.012)
    for start in range(0, int(now) - 6, 3):
        count = sum(each for at, each in gone if start <= at < start + 5)
        assert abs(count - 5 * rate) <= max(2, 0.05 * 5 * rate), (start, count)
    now += 3_600
    assert bucket.available() == rate * BURST_S  # what it has missed for longer it does not catch up with


DEAL = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.booleans()),
        st.tuples(st.just("job"), st.integers(0, 3), st.sampled_from(["approve", "run", "pause", "resume", "abort"])),
        *[st.tuples(st.just("go_on"), st.sampled_from([0, 0, 1, 2]), st.booleans())] * 3,
        *[st.tuples(st.just("plan"), st.sampled_from([(0, 0), (50, 0), (0, 2)]), st.sampled_from(list(Order)))] * 2,
        st.tuples(st.just("letter"), st.integers(0, 5), st.sampled_from(["discard", "restore", "free"])),
        st.tuples(st.just("dead"), st.integers(0, 5)),
        *[st.tuples(st.just("again"), st.integers(0, 5))] * 2,
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.2, 3.0])),
    ),
    min_size=20,
    max_size=60,
)


@given(DEAL)
@settings(max_examples=120, deadline=None)
def test_whatever_is_asked_and_dies_a_letter_returns_once_for_each_time_it_failed(deal: list[tuple[Any, ...]]) -> None:
    """Commands in any order, repeated; processes that die before a transaction; letters that fail again."""
    desk, known, failed = Desk(), list[str](), 0
    restored = any(what[-1] == "restore" for what in deal)  # after the dry run: it returns with the job all the same
    desk.dead("k0")
    for what in deal:
        before = {one: desk.job(one) for one in known}
        match what:
            case ("turn", dies):
                desk.turn(dies=dies)
            case ("plan", (rate, cap), order):
                answer = desk.ask("ada", PlanCommand(rate_per_s=rate, cap=cap, order=order))
                if answer.status == "done":
                    known.append(answer.object_id)
            case ("job", number, act) if known:
                who = "kim" if act == "approve" else "ada"
                desk.ask(who, JobCommand(kind=Kind(f"replay.{act}")), known[number % len(known)])
            case ("go_on", number, dies) if known:  # so that many jobs come to their end
                job_id = known[-1 - number % len(known)]
                desk.turn()
                for who, kind in (("kim", Kind.APPROVE), ("ada", Kind.RUN)):
                    desk.ask(who, JobCommand(kind=kind), job_id)
                desk.turn(dies=dies)
            case ("letter", number, act):
                stands = [one for log in desk.shelf.logs.values() for one in log]
                letter = letter_of(stands[number % len(stands)])
                assert letter is not None
                who = "kim" if act == "free" else "ada"
                desk.ask(who, about(letter, Kind(f"letter.{act}")), letter.id)
            case ("dead", number):
                desk.dead(f"k{number}", stage=ADMIT if number % 2 else PLAN, ordinal=None if number % 2 else number)
            case ("again", number) if failed < len(back := desk.returned()):
                out = back[failed]
                failed += 1
                desk.fail_again(out, ADMIT if out.topic == ADMIT.retries.name else PLAN)
            case ("wait", seconds):
                desk.passed_s += seconds
        for one, job in before.items():
            now = desk.job(one)
            assert now.replayed >= job.replayed
            assert sum(now.skipped.values()) >= sum(job.skipped.values())
            assert all(now.next.get(name, 0) >= at for name, at in job.next.items() if job.state == "running") or (
                now.order == Order.NEWEST
            )
    times = Counter(
        (said["id"], said["replay.count"]) for one in desk.returned() if (said := envelope.headers_said(one.headers))
    )
    assert set(times.values()) <= {1}
    for one in known:
        job = desk.job(one)
        assert not job.cap or job.replayed <= job.cap
        if job.state == "done":
            assert job.replayed + sum(job.skipped.values()) <= job.selected or restored
    assert edits.BYTES_MAX < topics.RECORD_BYTES_MAX


@pytest.mark.parametrize("failed_before", [0, 1, 2])
@pytest.mark.parametrize("fails_after", [0, 1, 2])
def test_a_letter_that_another_job_brings_back_is_passed_over_once(failed_before: int, fails_after: int) -> None:
    """However often it had returned before this job was planned, and fails and returns before this job comes to it."""
    desk = Desk()

    def fails_again() -> None:
        desk.now_ms += 10
        again = desk.fail_again(desk.returned()[-1])
        if again.is_quarantined:
            desk.ask("kim", about(again, Kind.FREE), again.id)

    desk.dead("k")
    for _ in range(failed_before):
        desk.run()
        fails_again()
    late = desk.ask("ada", PlanCommand()).object_id
    desk.work()
    desk.now_ms += 10
    desk.run()
    for _ in range(fails_after):
        fails_again()
        desk.run()
    for who, kind in (("kim", Kind.APPROVE), ("ada", Kind.RUN)):
        assert desk.ask(who, JobCommand(kind=kind), late).status == "done"
    desk.work()
    job = desk.job(late)
    assert (job.state, job.selected, job.replayed, job.skipped) == ("done", 1, 0, {"replayed": 1})
    assert len(desk.returned()) == failed_before + fails_after + 1


def test_of_a_letter_that_returned_more_often_than_is_remembered_each_failure_is_counted_once() -> None:
    desk = Desk()
    letter = desk.dead("k")
    for _ in range(letter_states.RETURNS_MAX + 3):
        desk.run()
        letter = desk.fail_again(desk.returned()[-1])
        if letter.is_quarantined:
            desk.ask("kim", about(letter, Kind.FREE), letter.id)
    desk.run()
    assert len(desk.letter(letter.id).returned_at) == letter_states.RETURNS_MAX
    last = desk.job(desk.run())
    assert (last.selected, last.replayed, last.skipped) == (0, 0, {})


def both_written(
    desk: Desk, prints: Prints, letter: DeadLetter, job: ReplayRemembered, before: str = ""
) -> tuple[Effects | None, Effects | None]:
    """What a job writes of a letter that returns, and what a command would. before: the hash of an edited one."""
    known = desk.letter(letter.id) if letter_states.letter_key(letter.id) in desk.memory else None
    known = known if known is None or known.generation < letter.generation else None
    (record,) = desk.shelf.fetch([letter.place]).values()
    stage = letter_states.STAGES_BY_GROUP[letter.group]
    out = letter_states.returned(letter, record, record.value, job_id=job.job_id, by=job.run_by, at_ms=NOW_MS)
    assert out is not None
    quick, plain = (Turn(CODEC, desk.memory, NOW_MS, "demo") for _ in range(2))
    prints.returned(letter, out, known, job, quick, before=before, trace="")
    plain.send(out)
    changes = {"state": "replayed", "job_id": job.job_id, "freed": False, "edit": None, "changed_at": NOW_MS}
    plain.keep_letter(letter_states.remembered(letter, known, **changes))
    after, to = envelope.sha256(record.value), f"{stage.retries.name}/{letter.place[1]}"
    hashes = {"before": before, "after": after if before else ""}
    plain.changed(letter, "replayed", act=job.job_id, job_id=job.job_id, to=to, by=job.run_by, **hashes)
    detail = {"replay_id": job.job_id, "why": job.reason, "replays": letter.generation + 1, "sha256": after}
    detail |= {"sha256_before": before, "approved_by": job.approved_by, "to": to}
    plain.audited(letter, "replayed", act=job.job_id, by=job.run_by, detail=detail)
    return quick.effects, plain.effects


@given(
    st.sampled_from(["k", 'a "quoted" \\ key', "grün", "\x00"]),
    st.sampled_from([ADMIT, PLAN]),
    st.sampled_from(["", "x", "\x00", '"\x00']),
    st.booleans(),
)
def test_what_a_job_writes_of_a_letter_is_what_a_command_would(key: str, stage: Stage, why: str, edited: bool) -> None:
    """Encoded in common or one by one: the same records, headers and states, for a second letter of a kind as well."""
    desk, prints = Desk(), Prints(CODEC, "demo")
    letters = [desk.dead(key, stage=stage, tenant=""), desk.dead(f"{key}2", stage=stage, tenant="")]
    job = replace(desk.job(desk.ask("ada", PlanCommand()).object_id), reason=why, run_by="ada", approved_by="kim")
    for letter in letters:
        quick, plain = both_written(desk, prints, letter, job, "f" * 64 if edited else "")
        assert quick == plain


def test_what_letters_have_not_in_common_is_not_written_of_another() -> None:
    """One after the other, each unlike the first in one thing: its stage, place, tenant, failure, returns, or job."""
    desk, prints = Desk(), Prints(CODEC, "demo")
    letters = [
        desk.dead("k"),
        desk.dead("k", stage=PLAN),
        desk.dead("k", partition=1),
        desk.dead("k", tenant="other"),
        desk.dead("k", error=RecordError("not in Confluent's framing", Reason.EMPTY)),
        desk.dead("k", error=SchemaMismatch("in other words")),
    ]
    planned = [desk.job(desk.ask("ada", PlanCommand()).object_id) for _ in range(2)]
    job, other = (replace(one, reason="x", run_by="ada", approved_by="kim") for one in planned)
    desk.run()
    letters.append(desk.fail_again(desk.returned()[0], error=SchemaMismatch("not in Confluent's framing")))
    assert (
        len({(one.group, one.place[1], one.tenant, one.reason, one.fingerprint, one.generation) for one in letters})
        == 7
    )
    for letter in letters:
        quick, plain = both_written(desk, prints, letter, job)
        assert quick == plain, letter
    for unlike in (other, replace(job, run_by="eve")):
        quick, plain = both_written(desk, prints, letters[0], unlike)
        assert quick == plain


def test_two_copies_of_a_letter_that_a_job_passes_over_are_two_changes() -> None:
    """At-least-once stages can write a dead letter twice: each place has a change of its own."""
    desk = Desk()
    record = Record(topics.DOCUMENT_RECEIVED.name, 0, 7, NOW_MS - RETENTION_MS * 2, b"k", b"garbage")
    first, second = (desk.fail(record, ADMIT, SchemaMismatch("no")) for _ in range(2))
    assert (first.id, first.generation) == (second.id, second.generation)
    desk.run()
    changes = desk.events(LetterChanged)
    assert [(one.state, one.reason) for one in changes] == [("skipped", "stale")] * 2
    assert len({one.change_id for one in changes}) == 2


def test_what_ends_whoever_decodes_it_ends_replay_twice_and_never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead for another reason: a dry run, a filter over values, an edit of one or of all; the others go on."""
    killer = document("KILLER")

    def deadly(does: Callable[..., Any], at: int) -> Callable[..., Any]:
        def checked(*given: Any) -> Any:
            value = given[at].value if isinstance(given[at], Outgoing) else given[at]
            if value == killer:
                raise Segfault
            return does(*given)

        return checked

    def lives(desk: Desk, work: Callable[[], Any]) -> tuple[int, Any]:
        """How many processes it takes until one does not end by it, and what that one returns."""
        for deaths in range(10):
            try:
                return deaths, work()
            except Segfault:
                desk.start()
        raise AssertionError("it ends replay at every start")

    monkeypatch.setattr(edits, "patched", deadly(edits.patched, 2))
    monkeypatch.setattr(replay, "decoded", deadly(replay.decoded, 2))
    patch = '[{"op": "replace", "path": "/text", "value": "b"}]'
    for plan in ({}, {"edit": patch}, {"filter": json.dumps({"expression": 'value.text != "x"'})}):
        desk = Desk()
        desk.changed["probe"] = deadly(desk.core._jobs._probe, 1)
        desk.start()
        for key, value in (("a", document()), ("k", killer), ("z", document())):
            desk.dead(key, value=value, error=RecordError("no workflow", Reason.UNATTRIBUTABLE))
        job_id = desk.ask("ada", PlanCommand(**plan)).object_id
        assert lives(desk, desk.work)[0] == ALONE_MAX
        report = json.loads(desk.job(job_id).report)
        group, expected = report["groups"]["aios.admit"], {"returns": 3, "fails": {"kills_its_process": 1}, "skips": {}}
        if "edit" in plan:
            expected = {"returns": 2, "fails": {}, "skips": {"unfit": 1}}
        if "filter" in plan:
            expected = {"returns": 2, "fails": {}, "skips": {}}
        assert report["complete"]
        assert {name: group[name] for name in expected} == expected
        assert desk.marks.hand == ""
    desk = Desk()
    letter = desk.dead("k", value=killer, error=RecordError("no workflow", Reason.UNATTRIBUTABLE))
    died, answer = lives(desk, lambda: desk.ask("ada", about(letter, Kind.EDIT, patch=patch), letter.id))
    assert (died, answer.problem) == (ALONE_MAX, "does_not_fit")


def test_a_job_whose_people_lost_their_right_says_so_until_it_goes_on() -> None:
    """Paused by itself, with the reason in what is remembered of it; resumed, it says nothing of it any more."""
    desk = Desk()
    for number in range(30):
        desk.dead(f"k{number}")
    job_id = desk.ask("ada", PlanCommand(rate_per_s=10)).object_id
    desk.work()
    desk.ask("kim", JobCommand(kind=Kind.APPROVE), job_id)
    desk.ask("ada", JobCommand(kind=Kind.RUN), job_id)
    for _ in range(50):
        desk.turn()
    del desk.people.roles["kim"]
    desk.passed_s += 5
    desk.turn()
    stopped = desk.job(job_id)
    assert (stopped.state, 0 < stopped.replayed < 30) == ("paused", True)
    assert stopped.stopped_because.startswith("who approved it, kim, may not")
    assert "not active any more" in stopped.stopped_because
    desk.people.roles["kim"] = ("approver",)
    desk.ask("ada", JobCommand(kind=Kind.RESUME), job_id)
    assert desk.job(job_id).stopped_because == ""
