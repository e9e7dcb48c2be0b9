"""Cutting a long text into pieces that a model can read. Pure.

In: a text and bounds in words. Out: its pieces, as written, in order, and how much of it they hold. Guaranteed: at most
chunks_max pieces of at most words_max words; each begins with the last overlap_words of the one before, so that what
stands at a cut is read once whole; no piece lies within another; up to the last one, no word is left out.
Rejected: cutting by tokens (another model would cut elsewhere, and an answer could not be compared with its text).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Pieces:
    """words: of the whole text. read: of these in the pieces."""

    texts: tuple[str, ...]
    words: int
    read: int

    @property
    def unread(self) -> int:
        return self.words - self.read


def cut(text: str, *, words_max: int, overlap_words: int = 0, chunks_max: int = 1) -> Pieces:
    """The pieces of a text; one empty piece of an empty one. 0 ≤ overlap_words < words_max."""
    spans = [match.span() for match in WORD.finditer(text)]
    texts: list[str] = []
    start, end = 0, 0
    while len(texts) < chunks_max and (end < len(spans) or not texts):
        end = min(start + words_max, len(spans))
        texts.append(text[spans[start][0] : spans[end - 1][1]] if spans else "")
        start = end - overlap_words
    return Pieces(tuple(texts), len(spans), end)
