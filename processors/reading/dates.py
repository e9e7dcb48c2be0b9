"""Dates as documents write them, to YYYY-MM-DD. Pure.

In: a text. Out: the dates in it, each with its place in the text. Guaranteed: a date exists in the calendar; one whose
day and month could be exchanged (03/04/1985 or 03-04-1985, and with any separator on an American page) says so, and
carries the other reading; 03.04.1985 is the third of April anywhere else. Rejected: dateparser (it guesses from a
locale and finds dates in what is none).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from aios.processors.reading.source import fold

YEAR_MIN, YEAR_MAX = 1900, 2100

_MONTHS = {
    1: "january jan januar janvier enero ene janeiro gennaio januari styczen stycznia ocak",
    2: "february feb februar fevrier fev fevr febrero fevereiro febbraio februari lutego subat",
    3: "march mar marz maerz mrz mars marzo marco maart marca mart",
    4: "april apr avril avr abril abr aprile kwietnia nisan",
    5: "may mai mayo maio maggio mei maja mayis",
    6: "june jun juni juin junio junho giugno czerwca haziran",
    7: "july jul juli juillet juil julio julho luglio lipca temmuz",
    8: "august aug aout agosto ago augustus sierpnia agustos",
    9: "september sep sept septembre septiembre setembro settembre wrzesnia eylul",
    10: "october oct oktober okt octobre octubre outubro ottobre out pazdziernika ekim",
    11: "november nov novembre noviembre novembro listopada kasim",
    12: "december dec dezember dez decembre diciembre dic dezembro dicembre grudnia aralik",
}
_FURTHER = (  # twelve each: Danish, Norwegian, Swedish; Finnish; Czech; Hungarian; Romanian; Russian; Ukrainian; Greek
    "januar februar marts april maj juni juli august september oktober november december",
    "januar februar mars april mai juni juli august september oktober november desember",
    "januari februari mars april maj juni juli augusti september oktober november december",
    "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesakuuta heinakuuta elokuuta syyskuuta lokakuuta"
    " marraskuuta joulukuuta",
    "ledna unora brezna dubna kvetna cervna cervence srpna zari rijna listopadu prosince",
    "januar februar marcius aprilis majus junius julius augusztus szeptember oktober november december",
    "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
    "ιανουαριου φεβρουαριου μαρτιου απριλιου μαιου ιουνιου ιουλιου αυγουστου σεπτεμβριου οκτωβριου νοεμβριου"
    " δεκεμβριου",
)
MONTHS = {
    **{fold(word): month for words in _FURTHER for month, word in enumerate(words.split(), start=1)},
    **{word: month for month, words in _MONTHS.items() for word in words.split()},
}
_MONTH = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + ")"
_YEAR = r"(?P<year>(?:19|20)\d\d|(?<=[\s/.'-])\d\d)(?!\d)"
_FORMS = (
    re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)\s?(?P<s>[-/.])\s?(?P<month>\d\d?)\s?(?P=s)\s?(?P<day>\d\d?)(?!\d)"),
    re.compile(r"(?<!\d)(?P<a>\d\d?)\s?(?P<s>[-/.])\s?(?P<b>\d\d?)\s?(?P=s)\s?(?P<year>(?:19|20)\d\d)(?!\d)"),
    re.compile(r"(?<![\d.])(?<!\d )(?P<a>\d\d)(?P<s> )(?P<b>\d\d) (?P<year>(?:19|20)\d\d)(?! ?\d)"),
    re.compile(
        rf"(?<!\d)(?P<day>\d\d?)(?:st|nd|rd|th|\.|º)?\s*(?:of\s+|de\s+|[-/.]\s?)?{_MONTH}\.?"
        rf"(?:\s?/\s?[a-z]{{3,9}}\.?)?\s*,?(?:\s*de\s+|\s*[-/.]\s?|\s*){_YEAR}"
    ),
    re.compile(rf"(?<![a-z]){_MONTH}\.?\s*(?P<day>\d\d?)(?:st|nd|rd|th)?\s*,?\s*(?P<year>(?:19|20)\d\d)(?!\d)"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """start, end: in the text. other: the date with day and month exchanged, where that could be meant; else empty."""

    iso: str
    start: int
    end: int
    other: str = ""


def all_in(text: str, *, past: bool = False, month_first: bool = False) -> list[Found]:
    """In the order of the text. past: a year of two digits is one that is over. month_first: the document is
    American: of dates like 03/04/1985 the month is read first; with any separator the other reading is told.
    """
    folded = fold(text)
    found = [one for form in _FORMS for match in form.finditer(folded) if (one := _read(match, past, month_first))]
    found.sort(key=lambda one: (one.start, -one.end))
    return list(_apart(found))


def first_in(text: str, *, past: bool = False, month_first: bool = False) -> Found | None:
    return next(iter(all_in(text, past=past, month_first=month_first)), None)


def _apart(found: list[Found]) -> Iterator[Found]:
    end = -1
    for one in found:
        if one.start >= end:
            yield one
            end = one.end


def _read(match: re.Match[str], past: bool, month_first: bool) -> Found | None:
    groups = match.groupdict()
    year = _year(groups["year"], past)
    if "a" not in groups:
        month = MONTHS.get(groups["month"]) or int(groups["month"])
        iso = _iso(year, month, int(groups["day"]))
        return None if iso is None else Found(iso, *match.span())
    first, second = int(groups["a"]), int(groups["b"])
    day_first, other = _iso(year, second, first), _iso(year, first, second)
    if month_first and groups["s"] == "/":
        day_first, other = other, day_first
    iso = day_first or other
    if iso is None:
        return None
    doubt = (month_first or groups["s"] != ".") and day_first is not None and other not in (None, day_first)
    return Found(iso, *match.span(), (other or "") if doubt else "")


def _year(text: str, past: bool) -> int:
    year = int(text)
    if year >= 100:
        return year
    pivot = date.today().year % 100 if past else 60
    return 1900 + year if year > pivot else 2000 + year


def is_one(text: str) -> bool:
    """Whether the text is a date and nothing else."""
    found = first_in(text)
    return found is not None and found.end - found.start >= len(text.strip(" .,;")) - 1


def is_to_come(iso: str) -> bool:
    return iso > date.today().isoformat()


def days_between(first: str, last: str) -> int:
    """Both YYYY-MM-DD."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat() if YEAR_MIN <= year <= YEAR_MAX else None
    except ValueError:
        return None
