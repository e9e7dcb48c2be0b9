"""All that was read of one request, and the wish that it comes to, whether or not it can be acted upon.

Enters: what was read (act, when, names). Leaves: a Wish, or None where no action is known or the words contradict
themselves. Guaranteed: nothing is added but a meeting's bare name, where only people or a length were said.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from aios.processors.meetings.acts import Act
from aios.processors.meetings.names import Named, is_group
from aios.processors.meetings.phrases import Phrase, Setting
from aios.processors.meetings.vocabulary import EVENTS, GENERAL, UNNAMED
from aios.processors.meetings.when import When
from aios.processors.meetings.wish import Action, Bound, Priority, Scope, Wish

ALL = re.compile(
    r"\b(?:all|every|everything|any|anything|entire|whole|both|each|how many|what(?:ever)? i|complete|completely)\b|^\W*(?:please )?list\b"
)
NEXT = re.compile(
    r"\b(?:next|soonest|nearest)\b|\bupcoming (?=(?:event|meeting|appointment|task|reminder|thing)\b)|\bfirst (?:event|meeting|appointment|thing)\b"
)
_UNSAID_EVENT = re.compile(
    r"\b(?:the|this|that|these|those|an?|it'?s?) (?:\w+ ){0,1}?(?:event|calendar event|entry|item|thing|activity|program)\b|\b(?:this|that|these|those)\b(?! (?:calendar|is\b|in my|to my|on my))|\bsome\b|\bnot so important\b|\bnot important\b|\bunimportant\b"
)
_BARE_IT = re.compile(r"\b(?:it|that|this|them|those|these|the one)\b")
_BE_THERE = re.compile(
    r"\b(?:i|we)(?: have| need| must|'ve got| ought| am| are|'m|'re| should| shall| next|'ll| will)?(?: supposed| expected)?(?: to)?(?: be)? (?:at|in) "
)
_GREAT = re.compile(r"\b(?:urgent|urgently|high[- ]priority|top priority|critical|emergency)\b")
_SMALL = re.compile(r"\b(?:low[- ]priority|not urgent|no rush)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that was read of one request. left: in lower case, without times and politeness. low: the whole."""

    low: str
    left: str
    act: Act
    when: When
    names: Named
    phrases: tuple[Phrase, ...]
    at: Setting


def wished(reading: Reading) -> Wish | None:
    """What was understood; None where no action is known, or where it contradicts itself."""
    action, names, when = reading.act.action, reading.names, reading.when
    if action is None:
        return None
    title, place, people = names.title, names.place, names.people
    if action is Action.QUERY:
        people = tuple(who for who in people if who.lower() not in UNNAMED | GENERAL)  # "am I meeting anyone"
    there = _BE_THERE.search(reading.left) or EVENTS.fullmatch(place.lower())
    if place and not title and not names.general and there:
        title, place = place.lower(), ""  # "what time do I have to be at the airport"
    if (
        action is Action.SCHEDULE
        and not title
        and (names.people or when.minutes)
        and not set(names.general) - {"schedule", "plan", "slot"}
    ):
        title = "meeting"
    try:
        return Wish(
            action=action,
            title=title,
            participants=people,
            place=place,
            date_from=when.first,
            date_to=when.last,
            time_from=when.start,
            time_to=when.end,
            duration_min=when.minutes,
            repeats=when.repeats,
            scope=_scope(action, reading, title),
            zone=when.zone,
            bounds=_bounds(reading),
            prefer=when.prefer,
            priority=Priority.HIGH
            if _GREAT.search(reading.low)
            else Priority.LOW
            if _SMALL.search(reading.low)
            else Priority.NORMAL,
            needs=names.needs,
            was_on=when.was_on,
            was_at=when.was_at,
        )
    except ValidationError:
        return None


def _bounds(reading: Reading) -> tuple[Bound, ...]:
    """Theirs is the group's clock if a group takes part, else everybody's."""
    found: list[Bound] = []
    groups = [name for name in reading.names.people if is_group(name)]
    for limit in reading.when.limits:
        whose = (groups[-1:] or list(reading.names.people)) if limit.whose in ("their", "his", "her") else [limit.whose]
        found += [Bound(whose=one, not_before=limit.not_before, not_after=limit.not_after) for one in whose]
    return tuple(found[:20])


def _scope(action: Action, reading: Reading, title: str) -> Scope | None:
    if action not in (Action.QUERY, Action.CANCEL):
        return None
    left, names = reading.left, reading.names
    if NEXT.search(left):
        return Scope.NEXT
    if ALL.search(left) or names.plural or (reading.act.bare and "calendar" in left):
        return Scope.ALL
    if action is Action.QUERY:
        if re.search(r"^\W*where\b.*\bbe\b", left) and reading.when.timed:
            return Scope.ONE
        definite = bool(_UNSAID_EVENT.search(left)) and reading.act.question
        return Scope.ONE if title or (definite and names.general) else Scope.ALL
    clock = reading.when.timed and reading.when.end is None
    one = (
        title
        or clock
        or any(word in ("event", "thing", "entry", "item", "activity", "plan", "something") for word in names.general)
    )
    if one or _BARE_IT.search(left):
        return Scope.ONE
    return Scope.ALL if not names.people else Scope.ONE
