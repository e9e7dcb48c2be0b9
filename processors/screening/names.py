"""A name as screening sees it: parts that compare across spellings, scripts and habits.

Enters: a name as somebody wrote it, in any script, in any order. Leaves: its parts in ASCII lower case, each with
two coarser forms: how it sounds (one spelling for what transliterations spell in many ways) and its skeleton (the
consonants, which is all that Arabic and Hebrew write). Guaranteed: total, no exception for any text; bounded by
CHARS_MAX and PARTS_MAX. Chosen: anyascii for scripts (every script, one table, permissive licence). Rejected:
unidecode (GPL), ICU (a C++ library to build on every machine), Soundex, Metaphone and their kin (made for English,
they separate what Arabic and Russian transliterations make equal).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from anyascii import anyascii

from aios.processors.screening.small_words import NUMBERS, PARTICLES, short_forms

__all__ = ["CHARS_MAX", "PARTICLES", "PARTS_MAX", "Part", "parts", "read_scripts", "skeleton", "sound"]

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
_DOUBLED = re.compile(r"(.)\1+")
_VOWELS = re.compile(r"[aeiou]+")

# One sound, many spellings. Longer ones first; capitals are sounds that one letter cannot write.
_CONSONANTS = {
    "schtsch": "X", "shch": "X", "tsch": "C", "tch": "C", "tsh": "C", "dzh": "J", "dsch": "J", "dj": "J", "zh": "J",
    "sch": "X", "sh": "X", "ch": "C", "cz": "C", "kh": "h", "gh": "g", "ph": "f", "th": "t", "dh": "d", "ts": "s",
    "tz": "s", "ck": "k", "ce": "se", "ci": "si", "cy": "si", "c": "k", "q": "k", "x": "ks", "w": "v", "z": "s",
    "j": "J",
}  # fmt: skip
_CONSONANT = re.compile("|".join(_CONSONANTS))
_ENDS = ((re.compile(r"(?:ij|iy|yi|ii)$"), "i"), (re.compile(r"(?<=[aeiou])h$"), ""), (re.compile(r"ff?$"), "v"))
_VOWELS_RUN = re.compile(r"[aeiouy]+(?=(.?))")
_FLAT = str.maketrans("eyo", "iiu")


def _vowels(run: re.Match[str]) -> str:
    """One vowel for a run, with the last one kept at the end of a word: `maria` is not `mario`."""
    flat = run[0].translate(_FLAT)
    one = "i" if "i" in flat else "u" if "u" in flat else "a"
    return one if run[1] or flat[-1] == one or len(flat) == 1 else one + flat[-1]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a name. `bare`: written without vowels, so that only its skeleton compares.

    syllable: it was one Chinese or Korean character, of which there are few by sound.
    """

    text: str
    bare: bool = False
    syllable: bool = False

    @property
    def initial(self) -> bool:
        """Whether it is one letter that stands for a name."""
        return len(self.text) <= INITIAL_CHARS_MAX and self.text.isalpha()


@lru_cache(maxsize=262_144)
def sound(text: str) -> str:
    """How `text` sounds, roughly: equal for the spellings that transliterations give one name."""
    for end, into in _ENDS:
        text = end.sub(into, text)
    text = _CONSONANT.sub(lambda found: _CONSONANTS[found[0]], text)
    text = _VOWELS_RUN.sub(_vowels, text)
    return _DOUBLED.sub(r"\1", text)


@lru_cache(maxsize=262_144)
def skeleton(text: str, *, bare: bool = False) -> str:
    """The consonants of how it sounds, after a sign for a vowel at the front; w and y are vowels where `bare`."""
    if bare:
        text = text.replace("w", "u").replace("v", "u")
    said = sound(text)
    front = "a" if _VOWELS.match(said) else ""
    return _DOUBLED.sub(r"\1", front + _VOWELS.sub("", said).replace("v", "f"))


def read_scripts() -> None:
    """Every script's table now, not with the first name that is written in it: anyascii reads files for these."""
    for block in _SCRIPTS:
        anyascii(chr(block << 8 | 0x80))


def parts(name: str) -> tuple[Part, ...]:
    """The parts of `name` as written, commas and hyphens as spaces; at most PARTS_MAX."""
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
        syllables = bool(_HAN_OR_HANGUL.search(word))
        found += [
            Part(NUMBERS.get(each, each), bare, syllables) for each in _PART.findall(_MARKS.sub("", latin).lower())
        ]
    return tuple(found[:PARTS_MAX])
