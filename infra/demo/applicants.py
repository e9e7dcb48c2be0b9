"""Applications as they come: real names, invented lives, with what ought to become of each.

Enters: how many, a seed. Leaves: applications with documents, and for each its truth. Guaranteed: the same seed gives
the same applications. Names are real: of people at large (processors/screening/ordinary, by language) and of the OFAC
list (processors/screening/lists), as people get them wrong; birth dates, addresses and numbers are drawn, but for
people of the list, who keep the list's own birth date and country where it says one.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from typing import Any

from anyascii import anyascii

from aios.infra.demo import papers
from aios.infra.demo.papers import Paper, Person
from aios.infra.demo.sheets import SHEETS, Sheet
from aios.infra.demo.sheets_later import LATER
from aios.infra.demo.sheets_strange import STRANGE
from aios.processors.reading import countries
from aios.processors.screening import list_files, perturbed
from aios.processors.screening.entries import Entry, Kind

LIST = "ofac_sdn"
SETS = "abcdefghijk"  # of forms
WITH_JOINT = "jk"  # of these, those in which somebody may stand beside the applicant
EVERY_SHEET = SHEETS + STRANGE + LATER
ON = date(2026, 11, 20)  # the day of every application
SCANNED_SHARE = 0.12  # of the documents that are no text
TEXT_SHARE = 0.4
IDENTITY = ("passport", "id_card", "driving_licence", "residence_permit")

WITHOUT_VOWELS = ("ar", "fa")  # as these are written; no table knows how an office would write them in Latin letters

_COUNTRY = {
    "ar": "EG", "ar-ae": "AE", "ar-dz": "DZ", "ar-eg": "EG", "ar-jo": "JO", "ar-kw": "KW", "ar-ma": "MA", "ar-om": "OM",
    "ar-qa": "QA", "ar-sa": "SA", "ar-sy": "LB", "ar-tn": "TN", "ar-ye": "YE", "az": "AZ", "cs": "CZ", "da": "DK",
    "de": "DE", "de-at": "AT", "de-ch": "CH", "el": "GR", "en": "US", "en-au": "AU", "en-ca": "CA", "en-gb": "GB",
    "es": "ES", "es-mx": "MX", "et": "EE", "fa": "TJ", "fi": "FI", "fr": "FR", "hr": "HR", "hu": "HU", "is": "IS",
    "it": "IT", "ja": "JP", "kk": "KZ", "ko": "KR", "nl": "NL", "no": "NO", "pl": "PL", "pt": "PT", "pt-br": "BR",
    "ru": "KZ", "sk": "SK", "sv": "SE", "tr": "TR", "uk": "UA", "zh": "CN",
}  # fmt: skip
_STREETS = (
    "{n} High Street|Cork T12 {n}XY",
    "{n} Rose Gardens|London E1 {d}AB",
    "Hauptstraße {n}|{p} Berlin",
    "{n} rue de la Gare|{p} Lyon",
    "Calle Mayor {n}, 3B|{p} Madrid",
    "Via Roma {n}|{p} Milano",
    "ul. Lipowa {n}/7|30-{t} Kraków",
    "{n} Oak Avenue|Springfield, IL {p}",
    "Kerkstraat {n}|1017 GB Amsterdam",
    "Flat {n}, Marina Tower|Al Nahda",
    "{n} Nguyen Hue Road|District 1",
    "Storgatan {n}|111 {t} Stockholm",
    "{n} Abay Avenue|Almaty 050{t}",
)


@dataclass(frozen=True, slots=True)
class Handed:
    """A document of an application. damage: `encrypted` or `broken`, empty: none."""

    file: str
    paper: Paper
    form: str  # text, pdf or scan
    content: bytes
    damage: str = ""

    def plain(self) -> dict[str, str]:
        """As the contract has it, without a claim check."""
        is_text = self.form == "text"
        return {
            "name": self.file,
            "media_type": "text/plain" if is_text else "application/pdf",
            "text": self.content.decode() if is_text else "",
            "content": "" if is_text else base64.b64encode(self.content).decode(),
            "reference": "",
        }


@dataclass(frozen=True, slots=True)
class Application:
    """kind: what was drawn. expected: the outcomes that are right: `approved`, `returned`, or `person`."""

    key: str
    kind: str
    expected: tuple[str, ...]
    person: Person
    fields: Mapping[str, str]
    documents: tuple[Handed, ...]
    entry: str = ""  # of the list, where the applicant is on it
    change: str = ""  # how the listed name was got wrong

    def plain(self) -> dict[str, Any]:
        """As kyc.application.submitted.v1 has it."""
        return {**self.fields, "documents": [document.plain() for document in self.documents]}


def drawn(count: int, seed: int, half: str, *, scans: bool = True) -> list[Application]:
    """half: the set of sheets, one of SETS."""
    draw = random.Random(f"applications {seed} {half}")  # noqa: S311 - the same for the same seed
    weights = [kind.weight if half in kind.sets else 0.0 for kind in _KINDS.values()]
    kinds = draw.choices(list(_KINDS), weights=weights, k=count)
    return [_Drawing(draw, half, scans).application(f"{half}-{number:04}", kind) for number, kind in enumerate(kinds)]


@dataclass(frozen=True, slots=True)
class _Kind:
    """sets: of forms in which it is drawn."""

    weight: float
    expected: tuple[str, ...]
    sets: str = SETS


_KINDS = {
    "ordinary": _Kind(62, ("approved",)),
    "ordinary, own script": _Kind(6, ("approved",)),
    "on the list": _Kind(12, ("person",)),
    "another's passport": _Kind(3, ("person",)),
    "another birth date": _Kind(3, ("person",)),
    "expired": _Kind(3, ("person",)),
    "watched country": _Kind(3, ("person",)),
    "unreadable": _Kind(3, ("person",)),
    "no identity document": _Kind(3, ("returned",)),
    "no documents": _Kind(2, ("returned",)),
    "beside another": _Kind(10, ("approved",), sets=WITH_JOINT),
    "beside one of the list": _Kind(10, ("person",), sets=WITH_JOINT),
}

TO_BE_SEEN = frozenset(name for name, kind in _KINDS.items() if "person" in kind.expected)


@cache
def _listed() -> tuple[Entry, ...]:
    """People of the list whose birth day it says."""
    every = list_files.shipped(LIST).entries
    return tuple(e for e in every if e.kind is Kind.INDIVIDUAL and any(born.exact for born in e.born))


@dataclass(frozen=True, slots=True)
class _Drawing:
    draw: random.Random
    half: str
    scans: bool

    def application(self, key: str, kind: str) -> Application:
        if kind == "on the list":
            return self._of_list(key, kind)
        own_script = kind == "ordinary, own script"
        person, written = self._person(own_script=own_script)
        if kind == "watched country":
            person = replace(person, country=self.draw.choice(("IR", "KP", "MM", "SY", "CU")))
        shown = person
        if kind == "another's passport":
            other, _ = self._person(own_script=False)
            shown = replace(person, given=other.given, surname=other.surname)
        if kind == "another birth date":
            shown = replace(person, born=person.born - timedelta(days=self.draw.randrange(400, 6000)))
        if kind == "expired":
            shown = replace(person, expires=ON - timedelta(days=self.draw.randrange(30, 900)))
        if kind in ("beside another", "beside one of the list"):
            shown = replace(person, beside=self._beside(kind))
        documents = self._documents(kind, shown, person)
        return Application(key, kind, _KINDS[kind].expected, person, self._fields(person, written), documents)

    def _beside(self, kind: str) -> str:
        """Who holds an account or a contract with the applicant."""
        if kind == "beside another":
            return self._person(own_script=False)[0].name
        while True:
            surname, _, given = anyascii(self.draw.choice(_listed()).names[0]).partition(",")
            if given.strip():
                return f"{given.strip()} {surname}".title()

    def _of_list(self, key: str, kind: str) -> Application:
        while True:
            entry = self.draw.choice(_listed())
            change = self.draw.choice([*perturbed.CHANGES, "as listed"])
            said = entry.names[0] if change == "as listed" else None
            made = said or perturbed.CHANGES[change](entry, self.draw.choice(entry.names), self.draw)
            if made and len(made.split()) > 1:
                break
        surname, _, given = entry.names[0].partition(",")
        person, _ = self._person(own_script=False)
        born = next(born.first for born in entry.born if born.exact)
        country = next((code for code in map(countries.code, entry.countries) if code), person.country)
        given, surname = anyascii(given.strip() or surname), anyascii(surname)
        person = replace(person, given=given.title(), surname=surname.title(), born=born, country=country)
        written = made if "," not in made else " ".join(reversed([part.strip() for part in made.split(",", 1)]))
        documents = self._documents(kind, _named(person, written), person)
        fields = self._fields(person, written)
        return Application(key, kind, _KINDS[kind].expected, person, fields, documents, entry.number, change)

    def _person(self, *, own_script: bool) -> tuple[Person, str]:
        """And the name as the application has it."""
        names = perturbed.people()
        foreign = ("el", "ja", "kk", "ko", "ru", "uk", "zh")
        bases = (
            ("el", "kk", "ru", "uk") if own_script else tuple(each for each in names if each[:2] not in WITHOUT_VOWELS)
        )
        able = [each for each in sorted(names) if each in bases]
        language = self.draw.choice(able)
        which = SETS.index(self.half) % 2
        given, surname = (self._name(names[language][part], which) for part in ("given", "surnames"))
        written = f"{given} {surname}" if own_script or language.split("-")[0] not in foreign else ""
        given, surname = (anyascii(each) if language.split("-")[0] in foreign else each for each in (given, surname))
        given, surname = (" ".join(re.sub(r"[^\w' -]", "", each).split()).title() for each in (given, surname))
        person = Person(
            given=given,
            surname=surname,
            born=date(1945, 1, 1) + timedelta(days=self.draw.randrange(22_000)),
            country=_COUNTRY[language],
            lives_in=_COUNTRY[language],
            street=self._street(),
            number="".join(self.draw.choices("ABCDEFGHJKLMNPRTUVWXYZ", k=2)) + f"{self.draw.randrange(10**7):07}",
            issued=date(2020, 1, 1) + timedelta(days=self.draw.randrange(1500)),
            expires=date(2027, 1, 1) + timedelta(days=self.draw.randrange(2500)),
        )
        return person, written or person.name

    def _name(self, every: Sequence[str], which: int) -> str:
        mine = [name for index, name in enumerate(every) if index % 2 == which and len(name) > 1]
        return self.draw.choice(mine or list(every))

    def _street(self) -> tuple[str, ...]:
        number, digit = self.draw.randrange(1, 180), self.draw.randrange(1, 10)
        code, three = self.draw.randrange(10_000, 99_999), self.draw.randrange(100, 999)
        text = self.draw.choice(_STREETS).format(n=number, d=digit, p=code, t=three)
        return tuple(text.split("|"))

    def _fields(self, person: Person, written: str) -> dict[str, str]:
        """As people fill forms in: dates and countries in their own way."""
        born = person.born.strftime(self.draw.choice(("%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%Y-%m-%d")))
        country = self.draw.choice((person.lives_in, countries.name(person.lives_in)))
        return {"applicant_name": written, "birth_date": born, "country": country, "address": person.address}

    def _documents(self, kind: str, shown: Person, person: Person) -> tuple[Handed, ...]:
        if kind == "no documents":
            return ()
        damage = self.draw.choice(("encrypted", "broken")) if kind == "unreadable" else ""
        found = []
        if kind != "no identity document":
            told: tuple[str, ...] = (
                ("nationality",) if kind == "watched country" else ()
            )  # what no paper says nobody can know
            told += ("birth_date",) if kind == "another birth date" else ("expires",) if kind == "expired" else ()
            sheet = self._sheet(lambda sheet: sheet.paper in IDENTITY and set(told) <= set(sheet.says))
            found.append(self._handed(sheet, shown, damage))
        proof = person if kind in ("another's passport", "another birth date") else shown

        def is_proof(sheet: Sheet) -> bool:
            return "address" in sheet.says and sheet.paper not in IDENTITY and sheet.is_joint == bool(proof.beside)

        found.append(self._handed(self._sheet(is_proof), proof))
        return tuple(found)

    def _sheet(self, wanted: Callable[[Sheet], bool]) -> Sheet:
        return self.draw.choice([sheet for sheet in EVERY_SHEET if sheet.half == self.half and wanted(sheet)])

    def _handed(self, sheet: Sheet, person: Person, damage: str = "") -> Handed:
        paper = papers.write(sheet, person, ON - timedelta(days=self.draw.randrange(5, 60)), self.draw)
        form = "pdf"
        if not damage and self.draw.random() < TEXT_SHARE:
            form = "text"
        elif not damage and self.draw.random() < SCANNED_SHARE and self.scans:
            form = "scan"
        if form == "text":
            content = papers.as_text(paper).encode()
        elif form == "scan":
            content = papers.as_scan(paper, self.draw)
        else:
            content = papers.as_pdf(paper, password="secret" if damage == "encrypted" else "")
        if damage == "broken":
            content = content[: len(content) // 3]
        return Handed(f"{sheet.paper}.{'txt' if form == 'text' else 'pdf'}", paper, form, content, damage)


def _named(person: Person, written: str) -> Person:
    """With given names and surname of a name as written, for a document that carries it so."""
    parts = anyascii(written).title().split()
    return replace(person, given=" ".join(parts[:-1]), surname=parts[-1])
