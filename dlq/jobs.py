"""Replay jobs and the states of dead letters: who may do what when, and what becomes of each letter. Pure.

Enters: a job as remembered, a letter, what is remembered of it, the time. Leaves: the job or letter as it is then, a
reason to pass the letter over, or the record that returns it. Guaranteed: a letter returns at most once for each
time it failed, whatever jobs and commands there are; a job ends, because its marks are fixed when it is planned and
what fails again lies behind them; nobody approves what he planned or edited, and an edit counts as long as whoever
approved it may do so; from the third replay on a person has to free the letter first: it is quarantined as soon as it
failed for the third time, whether or not a job comes to it.

    DRAFT ──approve──▶ APPROVED ──run──▶ RUNNING ⇄ PAUSED ──▶ DONE        any of the first four ──abort──▶ ABORTED

A job is DRAFT while its dry run goes on (its report is not complete) and until somebody else approves it.

A letter is known by its id and its generation, the number of replays it has behind it: what is remembered of an
earlier generation holds no more once it failed again.

Rejected: states in the index (it can be rebuilt, they cannot), counting replays by job (a letter does not care who
brings it back).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from aios.dlq import envelope, filters, parking
from aios.dlq.commands import Action, Kind, PlanCommand, Principals, Problem, Refused, allowed, other_eyes, short
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.envelope import PREFIX
from aios.dlq.report import Report
from aios.schemas import ids
from aios.schemas.errors import Reason
from aios.schemas.models import LetterRemembered, ReplayRemembered
from aios.streams import topology
from aios.streams.record import Outgoing, Record, headers_of
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import Stage

BURST_S = 1.0  # of a job's rate, that it may catch up after a slice that took long
JOBS_MAX = 20  # drafts in their dry run, and running jobs
RETURNS_MAX = 16  # times of earlier returns that are remembered of a letter

STAGES: Mapping[str, Stage] = {stage.dead_letters.name: stage for stage in topology.STAGES if stage.reads}
"""The allow-list: dead-letter topic → the stage whose group gets it back."""


class JobState(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    ABORTED = "aborted"


class LetterState(StrEnum):
    OPEN = "open"
    EDITED = "edited"  # approved_by says whether it may return so
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    QUARANTINED = "quarantined"
    EXPIRED = "expired"


class Skip(StrEnum):
    """Why a job passed a letter over, closed."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    QUARANTINED = "quarantined"
    STALE = "stale"  # older than the idempotency window, or expired
    EDIT_UNAPPROVED = "edit_unapproved"  # by nobody who may approve it today
    GONE = "gone"  # its bytes are not there any more
    OVERSIZE = "oversize"
    CAP = "cap"
    CHANGED = "changed"  # edited after the job was planned
    BEHIND = "behind"  # an earlier record of its key has not returned
    UNFIT = "unfit"  # the job's edit does not fit it
    KILLS = "kills_its_process"  # and the job's filter names neither that reason nor its fingerprint or id


def job_key(job_id: str) -> bytes:
    return b"job:" + job_id.encode()


def letter_key(letter_id: str) -> bytes:
    return b"letter:" + letter_id.encode()


# letters


def state_of(letter: DeadLetter, known: LetterRemembered | None) -> LetterState:
    """Of this generation of the letter."""
    if known is None or known.generation < letter.generation:
        return fresh(letter)
    if known.generation > letter.generation:
        return LetterState.REPLAYED
    return LetterState(known.state)


def fresh(letter: DeadLetter) -> LetterState:
    """Of a letter that failed just now."""
    return LetterState.QUARANTINED if letter.is_quarantined else LetterState.OPEN


def unfreed(letter: DeadLetter, known: LetterRemembered | None) -> bool:
    """Whether a person has to free it before it returns, also with an edit."""
    freed = known is not None and known.generation == letter.generation and known.freed
    return letter.is_quarantined and not freed


def remembered(letter: DeadLetter, known: LetterRemembered | None, **changes: Any) -> LetterRemembered:
    """What to remember of this generation, with changes."""
    if known is None or known.generation != letter.generation:
        topic, partition, offset = letter.place
        returned_at = returns_before(letter, known)
        known = LetterRemembered(
            letter_id=letter.id,
            state=fresh(letter),
            generation=letter.generation,
            group=letter.group,
            topic=topic,
            partition=partition,
            offset=offset,
            job_id="",
            freed=False,
            restored=False,
            edit_hash_before="",
            edited_by="",
            approved_by="",
            changed_at=0,
            returned_at=returned_at,
        )
    return replace(known, **changes)


