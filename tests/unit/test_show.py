"""What a dead letter holds, for a person: decoded or as hex, and nothing personal that was not asked for."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from aios.dlq.show import HIDDEN, Reader, Shown
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch, Unavailable
from aios.schemas.models import DocumentReceived
from aios.streams.record import Record
from aios.streams.topics import DOCUMENT_RECEIVED
from tests.fakes.registry import FakeRegistry

REGISTRY = FakeRegistry()
CODEC, READER = Codec(REGISTRY), Reader(REGISTRY)
SECRET = "Jane Roe, 12 Elm Street"


def shown(
    value: bytes | None, *, personal: bool = False, headers: Any = (), topic: str = DOCUMENT_RECEIVED.name
) -> Shown:
    record = Record("aios.admit.dlq", 0, 1, 0, b"k", value, headers)
    return READER.show(record, record, topic, personal=personal)


def framed(schema: dict[str, Any], value: Any) -> bytes:
    """Bytes of a stranger, with a schema of its own."""
    out = BytesIO()
    out.write(b"\0" + REGISTRY.add(schema).to_bytes(4, "big"))
    schemaless_writer(out, parse_schema(json.loads(json.dumps(schema))), value)
    return out.getvalue()


def test_a_value_of_our_contract_is_shown_without_its_tagged_fields() -> None:
    """And whole for whoever asks; both say what they are."""
    value = CODEC.encode(DOCUMENT_RECEIVED, DocumentReceived(text=SECRET, tenant="demo", subject="Elm"))
    found = shown(value)
    assert found.schema == "aios.document.DocumentReceived"
    assert (found.value["text"], found.value["tenant"], found.problem, found.hex) == (HIDDEN, "demo", "", "")
    assert set(found.redacted) == {"value.text", "value.subject", "value.customer_id"}
    assert SECRET not in str(found)
    whole = shown(value, personal=True)
    assert (whole.value["text"], whole.redacted) == (SECRET, ())


@pytest.mark.parametrize("value", [b"", None, b"\x07 " + SECRET.encode(), b"\0\0\0\xff\xff" + SECRET.encode(), b"\0\0"])
def test_what_does_not_decode_is_shown_as_hex(value: bytes | None) -> None:
    """Of its bytes only the frame, unless asked; and why it does not decode."""
    found, whole = shown(value), shown(value, personal=True)
    assert found.value is None
    assert found.problem
    assert bytes.fromhex(found.hex) == (value or b"")[:5]
    assert bytes.fromhex(whole.hex) == (value or b"")
    assert (found.bytes, whole.redacted) == (len(value or b""), ())
    assert ("value" in found.redacted) is (len(value or b"") > 5)


STRANGER: dict[str, Any] = {
    "type": "record",
    "name": "Stranger",
    "fields": [
        {"name": "tenant", "type": "string"},
        {"name": "nickname", "type": "string"},
        {"name": "text", "type": {"type": "map", "values": "string"}},
    ],
}


def test_of_a_strangers_schema_only_what_the_topic_knows_is_shown() -> None:
    """A field that no contract has may be anybody's name; one that the contract tags is personal whoever wrote it."""
    value = framed(STRANGER, {"tenant": "demo", "nickname": SECRET, "text": {"a": SECRET}})
    found = shown(value)
    assert found.value == {"tenant": "demo", "nickname": HIDDEN, "text": HIDDEN}
    assert shown(value, topic="nobody.knows.v1").value == {"tenant": HIDDEN, "nickname": HIDDEN, "text": HIDDEN}
    assert shown(framed({"type": "string"}, SECRET)).value == HIDDEN


def test_tags_count_at_every_depth() -> None:
    """In unions, arrays, maps and types that stand twice."""
    person = {
        "type": "record",
        "name": "Person",
        "fields": [
            {"name": "name", "type": "string", "confluent:tags": ["PII"]},
            {"name": "city", "type": "string"},
        ],
    }
    schema: dict[str, Any] = {
        "type": "record",
        "name": "Deep",
        "fields": [
            {"name": "tenant", "type": {"type": "array", "items": ["null", person]}},
            {"name": "lane", "type": {"type": "map", "values": "Person"}},
        ],
    }
    jane = {"name": SECRET, "city": "Bern"}
    found = shown(framed(schema, {"tenant": [None, jane], "lane": {"a": jane}}))
    assert found.value == {"tenant": [None, {"name": HIDDEN, "city": "Bern"}], "lane": {"a": HIDDEN}}
    assert SECRET not in str(found)


def test_a_producers_own_headers_say_nothing_unless_asked() -> None:
    """Ours, the envelope and the trace do."""
    headers = [("customer", SECRET.encode()), ("aios-tenant", b"demo"), ("aios.dlq.reason", b"empty"), ("ce_id", b"e")]
    found = shown(None, headers=headers)
    assert found.headers == {"customer": HIDDEN, "aios-tenant": "demo", "aios.dlq.reason": "empty", "ce_id": "e"}
    assert "headers.customer" in found.redacted
    assert shown(None, headers=headers, personal=True).headers["customer"] == SECRET


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_shown_somehow(rest: bytes, ours: bool) -> None:
    """Framed with a schema that is there, or anything at all; what is shown is JSON."""
    prefix = CODEC.encode(DOCUMENT_RECEIVED, DocumentReceived(text="x"))[:5] if ours else b""
    for personal in (False, True):
        found = shown(prefix + rest, personal=personal)
        json.dumps(found.value, allow_nan=False)
        assert (found.value is None) == bool(found.problem)


def test_a_registry_that_is_away_is_no_undecodable_record() -> None:
    """Whoever asks is told to ask later."""
    away = FakeRegistry()
    value = Codec(away).encode(DOCUMENT_RECEIVED, DocumentReceived(text="x"))
    away.away = True
    with pytest.raises(Unavailable):
        Reader(away).value(Record("t", 0, 0, 0, None, value))
    away.away = False
    assert Reader(away).value(Record("t", 0, 0, 0, None, value))["text"] == "x"
    with pytest.raises(SchemaMismatch):
        Reader(away).decode(value + b"more")
