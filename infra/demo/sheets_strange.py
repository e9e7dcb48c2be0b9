"""Further forms of papers, in wording and layout that reading had not met, in five more sets.

The first four were written before reading was changed for any of them. It was then developed on `e` (English, of many
countries' offices) and `f` (German, with and without a second language), and on nothing of `g` (French, Spanish,
Italian, Portuguese) and `h` (the north and the east, tables, prose, dotted lines), until it was measured on these; then
it was corrected once. `i` (other continents) was written after that, and nothing was changed for it.
"""

from __future__ import annotations

from aios.infra.demo.sheets import WHERE, WHO, Sheet

LICENCE = ("name", "birth_date", "document_number", "expires")
PLACE = ("name", "address")  # without a country, as papers that stay in one have it
LIVES = ("name", "birth_date", "address", "country")

STRANGE = (
    # e: English, of many countries' offices
    Sheet(
        "e",
        "passport",
        "%d-%b-%Y",
        WHO,
        """\
        TRAVEL DOCUMENT VERIFICATION RECORD

        Document type|Passport
        Legal first name(s)|{given}
        Legal last name|{surname}
        Birthdate|{born}
        Birthplace|{city}
        Country of citizenship|{country}
        ID document number|{number}
        Issued|{issued}
        Document expires on|{expires}

        Verified by {official}
        """,
    ),
    Sheet(
        "e",
        "id_card",
        "%d-%m-%Y",
        WHO,
        """\
        REPUBLIC IDENTITY CARD NO. {number}

        Name
        {GIVEN} {SURNAME}
        Race|Citizen of
        OTHER|{COUNTRY}
        Birth date|Sex
        {born}|{sex}
        Country of birth
        {COUNTRY}
        Card valid through
        {expires}
        """,
    ),
    Sheet(
        "e",
        "driving_licence",
        "%d/%m/%Y",
        LICENCE,
        """\
        Driver's Licence|Province Transport Authority

        Licence holder|{surname}, {given}
        Birth|{born}
        Lic. #|{number}
        Class 5|Issued {issued}
        Good until|{expires}
        Resides at|{line1}
        |{line2}
        """,
    ),
    Sheet(
        "e",
        "id_card",
        "%d %b %Y",
        WHO,
        """\
        NATIONAL REGISTRATION BUREAU
        National Identity Card

        SERIAL NUMBER: {personal}|ID NUMBER: {number}
        FULL NAMES
        {GIVEN} {SURNAME}
        DATE OF BIRTH
        {born}
        DISTRICT OF BIRTH
        {city}
        CITIZENSHIP
        {COUNTRY}
        DATE OF ISSUE
        {issued}
        CARD EXPIRES
        {expires}
        """,
    ),
    Sheet(
        "e",
        "residence_permit",
        "%d %B %Y",
        WHO,
        """\
        Biometric residence permit

        Permit holder's surname(s) . . . . . {SURNAME}
        Permit holder's forename(s) . . . . . {GIVEN}
        Permit number . . . . . {number}
        Place of issue . . . . . {city}
        Permit expires . . . . . {expires}
        Holder's date and country of birth . . . . . {born} {alpha3}
        National of . . . . . {country}
        """,
    ),
    Sheet(
        "e",
        "utility_bill",
        "%m/%d/%Y",
        PLACE,
        """\
        BAYSIDE GAS & ELECTRIC|ENERGY STATEMENT
        Account No: 3964511137-8
        Statement Date: {issued_on}

        Service For:
        {GIVEN} {SURNAME}
        {LINE1}
        {LINE2}

        Questions about your bill?
        Monday-Friday 7 a.m.-9 p.m.
        Total Amount Due by 12/28/2026|$88.14
        """,
    ),
    Sheet(
        "e",
        "utility_bill",
        "%d/%m/%Y",
        WHERE,
        """\
        CITY WATER BOARD                    WATER & SEWERAGE CHARGES

        Consumer name|: {given} {surname}
        Consumer no.|: 00418871
        Premises|: {line1}
        |  {line2}
        |  {line3}
        Reading taken by|: {official}
        Present reading|: 4471
        Net payable|: 512.00
        """,
    ),
    Sheet(
        "e",
        "bank_statement",
        "%B %d, %Y",
        PLACE,
        """\
        Pacific Trust Credit Union
        Member statement|{issued_on}

        PREPARED FOR
        {given} {surname}
        {line1}
        {line2}

        Your relationship manager: {official}
        Checking: beginning balance 4,410.20, ending balance 3,985.77
        """,
    ),
    Sheet(
        "e",
        "letter",
        "%d %B %Y",
        ("name", "address", "country"),
        """\
        ASSURED SHORTHOLD TENANCY

        1. PARTIES
        The Landlord: {official}
        The Lessee(s): {given} {surname}
        2. THE PREMISES
        The dwelling known as {line1}, {line2}, {line3}
        3. TERM
        Twelve months from {issued}.
        """,
    ),
    Sheet(
        "e",
        "company_register",
        "%d %B %Y",
        LIVES,
        """\
        REGISTRAR OF COMPANIES - officer particulars

        Company number 08812277
        Brightwater Trading Limited

        Director
        Title and name: {title} {given} {surname}
        Correspondence address: {line1}, {line2}, {line3}
        Born on: {born}
        Appointed: {issued}
        Secretary
        Title and name: {official}
        """,
    ),
    Sheet(
        "e",
        "letter",
        "%d %B %Y",
        LIVES,
        """\
        Reference for {given} {surname}

        I have known the above named person, whose birthday is {born}, for
        twelve years. Their permanent home is {line1}, {line2}, {line3}.
        I am not related to them.

        {official}, Justice of the Peace
        """,
    ),
    # f: German
    Sheet(
        "f",
        "passport",
        "%d.%m.%Y",
        (*WHO, "issued_by"),
        """\
        REISEPASS / PASSPORT / PASSEPORT

        Typ/Type|Kode/Code|Pass-Nr./Passport No.
        P|{alpha3}|{number}
        1. Name/Surname
        {SURNAME}
        2. Vornamen/Given names
        {GIVEN}
        3. Geburtstag/Date of birth|4. Geschlecht/Sex|5. Geburtsort/Place of birth
        {born}|{sex}|{city}
        6. Staatsangehörigkeit/Nationality
        {COUNTRY}
        7. Ausstellungsdatum/Date of issue|8. Gültig bis/Date of expiry
        {issued}|{expires}
        {zone3}
        """,
    ),
    Sheet(
        "f",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        SCHWEIZERISCHE EIDGENOSSENSCHAFT|IDENTITÄTSKARTE

        Name(n) Nom(s) Cognome(i)
        {SURNAME}
        Vorname(n) Prénom(s) Nome(i)
        {GIVEN}
        Geburtsdatum Date de naissance Data di nascita
        {born}
        Bürger von Originaire de Cittadino di
        {COUNTRY}
        Karten-Nr. No de la carte Carta n.
        {number}
        Ablaufdatum Date d'échéance Data di scadenza
        {expires}
        """,
    ),
    Sheet(
        "f",
        "driving_licence",
        "%d.%m.%Y",
        LICENCE,
        """\
        FÜHRERSCHEIN

        Familienname:      {surname}
        Vorname(n):        {given}
        geb. am / in:      {born}, {city}
        ausgestellt am:    {issued}
        läuft ab am:       {expires}
        Führerscheinnummer: {number}
        Behörde:           Landratsamt
        """,
        language="de",
    ),
    Sheet(
        "f",
        "id_card",
        "%d. %B %Y",
        WHO,
        """\
        Bestätigung über die Vorlage eines Personalausweises

        Der Inhaber des Ausweises mit der Nummer {number} heißt
        {given} {surname} und ist am {born} in {city} geboren.
        Staatsangehörigkeit: {country}. Der Ausweis ist gültig bis {expires}.

        Die Übereinstimmung mit dem Original bestätigt
        {official}, Notarin
        """,
        language="de",
    ),
    Sheet(
        "f",
        "residence_permit",
        "%d %m %Y",
        WHO,
        """\
        AUFENTHALTSTITEL|{number}

        NAMEN NAMES
        {SURNAME}
        {GIVEN}
        GESCHLECHT SEX|STAATSANGEH. NATIONALITY|GEB.-DATUM BIRTH DATE
        {sex}|{alpha3}|{born}
        ART DES TITELS TYPE OF PERMIT
        NIEDERLASSUNGSERLAUBNIS
        KARTE GÜLTIG BIS CARD EXPIRY
        {expires}
        """,
    ),
    Sheet(
        "f",
        "utility_bill",
        "%d.%m.%Y",
        PLACE,
        """\
        Stadtwerke Musterhafen GmbH, Postfach 1120, 24103 Kiel

        {title_de}
        {given} {surname}
        {line1}
        {line2}
        |Kundennummer|4471 2290
        |Rechnungsdatum|{issued_on}
        |Ihr Ansprechpartner|{official}

        Jahresverbrauchsabrechnung Strom
        Verbrauchsstelle: {line1}, {line2}
        Gesamtverbrauch|2.311 kWh|Rechnungsbetrag|812,40 EUR
        """,
    ),
    Sheet(
        "f",
        "bank_statement",
        "%d.%m.%Y",
        WHERE,
        """\
        Volksbank Nordheide eG|Auszug 7 / Blatt 1
        {title_de} {given} {surname}, {line1}, {line2}, {line3}
        Konto 11 223 344|IBAN DE00 2005 0550 1011 2233 44

        Alter Saldo per {issued}|EUR 2.114,00
        Neuer Saldo per {issued_on}|EUR 1.988,45
        """,
    ),
    Sheet(
        "f",
        "letter",
        "%d.%m.%Y",
        LIVES,
        """\
        Amtliche Meldebescheinigung

        Familienname|{surname}
        Rufname, weitere Vornamen|{given}
        Geboren|{born} in {city}
        Alleinige Wohnung|{line1}
        |{line2}
        |{line3}
        Einzugsdatum|{issued}

        Im Auftrag
        {official}
        """,
    ),
    Sheet(
        "f",
        "company_register",
        "%d.%m.%Y",
        LIVES,
        """\
        Handelsregister B des Amtsgerichts Altstadt|HRB 88127
        Ausdruck - Abruf vom {issued_on}

        2. a) Firma: Morgenrot Handels GmbH
        b) Sitz: Altstadt
        3. Stammkapital: 25.000,00 EUR
        4. Geschäftsführer: {surname}, {given}, *{born}
        wohnhaft: {line1}, {line2}, {line3}
        Prokura: {official}
        """,
    ),
    Sheet(
        "f",
        "letter",
        "%d. %B %Y",
        LIVES,
        """\
        Versicherungsbestätigung

        Versicherungsnehmer/in:|{given} {surname}
        Geb.:|{born}
        Risikoanschrift:|{line1}, {line2}, {line3}
        Versicherungsbeginn:|{issued}
        Ihre Betreuerin:|{official}
        """,
        language="de",
    ),
    # g: French, Spanish, Italian, Portuguese
    Sheet(
        "g",
        "id_card",
        "%d %m %Y",
        WHO,
        """\
        CARTE NATIONALE D'IDENTITÉ / IDENTITY CARD

        NOM / Surname
        {SURNAME}
        Prénoms / Given names
        {GIVEN}
        SEXE / Sex|NATIONALITÉ / Nationality|DATE DE NAISS. / Date of birth
        {sex}|{alpha3}|{born}
        LIEU DE NAISSANCE / Place of birth
        {city}
        N° DU DOCUMENT / Document No|DATE D'EXPIR. / Expiry date
        {number}|{expires}
        """,
    ),
    Sheet(
        "g",
        "passport",
        "%d/%m/%Y",
        WHO,
        """\
        PASSAPORTE|{COUNTRY}

        APELIDOS|{SURNAME}
        NOMES PRÓPRIOS|{GIVEN}
        NACIONALIDADE|{COUNTRY}
        NASCIDO(A) EM|{born}
        NATURALIDADE|{city}
        N.º DO PASSAPORTE|{number}
        EMITIDO EM|{issued}
        VÁLIDO ATÉ|{expires}
        ENTIDADE EMISSORA|{official}
        """,
    ),
    Sheet(
        "g",
        "id_card",
        "%d %m %Y",
        WHO,
        """\
        DOCUMENTO NACIONAL DE IDENTIDAD

        APELLIDOS / SURNAMES
        {SURNAME}
        NOMBRE / NAME
        {GIVEN}
        SEXO|NACIONALIDAD|NACIMIENTO
        {sex}|{alpha3}|{born}
        NUM SOPORT|VALIDEZ
        {number}|{expires}

        {zone1}
        """,
    ),
    Sheet(
        "g",
        "residence_permit",
        "%d/%m/%Y",
        WHO,
        """\
        PERMESSO DI SOGGIORNO

        Cognome e nome: {SURNAME} {GIVEN}
        Nato/a il: {born}   a: {city}
        Cittadino/a di: {country}
        Permesso n.: {number}
        Rilasciato il: {issued}
        Valido fino al: {expires}
        Il dirigente: {official}
        """,
    ),
    Sheet(
        "g",
        "driving_licence",
        "%d %B %Y",
        LICENCE,
        """\
        Attestation de droits à conduire - permis de conduire

        Le permis numéro {number} a été délivré le {issued} à
        {given} {surname}, né(e) le {born} à {city}.
        Fin de validité : {expires}
        Le préfet, {official}
        """,
        language="fr",
    ),
    Sheet(
        "g",
        "utility_bill",
        "%d/%m/%Y",
        PLACE,
        """\
        Énergie du Littoral|Votre facture d'électricité du {issued_on}
        Référence client 1 400 221 887
        Votre conseiller : {official}

        Titulaire du contrat
        {given} {surname}
        Lieu de consommation
        {line1}
        {line2}
        Puissance souscrite|6 kVA
        Montant total TTC|112,40 €
        """,
    ),
    Sheet(
        "g",
        "utility_bill",
        "%d/%m/%Y",
        WHERE,
        """\
        AGUAS DEL VALLE S.A.|FACTURA DE AGUA

        DATOS DEL CLIENTE|DATOS DE LA FACTURA
        {given} {surname}|Fecha de emisión: {issued_on}
        {line1}|Nº factura: 2026/88127
        {line2}|Periodo: bimestre 5
        {line3}|Total: 46,10 €
        """,
    ),
    Sheet(
        "g",
        "bank_statement",
        "%d/%m/%Y",
        PLACE,
        """\
        Banca del Lago|ESTRATTO CONTO N. 3
        Intestatario: {surname} {given}
        Recapito: {line1} - {line2}
        Filiale di {city}, gestore {official}

        Saldo iniziale al {issued}|1.204,10
        Saldo finale al {issued_on}|988,45
        """,
    ),
    Sheet(
        "g",
        "company_register",
        "%d/%m/%Y",
        LIVES,
        """\
        EXTRAIT KBIS - Registre du commerce et des sociétés

        Dénomination : ATELIER DU MARAIS SARL
        Siège social : 4 place du Marché, 69002 Lyon

        GÉRANT
        Nom, prénoms : {SURNAME} {GIVEN}
        Date et lieu de naissance : Le {born} à {city}
        Nationalité : {country}
        Domicile personnel : {line1}, {line2}, {line3}

        Commissaire aux comptes : {official}
        """,
    ),
    Sheet(
        "g",
        "letter",
        "%d de %B de %Y",
        LIVES,
        """\
        CERTIFICADO DE EMPADRONAMIENTO

        {official}, secretario del ayuntamiento, CERTIFICA que
        {given} {surname}, con fecha de nacimiento {born},
        figura inscrito en el domicilio de {line1}, {line2}, {line3}.

        Y para que conste, firmo la presente.
        """,
        language="es",
    ),
    Sheet(
        "g",
        "letter",
        "%d de %B de %Y",
        LIVES,
        """\
        DECLARAÇÃO DE RESIDÊNCIA

        Eu, {given} {surname}, nascido(a) a {born}, declaro que resido em
        {line1}, {line2}, {line3}, desde há três anos.

        Testemunha: {official}
        """,
        language="pt",
    ),
    # h: the north and the east; tables, prose, dotted lines
    Sheet(
        "h",
        "passport",
        "%d %b %Y",
        (*WHO, "issued_by"),
        """\
        PAS / PASSPORT / PASSEPORT

        Type|Kode|Pasnr. / Passport No.
        P|{alpha3}|{number}
        Efternavn / Surname / Nom
        {SURNAME}
        Fornavne / Given names / Prénoms
        {GIVEN}
        Nationalitet / Nationality|Fødselsdato / Date of birth
        {COUNTRY}|{born}
        Udstedelsesdato / Date of issue|Udløbsdato / Date of expiry
        {issued}|{expires}
        {zone3}
        """,
    ),
    Sheet(
        "h",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        OBČANSKÝ PRŮKAZ / IDENTITY CARD

        PŘÍJMENÍ / SURNAME|{SURNAME}
        JMÉNO / GIVEN NAMES|{GIVEN}
        DATUM NAROZENÍ / DATE OF BIRTH|{born}
        MÍSTO NAROZENÍ / PLACE OF BIRTH|{city}
        STÁTNÍ OBČANSTVÍ / NATIONALITY|{COUNTRY}
        ČÍSLO DOKLADU / DOCUMENT No.|{number}
        PLATNOST DO / DATE OF EXPIRY|{expires}
        """,
    ),
    Sheet(
        "h",
        "id_card",
        "%d.%m.%Y",
        WHO,
        """\
        KİMLİK KARTI

        Soyadı
        {SURNAME}
        Adı
        {GIVEN}
        Doğum Tarihi|Cinsiyeti
        {born}|{sex}
        Seri No|Uyruğu
        {number}|{COUNTRY}
        Son Geçerlilik
        {expires}
        """,
    ),
    Sheet(
        "h",
        "driving_licence",
        "%Y-%m-%d",
        LICENCE,
        """\
        RIJBEWIJS - uittreksel uit het register

        | Veld | Gegeven |
        | Geslachtsnaam | {surname} |
        | Voornamen | {given} |
        | Geboren op | {born} |
        | Rijbewijsnummer | {number} |
        | Afgegeven | {issued} |
        | Verloopt op | {expires} |
        """,
    ),
    Sheet(
        "h",
        "passport",
        "%d %B %Y",
        WHO,
        """\
        NOTARIAL CERTIFICATE

        I, {official}, Notary Public, have inspected the passport numbered
        {number} issued to {given} {surname}, a citizen of {country} born
        on {born}. The said passport was issued on {issued} and remains
        valid until {expires}.
        """,
    ),
    Sheet(
        "h",
        "residence_permit",
        "%d.%m.%Y",
        WHO,
        """\
        OLESKELULUPA / UPPEHÅLLSTILLSTÅND / RESIDENCE PERMIT

        Sukunimi, etunimet ......... {SURNAME}, {GIVEN}
        Syntymäaika ................ {born}
        Kansalaisuus ............... {country}
        Asiakirjan numero .......... {number}
        Viimeinen voimassaolopäivä . {expires}
        """,
    ),
    Sheet(
        "h",
        "utility_bill",
        "%d.%m.%Y",
        PLACE,
        """\
        Energetyka Zachodnia S.A.|FAKTURA VAT 11/2026
        Data wystawienia: {issued_on}

        NABYWCA|ADRES PUNKTU POBORU
        {given} {surname}|{line1}
        {line1}|{line2}
        {line2}|

        Wystawił: {official}
        Do zapłaty|188,20 PLN
        """,
    ),
    Sheet(
        "h",
        "utility_bill",
        "%d-%m-%Y",
        WHERE,
        """\
        Eindafrekening energie - factuurdatum {issued_on}

        Uw gegevens
        Klant: 8812 7741
        T.n.v.: {given} {surname}
        Leveringsadres: {line1}, {line2}, {line3}
        Contactpersoon: {official}

        Verbruik 2.411 kWh|Te betalen 96,11
        """,
    ),
    Sheet(
        "h",
        "bank_statement",
        "%Y-%m-%d",
        WHERE,
        """\
        Kontoutdrag|{issued_on}
        Sparbanken Västkust

        Kontohavare|Adress
        {given} {surname}|{line1}
        Kontonummer|{line2}
        8812-7 741 220|{line3}
        Ingående saldo|2 114,00
        Utgående saldo|1 988,45
        """,
    ),
    Sheet(
        "h",
        "company_register",
        "%d.%m.%Y",
        LIVES,
        """\
        OFICIUL REGISTRULUI COMERTULUI - certificat constatator

        Denumire firma|Alba Trade SRL
        Administratori
        Nume si prenume|{surname} {given}
        Data nasterii|{born}
        Domiciliul|{line1}, {line2}, {line3}
        Cenzor|{official}
        """,
    ),
    Sheet(
        "h",
        "letter",
        "%d %B %Y",
        LIVES,
        """\
        University Registry

        To the bank manager:

        {given} {surname} is registered here as a full-time student. Our records
        show {born} as date of birth and the term-time address as
        {line1}, {line2}, {line3}.

        {official}
        Registrar
        """,
    ),
    Sheet(
        "h",
        "utility_bill",
        "%d.%m.%Y",
        PLACE,
        """\
        Mobile One - monthly invoice|{issued_on}

        MR/MS {GIVEN} {SURNAME}
        {LINE1}
        {LINE2}

        Subscriber number 071 555 0144
        Plan: Unlimited 20|20.00
        """,
    ),
    # i: other continents, and languages that reading has few words of; written when reading was done
    Sheet(
        "i",
        "id_card",
        "%d-%m-%Y",
        WHO,
        """\
        KARTU IDENTITAS / ID CARD

        NIK|{number}
        Nama|{GIVEN} {SURNAME}
        Tempat/Tgl Lahir|{city}, {born}
        Kewarganegaraan|{COUNTRY}
        Berlaku Hingga|{expires}
        """,
    ),
    Sheet(
        "i",
        "id_card",
        "%d/%m/%Y",
        WHO,
        """\
        CĂN CƯỚC CÔNG DÂN / Citizen Identity Card

        Số / No.: {number}
        Họ và tên / Full name:
        {SURNAME} {GIVEN}
        Ngày sinh / Date of birth: {born}
        Giới tính / Sex: {sex}   Quốc tịch / Nationality: {country}
        Có giá trị đến / Date of expiry: {expires}
        """,
    ),
    Sheet(
        "i",
        "passport",
        "%d.%m.%Y",
        (*WHO, "issued_by"),
        """\
        ПАСПОРТ / PASSPORT

        Тип/Type|Код держави/Country code|Номер паспорта/Passport No.
        P|{alpha3}|{number}
        Прізвище/Surname
        {SURNAME}
        Ім'я/Given names
        {GIVEN}
        Громадянство/Nationality|Дата народження/Date of birth
        {COUNTRY}|{born}
        Дата видачі/Date of issue|Дата закінчення строку дії/Date of expiry
        {issued}|{expires}
        """,
    ),
    Sheet(
        "i",
        "id_card",
        "%Y. %m. %d.",
        WHO,
        """\
        SZEMÉLYAZONOSÍTÓ IGAZOLVÁNY

        CSALÁDI ÉS UTÓNÉV|{SURNAME} {GIVEN}
        ÁLLAMPOLGÁRSÁG|{alpha3}
        SZÜL. IDŐ|{born}
        OKMÁNYAZONOSÍTÓ|{number}
        ÉRVÉNYESSÉGI IDŐ|{expires}
        """,
    ),
    Sheet(
        "i",
        "driving_licence",
        "%b %d %Y",
        LICENCE,
        """\
        Motor Vehicle Department|DRIVING LICENCE

        {number}
        DOI: {issued}   VALID TILL: {expires} (NT)
        NAME: {GIVEN} {SURNAME}
        S/D/W of: {official}
        DOB: {born}   BG: O+
        ADD: {line1}, {line2}
        """,
    ),
    Sheet(
        "i",
        "residence_permit",
        "%d %b %Y",
        WHO,
        """\
        EMPLOYMENT PASS - Work permit and residence permit

        Employer: Lotus Harbour Pte Ltd
        Name: {GIVEN} {SURNAME}
        FIN: {number}
        This pass is for a national of {country}, born {born}.
        Date of Application: {issued}
        Expiry: {expires}
        """,
    ),
    Sheet(
        "i",
        "utility_bill",
        "%d %b %Y",
        WHERE,
        """\
        Kwik Power Prepaid|Tax invoice {issued_on}

        Bill for|{given} {surname}
        Erf / stand|{line1}
        Suburb|{line2}
        Nation|{line3}
        Meter reader|{official}
        Units 311|Cost 84.20
        """,
    ),
    Sheet(
        "i",
        "utility_bill",
        "%d/%m/%Y",
        PLACE,
        """\
        TAGIHAN LISTRIK - electricity

        ID Pelanggan|5412 7781 0092
        Nama Pelanggan|{given} {surname}
        Alamat|{line1}
        |{line2}
        Petugas|{official}
        Jatuh tempo|20/12/2026
        """,
    ),
    Sheet(
        "i",
        "bank_statement",
        "%d %b %Y",
        WHERE,
        """\
        Page 1/2|eStatement|{issued_on}
        {LINE1}|{GIVEN} {SURNAME}
        {LINE2}|Savings 7781
        {COUNTRY_LIVES}|Branch manager {official}

        Brought forward|2,001.10
        """,
    ),
    Sheet(
        "i",
        "company_register",
        "%d %b %Y",
        LIVES,
        """\
        Business profile (company) of LOTUS HARBOUR PTE LTD

        Officers
        Name|ID|Citizenship|Born
        {GIVEN} {SURNAME}|{number}|{COUNTRY}|{born}
        Address: {line1}, {line2}, {line3}
        {OFFICIAL}|S771120|SINGAPORE|01 Jan 1960
        """,
    ),
    Sheet(
        "i",
        "letter",
        "%d %B %Y",
        LIVES,
        """\
        Ward Office. To whom it may concern: this serves to introduce
        {title} {given} {surname} of {line1}, {line2}, {line3}, whose
        birth certificate gives {born}. Signed, {official}, Chief.
        """,
    ),
)
