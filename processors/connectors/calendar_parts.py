"""What the system `calendars` is asked, and what it answers: the contracts of its operations.

Enters, leaves: nothing; these are values. Guaranteed: moments are Unix milliseconds, as everywhere in a case; a list of
people is a list of ids of the directory; what a person is told stands in `why`, on that person's clock.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aios.processors.connectors.connector import Part
from aios.processors.meetings.policy import TAKE_PART_MAX, Policy
from aios.processors.meetings.wish import Wish

OPTIONS_MAX = 5
MATCHES_MAX = 50
TEXT_CHARS_MAX = 10_000
Ids = Annotated[tuple[str, ...], Field(max_length=TAKE_PART_MAX)]


class Told(Part):
    """What one person is told. zone: the clock of its times."""

    person: str
    zone: str
    sentences: tuple[str, ...]


class Option(Part):
    """A slot that is allowed. reasons: the points it was taken, for people."""

    starts_at: int
    ends_at: int
    rooms: Ids = ()
    score: int = 100
    reasons: tuple[str, ...] = ()
    is_all_day: bool = False
    summary: str = ""


class UnderstandRequest(Part):
    """answer: what was said to the question about `understood`, which asked for `missing` (of whom: `about`).

    Without an answer the last four are empty.
    """

    text: Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
    organiser: str
    time_zone: str = ""
    sent_at: int
    answer: Annotated[str, Field(max_length=TEXT_CHARS_MAX)] = ""
    understood: Wish | None = None
    missing: str = ""
    about: str = ""


class AmendRequest(Part):
    """A later word about a meeting that is booked. text: said now."""

    text: Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
    organiser: str
    time_zone: str = ""
    wish: Wish


class Understood(Part):
    """status: wish (act), ask (question says what), stranger (the directory does not know who asks).

    action: of the wish, empty if none. understood: what the words do say, also of a question.
    """

    status: Literal["wish", "ask", "stranger"]
    action: str = ""
    missing: str = ""
    question: str = ""
    about: str = ""
    wish: Wish | None = None
    understood: Wish | None = None


class FindRequest(Part):
    """moving: the booking that makes room for itself; empty: none."""

    wish: Wish
    organiser: str
    policy: Policy
    moving: str = ""


class Found(Part):
    """status: found (options, best first), none (why; options are the nearest that would do), ask (question)."""

    status: Literal["found", "none", "ask"]
    question: str = ""
    missing: str = ""
    about: str = ""
    title: str = ""
    repeats: str = ""
    zone: str = ""
    people: Ids = ()
    options: Annotated[tuple[Option, ...], Field(max_length=OPTIONS_MAX)] = ()
    why: tuple[Told, ...] = ()
    priority: str = "normal"
    is_reminder: bool = False


class BookRequest(Part):
    """found: the answer of `find`. moving: the booking that is given up when the new one stands; empty: none."""

    organiser: str
    found: Found
    moving: str = ""


class Booked(Part):
    """status: booked, or taken (none of the options was free any more; nothing was left behind; what stood, stands,
    and the other fields are of that).

    option: which of them, from 0. uid: of the booking that stands. calendars: how many it stands in. replaced: what was
    to be given up for it.
    """

    status: Literal["booked", "taken"]
    uid: str = ""
    option: int = 0
    starts_at: int = 0
    ends_at: int = 0
    rooms: Ids = ()
    calendars: int = 0
    summary: str = ""
    replaced: str = ""


class UndoRequest(Part):
    """Of a booking that nobody knows the end of."""

    organiser: str
    found: Found
    moving: str = ""


class MatchRequest(Part):
    """What a query, a cancellation or a change speaks of."""

    wish: Wish
    organiser: str


class Match(Part):
    """at: of which occasion of a series, else 0."""

    uid: str
    title: str
    starts_at: int
    ends_at: int
    is_all_day: bool = False
    is_own: bool = True
    at: int = 0
    summary: str = ""


class Matched(Part):
    """status: none, one, several. text: for who asked, on his clock. more: how many there are beside those listed.

    scope: of the wish; empty: it says none. question: which of several.
    """

    status: Literal["none", "one", "several"]
    events: Annotated[tuple[Match, ...], Field(max_length=MATCHES_MAX)] = ()
    text: str = ""
    more: int = 0
    scope: str = ""
    question: str = ""


class CancelRequest(Part):
    """events: of `match`, or the uid of a booking with the people and rooms that it is in."""

    organiser: str
    events: Annotated[tuple[Match, ...], Field(max_length=MATCHES_MAX)]


class Cancelled(Part):
    """cancelled: events that are gone. text: for who asked."""

    cancelled: int
    text: str = ""
