"""What an application says against what its documents say, and whom to screen. Pure.

In: the application, what was read of each document, today's date, and what the policy allows (compared.py). Out:
agreements by field, findings as sentences, and the people to screen: the applicant, his other names, and everybody
else whom the documents address; who is one too many is told as unscreened. Guaranteed: bounded; a finding says which
document it comes from; nothing that a document does not say counts as agreement. Names agree over scripts,
transliterations, order and initials (processors/screening/names.py); whether two people are one is never concluded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from rapidfuzz.distance import DamerauLevenshtein

from aios.processors.reading import countries, dates, implausible
from aios.processors.reading.compared import Applicant, Comparison, DocumentRead, Finding, Said, Subject
from aios.processors.reading.fact import FACTS_MAX, Fact, Kind
from aios.processors.reading.implausible import NO_LIMITS, Limits
from aios.processors.reading.kinds import IDENTITY, Document
from aios.processors.reading.source import fold
from aios.processors.screening.names import PARTICLES, Part, parts, skeleton, sound

SUBJECTS_MAX = 5
UNSCREENED_MAX = 50  # further names that are told
FINDINGS_MAX = 30
SLIP_LETTERS = 5  # from this length on one slip of the pen is forgiven
SKELETON_LETTERS = 3
ADDRESS_SHARE = 0.5  # of the shorter address's words


def compare(
    applicant: Applicant, documents: Sequence[DocumentRead], today: str, limits: Limits = NO_LIMITS
) -> Comparison:
    """today: YYYY-MM-DD."""
    read = [document for document in documents if not document.problem]
    born = dates.first_in(applicant.birth_date, past=True)
    said_born = born.iso if born is not None else ""
    country = countries.code(applicant.country)
    name = _worst(names_agree(applicant.name, document.name) for document in read if document.name)
    birth = _worst(
        _births(said_born, born.other if born else "", fact)
        for document in read
        for fact in document.facts
        if fact.kind is Kind.BIRTH_DATE
    )
    address = _best(addresses_agree(applicant.address, document.address) for document in read if document.address)
    identity = [document for document in read if document.kind in IDENTITY]
    every = [country, countries.at_end(applicant.address.strip(" .,"))]
    every += [code for document in read for code in (document.nationality, document.country)]
    every += [fact.value for document in read for fact in document.facts if fact.kind is Kind.MENTIONED]
    findings = [
        *_of_application(applicant, said_born, country, born.other if born else ""),
        *_implausible(read, [said_born, born.other if born else ""], today, limits),
        *(finding for document in documents for finding in _of_document(document, applicant, said_born, today)),
    ]
    if not identity and any(document.kind is Document.OTHER for document in read):
        says = "there is a document whose kind was not recognised; it may be the one that shows who somebody is"
        findings.append(Finding(code="document_unknown", says=says))
    elif not identity:
        findings.append(Finding(code="no_identity_document", says="there is no passport, identity card or licence"))
    if not any(map(_proves, read)):
        findings.append(
            Finding(code="no_proof_of_address", says="no document beside an identity document has an address")
        )
    subjects = tuple(_subjects(applicant, said_born, country, read))
    if len(subjects) > SUBJECTS_MAX:
        says = f"there are {len(subjects)} names, and {SUBJECTS_MAX} are screened"
        findings.append(Finding(code="too_many_names", says=says))
    return Comparison(
        subjects=subjects[:SUBJECTS_MAX],
        unscreened=subjects[SUBJECTS_MAX:][:UNSCREENED_MAX],
        findings=tuple(_each_first(findings))[:FINDINGS_MAX],
        name=name,
        birth_date=birth,
        address=address,
        identity=bool(identity),
        countries=tuple(dict.fromkeys(code for code in every if code)),
        unread=sum(bool(document.problem) for document in documents),
    )


def _each_first(findings: Sequence[Finding]) -> Iterator[Finding]:
    """One of every code before any code's second: a cut loses no points."""
    first = {finding.code: finding for finding in reversed(findings)}
    yield from (finding for finding in findings if first[finding.code] is finding)
    yield from (finding for finding in findings if first[finding.code] is not finding)


