"""A request for the calendar in plain words, read: what is wanted, or what a person would ask first.

Enters: a text, the moment it was said, and the zone of who said it. Leaves: a Wish, or an AskBack with what is missing, a
question in words, and what was understood. Pure: the same text, moment and zone give the same answer. Guaranteed: no text
raises (only a moment or zone that is none does); a text that is too long, or of which a rule of doubts.py says that it
leaves something out or says two things, is asked about. Not guaranteed: that these rules see every doubt. The conventions
are those of infra/demo/data/calendar_truth.md, where it also says how often the reading agrees with people.

    fields.py, spoken.py, corrected.py, gist.py   a form, left-out apostrophes, what is put right, what is said around
    aloud.py, verbs.py, plainly.py   the many verbs and turns of speech made few; said.py calls them in this order
    said.py               the text made ready      days.py, portions.py, clock.py, recurring.py   phrases about time
    acts.py, heads.py     what is wanted           moments.py, when.py, windows.py   found and joined, settled
    verbless.py           ... without a verb       doubts.py, vague.py, forbidding.py   what is missing, or forbidden
    names.py, framing.py  title, people, place     reading.py               all of it, and the wish it comes to

Rejected: a language model. It would cover more, and be wrong without a sign of it; a rule can be read, and fixed.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from aios.processors.meetings import doubts
from aios.processors.meetings.acts import Act, act
from aios.processors.meetings.forbidding import forbids
from aios.processors.meetings.moments import find
from aios.processors.meetings.names import blanked, named, without
from aios.processors.meetings.phrases import Ahead, Lasts, Setting
from aios.processors.meetings.reading import Reading
from aios.processors.meetings.said import TEXT_CHARS_MAX, Said, said, tidy
from aios.processors.meetings.verbless import guess
from aios.processors.meetings.vocabulary import usual
from aios.processors.meetings.when import settle
from aios.processors.meetings.wish import Action, AskBack, Missing, Wish

YEARS = range(1970, 2200)


def read(text: str, now: datetime, zone: str) -> Wish | AskBack:
    """What a request means.

    text: any; over TEXT_CHARS_MAX characters it is asked about. now: an instant (with its offset). zone: IANA name of
    who speaks; dates and times of the answer are on that clock unless `zone` of the answer names another.
    Raises ValueError for a `now` without offset or outside 1970 to 2199, ZoneInfoNotFoundError (a KeyError) for a zone.
    """
    if now.tzinfo is None or now.year not in YEARS:
        raise ValueError("now is an instant with an offset, in the years 1970 to 2199")
    local = now.astimezone(ZoneInfo(zone))
    if len(text) > TEXT_CHARS_MAX:
        return doubts.ask(Missing.MEANING)
    heard = said(text)
    at = Setting(now=local, usual=usual(heard.low), month_first=zone.startswith(("America/", "US/")))
    done = act(
        blanked(heard.low, [phrase for phrase in find(heard, at) if not phrase.of(Ahead) and not phrase.of(Lasts)])
    )
    reading = _reading(heard, done, at)
    if done.action is Action.QUERY and not done.question and any(phrase.of(Ahead) for phrase in reading.phrases):
        reading = _reading(heard, replace(done, action=Action.REMIND), at)
    if done.action is Action.QUERY and not done.question and reading.when.minutes and reading.names.people:
        reading = _reading(heard, replace(done, action=Action.SCHEDULE), at)  # to see somebody for an hour
    if done.action is None:
        action = guess(reading.names, reading.when, reading.left)
        reading = _reading(heard, replace(done, action=action), at)
    if forbids(tidy(text).lower(), reading.act.action):
        return doubts.ask(Missing.MEANING)  # in the words that were said, whatever was made of them
    return doubts.judge(reading)


def _reading(heard: Said, done: Act, at: Setting) -> Reading:
    at = replace(at, action=done.action, past=done.past)
    phrases = find(heard, at)
    left = without(heard, done, phrases)
    return Reading(
        low=heard.low,
        left=left.lower(),
        act=done,
        when=settle(phrases, at),
        names=named(left, done),
        phrases=tuple(phrases),
        at=at,
    )
