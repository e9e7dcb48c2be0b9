"""Where a replay job is among the dead letters, and what comes next.

Enters: a job with its marks, and the records of the dead-letter topics. Leaves: one letter after the other, each with
whether the job's filter selects it, and the place to go on from. Guaranteed: the place after a letter names exactly
those before it, so that a job that dies goes on where its last transaction ended; nothing behind the marks is given;
memory is bounded by a block of records, and by PARKED_MAX entries of one partition of an ordered group.

Order: oldest or newest first within a partition, so within a key. Over partitions it is by block: the one goes on
whose last letter was the oldest (newest). Letters of keys that are parked come after all others of the job, by their
ordinals and so in the order in which they first stood, whatever the job's order is: what fails again stands behind
its own followers in the log. Of them what was settled before the job was planned is passed over. Those that are parked
behind a selected one are taken along where it returns; where it is discarded they stay, for nobody looked at them.

    job.next    topic/partition          next offset to look at; newest first: everything from there on was looked at,
                                         0 is the end
                topic/partition#ordinal  and #offset: of the last parked letter that was looked at; #done: all were

Rejected: a merge over all partitions by time (it needs all of them in memory at once).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from aios.dlq.commands import Action, Order
from aios.dlq.dead_letter import DeadLetter, letter_of
from aios.dlq.letter_states import STAGES
from aios.schemas.models import ReplayRemembered
from aios.streams.errors import Reason
from aios.streams.record import Record, Where

BLOCK_RECORDS, BLOCK_BYTES = 2_000, 4 << 20  # each begins with a question to the broker and a new fetch
NEWEST_BLOCK = 100  # read in log order and turned round, so all of it is in memory
PARKED_MAX = 200_000  # of one partition in one job; the rest waits for another one
FETCH_MAX = 50


class Source(Protocol):
    """Records by place; dlq/places.py is one."""

    def fetch(self, wanted: Iterable[Where]) -> dict[Where, Record]: ...
    def scan(self, topic: str, partition: int, first: int, stop: int) -> Iterator[Record]: ...
    def ends(self, topic: str, partition: int) -> tuple[int, int]: ...
    def close(self) -> None: ...


class Found(NamedTuple):
    """selected: None: the filter's expression says neither yes nor no. parked: it stands in the order of its key.

    along: the filter does not select it, but one of its key before it.
    """

    letter: DeadLetter
    record: Record
    selected: bool | None
    parked: bool = False
    along: bool = False


class Passed(NamedTuple):
    """A parked letter that was looked at before this process took the job over: whether it settled shows in state."""

    id: str
    generation: int
    topic: str
    partition: int
    key: bytes


class Nothing(NamedTuple):
    """Time went by, nothing was found yet; or all is found."""

    over: bool


Over = Callable[[DeadLetter], bool]
"""Whether a letter was settled before the job was planned."""


class Walk(Protocol):
    """One job's way. Not for several threads."""

    def read(self, over: Over) -> Found | Passed | Nothing:
        """What comes next; of bounded duration. Raises Unavailable."""
        ...

    def unread(self) -> None:
        """What was just read comes again."""
        ...

    @property
    def place(self) -> Mapping[str, int]:
        """job.next, after what was read."""
        ...

    @property
    def left_out(self) -> int:
        """Of parked letters, so far: more than memory holds; another job comes to them."""
        ...

    def close(self) -> None: ...


Selects = Callable[[DeadLetter, Record], bool | None]


class _Parked(NamedTuple):
    ordinal: int
    offset: int
    id: str
    generation: int
    key: bytes
    follows: bool  # it was never tried: reason `parked`
    selected: bool | None
    along: bool = False


class BlockWalk(ABC):
    """A Walk that reads a block at a time. source: for this walk alone."""

    def __init__(self, job: ReplayRemembered, source: Source) -> None:
        self._source = source
        self._place = dict(job.next)
        self.left_out = 0
        self._before: dict[str, int | None] = {}  # what the latest read changed of the place
        self._latest: tuple[Found | Passed, dict[str, int]] | None = None
        self._block: deque[tuple[Found | Passed | None, dict[str, int]]] = deque()

    @property
    def place(self) -> Mapping[str, int]:
        return self._place

    def read(self, over: Over) -> Found | Passed | Nothing:
        if not self._block:
            self._latest = None
            if not self._fill(over):
                return Nothing(over=True)
        while self._block:
            found, place = self._block.popleft()
            self._before = {name: self._place.get(name) for name in place}
            self._place.update(place)
            if found is not None:
                self._latest = (found, place)
                return found
        return Nothing(over=False)

    def unread(self) -> None:
        if self._latest is None:
            return
        for name, value in self._before.items():
            if value is None:
                self._place.pop(name, None)
            else:
                self._place[name] = value
        self._block.appendleft(self._latest)
        self._latest = None

    def close(self) -> None:
        self._source.close()

    @abstractmethod
    def _fill(self, over: Over) -> bool:
        """Read a block, perhaps an empty one. False: everything was looked at."""


