"""What is a person's name, among words that are not. Pure: by form alone, no list of names."""

from __future__ import annotations

import re

from aios.processors.reading.source import fold

WORDS_MAX = 9
CHARS_MAX = 120

_PARTICLES_TEXT = (
    "de da do dos das del della der den des di du van von zu zum zur ter ten la le las los el al bin bint ibn "
    "ben abu abd ul ur y e i af av op og och und"
)
_PARTICLES = frozenset(_PARTICLES_TEXT.split())
_HONORIFIC = re.compile(
    r"^(?:(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam|messrs|herr|herrn|frau|mme|mlle|sr|sra|srta|sig|sig\.ra|dott|pan|pani)"
    r"(?:\.\s*|\s+))+(?=\S\S)"
)
_SUFFIX = frozenset({"jr", "jr.", "sr", "sr.", "ii", "iii", "iv", "phd", "md", "esq", "esq."})
_NO_NAME_TEXT = (
    "ltd limited inc llc plc gmbh ag sa sas srl bv nv co corp company bank bancorp energy power electric "
    "electricity gas water utilities utility telecom mobile broadband services service insurance group "
    "holdings society union council authority office department ministry republic kingdom federation state "
    "passport statement bill invoice account card licence license certificate letter application form page "
    "date number street road avenue lane drive court square house flat apartment po box road strasse rue calle "
    "via dear customer sir madam ref reference details summary total balance payment supply identity driving "
    "national residence permit opening new confidential private your our the and for of personal information "
    "document documents proof agreement contract payslip salary lease tenancy employment"
)
_NO_NAME = frozenset(_NO_NAME_TEXT.split())
_WORD = re.compile(r"^['’`‘ʼʿ]?[^\W\d_][\w'’`.\-‘ʼ]*$")


def clean(text: str) -> str:
    """A name as one line, without honorifics, given names first; empty: that is no name."""
    text = " ".join(text.replace("\u00a0", " ").split()).strip(" .,;:-–—_*|<>()[]")
    match = _HONORIFIC.match(fold(text))
    if match:
        text = text[match.end() :].strip(" ,.")
    if text.count(",") == 1:
        last, first = (part.strip() for part in text.split(","))
        text = f"{last} {first}" if fold(first) in _SUFFIX else f"{first} {last}".strip()
    return text if is_name(text) else ""


def is_name(text: str) -> bool:
    """Letters only, one word to WORDS_MAX, each with a capital or a particle; scripts without capitals are welcome."""
    words = text.split()
    if (
        not 1 <= len(words) <= WORDS_MAX
        or len(text) > CHARS_MAX
        or not any(len(word.strip(".'")) > 1 for word in words)
    ):
        return False
    return all(_is_word(word) for word in words) and any(fold(word) not in _PARTICLES for word in words)


def _is_word(word: str) -> bool:
    if not _WORD.match(word.strip(".")):
        return False
    first = word.lstrip("'’‘`ʼ")[:1]
    return (
        not first.islower()
        or fold(word).strip(".") in _PARTICLES
        or bool(re.match(r"^(?:al|el|d|l|an|as|ad)[-'’]", word))
    )


def on_envelope(text: str) -> bool:
    """Whether a line alone may be the name above an address: two words or more, and none that firms or forms have."""
    name = clean(text)
    words = [fold(word).strip(".,") for word in name.split()]
    if not 2 <= len(words) <= 6 or any(word in _NO_NAME for word in words):
        return False
    return all(len(word) > 1 or word.isalpha() for word in words) and any(len(word) > 2 for word in words)
