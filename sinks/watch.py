"""watch: what models say and workflows decide, held against how they began; canaries, held against who serves beside.

Enters: inference.completed, case.decided, of audit.recorded what plan could not use of an answer and what people chose,
of pools' dead letters those that ended their engine, which canaries there are (model.activated, as a table). Leaves:
model.drifted when a window has moved; model.activated without the canary, and its audit, when the canary misbehaves;
metrics; the state, in Valkey, where `aios model watch` reads it. Guaranteed: state and positions are written at once,
before an offset moves, so that a record counts once whatever restarts; a finding and a return are written once
(watch_tell.py); memory is bounded (watch_state.py); Valkey or Kafka away pauses, and dead-letters nothing; what is a
dead letter already is not decoded.

After a restart the state comes from Valkey; where Valkey was emptied, from the topics, as far as they reach back
(epoch_store.py): what such a reading finds is history, and is not told again. The stage has one process, since a
comparison needs all answers: a second one fences the first as soon as it has something to tell.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import cast

from prometheus_client import Counter, Gauge

from aios.dlq import envelope
from aios.schemas.codec import Codec
from aios.schemas.errors import AiosError, Reason, Verdict
from aios.schemas.models import ModelActivated
from aios.sinks import shell
from aios.sinks.epoch_store import Emptied, EpochStore, Everything, Marks, Write
from aios.sinks.shell import TAKE_MAX, Shell
from aios.sinks.watch_state import Drifted, Ended, Seen, State, may_count, read_back
from aios.sinks.watch_tell import Return, Teller
from aios.streams import activations, failpoints, slots, tracing
from aios.streams.config import KafkaSettings, Settings, WatchSettings
from aios.streams.errors import StateBroken
from aios.streams.kafka import partitions_of, read_all
from aios.streams.record import Record
from aios.streams.reference import ReferenceTable
from aios.streams.topics import AUDIT_RECORDED
from aios.streams.topology import POOLS, WATCH

IN_FLIGHT_MAX = 5_000
GATHER_S = 1.0  # between two rounds that are not full: each writes every series that moved, whole
IDLE_MS = 1_000  # between two looks at the marker and at the canaries while nothing comes
EPOCH = "aios:watch:epoch"
REBUILDING = "aios:watch:rebuilding"
FIELDS_MAX = 50  # of one write of a rebuild
AHEAD_KIB_MAX = "1024"  # of each partition, while all are read side by side
PUT, CLEAR = "put", "clear"
SCRIPTS = {
    PUT: """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[i])
  else redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return 1
""",
    CLEAR: """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
