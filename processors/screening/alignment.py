"""A written name beside one of the list's: which part is which, and what is left over.

Enters: slots (a written part, or a join of some, with what each of the list's parts near to it brings) and one
compiled name. Leaves: nats, and the pairs for the reasons. Guaranteed: every part is used once, on both sides; order
costs only a little; greedy by gain, which is exact but for ties among parts that are near to each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.processors.screening.small_words import PARTICLES, light
from aios.processors.screening.vocabulary import How

EXTRA, EXTRA_LIGHT, EXTRA_INITIAL = 3.0, 0.4, 1.5  # nats, of a written part that the list's name lacks
MISSING_GIVEN, MISSING_SURNAME, MISSING_LIGHT = 1.5, 2.5, 0.2  # of one of the list's that was not written
MISSING_WORD_MAX, WORD_NATS_SHARE, MISSING_WORDS_MAX = 2.5, 0.25, 5.0  # of a company's: what says little costs little
REPLACED = 5.5  # where all surname parts, or all given ones, are gone and something else stands there
ONLY_PART = 2.5  # where the list has one part alone, and more was written
SHORT_LETTERS_MAX = 4
FORM_LETTERS_MAX = 2
OPEN = (How.INITIAL, How.PREFIX, How.ACRONYM)  # pairs that leave open what the rest of the part is
INITIAL = 1.3  # what an initial brings
COMPLETE = 3.0  # where nothing is left over on either side
ALONE = 2.5  # where one part was written, and it agrees: nobody is cleared by one part
SWAPPED = 0.3
WHOLE_MAX = max(COMPLETE, ALONE)  # that the whole can bring beside its parts


@dataclass(frozen=True, slots=True)
class Span:
    """Parts of a listed name, by their number in the vocabulary.

    most: nats that they can bring, however rare a slip makes them look: who means a usual word also mistypes it.
    """

    number: int
    places: tuple[int, ...]
    most: float


@dataclass(frozen=True, slots=True)
class Compiled:
    """One of the list's names. missing: what it costs if a part was not written; surname: how many parts lead.

    heavy: how many parts say something by themselves. initials: whether any part is one letter.
    """

    entry: int
    name: str
    texts: tuple[str, ...]
    missing: tuple[float, ...]
    surname: int
    person: bool
    heavy: int
    initials: bool
    spans: tuple[Span, ...]

    def replaced(self, lacking: Sequence[int]) -> bool:
        """Whether all parts of the surname that count, or all given ones, are among `lacking`."""
        heavy = [place for place, cost in enumerate(self.missing) if cost > MISSING_LIGHT]
        surname = sum(place < self.surname for place in heavy)
        gone = sum(place < self.surname for place in lacking)
        return 0 < surname == gone or 0 < len(heavy) - surname == len(lacking) - gone


@dataclass(frozen=True, slots=True)
class Slot:
    """Written parts [first, behind), with what the list's parts near to it bring. extra: its cost if left over."""

    first: int
    behind: int
    text: str
    extra: float
    gains: Mapping[int, tuple[float, How]]
    initial: bool = False
    reach: tuple[Any, Any] | None = None  # index.py: the names that these are in, and the most that each brings there


@dataclass(frozen=True, slots=True)
class Written:
    """A name as it was written. single: the slots of one part; heavy: how many of them say something by themselves.

    initials: whether any is one. company: whether it is said to be one's name. gains: of all slots, by number.
    """

    slots: tuple[Slot, ...]
    single: tuple[Slot, ...]
    heavy: int
    initials: bool
    company: bool
    gains: Mapping[int, Sequence[tuple[float, How, Slot]]]

    @classmethod
    def of(cls, slots: Sequence[Slot], *, company: bool) -> Written:
        """Of all its slots."""
        single = tuple(slot for slot in slots if slot.behind == slot.first + 1)
        heavy = sum(slot.extra > EXTRA_INITIAL for slot in single)
        gains: dict[int, list[tuple[float, How, Slot]]] = {}
        for slot in slots:
            for number, (gain, how) in slot.gains.items():
                gains.setdefault(number, []).append((gain, how, slot))
        return cls(tuple(slots), single, heavy, any(slot.initial for slot in single), company, gains)


@dataclass(frozen=True, slots=True)
class Pair:
    """Which written parts [first, behind) are which of the list's."""

    first: int
    behind: int
    places: tuple[int, ...]
    how: How


@dataclass(frozen=True, slots=True)
class Alignment:
    """What goes together. extra: written parts left over; missing: the list's; by place."""

    nats: float
    pairs: tuple[Pair, ...]
    extra: tuple[int, ...]
    missing: tuple[int, ...]
    swapped: bool


def left_over(text: str) -> float:
    """What a written part costs that the list's name lacks."""
    if light(text):
        return EXTRA_LIGHT
    return EXTRA_INITIAL if len(text) == 1 else EXTRA


