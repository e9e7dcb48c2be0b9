"""Other names that a page gives whom it is about: at birth, before a marriage, on a stage. Pure.

In: a page, its rows, and the names that were read of it. Out: names, with their places; whoever screens the holder
screens these too. Guaranteed: bounded; a word that says that there is none is no name; one that says nothing beyond
the holder's own is left out by who compares. A surname alone is told with the holder's given names, one beside an
alias alone, and a name of two words beneath a label for surnames both ways. What labels say is alias_words.py's; here
are the words inside a line (`Anna Schmidt geb. Weber`). Rejected: words that introduce a place or a day as often
(`født`, `nata`, `born`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aios.processors.reading import dates, lexicon, names, rows
from aios.processors.reading.fact import Fact, Kind
from aios.processors.reading.lexicon import Label
from aios.processors.reading.rows import Row
from aios.processors.reading.source import Cell, Page, fold, lines
from aios.processors.screening.names import PARTICLES

NAMES_MAX = 20  # of a page
_WORD = re.compile(r"[^\W\d_][\w'’`.-]*")
_INSIDE = re.compile(
    r"(?<![^\W_])(?:(?P<surname>nee?|geb\.|geborener?|roz\.|rozena|rodena|z domu|o\.\s?s\.|omaa sukua|de soltera)"
    r"|alias|a[./]?k[./]?a\.?|f[./]?k[./]?a\.?|(?:also|formerly|previously) known as|formerly|auch bekannt als|genannt"
    r"|(?:tambien )?conocid[oa] como|tambem conhecid[oa] (?:como|por)|aussi connue? sous le nom de|znan[ya] jako"
    r"|ook bekend als|ogsa kendt som|ogsa kjent som|aven kand som)\s*[:,]?\s+(?=\S)"
)
_OF_SURNAMES = re.compile(
    r"maiden|birth|geburt|ledig|madchen|naissance|jeune|usage|epou|marital|solter|nacim|nubile|celibe|nascit|solteir"
    r"|nasciment|geboorte|meisjes|fode|pigen|piken|flick|synty|tytto|rodow|panien|rodn|szulet|leanyk|fata|naster|kizlik"
    r"|dogum|surname|last name|nachn|familienn|apellido|cognom|apelido|achternaam|efternavn|etternavn|efternamn|sukunim"
    r"|nazwisk|prijmen|priezvisk|prezime|priimek|uzvard|pavard|perekonn|soyad|девич|добрачн|дівоч|моминск|фамил|прізвищ"
    r"|πατρικ|επωνυμ"
)
_ALIAS = re.compile(
    r"alias|a[./]?k[./]?a|pseud|seudo|kunst|artist|stage|pen name|nick|spitz|surnom|apodo|alcunha|known|called"
)
_NONE = re.compile(
    r"(?:none|nil|n\W?a|not applicable|no|nothing|unknown|same|(?:same )?as above|see above|keine?r?s?|entfallt|ohne"
    r"|neant|nicht zutreffend|aucune?|sans(?: objet)?|ningun[oa]?|no aplica|no consta|nessun[oa]?|nenhuma?|geen"
    r"|n\W?v\W?t|ingen|inget|ei(?: ole)?|brak|nie dotyczy|zadne|zadny|neni|nincs|nu|fara|yok|nema|x+|нет"
    r"|не имеет|немає|няма|οχι)\W*"
)
# What may stand before the first word of a name, though it says nothing elsewhere.
_LEADING_TEXT = "von van de der den di da del della al el la le les bin bint ibn ter ten zu zum zur du dos das"
_LEADING = frozenset(_LEADING_TEXT.split())


def other_names(page: Page, every_row: Sequence[Row], facts: Sequence[Fact]) -> Iterator[tuple[str, Cell]]:
    """facts: of the page; its names."""
    holder = next((fact.value for fact in facts if fact.kind is Kind.NAME), "")
    told: set[str] = set()
    for head, value in (*_labelled(every_row), *_inside(page)):
        for name in _said(fold(head), value.text, holder):
            if len(told) < NAMES_MAX and fold(name) not in told:
                told.add(fold(name))
                yield name, value


def _labelled(every_row: Sequence[Row]) -> Iterator[tuple[str, Cell]]:
    """The label's words, and its value."""
    for cell, label, value in rows.labelled(every_row):
        if label is Label.ALIAS:
            yield cell.text[: value.start - cell.start] if cell.start < value.start < cell.end else cell.text, value


def _inside(page: Page) -> Iterator[tuple[str, Cell]]:
    """Behind a word that introduces one, in any line: the words that a name may have."""
    for line in lines(page):
        for match in _INSIDE.finditer(fold(line.text)):
            end = match.end()
            for word in list(_WORD.finditer(line.text, match.end()))[: names.WORDS_MAX]:
                if line.text[end : word.start()].strip(" ") or not _is_of_name(word[0]):
                    break
                end = word.end()
            value = line.part(match.end(), end)
            first = fold(value.text.partition(" ")[0])
            if value.text and (first in _LEADING or not lexicon.meanings(first)):
                yield "surname" if match["surname"] else "alias", value


def _is_of_name(word: str) -> bool:
    folded = fold(word).strip(".")
    return names.is_name(f"{word} Xx") and not lexicon.is_known(folded) and folded not in dates.MONTHS


def _said(head: str, text: str, holder: str) -> Iterator[str]:
    """The names that a value comes to."""
    for part in re.split(r"\s*[;/,|]\s*|\s+(?:and|und|et|y)\s+", text) if _ALIAS.search(head) else [text]:
        name = names.clean(part) or names.clean(part.title())
        own = [word for word in name.split() if fold(word) not in PARTICLES]
        if not own or _NONE.fullmatch(fold(part.strip())) or not any(len(w) > 1 for w in own):
            continue
        given = [word for word in holder.split()[:-1] if fold(word) not in map(fold, own)]
        is_surname = bool(_OF_SURNAMES.search(head))
        if len(own) > 1 or _ALIAS.search(head) or not given:
            yield name
        if given and (len(own) == 1 or (is_surname and len(own) == 2)) and not _ALIAS.search(head):
            yield f"{' '.join(given)} {name}"
