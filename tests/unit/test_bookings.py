"""Bookings, undone while a try of them is under way, called off, moved, or left behind as holds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from aios.processors.connectors.bookings import HOLD_S, STILL_THERE, Bookings, uid_of
from aios.processors.connectors.caldav import CalDav, Object
from aios.processors.connectors.calendar_parts import BookRequest, Found, Match, Option, Told, UndoRequest
from aios.processors.connectors.connector import Ask, CallFailed, Failure
from aios.processors.connectors.standing import parties_of
from aios.processors.meetings import invitation
from aios.processors.meetings.directory import Directory
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.invitation import Booking
from aios.processors.meetings.party import Person
from aios.streams.durations import HOUR_MS

ZONE = ZoneInfo("Europe/Berlin")
AT_MS = 1_800_000_000_000
NOW = AT_MS // 1000 - 86_400
PEOPLE = {name: Person(id=name, name=name, zone=ZONE, calendar=name) for name in ("ada", "bob")}
FOUND = Found(
    status="found", zone="Europe/Berlin", people=("bob",), options=(Option(starts_at=AT_MS, ends_at=AT_MS + 3_600_000),)
)
ASK = Ask(request_id="r", idempotency_key="k", tenant="demo", case_id="c", deadline_s=60.0)


class Dav:
    """Calendars in memory. held: the first change of an object in bob's calendar waits for it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.reached, self.held = asyncio.Event(), asyncio.Event()
        self._etags = 0

    async def get(self, calendar: str, uid: str) -> Object | None:
        return self.objects.get((calendar, uid))

    async def span(self, calendar: str, _span: Stretch) -> tuple[Object, ...]:
        return tuple(one for (where, _), one in self.objects.items() if where == calendar)

    async def put(self, calendar: str, uid: str, text: str, *, etag: str = "") -> bool:
        if etag and calendar == "bob":
            self.reached.set()
            await self.held.wait()
        there = self.objects.get((calendar, uid))
        if (there.etag if there else "") != etag:
            return False
        self._etags += 1
        self.objects[calendar, uid] = Object(uid, str(self._etags), text)
        return True

    async def delete(self, calendar: str, uid: str, *, etag: str = "") -> bool:
        there = self.objects.get((calendar, uid))
        if there is None or there.etag != etag:
            return False
        del self.objects[calendar, uid]
        return True


def test_a_late_try_does_not_make_again_what_was_undone() -> None:
    """Nothing stands in any calendar, and the try says that it was undone."""

    async def work() -> tuple[str, Failure, str, int]:
        dav = Dav()
        people = {name: Person(id=name, name=name, zone=ZONE, calendar=name) for name in ("ada", "bob")}
        bookings = Bookings(cast(CalDav, dav), Directory(people=people, rooms=(), teams={}, names={}), lambda: NOW)
        late = asyncio.create_task(bookings.book(BookRequest(organiser="ada", found=FOUND), ASK))
        await dav.reached.wait()
        undone = await bookings.undo(UndoRequest(organiser="ada", found=FOUND), ASK)
        dav.held.set()
        with pytest.raises(CallFailed) as failed:
            await late
        return undone.status, failed.value.failure, failed.value.word, len(dav.objects)

    assert asyncio.run(work()) == ("taken", Failure.AMBIGUOUS, "undone", 0)


def test_a_booking_that_nobody_undoes_stands_in_every_calendar() -> None:
    async def work() -> tuple[str, int]:
        dav = Dav()
        dav.held.set()
        booked = await of(dav).book(BookRequest(organiser="ada", found=FOUND), ASK)
        return booked.status, sum("CONFIRMED" in one.text for one in dav.objects.values())

    assert asyncio.run(work()) == ("booked", 2)


def of(dav: Dav, now: int = NOW) -> Bookings:
    """Of ada and bob."""
    return Bookings(cast(CalDav, dav), Directory(people=PEOPLE, rooms=(), teams={}, names={}), lambda: now)


