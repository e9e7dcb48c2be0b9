"""Is this one of the list's? The index over a list, and the search in it.

Enters: a list's entries, once; then a name with what else is known (birth date, person or company). Leaves: the
entries that it may be, each with a score, the name that matched and why, in sentences. Guaranteed: pure and
deterministic; the order of parts does not matter; at most HITS_MAX hits, best first.

The score is a sum of nats: how much likelier the written name is if it is this entry's, written by somebody who drops
and swaps parts, transliterates and mistypes, than if it is anybody's. A part that agrees brings its rarity among
people at large (rarity.py) less what its spelling costs (vocabulary.py); parts that only one side has cost; a birth
date adds or takes (births.py). A surname and a birth day that agree are looked at whatever the score; thresholds.py
says from where a person looks else. Rejected: one ratio over the whole string (it values MARIA as much as ISNILON, and
order counts), embeddings (no reasons a person can check).
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any, cast

import numpy as np

from aios.processors.screening import alignment, births
from aios.processors.screening.alignment import Alignment, Compiled, Slot, Span, Written
from aios.processors.screening.births import Agreement, Born
from aios.processors.screening.entries import Entry, Kind
from aios.processors.screening.names import Part, parts, read_scripts
from aios.processors.screening.rarity import Rarity, heard
from aios.processors.screening.small_words import LEGAL, PARTICLES, light
from aios.processors.screening.sounds import characters, skeleton
from aios.processors.screening.thresholds import NO_PERSON, ORGANISATION, OTHER_KIND, REVIEW, level, score
from aios.processors.screening.vocabulary import How, Vocabulary

MANY_PARTS = 5  # that few people's names have
RUN_PARTS = 6  # of a longer name, each stretch of so many is looked for by itself too
HITS_MAX = 20
CANDIDATES_MAX = 60  # aligned exactly, by what they could reach at most
CACHE_MAX = 4_096  # written parts whose neighbours are remembered
GAIN_MAX = 13.0  # of one part: no single word makes a person
CHARACTERS_MAX = 4  # parts of a Chinese or Korean name
CHARACTER_NATS_MAX = 5.0  # of one Chinese or Korean character: there are some 150 usual ones by sound
SURNAMES = (How.SAME, How.SOUND, How.BARE)  # how a surname agrees that a birth day is enough beside
ALIKE = (How.SOUND, How.TYPO)  # agreements that the sound is weighed for, and not the spelling
GAIN_MIN = -2.0  # of one part: a doubtful agreement is still likelier than a part replaced
JOINED_MORE = 3.0  # that a join may bring above GAIN_MAX
ACRONYM_LETTERS_MIN, ACRONYM_LETTERS_MAX = 3, 8
ARTICLE_LETTERS_MAX = 14
NAME_MIN = 5.0  # of the name alone: a birth date alone is nobody


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to look for. kind: None where it is not known."""

    name: str
    born: Born | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry that it may be. nats: what thresholds.py cuts; score: 0 to 100 for people, REVIEW at 50."""

    entry: Entry
    name: str
    nats: float
    score: int
    level: str
    alignment: Alignment
    birth: Agreement


@dataclass(frozen=True, slots=True)
class _Shape:
    """Of a listed name: whether it is a person's, and how many parts the surname in front has."""

    person: bool
    surname: int

    @classmethod
    def of(cls, entry: Entry, name: str) -> _Shape:
        person = entry.kind is Kind.INDIVIDUAL
        surname, comma, _ = name.partition(",")
        return cls(person, len(parts(surname)) if person and comma else 0)


