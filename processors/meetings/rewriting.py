"""A table of turns of speech, and the text with each of them said otherwise. Pure.

Enters: rows of a pattern, in any case of letters, and what stands for it. Leaves: a function from text to text.
Guaranteed: the rows go over the whole text one after the other, so that a later one reads what an earlier one wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Instead = str | Callable[[re.Match[str]], str]

NOTE = r"(?:reminders?|alarms?|alerts?|notifications?)"
_POLITE = (
    *("hey", "hi", "ok", "okay", "olly", "pda", "alexa", "siri", "google", "please", "kindly", "just"),
    *("can you", "could you", "would you", "will you", "i want you to", "i need you to"),
    *("i want to", "i need to", "i would like to", "i'd like to"),
)


def polite(*more: str) -> str:
    """A pattern of what may stand before a request, `polite` in the match. more: what else may."""
    return rf"(?P<polite>(?:(?:{'|'.join((*more, *_POLITE))})[,.]? ){{0,4}})"


def rewriter(rows: Iterable[tuple[str, Instead]]) -> Callable[[str], str]:
    """What says every turn of the table otherwise."""
    table = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in rows]

    def rewritten(text: str) -> str:
        for pattern, instead in table:
            text = pattern.sub(instead, text)
        return text

    return rewritten
