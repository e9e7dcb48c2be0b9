"""Replay jobs at work: dry runs, and letters that return, slice by slice.

Enters: jobs that are active, the letters of their walks, what is remembered. Leaves: in one transaction a slice: the
returned records on <group>.retry, what became of each letter, audit records, and how far the job is. Guaranteed: a
slice is whole or not at all, so that a job that dies goes on behind its last one; never faster than the job's rate;
what is remembered of a letter decides, whichever job comes to it; a job whose runner or approver may not do this any
more is paused. Jobs take turns; one that cannot read lets the others go on, and is tried again; one on which our own
code fails is stopped with the reason, since it would fail in every process.

A dry run does all that but writing: what it reports is what would happen now. It begins anew in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from aios.dlq import jobs, letter_states
from aios.dlq.commands import Action, Kind, Principals, Refused
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.jobs import Bucket, JobState
from aios.dlq.letter_states import LetterState, Skip
from aios.dlq.report import Report
from aios.processors.replaying.guard import Guard
from aios.processors.replaying.prints import Prints
from aios.processors.replaying.records import Records
from aios.processors.replaying.turn import Turn
from aios.processors.replaying.walk import Found, Nothing, Over, Passed, Walk
from aios.schemas import ids
from aios.schemas.models import LetterRemembered, ReplayRemembered
from aios.streams.errors import AiosError, Reason, Verdict
from aios.streams.record import Outgoing, Record

SLICE_LETTERS = 1_000  # returned in one transaction
SLICE_LOOKED = 5_000
SLICE_BYTES = 8 << 20
SLICE_S = 0.5
PACE_S = 0.05  # between two slices of a job that has a rate
AGAIN_S = 2.0  # until a job that could not read is tried again
AT_ONCE = -1.0  # due before all that have been at work


class JobFailed(Exception):
    """Our own code failed on this job's slice: nothing of the slice may be kept."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


class Probe(Protocol):
    """Would a record that returns fail again?"""

    def __call__(self, letter: DeadLetter, out: Outgoing, now_ms: int) -> str:
        """The reason for which it would, as far as can be told without trying; empty: none. Raises Unavailable."""
        ...


@dataclass(slots=True)
class _Run:
    """One job in this process; all of it can be made again from what is remembered."""

    walk: Walk
    bucket: Bucket | None
    due: float  # monotonic
    since: float  # monotonic; of the time spent on it
    report: Report = field(default_factory=Report)
    held: set[tuple[str, int, bytes]] = field(default_factory=set)  # keys that an open letter holds


@dataclass(slots=True)
class _Slice:
    """What one turn did so far. started: monotonic."""

    started: float
    looked: int = 0
    size: int = 0
    done: int = 0
    skips: list[Skip] = field(default_factory=list)


