"""The small pieces of which dates and times are said: numbers in words, ordinals, months, weekdays, units.

Enters: nothing; patterns (of text in lower case) and what they mean. Leaves: fragments of regular expressions for the
rooms beside, and functions from the words to numbers. Guaranteed: each fragment is free of nested repetition, so that a
hostile text costs no more than its length; numbers in words and in figures mean the same.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re


def listed(words: str) -> list[str]:
    """The words of a list that is written as a sentence."""
    return words.split()


_ONES = listed("one two three four five six seven eight nine")
_TEENS = listed("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")
_FIRSTS = listed("first second third fourth fifth sixth seventh eighth ninth")
_TENTHS = listed(
    "tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)

_SMALL = {word: number for number, word in enumerate([*_ONES, *_TEENS], start=1)}
_ROUND = {word: number * 10 for number, word in enumerate(_TENS, start=2)}
_ORDINALS = {word: number for number, word in enumerate([*_FIRSTS, *_TENTHS], start=1)}
_ORDINALS |= {"thirtieth": 30}
_ORDINALS |= {
    f"{tens}{sep}{one}": base + number
    for tens, base in (("twenty", 20), ("thirty", 30))
    for sep in "- "
    for number, one in enumerate(_FIRSTS, start=1)
}

_small = "|".join(sorted(_SMALL, key=len, reverse=True))
_round = "|".join(_ROUND)
WORDED = rf"(?:(?:{_round})(?:[ -](?:{'|'.join(_ONES)}))?|(?:{_small}))\b"
COUNT = rf"(?:\d{{1,3}}\b|{WORDED}|a couple of\b|a couple\b|couple of\b|a\b|an\b|the\b)"
NUMBER = rf"(?:\d{{1,3}}\b|{WORDED})"
SMALL = rf"(?:\d{{1,2}}|{WORDED})"
ORDINAL_FIGURES = r"\d{1,2} ?(?:st|nd|rd|th)(?:'?s)?\b"
ORDINAL = rf"(?:{ORDINAL_FIGURES}|(?:{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})\b)"

_MONTHS = listed("january february march april may june july august september october november december")
_SHORT = listed("jan feb mar apr may jun jul aug sep oct nov dec")
MONTH_NUMBER = {name: number for names in (_MONTHS, _SHORT) for number, name in enumerate(names, start=1)} | {"sept": 9}
MONTH_FULL = rf"(?:{'|'.join(_MONTHS)})\b"
MONTH = rf"(?:{'|'.join(_MONTHS)}|sept|{'|'.join(_SHORT)})\b\.?"

_DAYS = listed("monday tuesday wednesday thursday friday saturday sunday")
WEEKDAY_NUMBER = {name: number for number, name in enumerate(_DAYS)}
WEEKDAY_NUMBER |= {
    "mon": 0,
    "tue": 1,
    "tues": 1,
    "wed": 2,
    "weds": 2,
    "thu": 3,
    "thur": 3,
    "thurs": 3,
    "fri": 4,
    "sat": 5,
    "sun": 6,
}
WEEKDAY_FULL = rf"(?:{'|'.join(_DAYS)})\b"
WEEKDAY_SHORT = r"(?:mon|tues?|weds?|thurs?|thu|fri|sat|sun)\b\.?"
WEEKDAY = rf"(?:{'|'.join(_DAYS)}|mon|tues?|weds?|thurs?|thu|fri|sat|sun)\b\.?"
RULE_DAY = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

DAY_SAID = (
    rf"(?:(?:the )?day after tomorrow|today|tonight|tomorrow|yesterday|(?:this |next |last )?(?:week|weekend|month)\b"
    rf"|(?:{WEEKDAY},? )?(?:the )?{ORDINAL}(?: (?:of )?{MONTH})?|(?:{WEEKDAY},? )?(?:{MONTH} (?:the )?(?:{ORDINAL}|\d{{1,2}}\b)|\d{{1,2}} {MONTH})"
    rf"|(?:(?:this|next|last|coming) )?{WEEKDAY}(?:'s)?(?: week\b)?|\d{{1,2}}/\d{{1,2}}\b)"
)
"""A day, told from other words by its look alone, before it is known what it is read against; so are the next two."""
CLOCK_SAID = rf"(?:(?:half|(?:a )?quarter|{SMALL}) (?:past|to) {SMALL}|{SMALL}(?:[:.][0-5]\d)?(?: ?(?:[ap]\.?m\b\.?|o'? ?clock\b))?(?: in the (?:morning|afternoon|evening))?(?!\w)|noon\b|midday\b|midnight\b)"
LENGTH_SAID = (
    rf"(?:(?:an?|{SMALL}|half an?|half of an|three quarters of an|a quarter of an|\d[.,]\d+)(?: and a (?:half|quarter))?[ -]?(?:minutes?|mins?|hours?|hrs?|hr|h)\b"
    rf"(?: and (?:a half|a quarter|{SMALL} (?:minutes?|mins?)))?)"
)

YEAR = r"(?:19|20|21)\d\d\b"
CALENDAR_UNIT = r"(?:days?|weeks?|months?|years?)\b"

_PIECE = re.compile(r"[a-z]+")


def number(words: str) -> int:
    """0 to 999, of figures or words that one of the fragments above matched."""
    words = words.strip()
    figures = re.match(r"\d+", words)
    if figures:
        return int(figures[0])
    if words in _ORDINALS:
        return _ORDINALS[words]
    if "couple" in words:
        return 2
    if words in ("a", "an", "the"):
        return 1
    return sum(_SMALL.get(piece, 0) + _ROUND.get(piece, 0) for piece in _PIECE.findall(words))


def month(word: str) -> int:
    """1 to 12."""
    return MONTH_NUMBER[word.rstrip(".")]


def weekday(word: str) -> int:
    """0 (Monday) to 6."""
    return WEEKDAY_NUMBER[word.rstrip(".")]


def unit(word: str) -> str:
    """minute, hour, day, week, month or year."""
    word = word.rstrip("s")
    return {"min": "minute", "m": "minute", "hr": "hour", "h": "hour"}.get(word, word)
