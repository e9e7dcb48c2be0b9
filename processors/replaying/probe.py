"""Would a record that returns fail again? Asked by dry runs, with the code and the rules of today.

Enters: a letter, and the record as it would return. Leaves: the reason for which it would fail or be refused, or
nothing. What can be told without trying: that it decodes as its topic's contract; for admit all it decides (names,
sizes, tenants, age); for plan that its key and partition are those of its case; for a connector that its system can be
asked so; for a pool that its model and prompt are there; for both that its deadline is still to come; and a bug of
ours that shows on the way: the letter may lie there for it, and this process may have the same code still. What only
trying tells (what a model or system says, what a case waits for) is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from aios.dlq import edits
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.decide import reason_of
from aios.processors.admit import Admit
from aios.processors.connectors import registry, understanding
from aios.processors.connectors.course import Answer
from aios.processors.plan import Plan
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import ConnectorRequested, EventRefused, InferenceRequested
from aios.streams import installed, model_files, prompt_files
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.record import Outgoing, Record
from aios.streams.topics import EVENT_REFUSED
from aios.streams.topology import ADMIT, PLAN, POOLS, connecting

EXPIRED = "expired"
_SYSTEMS = {
    connecting(system).group: (name, cache(partial(registry.operations_of, system)))
    for name, system in installed.systems().items()
}
_POOLS = {stage.group: installed.pools()[stage.name] for stage in POOLS}


class _Nothing:
    """A state that remembers nothing: admit has none."""

    def get(self, key: bytes) -> bytes | None:  # noqa: ARG002 - as StateView
        return None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002 - as StateView
        return iter(())


class Probes:
    """A Probe (jobs.py) with the cores of admit and plan, and what connectors and pools are made of."""

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
            elif letter.group in _SYSTEMS:
                return self._asks_in_vain(letter.group, record, now_ms)
            elif letter.group in _POOLS:
                return self._unanswerable(letter.group, record, now_ms)
            elif (topic := edits.topic_of(letter.orig_topic)) is not None:
                self._codec.decode_any(record.value, topic)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - as a stage that tries it would: whatever nobody named is unknown
            return reason_of(error)
        return ""

    def _refused(self, record: Record, now_ms: int) -> str:
        """What admit would refuse it for; empty if it became a case. Raises what it raises."""
        for out in self._admit.step(record, _Nothing(), now_ms).outputs:
            if out.topic == EVENT_REFUSED.name:
                return f"refused: {self._codec.decode(out.value, EventRefused).reason}"
        return ""

    def _asks_in_vain(self, group: str, record: Record, now_ms: int) -> str:
        """Why a system's command would be answered, and nothing asked of the system. Raises what decoding raises."""
        name, operations = _SYSTEMS[group]
        command = self._codec.decode(record.value, ConnectorRequested)
        asked = understanding.understood(name, operations, command)
        if isinstance(asked, Answer):
            return f"{asked.status}: {asked.word}"
        return EXPIRED if command.deadline_at <= now_ms else ""

    def _unanswerable(self, group: str, record: Record, now_ms: int) -> str:
        """Why a pool's command would be answered without its model. Raises what decoding raises."""
        request = self._codec.decode(record.value, InferenceRequested)
        try:
            if request.model.partition("@")[0] != _POOLS[group].model:
                return "failed: other_model"
            model_files.card(request.model)
        except ConfigError:
            return "failed: unknown_model"
        try:
            if request.prompt and prompt_files.unanswerable(request.prompt, request.model):
                return "failed: unevaluated_prompt"
        except ConfigError:
            return "failed: unknown_prompt"
        return EXPIRED if request.deadline_at <= now_ms else ""


def decoded(codec: Codec, letter: DeadLetter, value: bytes | None) -> Any:
    """A letter's value as an edit would find it, for filters; None if it does not decode. Raises Unavailable."""
    topic = edits.topic_of(letter.orig_topic)
    if topic is None:
        return None
    try:
        return edits.as_written(codec, topic, value)[1]
    except SchemaMismatch:
        return None
