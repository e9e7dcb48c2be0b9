"""The hash chain of everything that happened: files of lines, each bound to the one before it.

Enters: records with their places in Kafka. Leaves: home/audit/chain-<first number>.jsonl, a line a record:

    {"hash": h_n, "n": n, "record": …}

    h_n = SHA-256(0x00 | h_(n-1) | canonical JSON of the record), hashes as 32 bytes, h_0 = 32 x 0x00

A file begins with a record of its own: the cluster, the hash it continues and the next offset of every partition, so
that a writer reads only the last file when it starts. The order is that of arrival at the one writer: a case's own
order is kept, because a case lives in one partition; between cases it says nothing.

Guaranteed: a line is written once for each place, whatever is repeated after kill -9; what append() returned from is
on disk; the head (number and hash) is then written outside the folder, so that a missing end is found. A line cut by
a crash is removed at the next start; a disk that is full leaves the file as it was. One writer: the lock is held for
as long as the process lives.
What a chain cannot show: that somebody who may write both folders rewrote everything. Keep a printed head elsewhere
(`aios audit verify` prints one, and checks one with --expect).
Rejected: Merkle trees and inclusion proofs (nobody here proves single records to outsiders yet), a database (a file
of lines is verified by thirty lines of anybody's code), a chain a tenant (a head to keep for each).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from aios.schemas import ids
from aios.streams import failpoints
from aios.streams.errors import StateBroken, Unavailable

START = bytes(32)
PREFIX = b"\x00"  # of a leaf, so that no node of a later tree can be taken for one
FILE_BYTES_MAX = 16 << 20  # a writer reads the last file when it starts: a second


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be chained. record: JSON-able; names no place of its own."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    record: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}"

    def plain(self) -> dict[str, Any]:
        """As it is hashed."""
        place = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp_ms": self.timestamp_ms,
        }
        return {**self.record, "place": place}


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a chain; n = 0: none."""

    n: int
    hash: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line as read. number: 1-based within its file."""

    path: Path
    number: int
    n: int
    hash: str
    record: Mapping[str, Any]


def following(previous: str, record: Mapping[str, Any]) -> str:
    """The hash of a record that stands after `previous`."""
    return sha256(PREFIX + bytes.fromhex(previous) + ids.canonical(record).encode()).hexdigest()


def files(folder: Path) -> list[Path]:
    """The chain's files in order."""
    return sorted(folder.glob("chain-*.jsonl"))


