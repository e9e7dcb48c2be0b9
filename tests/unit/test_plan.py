"""plan's core: keys, partitions, state and headers around the state machine of test_case.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from aios.inference_workers.fair import Costs, Fair
from aios.inference_workers.room import Room
from aios.processors.cases.turn import FORGET_AFTER_MS
from aios.processors.cases.turnstile import pool_key
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.processors.plan import Plan
from aios.processors.stateful.state import FORGET, Effects
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    EVENTS,
    AuditRecorded,
    CaseAdmitted,
    CaseRemembered,
    Event,
    InferenceCompleted,
    InferenceRequested,
    TimerFired,
)
from aios.streams import inputs, topics
from aios.streams.errors import Reason, RecordError, SchemaMismatch, StateBroken
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.slots import key_of
from aios.streams.topics import Topic
from aios.streams.topology import PLAN
from tests.fakes import admissions
from tests.fakes.answers import answer_to
from tests.fakes.registry import FakeRegistry
from tests.fakes.triage import plain

PARTITIONS = 6
NOW_MS = 1_700_000_000_000
REGISTRY = FakeRegistry()
CODEC = Codec(REGISTRY)
CORE = Plan(CODEC, plain(), PARTITIONS)
BODY = {"text": "Where is my card?", "channel": "message", "subject": "", "customer_id": ""}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Store(dict[bytes, bytes]):
    """The state of one partition."""

    def apply(self, effects: Effects) -> None:
        for key, value in effects.changes.items():
            self.pop(key, None)
            if value is not None:
                self[key] = value


def admitted(key: str = "k1", lane: str = "bulk") -> CaseAdmitted:
    return admissions.admitted(BODY, key=key, lane=lane, at=NOW_MS)


def record(source: Topic, event: Any, **changed: Any) -> Record:
    key = event.case_id.encode()
    value = CODEC.encode(source, event)
    headers = (("traceparent", TRACE.encode()),)
    return replace(Record(source.name, partition_of(key, PARTITIONS), 5, NOW_MS, key, value, headers), **changed)


def told(out: Outgoing) -> Event:
    topic = next(one for one in PLAN.writes if one.name == out.topic)
    return CODEC.decode(out.value, EVENTS[topic.contracts[0]])


def request_of(effects: Effects) -> InferenceRequested:
    return next(one for one in map(told, effects.outputs) if isinstance(one, InferenceRequested))


def answer(request: InferenceRequested) -> InferenceCompleted:
    output = '{"label":"card_arrival","confidence":0.9,"out_of_scope":0.1}'
    return answer_to(request, output=output, completed_at=NOW_MS)


def test_a_command_says_in_its_headers_how_urgent_it_is_and_what_it_asks() -> None:
    """A worker orders commands by them, undecoded; the watch knows by them whose engine one has ended. Nothing else
    that plan writes has them.
    """
    first = CORE.step(record(topics.CASE_ADMITTED, admitted()), Store(), NOW_MS)
    request = request_of(first)
    expected = {
        "aios-deadline": str(request.deadline_at).encode(),
        "aios-priority": str(request.priority).encode(),
        "aios-model": request.model.encode(),
    }
    for out in first.outputs:
        said = {name: value for name, value in out.headers if name in expected}
        assert said == (expected if ".requested." in out.topic else {})


@pytest.mark.parametrize("says", ["noted.exists(n, n.startsWith('urgent.')) ? -100 : 0", "size(noted) * -9000"])
def test_the_command_of_an_urgent_letter_is_worked_on_before_one_that_came_first(says: str) -> None:
    """Its step's `priority` is in the command, its headers and the audit, within the bounds; without, nothing is."""
    core = Plan(CODEC, Workflows([prioritised(says)]), PARTITIONS)
    order = Fair(Costs(1), requests_max=1, room=Room(1 << 30).lane(1 << 30))
    found = []
    for offset, text in enumerate(("Where is my card?", "I will be evicted today unless the bank pays.")):
        event = admissions.admitted({**BODY, "text": text}, key=str(offset), lane="bulk", at=NOW_MS)
        effects = core.step(record(topics.CASE_ADMITTED, event), Store(), NOW_MS)
        request = request_of(effects)
        (out,) = (one for one in effects.outputs if ".requested." in one.topic and "inference" in one.topic)
        order.put(Record(out.topic, 0, offset, NOW_MS, out.key, out.value, out.headers))
        moves = [one for one in map(told, effects.outputs) if isinstance(one, AuditRecorded)]
        (detail,) = (json.loads(one.detail) for one in moves if one.transition == "requested")
        found.append((request.priority, detail.get("priority")))
    lower = -100 if "?" in says else -1000
    assert found == [(0, None), (lower, lower)]
    first = order.next()
    assert first is not None
    assert first.offset == 1


