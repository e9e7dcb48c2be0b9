"""Reading documents: facts with their places, dates, zones, countries, agreement with an application, risk."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from anyascii import anyascii
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.infra.demo import applicants, papers
from aios.infra.demo.sheets import SHEETS, Sheet
from aios.processors.connectors.documents import answer
from aios.processors.reading import countries, dates, labels, mrz
from aios.processors.reading.compare import compare, names_agree
from aios.processors.reading.compared import Applicant, Comparison, DocumentRead, Finding, Said
from aios.processors.reading.extract import extract
from aios.processors.reading.fact import FACTS_MAX, By, Kind
from aios.processors.reading.kinds import IDENTITY, Document
from aios.processors.reading.layout import Piece, lay_out
from aios.processors.reading.lexicon import Label, label_of
from aios.processors.reading.problem import SENTENCES, Problem
from aios.processors.reading.reader import Document as Opened
from aios.processors.reading.reader import of_text
from aios.processors.reading.risk import SCORE_MAX, Screened, weigh
from aios.processors.reading.source import Cell, Page, fold
from aios.processors.reading.stated import Stated

DAYS = st.dates(min_value=date(1930, 1, 1), max_value=date(2029, 12, 31))
# The specimen of ICAO 9303, part 4.
SPECIMEN = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"


def key(kind: str, value: str) -> object:
    return sorted(re.findall(r"\w+", anyascii(value).lower())) if kind in ("name", "address") else value


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet="aB1 :.,/<\t-Née Date of birth Name 1980", max_size=60), max_size=25))
def test_whatever_the_text_every_fact_stands_at_its_place(lines: list[str]) -> None:
    """Any text: no exception, a bounded number of facts, and each quote is what the page has at its places."""
    page = Page(1, "\n".join(lines))
    found = extract([page]).facts
    assert len(found) <= FACTS_MAX
    for fact in found:
        quoted = " … ".join(page.text[place.start : place.end] for place in fact.places)
        assert quoted.startswith(fact.quote)
        assert all(page.text[: place.start].count("\n") + 1 == place.line for place in fact.places)


@pytest.mark.parametrize("number", [number for number, sheet in enumerate(SHEETS) if sheet.half == "a"])
def test_forms_that_reading_knows_are_read_whole(number: int) -> None:
    """Every sheet of the half that reading was developed on, with people of ten languages: every fact, none wrong."""
    sheet = SHEETS[number]
    for application in applicants.drawn(10, number, "a", scans=False):
        paper = papers.write(sheet, application.person, applicants.ON, random.Random(number))
        read = extract(of_text(papers.as_text(paper).encode()).pages)
        surest: dict[str, str] = {}
        for fact in read.facts:
            surest.setdefault(fact.kind, fact.value)
        for kind, value in paper.truth.items():
            assert key(kind, surest.get(kind, "")) == key(kind, value), (kind, paper.text)
        assert read.kind == sheet.paper


def load_policy() -> dict[str, Any]:
    text = (Path(papers.__file__).parents[2] / "processors" / "workflows" / "kyc.review.yaml").read_text("utf-8")
    policy: dict[str, Any] = yaml.safe_load(text)["policy"]
    return policy


@cache
def drawn(half: str) -> list[applicants.Application]:
    return applicants.drawn(6, 4, half, scans=False)


def stated(application: applicants.Application) -> Stated:
    fields = application.fields
    return Stated(fields["applicant_name"], fields["birth_date"], fields["address"])


@pytest.mark.parametrize("sheet", [sheet for sheet in applicants.EVERY_SHEET if sheet.half in "ef"])
def test_forms_of_other_wording_are_read_whole(sheet: Sheet) -> None:
    """With what the application states: nothing wrong, nothing missed, and the kind of document."""
    for application in drawn(sheet.half):
        if application.kind != "ordinary":
            continue
        paper = papers.write(sheet, application.person, applicants.ON, random.Random(4))
        read = extract(of_text(papers.as_text(paper).encode()).pages, stated(application))
        surest: dict[str, str] = {}
        for fact in read.facts:
            surest.setdefault(fact.kind, fact.value)
        for kind, value in paper.truth.items():
            assert key(kind, surest.get(kind, "")) == key(kind, value), (kind, paper.text)
        assert (read.kind in IDENTITY) == (sheet.paper in IDENTITY)


@pytest.mark.parametrize("sheet", applicants.EVERY_SHEET)
def test_on_a_paper_of_somebody_else_nothing_stated_is_found(sheet: Sheet) -> None:
    """On every form: no name and no birth date of the applicant, and no expiry to come of a paper that has expired."""
    for application, other in pairwise(drawn(sheet.half)):
        expired = replace(other.person, expires=date(2024, 5, 6), issued=date(2014, 5, 6))
        paper = papers.write(sheet, expired, applicants.ON, random.Random(9))
        found = extract(of_text(papers.as_text(paper).encode()).pages, stated(application)).facts
        assert not [fact for fact in found if fact.by is By.STATED and fact.kind in (Kind.NAME, Kind.BIRTH_DATE)]
        if sheet.paper in IDENTITY:
            assert all(fact.value <= "2026-11-20" for fact in found if fact.kind is Kind.EXPIRES)


POLICY = load_policy()
IDENTITY_SHEETS = [sheet for sheet in applicants.EVERY_SHEET if sheet.paper in IDENTITY]
ADDED = {  # to the paper of the applicant, which has expired, or of somebody else
    "later foreign date": "\n\nNext review 01 MAR 2030\n",
    "birth date twice": "\n\n{surname} {given} {day:%d %b %y}\n\nqwx {day:%d %b %y}\n",
    "notary": "\n\nCertified true copy.\nMy commission expires December 31, 2031\n",
}


def read_paper(applicant: Applicant, text: str, number: int = 0) -> DocumentRead:
    """With what the application states."""
    said = Stated(applicant.name, applicant.birth_date, applicant.address)
    pages = tuple(Page(page, one) for page, one in enumerate(text.split("\f"), start=1))
    return answer(f"{number}.txt", b"x", Opened("text/plain", pages), extract(pages, said))


def is_approved(applicant: Applicant, *texts: str) -> bool:
    """As the workflow's gate decides, everybody screened clear."""
    read = [read_paper(applicant, text, number) for number, text in enumerate(texts)]
    found = compare(applicant, read, "2026-11-28")
    risk = weigh(found, [Screened(verdict="clear") for _ in found.subjects], POLICY["points"], ["IR"])
    return risk.score <= POLICY["alone_max"] and found.identity and not found.unread


