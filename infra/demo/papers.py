"""Papers that people hand in: passports, cards, licences, bills, statements, letters; as text, PDF or scan.

Enters: a person, a sheet, a seeded generator. Leaves: the paper's bytes, and what it says in truth. Guaranteed:
the same seed gives the same paper; zones for machines have right check digits. The forms are in sheets.py,
sheets_strange.py and sheets_later.py.
"""

from __future__ import annotations

import io
import random
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from anyascii import anyascii

from aios.infra.demo.sheets import Sheet
from aios.processors.reading import countries
from aios.processors.reading.mrz import check_digit

TAB = 38  # characters from one column to the next, in text
POINTS_A_CHAR = 5.4
COLUMN_GAP = 8.0  # points
_MONTHS = {
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
}
_CITIES = ("Norwich", "Porto", "Leipzig", "Dijon", "Odense", "Izmir", "Kisumu", "Cordoba")
_OFFICIALS = ("Judith Harrow", "Martin Oakes", "Petra Lindner", "Claude Ferrand", "Ines Camacho", "Tomas Hronek")
PRINTED = datetime(2026, 11, 1, tzinfo=UTC)  # of every PDF: the same seed gives the same bytes


@dataclass(frozen=True, slots=True)
class Person:
    """given, surname: in Latin letters. country: of the nationality, lives_in: of the address; ISO 3166 alpha-2."""

    given: str
    surname: str
    born: date
    country: str
    lives_in: str
    street: tuple[str, ...]  # the address's lines, without the country
    number: str
    issued: date
    expires: date
    beside: str = ""  # who holds an account or a contract with him

    @property
    def name(self) -> str:
        return f"{self.given} {self.surname}"

    @property
    def address(self) -> str:
        return ", ".join((*self.street, countries.name(self.lives_in)))


@dataclass(frozen=True, slots=True)
class Paper:
    """truth: kind of fact → value."""

    text: str
    truth: Mapping[str, str]


def write(sheet: Sheet, person: Person, on: date, draw: random.Random) -> Paper:
    """The paper as text with | between columns. on: the day of bills and statements."""

    def day(when: date) -> str:
        months = _MONTHS.get(sheet.language, "").split()
        return when.strftime(sheet.dates.replace("%B", months[when.month - 1]) if months else sheet.dates)

    lines = [*person.street, countries.name(person.lives_in)]
    while len(lines) < 3:
        lines.append("")
    if len(lines) > 3:
        lines = [", ".join(lines[:-2]), *lines[-2:]]
    fields = {
        "ISSUER": countries.name(person.country).upper(),
        "COUNTRY": countries.name(person.country).upper(),
        "country": countries.name(person.country),
        "alpha3": alpha_3(person.country),
        "SURNAME": person.surname.upper(),
        "GIVEN": person.given.upper(),
        "surname": person.surname,
        "given": person.given,
        "title": draw.choice(("Mr", "Mrs", "Ms", "Dr")),
        "sex": draw.choice("MF"),
        "born": day(person.born),
        "issued": day(person.issued),
        "expires": day(person.expires),
        "issued_on": day(on),
        "number": person.number,
        "line1": lines[0],
        "line2": lines[1],
        "line3": lines[2],
        "LINE1": lines[0].upper(),
        "LINE2": lines[1].upper(),
        "title_de": "Herr" if int(person.number[-1]) % 2 else "Frau",
        "city": _CITIES[int(person.number[-2:]) % len(_CITIES)],
        "official": _OFFICIALS[int(person.number[-3:]) % len(_OFFICIALS)],  # whose name it is not
        "OFFICIAL": _OFFICIALS[int(person.number[-3:]) % len(_OFFICIALS)].upper(),
        "COUNTRY_LIVES": countries.name(person.lives_in).upper(),
        "personal": person.number[::-1][:7] + "4",
        "joint": person.beside or _OFFICIALS[int(person.number[-4:]) % len(_OFFICIALS)],
        "zone3": zone_3(person),
        "zone1": zone_1(person),
    }
    text = re.sub(r"\n{3,}", "\n\n", textwrap.dedent(sheet.text).format(**fields))
    every = {
        "name": person.name,
        "birth_date": person.born.isoformat(),
        "nationality": person.country,
        "document_number": person.number,
        "expires": person.expires.isoformat(),
        "issued_by": person.country,
        "address": person.address if "country" in sheet.says else ", ".join(person.street),
        "country": person.lives_in,
        "issued_on": on.isoformat(),
    }
    return Paper(text, {kind: every[kind] for kind in sheet.says})


