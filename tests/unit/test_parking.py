"""Order per key across failures: by the store itself on a log in memory, and by the pure rules alone."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import envelope, parking, retry
from aios.dlq.decide import Limits
from aios.dlq.settle import Settler
from aios.processors.stateful import changelog, draft, store
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.state import Effects, StateView
from aios.processors.stateful.store import PartitionStore, Paused, Services
from aios.schemas.codec import Codec
from aios.schemas.models import PositionRemembered
from aios.streams import topics
from aios.streams.errors import Reason, RecordError
from aios.streams.record import Outgoing, Record, headers_of
from aios.streams.topology import PLAN
from tests.fakes.breakers import OwnBreakers
from tests.fakes.memory_log import Crash, MemoryLog
from tests.fakes.registry import FakeRegistry

ORDERED = (topics.CASE_ADMITTED.name, topics.REVIEW_DECIDED.name)
KEYS = (b"a", b"b")
ROUNDS_MAX = 200
NEVER = Limits(unknown_in_a_row_max=10**6, unknown_share_max=1.0, bad_share_max=1.0)  # breakers are not the matter here


class Fails:
    """The core: fails as often and as badly as the record says, then tells its id."""

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        asked = json.loads(record.value or b"")
        tried = envelope.attempts_of(record)
        how = asked["fails"][tried] if tried < len(asked["fails"]) else "no"
        match how:
            case "unknown":
                raise ValueError("as asked")
            case "dead":
                raise RecordError("as asked", Reason.CONTRACT_BROKEN)
            case "foreign":
                raise RecordError("as asked", Reason.UNATTRIBUTABLE)
        told = json.dumps({"id": asked["id"], "topic": envelope.origin(record).topic})
        return Effects(outputs=(Outgoing(topics.CASE_DECIDED.name, record.key, told.encode(), (), 0),))

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        raise NotImplementedError


class Alive:
    """Nobody dies of a record here."""

    def begin(self, *_: Any) -> None: ...
    def end(self, *_: Any) -> None: ...
    def suspects(self, *_: Any) -> None: ...


def positions(world: World, topic: str) -> list[int]:
    """Of an input, as each transaction wrote it."""
    assert PLAN.changelog is not None
    told = [one.value for one in world.log.topics[PLAN.changelog.name] if one.key == changelog.POSITION]
    return [world.log.codec.decode(value, PositionRemembered).inputs[topic] for value in told]


@dataclass
class World:
    """One partition of plan, and everything around it that moves records."""

    limits: Limits = NEVER
    breakers: OwnBreakers = field(default_factory=OwnBreakers)
    log: MemoryLog = field(init=False)
    store: PartitionStore = field(init=False)
    waiting: list[Record] = field(default_factory=list)  # in the retry tiers
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sent: dict[int, tuple[bytes, str, list[str]]] = field(default_factory=dict)
    replayed: set[int] = field(default_factory=set)  # offsets of dead letters
    discarded: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        codec = Codec(FakeRegistry())
        assert PLAN.changelog is not None
        codec.warm([PLAN.changelog])
        self.log = MemoryLog(codec, PLAN)
        self._services = Services(
            stage=PLAN,
            core=Fails(),
            codec=codec,
            log=self.log,
            deaths=cast(Any, Alive()),
            settler=Settler(PLAN, "test", self.limits, breakers=self.breakers),
        )
        self.open()

    def open(self) -> None:
        """As another process, and one more should that one die at it."""
        self.store = PartitionStore(self._services, 0)
        try:
            self.store.open()
        except Crash:
            self.open()

    def send(self, key: bytes, topic: str, fails: list[str]) -> None:
        number = len(self.sent)
        self.sent[number] = (key, topic, fails)
        self.log.put(topic, key, json.dumps({"id": number, "fails": fails}).encode())

    def run(self, topic: str, count: int) -> bool:
        """The next records of an input; a crash is followed by a new process."""
        start = self.store.position[topic]
        records = self.log.topics[topic][start : start + count]
        try:
            if records:
                self.store.apply([Batch(topic, 0, start, records, start + len(records))])
        except Crash:
            self.open()
        for tier in topics.RETRY_TIERS:
            name = tier.topic.name
            self.waiting += self.log.topics[name][self.seen[name] :]
            self.seen[name] = len(self.log.topics[name])
        return bool(records)

    def give_back(self, which: int, *, again: bool) -> None:
        """The retry stage, which may be early, late, out of order, and deliver twice."""
        if self.waiting:
            at = which % len(self.waiting)
            one = self.waiting[at] if again else self.waiting.pop(at)
            self._put(retry.returning(one))

    def replay(self, letter: Record) -> None:
        """One without ordinal is nobody's, and a job returns it at most once; the others bear repeats."""
        settled = letter.offset in self.replayed or id_of(letter) in self.discarded
        if parking.ORDINAL not in dict(letter.headers) and settled:
            return
        self.replayed.add(letter.offset)
        told = envelope.headers_said(letter.headers)
        told |= {"replay.attempts": told["attempts"], "replay.count": "1"}
        ours = headers_of({envelope.PREFIX + name: text for name, text in told.items()})
        self._put(Outgoing(PLAN.retries.name, letter.key, letter.value, ours))

    def discard(self, letter: Record) -> None:
        ordinal = dict(letter.headers).get(parking.ORDINAL)
        if ordinal is None and letter.offset in self.replayed:
            return
        self.discarded.add(id_of(letter))
        if ordinal is not None:
            control = ((parking.CONTROL, parking.DISCARDED.encode()), (parking.ORDINAL, ordinal))
            self._put(Outgoing(PLAN.retries.name, letter.key, None, control))

    @property
    def letters(self) -> list[Record]:
        return self.log.topics[PLAN.dead_letters.name]

    @property
    def open_letters(self) -> list[Record]:
        """One of each record that is neither done nor discarded, in the order of a replay job."""
        settled = {one["id"] for one in self.told} | self.discarded
        latest = {id_of(one): one for one in self.letters if id_of(one) not in settled}
        return sorted(latest.values(), key=lambda one: int(dict(one.headers).get(parking.ORDINAL) or b"0"))

    @property
    def told(self) -> list[Any]:
        return [json.loads(one.value or b"") for one in self.log.topics[topics.CASE_DECIDED.name]]

    def heal(self) -> None:
        """Everything returns, in order, until nothing is left; fails where that does not end."""
        for _ in range(ROUNDS_MAX):
            moved = [self.run(topic.name, 1_000) for topic in PLAN.inputs]
            while self.waiting:
                self.give_back(0, again=False)
                moved.append(True)
            if any(moved):
                continue
            if not self.open_letters:
                return
            for letter in self.open_letters:
                self.replay(letter)
        raise AssertionError(f"never settled: {[id_of(one) for one in self.open_letters]}")

    def _put(self, out: Outgoing) -> None:
        self.log.put(out.topic, out.key, out.value, out.headers)

    @property
    def held(self) -> dict[bytes, Any]:
        return self.store._remembered.parked


