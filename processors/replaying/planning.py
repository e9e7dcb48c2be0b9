"""What an operator may do with a replay job: plan, approve, run, pause, resume, abort.

Enters: a command. Leaves: in the turn, what is remembered of the job, and audit.recorded.v1. Guaranteed: what has been
done already is answered as done and changes nothing; a job's marks are fixed here, so that it ends; no more than
JOBS_MAX are at work; whoever approved a job may do so still when it is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aios.dlq import commands, filters, jobs, letter_states
from aios.dlq.commands import JobCommand, Kind, PlanCommand, Principals, Problem, Refused, Target, allowed
from aios.dlq.filters import Filter
from aios.dlq.jobs import JobState
from aios.processors.replaying import missed
from aios.processors.replaying.jobs import Jobs
from aios.processors.replaying.missed import Positions
from aios.processors.replaying.records import Records
from aios.processors.replaying.turn import Turn
from aios.schemas.models import OperationRequested, ReplayRemembered


class Planning:
    """See the module. positions: how far retry and admit have committed what they read. partitions: of a family."""

    def __init__(
        self, principals: Principals, work: Jobs, records: Records, positions: Positions, partitions: int
    ) -> None:
        self._principals = principals
        self._jobs = work
        self._records = records
        self._positions = positions
        self._partitions = partitions

    def plan(self, command: PlanCommand, request: OperationRequested, turn: Turn) -> Mapping[str, Any]:
        """What the answer says. Raises Refused, FilterRefused, Unavailable."""
        wanted = filters.parse(command.filter)
        allowed(self._principals, request.principal, Kind.PLAN, frozenset({wanted.tenant}))
        known = turn.job(request.object_id)
        if known is not None and not jobs.is_planned_by(command, known):
            raise commands.key_reused()
        if known is not None:
            return _told(known)
        self._expect_room(turn)
        marks = self._marks(command, wanted)
        job = jobs.planned(
            request.object_id,
            command,
            marks,
            by=request.principal,
            reason=request.reason,
            now_ms=turn.now_ms,
        )
        turn.keep_job(job)
        self._jobs.wake(job.job_id)
        detail = {
            "filter": command.filter,
            "action": command.action,
            "kind": command.target,
            "edit": bool(command.edit),
        }
        self._say_job(job, "replay_planned", request, turn, detail)
        return _told(job)

    def _marks(self, command: PlanCommand, wanted: Filter) -> dict[str, int]:
        """Where everything ends that the job may look at. Raises Refused, Unavailable."""
        if command.target is Target.LETTERS:
            return self._ends(
                topic for topic, stage in letter_states.STAGES.items() if wanted.group in ("", stage.group)
            )
        if wanted != Filter(**{name: getattr(wanted, name) for name in missed.SELECTORS}):
            raise Refused(Problem.BAD_ARGUMENTS, f"missed events are chosen by {', '.join(missed.SELECTORS)} only")
        return {one: at for one, at in missed.entered(self._positions()).items() if at > 0}

    def _ends(self, names: Iterable[str]) -> dict[str, int]:
        """Of these dead letters."""
        found: dict[str, int] = {}
        for name in names:
            for partition in range(letter_states.STAGES[name].dead_letters.partitions(self._partitions)):
                low, high = self._records.ends(name, partition)
                if low < high:
                    found[f"{name}/{partition}"] = high
        return found

    def act(self, command: JobCommand, request: OperationRequested, turn: Turn) -> Mapping[str, Any]:
        """What the answer says. Raises Refused."""
        job, by = turn.job(request.object_id), request.principal
        if job is None:
            raise Refused(Problem.NOT_FOUND, "there is no such job; `aios replay list` shows them")
        jobs.may(self._principals, job, by, command.kind)
        moved = self._moved(job, command.kind, by, turn)
        if moved is not job:
            turn.keep_job(moved)
            self._jobs.wake(job.job_id)
            self._say_job(moved, f"replay_{_PAST[command.kind]}", request, turn, {})
        return _told(moved)

    def _expect_room(self, turn: Turn) -> None:
        """For one more job at work. Raises Refused."""
        if sum(jobs.is_active(job) for job in turn.jobs()) >= jobs.JOBS_MAX:
            raise Refused(Problem.TOO_MANY, f"{jobs.JOBS_MAX} jobs are at work; wait for one, or abort one")

    def _moved(self, job: ReplayRemembered, kind: Kind, by: str, turn: Turn) -> ReplayRemembered:
        """The job after the command; the same object where it has been done already. Raises Refused."""
        now_ms = turn.now_ms
        match kind:
            case Kind.APPROVE:
                return job if (job.state, job.approved_by) == (JobState.APPROVED, by) else jobs.approve(job, by, now_ms)
            case Kind.RUN | Kind.RESUME:
                if job.state == JobState.RUNNING:
                    return job
                moved = (jobs.run if kind is Kind.RUN else jobs.resume)(job, by, now_ms)
                self._still_approved(job)
                self._expect_room(turn)
                return moved
            case Kind.PAUSE:
                return job if job.state == JobState.PAUSED else jobs.pause(job, now_ms)
            case _:
                return job if job.state == JobState.ABORTED else jobs.abort(job, now_ms)

    def _still_approved(self, job: ReplayRemembered) -> None:
        """By somebody who may approve it today. Raises Refused."""
        try:
            jobs.may(self._principals, job, job.approved_by, Kind.APPROVE)
        except Refused as refused:
            raise Refused(
                Problem.ROLE_MISSING, f"who approved it may not do so any more ({refused.detail}): plan it again"
            ) from refused

    def _say_job(
        self, job: ReplayRemembered, transition: str, request: OperationRequested, turn: Turn, detail: Mapping[str, Any]
    ) -> None:
        told = {"state": job.state, "why": request.reason} | dict(detail)
        turn.audited_object(
            job.job_id,
            transition,
            act=request.command_id,
            by=request.principal,
            detail=told,
            tenant=jobs.tenant_of(job),
        )


_PAST = {
    Kind.APPROVE: "approved",
    Kind.RUN: "started",
    Kind.PAUSE: "paused",
    Kind.RESUME: "resumed",
    Kind.ABORT: "aborted",
}


def _told(job: ReplayRemembered) -> Mapping[str, Any]:
    return {"job_id": job.job_id, "state": job.state, "tried": jobs.is_tried(job), "changed_at": job.changed_at}
