"""Which parts of the list's names a written part may mean, and what the difference costs.

Enters: the list's parts, once; then one written part at a time. Leaves: the near ones, each with its cost in nats
(-ln of how likely somebody writes it so) and how it differs. Guaranteed: the same, those that sound the same, those
with the same consonants, those that it is the beginning of, and those within the edits that its length allows, in
writing or in sound; nothing farther. Blocking is by the set of letters, as one number a part: an edit changes two
letters of it at most, so none is overlooked. Rejected: comparing with the whole vocabulary (rapidfuzz's cdist: some
5 ms a name at 50,000 parts); deletion neighbourhoods (SymSpell: a million keys for two edits).
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA

from aios.processors.screening.names import Part, skeleton, sound

EDITS_MAX = 2
NEAR_MAX = 200  # of one written part
PREFIX_LETTERS_MIN, PREFIX_LEFT_MIN = 3, 2
LETTERS_AN_EDIT = 2  # that one edit changes of a set of letters, at most
PAIRS_AN_EDIT, PAIRS_MORE = (
    4,
    2,
)  # of a set of neighbouring pairs; a swap changes six, so a second swap may be overlooked

SOUND, BARE, PREFIX = 2.0, 1.5, 6.0
SKELETON, SHORT_SKELETON, VOWELS_MAX = (
    (2.0, 3.5, 6.5),
    2.5,
    2,
)  # by how many vowels differ; on top, for one or two consonants
EDITS = (0.0, 6.0, 10.5)  # by number
FIRST_LETTER, SHORT_WORD = 1.5, 2.0  # on top: slips are rarer at the front, and a short word has fewer of them


# Letters that languages read so differently that no one sound fits: German j, French ch, Egyptian g, Persian gh.
SPELLED = (
    ("j", "y"),
    ("ch", "sh"),
    ("ch", "h"),
    ("g", "j"),
    ("q", "g"),
    ("gh", "q"),
    ("kh", "k"),
    ("sh", "s"),
    ("zh", "sh"),
    ("c", "s"),
)
OTHER_SPELLING = 4.0


class How(StrEnum):
    """How a written part differs from the list's."""

    SAME = "same"
    SOUND = "sound"
    TYPO = "typo"
    BARE = "bare"
    PREFIX = "prefix"
    INITIAL = "initial"


@dataclass(frozen=True, slots=True)
class Near:
    """One of the list's parts that is near. cost: nats."""

    number: int
    cost: float
    how: How


class Letters:
    """Strings that are searched for those within some edits."""

    def __init__(self, strings: Iterable[str]) -> None:
        """strings: each once."""
        self.strings = sorted(strings, key=len)
        self._array = np.array(self.strings, dtype=object)
        self._letters = np.array([_letters(one) for one in self.strings], dtype=np.uint64)
        self._pairs = np.array([_pairs(one) for one in self.strings], dtype=np.uint64)
        lengths = [len(one) for one in self.strings]
        self._from = [bisect.bisect_left(lengths, length) for length in range(max(lengths, default=0) + 2)]

    def within(self, text: str, edits: int) -> list[tuple[str, int]]:
        """Those at most `edits` from `text`, with their distance (a swap of neighbours is one edit); none for 0."""
        if not edits:
            return []
        last = len(self._from) - 1
        first, behind = self._from[min(max(len(text) - edits, 0), last)], self._from[min(len(text) + edits + 1, last)]
        pairs = np.bitwise_count(self._pairs[first:behind] ^ np.uint64(_pairs(text)))
        differ_max = min(PAIRS_AN_EDIT * edits + PAIRS_MORE, max(2 * len(text) - 6, PAIRS_AN_EDIT + PAIRS_MORE))
        places = np.nonzero(pairs <= differ_max)[0]
        letters = np.bitwise_count(self._letters[first + places] ^ np.uint64(_letters(text)))
        places = places[letters <= LETTERS_AN_EDIT * edits]
        close = self._array[first + places].tolist()
        found = process.extract(text, close, scorer=OSA.distance, score_cutoff=edits, limit=None)
        return [(string, int(distance)) for string, distance, _ in found]


