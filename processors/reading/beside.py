"""Who else a page names as its addressee or holder: the second of an account, of a contract, of an envelope. Pure.

In: a page, its rows, and the names that were read of it. Out: further full names with their places; whoever screens
the one that the page is about screens these too. Guaranteed: bounded; a name under a label of an official, a landlord
or a witness is none (lexicon.py), and on an identity document neither is that of a relative. When in doubt a name is
told: a firm that is taken for a person is screened in vain, a person who is missed is not screened at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aios.processors.reading import countries, dates, kinds, lexicon, names, rows
from aios.processors.reading.fact import Fact, Kind
from aios.processors.reading.kinds import Document
from aios.processors.reading.lexicon import Label
from aios.processors.reading.rows import Row
from aios.processors.reading.source import SAME_COLUMN, Cell, Page, fold, lines, within
from aios.processors.reading.stated import NEAR_CHARS

WORDS_MAX = 6  # of a name
ADDRESS_BELOW_MAX = 2  # lines between a name on an envelope and the first with a number

_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herrn?|Frau|Mme|Mlle|Madame|Monsieur|Sra?|Srta|Do[nñ]a?|Sig(?:\.ra)?|Dott|Pani?"
    r"|MR|MRS|MS|MISS|DR|HERRN?|FRAU|MME|SRA?)\b\.?"
)
_TITLED = re.compile(rf"(?<![^\W_]){_TITLE}\s+(?=[^\W\d_a-z])")
_JOIN = re.compile(
    r"\s*[&+/;]\s*|\s*,\s+|\s+(?:and|or|und|oder|et|ou|e|y|o|og|och|en|of|oraz|i|lub|a|nebo|si|sau|ve|ja|es)\s+"
    r"|\s+(?:AND|OR|UND|ODER|ET|OU|OG|OCH|EN|ORAZ|LUB|SAU|VE|JA|ES)\s+"
)
_WORD = re.compile(r"[^\W\d_][\w'’`.-]*")


def find(
    page: Page, every_row: Sequence[Row], facts: Sequence[Fact], others: Sequence[Cell], *, identity: bool
) -> Iterator[tuple[str, Cell]]:
    """facts: of the page. others: what stands under labels of somebody else."""
    named = [fact for fact in facts if fact.kind is Kind.NAME]
    streets = [_keys(fact.value) for fact in facts if fact.kind is Kind.ADDRESS]
    told = [_keys(fact.value) for fact in named if not _JOIN.search(fact.value)]
    every = lines(page)

    def is_new(name: str) -> bool:
        keys = _keys(name)
        if any(_is_within(keys, one) for one in told):
            return False
        told.append(keys)
        return True

    for name, at in _in_parts(every_row):
        if is_new(name):
            yield name, at
    for cell in _candidates(every, every_row, named, identity=identity):
        if not _is_excused(every, cell, others, identity=identity):
            for name, at in _people(cell):
                if not any(_keys(name) <= words for words in streets) and is_new(name):
                    yield name, at


def _candidates(
    every: Sequence[Cell], every_row: Sequence[Row], named: Sequence[Fact], *, identity: bool
) -> Iterator[Cell]:
    """Cells and parts of lines in which names may stand."""
    yield from _labelled(every_row)
    for fact in named:
        for place in fact.places[:1]:
            line = every[place.line - 1]
            yield from _joined(line, place.start - line.start, place.end - line.start)
    for line in every:
        for title in _TITLED.finditer(line.text):
            yield _name_at(line, title.end())
    if not identity:
        yield from _unlabelled(every_row)
        for fact in named:
            yield from _of_envelope(every_row, fact)


def _labelled(every_row: Sequence[Row]) -> Iterator[Cell]:
    """Every value of a label that asks for a whole name, the second and the third, too."""
    for cell, label, value in rows.labelled(every_row):
        if label is Label.FULL_NAME or (label is Label.OTHER and lexicon.is_of_party(fold(cell.text))):
            yield value


def _in_parts(every_row: Sequence[Row]) -> Iterator[tuple[str, Cell]]:
    """Surnames and given names under labels of their own, as often as they stand there."""
    parts: dict[Label, list[Cell]] = {Label.GIVEN: [], Label.SURNAME: []}
    for _, label, value in rows.labelled(every_row):
        if label in parts:
            parts[label].append(value)
    for given, surname in list(zip(parts[Label.GIVEN], parts[Label.SURNAME], strict=False))[1:]:
        name = names.clean(f"{given.text} {surname.text}")
        if name:
            yield name, surname


def _joined(line: Cell, start: int, end: int) -> Iterator[Cell]:
    """What a name is joined with, on either side; and a name that holds two."""
    yield line.part(start, end)
    behind = _JOIN.match(line.text, end)
    if behind is not None:
        title = _TITLED.match(line.text, behind.end())
        yield _name_at(line, title.end() if title is not None else behind.end())
    before = list(_JOIN.finditer(line.text, 0, start))
    if before and before[-1].end() == start:
        words = list(_WORD.finditer(line.text, 0, before[-1].start()))
        first = before[-1].start()
        for word in reversed(words[-WORDS_MAX:]):
            if line.text[word.end() : first].strip(" ") or not _is_name_word(word[0]):
                break
            first = word.start()
        yield line.part(first, before[-1].start())


def _name_at(line: Cell, start: int) -> Cell:
    """The words from there that a name may have."""
    end = start
    for word in list(_WORD.finditer(line.text, start))[:WORDS_MAX]:
        if line.text[end : word.start()].strip(" ") or not _is_name_word(word[0]):
            break
        end = word.end()
    return line.part(start, end)


def _is_name_word(word: str) -> bool:
    return names.is_name(f"{word} Xx") and not lexicon.is_known(fold(word))


def _unlabelled(every_row: Sequence[Row]) -> Iterator[Cell]:
    """Names behind labels that nobody knows: `Occupier: Ann Bell`."""
    for row in every_row:
        for index, (cell, said) in enumerate(row):
            if said is not None:
                continue
            head, colon, value = cell.text.partition(":")
            before = row[index - 1] if index else None
            if colon and value.strip() and _is_strange(head):
                yield cell.part(len(head) + 1, len(cell.text))
            elif len(row) == 2 and before is not None and before[1] is None and _is_strange(before[0].text):
                yield cell


def _is_strange(head: str) -> bool:
    """Whether a label may ask for a name: no word of it says that it asks for something else."""
    return not lexicon.said(fold(head)) - {"holder", "name", "filler", "first", "last", "else", "party"}


def _of_envelope(every_row: Sequence[Row], fact: Fact) -> Iterator[Cell]:
    """The lines above and beneath a name that stands alone, where an address follows."""
    at = fact.places[0]
    mine = next((cell for cell, _ in every_row[at.line - 1] if cell.start <= at.start < cell.end), None)
    if mine is None or not names.on_envelope(mine.text):
        return

    def near(line: int) -> Cell | None:
        row = every_row[line - 1] if 0 < line <= len(every_row) else []
        return next((c for c, said in row if said is None and abs(c.column - mine.column) <= SAME_COLUMN), None)

    below = [near(at.line + step) for step in range(1, ADDRESS_BELOW_MAX + 2)]
    if not any(cell is not None and re.search(r"\d", cell.text) for cell in below):
        return
    for cell in (near(at.line - 1), below[0]):
        if cell is not None:
            yield cell


def _people(cell: Cell) -> Iterator[tuple[str, Cell]]:
    """The names in it, each with its place; a given name that is joined to another has the other's surname."""
    joins = [match for match in _JOIN.finditer(cell.text) if match[0].strip() != ","]
    starts, ends = [0, *(match.end() for match in joins)], [*(match.start() for match in joins), len(cell.text)]
    parts = [cell.part(start, end) for start, end in zip(starts, ends, strict=True)]
    surname = ""
    for part in reversed(parts):
        name = names.clean(part.text)
        if name and surname and len(name.split()) == 1 and not lexicon.is_known(fold(name)):
            yield f"{name} {surname}", part
        elif name and _is_person(part.text):
            surname = name.split()[-1]
            yield name, part


def _is_person(text: str) -> bool:
    words = fold(names.clean(text)).split()
    known = any(lexicon.is_known(word) for word in words)
    return (
        names.on_envelope(text)
        and not known
        and not countries.at_end(text)
        and not dates.is_one(text)
        and kinds.kind(text) is Document.OTHER
    )


def _is_excused(every: Sequence[Cell], cell: Cell, others: Sequence[Cell], *, identity: bool) -> bool:
    """Whether words before it, or the label that it stands under, say that it is an official's or a witness's."""
    line = every[cell.number - 1]
    before = fold(line.text[: cell.start - line.start][-NEAR_CHARS:])
    if within(cell.start, others):
        if identity:
            return True
        above = fold(every[cell.number - 2].text) if cell.number > 1 else ""
        return not lexicon.is_of_party(f"{before} {above}")
    return lexicon.is_of_another(before) if identity else lexicon.is_of_official(before)


def _is_within(keys: frozenset[str], name: frozenset[str]) -> bool:
    """Whether all parts of a name are another's, or initials of them."""
    return all(any(one == part or (len(part) == 1 and one[0] == part) for one in name) for part in keys)


def _keys(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", fold(name)))
