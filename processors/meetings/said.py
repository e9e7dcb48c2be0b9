"""What somebody said, made ready to be read: one space between words, straight quotes, plain slips of spelling mended.

Enters: any text. Leaves: `Said`, the text twice at the same length: as said (for names) and in lower case (for
patterns); so that a place in one is the same place in the other. Guaranteed: `tidy` is idempotent; no sign is left that
the rooms after it use as a mark. Rejected: a dictionary of the language. Only words that carry the meaning of a request
are mended (days, months, "calendar", "appointment"), only where one letter is wrong, and never where the word begins
with a capital inside the text: that is a name.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from aios.processors.meetings.aloud import aloud
from aios.processors.meetings.corrected import corrected
from aios.processors.meetings.fields import plain_fields
from aios.processors.meetings.gist import gist
from aios.processors.meetings.grammar import listed
from aios.processors.meetings.plainly import plainly
from aios.processors.meetings.spoken import spoken
from aios.processors.meetings.verbs import plain_verbs

TEXT_CHARS_MAX = 1_000  # a request; a letter is not one
SIGNS_MAX = 8  # between two words; a pattern that looks for its place among hundreds costs seconds
GAP = "\x00"  # stands where a time, a place or a list of people was taken out
_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "‑": "-"}
)
_ANNOTATED = re.compile(r"\[\s*\w{1,30}\s*:\s*([^\[\]]{1,100})\]")  # "[date : tomorrow]" of annotated transcripts
_SIGNS = re.compile(rf"([^\w]{{{SIGNS_MAX}}})[^\w]+")
_WORD = re.compile(r"[^\W\d_]+")
_MENDED = listed(
    "tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february september "
    "october november december weekend afternoon evening morning calendar calendars appointment appointments meeting "
    "meetings reminder reminders notification schedule scheduled reschedule birthday anniversary remind remove delete "
    "cancel event events every weekly monthly upcoming please children"
)
_ONE_ON_ONE = re.compile(r"\b(?:one on one|1 on 1|1[:-](?:2-)?1)\b(?!\d)", re.IGNORECASE)
_LETTERS_MIN = 5
_SAID = {
    "calender": "calendar",
    "calenders": "calendars",
    "calandar": "calendar",
    "calander": "calendar",
    "calenda": "calendar",
    "everyday": "every day",
    "tmrw": "tomorrow",
    "tmr": "tomorrow",
    "tmw": "tomorrow",
    "tmrws": "tomorrow",
    "tomoz": "tomorrow",
    "arvo": "afternoon",
    "wkend": "weekend",
    "wknd": "weekend",
    "untill": "until",
    "wht": "what",
    "nxt": "next",
    "tmorrow": "tomorrow",
    "sched": "schedule",
    "resched": "reschedule",
    "tomo": "tomo",  # a restaurant, no slip
    "tommorow": "tomorrow",
    "tonite": "tonight",
    "2nite": "tonight",
    "nite": "night",
    "tomm": "tomorrow",
    "2morrow": "tomorrow",
    "tommorrow": "tomorrow",
    "2moro": "tomorrow",
    "wednseday": "wednesday",
    "appt": "appointment",
    "appts": "appointments",
    "appoinment": "appointment",
    "appointement": "appointment",
    "mtg": "meeting",
    "mtgs": "meetings",
    "pls": "please",
    "plz": "please",
    "bday": "birthday",
    "b-day": "birthday",
    "remaind": "remind",
}
_WORDS_OF_THEIR_OWN = frozenset(
    listed(
        "remainder remainders fiday sunlay friary moaning mourning warning learning meaning melting meting greeting sheeting heating eating "
        "evenings evens event events even seven fever never ever very every remove removed removes removal reminds "
        "remind rewind remand delete deleted deletes depleted elate relate cancel cancels chancel canceled scheduled "
        "schedules scheduler reminder reminders mornings afternoons weekends birthdays mondays tuesdays wednesdays "
        "thursdays fridays saturdays sundays tonights tomorrows yesterdays todays vents bevy eve elevens eleven weakly meekly pleased pleases "
        "rescheduled reschedules reminded cancelled removing deleting revere event's sever lever levers severs evenly weekday weekdays revery"
    )
)


@dataclass(frozen=True, slots=True)
class Said:
    """text and low have the same length. low: in lower case."""

    text: str
    low: str


def tidy(text: str) -> str:
    """One space between words, at most SIGNS_MAX signs, straight quotes, no control signs; spelling as it was."""
    plain = unicodedata.normalize("NFC", text).translate(_QUOTES)
    plain = _ANNOTATED.sub(r"\1", plain)
    plain = "".join(sign if sign.isprintable() else " " for sign in plain)
    return " ".join(_SIGNS.sub(r"\1 ", " ".join(plain.split())).split())


def said(text: str) -> Said:
    """The text as the rooms after this one read it."""
    mended = spoken(_WORD.sub(_mend, _ONE_ON_ONE.sub("one-on-one", tidy(text))))
    for plainer in (plain_fields, corrected, gist, aloud, plain_verbs, plainly):
        mended = plainer(mended)
    return Said(mended, "".join(_lower(sign) for sign in mended))


def _lower(sign: str) -> str:
    lower = sign.lower()
    return lower if len(lower) == 1 else sign


def _mend(found: re.Match[str]) -> str:
    word = found[0]
    if found.start() and word[0].isupper() and not word.isupper() and not word.lower().startswith("calen"):
        return word
    right = _right(word.lower())
    if right == word.lower():
        return word
    return right.upper() if word.isupper() and len(word) > 1 else right


@lru_cache(maxsize=4096)
def _right(word: str) -> str:
    """The word that was meant: itself, unless it is one letter away from one that carries a request's meaning."""
    if word in _SAID:
        return _SAID[word]
    if len(word) < _LETTERS_MIN or word in _WORDS_OF_THEIR_OWN or word in _MENDED:
        return word
    near = [one for one in _MENDED if len(one) > _LETTERS_MIN and one[0] == word[0] and one_apart(one, word)]
    return near[0] if len(near) == 1 else word


def one_apart(one: str, other: str) -> bool:
    """Whether one letter too many, too few, another, or two swapped make one word of the other."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    rest_one, rest_other = one[start:], other[start:]
    if rest_one[1:] == rest_other[1:] or rest_one[1:] == rest_other or rest_one == rest_other[1:]:
        return True
    return len(rest_one) == len(rest_other) > 1 and rest_one[1::-1] + rest_one[2:] == rest_other
