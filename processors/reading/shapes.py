"""What an identity document says by the shape of its values, where no label was understood. Pure.

In: a page, and the facts that were read of it. Out: the day that it is valid until, its number, its holder's
nationality, and every country that it mentions. Guaranteed: nothing where two values would do; a validity only beside a
birth date and later than every other date, so that an expired document is never taken for a valid one; values beside
labels that ask for something else are left out. A mention says nothing of the holder, but policies watch countries.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from aios.processors.reading import countries, dates
from aios.processors.reading.fact import Fact, Kind
from aios.processors.reading.source import Cell, Page, cells, fold, lines

MENTIONS_MAX = 12
VALID_DAYS_MIN = 300  # between the last other date and the end of validity
COUNTRY_WORDS_MAX = 5
COUNTRY_LETTERS_MIN = 4  # of a name inside a text; shorter ones are words of languages
_NUMBER = re.compile(r"(?<![\w./-])(?=[A-Z0-9]*[A-Z])(?=(?:[A-Z]*\d){5})[A-Z0-9]{7,12}(?![\w/-])")

Found = tuple[Kind, str, Cell]


def infer(page: Page, facts: Sequence[Fact], foreign: Sequence[Cell]) -> Iterator[Found]:
    """facts: of the page. foreign: what stands beside labels that ask for something else."""
    told = {fact.kind for fact in facts}
    every = lines(page)
    if Kind.EXPIRES not in told and (found := _validity(page, every, facts, foreign)):
        yield found
    if Kind.DOCUMENT_NUMBER not in told:
        numbers = {
            match[0]: line.part(*match.span())
            for line in every
            if "<<" not in line.text
            for match in _NUMBER.finditer(line.text)
            if not _within(line.start + match.start(), foreign)
        }
        if len(numbers) == 1:
            number, at = next(iter(numbers.items()))
            yield Kind.DOCUMENT_NUMBER, number, at
    if Kind.NATIONALITY not in told:
        whole = [cell for line in every for cell in cells(line) if _whole_country(cell)]
        if len({countries.code(cell.text) for cell in whole}) == 1:
            yield Kind.NATIONALITY, countries.code(whole[0].text), whole[0]
    yield from _mentioned(every)


def _validity(page: Page, every: Sequence[Cell], facts: Sequence[Fact], foreign: Sequence[Cell]) -> Found | None:
    found = sorted(dates.all_in(page.text), key=lambda one: one.iso)
    born = next((fact.value for fact in facts if fact.kind is Kind.BIRTH_DATE), "")
    if not born or len({one.iso for one in found} | {born}) < 2:
        return None
    last = found[-1]
    issued = {fact.places[0].start for fact in facts if fact.kind in (Kind.ISSUED_ON, Kind.BIRTH_DATE)}
    before = max((one.iso for one in found if one.iso != last.iso), default=born)
    days = dates.days_between(max(before, born), last.iso)
    if days < VALID_DAYS_MIN or last.start in issued or last.other or _within(last.start, foreign):
        return None
    starts = [line.start for line in every]
    line = every[bisect_right(starts, last.start) - 1]
    return Kind.EXPIRES, last.iso, line.part(last.start - line.start, last.end - line.start)


def _within(start: int, foreign: Sequence[Cell]) -> bool:
    return any(cell.start <= start < cell.end for cell in foreign)


def _whole_country(cell: Cell) -> bool:
    text = cell.text.strip()
    return (len(text) > 3 or (len(text) == 3 and text.isupper())) and bool(countries.code(text))


def _mentioned(every: Sequence[Cell]) -> Iterator[Found]:
    """Countries by their names and their people's, in any line; the longest name first."""
    seen: set[str] = set()
    for line in every:
        words = list(re.finditer(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", line.text))
        index = 0
        while index < len(words):
            for count in range(min(COUNTRY_WORDS_MAX, len(words) - index), 0, -1):
                at = line.part(words[index].start(), words[index + count - 1].end())
                short = len(fold(at.text)) < COUNTRY_LETTERS_MIN and not (len(at.text) == 3 and at.text.isupper())
                code = "" if short else countries.code(at.text)
                if code:
                    if code not in seen and len(seen) < MENTIONS_MAX:
                        yield Kind.MENTIONED, code, at
                    seen.add(code)
                    break
            else:
                count = 1
            index += count