def applied(application: applicants.Application) -> Applicant:
    fields = application.fields
    return Applicant(name=fields["applicant_name"], birth_date=fields["birth_date"], address=fields["address"])


@pytest.mark.parametrize("sheet", IDENTITY_SHEETS)
@pytest.mark.parametrize("added", ADDED)
def test_an_expired_paper_is_approved_by_nothing_that_stands_beneath(sheet: Sheet, added: str) -> None:
    """On every form: a later day of something else, the birth date again with two digits, a notary's commission."""
    for application in drawn(sheet.half)[:3]:
        born = application.person.born.replace(year=1945, day=13)
        person = replace(application.person, born=born, expires=date(2024, 5, 6), issued=date(2014, 5, 6))
        text = papers.as_text(papers.write(sheet, person, applicants.ON, random.Random(9)))
        beneath = ADDED[added].format(surname=person.surname, given=person.given, day=born)
        applicant = Applicant(name=person.name, birth_date=born.isoformat(), address=person.address)
        assert not is_approved(applicant, text + beneath), text + beneath


@pytest.mark.parametrize("sheet", IDENTITY_SHEETS)
@pytest.mark.parametrize("whose", ["Father's name", "Sponsor", "Witness"])
@pytest.mark.parametrize("is_beneath", [True, False])
def test_the_applicant_as_somebody_elses_father_is_not_approved(sheet: Sheet, whose: str, is_beneath: bool) -> None:
    """On every form of a person of the same age: the applicant's name and birth date under a label of somebody else."""
    for application, other in list(pairwise(drawn(sheet.half)))[:3]:
        person = replace(other.person, expires=date(2031, 5, 6), issued=date(2021, 5, 6), born=application.person.born)
        text = papers.as_text(papers.write(sheet, person, applicants.ON, random.Random(9)))
        applicant = applied(application)
        line = f"{whose}\n{applicant.name}"
        text = f"{text}\n\n{line}\n" if is_beneath else f"{line}\n\n{text}"
        assert not [
            fact for fact in extract([Page(1, text)], stated(application)).facts
            if fact.by is By.STATED and fact.kind is Kind.NAME
        ], text  # fmt: skip
        assert not is_approved(applicant, text), text


JOHN = Applicant(name="John Smith", birth_date="1980-05-03", country="IE", address="12 High Street, Cork, Ireland")
OF_JOHN = "PASSPORT\nSurname: SMITH\nGiven names: JOHN\nDate of birth: 03 MAY 1980\n"
BILL = "ELECTRICITY BILL\nCustomer: John Smith\nSupply address: 12 High Street, Cork, Ireland\nDate: 03 October 2026"
TWELVE = "France Germany Spain Italy Poland Ireland Austria Belgium Denmark Sweden Norway Finland"


