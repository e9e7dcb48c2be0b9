"""Real names as people get them wrong, and ordinary people: what screening is evaluated on.

Enters: entries, names by language, a seeded generator. Leaves: written names, each with what was done to it.
Guaranteed: the same seed gives the same names; what was done is independent of how screening compares (the spellings
here are pairs taken from the conventions of English, French, German and scholarly transliteration, not the sound rules
of names.py).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import string
from collections.abc import Callable, Sequence
from functools import cache

from anyascii import anyascii

from aios.processors.screening.entries import Entry
from aios.processors.screening.rarity import FOLDER
from aios.processors.screening.small_words import light

LETTERS_MIN = 4  # of a part that gets a typo
LONG_PARTS = 3  # names that may lose a part
SECOND_GIVEN_SHARE, DOUBLE_SURNAME_SHARE = 0.25, 0.03


def _table(text: str) -> tuple[tuple[str, str], ...]:
    """`kh=ch q=k`: letters, and what stands for them."""
    return tuple((latin, other) for latin, _, other in (pair.partition("=") for pair in text.split()))


SPELLINGS = _table(
    "kh=h kh=ch sh=sch sh=ch zh=j zh=sch ch=tsch ch=tch iy=y iy=ij iy=i ey=ei ay=ai ay=ei yev=ev ye=e "
    "yu=iu yu=ju ya=ia ya=ja ov=off ov=ow ev=eff ev=ew ts=tz ts=c u=ou ou=u u=oo oo=u ee=i i=ee q=k q=g "
    "k=c c=k ph=f f=ph w=v v=w j=dj j=g dh=d th=t gh=g y=i i=y z=s s=z x=ks ks=x mm=m ss=s ll=l nn=n "
    "u=o o=u a=e e=a i=e aa=a ah=a ae=e eo=o eu=u"
)
CYRILLIC = _table(
    "shch=щ kh=х zh=ж ch=ч sh=ш ts=ц yu=ю ya=я ye=е yo=ё iy=ий ey=ей ay=ай oy=ой a=а b=б v=в w=в g=г "
    "d=д e=е z=з i=и y=ы k=к l=л m=м n=н o=о p=п r=р s=с t=т u=у f=ф h=х c=к q=к x=кс j=дж"
)
ARABIC = _table(
    "kh=خ ch=ش sh=ش th=ث dh=ذ gh=غ b=ب t=ت j=ج d=د r=ر z=ز s=س f=ف q=ق k=ك l=ل m=م n=ن h=ه w=و y=ي u=و i=ي o=و "
    "g=ج p=ب v=ف"
)
DIGRAPHS = 6  # of ARABIC, in front
CYRILLIC_COUNTRIES = frozenset(("Russia", "Belarus", "Ukraine", "Bulgaria"))
ARABIC_COUNTRIES = frozenset(
    (
        "Iraq",
        "Syria",
        "Lebanon",
        "Yemen",
        "Egypt",
        "Saudi Arabia",
        "Jordan",
        "Libya",
        "Tunisia",
        "Palestinian",
        "Kuwait",
        "Qatar",
    )
)

Change = Callable[[Entry, str, random.Random], str | None]


def half(entry: Entry) -> int:
    """0 or 1, by the entry's number: thresholds are chosen on 0 and reported on 1."""
    return hashlib.sha256(entry.number.encode()).digest()[0] & 1


def words(name: str) -> list[str]:
    """The parts as they are written."""
    return [word for word in re.split(r"[\s,]+", name) if word]


def typo(word: str, draw: random.Random) -> str:
    """One slip: a letter left out, doubled in, another, or two the other way round."""
    place = draw.randrange(len(word))
    letter = draw.choice(string.ascii_lowercase)
    match draw.randrange(4):
        case 0:
            return word[:place] + word[place + 1 :]
        case 1:
            return word[:place] + letter + word[place:]
        case 2:
            return word[:place] + letter + word[place + 1 :]
    place = min(place, len(word) - 2)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _typos(name: str, draw: random.Random, count: int) -> str | None:
    parts = words(name)
    able = [place for place, part in enumerate(parts) if len(part) >= LETTERS_MIN]
    if len(able) < count:
        return None
    for place in draw.sample(able, count):
        parts[place] = typo(parts[place], draw)
    return " ".join(parts)