class Index:
    """One version of a list, searchable. Building takes some seconds for 15,000 entries."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """entries: of a list (list_files.py); held as they are."""
        self.entries = entries
        written = [(number, name) for number, one in enumerate(entries) for name in one.names]
        split = [parts(name) for _, name in written]
        listed = Counter(part.text for each in split for part in each)
        shapes = [_Shape.of(entries[number], name) for number, name in written]
        self.rarity = Rarity(listed)
        self.names: list[Compiled] = []
        runs = [list(_spans(each, shape.surname)) for shape, each in zip(shapes, split, strict=True)]
        acronyms = [[] if shape.person else list(_acronyms(each)) for shape, each in zip(shapes, split, strict=True)]
        words = dict.fromkeys(text for run in runs for text, places in run if len(places) == 1 or _one_word(text))
        joins = dict.fromkeys(text for run in runs for text, _ in run if text not in words)
        short = dict.fromkeys(text for found in acronyms for text, _ in found)
        self.vocabulary = Vocabulary(list(words), list(joins), list(short))
        postings: dict[int, list[int]] = defaultdict(list)
        for (number, name), shape, each, run, acronym in zip(written, shapes, split, runs, acronyms, strict=True):
            compiled = self._compile(number, name, shape, each, run + acronym)
            for span in compiled.spans:
                postings[span.number].append(len(self.names))
            self.names.append(compiled)
        kinds = {kind: place for place, kind in enumerate(Kind)}
        self._by_day: dict[date, list[int]] = defaultdict(list)
        for place, compiled in enumerate(self.names):
            if compiled.surname:
                for day in {one.first for one in entries[compiled.entry].born if one.exact}:
                    self._by_day[day].append(place)
        self._kinds = np.array([kinds[entries[number].kind] for number, _ in written], dtype=np.int8)
        self._postings: dict[int, Any] = {one: np.array(found, dtype=np.int32) for one, found in postings.items()}
        self.rarity.bare_nats("")  # read now, not with the first Arabic name
        heard()
        read_scripts()
        own = weakref.proxy(self)  # no circle: a version that went is frozen, and only its count of users ends it
        self._near = lru_cache(maxsize=CACHE_MAX)(lambda part, place: cast(Slot, own._slot(part, place)))

    def _compile(
        self,
        number: int,
        name: str,
        shape: _Shape,
        found: Sequence[Part],
        runs: Sequence[tuple[str, tuple[int, ...]]],
    ) -> Compiled:
        person, surname = shape.person, shape.surname
        nats = [self.rarity.of_kind(part.text, person=person) for part in found]
        missing = tuple(
            alignment.missing(part.text, nats[place], person=person, surname=place < surname)
            for place, part in enumerate(found)
        )
        return Compiled(
            entry=number,
            name=name,
            texts=tuple(part.text for part in found),
            missing=missing,
            surname=surname,
            person=person,
            heavy=sum(cost > alignment.MISSING_LIGHT for cost in missing),
            initials=any(len(part.text) == 1 for part in found),
            spans=tuple(
                Span(self.vocabulary.numbers[text], places, sum(nats[place] for place in places))
                for text, places in runs
            ),
        )

    def search(self, asked: Asked, *, nats_min: float = REVIEW) -> list[Hit]:
        """Who it may be, best first; at most HITS_MAX, none below nats_min."""
        found = parts(asked.name)
        slots = self._slots(_romanised(found))
        written = Written.of(slots, company=asked.kind is Kind.ENTITY)
        hits = self._aligned(asked, written, nats_min)
        for run in _runs(len(found)) if asked.kind is Kind.INDIVIDUAL else ():
            within = [slot for slot in slots if slot.first >= run.start and slot.behind <= run.stop]
            for number, hit in self._aligned(asked, Written.of(within, company=False), nats_min).items():
                if number not in hits or hit.nats > hits[number].nats:
                    extra = {*range(len(found))} - {*run} | {*hit.alignment.extra}
                    hits[number] = replace(hit, alignment=replace(hit.alignment, extra=tuple(sorted(extra))))
        if nats_min <= REVIEW:
            hits |= self._same_day(asked, written, hits)
        return sorted(hits.values(), key=lambda hit: (-hit.nats, hit.entry.number))[:HITS_MAX]

    def _aligned(self, asked: Asked, written: Written, nats_min: float) -> dict[int, Hit]:
        """The best hit of each entry, by its place in the list."""
        against = _against(asked.kind, written)
        hits: dict[int, Hit] = {}
        help_from_birth = births.SAME_DAY if asked.born else 0.0
        least = {kind: max(nats_min - help_from_birth + taken, NAME_MIN) for kind, taken in against.items()}
        for candidate in self._candidates(written.slots, least):
            compiled = self.names[candidate]
            entry = self.entries[compiled.entry]
            found = alignment.align(written, compiled, least[entry.kind])
            if found is None or found.nats < least[entry.kind]:
                continue
            agreement = births.compare(asked.born, entry.born)
            nats = found.nats + agreement.nats - against[entry.kind]
            there = hits.get(compiled.entry)
            if nats >= nats_min and (there is None or nats > there.nats):
                hits[compiled.entry] = Hit(entry, compiled.name, nats, score(nats), level(nats), found, agreement)
        return hits

    def _same_day(self, asked: Asked, written: Written, hits: Mapping[int, Hit]) -> dict[int, Hit]:
        """People of the same surname, born on the same day: looked at, whatever the given name is. hits: so far.

        Spelled by a stranger's ear, a short given name is another one; a surname and a day by chance are one in
        thousands.
        """
        day = asked.born.first if asked.born is not None and asked.born.exact else None
        seen: dict[int, Hit] = {}
        for candidate in self._by_day.get(day, ()) if day and asked.kind is not Kind.ENTITY else ():
            compiled = self.names[candidate]
            there = hits.get(compiled.entry) or seen.get(compiled.entry)
            found = alignment.align(written, compiled) if there is None or there.nats < REVIEW else None
            if found is None:
                continue
            agreed = {place for pair in found.pairs if pair.how in SURNAMES for place in pair.places}
            if any(place in agreed for place in range(compiled.surname) if not light(compiled.texts[place])):
                entry = self.entries[compiled.entry]
                birth = births.compare(asked.born, entry.born)
                seen[compiled.entry] = Hit(entry, compiled.name, REVIEW, score(REVIEW), level(REVIEW), found, birth)
        return seen

    def _slots(self, written: Sequence[Part]) -> list[Slot]:
        slots = [self._near(part, place) for place, part in enumerate(written)]
        for first in range(len(written) - 1):
            for behind in (first + 2, first + 3):
                run = written[first:behind]
                if len(run) != behind - first or (len(run) > 2 and run[1].text not in PARTICLES):
                    continue
                if not any(each.initial and not each.bare for each in run):
                    slots += self._join(run, first, behind)
        return slots

    def _join(self, run: Sequence[Part], first: int, behind: int) -> Iterator[Slot]:
        """Neighbours written apart that the list may write as one."""
        text = "".join(each.text for each in run)
        if run[-1].bare:
            bones = skeleton(text, bare=True)
            apart = sum(self.rarity.bare_nats(skeleton(each.text, bare=True)) for each in run)
            nats, near = min(apart, self.rarity.bare_nats(bones)), self.vocabulary.bare(bones)
        else:
            nats = sum(self._nats(each) for each in run)
            near = self.vocabulary.alike(text, joins=_one_word(text))
        heard_nats = nats if run[-1].bare else min(nats, sum(self.rarity.heard_nats(each.text) for each in run))
        nats, heard_nats = min(nats, GAIN_MAX + JOINED_MORE), min(heard_nats, GAIN_MAX + JOINED_MORE)
        if near:
            gains = {
                each.number: ((nats if each.how is How.SAME else heard_nats) - each.cost, each.how) for each in near
            }
            yield Slot(first, behind, text, 0.0, gains, reach=self._reach(gains))

    def _slot(self, part: Part, place: int) -> Slot:
        text = part.text
        if part.initial and not part.bare:
            return Slot(place, place + 1, text, alignment.left_over(text), {}, initial=True)
        nats = self.rarity.bare_nats(skeleton(text, bare=True)) if part.bare else self._nats(part)
        gains: dict[int, tuple[float, How]] = {}
        nats = min(nats, GAIN_MAX)
        heard_nats = nats if part.bare else min(nats, self.rarity.heard_nats(text))
        for each in self.vocabulary.near(part, nats - GAIN_MIN):
            gain = (heard_nats if each.how in ALIKE else nats) - each.cost
            if gain >= GAIN_MIN:
                gains[each.number] = (gain, each.how)
        return Slot(place, place + 1, text, alignment.left_over(text), gains, reach=self._reach(gains))

    def _nats(self, part: Part) -> float:
        nats = self.rarity.nats(part.text)
        return min(nats, CHARACTER_NATS_MAX * part.characters) if part.characters else nats

    def _reach(self, gains: Mapping[int, tuple[float, How]]) -> tuple[Any, Any] | None:
        """The names that the near parts are in, with what each brings; the best of a name comes last."""
        if not gains:
            return None
        ordered = sorted(gains.items(), key=lambda item: item[1][0])
        found = [self._postings[number] for number, _ in ordered]
        brought: Any = np.repeat([gain for _, (gain, _) in ordered], [len(one) for one in found])
        return np.concatenate(found), brought.astype(np.float32)

    def _candidates(self, slots: Sequence[Slot], least: Mapping[Kind, float]) -> Iterator[int]:
        """Names by the most that they could reach. least: nats that the name alone must bring, by the entry's kind."""
        by_place: dict[int, Any] = {}
        for slot in slots:
            reach = by_place.get(slot.first)
            if reach is None:
                start = alignment.INITIAL if slot.initial else -slot.extra
                reach = by_place[slot.first] = np.full(len(self.names), start, dtype=np.float32)
            if slot.reach is not None:
                names, brought = slot.reach
                joined = range(slot.first + 1, slot.behind)
                reach[names] = np.maximum(reach[names], brought) if joined else brought
                for place in joined:  # singles come first: they are there
                    by_place[place][names] = np.maximum(by_place[place][names], 0.0)
        if not by_place:
            return
        total = np.add.reduce(list(by_place.values()))
        whole = np.array([least[kind] - alignment.COMPLETE for kind in Kind], dtype=np.float32)
        places = np.nonzero(total >= whole.min())[0]
        above = total[places] - whole[self._kinds[places]]
        places, above = places[above >= 0], above[above >= 0]
        if len(places) > CANDIDATES_MAX:
            places = places[np.argpartition(above, -CANDIDATES_MAX)[-CANDIDATES_MAX:]]
        yield from places.tolist()