def test_what_the_organiser_took_out_himself_is_called_off_everywhere() -> None:
    """The organiser deletes his own copy, then calls the meeting off: nobody keeps it."""

    async def work() -> tuple[bool, int, bool, list[tuple[str, str]]]:
        dav = Dav()
        dav.held.set()
        bookings = of(dav)
        booked = await bookings.book(BookRequest(organiser="ada", found=FOUND), ASK)
        del dav.objects["ada", booked.uid]
        entry = Match(uid=booked.uid, title="x", starts_at=AT_MS, ends_at=AT_MS + 3_600_000)
        was_gone = await bookings.are_gone(PEOPLE["ada"], [entry])
        cancelled = await bookings.cancel(PEOPLE["ada"], [entry])
        return was_gone, cancelled, await bookings.are_gone(PEOPLE["ada"], [entry]), list(dav.objects)

    assert asyncio.run(work()) == (False, 1, True, [])


def test_what_the_organiser_took_out_himself_is_moved_everywhere() -> None:
    """The organiser deletes his own copy, then moves the meeting: both have the new one alone."""

    async def work() -> tuple[str, str, set[tuple[str, str]]]:
        dav = Dav()
        dav.held.set()
        bookings = of(dav)
        booked = await bookings.book(BookRequest(organiser="ada", found=FOUND), ASK)
        del dav.objects["ada", booked.uid]
        later = FOUND.model_copy(update={"options": (Option(starts_at=AT_MS + HOUR_MS, ends_at=AT_MS + 2 * HOUR_MS),)})
        asked = BookRequest(organiser="ada", found=later, moving=booked.uid)
        moved = await bookings.book(asked, replace(ASK, idempotency_key="k2"))
        assert set(dav.objects) == {("ada", moved.uid), ("bob", moved.uid)}
        return moved.status, moved.replaced, {(moved.status, booked.uid)}

    status, replaced, told = asyncio.run(work())
    assert {(status, replaced)} == told


def test_what_cannot_be_taken_out_is_not_called_off() -> None:
    """An entry that still stands after it was deleted is an error, and no "Cancelled"."""

    class Deaf(Dav):
        async def delete(self, calendar: str, uid: str, *, etag: str = "") -> bool:
            return True

    async def work() -> str:
        dav = Deaf()
        dav.held.set()
        bookings = of(dav)
        booked = await bookings.book(BookRequest(organiser="ada", found=FOUND), ASK)
        entry = Match(uid=booked.uid, title="x", starts_at=AT_MS, ends_at=AT_MS + HOUR_MS)
        with pytest.raises(CallFailed) as failed:
            await bookings.cancel(PEOPLE["ada"], [entry])
        return failed.value.word

    assert asyncio.run(work()) == "still_there"


@pytest.mark.parametrize(("days", "status"), [(1, "taken"), (3, "booked")])
def test_a_hold_that_nobody_comes_back_to_takes_no_time(days: int, status: str) -> None:
    """Of a booking whose server went away for good: in the way for as long as a try of it may come."""

    async def work() -> str:
        dav = Dav()
        dav.held.set()
        await of(dav).book(BookRequest(organiser="ada", found=FOUND), ASK)
        for key, one in list(dav.objects.items()):
            until = f"TENTATIVE\r\nX-AIOS-UNTIL:{NOW + HOLD_S}"
            dav.objects[key] = Object("aios-0", one.etag, one.text.replace("CONFIRMED", until))
        other = replace(ASK, idempotency_key="other", case_id="other")
        booked = await of(dav, NOW + days * 86_400).book(BookRequest(organiser="ada", found=FOUND), other)
        return booked.status

    assert asyncio.run(work()) == status


class Refusing(Dav):
    """Fails where `refused` says so: the operation, the calendar, the uid."""

    def __init__(self, failure: Failure = Failure.PERMANENT) -> None:
        super().__init__()
        self.held.set()
        self.failure = failure
        self.refused: list[tuple[str, str, str]] = []

    def _refuse(self, *what: str) -> None:
        if what in self.refused:
            raise CallFailed(self.failure, "forbidden", "the account may not do that")

    async def put(self, calendar: str, uid: str, text: str, *, etag: str = "") -> bool:
        self._refuse("put" if etag else "make", calendar, uid)
        return await super().put(calendar, uid, text, etag=etag)

    async def delete(self, calendar: str, uid: str, *, etag: str = "") -> bool:
        self._refuse("delete", calendar, uid)
        return await super().delete(calendar, uid, etag=etag)


