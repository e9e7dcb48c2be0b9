"""Countries as documents write them: by name, code or nationality, to ISO 3166 alpha-2. Pure.

In: a text. Out: a code, or nothing: a word that may mean several countries means none. The names and codes are
pycountry's; data/nationalities.csv adds the words for their people, and names in common use.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

import pycountry

from aios.processors.reading.source import fold

WORDS_MAX = 7  # of a country's name


@cache
def _known() -> dict[str, str]:
    found: dict[str, str] = {}
    for country in pycountry.countries:
        names = [getattr(country, name, "") for name in ("name", "official_name", "common_name", "alpha_2", "alpha_3")]
        if ", " in country.name:  # Iran, Islamic Republic of
            names.append(" ".join(reversed(country.name.split(", ", 1))))
        for name in names:
            if name:
                found.setdefault(_key(name), country.alpha_2)
    with (Path(__file__).parent / "data" / "nationalities.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for word in row["words"].split("|"):
                found[_key(word)] = row["alpha_2"]
    return found


def _key(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", fold(text).replace(".", "").replace("'", "")))


def code(text: str) -> str:
    """The country that the whole text names; empty: none."""
    key = _key(text)
    if len(key.split()) > WORDS_MAX:
        return ""
    return _known().get(key) or _known().get(key.removeprefix("the "), "")


def at_end(text: str) -> str:
    """The country that the text's last words name, as addresses do; empty: none. A code of two letters is no name there
    (`CA 90210` is California's).
    """
    words = _key(text).split()[-WORDS_MAX:]
    for first in range(len(words)):
        key = " ".join(words[first:])
        if len(key) > 2 or key == "uk":
            found = _known().get(key, "")
            if found and not (len(key) == 3 and not key.isalpha()):
                return found
    return ""


def name(alpha_2: str) -> str:
    """For people; the code itself where nothing is known of it."""
    if alpha_2 == "XK":
        return "Kosovo"
    country = pycountry.countries.get(alpha_2=alpha_2)
    return alpha_2 if country is None else str(getattr(country, "common_name", country.name))
