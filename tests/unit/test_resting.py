"""Asking again after a rest: what nobody answered in time is asked again, so often and so late as `on_error` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aios.infra import ways
from aios.processors.cases import migrating, spending
from aios.processors.cases.branches import strands_of
from aios.processors.language import workflow_files
from aios.processors.language.part import Again
from aios.schemas import ids
from aios.schemas.models import AuditRecorded, ConnectorRequested, InferenceCancelled, ReviewRequested
from aios.streams import installed, transitions
from aios.streams.durations import MINUTE_MS
from tests.fakes.flow import INPUT, Flow, asking_again, workflow


def booking(times: int = 1) -> Flow:
    """A case that asks a calendar to book."""
    flow = Flow(workflow=asking_again(times), input={**INPUT, "documents": []})
    flow.admit()
    flow.answer("gather/screen")
    flow.answer("gather/about")
    return flow


def rests(flow: Flow) -> list[dict[str, Any]]:
    return [json.loads(one.detail) for one in flow.of(AuditRecorded) if one.transition == "resting"]


def test_what_was_not_answered_in_time_is_asked_again_after_a_rest() -> None:
    """Of the same path, with the next attempt's id and the same key; it waits for its timer alone, and then goes on."""
    flow = booking()
    first = flow.calls("book")
    flow.answer("book", "expired")
    assert flow.calls("book") is first
    assert flow.timers == {"again/book/2": flow.now_ms + MINUTE_MS}
    flow.fire("again/book/2")
    second = flow.calls("book")
    assert (second.step, second.attempt, second.idempotency_key) == ("book", 2, first.idempotency_key)
    assert second.request_id == ids.command_id(flow.case_id, "book", 2)
    flow.answer("book")
    assert flow.transitions()[-6:] == [
        "call_requested",
        "call_completed",
        "resting",
        "call_requested",
        "call_completed",
        "waiting",
    ]
    assert flow.state is not None
    assert (flow.state.again, flow.state.reasons) == (0, ())


@pytest.mark.parametrize("status", ["expired", "unknown"])
def test_each_rest_is_twice_the_last_and_after_the_last_time_the_step_has_failed(status: str) -> None:
    """So often and no more; then on_error, with its reason."""
    flow = booking(times=2)
    for number in (1, 2):
        flow.answer("book", status)
        assert rests(flow)[-1] == {
            "attempt": number + 1,
            "again": number,
            "times": 2,
            "until": flow.now_ms + number * MINUTE_MS,
        }
        flow.fire(f"again/book/{number + 1}")
    flow.answer("book", status)
    assert flow.decided.reasons == ("not_booked",)
    assert len(rests(flow)) == 2


def test_what_is_answered_no_is_not_asked_again() -> None:
    """It would be the same in a minute: the case goes on at once."""
    flow = booking()
    flow.answer("book", "failed")
    assert rests(flow) == []
    assert flow.decided.reasons == ("not_booked",)


def test_silence_is_asked_again_at_once_and_after_the_rest_as_often() -> None:
    """attempts_max each time; a late answer to a command before the rest changes nothing."""
    flow = booking()
    flow.fire("book/1")
    late = flow.calls("book")
    flow.fire("book/2")
    assert flow.transitions()[-2:] == ["call_unanswered", "resting"]
    before = flow.state
    flow.answer("book")
    assert flow.state == before
    flow.fire("again/book/3")
    flow.fire("book/3")
    assert flow.calls("book").attempt == 4
    assert flow.calls("book").idempotency_key == late.idempotency_key
    flow.fire("book/4")
    assert flow.decided.reasons == ("not_booked",)
    assert [one.attempt for one in flow.of(ConnectorRequested) if one.step == "book"] == [1, 2, 3, 4]


def test_a_timer_that_comes_twice_asks_once() -> None:
    """The rest is over once; the timer of the answer is another one."""
    flow = booking()
    flow.answer("book", "expired")
    flow.fire("again/book/2")
    assert flow.fire("again/book/2") == []
    assert flow.skipped[-1] == "late_timer"
    assert flow.timers.keys() == {"book/2"}


def test_a_branch_is_asked_again_by_itself() -> None:
    """The others' answers are kept, and nobody who answered is asked twice."""
    flow = Flow(workflow=asking_again())
    flow.admit()
    flow.answer("gather/about", "expired")
    flow.answer("gather/screen")
    assert flow.timers.keys() == {"again/gather/about/2"}
    assert flow.state is not None
    assert [one.again for one in strands_of(flow.state)] == [0, 1]
    flow.fire("again/gather/about/2")
    flow.answer("gather/about")
    assert {one.step for one in flow.of(ConnectorRequested)} == {"gather/screen", "read/0", "read/1"}
    flow.answer("read/0")
    flow.answer("read/1", "expired")
    flow.fire("again/read/1/2")
    flow.answer("read/1", page="second")
    assert flow.out("book").step == "book"
    assert flow.of(ReviewRequested) == []


