"""A name as screening sees it: parts that compare across spellings, scripts and habits.

Enters: a name as somebody wrote it, in any script, in any order. Leaves: its parts in ASCII lower case
(sounds.py has coarser forms of them). Guaranteed: total, no exception for any text; bounded by CHARS_MAX and PARTS_MAX.
Chosen: anyascii for scripts (every script, one table, permissive licence). Rejected: unidecode (GPL), ICU (a C++
library to build on every machine).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from anyascii import anyascii

from aios.processors.screening.small_words import NUMBERS, PARTICLES, short_forms
from aios.processors.screening.sounds import skeleton, sound

__all__ = ["CHARS_MAX", "PARTICLES", "PARTS_MAX", "Part", "is_whole", "parts", "read_scripts", "skeleton", "sound"]

CHARS_MAX = 300  # of a name; the rest is not read
PARTS_MAX = 24
INITIAL_CHARS_MAX = 1
_WITHOUT_VOWELS = re.compile(r"[\u0590-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_MARKS = re.compile(r"['`’‘ʿʾʻʼ\"´]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PART = re.compile(r"[a-z0-9]+")
_LONG_VOWELS = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ا", "ة": "ا"})
_ARTICLE = "ال"
_HAN_OR_HANGUL = re.compile(r"[\u3400-\u9fff\uac00-\ud7af]")
_HANGUL = re.compile(r"[\uac00-\ud7af]")
_KOREAN = tuple(  # from the official romanisation to the one that passports and lists have
    (re.compile(pattern), usual)
    for pattern, usual in ((r"\bG", "K"), (r"\bD", "T"), (r"\bB", "P"), (r"eo", "o"), (r"eu", "u"), (r"\bI\b", "Ri"))
)
_SCRIPTS = (*range(0x34), *range(0x4E, 0xA0), *range(0xAC, 0xD8), *range(0xF9, 0x100))  # by 256 code points


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a name. `bare`: written without vowels, so that only its skeleton compares.

    characters: how many Chinese or Korean ones it was, which are few by sound.
    """

    text: str
    bare: bool = False
    characters: int = 0

    @property
    def initial(self) -> bool:
        """Whether it is one letter that stands for a name."""
        return len(self.text) <= INITIAL_CHARS_MAX and self.text.isalpha()


def read_scripts() -> None:
    """Every script's table now, not with the first name that is written in it: anyascii reads files for these."""
    for block in _SCRIPTS:
        anyascii(chr(block << 8 | 0x80))


def parts(name: str) -> tuple[Part, ...]:
    """The parts of `name` as written, commas and hyphens as spaces; at most PARTS_MAX."""
    return tuple(_parts(name)[:PARTS_MAX])


def is_whole(name: str) -> bool:
    """Whether parts() leaves nothing out: what stands behind many others is not looked for."""
    return len(name) <= CHARS_MAX and len(_parts(name)) <= PARTS_MAX


def _parts(name: str) -> list[Part]:
    found: list[Part] = []
    name = short_forms(name[:CHARS_MAX])
    for written in re.split(r"[\s,;/().\-–—_&+]+", unicodedata.normalize("NFKC", name[:CHARS_MAX])):
        word = written.translate(_LONG_VOWELS)
        if not word:
            continue
        bare = bool(_WITHOUT_VOWELS.search(word))
        if word.startswith(_ARTICLE) and len(word) > 2 * len(_ARTICLE):
            found.append(Part("al"))
            word = word[len(_ARTICLE) :]
        latin = word if word.isascii() else anyascii(word)
        if _HAN_OR_HANGUL.search(word):
            latin = _CAMEL.sub(" ", latin)  # one syllable a character
        if _HANGUL.search(word):
            for pattern, usual in _KOREAN:
                latin = pattern.sub(usual, latin)
        if bare:
            latin = latin.replace("`", "a").replace("'", "a")  # ayn and hamza carry a vowel
            latin = f"a{latin}" if word.startswith("ا") and not latin.startswith("a") else latin
        character = int(bool(_HAN_OR_HANGUL.search(word)))
        found += [
            Part(NUMBERS.get(each, each), bare, character) for each in _PART.findall(_MARKS.sub("", latin).lower())
        ]
    return found
