"""Which records of a lane may be worked on now, so that one which ends its process is found and given up.

Enters: records as they are taken, in any order, and the end of each. Leaves: those that may start, each with the error
it must be settled with, undecoded, if it is given up. Guaranteed: where a process died with a range of a partition in
hand, the next owner works on that range one record at a time; whoever was alone in hand of their partition when a
process died is tried with nothing else in the whole process, so that nobody is given up for what another did, and
given up when it has ended processes so (dlq/deaths.py counts). Everything else starts at once: order is nobody's
promise in a pool. While one has the process for itself, or waits for that, nothing else starts.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aios.dlq.deaths import Deaths, given_up
from aios.streams.errors import RecordError
from aios.streams.record import Record

Place = tuple[str, int]  # topic, partition
Start = tuple[Record, RecordError | None]


class Quiet:
    """Of one process, over all its lanes: who is to have it for itself."""

    def __init__(self) -> None:
        self._started = 0
        self._has = False
        self._wanted: dict[tuple[int, Place], None] = {}  # first come, first served
        self._opened = False
        self._lanes: list[Callable[[], None]] = []

    def join(self, resume: Callable[[], None]) -> None:
        """resume: called when what could not start may start now."""
        self._lanes.append(resume)

    @property
    def is_open(self) -> bool:
        return not self._has and not self._wanted

    def enter(self) -> None:
        """One more has started."""
        self._started += 1

    def alone(self, who: tuple[int, Place]) -> bool:
        """Ask for the process; True: has it, and has started."""
        self._wanted[who] = None
        if self._started or next(iter(self._wanted)) != who:
            return False
        del self._wanted[who]
        self._has = True
        self._started = 1
        return True

    def forget(self, who: tuple[int, Place]) -> None:
        """It needs the process for itself no more."""
        if who in self._wanted:
            del self._wanted[who]
            self._opened = True

    def opened(self) -> bool:
        """Whether somebody gave up his wish, so that others may start who were told to wait; every lane is told.

        Until nobody gives one up any more while they are told, which ends: each time is one wish less.
        """
        told = False
        while self._opened:
            self._opened, told = False, True
            for resume in self._lanes:
                resume()
        return told

    def leave(self) -> None:
        """One has ended."""
        was_open = self.is_open
        self._started -= 1
        if not self._started:
            self._has = False
        if not was_open and not self._started:
            for resume in self._lanes:
                resume()


@dataclass(slots=True)
class _Partition:
    """waiting: taken, not started; the intake bounds it. started: offsets, by the record's identity."""

    waiting: deque[Record] = field(default_factory=deque)
    started: dict[int, int] = field(default_factory=dict)


class InHand:
    """One lane's records. position: below which a partition is settled; None: its lowest offset in hand."""

    def __init__(
        self, deaths: Deaths, quiet: Quiet | None = None, position: Callable[[str, int], int | None] | None = None
    ) -> None:
        self._deaths = deaths
        self._quiet = quiet if quiet is not None else Quiet()
        self._position = position
        self._partitions: dict[Place, _Partition] = defaultdict(_Partition)

    def take(self, records: Iterable[Record]) -> list[Start]:
        """These were taken; what may start now, of these and of earlier ones."""
        places: dict[Place, None] = {}
        for record in records:
            place = (record.topic, record.partition)
            self._partitions[place].waiting.append(record)
            places[place] = None
        return self._and_freed([start for place in places for start in self._startable(place)])

    def end(self, record: Record) -> list[Start]:
        """This one is settled, or given back; what may start now that could not before."""
        place = (record.topic, record.partition)
        partition = self._partitions[place]
        partition.started.pop(id(record), None)
        if not partition.started:
            self._deaths.end(*place, below=self._below(place, record.offset + 1))
        closed = not self._quiet.is_open
        self._quiet.leave()
        return self._and_freed(self.resume() if closed else list(self._startable(place)))

    def _and_freed(self, starts: list[Start]) -> list[Start]:
        return starts + self.resume() if self._quiet.opened() else starts

    def resume(self) -> list[Start]:
        """What may start now, of everything taken."""
        return [start for place in list(self._partitions) for start in self._startable(place)]

    def is_suspect(self, record: Record) -> bool:
        """Whether it may have ended a process: what is known of it is lost where it is written elsewhere."""
        return bool(self._deaths.suspicious(record.topic, record.partition, [record.offset]))

    def leave(self) -> None:
        """The process leaves in good health: whatever is still in hand did not end it."""
        for place, partition in self._partitions.items():
            below = self._below(place, min(partition.started.values(), default=0))
            self._deaths.end(*place, below=below)

    def _startable(self, place: Place) -> Iterator[Start]:
        partition = self._partitions[place]
        if not partition.waiting:
            return
        suspects = self._deaths.suspicious(*place, [record.offset for record in partition.waiting])
        if not suspects or not suspects[min(suspects)]:  # a record taken later may come first, and need no quiet
            self._quiet.forget((id(self), place))
        if not suspects:
            if self._quiet.is_open:
                yield from self._begin(place, partition, list(partition.waiting))
        elif not partition.started:
            yield from self._alone(place, partition, suspects)

    def _alone(self, place: Place, partition: _Partition, suspects: dict[int, int]) -> Iterator[Start]:
        """The first of the suspects, with nothing else of its partition; or, after a death of its own, of anything."""
        first = min(suspects)
        deaths = suspects[first]
        if deaths:
            if not self._quiet.alone((id(self), place)):
                return
        elif not self._quiet.is_open:
            return
        record = next(record for record in partition.waiting if record.offset == first)
        for start, _ in self._begin(place, partition, [record], entered=deaths > 0):
            yield start, given_up(deaths)

    def _begin(
        self, place: Place, partition: _Partition, chosen: list[Record], *, entered: bool = False
    ) -> Sequence[Start]:
        going = {id(record) for record in chosen}
        partition.waiting = deque(record for record in partition.waiting if id(record) not in going)
        partition.started |= {id(record): record.offset for record in chosen}
        offsets = partition.started.values()
        first, last = min(offsets), max(offsets)
        self._deaths.begin(*place, first, last, below=self._below(place, first))
        if not entered:
            for _ in chosen:
                self._quiet.enter()
        return [(record, None) for record in chosen]

    def _below(self, place: Place, lowest: int) -> int:
        """Below what all of a partition is settled."""
        position = self._position(*place) if self._position is not None else None
        return lowest if position is None else min(position, lowest)
