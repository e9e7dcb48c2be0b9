"""lake: Parquet for analysts.

Enters: decisions, refusals, review requests, what models took and cost, and the headers of dead letters. Leaves: files
under home/lake (lake_files.py, lake_tables.py). Guaranteed: an offset moves only after its row is on disk; a repeat
after kill -9 replaces what it wrote before, and never doubles; a full disk pauses.
A partition is flushed when its oldest row is flush_s_max old or records_max rows wait; small files are merged.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pyarrow as pa

from aios.sinks import lake_files, shell
from aios.sinks.lake_files import Row
from aios.sinks.lake_tables import Rows
from aios.sinks.shell import TAKE_MAX, Place, Read, Shell
from aios.streams import failpoints
from aios.streams.config import LakeSettings, Settings
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.record import Record
from aios.streams.topology import LAKE

IDLE_MS = 1_000

log = logging.getLogger(__name__)


def lake_folder(home: Path) -> Path:
    return home / "lake"


@dataclass(slots=True)
class _Buffer:
    """Rows of one partition that are not on disk. since: monotonic, of the oldest."""

    since: float
    rows: list[tuple[Record, Row]] = field(default_factory=list)


class Lake:
    """The sink; see the module."""

    def __init__(self, desk: Shell, folder: Path, rows: Rows, limits: LakeSettings) -> None:
        self._desk = desk
        self._folder = folder
        self._rows = rows
        self._limits = limits
        self._schemas = {name: table.schema for name, table in rows.tables.items()}
        self._buffers: dict[Place, _Buffer] = {}
        self._held: dict[Place, int] = {}  # first offset no file holds, as resumed or written
        self._last: dict[Place, int] = {}  # offset last taken
        self._small: dict[Place, dict[Path, list[Path]]] = {}  # files to be merged, by folder

    async def round(self) -> None:
        """Take what comes, flush what is due."""
        records = await self._desk.take(wait_ms_max=self._wait_ms())
        self._forget_lost(records)
        read = await self._desk.understand(records, self._mean)
        await asyncio.to_thread(self._keep, read)
        for place in read.paused:  # all of it comes again
            self._forget(place)
        if read.bad or read.paused:
            await self._desk.persevere(lambda: self._desk.give_up(read))
        await self.flush(everything=False)

    async def flush(self, *, everything: bool) -> None:
        """Write what is due, or everything, and finish it."""
        for place in [place for place in self._buffers if everything or self._due(place)]:
            await self._flush(place)

    def _mean(self, record: Record) -> Row:
        failpoints.hit("lake.decode", record.value or b"")
        return self._rows.of(record)

    def _wait_ms(self) -> int:
        """Until the next flush, or a while."""
        oldest = min((buffer.since for buffer in self._buffers.values()), default=None)
        if oldest is None:
            return IDLE_MS
        return max(0, min(IDLE_MS, int((oldest + self._limits.flush_s_max - monotonic()) * 1000)))

    def _due(self, place: Place) -> bool:
        waiting = sum(len(buffer.rows) for buffer in self._buffers.values())
        old = monotonic() - self._buffers[place].since >= self._limits.flush_s_max
        return old or waiting >= self._limits.records_max

    def _forget_lost(self, records: list[Record]) -> None:
        """A partition that left, also if it came back since, or begins again below where it was, is begun anew."""
        owns = self._desk.intake.owns
        for place in [place for place, buffer in self._buffers.items() if not owns(buffer.rows[0][0])]:
            self._forget(place)
        assigned = self._desk.intake.lag().keys()
        for place in [place for place in self._held if place not in assigned and place not in self._buffers]:
            self._forget(place)
        for record in records:
            place = record.topic, record.partition
            if record.offset <= self._last.get(place, -1):
                self._forget(place)
            self._last[place] = record.offset

    def _forget(self, place: Place) -> None:
        for known in (self._buffers, self._held, self._last, self._small):
            known.pop(place, None)

    def _keep(self, read: Read[Row]) -> None:
        """Buffer the rows; what files hold already is finished as it is."""
        for record, row in read.good:
            place = record.topic, record.partition
            if place not in self._held:
                tables = tuple(self._rows.written_to(record.topic))
                self._held[place] = lake_files.resume(self._folder, tables, *place, record.offset)
                self._small[place] = lake_files.small(self._folder, tables, *place)
            if record.offset < self._held[place]:
                self._desk.finish([record])
            else:
                self._buffers.setdefault(place, _Buffer(monotonic())).rows.append((record, row))

    async def _flush(self, place: Place) -> None:
        rows = self._buffers[place].rows
        if not all(self._desk.intake.owns(record) for record, _ in rows):
            self._forget(place)  # its next owner reads them again
            return

        written: list[Path] = []

        async def rest() -> None:
            written[:] = await asyncio.to_thread(
                lake_files.write, self._folder, [row for _, row in rows], self._schemas
            )
            failpoints.hit("lake.computed")

        if await self._desk.persevere(rest):
            self._desk.finish(record for record, _ in rows)
            del self._buffers[place]
            await asyncio.to_thread(self._merge, place, written)

    def _merge(self, place: Place, written: list[Path]) -> None:
        """Note new files, and make one of many. A disk that is full is the next flush's trouble."""
        for path in written:
            small = self._small[place].setdefault(path.parent, [])
            if not lake_files.is_small(path):
                small.clear()  # what is merged has no other file between its first and its last offset
                continue
            small.append(path)
            if len(small) < lake_files.MERGE_FILES:
                continue
            try:
                merged = lake_files.merge(small)
            except Unavailable as error:
                log.warning("small files stay: %s", error)
                return
            except pa.ArrowException as error:
                log.warning("%s/%d: files that cannot be merged stay as they are: %s", *place, type(error).__name__)
                small.clear()
                continue
            small[:] = [merged] if lake_files.is_small(merged) else []


def claim(folder: Path, cluster: str) -> None:
    """The lake belongs to one Kafka cluster, whose offsets name its files. Raises StateBroken for another's."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "cluster"
    if not mark.exists():  # two sinks write here: whichever comes later reads all of it
        beside = folder / f"cluster.{os.getpid()}"
        beside.write_text(cluster, encoding="utf-8")
        beside.replace(mark)
    if mark.read_text(encoding="utf-8") != cluster:
        raise StateBroken(f"{folder} was filled from another Kafka cluster: move it away, or set another home")


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop; what is buffered then is written before leaving."""
    in_flight_max = settings.lake.records_max + TAKE_MAX
    async with shell.opened(LAKE, settings, slot=slot, stop=stop, in_flight_max=in_flight_max) as (desk, codec):
        folder = lake_folder(settings.home)
        claim(folder, desk.cluster)
        sink = Lake(desk, folder, Rows(codec, personal=settings.lake.personal_fields), settings.lake)
        await desk.intake.start()
        ready()
        while not stop.is_set():
            await sink.round()
        await sink.flush(everything=True)
