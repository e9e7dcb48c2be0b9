"""outcomes: where every case stands, in Valkey, for those who ask and those who wait.

Enters: audit.recorded, case.decided, event.refused, review.requested and the headers of all dead letters. Leaves: the
keys of streams/outcome_store.py. Guaranteed: repeats and reordering across topics change nothing (outcome_writes.py);
an offset moves only after its write; Valkey away pauses, and dead-letters nothing.

An emptied Valkey is noticed by its marker, a random epoch that every write compares: missing, or not the one this home
last saw, and nothing is written until everything has been read from the topics again. While a rebuild runs there is no
marker, readers are told so instead of "not found", and other processes of this stage hold their records. A rebuild that
dies starts again from nothing lost: what it wrote is written once more.
What a rebuild covers: every record up to the ends it saw, so also those whose offsets had moved. What it cannot bring
back is `accepted` of cases that no stage has seen yet.
Not noticed: a Valkey that lost only its last second (power loss with its append-only file on `everysec`, a failover to
a lagging replica). Delete the key `aios:epoch`, and everything is read again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

from redis.exceptions import NoScriptError, RedisError

from aios.schemas.codec import Codec
from aios.sinks import shell
from aios.sinks.outcome_writes import SCRIPTS, Write, write_of
from aios.sinks.shell import Shell
from aios.streams import failpoints, outcome_store, tracing
from aios.streams.config import KafkaSettings, Settings
from aios.streams.errors import AiosError, Unavailable, Verdict
from aios.streams.kafka import read_all
from aios.streams.outcome_store import EPOCH
from aios.streams.record import Record
from aios.streams.topology import OUTCOMES

REBUILDING = "aios:rebuilding"  # who rebuilds; its guard while there is no epoch
REBUILD_MS_MAX = 6_000  # without a sign of life from who rebuilds, another may
REBUILD_BATCH = 2_000
IN_FLIGHT_MAX = 5_000
IDLE_MS = 1_000  # between two looks at the marker while nothing comes
CONNECTIONS_MAX = 4

log = logging.getLogger(__name__)
Everything = Callable[
    [], Generator[Write, None, None]
]  # the writes of every record in the topics, read anew at each call


class Emptied(Unavailable):
    """The marker is not the one we know: Valkey was emptied, replaced or rebuilt by another process."""


class Store:
    """The writing side of Valkey. remembered: file that keeps the epoch this home last saw."""

    def __init__(self, url: str, remembered: Path) -> None:
        self._redis = outcome_store.connect(url, connections_max=CONNECTIONS_MAX)
        self._remembered = remembered
        self._shas: dict[str, str] = {}
        self.epoch = ""

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def apply(self, writes: Sequence[Write]) -> None:
        """All of them, in one round trip. Raises Emptied (some may be written then) and Unavailable."""
        await self._apply(writes, EPOCH, self.epoch)

    async def ensure(self, everything: Everything) -> None:
        """Return when the marker stands and all that the topics hold is here. Raises Unavailable; then ask again."""
        epoch = await self._ask("GET", EPOCH)
        if epoch is None:
            await self._rebuild_emptied(everything)
        elif epoch != self.epoch:
            if self._recall() not in ("", epoch):
                log.warning("Valkey holds another epoch than this home last saw: reading everything again")
                await self._refill(everything, EPOCH, epoch)
            self._adopt(epoch)

    async def _rebuild_emptied(self, everything: Everything) -> None:
        token = secrets.token_hex(16)
        if not await self._ask("SET", REBUILDING, token, "NX", "PX", REBUILD_MS_MAX):
            raise Unavailable("another process reads the topics into Valkey")
        log.info("Valkey is empty: reading everything from the topics")
        alive = asyncio.create_task(self._stay_alive())
        try:
            count = await self._refill(everything, REBUILDING, token)
        finally:
            alive.cancel()
        if not await self._ask("EVAL", _DONE, 2, REBUILDING, EPOCH, token):
            raise Emptied("Valkey was emptied while it was filled")
        log.info("Valkey holds %d records of the topics", count)
        self._adopt(token)

    async def _refill(self, everything: Everything, guard: str, value: str) -> int:
        count = 0
        async for batch in _batches(everything):
            failpoints.hit("outcomes.rebuilding")
            await self._apply(batch, guard, value)
            count += len(batch)
        return count

    async def _stay_alive(self) -> None:
        """While topics are read that hold nothing, too. A lock that is gone stays gone."""
        while True:
            await asyncio.sleep(REBUILD_MS_MAX / 3000)
            with suppress(Unavailable):
                await self._ask("PEXPIRE", REBUILDING, REBUILD_MS_MAX)

    async def _apply(self, writes: Sequence[Write], guard: str, value: str) -> None:
        if not writes:
            return
        try:
            done = await self._run(writes, guard, value)
        except NoScriptError:  # the server was restarted
            self._shas.clear()
            done = await self._again(writes, guard, value)
        except RedisError as error:
            raise Unavailable(f"Valkey does not take writes: {type(error).__name__}") from error
        if not all(done):
            raise Emptied("Valkey was emptied or replaced")

    async def _again(self, writes: Sequence[Write], guard: str, value: str) -> list[Any]:
        try:
            return await self._run(writes, guard, value)
        except RedisError as error:
            raise Unavailable(f"Valkey does not take writes: {type(error).__name__}") from error

    async def _run(self, writes: Sequence[Write], guard: str, value: str) -> list[Any]:
        if not self._shas:
            self._shas = {name: await self._redis.script_load(text) for name, text in SCRIPTS.items()}
        pipe = self._redis.pipeline(transaction=False)
        for one in writes:
            pipe.execute_command(
                "EVALSHA", self._shas[one.script], len(one.keys) + 1, guard, *one.keys, value, *one.args
            )
        return await pipe.execute()

    async def _ask(self, *command: Any) -> Any:
        try:
            return await cast(Any, self._redis).execute_command(*command)
        except RedisError as error:
            raise Unavailable(f"Valkey does not answer: {type(error).__name__}") from error

    def _adopt(self, epoch: str) -> None:
        self.epoch = epoch
        self._remembered.parent.mkdir(parents=True, exist_ok=True)
        self._remembered.write_text(epoch, encoding="ascii")

    def _recall(self) -> str:
        with suppress(FileNotFoundError):
            return self._remembered.read_text(encoding="ascii")
        return ""


_DONE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""


def everything(kafka: KafkaSettings, codec: Codec) -> Generator[Write, None, None]:
    """What every record of the topics means, up to where they end now. Raises Unavailable.

    A record that cannot be understood is left out: the group settles it when it comes to it, or has already.
    """
    for topic in OUTCOMES.inputs:
        for record in read_all(kafka, topic.name):
            try:
                yield write_of(record, codec)
            except AiosError as error:
                if error.verdict is Verdict.PAUSE:
                    raise
                log.info("left out %s/%d/%d: %s", record.topic, record.partition, record.offset, type(error).__name__)


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop."""
    store = Store(settings.redis.url, settings.home / "run" / "outcomes.epoch")
    try:
        async with shell.opened(OUTCOMES, settings, slot=slot, stop=stop, in_flight_max=IN_FLIGHT_MAX) as (desk, codec):
            sink = Sink(desk, store, codec, lambda: everything(settings.kafka, codec))
            if await desk.persevere(sink.ensure):
                await desk.intake.start()
                ready()
            while not stop.is_set():
                await sink.round()
    finally:
        await store.close()


class Sink:
    """One round after the other: take, write, finish."""

    def __init__(self, desk: Shell, store: Store, codec: Codec, everything: Everything) -> None:
        self._desk = desk
        self._store = store
        self._codec = codec
        self._everything = everything

    async def ensure(self) -> None:
        await self._store.ensure(self._everything)

    async def round(self) -> None:
        """Whatever came, or a look at the marker if nothing did."""
        records = await self._desk.take(wait_ms_max=IDLE_MS)
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


async def _batches(everything: Everything) -> AsyncIterator[list[Write]]:
    """Read in a thread, so that reading never holds up what else this process does."""
    writes = everything()
    try:
        while batch := await asyncio.to_thread(lambda: list(islice(writes, REBUILD_BATCH))):
            yield batch
    finally:
        await asyncio.to_thread(writes.close)