def _runs(count: int) -> Iterator[range]:
    """Stretches of a person's name of more parts than people's have: somebody listed may stand among others' names,
    and what is left over would hide him.
    """
    if count > RUN_PARTS:
        for first in (*range(0, count - RUN_PARTS, RUN_PARTS // 2), count - RUN_PARTS):
            yield range(first, first + RUN_PARTS)


def _romanised(found: tuple[Part, ...]) -> tuple[Part, ...]:
    """The same, with how many characters each part is of, where all of them may be romanisations of some."""
    counted = [characters(part.text) for part in found if not part.bare]
    if not 2 <= len(counted) <= CHARACTERS_MAX or len(counted) < len(found) or not all(counted):
        return found
    return tuple(Part(part.text, characters=count) for part, count in zip(found, counted, strict=True))


def _against(asked: Kind | None, written: Written) -> dict[Kind, float]:
    """What is taken from an entry of each kind: it is another than was asked for, or no person's name."""
    like_person = MANY_PARTS > written.heavy > 1 and not any(slot.text in LEGAL for slot in written.single)
    found: dict[Kind, float] = {}
    for kind in Kind:
        other = OTHER_KIND if asked and asked is not kind else 0.0
        if kind is not Kind.INDIVIDUAL:
            other += ORGANISATION + (NO_PERSON if asked is None and like_person else 0.0)
        found[kind] = other
    return found


def _spans(found: Sequence[Part], surname: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every part; its joins with the next one or two (`abd al rahman` is also written `abdalrahman`).

    A person's last given name also joins with the surname, which the list writes in front.
    """
    count = len(found)
    for first in range(count):
        for long in (1, 2, 3):
            places = tuple((first + step) % count for step in range(long))
            if long > 1 and (long > count or (places[-1] < first and not (surname and places[-1] < surname))):
                continue
            if long == 3 and found[places[1]].text not in PARTICLES:
                continue
            yield "".join(found[place].text for place in places), places


def _acronyms(found: Sequence[Part]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The first letters of a company's words, with the last one or without, and with its small words."""
    words = tuple(place for place, part in enumerate(found) if not light(part.text))
    for named in dict.fromkeys((words, words[:-1], tuple(range(len(found))))):
        if ACRONYM_LETTERS_MIN <= len(named) <= ACRONYM_LETTERS_MAX:
            letters = "".join(found[place].text[0] for place in named)
            if letters.isalpha():
                yield letters.upper(), named


def _one_word(text: str) -> bool:
    """Whether a join is one that people write as one word as often as not, and so mistype."""
    return len(text) <= ARTICLE_LETTERS_MAX and text.startswith(("al", "el", "abd", "abu", "ibn", "bin"))
