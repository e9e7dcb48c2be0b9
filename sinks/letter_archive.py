"""Dead letters that were discarded or expired, whole, as Avro container files in the lake.

    home/lake/dead_letters_archived/date=YYYY-MM-DD/<topic>-<partition>-<first>-<last>[.<number>].avro

Enters: letter.changed.v1 of these states, with its place. Leaves: one file a partition and batch, named by the changes'
topic, partition and offsets: the original bytes, key and headers, where each stood, why it failed, and who gave it up,
when and why. Guaranteed: a file is there whole or not at all (written beside, flushed to disk, renamed), and before the
changes' offsets move; what a death left unfinished goes with the partition's next file; a change that stands in a file
whose name covers it is not written again, so a repeat doubles nothing; no finished file is ever removed or replaced by
another (after a topic was recreated a number follows). A letter whose record was gone before its change came is
archived with what the change says and `found` false. At most RECORDS_MAX records are in memory at once.

Anybody reads them, without this system:

    from fastavro import reader
    rows = [row for path in glob("lake/dead_letters_archived/*/*.avro") for row in reader(open(path, "rb"))]

A process that lost its partition while it wrote can leave a file whose changes another writes too: change_id tells.
Rejected: Parquet (bytes of strangers, whole, are no columns), a file a letter (100,000 of them), the dead-letter topics
without an end (retention is a promise too: personal data goes when it is due, and who discards may delete a file).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count, groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

import fastavro

from aios.dlq import envelope
from aios.dlq.dead_letter import letter_of
from aios.dlq.index_layout import State
from aios.dlq.places import Places
from aios.schemas.models import LetterChanged
from aios.sinks.lake_files import TIME_MS_MAX, UNFINISHED
from aios.streams import failpoints
from aios.streams.errors import Unavailable
from aios.streams.record import Record

FOLDER = "dead_letters_archived"
ARCHIVED = frozenset({State.DISCARDED, State.EXPIRED})
RECORDS_MAX = 32  # read and held at once; each up to topics.DEAD_LETTER_BYTES_MAX, and the same by reference

_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)(\.\d+)?\.avro")
_TEXTS = ("group", "stage", "tenant", "reason", "class", "fingerprint", "error_type", "error_where", "error_message")
_ORIGIN = ("orig_topic", "orig_partition", "orig_offset", "orig_timestamp", "attempts")


def _field(name: str, kind: Any, doc: str = "") -> dict[str, Any]:
    return {"name": name, "type": kind} | ({"doc": doc} if doc else {})


_HEADER = {
    "type": "record",
    "name": "Header",
    "fields": [_field("name", "string"), _field("value", ["null", "bytes"])],
}
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "ArchivedDeadLetter",
        "namespace": "aios.dlq",
        "fields": [
            _field("change_id", "string", "Of letter.changed.v1; the same change has the same id."),
            _field("letter_id", "string"),
            _field("generation", "int", "How often it had come back before."),
            _field("state", "string", "discarded or expired."),
            _field("by", "string", "Principal."),
            _field("why", "string", "What the principal said."),
            _field("job_id", "string", "Replay job; empty for a single act."),
            _field("changed_at", "long", "Unix ms."),
            _field("changed_place", "string", "letter.changed.v1's own topic/partition/offset."),
            _field("found", "boolean", "Whether its record was still there; without, the fields below are empty."),
            _field("place", "string", "Where it stood: topic/partition/offset."),
            _field("written_at", "long", "Broker's time of the dead letter, Unix ms."),
            _field("key", ["null", "bytes"]),
            _field("value", ["null", "bytes"], "The original bytes, also of one that stood by reference."),
            _field("headers", {"type": "array", "items": _HEADER}, "All of them, in order."),
            *(_field(name, "string") for name in _TEXTS),
            *(_field(name, "string" if name == "orig_topic" else "long") for name in _ORIGIN),
        ],
    }
)


class Given(NamedTuple):
    """A change with the record that brought it."""

    record: Record
    change: LetterChanged


class Archive:
    """Not for several threads at once. lake: its folder."""

    def __init__(self, lake: Path, places: Places) -> None:
        self._folder = lake / FOLDER
        self._places = places

    def keep(self, changes: Iterable[Given]) -> int:
        """Write those that no file covers; on disk when it returns. How many were written.

        Raises Unavailable: Kafka is away, or the disk is full.
        """
        wanted = sorted(
            (one for one in changes if one.change.state in ARCHIVED),
            key=lambda one: (one.record.topic, one.record.partition, one.record.offset),
        )
        written = 0
        for place, part in groupby(wanted, lambda one: (one.record.topic, one.record.partition)):
            batch = list(part)
            held = _held(self._folder, *place, batch[0].record.offset, batch[-1].record.offset)
            fresh = [one for one in batch if one.change.change_id not in held]
            if fresh:
                _clear(self._folder, *place)
                self._write(fresh)
                written += len(fresh)
        return written

    def _write(self, changes: Sequence[Given]) -> None:
        first, last = changes[0].record, changes[-1].record
        seconds = min(max(first.timestamp_ms, 0), TIME_MS_MAX) / 1000
        folder = self._folder / f"date={datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
        path = _free(folder / f"{first.topic}-{first.partition}-{first.offset}-{last.offset}.avro")
        beside = path.with_name(path.name + UNFINISHED)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                fastavro.writer(file, SCHEMA, self._rows(changes), codec="deflate")
                file.flush()
                os.fsync(file.fileno())
            failpoints.hit("letters.unfinished")
            beside.replace(path)
            _sync(folder)
        except OSError as error:
            raise Unavailable(f"the lake cannot be written: {error.strerror or type(error).__name__}") from error

    def _rows(self, changes: Sequence[Given]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(changes), RECORDS_MAX):
            part = changes[start : start + RECORDS_MAX]
            found = self._places.fetch((one.change.topic, one.change.partition, one.change.offset) for one in part)
            referred = {at: place for at, one in found.items() if (place := envelope.reference(one)) is not None}
            originals = self._places.fetch(referred.values()) if referred else {}
            for one in part:
                at = (one.change.topic, one.change.partition, one.change.offset)
                record = found.get(at)
                yield row(one, record, originals.get(referred[at]) if at in referred else record)


def row(given: Given, record: Record | None, original: Record | None) -> dict[str, Any]:
    """One archived letter. record: the dead letter's; original: of which key and value are kept."""
    change = given.change
    letter = None if record is None else letter_of(record)
    said: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_ORIGIN, 0) | {"orig_topic": ""}
    said |= {"group": change.group, "tenant": change.tenant}
    if letter is not None:
        plain = letter.plain()
        named = {"class": "kind", "error_type": "error", "error_where": "where", "error_message": "message"}
        said = {name: plain[named.get(name, name)] for name in (*_TEXTS, *_ORIGIN)}
    place = given.record
    return said | {
        "change_id": change.change_id,
        "letter_id": change.letter_id,
        "generation": change.generation,
        "state": change.state,
        "by": change.by,
        "why": change.reason,
        "job_id": change.job_id,
        "changed_at": change.at,
        "changed_place": f"{place.topic}/{place.partition}/{place.offset}",
        "found": record is not None and original is not None,
        "place": f"{change.topic}/{change.partition}/{change.offset}",
        "written_at": 0 if record is None else record.timestamp_ms,
        "key": None if original is None else original.key,
        "value": None if original is None else original.value,
        "headers": [{"name": name, "value": value} for name, value in (record.headers if record else ())],
    }


def _held(folder: Path, topic: str, partition: int, first: int, last: int) -> set[str]:
    """Ids of the changes in the finished files that cover any of these offsets of a partition."""
    held: set[str] = set()
    for path in folder.glob(f"date=*/{topic}-{partition}-*.avro"):
        match = _NAME.fullmatch(path.name)
        if match is None or match["topic"] != topic or int(match["partition"]) != partition:
            continue
        if int(match["first"]) <= last and first <= int(match["last"]):
            with path.open("rb") as file:
                held.update(cast(dict[str, Any], one)["change_id"] for one in fastavro.reader(file))
    return held


def _clear(folder: Path, topic: str, partition: int) -> None:
    """Take away what a death left half written: the next file need not have its name."""
    for path in folder.glob(f"date=*/{topic}-{partition}-*{UNFINISHED}"):
        path.unlink(missing_ok=True)


def _free(path: Path) -> Path:
    """This name, or with a number, if another file has it."""
    numbered = (path.with_name(f"{path.stem}.{number}.avro") for number in count(1))
    return path if not path.exists() else next(one for one in numbered if not one.exists())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
