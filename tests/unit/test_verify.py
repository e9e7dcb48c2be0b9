"""The verifier can fail: every planted violation is caught under its law, and a sound history is found sound."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.error import HTTPError

import pytest
from click.testing import CliRunner

from aios.infra.output import USAGE
from aios.infra.prove import commands, journal, reading, verify
from aios.infra.prove.arrivals import Arrivals
from aios.infra.prove.findings import Findings, Law, Part
from aios.infra.prove.fold import ADMITTED, ORDER, STATE, Fold, Scope
from aios.infra.prove.journal import Entry, Kind, Writer
from aios.infra.prove.planted import PLANTED, History, caught, sound
from aios.infra.prove.reading import Addresses, Eyes, Place, Reader, Registry, Seen
from aios.streams.errors import Unavailable
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_ADMITTED,
    DOCUMENT_RECEIVED,
    INFERENCE_COMPLETED,
    LETTER_CHANGED,
)
from aios.streams.topology import ADMIT, POOLS

REPEATED = {
    "case_id": "old",
    "event_id": "e10",
    "body_hash": "b",
    "source_topic": DOCUMENT_RECEIVED.name,
    "source_partition": 0,
    "source_offset": 0,
}


@pytest.mark.parametrize("drained", [True, False])
def test_a_sound_history_is_found_sound(*, drained: bool) -> None:
    """Nothing lost, nothing twice; each event is counted once, by what became of it."""
    findings = sound().judge(drained=drained)
    assert findings.sound, findings.examples
    assert (findings.lost, findings.second_decisions, findings.repeated_effects) == (0, 0, 0)
    assert dict(findings.part.events) == {"decided": 3, "refused": 2, "open: dead letter": 1, "discarded": 1}
    assert findings.unexpected_letters == 0


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_caught_under_its_law(name: str) -> None:
    """Also while the system runs, where it must never be so at any moment."""
    plant = PLANTED[name]
    findings = caught(plant)
    assert findings.violations.get(plant.law, 0) >= 1, findings.examples


def test_every_invariant_has_a_planted_violation() -> None:
    """Progress is judged by instants, below."""
    assert {plant.law for plant in PLANTED.values()} | {Law.PROGRESS} == set(Law)


def test_what_is_lost_and_what_is_second_is_counted() -> None:
    """The table's columns."""
    assert caught(PLANTED["left on its way"]).lost >= 1
    assert caught(PLANTED["never processed"]).lost == 1
    assert caught(PLANTED["second decision"]).second_decisions == 1
    again = caught(PLANTED["decided again"])
    assert (again.second_decisions, again.repeated_effects) == (0, 1)


def test_work_that_does_not_go_on_within_the_bound_is_a_violation(tmp_path: Path) -> None:
    """Seconds from the fault to the next thing its stage told."""
    fault = {"fault": "kill -9", "stage": "plan", "at": 10_000}
    (tmp_path / verify.FAULTS).write_text(json.dumps(fault) + "\n")
    part = Part()
    for at in (9_000, 12_500):
        part.pace("plan").tell(at)
    findings = Findings(part, drained=True)
    assert verify.rows(findings, tmp_path)[0]["next completion s"] == 2.5
    verify.judge_progress(findings, tmp_path, 8.0)
    assert findings.sound
    assert findings.has_bound
    verify.judge_progress(findings, tmp_path, 2.0)
    assert findings.violations[Law.PROGRESS] == 1