def as_text(paper: Paper) -> str:
    """Columns at tab stops."""
    return "\n".join(
        "".join(cell.ljust(TAB - 2) + "  " for cell in line.split("|")).rstrip() if "|" in line else line
        for line in paper.text.split("\n")
    )


def as_pdf(paper: Paper, *, password: str = "") -> bytes:
    """One page in Helvetica, zones in Courier; letters that Latin-1 lacks are romanised, as offices do."""
    from fpdf import FPDF

    pdf = FPDF(unit="pt", format="A4")
    pdf.set_creation_date(PRINTED)
    pdf.add_page()
    y = 60.0
    for line in paper.text.split("\n"):
        is_zone = "<<" in line
        pdf.set_font("Courier" if is_zone else "Helvetica", size=10 if is_zone else 9.5)
        free = 50.0
        for column, cell in enumerate(line.split("|")):
            x, text = max(50 + column * TAB * POINTS_A_CHAR, free), latin(cell.strip())
            pdf.text(x, y, text)
            free = x + pdf.get_string_width(text) + 2 * COLUMN_GAP
        y += 14.0
    if password:
        pdf.set_encryption(owner_password=password, user_password=password)
    return bytes(pdf.output())


def as_scan(paper: Paper, draw: random.Random) -> bytes:
    """The PDF of a picture of the page: turned a little, grey, with grain."""
    import numpy
    import pypdfium2
    from fpdf import FPDF
    from PIL import Image

    document = pypdfium2.PdfDocument(as_pdf(paper))
    page = document[0].render(scale=150 / 72, grayscale=True).to_pil().convert("L")
    document.close()
    page = page.rotate(draw.uniform(-0.6, 0.6), fillcolor=255, resample=Image.Resampling.BICUBIC)
    grain = numpy.random.default_rng(draw.randrange(1 << 30)).normal(0, 9, (page.height, page.width))
    grey = numpy.clip(numpy.asarray(page, dtype=float) * 0.92 + 6 + grain, 0, 255).astype("uint8")
    picture = io.BytesIO()
    Image.fromarray(grey).save(picture, "JPEG", quality=70)
    pdf = FPDF(unit="pt", format="A4")
    pdf.set_creation_date(PRINTED)
    pdf.add_page()
    pdf.image(io.BytesIO(picture.getvalue()), x=0, y=0, w=pdf.w, h=pdf.h)
    return bytes(pdf.output())


def latin(text: str) -> str:
    """In letters that PDF's own fonts have."""
    return "".join(each if each in "–—’" or ord(each) < 256 else anyascii(each) for each in text).translate(
        {0x2013: "-", 0x2014: "-", 0x2019: "'"}
    )


def alpha_3(alpha_2: str) -> str:
    """As a zone for machines has it; XXX: of a person of unspecified nationality (ICAO 9303, part 3, section 5)."""
    import pycountry

    found = pycountry.countries.get(alpha_2=alpha_2)
    return str(found.alpha_3) if found is not None else "XXX"


def zone_3(person: Person) -> str:
    """The two lines of a passport's zone."""
    country = alpha_3(person.country)
    names = f"P<{country}{_zone_name(person)}".ljust(44, "<")[:44]
    number = person.number[:9].ljust(9, "<")
    born, expires = person.born.strftime("%y%m%d"), person.expires.strftime("%y%m%d")
    rest = f"{number}{check_digit(number)}{country}{born}{check_digit(born)}M{expires}{check_digit(expires)}"
    rest += "<" * 14 + "0"
    whole = rest[:10] + rest[13:20] + rest[21:43]
    return f"{names}\n{rest}{check_digit(whole)}"


def zone_1(person: Person) -> str:
    """The three lines of a card's zone."""
    country = alpha_3(person.country)
    number = person.number[:9].ljust(9, "<")
    born, expires = person.born.strftime("%y%m%d"), person.expires.strftime("%y%m%d")
    first = f"ID{country}{number}{check_digit(number)}".ljust(30, "<")
    rest = f"{born}{check_digit(born)}F{expires}{check_digit(expires)}{country}".ljust(29, "<")
    whole = first[5:30] + rest[:7] + rest[8:15] + rest[18:29]
    return f"{first}\n{rest}{check_digit(whole)}\n{_zone_name(person).ljust(30, '<')[:30]}"


def _zone_name(person: Person) -> str:
    def letters(text: str) -> str:
        return re.sub(r"[^A-Z]+", "<", re.sub(r"['’.]", "", anyascii(text)).upper()).strip("<")

    return f"{letters(person.surname)}<<{letters(person.given)}"
