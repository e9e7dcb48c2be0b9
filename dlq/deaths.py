"""Counts deaths outside the process, so that a record that kills whoever decodes it is given up at the third.

Enters: which offsets a process takes in hand, and that it came back alive. Leaves: what the next owner must know.
One small file a topic and partition, under home/run/deaths/<stage>/.

    suspects(topic, partition, first)       what must go one record at a time of what is to come, for who goes in order
    begin(topic, partition, first, last)    before they are touched
    end(topic, partition)                   settled, or given back alive; not when the process leaves with them
    suspicious(topic, partition, offsets)   which of them must go alone, for who does not go in order of offsets;
                                            such a one says with begin and end below what all is settled

A process that dies between begin and end leaves its mark. The next one steps that range one record at a time. One
that dies with a single record in hand leaves a death of that record alone; with ALONE_MAX of them given_up() has the
error to settle it with, undecoded (begun and ended like any other).

A mark knows of its partition alone. So who is suspect gets the whole process for itself before it is begun: by
in_hand.py, or processors/stateful/company.py; a sink goes through one partition after the other.

Guaranteed: nobody is given up for what another did, or with whom alone fewer than ALONE_MAX processes ended; a record
that ends every process is given up at the third death it causes (once in company, twice alone). A process that is only
stopped or has lost its partition has not died. Within one machine: the files are not shared. Where no mark can be
written (the disk is full), records go on, and nothing is counted.
Cost: one pread and one pwrite of FILE_BYTES a call, no fsync (a machine that loses power has lost no count that
mattered); what the file says is understood once, and again only where another process has written it meanwhile.
Rejected: not looking at the file again (a partition may be another's by now, whose mark must stay); counting
redeliveries (every kill -9 of a busy process would suspect its whole batch); counting in a topic (the process that is
about to die must not wait for a broker); JSON files replaced by rename (10 × slower).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import psutil

from aios.streams.errors import Reason, RecordError

ALONE_MAX = 2  # deaths with nothing else in hand, after which a record is given up
OWN_MAX = 8  # records of one partition with deaths of their own, remembered at once
RETURNS_MAX = 10_000  # offsets that may be read again after a restart, because their commit had not come yet
FILE_BYTES = 512
NAME_CHARS_MAX = 300  # of ASCII
KILLERS_MAX = 100
KILLERS_BYTES_MAX = KILLERS_MAX * (NAME_CHARS_MAX + 20)
_NOTHING = b" " * FILE_BYTES

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """mark: (first, last) in hand of `owner`. hull: where deaths happened in company. alone: own deaths, by offset."""

    mark: tuple[int, int] | None = None
    owner: str = ""
    hull: tuple[int, int] | None = None
    deaths: int = 0  # of the hull
    low: int = 0  # everything below was settled, or survived; it may come again if that was not committed
    alone: dict[int, int] = field(default_factory=dict)

    def died(self) -> None:
        """The mark's owner is dead: what it had in hand is suspect."""
        if self.mark is None:
            return
        first, last = self.mark
        if first == last:
            self.alone[first] = self.alone.get(first, 0) + 1
            self.alone = dict(sorted(self.alone.items())[-OWN_MAX:])
        else:
            self.hull = (min(first, self.hull[0]), max(last, self.hull[1])) if self.hull else (first, last)
            self.deaths += 1
        self.mark, self.owner = None, ""

    def survived(self, below: int) -> None:
        """Everything below is settled, or survived. Who was given up is remembered for as long as it may return."""
        self.low = below
        self.alone = {one: deaths for one, deaths in self.alone.items() if one >= below or self._returns(one)}
        if self.hull is not None:
            self.hull = (max(self.hull[0], below), self.hull[1]) if self.hull[1] >= below else None
        if self.hull is None:
            self.deaths = 0

    def _returns(self, offset: int) -> bool:
        return self.alone[offset] >= ALONE_MAX and self.low - offset <= RETURNS_MAX

    def suspicion(self, offset: int) -> int | None:
        """Deaths of this record alone, 0 if it was only in company; None: nothing speaks against it."""
        if offset in self.alone:
            return self.alone[offset]
        return 0 if self.hull is not None and self.hull[0] <= offset <= self.hull[1] else None

    def suspects(self) -> tuple[int, int, int] | None:
        alone = min((one for one in self.alone if one >= self.low), default=None)
        if alone is not None:
            return alone, alone, self.alone[alone]
        if self.hull is None:
            return None
        first, last = self.hull
        return first, last, self.deaths if first < last else 0


