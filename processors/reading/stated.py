"""What an application states, looked for in a document, whatever the document calls it. Pure.

In: a page, what the application states, and where dates stand that are other ones. Out: facts with their places, in the
document's words. Guaranteed: what is found stands there; a name is found whole, in one line or in cells that hold
nothing else, and not where the line says that it is somebody else's; a birth date to the day; an address with every
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

from anyascii import anyascii

from aios.processors.reading import countries, dates, lexicon, names
from aios.processors.reading.fact import Kind
from aios.processors.reading.source import Cell, Page, cells, fold, lines
from aios.processors.screening.names import PARTICLES, parts, sound

NAME_LETTERS_MIN = 6  # of a name's parts; shorter ones stand anywhere
NAME_WIDER_MAX = 3  # words of the document's on each side that belong to it
NAME_LINES_MAX = 4  # over which a name may be spread, a part each
ADDRESS_SHARE_MIN = 0.85  # of the stated words
ADDRESS_SPARE = 6  # words between them that the application does not state
NEAR_CHARS = 48  # before a name, in which its line says whose it is

Found = tuple[Kind, str, tuple[Cell, ...], str]  # kind, value, places, the other reading
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


def find(page: Page, stated: Stated, dated_otherwise: frozenset[int]) -> Iterator[Found]:
    """dated_otherwise: places on the page where dates begin that are no birth dates."""
    every = lines(page)
    if (name := _name(every, stated.name)) is not None:
        yield name
    if (born := dates.first_in(stated.birth_date, past=True)) is not None:
        yield from _birth(page, every, born.iso, dated_otherwise)
    yield from _address(every, stated.address)


# Names


def _name(every: Sequence[Cell], name: str) -> Found | None:
    wanted = [part.text for part in parts(name) if part.text not in PARTICLES and not part.initial]
    if len(wanted) < 2 or sum(map(len, wanted)) < NAME_LETTERS_MIN:
        return None
    for line in every:
        found = _matched(_words(line), wanted)
        if found and len(found) == len(wanted):
            first, last = min(found.values()), max(found.values())
            words = _words(line)
            if last - first < len(wanted) + 2 and not _of_another(line.text[: words[first].at.column]):
                first, last = _widened(line, words, first, last)
                at = _span(line, words[first].at, words[last].at)
                return Kind.NAME, names.clean(at.text) or at.text, (at,), ""
    return _spread(every, wanted)


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


def _spread(every: Sequence[Cell], wanted: Sequence[str]) -> Found | None:
    """Its parts in cells of their own, a few lines apart, as on cards."""
    pure: list[tuple[Cell, set[str]]] = []
    for line in every:
        for cell in cells(line):
            words = _words(cell)
            found = _matched(words, wanted)
            if found and len(found) == len(words) and not _of_another(every[line.number - 1].text[: cell.column]):
                pure.append((cell, set(found)))
    for index, (first, has) in enumerate(pure):
        at, seen = [first], set(has)
        for cell, more in pure[index + 1 :]:
            if cell.number - first.number >= NAME_LINES_MAX:
                break
            if not more & seen:
                at.append(cell)
                seen |= more
        if seen == set(wanted):
            at.sort(key=lambda cell: min(wanted.index(part) for part in _matched(_words(cell), wanted)))
            return Kind.NAME, " ".join(cell.text for cell in at), tuple(at), ""
    return None


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


def _of_another(before: str) -> bool:
    """Whether what stands before it says that it is somebody else: a witness, a parent, an official."""
    near = fold(before[-NEAR_CHARS:])
    return any("else" in lexicon.meanings(word) for word in re.findall(r"[^\W\d_]+", near))


# Birth dates


def _birth(page: Page, every: Sequence[Cell], iso: str, otherwise: frozenset[int]) -> Iterator[Found]:
    starts = [line.start for line in every]
    for one in dates.all_in(page.text, past=True):
        if iso in (one.iso, one.other) and one.start not in otherwise:
            line = every[bisect_right(starts, one.start) - 1]
            at = line.part(one.start - line.start, one.end - line.start)
            if at.text == page.text[one.start : one.end]:  # in one line
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
