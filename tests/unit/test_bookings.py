"""A booking that is undone while a try of it is still under way."""

from __future__ import annotations

import asyncio
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from aios.processors.connectors.bookings import Bookings
from aios.processors.connectors.caldav import CalDav, Object
from aios.processors.connectors.calendar_parts import BookRequest, Found, Option, UndoRequest
from aios.processors.connectors.connector import Ask, CallFailed, Failure
from aios.processors.meetings.directory import Directory
from aios.processors.meetings.intervals import Stretch
from aios.processors.meetings.party import Person

ZONE = ZoneInfo("Europe/Berlin")
AT_MS = 1_800_000_000_000
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
        bookings = Bookings(cast(CalDav, dav), Directory(people=people, rooms=(), teams={}, names={}))
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
        people = {name: Person(id=name, name=name, zone=ZONE, calendar=name) for name in ("ada", "bob")}
        bookings = Bookings(cast(CalDav, dav), Directory(people=people, rooms=(), teams={}, names={}))
        booked = await bookings.book(BookRequest(organiser="ada", found=FOUND), ASK)
        return booked.status, sum("CONFIRMED" in one.text for one in dav.objects.values())

    assert asyncio.run(work()) == ("booked", 2)
