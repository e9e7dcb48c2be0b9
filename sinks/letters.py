"""letters: where every dead letter stands, in Valkey, and what became of those that were given up, in the lake.

Enters: the dead letters of every stage, this one's own too, and letter.changed. Leaves: the keys of
dlq/index_layout.py; Avro container files of discarded and expired letters (letter_archive.py); how long the oldest has
waited, as a metric and from half of the retention on as a warning. Guaranteed: repeats and reordering across topics
change nothing (letter_writes.py); an offset moves only after the write and the file; no record of a dead-letter topic
ever fails here, so that this stage's own dead letters do not feed themselves; Valkey or Kafka away, or a full disk,
pauses and dead-letters nothing. An emptied Valkey is noticed and filled again (epoch_store.py); what the archive holds
is not touched by that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from aios.dlq.filters import Filter
from aios.dlq.index import LetterIndex
from aios.dlq.index_layout import EPOCH, UNRESOLVED
from aios.dlq.places import Places
from aios.schemas.codec import Codec
from aios.sinks import shell
from aios.sinks.epoch_store import Emptied, EpochStore, Everything, Marks, everything
from aios.sinks.lake import claim, lake_folder
from aios.sinks.letter_archive import Archive, Given
from aios.sinks.letter_writes import SCRIPTS, Meaning, meaning_of, sweep
from aios.sinks.shell import Shell
from aios.streams import failpoints, tracing
from aios.streams.config import Settings
from aios.streams.durations import DAY_MS
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import LETTERS
from aios.streams.wall_clock import wall_ms

REBUILDING = "aios:letters:rebuilding"  # who rebuilds; its guard while there is no epoch
IN_FLIGHT_MAX = 5_000
IDLE_MS = 1_000  # between two looks at the marker while nothing comes
LOOK_S = 15.0  # between two looks at the oldest
OLD_SHARE = 0.5  # of the retention: from here on somebody must know

WAITING = Gauge("aios_dead_letters_waiting", "Dead letters that wait for an operator.", ["group"])
OLDEST = Gauge(
    "aios_dead_letter_oldest_share",
    "Age of their oldest record as a share of the time in which it may return.",
    ["group"],
)
MARKS = Marks(what="dead letters", epoch=EPOCH, rebuilding=REBUILDING, failpoint="letters.rebuilding", scripts=SCRIPTS)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Ages:
    """Measures how old the records of letters that wait are, and says it once of each group when they are old.

    By the time of the record, as whether it may return goes by it: a letter that failed again is younger.
    """

    index: LetterIndex
    next_s: float = 0.0  # monotonic
    known: frozenset[str] = frozenset()
    old: frozenset[str] = frozenset()

    @property
    def due(self) -> bool:
        return time.monotonic() >= self.next_s

    async def look(self, now_ms: int) -> None:
        """Raises Unavailable."""
        self.next_s = time.monotonic() + LOOK_S
        waiting: dict[str, int] = {}
        oldest: dict[str, int] = {}  # only of groups that wait: the two questions are asked one after the other
        stood = await self.index.first_stood()
        for one in await self.index.groups(Filter(), states=UNRESOLVED):
            waiting[one.group] = waiting.get(one.group, 0) + one.count
            first = min(one.oldest_at, stood.get(one.group, one.oldest_at))
            oldest[one.group] = min(first, oldest.get(one.group, first))
        shares = {group: max(0, now_ms - at) / RETENTION_MS for group, at in oldest.items()}
        for group in self.known | waiting.keys():
            WAITING.labels(group).set(waiting.get(group, 0))
            OLDEST.labels(group).set(shares.get(group, 0.0))
        self.known = self.known | waiting.keys()
        old = frozenset(group for group, share in shares.items() if share >= OLD_SHARE)
        for group in sorted(old - self.old):
            log.warning(
                "dead letters of %s: %d wait, the oldest record is %d days old, and after %d none returns. Look at "
                "`aios dlq groups --group %s`, then replay or discard",
                *(group, waiting[group], (now_ms - oldest[group]) // DAY_MS, RETENTION_MS // DAY_MS, group),
            )
        self.old = old


class Sink:
    """One round after the other: take, write, archive, finish."""

    def __init__(  # noqa: PLR0917 - what a sink stands on
        self, desk: Shell, store: EpochStore, archive: Archive, codec: Codec, ages: Ages, everything: Everything
    ) -> None:
        self._desk = desk
        self._store = store
        self._archive = archive
        self._codec = codec
        self._ages = ages
        self._everything = everything

    async def ensure(self) -> None:
        await self._store.ensure(self._everything)

    async def round(self) -> None:
        """Whatever came, or a look at the marker if nothing did."""
        records = await self._desk.take(wait_ms_max=IDLE_MS)
        if self._ages.due:
            await self._look()
        if not records:
            await self._desk.persevere(self.ensure)
            return
        read = await self._desk.understand(records, self._mean)
        if not await self._desk.persevere(lambda: self._rest(read.good)):
            return
        self._desk.finish(record for record, _ in read.good)
        await self._desk.persevere(lambda: self._desk.give_up(read))

    async def _rest(self, good: list[tuple[Record, Meaning]]) -> None:
        """Everything where it belongs. Raises Unavailable; then once more from the beginning."""
        try:
            await self._store.apply([meaning.write for _, meaning in good if meaning.write is not None])
        except Emptied:
            await self.ensure()
            raise
        given = [Given(record, meaning.change) for record, meaning in good if meaning.change is not None]
        await asyncio.to_thread(self._archive.keep, given)
        failpoints.hit("letters.computed")

    async def _look(self) -> None:
        """Sweep and measure; what is away is said by the next round."""
        now_ms = wall_ms()
        try:
            await self._store.apply([sweep(now_ms)])
            await self._ages.look(now_ms)
        except Unavailable as error:
            log.info("ages of dead letters are not known now: %s", error)

    def _mean(self, record: Record) -> Meaning:
        failpoints.hit("letters.decode", record.value or b"")
        traceparent = record.header("traceparent") or ""
        with tracing.span(LETTERS.name, traceparent, topic=record.topic, offset=record.offset):
            return meaning_of(record, self._codec)


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop."""
    store = EpochStore(settings.redis.url, settings.home / "run" / "letters.epoch", MARKS)
    index = LetterIndex(settings.redis.url, connections_max=1)
    places = Places(settings.kafka)
    try:
        async with shell.opened(LETTERS, settings, slot=slot, stop=stop, in_flight_max=IN_FLIGHT_MAX) as (desk, codec):
            folder = lake_folder(settings.home)
            claim(folder, desk.cluster)
            sink = Sink(
                desk,
                store,
                Archive(folder, places),
                codec,
                Ages(index),
                lambda: everything(settings.kafka, LETTERS.inputs, lambda one: meaning_of(one, codec).write),
            )
            if await desk.persevere(sink.ensure):
                await desk.intake.start()
                ready()
            while not stop.is_set():
                await sink.round()
    finally:
        places.close()
        await index.close()
        await store.close()
