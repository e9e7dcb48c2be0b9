"""Counts deaths outside the process, so that a record that kills whoever decodes it is given up at the third.

Enters: which offsets a process takes in hand, and that it came back alive. Leaves: what the next owner must know.
One small file a topic and partition, under home/run/deaths/<stage>/.

    before a batch     begin(topic, partition, first, last)
    afterwards         end(topic, partition)      settled, or given back alive; not after a verdict STOP
    before that        suspects(topic, partition) → None, or the offsets that must go one at a time

A process that dies between begin and end leaves its mark. The next one to ask finds the range, and steps it one
record at a time, begin(o, o) … end. One that dies with a single record in hand leaves a death of that record alone:
suspects answers (o, o, deaths). With ALONE_MAX deaths of its own it is given up undecoded. Ask again after each end.

Guaranteed: nobody is given up who did not end a process alone ALONE_MAX times; a record that ends every process is
given up at the third death it causes (once in company, twice alone). A process that is only stopped or has lost
its partition has not died. Within one machine: the files are not shared.
Cost: one pread and one pwrite of FILE_BYTES a call, no fsync (a machine that loses power has lost no count that
mattered). Rejected: counting redeliveries (every kill -9 of a busy process would suspect its whole batch); counting
in a topic (the process that is about to die must not wait for a broker); JSON files replaced by rename (10 × slower).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import psutil

from aios.streams.errors import Reason, RecordError

ALONE_MAX = 2  # deaths with nothing else in hand, after which a record is given up
OWN_MAX = 8  # records of one partition with deaths of their own, remembered at once
FILE_BYTES = 512


@dataclass(slots=True)
class _Known:
    """mark: (first, last) in hand of `owner`. hull: where deaths happened in company. alone: own deaths, by offset."""

    mark: tuple[int, int] | None = None
    owner: str = ""
    hull: tuple[int, int] | None = None
    deaths: int = 0  # of the hull
    alone: dict[int, int] = field(default_factory=dict)

    def died(self) -> None:
        """The mark's owner is dead: what it had in hand is suspect."""
        if self.mark is None:
            return
        first, last = self.mark
        if first == last:
            self.alone[first] = self.alone.get(first, 0) + 1
            self.alone = dict(sorted(self.alone.items())[:OWN_MAX])
        else:
            self.hull = (min(first, self.hull[0]), max(last, self.hull[1])) if self.hull else (first, last)
            self.deaths += 1
        self.mark, self.owner = None, ""

    def forget_below(self, offset: int) -> None:
        """Everything below is settled, or survived."""
        self.alone = {one: deaths for one, deaths in self.alone.items() if one >= offset}
        if self.hull is not None:
            self.hull = (max(self.hull[0], offset), self.hull[1]) if self.hull[1] >= offset else None
        if self.hull is None:
            self.deaths = 0


class Deaths:
    """Of one stage on this machine. Every process of the stage makes its own."""

    def __init__(self, home: Path, stage: str) -> None:
        self._folder = home / "run" / "deaths" / stage
        self._files: dict[tuple[str, int], int] = {}

    def begin(self, topic: str, partition: int, first: int, last: int) -> None:
        """These offsets are in hand from now on; all below `first` are settled."""
        known = self._read(topic, partition)
        known.forget_below(first)
        known.mark, known.owner = (first, last), _me(os.getpid())
        self._write(topic, partition, known)

    def end(self, topic: str, partition: int) -> None:
        """What begin named is settled, or given back alive."""
        known = self._read(topic, partition)
        if known.mark is None or known.owner != _me(os.getpid()):
            return
        known.forget_below(known.mark[1] + 1)
        known.mark, known.owner = None, ""
        self._write(topic, partition, known)

    def suspects(self, topic: str, partition: int) -> tuple[int, int, int] | None:
        """(first, last, deaths) of what must go one record at a time; first == last: deaths of that record alone."""
        known = self._read(topic, partition)
        if known.alone:
            offset = min(known.alone)
            return offset, offset, known.alone[offset]
        return (*known.hull, known.deaths) if known.hull else None

    def close(self) -> None:
        """Let go of the files; what they say stays."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _read(self, topic: str, partition: int) -> _Known:
        """What the file says, with the death of a former owner counted."""
        known = _parse(os.pread(self._file(topic, partition), FILE_BYTES, 0))
        if known.mark is not None and known.owner != _me(os.getpid()) and not _alive(known.owner):
            known.died()
            self._write(topic, partition, known)
        return known

    def _write(self, topic: str, partition: int, known: _Known) -> None:
        text = json.dumps([known.mark, known.owner, known.hull, known.deaths, list(known.alone.items())])
        os.pwrite(self._file(topic, partition), text.encode().ljust(FILE_BYTES), 0)

    def _file(self, topic: str, partition: int) -> int:
        file = self._files.get((topic, partition))
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / f"{topic}.{partition}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._files[topic, partition] = file
        return file


def given_up(deaths: int) -> RecordError | None:
    """What to settle a record with that has this many deaths of its own; None: try it, alone."""
    if deaths < ALONE_MAX:
        return None
    return RecordError(f"{deaths} processes ended with this record alone in hand", Reason.KILLS_ITS_PROCESS)


def _parse(raw: bytes) -> _Known:
    if not raw.strip():
        return _Known()
    mark, owner, hull, deaths, alone = json.loads(raw)
    return _Known(
        mark=tuple(mark) if mark else None,
        owner=owner,
        hull=tuple(hull) if hull else None,
        deaths=deaths,
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