def prioritised(priority: str) -> Workflow:
    """The shipped workflow, with a priority for what it asks first."""
    told = yaml.safe_load((workflow_files.FOLDER / "document.triage.yaml").read_text(encoding="utf-8"))
    told["steps"]["classify"]["infer"]["priority"] = priority
    return Workflow.model_validate(told)


def test_what_a_process_has_in_hand_is_what_the_state_says() -> None:
    """A core that wrote the case, one that never saw it and one that knew it otherwise go on alike."""
    store, event, core = Store(), admitted(), Plan(CODEC, plain(), PARTITIONS)
    first = core.step(record(topics.CASE_ADMITTED, event), store, NOW_MS)
    store.apply(first)
    returned = record(topics.INFERENCE_COMPLETED, answer(request_of(first)))
    otherwise = Plan(CODEC, plain(), PARTITIONS)
    otherwise.step(record(topics.CASE_ADMITTED, replace(event, received_at=NOW_MS + 7)), Store(), NOW_MS + 7)
    again = [
        each.step(returned, store, NOW_MS + 9) for each in (core, core, Plan(CODEC, plain(), PARTITIONS), otherwise)
    ]
    assert again == [again[0]] * len(again)


@pytest.mark.parametrize("lane", ["bulk", "interactive"])
def test_a_case_runs_from_record_to_record(lane: str) -> None:
    """What it writes is keyed by case, commands by slot, in its lane and trace; its wait is one timer."""
    store, event = Store(), admitted(lane=lane)
    first = CORE.step(record(topics.CASE_ADMITTED, event), store, NOW_MS)
    store.apply(first)
    asked = [out.topic for out in first.outputs]
    assert set(asked) == {"audit.recorded.v1", f"inference.classify.{lane}.requested.v1"}
    assert asked[-2:] == [f"inference.classify.{lane}.requested.v1", "audit.recorded.v1"]
    assert list(store) == [event.case_id.encode(), pool_key("demo", f"classify.{lane}")]
    assert list(first.timers) == [(event.case_id, "classify/1")]
    second = CORE.step(record(topics.INFERENCE_COMPLETED, answer(request_of(first)), headers=()), store, NOW_MS + 9)
    store.apply(second)
    about = [out for out in second.outputs if out.topic != "usage.settled.v1"]
    assert [out.topic for out in about] == ["audit.recorded.v1", "case.decided.v1", "audit.recorded.v1"]
    assert second.timers[event.case_id, "classify/1"] is None
    assert list(store) == [event.case_id.encode()]
    for out in (*first.outputs, *about):
        headers = dict(out.headers)
        asks = ".requested." in out.topic
        assert (out.key, out.partition) == (key_of("demo", event.case_id) if asks else event.case_id.encode(), None)
        assert (headers["ce_source"], headers["ce_subject"]) == (b"/aios/plan", event.case_id.encode())
        assert headers["aios-tenant"] == b"demo"
        assert TRACE.split("-")[1].encode() in (headers["traceparent"] or b"")


def test_a_decided_case_is_forgotten_when_its_timer_fires() -> None:
    """The firing is an input like any other, and leaves a tombstone."""
    store, event = Store(), admitted()
    store.apply(CORE.step(record(topics.CASE_ADMITTED, event), store, NOW_MS))
    request = answer(request_of(CORE.step(record(topics.CASE_ADMITTED, event), Store(), NOW_MS)))
    decided = CORE.step(record(topics.INFERENCE_COMPLETED, request), store, NOW_MS)
    store.apply(decided)
    assert decided.ends == {event.case_id.encode(): NOW_MS + FORGET_AFTER_MS}
    assert [due for due in decided.timers.values() if due is not None] == []
    (due,) = decided.ends.values()
    fired = CORE.fire(event.case_id, FORGET, due, due + 1)
    assert told(fired) == TimerFired(timer_id=FORGET, case_id=event.case_id, due_at=due, fired_at=due + 1)
    headers = [(name, value) for name, value in fired.headers if value is not None]
    back = Record(fired.topic, partition_of(fired.key or b"", PARTITIONS), 1, due + 1, fired.key, fired.value, headers)
    store.apply(CORE.step(back, store, due + 1))
    assert store == {}


