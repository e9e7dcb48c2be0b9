"""Facts in running text: `I, Ann Bell, born on 3 May 1980, residing at …`. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator

from aios.processors.reading import countries, dates, lexicon, names
from aios.processors.reading.fact import Kind
from aios.processors.reading.source import Cell, Page, cells, fold, lines

ADDRESS_CHARS_MAX = 160
NAME_WORDS_MAX = 7
BEFORE_CHARS, AFTER_CHARS = 48, 36  # of a date or number, in which its sentence says what it is
DATED = {"birth": Kind.BIRTH_DATE, "expiry": Kind.EXPIRES, "issue": Kind.ISSUED_ON}

_TITLE = r"(?:(?:mr|mrs|ms|miss|mx|dr|prof|herr|herrn|frau|mme|madame|monsieur|sr|sra|don|dona)\.?\s+)?"
_BEFORE_NAME = re.compile(
    r"(?:^|(?<=[\s(]))(?:i,|i the undersigned,?|the undersigned,?|my name is|(?:certify|confirm|declare|"
    r"attest|state)s? that|"
    r"our (?:customer|client|employee|tenant|member)s?,?|in the name of|on behalf of|ich,|hiermit bestatige ich,|"
    rf"je soussigne(?:\(?e\)?)?,?|yo,|dear(?=\s(?:mr|mrs|ms|miss|mx|dr|prof)\b))\s+{_TITLE}(?=\S)"
)
_TITLED = re.compile(
    r"\b(?:act for|behalf of|client|customer|employee|tenant|that|for|confirm|certify|regarding)\s+"
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herr|Frau|Mme)\.?\s+(?=\S)"
)
_BREAKS = re.compile(r"[.…]\s|\.\.|;|\s{2,}|\t|\d")
_WORDS = re.compile(r"[^\W\d_]+")
_SMALL = re.compile(r"(?:\s+[^\W\d_A-Z]{1,7}){1,3}[\s:]+(?=[A-Z0-9À-Þ]|ul\.|via |rue |calle )")
_SHORT = ("ul", "st", "str", "av", "ave", "rd", "no", "nr", "apt", "co", "pl", "dr", "sq", "ln", "blvd", "al", "c")
_ADDRESS_ENDS = re.compile(
    "".join(rf"(?<!\b{word})(?<!\b{word.title()})" for word in _SHORT) + r"\.(?:\s|$)"
    r"|;(?:\s|$)|\n\s*\n|,?\s+(?:and|since|holder|holding|with|hereby|who|whose|born|has|for the past|declare)\b|\)"
)
_NUMBER = re.compile(r"(?<![\w-])(?=(?:[A-Z]*\d){4})[A-Z0-9]{5,15}(?![\w-])")
_CITIZEN = re.compile(r"\b(?:citizen|national|subject)s?\s+of\s+(?:the\s+)?(?=\S)")
_ADJECTIVE = re.compile(r"(?<![a-z])([a-z]{1,40}(?:\s[a-z]{1,40})?)\s{1,20}(?:citizen|national|nationality)\b")

Found = tuple[Kind, Cell, str, str]  # kind, place, value, the other reading
Place = Callable[[int, int], Cell]


def sentences(page: Page, *, month_first: bool) -> Iterator[Found]:
    """What the page's sentences say, whatever lines they run over."""
    text, folded = page.text, fold(page.text)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def cell(start: int, end: int) -> Cell:
        number = bisect_right(starts, start)
        return Cell(page.number, number, start - starts[number - 1], start, text[start:end])

    for match in _BEFORE_NAME.finditer(folded):
        end = _name_end(text, match.end())
        value = names.clean(text[match.end() : end])
        if len(value.split()) > 1 and not any("else" in means for means in _behind(folded, end)):
            yield Kind.NAME, cell(match.end(), end), value, ""
    for match in _TITLED.finditer(text):
        end = _name_end(text, match.end())
        value = names.clean(text[match.end() : end])
        if len(value.split()) > 1:
            yield Kind.NAME, cell(match.end(), end), value, ""
    alone = frozenset(each.start for line in lines(page) for each in cells(line) if dates.is_one(each.text))
    yield from _dated(text, folded, alone, cell, month_first=month_first)
    for at in _homes(text, folded):
        yield from _address(text, at, cell)
    for number in _NUMBER.finditer(text):
        said = _before(folded, number.start())
        near = frozenset[str]().union(*said[-3:])
        if "number" in near and "other_number" not in near and any("document" in means for means in said):
            yield Kind.DOCUMENT_NUMBER, cell(*number.span()), number[0], ""
    for match in _CITIZEN.finditer(folded):
        words = re.match(r"(?:[^\W\d_'-]+[ '-]?){1,4}", text[match.end() :])
        yield from _country(words[0] if words else "", match.end(), cell)
    for match in _ADJECTIVE.finditer(folded):
        yield from _country(text[match.start(1) : match.end(1)], match.start(1), cell)


def _dated(text: str, folded: str, alone: frozenset[int], cell: Place, *, month_first: bool) -> Iterator[Found]:
    """Dates by the nearest word of their sentence that says what they are: before them, or else behind; none of which
    it says that it is somebody else's, a notary's say.

    alone: where cells begin that hold nothing but a date, which labels speak of.
    """
    for one in dates.all_in(text, past=True, month_first=month_first):
        before = _before(folded, one.start)
        if one.start in alone or any("else" in means for means in before):
            continue
        kind = None
        for means in reversed(before):
            if kind is None and "start" in means:
                break
            kind = kind or next((DATED[each] for each in DATED if each in means), None)
        if kind is None and any("birth" in means and "date" not in means for means in _behind(folded, one.end)):
            kind = Kind.BIRTH_DATE
        if kind is not None and not (kind is Kind.BIRTH_DATE and dates.is_to_come(one.iso)):
            past = kind is Kind.BIRTH_DATE
            read = dates.first_in(text[one.start : one.end], past=past, month_first=month_first) or one
            yield kind, cell(one.start, one.end), read.iso, read.other


def _before(folded: str, end: int) -> list[lexicon.Meanings]:
    """What the words before a place mean, within its sentence and cell, behind any other number."""
    part = folded[max(0, end - BEFORE_CHARS) : end]
    ends = [match.end() for match in _BREAKS.finditer(part)]
    return [lexicon.meanings(word) for word in _WORDS.findall(part[ends[-1] if ends else 0 :])]


def _behind(folded: str, start: int) -> list[lexicon.Meanings]:
    part = _BREAKS.split(folded[start : start + AFTER_CHARS].partition("\n")[0], maxsplit=1)[0]
    return [lexicon.meanings(word) for word in _WORDS.findall(part)]


def _homes(text: str, folded: str) -> Iterator[int]:
    """Where addresses begin: behind a word that says so, and up to three small ones (`address as`, `demeurant à`)."""
    for match in re.finditer(r"[^\W\d_]+", folded):
        if "address" in lexicon.meanings(match[0]) and len(match[0]) > 3:
            small = _SMALL.match(text, match.end())
            if small is not None:
                yield small.end()


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
