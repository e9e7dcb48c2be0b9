"""Papers that a clerk would stop: other names, marks, zones that do not add up, days that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.infra.demo import papers
from aios.processors.connectors.assessment import Assessment, CompareRequest
from aios.processors.connectors.connector import Ask, Setup
from aios.processors.reading import implausible, mrz
from aios.processors.reading.compare import SUBJECTS_MAX, compare
from aios.processors.reading.compared import Applicant, Comparison, Subject
from aios.processors.reading.implausible import Limits
from aios.processors.reading.risk import Screened, weigh
from aios.processors.reading.source import Cell
from tests.unit.test_reading import BILL, JOHN, OF_JOHN, POLICY, SPECIMEN, read_paper

TODAY = "2026-11-28"
LIMITS = Limits(age_min=POLICY["age_min"], proof_months_max=POLICY["proof_months_max"])
VALID = OF_JOHN + "Date of issue: 03 MAR 2021\nDate of expiry: 12 JAN 2029\n"


def compared(*texts: str, applicant: Applicant = JOHN) -> Comparison:
    read = [read_paper(applicant, text, number) for number, text in enumerate(texts)]
    return compare(applicant, read, TODAY, LIMITS)


def found(*texts: str, applicant: Applicant = JOHN) -> set[str]:
    return {finding.code for finding in compared(*texts, applicant=applicant).findings}


def is_approved(*texts: str, applicant: Applicant = JOHN) -> bool:
    """As the workflow's gate decides, everybody screened clear."""
    comparison = compared(*texts, applicant=applicant)
    screened = [Screened(verdict="clear") for _ in comparison.subjects]
    risk = weigh(comparison, screened, POLICY["points"], POLICY["countries_watched"])
    return risk.score <= POLICY["alone_max"] and comparison.identity and not comparison.unread


def others(*texts: str, applicant: Applicant = JOHN) -> Sequence[Subject]:
    return compared(*texts, applicant=applicant).subjects[1:]


# Other names


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("Also known as: Viktor Bout", {"Viktor Bout"}),
        ("Other names: VIKTOR BOUT", {"VIKTOR BOUT"}),
        ("A/K/A: Viktor Bout", {"Viktor Bout"}),
        ("Former name (if any)   Viktor Bout", {"Viktor Bout"}),
        ("Former name Viktor Bout", {"Viktor Bout"}),
        ("also known as: viktor bout", {"Viktor Bout"}),
        ("Alias: JACKAL, CARLOS", {"JACKAL", "CARLOS"}),
        ("Remarks: formerly known as Viktor Bout", {"Viktor Bout"}),
        ("Maiden name: Al-Assad", {"JOHN Al-Assad"}),
        ("GEB. GABLER", {"JOHN GABLER"}),
        ("Geburtsname / Name at birth / Nom de naissance\nKIM JONG", {"KIM JONG", "JOHN KIM JONG"}),
        ("Ordens- oder Künstlername: Viktor Bout", {"Viktor Bout"}),
        ("Nom d'usage : DURAND", {"JOHN DURAND"}),
        ("Apellido de soltera: LÓPEZ", {"JOHN LÓPEZ"}),
        ("Altri nomi: Viktor Bout", {"Viktor Bout"}),
        ("Nazwisko rodowe: KOWALSKA", {"JOHN KOWALSKA"}),
        ("Rodné příjmení: NOVÁKOVÁ", {"JOHN NOVÁKOVÁ"}),
        ("Születési neve: NAGY", {"JOHN NAGY"}),
        ("Önceki soyadı: YILMAZ", {"JOHN YILMAZ"}),
        ("Другие имена: Виктор Бут", {"Виктор Бут"}),
    ],
)
def test_another_name_of_the_holder_is_screened_and_told(line: str, names: set[str]) -> None:
    """On an identity document, under a label of any language or inside a line; a surname with the given names."""
    paper = VALID + line + "\n"
    assert {subject.name for subject in others(paper, BILL)} == names
    assert "other_name" in found(paper, BILL)
    assert is_approved(paper, BILL), "a name alone is nobody's fault"


