"""What one command or one turn of work of the replay stage changes and tells.

Enters: changes and acts, one after the other. Leaves: the effects of one transaction. Guaranteed: what is read is what
was changed before in the same turn; each act on a letter or job leaves its audit record, keyed by the case where the
record was keyed by one; ids are derived, so that the same act computed again is the same record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from aios.dlq.dead_letter import DeadLetter
from aios.dlq.jobs import is_active, job_key
from aios.dlq.letter_states import STAGES_BY_GROUP, LetterState, letter_key, remembered
from aios.dlq.parking import CONTROL, DISCARDED, ORDINAL
from aios.processors.stateful.state import Effects, StateView
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import AuditRecorded, Event, LetterChanged, LetterRemembered, ReplayRemembered
from aios.streams import carrying, topology
from aios.streams.errors import StateBroken
from aios.streams.record import Outgoing, Where, headers_of
from aios.streams.topics import AUDIT_RECORDED, LETTER_CHANGED, Family, Topic
from aios.streams.topology import REPLAY

SOURCE = "/aios/replay"
CASE_TOPICS = frozenset(
    name for name, topic in topology.all_topics().items() if topic.family in (Family.CASE, Family.POOL)
)
NOBODY: Where = ("", -1, -1)


class Turn:
    """See the module. now_ms: log time. asked: where the request stands; NOBODY for a turn of the stage's own."""

    def __init__(self, codec: Codec, state: StateView, now_ms: int, default_tenant: str, asked: Where = NOBODY) -> None:
        self.now_ms = now_ms
        self._asked = asked
        self._codec = codec
        self._state = state
        self._changelog = cast(Topic, REPLAY.changelog)
        self._default_tenant = default_tenant
        self._outputs: list[Outgoing] = []
        self._changes: dict[bytes, bytes | None] = {}

    @property
    def effects(self) -> Effects | None:
        if not self._outputs and not self._changes:
            return None
        return Effects(outputs=self._outputs, changes=self._changes)

    def letter(self, letter_id: str) -> LetterRemembered | None:
        return self._read(letter_key(letter_id), LetterRemembered)

    def keep_letter(self, letter: LetterRemembered) -> None:
        self.keep(letter_key(letter.letter_id), self._codec.encode(self._changelog, letter))

    def keep(self, key: bytes, value: bytes) -> None:
        """What is remembered under a key, encoded already."""
        self._changes[key] = value

    def job(self, job_id: str) -> ReplayRemembered | None:
        return self._read(job_key(job_id), ReplayRemembered)

    def keep_job(self, job: ReplayRemembered) -> None:
        self._changes[job_key(job.job_id)] = self._codec.encode(self._changelog, job)

    def forget(self, key: bytes) -> None:
        self._changes[key] = None

    def jobs(self) -> Iterator[ReplayRemembered]:
        """All that are remembered, before this turn."""
        for _, value in self._state.scan(job_key("")):
            yield self._decoded(value, ReplayRemembered)

    def keys(self) -> list[bytes]:
        """Of all letters and jobs."""
        return [key for prefix in (letter_key(""), job_key("")) for key, _ in self._state.scan(prefix)]

    def changed_at(self, key: bytes) -> int:
        """When what is remembered under a key changed; now, while it is still needed or was forgotten since."""
        if key.startswith(letter_key("")):
            letter: LetterRemembered | None = self._read(key, LetterRemembered)
            return letter.changed_at if letter is not None else self.now_ms
        job: ReplayRemembered | None = self._read(key, ReplayRemembered)
        return job.changed_at if job is not None and not is_active(job) else self.now_ms

    def send(self, out: Outgoing) -> None:
        self._outputs.append(out)

    def tell(self, topic: Topic, event: Event, *, event_id: str, key: str, tenant: str, trace: str = "") -> None:
        out = carrying.outgoing(
            self._codec,
            topic,
            event,
            key=key,
            event_id=event_id,
            source=SOURCE,
            subject=key,
            tenant=tenant,
            traceparent=trace,
            time_ms=self.now_ms,
        )
        self._outputs.append(out)

    def changed(
        self,
        letter: DeadLetter,
        state: str,
        *,
        act: str,
        job_id: str = "",
        reason: str = "",
        to: str = "",
        before: str = "",
        after: str = "",
        by: str = "",
    ) -> None:
        """The letter is in another state, or was passed over. act: what did it, a command or a job."""
        event = change_of(
            letter,
            state,
            act=act,
            job_id=job_id,
            reason=reason,
            to=to,
            before=before,
            after=after,
            by=by,
            at=self.now_ms,
        )
        self.tell(LETTER_CHANGED, event, event_id=event.change_id, key=letter.id, tenant=letter.tenant)

    def audited(
        self, letter: DeadLetter, transition: str, *, act: str, by: str, detail: Mapping[str, Any], trace: str = ""
    ) -> None:
        """An act on a letter."""
        audit = audit_of(letter, transition, self._default_tenant, act=act, by=by, detail=detail, at=self.now_ms)
        self._audit(audit, trace)

    def audited_object(
        self, object_id: str, transition: str, *, act: str, by: str, detail: Mapping[str, Any], tenant: str = ""
    ) -> None:
        """An act on a job or breaker."""
        audit = AuditRecorded(
            audit_id=ids.derive(transition, object_id, act),
            case_id=object_id,
            tenant=tenant or self._default_tenant,
            workflow="",
            case_seq=0,
            transition=transition,
            actor=by,
            detail=ids.canonical(dict(detail)),
            input_topic=self._asked[0],
            input_partition=self._asked[1],
            input_offset=self._asked[2],
            at=self.now_ms,
        )
        self._audit(audit, "")

    def discard(
        self,
        letter: DeadLetter,
        key: bytes | None,
        known: LetterRemembered | None,
        *,
        act: str,
        by: str,
        reason: str,
        job_id: str = "",
    ) -> None:
        """The letter will not return; those parked behind it need not wait for it."""
        state = LetterState.DISCARDED
        self.keep_letter(remembered(letter, known, state=state, job_id=job_id, edit=None, changed_at=self.now_ms))
        self.changed(letter, state, act=act, job_id=job_id, reason=reason, by=by)
        self.audited(letter, "discarded", act=act, by=by, detail={"replay_id": job_id, "why": reason})
        self.release_followers(letter, key)

    def release_followers(self, letter: DeadLetter, key: bytes | None) -> None:
        """A parked letter will not return: those behind it need not wait for it (dlq/parking.py)."""
        if letter.ordinal < 0 or letter.group not in STAGES_BY_GROUP:
            return
        headers = headers_of({CONTROL: DISCARDED, ORDINAL: str(letter.ordinal)})
        stage = STAGES_BY_GROUP[letter.group]
        self._outputs.append(Outgoing(stage.retries.name, key, None, headers, letter.place[1]))

    def _audit(self, audit: AuditRecorded, trace: str) -> None:
        self.tell(AUDIT_RECORDED, audit, event_id=audit.audit_id, key=audit.case_id, tenant=audit.tenant, trace=trace)

    def _read(self, key: bytes, kind: type[Any]) -> Any:
        value = self._changes[key] if key in self._changes else self._state.get(key)
        return None if value is None else self._decoded(value, kind)

    def _decoded(self, value: bytes, kind: type[Any]) -> Any:
        try:
            return self._codec.decode(value, kind)
        except SchemaMismatch as error:
            raise StateBroken(f"what replay remembers is not readable by this deploy: {error}") from error


