"""What is a label on a page, and what is its value. Pure.

In: a page's lines. Out: rows of cells, each with the label that it begins with; the value of a label: beside it, in the
next cell, or beneath it. Guaranteed: a label without a separator is one only where its value can be nothing else; the
codes of driving licences count as labels where a page has several of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from aios.processors.reading import alias_words, countries, dates, labels, lexicon, names
from aios.processors.reading.labels import Labelled
from aios.processors.reading.lexicon import Label
from aios.processors.reading.source import Cell, cells, fold

BELOW_MAX = 2  # lines beneath a label where its value may stand
LABEL_WORDS_MAX = 4  # of a label that follows a value in one cell

Row = list[tuple[Cell, Labelled | None]]

_CODED = re.compile(r"(?:^|(?<=\s))(?P<code>1|2|3|4a|4b|5|8)\.\s+(?=\S)")  # of driving licences all over Europe
_CODES = {
    "1": Label.SURNAME,
    "2": Label.GIVEN,
    "3": Label.BIRTH_DATE,
    "4a": Label.ISSUED_ON,
    "4b": Label.EXPIRES,
    "5": Label.NUMBER,
    "8": Label.ADDRESS,
}
_CODES_MIN = 4  # of these on a page: then its numbers are codes
BARE_NUMBER = re.compile(r"[A-Z0-9][A-Z0-9./-]{4,19}")


def of(every: Sequence[Cell], taken: Collection[int]) -> list[Row]:
    """A row for every line. taken: numbers of lines that hold no cells."""
    rows: list[Row] = []
    for line in every:
        row = [] if line.number in taken else [one for cell in cells(line) for one in _apart(cell)]
        rows.append([(cell, _held(labels.read(cell))) for cell in row])
    _with_codes(rows)
    _without_guesses(rows)
    _with_other_names(rows)
    return rows


def _apart(cell: Cell) -> Sequence[Cell]:
    """`Issued: 3 May 2020 Valid until: 3 May 2030` is two cells: the second label is one in all of its words."""
    start, found = 0, []
    for colon in [match.start() for match in re.finditer(" ?:(?= )", cell.text)][1:]:
        words = list(re.finditer(r"[^\W\d_][^\s:]*", cell.text[start:colon]))[-LABEL_WORDS_MAX:]
        for word in words:
            head = cell.text[start + word.start() : colon]
            label = lexicon.label_of(fold(head))
            if label is not None and not label[1] and ":" in cell.text[start : start + word.start()]:
                found.append(cell.part(start, start + word.start()))
                start += word.start()
                break
    return [*found, cell.part(start, len(cell.text))] if found else [cell]


def _with_codes(rows: Sequence[Row]) -> None:
    """Licences that say numbers instead of words."""
    coded: list[tuple[Row, str, Cell]] = []
    for row in rows:
        for cell in [cell for cell, said in row if said is None]:
            codes = list(_CODED.finditer(cell.text)) if _CODED.match(cell.text) else []
            for code, after in zip_longest(codes, codes[1:]):
                end = len(cell.text) if after is None else after.start()
                coded.append((row, code["code"], cell.part(code.end(), end)))
    if len({code for _, code, _ in coded}) < _CODES_MIN:
        return
    for row, code, value in coded:
        row[:] = [(cell, said) for cell, said in row if said is not None or cell.start > value.start]
        row.append((value, Labelled(_CODES[code], value, certain=True)))


def _held(said: Labelled | None) -> Labelled | None:
    """A label without a separator is one only where its value can be nothing else."""
    if said is None or said.certain or not said.value.text:
        return said
    return said if fits(said.label, said.value.text) else None


def _without_guesses(rows: Sequence[Row]) -> None:
    """A whole cell with a word that nobody knows is a label only where a fitting value is beside or beneath."""
    for row_number, row in enumerate(rows):
        for index, (cell, said) in enumerate(row):
            if said is not None and not said.certain and not said.value.text:
                value = value_of(rows, row_number, index)
                if value is None or not fits(said.label, value.text):
                    row[index] = (cell, _held(said.tight))


def _with_other_names(rows: Sequence[Row]) -> None:
    """`Other names` are the given names beside a surname, where no other label asks for these."""
    said = list(labelled(rows))
    surnames = [
        label is Label.SURNAME or (label is Label.FULL_NAME and " " not in value.text) for _, label, value in said
    ]
    if not any(surnames) or any(label is Label.GIVEN for _, label, _ in said):
        return
    for row in rows:
        for index, (cell, one) in enumerate(row):
            if one is not None and one.label is Label.ALIAS and alias_words.is_maybe(fold(cell.text).split(":")[0]):
                row[index] = (cell, replace(one, label=Label.GIVEN))


def labelled(rows: Sequence[Row]) -> Iterator[tuple[Cell, Label, Cell]]:
    """Each cell with a label that has a value, and the value."""
    for number, row in enumerate(rows):
        for index, (cell, said) in enumerate(row):
            value = value_of(rows, number, index)
            if said is not None and value is not None:
                yield cell, said.label, value


def value_of(rows: Sequence[Row], row_number: int, index: int) -> Cell | None:
    """Beside the label, in the next cell, or beneath it."""
    row = rows[row_number]
    cell, said = row[index]
    if said is None or said.value.text:
        return None if said is None else said.value
    if index + 1 < len(row) and row[index + 1][1] is None:
        return row[index + 1][0]
    for below in rows[row_number + 1 : row_number + 1 + BELOW_MAX]:
        if not below:
            continue
        if all(other is not None and other.certain for _, other in below):
            return None
        if len(below) == len(row) and below[index][1] is None:
            return below[index][0]
        free = [candidate for candidate, other in below if other is None]
        near = min(free, key=lambda candidate: abs(candidate.column - cell.column), default=None)
        return near if near is not None and abs(near.column - cell.column) <= max(8, len(cell.text)) else None
    return None


def fits(label: Label, value: str) -> bool:
    """Whether the value is one that the label asks for, and can hardly be anything else."""
    match label:
        case Label.BIRTH_DATE | Label.EXPIRES | Label.ISSUED_ON:
            found = dates.first_in(value)
            return found is not None and found.start <= 3
        case Label.NATIONALITY | Label.COUNTRY | Label.ISSUED_BY:
            return bool(countries.code(value))
        case Label.NUMBER:
            return bool(BARE_NUMBER.match(value)) and sum(map(str.isdigit, value)) >= 4
        case Label.FULL_NAME | Label.SURNAME | Label.GIVEN:
            return value.isupper() and bool(names.clean(value))
        case Label.ALIAS:
            return value[:1].isupper() and bool(names.clean(value))
        case Label.ADDRESS:
            return bool(re.match(r"^\d+\w?[ ,]", value))
        case _:
            return any(map(str.isdigit, value))  # `Meter no. 5512` is no value of the label before it
