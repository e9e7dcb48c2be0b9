"""What a phrase about time can mean, before several of them are put together.

Enters: nothing; these are values. Leaves: the meanings, and `Phrase`, a meaning with its place in the text. Guaranteed:
a span of days does not end before it begins. `Unsaid` is a meaning too: a time is named and not said ("at time", "some
day"), which is asked for and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum

from aios.processors.meetings.wish import Action, Missing, Prefer


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the words are read against. now: local. action: None, not known. past: "did I ...?"."""

    now: datetime
    action: Action | None = None
    past: bool = False
    usual: str = ""  # the part of the day in which what is named happens: dinner, breakfast
    month_first: bool = False  # 03/04 is 4 March where the clock is American

    @property
    def forward(self) -> bool:
        """Whether a day without its year is one to come; else it is the nearest."""
        return self.action in (Action.SCHEDULE, Action.REMIND, Action.CHANGE)

    @property
    def reminded(self) -> bool:
        return self.action is Action.REMIND

    @property
    def today(self) -> date:
        return self.now.date()


class Grain(StrEnum):
    """How large the thing is that was named: a smaller one inside a larger one is what is meant."""

    DAY = "day"
    SPAN = "span"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """last None: open. loose: a weekday that was not tied to a week ("Friday"), or a day not tied to a month.
    weak: only where no other day is said ("my day").
    """

    first: date
    last: date | None
    grain: Grain = Grain.DAY
    loose: int | None = None
    weak: bool = False
    prefer: Prefer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """part: a part of the day. bare: an hour without am or pm. weak: a number that is an hour only beside others.
    of_event: a part of the day that tells which event ("the evening meeting"), not which day.
    """

    start: time | None
    end: time | None = None
    part: str = ""
    bare: bool = False
    bare_end: bool = False
    weak: bool = False
    of_event: bool = False
    prefer: Prefer | None = None


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment told by its distance from now: "in 15 minutes"."""

    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lasts:
    minutes: int


@dataclass(frozen=True, slots=True)
class Spell:
    """How many days, weeks or months something goes on, from its first day: "for six weeks"."""

    count: int
    unit: str


@dataclass(frozen=True, slots=True)
class Ahead:
    """How long before an event to remind; it belongs to no field."""


@dataclass(frozen=True, slots=True)
class Series:
    """rule: without BYMONTH and BYMONTHDAY when `day` of a year is told beside it."""

    rule: str


@dataclass(frozen=True, slots=True)
class Zone:
    """An IANA name, or whose clock: "their"; likely: the zone that the name of a group tells ("the Berlin team")."""

    name: str
    likely: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is neither a day nor a time and yet about when: as soon as possible, all day."""

    prefer: Prefer | None = None


@dataclass(frozen=True, slots=True)
class Unsaid:
    missing: Missing


Meaning = Days | Clock | Instant | Lasts | Spell | Ahead | Series | Zone | Wanted | Unsaid
Found = tuple[Meaning, ...] | Meaning | None
"""What a rule makes of its match: nothing, a meaning, or two."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """meanings: one, or two where a word says both ("tonight"). operator: "after", "by", ... before it, or nothing."""

    start: int
    end: int
    meanings: tuple[Meaning, ...]
    operator: str = ""

    def of(self, kind: type[Meaning]) -> bool:
        return any(isinstance(one, kind) for one in self.meanings)
