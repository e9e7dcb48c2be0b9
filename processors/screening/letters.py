"""Strings that are searched for those within some edits of a text, however many there are.

Enters: strings, once, and how many edits; then one text at a time. Leaves: those of them that are near, with their
distance. Guaranteed: every one within the edits and nothing else (a swap of neighbours is one edit). Two strings within
two edits begin alike when two letters at most are left out of the first LETTERS of each; every beginning without them
is a key, and what shares a key is measured. Rejected: comparing with all (rapidfuzz's cdist: some 5 ms a name at 50,000
parts); sets of letters as blocks (numpy over all strings for each, and a second swap was overlooked); whole strings
without their letters (SymSpell without a prefix: three times the keys).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import chain, combinations

from rapidfuzz import process
from rapidfuzz.distance import OSA

LETTERS = 7  # of a beginning


class Letters:
    """See the module."""

    def __init__(self, strings: Collection[str], edits: int) -> None:
        """strings: each once. edits: that within() looks for."""
        self._edits = edits
        by_beginning: dict[str, list[str]] = defaultdict(list)
        for string in strings:
            by_beginning[string[:LETTERS]].append(string)
        keys: dict[str, list[str]] = defaultdict(list)
        for beginning in by_beginning:
            for key in set(_without(beginning, edits)):
                keys[key].append(beginning)
        self._by_beginning = {each: tuple(found) for each, found in by_beginning.items()}
        self._keys = {key: tuple(found) for key, found in keys.items()}

    def within(self, text: str) -> list[tuple[str, int]]:
        """Those at most the edits from `text`, with their distance."""
        beginnings = {each for key in _without(text[:LETTERS], self._edits) for each in self._keys.get(key, ())}
        close = [string for each in sorted(beginnings) for string in self._by_beginning[each]]
        if not close:
            return []
        found = process.extract(text, close, scorer=OSA.distance, score_cutoff=self._edits, limit=None)
        return [(string, int(distance)) for string, distance, _ in found]


def _without(beginning: str, edits: int) -> Iterator[str]:
    """What is left of it without up to `edits` of its letters."""
    last = len(beginning)
    for kept in chain.from_iterable(combinations(beginning, last - count) for count in range(min(edits, last) + 1)):
        yield "".join(kept)
