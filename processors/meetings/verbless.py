"""What is wanted by a request without a verb: "picnic, 4 June", "my events", "an hour with Ana".

Enters: names, times, and what is left. Leaves: an action, or None, which is asked about. Guaranteed: a general or plural
thing is looked up, a person with a time or a length is met, a thing with its day is put in; a verb that nobody knows,
with its object, is None: it might mean to lose it.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings.names import Named
from aios.processors.meetings.reading import NEXT
from aios.processors.meetings.vocabulary import EVENTS, FOREIGN, KINDS
from aios.processors.meetings.when import When
from aios.processors.meetings.wish import Action

_NO_EVENT = re.compile(rf"{FOREIGN.pattern}|\b(?:calendar|schedule|agenda|free|busy|available|i|you|we|it|not|no)\b")
_VERB_AND_THING = re.compile(
    r"\W*(?!(?:with|for|at|in|on|and|about|of|from)\b)\w+ (?:the|my|our|that|this|his|her|their)\b"
)
TOLD_WORDS_MAX = 5
TOLD_DAYS_MAX = 21


def guess(names: Named, when: When, left: str) -> Action | None:
    """Without a verb: a general or plural thing is looked up, a person with a time or a length is met."""
    if _VERB_AND_THING.match(left) and not names.to_do and not when.repeats:
        return None  # something is to be done with it, in a verb that is not known
    if (
        names.title
        and (names.people or when.repeats)
        and when.dated
        and not (names.plural and names.title in KINDS and not when.timed)
    ) or (when.minutes and (names.people or names.title)):
        return Action.SCHEDULE
    if (names.title or names.people) and when.dated and when.timed and not names.plural:
        return Action.SCHEDULE
    if (names.title and NEXT.search(left)) or re.match(
        r"\s*(?:the )?(?:date|time|day|place|location|venue|address|attendees|participants|details?) *(?:of\b|for\b|\x00)",
        left,
    ):
        return Action.QUERY
    if "event" in names.general and when.timed and not names.title:
        return Action.SCHEDULE
    if _told(names, when, left):
        return Action.SCHEDULE
    if re.search(r"\b(?:free|busy|available)\b", left):
        return Action.QUERY
    known = not names.title or names.title in KINDS or EVENTS.search(names.title)
    if known and (names.plural or names.general or re.search(r"\b(?:calendar|schedule|agenda)\b", left)):
        return Action.QUERY
    return None


def _told(names: Named, when: When, left: str) -> bool:
    """A thing with its day and nothing else: "picnic, 4 June"; never a whole month, nor many, nor what is no event."""
    if not names.title or names.title in KINDS or names.plural or names.general or when.first is None:
        return False
    if _VERB_AND_THING.match(left) and not names.to_do:
        return False
    near = when.last is not None and (when.last - when.first).days <= TOLD_DAYS_MAX
    return near and len(names.title.split()) <= TOLD_WORDS_MAX and not _NO_EVENT.search(left)
