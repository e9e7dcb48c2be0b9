"""Which records of a lane may be worked on now, so that one which ends its process is found and given up.

Enters: records as they are taken, and the end of each. Leaves: those that may start, each with the error it must be
settled with, undecoded, if it is given up. Guaranteed: where a process died with a range of a partition in hand, the
next owner works on that range one record at a time, and gives a record up when it has ended processes alone
(dlq/deaths.py counts). Everything else starts at once: order is nobody's promise in a pool.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aios.dlq.deaths import Deaths, given_up
from aios.streams.errors import RecordError
from aios.streams.record import Record

Place = tuple[str, int]  # topic, partition
Start = tuple[Record, RecordError | None]


@dataclass(slots=True)
class _Partition:
    """waiting: taken, not started; the intake bounds it. started: offsets, by the record's identity."""

    waiting: deque[Record] = field(default_factory=deque)
    started: dict[int, int] = field(default_factory=dict)


class InHand:
    """One lane's records."""

    def __init__(self, deaths: Deaths) -> None:
        self._deaths = deaths
        self._partitions: dict[Place, _Partition] = defaultdict(_Partition)

    def take(self, records: Iterable[Record]) -> list[Start]:
        """These were taken; what may start now, of these and of earlier ones."""
        places: dict[Place, None] = {}
        for record in records:
            place = (record.topic, record.partition)
            self._partitions[place].waiting.append(record)
            places[place] = None
        return [start for place in places for start in self._startable(place)]

    def end(self, record: Record) -> list[Start]:
        """This one is settled, or given back; what may start now that could not before."""
        place = (record.topic, record.partition)
        partition = self._partitions[place]
        partition.started.pop(id(record), None)
        if not partition.started:
            self._deaths.end(*place)
        return list(self._startable(place))

    def leave(self) -> None:
        """The process leaves in good health: whatever is still in hand did not end it."""
        for place in self._partitions:
            self._deaths.end(*place)

    def _startable(self, place: Place) -> Iterator[Start]:
        partition = self._partitions[place]
        if not partition.waiting:
            return
        first, last = partition.waiting[0].offset, partition.waiting[-1].offset
        suspects = self._deaths.suspects(*place)
        if suspects is None or suspects[0] > last or suspects[1] < first:
            yield from self._begin(place, partition, len(partition.waiting))
            return
        low, high, deaths = suspects
        free = sum(record.offset < low for record in partition.waiting)
        if free:
            yield from self._begin(place, partition, free)
        elif not partition.started:
            alone = low == high == first
            for record, _ in self._begin(place, partition, 1):
                yield record, given_up(deaths) if alone else None

    def _begin(self, place: Place, partition: _Partition, count: int) -> Sequence[Start]:
        chosen = [partition.waiting.popleft() for _ in range(count)]
        partition.started |= {id(record): record.offset for record in chosen}
        offsets = partition.started.values()
        self._deaths.begin(*place, min(offsets), max(offsets))
        return [(record, None) for record in chosen]