@pytest.mark.parametrize(
    "passport",
    [
        OF_JOHN + "Date of expiry: 12 JAN 2019\fVisa\nValid until: 12 JAN 2029\nvalid until 12 JAN 2029",
        OF_JOHN + "Expires: 01/12/2026",
        "UNITED STATES\n" + OF_JOHN + "Card expires: 01 12 2026",
        "UNITED STATES\n" + OF_JOHN + "Expires: 01-12-2026",
        OF_JOHN.replace("03 MAY", "03/05") + "Date of expiry: 1 JAN 2030\fDate of birth: 07 JUL 1990",
        "Passport details\nOur employee Mr John Smith, born 3 May 1980, holds passport AB1234567.\n"
        "His contract runs to 31 December 2030.",
        "IDENTITY CARD\nJOHN BROWN, MARY SMITH\nDate of birth: 03 MAY 1980\nDate of expiry: 01 JAN 2030",
        "IDENTITY CARD\nJOHN    BROWN\nMARY    SMITH\nDate of birth: 03 MAY 1980\nDate of expiry: 01 JAN 2030",
        "IDENTITY CARD\nJOHN and SMITH\nDate of birth: 03 MAY 1980\nDate of expiry: 01 JAN 2030",
        "IDENTITY CARD\nSurname: PETROV\nQwx: IVAN\nJOHN SMITH\nBorn: 03 MAY 1980\nDate of expiry: 01 JAN 2030",
        f"{TWELVE}\n{OF_JOHN}Date of expiry: 12 JAN 2029\nTehran Iran",
        OF_JOHN + "Date of expiry: 12 JAN 2029" + "".join(f"\fName: Aaa{letter} Bbb{letter}" for letter in "abcdef"),
    ],
)
def test_what_one_paper_says_of_two_people_or_two_days_is_a_persons_matter(passport: str) -> None:
    """A second expiry, a day with two readings, a letter, two names, one name of several labels, what limits cut."""
    assert is_approved(JOHN, OF_JOHN + "Date of expiry: 12 JAN 2029", BILL)
    assert not is_approved(JOHN, passport, BILL)


def test_a_bill_to_somebody_else_that_mentions_the_applicant_is_not_his() -> None:
    """The name above the address comes first, and is screened."""
    bill = "ELECTRICITY BILL\nMs Maria Jones\n12 High Street\nCork\nIreland\n\nYour neighbour John Smith has called.\n"
    assert not is_approved(JOHN, OF_JOHN + "Date of expiry: 12 JAN 2029", bill)
    assert is_approved(JOHN, OF_JOHN + "Date of expiry: 12 JAN 2029", bill.replace("Maria Jones", "John Smith"))


@pytest.mark.parametrize(
    "bill",
    [
        "Octopus Northern\n12 Queen Street\nLeeds LS1 2AB\n\nELECTRICITY BILL\nCustomer John Smith\nAt {address}\n",
        "Anna Green Estates\n5 Main Street\nDublin\n\nTENANCY AGREEMENT\nbetween us and John\u00a0Smith, {address}\n",
    ],
)
def test_the_sender_of_a_bill_is_not_whom_it_is_about(bill: str) -> None:
    """His block holds another address than the one that is told."""
    found = read_paper(JOHN, bill.format(address=JOHN.address))
    assert found.name == JOHN.name


def test_an_identity_document_has_no_envelope() -> None:
    card = "REPUBBLICA ITALIANA\nCARTA DI IDENTITA\nIDENTITY CARD 12\nMario Rossi born in Roma on 12.03.1985\n"
    mario = Applicant(name="Mario Rossi", birth_date="1985-03-12", address="Via Roma 1, Roma")
    assert read_paper(mario, card).name == "Mario Rossi"


@given(
    DAYS,
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%B %d, %Y", "%d%b%Y", "%Y/%m/%d", "%d-%b-%Y"]),
)
def test_a_date_is_read_as_it_was_written(day: date, form: str) -> None:
    """In every unambiguous form, alone or in a sentence, with its place."""
    text = f"born on {day.strftime(form)}, they say"
    found = dates.first_in(text)
    assert found is not None
    assert (found.iso, found.other) == (day.isoformat(), "")
    assert text[found.start : found.end] == day.strftime(form)


@given(DAYS)
def test_a_date_that_may_be_another_says_so(day: date) -> None:
    """03/04/1985 carries both readings; 25/04/1985 has one."""
    found = dates.first_in(day.strftime("%d/%m/%Y"))
    assert found is not None
    assert found.iso == day.isoformat()
    assert bool(found.other) == (day.day <= 12 and day.day != day.month)


@pytest.mark.parametrize("text", ["31.02.1980", "13.13.1980", "1899-01-01", "00 May 1980", "12345.6.1980", ""])
def test_what_is_no_date_is_none(text: str) -> None:
    """Days that the calendar does not have, and years before any document, are not read."""
    assert dates.all_in(text) == []


