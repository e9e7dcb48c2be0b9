"""What kind of document a text is, by the words that such documents have. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from aios.processors.reading.source import fold


class Document(StrEnum):
    PASSPORT = "passport"
    ID_CARD = "id_card"
    DRIVING_LICENCE = "driving_licence"
    RESIDENCE_PERMIT = "residence_permit"
    UTILITY_BILL = "utility_bill"
    BANK_STATEMENT = "bank_statement"
    APPLICATION = "application"
    LETTER = "letter"
    OTHER = "other"


IDENTITY = frozenset({Document.PASSPORT, Document.ID_CARD, Document.DRIVING_LICENCE, Document.RESIDENCE_PERMIT})
HEAD_CHARS = 400  # a title counts more than a mention

_WORDS: Mapping[Document, str] = {
    Document.PASSPORT: r"passport|passeport|reisepass|pasaporte|passaporto|paszport|paspoort",
    Document.ID_CARD: r"identity\s*card|national\s*id\b|personalausweis|carte\s*(?:nationale\s*)?d'?identite|"
    r"documento\s*nacional"
    r"|carta\s*d'?identita|dowod\s*osobisty|dowodu\s*osobistego|identiteitskaart|cedula|bilhete\s*de\s*identidade|id\s*card",
    Document.DRIVING_LICENCE: r"driv(?:ing|er'?s?)\s*licen[cs]e|fuhrerschein|permis\s*de\s*conduire"
    r"|permiso\s*de\s*conduc|"
    r"patente\s*di\s*guida",
    Document.RESIDENCE_PERMIT: r"residence\s*permit|aufenthaltstitel|titre\s*de\s*sejour|permiso\s*de\s*residencia",
    Document.UTILITY_BILL: r"electricity|\bgas\b|water\s*(?:bill|supply|charges)|utility|\bmeter\b|\bkwh\b|tariff"
    r"|stromrechnung|"
    r"facture"
    r"|broadband|council\s*tax|\bbill\b|invoice|supply\s*address|energy",
    Document.BANK_STATEMENT: r"bank\s*statement|account\s*statement|statement\s*of\s*account|\biban\b"
    r"|opening\s*balance|"
    r"closing\s*balance"
    r"|kontoauszug|releve\s*de\s*compte|extracto",
    Document.APPLICATION: r"application\s*(?:form|for)|account\s*opening|onboarding|know\s*your\s*customer"
    r"|new\s*customer|"
    r"source\s*of\s*funds",
    Document.LETTER: r"dear\s|sincerely|faithfully|to\s*whom\s*it\s*may\s*concern|kind\s*regards|i,\s"
    r"|hereby|yours\s*truly|"
    r"best\s*regards",
}
_PATTERNS = {kind: re.compile(words) for kind, words in _WORDS.items()}


def kind(text: str, zone: str = "") -> Document:
    """zone: what a machine-readable zone in it says it is, which settles it."""
    if zone:
        return Document(zone)
    folded = fold(text)
    head = folded[:HEAD_CHARS]
    scores = {
        document: 3 * len(set(pattern.findall(head))) + len(pattern.findall(folded))
        for document, pattern in _PATTERNS.items()
    }
    best = max(scores, key=lambda document: scores[document])
    return best if scores[best] else Document.OTHER
