"""Bookings in the calendars of all who take part: made once, found again, undone when they half fail.

Enters: what `find` found, who asks. Leaves: the booking that stands in every calendar, or none in any. How:

    1  hold      a tentative object in each calendar, the organiser's first; its uid is derived from the command; it
                 takes no time any more after HOLD_S, when no try of the command or of its undoing can come
    2  look      whatever else has come to stand there since the search: then this option is given up
    3  confirm   each object, the organiser's last: from then on the booking stands

Guaranteed: a try that was cut off is taken up where it stopped, because the organiser's copy says which option it was
at; two bookings that want the same time at the same moment are not both confirmed: both hold before they look, a
confirmed one wins, of two tentative ones the smaller uid waits a moment for the other to give up, and gives up itself
if it does not; a calendar that cannot be written leaves nothing in the others; what is changed or taken out is what was
read and judged: its ETag goes with the request, and what somebody has changed since is judged again; what is called off
is looked for afterwards, and an error where it still stands; where the organiser has taken his own copy out himself,
the others are found in everybody's calendar. A person who writes into a calendar between look and confirm is not seen:
a calendar server has no lock (RFC 4791).
Rejected: the server's own scheduling (RFC 6638; Radicale and others have none).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from zoneinfo import ZoneInfo

from aios.processors.connectors import calendar_answers
from aios.processors.connectors.caldav import CalDav, Object
from aios.processors.connectors.calendar_parts import Booked, BookRequest, Found, Match, Option, UndoRequest
from aios.processors.connectors.connector import Ask, CallFailed, Failure
from aios.processors.connectors.standing import Other, Party, mark_of, others_of, parties_of
from aios.processors.meetings import calendars, invitation, why
from aios.processors.meetings.directory import Directory
from aios.processors.meetings.invitation import Booking, Mark
from aios.processors.meetings.party import Person
from aios.processors.meetings.policy import DAY_S
from aios.processors.meetings.wish import Priority

YIELD_S_MAX = 3.0  # that the smaller uid waits for the other
LOOK_S = 0.2
LOOKS_MAX = 3
STILL_THERE = "the one before could not be taken out of every calendar, and perhaps still stands in some"
HOLD_S = 2 * DAY_S  # longer than booking and undoing wait and try together
OURS = "aios-"  # how uids of ours begin
READS_MAX = 8  # calendars at once, where a booking is looked for with everybody
FOR_GOOD = frozenset({Failure.PERMANENT, Failure.REFUSED})


class Bookings:
    """Of one server and directory."""

    def __init__(self, dav: CalDav, directory: Directory, now: Callable[[], int]) -> None:
        """now: Unix seconds."""
        self._dav = dav
        self._directory = directory
        self._now = now

    async def book(self, request: BookRequest, ask: Ask) -> Booked:
        """See the module. Raises CallFailed."""
        uid = uid_of(ask)
        organiser, people = self.parties(request.organiser, request.found.people)
        at = await self._begun(organiser, uid)
        if at is not None and at.is_confirmed:
            return await self._finished(organiser, request, self._answer(request.found, at.option, uid, ask, people))
        for number in range(at.option if at is not None else 0, len(request.found.options)):
            booking = self._booking(request.found, number, uid, ask.case_id, people)
            try:
                is_ours = await self._hold(booking, request)
                if is_ours:
                    await self._confirm(booking, request.found)
            except CallFailed as error:
                if error.failure in FOR_GOOD:
                    await self._release(uid, _calendars(booking), organiser)
                raise
            if is_ours:
                return await self._finished(organiser, request, self._answer(request.found, number, uid, ask, people))
            await self._release(uid, _calendars(booking), organiser)
        return await self._taken(organiser, request.moving)

    async def done(self, request: BookRequest, ask: Ask) -> Booked | None:
        """The booking, if it stands and what it replaces is gone. Raises CallFailed."""
        organiser, people = self.parties(request.organiser, request.found.people)
        at = await self._begun(organiser, uid_of(ask))
        if at is None or not at.is_confirmed:
            return None
        if request.moving and await self._stands_in(organiser, request.moving):
            return None
        stands = self._answer(request.found, at.option, uid_of(ask), ask, people)
        return stands.model_copy(update={"replaced": request.moving})

    async def undo(self, request: UndoRequest, ask: Ask) -> Booked:
        """Whatever the case holds and has not confirmed is gone; what is confirmed is told. Raises CallFailed."""
        organiser, people = self.parties(request.organiser, request.found.people)
        held: dict[str, list[str]] = {}  # in which calendars, by uid
        for number in range(len(request.found.options)):
            booking = self._booking(request.found, number, "", ask.case_id, people)
            for party in reversed(parties_of(booking)):
                for found in await self._dav.span(party.calendar, (booking.start - DAY_S, booking.end + DAY_S)):
                    mark = mark_of(found)
                    if mark is not None and mark.case == ask.case_id and found.uid != request.moving:
                        held.setdefault(found.uid, []).append(party.calendar)
        stands: Booked | None = None
        for uid, calendars_of_it in held.items():
            begun = await self._begun(organiser, uid)
            if begun is None or not begun.is_confirmed:
                await self._release(uid, calendars_of_it, organiser)
                begun = await self._begun(organiser, uid)
                if begun is not None:  # a late try has confirmed it meanwhile: then it stands everywhere
                    await self._confirm(
                        self._booking(request.found, begun.option, uid, ask.case_id, people), request.found
                    )
            if begun is not None:
                stands = self._answer(request.found, begun.option, uid, ask, people)
        if stands is None:
            return await self._taken(organiser, request.moving)
        try:
            return await self._finished(organiser, request, stands)
        except CallFailed as error:
            if error.failure not in FOR_GOOD:
                raise
        summary = f"{stands.summary} ({STILL_THERE})"  # nobody can do more about it than to say so
        return stands.model_copy(update={"replaced": request.moving, "summary": summary})

    async def cancel(self, organiser: Person, events: Sequence[Match]) -> int:
        """Take these out of every calendar that they stand in; how many are gone. Raises CallFailed."""
        for event in events:
            await self._give_up(organiser, event.uid, event.at // 1000)
        for event in events:
            if await self._is_shown(organiser, event):
                raise CallFailed(Failure.PERMANENT, "still_there", "what was called off still stands in the calendar")
        return len(events)

    async def are_gone(self, organiser: Person, events: Sequence[Match]) -> bool:
        """Whether none of them stands in the organiser's calendar, which is the last one they are taken out of."""
        for event in events:
            if await self._is_shown(organiser, event) or (not event.at and await self._stands_in(organiser, event.uid)):
                return False
        return True

    async def _is_shown(self, organiser: Person, event: Match) -> bool:
        """Whether a look into the organiser's calendar shows it, as the one did that found it."""
        span = event.starts_at // 1000 - DAY_S, event.ends_at // 1000 + DAY_S
        found = [one.text for one in await self._dav.span(organiser.calendar, span) if one.uid == event.uid]
        if not event.at or not found:
            return bool(found)
        stands = await asyncio.to_thread(calendars.engagements, found, span, organiser.zone, with_free=True)
        return any(one.begins == event.at // 1000 for one in stands)

    def parties(self, organiser: str, people: Iterable[str]) -> tuple[Person, tuple[Person, ...]]:
        """The organiser, and all who take part, the organiser first. Raises CallFailed."""
        first = self._directory.organiser(organiser)
        if first is None:
            raise CallFailed(Failure.PERMANENT, "no_person", "the directory does not know the organiser")
        others = [self._directory.people.get(one) for one in people if one != first.id]
        known = [one for one in others if one is not None]
        if len(known) < len(others):
            raise CallFailed(Failure.PERMANENT, "no_person", "the directory does not know somebody who takes part")
        return first, (first, *known)

    async def _begun(self, organiser: Person, uid: str) -> Mark | None:
        found = await self._dav.get(organiser.calendar, uid)
        return None if found is None else mark_of(found)

    async def _hold(self, booking: Booking, request: BookRequest) -> bool:
        """Whether every calendar holds the booking, and nothing else is in its way."""
        for party in parties_of(booking):
            await self._put(party, booking, request.found, is_confirmed=False)
        if booking.is_all_day or booking.is_reminder:
            return True
        waited = 0.0
        while others := await self._others(booking, request):
            if any(one.mark is None or one.uid < booking.uid for one in others) or waited >= YIELD_S_MAX:
                return False
            await asyncio.sleep(LOOK_S)
            waited += LOOK_S
        return True

    async def _confirm(self, booking: Booking, found: Found) -> None:
        """The organiser's copy is never made here: where it is gone, the booking was undone meanwhile."""
        organiser, *others = parties_of(booking)
        for party in reversed(others):
            await self._put(party, booking, found, is_confirmed=True)
        if not await self._put(organiser, booking, found, is_confirmed=True, makes=False):
            for party in reversed(others):
                await self._change(party.calendar, booking.uid, lambda _: None)
            raise CallFailed(Failure.AMBIGUOUS, "undone", "the booking was undone while it was confirmed")

    async def _put(
        self, party: Party, booking: Booking, found: Found, *, is_confirmed: bool, makes: bool = True
    ) -> bool:
        """Make a calendar's object this one, whatever a former try of ours left there. makes: also where none is left.

        False: none was, and none is.
        """
        words = calendar_answers.words(found, booking.option, party.owner)
        text = invitation.write(booking, is_confirmed=is_confirmed, words=words, until=self._now() + HOLD_S)
        if not is_confirmed and await self._dav.put(party.calendar, booking.uid, text):
            return True

        def becomes(there: Object | None) -> str | None:
            if there is None and not makes:
                return None
            mark = None if there is None else mark_of(there)
            is_done = mark is not None and mark.option == booking.option and (mark.is_confirmed or not is_confirmed)
            return there.text if there is not None and is_done else text

        return await self._change(party.calendar, booking.uid, becomes)

    async def _change(self, calendar: str, uid: str, becomes: Callable[[Object | None], str | None]) -> bool:
        """Make an object what it is to be, given what is there: a text, or None for nothing. What is there stays where
        it is that already, and is looked at again where it has changed since: perhaps by this very request, whose
        answer was lost. Whether there is one then. Raises CallFailed.
        """
        for _ in range(LOOKS_MAX):
            there = await self._dav.get(calendar, uid)
            text = becomes(there)
            if text == (None if there is None else there.text):
                return text is not None
            etag = "" if there is None else there.etag
            if text is None:
                is_done = await self._dav.delete(calendar, uid, etag=etag)
            else:
                is_done = await self._dav.put(calendar, uid, text, etag=etag)
            if is_done:
                return text is not None
        raise CallFailed(Failure.AMBIGUOUS, "changed_meanwhile", "a calendar was changed while it was written")

    async def _release(self, uid: str, stands_in: Iterable[str], organiser: Person) -> None:
        """Nothing of what is not confirmed is left; the organiser's copy, which says how far it came, goes last.

        A calendar that refuses keeps what it has, and no other does. Raises CallFailed.
        """
        refused: CallFailed | None = None
        for calendar in dict.fromkeys([*(one for one in stands_in if one != organiser.calendar), organiser.calendar]):
            try:
                is_last = calendar == organiser.calendar
                await self._change(calendar, uid, _without_hold if is_last else lambda _: None)
            except CallFailed as error:
                if error.failure not in FOR_GOOD:
                    raise
                refused = refused or error
        if refused is not None:
            raise refused

    async def _others(self, booking: Booking, request: BookRequest) -> list[Other]:
        is_high = request.found.priority == Priority.HIGH
        return await others_of(self._dav, booking, {booking.uid, request.moving}, self._now(), is_high=is_high)

    async def _finished(self, organiser: Person, request: BookRequest | UndoRequest, stands: Booked) -> Booked:
        """The new one stands: what it replaces is given up. Raises CallFailed, which was done."""
        if request.moving:
            try:
                await self._give_up(organiser, request.moving)
            except CallFailed as error:
                says = f"the new one is booked; {STILL_THERE}: {error.sentence}"
                raise CallFailed(
                    error.failure, error.word, says, again_after_s=error.again_after_s, was_done=True
                ) from error
        return stands.model_copy(update={"replaced": request.moving})

    async def _taken(self, organiser: Person, moving: str) -> Booked:
        """Of a booking that was to be moved and stands where it stood, where that is."""
        stood = await self._dav.get(organiser.calendar, moving) if moving else None
        if stood is None:
            return Booked(status="taken", replaced=moving)
        starts, ends = calendars.stretch_of(stood.text, organiser.zone)
        summary = why.when((starts, ends), organiser.zone)
        stands = Booked(status="taken", uid=moving, starts_at=starts * 1000, ends_at=ends * 1000, summary=summary)
        return stands.model_copy(update={"replaced": moving})

    async def _give_up(self, organiser: Person, uid: str, at: int = 0) -> None:
        """An event is taken out of every calendar that it stands in, or one occasion of it."""
        for calendar in await self._stands_in(organiser, uid):
            await self._change(calendar, uid, lambda there: _without(there, at, organiser.zone))

    async def _stands_in(self, organiser: Person, uid: str) -> list[str]:
        """The calendars of an event, the organiser's last: his copy says whose they are. Where it is gone, a booking of
        ours is looked for with everybody.
        """
        everybody = {one.id: one.calendar for one in self._directory.rooms}
        everybody |= {one.id: one.calendar for one in self._directory.people.values()}
        found = await self._dav.get(organiser.calendar, uid)
        if found is None:
            return await self._with_anybody(uid, {*everybody.values()}) if uid.startswith(OURS) else []
        mark = mark_of(found)
        marked = () if mark is None else (*mark.rooms, *mark.people)
        others = dict.fromkeys(everybody[one] for one in marked if one in everybody)
        return [*(one for one in others if one != organiser.calendar), organiser.calendar]

    async def _with_anybody(self, uid: str, everywhere: Iterable[str]) -> list[str]:
        places = asyncio.Semaphore(READS_MAX)

        async def has(calendar: str) -> bool:
            async with places:
                return await self._dav.get(calendar, uid) is not None

        names = sorted(one for one in everywhere if one)
        return [name for name, stands in zip(names, await asyncio.gather(*map(has, names)), strict=True) if stands]

    def _booking(self, found: Found, number: int, uid: str, case: str, people: tuple[Person, ...]) -> Booking:
        option = found.options[number]
        rooms = {room.id: room for room in self._directory.rooms}
        if missing := [one for one in option.rooms if one not in rooms]:
            raise CallFailed(Failure.PERMANENT, "no_room", f"the directory does not know the room {missing[0]}")
        return Booking(
            uid=uid,
            case=case,
            option=number,
            title=found.title,
            start=option.starts_at // 1000,
            end=option.ends_at // 1000,
            people=people,
            rooms=[rooms[one] for one in option.rooms],
            zone=found.zone,
            repeats=found.repeats,
            is_all_day=option.is_all_day,
            is_reminder=found.is_reminder,
        )

    def _answer(self, found: Found, number: int, uid: str, ask: Ask, people: tuple[Person, ...]) -> Booked:
        option: Option = found.options[number]
        return Booked(
            status="booked",
            uid=uid,
            option=number,
            starts_at=option.starts_at,
            ends_at=option.ends_at,
            rooms=option.rooms,
            calendars=len(parties_of(self._booking(found, number, uid, ask.case_id, people))),
            summary=option.summary,
        )


def uid_of(ask: Ask) -> str:
    """The same for every try of a command, and for no other command."""
    return f"{OURS}{hashlib.sha256(f'{ask.tenant}|{ask.idempotency_key}'.encode()).hexdigest()[:40]}"


def _calendars(booking: Booking) -> list[str]:
    return [party.calendar for party in parties_of(booking)]


def _without_hold(there: Object | None) -> str | None:
    """A hold of ours goes; what another try of the command has confirmed meanwhile stays."""
    mark = None if there is None else mark_of(there)
    return there.text if there is not None and mark is not None and mark.is_confirmed else None


def _without(there: Object | None, at: int, clock: ZoneInfo) -> str | None:
    """An event, or one occasion of it (at: when it begins; 0: all), is not to stand there."""
    return None if there is None or not at else invitation.without_occasion(there.text, at, clock)
