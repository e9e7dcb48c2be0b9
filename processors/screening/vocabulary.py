"""Which parts of the list's names a written part may mean, and what the difference costs.

Enters: the list's parts, once; then one written part at a time. Leaves: the near ones, each with its cost in nats
(-ln of how likely somebody writes it so) and how it differs. Guaranteed: the same, those that sound the same, those
with the same consonants, those that it is the beginning of, and those within the edits that its length allows, in
writing or in sound; nothing farther, and none of these is overlooked (letters.py).
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rapidfuzz.distance import OSA

from aios.processors.screening.letters import Letters
from aios.processors.screening.names import Part
from aios.processors.screening.sounds import skeleton, sound

EDITS_MAX = 2
TWO_EDITS_LETTERS_MIN = 7  # of a written part that may have two slips
NEAR_MAX = 200  # of one written part
PREFIX_LETTERS_MIN, PREFIX_LEFT_MIN = 3, 2

SOUND, BARE, PREFIX = 2.0, 1.5, 6.0
ACRONYM = 4.0  # a company is seldom written so by somebody whose list does not have it
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
    ACRONYM = "acronym"


@dataclass(frozen=True, slots=True)
class Near:
    """One of the list's parts that is near. cost: nats."""

    number: int
    cost: float
    how: How


class Vocabulary:
    """The list's parts by number, and what is near to a written one."""

    def __init__(self, words: Sequence[str], joins: Collection[str], acronyms: Collection[str]) -> None:
        """words: every different part, and joins that people write as one; they are mistyped.

        joins: of neighbours, the same and sounding the same only. acronyms: in capitals, the same only, and never
        for the word that happens to be spelt so. All are disjoint.
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
        long = [word for word in words if len(word) >= TWO_EDITS_LETTERS_MIN - EDITS_MAX]
        self._written = {1: Letters(words, 1), EDITS_MAX: Letters(long, EDITS_MAX)}
        self._sounds = Letters(self._mistyped, 1)
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
        acronym = self.numbers.get(text.upper()) if text.isalpha() else None
        if acronym is not None:
            offer(acronym, ACRONYM, How.ACRONYM)
        return sorted(best.values(), key=lambda near: near.cost)[:NEAR_MAX]

    def _typos(self, text: str, cost_max: float) -> Iterable[tuple[int, float]]:
        if text.isdigit():
            return
        short = SHORT_WORD if len(text) <= 4 else 0.0
        allowed = _edits_allowed(len(text), cost_max - short)
        for listed, edits in self._written[allowed].within(text) if allowed else ():
            yield self.numbers[listed], EDITS[edits] + short + (FIRST_LETTER if text[0] != listed[0] else 0.0)
        said = sound(text)
        if not _edits_allowed(len(said) - 1, cost_max - short - SOUND):
            return
        for other, edits in self._sounds.within(said):
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


def _edits_allowed(letters: int, cost_max: float) -> int:
    """By length, since what is shorter has too many neighbours; and no more than are worth their cost."""
    allowed = 0 if letters < 3 else 1 if letters < TWO_EDITS_LETTERS_MIN else EDITS_MAX
    while allowed and EDITS[allowed] > cost_max:
        allowed -= 1
    return allowed
