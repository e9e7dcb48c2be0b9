"""Decodes the bytes of dead letters in a process that must outlive them.

Enters: a letter, and what is to be done with its bytes. Leaves: what came of it. Guaranteed: a letter with whose bytes
in hand ALONE_MAX processes ended is deadly from then on, and nobody here decodes it again; nor one that its own stage
has given up for that. All else of a letter (its key, headers, bytes as they are) is safe to handle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from aios.dlq.dead_letter import DeadLetter
from aios.streams.errors import Reason

T = TypeVar("T")


class Hands(Protocol):
    """What is in hand, remembered outside of the process; dlq/deaths.py's Alone."""

    def opened(self) -> None: ...
    def begin(self, name: str) -> None: ...
    def end(self) -> None: ...
    def is_given_up(self, name: str) -> bool: ...


class Guard:
    """See the module."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def opened(self) -> None:
        self._hands.opened()

    def is_deadly(self, letter: DeadLetter) -> bool:
        """Whoever decodes it may die of it, and this process with it, at every start anew."""
        return letter.reason == Reason.KILLS_ITS_PROCESS or self._hands.is_given_up(_name(letter))

    def decoding(self, letter: DeadLetter, work: Callable[[], T]) -> T:
        """What work returns; it decodes the letter, which is not deadly. Raises what it raises."""
        self._hands.begin(_name(letter))
        try:
            return work()
        finally:
            self._hands.end()


def _name(letter: DeadLetter) -> str:
    """Of a letter at its place; with its time, for a topic can be made anew."""
    topic, partition, offset = letter.place
    return f"{topic}/{partition}/{offset}@{letter.written_at}"
