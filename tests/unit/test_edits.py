"""Edits of dead letters: what a patch may start from, and what it has to end in."""

from __future__ import annotations

import json
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastavro import parse_schema, schemaless_writer

from aios.dlq import edits
from aios.dlq.commands import Refused
from aios.dlq.dead_letter import DeadLetter
from aios.processors.replaying.probe import decoded
from aios.schemas.codec import Codec
from aios.schemas.models import DocumentReceived
from aios.streams.topics import DOCUMENT_RECEIVED
from tests.fakes.registry import FakeRegistry

MOVED = '[{"op": "move", "from": "/body", "path": "/text"}]'
FIELDS = [{"name": "body", "type": "string"}, {"name": "channel", "type": "string"}]


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def strangers(registry: FakeRegistry, name: str, **fields: Any) -> bytes:
    """A value under a schema that no topic of ours carries."""
    schema = {"type": "record", "name": name, "namespace": "acme", "fields": FIELDS}
    out = BytesIO()
    out.write(b"\0" + registry.add(schema).to_bytes(4, "big"))
    schemaless_writer(out, parse_schema(schema), fields)
    return out.getvalue()


def test_a_field_that_a_producer_renamed_is_mended_by_a_patch(registry: FakeRegistry) -> None:
    """The value is patched as its own schema has it, and written as the topic's contract."""
    codec = Codec(registry)
    value = strangers(registry, "Letter", body="my card", channel="message")
    mended = codec.decode(edits.patched(codec, DOCUMENT_RECEIVED, value, MOVED), DocumentReceived)
    assert (mended.text, mended.channel) == ("my card", "message")


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ('[{"op": "copy", "from": "/body", "path": "/text"}]', "unexpected keyword argument 'body'"),
        ('[{"op": "remove", "path": "/body"}]', "missing 1 required keyword-only argument: 'text'"),
        ('[{"op": "move", "from": "/body", "path": "/channel"}, {"op": "add", "path": "/text", "value": 7}]', "hold"),
    ],
)
def test_what_a_patch_leaves_of_a_strangers_value_must_be_the_contract(
    registry: FakeRegistry, patch: str, words: str
) -> None:
    """Nothing is left out or made up; the words say which field, and no value."""
    value = strangers(registry, "Letter", body="my card", channel="message")
    with pytest.raises(Refused) as refused:
        edits.patched(Codec(registry), DOCUMENT_RECEIVED, value, patch)
    assert words in refused.value.detail
    assert "my card" not in refused.value.detail


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ([{"op": "copy", "from": "/channel", "path": "/channel"}] * (edits.OPERATIONS_MAX + 1), "101 operations"),
        (
            [{"op": "add", "path": "/channel", "value": {"a": "x" * 1000}}]
            + [{"op": "copy", "from": "/channel", "path": f"/channel/{number}"} for number in range(12)],
            "the patch makes it larger",
        ),
        ([{"op": "replace", "path": "/body", "value": "x" * edits.BYTES_MAX}, *json.loads(MOVED)], "makes it larger"),
    ],
    ids=["many", "doubling", "large"],
)
def test_a_patch_is_bounded(registry: FakeRegistry, patch: list[Any], words: str) -> None:
    """In its operations, and in what each of them leaves: twelve copies of a whole into itself are 4,000 of it."""
    value = strangers(registry, "Letter", body="my card", channel="message")
    with pytest.raises(Refused) as refused:
        edits.patched(Codec(registry), DOCUMENT_RECEIVED, value, json.dumps(patch))
    assert words in refused.value.detail


def test_replacement_bytes_are_bounded(registry: FakeRegistry) -> None:
    """Where nothing else is known of them."""
    codec = Codec(registry)
    assert edits.checked(codec, None, b"x" * edits.BYTES_MAX)
    with pytest.raises(Refused, match="too many"):
        edits.checked(codec, None, b"x" * (edits.BYTES_MAX + 1))


@pytest.mark.parametrize("patch", ['[{"op": "add", "path": "/channel", "value": "\\ud800"}]', "{}", "[1]", "no"])
def test_a_patch_of_a_job_that_an_earlier_release_kept_is_read_as_strictly_as_a_new_one(
    registry: FakeRegistry, patch: str
) -> None:
    """It is refused for this letter; our own code does not fail on it, which would stop the job."""
    value = strangers(registry, "Letter", body="my card", channel="message")
    with pytest.raises(Refused):
        edits.patched(Codec(registry), DOCUMENT_RECEIVED, value, patch)


def test_bytes_that_are_not_what_their_schema_says_are_not_patched(registry: FakeRegistry) -> None:
    """Too few, or some left over."""
    value = strangers(registry, "Letter", body="my card", channel="message")
    for broken in (value[:-1], value + b"x"):
        with pytest.raises(Refused, match=r"does not decode|left over"):
            edits.patched(Codec(registry), DOCUMENT_RECEIVED, broken, MOVED)


def test_a_jobs_expression_sees_what_a_list_shows(registry: FakeRegistry) -> None:
    """Of a stranger's value too; nothing of bytes that do not decode."""
    codec = Codec(registry)
    letter = cast(DeadLetter, SimpleNamespace(orig_topic=DOCUMENT_RECEIVED.name))
    value = strangers(registry, "Letter", body="my card", channel="message")
    assert decoded(codec, letter, value) == {"body": "my card", "channel": "message"}
    assert decoded(codec, letter, value[:-1]) is None
