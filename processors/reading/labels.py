"""Where forms, cards and bills call what they say. Pure.

In: a cell of a line. Out: which label it begins with, and where its value begins. Guaranteed: bilingual labels
(`Surname / Nom`) are one, and a word that begins a sentence is no label: a separator follows it, or the end of the
cell, or its value cannot be anything else. What words mean is lexicon.py's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aios.processors.reading import alias_words, lexicon
from aios.processors.reading.lexicon import Label
from aios.processors.reading.source import Cell, fold

HEAD_CHARS_MAX = 90
TIGHT_WORDS_MAX = 6  # of a label that its value follows without a separator
NAMES = frozenset({Label.FULL_NAME, Label.SURNAME, Label.GIVEN})  # a particle behind these is the name's
_NUMBERED = re.compile(r"(?:[(\[]?(?:\d{1,2}[a-d]?|[a-h])[.)\]]+\s*)*")
_SEPARATOR = re.compile(r"\s*(?::|(?:\s*[.·_…]){3,}\s*:?|…+|=|\s[-–—]\s)\s*")


@dataclass(frozen=True, slots=True)
class Labelled:
    """value: what follows the label in its cell; empty: it stands elsewhere. certain: a separator says so, or every
    word of a whole cell; where it is not, the value must be one that the label asks for. tight: the other reading of a
    cell without a separator, in which its last words are the value.
    """

    label: Label
    value: Cell
    certain: bool
    tight: Labelled | None = None


def read(cell: Cell) -> Labelled | None:
    """The label that the cell begins with."""
    folded = fold(cell.text)
    numbered = _NUMBERED.match(folded)
    start = numbered.end() if numbered else 0
    separator = _SEPARATOR.search(folded, start)
    if (alias := _alias(cell, folded, start, separator)) is not None:
        return alias
    if separator is not None and start < separator.start() <= start + HEAD_CHARS_MAX:
        found = lexicon.label_of(folded[start : separator.start()])
        if found is not None:
            return Labelled(found[0], cell.part(separator.end(), len(cell.text)), certain=True)
        return _tight(cell, folded, start)
    found = lexicon.label_of(folded[start:]) if len(folded) - start <= HEAD_CHARS_MAX else None
    if found is None:
        return _tight(cell, folded, start)
    nothing = cell.part(len(cell.text), len(cell.text))
    if found[1] == 0:
        return Labelled(found[0], nothing, certain=True)
    return Labelled(found[0], nothing, certain=False, tight=_tight(cell, folded, start))


def _alias(cell: Cell, folded: str, start: int, separator: re.Match[str] | None) -> Labelled | None:
    """A label of another name; where nothing separates its value, it must be a name."""
    end = min(separator.start() if separator is not None else len(folded), start + HEAD_CHARS_MAX)
    if alias_words.is_alias(folded[start:end].strip()):
        return Labelled(
            Label.ALIAS, cell.part(separator.end() if separator else len(cell.text), len(cell.text)), certain=True
        )
    value = cell.part(start + alias_words.length(folded[start:]), len(cell.text))
    if separator is not None or value.start == cell.start + start:
        return None
    return Labelled(Label.ALIAS, value, certain=False)


def _tight(cell: Cell, folded: str, start: int) -> Labelled | None:
    """A label that its value follows: as many words as say something."""
    words = list(re.finditer(r"\S+", folded[start:]))
    for count in range(min(TIGHT_WORDS_MAX, len(words) - 1), 0, -1):
        head = folded[start : start + words[count - 1].end()]
        found = lexicon.label_of(head)
        named = found is not None and found[0] in NAMES and not lexicon.is_known(words[count - 1][0])
        if found is not None and found[1] == 0 and not named and not lexicon.is_role(head):
            value = cell.part(start + words[count].start(), len(cell.text))
            following = re.sub(r"\W", "", words[count][0])
            return None if lexicon.is_known(following) else Labelled(found[0], value, certain=False)
    return None