def test_the_specimen_of_icao_is_read() -> None:
    """Names, number, birth, expiry and nationality of the standard's own example, from its check digits on."""
    found = mrz.find([Cell(1, line, 0, 0, text) for line, text in enumerate(SPECIMEN.split("\n"), 1)])
    assert found is not None
    assert (found.given, found.surname, found.number) == ("ANNA MARIA", "ERIKSSON", "L898902C3")
    assert (found.born, found.expires, found.nationality) == ("1974-08-12", "2012-04-15", "UTO")


@given(st.integers(0, 8), st.sampled_from("0123456789"))
def test_a_wrong_character_in_a_zone_is_not_believed(at: int, other: str) -> None:
    """Another digit in the number: it is not told, what other check digits cover is."""
    first, second = SPECIMEN.split("\n")
    if second[at] == other or not second[at].isdigit():
        return
    broken = second[:at] + other + second[at + 1 :]
    found = mrz.find([Cell(1, 1, 0, 0, first), Cell(1, 2, 0, 0, broken)])
    assert found is not None
    assert found.number == ""
    assert found.born == "1974-08-12"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("RUSSIAN FEDERATION", "RU"),
        ("Iranian", "IR"),
        ("GBR", "GB"),
        ("Republic of Korea", "KR"),
        ("D", "DE"),
        ("Côte d’Ivoire", "CI"),
        ("nowhere", ""),
        ("", ""),
    ],
)
def test_countries_are_known_by_name_code_and_people(text: str, code: str) -> None:
    """As documents write them; a word that is no country is none."""
    assert countries.code(text) == code


def test_the_country_of_an_address_is_its_last_words() -> None:
    """A code of two letters behind a town is a state or a county as often as a country."""
    assert countries.at_end("12 High Street, Cork, Ireland") == "IE"
    assert countries.at_end("1 Oak Avenue, Sacramento, CA 90210") == ""


@given(st.text(max_size=80))
def test_folding_keeps_every_place(text: str) -> None:
    """A place in the folded text is the place in the text."""
    assert len(fold(text)) == len(text)


@pytest.mark.parametrize("text", ["Name changes must be reported", "Names of our staff", "Address book", "Date palms"])
def test_a_sentence_is_no_label(text: str) -> None:
    """What begins like a label and goes on as a sentence gives no fact."""
    assert extract([Page(1, text)]).facts == ()
    assert labels.read(Cell(1, 1, 0, 0, "Name: x")) is not None


def test_columns_of_a_paper_stay_columns() -> None:
    """Pieces on one baseline are a line, far ones columns, and a gap between lines is an empty line."""
    pieces = [Piece("Name", 50, 80, 100, 10), Piece("Born", 250, 280, 101, 10), Piece("Ann", 50, 70, 115, 10)]
    pieces += [Piece("1980", 250, 280, 115, 10), Piece("Bell", 50, 70, 160, 10)]
    lines = lay_out(pieces).split("\n")
    assert [line.split() for line in lines] == [["Name", "Born"], ["Ann", "1980"], [], ["Bell"]]
    assert lines[0].index("Born") == lines[1].index("1980")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("Ann Marie Bell", "BELL ANN MARIE", Said.AGREES),
        ("Иван Кузнецов", "Ivan Sergeevich KUZNETSOV", Said.AGREES),
        ("Ann M. Bell", "Ann Marie Bell", Said.AGREES),
        ("Mohammed Al-Hakim", "Muhammad al Hakim", Said.CLOSE),
        ("Ann Sheridan", "Ann Sherodan", Said.CLOSE),
        ("Ann Bell", "John Smith", Said.DIFFERS),
        ("Ann Bell", "Ann Smith", Said.DIFFERS),
        ("", "Ann Bell", Said.UNKNOWN),
    ],
)
def test_names_agree_over_scripts_orders_and_initials(one: str, other: str, said: Said) -> None:
    """And not over another surname; either way round."""
    assert names_agree(one, other) is said
    assert names_agree(other, one) is said


def read_of(
    name: str, *, kind: Document = Document.PASSPORT, text: str = "", problem: Problem = Problem.NONE
) -> DocumentRead:
    facts = () if problem else extract([Page(1, text)]).facts
    surest = {fact.kind: fact.value for fact in reversed(facts)}
    return DocumentRead(
        file=name, kind=kind, media_type="text/plain", sha256="", pages=1, scanned=0, facts=facts, problem=problem,
        says=SENTENCES[problem], name=surest.get(Kind.NAME, ""), birth_date=surest.get(Kind.BIRTH_DATE, ""),
        nationality=surest.get(Kind.NATIONALITY, ""), country=surest.get(Kind.COUNTRY, ""),
        address=surest.get(Kind.ADDRESS, ""), document_number="", expires=surest.get(Kind.EXPIRES, ""),
    )  # fmt: skip


