"""Machine-readable zones of passports and identity cards (ICAO 9303: TD1, TD2, TD3; France's cards before 2021). Pure.

In: lines. Out: what the zone says, with the lines it stands in. Guaranteed: number, birth date and expiry are told only
where their check digits hold; a zone of which one does not hold, and lines that look like a zone and are none, are
told as broken. Rejected: the package mrz (GPL, and it takes whole zones only; OCR drops fillers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from aios.processors.reading.source import Cell

_KEEP = re.compile(r"[^A-Z0-9<]")
_FIRST = re.compile(r"^[PIACV][A-Z<][A-Z<]{3}")
_VALUES = {character: value for value, character in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")} | {"<": 0}
_WEIGHTS = (7, 3, 1)
_BODY = re.compile(r"[A-Z0-9<]{26,48}")
_OWN = "IDFRA"  # of 36 characters: an order of its own
SHORT_MAX, LONG_MAX = 5, 2  # characters that a reader of pictures may have lost or made of a line's fillers
BODY_DIGITS_MIN = 5  # of the line beneath the names, or between them


@dataclass(frozen=True, slots=True)
class Zone:
    """Empty where the check digit does not hold, or the zone does not say. lines: of the page, in order: one for the
    names, one for the rest. broken: a check digit does not hold, of a part or of the whole.
    """

    kind: str  # 'passport' or 'id_card'
    issuer: str  # as the zone writes it, mostly ISO 3166 alpha-3
    surname: str
    given: str
    number: str
    nationality: str
    born: str
    expires: str
    names_at: Cell
    rest_at: Cell
    number_at: Cell
    broken: bool = False


def check_digit(text: str) -> int:
    """Of ICAO 9303. Raises KeyError for characters that a zone does not have."""
    return sum(_VALUES[character] * _WEIGHTS[index % 3] for index, character in enumerate(text)) % 10


def find(lines: Sequence[Cell]) -> Zone | None:
    """The first zone among a page's lines, empty ones left out."""
    kept = [(_KEEP.sub("", line.text.upper().replace("«", "<<")), line) for line in lines]
    for index, (text, line) in enumerate(kept):
        after = kept[index + 1 : index + 3]
        if not _FIRST.match(text) or "<" not in text or not after:
            continue
        for zone in _readings(text, line, after):
            if zone is not None:
                return zone
    return None


def broken(lines: Sequence[Cell], zone: Zone | None) -> Cell | None:
    """A line of the zone that was found, where a digit of it does not hold; where none was found, the first of two
    lines that nothing but a zone has: capitals, digits and fillers alone, in its lengths.
    """
    if zone is not None:
        return zone.rest_at if zone.broken else None
    kept = [(line.text.replace(" ", "").replace("«", "<<"), line) for line in lines]
    for (text, line), (second, _) in pairwise(kept):
        both = _BODY.fullmatch(text) and _BODY.fullmatch(second) and _FIRST.match(text)
        fillers = "<<" in text + second and sum(map(str.isdigit, text + second)) >= BODY_DIGITS_MIN
        if both and fillers:
            return line
    return None


def _readings(text: str, line: Cell, after: Sequence[tuple[str, Cell]]) -> Iterator[Zone | None]:
    second, second_at = after[0]
    if len(after) == 2 and text[0] != "P":
        three = (_fit(text, 30), _fit(second, 30), _fit(after[1][0], 30))
        if all(three):
            yield _three_lines((three[0], three[1], three[2]), (line, second_at, after[1][1]))
    for width in (44, 36):
        if (names := _fit(text, width)) and (rest := _fit(second, width)):
            yield _two_lines(names, rest, line, second_at)


def _fit(text: str, width: int) -> str:
    """The line in its width; empty where it is another kind of line."""
    if len(text) > width:
        over = len(text) - width
        return text[:-over] if over <= LONG_MAX and set(text[-over:]) <= {"<", "K", "C"} else ""
    short = width - len(text)
    if short == 0:
        return text
    if short > SHORT_MAX or "<<" not in text:
        return ""
    at = text.rindex("<<")  # fillers are what is lost, and stand where most of them are
    return text[:at] + "<" * short + text[at:]