def id_of(one: Record) -> int:
    return int(json.loads(one.value or b"")["id"])


_fails = st.lists(st.sampled_from(["unknown", "unknown", "dead", "foreign"]), max_size=5)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(KEYS), st.sampled_from(ORDERED), st.just([]) | _fails),
        st.tuples(st.just("run"), st.sampled_from((*ORDERED, PLAN.retries.name)), st.integers(1, 5)),
        st.tuples(st.just("return"), st.integers(0, 20), st.sampled_from([False, False, False, True])),
        st.tuples(st.just("replay"), st.integers(0, 20)),
        st.tuples(st.just("discard"), st.integers(0, 20)),
        st.tuples(st.just("die"), st.sampled_from(["before", "after", "now"])),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(_steps)
def test_no_record_overtakes_another_of_its_key_and_none_is_lost(steps: list[Any]) -> None:
    """Whatever fails, waits, returns twice or out of order, is replayed, discarded or dies: each once, in order."""
    world = World()
    for step in steps:
        match step:
            case "send", key, topic, fails:
                world.send(key, topic, fails)
            case "run", topic, count:
                world.run(topic, count)
            case "return", which, again:
                world.give_back(which, again=again)
            case "replay", which if world.letters:
                world.replay(world.letters[which % len(world.letters)])
            case "discard", which if world.open_letters:
                world.discard(world.open_letters[which % len(world.open_letters)])
            case "die", "now":
                world.open()
            case "die", when:
                world.log.die = when
    world.heal()
    done = [one["id"] for one in world.told]
    assert sorted({*done, *world.discarded}) == sorted(world.sent)
    assert len(set(done)) == len(done)
    belonging = [one for one in done if "foreign" not in world.sent[one][2]]
    for key in KEYS:
        for topic in ORDERED:
            told = [one for one in belonging if world.sent[one][:2] == (key, topic)]
            assert told == sorted(told)
    assert world.held == {}