PASSPORT = "Surname: BELL\nGiven names: ANN\nDate of birth: 3 May 1980\nDate of expiry: {expires}"
ANN = Applicant(name="Ann Bell", birth_date="1980-05-03", country="Ireland", address="12 High Street, Cork, Ireland")


def codes(found: Comparison) -> set[str]:
    return {finding.code for finding in found.findings}


def test_what_documents_say_is_held_against_the_application() -> None:
    """Agreement is agreement; another name, birth date, address and an expired card are findings with their file."""
    good = read_of("p.txt", text=PASSPORT.format(expires="1 Jan 2030"))
    bill = read_of("b.txt", kind=Document.UTILITY_BILL, text="Ann Bell\n12 High Street\nCork\nIreland")
    assert codes(compare(ANN, [good, bill], "2026-11-20")) == set()
    old = read_of("p.txt", text=PASSPORT.format(expires="1 Jan 2020"))
    assert codes(compare(ANN, [old, bill], "2026-11-20")) == {"expired"}
    strange = read_of(
        "p.txt", text=PASSPORT.format(expires="1 Jan 2030").replace("BELL", "SMITH").replace("1980", "1979")
    )
    moved = read_of("b.txt", kind=Document.UTILITY_BILL, text="Ann Bell\n7 Low Road\nDublin\nIreland")
    found = compare(ANN, [strange, moved], "2026-11-20")
    assert codes(found) == {"name_differs", "birth_date_differs", "address_differs"}
    assert (found.name, found.birth_date, found.address) == (Said.DIFFERS, Said.DIFFERS, Said.DIFFERS)
    assert [subject.name for subject in found.subjects] == ["Ann Bell", "Ann Bell", "ANN SMITH"]


def test_a_document_that_cannot_be_read_is_a_finding() -> None:
    """And no identity document, however it is named."""
    found = compare(ANN, [read_of("p.pdf", problem=Problem.ENCRYPTED)], "2026-11-20")
    assert codes(found) == {"document_unread", "no_identity_document", "no_proof_of_address"}
    assert found.unread == 1
    assert "password" in found.findings[0].says


def test_an_unknown_document_may_be_the_one_that_is_missing() -> None:
    """Beside one that nobody recognised, an application is not said to lack an identity document."""
    unknown = read_of("x.txt", kind=Document.OTHER, text="Ann Bell")
    assert "document_unknown" in codes(compare(ANN, [unknown], "2026-11-20"))
    assert "no_identity_document" not in codes(compare(ANN, [unknown], "2026-11-20"))


@given(
    st.lists(st.sampled_from(["expired", "name_differs", "unknown_code"]), max_size=20),
    st.sampled_from(["clear", "ambiguous", "match"]),
)
def test_points_are_given_once_for_a_code_and_bounded(found: list[str], verdict: str) -> None:
    """However many findings: each code's points once, the sum within 0 to 100, every finding told."""
    points = {"expired": 30, "name_differs": 35, "screening_match": 70, "screening_ambiguous": 35}
    comparison = compare(ANN, [], "2026-11-20").model_copy(
        update={"findings": tuple(Finding(code=code, says=code) for code in found)}
    )
    risk = weigh(comparison, [Screened.model_validate({"verdict": verdict})], points, ["IR"])
    wanted = sum(points.get(code, 0) for code in set(found)) + points.get(f"screening_{verdict}", 0)
    assert risk.score == min(SCORE_MAX, wanted)
    assert [factor.code for factor in risk.factors if not factor.code.startswith("screening")] == found
    assert risk.verdict == verdict


def test_a_day_after_its_expiry_a_document_has_expired() -> None:
    """On its last day it has not."""
    day = date(2026, 11, 20)
    read = read_of("p.txt", text=PASSPORT.format(expires=day.strftime("%d %B %Y")))
    assert "expired" not in codes(compare(ANN, [read], day.isoformat()))
    assert "expired" in codes(compare(ANN, [read], (day + timedelta(days=1)).isoformat()))


def test_a_day_that_may_be_past_is_told_as_such_and_not_as_fact() -> None:
    """One reading of two, a visa beside a passport: whether it has expired is for a person to see."""
    for expires in ("05-12-2026", "12.02.2031\nVisa valid until: 01.05.2024"):
        found = codes(compare(ANN, [read_of("p.txt", text=PASSPORT.format(expires=expires))], "2026-11-28"))
        assert "expiry_unsure" in found
        assert "expired" not in found


