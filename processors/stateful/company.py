"""Who of one process has records in hand, over all its lanes, and who must have none beside it.

Enters: from each lane's thread, that it takes records in hand, beside others or alone, and that it has let go of them.
Leaves: the moment when it may. Guaranteed: whoever is alone has the whole process for itself, so that a death then is
its own (dlq/deaths.py counts by partition, and lanes run side by side). Nobody waits, and no lock is taken, while
nobody wants to be alone. Rejected: a lock over every lane (one at a time, always, for what hardly ever happens);
dlq/in_hand.py's Quiet (the same for one event loop, where nobody may wait).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Company:
    """See the module. Who: anything that tells lanes apart."""

    def __init__(self) -> None:
        self._in_hand: set[int] = set()
        self._wanted = False
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def beside(self, who: int) -> Iterator[None]:
        """Others may have records in hand, too."""
        self._in_hand.add(who)  # before it asks; alone() wants before it asks: one of the two sees the other
        try:
            while self._wanted:
                self._leave(who)
                with self._changed:
                    self._changed.wait_for(lambda: not self._wanted)
                self._in_hand.add(who)
            yield
        finally:
            self._leave(who)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else has, until this ends; whoever comes meanwhile waits."""
        with self._turn:
            self._wanted = True
            try:
                with self._changed:
                    self._changed.wait_for(lambda: not self._in_hand)
                yield
            finally:
                with self._changed:
                    self._wanted = False
                    self._changed.notify_all()

    def _leave(self, who: int) -> None:
        self._in_hand.discard(who)
        if self._wanted:
            with self._changed:
                self._changed.notify_all()
