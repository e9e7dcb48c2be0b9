"""Every event that arrived, against what was sent and against what became of it. Pure.

Enters: the journal; the records of document.received.v1; the dead letters, returns and position of admit; and what the
folds of all case partitions say of source records (fold.py). Leaves: a Part. Guaranteed: whoever wrote an event, it is
judged; each event that admit did not admit is refused, an open dead letter, waiting to return, or not reached yet by
its position, or it is lost. What a producer was told is checked byte for byte. What failed and returned says nothing of
how long an event waits for admit: an operator took that time, or a delay. Memory: 34 bytes an event, and what the
journal holds of events posted (about 100 bytes each).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Any

from aios.infra.prove.findings import Law, Part
from aios.infra.prove.fold import ADMITTED, REFUSED, SETTLING
from aios.infra.prove.journal import LETTERS as REASONS
from aios.infra.prove.journal import Entry, Kind
from aios.streams.topics import DOCUMENT_RECEIVED
from aios.streams.topology import ADMIT

TOPIC = DOCUMENT_RECEIVED.name
STATE = f"{ADMIT.group}.state"
KINDS = tuple(Kind)
LETTER, RETURNING, SETTLED_LETTER = 4, 8, 16  # beside ADMITTED and REFUSED


@dataclass(frozen=True, slots=True)
class _Letter:
    """A dead letter of admit. at: its source record, as (partition, offset)."""

    generation: int
    at: tuple[int, int]


class Arrivals:
    """See the module. sources: offsets of document.received to judge, by partition: (from, to)."""

    def __init__(self, sources: Mapping[int, tuple[int, int]], *, drained: bool) -> None:
        self._sources = sources
        self._drained = drained
        self.part = Part()
        sizes = {partition: end - start for partition, (start, end) in sources.items()}
        self._marks = {partition: bytearray(size) for partition, size in sizes.items()}
        self._kinds = {partition: bytearray(b"\xff" * size) for partition, size in sizes.items()}
        self._prints = {partition: array("Q", bytes(8 * size)) for partition, size in sizes.items()}
        self._arrived = {partition: array("q", bytes(8 * size)) for partition, size in sizes.items()}
        self._admitted = {partition: array("q", bytes(8 * size)) for partition, size in sizes.items()}
        self._posted: dict[int, list[Entry]] = {}  # acknowledged by the gateway and not found yet; repeats are alike
        self._letters: dict[str, _Letter] = {}
        self._closed: dict[str, int] = {}
        self._positions: dict[int, int] = {}
        self.acknowledged = 0

    # ── what was sent ──

    def expect(self, entries: Iterable[Entry]) -> None:
        """The journal."""
        for entry in entries:
            if not entry.acked:
                continue
            self.acknowledged += 1
            if entry.offset < 0:
                self._posted.setdefault(_print(entry.key, entry.body), []).append(entry)
                continue
            at = self._index(entry.partition, entry.offset)
            if at is None:
                why = f"event {entry.n} was acknowledged at {entry.partition}/{entry.offset}, which is not there"
                self.part.violations.add(Law.ACKNOWLEDGED, why)
                continue
            self._prints[entry.partition][at] = _print(entry.key, entry.body)
            self._kinds[entry.partition][at] = KINDS.index(entry.kind)

    # ── what is there ──

    def position(self, partition: int, offset: int) -> None:
        """Of admit on this partition of its input."""
        self._positions[partition] = offset

    def arrived(self, seen: Any, event: Mapping[str, Any] | None) -> None:
        """One record of the source topic. event: None if it does not decode."""
        self.part.records += 1
        at = self._index(seen.partition, seen.offset)
        if at is None:
            return
        self._arrived[seen.partition][at] = seen.at
        key = seen.key.decode("utf-8", "replace")
        body = seen.value or b""
        if event is not None:
            key, body = event["idempotency_key"] or key, event["text"].encode()
        found = _print(key, sha256(body).hexdigest()[:16])
        expected = self._prints[seen.partition][at]
        if expected and expected != found:
            why = f"the record at {TOPIC}/{seen.partition}/{seen.offset} is not the one that was acknowledged there"
            self.part.violations.add(Law.ACKNOWLEDGED, why)
        self._prints[seen.partition][at] = 1  # it is there
        if not expected and (posted := self._posted.get(found)):
            self._kinds[seen.partition][at] = KINDS.index(posted.pop().kind)

    def letter(self, seen: Any) -> None:
        """A dead letter of admit; call behind every arrived(). What it says is judged though it returned since."""
        said = _headers(seen)
        origin = _origin(said)
        if origin is None:
            return
        reason = said.get("aios.dlq.reason", "")
        self.part.letters[f"{ADMIT.group} {reason}"] += 1
        generation = int(said.get("aios.dlq.replay.count", "0") or 0)
        self._letters[said.get("aios.dlq.id", "")] = _Letter(generation, origin)
        self._check_reason(reason, origin)

    def changed(self, event: Mapping[str, Any]) -> None:
        """A dead letter's state."""
        if event["state"] in SETTLING:
            name = event["letter_id"]
            self._closed[name] = max(self._closed.get(name, -1), event["generation"])
            if event["state"] != "replayed" and name in self._letters:
                self._mark(self._letters[name].at, SETTLED_LETTER)

    def returning(self, seen: Any) -> None:
        """A record that waits to return to admit, or came back to it."""
        origin = _origin(_headers(seen))
        if origin is not None:
            self._mark(origin, RETURNING)

    def became(self, marks: Mapping[int, bytearray], admitted_at: Mapping[int, array[int]]) -> None:
        """What one case partition says of source records."""
        for partition, theirs in marks.items():
            mine = self._marks[partition]
            for at, mark in enumerate(theirs):
                if not mark:
                    continue
                if mine[at] & mark & ADMITTED:
                    self._wrong(Law.ONE_OUTCOME, partition, at, "is admitted to two cases")
                    self.part.repeated["case.admitted.v1"] += 1
                mine[at] |= mark
                if mark & ADMITTED:
                    self._admitted[partition][at] = admitted_at[partition][at]

    # ── the end ──

    def finish(self) -> Part:
        """Judge. Call once, after everything else."""
        for letter_id, letter in self._letters.items():
            if letter.generation > self._closed.get(letter_id, -1):
                self._mark(letter.at, LETTER)
        for entry in chain.from_iterable(self._posted.values()):
            what = f"event {entry.n} (key {entry.key}) was acknowledged by the gateway and is not there"
            self.part.violations.add(Law.ACKNOWLEDGED, what)
        for partition in self._sources:
            self._judge(partition)
        return self.part

    def _check_reason(self, reason: str, place: tuple[int, int]) -> None:
        """A bad event must lie there for what is bad about it, a good one not at all."""
        at = self._index(*place)
        kind = self._kinds[place[0]][at] if at is not None else 0xFF
        expected = REASONS.get(KINDS[kind], "") if kind != 0xFF else reason
        if reason != expected:
            self.part.letters["not what it should be"] += 1

    def _judge(self, partition: int) -> None:
        start, _ = self._sources[partition]
        marks, prints, position = self._marks[partition], self._prints[partition], self._positions.get(partition, 0)
        for at, mark in enumerate(marks):
            if prints[at] != 1:
                if prints[at]:
                    self._wrong(Law.ACKNOWLEDGED, partition, at, "was acknowledged and is not there")
                continue  # a marker of a transaction, or an aborted record: nobody was told of it
            if mark & ADMITTED and mark & REFUSED:
                self._wrong(Law.ONE_OUTCOME, partition, at, "is admitted and refused")
            if mark & ADMITTED:  # judged with its case
                if not mark & RETURNING:
                    self.part.pace("admit").wait(self._arrived[partition][at], self._admitted[partition][at])
                continue
            fate = self._fate(mark, passed=start + at < position)
            self.part.events[fate] += 1
            if fate != "lost":
                continue
            if start + at < position:
                self._wrong(Law.COMMITTED, partition, at, "is passed by admit's position, and nothing became of it")
            else:
                self._wrong(Law.NONE_LEFT, partition, at, "was never processed")

    def _fate(self, mark: int, *, passed: bool) -> str:
        if mark & REFUSED:
            return "refused"
        if mark & LETTER:
            return "open: dead letter"
        if mark & SETTLED_LETTER:
            return "discarded"
        if self._drained or (passed and not mark & RETURNING):
            return "lost"
        return "on its way"

    def _wrong(self, law: Law, partition: int, at: int, what: str) -> None:
        start, _ = self._sources[partition]
        self.part.violations.add(law, f"{TOPIC}/{partition}/{start + at} {what}")

    def _index(self, partition: int, offset: int) -> int | None:
        start, end = self._sources.get(partition, (0, 0))
        return offset - start if start <= offset < end else None

    def _mark(self, place: tuple[int, int], mark: int) -> None:
        at = self._index(*place)
        if at is not None:
            self._marks[place[0]][at] |= mark


def _headers(seen: Any) -> dict[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in seen.headers}


def _origin(said: Mapping[str, str]) -> tuple[int, int] | None:
    """Partition and offset of the source record, if it is one."""
    if said.get("aios.dlq.orig.topic") != TOPIC:
        return None
    try:
        return int(said["aios.dlq.orig.partition"]), int(said["aios.dlq.orig.offset"])
    except (KeyError, ValueError):
        return None


def _print(key: str, body: str) -> int:
    """Of key and body: 8 bytes, never 0 or 1."""
    return int.from_bytes(sha256(f"{len(key)}:{key}{body}".encode()).digest()[:8], "big") | 2