def _of_application(applicant: Applicant, born: str, country: str, other: str) -> Iterator[Finding]:
    if applicant.birth_date and not born:
        yield Finding(
            code="birth_date_unclear", says=f"the application's birth date is no date: {applicant.birth_date}"
        )
    if other:
        says = f"the application's birth date may be {born} or {other}"
        yield Finding(code="birth_date_unclear", says=says)
    if applicant.country and not country:
        yield Finding(
            code="country_unclear", says=f"the application's country is none that is known: {applicant.country}"
        )


def _implausible(read: Sequence[DocumentRead], born: Sequence[str], today: str, limits: Limits) -> Iterator[Finding]:
    """Days that papers in order do not have."""
    for code, says in implausible.birth([day for day in born if day], today, limits):
        yield Finding(code=code, says=f"the application says {says}")
    for document in read:
        found = list(implausible.issue(document.facts, today))
        if document.kind in IDENTITY:
            for fact in document.facts:
                if fact.kind is Kind.BIRTH_DATE and not {fact.value, fact.other} & set(born) - {""}:
                    found += implausible.birth([day for day in (fact.value, fact.other) if day], today, limits)
        yield from (
            Finding(code=code, says=f"{document.file}: it says {says}", file=document.file) for code, says in found
        )
    proofs = [(document, implausible.is_old(document.facts, today, limits)) for document in read if _proves(document)]
    if proofs and all(day for _, day in proofs):
        document, day = max(proofs, key=lambda proof: proof[1])
        says = (
            f"{document.file}: it is of {day}, and a proof of address is at most {limits.proof_months_max} months old"
        )
        yield Finding(code="proof_old", says=says, file=document.file)


def _proves(document: DocumentRead) -> bool:
    """Whether it is one of those that an address is believed by."""
    return document.kind not in IDENTITY and document.address != ""


def _of_document(document: DocumentRead, applicant: Applicant, born: str, today: str) -> Iterator[Finding]:
    def finding(code: str, says: str) -> Finding:
        return Finding(code=code, says=f"{document.file}: {says}", file=document.file)

    if document.problem:
        yield finding("document_unread", document.says)
        return
    yield from _of_names(document, applicant, finding)
    born_facts = [fact for fact in document.facts if fact.kind is Kind.BIRTH_DATE]
    for fact in born_facts:
        if born and born not in (fact.value, fact.other):
            yield finding("birth_date_differs", f"it says born {fact.value}, the application {born}")
    if any(not {one.value, one.other} & {two.value, two.other} - {""} for one, two in combinations(born_facts, 2)):
        says = " and ".join(fact.value for fact in born_facts)
        yield finding("contradicts_itself", f"it has more than one birth date: {says}")
    zone = [fact for fact in document.facts if fact.kind is Kind.NAME and fact.by == "zone"]
    if zone and document.name and names_agree(zone[0].value, document.name) is Said.DIFFERS:
        yield finding(
            "contradicts_itself", f"its machine-readable zone names {zone[0].value}, its text {document.name}"
        )
    if document.kind in IDENTITY and not (document.name and document.birth_date and document.expires):
        lacks = [word for word, value in _needed(document) if not value]
        yield finding("identity_incomplete", f"it shows who somebody is, but no {' and no '.join(lacks)} was read")
    if document.kind in IDENTITY:
        yield from _of_validity(document, today, finding)
    yield from _against_itself(document, finding)
    if len(document.facts) >= FACTS_MAX:
        yield finding("too_many_names", f"it says as much as is read of one document, {FACTS_MAX} facts, or more")
    if _proves(document) and addresses_agree(applicant.address, document.address) is Said.DIFFERS:
        yield finding("address_differs", f"it has the address {document.address}")


def _against_itself(document: DocumentRead, finding: Callable[[str, str], Finding]) -> Iterator[Finding]:
    """What it says of its own worth. A zone that was read from a picture may be whole on the paper."""
    marks = [fact.value for fact in document.facts if fact.kind is Kind.MARKED]
    if marks:
        says = ", ".join(marks)
        yield finding("marked_void", f"by its own words it may not be in force, be a model, or be reported: {says}")
    if any(fact.kind is Kind.ZONE_BROKEN for fact in document.facts):
        code = "zone_unsure" if document.scanned else "zone_broken"
        yield finding(code, "the check digits of its machine-readable zone do not hold")