@pytest.mark.parametrize(
    "line",
    [
        "Maiden name: none",
        "Other names (if any): -----",
        "Geburtsname: entfällt",
        "Name at birth: John Smith",
        "Born: 3 May 1980",
        "Née le: 3 mai 1980",
        "GEB. AM 3 MAI 1980",
        "Former address: 12 Low Street, Cork",
        "Previous passport No: LB1234567",
    ],
)
def test_what_is_no_other_name_is_none(line: str) -> None:
    """No name, the same name, a day, an address."""
    assert not others(VALID + line + "\n", BILL)


def test_other_names_are_the_given_names_where_nothing_else_asks_for_these() -> None:
    """As on cards of Ghana or Jamaica; beside a label for given names they are other ones."""
    card = "IDENTITY CARD\nSurname: SMITH\nOther names: JOHN\nDate of birth: 03 MAY 1980\nDate of expiry: 12 JAN 2029\n"
    assert read_paper(JOHN, card).name == "JOHN SMITH"
    assert not others(card, BILL)


@pytest.mark.parametrize(
    ("given", "surname", "approved"),
    [
        ("ANN MARIE", "BELL", True),
        ("ANN", "BELL", True),
        ("ANN M", "BELL", True),
        ("ANN MARIA", "BELL", True),
        ("ANN MARIE SOPHIE", "BELL", True),
        ("ANDREW MARIE", "BELL", False),
        ("ANN MARIE", "SHERIDAN", False),
    ],
)
def test_who_shares_all_but_one_part_of_a_name_is_somebody_else_to_a_passport(
    given: str, surname: str, *, approved: bool
) -> None:
    """A brother's, or one's own before a marriage; parts left out, initials and slips are none."""
    ann = JOHN.model_copy(update={"name": "Ann Marie Bell"})
    paper = VALID.replace("SMITH", surname).replace("JOHN", given)
    bill = BILL.replace("John Smith", "Ann Marie Bell")
    assert is_approved(paper, bill, applicant=ann) is approved
    assert ("name_differs" in {one.code for one in compared(paper, bill, applicant=ann).findings}) is not approved


def test_under_a_name_of_its_own_nobody_stated_a_birth_date() -> None:
    """Who took another surname was born when he was; who was somebody else may have been born on any day."""
    (changed,) = others(VALID + "Maiden name: Gabler\n", BILL)
    (other,) = others(VALID + "Also known as: Viktor Bout\n", BILL)
    assert (changed.born, other.born) == ("1980-05-03", "")


def test_who_is_one_name_too_many_is_told_and_two_people_are_asked() -> None:
    """Nobody screens them: they are in the comparison, and weigh what two people are asked for."""
    aliases = "".join(f"Alias: Aaa{letter} Bbb{letter}\n" for letter in "abcdef")
    comparison = compared(VALID + aliases, BILL)
    assert len(comparison.subjects) == SUBJECTS_MAX
    assert [subject.name for subject in comparison.unscreened] == ["Aaae Bbbe", "Aaaf Bbbf"]
    assert "too_many_names" in {finding.code for finding in comparison.findings}
    assert POLICY["points"]["too_many_names"] >= POLICY["four_eyes_from"]


# What it says against itself


@pytest.mark.parametrize(
    "line",
    [
        "THIS PASSPORT HAS BEEN CANCELLED",
        "Status: reported lost or stolen",
        "SPECIMEN",
        "VOID",
        "LOST",
        "Remarks: holder deceased 3 March 2025",
        "Cancelled 12.03.2025",
        "PASSPORT NO LB1234567 REVOKED",
        "MUSTER",
        "Als gestohlen gemeldet",
        "Ungültig gemacht",
        "ANNULÉ",
        "Déclaré volé le 3 mai 2025",
        "Este pasaporte ha sido cancelado",
        "SMARRITO",
        "UNIEWAŻNIONY",
        "İptal edilmiştir",
        "АННУЛИРОВАН",
        "Passport application form",
    ],
)
def test_an_identity_document_that_says_it_is_none_is_a_persons_matter(line: str) -> None:
    """Void, a model, lost, its holder dead, or no more than asked for; with the words in the finding."""
    paper = VALID + line + "\n"
    assert found(paper, BILL) == {"marked_void"}
    assert not is_approved(paper, BILL)