@given(st.binary(max_size=400))
def test_any_bytes_are_text_or_a_problem(content: bytes) -> None:
    """No exception, and never both pages and a problem."""
    found = of_text(content)
    assert bool(found.pages) != bool(found.problem)


@pytest.mark.parametrize(
    "text",
    [
        "\u3000\u3000氏名\u3000山田\u3000太郎\n\u3000\u3000生年月日\u30001985年4月12日\n",  # ideographic spaces
        "نام: فاطمه\u200cزهرا حسینی\nمی\u200cخواهم حساب باز کنم\n",  # joiners of Persian
        "Solde\u202f: 1\u202f234\u202f567,89\u202f€\n",  # narrow spaces of French
        "Donau\u00addampf\u00adschiff\n",  # soft hyphens
        "\uf0b7 Name: Ann\n\uf0b7 Born: 1980\n",  # a word processor's bullets
    ],
)
def test_spaces_and_joiners_of_any_script_are_text(text: str) -> None:
    """In UTF-8 as in UTF-16."""
    assert [of_text(text.encode(how)).pages[0].text.lstrip("\ufeff") for how in ("utf-8", "utf-16")] == [text, text]


@pytest.mark.parametrize("content", [bytes(range(1, 32)) * 9, b"\x1b[31mred\x1b[0m", b"\x7fELF" + b"\x01\x02\x03" * 9])
def test_what_has_controls_is_no_text(content: bytes) -> None:
    """Nor is it when it decodes."""
    assert of_text(content).problem == Problem.UNSUPPORTED


def test_a_zone_is_surer_than_a_label() -> None:
    """The specimen beside a label with another birth date: both are told, the zone's first."""
    facts = [f for f in extract([Page(1, f"Date of birth: 1 May 1980\n{SPECIMEN}")]).facts if f.kind is Kind.BIRTH_DATE]
    assert [(fact.value, fact.by) for fact in facts] == [("1974-08-12", By.ZONE), ("1980-05-01", By.LABEL)]


STATED = Stated("Ann Marie Bell", "1980-05-03", "12 High Street, Cork, Ireland")


def found_in(text: str, said: Stated = STATED) -> dict[str, tuple[str, By]]:
    """The surest of each kind."""
    surest: dict[str, tuple[str, By]] = {}
    for fact in extract([Page(1, text)], said).facts:
        surest.setdefault(fact.kind.value, (fact.value, fact.by))
    return surest


@pytest.mark.parametrize(
    ("label", "asks_for"),
    [
        ("Legal first name(s)", Label.GIVEN),
        ("Holder's date and country of birth", Label.BIRTH_DATE),
        ("Place of birth", Label.OTHER),
        ("Name at birth", Label.OTHER),
        ("Geburtsdatum Date de naissance Data di nascita", Label.BIRTH_DATE),
        ("Führerscheinnummer", Label.NUMBER),
        ("Kundennummer", Label.OTHER),
        ("Card valid from", Label.ISSUED_ON),
        ("Date of expirry", Label.EXPIRES),
        ("Name, Vorname", Label.FULL_NAME),
        ("Name / Surname", Label.SURNAME),
        ("Mother's name", Label.OTHER),
        ("Company address", Label.OTHER),
        ("Country of residence", Label.COUNTRY),
        ("Residence permit", None),
        ("Ann Marie Bell", None),
    ],
)
def test_a_label_is_what_its_words_come_to(label: str, asks_for: Label | None) -> None:
    """In any order and language, with a slip of the pen; about somebody else it asks for nothing that counts."""
    found = label_of(fold(label))
    assert (found and found[0]) == asks_for


def test_what_the_application_states_is_found_whatever_the_document_calls_it() -> None:
    """A name, a birth date and an address under labels of no language, in the document's own words."""
    text = "Zxq: ANN MARIE BELL\nWvb: 3 May 1980\nPql mno\n12 High Street\nCork\nIreland"
    found = found_in(text)
    assert found["name"] == ("ANN MARIE BELL", By.STATED)
    assert found["birth_date"] == ("1980-05-03", By.STATED)
    assert found["address"] == ("12 High Street, Cork, Ireland", By.STATED)
    assert found["country"][0] == "IE"


@pytest.mark.parametrize(
    "text",
    [
        "Zxq: Ann Marie Bellamy\nWvb: 4 May 1980\nPql: 21 High Street, Cork",
        "Mother: Ann Marie Bell\nBorn elsewhere",
        "Spouse Ann Marie Bell\n",
        "Witness: Ann Marie Bell",
        "Ann\nsome other line of text\nMarie was here\nBell ringing",
    ],
)
def test_what_does_not_stand_there_whole_is_not_found(text: str) -> None:
    """Another name, day or number, a name that is a relative's or a witness's, or whose parts are strewn about."""
    assert not {by for _, by in found_in(text).values()} & {By.STATED}