def parse(raw: bytes, path: Path, number: int) -> Line | None:
    """None for what is no line of a chain, to the byte: of a field that stands twice, readers take one or the other."""
    try:
        said = json.loads(raw)
        bytes.fromhex(said["hash"])
        line = Line(path, number, int(said["n"]), str(said["hash"]), said["record"])
        whole = isinstance(line.record, dict) and len(line.hash) == 2 * len(START)
        return line if whole and raw == _written(line.n, line.hash, line.record) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def read_head(path: Path) -> Head | None:
    """The head as kept outside the folder; None without one."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Head(int(said["n"]), str(said["hash"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise StateBroken(f"{path} is no head of a chain; run `aios audit verify`") from error


class Chain:
    """The writer. positions: next offset of every "topic/partition" of this cluster."""

    def __init__(self, folder: Path, head_path: Path, cluster: str, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._folder = folder
        self._head_path = head_path
        self._cluster = cluster
        self._file_bytes_max = file_bytes_max
        self._lock: IO[bytes] | None = None
        self._file: IO[bytes] | None = None
        self._size = 0
        self._told: Head | None = None  # the head that stands outside
        self.head = Head(0, START.hex())
        self.positions: dict[str, int] = {}

    def open(self) -> None:
        """Take the lock and find the end. Raises StateBroken: another writer, or not the chain it was."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._head_path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = (self._folder / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._told = read_head(self._head_path)
            self._recover(self._told)
        except BlockingIOError as error:
            self.close()
            raise StateBroken(f"another process writes the chain in {self._folder}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()

    def append(self, entries: Iterable[Entry]) -> int:
        """Chain what is not chained yet, in this order; returns how many. On disk when it returns.

        Raises Unavailable when the disk takes no more; the chain is then as it was, or whole and its head not told yet.
        """
        head, positions, lines = self.head, dict(self.positions), list[bytes]()
        if self._file is None or self._size > self._file_bytes_max:
            self._begin()
            head = self.head
        for entry in entries:
            if entry.offset < positions.get(entry.place, 0):
                continue
            head, line = _line(head, entry.plain())
            positions[entry.place] = entry.offset + 1
            lines.append(line)
        if lines:
            assert self._file is not None
            data = b"".join(lines)
            self._write(self._file, self._size, data)
            self._size += len(data)
            self.head, self.positions = head, positions
        if self.head != self._told:
            self._anchor()
        return len(lines)

    def _begin(self) -> None:
        """The next file, with its first record."""
        previous = self.head
        record = {
            "kind": "file",
            "cluster": self._cluster,
            "continues": previous.hash,
            "positions": self.positions,
        }
        head, line = _line(previous, record)
        path = self._folder / f"chain-{head.n:012}.jsonl"
        try:
            file = path.open("ab", buffering=0)
        except OSError as error:
            raise _refused(error) from error
        try:
            self._write(file, 0, line)
        except Unavailable:
            file.close()
            raise
        _sync_folder(self._folder)
        if self._file is not None:
            self._file.close()
        self._file, self._size, self.head = file, len(line), head

    def _write(self, file: IO[bytes], size: int, data: bytes) -> None:
        """Append and wait for the disk. size: of the file now, which it has again when the disk refuses."""
        half = len(data) // 2
        try:
            _write_all(file, data[:half])
            failpoints.hit("audit.half_written")
            _write_all(file, data[half:])
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(size)
            raise _refused(error) from error

    def _anchor(self) -> None:
        """Remember the head outside, whole at any moment. Older than the chain after a crash, never newer."""
        fresh = self._head_path.with_suffix(".tmp")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump({"n": self.head.n, "hash": self.head.hash}, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._head_path)
        except OSError as error:
            raise _refused(error) from error
        self._told = self.head

    def _recover(self, anchor: Head | None) -> None:
        existing = files(self._folder)
        while existing and not self._resume(existing[-1], anchor):
            existing[-1].unlink()
            existing.pop()
        if anchor is not None and anchor.n > self.head.n:
            raise StateBroken(
                f"the audit chain ends at record {self.head.n}, but record {anchor.n} was written: "
                "restore the folder, or see what is missing with `aios audit verify`"
            )

    def _resume(self, path: Path, anchor: Head | None) -> bool:
        """Continue this file after its last sound line, cutting what a crash left. False: it holds none."""
        known = anchor.n if anchor is not None else 0
        lines, good = _sound_lines(path)
        left = path.stat().st_size - good
        if not lines:
            if b"\n" in path.read_bytes():
                raise StateBroken(f"{path} was changed at its first record; run `aios audit verify`")
            return False
        head = Head(lines[-1].n, lines[-1].hash)
        if left and head.n < known:
            raise StateBroken(f"{path} was changed after record {head.n}; run `aios audit verify`")
        self._file = path.open("ab", buffering=0)  # at the end always, also after a refused write was taken back
        self._file.truncate(good)
        self._size, self.head = good, head
        self._take_positions(lines)
        return True

    def _take_positions(self, lines: Sequence[Line]) -> None:
        first = lines[0].record
        if first["cluster"] != self._cluster:  # another Kafka: its offsets say nothing about this one's
            self._size = self._file_bytes_max + 1
            return
        self.positions = {**first["positions"]}
        for line in lines[1:]:
            place = line.record["place"]
            self.positions[f"{place['topic']}/{place['partition']}"] = place["offset"] + 1


def _line(head: Head, record: Mapping[str, Any]) -> tuple[Head, bytes]:
    after = Head(head.n + 1, following(head.hash, record))
    return after, _written(after.n, after.hash, record)


def _written(n: int, hashed: str, record: Mapping[str, Any]) -> bytes:
    return ids.canonical({"hash": hashed, "n": n, "record": record}).encode() + b"\n"


def _refused(error: OSError) -> Unavailable:
    return Unavailable(f"the audit chain cannot be written: {error.strerror}")


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _sound_lines(path: Path) -> tuple[list[Line], int]:
    """The lines of a file up to the first that does not follow, and their bytes together."""
    lines: list[Line] = []
    good = 0
    for line, raw in _whole_lines(path):
        if line is None or not _follows(line, lines):
            break
        lines.append(line)
        good += len(raw)
    return lines, good


def _follows(line: Line, before: Sequence[Line]) -> bool:
    if not before:
        return line.record.get("kind") == "file" and line.hash == following(line.record["continues"], line.record)
    return line.n == before[-1].n + 1 and line.hash == following(before[-1].hash, line.record)


def _whole_lines(path: Path) -> Iterator[tuple[Line | None, bytes]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            yield (parse(raw, path, number) if raw.endswith(b"\n") else None), raw


def of_case(folder: Path, case_id: str) -> list[Line]:
    """Every chained record of a case (or other object of an act), in the chain's order.

    Where nothing has exactly that id, of all whose id begins so; they may be several.
    """
    lines = list(_of_beginning(folder, case_id))
    return [line for line in lines if line.record["event"]["case_id"] == case_id] or lines


def of_transition(folder: Path, transition: str) -> Iterator[Line]:
    """Every chained record of one transition, of whatever case, in the chain's order."""
    return (line for line in _holding(folder, transition) if _event(line).get("transition") == transition)


def _of_beginning(folder: Path, beginning: str) -> Iterator[Line]:
    return (line for line in _holding(folder, beginning) if _event(line).get("case_id", "").startswith(beginning))


def _event(line: Line) -> Mapping[str, Any]:
    found: Mapping[str, Any] = line.record.get("event", {})
    return found


def _holding(folder: Path, text: str) -> Iterator[Line]:
    """The lines in which a text stands somewhere."""
    wanted = text.encode()
    for path in files(folder):
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = parse(raw, path, number) if wanted in raw else None
                if line is not None:
                    yield line


def _sync_folder(folder: Path) -> None:
    """So that a new file's name survives a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
