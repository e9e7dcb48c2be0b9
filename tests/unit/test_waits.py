"""Waits: for an event that the case is told, for a time, and circles through them."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.processors.cases import waits
from aios.schemas import ids
from aios.schemas.models import AuditRecorded, CaseTold, ConnectorRequested
from aios.sinks import audit, outcome_writes
from aios.streams import explanation
from aios.streams.errors import Reason, RecordError
from tests.fakes.flow import EVERY, Flow, returned, workflow


def booked(flow: Flow | None = None) -> Flow:
    """Past everything up to the wait."""
    flow = flow or Flow()
    flow.admit()
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    return flow


def booked_times(flow: Flow) -> list[str]:
    return [one.step for one in flow.of(ConnectorRequested) if one.operation == "book"]


def told(flow: Flow) -> list[tuple[str, str]]:
    entries = [one for one in flow.of(AuditRecorded) if one.transition in ("told", "ignored", "waiting")]
    return [(one.transition, json.loads(one.detail).get("reason", "")) for one in entries]


def test_a_wait_shows_what_the_case_has_come_to_and_ends_by_the_clock() -> None:
    """Its timer is the only one; whoever looks is shown its status and what it says; then the policy decides."""
    flow = booked()
    (entry,) = [one for one in flow.of(AuditRecorded) if one.transition == "waiting"]
    said = json.loads(entry.detail)
    assert (entry.status, entry.shown, said["answers_caller"]) == ("booked", '{"slot":"nine"}', True)
    assert said["until"] == flow.timers["booked/1"] == flow.now_ms + 3_600_000
    flow.fire("booked/1")
    assert (flow.decided.outcome, flow.decided.reasons) == ("booked", ("took_place",))
    assert json.loads(flow.decided.output) == {"slot": "nine"}
    assert flow.decided.cost_centre == "CC-1"


def test_what_people_are_told_is_in_the_chain_as_a_hash_alone_and_shown_as_it_is() -> None:
    """Words for people may have to be erased one day, and the chain never is; who looks at the case reads them."""
    flow = booked()
    (entry,) = [one for one in flow.of(AuditRecorded) if one.transition == "waiting"]
    kept = audit.chained(entry)
    assert "nine" not in ids.canonical(kept)
    assert json.loads(kept["detail"])["says_hash"] == ids.body_hash({"slot": "nine"})
    shown = json.loads(outcome_writes.transition_json(entry))["detail"]
    assert shown == {"event": "changed", "until": shown["until"], "says": {"slot": "nine"}, "answers_caller": True}
    (sentence,) = explanation.explain("c", "w", [json.loads(outcome_writes.transition_json(entry))]).story
    assert sentence.evidence["says"] == {"slot": "nine"}
    before = replace(entry, detail=ids.canonical(shown), shown="")  # of a release that had it in the evidence
    assert json.loads(outcome_writes.transition_json(before))["detail"] == shown


def test_an_event_leads_on_and_is_the_waits_answer() -> None:
    """The step that the circle comes back to has another path, and so another id and key."""
    flow = booked()
    first = flow.calls("book")
    flow.tell("changed", body={"what": "moved", "to": "ten"})
    second = flow.calls("book#2")
    assert second.request_id != first.request_id
    assert second.idempotency_key != first.idempotency_key
    assert flow.feed(returned(first)) == []
    flow.answer("book#2", slot="ten")
    assert flow.timers.keys() == {"booked#2/1"}
    flow.tell("changed", "t2", {"what": "cancelled"})
    assert (flow.decided.outcome, flow.decided.reasons) == ("refused", ("withdrawn",))


def test_a_circle_is_taken_as_often_as_the_wait_allows() -> None:
    """In the last round the case listens to the clock alone, and says so to whoever tells it something."""
    flow = booked()
    for number in (2, 3):
        flow.tell("changed", f"t{number}")
        flow.answer(f"book#{number}")
    flow.tell("changed", "t4")
    assert booked_times(flow) == ["book", "book#2", "book#3"]
    assert told(flow)[-1] == ("ignored", "rounds_spent")
    flow.fire("booked#3/1")
    assert flow.decided.outcome == "booked"


def test_an_event_that_comes_twice_changes_nothing() -> None:
    """By its id, in the wait and behind it."""
    flow = booked()
    flow.tell("changed", "t1")
    assert flow.tell("changed", "t1") == []
    flow.answer("book#2")
    assert flow.tell("changed", "t1") == []
    assert flow.skipped == ["repeated", "repeated"]
    assert booked_times(flow) == ["book", "book#2"]


def test_an_event_that_comes_before_the_wait_is_kept_for_it() -> None:
    """A cancellation is not lost to the booking that is under way."""
    flow = Flow()
    flow.admit()
    flow.tell("changed", "t1", {"what": "cancelled"})
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    assert (flow.decided.outcome, flow.decided.reasons) == ("refused", ("withdrawn",))
    assert told(flow) == [("told", ""), ("told", "")]


def test_what_nobody_waits_for_is_noted() -> None:
    """A kind that no wait of the workflow names; more than is kept; what comes behind the decision."""
    flow = Flow()
    flow.admit()
    flow.tell("surprise", "s1")
    for number in range(9):
        flow.tell("changed", f"t{number}")
    assert [reason for _, reason in told(flow) if reason] == ["nobody_waits_for_this", "too_many_kept"]
    flow.cancel()
    flow.tell("changed", "t99")
    assert told(flow)[-1] == ("ignored", "decided_before")


def test_an_event_that_lacks_what_the_examples_share_changes_nothing() -> None:
    """The steps behind the wait read it: the case would be stuck with it. Told again as it should be, it goes on."""
    shared = workflow(examples={"booked": [{"what": "moved", "to": "ten"}, {"what": "x"}]})
    flow = booked(Flow(workflow=shared))
    flow.tell("changed", "t1", {"to": "ten"})
    assert told(flow)[-1] == ("ignored", "incomplete")
    (entry,) = [one for one in flow.of(AuditRecorded) if one.transition == "ignored"]
    (sentence,) = explanation.explain("c", "w", [json.loads(outcome_writes.transition_json(entry))]).story
    assert sentence.says == "Changed from producer changed nothing: it has no what as it should."
    flow.tell("changed", "t2", {"what": "cancelled"})
    assert flow.decided.reasons == ("withdrawn",)


def test_an_event_that_comes_early_and_lacks_something_says_so_at_once() -> None:
    """It would be kept for a wait that never takes it, and nobody would know."""
    flow = Flow(workflow=workflow(examples={"booked": [{"what": "moved"}]}))
    flow.admit()
    flow.tell("changed", "t1", {"to": "ten"})
    entry = flow.of(AuditRecorded)[-1]
    assert (entry.transition, json.loads(entry.detail)["lacks"]) == ("ignored", "what")
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    assert told(flow) == [("ignored", "incomplete"), ("waiting", "")]


def test_an_event_that_one_of_two_waits_can_take_is_kept_for_it() -> None:
    """It lacks what the first counts on, and passes it by."""
    steps = copy.deepcopy(EVERY["steps"])
    steps["weigh"]["rule"]["otherwise"]["then"] = "before"
    steps["before"] = {
        "wait": {"status": "early", "event": "changed", "for_s": 60, "then": "book", "on_expiry": {"then": "book"}}
    }
    flow = Flow(workflow=workflow(steps=steps, examples={"before": [{"by": "x"}], "booked": [{"what": "moved"}]}))
    flow.admit()
    flow.tell("changed", "t0", {"to": "ten"})
    flow.tell("changed", "t1", {"what": "cancelled"})
    for step in ("gather/screen", "gather/about", "read/0", "read/1"):
        flow.answer(step)
    flow.fire("before/1")
    flow.answer("book")
    assert flow.decided.reasons == ("withdrawn",)
    assert told(flow) == [("ignored", "incomplete"), ("told", ""), ("waiting", ""), ("told", "")]


def test_what_is_kept_for_a_wait_and_lacks_something_does_not_stand_before_what_comes_behind_it() -> None:
    shared = workflow(examples={"booked": [{"what": "moved"}]})
    flow = Flow(workflow=shared)
    flow.admit()
    flow.tell("changed", "t1", {"to": "ten"})
    flow.tell("changed", "t2", {"what": "cancelled"})
    for step in ("gather/screen", "gather/about", "read/0", "read/1", "book"):
        flow.answer(step)
    assert flow.decided.reasons == ("withdrawn",)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(examples=st.lists(st.dictionaries(st.sampled_from("abc"), PLAIN, max_size=3), min_size=1, max_size=3))
def test_no_example_lacks_anything_and_without_what_they_share_something_is_lacked(examples: list[Any]) -> None:
    assert [waits.lacking(examples, one) for one in examples] == [""] * len(examples)
    for name in set.intersection(*map(set, examples)):
        less = {key: value for key, value in examples[0].items() if key != name}
        assert waits.lacking(examples, less) == min(set.intersection(*map(set, examples)) - less.keys())


@pytest.mark.parametrize(("body", "reason"), [("[]", Reason.CONTRACT_BROKEN), ("no json", Reason.CONTRACT_BROKEN)])
def test_what_is_no_object_is_a_dead_letter(body: str, reason: Reason) -> None:
    """And the case stays as it was."""
    flow = booked()
    before, event = flow.state, flow.history[0][0]
    assert event is not None
    flow.tell("changed")
    (last, _) = flow.history[-1]
    with pytest.raises(RecordError) as caught:
        flow.feed(
            type(last)(**{name: getattr(last, name) for name in last.__slots__} | {"body": body, "event_id": "t9"})
        )
    assert caught.value.reason is reason
    assert before is not None


def test_a_stranger_tells_a_case_nothing() -> None:
    """Another tenant's event is attributed to nobody."""
    flow = booked()
    flow.tell("changed")
    (last, _) = flow.history[-1]
    fields = {name: getattr(last, name) for name in last.__slots__}
    with pytest.raises(RecordError) as caught:
        flow.feed(type(last)(**fields | {"tenant": "other", "event_id": "t9"}))
    assert caught.value.reason is Reason.UNATTRIBUTABLE


