"""Decided cases under a new version of a list: who is raised, once, and who is not."""

from __future__ import annotations

import json
from dataclasses import replace

from aios.processors.screening import rescreen
from aios.processors.screening.index import Index
from aios.processors.screening.list_files import Listed
from aios.processors.screening.published import Loaded
from aios.schemas.models import CaseDecided
from tests.unit.test_screening import ENTRIES, row

OLD = Loaded(Listed("tiny", "1", "0" * 64, ENTRIES), Index(ENTRIES))
ADDED = (*ENTRIES, row("9", "VALDERRAMA QUINTANA, Eusebio", "DOB 02 Feb 1980."))
NEW = Loaded(Listed("tiny", "2", "1" * 64, ADDED), Index(ADDED))
PERSON = {"name": "Eusebio Valderrama", "born": "1980-02-02", "country": "CO", "found_in": "application"}


def decided(*, version: str = "1", hits: tuple[str, ...] = (), key: str = "k1", case: str = "c1") -> CaseDecided:
    screening = {"list": "tiny", "version": version, "verdict": "clear", "hits": [{"entry": one} for one in hits]}
    return CaseDecided(
        decision_id="d",
        case_id=case,
        tenant="acme",
        workflow="kyc.review",
        workflow_version=1,
        event_id="e",
        idempotency_key=key,
        outcome="approved",
        reasons=(),
        models=(),
        prompts=(),
        decided_by="policy",
        received_at=1,
        admitted_at=1,
        decided_at=1_700_000_000_000,
        case_seq=9,
        lane="interactive",
        source_topic="kyc.application.submitted.v1",
        source_partition=0,
        source_offset=0,
        output=json.dumps({"people": [PERSON], "screenings": [screening]}),
    )


def test_who_comes_near_to_a_new_entry_is_raised_once() -> None:
    """The same ids each time; the application says who, since when, and near to what."""
    (change,) = rescreen.changes(decided(), NEW)
    assert change.added == {"9": "VALDERRAMA QUINTANA, Eusebio"}
    one, other = (rescreen.application(decided(), change, NEW, 5) for _ in range(2))
    assert one == other
    assert one.idempotency_key == "rescreen/tiny@2/c1/0"
    assert (one.tenant, one.applicant_name, one.birth_date) == ("acme", "Eusebio Valderrama", "1980-02-02")
    assert "9 VALDERRAMA QUINTANA, Eusebio" in one.documents[0]["text"]


def test_who_was_screened_by_this_version_or_known_is_not() -> None:
    """Nor are outcomes without screenings, of other lists, or that nobody can read."""
    assert not list(rescreen.changes(decided(version="2"), NEW))
    assert not list(rescreen.changes(decided(hits=("9",)), NEW))
    assert not list(rescreen.changes(decided(), OLD))
    for output in ("", "{", "[]", '{"people": 3}', '{"people": [1], "screenings": [2]}'):
        assert not list(rescreen.changes(replace(decided(), output=output), NEW))


def test_who_was_never_screened_is_screened_now() -> None:
    """The list was away, nobody was asked at all, or he was one name too many; the application says so."""
    of_nobody: tuple[dict[str, object], ...] = (
        {"people": [PERSON], "screenings": [None]},
        {"people": [PERSON], "screenings": []},
        {"people": [], "screenings": [], "unscreened": [PERSON]},
    )
    for said in of_nobody:
        (change,) = rescreen.changes(replace(decided(), output=json.dumps(said)), NEW)
        assert (set(change.added), change.place) == ({"9"}, 0)
        text = rescreen.application(decided(), change, NEW, 5).documents[0]["text"]
        assert text.startswith("Screened for the first time")
    known = json.loads(decided(version="2").output)
    one_more = replace(decided(), output=json.dumps({**known, "unscreened": [PERSON]}))
    (change,) = rescreen.changes(one_more, NEW)
    assert change.place == 1
    assert rescreen.looked_at(replace(one_more, idempotency_key="rescreen/tiny@2/c1/0"), NEW) == ("c1", 0, frozenset())
    assert not list(rescreen.changes(replace(decided(), output=json.dumps({"people": [PERSON]})), NEW))


def test_who_is_better_off_raises_nothing() -> None:
    """An entry that went is told as gone."""
    (change,) = rescreen.changes(decided(version="0", hits=("77",)), OLD)
    assert (dict(change.added), change.gone) == ({}, frozenset({"77"}))


def test_what_a_person_looked_at_is_not_raised_again() -> None:
    """A raised case says which entries were in it, for the case that it came from."""
    raised = decided(version="2", hits=("9",), key="rescreen/tiny@2/c1/0", case="c2")
    assert rescreen.looked_at(raised, NEW) == ("c1", 0, frozenset({"9"}))
    assert rescreen.looked_at(decided(), NEW) is None
    (change,) = rescreen.changes(decided(), NEW)
    assert not rescreen.without(change, frozenset({"9"})).added