def test_a_documents_own_words_come_before_what_is_stated() -> None:
    """A passport of somebody else that also carries the applicant's name names somebody else."""
    text = (
        "PASSPORT\nSurname: SMITH\nGiven names: JOHN\nDate of birth: 1 Jan 1970\nZxq: Ann Marie Bell\nWvb: 3 May 1980"
    )
    found = found_in(text)
    assert found["name"] == ("JOHN SMITH", By.LABEL)
    assert found["birth_date"] == ("1970-01-01", By.LABEL)


def test_who_is_screened_is_who_the_document_names() -> None:
    """Names beside the stated one that belong to it are read with it."""
    assert found_in("Zxq: Ann Marie Bell Haqqani")["name"] == ("Ann Marie Bell Haqqani", By.STATED)


@given(st.dates(min_value=date(1990, 1, 1), max_value=date(2035, 12, 31)), st.booleans())
def test_the_only_other_day_of_an_identity_document_is_its_expiry(day: date, labelled: bool) -> None:
    """Beside a birth date, in the past too; where there are two, each is unexplained, however far apart."""
    text = f"PASSPORT\nDate of birth: 3 May 1980\n{'Qwx: ' if labelled else ''}{day.strftime('%d %B %Y')}\n"
    read = {fact.kind: fact for fact in extract([Page(1, text)]).facts}
    assert read[Kind.EXPIRES].value == day.isoformat()
    for days in (20, 1200):
        two = extract([Page(1, text + (day + timedelta(days=days)).strftime("%d %B %Y"))]).facts
        assert Kind.EXPIRES not in {fact.kind for fact in two}
        assert len([fact for fact in two if fact.kind is Kind.UNEXPLAINED]) == 2


def test_every_country_that_an_identity_document_mentions_is_told() -> None:
    """For policies that watch countries: under labels that nobody knows, in headings, in sentences."""
    told = extract([Page(1, "ISLAMIC REPUBLIC OF IRAN\nPASSPORT\nZxq: Ann Bell of Syria")]).facts
    assert {fact.value for fact in told if fact.kind is Kind.MENTIONED} == {"IR", "SY"}
    assert not [fact for fact in extract([Page(1, "Electricity bill\nSyria")]).facts if fact.kind is Kind.MENTIONED]


def test_what_is_said_twice_is_surer() -> None:
    """The same day under a label and in a sentence, beside a day that stands once."""
    text = "Date of birth: 3 May 1980\n\nAnn Bell, born on 3 May 1980, lives here.\n"
    twice = next(fact for fact in extract([Page(1, text)]).facts if fact.kind is Kind.BIRTH_DATE)
    once = next(fact for fact in extract([Page(1, text[:26])]).facts if fact.kind is Kind.BIRTH_DATE)
    assert twice.value == once.value
    assert twice.sure > once.sure


def test_a_letter_about_a_passport_says_nothing_by_shapes() -> None:
    """A day, a country and a number in its sentences are not an identity document's."""
    read = extract([Page(1, LOST)], Stated(name="John Smith"))
    assert read.kind is Document.OTHER
    assert [fact for fact in read.facts if fact.by is By.SHAPE] == []


LOST = (
    "The passport numbered AB1234567 of John Smith, born on 3 May 1980, was lost on a journey from Iran.\n"
    "He will leave on 4 June 2031.\n"
)
CERTIFICATE = (
    "NOTARIAL CERTIFICATE\n\nI, Mary Jones, Notary Public, have seen the passport numbered AB1234567 issued to\n"
    "John Smith, born on 3 May 1980. The passport was issued on 5 May 2020 and is valid until 5 May 2030.\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NOTARIAL CERTIFICATE\n\nI, Mary Jones, Notary Public", "CERTIFICATE\n\nI, Mary Jones, his neighbour"),
        ("NOTARIAL CERTIFICATE", "Dear Sirs"),
        ("NOTARIAL CERTIFICATE", "Our employee"),
        ("have seen the passport", "certify that he lost the passport"),
        ("I, Mary Jones, Notary Public, have seen", "To the registry:\nI, John Smith, hold"),
        (" and is valid until 5 May 2030", ""),
        ("5 May 2030", "5 May 2025"),
        ("numbered AB1234567 ", ""),
        ("issued to\nJohn Smith", "issued to\nPaul Brown"),
        ("born on 3 May 1980", "born on 4 May 1980"),
        ("John Smith, born on 3 May 1980. ", "John Smith, as shown.\n\nHe was born on 3 May 1980 in Cork. "),
    ],
)
def test_what_an_office_writes_of_an_identity_document_counts_as_it_and_no_other_letter(old: str, new: str) -> None:
    """Who, when born, which number and until when, in one paragraph of an office; or else a person sees it."""
    assert is_approved(JOHN, CERTIFICATE, BILL)
    assert old in CERTIFICATE
    assert not is_approved(JOHN, CERTIFICATE.replace(old, new), BILL)


