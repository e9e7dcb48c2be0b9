"""The files of the lake, and how a repeat replaces instead of doubling.

    home/lake/<table>/date=YYYY-MM-DD/<topic>-<partition>-<first>-<last>.parquet

table: the topic, also of records that come by the group's retry topic. first, last: offsets in the file; the date is
the broker's. Guaranteed:
- a file is there whole or not at all: written beside, flushed to disk, renamed;
- offsets are committed after their files rest, so after a crash a partition is read again from a position at or before
  what files already hold. Every flush ends where a commit does, so a file lies before that position or after it:
  resume() removes those after it, and they are written again, perhaps cut elsewhere. Where somebody set the group back
  into the middle of a file, its records are passed over instead.
- MERGE_FILES small files of a partition and date become one, after their offsets were finished: written beside,
  renamed, and then the small ones are removed. What a crash between the two leaves is covered by the large file, and
  goes at the next resume().
- a process that lost its partition while it wrote can leave a file whose records another writes too: the views of
  `aios query` show each topic, partition and offset once.
Rejected: names by time (a repeat would double), one table format with a log (Iceberg, Delta: a catalogue to run),
fixed offset ranges per file (a partition with little traffic would not be seen for days).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aios.streams import failpoints
from aios.streams.errors import Unavailable

_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet")
UNFINISHED = ".tmp"
MERGE_FILES = 32  # of one partition and date, each of them small
SMALL_BYTES = 8 << 20
SMALL_OFFSETS = 50_000  # what is merged is in memory unpacked, and a file of repetitive rows may unpack fiftyfold
TIME_MS_MAX = 253_402_300_799_999  # end of the year 9999


@dataclass(frozen=True, slots=True)
class Row:
    """One record as a row of a table. values: by column, without the columns of the place."""

    table: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    values: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """Table and date (of the broker's timestamp, UTC), as a path."""
        seconds = min(max(self.timestamp_ms, 0), TIME_MS_MAX) / 1000
        return f"{self.table}/date={datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"

    def plain(self) -> dict[str, Any]:
        return {
            **self.values,
            "kafka_topic": self.topic,
            "kafka_partition": self.partition,
            "kafka_offset": self.offset,
            "kafka_timestamp": self.timestamp_ms,
        }


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A finished file by its name."""

    path: Path
    topic: str
    partition: int
    first: int
    last: int


def existing(lake: Path, tables: Iterable[str], topic: str, partition: int) -> list[LakeFile]:
    """The finished files of one partition in these tables, by first offset."""
    found = [
        one
        for table in tables
        for path in (lake / table).glob(f"date=*/{topic}-{partition}-*.parquet")
        if (one := parse(path)) is not None and (one.topic, one.partition) == (topic, partition)
    ]
    return sorted(found, key=lambda one: (one.first, one.last))


def resume(lake: Path, tables: Sequence[str], topic: str, partition: int, position: int) -> int:
    """Prepare to write from this offset on; returns the first offset that no file holds. Removes what lies after."""
    held = position
    for one in existing(lake, tables, topic, partition):
        if one.first < held:
            held = max(held, one.last + 1)
        else:
            one.path.unlink(missing_ok=True)
    for table in tables:
        for path in (lake / table).glob(f"date=*/{topic}-{partition}-*{UNFINISHED}"):
            path.unlink(missing_ok=True)
    for one in _covered(existing(lake, tables, topic, partition)):
        one.path.unlink(missing_ok=True)
    return held


def _covered(found: Iterable[LakeFile]) -> Iterator[LakeFile]:
    """Those whose range lies in another's of the same table and date: merged already."""
    ends: dict[Path, int] = {}
    for one in sorted(found, key=lambda one: (one.first, -one.last)):
        if one.last <= ends.get(one.path.parent, -1):
            yield one
        ends[one.path.parent] = max(one.last, ends.get(one.path.parent, -1))


def small(lake: Path, tables: Sequence[str], topic: str, partition: int) -> dict[Path, list[Path]]:
    """Files that may be merged, by folder, by first offset: those behind the last one that may not.

    A merged file is named by its first and last offset, and what lies between them is taken for merged.
    """
    found: dict[Path, list[Path]] = {}
    for one in existing(lake, tables, topic, partition):
        files = found.setdefault(one.path.parent, [])
        if is_small(one.path):
            files.append(one.path)
        else:
            files.clear()
    return {folder: files for folder, files in found.items() if files}


def is_small(path: Path) -> bool:
    """Whether a finished file may be merged with others."""
    one = parse(path)
    return one is not None and one.last - one.first < SMALL_OFFSETS and path.stat().st_size < SMALL_BYTES


def merge(paths: Sequence[Path]) -> Path:
    """One file instead of these, all of one folder and partition. Raises Unavailable (disk full); all is as before."""
    known = [one for one in map(parse, paths) if one is not None]
    topic, partition = known[0].topic, known[0].partition
    first, last = min(one.first for one in known), max(one.last for one in known)
    path = paths[0].with_name(f"{topic}-{partition}-{first}-{last}.parquet")
    try:
        rows = pa.concat_tables([pq.read_table(one, partitioning=None) for one in paths], promote_options="default")
        places = {offset: place for place, offset in enumerate(rows["kafka_offset"].to_pylist())}
        _finish(rows.take([places[offset] for offset in sorted(places)]), path, "lake.merging")
    except OSError as error:
        raise Unavailable(f"the lake cannot be written: {error.strerror or type(error).__name__}") from error
    failpoints.hit("lake.merged")
    for one in paths:
        if one != path:
            one.unlink(missing_ok=True)
    return path


def write(lake: Path, rows: Iterable[Row], schemas: Mapping[str, pa.Schema]) -> list[Path]:
    """Rows of one partition: a file a table and date. On disk when it returns. schemas: by table.

    Raises Unavailable (disk full).
    """
    ordered = sorted(rows, key=lambda row: (row.folder, row.offset))
    try:
        return [
            _write_one(lake / folder, list(part), schemas) for folder, part in groupby(ordered, lambda row: row.folder)
        ]
    except OSError as error:
        raise Unavailable(f"the lake cannot be written: {error.strerror or type(error).__name__}") from error


def _write_one(folder: Path, rows: Sequence[Row], schemas: Mapping[str, pa.Schema]) -> Path:
    first, last = rows[0], rows[-1]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{first.topic}-{first.partition}-{first.offset}-{last.offset}.parquet"
    _finish(pa.Table.from_pylist([row.plain() for row in rows], schema=schemas[first.table]), path, "lake.unfinished")
    return path


def _finish(table: pa.Table, path: Path, failpoint: str) -> None:
    """The file whole and on disk, or not at all."""
    beside = path.with_name(path.name + UNFINISHED)
    pq.write_table(table, beside, compression="zstd")
    _sync(beside)
    failpoints.hit(failpoint)
    beside.replace(path)
    _sync(path.parent)


def parse(path: Path) -> LakeFile | None:
    """None for what is no file of the lake."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    return LakeFile(path, match["topic"], int(match["partition"]), int(match["first"]), int(match["last"]))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
