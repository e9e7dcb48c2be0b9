"""The words by which forms, cards and bills call what they say. Pure.

In: a cell of a line. Out: which label it begins with, and where its value begins. Guaranteed: accents, case and spaces
do not matter (readers of pictures lose spaces), bilingual labels (`Surname / Nom`) are one, and a word that begins a
sentence is no label: a separator follows it, or the end of the cell, or its value cannot be anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from aios.processors.reading.source import Cell, fold


class Label(StrEnum):
    FULL_NAME = "full_name"
    SURNAME = "surname"
    GIVEN = "given"
    BIRTH_DATE = "birth_date"
    NATIONALITY = "nationality"
    ADDRESS = "address"
    COUNTRY = "country"
    NUMBER = "number"
    EXPIRES = "expires"
    ISSUED_ON = "issued_on"
    ISSUED_BY = "issued_by"
    OTHER = "other"  # a label all the same: what follows is no value of the one before


_PHRASES: dict[Label, str] = {
    Label.FULL_NAME: (
        "full name|name of (?:the )?(?:account )?holder|account holder(?:'?s)?(?: name)?|holder(?:'?s)? name|"
        "customer(?:'?s)? name|client(?:'?s)? name|applicant(?:'?s)?(?: full)? name|name of (?:the )?applicant|"
        "name of (?:the )?(?:customer|client|subscriber|tenant|employee)|subscriber|policyholder|cardholder|"
        "(?:sur)?name, (?:vorname|given names?|first names?)|last name, first name|nachname, vorname|nom, prenoms?|"
        "name and surname|first name and surname|nom et prenoms?|apellidos y nombres?|nombre completo|nombre "
        "y apellidos|"
        "nombre|"
        "vor- und (?:nach|zu)name|vollstandiger name|kontoinhaber(?:in)?|nome completo|nome|titulaire(?: du compte)?|"
        "titular(?: de la cuenta)?|employee|tenant|name|customer|account name|bill to|invoice to|beneficiary|"
        "in the name of"
    ),
    Label.SURNAME: (
        "surname(?:s|\\(s\\))?|last name|family name|nom de famille|nom|nachname|familienname|apellidos?|"
        "cognome|apelidos?|"
        "achternaam|nazwisko|primary identifier|sobrenome|efternamn|etternavn|soyadi|naam|ln"
    ),
    Label.GIVEN: (
        "given names?(?:\\(s\\))?|first names?|forenames?|given and middle names?|prenom(?:s|\\(s\\))?|"
        "vornamen?|nombres|"
        "nome/?i|voornamen?|imiona|imie|secondary identifier|other names?|middle names?|fornamn|fornavn|adi|"
        "voornaam|fn|vorname|jmeno|ime|keresztnev"
    ),
    Label.BIRTH_DATE: (
        "date of birth|birth ?date|d\\.? ?o\\.? ?b\\.?|born(?: on)?|date de naissance|ne(?:\\(e\\)|e)? le|geburtsdatum|"
        "geburtstag|geb\\. ?datum|fecha de nacimiento|data di nascita|data de nascimento|geboortedatum|data urodzenia|"
        "birthday|date and place of birth|place and date of birth|luogo e data di nascita|geboren am|"
        "fodselsdato|fodelsedatum|dogum tarihi"
    ),
    Label.NATIONALITY: (
        "nationality|nationalite|staatsangehorigkeit|nacionalidad|cittadinanza|nacionalidade|nationaliteit|obywatelstwo|"
        "citizenship|citizen of|country of citizenship|uyrugu"
    ),
    Label.ADDRESS: (
        "(?:residential|home|permanent|current|registered|postal|mailing|billing|service|supply|correspondence|property|"
        "customer|full)? ?address(?: of residence)?|address line ?1|place of residence|residence|adresse(?: "
        "du domicile)?|"
        "anschrift|wohnanschrift|wohnort|domicilio|direccion|indirizzo|endereco|morada|adres|domicile|residing at|"
        "supply point|service location|ikametgah"
    ),
    Label.COUNTRY: (
        "country(?: of residence| of domicile)?|pays(?: de residence)?|land|wohnsitzland|pais(?: de "
        "residencia)?|paese|kraj"
    ),
    Label.NUMBER: (
        "dln?(?: no\\.?)?|lic(?: no\\.?)?|nr\\.?|no\\.|n°|document nr\\.?|dokument(?:en)?nummer|"
        "(?:passport|document|identity card|id card|id|card|licen[cs]e|driving licen[cs]e|driver'?s? licen[cs]e|"
        "national id|national identity|residence permit|permit|identification)(?: document)? ?(?:no|nr|"
        "number|num|#)\\.?|"
        "(?:passport|document)(?: id)?|"
        "numero (?:de |del |du )?(?:passeport|pasaporte|documento|document|carte|passaporto)|"
        "(?:pass|ausweis|fuhrerschein|reisepass)(?: ?nummer| ?nr\\.?|-nr\\.?)|paszport nr|no du passeport|"
        "numer (?:dowodu|paszportu|dokumentu)|"
        "passport number|dni|nie|cedula(?: no\\.?)?|n[o°]\\.? (?:de )?(?:passeport|document)"
    ),
    Label.EXPIRES: (
        "date of expiry|expiry(?: date)?|expires(?: on)?|expiration(?: date)?|valid (?:until|to|thru|till)|"
        "date d'?expiration|gultig bis|ablaufdatum|fecha de (?:caducidad|expiracion|vencimiento)|data di "
        "scadenza|scadenza|exp(?:\\.|iry|iration)?|"
        "termin waznosci|data waznosci|"
        "data de validade|valable jusqu'?au|geldig tot|date of expiration"
    ),
    Label.ISSUED_ON: (
        "iss(?:\\.|ue)?|date of issue|issue date|issued(?: on)?|date of issuance|statement date|bill date|invoice date|"
        "billing date|date de delivrance|ausstellungsdatum|datum|date d'?emission|fecha de (?:expedicion|emision)|"
        "data di rilascio|date|dated|statement period|billing period|period"
    ),
    Label.ISSUED_BY: (
        "issuing (?:country|state)(?: or organi[sz]ation)?|country of issue|issuing authority|authority|autorite|"
        "country code|code of issuing state|behorde|issued by|code du pays|pais emisor|code|type/code|state of issue"
    ),
    Label.OTHER: (
        "sex|gender|sexe|geschlecht|sexo|sesso|place of birth|lieu de naissance|geburtsort|lugar de nacimiento|"
        "luogo di nascita|height|taille|grosse|colou?r of eyes|eyes|signature|holder'?s? signature|"
        "unterschrift|firma|type|typ|"
        "personal (?:no|number)\\.?|account (?:no|number)\\.?|account|iban|bic|swift|sort code|customer "
        "(?:no|number|id)\\.?|"
        "invoice (?:no|number)\\.?|meter(?: no\\.?| number)?|amount(?: due)?|total(?: due)?|balance|opening balance|"
        "closing balance|due date|payment due|e-?mail|tel(?:ephone)?\\.?|phone(?: number)?|mobile|occupation|"
        "profession|employer|"
        "currency|branch|reference|our ref\\.?|your ref\\.?|subject|page|purpose|source of funds|income|marital status|"
        "categories|restrictions|endorsements|post ?code|postal code|zip(?: code)?|city|town|state|street|"
        "description|details|"
        "tariff|usage|vat(?: no\\.?)?|tax (?:id|number|no)\\.?|politically exposed(?: person)?|pep|title|"
        "remarks|mother'?s? name|"
        "father'?s? name|emergency contact|advisor|relationship manager|prepared by|contact(?: person)?|"
        "landlord|manager"
    ),
}


def _pattern(phrases: str) -> str:
    return phrases.replace(" ", r"\s*")


_NUMBERED = r"(?:[(\[]?\d{1,2}[a-d]?[.)\]]\)?\s*)?"
_ANY = "|".join(f"(?:{_pattern(phrases)})" for phrases in _PHRASES.values())
_WHICH = tuple((label, re.compile(rf"(?:{_pattern(phrases)})$")) for label, phrases in _PHRASES.items())
_AT_START = re.compile(
    rf"{_NUMBERED}(?P<label>{_ANY})"
    rf"(?P<also>(?:\s*[/|]\s*|\s*\(\s*)(?:{_ANY}|[^:\d/|()]{{1,40}}?)\)?)*"
    r"(?P<sep>\s*(?::|\.{2,}:?|…+|=|\s[-–—]\s)\s*|\s*$)"
)
_HEAD = re.compile(rf"{_NUMBERED}(?P<head>[^:]{{3,80}}?)\s*(?P<sep>:\s*|$)")
HEAD_WORDS_MAX = 5
OTHERS_TEXT = (
    "mother father parent spouse husband wife partner child bank company firm employer branch file "
    "street manager contact"
    " agent beneficiary user domain host product item maiden previous former emergency next kin reference account place"
    " witness notary landlord guarantor director"
)
OTHERS = frozenset(OTHERS_TEXT.split())  # whose name, birth or address it is instead

_TIGHT = re.compile(rf"{_NUMBERED}(?P<label>{_ANY})(?P<sep>\s+)(?=\S)")


@dataclass(frozen=True, slots=True)
class Labelled:
    """value: what follows the label in its cell; empty: it stands elsewhere. certain: a separator says so."""

    label: Label
    value: Cell
    certain: bool


def read(cell: Cell) -> Labelled | None:
    """The label that the cell begins with."""
    folded = fold(cell.text)
    match = _AT_START.match(folded)
    if match is not None:
        return Labelled(which(match["label"]), cell.part(match.end(), len(cell.text)), certain=True)
    headed = _HEAD.match(folded)
    if headed is not None and (label := _of_head(headed["head"], told=headed["sep"] != "")):
        return Labelled(label, cell.part(headed.end(), len(cell.text)), certain=True)
    match = _TIGHT.match(folded)
    if match is None:
        return None
    return Labelled(which(match["label"]), cell.part(match.end(), len(cell.text)), certain=False)


def which(text: str) -> Label:
    """The label that a folded text is. Raises StopIteration where it is none."""
    return next(label for label, pattern in _WHICH if pattern.match(text.strip()))


def _of_head(head: str, *, told: bool) -> Label | None:
    """Of words before a colon or of a whole cell: one of its alternatives is a label, or, before a colon, its last
    words are (`Card valid until:`), and it is not about somebody else.
    """
    ways = [way.strip(" .()") for way in re.split(r"[/|(]", head)]
    if any(len(way.split()) > HEAD_WORDS_MAX for way in ways):
        return None
    if len(ways) > 1:
        for way in ways:
            if (label := _whole(way)) is not None:
                return label
    words = ways[0].split()
    if not told or OTHERS.intersection(word.removesuffix("'s") for word in words):
        return None
    for first in range(1, len(words)):
        if (label := _whole(" ".join(words[first:]))) is not None:
            return label
    return None


def _whole(text: str) -> Label | None:
    return next((label for label, pattern in _WHICH if pattern.match(text)), None)