def _two_lines(names: str, rest: str, names_at: Cell, rest_at: Cell) -> Zone | None:
    if not names[5:].strip("<") or not rest[0].strip("<"):
        return None
    if len(names) == 36 and names.startswith(_OWN):
        return _of_france(names, rest, names_at, rest_at)
    every = "" if names[0] == "V" else rest[:10] + rest[13:20] + rest[21:-1]  # a visa has no digit of the whole
    zone = Zone(
        kind="passport" if names[0] == "P" else "id_card",
        issuer=names[2:5].strip("<"),
        **_names(names[5:]),
        number=_checked(rest[:9], rest[9]),
        nationality=rest[10:13].strip("<"),
        born=_date(rest[13:19], rest[19], birth=True),
        expires=_date(rest[21:27], rest[27], birth=False),
        names_at=names_at,
        rest_at=rest_at,
        number_at=rest_at,
        broken=_breaks((rest[:9], rest[9]), (rest[13:19], rest[19]), (rest[21:27], rest[27]), (every, rest[-1])),
    )
    return zone if zone.number or zone.born else None


def _of_france(names: str, rest: str, names_at: Cell, rest_at: Cell) -> Zone | None:
    """Surname in the first line, given names in the second; no expiry."""
    zone = Zone(
        kind="id_card",
        issuer=names[2:5],
        surname=" ".join(names[5:30].replace("<", " ").split()),
        given=" ".join(rest[13:27].replace("<", " ").split()),
        number=_checked(rest[:12], rest[12]),
        nationality=names[2:5],
        born=_date(rest[27:33], rest[33], birth=True),
        expires="",
        names_at=names_at,
        rest_at=rest_at,
        number_at=rest_at,
        broken=_breaks((rest[:12], rest[12]), (rest[27:33], rest[33])),
    )
    return zone if zone.number or zone.born else None


def _three_lines(texts: tuple[str, str, str], at: tuple[Cell, Cell, Cell]) -> Zone | None:
    (first, rest, names), (first_at, rest_at, names_at) = texts, at
    every = first[5:30] + rest[:7] + rest[8:15] + rest[18:29]
    zone = Zone(
        kind="id_card",
        issuer=first[2:5].strip("<"),
        **_names(names),
        number=_checked(first[5:14], first[14]),
        nationality=rest[15:18].strip("<"),
        born=_date(rest[:6], rest[6], birth=True),
        expires=_date(rest[8:14], rest[14], birth=False),
        names_at=names_at,
        rest_at=rest_at,
        number_at=first_at,
        broken=_breaks((first[5:14], first[14]), (rest[:6], rest[6]), (rest[8:14], rest[14]), (every, rest[29])),
    )
    return zone if zone.number or zone.born else None


def _names(text: str) -> dict[str, str]:
    surname, _, given = text.strip("<").partition("<<")
    return {"surname": " ".join(surname.split("<")).strip(), "given": " ".join(given.replace("<", " ").split())}


def _checked(text: str, digit: str) -> str:
    return text.strip("<") if digit == str(check_digit(text)) and text.strip("<") else ""


def _breaks(*parts: tuple[str, str]) -> bool:
    """Whether a digit is another than its part's. A filler is none: a long number's stands elsewhere."""
    return any(text and digit not in ("<", str(check_digit(text))) for text, digit in parts)


def _date(text: str, digit: str, *, birth: bool) -> str:
    if digit != str(check_digit(text)) or not text.isdigit():
        return ""
    year, month, day = int(text[:2]), int(text[2:4]), int(text[4:6])
    this_year = date.today().year % 100
    century = (2000 if year <= this_year else 1900) if birth else 2000
    try:
        return date(century + year, month, day).isoformat()
    except ValueError:
        return ""
