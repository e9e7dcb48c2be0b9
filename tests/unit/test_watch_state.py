"""What the watch remembers: once a record, bounded, the same after it was written down; a canary by its activation."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.cases.active import Newest
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided, InferenceCompleted, ModelActivated
from aios.sinks import watch_state
from aios.sinks.canary import UNKNOWN
from aios.sinks.watch import event_of
from aios.sinks.watch_state import SUBJECTS_MAX, Ended, State, may_count, read_back
from aios.streams.config import WatchSettings
from aios.streams.record import Record, headers_of
from aios.streams.topology import POOLS, Stage
from tests.broker import outcome_records
from tests.broker import watch_records as records
from tests.fakes.flow import Flow
from tests.fakes.registry import FakeRegistry

LIMITS = WatchSettings(reference_count=40, window_count=20, window_min=20)
NOW = 1_800_000_000_000


def record(topic: str, offset: int, partition: int = 0, at: int = NOW) -> Record:
    return Record(topic, partition, offset, at + offset, b"k", b"v")


def take(state: State, offset: int, event: InferenceCompleted | CaseDecided, partition: int = 0) -> list[Any]:
    topic = "inference.completed.v1" if isinstance(event, InferenceCompleted) else "case.decided.v1"
    return list(state.take(record(topic, offset, partition), event))


def activated(canary: int = 2, at: int = NOW, permille: int = 100, limits: str = "") -> ModelActivated:
    return ModelActivated(
        model="triage-encoder",
        version=1,
        canary_version=canary,
        canary_permille=permille if canary else 0,
        limits=limits,
        reason="a test",
        by="somebody",
        activated_at=at,
    )


def stream(seed: int, count: int) -> list[tuple[int, int, InferenceCompleted | CaseDecided]]:
    """(partition, offset, event): two topics over three partitions."""
    chance = random.Random(seed)
    ends: dict[tuple[str, int], int] = {}
    found: list[tuple[int, int, InferenceCompleted | CaseDecided]] = []
    for number in range(count):
        event: InferenceCompleted | CaseDecided
        if chance.random() < 0.5:
            event = records.answer(f"c{number}", chance.choice("abc"), version=chance.choice([1, 1, 1, 2]))
        else:
            event = replace(
                records.decision(f"c{number}", chance.choice("abc"), by_person=chance.random() < 0.3),
                workflow_version=1 + (number > chance.randint(40, 70)),
            )
        place = (event.contract, chance.randrange(3))
        ends[place] = ends.get(place, -1) + 1
        found.append((place[1], ends[place], event))
    return found


@given(st.integers(0, 10_000), st.integers(0, 120), st.integers(0, 30))
@settings(max_examples=25, deadline=None)
def test_a_restart_and_repeats_change_nothing(seed: int, cut: int, again: int) -> None:
    """Written down after any record, read back, and given the last ones again: the same state, the same findings."""
    whole = stream(seed, 120)
    straight, broken = State(LIMITS), State(LIMITS)
    for state in (straight, broken):
        state.follow([activated()])
    found = [one for part, offset, event in whole for one in take(straight, offset, event, part)]
    told = [one for part, offset, event in whole[:cut] for one in take(broken, offset, event, part)]
    fields = {name: said for name, said in broken.written().items() if said}
    broken = read_back(fields, LIMITS)
    broken.follow([activated()])
    for part, offset, event in whole[max(0, cut - again) :]:
        told += take(broken, offset, event, part)
    assert told == found
    assert (broken.series, broken.trials, broken.positions) == (straight.series, straight.trials, straight.positions)
    assert broken.versions == straight.versions


def test_each_measure_has_its_subject() -> None:
    """A classification tells of its model in its workflow, and of the workflow; a decision of the workflow alone."""
    state = State(LIMITS)
    take(state, 0, records.answer("c", "card", confidence=0.9, out_of_scope=0.7, tokens=12))
    take(state, 0, records.decision("c", "card", by_person=False))
    model, workflow = "model:triage-encoder@1/document.triage", "workflow:document.triage"
    assert {key: (one.reference.numbers, one.reference.labels) for key, one in state.series.items()} == {
        (model, "labels"): ([], {"card": 1}),
        (model, "confidence"): ([0.9], {}),
        (model, "out_of_scope"): ([], {"yes": 1}),
        (model, "input_length"): ([12.0], {}),
        (workflow, "out_of_scope"): ([], {"yes": 1}),
        (workflow, "input_length"): ([12.0], {}),
        (workflow, "labels"): ([], {"card": 1}),
        (workflow, "by_person"): ([], {"no": 1}),
        (workflow, "confidence"): ([0.8], {}),
    }


@pytest.mark.parametrize(
    "event",
    [
        records.answer("c", "card", status="failed"),
        records.answer("c", ""),
        records.answer("c", "card", confidence=7.0),
        records.answer("c", "card", output="[]"),
        records.answer("c", "card", output="{"),
        records.answer("c", "card", output='{"label":"card","confidence":true,"out_of_scope":0.1}'),
    ],
)
def test_an_answer_that_is_none_is_in_no_series(event: InferenceCompleted) -> None:
    """And raises nothing: plan says what becomes of it."""
    state = State(LIMITS)
    take(state, 0, event)
    assert state.series == {}


def test_a_trial_belongs_to_its_activation() -> None:
    """It begins with it, counts what came after it, and ends with another one."""
    state = State(LIMITS)
    state.follow([activated(at=NOW + 5)])
    for offset in range(10):
        take(state, offset, records.answer("c", "card", version=1 + offset % 2))
    trial = state.trials["triage-encoder"]
    assert (trial.stable.answers, trial.canary.answers) == (2, 3)  # offsets 5 to 9
    state.follow([activated(at=NOW + 5)])
    assert state.trials["triage-encoder"] is trial
    state.follow([activated(at=NOW + 6)])
    assert state.trials["triage-encoder"].canary.answers == 0
    state.follow([activated(canary=0, at=NOW + 7)])
    assert state.trials == {}
    assert state.written()["trial:triage-encoder"] == ""


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (records.answer("c", "card", version=2), (1, 0, [(7.0, UNKNOWN)])),
        (records.answer("c", "card", version=2, cached=True), (1, 0, [])),
        (records.answer("c", "card", version=2, engine_us=1500), (1, 0, [(1.5, 5)])),
        (records.answer("c", "card", version=2, engine_us=7500), (1, 0, [(7.5, 1)])),
        (records.answer("c", "card", version=2, status="failed"), (1, 1, [])),
        (records.answer("c", "card", version=2, status="expired"), (1, 1, [])),
        (records.answer("c", "card", version=2, status="expired", compute_ms=0), (0, 0, [])),
        (records.answer("c", "card", version=2, status="expired", compute_ms=0, reason="unanswered"), (1, 1, [])),
        (records.answer("c", "card", version=2, status="expired", reason="cancelled: decided"), (0, 0, [])),
        (records.answer("c", "card", version=3), (0, 0, [])),
    ],
)
def test_an_answer_counts_as_what_it_is(
    event: InferenceCompleted, expected: tuple[int, int, list[tuple[float, int]]]
) -> None:
    """answers, errors, times: what failed, or was asked in vain until its deadline, is an error, and like what the
    cache gave says nothing of time. What was too late to be asked, or called off, is no answer of the model.

    A time stands with how many shared the engine meanwhile: seven milliseconds, of which 1.5 were its own.
    """
    state = State(LIMITS)
    state.follow([activated()])
    take(state, 0, event)
    side = state.trials["triage-encoder"].canary
    assert (side.answers, side.errors, side.times) == expected


@pytest.mark.parametrize("stable", ["ok", "expired"])
def test_a_canary_that_never_answers_goes_back(stable: str) -> None:
    """Its server was asked in vain until every deadline; unless the version beside it has no answers either."""
    state = State(LIMITS)
    state.follow([activated()])
    for offset in range(100):
        status = "expired" if offset % 2 else stable
        event = records.answer("c", "card", version=1 + offset % 2, status=status, compute_ms=0, reason="unanswered")
        take(state, offset, event)
    assert [verdict.measure for _, verdict in state.verdicts()] == (["error_share"] if stable == "ok" else [])


@pytest.mark.parametrize(("stable", "returned_after"), [("ok", 3), ("ended", None)])
def test_a_canary_that_ends_its_engine_goes_back(stable: str, returned_after: int | None) -> None:
    """After a few requests, since each costs three engines; unless those of the version beside it do the same."""
    state = State(LIMITS)
    state.follow([activated()])
    for offset in range(100):
        event = records.answer("c", "card", version=1) if stable == "ok" else Ended("triage-encoder@1")
        state.take(record("inference.completed.v1", offset), event)
    given_up = 0
    while given_up < 20 and not state.verdicts():
        state.take(record("aios.infer.classify.dlq", given_up), Ended("triage-encoder@2"))
        given_up += 1
    assert given_up == (returned_after or 20)
    reasons = [verdict.reason for _, verdict in state.verdicts()]
    ends = "over it; 3 of its requests ended their engine"
    assert [reason.endswith(ends) for reason in reasons] == ([True] if returned_after else [])
    state.take(record("aios.infer.classify.dlq", 50), Ended("no model"))
    assert read_back(state.written(), LIMITS).trials == state.trials


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.name)
@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({"aios.dlq.reason": "kills_its_process", "aios-model": "m@2"}, Ended("m@2")),
        ({"aios.dlq.reason": "kills_its_process"}, Ended("")),
        ({"aios.dlq.reason": "schema_invalid", "aios-model": "m@2"}, None),
        ({"aios-model": "m@2"}, None),
    ],
)
def test_a_letter_that_ended_its_engine_is_known_undecoded(pool: Stage, headers: dict[str, str], seen: Any) -> None:
    """By what plan has said of it beside its value."""
    letter = Record(pool.dead_letters.name, 0, 0, NOW, b"k", b"no Avro", headers_of(headers))
    assert event_of(letter, Codec(FakeRegistry())) == seen


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"suggestion": "card"}, (1, 0)),
        ({"suggestion": "loan"}, (1, 1)),
        ({"suggestion": ""}, (0, 0)),
        ({"suggestion": "loan", "unseen": True}, (0, 0)),
        ({"suggestion": "loan", "people": 2, "round": 1}, (1, 1)),
        ({"suggestion": "loan", "people": 2, "round": 2}, (0, 0)),
        ({"suggestion": "loan", "models": ["triage-encoder@3", "summariser@2"]}, (0, 0)),
        ({"suggestion": "loan", "models": []}, (0, 0)),
    ],
)
def test_a_persons_choice_counts_where_a_suggestion_was_shown(said: dict[str, Any], expected: tuple[int, int]) -> None:
    """For the version that had answered by then; a question that two are asked counts once."""
    state = State(LIMITS)
    state.follow([activated()])
    detail = {"label": "card", "models": ["triage-encoder@2"], **said}
    event = outcome_records.audit("c", 3, "review_decided", "", 1, **detail)
    assert isinstance(event, AuditRecorded)
    state.take(record(event.contract, 0), event)
    side = state.trials["triage-encoder"].canary
    assert (side.reviewed, side.overridden) == expected


class Canary(Newest):
    """Serves every case."""

    def model(self, name: str, case_id: str) -> str:
        return f"{name}@2"


@pytest.mark.parametrize(("label", "overridden"), [("accept", 0), ("reject", 1)])
def test_a_person_who_chose_counts_in_a_workflow_whose_decisions_have_no_label(label: str, overridden: int) -> None:
    """What plan writes of such a case is enough, as it travels; who decides it in the end does not matter."""
    flow = Flow(versions=Canary())
    flow.admit()
    flow.answer("gather/screen", score=80)
    flow.answer("gather/about")
    flow.answer("read/0")
    flow.answer("read/1")
    flow.judge("ask", label, "ana")
    if label == "accept":
        flow.answer("book")
        flow.tell("changed", body={"what": "cancelled"})
    assert flow.decided.label == ""
    state, codec = State(LIMITS), Codec(FakeRegistry())
    state.follow([activated()])
    said = [event for event in flow.written if isinstance(event, AuditRecorded)]
    wanted = [event for event in said if may_count(outcome_records.outgoing(codec, event).value or b"")]
    for offset, event in enumerate(wanted):
        state.take(record(event.contract, offset), event)
    take(state, 0, flow.decided)
    side = state.trials["triage-encoder"].canary
    assert (side.reviewed, side.overridden) == (1, overridden)


def test_what_plan_cannot_use_is_its_models_error() -> None:
    """It breaks its contract, or its label is not known; whichever is read first: answer, or what plan says of it."""

    def refusal(**said: str) -> AuditRecorded:
        event = outcome_records.audit("c", 3, "answered", "classifying", 1, model="triage-encoder@2", **said)
        assert isinstance(event, AuditRecorded)
        return event

    for order in (1, -1):
        state = State(LIMITS)
        state.follow([activated()])
        events = [refusal(outcome="ok", reason="label_unknown"), records.answer("c", "card", version=2)]
        events += [refusal(outcome="failed", reason="engine"), refusal(outcome="ok")]
        for offset, event in enumerate(events[::order]):
            state.take(record(event.contract, offset), event)
        side = state.trials["triage-encoder"].canary
        assert (side.answers, side.errors, side.error_share) == (1, 1, 1.0)
    state.take(record("audit.recorded.v1", 9), refusal(outcome="ok", reason="answer_breaks_contract"))
    assert state.trials["triage-encoder"].canary.errors == 2
    codec = Codec(FakeRegistry())
    out = outcome_records.outgoing(codec, refusal(outcome="ok", reason="label_unknown"))
    assert may_count(out.value or b"")
    assert not may_count(outcome_records.outgoing(codec, refusal(outcome="ok")).value or b"")


def test_limits_that_nobody_can_read_are_the_defaults(caplog: pytest.LogCaptureFixture) -> None:
    """And said: a canary without limits would never return."""
    state = State(LIMITS)
    state.follow([activated(limits="{")])
    assert state.trials["triage-encoder"].limits == watch_state.Limits()
    assert "limits" in caplog.text


def test_so_many_subjects_are_remembered() -> None:
    """The one that was silent longest makes room, here and in what is written down."""
    state = State(LIMITS)
    for number in range(SUBJECTS_MAX + 3):
        take(state, number, records.answer("c", "card", workflow=f"w{number}"))
    subjects = {subject for subject, _ in state.series}
    assert len(subjects) <= SUBJECTS_MAX + 1  # an answer brings two
    assert f"workflow:w{SUBJECTS_MAX + 2}" in subjects
    assert "workflow:w0" not in subjects
    assert state.written()["series:input_length:workflow:w0"] == ""


def test_a_new_version_of_a_workflow_is_held_against_how_it_began_itself() -> None:
    """Not against the version before, whose last cases are counted with it; later drift of it is found."""
    state, offset = State(LIMITS), 0

    def decide(label: str, count: int, version: int) -> list[Any]:
        nonlocal offset
        found: list[Any] = []
        for _ in range(count):
            event = replace(records.decision("c", label, by_person=False), workflow_version=version)
            found += take(state, offset, event)
            offset += 1
        return found

    labels = ("workflow:document.triage", "labels")
    assert decide("card", 60, 1) == []
    assert len(decide("loan", 20, 1)) == 1
    assert state.series[labels].moved
    assert decide("loan", 30, 2) == []
    assert decide("card", 1, 1) == []
    assert decide("loan", 29, 2) == []
    assert state.series[labels].reference.labels == {"loan": 39, "card": 1}
    assert not state.series[labels].moved
    assert [one.measure for one in decide("card", 20, 2)] == ["labels"]


def test_what_is_written_is_small() -> None:
    """A full series of numbers takes less than 20 kB."""
    state = State(WatchSettings())
    for number in range(699):
        take(state, number, records.answer("c", "card", confidence=random.Random(number).random()))
    assert max(map(len, state.written().values())) < 20_000
    assert (
        json.loads(state.written()["series:confidence:model:triage-encoder@1/document.triage"])["window"]["count"]
        == 199
    )
