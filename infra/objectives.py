"""Each workflow's objectives held against what its cases did, and of each breach the cause and the next command. Pure.

In: the cases of a window and the open ones that did nothing in it (infra/recent.py), what each workflow owes, the time.
Out: one Kept an objective. Guaranteed: a case is late by its own time alone, up to what its caller was given: a `wait`
is what the workflow asks for, and a case whose wait answers the caller is done for him there, however long it stays
open; a case that is still open and late counts with its time so far, so that a standstill cannot look fast; a workflow
without cases has no verdict; a cause is the largest share of the slow cases' own time, or of the reasons of those that
went to a person, and never a guess beyond them. What lies before the window is not seen of those that moved in it: of a
workflow that waits, a case that began there counts only when what is seen of it is late already.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.infra.recent import Move, Trail
from aios.processors.cases.course import ALONE
from aios.processors.cases.turn import step_of
from aios.processors.language.workflow import Wait, Workflow, closure
from aios.sinks.outcome_writes import STAYS
from aios.streams.pool_files import Lane

INTAKE, BUDGET, WAIT, REST, PIPELINE = "intake", "budget", "wait", "rest", "pipeline"
PEOPLE = ("review_requested", "review_decided")
MODEL_REASONS = frozenset({"low_confidence", "out_of_scope"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One objective of one workflow. measured: seconds, or a share; None without cases. cause, command: of a breach."""

    workflow: str
    objective: str
    wanted: float
    measured: float | None
    cases: int
    cause: str = ""
    command: str = ""

    @property
    def kept(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.wanted if self.objective.endswith("_min") else self.measured <= self.wanted


def judge(workflows: Iterable[Workflow], trails: Sequence[Trail], now_ms: int) -> list[Kept]:
    """workflows: the newest of each name."""
    found: list[Kept] = []
    for workflow in workflows:
        own = [_case(trail, workflow, now_ms) for trail in trails if trail.workflow == workflow.workflow]
        owed = workflow.objectives
        found += [
            _in_time(workflow.workflow, own, Lane.INTERACTIVE, owed.interactive_p95_s, now_ms),
            _in_time(workflow.workflow, own, Lane.BULK, owed.bulk_p95_s, now_ms),
            _alone(workflow.workflow, own, owed.without_person_min),
        ]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A case as an objective sees it. own_s: without its waits, until its caller had what he wanted. is_done: he has,
    and all of it lies in the window. asked: a person was.
    """

    trail: Trail
    asked: bool
    own_s: float
    is_done: bool


def _case(trail: Trail, workflow: Workflow, now_ms: int) -> _Case:
    moves, ended = _for_caller(trail)
    is_whole = trail.first("admitted") is not None or not any(
        isinstance(step.kind, Wait) for step in workflow.steps.values()
    )
    seen = moves[0].at if moves else now_ms if ended is None else ended
    began = trail.decided.received_at if is_whole and trail.decided is not None else seen
    own_ms = (now_ms if ended is None else ended) - began - spent_ms(trail, now_ms)[WAIT]
    return _Case(
        trail=trail,
        asked=_asked(trail, workflow),
        own_s=own_ms / 1000,
        is_done=is_whole and ended is not None,
    )


def _for_caller(trail: Trail) -> tuple[Sequence[Move], int | None]:
    """What it did until its caller had what he asked for, and when that was; None: he waits."""
    for number, move in enumerate(trail.moves):
        if move.transition == "waiting" and move.detail.get("answers_caller"):
            return trail.moves[:number], move.at
    return trail.moves, trail.decided.decided_at if trail.decided is not None else None


def percentile(share: float, values: Sequence[float]) -> float | None:
    """By nearest rank: a value that occurred. None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _in_time(name: str, cases: Sequence[_Case], lane: Lane, wanted_s: float, now_ms: int) -> Kept:
    """Of cases that no person was asked about."""
    mine = [case for case in cases if not case.asked and _lane(case.trail) == lane]
    counted = [case for case in mine if case.is_done or case.own_s > wanted_s]
    measured = percentile(0.95, [case.own_s for case in counted])
    cause, command = "", ""
    if measured is not None and measured > wanted_s:
        cause, command = _slow([case.trail for case in counted if case.own_s > wanted_s], now_ms)
    return Kept(
        workflow=name,
        objective=f"{lane}_p95_s",
        wanted=wanted_s,
        measured=measured,
        cases=len(counted),
        cause=cause,
        command=command,
    )


def _alone(name: str, cases: Sequence[_Case], wanted: float) -> Kept:
    """The share of decided cases that no person was asked about."""
    decided = [case for case in cases if case.trail.decided is not None]
    people = [case.trail for case in decided if case.asked]
    measured = (len(decided) - len(people)) / len(decided) if decided else None  # 1 - 0.9 is less than 0.1
    cause, command = _why_people(people) if measured is not None and measured < wanted else ("", "")
    return Kept(
        workflow=name,
        objective="without_person_min",
        wanted=wanted,
        measured=measured,
        cases=len(decided),
        cause=cause,
        command=command,
    )


def _asked(trail: Trail, workflow: Workflow) -> bool:
    """Whether a person was asked; also where the question lies before the window."""
    by = trail.decided.decided_by if trail.decided is not None else ""
    if by.startswith("reviewer:") or any(move.transition in PEOPLE for move in trail.moves):
        return True
    ended = trail.first("decided")
    began_before = trail.first("admitted") is None
    return by == "timer" and began_before and ended is not None and ended.step in _unanswered(workflow)


def _unanswered(workflow: Workflow) -> set[str]:
    """Where a case may end that no person answered."""
    leads = closure({name: {target for _, target in step.jumps()} for name, step in workflow.steps.items()})
    reviews = [step.review for step in workflow.steps.values() if step.review is not None]
    return {name for one in reviews for name in (one.on_expiry.then, *leads[one.on_expiry.then])}


def _lane(trail: Trail) -> str:
    if trail.decided is not None:
        return trail.decided.lane
    admitted = trail.first("admitted")
    return str(admitted.detail.get("lane", "")) if admitted is not None else ""


# Where the time went


def _slow(slow: Sequence[Trail], now_ms: int) -> tuple[str, str]:
    spent: Counter[str] = Counter()
    for trail in slow:
        spent.update(spent_ms(trail, now_ms))
    del spent[WAIT]
    if not spent:
        return f"{len(slow)} cases were late; the audit of this window does not say where", "aios status"
    (what, ms), whole = spent.most_common(1)[0], sum(spent.values())
    says, command = _of(what)
    still = sum(_for_caller(trail)[1] is None for trail in slow)
    more = f"; {still} of them still wait" if still else ""
    return f"{ms / whole:.0%} of the time of {len(slow)} late cases {says}{more}", command


def _of(what: str) -> tuple[str, str]:
    """In words, and what to look at next."""
    kind, _, name = what.partition(":")
    more = f"`aios scale {name.partition('.')[0]}=…` gives it more workers than there are"
    return {
        "queue": (f"was spent queued before {name}: {more}", f"aios pools {name}"),
        "compute": (f"was spent computing in {name}: smaller inputs or a faster model", f"aios pools {name}"),
        "turn": (f"was spent waiting for the tenant's turn at {name}: {more}", f"aios pools {name}"),
        "system": (f"was spent waiting for {name}", "aios breaker list"),
        INTAKE: ("was spent before they were accepted", "aios logs admit"),
        BUDGET: ("was spent waiting for a budget", "aios budget show"),
        REST: ("was spent resting before they asked again whoever had not answered", "aios breaker list"),
    }.get(kind, ("was spent between the stages", "aios status"))


def spent_ms(trail: Trail, now_ms: int) -> Counter[str]:
    """Where a case's time went, until its caller had what he asked for. What runs at the same time counts each for
    itself. What nobody answered ends where the case asks again, or is at another step.
    """
    moves, until = _for_caller(trail)
    spent: Counter[str] = Counter()
    open_since: dict[tuple[str, str], Move] = {}
    if trail.decided is not None:
        spent[INTAKE] = max(0, trail.decided.admitted_at - trail.decided.received_at)
    for move in (move for move in moves if move.seq):  # an act beside the case's order moves it nowhere
        began = _BEGINS.get(move.transition)
        for kind, step in list(open_since):
            is_asked_again = step == move.step and began is not None and (began, kind) != ("model", "turn")
            if is_asked_again or (move.transition not in STAYS and step_of(step) != step_of(move.step)):
                silent = open_since.pop((kind, step))
                spent[_named(kind, silent)] += max(0, move.at - silent.at)
        if began is not None:
            open_since[began, move.step] = move
        ended = None if move.detail.get("kept") else _ENDS.get(move.transition)  # kept: for a wait to come
        if ended is not None and (since := open_since.pop((ended, move.step), None)):
            spent.update(_shares(ended, since, move))
    for (kind, _), since in open_since.items():
        spent[_named(kind, since)] += max(0, (now_ms if until is None else until) - since.at)
    if until is not None and moves:
        first = trail.decided.received_at if trail.decided is not None else moves[0].at
        spent[PIPELINE] += max(0, until - first - sum(spent.values()))
    return spent


_BEGINS = {
    "queued": "turn",
    "requested": "model",
    "call_queued": "system",
    "call_requested": "system",
    "budget_requested": BUDGET,
    "waiting": WAIT,
    "resting": REST,
}
_ENDS = {
    "requested": "turn",
    "answered": "model",
    "call_completed": "system",
    "call_unanswered": "system",
    "budget_answered": BUDGET,
    "told": WAIT,
}


def _shares(kind: str, since: Move, ended: Move) -> Mapping[str, int]:
    """A model says itself how long it was asked and how long it worked; the rest lies between the stages."""
    took = max(0, ended.at - since.at)
    if kind != "model":
        return {_named(kind, since): took}
    pool, queue, compute = (
        since.detail.get("pool", "?"),
        ended.detail.get("queue_ms", 0),
        ended.detail.get("compute_ms", 0),
    )
    return {f"queue:{pool}": queue, f"compute:{pool}": compute, PIPELINE: max(0, took - queue - compute)}


def _named(kind: str, since: Move) -> str:
    match kind:
        case "model":
            return f"queue:{since.detail.get('pool', '?')}"
        case "turn":
            return f"turn:{since.detail.get('pool', '?')}"
        case "system":
            return f"system:{since.detail.get('system', '?')}"
    return kind


# Why people were asked


def _why_people(people: Sequence[Trail]) -> tuple[str, str]:
    """The commonest reason, or the policy that stopped as many."""
    of = f"of {len(people)} cases that went to a person"
    why = Counter(reason for trail in people for reason in _last_reason(trail))
    if not why:
        return f"{len(people)} cases went to a person; why was before this window", "aios review list"
    (reason, count), (policy, stopped) = why.most_common(1)[0], _stopped_by(people)
    if stopped >= count:
        return f"policy {policy} stopped {stopped} {of}", f"aios policy show {policy}"
    if reason == ALONE:
        lets = f"`aios workflow autonomy {people[0].workflow} auto` lets it decide alone"
        return f"{count} {of} did so for not decided alone; where people agree with it, {lets}", "aios review stats"
    return f"{count} {of} did so for {reason.replace('_', ' ')}", _next(reason, people)


def _stopped_by(people: Sequence[Trail]) -> tuple[str, int]:
    """The policy that refused most, and how many."""
    refused = Counter(
        str(move.detail.get("policy", ""))
        for trail in people
        for move in trail.all("guarded")
        if move.detail.get("verdict") == "refused"
    )
    return max(refused.items(), key=lambda one: one[1], default=("", 0))


def _last_reason(trail: Trail) -> Iterator[str]:
    """The one that sent it to the person."""
    asked = trail.first("review_requested")
    reasons: Sequence[Any] = asked.detail.get("reasons", ()) if asked is not None else ()
    reasons = reasons or (trail.decided.reasons if trail.decided is not None else ())
    yield from (str(reasons[-1]),) if reasons else ()


def _next(reason: str, people: Sequence[Trail]) -> str:
    if reason in MODEL_REASONS:
        return "aios query confidence_against_outcome"
    if reason == "over_budget":
        return "aios budget show"
    failed = [move for trail in people for move in trail.all("call_completed", "call_unanswered", "answered")]
    if any(
        move.transition != "answered" and (move.detail.get("reason") or "call_un" in move.transition) for move in failed
    ):
        return "aios breaker list"
    if any(move.transition == "answered" and move.detail.get("reason") for move in failed):
        return "aios pools"
    return "aios review list"
