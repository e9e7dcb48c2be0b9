"""The records of dead letters: where they stand, their bytes as they were, and what returns of them.

Enters: places, letters, edits. Leaves: records, as they first stood or as they return. Guaranteed: nothing returns that
is not the event that it was (dlq/edits.py), or that is too large to travel; a letter that ends whoever decodes it is
not decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from aios.dlq import edits, envelope, letter_states
from aios.dlq.commands import Refused
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.letter_states import Skip
from aios.processors.replaying.guard import Guard
from aios.processors.replaying.walk import Found, Source
from aios.schemas.codec import Codec
from aios.schemas.models import LetterRemembered, ReplayRemembered
from aios.streams.record import Outgoing, Record


class Records:
    """See the module. source: a new reader by place; it is kept until close()."""

    def __init__(self, codec: Codec, source: Callable[[], Source], guard: Guard, default_tenant: str) -> None:
        self._codec = codec
        self._open = source
        self._source: Source | None = None
        self._guard = guard
        self._default_tenant = default_tenant

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def fetch(self, place: tuple[str, int, int]) -> Record | None:
        """The record at a place. Raises Unavailable."""
        return self._reader().fetch([place]).get(place)

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Where a partition begins and ends. Raises Unavailable."""
        return self._reader().ends(topic, partition)

    def original(self, letter: DeadLetter, record: Record) -> Record | None:
        """A letter's record with its bytes and the producer's headers, also where they were left at another place.

        None if they are gone. Raises Unavailable.
        """
        if not letter.reference:
            return record
        topic, partition, offset = letter.reference.rsplit("/", 2)
        there = self.fetch((topic, int(partition), int(offset)))
        if there is None:
            return None
        ours = (header for header in record.headers if header[0].startswith(envelope.PREFIX))
        return replace(record, key=there.key, value=there.value, headers=(*envelope.foreign(there.headers), *ours))

    def check_kept(self, letter: DeadLetter, whole: Record, edited: bytes) -> None:
        """That an edit leaves the event that it was. Raises Refused, Unavailable."""
        check = partial(
            edits.check_kept, self._codec, letter, whole, edited=edited, default_tenant=self._default_tenant
        )
        if self._guard.is_deadly(letter):
            check(original=None)
        else:
            self._guard.decoding(letter, partial(check, original=whole.value))

    def returning(
        self, found: Found, known: LetterRemembered | None, job: ReplayRemembered, now_ms: int
    ) -> tuple[Outgoing, str] | Skip:
        """The record that returns, and the hash of its bytes before an edit; the job's edit is of what it selected."""
        letter, record = found.letter, found.record
        whole = self.original(letter, record)
        if whole is None:
            return Skip.GONE
        original = whole.value
        value, restored = original, False
        if known is not None and known.generation == letter.generation:
            restored = known.restored
            value = known.edit if known.edit is not None else value
        if job.edit and not found.along:
            if self._guard.is_deadly(letter):
                return Skip.UNFIT  # to patch it is to decode it
            topic = edits.topic_of(letter.orig_topic)
            try:
                value = self._guard.decoding(letter, partial(edits.patched, self._codec, topic, value, job.edit))
                self.check_kept(letter, whole, value)
            except Refused:
                return Skip.UNFIT
        out = letter_states.returned(
            letter,
            whole,
            value,
            job_id=job.job_id,
            by=job.run_by,
            at_ms=now_ms,
            hash_before=envelope.sha256(original) if value != original else "",
            restored=restored,
        )
        if out is None:
            return Skip.OVERSIZE
        return out, envelope.sha256(original) if value != original else ""

    def _reader(self) -> Source:
        if self._source is None:
            self._source = self._open()
        return self._source
