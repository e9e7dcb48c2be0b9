"""The work that every entrant of `aios bench peers` does on a record: Avro in, a running mean by key, Avro out.

Enters: bytes in Confluent's framing. Leaves: the record as a dictionary, and bytes again. No import of ours: peers
that live in environments of their own load this file too.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

SCHEMA_TEXT = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": "long"},
        {"name": "user", "type": "string"},
        {"name": "text", "type": "string"},
        {"name": "score", "type": "double"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "n", "type": ["null", "int"], "default": None},
    ],
}
SCHEMA = parse_schema(SCHEMA_TEXT)
FRAME = b"\x00\x00\x00\x00\x07"


def decode(value: bytes) -> dict[str, Any]:
    """Raises ValueError for another framing, and whatever fastavro raises."""
    if value[:5] != FRAME:
        raise ValueError("another framing")
    body = BytesIO(value)
    body.seek(5)
    found: dict[str, Any] = schemaless_reader(body, SCHEMA, None)
    return found


def encode(record: dict[str, Any]) -> bytes:
    out = BytesIO(FRAME)
    out.seek(5)
    schemaless_writer(out, SCHEMA, record)
    return out.getvalue()
