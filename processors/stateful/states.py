"""What one partition remembers by key.

Enters: states as they are set, forgotten and read back from the changelog. Leaves: a key's state, and the states whose
end has come. A state with an end only waits to be forgotten; a million of them lie in memory for weeks, so they are
packed: a few dozen share one piece of memory, where each would cost a key, a value, a place in a dictionary and a timer
(half a kilobyte a decided case; packed, half of that: `aios bench cases`).

Guaranteed: an end never comes early, and late by at most SLOT_MS. Cells are chosen by Python's seeded hash, so that no
producer can fill one of them on purpose. Rejected: an embedded store (a second thing that can disagree with the
changelog, for memory that is not short).
"""

from __future__ import annotations

import heapq
import struct
from array import array
from collections.abc import Iterator, Mapping

CELLS = 1 << 12  # of a partition: forty states in each when six partitions remember a million
SLOT_MS = 600_000  # ends are kept to ten minutes
_HEAD = struct.Struct("<III")  # bytes of the key, bytes of the value, slot; before each state in its cell


class States:
    """State by key; see the module. end_ms is log time, Unix ms."""

    def __init__(self) -> None:
        self._open: dict[bytes, bytes] = {}
        self._cells: dict[int, bytes] = {}
        self._ending = 0
        self._slots: dict[int, array[int]] = {}  # slot → cells in which a state may end then
        self._order: list[int] = []  # slots, a heap

    def __len__(self) -> int:
        return len(self._open) + self._ending

    def get(self, key: bytes) -> bytes | None:
        value = self._open.get(key)
        if value is not None:
            return value
        cell = self._cells.get(hash(key) % CELLS, b"")
        found = _find(cell, key)
        return None if found is None else cell[found[1] : found[2]]

    def set(self, key: bytes, value: bytes | None, end_ms: int | None = None) -> None:
        """None forgets it. end_ms: when it is to be forgotten; without, it has no end, whatever it had before."""
        number = hash(key) % CELLS
        cell = self._cells.get(number, b"")
        found = _find(cell, key)
        if found is not None:
            cell = cell[: found[0]] + cell[found[2] :]
            self._ending -= 1
        if value is not None and end_ms is not None:
            slot = -(-end_ms // SLOT_MS)
            self._cells[number] = b"".join((cell, _HEAD.pack(len(key), len(value), slot), key, value))
            self._ending += 1
            if found is None or found[3] != slot:
                self._will_end(slot, number)
        elif cell:
            self._cells[number] = cell
        elif found is not None:
            del self._cells[number]
        if value is None or end_ms is not None:
            self._open.pop(key, None)
        else:
            self._open[key] = value

    def without_end(self) -> Mapping[bytes, bytes]:
        """As they are now; to be read, not changed."""
        return self._open

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._open.items()
        for cell in self._cells.values():
            for key, value, _ in _states_in(cell):
                yield key, value

    def ends(self) -> dict[bytes, int]:
        """When each state that has an end is forgotten."""
        return {key: slot * SLOT_MS for cell in self._cells.values() for key, _, slot in _states_in(cell)}

    def next_due_ms(self) -> int | None:
        """When to ask for what has ended: never after one has, perhaps before."""
        return self._order[0] * SLOT_MS if self._order else None

    def due(self, now_ms: int, count_max: int) -> list[tuple[bytes, bytes, int]]:
        """Key, state and end of at most count_max that have ended. They stay until they are set anew."""
        while count_max > 0 and self._order and self._order[0] * SLOT_MS <= now_ms:
            slot = self._order[0]
            if found := self._ended(slot, count_max):
                return [(key, value, slot * SLOT_MS) for key, value in sorted(found)]
            del self._slots[heapq.heappop(self._order)]
        return []

    def _ended(self, slot: int, count_max: int) -> list[tuple[bytes, bytes]]:
        """Of one slot. Cells where nothing ends in it any more are let go."""
        cells = self._slots[slot]
        seen: set[int] = set()
        found: list[tuple[bytes, bytes]] = []
        for cell in reversed(cells):
            if len(found) >= count_max:
                break
            if cell not in seen:
                seen.add(cell)
                found += [(key, value) for key, value, one in _states_in(self._cells.get(cell, b"")) if one == slot]
            if not found:
                cells.pop()
        return found[:count_max]

    def _will_end(self, slot: int, cell: int) -> None:
        if slot not in self._slots:
            self._slots[slot] = array("H")
            heapq.heappush(self._order, slot)
        self._slots[slot].append(cell)


def _find(cell: bytes, key: bytes) -> tuple[int, int, int, int] | None:
    """Where the key's state stands: its head, its value, its end; and its slot."""
    if key not in cell:
        return None
    at = 0
    while at < len(cell):
        key_bytes, value_bytes, slot = _HEAD.unpack_from(cell, at)
        value_at = at + _HEAD.size + key_bytes
        if key_bytes == len(key) and cell.startswith(key, at + _HEAD.size):
            return at, value_at, value_at + value_bytes, slot
        at = value_at + value_bytes
    return None


def _states_in(cell: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    at = 0
    while at < len(cell):
        key_bytes, value_bytes, slot = _HEAD.unpack_from(cell, at)
        value_at = at + _HEAD.size + key_bytes
        end = value_at + value_bytes
        yield cell[at + _HEAD.size : value_at], cell[value_at:end], slot
        at = end
