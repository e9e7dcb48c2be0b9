"""From words with coordinates to lines of text that keep their columns. Pure.

In: pieces of text with where they stand on the paper, from a PDF's text or a reader of pictures. Out: lines, a piece
per column set apart by spaces, an empty line where the paper has a gap. Guaranteed: what stands on one baseline is one
line, from left to right (right to left scripts keep the order they came in); bounded by COLUMNS_MAX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

COLUMNS_MAX = 240
SAME_LINE = 0.45  # of the height: further up or down is another line
SPACE, COLUMN = 0.16, 1.1  # of the height: from where a gap is a space, and another column
GAP = 1.9  # of the usual distance of lines: an empty one between
CHAR_WIDTH = 0.5  # of the height, about
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


@dataclass(frozen=True, slots=True)
class Piece:
    """left, right: across. y: of the baseline or the middle, downwards. height: of the letters."""

    text: str
    left: float
    right: float
    y: float
    height: float


def lay_out(pieces: Sequence[Piece]) -> str:
    """The page's text."""
    if not pieces:
        return ""
    rows = _rows(pieces)
    height = median(piece.height for piece in pieces) or 1.0
    margin = min(piece.left for piece in pieces)
    distances = [below[0].y - above[0].y for above, below in pairwise(rows)]
    usual = median(distances) if distances else 0.0
    lines = [_line(rows[0], margin, height)]
    for row, distance in zip(rows[1:], distances, strict=True):
        if distance > GAP * min(usual, 2 * height):
            lines.append("")
        lines.append(_line(row, margin, height))
    return "\n".join(lines)


def _rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.y):
        if rows and _is_beside(piece, rows[-1]):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    order = {id(piece): index for index, piece in enumerate(pieces)}
    for row in rows:
        backwards = any(_RIGHT_TO_LEFT.search(piece.text) for piece in row)
        row.sort(key=lambda piece: order[id(piece)] if backwards else piece.left)
    return rows


def _is_beside(piece: Piece, row: Sequence[Piece]) -> bool:
    """Whether it stands on the row's line, which may rise a little (a picture of paper is seldom straight)."""
    first, last = row[0], row[-1]
    return piece.y - last.y <= SAME_LINE / 2 * max(piece.height, last.height) or piece.y - first.y <= SAME_LINE * max(
        piece.height, first.height
    )


def _line(row: Sequence[Piece], margin: float, height: float) -> str:
    text, right = "", margin
    for piece in row:
        gap = piece.left - right
        if not text or gap > COLUMN * piece.height:
            column = min(round((piece.left - margin) / (CHAR_WIDTH * height)), COLUMNS_MAX)
            text = text.rstrip()
            text += " " * max(column - len(text), 3 if text else 0)
        elif (gap > SPACE * piece.height or piece.text.startswith(" ")) and not text.endswith(" "):
            text += " "
        text += piece.text.strip(" ") if piece.text.strip() else ""
        right = max(right, piece.right) if gap > -4 * piece.height else piece.right
    return text.rstrip()
