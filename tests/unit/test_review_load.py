"""Whether people keep up: what is measured of questions, and how early a backlog is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.infra import review_load
from aios.infra.recent import Move, Trail
from aios.infra.review_load import Assumed, Load
from aios.streams.durations import DAY_MS, HOUR_MS, MINUTE_MS

NOW = 1_700_000_000_000
NAME = "document.triage"
THREE_DAYS = {NAME: Assumed(minutes=3.0, expires_h=72)}


def asked(number: int, at: int = NOW, **more: object) -> Move:
    detail = {"task_id": f"t{number}", "expires_at": at + 72 * HOUR_MS, **more}
    return Move(2, at, "review_requested", "ask", "plan", detail)


def opened(number: int, at: int, by: str = "reviewer:ana") -> Move:
    return Move(0, at, "review_opened", "ask", by, {"task_id": f"t{number}"})


def decided(number: int, at: int, label: str = "card", suggestion: str = "card", **more: object) -> Move:
    detail = {"task_id": f"t{number}", "label": label, "suggestion": suggestion, **more}
    return Move(3, at, "review_decided", "ask", "reviewer:ana", detail)


def trail(number: int, *moves: Move) -> Trail:
    return Trail(f"c{number}", "demo", NAME, list(moves))


def load(trails: Sequence[Trail], still_open: int = 0) -> Load:
    """Of the day from NOW on."""
    waiting = {NAME: [NOW] * still_open}
    found = review_load.loads(trails, waiting, THREE_DAYS, since_ms=NOW, window_ms=DAY_MS, minute_micro=600_000)
    assert len(found) == 1
    return found[0]


def answered(count: int, minutes: float = 2.0) -> list[Trail]:
    """Questions that were opened a minute after they were asked, and decided `minutes` later."""
    took = int(minutes * MINUTE_MS)
    return [trail(n, asked(n), opened(n, NOW + MINUTE_MS), decided(n, NOW + MINUTE_MS + took)) for n in range(count)]


def test_acknowledged_resolved_and_priced_by_what_was_measured() -> None:
    """From asking to the first opening, from asking to the decision, and minutes from opening to decision."""
    one = load(answered(10))
    assert (one.asked, one.opened, one.decided, one.expired) == (10, 10, 10, 0)
    assert (one.acknowledge_p50_s, one.resolve_p95_s) == (60.0, 180.0)
    assert (one.minutes, one.measured_minutes, one.cost_micro) == (2.0, True, 1_200_000)


def test_with_little_measured_the_workflows_assumption_prices_it() -> None:
    one = load(answered(review_load.MEASURED_MIN - 1))
    assert (one.minutes, one.measured_minutes) == (3.0, False)


def test_the_first_who_opens_acknowledges() -> None:
    one = load([trail(1, asked(1), opened(1, NOW + 9_000, "reviewer:bo"), opened(1, NOW + 2_000))])
    assert one.acknowledge_p50_s == 2.0


def test_what_an_answer_takes_is_counted_from_when_its_own_person_opened_the_question() -> None:
    """Not from when another one looked at it: who then decides it unread is told as that, and a look is no work."""
    moves = [(asked(n), opened(n, NOW, "reviewer:bo"), opened(n, NOW + HOUR_MS)) for n in range(5)]
    unread = [trail(n, *each, decided(n, NOW + HOUR_MS + 2_000)) for n, each in enumerate(moves)]
    one = load(unread)
    assert (one.acknowledge_p50_s, one.rubber_stamp_share) == (0.0, 1.0)
    assert one.minutes == pytest.approx(2 / 60)
    looked = [trail(n, asked(n), opened(n, NOW, "reviewer:bo"), decided(n, NOW + 2_000)) for n in range(5)]
    other = load(looked)
    assert (other.opened, other.rubber_stamp_share, other.measured_minutes) == (5, None, False)


def test_overrides_and_decisions_that_nobody_can_have_read_are_told() -> None:
    quick = [trail(n, asked(n), opened(n, NOW), decided(n, NOW + 1_000)) for n in range(3)]
    other = [trail(9, asked(9), opened(9, NOW), decided(9, NOW + 60_000, label="loan"))]
    unsuggested = [trail(8, asked(8), opened(8, NOW), decided(8, NOW + 60_000, suggestion=""))]
    one = load([*quick, *other])
    assert load([*quick, *other, *unsuggested]).override_share == one.override_share
    assert (one.override_share, one.rubber_stamp_share) == (0.25, 0.75)


def test_what_people_in_shadow_say_is_held_against_what_the_case_would_have_said() -> None:
    """Apart from where they are shown it: who sees nothing agrees with nothing."""
    seen = [trail(n, asked(n), decided(n, NOW + 60_000)) for n in range(4)]
    unseen = [
        trail(n, asked(n), decided(n, NOW + 60_000, label="loan" if n == 9 else "card", unseen=True)) for n in (8, 9)
    ]
    one = load([*seen, *unseen])
    assert (one.override_share, one.unseen_override_share) == (0.0, 0.5)
    assert load(seen).unseen_override_share is None


def test_a_question_whose_case_went_on_without_it_was_not_cleared() -> None:
    """Expired, or called off: nobody decided it."""
    gone = trail(1, asked(1), Move(3, NOW + 5, "decided", "close", "plan", {}))
    one = load([gone])
    assert (one.asked, one.decided, one.expired) == (1, 0, 1)
    assert one.cleared_h_a_day == 0


def test_people_who_keep_up_have_no_backlog() -> None:
    one = load(answered(20))
    assert (one.grows_h_a_day, one.late_in_days, one.queued_h) == (0.0, None, 0.0)
    assert "nothing waits" in one.says


def test_a_backlog_is_told_days_before_questions_expire() -> None:
    """Twice as many come as are cleared: the queue reaches what expires after three days of clearing."""
    one = load([*answered(100), *(trail(n, asked(n)) for n in range(100, 200))], still_open=100)
    assert one.late_in_days == pytest.approx((3 * 100 - 100) / 100)
    assert "questions expire unanswered in 2.0 days" in one.says


def test_what_came_just_now_does_not_expire_now_however_slow_people_are() -> None:
    """A queue of thirty, one answered in the day: none of them is older than the oldest, which came a minute ago."""
    just_now = {NAME: [NOW + DAY_MS - MINUTE_MS] * 30}
    (one,) = review_load.loads(answered(1), just_now, THREE_DAYS, since_ms=NOW, window_ms=DAY_MS, minute_micro=1)
    assert one.late_in_days == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("arrived", [5, 0])
def test_where_nobody_clears_anything_everything_expires(arrived: int) -> None:
    """Also where no more arrive; the oldest has waited for a day of its three."""
    one = load([trail(n, asked(n)) for n in range(arrived)], still_open=5)
    assert one.late_in_days == 2.0
    assert "questions expire unanswered in 2.0 days" in one.says


@pytest.mark.parametrize(
    ("transition", "detail"), [("migrated", {"to": 2}), ("body_replaced", {}), ("told", {"kept": True})]
)
def test_a_question_that_a_case_still_waits_for_has_not_ended(transition: str, detail: dict[str, object]) -> None:
    """What leaves the case where it is ends none."""
    one = load([trail(1, asked(1), Move(3, NOW + 5, transition, "ask", "operator", detail))], still_open=1)
    assert (one.asked, one.decided, one.expired) == (1, 0, 0)


def test_a_queue_that_is_worked_off_says_when() -> None:
    one = load([*answered(48, 2.0)], still_open=24)
    assert one.late_in_days is None
    later = load([*answered(48, 2.0), *[trail(n, asked(n)) for n in range(60, 61)]], still_open=24)
    assert later.late_in_days is not None


def of_a_day(after_h: int, is_known: bool) -> list[Trail]:
    """Ten questions an hour, each opened and decided so many hours later; what happened in the day from NOW on, and of
    what was asked before it as much as is read.
    """
    found: list[Trail] = []
    for number in range(-10 * after_h, 240):
        at = NOW + number * HOUR_MS // 10
        told = at + after_h * HOUR_MS
        moves = [asked(number, at), opened(number, told - 2 * MINUTE_MS), decided(number, told)]
        first = 0 if is_known else NOW
        found.append(trail(number, *(move for move in moves if first <= move.at < NOW + DAY_MS)))
    return found


@pytest.mark.parametrize("after_h", [1, 18, 60])
@pytest.mark.parametrize("is_known", [True, False])
def test_as_many_are_cleared_as_were_decided_whenever_they_were_asked(after_h: int, is_known: bool) -> None:
    """Who decides each question after the same time keeps up, however long that is."""
    one = load(of_a_day(after_h, is_known), still_open=10 * after_h)
    assert (one.asked, one.decided, one.expired, one.late_in_days) == (240, 240, 0, None)
    assert one.grows_h_a_day == pytest.approx(0)
    assert (one.override_share, one.measured_minutes, one.minutes) == (0.0, True, 2.0)
    if is_known:
        assert (one.resolve_p50_s, one.resolve_p95_s) == (after_h * 3_600.0,) * 2


def test_what_ended_before_the_window_does_not_count() -> None:
    """It is read, so that what ends in the window has its beginning."""
    day = DAY_MS
    gone = [
        trail(1, asked(1, NOW - day), opened(1, NOW - day), decided(1, NOW - day + MINUTE_MS)),
        trail(2, asked(2, NOW - day), Move(3, NOW - 1, "decided", "close", "plan", {})),
    ]
    late = trail(3, asked(3, NOW - day), Move(3, NOW + 1, "decided", "close", "plan", {}))
    one = load([*gone, late, *answered(1)])
    assert (one.asked, one.opened, one.decided, one.expired) == (1, 1, 1, 1)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 500))
def test_what_arrives_is_what_is_cleared_and_what_grows(done: int, left: int, still_open: int) -> None:
    trails = [*answered(done), *(trail(n, asked(n)) for n in range(100, 100 + left))]
    if not trails and not still_open:
        return
    one = load(trails, still_open)
    assert one.arriving_h_a_day == pytest.approx(one.cleared_h_a_day + one.grows_h_a_day)
    assert one.late_in_days is None or one.late_in_days >= 0
    assert one.queued_h == pytest.approx(still_open * one.minutes / 60)
