"""What the replay stage does by itself: letters whose time is nearly up expire, and what is over is forgotten.

Enters: the dead-letter topics, what is remembered, the time. Leaves: letter.changed.v1 `expired` for each letter that
is still open when EXPIRE_SHARE of the time has passed in which its record might return, so that it is archived while
the broker has it, and a control record where others wait behind it. Guaranteed: nobody has to ask for it; a letter
expires once; one turn looks at one block of one partition; no partition waits for another that cannot be read. What is
remembered of letters and jobs is forgotten only when the records it is about are gone, LIE_MS after their retention: a
process that begins anew meets none that is settled and does not know it.

A letter of an old record, which waited long or failed again, has less time than its place in the log says. So each one
is read once in a process's life, and noted under the hour in which it expires: 8 bytes. One that is discarded then may
be restored: it is looked at again each day, and just before its record's time is up, until the record is gone.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable
from itertools import islice

from aios.dlq import letter_states
from aios.dlq.dead_letter import DeadLetter, letter_of
from aios.dlq.letter_states import LetterState
from aios.processors.replaying.turn import Turn
from aios.processors.replaying.walk import Source
from aios.streams.durations import DAY_MS, HOUR_MS
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.topics import SEGMENT_HOURS

EXPIRE_SHARE = 0.9
EVERY_S = 600.0
AGAIN_MS = DAY_MS  # between two looks at a discarded letter, once its hour has come
BLOCK_RECORDS = 500
LIE_MS = (SEGMENT_HOURS + 24) * HOUR_MS  # a segment's time, and the broker's to delete it
FORGET_BLOCK = 5_000  # states looked at in one turn
BY = "replay"


class Sweep:
    """See the module. partitions: of a family. source: for this alone. retention_ms: of dead letters."""

    def __init__(
        self,
        source: Callable[[], Source],
        partitions: int,
        monotonic: Callable[[], float],
        retention_ms: int,
        every_s: float,
    ) -> None:
        self._open = source
        self._source: Source | None = None
        self._all = [
            (topic, partition)
            for topic, stage in sorted(letter_states.STAGES.items())
            for partition in range(stage.dead_letters.partitions(partitions))
        ]
        self._monotonic = monotonic
        self._retention_ms = retention_ms
        self._every_s = every_s
        self.opened()

    def opened(self) -> None:
        """Begin anew: everything is looked up again."""
        self._left = list(self._all)
        self._next: dict[tuple[str, int], int] = {}
        self._expiring: dict[int, dict[tuple[str, int], array[int]]] = defaultdict(lambda: defaultdict(_offsets))
        self._old: list[bytes] | None = None
        self._at = self._monotonic()

    def in_ms(self) -> int:
        """Until there is something to look at."""
        return max(0, int((self._at - self._monotonic()) * 1000))

    def step(self, turn: Turn) -> None:
        """One block. Raises Unavailable."""
        try:
            if self._left:
                place = self._left.pop()  # one that cannot be read is passed over in this round
                if self._note(*place):
                    self._left.append(place)
                return
            if self._expire_some(turn):
                return
        except Unavailable:
            self.close()
            raise
        if self._old is None:
            self._old = turn.keys()
        for key in self._old[:FORGET_BLOCK]:
            if turn.changed_at(key) < turn.now_ms - self._retention_ms - LIE_MS:
                turn.forget(key)
        self._old = self._old[FORGET_BLOCK:]
        if not self._old:
            self._left, self._old = list(self._all), None
            self._at = self._monotonic() + self._every_s

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _note(self, topic: str, partition: int) -> bool:
        """When the next ones expire, whatever they are now: a discarded one may be restored. Whether there are more."""
        source, place = self._reader(), (topic, partition)
        low, high = source.ends(topic, partition)
        first = max(low, self._next.get(place, 0))
        if first >= high:
            return False
        count = 0
        for record in islice(source.scan(topic, partition, first, high), BLOCK_RECORDS):
            count += 1
            self._next[place] = record.offset + 1
            letter = letter_of(record)
            if letter is not None:
                self._note_at(self._expires_at(letter), record)
        if count < BLOCK_RECORDS:
            self._next[place] = high
            return False
        return True

    def _expires_at(self, letter: DeadLetter) -> int:
        """Unix ms. At once where its record is too old to return as it is written."""
        return letter.written_at + int(EXPIRE_SHARE * max(0, letter.stood_at + self._retention_ms - letter.written_at))

    def _again_at(self, letter: DeadLetter, now_ms: int) -> int:
        """Unix ms, later than now. Two hours before the end: it is looked at in the hour after that."""
        last = letter.stood_at + self._retention_ms - 2 * HOUR_MS
        return min(last, now_ms + AGAIN_MS) if now_ms < last else now_ms + AGAIN_MS

    def _note_at(self, at: int, record: Record) -> None:
        self._expiring[at // HOUR_MS + 1][record.topic, record.partition].append(record.offset)

    def _expire_some(self, turn: Turn) -> bool:
        """One block of those whose hour has come. Whether there were some."""
        hour = min(self._expiring, default=0)
        if not 0 < hour <= turn.now_ms // HOUR_MS:
            return False
        place, offsets = next(iter(self._expiring[hour].items()))
        some = offsets[:BLOCK_RECORDS]
        try:
            found = self._reader().fetch((*place, offset) for offset in some)
        except Unavailable:
            self._expiring[turn.now_ms // HOUR_MS + 1][place].extend(offsets)
            self._forget_hour(hour, place)
            raise
        for record in found.values():
            self._expire(turn, record)
        del offsets[:BLOCK_RECORDS]
        if not offsets:
            self._forget_hour(hour, place)
        return True

    def _forget_hour(self, hour: int, place: tuple[str, int]) -> None:
        del self._expiring[hour][place]
        if not self._expiring[hour]:
            del self._expiring[hour]

    def _expire(self, turn: Turn, record: Record) -> None:
        letter = letter_of(record)
        known = turn.letter(letter.id) if letter is not None else None
        if letter is not None and letter_states.state_of(letter, known) is LetterState.DISCARDED:
            self._note_at(self._again_at(letter, turn.now_ms), record)
            return
        if letter is None or letter_states.settled(letter, known):
            return
        turn.keep_letter(
            letter_states.remembered(letter, known, state=LetterState.EXPIRED, edit=None, changed_at=turn.now_ms)
        )
        turn.changed(letter, LetterState.EXPIRED, act="expired", by=BY)
        turn.audited(letter, "expired", act="expired", by=BY, detail={})
        turn.release_followers(letter, record.key)

    def _reader(self) -> Source:
        if self._source is None:
            self._source = self._open()
        return self._source


def _offsets() -> array[int]:
    return array("q")
