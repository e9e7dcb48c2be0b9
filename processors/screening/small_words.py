"""The parts of a name that say little: particles and titles, and what kind of company it is.

Enters: a name, or a part of one. Leaves: whether it is such a part; a name with its legal form as one part. Guaranteed:
total. They are kept, not dropped: `Al Shami` is also `Alshami`, and a company may be called Public.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARTICLES = _words(
    "al el ul ur ad ar as at an az ash the a u e y i o la le los las lo de del della di da do dos das du des d l "
    "van von der den zu zum bin ben ibn bint bt b abu abou um umm ould uld and und et of for "
    "haji hajji hajj sheikh shaykh sheik shaikh mullah mulla maulana maulvi sayyid sayed qari dr doctor jr sr ii iii"
)
LEGAL = _words(
    "llc jsc pjsc ltd co inc corp sa sarl srl gmbh ag bv nv plc ooo oao zao ao pao company limited corporation "
    "incorporated fze fzc fzco fz llp lp kg spa sas ltda cv rl doo eurl pte pty sdn bhd holding holdings group dto"
)
LEGAL_WORDS = sorted(
    _words(
        "limited liability company joint stock public closed obshchestvo obshestvo ogranichennoi ogranichennoy "
        "otvetstvennostyu aktsionernoe aktsionernoye publichnoe corporation incorporated drug trafficking organization"
    )
)
LEGAL_WORD_LETTERS_MIN = 6  # of one that may be mistyped
LEGAL_WORD_EDITS_MAX = 2
LIGHT = PARTICLES | LEGAL | frozenset(LEGAL_WORDS)
_COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED, 1)}

_APART = re.compile(r"(?<![\[,]) ")  # a space between words, that people leave out; not one of a set
_SHARES = r"(?:joint stock company|aktsionerno[iy]?y?e obshchestvo)"
_LIMITED = r"obshc?hestvo s ogranich?en+o[iy]u? otvetstven+ost[iy]?yu|limited liability company|o[ .]+o[ .]+o"
_LONG_FORMS = tuple(
    (re.compile(rf"\b(?:{re.sub(_APART, ' ?', written)})\b"), short)
    for written, short in (
        (_LIMITED, "ooo"),
        (rf"(?:public|otkrytoye?|publichnoye?|otkrytoe|publichnoe) {_SHARES}", "pao"),
        (rf"(?:(?:closed|open|zakrytoye?|zakrytoe) )?{_SHARES}", "ao"),
        (r"drug trafficking organi[sz]ation", "dto"),
        (r"co(?:mpany)?[., ]+(?:ltd|limited)", "ltd"),
        (r"s[ .]+a[ .]+de[ .]+c[ .]+v", "sa"),
        (r"s[ .]+de[ .]+r[ .]+l", "srl"),
        (r"s[ .]+a", "sa"),
        (r"l[ .]+l[ .]+c", "llc"),
    )
)
_ANY_LONG_FORM = re.compile(r"obsh|limited|joint|akts|\bo[ .]+o|drug|\bco\b|company|\bs[ .]|\bl[ .]")


@lru_cache(maxsize=65_536)
def light(text: str) -> bool:
    """Whether a part says little: a particle, a title, a word of a legal form, the latter mistyped too."""
    if text in LIGHT:
        return True
    if len(text) < LEGAL_WORD_LETTERS_MIN:
        return False
    found = process.extractOne(text, LEGAL_WORDS, scorer=OSA.distance, score_cutoff=LEGAL_WORD_EDITS_MAX)
    return found is not None


def short_forms(name: str) -> str:
    """A company's legal form as one part, however long it is written."""
    text = name.lower()
    if not _ANY_LONG_FORM.search(text):
        return name
    before = text
    for pattern, short in _LONG_FORMS:
        text = pattern.sub(short, text)
    return text if text != before else name
