"""How a name's part sounds, and its consonants: what stays the same across spellings.

Enters: a part in ASCII lower case. Leaves: its sound (one spelling for what transliterations spell in many ways) or its
skeleton (the consonants, which is all that Arabic and Hebrew write). Guaranteed: total, pure. Rejected: Soundex,
Metaphone and their kin (made for English, they separate what Arabic and Russian transliterations make equal).
"""

from __future__ import annotations

import re
from functools import lru_cache

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
_SYLLABLE = (  # of pinyin, Wade-Giles and the usual romanisations of Korean names
    r"(?:[bpmfdtnlgkhjqxrzcsyw]|[zc]h|sh|hs|t[sz]|[gkh]w)?"
    r"(?:y?(?:a|ae|ai|ao|an|ang|e|ee|ei|en|eng|eo|eon|eong|eu|eun|o|ok|ol|om|on|ong|oo|oon|ou|u|ui|uk|ul|um|un|ung)"
    r"|i|ia|iao|ian|iang|ie|ieh|ien|ih|il|im|in|ing|iok|iong|iu|iung|ua|uai|uan|uang|ue|ueh|uei|uo|eh|erh|er"
    r"|y[aeo](?:k|l|m|n|ng|ng?)?|yu|yun)"
)
_CHARACTER = re.compile(_SYLLABLE)
_CHARACTERS = re.compile(_SYLLABLE * 2)


def _vowels(run: re.Match[str]) -> str:
    """One vowel for a run, with the last one kept at the end of a word: `maria` is not `mario`."""
    flat = run[0].translate(_FLAT)
    one = "i" if "i" in flat else "u" if "u" in flat else "a"
    return one if run[1] or flat[-1] == one or len(flat) == 1 else one + flat[-1]


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


def one_syllable(text: str) -> bool:
    """Whether it has one run of vowels."""
    return len(_VOWELS.findall(text)) == 1


@lru_cache(maxsize=65_536)
def characters(text: str) -> int:
    """Of how many Chinese or Korean characters, one or two, this is a romanisation; 0 where it is none."""
    return 1 if _CHARACTER.fullmatch(text) else 2 if _CHARACTERS.fullmatch(text) else 0