class Jobs:
    """See the module. walk: a new walk of a job."""

    def __init__(
        self,
        *,
        walk: Callable[[ReplayRemembered], Walk],
        records: Records,
        prints: Prints,
        principals: Principals,
        probe: Probe,
        monotonic: Callable[[], float],
        guard: Guard,
    ) -> None:
        self._guard = guard
        self._walk = walk
        self._records = records
        self._prints = prints
        self._principals = principals
        self._probe = probe
        self._monotonic = monotonic
        self._runs: dict[str, _Run | float] = {}  # by job id; not begun here: when it is due, monotonic

    def opened(self, turn: Turn) -> None:
        """Forget what was in memory; look up what is active."""
        for job_id in list(self._runs):
            self._drop(job_id)
        self._runs = {job.job_id: AT_ONCE for job in turn.jobs() if jobs.is_active(job)}

    def wake(self, job_id: str) -> None:
        """A command has changed it."""
        if not isinstance(self._runs.get(job_id), _Run):
            self._runs[job_id] = AT_ONCE

    def close(self) -> None:
        for job_id in list(self._runs):
            self._drop(job_id)

    def in_ms(self) -> int | None:
        """Until one is due; None: there is none."""
        if not self._runs:
            return None
        now = self._monotonic()
        return min(max(0, int((_due(run) - now) * 1000)) for run in self._runs.values())

    def step(self, turn: Turn) -> bool:
        """One slice of the job that is due the longest. False: none is.

        Raises Unavailable, JobFailed: nothing of this turn may be kept.
        """
        due = [(_due(run), job_id) for job_id, run in self._runs.items()]
        if not due or min(due)[0] > self._monotonic():
            return False
        job_id = min(due)[1]
        job = turn.job(job_id)
        if job is None or not jobs.is_active(job):
            self._drop(job_id)
            return True
        with self._dropped_on_error(job_id):
            if job.state == JobState.RUNNING and (why := self._forbidden(job)):
                self._stop(job, why, turn)
            elif job.state == JobState.RUNNING:
                self._advance(job, self._run(job), turn)
            else:
                self._try(job, self._run(job), turn)
        return True

    @contextmanager
    def _dropped_on_error(self, job_id: str) -> Iterator[None]:
        """What a slice that failed has read is read again."""
        try:
            yield
        except Exception as error:
            self._drop(job_id)
            self._runs[job_id] = self._monotonic() + AGAIN_S
            if isinstance(error, AiosError) and error.verdict in (Verdict.PAUSE, Verdict.STOP):
                raise
            raise JobFailed(job_id) from error

    def give_up(self, job_id: str, error: BaseException | None, turn: Turn) -> None:
        """A job on which our own code failed: paused, or aborted while it is a dry run."""
        job = turn.job(job_id)
        self._drop(job_id)
        if job is None or not jobs.is_active(job):
            return
        why = f"our own code failed on it ({type(error).__name__}): read `aios logs replay`, mend and deploy"
        if job.state == JobState.RUNNING:
            self._stop(job, f"{why}, then resume it", turn)
            return
        turn.keep_job(replace(jobs.abort(job, turn.now_ms), stopped_because=f"{why}, then plan it again"))
        self._say(job, "replay_aborted", why, turn)

    def _run(self, job: ReplayRemembered) -> _Run:
        run = self._runs.get(job.job_id)
        if not isinstance(run, _Run):
            now = self._monotonic()
            dry = job.state == JobState.DRAFT
            bucket = Bucket(job.rate_per_s, self._monotonic) if job.rate_per_s and not dry else None
            run = _Run(self._walk(replace(job, next={}) if dry else job), bucket, now, now)
            self._runs[job.job_id] = run
        return run

    def _drop(self, job_id: str) -> None:
        run = self._runs.pop(job_id, None)
        if isinstance(run, _Run):
            run.walk.close()

    def _forbidden(self, job: ReplayRemembered) -> str:
        """Why the job may not go on, with today's permissions; empty: it may."""
        for what, who, kind in (("runs", job.run_by, Kind.RUN), ("approved", job.approved_by, Kind.APPROVE)):
            try:
                jobs.may(self._principals, job, who, kind)
            except Refused as refused:
                return f"who {what} it, {who}, may not do so any more: {refused.detail}"
        return ""

    def _stop(self, job: ReplayRemembered, why: str, turn: Turn) -> None:
        turn.keep_job(jobs.stop(job, why, turn.now_ms))
        self._say(job, "replay_paused", why, turn)
        self._drop(job.job_id)

    def _say(self, job: ReplayRemembered, what: str, why: str, turn: Turn) -> None:
        """What became of a job without anybody's command."""
        detail, tenant = {"why": why}, jobs.tenant_of(job)
        turn.audited_object(job.job_id, what, act=f"{turn.now_ms}", by="replay", detail=detail, tenant=tenant)

    def _advance(self, job: ReplayRemembered, run: _Run, turn: Turn) -> None:
        """A slice of a running job."""
        limit, before = self._limit(job, run), _before(job, turn)
        slice_, over = _Slice(self._monotonic()), limit.reached(0)
        while not over and self._room(slice_):
            read = run.walk.read(before)
            if isinstance(read, Nothing):
                over = read.over
                slice_.looked += 1
            elif isinstance(read, Passed):
                self._passed(read, run, turn)
            elif slice_.done >= limit.letters and read.selected:
                run.walk.unread()
                break
            else:
                self._handle(read, job, run, turn, slice_)
        if run.bucket is not None:
            run.bucket.take(slice_.done)
        self._progress(job, run, turn, slice_, over=over or limit.reached(slice_.done))

    def _limit(self, job: ReplayRemembered, run: _Run) -> _Limit:
        left = job.cap - job.replayed if job.cap else SLICE_LETTERS
        pace = run.bucket.available() if run.bucket is not None else SLICE_LETTERS
        return _Limit(letters=max(0, min(left, pace, SLICE_LETTERS)), left=left if job.cap else None)

    def _room(self, slice_: _Slice) -> bool:
        in_time = self._monotonic() - slice_.started < SLICE_S
        return in_time and slice_.looked < SLICE_LOOKED and slice_.size < SLICE_BYTES

    def _progress(self, job: ReplayRemembered, run: _Run, turn: Turn, slice_: _Slice, *, over: bool) -> None:
        now = self._monotonic()
        moved = replace(
            job,
            next=dict(run.walk.place),
            replayed=job.replayed + slice_.done,
            skipped=jobs.with_skips(job, slice_.skips),
            took_ms=job.took_ms + int((now - run.since) * 1000),
            changed_at=turn.now_ms,
        )
        run.since = now
        if over:
            moved = jobs.done(moved, turn.now_ms)
            detail = {"replayed": moved.replayed, "skipped": dict(moved.skipped), "took_ms": moved.took_ms}
            turn.audited_object(
                job.job_id, "replay_done", act="done", by=job.run_by, detail=detail, tenant=jobs.tenant_of(job)
            )
            self._drop(job.job_id)
        elif run.bucket is not None:
            run.due = now + max(PACE_S, run.bucket.again_in_ms() / 1000)
        else:
            run.due = now
        if over or moved.next != job.next:
            turn.keep_job(moved)

    def _handle(self, found: Found, job: ReplayRemembered, run: _Run, turn: Turn, slice_: _Slice) -> None:
        """One letter: returned, discarded or passed over."""
        letter, record = found.letter, found.record
        slice_.looked += 1
        slice_.size += record.size
        known = turn.letter(letter.id)
        if found.selected and not letter_states.settled_by(letter, known, job.planned_at):
            skip = self._judge(found, known, job, run, turn)
            done = skip or self._act(found, known, job, turn)
            if isinstance(done, Skip):
                turn.changed(letter, "skipped", act=job.job_id, job_id=job.job_id, reason=done, by=job.run_by)
                slice_.skips.append(done)
            else:
                slice_.done += 1
        if found.parked and _holds(letter.generation, turn.letter(letter.id)):
            run.held.add(_key(letter, record))

    def _judge(
        self, found: Found, known: LetterRemembered | None, job: ReplayRemembered, run: _Run, turn: Turn
    ) -> Skip | None:
        skip = letter_states.judge(
            found.letter,
            known,
            self._principals,
            action=job.action,
            planned_at=job.planned_at,
            selects=job.filter,
            now_ms=turn.now_ms,
        )
        behind = found.parked and job.action == Action.REPLAY and _key(found.letter, found.record) in run.held
        return Skip.BEHIND if skip is None and behind else skip

    def _act(self, found: Found, known: LetterRemembered | None, job: ReplayRemembered, turn: Turn) -> Skip | None:
        """Return or discard it."""
        letter, record = found.letter, found.record
        if job.action == Action.DISCARD:
            turn.discard(letter, record.key, known, act=job.job_id, by=job.run_by, reason=job.reason, job_id=job.job_id)
            return None
        prepared = self._records.returning(found, known, job, turn.now_ms)
        if isinstance(prepared, Skip):
            return prepared
        out, before = prepared
        trace = record.header("traceparent") or ""
        self._prints.returned(letter, out, known, job, turn, before=before, trace=trace)
        return None

    def _passed(self, passed: Passed, run: _Run, turn: Turn) -> None:
        """A parked letter of an earlier process: does it hold its key?"""
        if _holds(passed.generation, turn.letter(passed.id)):
            run.held.add((passed.topic, passed.partition, passed.key))

    def _try(self, job: ReplayRemembered, run: _Run, turn: Turn) -> None:
        """A slice of a dry run."""
        slice_, over, report, before = _Slice(self._monotonic()), False, run.report, _before(job, turn)
        while not over and self._room(slice_):
            read = run.walk.read(before)
            if isinstance(read, Nothing):
                over = read.over
                slice_.looked += 1
            elif isinstance(read, Found):
                slice_.looked += 1
                slice_.size += read.record.size
                self._report(read, job, run, turn)
        run.due = self._monotonic()
        report.complete, report.left_out = over, run.walk.left_out
        next_ = {} if over else dict(run.walk.place)
        turn.keep_job(replace(job, report=ids.canonical(report.plain()), selected=report.selected, next=next_))
        if over:
            self._drop(job.job_id)

    def _report(self, found: Found, job: ReplayRemembered, run: _Run, turn: Turn) -> None:
        letter, report = found.letter, run.report
        known = turn.letter(letter.id)
        report.looked += 1
        report.undecided += found.selected is None
        goes = False
        if found.selected and not letter_states.settled_by(letter, known, job.planned_at):
            skip = self._judge(found, known, job, run, turn)
            prepared = skip
            if skip is None and job.action == Action.REPLAY:
                tried = self._records.returning(found, known, job, turn.now_ms)
                prepared = tried if isinstance(tried, Skip) else None
                if not isinstance(tried, Skip):
                    report.returns(letter, self._tried(letter, tried[0], turn.now_ms))
            elif skip is None:
                report.returns(letter, "")
            if prepared is not None:
                report.skips(letter.group, prepared)
            goes = prepared is None
        if found.parked and not goes and _holds(letter.generation, known):
            run.held.add(_key(letter, found.record))

    def _tried(self, letter: DeadLetter, out: Outgoing, now_ms: int) -> str:
        """For which reason it would fail again; empty: none."""
        if self._guard.is_deadly(letter):
            return Reason.KILLS_ITS_PROCESS
        return self._guard.decoding(letter, partial(self._probe, letter, out, now_ms))


def _due(run: _Run | float) -> float:
    return run.due if isinstance(run, _Run) else run


@dataclass(frozen=True, slots=True)
class _Limit:
    """letters: that may go in this slice. left: until the cap; None without."""

    letters: int
    left: int | None

    def reached(self, done: int) -> bool:
        return self.left is not None and self.left - done <= 0


_SETTLED = (LetterState.REPLAYED, LetterState.DISCARDED, LetterState.EXPIRED)


def _holds(generation: int, known: LetterRemembered | None) -> bool:
    """Whether a parked letter keeps those behind it: it waits, and was not restored, which has no place among them."""
    if known is None or known.generation < generation:
        return True
    return known.generation == generation and known.state not in _SETTLED and not known.restored


def _before(job: ReplayRemembered, turn: Turn) -> Over:
    """Nobody who planned the job saw these open."""
    return lambda letter: letter_states.settled_by(letter, turn.letter(letter.id), job.planned_at)


def _key(letter: DeadLetter, record: Record) -> tuple[str, int, bytes]:
    return letter.place[0], letter.place[1], record.key or b""