def test_a_repeat_writes_nothing_and_changes_nothing() -> None:
    """No output, no state, no timer: a redelivered record costs one look-up."""
    store, one = Store(), record(topics.CASE_ADMITTED, admitted())
    store.apply(CORE.step(one, store, NOW_MS))
    assert CORE.step(one, store, NOW_MS + 1) == Effects(outputs=[], changes={}, timers={})


def test_the_same_records_give_the_same_bytes() -> None:
    """A replay by another process writes what the first one wrote."""
    outputs = []
    for _ in range(2):
        store, core = Store(), Plan(Codec(REGISTRY), plain(), PARTITIONS)
        first = core.step(record(topics.CASE_ADMITTED, admitted()), store, NOW_MS)
        outputs.append((first.outputs, first.changes, first.timers))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"key": None}, Reason.UNATTRIBUTABLE),
        ({"key": b"another case"}, Reason.UNATTRIBUTABLE),
        ({"partition": PARTITIONS}, Reason.WRONG_PARTITION),
    ],
)
def test_a_record_in_the_wrong_place_changes_nothing(changed: dict[str, Any], reason: Reason) -> None:
    """Its case's state lives elsewhere: judging it here could make a second decision."""
    with pytest.raises(RecordError) as caught:
        CORE.step(record(topics.CASE_ADMITTED, admitted(), **changed), Store(), NOW_MS)
    assert caught.value.reason is reason


def test_what_returns_from_a_failure_is_read_by_its_schema() -> None:
    """The retry topic carries every contract of the stage, and no other."""
    effects = CORE.step(record(topics.CASE_ADMITTED, admitted(), topic=PLAN.retries.name), Store(), NOW_MS)
    assert request_of(effects).step == "classify"
    foreign = record(topics.INFERENCE_COMPLETED, answer(request_of(effects)), topic="case.admitted.v1")
    with pytest.raises(SchemaMismatch) as caught:
        CORE.step(foreign, Store(), NOW_MS)
    assert caught.value.reason is Reason.CONTRACT_BROKEN


def test_state_that_cannot_be_read_stops_the_stage() -> None:
    """A newer deploy wrote it, or it is damaged: going on would open the case a second time."""
    event = admitted()
    with pytest.raises(StateBroken):
        CORE.step(record(topics.CASE_ADMITTED, event), Store({event.case_id.encode(): b"\x00garbage"}), NOW_MS)


def test_a_remembered_case_round_trips() -> None:
    """What is read back is what was written."""
    store, event = Store(), admitted()
    store.apply(CORE.step(record(topics.CASE_ADMITTED, event), store, NOW_MS))
    remembered = CODEC.decode(store[event.case_id.encode()], CaseRemembered)
    assert (remembered.traceparent, remembered.waiting_for) == (TRACE, ids.command_id(event.case_id, "classify", 1))


def test_an_approved_edit_has_the_hash_of_what_is_sent() -> None:
    """What was filled in with the time of arrival is not in it: a producer's repeat of the edited body is a repeat."""
    taken = inputs.shipped("meeting.requested.v1")
    fields = taken.complete({"organiser": "eva@acme.test", "text": "Tomorrow at ten with Ana", "time_zone": "UTC"})
    event = replace(
        admitted(),
        workflow="meeting.schedule",
        input_contract=taken.contract,
        input=ids.canonical(taken.of_case(fields, NOW_MS)),
    )
    assert NOW_MS in taken.of_case(fields, NOW_MS).values()
    edited = Plan(CODEC, workflow_files.shipped(), PARTITIONS)._edited(event, "before")
    assert edited.body_hash == taken.body_hash(fields)
