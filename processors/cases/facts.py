"""What a text states that can be looked up in another text: figures, dates, names, quotes, references. Pure.

In: an answer and the source it was made from. Out: what the answer states and the source does not. Guaranteed: the same
fact in another spelling counts as the same (1,250.00 and 1250; two and 2; March 5, 2023 and 03/05/23; `Bank's` and
`bank`); what is told are counts and kinds, never words.

What it does not do: it finds what was invented, not what was twisted. "The customer owes the bank $40" and "the bank
owes the customer $40" hold the same facts. Names are found by their capitals, so it is for languages that write only
names with them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:\s?(?:thousand|million|k|m)\b)?", re.IGNORECASE)
ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)
_COUNTED = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
WORDED = {word: str(number) for number, word in enumerate(_COUNTED.split())} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "ninety": "90",
    "hundred": "100",
    "dozen": "12",
    "once": "1",
    "twice": "2",
    "double": "2",
    "both": "2",
    "thrice": "3",
}
SCALES = {"thousand": 3, "k": 3, "million": 6, "m": 6}
_MONTHS = """
jan(?:uary)? feb(?:ruary)? mar(?:ch)? apr(?:il)? may june? july? aug(?:ust)? sept?(?:ember)? oct(?:ober)?
nov(?:ember)? dec(?:ember)?
"""
MONTHS = {pattern[:3]: number for number, pattern in enumerate(_MONTHS.split(), start=1)}
_MONTH = f"({'|'.join(_MONTHS.split())})"
MONTH_FIRST = re.compile(rf"\b{_MONTH}\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?", re.IGNORECASE)
DAY_FIRST = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\b\.?(?:,?\s+(\d{{4}}))?", re.IGNORECASE)
YEAR_FIRST = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
SLASHED = re.compile(r"\b(\d{1,2})/(\d{1,2})(?:/(\d{4}|\d{2}))?\b")
DOTTED = re.compile(r"\b(\d{1,2})[.-](\d{1,2})[.-](\d{4}|\d{2})\b")  # without a year 5.12 is an amount, 3-5 a span
QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{3,400})[\"”»]")
REFERENCE = re.compile(r"\b(?=[A-Z0-9/-]{0,40}\d)(?=[A-Z0-9/-]{0,40}[A-Z])[A-Z0-9][A-Z0-9/-]{3,40}\b")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
LONG = 5  # letters of a word that says what a text is about
STEM = 5  # of them that are compared
SENTENCE_ENDS = frozenset('.!?:;\n"“([•*-')
TITLES = ("mr.", "mrs.", "ms.", "dr.", "st.", "prof.")  # their full stop ends no sentence
LOOK_BACK = 20  # characters before a word that tell whether it begins a sentence

Date = tuple[int, int, int]  # year (0: not said), month, day


class Missing(NamedTuple):
    """A fact of the answer that the source does not hold. place: in the answer."""

    kind: str
    place: tuple[int, int]


def missing(kinds: tuple[str, ...], answer: str, source: str) -> list[Missing]:
    """kinds: of policy_files.Fact; `values` is for objects, whose texts are held against the source one by one."""
    return [Missing(kind, place) for kind in kinds for place in FINDERS[kind](answer, source)]


def stands_in(value: str, source: str) -> bool:
    """Whether a value, as it is written, is a part of the source; spaces, case and marks aside."""
    looked_for = plain(value)
    return not looked_for or f" {looked_for} " in f" {plain(source)} "


def share_from(answer: str, source: str) -> float:
    """Of the answer's longer words those that stand in the source, by their beginning; without any: 0."""
    words = list(_stems(answer))
    known = set(_stems(source))
    return sum(word in known for word in words) / len(words) if words else 0.0