ODD = ['{"at": NaN}', '{"at": 1e400}', '{"what": "\\ud800"}', '{"a":' * 5_000 + "1" + "}" * 5_000, "[]", "{"]


@pytest.mark.parametrize("body", ODD)
def test_what_cannot_be_written_again_is_told_to_nobody(body: str) -> None:
    """A record of its own dead letter, and not an error of plan."""
    flow = booked()
    told_so = CaseTold(
        event_id="t1", case_id=flow.case_id, tenant="demo", kind="changed", body=body, by="producer", told_at=0
    )
    with pytest.raises(RecordError) as refused:
        flow.feed(told_so)
    assert refused.value.reason is Reason.CONTRACT_BROKEN


@pytest.mark.parametrize("output", ODD)
def test_a_system_that_answers_what_cannot_be_written_again_has_failed(output: str) -> None:
    """Like one that breaks its contract in any other way."""
    flow = Flow()
    flow.admit()
    flow.feed(replace(returned(flow.calls("gather/screen")), output=output))
    (entry,) = [one for one in flow.of(AuditRecorded) if one.transition == "call_completed"]
    assert json.loads(entry.detail)["reason"] == "answer_breaks_contract"
    assert flow.transitions()[-1] == "branch_failed"


def test_a_number_that_was_written_whole_is_what_its_examples_are() -> None:
    """JSON writes 12.0 as 12, and an expression that was tried with 12.5 does not multiply whole numbers."""
    steps = copy.deepcopy(EVERY["steps"])
    steps["changed"]["rule"]["first_of"].insert(
        0, {"when": "answers.booked.fees[0].eur * 2.0 > 20.0", "then": "refuse"}
    )
    examples = {"booked": [{"what": "moved", "count": 1, "fees": [{"eur": 12.5}]}]}
    flow = booked(Flow(workflow=workflow(steps=steps, examples=examples)))
    flow.tell("changed", body={"what": "moved", "count": 2, "fees": [{"eur": 10}, {"eur": 0.5}]})
    assert flow.state is not None
    assert json.loads(flow.state.answers)["booked"] == {
        "count": 2,
        "fees": [{"eur": 10.0}, {"eur": 0.5}],
        "what": "moved",
    }
    assert '"count":2,' in flow.state.answers
    flow.answer("book#2")
    flow.tell("changed", "t2", body={"what": "moved", "count": 2, "fees": [{"eur": 11}]})
    assert flow.decided.outcome == "refused"
