"""Edits of dead letters: a JSON Patch on the decoded value, or replacement bytes; both must be what the topic carries.

Enters: the original value, the topic where the record first stood, the edit. Leaves: the bytes that may return.
Guaranteed: they decode as one of the topic's contracts, or the edit is refused with what does not fit; a patch is
applied to the value as its own schema decodes it (a stranger's too, where the topic has one contract: so a field that a
producer renamed is mended for all of its letters) and written under the contract as it is now; it cannot make a value
grow without bound (RFC 6902's copy can double it at every operation). Topics of foreign bytes take any. What an edit
leaves is the event that it was: of the same tenant, under the same idempotency key and event id, each as admit fills it
where the value names none. Where the original does not decode, its header and key are all that is known of it: they say
the tenant and the idempotency key, and the event id is free.
Rejected: patches on bytes (nobody can review them), merge patches (RFC 7396 cannot say what must have been there); a
field moved to be the key of a stranger's value (any field could be: it would be the person's word, not the producer's).
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import jsonpatch
from jsonpointer import JsonPointerException

from aios.dlq import envelope
from aios.dlq.commands import Problem, Refused, read_patch
from aios.dlq.dead_letter import DeadLetter
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason, SchemaMismatch
from aios.schemas.models import EVENTS, Event
from aios.streams import inputs, topology
from aios.streams.inputs import Identity
from aios.streams.record import Record
from aios.streams.topics import Topic

BYTES_MAX = 900 << 10  # of an edited value: it is remembered, and the record around it must fit its topic
OPERATIONS_MAX = 100
KEPT = dict(zip(Identity._fields, ("tenant", "idempotency key", "event id"), strict=True))
"""What an edit may not change, by the field that names it."""
_WRONG = (
    jsonpatch.JsonPatchException,
    JsonPointerException,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    RecursionError,  # ten copies of the whole into itself: small, and a thousand deep
)


def topic_of(orig_topic: str) -> Topic | None:
    """Whose contracts an edit has to meet; None where bytes are foreign."""
    topic = topology.all_topics().get(orig_topic)
    return topic if topic is not None and topic.contracts else None


def patched(codec: Codec, topic: Topic | None, value: bytes | None, patch: str) -> bytes:
    """The value with an RFC 6902 patch applied. Raises Refused, Unavailable."""
    if topic is None:
        raise Refused(Problem.DOES_NOT_FIT, "no contract says what these bytes are: give replacement bytes")
    try:
        kind, fields = as_written(codec, topic, value)
    except SchemaMismatch as error:
        raise Refused(
            Problem.DOES_NOT_FIT, f"the original does not decode ({error}): give replacement bytes"
        ) from error
    try:
        edited = codec.encode(topic, _event(kind, _applied(fields, patch)))
    except (SchemaMismatch, TypeError) as error:
        raise Refused(Problem.DOES_NOT_FIT, f"the patched value is no {kind.contract}: {_words(error)}") from error
    return checked(codec, topic, edited)


def checked(codec: Codec, topic: Topic | None, value: bytes) -> bytes:
    """Replacement bytes, if the topic takes them. Raises Refused, Unavailable."""
    if len(value) > BYTES_MAX:
        raise Refused(Problem.DOES_NOT_FIT, f"{len(value)} bytes are too many, at most {BYTES_MAX}")
    if topic is not None:
        try:
            codec.decode_any(value, topic)
        except SchemaMismatch as error:
            raise Refused(Problem.DOES_NOT_FIT, f"{topic.name} does not take these bytes: {error}") from error
    return value


def as_written(codec: Codec, topic: Topic, value: bytes | None) -> tuple[type[Event], Any]:
    """The contract under which it may return, and what it says now. Raises SchemaMismatch, Unavailable."""
    try:
        event = codec.decode_any(value, topic)
    except SchemaMismatch as error:
        if error.reason is not Reason.CONTRACT_BROKEN or len(topic.contracts) != 1:
            raise
        return EVENTS[topic.contracts[0]], codec.decode_as_written(value)
    return type(event), dataclasses.asdict(cast(Any, event))


def check_kept(
    codec: Codec, letter: DeadLetter, record: Record, *, original: bytes | None, edited: bytes, default_tenant: str
) -> None:
    """That the edited value is the event that the original was. Raises Refused, Unavailable.

    record: the letter's, with the producer's headers. original: None where nobody may decode it.
    """
    topic = topic_of(letter.orig_topic)
    named, after = _named(codec, topic, original), _named(codec, topic, edited)
    before = named or {}
    if envelope.is_input(letter.orig_topic):
        if after is None:
            raise Refused(Problem.DOES_NOT_FIT, "these bytes do not decode by a schema of the registry")
        place, key = (letter.orig_topic, letter.orig_partition, letter.orig_offset), record.key
        was = inputs.identity(before, place=place, key=key, tenant=letter.tenant, default_tenant=default_tenant)
        header = record.header("aios-tenant") or ""
        now = inputs.identity(after, place=place, key=key, tenant=header, default_tenant=default_tenant)
        free = "" if "event_id" in before else "event_id"
        changed = [name for name in KEPT if name != free and getattr(was, name) != getattr(now, name)]
    else:
        theirs = {"tenant": letter.tenant} | before
        changed = [name for name, said in (after or {}).items() if name in theirs and said != theirs[name]]
    if changed:
        what = " and ".join(KEPT[name] for name in changed)
        why = f"an edit keeps whose event it is and which: this one changes the {what}"
        if named is None:
            why += "; the original does not decode: leave them out, or repeat its header's tenant and its record's key"
        raise Refused(Problem.DOES_NOT_FIT, why)


def _named(codec: Codec, topic: Topic | None, value: bytes | None) -> dict[str, str] | None:
    """What the value itself says of whose event it is and which; None if it does not decode. Raises Unavailable.

    As its reader has it: Avro reads bytes where a contract wants text.
    """
    try:
        fields = codec.decode_as_written(value) if topic is None else as_written(codec, topic, value)[1]
    except SchemaMismatch:
        return None
    said = {name: fields.get(name) for name in KEPT} if isinstance(fields, dict) else {}
    texts = {name: one.decode("utf-8", "replace") if isinstance(one, bytes) else one for name, one in said.items()}
    return {name: one for name, one in texts.items() if isinstance(one, str)}


def _applied(fields: Any, patch: str) -> dict[str, Any]:
    operations = read_patch(patch)
    if len(operations) > OPERATIONS_MAX:
        raise Refused(Problem.BAD_ARGUMENTS, f"{len(operations)} operations are too many, at most {OPERATIONS_MAX}")
    found: Any = fields
    try:
        for operation in operations:
            found = jsonpatch.apply_patch(found, [operation])
            if len(ids.canonical(found)) > BYTES_MAX:
                raise Refused(Problem.DOES_NOT_FIT, f"the patch makes it larger than {BYTES_MAX} bytes")
    except jsonpatch.JsonPatchTestFailed as error:
        raise Refused(Problem.DOES_NOT_FIT, "a test of the patch does not hold") from error
    except _WRONG as error:
        raise Refused(
            Problem.DOES_NOT_FIT, f"the patch does not apply: {operation.get('op')} {operation.get('path')}"
        ) from error
    if not isinstance(found, dict):
        raise Refused(Problem.DOES_NOT_FIT, "the patch leaves no object")
    return found


def _event(kind: type[Event], fields: dict[str, Any]) -> Event:
    """Raises TypeError for fields that the contract does not have."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def _words(error: Exception) -> str:
    """Without the value: what a TypeError says of a constructor names fields only."""
    return str(error).rpartition("() ")[2]