def change_id_of(letter: DeadLetter, state: str, act: str) -> str:
    """The same letter may stand twice, and one job may come to both: each place has a change of its own."""
    place = "/".join(map(str, letter.place))
    return ids.derive("letter-changed", letter.id, str(letter.generation), state, act, place)


def change_of(
    letter: DeadLetter,
    state: str,
    *,
    act: str,
    job_id: str,
    reason: str = "",
    to: str = "",
    before: str = "",
    after: str = "",
    by: str,
    at: int,
) -> LetterChanged:
    """letter.changed.v1 of an act on a letter."""
    topic, partition, offset = letter.place
    return LetterChanged(
        change_id=change_id_of(letter, state, act),
        letter_id=letter.id,
        generation=letter.generation,
        state=state,
        group=letter.group,
        tenant=letter.tenant,
        topic=topic,
        partition=partition,
        offset=offset,
        job_id=job_id,
        reason=reason,
        to=to,
        edit_hash_before=before,
        edit_hash_after=after,
        by=by,
        at=at,
    )


def audit_id_of(letter: DeadLetter, transition: str, act: str) -> str:
    return ids.derive(transition, letter.id, str(letter.generation), act)


def case_of(letter: DeadLetter) -> str:
    """Under which its audit records stand."""
    return letter.key if letter.orig_topic in CASE_TOPICS and letter.key else letter.id


def about(letter: DeadLetter) -> dict[str, Any]:
    """What every audit record of an act on a letter tells of it."""
    return {
        "dead_letter_id": letter.id,
        "generation": letter.generation,
        "group": letter.group,
        "failed_for": letter.reason,
        "fingerprint": letter.fingerprint,
    }


def audit_of(
    letter: DeadLetter, transition: str, default_tenant: str, *, act: str, by: str, detail: Mapping[str, Any], at: int
) -> AuditRecorded:
    """audit.recorded.v1 of an act on a letter."""
    topic, partition, offset = letter.place
    return AuditRecorded(
        audit_id=audit_id_of(letter, transition, act),
        case_id=case_of(letter),
        tenant=letter.tenant or default_tenant,
        workflow="",
        case_seq=0,
        transition=transition,
        actor=by,
        detail=ids.canonical(about(letter) | dict(detail)),
        input_topic=topic,
        input_partition=partition,
        input_offset=offset,
        at=at,
    )
