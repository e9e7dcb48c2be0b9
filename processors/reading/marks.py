"""What an identity document says against itself: void, cancelled, a specimen, lost, stolen, its holder dead. Pure.

In: a page, and the facts that were read of it. Out: the word, in the document's writing, with its place. Guaranteed:
bounded; what is part of a name or an address is no mark; neither is what a document says of every case (`if lost,
return to …`, `void if altered`, `not cancelled`), of another document (`replaces passport 123, cancelled`) or of a
relative. Words that say little alone (`lost`) count where a report is told, or where they are all that a cell says. In
the languages of Europe. A mark is a person's matter, never a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aios.processors.reading import lexicon
from aios.processors.reading.fact import Fact, Kind
from aios.processors.reading.source import Cell, Page, cells, fold, lines

MARKS_MAX = 5  # of a page
ALONE_WORDS_MAX = 5  # of a cell in which a word that says little is a mark

# The document is no document any more, or never was one.
_VOID = re.compile(
    r"(?<![^\W_])(?:specimen|especimen|especime|fac-?simile|void(?:ed)?|cancell?ed|annulled|revoked|invalidated|forged"
    r"|counterfeit|no longer valid|ungultig(?: gemacht)?|annulliert|entwertet|widerrufen|gefalscht"
    r"|annulee?|invalidee?|revoquee?|falsifiee?|anulad[oa]|cancelad[oa]|revocad[oa]|falsificad[oa]|invalidad[oa]"
    r"|annullat[oa]|revocat[oa]|falsificat[oa]|revogad[oa]|geannuleerd|ongeldig(?: gemaakt)?|ingetrokken"
    r"|annuller(?:et|t|ad)|makuler(?:et|t|ad)|ugyldig|ogiltig|inddraget|inndratt|mitatoity|peruutettu"
    r"|anulowan[ya]|uniewaznion[ya]|niewazn[ya]|zrusen[ya]?|neplatn[ya]|ervenytelen|visszavont|anulat[a]?|nevalabil"
    r"|iptal(?: edil\w+)?|gecersiz|ponisten[oa]?|nevazec[ai]|neveljav\w+|tuhistatud|kehtetu|anulet[sa]|nederig[sa]"
    r"|negalioja\w*|ακυρ[οη]|ακυρωμεν[οη]|аннулирован\w*|недеиствител\w+|анульован\w*|недіисн\w+|анулиран\w*|невалид\w+)"
    r"(?![^\W_])"
)
# The holder is dead.
_DEAD = re.compile(
    r"(?<![^\W_])(?:deceased|verstorben\w*|decedee?|fallecid[oa]|decedut[oa]|falecid[oa]|overleden|afdod|avdod|avliden"
    r"|kuollut|zmarl[ya]|zemrel[ya]?|zosnul[ya]|elhunyt|decedat[a]?|vefat|preminu\w+|umrl[aio]|surnud|miris|miru[si]"
    r"|mires|αποβιωσ\w+|умер(?:ла)?|помер(?:ла)?|почина\w*)(?![^\W_])"
)
# It is elsewhere than it should be, or a model: what these words say depends on what stands beside them.
_WEAK = re.compile(
    r"(?<![^\W_])(?:lost|stolen|missing|withdrawn|invalid|sample|muster|verloren|gestohlen|abhanden|perdue?|volee?"
    r"|robad[oa]|extraviad[oa]|perdid[oa]|muestra|rubat[oa]|smarrit[oa]|roubad[oa]|furtad[oa]|amostra|verloren|gestolen"
    r"|vermist|voorbeeld|stjalet|stulen|stulet|tabt|mistet|forlorad|sparret|eksempel|exempel|varastettu|kadonnut|malli"
    r"|skradzion[ya]|utracon[ya]|zagubion[ya]|wzor|odcizen[ya]?|ztracen[ya]?|straten[ya]|odcudzen[ya]|vzor|ellopott"
    r"|elveszett|minta|furat[a]?|pierdut[a]?|calinti|kayip|ornek|numune|ukraden[oa]?|izgubljen[oa]?|uzorak|vzorec"
    r"|κλεμμεν[οη]|απολεσθεν|δειγμα|украден\w*|утерян\w*|образец|викраден\w*|втрачен\w*|зразок|откраднат\w*|изгубен\w*)"
    r"(?![^\W_])"
)
_REPORTED = re.compile(
    r"\breported\b|\bdeclared\b|\bhas been\b|\bstatus\b|gemeldet|\bdeclaree?s?\b|signalee?|denunciad|declarad|dichiarat"
    r"|denunciat|participad|gemeld\b|anmeldt|meldt|anmald|ilmoitettu|zgloszon|nahlasen|bejelent|declarat|bildiril"
    r"|prijavljen|заявлен|оголошен|обявен|δηλωθ"
)
# An application for one, which has every field of one.
_DOCUMENT = r"(?:passport|licen[cs]e|identity card|permit)"
_APPLICATION = re.compile(
    rf"\b{_DOCUMENT} application\b|\bapplication (?:form )?for (?:an? |the )?(?:\w+ ){{0,2}}{_DOCUMENT}\b"
    r"|antrag auf (?:ausstellung|erteilung)|demande de (?:passeport|carte|titre)"
    r"|solicitud de (?:pasaporte|dni|tarjeta|permiso)|(?:domanda|richiesta) di (?:passaporto|rilascio)"
    r"|pedido de (?:passaporte|cartao)|aanvraag (?:paspoort|identiteitskaart)"
)
# What is said of every document, of another one, or of its signature.
_OF_EVERY = re.compile(
    r"\b(?:if|when|whoever|anyone|may|might|can|cannot|could|must|should|shall|will|would|unless|in case|in the event"
    r"|where|report|return|finder|found|please|to be|until|do not|prohibited|previous|former|old|prior|replace[sd]?"
    r"|hotline|helpline|call|contact|phone|property|enquir\w+|offence|without|not|never"
    r"|ohne|nicht|nie|sans|non|sin|no (?:ha|han|fue)|senza|sem|nao|zonder|niet|uden|uten|utan|ikke|inte|bez|nelkul"
    r"|fara|не|без"
    r"|wenn|falls|kann|konnen|soll|muss|darf|bei (?:verlust|diebstahl|fund)|finder|bitte|sofern|vorherig\w*|fruher\w*"
    r"|ersetzt|si (?:vous|il|elle|trouve\w*|perdu\w*|encuentra|se)|peut|doit|sera|en cas|lorsque|precedente?|remplace"
    r"|puede|debe|cuando|en caso|anterior|sustituye|se (?:smarrit|trovat|rinvenut|perdid|encontrad|for)\w*|puo|deve"
    r"|qualora|in caso|sostituisce|em caso|pode|quando|substitui|indien|kan|moet|wordt|vorige?|vervangt|hvis|skal"
    r"|tidligere|om|maste|tidigare|jos|voi|jesli|moze|nalezy|poprzedni\w*|pokud|muze|musi|ak|kell|daca|poate|trebuie"
    r"|eger|ise|ako|если|может|якщо|може|ако|εαν)\b|\d[\d ]{8,}"
)
_SIGNATURE = re.compile(
    r"signatur|unterschrift|\bfirma\b|podpis|handtekening|underskrift|allekirjoitus|imza|assinatura|alairas|semnatura"
)
_GAP = re.compile(r"(?<=[.!?;])\s+")


def marks(page: Page, facts: Sequence[Fact]) -> Iterator[tuple[str, Cell]]:
    """facts: of the page."""
    named = (Kind.NAME, Kind.ALIAS, Kind.BESIDE, Kind.ADDRESS)
    taken = [(at.start, at.end) for fact in facts if fact.kind in named for at in fact.places]
    found = 0
    before = ""
    for line in lines(page):
        for cell in cells(line):
            for clause in _clauses(cell):
                is_more = clause.text[:1].islower()
                said = f"{before if is_more else ''} {fold(clause.text)}".strip()
                for word in _words(clause, said):
                    if found < MARKS_MAX and not any(start <= word.start < end for start, end in taken):
                        found += 1
                        yield word.text, word
                before = said


def _clauses(cell: Cell) -> Iterator[Cell]:
    start = 0
    for gap in [*_GAP.finditer(cell.text), None]:
        end = gap.start() if gap is not None else len(cell.text)
        if cell.text[start:end].strip():
            yield cell.part(start, end)
        start = gap.end() if gap is not None else end


def _words(clause: Cell, said: str) -> Iterator[Cell]:
    """said: the clause with what it goes on from, folded."""
    folded = fold(clause.text)
    if found := _APPLICATION.search(folded):
        yield clause.part(*found.span())
    if _OF_EVERY.search(said):
        return
    of_signature = _SIGNATURE.search(said)
    if (found := _VOID.search(folded)) and not of_signature:
        yield clause.part(*found.span())
    if (found := _DEAD.search(folded)) and not lexicon.is_of_another(said):
        yield clause.part(*found.span())
    if (found := _WEAK.search(folded)) and not of_signature:
        alone = len(re.findall(r"[^\W\d_]+", folded)) <= ALONE_WORDS_MAX and ":" not in folded[found.end() :]
        if alone or _REPORTED.search(said):
            yield clause.part(*found.span())
