"""Verifies a chain as an outsider would: only the files, and the heads somebody kept.

Enters: the folder, the head kept outside, heads noted earlier. Leaves: a Report; every Problem names its place.
Guaranteed: an altered, deleted, reordered, inserted or truncated record is found; after a break the rest is verified
too. Runs beside the writer: what stands after the head is not missed, and a line that is just being written is not
taken for a broken one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from aios.sinks.audit_chain import START, Head, Line, files, following, parse

PROBLEMS_MAX = 100  # told of; beyond it the rest is counted


class Kind(StrEnum):
    ALTERED = "altered"
    DELETED = "deleted"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    DOUBLED = "doubled"  # one Kafka record twice: never by our writer
    UNANCHORED = "unanchored"  # no head outside: a missing end could not be found


@dataclass(frozen=True, slots=True)
class Problem:
    """where: file:line, or the file or folder. n: number of the record, 0 if it has none."""

    kind: Kind
    n: int
    where: str
    message: str


@dataclass(slots=True)
class Report:
    """head: where the chain ends. anchor: the head that was kept outside."""

    records: int = 0
    files: int = 0
    head: Head = field(default_factory=lambda: Head(0, START.hex()))
    anchor: Head | None = None
    problems: list[Problem] = field(default_factory=list)
    more: int = 0  # problems beyond PROBLEMS_MAX

    @property
    def sound(self) -> bool:
        return not self.problems

    def tell(self, kind: Kind, n: int, where: str, message: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(kind, n, where, message))
        else:
            self.more += 1


def verify(folder: Path, anchor: Head | None, noted: Sequence[Head] = ()) -> Report:
    """Read every line. anchor: read before this is called. noted: heads printed by earlier runs."""
    report = Report(anchor=anchor, files=len(files(folder)))
    heads: dict[int, set[str]] = defaultdict(set)
    for head in (*noted, *([anchor] if anchor is not None else ())):
        heads[head.n].add(head.hash)
    last = max(heads, default=0)
    walk = _Walk(report, heads)
    for path, number, raw, is_end in _raw_lines(folder):
        line = parse(raw, path, number) if raw.endswith(b"\n") else None
        if line is None and is_end and walk.expected > last:
            break  # a crash or a writer at work: nothing that was ever told to be on disk
        walk.see(line, f"{path.name}:{number}")
    walk.end()
    if walk.expected - 1 < last:
        report.tell(
            Kind.TRUNCATED,
            walk.expected - 1,
            str(folder),
            f"the chain ends at record {walk.expected - 1}, but record {last} was written",
        )
    if anchor is None and report.records:
        report.tell(Kind.UNANCHORED, report.head.n, str(folder), "the head that is kept outside this folder is missing")
    return report


class _Walk:
    """Line after line. expected: number of the record that should come next."""

    def __init__(self, report: Report, heads: Mapping[int, Set[str]]) -> None:
        self._report = report
        self._heads = heads
        self._previous: str | None = START.hex()  # None: unknown, after a line that cannot be read
        self._missing: dict[int, tuple[int, str]] = {}  # first → (last, where the next one stands)
        self._offsets: dict[str, int] = {}
        self._cluster = ""
        self.expected = 1

    def see(self, line: Line | None, where: str) -> None:
        report = self._report
        if line is None:
            report.tell(Kind.ALTERED, self.expected, where, f"record {self.expected} is not what the writer writes")
            self._previous = None
            self.expected += 1
            return
        report.records += 1
        if line.n < self.expected:
            self._out_of_place(line, where)
            return
        if line.n > self.expected:
            self._missing[self.expected] = (line.n - 1, where)
        elif self._previous is not None and line.hash != following(self._previous, line.record):
            self._broken(line, where)
        if self._heads.get(line.n, set()) - {line.hash}:
            report.tell(
                Kind.ALTERED, line.n, where, f"record {line.n} is not the one whose hash was kept outside the chain"
            )
        self._check_place(line, where)
        self._previous = line.hash
        self.expected = line.n + 1
        report.head = Head(line.n, line.hash)

    def end(self) -> None:
        for first, (last, where) in self._missing.items():
            names = f"record {first} is" if first == last else f"records {first} to {last} are"
            self._report.tell(Kind.DELETED, first, where, f"{names} missing here")

    def _broken(self, line: Line, where: str) -> None:
        self._report.tell(
            Kind.ALTERED,
            line.n,
            where,
            f"record {line.n} does not follow from record {line.n - 1}: it was altered (or what stands before it was, "
            "and hashed anew)",
        )

    def _out_of_place(self, line: Line, where: str) -> None:
        """A number that is past: moved here from a gap, or a second one."""
        for first, (last, gap) in self._missing.items():
            if first <= line.n <= last:
                self._report.tell(
                    Kind.REORDERED, line.n, where, f"record {line.n} stands after record {self.expected - 1}"
                )
                del self._missing[first]
                if first < line.n:
                    self._missing[first] = (line.n - 1, gap)
                if line.n < last:
                    self._missing[line.n + 1] = (last, gap)
                return
        self._report.tell(Kind.INSERTED, line.n, where, f"record {line.n} stands here a second time, or was put in")

    def _check_place(self, line: Line, where: str) -> None:
        """Offsets of one partition only grow, within one Kafka cluster."""
        if line.record.get("kind") == "file":
            if line.record.get("cluster") != self._cluster:
                self._offsets.clear()
            self._cluster = str(line.record.get("cluster"))
            return
        place = line.record.get("place")
        if not isinstance(place, dict):
            return
        name = f"{place.get('topic')}/{place.get('partition')}"
        offset = place.get("offset", -1)
        if offset <= self._offsets.get(name, -1):
            self._report.tell(Kind.DOUBLED, line.n, where, f"{name}/{offset} was chained before")
        self._offsets[name] = max(offset, self._offsets.get(name, -1))


def _raw_lines(folder: Path) -> Iterator[tuple[Path, int, bytes, bool]]:
    """File, line number, bytes, and whether it is the last line of the last file."""
    for path in files(folder):
        is_last = path == files(folder)[-1]
        with path.open("rb") as file:
            before: tuple[int, bytes] | None = None
            for number, raw in enumerate(file, start=1):
                if before is not None:
                    yield path, *before, False
                before = (number, raw)
            if before is not None:
                yield path, *before, is_last
