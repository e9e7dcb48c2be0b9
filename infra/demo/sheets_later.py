"""Two further sets of forms, written before reading was changed for the prose and the second people in them.

`j` is what screens, portals and mails hold; `k` what consulates, notaries, registers and courts write, in whole
sentences of several languages. Both were measured before anybody looked at how they were read, and nothing in reading
was changed for their words. In {joint} stands somebody beside the applicant, a holder as he is.
"""

from __future__ import annotations

from aios.infra.demo.sheets import WHERE, WHO, Sheet
from aios.infra.demo.sheets_strange import LICENCE, LIVES, PLACE

LATER = (
    # j: screens, portals, mails
    Sheet(
        "j",
        "passport",
        "%Y-%m-%d",
        WHO,
        """\
        Document check result

        document_type = PASSPORT
        last_names = {SURNAME}
        first_names = {GIVEN}
        dob = {born}
        doc_no = {number}
        nationality_code = {alpha3}
        expiry_date = {expires}
        check_status = OK
        """,
    ),
    Sheet(
        "j",
        "id_card",
        "%d %b %Y",
        WHO,
        """\
        9:41|100%
        Wallet

        Identity card
        {given} {surname}
        Born {born}
        {country}
        Card no. {number}
        Valid through {expires}

        Show QR code
        """,
    ),
    Sheet(
        "j",
        "driving_licence",
        "%d/%m/%Y",
        LICENCE,
        """\
        Subject: Your driving licence record

        Thank you for using the licensing portal. Our register shows
        driving licence {number}, held by {given} {surname} (d.o.b. {born}).
        The entitlement was granted on {issued} and runs out on {expires}.

        Categories: B, AM
        """,
    ),
    Sheet(
        "j",
        "residence_permit",
        "%d-%m-%Y",
        WHO,
        """\
        VERBLIJFSDOCUMENT

        V-nummer|{personal}
        Naam houder|{surname}, {given}
        Geb. datum|{born}
        Burger van|{country}
        Documentnr.|{number}
        Geldig tot en met|{expires}
        Plaats van afgifte|{city}
        """,
    ),
    Sheet(
        "j",
        "id_card",
        "%d/%m/%Y",
        WHO,
        """\
        Comune di Belcolle - Ufficio anagrafe

        Si certifica che la carta d'identità n. {number}, rilasciata il
        {issued} con scadenza {expires}, è intestata a {given} {surname},
        nato/a il {born} a {city}, cittadino/a di {country}.

        L'ufficiale d'anagrafe
        {official}
        """,
    ),
    Sheet(
        "j",
        "utility_bill",
        "%d %b %Y",
        PLACE,
        """\
        Hello! Your fibre invoice of {issued_on} is ready.

        Invoice 2026-11-7741
        For: {given} {surname}
        Installed at: {line1}, {line2}

        Plan L 500 Mbit/s|39.00
        Paid by card, nothing to do.
        """,
    ),
    Sheet(
        "j",
        "bank_statement",
        "%d %B %Y",
        WHERE,
        """\
        Tidewater Bank - online banking
        Account overview, printed {issued_on}

        Your details
        Name|{given} {surname}
        Mailing address|{line1}
        |{line2}
        |{line3}

        Everyday account ..4471|2,118.40
        """,
    ),
    Sheet(
        "j",
        "letter",
        "%d %B %Y",
        LIVES,
        """\
        People team, Harbour Robotics

        Happy to confirm that {given} {surname}, who was born on {born},
        is on our payroll. The home address on file is
        {line1}, {line2}, {line3}.

        {official}, People Partner
        """,
    ),
    Sheet(
        "j",
        "company_register",
        "%d-%m-%Y",
        LIVES,
        """\
        Kamer van Koophandel - uittreksel

        Handelsnaam|Zeewind Handel B.V.
        Bestuurder
        Naam|{surname}, {given}
        Geboortedatum|{born}
        Woonadres|{line1}, {line2}, {line3}
        Bevoegdheid|Alleen/zelfstandig bevoegd
        """,
    ),
    Sheet(
        "j",
        "bank_statement",
        "%d %B %Y",
        WHERE,
        """\
        Tidewater Bank - statement of {issued_on}
        Joint everyday account ..8812

        First account holder|{given} {surname}
        Second account holder|{joint}
        Mailing address|{line1}
        |{line2}
        |{line3}

        Balance|4,118.40
        """,
    ),
    Sheet(
        "j",
        "utility_bill",
        "%d %B %Y",
        WHERE,
        """\
        Clearwater Company
        Water bill, {issued_on}

        {title} {given} {surname}
        {joint}
        {line1}
        {line2}
        {line3}

        Total due|61.80
        """,
    ),
    Sheet(
        "j",
        "letter",
        "%d %B %Y",
        WHERE,
        """\
        RENTAL CONTRACT

        {official} lets the flat at {line1}, {line2}, {line3}
        to the renters {given} {surname} and {joint}
        from {issued} for an indefinite time.
        """,
    ),
    # k: consulates, notaries, registers, courts
    Sheet(
        "k",
        "passport",
        "%d %B %Y",
        WHO,
        """\
        CONSULAT GÉNÉRAL
        Attestation

        Le consul général soussigné atteste que {given} {surname},
        ressortissant de {country}, né le {born}, est titulaire du
        passeport n° {number}, délivré le {issued} et valable jusqu'au
        {expires}.

        {official}, consul général
        """,
        language="fr",
    ),
    Sheet(
        "k",
        "id_card",
        "%d de %B de %Y",
        WHO,
        """\
        TESTIMONIO NOTARIAL

        Yo, {official}, notario, DOY FE de que se me exhibe el documento
        nacional de identidad número {number}, expedido el {issued} a favor
        de {given} {surname}, nacido el {born}, de nacionalidad {country},
        con validez hasta el {expires}.
        """,
        language="es",
    ),
    Sheet(
        "k",
        "passport",
        "%d %B %Y",
        WHO,
        """\
        The Embassy presents its compliments and has the honour to confirm
        that passport no. {number} was granted on {issued} to
        {given} {surname}, date of birth {born}, a national of {country},
        and that the said passport expires on {expires}.

        {official}
        Head of the Consular Section
        """,
    ),
    Sheet(
        "k",
        "driving_licence",
        "%d.%m.%Y",
        LICENCE,
        """\
        Auskunft aus dem Fahrerlaubnisregister

        Für {given} {surname}, geboren am {born} in {city}, ist eine
        Fahrerlaubnis eingetragen. Der Führerschein mit der Nummer {number}
        wurde am {issued} ausgestellt und ist gültig bis {expires}.

        Im Auftrag
        {official}
        """,
    ),
    Sheet(
        "k",
        "residence_permit",
        "%d/%m/%Y",
        WHO,
        """\
        TÍTULO DE RESIDÊNCIA

        Nome completo|{given} {surname}
        Data nasc.|{born}
        País de nacionalidade|{country}
        Título n.º|{number}
        Emissão|{issued}
        Válido até|{expires}
        """,
    ),
    Sheet(
        "k",
        "id_card",
        "%d %b %Y",
        WHO,
        """\
        National ID Card

        Identification Number {number}
        Name {GIVEN}
        Last name {SURNAME}
        Date of Birth {born}
        Nationality {country}
        Date of Issue {issued}
        Date of Expiry {expires}
        """,
    ),
    Sheet(
        "k",
        "utility_bill",
        "%Y-%m-%d",
        WHERE,
        """\
        ÄLVKRAFT ENERGI AB|Faktura {issued_on}

        {given} {surname}
        {line1}
        {line2}
        {line3}

        Kundnummer|221 887
        Anläggning|{line1}
        Att betala|812,00
        """,
    ),
    Sheet(
        "k",
        "bank_statement",
        "%d.%m.%Y",
        WHERE,
        """\
        Bank Nadmorski S.A.
        Wyciąg z rachunku nr 11/2026

        Posiadacz rachunku: {given} {surname}
        Adres: {line1}, {line2}, {line3}

        Saldo początkowe|2 114,00
        Saldo końcowe|1 988,45
        """,
    ),
    Sheet(
        "k",
        "letter",
        "%d %B %Y",
        LIVES,
        """\
        AFFIDAVIT OF RESIDENCE

        I, {given} {surname}, born on {born}, being duly sworn, say that
        my home is {line1}, {line2}, {line3}, and that I know of no reason
        why this should not be believed.

        Sworn before me: {official}, Commissioner for Oaths
        """,
    ),
    Sheet(
        "k",
        "bank_statement",
        "%d/%m/%Y",
        WHERE,
        """\
        CAJA DEL MEDITERRÁNEO - EXTRACTO DE CUENTA

        Primer titular: {given} {surname}
        Segundo titular: {joint}
        Domicilio: {line1}, {line2}, {line3}

        Saldo a {issued_on}: 2.114,00 EUR
        """,
    ),
    Sheet(
        "k",
        "bank_statement",
        "%d.%m.%Y",
        WHERE,
        """\
        Kreissparkasse Oberland
        Kontoauszug {issued_on}

        {given} {surname} und {joint}
        {line1}
        {line2}
        {line3}

        Kontostand: 4.420,55 EUR
        """,
    ),
    Sheet(
        "k",
        "utility_bill",
        "%d/%m/%Y",
        WHERE,
        """\
        Régie des eaux|Facture du {issued_on}

        Abonnés : {given} {surname} et {joint}
        Adresse desservie : {line1}, {line2}, {line3}

        Consommation 41 m3|Montant 112,40
        """,
    ),
)
