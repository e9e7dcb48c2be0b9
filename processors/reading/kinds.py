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
    COMPANY_REGISTER = "company_register"
    APPLICATION = "application"
    LETTER = "letter"
    OTHER = "other"


IDENTITY = frozenset({Document.PASSPORT, Document.ID_CARD, Document.DRIVING_LICENCE, Document.RESIDENCE_PERMIT})
HEAD_CHARS = 400  # a title counts more than a mention

_WORDS: Mapping[Document, str] = {
    Document.PASSPORT: (
        r"passport|passeport|reisepass|pasaporte|passaporto|passaporte|paszport|paspoort|pasaport|cestovni\s*pas"
        r"|utlevel|putovnica|\bpass\b|\bpas\b|vegabref|διαβατηριο|паспорт|travel\s*document"
    ),
    Document.ID_CARD: (
        r"identity\s*card|national\s*id\b|personalausweis|carte\s*(?:nationale\s*)?d'?identite"
        r"|documento\s*nacional|carta\s*d(?:i\s*|')?identita|dowod\s*osobisty|dowodu\s*osobistego|identiteitskaart"
        r"|cedula|bilhete\s*de\s*identidade|id[\s-]*card|id[\s-]*kort|identitatskarte|cartao\s*de\s*cidadao"
        r"|citizen\s*card|obcansky\s*prukaz|obciansky\s*preukaz|szemelyazonosito|szemelyi\s*igazolvany"
        r"|carte\s*de\s*identitate|kimlik|osobna\s*iskaznica|osebna\s*izkaznica|henkilokortti|identitetskort"
        r"|nasjonalt\s*id|isikutunnistus|asmens\s*tapatybes|personas\s*apliec|ταυτοτητα|identiteitsbewijs"
        r"|resident\s*identity|idenditas"
    ),
    Document.DRIVING_LICENCE: (
        r"driv(?:ing|er'?s?)\s*licen[cs]e|fuhrerschein|permis\s*de\s*conduire|droits?\s*a\s*conduire"
        r"|permiso\s*de\s*conduc|patente\s*di\s*guida|carta\s*de\s*conducao|rijbewijs|korekort|forerkort|korkort"
        r"|ajokortti|prawo\s*jazdy|ridicsky\s*prukaz|vodicsky\s*preukaz|vezetoi\s*engedely|permis\s*de\s*conducere"
        r"|surucu\s*belgesi|vozacka\s*dozvola|licencia\s*de\s*conduc|водительское"
    ),
    Document.RESIDENCE_PERMIT: (
        r"residence\s*permit|aufenthaltstitel|titre\s*de\s*sejour|permiso\s*de\s*residencia"
        r"|permesso\s*di\s*soggiorno|verblijfs(?:titel|vergunning|document)|opholdstilladelse|oppholdstillatelse"
        r"|uppehallstillstand|oleskelulupa|karta\s*pobytu|povoleni\s*k\s*pobytu|autorizacao\s*de\s*residencia"
        r"|titulo\s*de\s*residencia|permis\s*de\s*sedere|ikamet\s*izni|tartozkodasi|permanent\s*resident\s*card"
    ),
    Document.UTILITY_BILL: (
        r"electric(?:ity)?|\bgas\b|water\s*(?:bill|supply|charges|board)|utilit(?:y|ies)|\bmeter\b|\bkwh\b|tariff"
        r"|stromrechnung|verbrauchsabrechnung|stadtwerke|facture|factura|fattura|bolletta|broadband|council\s*tax"
        r"|\bbill\b|invoice|supply\s*address|energ(?:y|ie|ia|etyka)|faktura|elregning|sahkolasku|eindafrekening"
        r"|jaarafrekening|faturasi|sewerage|agua\b|subscriber|szamla\b"
    ),
    Document.BANK_STATEMENT: (
        r"bank\s*statement|account\s*statement|statement\s*of\s*account|member\s*statement|\biban\b"
        r"|(?:opening|closing|beginning|ending)\s*balance|kontoauszug|kontoutdrag|kontoutskrift|kontoudskrift"
        r"|releve\s*de\s*compte|releve\s*bancaire|extracto|estratto\s*conto|extrato|rekeningafschrift|wyciag"
        r"|vypis\s*z\s*uctu|tiliote|saldo\b|bank\b|extras\s*de\s*cont|hesap\s*ozeti|szamlakivonat"
    ),
    Document.COMPANY_REGISTER: (
        r"registrar\s*of\s*companies|companies\s*(?:house|register)|company\s*(?:number|register)"
        r"|commercial\s*register|handelsregister|registre\s*du\s*commerce|kbis|registro\s*mercantil"
        r"|registro\s*(?:delle\s*)?imprese|registo\s*comercial|kamer\s*van\s*koophandel"
        r"|registrul(?:ui)?\s*comertului|krajowy\s*rejestr|obchodni\s*rejstrik|obchodny\s*register|cvr"
        r"|kaupparekisteri|bolagsverket|cegkivonat|ticaret\s*sicil"
    ),
    Document.APPLICATION: (
        r"application\s*(?:form|for)|account\s*opening|onboarding|know\s*your\s*customer|new\s*customer"
        r"|source\s*of\s*funds"
    ),
    Document.LETTER: (
        r"dear\s|sincerely|faithfully|to\s*whom\s*it\s*may\s*concern|kind\s*regards|i,\s|hereby|yours\s*truly"
        r"|best\s*regards|tenancy|lease\b|melde(?:bescheinigung|bestatigung)|attestation|bescheinigung"
        r"|reference\s*for|versicherungs|certificado\s*de|declara(?:cao|cion|tion)\s|dichiarazione|verklaring"
        r"|mietvertrag|registry"
    ),
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
