"""The work of the system `calendars`: from requests to answers, with a CalDAV server and a directory of people.

Enters: requests of calendar_parts.py. Leaves: their answers. Guaranteed: the arithmetic is all in processors/meetings;
a calendar that cannot be read is an error that names whose, never free time; the directory's file is read again when
it has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from aios.processors.connectors import calendar_answers as answers
from aios.processors.connectors.bookings import Bookings
from aios.processors.connectors.caldav import CalDav
from aios.processors.connectors.calendar_parts import (
    AmendRequest,
    BookRequest,
    Cancelled,
    CancelRequest,
    FindRequest,
    Found,
    Matched,
    MatchRequest,
    UnderstandRequest,
    Understood,
    UndoRequest,
)
from aios.processors.connectors.connector import Ask, CallFailed, Failure, Setup
from aios.processors.meetings import calendars, finding, invitation, matching, notes, understanding
from aios.processors.meetings import directory as directories
from aios.processors.meetings.calendars import Engagement, Unreadable
from aios.processors.meetings.directory import Directory
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.notes import Entry
from aios.processors.meetings.party import Person, Room
from aios.processors.meetings.terms import terms
from aios.processors.meetings.wish import DURATION_MIN_MAX, Action, AskBack, Missing, Wish
from aios.processors.meetings.zones import UnknownZone, local, zone
from aios.streams.errors import ConfigError

READS_MAX = 8  # calendars of one search, at once
DAY_S = 86_400
OF_A_SERIES = "That is one of a series, of which I move none: cancel that one, and ask for a new meeting."
OF_DAYS = "That lasts more than a day; how long shall it last?"


@contextlib.contextmanager
def _read_whole() -> Iterator[None]:
    """What nobody can be sure about ends the call for good. Raises CallFailed."""
    try:
        yield
    except UnknownZone as error:
        raise CallFailed(Failure.PERMANENT, "unknown_zone", str(error)) from error
    except Unreadable as error:
        raise CallFailed(Failure.PERMANENT, "unreadable", f"a calendar has {error}") from error


class Work:
    """Of one deployment: a server, a directory."""

    def __init__(self, setup: Setup, clock: Callable[[], float]) -> None:
        self._setup = setup
        self._clock = clock
        self._dav: CalDav | None = None
        self._directory: tuple[tuple[int, int], Directory] | None = None

    async def open(self) -> None:
        secrets = self._setup.settings.connectors.secrets.get(self._setup.system.system, {})
        has_account = "user" in {**self._setup.system.secrets, **secrets}
        user, password = (self._setup.secret(name) if has_account else "" for name in ("user", "password"))
        self._dav = CalDav(self._setup.option("url"), user, password)
        await self._people()

    async def close(self) -> None:
        if self._dav is not None:
            await self._dav.close()

    async def call(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        """Raises CallFailed, ConfigError."""
        with _read_whole():
            return await self._called(operation, request, ask)

    async def _called(self, operation: str, request: Any, ask: Ask) -> BaseModel:
        directory = await self._people()
        match request:
            case UnderstandRequest():
                return await asyncio.to_thread(_understand, request, directory)
            case AmendRequest():
                return await asyncio.to_thread(_amend, request, directory, self._now())
            case FindRequest():
                return await self._find(request, directory)
            case MatchRequest():
                return await self._match(request, directory)
            case BookRequest():
                return await self._bookings(directory).book(request, ask)
            case UndoRequest():
                return await self._bookings(directory).undo(request, ask)
            case CancelRequest():
                organiser = _organiser(directory, request.organiser)
                cancelled = await self._bookings(directory).cancel(organiser, request.events)
                return Cancelled(cancelled=cancelled, text=answers.cancelled(request.events))
        raise CallFailed(Failure.PERMANENT, "unknown_operation", f"calendars cannot be asked to {operation}")

    async def done(self, operation: str, request: Any, ask: Ask) -> BaseModel | None:
        """`undo` and `cancel` may be done again without harm, and tell what they found."""
        del operation
        directory = await self._people()
        bookings = self._bookings(directory)
        with _read_whole():
            if isinstance(request, BookRequest):
                return await bookings.done(request, ask)
            if isinstance(request, CancelRequest):
                organiser = _organiser(directory, request.organiser)
                if await bookings.are_gone(organiser, request.events):
                    return Cancelled(cancelled=len(request.events), text=answers.cancelled(request.events))
        return None

    async def _find(self, request: FindRequest, directory: Directory) -> Found:
        organiser, now = _organiser(directory, request.organiser), self._now()
        known = await self._as_it_stands(request.wish, organiser, request.moving)
        if isinstance(known, AskBack):
            return answers.asked(known)
        wish = _with_people(known, directory)
        clock = zone(wish.zone) if wish.zone else organiser.zone
        if notes.is_note(wish):
            noted = notes.entry(wish, clock, now)
            if noted is None:
                noted = await self._own_time(wish, organiser, now)
            return answers.asked(noted) if isinstance(noted, AskBack) else answers.noted(wish, noted, organiser, clock)
        sought = terms(wish, organiser, directory, request.policy, now)
        if isinstance(sought, AskBack):
            return answers.asked(sought)
        rooms = {room.id: room for need in sought.needs for room in need.rooms}
        span = finding.span(sought, request.policy)
        read = await self._read([*sought.people, *rooms.values()], span, {request.moving})
        found = await asyncio.to_thread(finding.find, sought, read, request.policy)
        return answers.found(wish, found, rooms)

    async def _as_it_stands(self, wish: Wish, organiser: Person, uid: str) -> Wish | AskBack:
        """A change with what it leaves as it was: the title, the people and the length of what is to be moved, and of
        any wish the day where only an hour is said. One occasion of a series has no such thing of its own.
        """
        is_hour = wish.date_from is None and wish.time_from is not None and not wish.repeats
        if not uid or not (wish.action is Action.CHANGE or is_hour):
            return wish
        assert self._dav is not None
        found = await self._dav.get(organiser.calendar, uid)
        if found is None:
            raise CallFailed(Failure.REFUSED, "gone", "what was to be changed does not stand in the calendar any more")
        changes: dict[str, Any] = {}
        if wish.action is Action.CHANGE:
            if not wish.repeats and await asyncio.to_thread(invitation.is_series, found.text):
                return AskBack(missing=Missing.EVENT, question=OF_A_SERIES, understood=wish)
            title, people, minutes = await asyncio.to_thread(invitation.kept, found.text, organiser.zone)
            if wish.duration_min is None and minutes is not None and minutes > DURATION_MIN_MAX:
                return AskBack(missing=Missing.TIME, question=OF_DAYS, understood=wish)
            people = tuple(one for one in people if one != organiser.id)
            changes = {"title": title, "participants": people, "duration_min": wish.duration_min or minutes}
        if is_hour:
            clock = zone(wish.zone) if wish.zone else organiser.zone
            day = local(calendars.stretch_of(found.text, organiser.zone)[0], clock).date()
            changes |= {"date_from": day, "date_to": day}
        return Wish.model_validate({**wish.model_dump(), **changes})

    async def _own_time(self, wish: Wish, organiser: Person, now: int) -> Entry | AskBack:
        """Of the event that a reminder speaks of."""
        matched = await self._matching(wish, organiser, now)
        ahead = [one for one in matched if one.start >= now]
        if not ahead:
            question = f"When is {wish.title or 'that'}? It is not in your calendar."
            return AskBack(missing=Missing.DATE, question=question, understood=wish)
        return Entry(ahead[0].start, ahead[0].end, ahead[0].is_all_day)

    async def _match(self, request: MatchRequest, directory: Directory) -> Matched:
        organiser, now = _organiser(directory, request.organiser), self._now()
        matched = await self._matching(request.wish, organiser, now)
        return answers.matched(matched, request.wish, organiser.zone)

    async def _matching(self, wish: Wish, organiser: Person, now: int) -> tuple[Engagement, ...]:
        clock = zone(wish.zone) if wish.zone else organiser.zone
        within = matching.looked_at(wish, clock, now)
        if not within:
            return ()
        span = within[0][0] - DAY_S, within[-1][1] + DAY_S
        read = await self._read([organiser], span, set(), with_free=True)
        return matching.matching(wish, read[organiser.id], clock, now)

    async def _read(
        self, parties: Sequence[Person | Room], span: Stretch, ours: set[str], *, with_free: bool = False
    ) -> dict[str, tuple[Engagement, ...]]:
        """By id, what stands in the calendars, but for these uids."""
        assert self._dav is not None
        dav, places = self._dav, asyncio.Semaphore(READS_MAX)

        async def one(party: Person | Room) -> tuple[Engagement, ...]:
            async with places:
                objects = await dav.span(party.calendar, span)
            texts = {one.uid: one.text for one in objects if one.uid not in ours}
            try:
                return await asyncio.to_thread(_engagements, party, texts, span, self._now(), with_free=with_free)
            except Unreadable as error:
                raise CallFailed(Failure.PERMANENT, "unreadable", f"the calendar of {party.id} has {error}") from error

        found = await asyncio.gather(*(one(party) for party in parties))
        return {party.id: engagements for party, engagements in zip(parties, found, strict=True)}

    async def _people(self) -> Directory:
        """As the file says now. Raises ConfigError."""
        path = Path(self._setup.option("directory"))
        try:
            stat = path.stat()
        except OSError as error:
            raise ConfigError(f"the directory of people cannot be read: {error}") from error
        stamp = stat.st_mtime_ns, stat.st_size
        if self._directory is None or self._directory[0] != stamp:
            self._directory = stamp, await asyncio.to_thread(directories.load, path)
        return self._directory[1]

    def _bookings(self, directory: Directory) -> Bookings:
        assert self._dav is not None
        return Bookings(self._dav, directory, self._now)

    def _now(self) -> int:
        return int(self._clock())


def _engagements(
    party: Person | Room, texts: Mapping[str, str], span: Stretch, now: int, *, with_free: bool
) -> tuple[Engagement, ...]:
    """Without holds that nobody comes back to. Raises Unreadable."""
    firm = {uid: text for uid, text in texts.items() if not invitation.is_lapsed(text, now)}
    return answers.engagements(party, firm, span, with_free)


def _organiser(directory: Directory, said: str) -> Person:
    found = directory.organiser(said)
    if found is None:
        raise CallFailed(Failure.PERMANENT, "no_person", "the directory does not know the organiser")
    return found


def _clock(named: str, organiser: Person) -> str:
    """Of the request, else of the organiser. Raises UnknownZone."""
    return zone(named).key if named else organiser.zone.key


def _with_people(wish: Wish, directory: Directory) -> Wish:
    """What is called by nothing but names of the directory is a meeting with them: "schedule bob for tomorrow at 3"."""
    if wish.action is not Action.SCHEDULE or wish.participants:
        return wish
    people = directory.people_in(wish.title)
    return wish.model_copy(update={"title": "meeting", "participants": people}) if people else wish


def _on_clock(said: Wish | AskBack, clock: str, organiser: Person) -> Understood:
    """Its times are on the clock that the words were read on, also where that is not the organiser's own."""
    if isinstance(said, Wish) and not said.zone and clock != organiser.zone.key:
        said = said.model_copy(update={"zone": clock})
    return answers.understood(said)


def _understand(request: UnderstandRequest, directory: Directory) -> Understood:
    organiser = directory.organiser(request.organiser)
    if organiser is None:
        return Understood(status="stranger", question="The directory does not know who asks.")
    clock = _clock(request.time_zone, organiser)
    now = datetime.fromtimestamp(request.sent_at / 1000, UTC)
    if not request.answer:
        return _on_clock(understanding.understand(request.text, now, clock), clock, organiser)
    asked = AskBack(
        missing=Missing(request.missing or Missing.MEANING),
        question="What shall it be?",
        understood=request.understood,
        about=request.about,
    )
    return _on_clock(understanding.complete(request.text, asked, request.answer, now, clock), clock, organiser)


def _amend(request: AmendRequest, directory: Directory, now: int) -> Understood:
    organiser = _organiser(directory, request.organiser)
    clock = _clock(request.time_zone, organiser)
    said = datetime.fromtimestamp(now, UTC)
    return answers.understood(understanding.amend(request.text, request.wish, said, clock))