@pytest.mark.parametrize("failure", [Failure.PERMANENT, Failure.TRANSIENT])
def test_a_move_whose_old_booking_cannot_be_given_up_says_that_it_was_done(failure: Failure) -> None:
    """The new one stands, so it is no `failed`; undoing tells the new one, and that the old one is left."""

    async def work() -> None:
        dav = Refusing(failure)
        bookings = of(dav)
        old = await bookings.book(BookRequest(organiser="ada", found=FOUND), ASK)
        dav.refused = [("delete", "bob", old.uid)]
        later = FOUND.model_copy(update={"options": (Option(starts_at=AT_MS + HOUR_MS, ends_at=AT_MS + 2 * HOUR_MS),)})
        asked, ask = BookRequest(organiser="ada", found=later, moving=old.uid), replace(ASK, idempotency_key="k2")
        with pytest.raises(CallFailed) as failed:
            await bookings.book(asked, ask)
        assert (failed.value.failure, failed.value.was_done) == (failure, True)
        dav.failure = Failure.PERMANENT
        undone = await bookings.undo(
            UndoRequest(organiser="ada", found=later, moving=old.uid), replace(ASK, idempotency_key="k3")
        )
        assert (undone.status, undone.uid, undone.replaced) == ("booked", uid_of(ask), old.uid)
        assert STILL_THERE in undone.summary

    asyncio.run(work())


@pytest.mark.parametrize(
    ("refused", "left"),
    [
        ([("put", "ada")], set()),
        ([("put", "ada"), ("delete", "ada")], {"ada"}),
        ([("put", "bob"), ("delete", "bob")], {"bob"}),
    ],
)
def test_a_calendar_that_cannot_be_confirmed_leaves_nothing_in_the_others(
    refused: list[tuple[str, str]], left: set[str]
) -> None:
    """A hold stays where even that cannot be taken out, until it lapses; nobody has a confirmed booking."""

    async def work() -> None:
        dav = Refusing()
        dav.refused = [(*one, uid_of(ASK)) for one in refused]
        with pytest.raises(CallFailed):
            await of(dav).book(BookRequest(organiser="ada", found=FOUND), ASK)
        assert {calendar for calendar, _ in dav.objects} == left
        assert not [one for one in dav.objects.values() if "CONFIRMED" in one.text]

    asyncio.run(work())


def test_a_copy_tells_of_the_time_that_was_booked() -> None:
    """The first option was taken meanwhile: what stands in a calendar says the second one's time and score."""
    later = Option(starts_at=AT_MS + HOUR_MS, ends_at=AT_MS + 2 * HOUR_MS, score=88, reasons=("−12 (over lunch)",))
    first = Told(
        person="bob", zone="Europe/Berlin", sentences=("Friday 15 January 2027, 09:00–10:00.", "It scores 100.")
    )
    found = FOUND.model_copy(update={"options": (*FOUND.options, later), "why": (first,)})

    async def go() -> str:
        dav = Dav()
        dav.held.set()
        taken = invitation.write(
            Booking(
                uid="x", case="other", option=0, title="t", start=AT_MS // 1000, end=AT_MS // 1000 + 3600,
                people=(PEOPLE["bob"],), rooms=(), zone="UTC",
            ),
            is_confirmed=True,
        )  # fmt: skip
        await dav.put("bob", "x", taken)
        booked = await of(dav).book(BookRequest(organiser="ada", found=found), ASK)
        assert (booked.status, booked.option) == ("booked", 1)
        there = await dav.get("bob", booked.uid)
        assert there is not None
        return there.text.replace("\r\n ", "")

    text = asyncio.run(go())
    assert "10:00–11:00" in text
    assert "It scores 88 of 100" in text
    assert "09:00" not in text


def test_the_organisers_calendar_is_the_first_also_where_others_share_it() -> None:
    """It says how far a booking is, and is confirmed last."""
    people = (PEOPLE["ada"], PEOPLE["bob"], replace(PEOPLE["ada"], id="cy"))
    booking = Booking(uid="u", case="c", option=0, title="t", start=0, end=1, people=people, rooms=(), zone="UTC")
    assert [party.owner.id for party in parties_of(booking)] == ["ada", "bob"]