class Vocabulary:
    """The list's parts by number, and what is near to a written one."""

    def __init__(self, words: Sequence[str], joins: Collection[str], acronyms: Collection[str]) -> None:
        """words: every different part, and joins that people write as one; they are mistyped.

        joins: of neighbours, the same and sounding the same only. acronyms: the same only. All are disjoint.
        """
        self.texts = [*words, *joins, *acronyms]
        self.numbers = {text: number for number, text in enumerate(self.texts)}
        self._by_sound: dict[str, list[int]] = defaultdict(list)
        self._by_skeleton: dict[str, list[int]] = defaultdict(list)
        self._by_bare_skeleton: dict[str, list[int]] = defaultdict(list)
        self._mistyped: dict[str, list[int]] = defaultdict(list)
        self._said = [sound(text) for text in self.texts[: len(words) + len(joins)]]
        for number, said in enumerate(self._said):
            text = self.texts[number]
            self._by_sound[said].append(number)
            self._by_bare_skeleton[skeleton(text, bare=True)].append(number)
            if number < len(words):
                self._by_skeleton[skeleton(text)].append(number)
                self._mistyped[said].append(number)
        self._words = len(words)
        self._written = Letters(words)
        self._sounds = Letters(self._mistyped)
        self._sorted = sorted(words)

    def alike(self, text: str, *, joins: bool = True) -> list[Near]:
        """Only the same and those that sound so. joins: whether joins may sound so, or be the same only."""
        same = self.numbers.get(text)
        found = [] if same is None else [Near(same, 0.0, How.SAME)]
        last = len(self.texts) if joins else self._words
        sounding = (each for each in self._by_sound.get(sound(text), ()) if each != same and each < last)
        return found + [Near(each, SOUND, How.SOUND) for each in sounding]

    def bare(self, bones: str) -> list[Near]:
        """Those with these consonants."""
        return [Near(number, BARE, How.BARE) for number in self._by_bare_skeleton.get(bones, ())]

    def near(self, part: Part, cost_max: float = math.inf) -> list[Near]:
        """All that are near, each once at its cheapest; at most NEAR_MAX, cheapest first.

        cost_max: nats; what costs more than that is worth nothing to who asks, and is not looked for.
        """
        text = part.text
        bones = skeleton(text, bare=part.bare)
        if part.bare:
            return self.bare(bones)
        best = {each.number: each for each in self.alike(text)}

        def offer(number: int, cost: float, how: How) -> None:
            if number not in best or cost < best[number].cost:
                best[number] = Near(number, cost, how)

        for old, new in SPELLED:
            if old in text:
                for each in self.alike(text.replace(old, new)):
                    offer(each.number, OTHER_SPELLING, How.SOUND)
        said = sound(text)
        for number in self._by_skeleton.get(bones, ()) if len(text) > 2 else ():
            other = self._said[number]
            if abs(len(said) - len(other)) > VOWELS_MAX:
                continue
            vowels = OSA.distance(said, other)
            if vowels <= VOWELS_MAX:
                offer(number, SKELETON[vowels] + (SHORT_SKELETON if len(bones) < 3 else 0.0), How.SOUND)
        for number, cost in self._typos(text, cost_max):
            offer(number, cost, How.TYPO)
        for number in self._longer(text):
            offer(number, PREFIX, How.PREFIX)
        return sorted(best.values(), key=lambda near: near.cost)[:NEAR_MAX]

    def _typos(self, text: str, cost_max: float) -> Iterable[tuple[int, float]]:
        if text.isdigit():
            return
        short = SHORT_WORD if len(text) <= 4 else 0.0
        for listed, edits in self._written.within(text, _edits_allowed(len(text), cost_max - short)):
            yield self.numbers[listed], EDITS[edits] + short + (FIRST_LETTER if text[0] != listed[0] else 0.0)
        said = sound(text)
        for other, edits in self._sounds.within(said, min(_edits_allowed(len(said) - 1, cost_max - short - SOUND), 1)):
            front = FIRST_LETTER if said[:1] != other[:1] else 0.0
            for number in self._mistyped[other]:
                yield number, SOUND + EDITS[edits] + short + front

    def _longer(self, text: str) -> Iterable[int]:
        if len(text) < PREFIX_LETTERS_MIN or text.isdigit():
            return
        first = bisect.bisect_left(self._sorted, text)
        for place in range(first, min(first + NEAR_MAX, len(self._sorted))):
            listed = self._sorted[place]
            if not listed.startswith(text):
                return
            if len(listed) >= len(text) + PREFIX_LEFT_MIN:
                yield self.numbers[listed]


def _letters(text: str) -> int:
    """The set of its letters, one bit each."""
    bits = 0
    for letter in text:
        bits |= 1 << (ord(letter) & 63)
    return bits


def _pairs(text: str) -> int:
    """The set of its neighbouring letters, folded into 64 bits."""
    bits = 0
    for one, other in pairwise(text):
        bits |= 1 << ((ord(one) * 31 + ord(other)) & 63)
    return bits


def _edits_allowed(letters: int, cost_max: float) -> int:
    """By length, since what is shorter has too many neighbours; and no more than are worth their cost."""
    allowed = 0 if letters < 3 else 1 if letters <= 6 else EDITS_MAX
    while allowed and EDITS[allowed] > cost_max:
        allowed -= 1
    return allowed