def missing(text: str, nats: float, *, person: bool, surname: bool) -> float:
    """What one of the list's parts costs that was not written. nats: its rarity."""
    if text in PARTICLES or len(text) == 1 or (not person and light(text)):
        return MISSING_LIGHT
    if person:
        return MISSING_SURNAME if surname else MISSING_GIVEN
    return min(MISSING_WORD_MAX, WORD_NATS_SHARE * nats)


def align(written: Written, name: Compiled, nats_min: float = -math.inf) -> Alignment | None:
    """The best of `written` on `name`, or None where nothing agrees or it cannot reach nats_min."""
    edges = [
        (min(gain, span.most), how, slot, span)
        for span in name.spans
        for gain, how, slot in written.gains.get(span.number, ())
    ]
    if not edges:
        return None
    edges.sort(key=_gain, reverse=True)
    ours: set[int] = set()
    theirs: set[int] = set()
    chosen: list[tuple[Slot, Span, How]] = []
    nats = 0.0
    for gain, how, slot, span in edges:
        run = range(slot.first, slot.behind)
        if ours.isdisjoint(run) and theirs.isdisjoint(span.places):
            ours.update(run)
            theirs.update(span.places)
            chosen.append((slot, span, how))
            nats += gain
    left = [slot for slot in written.single if slot.first not in ours]
    gone = [place for place in range(len(name.texts)) if place not in theirs]
    pairs: list[Pair] = []
    if left and gone and (written.initials or name.initials):
        pairs = _initials(left, gone, name)
        nats += INITIAL * len(pairs)
        left = [slot for slot in left if all(slot.first != pair.first for pair in pairs)]
        gone = [place for place in gone if all(place not in pair.places for pair in pairs)]
    lost = sum([name.missing[place] for place in gone])
    extra = [_extra(slot, name) for slot in left]
    nats -= sum(extra) + (lost if name.person else min(lost, MISSING_WORDS_MAX))
    if nats + WHOLE_MAX < nats_min:
        return None
    pairs = [Pair(slot.first, slot.behind, span.places, how) for slot, span, how in chosen] + pairs
    return _weighed(nats, written, name, pairs=pairs, left=left, gone=gone, more=max(extra, default=0.0))


def _extra(slot: Slot, name: Compiled) -> float:
    """What a written part costs that is left over: one or two letters in a company's name are mostly its form."""
    form = not name.person and len(slot.text) <= FORM_LETTERS_MAX and slot.text.isalpha()
    return EXTRA_LIGHT if form else slot.extra


def _gain(edge: tuple[float, How, Slot, Span]) -> float:
    return edge[0]


def _initials(left: Sequence[Slot], gone: Sequence[int], name: Compiled) -> list[Pair]:
    """Initials, on either side, that stand for a part that is left over."""
    found: list[Pair] = []
    taken: set[int] = set()
    for slot in left:
        for place in gone:
            text = name.texts[place]
            if place in taken or not (slot.initial or len(text) == 1) or text[0] != slot.text[0]:
                continue
            if slot.initial and text in PARTICLES and len(text) > 1:
                continue
            taken.add(place)
            found.append(Pair(slot.first, slot.behind, (place,), How.INITIAL))
            break
    return found


def _weighed(
    nats: float,
    written: Written,
    name: Compiled,
    *,
    pairs: list[Pair],
    left: Sequence[Slot],
    gone: Sequence[int],
    more: float,
) -> Alignment:
    """nats: of the pairs, less what is left over, of which `more` is the dearest.

    A whole name is worth more than its parts; but a company called by one part of a person's is not that person.
    """
    lacking = [place for place in gone if name.missing[place] > MISSING_LIGHT]
    if more > EXTRA_INITIAL and name.heavy == 1:
        nats -= ONLY_PART
    if more > EXTRA_INITIAL and lacking and name.surname and name.replaced(lacking):
        nats -= REPLACED
    if more <= EXTRA_LIGHT and not (written.company and written.heavy == 1 and name.person):
        if not lacking and all(pair.how not in OPEN for pair in pairs):
            nats += COMPLETE / 2 if any(_short_slip(pair, name) for pair in pairs) else COMPLETE
        elif written.heavy == 1:
            nats += ALONE
    swapped = _swapped(pairs, name)
    return Alignment(
        nats=nats - SWAPPED * swapped,
        pairs=tuple(sorted(pairs, key=lambda pair: pair.first)),
        extra=tuple(slot.first for slot in left),
        missing=tuple(gone),
        swapped=swapped,
    )


def _short_slip(pair: Pair, name: Compiled) -> bool:
    """Whether a pair is a slip in a short word, which leaves open that it is another word."""
    return pair.how is How.TYPO and sum(len(name.texts[place]) for place in pair.places) <= SHORT_LETTERS_MAX


def _swapped(pairs: Sequence[Pair], name: Compiled) -> bool:
    """Whether the parts come in neither of the two usual orders: surname first, or given names first."""
    if len(pairs) == 1:
        return False
    ordered = sorted(pairs, key=lambda pair: pair.first)
    as_listed = [pair.places[0] for pair in ordered]
    turned = [(place - name.surname) % len(name.texts) for place in as_listed]
    return as_listed != sorted(as_listed) and turned != sorted(turned)
