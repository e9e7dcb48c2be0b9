"""What does not fit a record: evidence, answers, what is told; and a case that would write too much ends."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from aios.processors.cases import case, turn, waits
from aios.processors.connectors import documents, registry
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.processors.plan import Plan
from aios.processors.reading.extract import Read
from aios.processors.reading.fact import FACTS_MAX, QUOTE_CHARS_MAX, By, Fact, Kind, Place
from aios.processors.reading.problem import Problem
from aios.processors.reading.reader import Document
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    AuditRecorded,
    CaseDecided,
    CaseRemembered,
    CaseTold,
    ConnectorRequested,
    TimerFired,
)
from aios.streams import document_store, inputs, topics
from aios.streams.errors import Reason, SchemaMismatch
from aios.streams.partitioner import partition_of
from aios.streams.record import Record
from aios.streams.topology import PLAN
from tests.fakes.flow import EVERY, INPUT, START_MS, Flow
from tests.fakes.registry import FakeRegistry

LARGEST = 900 << 10  # of an input, as admit takes it
WIDE = "ą"  # two bytes
CODEC = Codec(FakeRegistry())


def large(bytes_: int) -> dict[str, Any]:
    return {**INPUT, "text": WIDE * (bytes_ // 2)}


def changed(**steps: Any) -> Workflow:
    told = copy.deepcopy(EVERY)
    for name, kinds in steps.items():
        for kind, values in kinds.items():
            told["steps"][name][kind] |= values
    return Workflow.model_validate(told)


@pytest.mark.parametrize("input_bytes", [0, LARGEST - 1_000])
def test_a_task_fits_its_record_however_large_input_and_evidence_are(input_bytes: int) -> None:
    """The longest piece of evidence gives way to a word that says so; the small ones stay."""
    seen = {"text": "input.text", "twice": "input.text + input.text", "who": "input.name"}
    flow = Flow(workflow=changed(ask={"review": {"evidence": seen}}), input=large(input_bytes or 300_000))
    flow.admit()
    flow.answer("gather/screen", "failed")
    flow.answer("gather/about")
    task = flow.out("ask")
    assert CODEC.encode(topics.REVIEW_REQUESTED, task)
    evidence = json.loads(task.evidence)
    assert evidence["who"] == INPUT["name"]
    assert evidence["twice"].startswith("left out: ")


def test_a_decision_fits_its_record() -> None:
    """Its summary is cut, what is longest of its output left out."""
    emit = {"summary": "input.text", "output": {"text": "input.text", "slot": "answers.book.slot"}}
    flow = Flow(workflow=changed(done={"emit": emit}), input=large(LARGEST - 1_000))
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    flow.fire("booked/1")
    assert CODEC.encode(topics.CASE_DECIDED, flow.decided)
    assert json.loads(flow.decided.output)["slot"] == "nine"


def test_an_answer_that_the_case_cannot_remember_is_none() -> None:
    """Each item of a map has an equal part of what is left, so that the last answer fits as well as the first."""
    flow = Flow(input=large(LARGEST - 1_000))
    flow.admit()
    flow.answer("gather/screen")
    flow.answer("gather/about")
    for step in ("read/0", "read/1"):
        flow.answer(step, page="x" * 60_000)
    assert flow.state is not None
    assert CODEC.encode(PLAN.changelog, flow.state)  # type: ignore[arg-type]
    reasons = [json.loads(one.detail).get("reason") for one in flow.of(AuditRecorded) if one.step.startswith("read/")]
    assert reasons.count(turn.TOO_LARGE) == 2
    assert flow.out("ask").reasons == ("unreadable",)


def kyc(*documents: Mapping[str, str]) -> Flow:
    shipped = inputs.shipped("kyc.application.submitted.v1")
    said = {"applicant_name": "Ann Bell", "birth_date": "1980-05-03", "country": "IE", "documents": list(documents)}
    latest = workflow_files.shipped().latest("kyc.review")
    assert latest is not None
    assert shipped.wrong(said) == ""
    return Flow(workflow=latest, input=shipped.of_case(shipped.complete(said), START_MS))


def test_the_largest_document_that_a_case_may_hold_is_read() -> None:
    """256 KiB of bytes, in base64 a third more: the command carries them, and fits its topic."""
    content = base64.b64encode(bytes(document_store.BY_REFERENCE_FROM)).decode()
    flow = kyc({"name": "scan.pdf", "content": content}, {"name": "a.txt", "text": WIDE * 100_000})
    flow.admit()
    asked = [one for one in flow.of(ConnectorRequested) if one.step.startswith("read_all/")]
    assert [json.loads(one.request)["content"] for one in asked] == [content, ""]
    for one in asked:
        assert CODEC.encode(topics.connector_requested(one.system), one)


def test_ten_documents_that_say_all_that_is_read_of_one_are_compared() -> None:
    """Sixty facts each, with the longest quotes."""
    flow = kyc(*({"name": f"{number}.txt", "text": "x"} for number in range(10)))
    flow.admit()
    place = Place(page=1, line=1, start=0, end=QUOTE_CHARS_MAX)
    fact = Fact(kind=Kind.ALIAS, value="n" * 120, quote="q" * QUOTE_CHARS_MAX, places=(place,), by=By.LABEL, sure=0.9)
    said = documents.answer(
        "a.txt", b"x", Document("text/plain", (), Problem.NONE), Read("letter", (fact,) * FACTS_MAX)
    )
    for number in range(10):
        flow.answer(f"read_all/{number}", **said.model_dump(mode="json"))
    asked = flow.calls("assess/compare")
    assert len(json.loads(asked.request)["documents"]) == 10
    assert CODEC.encode(topics.connector_requested("assessment"), asked)
    assert registry.operation("assessment", "compare").request.model_validate_json(asked.request)


def test_a_command_that_no_record_holds_is_not_sent() -> None:
    """Its step has failed, and the audit says why."""
    twice = {"connect": {"request": {"name": "input.text + input.text"}}}
    flow = Flow(workflow=changed(book=twice), input=large(600_000))
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1"):
        flow.answer(step)
    (why,) = [json.loads(one.detail)["reason"] for one in flow.of(AuditRecorded) if one.transition == "not_called"]
    assert (why, flow.decided.reasons) == ("request_too_large", ("not_booked",))


def test_what_is_kept_for_a_wait_has_a_bound_in_bytes() -> None:
    """Not in number alone: the case is remembered with it."""
    flow = Flow()
    flow.admit()
    for number in range(4):
        flow.tell("changed", f"t{number}", {"what": "x" * 40_000})
    assert flow.state is not None
    assert len(flow.state.told) < waits.KEPT_BYTES_MAX + 1_000
    told = [json.loads(one.detail) for one in flow.of(AuditRecorded) if one.transition in ("told", "ignored")]
    assert [one.get("reason", "kept") for one in told] == ["kept", "kept", "too_many_kept", "too_many_kept"]


def test_a_case_whose_next_record_would_be_too_large_ends() -> None:
    """The timer is no dead letter behind which the case waits for ever; what is told, though, ends no case."""
    flow = Flow(
        workflow=changed(ask={"review": {"suggestion": "input.text + input.text"}}), input=large(LARGEST - 1_000)
    )
    flow.admit()
    flow.answer("gather/about")
    flow.fire("gather/screen/1")
    flow.fire("gather/screen/2")  # and now a person is asked, whose task does not fit
    assert len(flow.out("ask").suggestion.encode()) > topics.RECORD_BYTES_MAX
    before, cause = _before_the_last(flow)
    core = Plan(CODEC, Workflows([flow.workflow]), 1)
    state = {flow.case_id.encode(): CODEC.encode(PLAN.changelog, replace(before, case_id=""))}  # type: ignore[arg-type]
    fired = TimerFired(timer_id="gather/screen/2", case_id=flow.case_id, due_at=cause, fired_at=cause)
    effects = core.step(_record(topics.TIMER_FIRED, fired), state, cause)  # type: ignore[arg-type]
    (decided,) = [
        CODEC.decode(out.value, CaseDecided) for out in effects.outputs if out.topic == topics.CASE_DECIDED.name
    ]
    assert (decided.outcome, decided.reasons[-1], decided.decided_by) == ("expired", "too_large", "timer")
    assert effects.timers == {(flow.case_id, "gather/screen/2"): None}
    assert effects.ends


def _before_the_last(flow: Flow) -> tuple[CaseRemembered, int]:
    state: CaseRemembered | None = None
    for event, cause in flow.history[:-1]:
        state = case.plan(state, event, cause, flow.workflows).state
    assert state is not None
    return state, flow.history[-1][1].now_ms


def _record(topic: topics.Topic, event: Any) -> Record:
    key = event.case_id.encode()
    return Record(topic.name, partition_of(key, 1), 0, START_MS, key, CODEC.encode(topic, event), ())


def test_whoever_tells_too_much_ends_no_case() -> None:
    """It is that event's dead letter; the case waits on."""
    flow = Flow(input=large(LARGEST - 1_000))
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    assert flow.state is not None
    body = ids.canonical({"what": "x" * 200_000})
    told = CaseTold(
        event_id="t1", case_id=flow.case_id, tenant="demo", kind="changed", body=body, by="producer", told_at=0
    )
    state = {flow.case_id.encode(): CODEC.encode(PLAN.changelog, replace(flow.state, case_id=""))}  # type: ignore[arg-type]
    core = Plan(CODEC, Workflows([flow.workflow]), 1)
    with pytest.raises(SchemaMismatch) as refused:
        core.step(_record(topics.CASE_TOLD, told), state, START_MS)  # type: ignore[arg-type]
    assert refused.value.reason is Reason.OVERSIZE
