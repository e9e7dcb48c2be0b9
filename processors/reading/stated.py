"""What an application states, looked for in a document, whatever the document calls it. Pure.

In: a page, what the application states, and where dates stand that are other ones. Out: facts with their places, in the
document's words. Guaranteed: what is found stands there; a name is found whole, in one line with nothing between
its parts or in cells of one row or column that hold nothing else, and not where a label beside or above it says that
it is somebody else's; a birth date to the day; an address with every
number and nearly every word. It proves that a document says the same, never that it says nothing else: what the
document's own labels say comes first, and where both differ they contradict each other (compare.py).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from anyascii import anyascii

from aios.processors.reading import countries, dates, kinds, lexicon, names
from aios.processors.reading.fact import Kind
from aios.processors.reading.kinds import Document
from aios.processors.reading.source import SAME_COLUMN, Cell, Page, cells, fold, lines, within
from aios.processors.screening.names import PARTICLES, parts, sound

NAME_LETTERS_MIN = 6  # of a name's parts; shorter ones stand anywhere
NAME_WIDER_MAX = 3  # words of the document's on each side that belong to it
NAME_LINES_MAX = 4  # over which a name may be spread, a part each
NAME_BETWEEN_MAX = 1  # cells between two parts of it in a column: a label
ADDRESS_SHARE_MIN = 0.85  # of the stated words
ADDRESS_SPARE = 6  # words between them that the application does not state
NEAR_CHARS = 48  # before a name, in which its line says whose it is
ABOVE_MAX = 2  # lines above it where a label may stand
JOINING = frozenset(("and", "und", "et", "e", "y", "i", "og", "och"))  # particles that join two people as often

Found = tuple[Kind, str, tuple[Cell, ...], str]  # kind, value, places, the other reading
_SENTENCE = re.compile(r"(?: [a-zß-ÿ]{2,}){3}")
_WORD = re.compile(r"[^\W_]+(?:['’`-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Stated:
    """As the application says it; empty: it does not."""

    name: str = ""
    birth_date: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    at: Cell


def find(
    page: Page, stated: Stated, dated_otherwise: frozenset[int], others: Sequence[Cell], *, month_first: bool
) -> Iterator[Found]:
    """dated_otherwise: places on the page where dates begin that are no birth dates. others: what stands under labels
    of somebody else.
    """
    every = lines(page)
    if (name := _name(every, stated.name, others)) is not None:
        yield name
    if (born := dates.first_in(stated.birth_date, past=True)) is not None:
        yield from _birth(page, every, born.iso, dated_otherwise, others, month_first=month_first)
    yield from _address(every, stated.address)


# Names


def parts_of(name: str) -> list[str]:
    """What must be found of it: no particles, no initials."""
    return [part.text for part in parts(name) if part.text not in PARTICLES and not part.initial]


def is_part(value: str, name: str) -> bool:
    """Whether every part of the value is one of the name."""
    free = parts_of(name)
    return all(any(part == one or sound(part) == sound(one) for one in free) for part in parts_of(value))


def _name(every: Sequence[Cell], name: str, others: Sequence[Cell]) -> Found | None:
    wanted = parts_of(name)
    if len(wanted) < 2 or sum(map(len, wanted)) < NAME_LETTERS_MIN:
        return None
    for line in every:
        words = _words(line)
        for first, last in _runs(line, words, wanted):
            if not _is_others(every, words[first].at, others):
                left, right = _widened(line, words, first, last)
                at = _span(line, words[left].at, words[right].at)
                return Kind.NAME, names.clean(at.text) or at.text, (at,), ""
    return _spread(every, wanted, others)


def _runs(line: Cell, words: Sequence[_Word], wanted: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where its parts stand with nothing between them but particles, initials, and the comma of `SURNAME, GIVEN`."""
    for start in range(len(words)):
        if not _matched(words[start : start + 1], wanted):
            continue
        near = words[start : start + 2 * len(wanted) + 1]
        found = _matched(near, wanted)
        if len(found) < len(wanted) or min(found.values()):
            continue
        last = max(found.values())
        between = [near[index].text for index in range(last) if index not in found.values()]
        gaps = [
            line.text[one.at.end - line.start : two.at.start - line.start] for one, two in pairwise(near[: last + 1])
        ]
        commas = sum(gap.strip() == "," for gap in gaps)
        plain = all((len(gap) == 1 and gap.isspace()) or re.fullmatch(r"\.? ?-?|, ", gap) for gap in gaps)
        small = all(len(word) == 1 or (fold(word) in PARTICLES and fold(word) not in JOINING) for word in between)
        alone = commas == 0 or (commas == 1 and _widened(line, words, start, start + last) == (start, start + last))
        if plain and small and alone:
            yield start, start + last


