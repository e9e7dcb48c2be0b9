"""Facts of a person in the text of a document: what, in whose words, and where. Pure.

In: pages. Out: facts and the kind of document. Guaranteed: every fact's quote stands at its place; the number of facts
is bounded; nothing is concluded that the text does not say. A zone for machines is believed where its check digits
hold; then labels with their values (beside them, in the next column, or beneath), then sentences, then what the
application states and stands there (stated.py), then the block of name and address on an envelope, then, on identity
documents, what can be nothing else (shapes.py); last, other names of the holder (also.py), who else it addresses
(beside.py), and what it says against itself (marks.py). What is said at several places is surer than what is said once.
Rejected: asking a model for the facts (it would have to be checked against the text all the same, and what stands in
forms needs none).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from aios.processors.reading import attested, beside, countries, dates, kinds, lexicon, mrz, names, rows, shapes, stated
from aios.processors.reading.also import other_names
from aios.processors.reading.fact import FACTS_MAX, QUOTE_CHARS_MAX, SURE, SURE_OF_PICTURE, By, Fact, Kind, Place
from aios.processors.reading.kinds import IDENTITY, Document
from aios.processors.reading.labels import Labelled
from aios.processors.reading.lexicon import Label
from aios.processors.reading.marks import marks
from aios.processors.reading.rows import Row
from aios.processors.reading.sentences import sentences
from aios.processors.reading.source import SAME_COLUMN, Cell, Page, fold, lines
from aios.processors.reading.stated import Stated

ADDRESS_LINES_MAX = 6
OTHER_LINES_MAX = 3  # of what stands beneath a label of somebody else
ZONE_NAME_SURE = 0.93  # no check digit covers the names
SURE_AGAIN, AGAIN_MAX, SURE_MAX = 0.01, 3, 0.99  # for every further place that says the same
NOTHING_STATED = Stated()

_AMERICAN = re.compile(r"driver'?s?\s*license|united\s*states|\bzip\s*code\b|\bu\.?s\.?a\b")
_NUMBER = re.compile(r"^[A-Z0-9][A-Z0-9 ./-]{3,23}$")
_LETTERHEAD = re.compile(r"^[^:]*\bbank\b(?: statement)?\s*$")  # whose paper it is, not who is in it
_TITLED = re.compile(
    r"(?:card|passport|permit|licen[cs]e|identite|passeport|sejour)\s*(?:no|nr|n[°ºo])\.?\s*[:.]?\s*(?=[a-z0-9])"
)


@dataclass(frozen=True, slots=True)
class Read:
    kind: Document
    facts: tuple[Fact, ...]


def extract(pages: Sequence[Page], said: Stated = NOTHING_STATED) -> Read:
    """Everything that the pages say, the surest first within a kind. said: what the application states."""
    readings = [_Reading(page) for page in pages]
    zones = [zone for reading in readings if (zone := reading.read(said)) is not None]
    kind = kinds.kind("\n".join(page.text for page in pages), zones[0].kind if zones else "")
    if kind in IDENTITY:
        for reading in readings:
            reading.infer()
    if kind in IDENTITY and not zones and _only_tells(readings) and not _certifies(readings):
        kind = Document.OTHER  # a letter that mentions a passport
        for reading in readings:
            reading.forget_inferred()
    for reading in readings:
        reading.accompany(identity=kind in IDENTITY)
    found = [fact for reading in readings for fact in reading.facts]
    return Read(kind, tuple(_distinct(found))[:FACTS_MAX])


def _certifies(readings: Sequence[_Reading]) -> bool:
    return any(attested.is_certificate(reading.page, reading.facts) for reading in readings)


def _only_tells(readings: Sequence[_Reading]) -> bool:
    """Whether the name and the birth date stand in sentences and nowhere as values."""
    found = [(fact, reading.in_sentence(fact)) for reading in readings for fact in reading.facts]
    return all(
        any(fact.kind is kind for fact, _ in found) and all(inside for fact, inside in found if fact.kind is kind)
        for kind in (Kind.NAME, Kind.BIRTH_DATE)
    )


def _distinct(found: Sequence[Fact]) -> Iterator[Fact]:
    """One fact of a kind and value, the surest; one that stands at several places is surer than one that does not."""
    same: dict[tuple[Kind, str], list[Fact]] = {}
    for fact in sorted(found, key=lambda fact: -fact.sure):
        same.setdefault((fact.kind, " ".join(sorted(re.findall(r"\w+", fold(fact.value))))), []).append(fact)
    once = [
        facts[0].model_copy(update={"sure": round(min(SURE_MAX, facts[0].sure + SURE_AGAIN * (_places(facts) - 1)), 3)})
        for facts in same.values()
    ]
    yield from sorted(
        once, key=lambda fact: (list(Kind).index(fact.kind), -fact.sure, fact.places[0].page, fact.places[0].start)
    )


def _places(facts: Sequence[Fact]) -> int:
    return min(AGAIN_MAX, len({(fact.places[0].page, fact.places[0].start) for fact in facts}))


@dataclass
class _Reading:
    """One page being read."""

    page: Page
    facts: list[Fact] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    foreign: list[Cell] = field(default_factory=list)  # values of labels that ask for something else
    others: list[Cell] = field(default_factory=list)  # what stands under labels of somebody else
    strange: list[tuple[Cell, str]] = field(default_factory=list)  # parts of names, alone under their labels

    def read(self, said: Stated) -> mrz.Zone | None:
        """Read everything; the zone, for the kind of document."""
        whole = lines(self.page)
        written = [line for line in whole if line.text.strip()]
        zone = mrz.find(written)
        if (broken := mrz.broken(written, zone)) is not None:
            self._add(Kind.ZONE_BROKEN, broken.text, By.ZONE, broken)
        taken: set[int] = set()
        if zone is not None:
            self._of_zone(zone)
            taken = {zone.names_at.number, zone.rest_at.number, zone.number_at.number}
        self.rows = rows.of(whole, taken)
        self._of_labels()
        for kind, cell, value, other in sentences(self.page, month_first=self._month_first):
            self._add(kind, value, By.SENTENCE, cell, other=other)
        self._of_stated(said)
        self._of_blocks()
        return zone

    def infer(self) -> None:
        """What an identity document says by its values' shapes."""
        foreign = [*self.foreign, *self.others]
        for kind, value, cell, other in shapes.infer(self.page, self.facts, foreign, month_first=self._month_first):
            self._add(kind, value, By.SHAPE, cell, other=other)

    def forget_inferred(self) -> None:
        """It is none: shapes say nothing of its values."""
        self.facts = [fact for fact in self.facts if fact.by is not By.SHAPE]

    def accompany(self, *, identity: bool) -> None:
        """The other names of whom the page is about, who is named beside him, and what it says against itself."""
        for name, cell in other_names(self.page, self.rows, self.facts):
            self._add(Kind.ALIAS, name, By.LABEL, cell)
        for name, cell in beside.find(self.page, self.rows, self.facts, self.others, identity=identity):
            self._add(Kind.BESIDE, name, By.SHAPE, cell)
        if identity:
            for word, cell in marks(self.page, self.facts):
                self._add(Kind.MARKED, word, By.SENTENCE, cell)

    def in_sentence(self, fact: Fact) -> bool:
        """Whether a fact was read of running text: by its sentence, or small words follow it in its cell."""
        if fact.by is not By.STATED:
            return fact.by is By.SENTENCE
        at = fact.places[-1]
        behind = re.split(r"\n|\s{2,}|\t|\|", self.page.text[at.end :], maxsplit=1)[0]
        return bool(re.search(r"\b[a-z]{2,}", behind))

    def _of_stated(self, said: Stated) -> None:
        """Of birth dates and addresses only where the page's own words have told none, or less, or more than that."""
        told = {fact.kind for fact in self.facts}
        otherwise = {at.start for fact in self.facts if fact.kind is not Kind.BIRTH_DATE for at in fact.places}
        strange = [(cell, part) for cell, part in self.strange if said.name and not stated.is_part(part, said.name)]
        for cell, part in strange:
            self._add(Kind.NAME, part, By.LABEL, cell)
        for kind, value, at, other in stated.find(
            self.page, said, frozenset(otherwise), self.others, month_first=self._month_first
        ):
            if kind is Kind.NAME and strange:
                continue
            if kind is Kind.ADDRESS and self._same_address(value):
                self.facts = [fact for fact in self.facts if fact.kind is not Kind.ADDRESS]
                self._add(kind, value, By.STATED, *at, sure=SURE[By.LABEL])
            elif kind is not Kind.BIRTH_DATE or kind not in told:
                self._add(kind, value, By.STATED, *at, other=other)

    def _same_address(self, value: str) -> bool:
        """Whether the addresses that labels have told are this one, with a line more or less."""
        words = set(re.findall(r"\w+", fold(value)))
        told = [set(re.findall(r"\w+", fold(fact.value))) for fact in self.facts if fact.kind is Kind.ADDRESS]
        return bool(told) and all(one <= words or words <= one for one in told)

    @cached_property
    def _month_first(self) -> bool:
        """Whether the page is American by its own words."""
        return bool(_AMERICAN.search(fold(self.page.text)))

    def _add(self, kind: Kind, value: str, by: By, *at: Cell, sure: float = 0.0, other: str = "") -> None:
        places = tuple(Place(page=cell.page, line=cell.number, start=cell.start, end=cell.end) for cell in at)
        quote = " … ".join(cell.text for cell in at)[:QUOTE_CHARS_MAX]
        sure = (sure or SURE[by]) * (SURE_OF_PICTURE if self.page.by_ocr else 1.0)
        self.facts.append(
            Fact(kind=kind, value=value, quote=quote, places=places, by=by, sure=round(sure, 3), other=other)
        )

    def _of_zone(self, zone: mrz.Zone) -> None:
        name = names.clean(f"{zone.given} {zone.surname}")
        if name:
            self._add(Kind.NAME, name, By.ZONE, zone.names_at, sure=ZONE_NAME_SURE)
        for kind, value, at in (
            (Kind.BIRTH_DATE, zone.born, zone.rest_at),
            (Kind.NATIONALITY, countries.code(zone.nationality), zone.rest_at),
            (Kind.DOCUMENT_NUMBER, zone.number, zone.number_at),
            (Kind.EXPIRES, zone.expires, zone.rest_at),
            (Kind.ISSUED_BY, countries.code(zone.issuer), zone.names_at),
        ):
            if value:
                self._add(kind, value, By.ZONE, at)

    # Labels

    def _of_labels(self) -> None:
        parts: dict[Label, tuple[Cell, str]] = {}
        for row_number, row in enumerate(self.rows):
            for index, (cell, said) in enumerate(row):
                if said is None:
                    if titled := _TITLED.search(fold(cell.text)):
                        self._of_number(cell.part(titled.end(), len(cell.text)))
                    continue
                value = rows.value_of(self.rows, row_number, index)
                if value is None:
                    continue
                if said.label is Label.ALIAS:
                    self.others.append(value)
                elif said.label is Label.OTHER:
                    self.foreign.append(value)
                    head = fold(self.page.text[cell.start : value.start])
                    sentence = value.number - cell.number > 1 and stated.is_sentence(value.text)
                    if lexicon.is_of_another(_LETTERHEAD.sub("", head)) and not sentence:
                        self._of_another(row_number, index, value, alone=not said.certain)
                else:
                    self._of_label(said.label, value, parts)
        self._of_parts(parts)

    def _of_another(self, row_number: int, index: int, value: Cell, *, alone: bool) -> None:
        """A label of somebody else: its value, what stands behind it up to the next label's column, and where it is
        beneath, the lines under it up to the next label or an empty one. alone: not these, it may be a letterhead.
        """
        row = self.rows[row_number]
        after = row[index + 1][0] if index + 1 < len(row) else None
        if value.number == row[index][0].number:
            behind = next((cell for cell, said in row[index + 1 :] if said is not None), None)
            beneath, limit = [row], behind.column if behind is not None else None
        else:
            beneath, limit = self.rows[value.number - 1 :], after.column - SAME_COLUMN if after is not None else None
        for each in beneath[: 1 if alone else OTHER_LINES_MAX]:
            free = [cell for cell, said in each if said is None and cell.column >= value.column - SAME_COLUMN]
            if not each or (each is not beneath[0] and any(said is not None for _, said in each)):
                break
            self.others.extend(cell for cell in free if limit is None or cell.column < limit)
        self.others.append(value)

    def _of_label(self, label: Label, value: Cell, parts: dict[Label, tuple[Cell, str]]) -> None:
        match label:
            case Label.FULL_NAME | Label.SURNAME | Label.GIVEN:
                name = names.clean(value.text)
                if not name and names.clean(f"{value.text} Xx"):
                    name = value.text.strip()  # an initial
                if label is Label.FULL_NAME and name and len(name.split()) == 1:
                    value, name = self._with_next_line(value, name)
                if name:
                    parts.setdefault(label, (value, name))
            case Label.BIRTH_DATE | Label.EXPIRES | Label.ISSUED_ON:
                self._of_date(Kind(label.value), value)
            case Label.NATIONALITY | Label.COUNTRY | Label.ISSUED_BY:
                code = countries.code(re.split(r"\s*[/(,;.]\s*", value.text)[0]) or countries.code(value.text)
                if code:
                    self._add(Kind(label.value), code, By.LABEL, value)
            case Label.NUMBER:
                self._of_number(value)
            case Label.ADDRESS:
                self._of_address(value, By.LABEL)
            case _:
                pass

    def _with_next_line(self, value: Cell, name: str) -> tuple[Cell, str]:
        """Surname and given names under one label, a line each."""
        row = self.rows[value.number] if value.number < len(self.rows) else []
        if len(row) == 1 and row[0][1] is None and row[0][0].column == value.column:
            more = names.clean(row[0][0].text)
            if (
                more
                and len(more.split()) <= 3
                and more.isupper() == name.isupper()
                and names.on_envelope(f"{more} {name}")
            ):
                return value, f"{more} {name}"
        return value, name

    def _of_date(self, kind: Kind, value: Cell) -> None:
        every = dates.all_in(value.text, past=kind is Kind.BIRTH_DATE, month_first=self._month_first)
        if every:
            found = every[-1] if kind is Kind.ISSUED_ON else every[0]  # of a period, its end
            self._add(kind, found.iso, By.LABEL, value.part(found.start, found.end), other=found.other)

    def _of_number(self, value: Cell) -> None:
        text = value.text.upper()
        match = rows.BARE_NUMBER.search(text)
        if _NUMBER.match(text) and sum(map(str.isdigit, text)) >= 3:
            self._add(Kind.DOCUMENT_NUMBER, re.sub(r"[ ./-]", "", text), By.LABEL, value)
        elif match and sum(map(str.isdigit, match[0])) >= 3:
            number = re.sub(r"[./-]", "", match[0])
            self._add(Kind.DOCUMENT_NUMBER, number, By.LABEL, value.part(*match.span()))

    def _of_parts(self, parts: dict[Label, tuple[Cell, str]]) -> None:
        """The page's name. `Name` beside given names is the surname, as on German forms; `Nombre` beside surnames the
        given names.
        """
        full, surname, given = (parts.get(label) for label in (Label.FULL_NAME, Label.SURNAME, Label.GIVEN))
        if given is None and surname is not None and full is not None:
            given, full = (full, None) if fold(surname[1]) not in fold(full[1]) else (None, full)
        if surname is None and given is not None and full is not None:
            surname, full = (full, None) if fold(given[1]) not in fold(full[1]) else (None, full)
        if surname is not None and given is not None:
            self._add(Kind.NAME, f"{given[1]} {surname[1]}", By.LABEL, given[0], surname[0])
        for alone in (full, None if given else surname, None if surname else given):
            if alone is not None and len(alone[1].split()) > 1:
                self._add(Kind.NAME, alone[1], By.LABEL, alone[0])
            elif alone is not None and not lexicon.is_known(fold(alone[1])):
                self.strange.append(alone)

    # Addresses

    def _of_address(self, first: Cell, by: By) -> None:
        at = [first] if first.text.strip(" ,") else []
        start = first.number  # rows are lines, from 1: the row after the value's
        alone = len(self.rows[start - 1]) == 1
        for row in self.rows[start : start + ADDRESS_LINES_MAX - 1]:
            cell = self._below(row, first, alone=alone)
            if cell is None:
                break
            at.append(cell)
            if countries.code(cell.text):
                break
        text = ", ".join(part.text.strip(" ,;") for part in at)
        if not (re.search(r"\d", text) or len(at) > 1) or len(text) < 6:
            return
        self._add(Kind.ADDRESS, text, by, *at)
        if code := countries.at_end(text.strip(" .,")):
            self._add(Kind.COUNTRY, code, by, at[-1])

    @staticmethod
    def _below(row: Sequence[tuple[Cell, Labelled | None]], first: Cell, *, alone: bool) -> Cell | None:
        """The next line of an address, in its column, or at the line's beginning where it stood alone in its line."""
        free = [cell for cell, said in row if said is None]
        if not free or (row[0][1] is not None and abs(free[0].column - first.column) > 3):
            return None
        if row[0][0].text.endswith(":") and row[0][0].column < first.column - 3:
            return None  # a label that nobody knows
        near = min(free, key=lambda cell: abs(cell.column - first.column))
        aligned = abs(near.column - first.column) <= 3
        if not aligned and not (alone and len(row) == 1 and near.column <= first.column):
            return None
        words = near.text.split()
        sentence = near.text.rstrip().endswith((".", "!", "?", ":")) and len(words) > 4
        return None if sentence or len(words) > 9 or len(near.text) > 80 or dates.is_one(near.text) else near

    def _of_blocks(self) -> None:
        """Name and address as on an envelope; where labels have told both, nothing is looked for. A name that is only
        stated gives way to the one above the address: a letter to somebody else may mention it. A block of another
        address than the one that is told is the sender's, and on an identity document one is no envelope.
        """
        told = {fact.kind for fact in self.facts}
        if {Kind.NAME, Kind.ADDRESS} <= {fact.kind for fact in self.facts if fact.by is not By.STATED}:
            return
        known = self._names(lambda fact: fact.by is not By.STATED)
        blocks = [
            (cell, beneath)
            for row in self.rows
            for cell, said in row
            if said is None and names.on_envelope(cell.text) and kinds.kind(cell.text) is not Document.LETTER
            if (beneath := self._beneath(cell))
        ]
        wanted = known or self._names(lambda fact: fact.by is By.STATED)
        held = [block for block in blocks if frozenset(fold(names.clean(block[0].text)).split()) in wanted]
        if not held and not known and kinds.kind(self.page.text) not in IDENTITY:
            at = [place.start for fact in self.facts if fact.kind is Kind.ADDRESS for place in fact.places]
            held = [
                block
                for block in blocks
                if not at or any(line.start <= start < line.end for line in block[1] for start in at)
            ]
        for cell, beneath in held[:1]:
            if not known:
                self._add(Kind.NAME, names.clean(cell.text), By.BLOCK, cell)
            if Kind.ADDRESS not in told:
                self._of_address(beneath[0], By.BLOCK)

    def _names(self, wanted: Callable[[Fact], bool]) -> set[frozenset[str]]:
        return {frozenset(fold(fact.value).split()) for fact in self.facts if fact.kind is Kind.NAME and wanted(fact)}

    def _beneath(self, name: Cell) -> list[Cell]:
        """The lines under a name if they are an address: two or more in its column, one with a number in it."""
        found: list[Cell] = []
        for row in self.rows[name.number : name.number + ADDRESS_LINES_MAX]:
            near = [cell for cell, said in row if said is None and abs(cell.column - name.column) <= 3]
            if not near or dates.is_one(near[0].text) or (row[0][0] is not near[0] and row[0][0].text.endswith(":")):
                break
            found.append(near[0])
        numbered = any(re.search(r"\d", cell.text) and re.search(r"[^\W\d_]{3}", cell.text) for cell in found[:3])
        return found if len(found) >= 2 and numbered else []
