"""Requests whose words say what is wanted of whom, and yet not what is to be done: asked about, whatever else they name.

Enters: the text in lower case, and the action that was read. Leaves: what is missing, or None. Guaranteed: a decision
table, first hit; each row is a kind of vagueness that a person would ask about, none is about one event. What needs the
rest of the reading (which event, which day) is doubts.py's.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re

from aios.processors.meetings.wish import Action, Missing

_PUT_IN = frozenset({Action.SCHEDULE})
_MANY = r"(?:events?|games?|meetings|festivals?|holidays?|birthdays|appointments|dates|classes|matches|concerts|activities|parties|programs?|stuff|things)"
_TABLE: tuple[tuple[frozenset[Action | None], str, Missing], ...] = (
    # all of something that is not here yet: which ones?
    (_PUT_IN, rf"\b(?:all|every|each)\b(?: (?:of )?(?:the|my|our|their|its))?(?:[ \x00]+[\w']+){{0,3}}?[ \x00]+{_MANY}\b", Missing.EVENT),
    # asked of a person, not of an assistant
    (_PUT_IN, r"^\W*(?:shall|should) (?:we|i)\b", Missing.MEANING),
    (frozenset({Action.QUERY}), r"^\W*(?:shall|should) we (?:meet|go|have|get|do|grab)\b", Missing.MEANING),
    (frozenset({Action.QUERY}), r"^\W*(?:keep|leave|hold)\b[^.;]{1,40}?\b(?:open|free|clear|empty|blank)\b", Missing.MEANING),
    # keep a day free: with what?
    (frozenset({*Action, None} - {Action.QUERY}), r"\b(?:keep|leave|hold|make sure|stays?|remains?|kept|left)\b[^.;]{1,40}?\b(?:open|free|clear|empty|available|blank)\W*$|\b(?:keep|leave)\b[^.;]{1,40}?\b(?:open|free|clear|empty) (?:on|in|from) my (?:calendar|schedule|agenda)\b", Missing.MEANING),
    # what shall become of it is said in a word that may mean to lose it
    (frozenset({Action.CANCEL, None}), r"\b(?:format|reset|process|handle|sort out|do something about|deal with)\b", Missing.MEANING),
)  # fmt: skip
_ROWS = tuple((actions, re.compile(pattern), missing) for actions, pattern, missing in _TABLE)


def vague(low: str, action: Action | None) -> Missing | None:
    """low: without politeness at its ends."""
    return next((missing for actions, pattern, missing in _ROWS if action in actions and pattern.search(low)), None)