def _is_others(every: Sequence[Cell], at: Cell, others: Sequence[Cell]) -> bool:
    """Whether it stands under a label of somebody else, or behind or beneath words that say so."""
    line = every[at.number - 1]
    before = " ".join(line.text[: at.start - line.start].split())
    if within(at.start, others) or lexicon.is_of_another(fold(before[-NEAR_CHARS:])):
        return True
    above = next((one for one in reversed(every[: at.number - 1]) if one.text.strip()), None)
    if before.endswith(":") or above is None or at.number - above.number > ABOVE_MAX:
        return False
    if at.number - above.number > 1 and not before and is_sentence(line.text):
        return False  # a letter's first sentence, beneath whom it is to
    start = at.start - line.start
    over = [
        cell for cell in cells(above) if cell.column < start + len(at.text) and start < cell.column + len(cell.text)
    ]
    heads = [
        (fold(head), colon) for cell in over for head, colon, value in [cell.text.partition(":")] if not value.strip()
    ]
    return any(lexicon.is_of_another(head[-NEAR_CHARS:]) for head, colon in heads if colon or _is_label(head))


def is_sentence(text: str) -> bool:
    """Whether small words follow one another, as in no value of a label."""
    return bool(_SENTENCE.search(text))


def _is_label(folded: str) -> bool:
    """Every word of it says something in a label, as a letterhead's name does not, and it is no document's title."""
    words = re.findall(r"[^\W\d_]+", folded)
    return all(lexicon.meanings(word) for word in words) and kinds.kind(folded) is Document.OTHER


def _widened(line: Cell, words: Sequence[_Word], first: int, last: int) -> tuple[int, int]:
    """With the words beside it that belong to the name as the document has it: who is screened is who it names."""
    for _ in range(NAME_WIDER_MAX):
        if first and _is_more(line, words[first - 1], words[first]):
            first -= 1
        if last + 1 < len(words) and _is_more(line, words[last], words[last + 1], words[last + 1]):
            last += 1
    return first, last


def _is_more(line: Cell, one: _Word, other: _Word, new: _Word | None = None) -> bool:
    """Whether a space alone is between two words, and the new one (the first, if not said) may be a name's."""
    text = (new or one).text
    beside = line.text[one.at.end - line.start : other.at.start - line.start] == " "
    return beside and not text[0].islower() and names.on_envelope(f"{text} Xxx") and not lexicon.is_known(fold(text))


def _spread(every: Sequence[Cell], wanted: Sequence[str], others: Sequence[Cell]) -> Found | None:
    """Its parts in cells of their own, of one row or a few lines apart in one column, as on cards."""
    pure: list[tuple[Cell, set[str]]] = []
    for line in every:
        for cell in cells(line):
            words = _words(cell)
            found = _matched(words, wanted)
            if found and len(found) == len(words) and not _is_others(every, cell, others):
                pure.append((cell, set(found)))
    for index, (first, has) in enumerate(pure):
        at, seen = [first], set(has)
        for cell, more in pure[index + 1 :]:
            if cell.number - first.number >= NAME_LINES_MAX:
                break
            if not more & seen and _beside(every, at[-1], cell):
                at.append(cell)
                seen |= more
        if seen == set(wanted):
            at.sort(key=lambda cell: min(wanted.index(part) for part in _matched(_words(cell), wanted)))
            return Kind.NAME, " ".join(cell.text for cell in at), tuple(at), ""
    return None


def _beside(every: Sequence[Cell], one: Cell, other: Cell) -> bool:
    """Whether two cells are neighbours in a row, or in a column with a label between them at most."""
    if one.number == other.number:
        return not every[one.number - 1].text[one.column + len(one.text) : other.column].strip(" |\t")
    if abs(one.column - other.column) > SAME_COLUMN:
        return False
    between = [
        cell
        for line in every[one.number : other.number - 1]
        for cell in cells(line)
        if abs(cell.column - one.column) <= SAME_COLUMN
    ]
    return len(between) <= NAME_BETWEEN_MAX


def _matched(words: Sequence[_Word], wanted: Sequence[str]) -> dict[str, int]:
    """The words that are parts of the name, by the part."""
    found: dict[str, int] = {}
    for index, word in enumerate(words):
        for text in _name_parts(word.text):
            same = next(
                (part for part in wanted if part not in found and (part == text or sound(part) == sound(text))), ""
            )
            if same:
                found[same] = index
    return found


