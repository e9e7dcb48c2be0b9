"""What a member has in hand, through rebalances, seeks and any order of ends, against a model of the log."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aios.inference_workers.fair import Costs, Fair
from aios.inference_workers.room import Room
from aios.streams import hands as module
from aios.streams.hands import Hands, Lane, Order
from aios.streams.record import Record

PLACES = [("a", 0), ("a", 1), ("b", 0)]
IN_FLIGHT_MAX = 4
WAITING_MAX = 6


def record(place: tuple[str, int], offset: int, size: int = 1) -> Record:
    return Record(*place, offset, 0, None, b"x" * size)


class Member(RuleBasedStateMachine):
    """A member that reads three endless partitions, loses and gets them, and ends records in any order."""

    order: type[Order] | None = None

    def __init__(self) -> None:
        super().__init__()
        order = self.order() if self.order is not None else None
        self.hands = Hands(in_flight_max=IN_FLIGHT_MAX, waiting_max=WAITING_MAX, order=order)
        self.read_to: dict[tuple[str, int], int] = {}  # the client's position, by assigned partition
        self.committed = dict.fromkeys(PLACES, 0)  # the broker's
        self.ended: set[tuple[str, int, int]] = set()  # finished while owned
        self.taken: list[Record] = []  # ever, and not ended
        self.given_up: list[Record] = []  # taken once, not ours any more

    def disown(self, lanes: list[Lane]) -> None:
        gone = {(lane.topic, lane.partition) for lane in lanes}
        self.given_up += [one for one in self.taken if (one.topic, one.partition) in gone]
        self.taken = [one for one in self.taken if (one.topic, one.partition) not in gone]

    @rule(place=st.sampled_from(PLACES))
    def assign(self, place: tuple[str, int]) -> None:
        if place not in self.read_to:
            self.hands.assign([place])
            self.read_to[place] = self.committed[place]

    @precondition(lambda self: self.read_to)
    @rule(data=st.data(), lost=st.booleans())
    def part(self, data: st.DataObject, lost: bool) -> None:
        """Revoked: what is finished is committed. Lost: it is not."""
        place = data.draw(st.sampled_from(sorted(self.read_to)))
        lanes = self.hands.of([place])
        if not lost:
            self.commit()
        self.hands.part(lanes)
        del self.read_to[place]
        self.disown(lanes)

    @precondition(lambda self: self.read_to)
    @rule(data=st.data(), count=st.integers(1, 4), later=st.booleans())
    def read(self, data: st.DataObject, count: int, later: bool) -> None:
        """The client gives what comes next, or, after a seek, what was given back."""
        place = data.draw(st.sampled_from(sorted(self.read_to)))
        (lane,) = self.hands.of([place])
        for _ in range(min(count, self.hands.room)):
            assert self.hands.arrive(record(place, self.read_to[place]), lane, later=later)
            self.read_to[place] += 1

    @rule()
    def seek(self) -> None:
        for lane in self.hands.lanes.values():
            if lane.seek:
                again = lane.tracker.again_from
                if again is not None:
                    self.read_to[lane.topic, lane.partition] = again
                lane.seek = False

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        taken = self.hands.take(count)
        assert len(taken) <= count
        in_hand = {(one.topic, one.partition, one.offset) for one in self.taken}
        for one in taken:
            place = (one.topic, one.partition, one.offset)
            assert place not in in_hand
            in_hand.add(place)
        self.taken += taken

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), back=st.booleans())
    def end(self, data: st.DataObject, back: bool) -> None:
        one = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        assert self.hands.owns(one)
        assert self.hands.release(one) if back else self.hands.finish(one)
        assert not self.hands.owns(one)
        if back:
            self.given_up.append(one)
        else:
            self.ended.add((one.topic, one.partition, one.offset))

    @precondition(lambda self: self.given_up)
    @rule(data=st.data())
    def end_too_late(self, data: st.DataObject) -> None:
        """The result of an assignment that is gone counts for nothing, even if the same record is in hand again."""
        one = data.draw(st.sampled_from(self.given_up))
        assert not self.hands.owns(one)
        assert not self.hands.finish(one)
        assert not self.hands.release(one)

    @precondition(lambda self: self.read_to)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        lanes = self.hands.of([data.draw(st.sampled_from(sorted(self.read_to)))])
        self.hands.give_back(lanes[0])
        self.disown(lanes)

    @rule()
    def commit(self) -> None:
        for place, lane in self.hands.lanes.items():
            offset = lane.tracker.to_commit
            if offset is not None:
                self.committed[place] = max(self.committed[place], offset)
                lane.tracker.committed(offset)

    @invariant()
    def no_commit_passes_an_unfinished_record(self) -> None:
        for place, committed in self.committed.items():
            assert all((*place, offset) in self.ended for offset in range(committed))

    @invariant()
    def everything_is_bounded(self) -> None:
        assert self.hands.in_flight == len(self.taken) <= IN_FLIGHT_MAX
        assert self.hands.waiting <= WAITING_MAX
        assert self.hands.in_flight == sum(lane.in_flight for lane in self.hands.lanes.values())
        assert self.hands.waiting == sum(lane.waiting for lane in self.hands.lanes.values())
        assert self.hands._waiting_bytes == sum(lane.waiting_bytes for lane in self.hands.lanes.values())

    def teardown(self) -> None:
        """From any state, everything read so far can be worked off: nothing is forgotten."""
        for place in PLACES:
            self.assign(place)
        for _ in range(60):
            while self.taken:
                one = self.taken.pop()
                assert self.hands.finish(one)
                self.ended.add((one.topic, one.partition, one.offset))
            self.seek()
            for place in PLACES:
                (lane,) = self.hands.of([place])
                if self.hands.room:
                    self.hands.arrive(record(place, self.read_to[place]), lane)
                    self.read_to[place] += 1
            self.take(IN_FLIGHT_MAX)
        self.commit()
        assert min(self.committed.values()) > 10


Member.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_history_of_a_member = Member.TestCase


class Narrow(Fair):
    """The order of the pools, where there is less room than the member has."""

    def __init__(self) -> None:
        super().__init__(Costs(10), requests_max=IN_FLIGHT_MAX - 1, room=Room(1_000).lane(1_000))


class OrderedMember(Member):
    """The same with an order: what the order holds is what waits."""

    order = Narrow

    @invariant()
    def the_order_knows_what_waits(self) -> None:
        assert isinstance(self.hands._order, Fair)
        assert self.hands._order._waiting.keys() == self.hands._waiting.keys()
        assert self.hands._order._flying.keys() == self.hands._flights.keys()


OrderedMember.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_history_of_a_member_with_an_order = OrderedMember.TestCase


def test_a_backlog_in_one_partition_leaves_room_for_the_others() -> None:
    """With its share it is to be paused, and read again when half of that is gone; the others are read on."""
    hands = Hands(in_flight_max=10, waiting_max=24, order=Narrow())
    hands.assign([("a", 0), ("a", 1)])
    full, other = hands.of([("a", 0), ("a", 1)])
    for offset in range(4):
        assert not hands.is_to_wait(full)
        hands.arrive(record(("a", 0), offset), full)
    assert hands.is_to_wait(full)
    assert not hands.is_to_wait(other)
    full.paused = True
    hands.take(1)
    assert hands.is_to_wait(full)
    hands.take(1)
    assert not hands.is_to_wait(full)
    hands.arrive(record(("a", 1), 0, module.BYTES_MAX // 3), other)
    assert hands.is_to_wait(other)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=40))
def test_backlogs_of_any_number_of_partitions_leave_room_for_one_more(sizes: list[int]) -> None:
    """Each is read as far as it may, with records of its own size: who comes last has an even share none the less."""
    hands = Hands(in_flight_max=1, waiting_max=1_000, waiting_bytes_max=100_000, order=Narrow())
    places = [("a", partition) for partition in range(len(sizes) + 1)]
    hands.assign(places)
    *deep, last = hands.of(places)
    for lane, size in zip(deep, sizes, strict=True):
        offset = 0
        while not hands.is_to_wait(lane):
            hands.arrive(record((lane.topic, lane.partition), offset, size), lane)
            offset += 1
        assert offset
    for offset in range(1_000 // (module.EVEN_SHARE * len(places))):
        assert hands.room
        assert not hands.is_to_wait(last)
        hands.arrive(record((last.topic, last.partition), offset), last)


def test_what_is_finished_behind_a_record_that_hangs_is_bounded() -> None:
    """Then its partition is to wait; once half of that may be committed it is read on."""
    hands = Hands(in_flight_max=2, waiting_max=10)
    hands.assign([("a", 0), ("a", 1)])
    lane, other = hands.of([("a", 0), ("a", 1)])
    hands.arrive(record(("a", 0), 0), lane)
    (hanging,) = hands.take(1)
    for offset in range(1, module.SPAN_MIN):
        assert not hands.is_to_wait(lane)
        hands.arrive(record(("a", 0), offset), lane)
        (one,) = hands.take(1)
        hands.finish(one)
    assert hands.is_to_wait(lane)
    assert not hands.is_to_wait(other)
    hands.finish(hanging)
    assert lane.tracker.to_commit == module.SPAN_MIN
    for offset in range(module.SPAN_MIN, module.SPAN_MIN + module.SPAN_MIN // 2):
        lane.paused = False
        assert not hands.is_to_wait(lane)
        lane.paused = True
        assert not hands.is_to_wait(lane)
        hands.arrive(record(("a", 0), offset), lane)
        (one,) = hands.take(1)
        if offset > module.SPAN_MIN:
            hands.finish(one)
    assert hands.is_to_wait(lane)
    lane.paused = False
    assert not hands.is_to_wait(lane)


def test_bytes_are_bounded_beside_numbers() -> None:
    """Large records fill the room early; one alone always fits."""
    hands = Hands(in_flight_max=100, waiting_max=100)
    hands.assign([("a", 0)])
    (lane,) = hands.of([("a", 0)])
    for offset in range(3):
        hands.arrive(record(("a", 0), offset, module.BYTES_MAX // 2 + 1), lane)
    assert hands.room == 0
    assert len(hands.take(100)) == 2
    assert hands.room == 99
    (first, second) = [held.record for held in hands._flights.values()]
    hands.finish(first)
    assert [one.offset for one in hands.take(100)] == [2]
    assert second.offset == 1


def test_small_headers_are_counted_as_the_memory_they_take() -> None:
    """A record that is nothing but headers fills the room alone."""
    hands = Hands(in_flight_max=100, waiting_max=100)
    hands.assign([("a", 0)])
    (lane,) = hands.of([("a", 0)])
    headers = (("h", b""),) * (module.BYTES_MAX // module.HEADER_BYTES)
    hands.arrive(Record("a", 0, 0, 0, None, None, headers), lane)
    assert hands.room == 0


def test_a_partition_that_begins_anew_is_read_anew() -> None:
    """A recreated topic has lower offsets: what was in hand of the old one counts for nothing."""
    hands = Hands(in_flight_max=10, waiting_max=10)
    hands.assign([("a", 0)])
    (lane,) = hands.of([("a", 0)])
    assert hands.arrive(record(("a", 0), 1_000), lane)
    (old,) = hands.take(10)
    assert not hands.arrive(record(("a", 0), 0), lane)
    assert not hands.owns(old)
    (new,) = hands.take(10)
    assert hands.finish(new)
    assert lane.tracker.to_commit == 1
