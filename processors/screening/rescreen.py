"""Cases that were decided by an older version of a list, screened again by the one that serves now. Pure.

Enters: a decision, and the version that serves. Leaves: what changed, by the person, and what the audit says of it;
for each who is worse off a new application, the input of the case that a person decides. Guaranteed: the same for the
same, ids included, so that who asks twice raises one case (admit knows the idempotency key); whom nobody screened then,
because the list was away or there were too many names, is screened now like anybody else; an outcome of another kind,
and one that this version has screened, change nothing. A case that a version raised raises none itself: where a
person decided it, it says which entries he has looked at for the case that it came from, and those raise nothing again;
one that ended without a person says of none, so that the next version raises it again. Whoever is better off (an
entry that went) raises nothing, since a decision is not taken back by itself: the audit of his case says so, for each
version that serves, and `aios list changes` lists all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, zip_longest
from typing import Any

from aios.processors.screening import births
from aios.processors.screening.entries import Kind
from aios.processors.screening.index import HITS_MAX, Asked
from aios.processors.screening.published import Loaded
from aios.schemas import ids
from aios.schemas.models import ApplicationSubmitted, AuditRecorded, CaseDecided

PREFIX = "rescreen"  # of the idempotency keys of the cases that are raised
TRANSITION = "screened_again"
DOCUMENT = "screened-again.txt"
ENTRIES_SHOWN = 5
_RAISED = re.compile(rf"^{PREFIX}/[^/]+/(?P<case>[^/]+)/(?P<place>[0-9]{{1,4}})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of a decided case, and the entries that he was near to then. screened: whether anybody looked."""

    name: str
    born: str
    country: str
    entries: frozenset[str]
    screened: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """added: entries he is near to now and was not, with their names; gone: the other way round, by number."""

    person: Person
    place: int  # among the people of the case
    added: Mapping[str, str]
    gone: frozenset[str]


def changes(decided: CaseDecided, loaded: Loaded) -> Iterator[Change]:
    """What the version that serves says otherwise than the decision's screenings."""
    for place, (person, version) in enumerate(_people(decided.output, loaded.listed.name)):
        if version == loaded.listed.version:
            continue
        hits = loaded.index.search(Asked(person.name, births.read(person.born), Kind.INDIVIDUAL))
        now = {hit.entry.number: hit.entry.names[0] for hit in hits}
        added = {number: name for number, name in now.items() if number not in person.entries}
        gone = person.entries - now.keys()
        if len(hits) == HITS_MAX:  # others may only have made room; what is on the list no more has gone all the same
            gone -= {entry.number for entry in loaded.listed.entries}
        if added or gone:
            yield Change(person=person, place=place, added=added, gone=frozenset(gone))


def looked_at(decided: CaseDecided, loaded: Loaded) -> tuple[str, int, frozenset[str]] | None:
    """Of a case that some version raised: the case and the place of the person that it came from, and the entries that
    whoever decided it has seen; none where it ended without a person.

    None: it came from a customer.
    """
    raised = _RAISED.fullmatch(decided.idempotency_key)
    if raised is None:
        return None
    people = list(_people(decided.output, loaded.listed.name)) if decided.decided_by.startswith("reviewer:") else ()
    return raised["case"], int(raised["place"]), people[0][0].entries if people else frozenset()


def without(change: Change, entries: frozenset[str]) -> Change:
    """What is left where a person has looked at these."""
    return replace(change, added={number: name for number, name in change.added.items() if number not in entries})


def application(decided: CaseDecided, change: Change, loaded: Loaded, now_ms: int) -> ApplicationSubmitted:
    """The new case's input. now_ms: Unix ms, the same in every repeat (the version's publication)."""
    key = _key(decided, change, loaded)
    return ApplicationSubmitted(
        applicant_name=change.person.name,
        birth_date=change.person.born,
        country=change.person.country,
        documents=(
            {
                "name": DOCUMENT,
                "media_type": "text/plain",
                "text": _says(decided, change, loaded),
                "content": "",
                "reference": "",
            },
        ),
        event_id=ids.derive(PREFIX, key),
        idempotency_key=key,
        tenant=decided.tenant,
        received_at=now_ms,
        lane="bulk",
    )


def told(decided: CaseDecided, change: Change, loaded: Loaded, now_ms: int) -> AuditRecorded:
    """What the audit of the decided case says: whether a case is raised (added), and the entries that went (gone)."""
    key = _key(decided, change, loaded)
    raised = {"raises": key} if change.added else {}
    return AuditRecorded(
        audit_id=ids.derive("audit", ids.derive(PREFIX, key) if change.added else f"{key}/gone"),
        case_id=decided.case_id,
        tenant=decided.tenant,
        workflow=decided.workflow,
        case_seq=0,  # the case has ended: this is no transition of it, and replaces none
        transition=TRANSITION,
        actor=f"list:{loaded.listed.reference}",
        detail=ids.canonical(
            {
                "list": loaded.listed.reference,
                "added": len(change.added),
                "gone": sorted(change.gone),
                "outcome": decided.outcome,
                **raised,
            }
        ),
        input_topic="",
        input_partition=-1,
        input_offset=-1,
        at=now_ms,
    )


def _key(decided: CaseDecided, change: Change, loaded: Loaded) -> str:
    return f"{PREFIX}/{loaded.listed.reference}/{decided.case_id}/{change.place}"


def _says(decided: CaseDecided, change: Change, loaded: Loaded) -> str:
    on = datetime.fromtimestamp(decided.decided_at / 1000, UTC).date().isoformat()
    more = len(change.added) - ENTRIES_SHOWN
    shown = "; ".join(f"{number} {name}" for number, name in list(change.added.items())[:ENTRIES_SHOWN])
    again = "Screened again" if change.person.screened else "Screened for the first time, it was not done then"
    return (
        f"{again}: case {decided.case_id} ended as {decided.outcome} on {on}. By {loaded.listed.reference} the "
        f"entries that come near are now: {shown}{f'; and {more} more' if more > 0 else ''}."
    )


def _people(output: str, listed: str) -> Iterator[tuple[Person, str]]:
    """The people of an outcome with the version that screened each, empty: none did; nothing where the outcome is of
    another kind.
    """
    try:
        said = json.loads(output) if output else {}
    except ValueError:
        return
    if not isinstance(said, dict) or not isinstance(said.get("screenings"), list):
        return
    people, screenings = _list(said, "people"), _list(said, "screenings")
    unscreened = ((each, None) for each in _list(said, "unscreened"))
    for person, screening in chain(zip_longest(people, screenings), unscreened):
        if not isinstance(person, dict) or not (screening is None or _is_of(screening, listed)):
            continue
        hits = (hit for hit in _list(screening or {}, "hits") if isinstance(hit, dict))
        yield (
            Person(
                name=str(person.get("name", "")),
                born=str(person.get("born", "")),
                country=str(person.get("country", "")),
                entries=frozenset(str(hit.get("entry", "")) for hit in hits),
                screened=screening is not None,
            ),
            str((screening or {}).get("version", "")),
        )


def _is_of(screening: Any, listed: str) -> bool:
    return isinstance(screening, dict) and screening.get("list") == listed


def _list(said: Mapping[str, Any], field: str) -> Sequence[Any]:
    found = said.get(field, ())
    return found if isinstance(found, list) else ()
