"""Objectives against what cases did: kept, breached or without cases, and of a breach the cause."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aios.infra import objectives, recent
from aios.infra.objectives import Kept
from aios.infra.recent import Trail
from aios.processors.language import workflow_files
from aios.schemas.models import AuditRecorded, CaseDecided

NAME = "document.triage"
TRIAGE, _ = workflow_files.read(workflow_files.FOLDER / f"{NAME}.yaml")
NOW_MS = 1_700_000_000_000
POOL = "classify.interactive"


class Story:
    """The records of some cases, as Kafka would give them."""

    def __init__(self) -> None:
        self.trails: dict[str, Trail] = {}

    def move(self, case: str, at: int, transition: str, step: str = "s", **detail: Any) -> None:
        event = AuditRecorded(
            audit_id=f"{case}/{at}/{transition}",
            case_id=case,
            tenant="demo",
            workflow=NAME,
            case_seq=1,
            transition=transition,
            step=step,
            actor="plan",
            detail=json.dumps(detail),
            input_topic="",
            input_partition=0,
            input_offset=0,
            at=at,
        )
        recent.follow(self.trails, event)

    def decided(self, case: str, began: int, ended: int, by: str = "policy", **more: Any) -> None:
        event = CaseDecided(
            decision_id=case,
            case_id=case,
            tenant="demo",
            workflow=NAME,
            workflow_version=1,
            event_id=case,
            idempotency_key=case,
            outcome="routed",
            models=(),
            prompts=(),
            decided_by=by,
            received_at=began,
            admitted_at=began + more.pop("intake_ms", 0),
            decided_at=ended,
            case_seq=9,
            lane="interactive",
            source_topic="",
            source_partition=0,
            source_offset=0,
            **{"reasons": (), **more},
        )
        recent.follow(self.trails, event)

    def judged(self) -> dict[str, Kept]:
        found = objectives.judge([TRIAGE] if TRIAGE else [], list(self.trails.values()), NOW_MS)
        return {one.objective: one for one in found}


def asked_and_answered(story: Story, case: str, began: int, queue_ms: int, compute_ms: int) -> None:
    story.move(case, began, "admitted", lane="interactive")
    story.move(case, began, "requested", pool=POOL)
    ended = began + queue_ms + compute_ms
    story.move(case, ended, "answered", queue_ms=queue_ms, compute_ms=compute_ms, pool=POOL)
    story.decided(case, began, ended)


def test_without_cases_nothing_is_kept_and_nothing_breached() -> None:
    assert {one.kept for one in Story().judged().values()} == {None}


def test_a_pool_that_is_too_small_is_the_cause_and_is_named() -> None:
    """Late cases that were queued: the pool, and the command that shows and mends it."""
    story = Story()
    for number in range(20):
        asked_and_answered(story, f"c{number}", NOW_MS - 100_000, queue_ms=40_000, compute_ms=500)
    one = story.judged()["interactive_p95_s"]
    assert (one.kept, one.measured, one.cases) == (False, 40.5, 20)
    assert f"queued before {POOL}" in one.cause
    assert "`aios scale classify=…` gives it more workers" in one.cause
    assert one.command == f"aios pools {POOL}"


def test_a_model_that_is_slow_is_not_taken_for_a_queue() -> None:
    story = Story()
    asked_and_answered(story, "c", NOW_MS - 100_000, queue_ms=500, compute_ms=40_000)
    one = story.judged()["interactive_p95_s"]
    assert "computing" in one.cause
    assert one.command == f"aios pools {POOL}"


def test_an_outside_system_that_was_away_is_the_cause() -> None:
    story = Story()
    story.move("c", NOW_MS - 60_000, "call_requested", system="sanctions")
    story.move("c", NOW_MS - 10_000, "call_completed", system="sanctions")
    story.decided("c", NOW_MS - 60_000, NOW_MS - 10_000)
    one = story.judged()["interactive_p95_s"]
    assert "waiting for sanctions" in one.cause
    assert one.command == "aios breaker list"


def test_cases_that_stand_still_breach_though_none_was_decided() -> None:
    """A system that stops deciding must not look fast."""
    story = Story()
    story.move("fast", NOW_MS - 3_000, "admitted", lane="interactive")
    assert story.judged()["interactive_p95_s"].kept is None
    story.move("stuck", NOW_MS - 600_000, "admitted", lane="interactive")
    story.move("stuck", NOW_MS - 600_000, "requested", pool=POOL)
    one = story.judged()["interactive_p95_s"]
    assert (one.kept, one.measured, one.cases) == (False, 600.0, 1)
    assert "1 of them still wait" in one.cause


def test_cases_that_people_were_asked_about_do_not_count_as_slow() -> None:
    story = Story()
    story.move("c", NOW_MS - 900_000, "review_requested", reasons=["low_confidence"])
    story.decided("c", NOW_MS - 900_000, NOW_MS, by="reviewer:ana")
    assert story.judged()["interactive_p95_s"].kept is None


def test_too_many_people_are_explained_by_their_commonest_reason() -> None:
    story = Story()
    for number in range(6):
        reason = "model_failed" if number else "low_confidence"
        story.move(f"c{number}", NOW_MS, "answered", reason="engine_dead")
        story.move(f"c{number}", NOW_MS, "review_requested", reasons=["first", reason])
        story.decided(f"c{number}", NOW_MS - 9, NOW_MS, by="reviewer:ana")
    story.decided("alone", NOW_MS - 9, NOW_MS)
    one = story.judged()["without_person_min"]
    assert (one.kept, round(one.measured or 0, 3)) == (False, 0.143)
    assert one.cause == "5 of 6 cases that went to a person did so for model failed"
    assert one.command == "aios pools"


def test_a_policy_that_stops_everything_is_named() -> None:
    story = Story()
    story.move("c", NOW_MS, "guarded", policy="no_injection@1", verdict="refused")
    story.move("c", NOW_MS, "review_requested", reasons=["model_failed"])
    story.decided("c", NOW_MS - 9, NOW_MS, by="reviewer:ana")
    assert story.judged()["without_person_min"].command == "aios policy show no_injection@1"


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1), st.floats(min_value=0, max_value=1))
def test_a_percentile_is_a_value_that_occurred_and_as_many_lie_below(values: list[float], share: float) -> None:
    found = objectives.percentile(share, values)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 9_000)), min_size=1, max_size=8))
def test_the_shares_of_a_case_add_up_to_what_it_took(calls: list[tuple[int, int]]) -> None:
    """One question after the other: nothing is counted twice and nothing is lost."""
    story, at = Story(), NOW_MS
    for queue_ms, compute_ms in calls:
        story.move("c", at, "requested", pool=POOL)
        at += queue_ms + compute_ms + 7
        story.move("c", at, "answered", queue_ms=queue_ms, compute_ms=compute_ms)
    story.decided("c", NOW_MS, at)
    assert sum(objectives.spent_ms(story.trails["c"], at).values()) == at - NOW_MS


def test_a_share_that_is_just_reached_is_kept() -> None:
    """9 of 10 went to a person, and 1 in 10 without one is what is owed: no rounding makes a breach of it."""
    for asked, decided, wanted in ((9, 10, 0.1), (8, 10, 0.2), (2, 3, 1 / 3)):
        story = Story()
        for number in range(decided):
            story.decided(f"c{number}", NOW_MS - 9, NOW_MS, by="reviewer:ana" if number < asked else "policy")
        cases = [
            objectives._Case(trail=trail, asked=number < asked, own_s=0.0, is_done=True)
            for number, trail in enumerate(story.trails.values())
        ]
        assert objectives._alone(NAME, cases, wanted).kept
