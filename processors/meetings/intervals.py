"""Sets of time: stretches of the one time line that all clocks share.

Enters, leaves: Stretches, a tuple of (start, end) in Unix seconds, start included, end not; ordered, never empty, apart
from each other. Guaranteed: every function gives that form, whatever form its arguments have.
Rejected: sets of local times (a local time is no point of the time line on two days a year).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Stretch = tuple[int, int]
Stretches = tuple[Stretch, ...]


def union(*sets: Iterable[Stretch]) -> Stretches:
    """What any of them covers."""
    joined: list[Stretch] = []
    for start, end in sorted(stretch for one in sets for stretch in one):
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def intersection(one: Iterable[Stretch], other: Iterable[Stretch]) -> Stretches:
    """What both cover."""
    left, right = union(one), union(other)
    found: list[Stretch] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            found.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def without(one: Iterable[Stretch], taken: Iterable[Stretch]) -> Stretches:
    """What the first covers and the second does not."""
    gaps = union(taken)
    found: list[Stretch] = []
    for start, end in union(one):
        at = start
        for busy_start, busy_end in gaps[max(0, bisect_right(gaps, (start, start)) - 1) :]:
            if busy_start >= end:
                break
            if busy_start > at:
                found.append((at, busy_start))
            at = max(at, busy_end)
        if at < end:
            found.append((at, end))
    return tuple(found)


def covers(one: Stretches, stretch: Stretch) -> bool:
    """Whether all of a stretch lies in one of them. one: of the form above."""
    found = _at(one, stretch[0])
    return found is not None and found[1] >= stretch[1]


def meets(one: Stretches, stretch: Stretch) -> bool:
    """Whether any moment of a stretch lies in them. one: of the form above."""
    index = bisect_right(one, (stretch[0], stretch[0]))
    before = index > 0 and one[index - 1][1] > stretch[0]
    return before or (index < len(one) and one[index][0] < stretch[1])


def seconds(one: Stretches) -> int:
    """How much time that is."""
    return sum(end - start for start, end in one)


def _at(one: Stretches, moment: int) -> Stretch | None:
    """The stretch that a moment lies in."""
    index = bisect_right(one, (moment, float("inf"))) - 1
    return one[index] if index >= 0 and one[index][0] <= moment < one[index][1] else None
