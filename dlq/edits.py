"""Edits of dead letters: a JSON Patch on the decoded value, or replacement bytes; both must be what the topic carries.

Enters: the original value, the topic where the record first stood, the edit. Leaves: the bytes that may return.
Guaranteed: they decode as one of the topic's contracts, or the edit is refused with what does not fit; a patch is
applied to the value as its own schema decodes it (a stranger's too, where the topic has one contract: so a field that a
producer renamed is mended for all of its letters) and written under the contract as it is now; it cannot make a value
grow without bound (RFC 6902's copy can double it at every operation). Topics of foreign bytes take any.
Rejected: patches on bytes (nobody can review them), merge patches (RFC 7396 cannot say what must have been there).
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import jsonpatch
from jsonpointer import JsonPointerException

from aios.dlq.commands import Problem, Refused
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason, SchemaMismatch
from aios.schemas.models import EVENTS, Event
from aios.streams import topology
from aios.streams.topics import Topic

BYTES_MAX = 900 << 10  # of an edited value: it is remembered, and the record around it must fit its topic
OPERATIONS_MAX = 100
_WRONG = (jsonpatch.JsonPatchException, JsonPointerException, TypeError, ValueError, KeyError, IndexError)


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


def _applied(fields: Any, patch: str) -> dict[str, Any]:
    operations = json.loads(patch)
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
