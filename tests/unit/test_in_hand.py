"""What a worker has in hand: over two lanes of a process, whatever is suspect is alone, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aios.dlq.deaths import Deaths
from aios.dlq.in_hand import InHand, Place, Quiet, Start
from aios.streams.record import Record

PARTITIONS, OFFSETS = 2, 3


class Suspicions:
    """Deaths of a lane, as a neighbour on the same file may change them: deaths alone, by place and offset."""

    def __init__(self, known: dict[tuple[int, int], int]) -> None:
        self.known = known

    def suspicious(self, _topic: str, partition: int, offsets: Iterable[int]) -> dict[int, int]:
        return {each: self.known[partition, each] for each in offsets if (partition, each) in self.known}

    def begin(self, topic: str, partition: int, first: int, last: int, *, below: int) -> None:
        """Marks of a file."""

    def end(self, _topic: str, partition: int, *, below: int) -> None:
        for place in [place for place in self.known if place[0] == partition and place[1] < below]:
            del self.known[place]


class Watched(InHand):
    """Whoever is suspect begins with nothing else of its partition in hand."""

    def _begin(self, place: Place, partition: Any, chosen: list[Record], *, entered: bool = False) -> Sequence[Start]:
        suspects = self._deaths.suspicious(*place, [record.offset for record in chosen])
        assert not suspects or (len(chosen) == 1 and not partition.started)
        return super()._begin(place, partition, chosen, entered=entered)


class Lane:
    """As pool.py drives it; started: what runs. all_started: ever. alone: what has the process for itself."""

    def __init__(self, name: str, suspicions: Suspicions, quiet: Quiet) -> None:
        self.name, self.suspicions = name, suspicions
        self.started: list[Record] = []
        self.all_started: list[Record] = []
        self.alone: list[Record] = []
        self.in_hand = Watched(cast(Deaths, suspicions), quiet)
        quiet.join(lambda: self.start(self.in_hand.resume()))

    def start(self, starts: Sequence[Start]) -> None:
        for record, _ in starts:
            if self.suspicions.known.get((record.partition, record.offset)):
                self.alone.append(record)
            self.started.append(record)
            self.all_started.append(record)

    def take(self, partition: int, offset: int) -> None:
        self.start(self.in_hand.take([Record(self.name, partition, offset, 0, None, None)]))

    def end(self, number: int) -> None:
        if self.started:
            ended = self.started.pop(number % len(self.started))
            self.alone = [one for one in self.alone if one is not ended]
            self.start(self.in_hand.end(ended))


PLACES = st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, OFFSETS - 1))
STEPS = st.lists(
    st.tuples(st.sampled_from(("take", "take", "take", "end", "clear")), st.integers(0, 1), PLACES, st.integers(0, 9)),
    min_size=4,
    max_size=24,
)


SUSPECTS = st.dictionaries(PLACES, st.integers(0, 1), min_size=2)


# One whose own later record comes first; and one who is behind another that needs no quiet any more.
LATER_FIRST = ({(0, 2): 1, (0, 0): 0}, {}), [("take", 0, place, 0) for place in ((1, 0), (0, 2), (0, 0))]
BEHIND = (
    ({(0, 1): 1}, {(0, 1): 1}),
    [("take", 0, (1, 0), 0), ("take", 1, (0, 1), 0), ("take", 0, (0, 1), 0), ("clear", 1, (0, 1), 0)],
)
# One who is not suspect joins a suspect who starts when another lane's wish for quiet is given up.
JOINED = (
    ({(0, 0): 0, (0, 1): 0}, {(0, 0): 1, (0, 1): 0}),
    [*(("take", 0, (0, offset), 0) for offset in range(3)), ("take", 1, (0, 0), 0), ("clear", 1, (0, 0), 0)],
)


@settings(max_examples=300, deadline=None)
@example(*LATER_FIRST)
@example(*BEHIND)
@example(*JOINED)
@given(st.tuples(SUSPECTS, SUSPECTS), STEPS)
def test_when_nothing_runs_nothing_waits(
    suspects: tuple[dict[tuple[int, int], int], ...], steps: Sequence[tuple[str, int, tuple[int, int], int]]
) -> None:
    """Records in any order, ends in any order, suspicions that others clear: all that was taken starts, once; whoever
    died alone with something has nothing beside him the next time, in the whole process.
    """
    quiet = Quiet()
    lanes = [Lane(name, Suspicions(dict(known)), quiet) for name, known in zip("ab", suspects, strict=True)]
    taken: set[tuple[str, int, int]] = set()
    for kind, whose, (partition, offset), number in steps:
        lane = lanes[whose]
        if kind == "take" and (lane.name, partition, offset) not in taken:
            taken.add((lane.name, partition, offset))
            lane.take(partition, offset)
        elif kind == "end":
            lane.end(number)
        elif kind == "clear":
            lane.suspicions.known.pop((partition, offset), None)
        expect_alone(lanes)
    while any(lane.started for lane in lanes):
        for lane in lanes:
            lane.end(0)
            expect_alone(lanes)
    waiting = [record for lane in lanes for one in lane.in_hand._partitions.values() for record in one.waiting]
    assert not waiting
    started = [(one.topic, one.partition, one.offset) for lane in lanes for one in lane.all_started]
    assert sorted(started) == sorted(taken)


def expect_alone(lanes: Sequence[Lane]) -> None:
    """Whoever has the process for itself has it."""
    if any(lane.alone for lane in lanes):
        assert sum(len(lane.started) for lane in lanes) == 1
