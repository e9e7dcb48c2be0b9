"""What a request means together with what was asked back and answered, and what a later word changes of it.

Enters: words, and the wish that they answer or change. Leaves: a Wish or an AskBack. Guaranteed: pure; an answer
overrides what it names and leaves the rest; an answer that names nothing of what was asked for is asked again.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from aios.processors.meetings import matching, words
from aios.processors.meetings.wish import WORDS_CHARS_MAX, Action, AskBack, Missing, Wish

OVERRIDES = ("place", "duration_min", "repeats", "zone", "bounds", "prefer", "needs", "was_on", "was_at")
TITLE_CHARS_MAX = 100
_NOT_IT = re.compile(
    r"\b(?:no|not|never|neither|nor|cannot|except|but|busy|away|later|earlier|sooner|after that)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
WHAT = "I did not understand what shall be different; which day, time, place or person?"


def understand(text: str, now: datetime, zone: str) -> Wish | AskBack:
    """A first request."""
    return words.read(text, now, zone)


def complete(text: str, asked: AskBack, answer: str, now: datetime, zone: str) -> Wish | AskBack:
    """The request after an answer. asked: what was asked, with all that is understood so far."""
    if not asked.about and isinstance(words.read(text, now, zone), AskBack):
        together = words.read(f"{text.rstrip(' .?!')} {answer}", now, zone)
        if isinstance(together, Wish):
            return together
    known = asked.understood
    if known is None:
        return words.read(answer, now, zone)
    said = _answered(answer, now, zone)
    named = said if isinstance(said, Wish) else said.understood
    is_which = asked.missing is Missing.EVENT and known.action is Action.CHANGE
    if named is not None and is_which and named.action is not Action.CHANGE:
        named = _where_it_is(named)
    if asked.missing is Missing.PERSON and asked.about:
        name = answer.strip(" .?!")[:WORDS_CHARS_MAX]
        people = named.participants if named is not None and named.participants else (name,)
        return _with(known, participants=tuple(p for p in known.participants if p != asked.about) + people)
    if asked.missing is Missing.TITLE:
        title = named.title if named is not None and named.title else answer.strip(" .?!")[:TITLE_CHARS_MAX]
        return _judged(_with(known, title=title), asked)
    merged = known if named is None else _merged(known, named)
    return asked if merged == known else _judged(merged, asked)


def _answered(answer: str, now: datetime, zone: str) -> Wish | AskBack:
    """What an answer says; a day, a time or a length alone is what it names, if it does not deny or count from it."""
    said = words.read(answer, now, zone)
    if isinstance(said, Wish) or said.understood is not None or _NOT_IT.search(answer):
        return said
    bare = words.read(f"schedule it {answer}", now, zone)
    known = bare.understood if isinstance(bare, AskBack) else None
    if known is None or known.title not in ("", "meeting") or known.place or known.participants:
        return said  # it says something else too
    for day in ("", " tomorrow"):  # a time alone needs a day to be read without a doubt
        put = words.read(f'schedule "talk" {answer.rstrip(" .?!")}{day}', now, zone)
        if isinstance(put, Wish):
            dates = {"date_from": None, "date_to": None} if day else {}
            return said.model_copy(update={"understood": _with(put, title="", **dates)})
    return said


def _where_it_is(named: Wish) -> Wish:
    """Which entry is changed: the one on that day, at that time; not where it goes."""
    day = named.date_from if named.date_from == named.date_to else None
    nowhere = dict.fromkeys(("date_from", "date_to", "time_from", "time_to"))
    return _with(named, was_on=day, was_at=named.time_from, **nowhere)


def amend(text: str, wish: Wish, now: datetime, zone: str) -> Wish | AskBack:
    """What a booked meeting becomes by a later word: a Wish to cancel it, or the changed one."""
    said = words.read(text, now, zone)
    named = said if isinstance(said, Wish) else said.understood
    if named is not None and named.action is Action.CANCEL:
        return _with(wish, action=Action.CANCEL) if _is_it(wish, said, named, text) else _what(wish)
    merged = wish if named is None else _merged(wish, named)
    if merged == wish:
        return _what(wish)
    is_dated = (merged.date_from, merged.date_to) != (wish.date_from, wish.date_to)
    is_window = wish.date_from != wish.date_to
    if merged.time_from != wish.time_from and is_window and not (is_dated or merged.repeats):
        return _with(merged, date_from=None, date_to=None)  # an hour alone: on the day on which it stands
    return merged


def _is_it(wish: Wish, said: Wish | AskBack, named: Wish, text: str) -> bool:
    """Whether it is the meeting that is cancelled, and not Bob, the room, or Monday for Tuesday."""
    is_whole = (isinstance(said, Wish) or said.missing is Missing.EVENT) and "instead" not in text.lower()
    return is_whole and not named.place and matching.is_called(named.title, wish.title)


def _what(wish: Wish) -> AskBack:
    return AskBack(missing=Missing.MEANING, question=WHAT, understood=wish)


def _merged(known: Wish, named: Wish) -> Wish:
    changes: dict[str, Any] = {name: value for name in OVERRIDES if (value := getattr(named, name))}
    if named.date_from is not None or named.date_to is not None:
        changes |= {"date_from": named.date_from, "date_to": named.date_to}
    if named.time_from is not None:
        changes |= {"time_from": named.time_from, "time_to": named.time_to}
    if named.participants:
        changes["participants"] = tuple(dict.fromkeys((*known.participants, *named.participants)))
    if named.title and not known.title:
        changes["title"] = named.title
    return _with(known, **changes)


def _judged(wish: Wish, asked: AskBack) -> Wish | AskBack:
    """Whether nothing is missing any more that words alone can tell."""
    missing: Missing | None = None
    if wish.action in (Action.SCHEDULE, Action.REMIND) and not wish.title:
        missing = Missing.TITLE if wish.action is Action.SCHEDULE or wish.date_from is None else None
    if wish.action is Action.SCHEDULE and wish.date_from is None and missing is None:
        missing = Missing.DATE
    if wish.action in (Action.CANCEL, Action.CHANGE) and not (wish.title or wish.date_from or wish.time_from):
        missing = Missing.EVENT
    if missing is None:
        return wish
    question = asked.question if missing is asked.missing else QUESTIONS[missing]
    return AskBack(missing=missing, question=question, understood=wish)


def _with(wish: Wish, **changes: Any) -> Wish:
    return Wish.model_validate({**wish.model_dump(), **changes})


QUESTIONS = {
    Missing.TITLE: "What shall it be called?",
    Missing.DATE: "On which day?",
    Missing.EVENT: "Which entry of your calendar do you mean?",
}
