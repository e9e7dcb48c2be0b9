"""Decided cases under a new version of a list: who is raised, once, and who is not."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from aios.infra.commands.list import group
from aios.infra.output import USAGE
from aios.processors.connectors import rescreening
from aios.processors.screening import rescreen
from aios.processors.screening.index import HITS_MAX, Index
from aios.processors.screening.list_files import Listed
from aios.processors.screening.published import Loaded
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided
from aios.sinks import audit
from aios.sinks.audit_chain import Chain, Entry
from aios.streams import topics
from aios.streams.config import RegistrySettings, Settings
from tests.fakes.registry import FakeRegistry
from tests.unit.test_screening import ENTRIES, row

CODEC = Codec(FakeRegistry())
OLD = Loaded(Listed("tiny", "1", "0" * 64, ENTRIES), Index(ENTRIES))
ADDED = (*ENTRIES, row("9", "VALDERRAMA QUINTANA, Eusebio", "DOB 02 Feb 1980."))
NEW = Loaded(Listed("tiny", "2", "1" * 64, ADDED), Index(ADDED))
PERSON = {"name": "Eusebio Valderrama", "born": "1980-02-02", "country": "CO", "found_in": "application"}


def decided(
    *, version: str = "1", hits: tuple[str, ...] = (), key: str = "k1", case: str = "c1", by: str = "policy"
) -> CaseDecided:
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
        decided_by=by,
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


def test_an_entry_that_made_room_for_another_has_not_gone() -> None:
    """Of somebody who is near to more entries than are told; one that is on the list no more has."""
    many = tuple(row(str(number), "VALDERRAMA QUINTANA, Eusebio", "") for number in range(100, 100 + HITS_MAX + 5))
    full = Loaded(Listed("tiny", "3", "2" * 64, many), Index(many))
    told = [str(number) for number in range(100, 100 + HITS_MAX)]
    (change,) = rescreen.changes(decided(hits=(*told[1:], "124", "77")), full)
    assert (set(change.added), change.gone) == ({"100"}, frozenset({"77"}))


def test_the_audit_says_who_is_raised_and_who_is_near_to_an_entry_no_more() -> None:
    """By an id of its own for each; what is told of people is entries, and no name."""
    (worse,) = rescreen.changes(decided(), NEW)
    (better,) = rescreen.changes(decided(version="0", hits=("77",)), OLD)
    raised, eased = rescreen.told(decided(), worse, NEW, 5), rescreen.told(decided(), better, OLD, 5)
    assert (raised.transition, raised.case_id, raised.case_seq, raised.at) == ("screened_again", "c1", 0, 5)
    assert json.loads(raised.detail)["raises"] == rescreen.application(decided(), worse, NEW, 5).idempotency_key
    said = {"list": "tiny@1", "added": 0, "gone": ["77"], "outcome": "approved"}
    assert (json.loads(eased.detail), eased.actor) == (said, "list:tiny@1")
    assert raised.audit_id != eased.audit_id == rescreen.told(decided(), better, OLD, 5).audit_id
    assert "Valderrama" not in raised.detail


@dataclass
class Message:
    """A record of the topic, as the consumer gives it."""

    event: CaseDecided

    def error(self) -> None: ...
    def value(self) -> bytes:
        return CODEC.encode(topics.CASE_DECIDED, self.event)


def test_a_walk_tells_of_both_and_raises_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of who is near to one entry more and to another no more; what a person looked at is not raised."""
    settings = Settings(registry=RegistrySettings(url="http://127.0.0.1:9"))  # nobody is asked
    walk = rescreening.Rescreening(settings, lambda: NEW, lambda: 5)
    monkeypatch.setattr(walk, "_codec", CODEC)
    seen = [
        decided(case="better", version="0", hits=("77", "9")),
        decided(case="worse"),
        decided(case="both", hits=("77",)),
        decided(case="known", hits=("77",)),
        decided(case="raised", version="2", hits=("9",), key="rescreen/tiny@2/known/0", by="reviewer:ada"),
        decided(case="same", hits=("9",)),
        replace(decided(version="2", hits=("9",), key="rescreen/tiny@2/worse/0", by="reviewer:eve"), tenant="other"),
    ]
    walked = rescreening._Walked({}, {})
    walk._judge([Message(one) for one in seen], NEW, walked)  # type: ignore[misc]
    outs = walk._raise(walked, NEW, 5)
    audits = [CODEC.decode(out.value, AuditRecorded) for out in outs if out.topic == topics.AUDIT_RECORDED.name]
    told = {one.case_id: json.loads(one.detail) for one in audits}
    assert {case: (one["added"], one["gone"], "raises" in one) for case, one in told.items()} == {
        "better": (0, ["77"], False),
        "worse": (1, [], True),
        "both": (1, ["77"], True),
        "known": (0, ["77"], False),
    }
    assert sum(out.topic == topics.APPLICATION_SUBMITTED.name for out in outs) == 2


def test_whom_a_version_changed_is_listed_from_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, however often a walk was repeated; of another version nobody."""
    (worse,) = rescreen.changes(decided(), NEW)
    (better,) = rescreen.changes(decided(case="c2", version="0", hits=("77", "9")), NEW)
    events = [rescreen.told(decided(), worse, NEW, 5), rescreen.told(decided(case="c2"), better, NEW, 5)]
    chain = Chain(tmp_path / "audit", tmp_path / "run" / "head.json", "cluster")
    chain.open()
    for offset, event in enumerate([*events, *events]):
        said = {"kind": "audit", "event": audit.chained(event)}
        chain.append([Entry(topics.AUDIT_RECORDED.name, 0, offset, 1_000, said)])
    chain.close()
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    found = json.loads(CliRunner().invoke(group, ["changes", "tiny@2", "--json"]).output)
    assert [(one["case"], one["added"], one["gone"], one["raises"]) for one in found] == [
        ("c1", 1, "", "rescreen/tiny@2/c1/0"),
        ("c2", 0, "77", ""),
    ]
    assert "nobody was changed by tiny@3" in CliRunner().invoke(group, ["changes", "tiny@3"]).output
    assert CliRunner().invoke(group, ["changes", "tiny"]).exit_code == USAGE


def test_what_a_person_looked_at_is_not_raised_again() -> None:
    """A raised case says which entries were in it, for the case that it came from."""
    raised = decided(version="2", hits=("9",), key="rescreen/tiny@2/c1/0", case="c2", by="reviewer:ada+ben")
    assert rescreen.looked_at(raised, NEW) == ("c1", 0, frozenset({"9"}))
    assert rescreen.looked_at(decided(), NEW) is None
    (change,) = rescreen.changes(decided(), NEW)
    assert not rescreen.without(change, frozenset({"9"})).added


@pytest.mark.parametrize("by", ["timer", "policy", "operator:opa"])
def test_a_raised_case_that_ended_without_a_person_is_raised_again(by: str) -> None:
    """Its time was over, or it was called off: nobody looked at the entries that it names."""
    raised = decided(version="2", hits=("9",), key="rescreen/tiny@2/c1/0", case="c2", by=by)
    assert rescreen.looked_at(raised, NEW) == ("c1", 0, frozenset())