def one_typo(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """One slip in one part."""
    return _typos(name, draw, 1)


def two_typos(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """One slip in each of two parts."""
    return _typos(name, draw, 2)


def swapped(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """The parts in any other order."""
    parts = words(name)
    other = draw.sample(parts, len(parts))
    return " ".join(other) if other != parts else None


def dropped(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """One part of three or more left out."""
    parts = words(name)
    able = [place for place, part in enumerate(parts) if not light(part.lower().replace(".", "").strip("'"))]
    if len(able) < LONG_PARTS:
        return None
    del parts[draw.choice(able)]
    return " ".join(parts)


def initials(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """A given name as its initial, before the surname."""
    surname, comma, given = name.partition(",")
    parts = words(given)
    able = [place for place, part in enumerate(parts) if part[0].isalpha()]
    if not comma or not able:
        return None
    place = draw.choice(able)
    parts[place] = f"{parts[place][0]}."
    return " ".join((*parts, *words(surname)))


def respelled(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """Another convention of transliteration, in up to three places."""
    text = name.lower()
    able = [pair for pair in SPELLINGS if pair[0] in text]
    if not able:
        return None
    for old, new in draw.sample(able, min(len(able), draw.randint(1, 3))):
        text = text.replace(old, new, 1)
    return text.title() if text != name.lower() else None


def joined(_entry: Entry, name: str, draw: random.Random) -> str | None:
    """Two neighbours written as one, or a hyphen as nothing."""
    surname, _, given = name.partition(",")
    parts = [*words(given), *words(surname)]
    hyphens = [place for place, part in enumerate(parts) if "-" in part]
    if hyphens:
        place = draw.choice(hyphens)
        parts[place] = parts[place].replace("-", "")
        return " ".join(parts)
    if len(parts) < LONG_PARTS:
        return None
    place = draw.randrange(len(parts) - 1)
    return " ".join((*parts[:place], parts[place] + parts[place + 1].lower(), *parts[place + 2 :]))


def other_script(entry: Entry, name: str, draw: random.Random) -> str | None:
    """In Cyrillic or Arabic letters, for people of countries that write so."""
    surname, _, given = name.partition(",")
    text = anyascii(f"{given} {surname}").lower().strip()
    if CYRILLIC_COUNTRIES.intersection(entry.countries):
        return _letters(text, CYRILLIC).title()
    if ARABIC_COUNTRIES.intersection(entry.countries):
        text = _letters(text, ARABIC[:DIGRAPHS], keep=True)
        text = re.sub(r"\bal-", "ال", re.sub(r"(.)\1", r"\1", text))
        text = re.sub(r"\b[aeiou]", "ا", text)
        for vowel in "aeiou":  # short ones are not written, long ones are; the list does not tell which is which
            text = text.replace(vowel, "" if vowel in "ae" or draw.random() < 0.5 else vowel)
        return _letters(re.sub(r"'(?=\w)", "ع", text), ARABIC[DIGRAPHS:])
    return None


def _letters(text: str, table: Sequence[tuple[str, str]], *, keep: bool = False) -> str:
    for latin, other in table:
        text = text.replace(latin, other)
    return text if keep else re.sub(r"[a-z'`]", "", text)


def mixed(entry: Entry, name: str, draw: random.Random) -> str | None:
    """Another spelling or a slip, and another order or a part less."""
    first = draw.choice((one_typo, respelled))(entry, name, draw)
    return first and (draw.choice((swapped, dropped))(entry, first, draw) or first)


CHANGES: dict[str, Change] = {
    "one typo": one_typo,
    "two typos": two_typos,
    "order": swapped,
    "a part dropped": dropped,
    "an initial": initials,
    "transliteration": respelled,
    "joined": joined,
    "other script": other_script,
    "two of these": mixed,
}


@cache
def people() -> dict[str, dict[str, list[str]]]:
    """Given names and surnames by language (ordinary/SOURCES.md)."""
    found: dict[str, dict[str, list[str]]] = json.loads((FOLDER / "people.json").read_text(encoding="utf-8"))
    return found


@cache
def others() -> dict[str, list[str]]:
    """Whole names of ordinary people and companies, by set (ordinary/SOURCES.md)."""
    found: dict[str, list[str]] = json.loads((FOLDER / "others.json").read_text(encoding="utf-8"))
    return found


def ordinary(which: int, draw: random.Random) -> tuple[str, str]:
    """A language and somebody's name in it, from one half (0 or 1) of its given names and surnames."""
    base = draw.choice(sorted({language.partition("-")[0] for language in people()}))
    language = draw.choice([each for each in sorted(people()) if each.partition("-")[0] == base])
    given, surnames = _names_of(language, which)
    parts = [draw.choice(given)]
    if draw.random() < SECOND_GIVEN_SHARE:
        parts.append(draw.choice(given))
    parts.append(draw.choice(surnames))
    if base in ("es", "pt") or draw.random() < DOUBLE_SURNAME_SHARE:
        parts.append(draw.choice(surnames))
    return base, " ".join(parts)


@cache
def _names_of(language: str, which: int) -> tuple[list[str], list[str]]:
    """Given names and surnames of one half; all where a half has none."""
    both = people()[language]
    given, surnames = ([one for one in both[kind] if half_of(one) == which] for kind in ("given", "surnames"))
    return given or both["given"], surnames or both["surnames"]


def half_of(name: str) -> int:
    """0 or 1, of an ordinary name."""
    return hashlib.sha256(name.encode()).digest()[0] & 1


def recombined(entries: Sequence[Entry], draw: random.Random) -> str:
    """Somebody who is on no list, with a listed person's given names and another's surname: the hardest to clear."""
    given = draw.choice(entries).names[0].partition(",")[2]
    surname = draw.choice(entries).names[0].partition(",")[0]
    return f"{given.strip()} {surname}"