def beside(text: str) -> set[str]:
    """Who else is screened, by the words of a paper."""
    read = read_paper(JOHN, text)
    return {subject.name for subject in compare(JOHN, [read], "2026-11-28").subjects[1:]}


@pytest.mark.parametrize(
    "bill",
    [
        "BANK STATEMENT\nAccount holder: John Smith\nSecond account holder: Anna Bell\n",
        "BANK STATEMENT\nHolder 1: John Smith\nQwxyz: Anna Bell\n",
        "BANK STATEMENT\nAccount holder    John Smith\nQwxyz             Anna Bell\n",
        "BANK STATEMENT\nAccount holders: John Smith and Anna Bell\n",
        "BANK STATEMENT\nKontoinhaber: John Smith und Anna Bell\n",
        "BANK STATEMENT\nAccount holders: Anna Bell & John Smith\n",
        "ELECTRICITY BILL\n\nMr John Smith\nMs Anna Bell\n12 High Street\nCork\nIreland\n",
        "ELECTRICITY BILL\n\nAnna Bell\nJohn Smith\n12 High Street\nCork\nIreland\n",
        "ELECTRICITY BILL\nCustomer: John Smith\nSpouse: Anna Bell\n",
        "LEASE of 12 High Street, Cork, to the renters John Smith and Anna Bell\n",
        "LEASE\nTenant: John Smith\n\nThe rent is also owed by Mrs Anna Bell of the same place.\n",
        "BANK STATEMENT\nSurname: Smith\nGiven names: John\n\nSurname: Bell\nGiven names: Anna\n",
    ],
)
def test_whoever_a_paper_addresses_beside_the_applicant_is_screened(bill: str) -> None:
    """Without a birth date, which nobody knows; not by the applicant's."""
    assert "Anna Bell" in beside(bill), bill
    found = compare(JOHN, [read_paper(JOHN, bill)], "2026-11-28")
    assert found.subjects[-1].born == ""
    assert "names_another" in {finding.code for finding in found.findings}


def test_two_given_names_share_a_surname() -> None:
    assert beside("BANK STATEMENT\nAccount holders: John and Mary Smith\n") == {"Mary Smith"}


@pytest.mark.parametrize(
    "paper",
    [
        "LEASE\nTenant: John Smith\nLandlord: Anna Bell\nWitness: Paul Brown\n",
        "LEASE\nTenant: John Smith\n\nSigned for the landlord by Mr Paul Brown.\n",
        "ELECTRICITY BILL\n\nMr J. Smith\n12 High Street\nCork\n\nCustomer: John Smith\n",
        "PASSPORT\nName: John Smith\nSpouse: Anna Bell\nFather: Mr Paul Brown\n",
    ],
)
def test_who_has_no_part_in_the_matter_is_not_screened(paper: str) -> None:
    """Landlords, witnesses, relatives on an identity document, and the applicant by his initial."""
    assert beside(paper) == set()


@pytest.mark.parametrize(
    "paper",
    [
        "ELECTRICITY BILL\n\nMr John Smith\nRose Cottage\n5 Low Road\nDublin\nIreland\n",
        "ELECTRICITY BILL\nCustomer: John Smith\nAddress: Rose Cottage, 5 Low Road, Dublin\n\nSite: Rose Cottage\n",
    ],
)
def test_a_house_is_nobody(paper: str) -> None:
    """What stands in the address that was read is no person, though it is named like one."""
    assert beside(paper) == set()


def test_two_labels_in_one_cell_are_two() -> None:
    text = "DRIVING LICENCE\nIssued on: 11 Oct 2020 Valid until: 9 Mar 2030 (NT)\nBorn: 3 May 1980\n"
    read = {fact.kind: fact.value for fact in extract([Page(1, text)]).facts}
    assert (read[Kind.ISSUED_ON], read[Kind.EXPIRES]) == ("2020-10-11", "2030-03-09")


def test_a_letters_first_sentence_is_nothing_of_whom_it_is_to() -> None:
    """But a name alone beneath a label of somebody else is that one's."""
    letter = "University Registry\n\nTo the bank manager:\n\n{name} is a student here and lives at {address}.\n"
    assert read_paper(JOHN, letter.format(name=JOHN.name, address=JOHN.address)).name == JOHN.name
    assert read_paper(JOHN, f"Witness:\n\n{JOHN.name}\n").name == ""
