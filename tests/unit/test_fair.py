"""Whose turn it is: every tenant its share, the urgent first, and never more in flight than there is room for."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aios.inference_workers import fair
from aios.inference_workers.fair import Costs, Fair, urgency
from aios.inference_workers.room import Room
from aios.streams.record import Record

ONE_MAX = 500


def record(tenant: str, number: int, tokens: int = 10, **headers: int) -> Record:
    """One whose bytes are as many as its tokens take at first sight."""
    named = [("aios-tenant", tenant.encode())]
    named += [(f"aios-{name}", str(value).encode()) for name, value in headers.items()]
    return Record("t", 0, number, 1_000 + number, None, b"x" * (tokens * fair.BYTES_PER_TOKEN), named)


def tenant_of(one: Record) -> str:
    return one.header("aios-tenant") or ""


def exact(requests_max: int = 1, tokens_max: int = 1 << 30, weights: dict[str, float] | None = None) -> Fair:
    return Fair(Costs(1 << 20), requests_max=requests_max, room=Room(tokens_max).lane(tokens_max), weights=weights)


def tokens_of(one: Record) -> int:
    return len(one.value or b"") // fair.BYTES_PER_TOKEN


costs = st.lists(st.integers(1, 300), min_size=1, max_size=20)


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), costs, min_size=2),
    weights=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.5, 1.0, 2.0, 5.0])),
    rounds=st.integers(1, 60),
)
def test_those_who_always_wait_get_their_share(
    sizes: dict[str, list[int]], weights: dict[str, float], rounds: int
) -> None:
    """At any moment, service ÷ weight of two tenants differs by no more than one request of each."""
    turns = exact(weights=weights)
    served: Counter[str] = Counter()
    number = 0
    for tenant, each in sizes.items():
        for _ in range(2):
            turns.put(record(tenant, number, each[number % len(each)]))
            number += 1
    for _ in range(rounds):
        one = turns.next()
        assert one is not None
        served[tenant_of(one)] += tokens_of(one)
        each = sizes[tenant_of(one)]
        turns.put(record(tenant_of(one), number, each[number % len(each)]))
        number += 1
        turns.ended(one, tokens_of(one))
        had = {tenant: served[tenant] / weights.get(tenant, 1.0) for tenant in sizes}
        largest = {tenant: max(each) / weights.get(tenant, 1.0) for tenant, each in sizes.items()}
        for a, b in itertools.combinations(sizes, 2):
            assert abs(had[a] - had[b]) <= largest[a] + largest[b] + 1e-6


@settings(max_examples=50, deadline=None)
@given(true=st.dictionaries(st.sampled_from("abc"), st.integers(0, 400), min_size=2), at_once=st.integers(1, 8))
def test_a_wrong_estimate_is_paid_back(true: dict[str, int], at_once: int) -> None:
    """Whoever takes more than their records look like gets fewer turns: the shares of what is truly taken are even."""
    turns = Fair(Costs(ONE_MAX), requests_max=at_once, room=Room(1 << 30).lane(1 << 30))
    flying: deque[Record] = deque()
    spent: Counter[str] = Counter()
    number = 0
    for tenant in true:
        for _ in range(2 * at_once):
            turns.put(record(tenant, number))
            number += 1
    for _ in range(200):
        while (one := turns.next()) is not None:
            flying.append(one)
            turns.put(record(tenant_of(one), number))
            number += 1
        one = flying.popleft()
        spent[tenant_of(one)] += true[tenant_of(one)]
        turns.ended(one, true[tenant_of(one)])
    paying = [tenant for tenant in true if true[tenant] >= 10]
    for a in paying:
        for b in paying:
            assert abs(spent[a] - spent[b]) <= (2 * at_once + 2) * ONE_MAX


def test_a_backlog_delays_nobody_else_and_a_pause_saves_nothing_up() -> None:
    """One has 10,000 waiting: whoever comes is next but one; and has no more than their share afterwards."""
    turns = exact()
    for number in range(10_000):
        turns.put(record("greedy", number))
    for _ in range(1_000):
        one = turns.next()
        assert one is not None
        turns.ended(one, 10)
    for number in range(3):
        turns.put(record("modest", 20_000 + number))
    order = []
    for _ in range(7):
        one = turns.next()
        assert one is not None
        order.append(tenant_of(one))
        turns.ended(one, 10)
    assert "modest" in order[:2]
    assert Counter(order)["modest"] == 3
    assert order[:4].count("modest") == 2
    for _ in range(1_000):
        one = turns.next()
        assert one is not None
        assert tenant_of(one) == "greedy"
        turns.ended(one, 10)
    for number in range(100):  # who was here before, and away meanwhile, has no more than that either
        turns.put(record("modest", 30_000 + number))
    after = Counter[str]()
    for _ in range(40):
        one = turns.next()
        assert one is not None
        after[tenant_of(one)] += 1
        turns.ended(one, 10)
    assert abs(after["modest"] - after["greedy"]) <= 2


def test_the_earliest_deadline_goes_first_and_nothing_starves() -> None:
    """Priority is a head start, no more: what has waited long enough goes before anything that just came."""
    turns = exact()
    plain, urgent = record("a", 1), record("a", 2, deadline=5_000)
    important, old = record("a", 3, priority=-30), record("a", 0, priority=1_000)
    for one in (plain, important, urgent, old):
        turns.put(one)
    order = []
    for _ in range(4):
        one = turns.next()
        assert one is not None
        order.append(one.offset)
        turns.ended(one, 10)
    assert order == [2, 3, 1, 0]
    later = Record("t", 0, 9, old.timestamp_ms + 2_000 * 1_000, None, b"", [("aios-priority", b"-1000")])
    assert urgency(old) <= urgency(later)


def test_a_header_that_is_no_number_is_as_good_as_none() -> None:
    one = Record("t", 0, 0, 7, None, b"", [("aios-deadline", b"soon"), ("aios-priority", b"\xff")])
    assert urgency(one) == 7 + fair.PATIENCE_MS


def test_one_request_alone_always_goes_and_none_overtakes_it_for_being_small() -> None:
    """Larger than the room, it waits until nothing else is in flight, and small ones of others do not pass it."""
    turns = exact(requests_max=10, tokens_max=100)
    small, large = record("a", 0, 10), record("b", 1, 5_000)
    turns.put(small)
    assert turns.next() is small
    turns.put(large)
    for number in range(2, 5):
        turns.put(record("a", number, 10))
    assert [turns.next(), turns.next()] == [None, None]
    turns.ended(small, 10)
    assert turns.next() is large
    assert turns.next() is None


def test_a_size_is_learned_from_what_it_took() -> None:
    """Records of 1,000 bytes that take 40 tokens are soon taken for 40, and never for more than the model reads."""
    learned = Costs(ONE_MAX)
    one = record("a", 0, tokens=250)
    assert learned.estimate(one) == 250
    for _ in range(200):
        learned.learn(one, 40)
    assert abs(learned.estimate(one) - 40) <= 2
    assert learned.estimate(record("a", 1, tokens=10_000)) <= ONE_MAX
    long = record("a", 0, tokens=10 * ONE_MAX)
    for _ in range(200):
        learned.learn(long, 100)
    assert abs(learned.estimate(long) - 100) <= 2
    assert learned.estimate(record("a", 1, tokens=0)) >= 1


@dataclass
class Seen:
    """A model of what waits and flies."""

    waiting: dict[int, Record] = field(default_factory=dict)
    flying: dict[int, Record] = field(default_factory=dict)
    by_tenant: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Turns(RuleBasedStateMachine):
    """Any history of coming, going, leaving partitions and wrong estimates."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(600).lane(600)
        self.turns = Fair(Costs(ONE_MAX), requests_max=4, room=self.room)
        self.seen = Seen()
        self.number = 0

    @rule(tenant=st.sampled_from("abc"), tokens=st.integers(0, 900), count=st.integers(1, 3))
    def put(self, tenant: str, tokens: int, count: int) -> None:
        for _ in range(count):
            one = record(tenant, self.number, tokens)
            self.number += 1
            self.turns.put(one)
            self.seen.waiting[one.offset] = one

    @rule()
    def next(self) -> None:
        one = self.turns.next()
        if one is None:
            assert self.seen.flying or not self.seen.waiting
            return
        self.seen.flying[one.offset] = self.seen.waiting.pop(one.offset)
        tenants = [tenant_of(each) for each in self.seen.waiting.values()]
        if tenant_of(one) in tenants:
            mine = [each for each in self.seen.waiting.values() if tenant_of(each) == tenant_of(one)]
            assert urgency(one) <= min(map(urgency, mine))

    @precondition(lambda self: self.seen.flying)
    @rule(data=st.data(), tokens=st.none() | st.integers(0, 1_000))
    def end(self, data: st.DataObject, tokens: int | None) -> None:
        which = data.draw(st.sampled_from(sorted(self.seen.flying)))
        self.turns.ended(self.seen.flying.pop(which), tokens)

    @precondition(lambda self: self.seen.waiting)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(sorted(self.seen.waiting)), unique=True))
        self.turns.drop([self.seen.waiting.pop(which) for which in gone])

    @rule()
    def end_what_is_not_in_flight(self) -> None:
        self.turns.ended(record("a", -1), 5)

    @invariant()
    def room_is_kept(self) -> None:
        assert len(self.seen.flying) <= 4
        assert 0 <= self.room.tokens <= 600
        assert len(self.turns._flying) == len(self.seen.flying)

    @invariant()
    def what_was_dropped_is_let_go(self) -> None:
        for flow in self.turns._flows.values():
            assert len(flow.waiting) <= 2 * flow.alive + fair.DROPPED_KEPT
            assert flow.alive or not flow.waiting

    def teardown(self) -> None:
        """Nothing is forgotten: from any state everything that waits has its turn."""
        for one in list(self.seen.flying.values()):
            self.turns.ended(one, 1)
        for _ in range(len(self.seen.waiting)):
            one = self.turns.next()
            assert one is not None
            self.turns.ended(self.seen.waiting.pop(one.offset), 1)
        assert self.turns.next() is None
        assert self.room.tokens == 0


