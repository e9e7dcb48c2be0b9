"""outcomes: where every case stands, in Valkey, for those who ask and those who wait.

Enters: audit.recorded, case.decided, event.refused and review.requested. Leaves: the keys of
streams/outcome_store.py, but those of dead letters, which are sinks/letters.py's. Guaranteed: repeats and reordering
across topics change nothing (outcome_writes.py); an offset moves only after its write; Valkey away pauses, and
dead-letters nothing.

An emptied Valkey is noticed and filled again (epoch_store.py). What a rebuild covers: every record up to the ends it
saw, so also those whose offsets had moved. What it cannot bring back is `accepted` of cases that no stage has seen yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from aios.schemas.codec import Codec
from aios.sinks import shell
from aios.sinks.epoch_store import Emptied, EpochStore, Everything, Marks, Write, everything
from aios.sinks.outcome_writes import SCRIPTS, write_of
from aios.sinks.questions import Questions
from aios.sinks.shell import Shell
from aios.streams import failpoints, outcome_store, tracing
from aios.streams.config import Settings
from aios.streams.outcome_layout import EPOCH
from aios.streams.record import Record
from aios.streams.topology import OUTCOMES
from aios.streams.wall_clock import wall_ms

REBUILDING = "aios:rebuilding"  # who rebuilds; its guard while there is no epoch
IN_FLIGHT_MAX = 5_000
IDLE_MS = 1_000  # between two looks at the marker while nothing comes

MARKS = Marks(what="outcomes", epoch=EPOCH, rebuilding=REBUILDING, failpoint="outcomes.rebuilding", scripts=SCRIPTS)


class Store(EpochStore):
    """The writing side of streams/outcome_store.py."""

    def __init__(self, url: str, remembered: Path) -> None:
        super().__init__(url, remembered, MARKS)


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop."""
    store = Store(settings.redis.url, settings.home / "run" / "outcomes.epoch")
    try:
        async with (
            outcome_store.opened(settings.redis.url) as reading,
            shell.opened(OUTCOMES, settings, slot=slot, stop=stop, in_flight_max=IN_FLIGHT_MAX) as (desk, codec),
        ):
            sink = Sink(
                desk,
                store,
                Questions(reading),
                codec,
                lambda: everything(settings.kafka, OUTCOMES.inputs, lambda one: write_of(one, codec)),
            )
            if await desk.persevere(sink.ensure):
                await desk.intake.start()
                ready()
            while not stop.is_set():
                await sink.round()
    finally:
        await store.close()


class Sink:
    """One round after the other: take, write, finish."""

    def __init__(self, desk: Shell, store: Store, questions: Questions, codec: Codec, everything: Everything) -> None:
        self._desk = desk
        self._store = store
        self._questions = questions
        self._codec = codec
        self._everything = everything

    async def ensure(self) -> None:
        await self._store.ensure(self._everything)

    async def round(self) -> None:
        """Whatever came, or a look at the marker if nothing did; now and then one at the questions to people."""
        records = await self._desk.take(wait_ms_max=IDLE_MS)
        if self._questions.due:
            await self._questions.look(wall_ms())
        if not records:
            await self._desk.persevere(self.ensure)
            return
        read = await self._desk.understand(records, self._mean)

        async def rest() -> None:
            try:
                await self._store.apply([write for _, write in read.good])
            except Emptied:
                await self.ensure()
                raise
            failpoints.hit("outcomes.computed")

        if await self._desk.persevere(rest):
            self._desk.finish(record for record, _ in read.good)
            await self._desk.persevere(lambda: self._desk.give_up(read))

    def _mean(self, record: Record) -> Write:
        failpoints.hit("outcomes.decode", record.value or b"")
        traceparent = record.header("traceparent") or ""
        with tracing.span(OUTCOMES.name, traceparent, topic=record.topic, offset=record.offset):
            return write_of(record, self._codec)
