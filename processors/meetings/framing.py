"""The name inside a piece of a request: "what time does | the dinner party | start".

Enters: the words of a piece, in lower case, without times, people and places; and what is wanted. Leaves: the words
that name something, and the general words that were said ("event"). Guaranteed: after a determiner ("the", "my") a name
begins, so that only what describes and never names is taken from it: "cancel the open house" cancels an open house; a
verb that carries the request is one only at the head of a clause: "add book club" adds a book club.
"""

from __future__ import annotations

from aios.processors.meetings.grammar import listed
from aios.processors.meetings.vocabulary import (
    ACTS_FIRST,
    ACTS_LAST,
    AFTER_DETERMINER,
    ASKED_OF,
    DETERMINERS,
    FRAME_FIRST,
    FRAME_LAST,
    GENERAL,
    HEADS,
    KINDS,
    LINKS,
    QUERY_FIRST,
    QUERY_LAST,
    VERBS,
)
from aios.processors.meetings.wish import Action

KEPT_PAIRS = frozenset(
    {
        "day off",
        "days off",
        "time off",
        "out of",
        "check up",
        "meet up",
        "follow up",
        "catch up",
        "new year's",
        "new years",
        "all hands",
        "one on",
        "book club",
        "book fair",
        "book signing",
        "spring break",
        "winter break",
        "summer break",
        "lunch break",
        "last day",
    }
)
_PAIR = 2
_NOTES = frozenset({"reminder", "reminders", "notification", "notifications", "alert", "alerts", "alarm", "alarms"})
KIND_WORDS = KINDS | {f"{kind}s" for kind in KINDS}
_PARTICLES = frozenset({"out", "up", "off", "down", "in", "over"})
_TAKEN_OUT = frozenset({"take", "get", "throw", "pull", "strike", "cross"})
_KEEP_HEAD = frozenset({"be", "been", "have", "get", "got", "me"})
_WITH_ADVERB = frozenset(
    listed(
        "call turn switch take put set throw wipe clear clean write mark jot note pencil block move push pull bring "
        "read get"
    )
)  # call off, set aside, take away: the second word goes with it
_COUNTS = frozenset(listed("two three four five six seven ten"))
_UNITS = frozenset(listed("day night week month hour mile course man"))  # a three day trip
_ADVERBS = frozenset(listed("off aside up down out on away forward"))


def framed(words: list[str], action: Action | None, *, head: bool = True) -> tuple[list[str], list[str]]:
    """The name, and the general words of the piece. head: a verb that carries the request may stand first."""
    asking = action in (Action.QUERY, None)
    first, last = (QUERY_FIRST, QUERY_LAST) if asking else (ACTS_FIRST, ACTS_LAST)
    if action is not Action.REMIND:
        first, last = first - KIND_WORDS, last - KIND_WORDS
    start = _start(words, first | FRAME_FIRST | GENERAL, reminded=action is Action.REMIND, head=head)
    end = _end(words, start, last | FRAME_LAST | GENERAL, last)
    if (
        action is Action.CANCEL
        and end - start > 1
        and words[0] in _TAKEN_OUT
        and words[end - 1] in ("out", "off", "away")
    ):
        end -= 1  # take swimming out
    if action in (Action.QUERY, Action.CANCEL, Action.CHANGE) and end - start > 1 and words[end - 1] in _NOTES:
        end -= 1  # the dry cleaning reminder: what it reminds of
    return words[start:end], [word for word in words if word in GENERAL]


def trimmed(words: list[str]) -> list[str]:
    """A thing to do that is told: its verb begins it, and only what trails is taken off."""
    return words[: _end(words, 0, FRAME_LAST | ACTS_LAST - _PARTICLES, ACTS_LAST)]


def _start(words: list[str], first: frozenset[str], *, reminded: bool, head: bool) -> int:
    """Where the name begins. head: a verb may stand here. bound: a determiner was the last thing that was passed."""
    place, bound, owned = 0, False, False
    while place < len(words):
        word, then = words[place], words[place + 1] if place + 1 < len(words) else ""
        if f"{word} {then}" in KEPT_PAIRS or (word in _COUNTS and then in _UNITS):
            break
        if head and _with_adverb(words, place):
            place, head = place + 2, False
            continue
        if word in ASKED_OF and not (head and word in VERBS):
            if (then and then not in LINKS and then not in GENERAL) or (owned and word == "date" and not then):
                break
            bound = False
        elif word in DETERMINERS:
            bound, head, owned = True, False, word in ("my", "a", "our")
        elif bound:
            if not _describes(word, then, reminded=reminded):
                break
            bound = word in AFTER_DETERMINER and word not in GENERAL
        elif (word in VERBS and not head) or word not in VERBS | HEADS | first:
            break
        else:
            head = word in HEADS or (head and word in _KEEP_HEAD)
        place += 1
    return place


def _with_adverb(words: list[str], place: int) -> bool:
    """Whether the second word belongs to the first: call off, set aside."""
    word, then, third = [*words[place : place + 3], "", ""][:3]
    return word in _WITH_ADVERB and then in _ADVERBS and f"{then} {third}" not in KEPT_PAIRS


def _describes(word: str, then: str, *, reminded: bool) -> bool:
    """Whether a word after a determiner only describes: "the next ...", "an event ...", "a reminder ..."."""
    if word in AFTER_DETERMINER or word in GENERAL or (reminded and word in _NOTES):
        return True
    return word in ("first", "second", "third", "few") and then in KIND_WORDS | GENERAL | AFTER_DETERMINER


def _end(words: list[str], start: int, last: frozenset[str], own: frozenset[str]) -> int:
    end = len(words)
    while start < end and words[end - 1] in last:
        before = words[end - 2] if end - start > 1 else ""
        if f"{before} {words[end - 1]}" in KEPT_PAIRS:
            break
        if words[end - 1] == "day" and before and not _frames(before, last):
            break  # "father's day"
        if words[end - 1] in _PARTICLES and before.endswith("ing") and before not in own:
            break  # "working out"
        if words[end - 1] in _PARTICLES and end - start == _PAIR and before in VERBS:
            break  # "a check in"
        end -= 1
    return end


def _frames(word: str, last: frozenset[str]) -> bool:
    """Whether a word only describes a day that is no name: "that day", "the meeting day"."""
    return word in last or word in DETERMINERS | AFTER_DETERMINER | KIND_WORDS | FRAME_FIRST | LINKS