@lru_cache(maxsize=8192)
def _name_parts(word: str) -> tuple[str, ...]:
    return tuple(part.text for part in parts(word))


# Birth dates


def _birth(
    page: Page,
    every: Sequence[Cell],
    iso: str,
    otherwise: frozenset[int],
    others: Sequence[Cell],
    *,
    month_first: bool,
) -> Iterator[Found]:
    starts = [line.start for line in every]
    for one in dates.all_in(page.text, past=True, month_first=month_first):
        if iso in (one.iso, one.other) and one.start not in otherwise:
            line = every[bisect_right(starts, one.start) - 1]
            at = line.part(one.start - line.start, one.end - line.start)
            in_one_line = at.text == page.text[one.start : one.end]
            if in_one_line and not _is_others(every, at, others):
                yield Kind.BIRTH_DATE, iso, (at,), ""
                return


# Addresses


def _address(every: Sequence[Cell], address: str) -> Iterator[Found]:
    """The shortest run of words that has them, down the page or down one of its columns."""
    wanted = Counter(_key(word) for word in _WORD.findall(_without_country(address)))
    if sum(wanted.values()) < 3:
        return
    runs = [run for stream in _streams(every) if (run := _shortest(stream, wanted))]
    if runs:
        best = min(runs, key=lambda run: run.spare)  # of columns the first
        at = _by_line(every, best.words)
        value = ", ".join(cell.text.strip(" ,;.") for cell in at)
        yield Kind.ADDRESS, value, tuple(at), ""
        if code := countries.at_end(value):
            yield Kind.COUNTRY, code, (at[-1],), ""


def _without_country(address: str) -> str:
    *most, last = address.split(",")
    return ",".join(most) if most and countries.code(last) else address


def _key(word: str) -> str:
    return re.sub(r"\W", "", anyascii(word).lower())


def _streams(every: Sequence[Cell]) -> Iterator[list[_Word]]:
    columns: dict[int, list[Cell]] = {}
    for line in every:
        for cell in cells(line):
            near = next((column for column in columns if abs(column - cell.column) <= 3), cell.column)
            columns.setdefault(near, []).append(cell)
    for column in columns.values():
        yield [word for cell in column for word in _words(cell)]
    yield [word for line in every for word in _words(line)]


@dataclass(frozen=True, slots=True)
class _Run:
    """spare: words in it that were not wanted."""

    words: Sequence[_Word]
    spare: int


def _shortest(stream: Sequence[_Word], wanted: Counter[str]) -> _Run | None:
    """The words from the first to the last of the wanted ones, with their country behind; None: they are not there."""
    total = sum(wanted.values())
    numbers = {key for key in wanted if any(map(str.isdigit, key))}
    keys = [_key(word.text) for word in stream]
    best: tuple[int, int] | None = None
    for start, key in enumerate(keys):
        if key not in wanted:
            continue
        left, end = wanted.copy(), start
        for index in range(start, min(start + total + ADDRESS_SPARE, len(keys))):
            if left[keys[index]] > 0:
                left[keys[index]] -= 1
                end = index
        missing = +left
        whole = not numbers & set(missing) and sum(missing.values()) <= (1 - ADDRESS_SHARE_MIN) * total
        if whole and (best is None or end - start < best[1] - best[0]):
            best = (start, end)
    if best is None:
        return None
    start, end = best
    words = [*stream[start : end + 1], *_country_behind(stream[end + 1 : end + 1 + countries.WORDS_MAX])]
    return _Run(words, end + 1 - start - total)


def _country_behind(words: Sequence[_Word]) -> Sequence[_Word]:
    for count in range(len(words), 0, -1):
        text = " ".join(word.text for word in words[:count])
        if len(text) > 2 and words[count - 1].at.number - words[0].at.number <= 1 and countries.code(text):
            return words[:count]
    return ()


def _by_line(every: Sequence[Cell], run: Sequence[_Word]) -> list[Cell]:
    found: list[Cell] = []
    for word in run:
        line = every[word.at.number - 1]
        if found and found[-1].number == line.number:
            found[-1] = _span(line, found[-1], word.at)
        else:
            found.append(word.at)
    return found


def _words(cell: Cell) -> list[_Word]:
    return [_Word(match[0], cell.part(*match.span())) for match in _WORD.finditer(cell.text)]


def _span(line: Cell, first: Cell, last: Cell) -> Cell:
    return line.part(first.start - line.start, last.end - line.start)
