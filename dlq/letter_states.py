"""How a dead letter stands, and what becomes of it when a job comes to it. Pure.

Enters: a letter, what is remembered of it, a job's action and filter, the time. Leaves: its state, a reason to pass it
over, or the record that returns it. Guaranteed: a letter returns at most once for each time it failed, whatever jobs
and commands there are; an edit counts as long as whoever approved it may do so; from the third replay on a person has
to free the letter first: it is quarantined as soon as it failed for the third time, whether or not a job comes to it.

A letter is known by its id and its generation, the number of replays it has behind it: what is remembered of an
earlier generation holds no more once it failed again.

Rejected: states in the index (it can be rebuilt, they cannot), counting replays by job (a letter does not care who
brings it back).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from aios.dlq import envelope, filters, parking
from aios.dlq.commands import Action, Kind, Principals, Refused, allowed
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.envelope import PREFIX
from aios.schemas.errors import Reason
from aios.schemas.models import LetterRemembered
from aios.streams import topology
from aios.streams.record import Outgoing, Record, headers_of
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import Stage

RETURNS_MAX = 16  # times of earlier returns that are remembered of a letter

STAGES: Mapping[str, Stage] = {stage.dead_letters.name: stage for stage in topology.STAGES if stage.reads}
"""The allow-list: dead-letter topic → the stage whose group gets it back."""


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


def letter_key(letter_id: str) -> bytes:
    return b"letter:" + letter_id.encode()


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
