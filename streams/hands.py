"""What a group member has in hand: partitions, records that wait, records in flight. Pure: no Kafka, clock or lock.

Enters: partitions that come and go, records as they are read, and what became of each. Leaves: records to work on, at
most in_flight_max at a time, and the positions to commit. Guaranteed: a record counts for the assignment it was taken
under and for no later one; a position never passes a record that is waiting, in flight or given back; what waits and
what is in flight is bounded in number and bytes. Records are taken in the order in which they came, unless an Order
says otherwise; then each partition has an even share of a third of the room, whatever stands in the others, and while
less than half of the room is taken, one may hold half of what is left of that (a dynamic threshold, Choudhury and Hahne
1998). What stands deeper in a partition the order does not know.
Its owner (intake.py) holds one lock around every call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from aios.streams.offsets import OffsetTracker
from aios.streams.record import Record

BYTES_MAX = 32 << 20  # of records that wait, unless said otherwise, and again of those in flight
EVEN_SHARE, MORE_SHARE = 3, 2  # of the room; the rest is for what is read of a partition before it pauses
HEADER_BYTES = 150  # of a header in memory, beside its name and value
SPAN_MIN = 4_000  # finished records that may stand behind an unfinished one, per partition


class Order(Protocol):
    """Whose turn it is among the records that wait. Called under the owner's lock, in constant or logarithmic time."""

    def put(self, record: Record) -> None:
        """It waits from now on."""

    def next(self) -> Record | None:
        """Whose turn it is, in flight from now on. None: nothing waits, or nothing may go now."""

    def drop(self, records: Iterable[Record]) -> None:
        """They wait no more."""

    def ended(self, record: Record, cost: int | None) -> None:
        """It is in flight no more. cost: what it truly took; None: it was given back, or left."""


@dataclass(eq=False, slots=True)
class Lane:
    """One partition for as long as it is assigned once; a partition that comes back gets a new one."""

    topic: str
    partition: int
    tracker: OffsetTracker = field(default_factory=OffsetTracker)
    in_flight: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    resume_at: float = 0.0  # not read before; in the owner's clock
    seek: bool = False  # read again what was given back
    paused: bool | None = None  # as Kafka's client was told; None: nothing yet
    reads_at: int | None = None  # where Kafka's client reads on; None: from the beginning, or as it finds


@dataclass(frozen=True, slots=True)
class _Held:
    """Keeps the record alive, so that its identity is its own."""

    record: Record
    lane: Lane
    size: int


