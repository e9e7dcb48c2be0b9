"""Would a record that returns fail again? Asked by dry runs, with the code and the rules of today.

Enters: a letter, and the record as it would return. Leaves: the reason for which it would fail or be refused, or
nothing. What can be told without trying: that it decodes as its topic's contract; for admit all it decides (names,
sizes, tenants, age); for plan that its key and partition are those of its case. What only trying tells (a model, a
bug, what a case waits for) is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aios.dlq import edits
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.decide import reason_of
from aios.processors.admit import Admit
from aios.processors.plan import Plan
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import EventRefused
from aios.streams.errors import AiosError, Unavailable
from aios.streams.record import Outgoing, Record
from aios.streams.topics import EVENT_REFUSED
from aios.streams.topology import ADMIT, PLAN


class _Nothing:
    """A state that remembers nothing: admit has none."""

    def get(self, key: bytes) -> bytes | None:  # noqa: ARG002 - as StateView
        return None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002 - as StateView
        return iter(())


class Probes:
    """A Probe (jobs.py) with the cores of admit and plan."""

    def __init__(self, codec: Codec, admit: Admit, plan: Plan) -> None:
        self._codec = codec
        self._admit = admit
        self._plan = plan

    def __call__(self, letter: DeadLetter, out: Outgoing, now_ms: int) -> str:
        offset, partition = letter.place[2], out.partition or 0
        record = Record(out.topic, partition, offset, letter.written_at, out.key, out.value, out.headers)
        try:
            if letter.group == ADMIT.group:
                return self._refused(record, now_ms)
            if letter.group == PLAN.group:
                self._plan.check(record)
            elif (topic := edits.topic_of(letter.orig_topic)) is not None:
                self._codec.decode_any(record.value, topic)
        except Unavailable:
            raise
        except AiosError as error:
            return reason_of(error)
        return ""

    def _refused(self, record: Record, now_ms: int) -> str:
        """What admit would refuse it for; empty if it became a case. Raises what it raises."""
        for out in self._admit.step(record, _Nothing(), now_ms).outputs:
            if out.topic == EVENT_REFUSED.name:
                return f"refused: {self._codec.decode(out.value, EventRefused).reason}"
        return ""


def decoded(codec: Codec, letter: DeadLetter, value: bytes | None) -> Any:
    """A letter's value as an edit would find it, for filters; None if it does not decode. Raises Unavailable."""
    topic = edits.topic_of(letter.orig_topic)
    if topic is None:
        return None
    try:
        return edits.as_written(codec, topic, value)[1]
    except SchemaMismatch:
        return None