@lru_cache(maxsize=8)  # a source is asked for once a value
def plain(text: str) -> str:
    """Words and figures in small letters, one space between them."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded.replace("’", "'").replace("'s", "")))


def _numbers(answer: str, source: str) -> Iterator[tuple[int, int]]:
    dated = [place for _, place in _dates(answer)]
    known = set(_figures(source)) | {
        figure for options, _ in _dates(source) for one in options for figure in map(str, one)
    }
    for found in NUMBER.finditer(answer):
        place = found.span()
        if not any(start <= place[0] < end for start, end in dated) and _figure(found[0]) not in known:
            yield place


def _figures(text: str) -> Iterator[str]:
    yield from (_figure(found[0]) for found in NUMBER.finditer(ORDINAL.sub("", text)))
    yield from (_figure(part) for found in re.finditer(r"\d[\d.,-]*", text) for part in [found[0].strip(".,-")])
    yield from (WORDED[word.lower()] for word in WORD.findall(text) if word.lower() in WORDED)


def _figure(said: str) -> str:
    """As it is meant: 1,250.00, +1250 and 1.25k are the same."""
    matched = re.fullmatch(r"[-+]?([\d.,]*\d)\s?([a-z]*)", said.strip().lower())
    if matched is None:
        return said
    whole, _, part = matched[1].replace(",", "").partition(".")
    scale = SCALES.get(matched[2], 0)
    digits = part.ljust(scale, "0")
    whole, part = (whole + digits[:scale]).lstrip("0") or "0", digits[scale:].rstrip("0")
    return f"{whole}.{part}" if part else whole


def _dates(text: str) -> Iterator[tuple[tuple[Date, ...], tuple[int, int]]]:
    """Every date with what it may mean (05/03 is in March or in May) and its place."""
    for found in YEAR_FIRST.finditer(text):
        yield _valid((int(found[1]), int(found[2]), int(found[3]))), found.span()
    for found in MONTH_FIRST.finditer(text):
        yield _valid((int(found[3] or 0), MONTHS[found[1][:3].lower()], int(found[2]))), found.span()
    for found in DAY_FIRST.finditer(text):
        yield _valid((int(found[3] or 0), MONTHS[found[2][:3].lower()], int(found[1]))), found.span()
    for found in (*SLASHED.finditer(text), *DOTTED.finditer(text)):
        year = int(found[3] or 0)
        year += 2000 if 0 < year < 100 else 0
        first, second = int(found[1]), int(found[2])
        if options := _valid((year, first, second), (year, second, first)):
            yield options, found.span()


def _valid(*options: Date) -> tuple[Date, ...]:
    return tuple(one for one in dict.fromkeys(options) if 1 <= one[1] <= 12 and 1 <= one[2] <= 31)


def _unknown_dates(answer: str, source: str) -> Iterator[tuple[int, int]]:
    known = {one for options, _ in _dates(source) for one in options}
    for options, place in _dates(answer):
        if not any(_same(one, other) for one in options for other in known):
            yield place


def _same(one: Date, other: Date) -> bool:
    """A year that the source does not say is invented; one that the answer leaves out is not."""
    return one[1:] == other[1:] and one[0] in (0, other[0])


def _names(answer: str, source: str) -> Iterator[tuple[int, int]]:
    """Words with a capital inside a sentence; what begins one counts only where another capital follows it."""
    known = {_name(word) for word in WORD.findall(source)}
    words = list(WORD.finditer(answer))
    for number, found in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else None
        if not found[0][0].isupper() or len(found[0]) == 1:
            continue
        first = _begins_sentence(answer, found.start())
        if first and not (following is not None and following[0][0].isupper() and following.start() == found.end() + 1):
            continue
        if first and found[0].lower() in COMMON_STARTS:
            continue
        if _name(found[0]) not in known:
            yield found.span()


def _name(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold().replace("’", "'").removesuffix("'s")


def _begins_sentence(text: str, at: int) -> bool:
    before = text[max(0, at - LOOK_BACK) : at].rstrip(" \t")
    if not before:
        return at <= LOOK_BACK
    return before[-1] in SENTENCE_ENDS and not before.lower().endswith(TITLES)


_STARTS = """
the a an this that these those he she it they we i you customer client caller writer mr mrs ms dr in on at after before
since when while
"""
COMMON_STARTS = frozenset(_STARTS.split())


def _quotes(answer: str, source: str) -> Iterator[tuple[int, int]]:
    for found in QUOTED.finditer(answer):
        if not stands_in(found[1], source):
            yield found.span()


def _references(answer: str, source: str) -> Iterator[tuple[int, int]]:
    """Numbers of contracts, cases, policies: capitals and figures in one."""
    known = re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKC", source).upper())
    for found in REFERENCE.finditer(answer):
        if re.sub(r"[^A-Z0-9]", "", found[0]) not in known:
            yield found.span()


def _values(answer: str, source: str) -> Iterator[tuple[int, int]]:
    is_figure = NUMBER.fullmatch(answer) is not None and _figure(answer) in set(_figures(source))
    if not is_figure and not stands_in(answer, source):
        yield 0, len(answer)


def _stems(text: str) -> Iterator[str]:
    return (word[:STEM].casefold() for word in WORD.findall(text) if len(word) >= LONG)


FINDERS: Mapping[str, Callable[[str, str], Iterator[tuple[int, int]]]] = {
    "numbers": _numbers,
    "dates": _unknown_dates,
    "names": _names,
    "quotes": _quotes,
    "references": _references,
    "values": _values,
}
