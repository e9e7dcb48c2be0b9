"""The text of a document as people see it: pages of lines, and places in them.

In: pages' texts. Out: cells (what stands together in a line) with their places. Guaranteed: a place is the page and
line, both counted from 1, and the characters from `start` up to `end` of that page's text, so that whoever has the page
finds the very words again. Folding keeps every character's place. Rejected: places as boxes on the paper (a text has
none, and people quote words).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

# What separates two cells of a line: room, a table's bar, a semicolon before the next label.
COLUMN = re.compile(r"\s{2,}|\t+|\s*\|\s*|;\s+(?=[^:;]{2,60}:\s)")
SAME_COLUMN = 3  # characters that cells under each other may be apart
_LEAD = re.compile(r"\s*:\s+(?=\S)")  # of a value whose label is in the cell before
_ALIKE = str.maketrans("øłđıðþæœß", "oldidtaos")


@dataclass(frozen=True, slots=True)
class Page:
    """number: from 1. text: its lines, joined by line feeds. by_ocr: read from a picture."""

    number: int
    text: str
    by_ocr: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Some text of one line. number: of that line. start: of the text in the page's. column: in the line."""

    page: int
    number: int
    column: int
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def part(self, start: int, end: int) -> Cell:
        """What stands from start to end in it, without spaces around."""
        inner = self.text[start:end]
        lead = len(inner) - len(inner.lstrip())
        return Cell(self.page, self.number, self.column + start + lead, self.start + start + lead, inner.strip())


def lines(page: Page) -> list[Cell]:
    """Every line as one cell, empty ones too."""
    found, start = [], 0
    for number, text in enumerate(page.text.split("\n"), start=1):
        found.append(Cell(page.number, number, 0, start, text.rstrip()))
        start += len(text) + 1
    return found


def within(start: int, known: Sequence[Cell]) -> bool:
    """Whether a place of the page is in one of these cells of it."""
    return any(cell.start <= start < cell.end for cell in known)


def cells(line: Cell) -> Iterator[Cell]:
    """What stands in the line, a column each."""
    start = 0
    ends = [(gap.start(), gap.end()) for gap in COLUMN.finditer(line.text)]
    for end, following in [*ends, (len(line.text), len(line.text))]:
        lead = _LEAD.match(line.text, start, end)
        start = lead.end() if lead is not None else start
        if line.text[start:end].strip():
            yield line.part(start, end)
        start = following


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if character in "\u2018\u2019\u02bc\u0060\u00b4":
        return "'"
    return unicodedata.normalize("NFKD", character)[0].lower()[0].translate(_ALIKE)


def fold(text: str) -> str:
    """Without case and accents; as many characters as before."""
    return text.lower() if text.isascii() else "".join(map(_folded, text))
