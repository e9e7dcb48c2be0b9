"""How questions to people fare: how soon they are opened and decided, what one costs, and whether people keep up. Pure.

In: the cases of a window and of some time before it (infra/recent.py), the questions that are open now, what a person's
minute costs, the time. Out: one Load a workflow. Guaranteed: a figure that nothing was measured for is None; a question
is acknowledged when a person first opened it, resolved when the first valid decision came, and what it takes is counted
from when whoever decided it opened it; what expired counts as not cleared. Each of these counts in the window in which
it happened, whenever the question was asked.

The backlog is told in person-hours, because a queue of a hundred is nothing or a disaster by what one takes:

    queued   = open questions x minutes of one      (measured: from opening to decision, the median; else the
    arriving = questions asked x minutes of one      workflow's own assumption)
    cleared  = questions decided x minutes of one
    grows    = arriving - cleared, a day; from it the day on which the oldest question is older than it may become

Rejected: counting a person's whole day between two decisions as work (nobody's pause is a cost of the case): a
question that lay open longer than HANDLED_MIN_MAX counts that much.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aios.infra.objectives import percentile
from aios.infra.recent import Move, Trail
from aios.sinks.outcome_writes import STAYS
from aios.streams.durations import DAY_MS, MINUTE_MS

HANDLED_MIN_MAX = 30.0  # minutes that one question counts at most
MEASURED_MIN = 5  # decisions after an opening, before their median counts
RUBBER_S_MAX = 5.0  # decided so soon after it was opened that nobody can have read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question's way. Times: Unix ms, 0: not (yet), or not read. opened: first, by anybody; taken_up: by who
    decided it. ended: decided, expired or cancelled.
    """

    workflow: str
    asked: int = 0
    opened: int = 0
    taken_up: int = 0
    decided: int = 0
    ended: int = 0
    suggested: bool = False  # whether there was a suggestion
    unseen: bool = False  # that the person was not shown: the case is in shadow
    overrides: bool = False  # whether the decision is another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What a workflow's file says: minutes of a person, hours until a question expires."""

    minutes: float
    expires_h: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Of one workflow in the window. Seconds, shares, hours; cost_micro: of one intervention, in millionths.

    override_share: of the suggestions that people were shown; unseen_override_share: of those of cases in shadow.
    measured_minutes: whether `minutes` is measured, or what the workflow assumes. clear_h: hours until the queue is
    empty at this pace, None if it never is. late_in_days: days until questions expire unanswered, None if they do not.
    """

    workflow: str
    asked: int
    opened: int
    decided: int
    expired: int
    open_now: int
    acknowledge_p50_s: float | None
    acknowledge_p95_s: float | None
    resolve_p50_s: float | None
    resolve_p95_s: float | None
    override_share: float | None
    unseen_override_share: float | None
    rubber_stamp_share: float | None
    minutes: float
    measured_minutes: bool
    cost_micro: int
    per_1000_cases: float | None
    queued_h: float
    arriving_h_a_day: float
    cleared_h_a_day: float
    grows_h_a_day: float
    clear_h: float | None
    late_in_days: float | None
    says: str


def questions(trails: Iterable[Trail]) -> list[Question]:
    """Every question that was asked or decided in what was read."""
    return [found for trail in trails for found in _of_case(trail)]


def _of_case(trail: Trail) -> Iterable[Question]:
    by_task: dict[str, Question] = {}
    taken_up: dict[tuple[str, str], int] = {}  # by question and person
    moves = sorted(trail.moves, key=lambda move: move.at)
    for move in moves:
        task = str(move.detail.get("task_id", ""))
        if move.transition == "review_requested":
            by_task[task] = Question(workflow=trail.workflow, asked=move.at)
        elif move.transition == "review_decided":
            by_task.setdefault(task, Question(workflow=trail.workflow))
    for move in moves:
        task = str(move.detail.get("task_id", ""))
        if move.transition == "review_opened":
            taken_up.setdefault((task, move.actor), move.at)
        if task in by_task:
            by_task[task] = _moved(by_task[task], move, taken_up.get((task, move.actor), 0))
    after = [move for move in moves if move.seq and move.transition not in STAYS and not move.detail.get("kept")]
    return [_ended(one, after, trail) for one in by_task.values()]


def _moved(known: Question, move: Move, taken_up: int) -> Question:
    """taken_up: when who makes the move opened the question."""
    if move.transition == "review_opened" and not known.opened:
        return replace(known, opened=move.at)
    if move.transition == "review_decided" and not known.decided:
        suggestion = str(move.detail.get("suggestion", ""))
        overrides = bool(suggestion) and suggestion != move.detail.get("label")
        unseen = bool(move.detail.get("unseen"))
        said = replace(known, suggested=bool(suggestion), unseen=unseen, overrides=overrides)
        return replace(said, taken_up=taken_up, decided=move.at, ended=move.at)
    return known


def _ended(known: Question, after: Sequence[Move], trail: Trail) -> Question:
    """A question that nobody decided ends when its case moves on without it."""
    if known.ended:
        return known
    on = next((move.at for move in after if move.at > known.asked), 0)
    return replace(known, ended=on or (trail.decided.decided_at if trail.decided is not None else 0))


def loads(
    trails: Sequence[Trail],
    open_now: Mapping[str, Sequence[int]],
    assumed: Mapping[str, Assumed],
    *,
    since_ms: int,
    window_ms: int,
    minute_micro: int,
) -> list[Load]:
    """open_now: by workflow, when each open question was asked. assumed: by workflow. since_ms: the window's begin."""
    known = [one for one in questions(trails) if max(one.asked, one.opened, one.ended) >= since_ms]
    ended = (trail for trail in trails if trail.decided is not None and trail.decided.decided_at >= since_ms)
    decided = Counter(trail.workflow for trail in ended)
    names = sorted({one.workflow for one in known} | open_now.keys())
    return [
        _load(
            name,
            [one for one in known if one.workflow == name],
            open_now.get(name, ()),
            assumed.get(name, Assumed(minutes=0.0, expires_h=0)),
            cases=decided[name],
            since_ms=since_ms,
            window_ms=window_ms,
            minute_micro=minute_micro,
        )
        for name in names
    ]