@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "from"]), st.integers(0, 30)), min_size=10, max_size=60))
def test_spans_are_a_set(steps: list[tuple[str, int]]) -> None:
    """Added, taken out and cut: they hold what a set of the same numbers holds, in as few spans as there can be."""
    spans: parking.Spans = ()
    wanted: set[int] = set()
    for how, one in steps:
        if how == "add":
            spans, wanted = parking.add(spans, one), wanted | {one}
        elif how == "remove":
            spans, wanted = parking.remove(spans, one), wanted - {one}
        else:
            spans, wanted = parking.from_(spans, one), {each for each in wanted if each >= one}
        assert {each for each in range(-1, 33) if parking.has(spans, each)} == wanted
        assert all(left < right for left, right in itertools.pairwise(spans))


def world_of(*sent: tuple[bytes, str, list[str]]) -> World:
    world = World()
    for key, topic, fails in sent:
        world.send(key, topic, fails)
    for topic in ORDERED:
        world.run(topic, 100)
    return world


def test_later_records_of_a_key_follow_the_one_that_failed_and_others_go_on() -> None:
    """Untried, with the next ordinals, to where the first one waits; another key is not held."""
    admitted = ORDERED[0]
    world = world_of((b"a", admitted, ["unknown"]), (b"a", admitted, []), (b"b", admitted, []))
    assert [one["id"] for one in world.told] == [2]
    assert [id_of(one) for one in world.waiting] == [0, 1]
    reasons = [dict(one.headers)["aios.dlq.reason"] for one in world.waiting]
    assert reasons == [b"unknown", b"parked"]
    first, second = (int(dict(one.headers)[parking.ORDINAL] or b"") for one in world.waiting)
    assert second == first + 1
    world.heal()
    assert [one["id"] for one in world.told] == [2, 0, 1]
    assert envelope.attempts_of(world.log.topics[PLAN.retries.name][1]) == 0


def test_what_succeeded_before_failures_of_one_batch_is_told_before_them() -> None:
    """As many as may fail in a row, again and again, open no breaker; one more after a success does."""
    few = Limits(unknown_in_a_row_max=3)
    world = World(limits=few)
    for number in range(20):
        world.send(b"%d" % number, ORDERED[0], ["unknown"] if number % 4 else [])
    world.run(ORDERED[0], 100)
    assert len(world.waiting) == 15
    assert not world.breakers.changes
    world = World(limits=few)
    for number in range(5):
        world.send(b"%d" % number, ORDERED[0], ["unknown"] if number else [])
    with pytest.raises(Paused):
        world.run(ORDERED[0], 100)
    assert [change.failed for change in world.breakers.changes] == [4]