def _of_names(
    document: DocumentRead, applicant: Applicant, finding: Callable[[str, str], Finding]
) -> Iterator[Finding]:
    said = names_agree(applicant.name, document.name) if document.name else Said.UNKNOWN
    in_part = said is Said.CLOSE and document.kind in IDENTITY and _differ_in_part(applicant.name, document.name)
    if said is Said.DIFFERS or in_part:
        yield finding("name_differs", f"it names {document.name}, the application {applicant.name}")
    elif said is Said.CLOSE:
        yield finding("name_close", f"it names {document.name}, nearly the application's {applicant.name}")
    for fact in document.facts:
        if fact.kind is Kind.ALIAS and not _keys(fact.value) <= _keys(applicant.name):
            yield finding("other_name", f"it gives another name of whom it names: {fact.value}")
        if fact.kind is Kind.BESIDE:
            yield finding("names_another", f"it also names {fact.value}")


def _of_validity(document: DocumentRead, today: str, finding: Callable[[str, str], Finding]) -> Iterator[Finding]:
    """By every day that it may be valid until, in either reading: a later one may be a visa's or a notary's."""
    ends = {day for fact in document.facts if fact.kind is Kind.EXPIRES for day in (fact.value, fact.other) if day}
    past = sorted(day for day in ends if day < today)
    unexplained = sorted(
        {fact.value for fact in document.facts if fact.kind is Kind.UNEXPLAINED and (not ends or fact.value < today)}
    )
    if past and len(past) == len(ends):
        yield finding("expired", f"it expired on {past[-1]}")
    elif past:
        days = ", ".join(sorted(ends))
        yield finding("expiry_unsure", f"it may have expired on {past[-1]}: as its last day {days} can be read")
    elif unexplained:
        says = f"it says nowhere what these days are, and one of them may be its expiry: {', '.join(unexplained)}"
        yield finding("expiry_unsure", says)


def _needed(document: DocumentRead) -> Iterator[tuple[str, str]]:
    """What an identity document is believed by: who, and how long."""
    yield "name", document.name
    yield "birth date", document.birth_date
    yield "expiry", document.expires


def _subjects(applicant: Applicant, born: str, country: str, read: Sequence[DocumentRead]) -> Iterator[Subject]:
    """The applicant first; then each name of a document that says something that no name before it says, the holder's
    other names, and who stands beside him.
    """
    documents_born = next((document.birth_date for document in read if document.birth_date), "")
    documents_country = next((document.nationality for document in read if document.nationality), "")
    yield Subject(
        name=applicant.name,
        born=born or documents_born,
        country=country or documents_country,
        found_in="application",
    )
    mine = _keys(applicant.name)
    seen = [mine]
    if born and documents_born and born != documents_born:
        yield Subject(name=applicant.name, born=documents_born, country=documents_country, found_in="documents")
    for document in read:
        for fact in document.facts:
            if fact.kind is not Kind.NAME or any(_keys(fact.value) <= keys for keys in seen):
                continue
            seen.append(_keys(fact.value))
            is_mine = names_agree(applicant.name, fact.value) is not Said.DIFFERS
            yield Subject(
                name=fact.value,
                born=document.birth_date or (born if is_mine else ""),
                country=document.nationality or (country if is_mine else ""),
                found_in=document.file,
            )
    yield from _also(applicant, born, country, read, seen)
    others = [mine]
    for document in read:
        for fact in document.facts:
            if fact.kind is Kind.BESIDE and not any(_keys(fact.value) <= keys for keys in others):
                others.append(_keys(fact.value))
                yield Subject(name=fact.value, born="", country="", found_in=document.file)


def _also(
    applicant: Applicant, born: str, country: str, read: Sequence[DocumentRead], seen: list[frozenset[str]]
) -> Iterator[Subject]:
    """Other names of whom a document names. Under one that shares no part with his own nobody stated a birth date."""
    for document in read:
        is_mine = names_agree(applicant.name, document.name) is not Said.DIFFERS
        for fact in document.facts:
            keys = _keys(fact.value)
            if fact.kind is Kind.ALIAS and keys not in seen and not keys <= seen[0]:
                seen.append(keys)
                is_changed = bool(keys & _keys(document.name or applicant.name))
                yield Subject(
                    name=fact.value,
                    born=(document.birth_date or (born if is_mine else "")) if is_changed else "",
                    country=document.nationality or (country if is_mine else ""),
                    found_in=document.file,
                )