Turns.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_any_history_of_turns = Turns.TestCase


def test_tenants_who_left_are_forgotten() -> None:
    """A thousand tenants ask once: what is remembered of them is bounded."""
    turns = exact(requests_max=2)
    turns.put(record("stays", 0))
    stays = turns.next()
    for number in range(1, 1_000):
        turns.put(record(f"tenant-{number}", number))
        one = turns.next()
        assert one is not None
        turns.ended(one, 10)
    assert stays is not None
    assert len(turns._flows) <= 2 * (fair.FLOWS_KEPT + 2)


def test_what_a_resting_partition_is_read_for_again_and_again_is_let_go() -> None:
    """Each time its records are dropped, also where the tenant has others that wait; those keep their order."""
    turns = exact()
    for number in range(20):
        turns.put(record("a", number, deadline=5_000 + number))
    for read in range(50):
        gone = [record("a", 1_000 * read + number, deadline=number) for number in range(100, 200)]
        for one in gone:
            turns.put(one)
        turns.drop(gone)
        assert len(turns._flows["a"].waiting) <= 2 * 20 + fair.DROPPED_KEPT
    order = []
    while (taken := turns.next()) is not None:
        order.append(taken.offset)
        turns.ended(taken, 10)
    assert order == list(range(20))


def test_what_was_given_back_was_paid_for_by_nobody() -> None:
    """A partition that rests takes its requests back: its tenant is as if they had never been served."""
    turns = exact()
    for number in range(20):
        turns.put(record("rests", number, tokens=500))
        turns.put(record("other", 100 + number))
    for _ in range(5):
        one = turns.next()
        while one is not None and tenant_of(one) == "other":
            turns.ended(one, 10)
            one = turns.next()
        assert one is not None
        turns.ended(one, None)
        turns.put(one)
    served = Counter[str]()
    for _ in range(51):
        one = turns.next()
        assert one is not None
        served[tenant_of(one)] += tokens_of(one)
        turns.ended(one, tokens_of(one))
        turns.put(one)
    assert abs(served["rests"] - served["other"]) <= 510


def test_a_priority_is_bounded_on_both_sides() -> None:
    """However high a number somebody names, deadlines still count."""
    at_once, later = (fair.PRIORITY_MAX * fair.PRIORITY_MS * sign for sign in (-1, 1))
    for asked, shift in ((0, 0), (3, 3 * fair.PRIORITY_MS), (-(10**9), at_once), (10**9, later)):
        assert urgency(record("a", 1, deadline=5_000_000, priority=asked)) == 5_000_000 + shift


def test_whoever_leaves_while_it_finds_no_room_keeps_nobody_out() -> None:
    """Its partition has left before there was room for it: bulk work need not wait behind it."""
    room = Room(100)
    waits = Fair(Costs(1 << 20), requests_max=9, room=room.lane(100))
    bulk = Fair(Costs(1 << 20), requests_max=9, room=room.lane(100, bulk=True))
    for number in range(3):
        bulk.put(record("b", number, tokens=40))
    assert bulk.next() is not None
    large = record("a", 9, tokens=90)
    waits.put(large)
    assert waits.next() is None
    assert bulk.next() is None
    waits.drop([large])
    assert bulk.next() is not None
