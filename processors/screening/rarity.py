"""How often a name part occurs among people at large: what makes an agreement worth something.

Enters: frequency.tsv (its sources and licences: ordinary/SOURCES.md) and the list's own parts. Leaves: for a part,
the natural logarithm of its share. Guaranteed: every part has one; a part that nobody has counted is the rarer the
longer it is. The list counts too, a little: it knows Arabic, Persian and Russian names far better than the packages
do, but being on it once does not make a name common.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aios.processors.screening.small_words import BUSINESS, LEGAL
from aios.processors.screening.sounds import one_syllable, sound

FOLDER = Path(__file__).parent / "ordinary"
BILLION = 1_000_000_000
UNSEEN_NATS = (3.0, 3.0, 6.0, 8.5, 10.5, 12.0, 13.0, 13.5, 14.0, 14.5)  # of a part that nobody counted, by letters
UNSEEN_BARE_NATS = (2.0, 3.0, 5.0, 7.5, 9.0, 10.5, 12.0)  # of one written without vowels
LIST_SHARE = 0.35  # of a part's frequency that the list itself is asked for
LIST_PARTS_MIN = 20_000  # a short list says as little of people at large as it is short
LEGAL_NATS = 1.0  # of a legal form: companies have one, and there are few
BUSINESS_NATS = 6.0  # at most, of what companies say they do; two such words together are seldom again
SYLLABLE_LETTERS_MAX = 6
ONCE_OFF = 0.8  # taken from every count of the list


@cache
def frequencies() -> Mapping[str, float]:
    """Share by part, of all name parts of people at large."""
    rows = (FOLDER / "frequency.tsv").read_text(encoding="utf-8").splitlines()
    return {part: int(often) / BILLION for part, often in (row.split("\t") for row in rows)}


@cache
def bare_frequencies() -> Mapping[str, float]:
    """Share by skeleton: what a part is worth that was written without vowels."""
    rows = (FOLDER / "skeletons.tsv").read_text(encoding="utf-8").splitlines()
    return {bones: int(often) / BILLION for bones, often in (row.split("\t") for row in rows)}


@cache
def heard() -> Mapping[str, float]:
    """Share by sound, of parts of one syllable."""
    found: dict[str, float] = defaultdict(float)
    for part, share in frequencies().items():
        if _is_syllable(part):
            found[sound(part)] += share
    return found


def _is_syllable(part: str) -> bool:
    return len(part) <= SYLLABLE_LETTERS_MAX and one_syllable(part)


class Rarity:
    """-ln of a part's share, in nats."""

    def __init__(self, listed: Mapping[str, int]) -> None:
        """listed: how often each part occurs on the list."""
        self._people = frequencies()
        self._listed = listed
        self._total = max(sum(listed.values()), LIST_PARTS_MIN)

    def nats(self, part: str) -> float:
        """How surprising `part` is in the name of somebody at large, or of any company."""
        if part in LEGAL:
            return LEGAL_NATS
        listed = max(self._listed.get(part, 0) - ONCE_OFF, 0.0) / self._total
        unseen = math.exp(-UNSEEN_NATS[min(len(part), len(UNSEEN_NATS) - 1)])
        return -math.log((1 - LIST_SHARE) * self._people.get(part, 0.0) + LIST_SHARE * listed + unseen)

    def of_kind(self, part: str, *, person: bool) -> float:
        """How surprising `part` is in a person's name, or in another one, where words of business are usual."""
        nats = self.nats(part)
        return min(nats, BUSINESS_NATS) if part in BUSINESS and not person else nats

    def heard_nats(self, part: str) -> float:
        """How surprising it is that a part sounds so: syllables are few by sound, however many their spellings."""
        nats = self.nats(part)
        if not _is_syllable(part):
            return nats
        return min(nats, -math.log(heard().get(sound(part), 0.0) + math.exp(-nats)))

    def bare_nats(self, bones: str) -> float:
        """How surprising a skeleton is, where only it was written."""
        unseen = math.exp(-UNSEEN_BARE_NATS[min(len(bones), len(UNSEEN_BARE_NATS) - 1)])
        return -math.log(bare_frequencies().get(bones, 0.0) + unseen)