def _keys(name: str) -> frozenset[str]:
    return frozenset(part.text for part in parts(name) if part.text not in PARTICLES)


def names_agree(one: str, other: str) -> Said:
    """Whether two names may be one person's: every part of the shorter has its like in the longer, in any order."""
    left, right = _named(one), _named(other)
    if not left or not right:
        return Said.UNKNOWN
    short, long = sorted((left, right), key=len)
    liked, exact = _likes(short, long)
    if liked == len(short) and exact and (len(short) > 1 or len(long) == 1):
        sure = len(long) == 1 or exact >= max(2, len(short) - 1)
        return Said.AGREES if sure else Said.CLOSE
    return Said.CLOSE if exact and liked >= max(2, len(short) - 1) else Said.DIFFERS


def _differ_in_part(one: str, other: str) -> bool:
    """Whether a part of the shorter has nothing like it in the longer: two siblings' names, or one before and after a
    marriage. Of a bill that may be a slip; the paper that shows who somebody is says his name.
    """
    short, long = sorted((_named(one), _named(other)), key=len)
    return _likes(short, long)[0] < len(short)


def _likes(short: Sequence[Part], long: Sequence[Part]) -> tuple[int, int]:
    """How many parts of the shorter have their like in the longer, and how many of these the same."""
    free = list(long)
    exact = liked = 0
    for part in sorted(short, key=lambda part: part.initial):
        best = max(free, key=lambda candidate: _alike(part, candidate), default=None)
        likeness = 0 if best is None else _alike(part, best)
        if best is not None and likeness:
            free.remove(best)
            liked += 1
            exact += likeness > 1
    return liked, exact


def _named(name: str) -> list[Part]:
    found = parts(name)
    return [part for part in found if part.text not in PARTICLES] or list(found)


def _alike(one: Part, other: Part) -> int:
    """2: the same or one transliteration of it; 1: an initial or a slip; 0: neither."""
    if one.text == other.text or sound(one.text) == sound(other.text):
        return 2
    if one.bare or other.bare:
        return 2 if skeleton(one.text, bare=True) == skeleton(other.text, bare=True) else 0
    if one.initial or other.initial:
        return int(one.text[0] == other.text[0])
    if len(skeleton(one.text)) >= SKELETON_LETTERS and skeleton(one.text) == skeleton(other.text):
        return 1  # vowels alone differ, as transliterations do
    longer = max(len(one.text), len(other.text))
    allowed = 2 if longer >= 2 * SLIP_LETTERS else 1
    return int(longer >= SLIP_LETTERS and DamerauLevenshtein.distance(one.text, other.text) <= allowed)


def addresses_agree(one: str, other: str) -> Said:
    """By their words and numbers; a number of the shorter that the longer lacks is a difference."""
    left, right = (set(re.findall(r"[^\W_]+", fold(text))) for text in (one, other))
    if not left or not right:
        return Said.UNKNOWN
    short, long = sorted((left, right), key=len)
    numbers = {word for word in short if word.isdigit()}
    common = len(short & long) / len(short)
    if common >= ADDRESS_SHARE and numbers <= long:
        return Said.AGREES
    return Said.CLOSE if common >= ADDRESS_SHARE else Said.DIFFERS


def _births(born: str, other: str, fact: Fact) -> Said:
    if not born:
        return Said.UNKNOWN
    if born == fact.value:
        return Said.AGREES
    return Said.CLOSE if fact.value == other or born == fact.other else Said.DIFFERS


_ORDER = (Said.DIFFERS, Said.CLOSE, Said.AGREES)


def _worst(said: Iterator[Said]) -> Said:
    found = {one for one in said if one is not Said.UNKNOWN}
    return next((one for one in _ORDER if one in found), Said.UNKNOWN)


def _best(said: Iterator[Said]) -> Said:
    found = {one for one in said if one is not Said.UNKNOWN}
    return next((one for one in reversed(_ORDER) if one in found), Said.UNKNOWN)
