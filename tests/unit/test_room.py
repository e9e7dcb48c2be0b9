"""The room of one cache for two lanes: never more than there is, whoever waits first, and nobody is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aios.inference_workers import worker
from aios.inference_workers.engines.batch import FREE_SHARE
from aios.inference_workers.fair import Costs, Fair
from aios.inference_workers.room import Room
from aios.streams.pool_files import Lane
from aios.streams.record import Record

WHOLE, KEPT = 1_000, 125
BULK, INTERACTIVE = "bulk", "interactive"


@dataclass
class Taking:
    """A lane as its order has it: what it wants next, and what it has."""

    wanted: list[int] = field(default_factory=list)
    has: list[int] = field(default_factory=list)
    told: bool = True


class Cache(RuleBasedStateMachine):
    """Two lanes that take and give in any order; each looks again only when it wants something new, something of its
    own has ended, or it was told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(WHOLE, kept=KEPT)
        self.lanes = {BULK: self.room.lane(700, bulk=True), INTERACTIVE: self.room.lane(WHOLE)}
        self.taking = {BULK: Taking(), INTERACTIVE: Taking()}
        for name, lane in self.lanes.items():
            lane.tell = lambda taking=self.taking[name]: setattr(taking, "told", True)

    @initialize()
    def nothing(self) -> None:
        assert not any(lane.tokens for lane in self.lanes.values())

    @rule(name=st.sampled_from([BULK, INTERACTIVE]), tokens=st.integers(1, 1_500))
    def want(self, name: str, tokens: int) -> None:
        self.taking[name].wanted.append(tokens)
        self.taking[name].told = True

    @rule(name=st.sampled_from([BULK, INTERACTIVE]))
    def look(self, name: str) -> None:
        taking, lane = self.taking[name], self.lanes[name]
        taking.told = False
        while taking.wanted and (taken := lane.take(taking.wanted[0])):
            assert 0 < taken <= taking.wanted.pop(0)
            taking.has.append(taken)

    @precondition(lambda self: any(taking.has for taking in self.taking.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, taking in self.taking.items() if taking.has]))
        taking = self.taking[name]
        self.lanes[name].give(taking.has.pop(data.draw(st.integers(0, len(taking.has) - 1))))
        taking.told = True

    @rule(name=st.sampled_from([BULK, INTERACTIVE]))
    def leave(self, name: str) -> None:
        """Its partitions have left: nothing waits there any more."""
        self.taking[name].wanted.clear()
        self.lanes[name].forgo()

    @invariant()
    def never_more_than_there_is(self) -> None:
        taken = {name: sum(taking.has) for name, taking in self.taking.items()}
        assert taken == {name: lane.tokens for name, lane in self.lanes.items()}
        assert sum(taken.values()) <= WHOLE
        assert taken[BULK] <= 700

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """With nothing taken, whoever wants something has been told to look, or another one will tell."""
        if not any(taking.has for taking in self.taking.values()):
            wanting = [taking for taking in self.taking.values() if taking.wanted]
            assert not wanting or any(taking.told for taking in wanting)

    def teardown(self) -> None:
        """From any state everything wanted is had, each lane looking only when it was told."""
        for _ in range(10_000):
            looking = [name for name, taking in self.taking.items() if taking.told]
            for name in looking:
                self.look(name)
            having = [name for name, taking in self.taking.items() if taking.has]
            if not having and not looking:
                break
            for name in having[:1]:
                self.lanes[name].give(self.taking[name].has.pop())
                self.taking[name].told = True
        assert not any(taking.wanted for taking in self.taking.values())


Cache.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_any_history_of_two_lanes = Cache.TestCase


def test_bulk_work_leaves_room_for_whoever_waits() -> None:
    """It never takes the last part; and nothing at all while somebody who waits found too little."""
    room = Room(WHOLE, kept=KEPT)
    bulk, interactive = room.lane(WHOLE, bulk=True), room.lane(WHOLE)
    assert [bulk.take(175) for _ in range(6)] == [175] * 5 + [0]
    assert interactive.take(KEPT) == KEPT
    assert interactive.take(300) == 0
    bulk.give(175)
    assert bulk.take(1) == 0
    bulk.give(175)
    assert interactive.take(300) == 300
    assert bulk.take(1) == 0  # the last part again
    interactive.give(300)
    assert bulk.take(175) == 175


def test_who_has_enough_of_its_own_keeps_nobody_out() -> None:
    """An interactive pool at its own bound waits for its own requests; bulk work goes on."""
    room = Room(WHOLE)
    bulk, interactive = room.lane(WHOLE, bulk=True), room.lane(100)
    assert interactive.take(100)
    assert not interactive.take(100)
    assert bulk.take(500) == 500


def test_two_lanes_together_take_no_more_than_the_cache() -> None:
    """Both with more waiting than it holds: what is in flight of both is within it, and of whoever waits is most."""
    room = worker._room(Cached(), (Lane.BULK, Lane.INTERACTIVE))
    lanes = {name: room.lane(1 << 20, bulk=name == BULK) for name in (BULK, INTERACTIVE)}
    orders = {name: Fair(Costs(500), requests_max=64, room=lane) for name, lane in lanes.items()}
    for order in orders.values():
        for number in range(64):
            order.put(Record("t", 0, number, 0, None, b"x" * 2_000, (("aios-tenant", b"demo"),)))
    for _ in range(64):
        for order in orders.values():
            order.next()
    assert lanes[BULK].tokens + lanes[INTERACTIVE].tokens <= Cached.tokens_max
    assert lanes[BULK].tokens <= Cached.tokens_max - Cached.tokens_max // FREE_SHARE
    assert lanes[INTERACTIVE].tokens >= Cached.tokens_max // FREE_SHARE


class Cached:
    """An engine's cache, that of the shipped writer."""

    tokens_max = 11_650
