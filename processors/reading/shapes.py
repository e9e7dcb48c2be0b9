"""What an identity document says by the shape of its values, where no label was understood. Pure.

In: a page, and the facts that were read of it. Out: the day that it is valid until, its number, its holder's
nationality, and every country that it mentions. Guaranteed: nothing where two values would do; a validity only beside a
birth date, and only where no other date of the page could be it: where there are several, each is told as unexplained,
so that an expired document is never taken for a valid one; values beside labels that ask for something else are left
out. A mention says nothing of the holder, but policies watch countries.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from aios.processors.reading import countries, dates
from aios.processors.reading.fact import By, Fact, Kind
from aios.processors.reading.source import Cell, Page, cells, fold, lines, within

VALID_DAYS_MIN = 300  # between birth or issue and the end of validity
COUNTRY_WORDS_MAX = 5
COUNTRY_LETTERS_MIN = 4  # of a name inside a text; shorter ones are words of languages
_NUMBER = re.compile(r"(?<![\w./-])(?=[A-Z0-9]*[A-Z])(?=(?:[A-Z]*\d){5})[A-Z0-9]{7,12}(?![\w/-])")

_WHOLE_YEAR = re.compile(r"(?:19|20)\d\d")
_SHORT_YEAR = re.compile(r"(?<![\d/.-])\d\d?(?P<s>[-/.])\d\d?(?P=s)\d\d(?![\d/.-])")  # that dates.py does not read

Found = tuple[Kind, str, Cell, str]  # kind, value, place, the other reading


def infer(page: Page, facts: Sequence[Fact], foreign: Sequence[Cell], *, month_first: bool) -> Iterator[Found]:
    """facts: of the page. foreign: what stands beside labels that ask for something else."""
    told = {fact.kind for fact in facts}
    every = lines(page)
    yield from _validity(page, every, facts, foreign, month_first=month_first)
    if Kind.DOCUMENT_NUMBER not in told:
        numbers = {
            match[0]: line.part(*match.span())
            for line in every
            if "<<" not in line.text
            for match in _NUMBER.finditer(line.text)
            if not within(line.start + match.start(), foreign)
        }
        if len(numbers) == 1:
            number, at = next(iter(numbers.items()))
            yield Kind.DOCUMENT_NUMBER, number, at, ""
    if Kind.NATIONALITY not in told:
        whole = [cell for line in every for cell in cells(line) if _whole_country(cell)]
        if len({countries.code(cell.text) for cell in whole}) == 1:
            yield Kind.NATIONALITY, countries.code(whole[0].text), whole[0], ""
    yield from _mentioned(every)


def _validity(
    page: Page, every: Sequence[Cell], facts: Sequence[Fact], foreign: Sequence[Cell], *, month_first: bool
) -> Iterator[Found]:
    """The one date that can be nothing else; where there are several, or a sentence names another, all of them."""
    expires = [fact for fact in facts if fact.kind is Kind.EXPIRES]
    born = next((fact for fact in facts if fact.kind is Kind.BIRTH_DATE), None)
    if born is None or any(fact.by in (By.ZONE, By.LABEL) for fact in expires):
        return
    starts = [line.start for line in every]

    def at(start: int, end: int) -> Cell:
        line = every[bisect_right(starts, start) - 1]
        return line.part(start - line.start, end - line.start)

    left = list(_left(page, facts, born, foreign, month_first=month_first))
    values = {one.iso for one in left}
    short = [one for one in _SHORT_YEAR.finditer(page.text) if not within(one.start(), foreign)]
    sure = not expires and not short and all(_WHOLE_YEAR.search(page.text[one.start : one.end]) for one in left)
    if len(values) == 1 and sure:
        yield Kind.EXPIRES, left[0].iso, at(left[0].start, left[0].end), left[0].other
        return
    for one in left:
        yield Kind.UNEXPLAINED, one.iso, at(one.start, one.end), one.other


def _left(
    page: Page, facts: Sequence[Fact], born: Fact, foreign: Sequence[Cell], *, month_first: bool
) -> Iterator[dates.Found]:
    """The dates that no fact explains and that are late enough to end a validity."""
    explained = {fact.value for fact in facts if fact.kind in (Kind.BIRTH_DATE, Kind.ISSUED_ON, Kind.EXPIRES)}
    explained |= {fact.other for fact in facts if fact.kind is Kind.BIRTH_DATE}
    past = {one.start: one.iso for one in dates.all_in(page.text, past=True, month_first=month_first)}
    issued = [fact.value for fact in facts if fact.kind is Kind.ISSUED_ON]
    for one in dates.all_in(page.text, month_first=month_first):
        known = {one.iso, past.get(one.start, one.iso)} & explained
        late = all(dates.days_between(day, one.iso) >= VALID_DAYS_MIN for day in (born.value, *issued))
        if late and not known and not within(one.start, foreign):
            yield one


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
                    if code not in seen:
                        yield Kind.MENTIONED, code, at, ""
                    seen.add(code)
                    break
            else:
                count = 1
            index += count