class Deaths:
    """Of one stage on this machine. Every process of the stage makes its own."""

    def __init__(self, home: Path, stage: str) -> None:
        self._stage = stage
        self._fails = False
        self._folder = home / "run" / "deaths" / stage
        self._files: dict[tuple[str, int], int] = {}
        self._understood: dict[tuple[str, int], tuple[bytes, _Known]] = {}  # the file's bytes, and what they say

    def begin(self, topic: str, partition: int, first: int, last: int, below: int | None = None) -> None:
        """These offsets are in hand from now on; all below `first`, or `below` if that is given, are settled."""
        known = self._read(topic, partition)
        known.survived(first if below is None else below)
        known.mark, known.owner = (first, last), _me(os.getpid())
        self._write(topic, partition, known)

    def end(self, topic: str, partition: int, below: int | None = None) -> None:
        """What begin named is settled, or given back alive: a single one is cleared.

        below: everything below is settled; not given: everything up to the last named.
        """
        known = self._read(topic, partition)
        if known.mark is None or known.owner != _me(os.getpid()):
            return
        first, last = known.mark
        known.survived(last + 1 if below is None else below)
        if first == last and known.alone.get(first, ALONE_MAX) < ALONE_MAX:
            del known.alone[first]
        known.mark, known.owner = None, ""
        self._write(topic, partition, known)

    def suspects(self, topic: str, partition: int, first: int) -> tuple[int, int, int] | None:
        """(first, last, deaths) of what must go one record at a time; first == last: deaths of that record alone.

        first: all below is settled. None: nothing is suspect. Ask again after each end: what comes first changes.
        """
        known = replace(self._read(topic, partition))
        known.survived(first)
        return known.suspects()

    def suspicious(self, topic: str, partition: int, offsets: Iterable[int]) -> dict[int, int]:
        """Those of these offsets that must go with nothing else in hand, with their deaths alone."""
        known = self._read(topic, partition)
        found = ((offset, known.suspicion(offset)) for offset in offsets)
        return {offset: deaths for offset, deaths in found if deaths is not None}

    def close(self) -> None:
        """Let go of the files; what they say stays."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._understood.clear()

    def _read(self, topic: str, partition: int) -> _Known:
        """What the file says, with the death of a former owner counted."""
        place = (topic, partition)
        try:
            raw = os.pread(self._file(topic, partition), FILE_BYTES, 0)
        except OSError as error:
            self._failed(error)
            return _Known()
        before, known = self._understood.get(place, (b"", _Known()))
        if before != raw:
            known = _parse(raw)
            self._understood[place] = raw, known
        if known.mark is not None and known.owner != _me(os.getpid()) and not _alive(known.owner):
            known.died()
            self._write(topic, partition, known)
        return known

    def _write(self, topic: str, partition: int, known: _Known) -> None:
        text = json.dumps([known.mark, known.owner, known.hull, known.deaths, known.low, list(known.alone.items())])
        place, raw = (topic, partition), text.encode().ljust(FILE_BYTES)
        self._understood.pop(place, None)  # until the file says it
        try:
            self._put(self._file(topic, partition), raw)
        except OSError as error:
            self._failed(error)
            return
        self._understood[place] = raw, known

    def _put(self, file: int, raw: bytes) -> None:
        """Raises OSError."""
        os.pwrite(file, raw, 0)
        self._fails = False

    def _failed(self, error: OSError) -> None:
        if not self._fails:
            log.warning("deaths of %s are not counted: %s", self._stage, error.strerror)
        self._fails = True

    def _file(self, topic: str, partition: int) -> int:
        file = self._files.get((topic, partition))
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / f"{topic}.{partition}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._files[topic, partition] = file
        return file


class Alone:
    """The same for single records that are decoded in any order, at places of anybody's: a mark for each.

    begin(name), end()      around what may end the process; one pwrite each
    is_given_up(name)       ALONE_MAX processes ended with it in hand
    opened()                this process has the work from now on: a mark of a dead owner is counted

    names: of at most NAME_CHARS_MAX characters. Of one process at a time; remembers the latest KILLERS_MAX names.
    """

    def __init__(self, deaths: Deaths) -> None:
        self._deaths = deaths
        self._hand, self._killers = deaths._file("hand", 0), deaths._file("killers", 0)
        self._counts: dict[str, int] = {}

    def opened(self) -> None:
        raw = os.pread(self._killers, KILLERS_BYTES_MAX, 0)
        try:
            self._counts = dict(json.loads(raw))
        except ValueError:
            self._counts = {}  # empty, or torn by a loss of power
        owner, _, name = os.pread(self._hand, FILE_BYTES, 0).decode(errors="replace").strip().partition(" ")
        if not name or owner == _me(os.getpid()) or _alive(owner):
            return
        self._counts[name] = self._counts.pop(name, 0) + 1
        self._counts = dict(list(self._counts.items())[-KILLERS_MAX:])
        self._put(self._killers, json.dumps(self._counts).encode().ljust(KILLERS_BYTES_MAX))
        self.end()

    def begin(self, name: str) -> None:
        self._put(self._hand, f"{_me(os.getpid())} {name[:NAME_CHARS_MAX]}".encode().ljust(FILE_BYTES))

    def end(self) -> None:
        self._put(self._hand, _NOTHING)

    def _put(self, file: int, raw: bytes) -> None:
        try:
            self._deaths._put(file, raw)
        except OSError as error:
            self._deaths._failed(error)

    def is_given_up(self, name: str) -> bool:
        return bool(self._counts) and self._counts.get(name[:NAME_CHARS_MAX], 0) >= ALONE_MAX


def given_up(deaths: int) -> RecordError | None:
    """What to settle a record with that has this many deaths of its own; None: try it, alone."""
    if deaths < ALONE_MAX:
        return None
    return RecordError(f"{deaths} processes ended with this record alone in hand", Reason.KILLS_ITS_PROCESS)


def _parse(raw: bytes) -> _Known:
    """Empty, or torn by a loss of power: nothing is known."""
    try:
        mark, owner, hull, deaths, low, alone = json.loads(raw)
    except ValueError:
        return _Known()
    return _Known(
        mark=tuple(mark) if mark else None,
        owner=owner,
        hull=tuple(hull) if hull else None,
        deaths=deaths,
        low=low,
        alone=dict(alone),
    )


@lru_cache(maxsize=2)
def _me(pid: int) -> str:
    """A process, told apart from a later one of the same number."""
    return f"{pid}.{psutil.Process(pid).create_time()}"


def _alive(owner: str) -> bool:
    pid, _, born = owner.partition(".")
    try:
        process = psutil.Process(int(pid))
        return str(process.create_time()) == born and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False
