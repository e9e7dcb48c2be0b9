"""Events that were passed over: below admit's position, with neither case nor refusal nor dead letter.

Enters: the source topics, every topic on which an event can have ended (case.admitted.v1, event.refused.v1, admit's
dead letters), and what waits to be tried again: the retry tiers and admit's own retry topic, from where their readers
have committed. Leaves: the events that none of them names, one after the other, in the form of dead letters of admit
that never failed. Guaranteed: what was written before the marks only, and SETTLED_AFTER_MS before the job was planned;
nothing older than the retention, for the topics with its end are kept no longer, and it could not return;
what is only slowed, by a breaker or because retry is down, for however long, is not taken for lost; one bit of memory
an offset. An event that is returned although it was only slow becomes no second case: its id, key and place are the
same.

Who reads what waits commits it once it stands where it goes: positions are asked for in the order of that way, and
before the ends, so that a record that moves on meanwhile is met at one place or the next. After a restart the topics
are read again, to their ends by then: what was found so far is not remembered, how far the job has come is.

Rejected: audit.recorded.v1 as the witness (it names the record that plan read, not the event's own place); retry topics
as a whole (what retry itself lost would never be found); waiting for longer (a breaker may be open for days).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from aios.dlq import envelope
from aios.dlq.dead_letter import DeadLetter, letter_of
from aios.dlq.filters import Filter
from aios.processors.replaying.walk import BlockWalk, Found, Nothing, Over, Passed, Source, place_of
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import CaseAdmitted, EventRefused, ReplayRemembered
from aios.streams import topics
from aios.streams.durations import HOUR_MS
from aios.streams.record import Record, Where, headers_of, key_text
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import ADMIT, RETRY

SETTLED_AFTER_MS = HOUR_MS  # what is younger may be on its way
BLOCK_RECORDS = 2_000
FETCH_MAX = 200
REASON = "missed"
SELECTORS = ("since", "until", "key", "tenant")  # of a filter; the tenant is its header's

WAITING = (*RETRY.reads, ADMIT.retries)
WITNESSES = (*WAITING, topics.CASE_ADMITTED, topics.EVENT_REFUSED, ADMIT.dead_letters)

_WAITING_NAMES = frozenset(topic.name for topic in WAITING)

Positions = Callable[[], Mapping[str, int]]
"""How far retry and admit have committed what they read: topic/partition → next offset. Raises Unavailable."""


class MissedWalk(BlockWalk):
    """A job's way over events that were passed over. cluster: Kafka's id. partitions: of a family."""

    def __init__(
        self,
        job: ReplayRemembered,
        source: Source,
        codec: Codec,
        *,
        cluster: str,
        selected: Filter,
        settled_after_ms: int,
        positions: Positions,
        partitions: int,
    ) -> None:
        super().__init__(job, source)
        self._codec = codec
        self._cluster = cluster
        self._filter = selected
        self._from_ms, self._before_ms = job.planned_at - RETENTION_MS, job.planned_at - settled_after_ms
        self._ends = dict(sorted(entered(job.marks).items()))
        self._lows = {one: min(source.ends(*place_of(one))[0], end) for one, end in self._ends.items()}
        self._named = {one: bytearray((end - self._lows[one]) // 8 + 1) for one, end in self._ends.items()}
        self._witnesses = self._read_witnesses(positions(), partitions)

    def read(self, over: Over) -> Found | Passed | Nothing:
        if any(islice(self._witnesses, 1)):
            return Nothing(over=False)
        return super().read(over)

    def _read_witnesses(self, positions: Mapping[str, int], partitions: int) -> Iterator[bool]:
        """Note every place that they name; True after each block. positions: asked for before the ends."""
        for topic in WITNESSES:
            for partition in range(topic.partitions(partitions)):
                low, high = self._source.ends(topic.name, partition)
                if topic in WAITING:
                    low = max(low, positions.get(f"{topic.name}/{partition}", 0))
                records = self._source.scan(topic.name, partition, low, high) if low < high else ()
                for count, record in enumerate(records, 1):
                    self._note(record)
                    if count % BLOCK_RECORDS == 0:
                        yield True

    def _note(self, record: Record) -> None:
        named = self._place_named(record)
        if named is None:
            return
        one, offset = f"{named[0]}/{named[1]}", named[2]
        if one in self._named and self._lows[one] <= offset < self._ends[one]:
            bit = offset - self._lows[one]
            self._named[one][bit // 8] |= 1 << bit % 8

    def _place_named(self, record: Record) -> Where | None:
        if record.topic in _WAITING_NAMES:
            first = envelope.origin(record)
            return first.topic, first.partition, first.offset
        if record.topic == ADMIT.dead_letters.name:
            letter = letter_of(record)
            return (letter.orig_topic, letter.orig_partition, letter.orig_offset) if letter else None
        kind: type[CaseAdmitted | EventRefused] = (
            CaseAdmitted if record.topic == topics.CASE_ADMITTED.name else EventRefused
        )
        try:
            event = self._codec.decode(record.value, kind)
        except SchemaMismatch:
            return None  # nobody of ours wrote it
        return event.source_topic, event.source_partition, event.source_offset

    def _fill(self, over: Over) -> bool:  # noqa: ARG002 - nothing is settled that nobody has seen
        """The next events that nobody names, if there are any among some offsets. False: that was all."""
        one = next((one for one, end in self._ends.items() if self._place.get(one, 0) < end), None)
        if one is None:
            return False
        topic, partition = place_of(one)
        first = max(self._place.get(one, 0), self._lows[one])
        wanted, upto = self._unnamed(one, first)
        for (_, _, offset), record in sorted(self._source.fetch((topic, partition, each) for each in wanted).items()):
            if self._from_ms <= record.timestamp_ms < self._before_ms:
                returning = replace(record, headers=headers(record, self._cluster))
                found = Found(as_letter(returning), returning, self._selects(record))
                self._block.append((found, {one: offset + 1}))
        self._block.append((None, {one: upto}))
        return True

    def _unnamed(self, one: str, first: int) -> tuple[list[int], int]:
        """At most FETCH_MAX offsets that nobody names, and how far they reach."""
        named, low, wanted = self._named[one], self._lows[one], list[int]()
        for offset in range(first, self._ends[one]):
            bit = offset - low
            if not named[bit // 8] >> bit % 8 & 1:
                wanted.append(offset)
                if len(wanted) == FETCH_MAX:
                    return wanted, offset + 1
        return wanted, self._ends[one]

    def _selects(self, record: Record) -> bool:
        """By SELECTORS; an event that nobody read has no more to ask about."""
        wanted = self._filter
        key, tenant = key_text(record.key), record.header("aios-tenant") or ""
        late = bool(wanted.until) and record.timestamp_ms >= wanted.until
        meant = wanted.key in ("", key) and wanted.tenant in ("", tenant)
        return wanted.since <= record.timestamp_ms and not late and meant


def entered(places: Mapping[str, int]) -> dict[str, int]:
    """Of these places, by topic/partition, those where events enter."""
    return {one: at for one, at in places.items() if envelope.is_input(place_of(one)[0])}


def as_letter(record: Record) -> DeadLetter:
    """As if it were a dead letter of admit, at its own place. record: with these headers."""
    told = letter_of(replace(record, topic=ADMIT.dead_letters.name))
    if told is None:
        raise ValueError("headers without an id")
    return replace(told, place=(record.topic, record.partition, record.offset))


def headers(record: Record, cluster: str) -> tuple[tuple[str, bytes | None], ...]:
    """What brings an event back to admit as what it was, at its first place and time; its id is a failure's there."""
    place = (record.topic, str(record.partition), str(record.offset))
    ours = {
        "id": ids.derive("dead-letter", cluster, *place, ADMIT.group),
        "tenant": record.header("aios-tenant") or "",
        "payload_sha256": envelope.sha256(record.value),
        "orig.topic": record.topic,
        "orig.partition": str(record.partition),
        "orig.offset": str(record.offset),
        "orig.timestamp": str(record.timestamp_ms),
        "orig.group": ADMIT.group,
        "reason": REASON,
        "stage": ADMIT.name,
    }
    return (
        *envelope.foreign(record.headers),
        *headers_of({f"{envelope.PREFIX}{name}": envelope.clipped(text) for name, text in ours.items()}),
    )
