"""A store in Valkey that notices when it was emptied, and is filled from the topics again.

Enters: writes (scripts by name, their keys and arguments), and on demand the writes of every record there is. Leaves:
keys in Valkey. Guaranteed: every write compares a marker, a random epoch, with the one this process knows, and changes
nothing when it differs. Missing, or not the one this home last saw: nothing is written until everything has been read
from the topics again. While a rebuild runs there is no marker, readers are told so instead of "not found", and other
processes of the stage hold their records. A rebuild that dies starts again from nothing lost: what it wrote is written
once more, so writes must mean the same however often and in whatever order they come.
Not noticed: a Valkey that lost only its last second (power loss with its append-only file on `everysec`, a failover to
a lagging replica). Delete the marker, and everything is read again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from redis.exceptions import NoScriptError, RedisError

from aios.schemas.errors import AiosError, Unavailable, Verdict
from aios.streams import failpoints, outcome_store, whole
from aios.streams.config import KafkaSettings
from aios.streams.kafka import read_all
from aios.streams.record import Record
from aios.streams.topics import Topic

REBUILD_MS_MAX = 6_000  # without a sign of life from who rebuilds, another may
REBUILD_BATCH = 2_000
CONNECTIONS_MAX = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Write:
    """One call of a script: its name, the keys after the guard's, the arguments after the guard's value."""

    script: str
    keys: tuple[str, ...]
    args: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """What one sink's store is known by. epoch, rebuilding: keys; the second is the guard while there is no first.

    failpoint: visited before each batch of a rebuild. scripts: by name; each compares KEYS[1] with ARGV[1] first and
    returns 0, changing nothing, when they differ.
    """

    what: str  # for the log
    epoch: str
    rebuilding: str
    failpoint: str
    scripts: Mapping[str, str]


Everything = Callable[[], Generator[Write, None, None]]
"""The writes of every record in the topics, read anew at each call."""


class Emptied(Unavailable):
    """The marker is not the one we know: Valkey was emptied, replaced or rebuilt by another process."""


class EpochStore:
    """The writing side of Valkey. remembered: file that keeps the epoch this home last saw."""

    def __init__(self, url: str, remembered: Path, marks: Marks) -> None:
        self._marks = marks
        self._redis = outcome_store.connect(url, connections_max=CONNECTIONS_MAX)
        self._remembered = remembered
        self._shas: dict[str, str] = {}
        self.epoch = ""

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def apply(self, writes: Sequence[Write]) -> None:
        """All of them, in one round trip. Raises Emptied (some may be written then) and Unavailable."""
        await self._apply(writes, self._marks.epoch, self.epoch)

    async def ensure(self, everything: Everything) -> None:
        """Return when the marker stands and all that the topics hold is here. Raises Unavailable; then ask again."""
        epoch = await self._ask("GET", self._marks.epoch)
        if epoch is None:
            await self._rebuild_emptied(everything)
        elif epoch != self.epoch:
            if self._recall() not in ("", epoch):
                log.warning(
                    "Valkey holds %s of another epoch than this home last saw: reading all again", self._marks.what
                )
                await self._refill(everything, self._marks.epoch, epoch)
            self._adopt(epoch)

    async def _rebuild_emptied(self, everything: Everything) -> None:
        token = secrets.token_hex(16)
        if not await self._ask("SET", self._marks.rebuilding, token, "NX", "PX", REBUILD_MS_MAX):
            raise Unavailable("another process reads the topics into Valkey")
        log.info("Valkey holds no %s: reading everything from the topics", self._marks.what)
        alive = asyncio.create_task(self._stay_alive())
        try:
            count = await self._refill(everything, self._marks.rebuilding, token)
        finally:
            alive.cancel()
        if not await self._ask("EVAL", _DONE, 2, self._marks.rebuilding, self._marks.epoch, token):
            raise Emptied("Valkey was emptied while it was filled")
        log.info("Valkey holds %s of %d records", self._marks.what, count)
        self._adopt(token)

    async def _refill(self, everything: Everything, guard: str, value: str) -> int:
        count = 0
        async for batch in _batches(everything):
            failpoints.hit(self._marks.failpoint)
            await self._apply(batch, guard, value)
            count += len(batch)
        return count

    async def _stay_alive(self) -> None:
        """While topics are read that hold nothing, too. A lock that is gone stays gone."""
        while True:
            await asyncio.sleep(REBUILD_MS_MAX / 3000)
            with suppress(Unavailable):
                await self._ask("PEXPIRE", self._marks.rebuilding, REBUILD_MS_MAX)

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
            self._shas = {name: await self._redis.script_load(text) for name, text in self._marks.scripts.items()}
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
        """And remember it. Where that cannot be written, what was remembered stays: the next start reads all again."""
        self.epoch = epoch
        try:
            self._remembered.parent.mkdir(parents=True, exist_ok=True)
            whole.write(self._remembered, epoch)
        except OSError as error:
            log.warning("the epoch of %s is not remembered: %s", self._marks.what, error.strerror)

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


def everything(
    kafka: KafkaSettings, topics: Iterable[Topic], meaning: Callable[[Record], Write | None]
) -> Generator[Write, None, None]:
    """What every record of the topics means, up to where they end now. Raises Unavailable.

    A record that cannot be understood is left out: the group settles it when it comes to it, or has already.
    """
    for topic in topics:
        for record in read_all(kafka, topic.name):
            try:
                write = meaning(record)
            except Exception as error:  # of whatever kind: one record would keep the store empty for good
                if isinstance(error, AiosError) and error.verdict is Verdict.PAUSE:
                    raise
                log.info("left out %s/%d/%d: %s", record.topic, record.partition, record.offset, type(error).__name__)
                continue
            if write is not None:
                yield write


async def _batches(everything: Everything) -> AsyncIterator[list[Write]]:
    """Read in a thread, so that reading never holds up what else this process does."""
    writes = everything()
    try:
        while batch := await asyncio.to_thread(lambda: list(islice(writes, REBUILD_BATCH))):
            yield batch
    finally:
        await asyncio.to_thread(writes.close)
