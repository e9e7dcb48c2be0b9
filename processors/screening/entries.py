"""Entries of a list: who or what is on it, by which names, born when.

Enters: rows of a list's file (list_files.py). Leaves: frozen entries. Guaranteed: every name that the row says in its
name or its remarks (a.k.a., f.k.a., n.k.a.), each once; a birth date that cannot be read is left out, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aios.processors.screening import births
from aios.processors.screening.births import Born

_ALIAS = re.compile(r"\b[afn]\.k\.a\.\s+'([^;]+?)'(?=\s*[;.]|\s*$|\s+\()")
_BORN = re.compile(r"(?:^|;)\s*(?:alt\. )?DOB ([^;]+)")
_COUNTRY = re.compile(r"(?:^|;)\s*(?:alt\. )?(?:nationality|citizen) ([^;]+)")


class Kind(StrEnum):
    """What is on a list."""

    INDIVIDUAL = "individual"
    ENTITY = "entity"
    VESSEL = "vessel"
    AIRCRAFT = "aircraft"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. names: the first is the list's own, `SURNAME, Given` for people; the others are aliases."""

    number: str
    kind: Kind
    names: tuple[str, ...]
    programme: str = ""
    born: tuple[Born, ...] = ()
    countries: tuple[str, ...] = ()


def entry(row: Mapping[str, str]) -> Entry:
    """One row. Raises KeyError for a missing column and ValueError for an unknown type."""
    remarks = row["remarks"]
    aliases = (alias.strip() for alias in _ALIAS.findall(remarks))
    born = (births.read(text) for text in _BORN.findall(remarks))
    countries = (found.strip().rstrip(".") for found in _COUNTRY.findall(remarks))
    return Entry(
        number=row["ent_num"],
        kind=Kind(row["type"]),
        names=tuple(dict.fromkeys(name for name in (row["name"].strip(), *aliases) if name)),
        programme=row["program"],
        born=tuple(dict.fromkeys(found for found in born if found)),
        countries=tuple(dict.fromkeys(countries)),
    )