class LetterWalk(BlockWalk):
    """Of a job over dead letters; see the module."""

    def __init__(self, job: ReplayRemembered, source: Source, selects: Selects) -> None:
        super().__init__(job, source)
        self._marks = dict(job.marks)
        self._newest = job.order == Order.NEWEST
        self._returns = job.action == Action.REPLAY
        self._selects = selects
        self._heads: dict[str, int] = {}  # timestamp of the latest record, by topic/partition
        self._lows: dict[str, int] = {}
        self._scanned = ""  # topic/partition of the open scan
        self._scan: Iterator[Record] = iter(())
        self._collected: list[_Parked] = []
        self._sorted: tuple[str, deque[_Parked]] | None = None

    def _fill(self, over: Over) -> bool:
        open_ = [one for one in self._marks if not self._looked_at(one)]
        if open_:
            choose = max if self._newest else min
            one = choose(open_, key=lambda name: (self._heads.get(name, 1 << 62 if self._newest else 0), name))
            (self._fill_newest if self._newest else self._fill_oldest)(one)
            return True
        parked = [one for one in sorted(self._marks) if _is_ordered(one) and f"{one}#done" not in self._place]
        if not parked:
            return False
        self._fill_parked(parked[0], over)
        return True

    def _looked_at(self, one: str) -> bool:
        if self._newest:
            return self._place.get(one) == 0
        return self._place.get(one, 0) >= self._marks[one]

    def _fill_oldest(self, one: str) -> None:
        size = count = 0
        for record in self._scan_from(one, self._place.get(one, 0)):
            count, size = count + 1, size + record.size
            self._block.append((self._found(one, record), {one: record.offset + 1}))
            self._heads[one] = record.timestamp_ms
            if count >= BLOCK_RECORDS or size >= BLOCK_BYTES:
                return
        self._scanned = ""
        self._block.append((None, {one: self._marks[one]}))

    def _fill_newest(self, one: str) -> None:
        topic, partition = place_of(one)
        if one not in self._lows:
            self._lows[one] = self._source.ends(topic, partition)[0]
        stop = self._place.get(one, self._marks[one])
        first = max(self._lows[one], stop - NEWEST_BLOCK)
        records = list(self._source.scan(topic, partition, first, stop)) if first < stop else []
        for record in reversed(records):
            self._block.append((self._found(one, record), {one: record.offset}))
            self._heads[one] = record.timestamp_ms
        self._block.append((None, {one: first if first > self._lows[one] else 0}))

    def _found(self, one: str, record: Record) -> Found | None:
        """None for what is no letter, and for parked ones, whose turn comes later."""
        letter = letter_of(record)
        if letter is None or (letter.ordinal >= 0 and _is_ordered(one)):
            return None
        return Found(letter, record, self._selects(letter, record))

    def _scan_from(self, one: str, first: int) -> Iterator[Record]:
        """From there to the mark; goes on in an open scan."""
        if self._scanned != one:
            topic, partition = place_of(one)
            low, high = self._source.ends(topic, partition)
            first, stop = max(first, low), min(self._marks[one], high)
            self._scan = self._source.scan(topic, partition, first, stop) if first < stop else iter(())
            self._scanned = one
        return self._scan

    def _fill_parked(self, one: str, over: Over) -> None:
        """Collect the parked letters of a partition, block by block; then give them by ordinal."""
        if self._sorted is None or self._sorted[0] != one:
            if self._collect(one, over):
                return
            self._sorted = (one, deque(self._in_order()))
        left = self._sorted[1]
        entries = [left.popleft() for _ in range(min(FETCH_MAX, len(left)))]
        after = (self._place.get(f"{one}#ordinal", -1), self._place.get(f"{one}#offset", -1))
        topic, partition = place_of(one)
        there = self._source.fetch((topic, partition, each.offset) for each in entries if each[:2] > after)
        for each in entries:
            if each[:2] <= after:
                self._block.append((Passed(each.id, each.generation, topic, partition, each.key), {}))
                continue
            record = there.get((topic, partition, each.offset))
            letter = letter_of(record) if record is not None else None
            found = None
            if letter is not None and record is not None:
                found = Found(letter, record, each.along or each.selected, parked=True, along=each.along)
            self._block.append((found, {f"{one}#ordinal": each.ordinal, f"{one}#offset": each.offset}))
        if not left:
            self._block.append((None, {f"{one}#done": 1}))
            self._sorted, self._collected = None, []

    def _collect(self, one: str, over: Over) -> bool:
        """One block more; False: that was all."""
        if self._scanned != f"{one}#":
            self._scanned, self._collected = "", []
            self._scan_from(one, 0)
            self._scanned = f"{one}#"
        for count, record in enumerate(self._scan, 1):
            letter = letter_of(record)
            if letter is None or letter.ordinal < 0 or over(letter):
                pass
            elif len(self._collected) >= PARKED_MAX:
                self.left_out += 1
            else:
                follows = letter.reason == Reason.PARKED
                self._collected.append(
                    _Parked(
                        letter.ordinal,
                        record.offset,
                        letter.id,
                        letter.generation,
                        record.key or b"",
                        follows,
                        self._selects(letter, record),
                    )
                )
            if count >= BLOCK_RECORDS:
                return True
        self._scanned = ""
        return False

    def _in_order(self) -> Iterator[_Parked]:
        """By ordinal, then offset; what was parked behind one that returns goes along."""
        keys: set[bytes] = set()
        for entry in sorted(self._collected):
            if entry.selected and self._returns:
                keys.add(entry.key)
            along = entry.follows and not entry.selected and entry.key in keys
            yield entry._replace(along=along)


def place_of(one: str) -> tuple[str, int]:
    """topic/partition of a job's marks."""
    topic, _, partition = one.rpartition("/")
    return topic, int(partition)


def _is_ordered(one: str) -> bool:
    return any(topic.ordered for topic in STAGES[place_of(one)[0]].reads)