class Hands:
    """See the module. waiting_max, waiting_bytes_max: of records that wait to be taken."""

    def __init__(
        self,
        *,
        in_flight_max: int,
        waiting_max: int,
        waiting_bytes_max: int = BYTES_MAX,
        order: Order | None = None,
    ) -> None:
        self._in_flight_max = in_flight_max
        self._waiting_max = waiting_max
        self._waiting_bytes_max = waiting_bytes_max
        self._order = order
        self._span_max = max(SPAN_MIN, 8 * in_flight_max)
        self.lanes: dict[tuple[str, int], Lane] = {}
        self._waiting: OrderedDict[int, _Held] = OrderedDict()  # by the record's identity, as they came
        self._waiting_bytes = 0
        self._flights: dict[int, _Held] = {}  # by the record's identity
        self._flight_bytes = 0

    # Partitions

    def assign(self, places: Iterable[tuple[str, int]]) -> None:
        """They are ours from now on."""
        for topic, partition in places:
            self.lanes[topic, partition] = Lane(topic, partition)

    def of(self, places: Iterable[tuple[str, int]]) -> list[Lane]:
        """Those of them that are ours."""
        return [lane for place in places if (lane := self.lanes.get(place)) is not None]

    def part(self, lanes: Iterable[Lane]) -> None:
        """They are not ours any more, nor what is in hand of them."""
        gone = set(lanes)
        self.forget(gone)
        self.let_go(gone)
        self.lanes = {place: lane for place, lane in self.lanes.items() if lane not in gone}

    def forget(self, lanes: Iterable[Lane]) -> None:
        """Drop what waits of them."""
        gone = set(lanes)
        dropped = [held for held in self._waiting.values() if held.lane in gone]
        for held in dropped:
            self._wait_no_more(held.record)
        if self._order is not None:
            self._order.drop([held.record for held in dropped])

    def let_go(self, lanes: Iterable[Lane]) -> None:
        """Whoever has records of them in hand does not own them any more."""
        gone = set(lanes)
        for held in [held for held in self._flights.values() if held.lane in gone]:
            self._land(held.record)

    def give_back(self, lane: Lane) -> None:
        """Everything of it that is not finished will be read again, from the lowest one on."""
        self.forget([lane])
        self.let_go([lane])
        lane.tracker.give_back_all()
        lane.seek = True

    # Records

    def arrive(self, record: Record, lane: Lane, *, later: bool = False) -> bool:
        """A record was read; it waits now, unless it is in hand or finished already.

        later: it came too late to be wanted (the lane is to be sought anyway), and is given back at once.
        Returns False when the partition began anew below what was read: recreated, or its log was cut.
        """
        fell = (lane.tracker.position or 0) > record.offset
        if fell:
            self.forget([lane])
            self.let_go([lane])
            lane.tracker = OffsetTracker()
        if not lane.tracker.read(record.offset):
            return True
        if later or lane.seek:
            lane.tracker.give_back(record.offset)
            lane.seek = True
            return not fell
        size = record.size + len(record.headers) * HEADER_BYTES
        self._waiting[id(record)] = _Held(record, lane, size)
        self._waiting_bytes += size
        lane.waiting += 1
        lane.waiting_bytes += size
        if self._order is not None:
            self._order.put(record)
        return not fell

    def take(self, records_max: int) -> list[Record]:
        """Put in flight what waits, as far as there is room."""
        taken: list[Record] = []
        room = min(records_max, self._in_flight_max - len(self._flights), len(self._waiting))
        while len(taken) < room and self._flight_bytes < BYTES_MAX:
            record = self._next()
            if record is None:
                break
            held = self._wait_no_more(record)
            self._flight_bytes += held.size
            self._flights[id(held.record)] = held
            held.lane.in_flight += 1
            taken.append(held.record)
        return taken

    def finish(self, record: Record, cost: int | None = None) -> bool:
        """It has ended. cost: for the order. False: it is not ours (any more)."""
        held = self._land(record, cost)
        return held is not None and held.lane.tracker.finish(record.offset)

    def release(self, record: Record) -> bool:
        """It will be read again; others in flight stay so. False: it is not ours (any more)."""
        held = self._land(record)
        if held is None or not held.lane.tracker.give_back(record.offset):
            return False
        held.lane.seek = True
        return True

    def owns(self, record: Record) -> bool:
        """In flight, under the assignment it was taken in."""
        return id(record) in self._flights

    def _next(self) -> Record | None:
        if self._order is not None:
            return self._order.next()
        return next(iter(self._waiting.values())).record

    def _wait_no_more(self, record: Record) -> _Held:
        held = self._waiting.pop(id(record))
        self._waiting_bytes -= held.size
        held.lane.waiting -= 1
        held.lane.waiting_bytes -= held.size
        return held

    def _land(self, record: Record, cost: int | None = None) -> _Held | None:
        held = self._flights.pop(id(record), None)
        if held is not None:
            self._flight_bytes -= held.size
            held.lane.in_flight -= 1
            if self._order is not None:
                self._order.ended(record, cost)
        return held

    # Counts

    @property
    def in_flight(self) -> int:
        """Records taken and not ended."""
        return len(self._flights)

    @property
    def waiting(self) -> int:
        """Records read and not taken."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """Records that may still come to wait; 0 when their bytes are over the bound."""
        return max(0, self._waiting_max - len(self._waiting)) if self._waiting_bytes < self._waiting_bytes_max else 0

    @property
    def is_half_empty(self) -> bool:
        """Of what may wait."""
        return len(self._waiting) * 2 < self._waiting_max and self._waiting_bytes * 2 < self._waiting_bytes_max

    def is_to_wait(self, lane: Lane) -> bool:
        """Nothing more should be read of it for now."""
        return self._is_over_share(lane) or self._is_stretched(lane)

    def _is_over_share(self, lane: Lane) -> bool:
        """Enough of it waits, in number or in bytes; once paused for it, until half of that is gone."""
        if self._order is None:
            return False
        twice = 2 if lane.paused else 1
        return self._is_enough(twice * lane.waiting, len(self._waiting), self._waiting_max) or self._is_enough(
            twice * lane.waiting_bytes, self._waiting_bytes, self._waiting_bytes_max
        )

    def _is_enough(self, of_one: int, of_all: int, most: int) -> bool:
        """One partition has its even share, and half of what is left for those who have more."""
        return EVEN_SHARE * len(self.lanes) * of_one >= most and of_all + 2 * of_one >= most // MORE_SHARE

    def _is_stretched(self, lane: Lane) -> bool:
        """Too much is finished behind one unfinished record; once paused for it, until half of that is gone."""
        return lane.tracker.span >= (self._span_max // 2 if lane.paused else self._span_max)