def returns_before(letter: DeadLetter, known: LetterRemembered | None) -> tuple[int, ...]:
    """When the generations before this one returned, the latest last; none: it is the first, or they were forgotten."""
    if known is None or known.generation != letter.generation - 1:
        return ()
    return (*known.returned_at, known.changed_at)[-RETURNS_MAX:]


def settled_by(letter: DeadLetter, known: LetterRemembered | None, at_ms: int) -> bool:
    """Whether nothing of this generation waited at that time. Which return was its own is counted from the latest; one
    that is not remembered any more was long ago.
    """
    if known is None or not settled(letter, known):
        return False
    later = known.generation - letter.generation
    times = (*known.returned_at, known.changed_at)
    return len(times) <= later or times[-1 - later] <= at_ms


def settled(letter: DeadLetter, known: LetterRemembered | None) -> bool:
    """Whether nothing of this generation waits: those behind it may go."""
    return state_of(letter, known) in (LetterState.REPLAYED, LetterState.DISCARDED, LetterState.EXPIRED)


def judge(
    letter: DeadLetter,
    known: LetterRemembered | None,
    principals: Principals,
    *,
    action: str,
    planned_at: int,
    selects: str,
    now_ms: int,
) -> Skip | None:
    """Why a job passes this letter over; None: it does not. planned_at: of the job, broker time. selects: its filter.

    What ended its processes would end more of them as it is: it returns only where the filter names it.
    """
    state = state_of(letter, known)
    match state:
        case LetterState.REPLAYED:
            return Skip.REPLAYED
        case LetterState.DISCARDED:
            return Skip.DISCARDED
        case LetterState.EXPIRED:
            return Skip.STALE
    if action == Action.DISCARD:
        return None
    if letter.orig_timestamp and letter.orig_timestamp < now_ms - RETENTION_MS:
        return Skip.STALE
    if state is LetterState.EDITED and known is not None:
        if not _is_approved(letter, known, principals):
            return Skip.EDIT_UNAPPROVED
        if known.changed_at > planned_at:
            return Skip.CHANGED
    if unfreed(letter, known):
        return Skip.QUARANTINED
    is_deadly = letter.reason == Reason.KILLS_ITS_PROCESS and state is not LetterState.EDITED
    return Skip.KILLS if is_deadly and not filters.parse(selects).names_failure else None


def _is_approved(letter: DeadLetter, known: LetterRemembered, principals: Principals) -> bool:
    """Whether somebody approved the edit who may do so today."""
    try:
        allowed(principals, known.approved_by, Kind.APPROVE_EDIT, frozenset({letter.tenant}))
    except Refused:
        return False
    return True


def returned(
    letter: DeadLetter,
    record: Record,
    value: bytes | None,
    *,
    job_id: str,
    by: str,
    at_ms: int,
    hash_before: str = "",
    restored: bool = False,
) -> Outgoing | None:
    """The record that goes back to its group. record: the letter's, with all of its headers; value: what returns.

    hash_before: of the value before an edit, empty if there is none. restored: those behind it did not wait for it,
    so it has no place among them any more. None: it is too large to travel.
    """
    if (letter.reference or value is not record.value) and not envelope.is_small(replace(record, value=value)):
        return None
    told = {
        "replay.count": str(letter.generation + 1),
        "replay.attempts": str(letter.attempts),
        "replay.job": job_id,
        "replay.by": envelope.clipped(by),
        "replay.at": str(at_ms),
    }
    told |= {"replay.edited": hash_before} if hash_before else {}
    new = headers_of({PREFIX + name: text for name, text in told.items()})
    gone = _REPLACED if hash_before else _REPLACED_ALWAYS
    kept = [header for header in record.headers if header[0] not in gone]
    out = Outgoing(STAGES_BY_GROUP[letter.group].retries.name, record.key, value, (*kept, *new), record.partition)
    return parking.marked(out, None) if restored else out


_REPLACED_ALWAYS = frozenset(
    PREFIX + name for name in ("replay.count", "replay.attempts", "replay.job", "replay.by", "replay.at", "payload_ref")
)
_REPLACED = _REPLACED_ALWAYS | {f"{PREFIX}replay.edited"}

STAGES_BY_GROUP: Mapping[str, Stage] = {stage.group: stage for stage in STAGES.values()}


# jobs


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
