"""What the words of labels mean, in the languages of Europe, and so what a label that nobody listed asks for. Pure.

In: a label's words. Out: which label they are, and how many words of it are unknown. Guaranteed: accents and case do
not matter, endings like (s) neither; a slip of the pen in a long word is forgiven, and compounds are taken apart
(`Führerscheinnummer`, `Leveringsadres`). A label about somebody else (a witness, a parent, an employer) is OTHER,
whatever it says. The words are data/label_words.csv. Rejected: a list of whole labels, for there is always one more.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

from aios.processors.reading.source import fold

WORDS_MAX = 10  # of a label
UNKNOWN_MAX = 2  # of its words
SLIP_LETTERS = 7  # from this length on one slip of the pen is forgiven


class Label(StrEnum):
    FULL_NAME = "full_name"
    SURNAME = "surname"
    GIVEN = "given"
    BIRTH_DATE = "birth_date"
    NATIONALITY = "nationality"
    ADDRESS = "address"
    COUNTRY = "country"
    NUMBER = "number"
    EXPIRES = "expires"
    ISSUED_ON = "issued_on"
    ISSUED_BY = "issued_by"
    ALIAS = "alias"  # another name of the holder: alias_words.py
    OTHER = "other"  # a label all the same: what follows is no value of the one before


_MEANS = {"birth_date": ("birth", "date"), "birth_place": ("birth", "place"), "birth_name": ("birth", "name")}
_COMPOUND = {
    **dict.fromkeys(("nummer", "nr", "numero"), "number"),
    **dict.fromkeys(("datum", "dato", "date"), "date"),
    **dict.fromkeys(("anschrift", "adresse", "adres", "adress"), "address"),
    **dict.fromkeys(("name", "namn", "naam", "navn"), "name"),
}
_OF_UNKNOWN = {"number": "other_number", "date": "other", "name": "else"}  # of a compound whose first part is unknown
_ENDINGS = re.compile(r"\((?:s|n|e|a|i|es|er|in|en|ii)\)|/(?:in|a|e)\b")
_FOR = re.compile(
    r"\b(?:billed? to|bill to|invoice to|prepared for|service for|in (?:the )?name of|t\.? ?n\.? ?v\b\.?)"
)
_WORD = re.compile(r"n[°º]|#|[^\W\d_]+")
_JOINED = re.compile(r"[,&+]|\b(?:and|und|et|e|y|og|och|ja|en|i|a|si|ve)\b")

Meanings = frozenset[str]


def label_of(text: str) -> tuple[Label, int] | None:
    """The label that a folded text is, and how many of its words are unknown; None: it is none."""
    found = [one for way in re.split(r"\s*[/|]\s*|\s*\(", _plain(text)) if (one := _way(way)) is not None]
    if not found:
        return None
    exact = [one for one in found if one[0] in (Label.SURNAME, Label.GIVEN)]
    if found[0][0] is Label.FULL_NAME and not found[0][2] and exact:
        return exact[0][:2]  # `Name / Surname`
    return min(found, key=lambda one: (one[1], one[0] is Label.OTHER))[:2]


def is_role(text: str) -> bool:
    """Whether a folded label says only who somebody is (`Customer`), which headings do, too."""
    said = frozenset[str]().union(*map(meanings, _WORD.findall(text)))
    return "holder" in said and not said & {"name", "family", "given", "nom"}


def _plain(text: str) -> str:
    return _FOR.sub("holder", _ENDINGS.sub("", text))


def said(text: str) -> Meanings:
    """All that folded words say."""
    return frozenset[str]().union(*map(meanings, re.findall(r"[^\W\d_]+", text)))


def is_of_another(text: str) -> bool:
    """Whether folded words say that what follows is somebody else's: a parent, a witness, an official."""
    return "else" in said(text)


def is_of_party(text: str) -> bool:
    """Whether it is somebody who belongs to the matter all the same: a spouse, a guarantor, who is acted for."""
    return "party" in said(text)


def is_of_official(text: str) -> bool:
    """Whether it is somebody else's who has no part in the matter: a witness, a landlord, a clerk."""
    return is_of_another(text) and not is_of_party(text)


def is_known(word: str) -> bool:
    """Whether a folded word says anything in a label."""
    means = meanings(word)
    return bool(means) and means != {"filler"}


