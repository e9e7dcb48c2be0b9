"""Whether running text is an office's word for an identity document that it issued or saw. Pure.

In: a page, and the facts that were read of it. Out: whether it counts as that document. Guaranteed: one paragraph holds
all that an identity document is believed by, who, when born, which number and until when, each said in words; an
office speaks, and not the holder; nothing reads like a letter, an employer's or a landlord's paper, or a report of a
loss. Everything else that tells of a passport is a letter about one, and a person's matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aios.processors.reading.fact import By, Fact, Kind
from aios.processors.reading.source import Page, fold

PARAGRAPH_CHARS_MAX = 700  # from the first of its facts to the last
NEEDED = (Kind.NAME, Kind.BIRTH_DATE, Kind.DOCUMENT_NUMBER, Kind.EXPIRES)

# Words of offices, in the languages of Europe, of which compounds are made, too (`Melderegister`).
_OFFICE = re.compile(
    r"notar|konsul|consul(?!t)|embass|ambassad|botschaft|embajad|ambasciat|ambasad|prefe[tc]t?|prefeitura|registr"
    r"|regist(?:er|re|ro)\b|minist(?:r|er|ere)|polici|police|polizei|polizia|politi[ei]|municip|mairie|\bmaire\b"
    r"|\bcomune\b|ayuntamiento|gemeente|gemeinde|kommun|anagraf|tribunal|gericht|behorde|authorit|autorite|autoridad"
    r"|autorita|\burzad|\burad\b|immigration|justice of the peace"
)
_LETTER = re.compile(
    r"\bdear\b|sincerely|faithfully|regards|sehr geehrt|freundlich|cordialement|salutations|atentamente|saluti"
    r"|\bmy\b|\bmein(?:e[mnrs]?)?\b|\bmon\b|\bmi\b|\bmeu\b|\bmio\b"
    r"|employ|\bhired?\b|salary|tenan|landlord|lease\b|mitarbeiter|arbeitnehm|mieter|salarie|locataire|emplead"
    r"|inquilin|dipendent|inquilin|werknemer|huurder|\bclient|\bcustomer|\bkund"
    r"|\blost\b|stolen|\bloss\b|theft|verlust|verlor|gestohlen|perdu|perte|\bvol(?:e|ee)?\b|extravi|perdid|rob[ao]d"
    r"|smarri|rubat|furto|cancel|revok|revoc|annul|invalid|ungultig|forged|fake|refus|abgelehnt|\bapplie"
)
_AUTHOR = re.compile(
    r"(?:\b(?:i|ich|je|yo|eu|io|ik|jeg|jag|ja)|undersigned|soussigne\S*|sottoscritt[oa]|unterzeichne\S*"
    r"|abaixo assinado|suscrit[oa]|abajo firmante)\W+$"
)


def is_certificate(page: Page, facts: Sequence[Fact]) -> bool:
    """See the module."""
    folded = fold(page.text)
    if not _OFFICE.search(folded) or _LETTER.search(folded):
        return False
    return any(_holds_all(folded, start, end, facts) for start, end in _paragraphs(page.text))


def _paragraphs(text: str) -> list[tuple[int, int]]:
    gaps = [match.span() for match in re.finditer(r"\n\s*\n", text)]
    starts, ends = [0, *(end for _, end in gaps)], [*(start for start, _ in gaps), len(text)]
    return list(zip(starts, ends, strict=True))


def _holds_all(folded: str, start: int, end: int, facts: Sequence[Fact]) -> bool:
    """Whether one of each needed kind stands there, an expiry that is said to be one, and the name of one person."""
    inside = [fact for fact in facts if start <= fact.places[0].start < end and fact.kind in NEEDED]
    said = [fact for fact in inside if fact.kind is not Kind.EXPIRES or fact.by in (By.SENTENCE, By.LABEL)]
    if {fact.kind for fact in said} != set(NEEDED):
        return False
    places = [fact.places[0].start for fact in said]
    named = [fact for fact in said if fact.kind is Kind.NAME]
    people = {frozenset(re.findall(r"\w+", fold(fact.value))) for fact in named}
    by_himself = any(_AUTHOR.search(folded[start : fact.places[0].start]) for fact in named)
    return len(people) == 1 and not by_himself and max(places) - min(places) <= PARAGRAPH_CHARS_MAX