@pytest.mark.parametrize(
    "line",
    [
        "If found, please return to the nearest embassy.",
        "Lost or stolen passports should be reported to the police.",
        "Void if altered.",
        "If this passport is lost or\nstolen tell the police",
        "Valid for all countries unless cancelled",
        "Invalid without stamp",
        "Status: not reported lost or stolen",
        "Specimen signature of bearer",
        "Unterschrift / Muster",
        "Mother: deceased",
        "Previous passport 123 cancelled",
        "Lost card hotline 0800 123 456",
        "Bei Verlust bitte melden",
        "En cas de perte ou de vol, prévenir la police. Un document perdu doit être déclaré.",
    ],
)
def test_what_papers_in_order_say_of_loss_is_no_mark(line: str) -> None:
    """Notices, another document, a relative, a signature."""
    paper = VALID + line + "\n"
    assert found(paper, BILL) == set()
    assert is_approved(paper, BILL)


def test_a_name_is_no_mark() -> None:
    """People are called Muster, Sample or Void."""
    ann = Applicant(name="Ann Muster", birth_date="1980-05-03", country="IE", address=JOHN.address)
    paper = VALID.replace("SMITH", "MUSTER").replace("JOHN", "ANN")
    assert "marked_void" not in found(paper, BILL.replace("John Smith", "Ann Muster"), applicant=ann)


# Zones for machines


def cells(text: str) -> list[Cell]:
    return [Cell(1, number, 0, 0, line) for number, line in enumerate(text.split("\n"), 1)]


LONG = "IDBEL590330101<8028<<<<<<<<<<<"  # a card whose number goes on behind the place of its check digit
OF_ALL = mrz.check_digit(LONG[5:] + "8502016" + "1302284" + "<" * 11)


@given(st.integers(0, 43), st.sampled_from("0123456789"))
def test_one_other_digit_in_a_zone_is_noticed(at: int, other: str) -> None:
    """Wherever a check digit covers it, whether the rest of the zone is still read or not."""
    first, second = SPECIMEN.split("\n")
    if second[at] == other or not second[at].isdigit():
        return
    changed = cells(f"{first}\n{second[:at]}{other}{second[at + 1 :]}")
    assert mrz.broken(changed, mrz.find(changed)) is not None


@pytest.mark.parametrize(
    "zone",
    [
        SPECIMEN,
        "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<",
        "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6",
        "IDFRABERTHIER<<<<<<<<<<<<<<<<<923102\n8806923102858CORINNE<<<<<<<6512068F6",
        "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL8988901C4XXX4009078F96121096ZE184226B<<<<<<",
        f"{LONG}\n8502016F1302284BEL<<<<<<<<<<<{OF_ALL}\nREINARTZ<<ULRIKE<KATIA<E<<<<<<",
    ],
    ids=["passport", "card", "card in two lines", "France's old card", "visa", "a long number"],
)
def test_a_zone_in_order_is_not_broken(zone: str) -> None:
    """The standard's own examples, and what countries make of it."""
    found_ = mrz.find(cells(zone))
    assert found_ is not None
    assert mrz.broken(cells(zone), found_) is None


def test_lines_that_nothing_but_a_zone_has_are_one_that_cannot_be_read() -> None:
    """All of its digits are wrong, so that nothing is read: somebody looks. Printed text under it changes nothing."""
    zone = "P<IRLSMITH<<JOHN<<<<<<<<<<<<<<<<<<<<<<<<<<<<\nLB12345679IRL8005030F3201011<<<<<<<<<<<<<<00"
    assert mrz.find(cells(zone)) is None
    assert found(VALID + zone, BILL) == {"zone_broken"}
    assert not is_approved(VALID + zone, BILL)
    assert mrz.broken(cells("PERSONAL IDENTIFICATION NUMBERS\nIBAN XX12 3456 7890 1234 5678 9012"), None) is None


