"""Facts in running text: `I, Ann Bell, born on 3 May 1980, residing at …`. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator

from aios.processors.reading import countries, dates, names
from aios.processors.reading.fact import Kind
from aios.processors.reading.source import Cell, Page, fold

ADDRESS_CHARS_MAX = 160
NAME_WORDS_MAX = 7

_TITLE = r"(?:(?:mr|mrs|ms|miss|mx|dr|prof|herr|herrn|frau|mme|madame|monsieur|sr|sra|don|dona)\.?\s+)?"
_BEFORE_NAME = re.compile(
    r"(?:^|(?<=[\s(]))(?:i,|i the undersigned,?|the undersigned,?|my name is|(?:certify|confirm|declare|"
    r"attest|state)s? that|"
    r"our (?:customer|client|employee|tenant|member)s?,?|in the name of|on behalf of|ich,|hiermit bestatige ich,|"
    rf"je soussigne(?:\(?e\)?)?,?|yo,|dear (?=(?:mr|mrs|ms|miss|mx|dr|prof)\b))\s+{_TITLE}(?=\S)"
)
_TITLED = re.compile(
    r"\b(?:act for|behalf of|client|customer|employee|tenant|that|for|confirm|certify|regarding)\s+"
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herr|Frau|Mme)\.?\s+(?=\S)"
)
_BORN = re.compile(
    r"\b(?:born|date of birth|d\.?o\.?b\.?|geboren|nee?|nacid[oa]|nat[oa])(?:\s+(?:on|am|le|el|"
    r"il))?(?:\s+the)?[\s:,]+(?=\S)"
)
_LIVES = re.compile(
    r"\b(?:resid(?:ing|es?|ent)|liv(?:ing|es?)|domiciled|wohnhaft|demeurant|domiciliad[oa])\s+(?:at|in|a|en)[\s:]+(?=\S)"
    r"|\bmy (?:home |current |residential )?address is[\s:]+(?=\S)|\bwhose address is[\s:]+(?=\S)"
)
_SHORT = ("ul", "st", "str", "av", "ave", "rd", "no", "nr", "apt", "co", "pl", "dr", "sq", "ln", "blvd", "al", "c")
_ADDRESS_ENDS = re.compile(
    "".join(rf"(?<!\b{word})(?<!\b{word.title()})" for word in _SHORT) + r"\.(?:\s|$)"
    r"|;(?:\s|$)|\n\s*\n|,?\s+(?:and|since|holder|holding|with|hereby|who|whose|born|has|for the past|declare)\b|\)"
)
_HOLDS = re.compile(
    r"\b(?:passport|identity card|id card|driving licen[cs]e)\s*(?:number|no\.?|nr\.?|#)?\s*:?\s*(?=[a-z]{0,3}\d)"
)
_NUMBER = re.compile(r"[A-Za-z0-9]{5,15}")
_CITIZEN = re.compile(r"\b(?:citizen|national|subject)s?\s+of\s+(?:the\s+)?(?=\S)")
_ADJECTIVE = re.compile(r"(?<![a-z])([a-z]{1,40}(?:\s[a-z]{1,40})?)\s{1,20}(?:citizen|national|nationality)\b")

Found = tuple[Kind, Cell, str, str]  # kind, place, value, the other reading
Place = Callable[[int, int], Cell]


def sentences(page: Page) -> Iterator[Found]:
    """What the page's sentences say, whatever lines they run over."""
    text, folded = page.text, fold(page.text)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def cell(start: int, end: int) -> Cell:
        number = bisect_right(starts, start)
        return Cell(page.number, number, start - starts[number - 1], start, text[start:end])

    for match in _BEFORE_NAME.finditer(folded):
        end = _name_end(text, match.end())
        value = names.clean(text[match.end() : end])
        if len(value.split()) > 1:
            yield Kind.NAME, cell(match.end(), end), value, ""
    for match in _TITLED.finditer(text):
        end = _name_end(text, match.end())
        value = names.clean(text[match.end() : end])
        if len(value.split()) > 1:
            yield Kind.NAME, cell(match.end(), end), value, ""
    for match in _BORN.finditer(folded):
        born = dates.first_in(text[match.end() : match.end() + 60], past=True)
        if born is not None and born.start <= 40:
            yield Kind.BIRTH_DATE, cell(match.end() + born.start, match.end() + born.end), born.iso, born.other
    for match in _LIVES.finditer(folded):
        yield from _address(text, match.end(), cell)
    for match in _HOLDS.finditer(folded):
        number = _NUMBER.match(text, match.end())
        if number and sum(map(str.isdigit, number[0])) >= 4:
            yield Kind.DOCUMENT_NUMBER, cell(*number.span()), number[0].upper(), ""
    for match in _CITIZEN.finditer(folded):
        words = re.match(r"(?:[^\W\d_'-]+[ '-]?){1,4}", text[match.end() :])
        yield from _country(words[0] if words else "", match.end(), cell)
    for match in _ADJECTIVE.finditer(folded):
        yield from _country(text[match.start(1) : match.end(1)], match.start(1), cell)


def _name_end(text: str, start: int) -> int:
    """Where a name that begins at start ends: at a comma, or before a word that no name has."""
    end, count = start, 0
    for match in re.finditer(r"\S+\s*", text[start : start + 200]):
        word = match[0].strip()
        bare = word.rstrip(",;:.")
        if not names.is_name(f"{bare} Xx") or count == NAME_WORDS_MAX:
            break
        end, count = start + match.start() + len(bare), count + 1
        if bare != word and not (word.endswith(".") and len(bare) == 1):
            break
    return end


def _address(text: str, start: int, cell: Place) -> Iterator[Found]:
    ends = _ADDRESS_ENDS.search(text, start, start + 2 * ADDRESS_CHARS_MAX)
    end = min(ends.start() if ends else len(text), start + ADDRESS_CHARS_MAX)
    end = _to_country(text, start, end)
    value = " ".join(text[start:end].split()).strip(" ,")
    if re.search(r"\d", value) and len(value) > 5:
        at = cell(start, end)
        yield Kind.ADDRESS, at, value, ""
        if code := countries.at_end(value):
            yield Kind.COUNTRY, at, code, ""


def _to_country(text: str, start: int, end: int) -> int:
    """An address ends with its country, whatever the sentence goes on to say."""
    for match in re.finditer(r"[^,\n]+", text[start:end]):
        part = match[0].strip()
        if len(part) > 2 and countries.code(part):
            return start + match.end()
    return end


def _country(words: str, start: int, cell: Place) -> Iterator[Found]:
    parts = words.split()
    for count in range(len(parts), 0, -1):
        for offset in {0, len(parts) - count}:
            name = " ".join(parts[offset : offset + count])
            if code := countries.code(name):
                at = start + words.find(parts[offset])
                yield Kind.NATIONALITY, cell(at, at + len(name)), code, ""
                return
