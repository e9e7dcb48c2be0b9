"""What the replay stage does by itself: letters whose time is nearly up expire, and what is over is forgotten.

Enters: the dead-letter topics, what is remembered, the time. Leaves: letter.changed.v1 `expired` for each letter that
is still open when EXPIRE_SHARE of its retention has passed, so that it is archived while the broker has it, and a
control record where others wait behind it. Guaranteed: nobody has to ask for it; a letter expires once; one turn looks
at one block of one partition. What is remembered of letters and jobs is forgotten a retention after it changed, when
the records it is about are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from aios.dlq import jobs
from aios.dlq.dead_letter import letter_of
from aios.dlq.jobs import LetterState
from aios.processors.replaying.turn import Turn
from aios.processors.replaying.walk import Source
from aios.streams.errors import Unavailable

EXPIRE_SHARE = 0.9
EVERY_S = 600.0
BLOCK_RECORDS = 500
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
            for topic, stage in sorted(jobs.STAGES.items())
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
        self._old: list[bytes] | None = None
        self._at = self._monotonic()

    def in_ms(self) -> int:
        """Until there is something to look at."""
        return max(0, int((self._at - self._monotonic()) * 1000))

    def step(self, turn: Turn) -> None:
        """One block. Raises Unavailable."""
        if self._left:
            try:
                if not self._expire(turn, *self._left[-1]):
                    self._left.pop()
            except Unavailable:
                self.close()
                raise
            return
        if self._old is None:
            self._old = turn.keys()
        for key in self._old[:FORGET_BLOCK]:
            if turn.changed_at(key) < turn.now_ms - self._retention_ms:
                turn.forget(key)
        self._old = self._old[FORGET_BLOCK:]
        if not self._old:
            self._left, self._old = list(self._all), None
            self._at = self._monotonic() + self._every_s

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _expire(self, turn: Turn, topic: str, partition: int) -> bool:
        """Whether there is more to look at."""
        if self._source is None:
            self._source = self._open()
        low, high = self._source.ends(topic, partition)
        first = max(low, self._next.get((topic, partition), 0))
        if first >= high:
            return False
        old_ms = turn.now_ms - int(self._retention_ms * EXPIRE_SHARE)
        stop = min(high, self._source.since(topic, partition, old_ms))
        if first >= stop:
            return False
        count = 0
        for record in islice(self._source.scan(topic, partition, first, stop), BLOCK_RECORDS):
            count += 1
            self._next[topic, partition] = record.offset + 1
            letter = letter_of(record)
            known = turn.letter(letter.id) if letter is not None else None
            if letter is None or jobs.settled(letter, known):
                continue
            turn.keep_letter(
                jobs.remembered(letter, known, state=LetterState.EXPIRED, edit=None, changed_at=turn.now_ms)
            )
            turn.changed(letter, LetterState.EXPIRED, act="expired", by=BY)
            turn.audited(letter, "expired", act="expired", by=BY, detail={})
            turn.release_followers(letter, record.key)
        if count < BLOCK_RECORDS:
            self._next[topic, partition] = stop
            return False
        return True
