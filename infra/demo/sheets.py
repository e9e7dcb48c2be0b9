"""The forms of papers: their wording and layout, in four sets; others are in sheets_strange.py and sheets_later.py.

Reading was developed on `a`, and corrected once on `b`, on `c` and on `d`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sheet:
    """One form. text: lines, columns set apart by |, with {fields}. says: the kinds of fact that it tells.

    language: of the months' names in its dates; empty: English.
    """

    half: str
    paper: str  # kind of document
    dates: str
    says: tuple[str, ...]
    text: str
    language: str = ""

    @property
    def is_joint(self) -> bool:
        """Whether somebody stands beside the person it is about."""
        return "{joint}" in self.text


WHO = ("name", "birth_date", "nationality", "document_number", "expires")
WHERE = ("name", "address", "country")

SHEETS = (
    Sheet(
        "a",
        "passport",
        "%d %b %Y",
        (*WHO, "issued_by"),
        """\
        {ISSUER}|PASSPORT / PASSEPORT

        Type / Type|Country code / Code du pays|Passport No. / Passeport No.
        P|{alpha3}|{number}
        Surname / Nom
        {SURNAME}
        Given names / Prénoms
        {GIVEN}
        Nationality / Nationalité
        {COUNTRY}
        Date of birth / Date de naissance|Sex / Sexe
        {born}|{sex}
        Date of issue / Date de délivrance|Authority / Autorité
        {issued}|PASSPORT OFFICE
        Date of expiry / Date d'expiration
        {expires}

        {zone3}
        """,
    ),
    Sheet(
        "a",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        {ISSUER}
        IDENTITY CARD

        Surname:  {SURNAME}
        Given names:  {GIVEN}
        Date of birth:  {born}
        Nationality:  {country}
        Document number:  {number}
        Date of expiry:  {expires}
        Sex: {sex}
        """,
    ),
    Sheet(
        "a",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        BUNDESREPUBLIK|PERSONALAUSWEIS

        Name / Surname / Nom|Ausweisnummer
        {SURNAME}|{number}
        Vornamen / Given names / Prénoms
        {GIVEN}
        Geburtstag / Date of birth|Staatsangehörigkeit / Nationality
        {born}|{COUNTRY}
        Gültig bis / Date of expiry
        {expires}

        {zone1}
        """,
    ),
    Sheet(
        "a",
        "driving_licence",
        "%d %B %Y",
        ("name", "birth_date", "document_number", "expires", "address", "country"),
        """\
        DRIVING LICENCE

        Holder's name: {given} {surname}
        Born: {born}
        Address: {line1}
        {line2}
        {line3}

        Licence No: {number}
        Valid until: {expires}
        """,
    ),
    Sheet(
        "a",
        "passport",
        "%Y-%m-%d",
        WHO,
        """\
        PASAPORTE|{ISSUER}
        Apellidos: {SURNAME}
        Nombre: {GIVEN}
        Fecha de nacimiento: {born}
        Nacionalidad: {country}
        Número de pasaporte: {number}
        Fecha de caducidad: {expires}
        """,
    ),
    Sheet(
        "a",
        "utility_bill",
        "%d %B %Y",
        (*WHERE, "issued_on"),
        """\
        Northern Grid Electricity Ltd|Bill date: {issued_on}
        14 Substation Lane|Account number: 8841 2290
        Leeds LS1 4AA

        {title} {given} {surname}
        {line1}
        {line2}
        {line3}

        Your electricity bill
        Meter reading|Usage|Amount
        10452|311 kWh|84.20
        Please pay within 14 days of the bill date.
        """,
    ),
    Sheet(
        "a",
        "bank_statement",
        "%d/%m/%Y",
        (*WHERE,),
        """\
        FIRST HARBOUR BANK
        Statement of account

        Account holder: {given} {surname}
        Address: {line1}, {line2}
        {line3}
        IBAN: XX12 3456 7890 1234
        Statement period: {issued} to {issued_on}

        Date|Description|Balance
        01/02|Opening balance|1,204.10
        27/02|Closing balance|988.45
        """,
    ),
    Sheet(
        "a",
        "letter",
        "%d %B %Y",
        ("name", "birth_date", "address", "country", "document_number"),
        """\
        To whom it may concern

        I, {given} {surname}, born on {born} and residing at {line1},
        {line2}, {line3}, holder of passport number {number}, hereby declare
        that the money in my account comes from my salary.

        Yours faithfully
        """,
    ),
    Sheet(
        "a",
        "letter",
        "%B %d, %Y",
        ("name", "birth_date", "address", "country"),
        """\
        Oakfield Logistics Inc.
        Human Resources

        This is to certify that {title} {given} {surname}, born {born}, has been
        employed by us since 2015. According to our records the employee is
        residing at {line1}, {line2}, {line3}.

        Sincerely,
        R. Thornton
        """,
    ),
    Sheet(
        "b",
        "passport",
        "%d %b / %b %y",
        (*WHO, "issued_by"),
        """\
        PASSPORT|{ISSUER}
        Type P|Code {alpha3}|Passport number {number}
        1. Surname / Apellidos / Nom|2. Given names / Nombres / Prénoms
        {SURNAME}|{GIVEN}
        3. Nationality / Nacionalidad|4. Date of birth / Fecha de nacimiento
        {COUNTRY}|{born}
        5. Date of issue|6. Date of expiration / Fecha de caducidad
        {issued}|{expires}
        {zone3}
        """,
    ),
    Sheet(
        "b",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        RÉPUBLIQUE
        CARTE NATIONALE D'IDENTITÉ N° : {number}
        Nom : {SURNAME}
        Prénom(s) : {GIVEN}
        Nationalité : {country}
        Né(e) le : {born}
        Valable jusqu'au : {expires}
        """,
    ),
    Sheet(
        "b",
        "residence_permit",
        "%d-%m-%Y",
        WHO,
        """\
        RESIDENCE PERMIT
        {number}|VALID UNTIL {expires}

        NAME: {SURNAME} {GIVEN}
        DOCUMENT NUMBER: {number}
        DATE OF BIRTH {born}
        NATIONALITY {COUNTRY}
        TYPE OF PERMIT: WORK
        """,
    ),
    Sheet(
        "b",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        DOWÓD OSOBISTY / IDENTITY CARD

        NAZWISKO / SURNAME|IMIONA / GIVEN NAMES
        {SURNAME}|{GIVEN}
        OBYWATELSTWO / NATIONALITY|DATA URODZENIA / DATE OF BIRTH
        {COUNTRY}|{born}
        NUMER DOWODU / IDENTITY CARD NUMBER|TERMIN WAŻNOŚCI / EXPIRY DATE
        {number}|{expires}
        """,
    ),
    Sheet(
        "b",
        "driving_licence",
        "%d.%m.%Y",
        ("name", "birth_date", "document_number", "expires"),
        """\
        DRIVING LICENCE|{ISSUER}
        1. {SURNAME}
        2. {GIVEN}
        3. {born}
        4a. {issued}   4b. {expires}
        5. {number}
        8. {line1}, {line2}
        """,
    ),
    Sheet(
        "b",
        "utility_bill",
        "%d.%m.%Y",
        (*WHERE,),
        """\
        WESTWATER UTILITIES|Invoice
        Customer services 0800 123 456|Invoice date: {issued_on}

        Bill to:|Supply address
        {given} {surname}|{line1}
        {line1}|{line2}
        {line2}|{line3}
        {line3}|

        Water supply 01.02. to 30.04.|46.10
        Waste water|31.75
        Total due|77.85
        """,
    ),
    Sheet(
        "b",
        "bank_statement",
        "%d %b %Y",
        (*WHERE,),
        """\
        Meridian Savings Bank plc
        PO Box 811, Riverside|Page 1 of 3

        {title} {given} {surname}|Sort code 20-11-43
        {line1}|Account 11223344
        {line2}|Statement date {issued_on}
        {line3}

        Your current account statement
        Opening balance|3,110.00
        Closing balance|2,871.19
        """,
    ),
    Sheet(
        "b",
        "letter",
        "%d %B %Y",
        ("name", "birth_date", "address", "country"),
        """\
        Dear Sir or Madam,

        My name is {given} {surname} and I was born on {born}. I live at
        {line1}, {line2}, {line3}. I would like to open a savings account.

        Kind regards,
        {given} {surname}
        """,
    ),
    Sheet(
        "b",
        "letter",
        "%d %B %Y",
        ("name", "address", "country"),
        """\
        Residential tenancy: confirmation

        Tenant: {given} {surname}
        Property address: {line1}, {line2}, {line3}
        Landlord: Castle Homes Ltd

        We confirm that the tenant has lived at the property since {issued}.
        """,
    ),
    Sheet(
        "c",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        REPUBBLICA|CARTA DI IDENTITÀ / IDENTITY CARD
        {number}

        COGNOME / SURNAME
        {SURNAME}
        NOME / NAME
        {GIVEN}
        LUOGO E DATA DI NASCITA / PLACE AND DATE OF BIRTH
        ROMA {born}
        SESSO / SEX|CITTADINANZA / NATIONALITY
        {sex}|{COUNTRY}
        EMISSIONE / ISSUING|SCADENZA / EXPIRY
        {issued}|{expires}
        """,
    ),
    Sheet(
        "c",
        "passport",
        "%d/%m/%Y",
        (*WHO, "issued_by"),
        """\
        {ISSUER}

        Type|Country Code|Passport No.
        P|{alpha3}|{number}
        Surname
        {SURNAME}
        Given Name(s)
        {GIVEN}
        Nationality|Sex|Date of Birth
        {COUNTRY}|{sex}|{born}
        Date of Issue|Date of Expiry
        {issued}|{expires}
        {zone3}
        """,
    ),
    Sheet(
        "c",
        "driving_licence",
        "%m/%d/%Y",
        ("name", "birth_date", "document_number", "expires"),
        """\
        DRIVER LICENSE
        DL {number}|CLASS C
        EXP {expires}
        LN {SURNAME}
        FN {GIVEN}
        {line1}
        {line2}
        DOB {born}
        SEX {sex}
        ISS {issued}
        """,
    ),
    Sheet(
        "c",
        "id_card",
        "%d %b %Y",
        WHO,
        """\
        IDENTITEITSKAART|IDENTITY CARD

        Naam / Name|Document nr. / Document no.
        {SURNAME}|{number}
        Voornamen / Given names|Nationaliteit / Nationality
        {GIVEN}|{country}
        Geboortedatum / Date of birth|Geldig tot / Valid until
        {born}|{expires}
        """,
    ),
    Sheet(
        "c",
        "residence_permit",
        "%d.%m.%Y",
        WHO,
        """\
        AUFENTHALTSTITEL / RESIDENCE PERMIT
        Nr. {number}

        Name, Vorname: {SURNAME}, {GIVEN}
        Geburtsdatum: {born}
        Staatsangehörigkeit: {country}
        Karte gültig bis: {expires}
        """,
    ),
    Sheet(
        "c",
        "utility_bill",
        "%d/%m/%Y",
        (*WHERE,),
        """\
        BRIGHTGAS|Your gas bill

        Customer: {given} {surname}|Tariff: Standard
        Delivery address:|Meter no. 5512
        {line1}|
        {line2}|
        {line3}|

        Period {issued} to {issued_on}
        Units used 812|Total 96.11
        """,
    ),
    Sheet(
        "c",
        "bank_statement",
        "%d.%m.%Y",
        (*WHERE,),
        """\
        Sparbank am Fluss
        Kontoauszug Nr. 4

        Kontoinhaber:
        {given} {surname}
        Anschrift:
        {line1}
        {line2}
        {line3}

        Kontostand am {issued_on}: 1.420,55 EUR
        """,
    ),
    Sheet(
        "c",
        "letter",
        "%d/%m/%Y",
        ("name", "birth_date", "address", "country"),
        """\
        Attestation sur l'honneur

        Je soussigné, {given} {surname}, né le {born}, demeurant à
        {line1}, {line2}, {line3}, atteste que les informations sont exactes.

        Fait pour servir et valoir ce que de droit.
        """,
    ),
    Sheet(
        "c",
        "letter",
        "%d %B %Y",
        ("name", "birth_date", "address", "country"),
        """\
        Tamar & Lowe Solicitors

        We act for {title} {given} {surname} (date of birth {born}). Our client lives at
        {line1}, {line2}, {line3} and has done so for more than five years.

        Yours faithfully,
        Tamar & Lowe
        """,
    ),
    Sheet(
        "c",
        "utility_bill",
        "%d %b %Y",
        (*WHERE, "issued_on"),
        """\
        FASTLINE BROADBAND|Invoice 99812
        |Invoice date {issued_on}
        {given} {surname}|Amount due 31.00
        {line1}|Payment by direct debit
        {line2}|
        {line3}|

        Thank you for being with us.
        """,
    ),
    Sheet(
        "d",
        "id_card",
        "%d %b/%b %Y",
        WHO,
        """\
        NATIONELLT ID-KORT / NATIONAL IDENTITY CARD
        Efternamn/Surname|Kortnummer/Card No.
        {SURNAME}|{number}
        Förnamn/Given names|Kön/Sex
        {GIVEN}|{sex}
        Medborgarskap/Nationality|Födelsetid/Date of birth
        {COUNTRY}|{born}
        Sista giltighetsdag/Date of expiry
        {expires}
        """,
    ),
    Sheet(
        "d",
        "id_card",
        "%d %m %Y",
        WHO,
        """\
        CARTÃO DE CIDADÃO|CITIZEN CARD

        APELIDO(S) SURNAME
        {SURNAME}
        NOME(S) GIVEN NAME(S)
        {GIVEN}
        NACIONALIDADE NATIONALITY|DATA DE NASCIMENTO DATE OF BIRTH
        {COUNTRY}|{born}
        N.º DOCUMENTO DOCUMENT No.|VALIDADE EXPIRY DATE
        {number}|{expires}
        """,
    ),
    Sheet(
        "d",
        "driving_licence",
        "%d %b %Y",
        ("name", "birth_date", "document_number", "expires"),
        """\
        {ISSUER}|DRIVER LICENCE
        {GIVEN}
        {SURNAME}
        {line1}
        {line2}

        Licence No.|Date of birth
        {number}|{born}
        Licence class|Expiry date
        C|{expires}
        """,
    ),
    Sheet(
        "d",
        "passport",
        "%Y-%m-%d",
        WHO,
        """\
        Certified copy of passport

        Holder: {given} {surname}; date of birth: {born}; nationality: {country};
        passport no.: {number}; valid until: {expires}.

        Seen and compared with the original.
        """,
    ),
    Sheet(
        "d",
        "id_card",
        "%d/%m/%Y",
        WHO,
        """\
        FEDERAL IDENTITY CARD

        ID Number
        {number}
        Name: {given} {surname}
        Date of Birth: {born}
        Nationality: {country}
        Issuing Date: {issued}
        Expiry Date: {expires}
        Signature:
        """,
    ),
    Sheet(
        "d",
        "utility_bill",
        "%d %B %Y",
        WHERE,
        """\
        SOLARIS POWER & LIGHT
        Electric service statement

        Account name|{given} {surname}
        Account number|7781-22
        Service address|{line1}
        |{line2}
        |{line3}
        Statement date|{issued_on}

        Amount due|61.20
        """,
    ),
    Sheet(
        "d",
        "bank_statement",
        "%d %B %Y",
        WHERE,
        """\
        Union Street Bank

        {issued_on}

        Dear {title} {given} {surname},

        Your account statement: we hold the following address for you:

        {line1}
        {line2}
        {line3}

        Closing balance: 5,200.13
        """,
    ),
    Sheet(
        "d",
        "utility_bill",
        "%d.%m.%Y",
        WHERE,
        """\
        Municipal Council|{given} {surname}
        Revenue Office|{line1}
        1 Town Square|{line2}
        Reference 5567-A|{line3}

        Council tax bill {issued_on}
        Amount payable|1,310.00
        """,
    ),
    Sheet(
        "d",
        "letter",
        "%d %B %Y",
        ("name", "birth_date", "address", "country"),
        """\
        Pinewood School

        This letter confirms that {given} {surname} (born {born}) works for us as a
        teacher.

        Home address: {line1}, {line2}, {line3}

        Headteacher: B. Osborne
        """,
    ),
    Sheet(
        "d",
        "letter",
        "%d.%m.%Y",
        ("name", "birth_date", "address", "country"),
        """\
        Meldebestätigung

        Frau/Herr {surname}, {given}
        geboren am {born}
        ist gemeldet unter der Anschrift {line1}, {line2}, {line3}.

        Einwohnermeldeamt
        """,
    ),
)
