"""A table of turns of speech, and the text with each of them said otherwise. Pure.

Enters: rows of a pattern, in any case of letters, and what stands for it. Leaves: a function from text to text.
Guaranteed: the rows go over the whole text one after the other, so that a later one reads what an earlier one wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Instead = str | Callable[[re.Match[str]], str]


def rewriter(rows: Iterable[tuple[str, Instead]]) -> Callable[[str], str]:
    """What says every turn of the table otherwise."""
    table = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in rows]

    def rewritten(text: str) -> str:
        for pattern, instead in table:
            text = pattern.sub(instead, text)
        return text

    return rewritten