return 1
""",
}
MARKS = Marks(what="watches", epoch=EPOCH, rebuilding=REBUILDING, failpoint="watch.rebuilding", scripts=SCRIPTS)

DISTANCE = Gauge("aios_drift_distance", "Share of answers that lie elsewhere than at first.", ["subject", "measure"])
MOVED = Gauge("aios_drift_moved", "1 while the last window is beyond its limit.", ["subject", "measure"])
FOUND = Counter("aios_drift_found", "Moves that were told.", ["measure"])
CANARY = Gauge("aios_canary", "A canary beside who serves the rest.", ["model", "side", "measure"])
RETURNED = Counter("aios_canary_returned", "Canaries that went back.", ["model"])

_ANY = replace(WATCH.retries, contracts=tuple(contract for topic in WATCH.reads for contract in topic.contracts))
_TOPICS = {topic.name: topic for topic in WATCH.reads}
_LETTERS = frozenset(pool.dead_letters.name for pool in POOLS)

log = logging.getLogger(__name__)


def state_key(cluster: str) -> str:
    """Hash: what watch_state.written() names. Positions are of one Kafka cluster, and so is what stands beside them."""
    return f"aios:watch:{cluster}"


def event_of(record: Record, codec: Codec) -> Seen:
    """Raises SchemaMismatch or Unavailable."""
    if record.topic in _LETTERS:
        killed = envelope.headers_said(record.headers).get("reason") == Reason.KILLS_ITS_PROCESS
        return Ended(record.header(slots.MODEL) or "") if killed else None
    if record.topic == AUDIT_RECORDED.name and not may_count(record.value or b""):
        return None
    return cast(Seen, codec.decode_any(record.value, _TOPICS.get(record.topic, _ANY)))


class Store(EpochStore):
    """Where the state rests."""

    def __init__(self, url: str, remembered: Path, key: str) -> None:
        super().__init__(url, remembered, MARKS)
        self._key = key

    async def put(self, fields: dict[str, str]) -> None:
        """All of them at once. Raises Emptied and Unavailable."""
        await self.apply([put(self._key, fields)])

    async def fields(self) -> dict[str, str]:
        """Everything that was put. Raises Unavailable."""
        return dict(await self._ask("HGETALL", self._key))


def put(key: str, fields: dict[str, str]) -> Write:
    return Write(PUT, (key,), tuple(part for pair in fields.items() for part in pair))


def from_the_topics(
    kafka: KafkaSettings, codec: Codec, limits: WatchSettings, canaries: Iterable[ModelActivated], key: str
) -> Generator[Write, None, None]:
    """The state after every record there is. Raises Unavailable."""
    state = State(limits)
    state.follow(canaries)
    for topic in WATCH.inputs:
        for record in in_time(kafka, topic.name):
            try:
                state.take(record, event_of(record, codec))
            except AiosError as error:
                if error.verdict is Verdict.PAUSE:
                    raise
                log.info("left out %s/%d/%d: %s", record.topic, record.partition, record.offset, type(error).__name__)
    yield Write(CLEAR, (key,), ())
    fields = list(state.written().items())
    for at in range(0, len(fields), FIELDS_MAX):
        yield put(key, dict(fields[at : at + FIELDS_MAX]))


def in_time(kafka: KafkaSettings, topic: str) -> Iterator[Record]:
    """Every record of a topic by its time, over all partitions: what came first is what later ones are held against.

    Raises Unavailable, StateBroken.
    """
    lean = kafka.model_copy(update={"properties": {**kafka.properties, "queued.max.messages.kbytes": AHEAD_KIB_MAX}})
    with ExitStack() as opened:
        partitions = [
            opened.enter_context(closing(read_all(lean, topic, partitions=[one])))
            for one in partitions_of(kafka, topic)
        ]
        yield from heapq.merge(*partitions, key=lambda record: record.timestamp_ms)


class Sink:
    """One round after the other: take, compare, tell, remember, finish."""

    def __init__(  # noqa: PLR0917 - what a sink stands on
        self,
        desk: Shell,
        store: Store,
        teller: Teller,
        table: ReferenceTable[ModelActivated],
        codec: Codec,
        limits: WatchSettings,
        everything: Everything,
    ) -> None:
        self._desk = desk
        self._store = store
        self._teller = teller
        self._table = table
        self._codec = codec
        self._limits = limits
        self._everything = everything
        self._state = State(limits)
        self._epoch = ""  # of the state in hand
        self._untold: list[Drifted] = []

    async def ensure(self) -> None:
        """Return with the state that Valkey holds. Raises Unavailable, StateBroken."""
        await self._store.ensure(self._everything)
        if self._store.epoch != self._epoch:
            fields = await self._store.fields()
            try:
                self._state = read_back(fields, self._limits)
            except (ValueError, KeyError, TypeError) as error:
                raise StateBroken(
                    f"what Valkey holds of the watch is not what this version writes ({type(error).__name__}): delete "
                    f"its key {EPOCH}, and all is read from the topics again"
                ) from error
            self._epoch = self._store.epoch
            DISTANCE.clear()  # what the topics hold no more is in no state that was read from them
            MOVED.clear()
            self._measure(self._state.series)

    async def round(self) -> None:
        """Whatever came, or a look at the marker and the canaries if nothing did."""
        records = await self._desk.take(wait_ms_max=IDLE_MS)
        if not records:
            await self._desk.persevere(self.ensure)
            await self._desk.persevere(lambda: self._rest([]))
            return
        read = await self._desk.understand(records, self._mean)

        async def rest() -> None:
            await self._rest(read.good)
            failpoints.hit("watch.computed")

        if await self._desk.persevere(rest):
            self._desk.finish(record for record, _ in read.good)
            await self._desk.persevere(lambda: self._desk.give_up(read))
        if len(records) < TAKE_MAX:
            await self._desk.rest(GATHER_S)

    async def _rest(self, seen: Sequence[tuple[Record, Seen]]) -> None:
        """Until it is told and remembered. What was taken before Valkey or Kafka went away is not taken again."""
        await asyncio.to_thread(self._take, seen)
        await self._tell()
        changed = self._state.written()
        if not changed:
            return
        try:
            await self._store.put(changed)
        except Emptied:
            await self.ensure()
            raise
        self._measure(self._state.changed_series())
        self._state.saved()

    def _take(self, seen: Sequence[tuple[Record, Seen]]) -> None:
        self._state.follow(self._table.all().values())
        for record, event in seen:
            self._untold += self._state.take(record, event)

    async def _tell(self) -> None:
        returns = [Return(trial, verdict) for trial, verdict in await asyncio.to_thread(self._state.verdicts)]
        if not self._untold and not returns:
            return
        found, activated = await asyncio.to_thread(self._teller.tell, self._untold, returns)
        for one in found:
            FOUND.labels(one.measure).inc()
            log.warning(
                "%s of %s moved: %.0f %% of %d answers lie elsewhere than the first %d (limit %.0f %%). See "
                "`aios model watch`",
                *(one.measure, one.subject, 100 * one.value, one.window_count, one.reference_count, 100 * one.limit),
            )
        for after in activated:
            RETURNED.labels(after.model).inc()
            log.warning("%s", after.reason)
        self._untold.clear()
        for one_return in returns:
            self._state.end(one_return.trial.model)

    def _measure(self, keys: Iterable[tuple[str, str]]) -> None:
        for key in keys:
            series = self._state.series.get(key)
            if series is not None and series.windows:
                DISTANCE.labels(*key).set(series.distance)
                MOVED.labels(*key).set(series.moved)
            else:  # it made room for another, or begins anew
                DISTANCE.remove(*key)
                MOVED.remove(*key)
        CANARY.clear()  # of those that have ended
        for trial in self._state.trials.values():
            for name, side in (("stable", trial.stable), ("canary", trial.canary)):
                CANARY.labels(trial.model, name, "error_share").set(side.error_share)
                CANARY.labels(trial.model, name, "override_share").set(side.override_share)
                CANARY.labels(trial.model, name, "median_ms").set(side.median_ms)

    def _mean(self, record: Record) -> Seen:
        failpoints.hit("watch.decode", record.value or b"")
        traceparent = record.header("traceparent") or ""
        with tracing.span(WATCH.name, traceparent, topic=record.topic, offset=record.offset):
            return event_of(record, self._codec)


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop."""
    async with shell.opened(WATCH, settings, slot=slot, stop=stop, in_flight_max=IN_FLIGHT_MAX) as (desk, codec):
        key = state_key(desk.cluster)
        store = Store(settings.redis.url, settings.home / "run" / "watch.epoch", key)
        table = activations.models(settings.kafka, codec)
        teller = Teller(settings.kafka, codec)
        try:
            await asyncio.to_thread(table.start)
            sink = Sink(
                desk,
                store,
                teller,
                table,
                codec,
                settings.watch,
                lambda: from_the_topics(settings.kafka, codec, settings.watch, table.all().values(), key),
            )
            if await desk.persevere(sink.ensure):
                await desk.intake.start()
                ready()
            while not stop.is_set():
                await sink.round()
        finally:
            teller.close()
            await asyncio.to_thread(table.close)
            await store.close()