def test_a_branch_that_is_answered_no_time_is_a_gap() -> None:
    flow = Flow(workflow=asking_again())
    flow.admit()
    flow.answer("gather/about")
    for attempt in (1, 2):
        flow.answer("gather/screen", "expired")
        if attempt == 1:
            flow.fire("again/gather/screen/2")
    assert flow.transitions()[-3:] == ["call_completed", "branch_failed", "review_requested"]
    assert flow.out("ask").reasons == ("gathering_failed",)


def test_a_model_that_was_asked_again_is_asked_from_its_first_pool_on() -> None:
    """Silence of all attempts, a rest, and the attempts go on counting."""
    flow = Flow(workflow=asking_again())
    flow.admit()
    flow.answer("gather/screen")
    flow.fire("gather/about/1")
    flow.fire("gather/about/2")
    assert flow.timers.keys() == {"again/gather/about/3"}
    flow.fire("again/gather/about/3")
    assert (flow.out("gather/about").attempt, flow.out("gather/about").pool) == (3, "classify.bulk")
    flow.answer("gather/about", label="no_such_label")
    assert flow.out("ask").reasons == ("gathering_failed",)


def test_a_case_that_rests_is_called_off_like_any_other() -> None:
    """Its timer goes, nothing is out that could be cancelled, and what was done stands on its audit."""
    flow = booking()
    flow.answer("book", "expired")
    flow.cancel()
    assert flow.decided.outcome == "cancelled"
    assert flow.of(InferenceCancelled) == []


def test_the_second_visit_of_a_step_rests_as_often_as_the_first() -> None:
    flow = booking()
    flow.answer("book", "expired")
    flow.fire("again/book/2")
    flow.answer("book")
    flow.tell("changed")
    flow.answer("book#2", "expired")
    assert flow.timers.keys() == {"again/book#2/2"}
    flow.fire("again/book#2/2")
    assert flow.calls("book#2").idempotency_key != flow.calls("book").idempotency_key


def test_a_case_that_rests_moves_to_a_version_that_does_not_ask_again() -> None:
    """Its rest ends, it is asked this once, and then the version's own way is taken."""
    flow = booking()
    flow.answer("book", "expired")
    after = workflow(version=2)
    moved = migrating.migrated(flow.state, flow.workflow, after)  # type: ignore[arg-type]
    assert not isinstance(moved, str), moved
    flow.state, flow.workflow = moved, after
    flow.workflows = workflow_files.Workflows([after])
    flow.fire("again/book/2")
    flow.answer("book", "expired")
    assert flow.decided.reasons == ("not_booked",)


def test_the_rests_are_told_in_words() -> None:
    """On the audit, by `case explain`, and where the workflow is drawn."""
    flow = booking()
    flow.answer("book", "expired")
    (one,) = [entry for entry in flow.of(AuditRecorded) if entry.transition == "resting"]
    move = {"transition": one.transition, "step": one.step, "actor": one.actor, "detail": json.loads(one.detail)}
    says = transitions.words_of(move).say(move)
    assert says == "step book had no answer, rests until 2023-11-14 22:14:20 and is then asked again (1 of 1 times)"
    (_, failed) = ways.ways(asking_again(times=5).steps["book"].kind)
    says = "failed, or expired or silent also after 1 min, 2 min, 4 min, 8 min, 10 min"
    assert failed == (says, "refuse", "not_booked")


def test_no_rest_is_longer_than_the_longest() -> None:
    assert Again(times=5, first_s=60, longest_s=300).rests_s == (60, 120, 240, 300, 300)


def test_a_reservation_outlives_every_rest() -> None:
    """Each time that a step may be asked again, and what it rests before."""
    plain, again = workflow(), asking_again()
    pools = installed.pools()
    once = spending.longest_ms(plain, "interactive", pools)
    assert spending.longest_ms(again, "interactive", pools) > once + 5 * MINUTE_MS


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{times: 3,", "{times: 9,", "on_error.again.times: attempts_max 1, 10 times, is 10 commands: 5 at most"),
        (
            "bulk: 21600}\n      then: assess",
            "bulk: 21600}\n          effect: at_most_once\n      then: assess",
            "what has the effect at_most_once is not asked again",
        ),
        ("longest_s: 300}", "longest_s: 30}", "`longest_s` is no less than `first_s`"),
    ],
)
def test_what_may_not_be_asked_again_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    """More commands than connectors look for; what may be done once at most; rests that shrink."""
    text = (workflow_files.FOLDER / "kyc.review.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "kyc.review.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    (problem,) = workflow_files.read(path)[1]
    assert says in problem