def _way(text: str) -> tuple[Label, int, bool] | None:
    """Its label, its unknown words, and whether it joins two things."""
    words = _WORD.findall(text)
    if not 1 <= len(words) <= WORDS_MAX or re.search(r"\d", text):
        return None
    every = [meanings(word) for word in words]
    unknown = sum(not means for means in every)
    if unknown > UNKNOWN_MAX or unknown > len(words) // 2:
        return None
    joined = bool(_JOINED.search(text))
    label = _label(frozenset().union(*_paired(every)), joined=joined)
    return None if label is None else (label, unknown, joined)


def _paired(every: Sequence[Meanings]) -> Iterator[Meanings]:
    """`First name` is a given name; `first` alone says nothing."""
    has_name = any("name" in means for means in every)
    for means in every:
        if "first" in means or "last" in means:
            yield frozenset({"given" if "first" in means else "family"} if has_name else {"filler"})
        elif means == {"name"} and any({"first", "last"} & other for other in every):
            yield frozenset()
        else:
            yield means


def _label(said: Meanings, *, joined: bool) -> Label | None:
    """What the meanings come to; the order of these questions is the rule."""
    if "else" in said:
        return Label.OTHER
    if "birth" in said:
        other = said & {"name", "family", "given", "nom"} or (said & {"place", "country"} and "date" not in said)
        return Label.OTHER if other else Label.BIRTH_DATE
    if "number" in said:
        return _numbered(said)
    if "expiry" in said:
        return Label.OTHER if "other" in said else Label.ISSUED_ON if "start" in said else Label.EXPIRES
    if "issue" in said:
        by = said & {"country", "authority"}
        return Label.ISSUED_BY if by else Label.OTHER if "place" in said else Label.ISSUED_ON
    if (name := _named(said, joined=joined)) is not None:
        return name
    return _where(said)


def _numbered(said: Meanings) -> Label:
    foreign = said & {"other_number", "holder", "other", "name", "authority"}
    return Label.OTHER if foreign or said & {"expiry", "issue", "address"} else Label.NUMBER


def _named(said: Meanings, *, joined: bool) -> Label | None:
    parts = said & {"family", "given", "nom"}
    if {"family", "given"} <= said or (parts and joined and said & {"name", "given", "nom"} - set(list(parts)[:1])):
        return Label.FULL_NAME
    if parts:
        if "given" in parts:
            return Label.GIVEN
        return Label.FULL_NAME if "nom" in parts and "holder" in said else Label.SURNAME
    if "address" in said or "country" in said or "date" in said or not said & {"name", "holder"}:
        return None
    return Label.OTHER if "name" not in said and "other" in said else Label.FULL_NAME


def _where(said: Meanings) -> Label | None:
    if "address" in said:
        if "document" in said:
            return None  # a residence permit
        return Label.OTHER if "other_number" in said else Label.COUNTRY if "country" in said else Label.ADDRESS
    if "national" in said:
        return None if "document" in said else Label.NATIONALITY
    if "other_number" in said:
        return Label.ISSUED_ON if "date" in said and "other" not in said else Label.OTHER
    if "country" in said:
        return Label.ISSUED_BY if said & {"other", "authority", "document"} else Label.COUNTRY
    if "other" in said or said & {"place"}:
        return Label.OTHER
    if "authority" in said:
        return Label.ISSUED_BY
    return Label.ISSUED_ON if "date" in said else None


@lru_cache(maxsize=8192)
def meanings(word: str) -> Meanings:
    """Of a folded word; empty: unknown."""
    known = _known()
    if word in known:
        return known[word]
    for ending, means in _COMPOUND.items():
        first = word.removesuffix(ending)
        if first != word and len(first) > 2:
            of = next((known[stem] for stem in (first, first[:-1]) if stem in known), None)
            return frozenset({means}) | (frozenset({_OF_UNKNOWN.get(means, means)}) if of is None else of)
    if len(word) >= SLIP_LETTERS:
        near = process.extractOne(word, _long(), scorer=DamerauLevenshtein.distance, score_cutoff=1)
        if near is not None:
            return known[near[0]]
    return frozenset()


@cache
def _known() -> dict[str, Meanings]:
    found: dict[str, Meanings] = {}
    with (Path(__file__).parent / "data" / "label_words.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for word in row["words"].split():
                found[fold(word)] = found.get(fold(word), frozenset()) | set(
                    _MEANS.get(row["concept"], (row["concept"],))
                )
    return found


@cache
def _long() -> tuple[str, ...]:
    return tuple(word for word in _known() if len(word) >= SLIP_LETTERS - 1)
