"""Dead letters and changes of them, as the stages write them, for tests of the index, the archive and of replay."""

from __future__ import annotations

from typing import Any

from aios.dlq import envelope
from aios.dlq.dead_letter import DeadLetter, letter_of
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason
from aios.schemas.models import LetterChanged
from aios.streams.errors import RecordError
from aios.streams.record import Outgoing, Record
from aios.streams.topics import LETTER_CHANGED
from aios.streams.topology import PLAN, Stage


def failed(
    number: int,
    *,
    stage: Stage = PLAN,
    reason: Reason = Reason.UNDECODABLE,
    tenant: str = "demo",
    key: str = "",
    value: bytes | None = b"\x07 no Avro",
    generation: int = 0,
    job: str = "",
    at: int = 0,
    partition: int = 0,
    cluster: str = "c",
) -> Outgoing:
    """The dead letter of record `number` of a partition of the stage's first topic, at its so-many-th return.

    cluster: part of its id; tests that share a Kafka name one of their own.
    """
    source = Record(
        stage.reads[0].name,
        partition,
        number,
        at,
        (key or f"k{number}").encode(),
        value,
        [("aios-tenant", tenant.encode())],
    )
    if generation:
        before = envelope.wrap(source, _failure(stage, reason, at, cluster))
        again = {"replay.count": str(generation), "replay.job": job, "replay.by": "op", "replay.at": str(at)}
        headers = [*before.headers, *((envelope.PREFIX + name, said.encode()) for name, said in again.items())]
        source = Record(stage.retries.name, partition, 1000 + number, at, source.key, value, headers)
    return envelope.wrap(source, _failure(stage, reason, at, cluster))


def _failure(stage: Stage, reason: Reason, at: int, cluster: str) -> envelope.Failure:
    error = RecordError(f"{reason} happened", reason)
    return envelope.Failure(stage=stage, error=error, attempts=1, now_ms=at, cluster=cluster)


def standing(out: Outgoing, offset: int, at: int) -> Record:
    """As a consumer would have it."""
    return Record(out.topic, out.partition or 0, offset, at, out.key, out.value, out.headers)


def letter(record: Record) -> DeadLetter:
    found = letter_of(record)
    assert found is not None
    return found


def change(one: DeadLetter, state: str, at: int, **more: Any) -> LetterChanged:
    """What replay says of this letter."""
    said = {"job_id": "", "reason": "said so", "to": "", "edit_hash_before": "", "edit_hash_after": "", "by": "op"}
    topic, partition, offset = one.place
    return LetterChanged(
        change_id=ids.derive("change", one.id, str(one.generation), state, str(at), str(more)),
        letter_id=one.id,
        generation=one.generation,
        state=state,
        group=one.group,
        tenant=one.tenant,
        topic=topic,
        partition=partition,
        offset=offset,
        at=at,
        **{**said, **more},
    )


def changed(codec: Codec, event: LetterChanged) -> Outgoing:
    return Outgoing(LETTER_CHANGED.name, event.letter_id.encode(), codec.encode(LETTER_CHANGED, event))