def test_a_bound_without_noted_faults_is_refused_and_progress_that_was_not_judged_is_no_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of nothing, nothing is late."""
    addresses = Addresses(kafka="nowhere:1", registry="", valkey="")
    monkeypatch.setattr(commands, "of_running", lambda: addresses)
    monkeypatch.setattr(verify, "check", lambda *_, drained, **__: Findings(Part(), drained))
    refused = CliRunner().invoke(commands.verify, ["--running", "--folder", str(tmp_path), "--bound", "8"])
    assert (refused.exit_code, "faults.jsonl" in refused.stderr) == (USAGE, True)
    assert CliRunner().invoke(commands.verify, ["--running", "--bound", "8"]).exit_code == USAGE
    told = CliRunner().invoke(commands.verify, ["--running", "--folder", str(tmp_path)]).stdout
    assert [line.split()[-2:] for line in told.splitlines() if line.startswith("I12")] == [["not", "judged"]]


def test_a_letter_that_returns_while_letters_are_read_is_not_taken_for_lost() -> None:
    """Its return and its change are committed at once, between the reading of one of these topics and of the other."""
    letter = history_of_a_letter()
    returned = Seen(ADMIT.retries.name, 0, 0, 1, letter.key, letter.value, letter.headers)
    closed = {"letter_id": "l1", "generation": 0, "state": "replayed"}
    changed = Seen(LETTER_CHANGED.name, 0, 0, 1, b"l1", json.dumps(closed).encode(), [])
    there: dict[str, list[Seen]] = {ADMIT.dead_letters.name: [letter], ADMIT.retries.name: [], LETTER_CHANGED.name: []}

    class Now:
        def ends(self, places: list[Place]) -> dict[Place, int]:
            return {place: len(there[place[0]]) for place in places}

        def read(self, topic: str, _: int, start: int, end: int, **__: bool) -> Iterator[Seen]:
            yield from list(there[topic][start:end])
            if topic != ADMIT.dead_letters.name:
                there[ADMIT.retries.name], there[LETTER_CHANGED.name] = [returned], [changed]

    found = Arrivals({0: (0, 1)}, drained=False)
    found.arrived(Seen(DOCUMENT_RECEIVED.name, 0, 0, 1, b"k", b"bad", []), None)
    found.position(0, 1)
    registry = cast(Registry, SimpleNamespace(decode=json.loads))
    begins = dict.fromkeys(((topic, 0) for topic in there), 0)
    verify._read_letters(cast(Eyes, Now()), cast(Reader, Now()), registry, begins, found)
    assert found.finish().violations.counts == {}


def test_the_time_in_which_an_event_was_a_dead_letter_is_no_wait_for_the_stage() -> None:
    """An operator mended it, and had it returned: how soon admit takes what comes says nothing of that."""
    letter = history_of_a_letter()
    found = Arrivals({0: (0, 2)}, drained=True)
    for offset, at in enumerate((1_000, 10_000)):
        found.arrived(Seen(DOCUMENT_RECEIVED.name, 0, offset, at, b"k", b"bad", []), None)
    found.became({0: bytearray([ADMITTED, ADMITTED])}, {0: array("q", [10_300, 10_400])})
    found.letter(letter)
    found.changed({"letter_id": "l1", "generation": 0, "state": "replayed"})
    found.returning(Seen(ADMIT.retries.name, 0, 0, 10_200, letter.key, letter.value, letter.headers))
    assert found.finish().pace("admit").longest() == 0.4


def test_each_of_two_posts_that_are_alike_must_be_there() -> None:
    """A caller who asks again is told of a record of its own."""
    history = sound()
    offset = history.arrive("kb", "my loan", Kind.REPEAT, via="http")
    history.admit("b", offset, "b2")
    assert history.judge().sound
    history.topics[DOCUMENT_RECEIVED.name].pop()
    history.topics[CASE_ADMITTED.name].pop()
    assert history.judge().violations == {Law.ACKNOWLEDGED: 1}


@pytest.mark.parametrize("is_replayed", [False, True])
def test_a_good_event_that_became_a_dead_letter_is_unexpected_though_it_returned(*, is_replayed: bool) -> None:
    """Whoever replays letters all the time hides none."""
    history = sound()
    good = history.arrive("kg", "a good letter")
    history.die("l3", good)
    if is_replayed:
        history.put(LETTER_CHANGED.name, "l3", {"letter_id": "l3", "generation": 0, "state": "replayed"})
        history.case("g", good, "b4")
    assert history.judge().unexpected_letters == 1


@pytest.mark.parametrize("is_set_aside", [False, True])
def test_the_delay_of_a_retry_is_no_wait_for_a_pool(*, is_set_aside: bool) -> None:
    """The command failed at first."""
    pool = POOLS[0]
    command = Seen(pool.reads[0].name, 3, 7, 1_000, b"demo", b"-", [])
    place = {"topic": command.topic, "partition": "3", "offset": "7"}
    headers = [(f"aios.dlq.orig.{name}", value.encode()) for name, value in place.items()]
    fold = Fold(Scope(partition=0))
    asked = {"request_id": "r", "case_id": "a"}
    fold.take(Seen(INFERENCE_COMPLETED.name, 0, 0, 9_000, b"a", b"-", []), asked)
    if is_set_aside:
        fold.take(Seen(pool.retries.name, 0, 0, 6_000, b"demo", b"-", headers), None)
    fold.take(command, asked)
    assert fold.part.pace(pool.name).longest() == (0.0 if is_set_aside else 8.0)


CUT = {(CASE_ADMITTED.name, 0): 5, (AUDIT_RECORDED.name, 0): 9, (STATE, 0): 0}


@pytest.mark.parametrize(
    ("begins", "starts", "whole"),
    [
        ({(CASE_ADMITTED.name, 0): 0, (AUDIT_RECORDED.name, 0): 9}, {f"{AUDIT_RECORDED.name}/0": 9}, True),
        (CUT, {f"{CASE_ADMITTED.name}/0": 5, f"{AUDIT_RECORDED.name}/0": 9, f"{STATE}/0": 3}, False),
        ({(CASE_ADMITTED.name, 0): 0, (AUDIT_RECORDED.name, 0): 0}, {}, True),
        (CUT, {}, False),
    ],
    ids=["a load on a new system", "a load behind others", "everything", "what retention has left"],
)
def test_every_cause_must_be_there_where_no_case_is_from_before(
    *, begins: dict[Place, int], starts: dict[str, int], whole: bool
) -> None:
    """That a tenant or a limit was declared before is no case."""
    assert verify._is_whole(begins, starts) == whole


def test_places_are_judged_behind_other_loads_too() -> None:
    """What was remembered before this load began counts for them, and is compared with nothing."""
    asks = {"pool": "classify.bulk", "turn": 0, "tenant": "demo", "case_seq": 4, "status": "classifying"}
    asks |= {"step": "classify", "attempt": 1, "waiting_for": "r-o", "event_id": "e9", "decided_at": 0}
    held = [
        Seen(STATE, 0, 0, 1, b"old", b"-", []),
        Seen(STATE, 0, 1, 1, b"pool:classify.bulk/demo", b"-", []),
    ]
    for count, wrong in ((1, 0), (2, 1)):
        fold = Fold(Scope(partition=0, whole=False, since=2))
        for seen, event in zip(held, (asks, {"outstanding": count, "first": 1, "next": 1}), strict=True):
            fold.take(seen, event)
        fold.take(Seen(CASE_ADMITTED.name, 0, 0, 1, b"old", b"-", []), REPEATED)
        assert fold.finish().violations.counts[Law.FOLD] == wrong
        assert fold.part.violations.counts[Law.AUDIT] == 0


def test_a_registry_that_is_away_is_not_taken_for_an_event_that_is_no_document() -> None:
    """Its record would be another than the one that was acknowledged."""

    def away(_: bytes) -> dict[str, object]:
        raise Unavailable("the registry does not answer")

    with pytest.raises(Unavailable):
        verify._document(
            cast(Registry, SimpleNamespace(decode=away)), Seen(DOCUMENT_RECEIVED.name, 0, 0, 1, b"", b"-", [])
        )


@pytest.mark.parametrize(("status", "error"), [(404, ValueError), (500, Unavailable)])
def test_a_registry_that_cannot_answer_now_is_away(
    status: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is whose Kafka is away; what it does not know is another matter."""

    def urlopen(*_: object, **__: object) -> object:
        raise HTTPError("", status, "", Message(), None)

    monkeypatch.setattr(reading.urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(reading, "REGISTRY_S_MAX", -1.0)
    with pytest.raises(error):
        Registry("http://nowhere:1").id_of("a-value")


def test_each_topic_is_read_once_for_all_partitions_in_the_order_that_makes_it_comparable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader that is given the same partitions again may pass over one whose leader moves."""
    read: list[Place] = []

    class Now:
        def ends(self, places: list[Place]) -> dict[Place, int]:
            return dict.fromkeys(places, 0)

        def several(self, ranges: dict[Place, object], **_: bool) -> Iterator[Seen]:
            read.extend(ranges)
            return iter(())

    monkeypatch.setattr(verify, "Eyes", lambda _: Now())
    begins = dict.fromkeys(((topic, number) for topic in reversed(ORDER) for number in (0, 1)), 0)
    scopes = [Scope(partition=0, drained=False), Scope(partition=1, drained=False)]
    addresses = Addresses(kafka="nowhere:1", registry="", valkey="")
    assert len(verify._fold(addresses, scopes, begins, cast(Reader, Now()))) == len(scopes)
    assert read == [(topic, number) for topic in ORDER for number in (0, 1)]


def history_of_a_letter() -> Seen:
    """The dead letter of an event that stood first in its topic."""
    history = History()
    history.arrive("k", "bad")
    history.die("l1", 0)
    (line,) = history.topics[ADMIT.dead_letters.name]
    return line.seen()


def test_an_event_is_announced_before_it_is_sent_and_a_cut_line_is_passed_over(tmp_path: Path) -> None:
    """What the journal holds after a crash in the middle of a line."""
    writer = Writer(tmp_path, {"run": "r"})
    for n in range(3):
        writer.sending(Entry(n=n, via="kafka", kind=Kind.GOOD, key=f"k{n}", body="b", at=1))
    writer.flush()
    writer.acknowledged(0, 2, topic="t", partition=1, offset=7)
    writer.refused(1, 503)
    writer.close()
    with (tmp_path / journal.FILE).open("ab") as file:
        file.write(b'{"n": 2, "ack')
    entries = {entry.n: entry for entry in journal.read(tmp_path, journal.size(tmp_path))}
    assert (entries[0].acked, entries[0].partition, entries[0].offset) == (2, 1, 7)
    assert (entries[1].acked, entries[1].refused) == (0, 503)
    assert (entries[2].acked, entries[2].refused) == (0, None)
    assert journal.start_of(tmp_path)["run"] == "r"