def _load(
    name: str,
    known: Sequence[Question],
    open_since: Sequence[int],
    assumed: Assumed,
    *,
    cases: int,
    since_ms: int,
    window_ms: int,
    minute_micro: int,
) -> Load:
    asked = [one for one in known if one.asked >= since_ms]
    opened = [one for one in known if one.opened >= since_ms]
    decided = [one for one in known if one.decided >= since_ms]
    handled = [(one.decided - one.taken_up) / MINUTE_MS for one in decided if 0 < one.taken_up <= one.decided]
    is_measured = len(handled) >= MEASURED_MIN
    minutes = min(statistics.median(handled), HANDLED_MIN_MAX) if is_measured else assumed.minutes
    a_day = DAY_MS / window_ms * minutes / 60
    queued, arriving, cleared = len(open_since) * minutes / 60, len(asked) * a_day, len(decided) * a_day
    oldest_ms = since_ms + window_ms - min(open_since, default=since_ms + window_ms)
    late = _late_in_days(len(open_since), len(asked), len(decided), assumed, oldest_ms=oldest_ms, window_ms=window_ms)
    clear_h = queued / (cleared - arriving) * 24 if cleared > arriving else 0.0 if not queued else None
    waits = [(one.opened - one.asked) / 1000 for one in opened if one.asked]
    took = [(one.decided - one.asked) / 1000 for one in decided if one.asked]
    return Load(
        workflow=name,
        asked=len(asked),
        opened=len(opened),
        decided=len(decided),
        expired=sum(one.ended >= since_ms and not one.decided for one in known),
        open_now=len(open_since),
        acknowledge_p50_s=percentile(0.5, waits),
        acknowledge_p95_s=percentile(0.95, waits),
        resolve_p50_s=percentile(0.5, took),
        resolve_p95_s=percentile(0.95, took),
        override_share=_overridden([one for one in decided if not one.unseen]),
        unseen_override_share=_overridden([one for one in decided if one.unseen]),
        rubber_stamp_share=_share(sum(one * 60 < RUBBER_S_MAX for one in handled), len(handled)),
        minutes=minutes,
        measured_minutes=is_measured,
        cost_micro=round(minutes * minute_micro),
        per_1000_cases=None if not cases else 1000 * len(decided) / cases,
        queued_h=queued,
        arriving_h_a_day=arriving,
        cleared_h_a_day=cleared,
        grows_h_a_day=arriving - cleared,
        clear_h=clear_h,
        late_in_days=late,
        says=_says(queued, arriving, cleared, clear_h, late),
    )


def _late_in_days(
    queue: int, asked: int, decided: int, assumed: Assumed, *, oldest_ms: int, window_ms: int
) -> float | None:
    """Until the oldest question is as old as it may become, at this pace: a queue of n is n / cleared a day old, and
    none is older sooner than the oldest there is. Where nobody clears any, it goes on ageing, whether or not more
    arrive.
    """
    days = window_ms / DAY_MS
    arrives, clears, bound_days = asked / days, decided / days, assumed.expires_h / 24
    if not bound_days:
        return None
    soonest = max(0.0, bound_days - oldest_ms / DAY_MS) if queue else bound_days
    if not clears:
        return soonest if queue or arrives else None
    if queue / clears > bound_days:
        return soonest
    return max(soonest, (bound_days * clears - queue) / (arrives - clears)) if arrives > clears else None


def _overridden(decided: Sequence[Question]) -> float | None:
    return _share(sum(one.overrides for one in decided), sum(one.suggested for one in decided))


def _share(some: int, of: int) -> float | None:
    return some / of if of else None


def _says(queued: float, arriving: float, cleared: float, clear_h: float | None, late: float | None) -> str:
    """The backlog in a sentence."""
    pace = f"{arriving:.1f} person-hours arrive a day, {cleared:.1f} are cleared"
    if late is not None:
        return f"{pace}: questions expire unanswered {f'in {late:.1f} days' if late else 'now'}"
    if arriving > cleared:
        return f"{pace}: the backlog of {queued:.1f} person-hours grows by {arriving - cleared:.1f} a day"
    if not queued:
        return f"{pace}: nothing waits"
    until = f"is cleared in {clear_h:.1f} hours" if clear_h else "stays"
    return f"{pace}: the backlog of {queued:.1f} person-hours {until}"