@given(st.dates(min_value=date(1930, 1, 1), max_value=date(2008, 1, 1)))
def test_the_zones_of_papers_that_are_drawn_are_in_order(born: date) -> None:
    """Of passports and cards, whatever the birth date."""
    person = papers.Person("Ann", "Bell", born, "IE", "IE", ("1 High Street",), "LB1234567", born, date(2031, 1, 1))
    for zone in (papers.zone_3(person), papers.zone_1(person)):
        assert mrz.broken(cells(zone), mrz.find(cells(zone))) is None


# Days


@pytest.mark.parametrize(
    ("born", "code"),
    [("2027-05-03", "birth_date_implausible"), ("1901-05-03", "birth_date_implausible"), ("2019-05-03", "under_age")],
)
def test_nobody_was_born_on_such_a_day(born: str, code: str) -> None:
    """Still to come, too long ago, a child's: by the application, and by an identity document that says it alone."""
    year = VALID.replace("1980", born[:4])
    said = JOHN.model_copy(update={"birth_date": born})
    silent = JOHN.model_copy(update={"birth_date": ""})
    for applicant in (said, silent):
        assert code in found(year, BILL, applicant=applicant)
        assert not is_approved(year, BILL, applicant=applicant)


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2026, 11, 28)))
def test_years_are_counted_as_birthdays(born: date) -> None:
    """One is a year older on one's birthday, and not before."""
    years = implausible.age(born.isoformat(), TODAY)
    today = date.fromisoformat(TODAY)
    had = (today.month, today.day) >= (born.month, born.day)
    assert years == today.year - born.year - (not had)


def test_who_is_eighteen_today_may_apply() -> None:
    """And who will be tomorrow may not."""
    of_age = date.fromisoformat(TODAY).replace(year=2008)
    for day, codes in ((of_age, []), (of_age + timedelta(days=1), ["under_age"])):
        assert [code for code, _ in implausible.birth([day.isoformat()], TODAY, LIMITS)] == codes


def test_a_paper_is_not_issued_tomorrow() -> None:
    """It may be elsewhere, by a day; a year ahead it is a person's matter."""
    later = VALID.replace("03 MAR 2021", "03 MAR 2027")
    assert found(later, BILL) == {"issued_later"}
    assert not is_approved(later, BILL)
    assert is_approved(VALID.replace("03 MAR 2021", "29 NOV 2026"), BILL)


def test_an_old_bill_proves_no_address() -> None:
    """A year is the bound, for the last yearly bill is one; beside a newer one, or without a day, it is as before."""
    old = BILL.replace("2026", "2025")
    assert found(VALID, old) == {"proof_old"}
    assert not is_approved(VALID, old)
    assert is_approved(VALID, old.replace("03 October", "29 November"))
    assert is_approved(VALID, old, BILL)
    assert is_approved(VALID, BILL.partition("\nDate:")[0])


def test_the_country_of_ones_own_address_counts() -> None:
    """Whatever country the application names, and whether a bill says so or not."""
    tehran = JOHN.model_copy(update={"address": "5 Azadi Street, Tehran, Iran"})
    comparison = compared(VALID, applicant=tehran)
    assert {"IE", "IR"} <= set(comparison.countries)
    assert not is_approved(VALID, BILL, applicant=tehran)


def test_the_limits_are_those_that_the_workflow_asks_with() -> None:
    """A version that says none, as those before the third, is told nothing that only a policy forbids."""
    child = JOHN.model_copy(update={"birth_date": f"{datetime.now(UTC).year - 10}-01-01"})
    ask = Ask(request_id="r", idempotency_key="r", tenant="acme", case_id="c", deadline_s=5.0)
    assessment = Assessment(cast(Setup, None))
    for limits, told in ((LIMITS, {"under_age"}), (Limits(), set[str]())):
        asked = CompareRequest(applicant=child, documents=(read_paper(child, BILL),), limits=limits)
        comparison = asyncio.run(assessment.call("compare", asked, ask))
        assert isinstance(comparison, Comparison)
        assert {finding.code for finding in comparison.findings} & {"under_age"} == told
