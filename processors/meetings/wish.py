"""What a request for a meeting means: the words that words.py reads, and all that the arithmetic starts from.

Enters: nothing; these are values. Leaves: a Wish, or an AskBack where a person would ask before acting. Guaranteed:
a Wish is consistent in itself (its windows do not end before they begin, a series has a rule that can be read), and
both survive JSON, so that they travel between the steps of a case.

Conventions, the same as in infra/demo/data/calendar_truth.md, where real requests are labelled with them:

    dates         first and last day, both included; None: not named. An open series has no last day
    times         of the day, local; a start alone has no `time_to`; with both it is a window, or start and end
    zone          whose clock the dates and times are on; empty: the organiser's
    participants  as said ("Ana", "the Berlin team"), without the organiser; the directory says who that is
    repeats       an RRULE (RFC 5545) without its name, empty: once

Rejected: instants instead of dates and times ("tomorrow morning" is no instant before it is known whose morning it is,
and on two days a year a local time has none or two); a duration that nobody said (the policy has a default).
"""

from __future__ import annotations

from datetime import date, time
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WORDS_CHARS_MAX = 200
PEOPLE_MAX = 50
BOUNDS_MAX = 20
DURATION_MIN_MAX = 24 * 60
Words = Annotated[str, Field(max_length=WORDS_CHARS_MAX)]


class Action(StrEnum):
    """What is wanted."""

    SCHEDULE = "schedule"
    REMIND = "remind"
    QUERY = "query"
    CANCEL = "cancel"
    CHANGE = "change"


class Missing(StrEnum):
    """What a person would ask for first, in this order."""

    NOT_CALENDAR = "not_calendar"
    MEANING = "meaning"
    EVENT = "event"
    TITLE = "title"
    DATE = "date"
    TIME = "time"
    PERSON = "person"


class Scope(StrEnum):
    """Of a query or a cancellation: which of the events that match."""

    ONE = "one"
    NEXT = "next"
    ALL = "all"


class Prefer(StrEnum):
    """Which end of the window is the better one."""

    EARLY = "early"
    LATE = "late"


class Priority(StrEnum):
    """What a meeting may push aside: high may use time that people keep for themselves."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(_Value):
    """A window of the day on somebody's own clock: "not before 9 their time".

    whose: one of the participants as said, or an IANA zone. not_before, not_after: the meeting lies between them.
    """

    whose: Words
    not_before: time | None = None
    not_after: time | None = None


class Wish(_Value):
    """A request that can be acted upon. The fields from `action` to `scope` are those of calendar_truth.csv."""

    action: Action
    title: Words = ""
    participants: Annotated[tuple[Words, ...], Field(max_length=PEOPLE_MAX)] = ()
    place: Words = ""
    date_from: date | None = None
    date_to: date | None = None
    time_from: time | None = None
    time_to: time | None = None
    duration_min: Annotated[int, Field(ge=1, le=DURATION_MIN_MAX)] | None = None
    repeats: Words = ""
    scope: Scope | None = None
    zone: Words = ""
    bounds: Annotated[tuple[Bound, ...], Field(max_length=BOUNDS_MAX)] = ()
    prefer: Prefer | None = None
    priority: Priority = Priority.NORMAL
    needs: Annotated[tuple[Words, ...], Field(max_length=PEOPLE_MAX)] = ()
    """Of the room: "projector", "whiteboard"; "room" alone asks for any."""
    was_on: date | None = None
    was_at: time | None = None
    """Of what is to be changed, where it stands now: "from Thursday to Friday", "my 3pm to 4pm"."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.date_from and self.date_to and self.date_to < self.date_from:
            raise ValueError("the last day lies before the first")
        if self.scope is not None and self.action not in (Action.QUERY, Action.CANCEL):
            raise ValueError("only a query or a cancellation has a scope")
        if self.repeats and not self.repeats.startswith("FREQ="):
            raise ValueError("a rule of repetition begins with FREQ=")
        return self


class AskBack(_Value):
    """A request that a person would ask about first.

    missing: what is asked for. question: in words, for who asked. understood: what the text does name (None: nothing,
    or no action that is known), so that the answer completes it. about: the name that is not clear, as said.
    """

    missing: Missing
    question: Annotated[str, Field(min_length=1, max_length=500)]
    understood: Wish | None = None
    about: Words = ""
