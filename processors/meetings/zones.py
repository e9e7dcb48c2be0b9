"""Clocks: which moments a local date and time are, exact over the days on which clocks are changed.

Enters: names of the IANA database, dates and times. Leaves: moments, Unix seconds, and Stretches of them. Guaranteed:
the database is the package `tzdata`, so that every machine gives the same answer; a stretch "from 02:15 to 02:45" is
every moment at which the clock shows that: none in the night in which the clock skips it, two in the night that has it
twice. A single local time that a calendar names is RFC 5545's: one that is skipped counts by the offset before the gap,
one that comes twice is the first.
Rejected: arithmetic on local times (an hour later than 01:30 is not always 02:30); fixed offsets.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from aios.processors.meetings.intervals import Stretch, Stretches, union
from aios.schemas.errors import AiosError, Verdict

STEP_S = 3 * 3600  # the database has no two changes of a clock so near to each other that cancel each other out
YEAR_MIN, YEAR_MAX = 1970, 2100

zoneinfo.reset_tzpath(())  # without a path, zoneinfo takes the package tzdata, which infra/pipeline.lock pins
ZoneInfo.clear_cache()


class UnknownZone(AiosError):
    """No clock of that name, or a year that nothing is known of."""

    verdict = Verdict.DEAD_LETTER


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Every zone that there is."""
    return frozenset(zoneinfo.available_timezones())


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """A clock by its IANA name. Raises UnknownZone."""
    if name not in names():
        raise UnknownZone(f"there is no time zone {name!r}: an IANA name is needed, such as Europe/Berlin")
    return ZoneInfo(name)


def local(moment: int, clock: ZoneInfo) -> datetime:
    """What a clock shows at a moment."""
    return datetime.fromtimestamp(moment, clock)


def moment(day: date, at: time, clock: ZoneInfo) -> int:
    """The moment that a calendar means by a local date and time; see the module."""
    return int(datetime.combine(day, at.replace(tzinfo=None, fold=0), clock).timestamp())


def moments(day: date, at: time, clock: ZoneInfo) -> tuple[int, ...]:
    """Every moment at which the clock shows this: none, one or two, in order."""
    second = int(timedelta(hours=at.hour, minutes=at.minute, seconds=at.second).total_seconds())
    return tuple(start for start, _ in _shown(day, second, second + 1, clock))


def stretch(day: date, begin: time, end: time | None, clock: ZoneInfo) -> Stretches:
    """Every moment of a day at which its clock shows `begin` or later, and less than `end` (None: the day's end)."""
    return union(_shown(day, _second(begin), 86_400 if end is None else _second(end), clock))


def days(first: date, last: date, clock: ZoneInfo) -> Stretches:
    """Every moment of the days from first to last, both included."""
    found = (stretch(day, time(), None, clock) for day in every_day(first, last))
    return union(*found)


def every_day(first: date, last: date) -> tuple[date, ...]:
    """The dates from first to last, both included."""
    return tuple(first + timedelta(days=number) for number in range((last - first).days + 1))


def offsets(span: Stretch, clock: ZoneInfo) -> tuple[tuple[int, int, int], ...]:
    """A span cut where the clock is changed: start, end, and the offset to UTC between them, in seconds."""
    start, end = span
    cuts = [start]
    for begin in range(start, end, STEP_S):
        _cut(begin, min(begin + STEP_S, end), clock, cuts)
    cuts.append(end)
    return tuple((begin, stop, _offset(begin, clock)) for begin, stop in pairwise(cuts) if begin < stop)


def _second(at: time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


@lru_cache(maxsize=65_536)
def _around(day: date, name: ZoneInfo) -> tuple[tuple[int, int, int], ...]:
    """The pieces of a day and its neighbours: all moments that a clock may show this day at."""
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise UnknownZone(f"no clock is known to be right in the year {day.year}")
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return offsets((midnight - 86_400, midnight + 2 * 86_400), name)


def _shown(day: date, first: int, last: int, clock: ZoneInfo) -> list[Stretch]:
    """Where a clock shows from `first` to `last`, in seconds of a day."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    found = []
    for begin, stop, offset in _around(day, clock):
        start, end = max(begin, midnight + first - offset), min(stop, midnight + last - offset)
        if start < end:
            found.append((start, end))
    return found


def _cut(begin: int, stop: int, clock: ZoneInfo, cuts: list[int]) -> None:
    """Append every moment in (begin, stop] from which on another offset holds."""
    if _offset(begin, clock) == _offset(stop, clock):
        return
    if stop - begin == 1:
        cuts.append(stop)
        return
    middle = (begin + stop) // 2
    _cut(begin, middle, clock, cuts)
    _cut(middle, stop, clock, cuts)


def _offset(moment: int, clock: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(moment, clock).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
