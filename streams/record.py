"""What travels between a stage and the roads: a record as read, a record to be written, and its headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Headers = Sequence[tuple[str, bytes | None]]
Where = tuple[str, int, int]  # topic, partition, offset
CREATED, APPENDED = "create", "append"  # whose a timestamp is: the producer's, the broker's


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the broker holds it. timestamp_ms: the broker's (or producer's) Unix ms, 0 if it has none.

    timestamp_type: whose it is, `append` (the broker's) or `create` (the producer's); empty if that is not known.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_type: str = ""

    def header(self, name: str) -> str | None:
        """The last header of that name as text (undecodable bytes replaced), None if absent."""
        for key, value in reversed(self.headers):
            if key == name and value is not None:
                return value.decode("utf-8", "replace")
        return None

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to deliver. partition: None lets murmur2 over the key choose; a number is used as it is."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default=())
    partition: int | None = None


def headers_of(values: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """UTF-8 headers, empty values left out."""
    return tuple((name, value.encode()) for name, value in values.items() if value)


def key_text(key: bytes | None) -> str:
    """A record's key as text, as admit takes it; bytes that are no UTF-8 as hex; empty if there is none."""
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return (key or b"").hex()