def test_a_transaction_s_position_stands_behind_its_last_record_whatever_became_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch in several transactions: one that succeeded, one that follows, one that failed comes last in its own."""
    monkeypatch.setattr(store, "RECORDS_MAX", 2)
    monkeypatch.setattr(draft, "RECORDS_MAX", 2)
    admitted = ORDERED[0]
    world = world_of((b"a", admitted, ["unknown"]))
    for key, fails in ((b"b", []), (b"a", []), (b"c", []), (b"d", ["dead"]), (b"e", []), (b"f", [])):
        world.send(key, admitted, fails)
    before = len(positions(world, admitted))
    world.run(admitted, 100)
    assert positions(world, admitted)[before:] == [3, 5, 7]


def test_a_released_key_holds_nothing_and_a_repeat_of_what_it_held_is_passed_over() -> None:
    """Replayed twice, also while the key is held anew: once is enough."""
    admitted = ORDERED[0]
    world = world_of((b"a", admitted, ["dead"]), (b"a", admitted, []))
    old = list(world.letters)
    for letter in old:
        world.replay(letter)
    world.run(PLAN.retries.name, 10)
    assert [one["id"] for one in world.told] == [0, 1]
    assert world.held == {}
    world.send(b"a", admitted, ["dead"])
    world.run(admitted, 10)
    for letter in (*old, *old):
        world.replay(letter)
    world.run(PLAN.retries.name, 10)
    assert [one["id"] for one in world.told] == [0, 1]
    world.heal()
    assert [one["id"] for one in world.told] == [0, 1, 2]


def test_a_discarded_head_lets_the_next_one_go() -> None:
    """Its ordinal counts as settled, and so does one that is discarded out of order."""
    admitted = ORDERED[0]
    world = world_of((b"a", admitted, ["dead"]), *[(b"a", admitted, [])] * 3)
    world.discard(world.letters[2])
    world.discard(world.letters[0])
    world.run(PLAN.retries.name, 10)
    assert [(one.next - one.lowest, one.discarded[1] - one.discarded[0]) for one in world.held.values()] == [(3, 1)]
    world.replay(world.letters[1])
    world.replay(world.letters[3])
    world.run(PLAN.retries.name, 10)
    assert [one["id"] for one in world.told] == [1, 3]
    assert world.held == {}


def test_what_is_discarded_here_and_there_holds_its_key_no_longer_than_the_rest() -> None:
    """Each gap counts as settled when its turn comes, also the second one."""
    world = world_of((b"a", ORDERED[0], ["dead"]), *[(b"a", ORDERED[0], [])] * 5)
    letters = list(world.letters)
    for number in (1, 3, 5):
        world.discard(letters[number])
    world.run(PLAN.retries.name, 10)
    for number in (0, 2, 4):
        world.replay(letters[number])
    world.run(PLAN.retries.name, 10)
    assert [one["id"] for one in world.told] == [0, 2, 4]
    assert world.held == {}


def test_a_record_follows_to_where_the_one_before_it_waits() -> None:
    """Not to the dead letters, where another of its key once was: nobody would have to replay it."""
    admitted = ORDERED[0]
    world = world_of((b"a", admitted, ["unknown", "dead"]), (b"a", admitted, []))
    world.give_back(0, again=False)
    world.run(PLAN.retries.name, 10)
    (letter,) = world.letters
    world.replay(letter)
    world.run(PLAN.retries.name, 10)
    assert [one["id"] for one in world.told] == [0]
    world.send(b"a", admitted, [])
    world.run(admitted, 10)
    assert [id_of(one) for one in world.waiting] == [1, 2]
    assert world.letters == [letter]


def test_what_is_remembered_of_a_key_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every other one is replayed, those in between are taken to lie there too."""
    monkeypatch.setattr(parking, "SPANS_MAX", 2)
    parked = None
    for _ in range(20):
        parked, _ = parking.hold(parked, None, start=100, place="dead", dead=True, now_ms=1)
    for ordinal in range(101, 120, 2):
        parked, _ = parking.hold(parked, ordinal, start=100, place="tier", dead=False, now_ms=1)
        assert len(parked.dead) <= 4
    assert parking.place(parked, 119, "dead") == "dead"


def test_a_discard_that_leaves_one_gap_too_many_ends_no_process_and_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a dead letter in its place: once there is room it returns, and says what it said before."""
    monkeypatch.setattr(parking, "SPANS_MAX", 1)
    world = world_of((b"a", ORDERED[0], ["dead"]), *[(b"a", ORDERED[0], [])] * 5)
    letters = list(world.letters)
    for number in (2, 4):
        world.discard(letters[number])
    world.run(PLAN.retries.name, 10)
    (refused,) = world.letters[6:]
    said = envelope.headers_said(refused.headers)
    assert (said["reason"], said["park.ordinal"]) == ("oversize", dict(letters[4].headers)[parking.ORDINAL].decode())
    for letter in (*letters[:2], letters[3]):
        world.replay(letter)
    world.log.put(PLAN.retries.name, refused.key, refused.value, refused.headers)
    world.replay(letters[5])
    world.run(PLAN.retries.name, 10)
    assert [one["id"] for one in world.told] == [0, 1, 3, 5]
    assert world.held == {}


def test_what_belongs_to_nobody_holds_no_key() -> None:
    """A record that names another's case is a dead letter without ordinal; the case goes on."""
    admitted = ORDERED[0]
    world = world_of((b"a", admitted, ["foreign"]), (b"a", admitted, []))
    assert [one["id"] for one in world.told] == [1]
    assert parking.ORDINAL not in dict(world.letters[0].headers)


def test_a_held_cases_deadline_still_runs() -> None:
    """A timer that fired is no part of the order: it is processed while its key is held."""
    world = world_of((b"a", ORDERED[0], ["dead"]))
    world.send(b"a", topics.TIMER_FIRED.name, [])
    world.run(topics.TIMER_FIRED.name, 10)
    assert [one["id"] for one in world.told] == [1]
    assert list(world.held) == [b"a"]
