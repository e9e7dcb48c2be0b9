"""Replay jobs: who may do what when. Pure.

Enters: a job as remembered, what is asked of it, the time. Leaves: the job as it is then. Guaranteed: a job ends,
because its marks are fixed when it is planned and what fails again lies behind them; nobody approves what he planned.
What becomes of each letter it comes to is letter_states.py's.

    DRAFT ──approve──▶ APPROVED ──run──▶ RUNNING ⇄ PAUSED ──▶ DONE        any of the first four ──abort──▶ ABORTED

A job is DRAFT while its dry run goes on (its report is not complete) and until somebody else approves it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum

from aios.dlq.commands import Kind, PlanCommand, Principals, Problem, Refused, allowed, other_eyes, short
from aios.dlq.letter_states import Skip
from aios.dlq.report import Report
from aios.schemas import ids
from aios.schemas.models import ReplayRemembered

BURST_S = 1.0  # of a job's rate, that it may catch up after a slice that took long
JOBS_MAX = 20  # drafts in their dry run, and running jobs


class JobState(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    ABORTED = "aborted"


def job_key(job_id: str) -> bytes:
    return b"job:" + job_id.encode()


def planned(
    job_id: str, command: PlanCommand, marks: Mapping[str, int], *, by: str, reason: str, now_ms: int
) -> ReplayRemembered:
    """A new job, before its dry run."""
    return ReplayRemembered(
        job_id=job_id,
        kind=command.target,
        action=command.action,
        state=JobState.DRAFT,
        filter=command.filter,
        edit=command.edit,
        rate_per_s=command.rate_per_s,
        cap=command.cap,
        order=command.order,
        marks=marks,
        next={},
        replayed=0,
        skipped={},
        selected=0,
        report=ids.canonical(Report().plain()),
        planned_by=by,
        approved_by="",
        run_by="",
        stopped_because="",
        reason=reason,
        planned_at=now_ms,
        changed_at=now_ms,
        took_ms=0,
    )


def is_planned_by(command: PlanCommand, job: ReplayRemembered) -> bool:
    """Whether the job is what this command asks for."""
    asked = (command.target, command.action, command.filter, command.edit, command.rate_per_s, command.cap)
    return asked == (job.kind, job.action, job.filter, job.edit, job.rate_per_s, job.cap) and command.order == job.order


def is_tried(job: ReplayRemembered) -> bool:
    """Whether its dry run has ended."""
    return Report.of(job.report).complete


def is_active(job: ReplayRemembered) -> bool:
    """Whether there is something to do for it."""
    return job.state == JobState.RUNNING or (job.state == JobState.DRAFT and not is_tried(job))


def is_over(job: ReplayRemembered) -> bool:
    return job.state in (JobState.DONE, JobState.ABORTED)


def tenant_of(job: ReplayRemembered) -> str:
    """The one tenant that the job is about; empty: any."""
    return str(json.loads(job.filter).get("tenant", ""))


def may(principals: Principals, job: ReplayRemembered, name: str, kind: Kind) -> None:
    """Whether this principal may do this with the job today. Raises Refused."""
    allowed(principals, name, kind, frozenset({tenant_of(job)}))


def approve(job: ReplayRemembered, by: str, now_ms: int) -> ReplayRemembered:
    """Raises Refused."""
    other_eyes(by, job.planned_by)
    if job.state == JobState.DRAFT and not is_tried(job):
        raise Refused(Problem.WRONG_STATE, f"its dry run has not ended: `aios replay status {short(job.job_id)}`")
    _expect(job, JobState.DRAFT)
    return replace(job, state=JobState.APPROVED, approved_by=by, changed_at=now_ms)


def run(job: ReplayRemembered, by: str, now_ms: int) -> ReplayRemembered:
    """Raises Refused."""
    if job.state == JobState.DRAFT:
        raise Refused(
            Problem.WRONG_STATE, f"another principal approves it first: `aios replay approve {short(job.job_id)}`"
        )
    _expect(job, JobState.APPROVED)
    return replace(job, state=JobState.RUNNING, run_by=by, changed_at=now_ms)


def pause(job: ReplayRemembered, now_ms: int) -> ReplayRemembered:
    """Raises Refused."""
    _expect(job, JobState.RUNNING)
    return replace(job, state=JobState.PAUSED, changed_at=now_ms)


def stop(job: ReplayRemembered, why: str, now_ms: int) -> ReplayRemembered:
    """Paused by itself. Raises Refused."""
    return replace(pause(job, now_ms), stopped_because=why)


def resume(job: ReplayRemembered, by: str, now_ms: int) -> ReplayRemembered:
    """Raises Refused."""
    _expect(job, JobState.PAUSED)
    return replace(job, state=JobState.RUNNING, run_by=by, stopped_because="", changed_at=now_ms)


def abort(job: ReplayRemembered, now_ms: int) -> ReplayRemembered:
    """Raises Refused."""
    if is_over(job):
        raise Refused(Problem.WRONG_STATE, f"the job is {job.state}")
    return replace(job, state=JobState.ABORTED, changed_at=now_ms)


def done(job: ReplayRemembered, now_ms: int) -> ReplayRemembered:
    """At its end. What the cap has left is counted as passed over."""
    left = job.selected - job.replayed - sum(job.skipped.values())
    capped = {Skip.CAP.value: left} if job.cap and job.replayed >= job.cap and left > 0 else {}
    return replace(job, state=JobState.DONE, skipped={**job.skipped, **capped}, changed_at=now_ms)


def _expect(job: ReplayRemembered, state: JobState) -> None:
    if job.state != state:
        raise Refused(
            Problem.WRONG_STATE, f"the job is {job.state}, not {state}: `aios replay status {short(job.job_id)}`"
        )


def with_skips(job: ReplayRemembered, skips: Iterable[Skip]) -> dict[str, int]:
    """The job's counts with these."""
    counts = Counter(job.skipped)
    counts.update(map(str, skips))
    return dict(counts)


class Bucket:
    """A job's rate, in records a second, on a clock that never steps. Begins empty; holds BURST_S at most."""

    def __init__(self, rate_per_s: int, monotonic: Callable[[], float]) -> None:
        self._rate = rate_per_s
        self._monotonic = monotonic
        self._tokens = 0.0
        self._at = monotonic()

    def available(self) -> int:
        """Whole records that may go now."""
        now = self._monotonic()
        most = max(1.0, self._rate * BURST_S)
        self._tokens = min(most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        self._tokens -= count

    def again_in_ms(self) -> int:
        """Until the next record may go."""
        return max(0, int((1 - self._tokens) / self._rate * 1000) + 1) if self._tokens < 1 else 0
