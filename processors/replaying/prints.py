"""What a replay job writes of each letter that returns; what letters have in common is encoded once.

Enters: letters that return, one after the other. Leaves: letter.changed.v1, audit.recorded.v1 and what is remembered of
the letter. Guaranteed: the bytes and ids that Turn.changed, Turn.audited and Turn.keep_letter make, in a third of the
time: a job of 100,000 letters is one of a few kinds of failure. Bounded by PRINTS_MAX kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any, NamedTuple, cast

from aios.dlq import envelope, letter_states
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.letter_states import LetterState
from aios.processors.replaying.turn import SOURCE, Turn, about, audit_id_of, audit_of, case_of, change_id_of, change_of
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, LetterChanged, LetterRemembered, ReplayRemembered
from aios.schemas.stencil import Stencil
from aios.streams import tracing
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, LETTER_CHANGED, Topic
from aios.streams.topology import REPLAY

PRINTS_MAX = 1_000  # kinds of failure and places, each a few kB
STATE, ACT = LetterState.REPLAYED, "replayed"
_CHANGED = ("change_id", "letter_id", "offset", "edit_hash_before", "edit_hash_after", "at")
_AUDITED = ("audit_id", "case_id", "detail", "input_offset", "at")
_REMEMBERED = ("letter_id", "offset", "changed_at", "returned_at")
_OWN = ("dead_letter_id", "sha256", "sha256_before")  # in the detail of an audit record, in its order


class _Print(NamedTuple):
    """Of one kind of letters. detail: what stands before, between and behind their own values."""

    change: LetterChanged
    changed: Callable[..., bytes]
    audit: AuditRecorded
    audited: Callable[..., bytes]
    remembered: Callable[..., bytes]
    detail: tuple[str, ...]


class Prints:
    """See the module."""

    def __init__(self, codec: Codec, default_tenant: str) -> None:
        self._codec = codec
        self._default_tenant = default_tenant
        self._kinds: dict[tuple[object, ...], _Print] = {}

    def returned(
        self,
        letter: DeadLetter,
        out: Outgoing,
        known: LetterRemembered | None,
        job: ReplayRemembered,
        turn: Turn,
        *,
        before: str,
        trace: str,
    ) -> None:
        """The letter returns as `out`. before: hash of its bytes before an edit, else empty. trace: its traceparent."""
        kind, now_ms, offset = self._kind(letter, job), turn.now_ms, letter.place[2]
        turn.send(out)
        if known is None or known.generation != letter.generation:
            remembered = kind.remembered(letter.id, offset, now_ms, letter_states.returns_before(letter, known))
            turn.keep(letter_states.letter_key(letter.id), remembered)
        else:
            turn.keep_letter(_remembered(letter, known, job, now_ms))
        after = envelope.sha256(out.value)
        change_id = change_id_of(letter, STATE, job.job_id)
        changed = kind.changed(change_id, letter.id, offset, before, after if before else "", now_ms)
        headers = tracing.envelope(
            kind.change,
            event_id=change_id,
            source=SOURCE,
            subject=letter.id,
            tenant=letter.tenant,
            traceparent="",
            time_ms=now_ms,
        )
        turn.send(Outgoing(LETTER_CHANGED.name, letter.id.encode(), changed, headers))
        audit_id, case = audit_id_of(letter, ACT, job.job_id), case_of(letter)
        first, second, third, last = kind.detail
        detail = f"{first}{encode_basestring(letter.id)}{second}{_quoted(after)}{third}{_quoted(before)}{last}"
        audited = kind.audited(audit_id, case, detail, offset, now_ms)
        headers = tracing.envelope(
            kind.audit,
            event_id=audit_id,
            source=SOURCE,
            subject=case,
            tenant=kind.audit.tenant,
            traceparent=trace,
            time_ms=now_ms,
        )
        turn.send(Outgoing(AUDIT_RECORDED.name, case.encode(), audited, headers))

    def _kind(self, letter: DeadLetter, job: ReplayRemembered) -> _Print:
        name = (
            job.job_id,
            job.run_by,
            letter.group,
            letter.place[0],
            letter.place[1],
            letter.generation,
            letter.tenant,
            letter.reason,
            letter.fingerprint,
        )
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= PRINTS_MAX:
                self._kinds.clear()
            kind = self._kinds[name] = self._made(letter, job)
        return kind

    def _made(self, letter: DeadLetter, job: ReplayRemembered) -> _Print:
        to = f"{letter_states.STAGES_BY_GROUP[letter.group].retries.name}/{letter.place[1]}"
        change = change_of(letter, STATE, act=job.job_id, job_id=job.job_id, to=to, by=job.run_by, at=0)
        told = {
            "replay_id": job.job_id,
            "why": envelope.clipped(job.reason, envelope.MESSAGE_BYTES_MAX),
            "replays": letter.generation + 1,
            "approved_by": job.approved_by,
            "to": to,
        }
        audit = audit_of(letter, ACT, self._default_tenant, act=job.job_id, by=job.run_by, detail={}, at=0)
        changelog = cast(Topic, REPLAY.changelog)
        return _Print(
            change,
            Stencil(self._codec, LETTER_CHANGED, change, _CHANGED).encode,
            audit,
            Stencil(self._codec, AUDIT_RECORDED, audit, _AUDITED).encode,
            Stencil(self._codec, changelog, _remembered(letter, None, job, 0), _REMEMBERED).encode,
            _around_own(about(letter) | told),
        )


def _around_own(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """Canonical JSON of the detail, in pieces: before, between and behind the values of each letter's own."""
    pieces, text = [], "{"
    for count, name in enumerate(sorted({*detail, *_OWN})):
        text += f'{"," if count else ""}"{name}":'
        if name in _OWN:
            pieces.append(text)
            text = ""
        else:
            text += ids.canonical(detail[name])
    return (*pieces, text + "}")


def _quoted(hexadecimal: str) -> str:
    return f'"{hexadecimal}"'


def _remembered(
    letter: DeadLetter, known: LetterRemembered | None, job: ReplayRemembered, now_ms: int
) -> LetterRemembered:
    return letter_states.remembered(
        letter, known, state=STATE, job_id=job.job_id, freed=False, edit=None, changed_at=now_ms
    )
