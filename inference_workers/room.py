"""Room for tokens in one engine's KV cache: how much of it the lanes of a process have taken, all together.

Enters: what a request is expected to take, from the order of its lane (fair.py), and its end. Leaves: whether there is
room for it. Guaranteed: what the lanes have taken never passes the whole; bulk work leaves `kept` of it free, and takes
nothing while one who waits for an answer found no room, so that who waits is next; a request for more than its lane
may have counts as much as that, and goes when the rest has ended; a lane that found no room is told when some comes.
From any thread: each lane has a lock of its own.
Rejected: a room for each lane (together they are more than the cache, and what vLLM takes out of it is computed twice),
the room divided among them (one lane at rest would waste its part).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


class Room:
    """See the module. tokens_max: of all lanes together."""

    def __init__(self, tokens_max: int, *, kept: int = 0) -> None:
        self._tokens_max = tokens_max
        self._kept = kept
        self._taken = 0
        self._lanes: list[LaneRoom] = []
        self._lock = threading.Lock()

    def lane(self, tokens_max: int, *, bulk: bool = False) -> LaneRoom:
        """One lane's part in it. tokens_max: that it may take at once."""
        within = self._tokens_max - (self._kept if bulk else 0)
        lane = LaneRoom(self, min(tokens_max, within), within, bulk=bulk)
        self._lanes.append(lane)
        return lane

    def take(self, lane: LaneRoom, tokens: int) -> bool:
        with self._lock:
            if lane.tokens + tokens > lane.tokens_max:  # its own requests have to end
                return False
            was_waiting = lane.is_waiting
            behind = lane.bulk and any(other.is_waiting and not other.bulk for other in self._lanes)
            lane.is_waiting = behind or self._taken + tokens > lane.within
            if lane.is_waiting:
                return False
            lane.tokens += tokens
            self._taken += tokens
            others = self._waiting(lane) if was_waiting else ()
        _tell(others)
        return True

    def give(self, lane: LaneRoom, tokens: int) -> None:
        with self._lock:
            lane.tokens -= tokens
            self._taken -= tokens
            others = self._waiting(lane)
        _tell(others)

    def forgo(self, lane: LaneRoom) -> None:
        with self._lock:
            lane.is_waiting = False
            others = self._waiting(lane)
        _tell(others)

    def _waiting(self, but: LaneRoom) -> list[LaneRoom]:
        return [other for other in self._lanes if other.is_waiting and other is not but]


class LaneRoom:
    """One lane's part. tokens: that it has taken. within: what all may have taken when it has. is_waiting: for what
    the others have taken.
    """

    def __init__(self, room: Room, tokens_max: int, within: int, *, bulk: bool) -> None:
        self._room = room
        self.tokens_max = tokens_max
        self.within = within
        self.bulk = bulk
        self.tokens = 0
        self.is_waiting = False
        self.tell: Callable[[], None] = lambda: None  # that there may be room again, after what others did

    def take(self, tokens: int) -> int:
        """How much was taken for a request of so many; 0: there is no room for it."""
        counted = min(tokens, self.tokens_max)
        return counted if self._room.take(self, counted) else 0

    def give(self, tokens: int) -> None:
        """As taken: its request has ended."""
        self._room.give(self, tokens)

    def forgo(self) -> None:
        """Who found no room may wait no more."""
        self._room.forgo(self)


def _tell(lanes: Iterable[LaneRoom]) -> None:
    for lane in lanes:
        lane.tell()
