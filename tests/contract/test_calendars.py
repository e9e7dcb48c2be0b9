"""The system `calendars` against a real CalDAV server: read, booked once, taken up again, undone, moved, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from aios.infra.local.radicale import Radicale
from aios.processors.connectors import bookings
from aios.processors.connectors.caldav import CalDav
from aios.processors.connectors.calendar_parts import (
    AmendRequest,
    Booked,
    BookRequest,
    Cancelled,
    CancelRequest,
    FindRequest,
    Found,
    Matched,
    MatchRequest,
    UnderstandRequest,
    UndoRequest,
)
from aios.processors.connectors.calendars import Calendars
from aios.processors.connectors.connector import Ask, CallFailed, Failure, Setup
from aios.processors.meetings import calendars, zones
from aios.processors.meetings.policy import Policy
from aios.processors.meetings.wish import Action, Bound, Scope, Wish
from aios.streams import installed
from aios.streams.config import ConnectorsSettings, Settings

NOW = zones.moment(date(2026, 3, 24), time(10), zones.zone("Europe/Berlin"))  # a Tuesday; clocks go forward on Sunday


@dataclass
class Company:
    """A connector on calendars of its own, and a look into them."""

    system: Calendars
    dav: CalDav
    prefix: str

    async def entries(self, person: str) -> list[tuple[str, str, str]]:
        """Title, local start and status of all that is in a calendar in the weeks around NOW."""
        span = (NOW - 30 * 86_400, NOW + 120 * 86_400)
        found = await self.dav.span(f"{self.prefix}{person}", span)
        shown = []
        for one in found:
            status = "TENTATIVE" if "STATUS:TENTATIVE" in one.text else "CONFIRMED"
            on = zones.zone("Europe/Berlin")
            entries = calendars.engagements([one.text], span, on, with_free=True)
            shown += [(e.title, f"{zones.local(e.start, on):%m-%d %H:%M}", status) for e in entries]
        return sorted(shown, key=lambda one: one[1])

    async def write(self, person: str, start: datetime, minutes: int, *lines: str, title: str = "Standup") -> str:
        """An entry that somebody put there himself."""
        uid = f"theirs-{uuid4().hex}"
        end = start + timedelta(minutes=minutes)
        given = [
            f"DTSTART:{start.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            f"DTEND:{end.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            *lines,
        ]
        body = [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:-//x//",
            "BEGIN:VEVENT",
            f"UID:{uid}",
            "DTSTAMP:20260101T000000Z",
        ]
        text = "\r\n".join([*body, *given, f"SUMMARY:{title}", "END:VEVENT", "END:VCALENDAR", ""])
        assert await self.dav.put(f"{self.prefix}{person}", uid, text)
        return uid

    async def find(self, wish: Wish, organiser: str = "ben", moving: str = "") -> Found:
        request = FindRequest(wish=wish, organiser=organiser, policy=Policy(), moving=moving)
        found = await self.system.call("find", request, ask())
        assert isinstance(found, Found)
        return found

    async def book(self, found: Found, key: str, organiser: str = "ben", moving: str = "") -> Booked:
        booked = await self.system.call("book", BookRequest(organiser=organiser, found=found, moving=moving), ask(key))
        assert isinstance(booked, Booked)
        return booked


def ask(key: str = "k", case: str = "case-1") -> Ask:
    return Ask(request_id=key, idempotency_key=key, tenant="demo", case_id=case, deadline_s=30)


def berlin(day: int, hour: int, minute: int = 0, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=zones.zone("Europe/Berlin"))


@asynccontextmanager
async def company(
    server: Radicale, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str = ""
) -> AsyncIterator[Company]:
    prefix = f"aios/{uuid4().hex[:8]}."
    people = [
        {"id": "ana", "name": "Ana Lopez", "address": "ana@x.org", "zone": "Europe/Madrid", "site": "Madrid"},
        {"id": "ben", "name": "Ben Weiss", "address": "ben@x.org", "zone": "Europe/Berlin", "site": "Berlin"},
        {"id": "cleo", "name": "Cleo Kim", "address": "cleo@x.org", "zone": "America/New_York", "site": "New York"},
    ]
    room = {
        "id": "aurora",
        "name": "Aurora",
        "site": "Berlin",
        "seats": 6,
        "zone": "Europe/Berlin",
        "equipment": ["projector"],
    }
    everybody = [{**one, "calendar": f"{prefix}{one['id']}"} for one in (*people, room)]
    file = folder / "people.yaml"
    file.write_text(yaml.safe_dump({"people": everybody[:3], "rooms": everybody[3:]}), encoding="utf-8")
    monkeypatch.setenv("CALENDAR_USER", server.user)
    monkeypatch.setenv("CALENDAR_PASSWORD", server.password)
    secrets = {"calendars": {"user": "env:CALENDAR_USER", "password": "env:CALENDAR_PASSWORD"}}
    settings = Settings(connectors=ConnectorsSettings(secrets=secrets))
    options = {"url": url or server.url, "directory": str(file)}
    system = Calendars(Setup(system=installed.systems()["calendars"], settings=settings, options=options), lambda: NOW)
    dav = CalDav(server.url, server.user, server.password)
    for one in everybody:
        await dav.make(str(one["calendar"]))
    await system.open()
    try:
        yield Company(system, dav, prefix)
    finally:
        await system.close()
        await dav.close()


@pytest.fixture
def run(
    radicale: Radicale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Company], Coroutine[Any, Any, None]]], None]:
    def within(does: Callable[[Company], Coroutine[Any, Any, None]]) -> None:
        async def go() -> None:
            async with company(radicale, tmp_path, monkeypatch) as made:
                await does(made)

        asyncio.run(go())

    return within


def lunch(**more: Any) -> Wish:
    given = {"action": Action.SCHEDULE, "title": "plan", "participants": ("Ana",), "date_from": date(2026, 3, 25)}
    return Wish.model_validate({**given, "date_to": date(2026, 3, 25), "duration_min": 60, **more})


Run = Callable[[Callable[[Company], Coroutine[Any, Any, None]]], None]


def test_a_slot_is_found_around_what_stands_in_calendars(run: Run) -> None:
    """Ana's morning is taken, Ben's lunch is kept: the first hour after that, for both, in each one's words."""

    async def does(made: Company) -> None:
        await made.write("ana", berlin(25, 9), 180)
        found = await made.find(lunch())
        assert found.status == "found"
        assert found.options[0].summary.startswith(
            "Wednesday 25 March 2026, 13:00–14:00 (Europe/Berlin, UTC+01:00)"
        ) or (found.options[0].starts_at == int(berlin(25, 13).timestamp()) * 1000)
        words = {told.person: " ".join(told.sentences) for told in found.why}
        assert "you are busy" in words["ana"]
        assert "Ana Lopez is busy" in words["ben"]
        assert "Standup" not in words["ben"]

    run(does)


def test_a_booking_stands_once_in_every_calendar(run: Run) -> None:
    """Asked twice with one key: one entry in each calendar, the same answer, and `done` says so."""

    async def does(made: Company) -> None:
        found = await made.find(lunch(needs=("projector",)))
        request = BookRequest(organiser="ben", found=found)
        assert await made.system.done("book", request, ask("b1")) is None
        first = await made.book(found, "b1")
        assert first.status == "booked"
        assert (first.rooms, first.calendars) == (("aurora",), 3)
        assert await made.book(found, "b1") == first
        assert await made.system.done("book", request, ask("b1")) == first
        for owner in ("ana", "ben", "aurora"):
            assert [(title, status) for title, _, status in await made.entries(owner)] == [("plan", "CONFIRMED")]
        assert await made.entries("cleo") == []

    run(does)


@pytest.mark.parametrize("writes", range(1, 9))
def test_a_booking_cut_off_anywhere_is_taken_up_again(run: Run, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks behind the n-th write: the next try ends with one confirmed entry in each calendar."""

    async def does(made: Company) -> None:
        found = await made.find(lunch(needs=("projector",)))
        put, count = CalDav.put, 0

        async def breaks(self: CalDav, *words: Any, **more: Any) -> bool:
            nonlocal count
            count += 1
            done = await put(self, *words, **more)
            if count == writes:
                raise CallFailed(Failure.AMBIGUOUS, "connection_lost", "behind the write")
            return done

        with monkeypatch.context() as patched:
            patched.setattr(CalDav, "put", breaks)
            if writes <= 6:  # three holds, three confirmations
                with pytest.raises(CallFailed):
                    await made.book(found, "b1")
            else:
                await made.book(found, "b1")
        again = await made.system.done("book", BookRequest(organiser="ben", found=found), ask("b1"))
        assert (again is not None) == (writes >= 6)
        assert (await made.book(found, "b1")).status == "booked"
        for owner in ("ana", "ben", "aurora"):
            assert [(title, status) for title, _, status in await made.entries(owner)] == [("plan", "CONFIRMED")]

    run(does)


def test_what_half_fails_is_undone(run: Run) -> None:
    """One calendar cannot be written, for good: nothing is left in any of the others, and the error says why."""

    async def does(made: Company) -> None:
        found = await made.find(lunch(participants=("Ana", "Cleo"), date_to=date(2026, 3, 27)))
        put = CalDav.put

        async def refuses(self: CalDav, calendar: str, *words: Any, **more: Any) -> bool:
            if calendar.endswith("cleo"):
                raise CallFailed(Failure.PERMANENT, "forbidden", "not this one")
            return await put(self, calendar, *words, **more)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(CalDav, "put", refuses)
            with pytest.raises(CallFailed, match="forbidden"):
                await made.book(found, "b1")
        for owner in ("ana", "ben", "cleo"):
            assert await made.entries(owner) == []

    run(does)


def test_a_slot_taken_meanwhile_gives_way_to_the_next(run: Run) -> None:
    """Between search and booking somebody takes the best slot: the next one is booked, of the first nothing is left."""

    async def does(made: Company) -> None:
        found = await made.find(lunch())
        best = datetime.fromtimestamp(found.options[0].starts_at / 1000, UTC)
        await made.write("ana", best, 15, title="quick word")
        booked = await made.book(found, "b1")
        assert (booked.status, booked.option >= 1) == ("booked", True)
        assert len(await made.entries("ben")) == 1
        assert len(await made.entries("ana")) == 2

    run(does)


def test_nothing_is_booked_where_every_option_is_taken(run: Run) -> None:
    """All gone: the answer says so, and no hold is left."""

    async def does(made: Company) -> None:
        found = await made.find(lunch())
        await made.write("ana", berlin(25, 7), 12 * 60, title="away after all")
        assert (await made.book(found, "b1")).status == "taken"
        assert await made.entries("ben") == []
        assert len(await made.entries("ana")) == 1

    run(does)


def test_two_at_once_are_never_both_there(run: Run) -> None:
    """Ten bookings of the same hour at the same moment: each confirmed entry of Ana has its own time."""

    async def does(made: Company) -> None:
        found = await made.find(lunch(duration_min=30))
        booked = await asyncio.gather(*(made.book(found, f"b{number}") for number in range(6)))
        stands = await made.entries("ana")
        assert all(status == "CONFIRMED" for _, _, status in stands)
        assert len({start for _, start, _ in stands}) == len(stands) == sum(one.status == "booked" for one in booked)
        assert stands == await made.entries("ben")
        assert stands

    run(does)


def test_a_hold_that_nobody_knows_the_end_of_is_undone(run: Run) -> None:
    """A try ended in the middle and its deadline passed: undo leaves nothing; of a booking that stands it tells."""

    async def does(made: Company) -> None:
        found = await made.find(lunch())
        request = UndoRequest(organiser="ben", found=found)
        with pytest.MonkeyPatch.context() as patched:

            async def breaks(*_: Any, **__: Any) -> None:
                raise CallFailed(Failure.AMBIGUOUS, "connection_lost", "in the middle")

            patched.setattr(bookings.Bookings, "_confirm", breaks)
            with pytest.raises(CallFailed):
                await made.book(found, "b1")
        assert len(await made.entries("ana")) == 1
        undone = await made.system.call("undo", request, ask("u1"))
        assert isinstance(undone, Booked)
        assert undone.status == "taken"
        assert await made.entries("ana") == await made.entries("ben") == []
        booked = await made.book(found, "b2")
        told = await made.system.call("undo", request, ask("u2"))
        assert told == booked

    run(does)


def test_a_hold_that_a_late_try_confirms_while_it_is_undone_stands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the removal: the server refuses to remove what is not what was read, and it stands."""

    async def does(made: Company) -> None:
        found = await made.find(lunch())
        with pytest.MonkeyPatch.context() as patched:

            async def breaks(*_: Any, **__: Any) -> None:
                raise CallFailed(Failure.AMBIGUOUS, "connection_lost", "in the middle")

            patched.setattr(bookings.Bookings, "_confirm", breaks)
            with pytest.raises(CallFailed):
                await made.book(found, "b1")
        remove = CalDav.delete
        removed: list[bool] = []

        async def after_it_was_confirmed(dav: CalDav, calendar: str, uid: str, *, etag: str = "") -> bool:
            there = await dav.get(calendar, uid)
            if calendar.endswith(".ben") and there is not None:
                await dav.put(
                    calendar, uid, there.text.replace("STATUS:TENTATIVE", "STATUS:CONFIRMED"), etag=there.etag
                )
            removed.append(await remove(dav, calendar, uid, etag=etag))
            return removed[-1]

        monkeypatch.setattr(CalDav, "delete", after_it_was_confirmed)
        told = await made.system.call("undo", UndoRequest(organiser="ben", found=found), ask("u1"))
        assert removed == [True, False]
        assert isinstance(told, Booked)
        assert (told.status, told.option) == ("booked", 0)
        for owner in ("ana", "ben"):
            assert [status for _, _, status in await made.entries(owner)] == ["CONFIRMED"]

    run(does)


def test_a_meeting_is_moved_and_makes_room_for_itself(run: Run) -> None:
    """To half an hour later, over its own old time: afterwards it stands there alone, in the new room too."""

    async def does(made: Company) -> None:
        booked = await made.book(await made.find(lunch(time_from=time(10))), "b1")
        later = await made.find(lunch(time_from=time(10, 30), needs=("room",)), moving=booked.uid)
        assert later.status == "found"
        moved = await made.book(later, "b2", moving=booked.uid)
        assert (moved.status, moved.rooms) == ("booked", ("aurora",))
        for owner in ("ana", "ben", "aurora"):
            assert await made.entries(owner) == [("plan", "03-25 10:30", "CONFIRMED")]
        request = BookRequest(organiser="ben", found=later, moving=booked.uid)
        assert await made.system.done("book", request, ask("b2")) == moved

    run(does)


def test_a_meeting_that_cannot_be_moved_stays(run: Run) -> None:
    """The new time is taken meanwhile: the old booking stands untouched, and the answer says where."""

    async def does(made: Company) -> None:
        booked = await made.book(await made.find(lunch(time_from=time(10))), "b1")
        later = await made.find(lunch(time_from=time(15)), moving=booked.uid)
        await made.write("ana", berlin(25, 15), 60)
        stays = await made.book(later, "b2", moving=booked.uid)
        assert (stays.status, stays.uid, stays.starts_at) == ("taken", booked.uid, booked.starts_at)
        assert await made.entries("ben") == [("plan", "03-25 10:00", "CONFIRMED")]

    run(does)


@pytest.mark.parametrize(
    ("given", "starts", "hours"),
    [
        (("DTSTART;VALUE=DATE:20260327",), berlin(27, 0), 24),
        (("DTSTART:20260327T090000Z", "DURATION:PT2H"), berlin(27, 10), 2),
        (("DTSTART:20260327T100000", "DTEND:20260327T113000"), berlin(27, 10), 1.5),
    ],
)
def test_an_entry_of_any_form_that_cannot_be_moved_stays(
    run: Run, given: tuple[str, ...], starts: datetime, hours: float
) -> None:
    """A whole day, a length instead of an end, a time without a zone: the answer says where it stands, on his clock."""

    async def does(made: Company) -> None:
        uid = f"theirs-{uuid4().hex}"
        head = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//", "BEGIN:VEVENT", f"UID:{uid}")
        body = ("DTSTAMP:20260101T000000Z", *given, "SUMMARY:Own", "END:VEVENT", "END:VCALENDAR", "")
        assert await made.dav.put(f"{made.prefix}ben", uid, "\r\n".join((*head, *body)))
        later = await made.find(lunch(time_from=time(15)), moving=uid)
        await made.write("ana", berlin(25, 15), 60)
        stays = await made.book(later, "b2", moving=uid)
        begins = round(starts.timestamp() * 1000)
        assert (stays.status, stays.uid, stays.starts_at) == ("taken", uid, begins)
        assert stays.ends_at == begins + hours * 3_600_000

    run(does)


def test_a_meeting_is_cancelled_everywhere(run: Run) -> None:
    """Found by its words, taken out of every calendar; again is no harm, and `done` knows."""

    async def does(made: Company) -> None:
        await made.book(await made.find(lunch(needs=("projector",))), "b1")
        wish = Wish(action=Action.CANCEL, title="plan", date_from=date(2026, 3, 25), scope=Scope.ONE)
        matched = await made.system.call("match", MatchRequest(wish=wish, organiser="ben"), ask())
        assert isinstance(matched, Matched)
        assert (matched.status, [one.title for one in matched.events]) == ("one", ["plan"])
        request = CancelRequest(organiser="ben", events=matched.events)
        assert await made.system.done("cancel", request, ask("c1")) is None
        for _ in range(2):
            gone = await made.system.call("cancel", request, ask("c1"))
            assert isinstance(gone, Cancelled)
            assert gone.cancelled == 1
        assert await made.system.done("cancel", request, ask("c1")) is not None
        for owner in ("ana", "ben", "aurora"):
            assert await made.entries(owner) == []

    run(does)


def test_one_occasion_of_a_series_is_cancelled(run: Run) -> None:
    """Every week, over the change of clocks at the same local time; one week is left out, the others stay."""

    async def does(made: Company) -> None:
        wish = lunch(repeats="FREQ=WEEKLY;COUNT=3", time_from=time(14))
        await made.book(await made.find(wish), "b1")
        starts = [("plan", f"{day} 14:00", "CONFIRMED") for day in ("03-25", "04-01", "04-08")]
        assert await made.entries("ana") == starts
        day = date(2026, 4, 1)
        one = Wish(action=Action.CANCEL, title="plan", date_from=day, date_to=day, scope=Scope.ONE)
        matched = await made.system.call("match", MatchRequest(wish=one, organiser="ben"), ask())
        assert isinstance(matched, Matched)
        request = CancelRequest(organiser="ben", events=matched.events)
        await made.system.call("cancel", request, ask("c1"))
        assert await made.system.done("cancel", request, ask("c1")) is not None
        assert await made.entries("ana") == [starts[0], starts[2]] == await made.entries("ben")

    run(does)


@pytest.mark.parametrize(
    "lines",
    [
        ("DTSTART;VALUE=DATE:20260325", "RRULE:FREQ=WEEKLY;COUNT=3"),
        ("DTSTART:20260325T140000", "DTEND:20260325T150000", "RRULE:FREQ=WEEKLY;COUNT=3"),
        (
            "DTSTART;TZID=Europe/Berlin:20260325T140000",
            "DTEND;TZID=Europe/Berlin:20260325T150000",
            "RDATE;TZID=Europe/Berlin:20260401T140000,20260408T140000",
        ),
    ],
)
@pytest.mark.parametrize("name", ["7ab@google.com.ics", "event-17"])
def test_one_occasion_of_somebody_elses_series_is_cancelled(run: Run, lines: tuple[str, ...], name: str) -> None:
    """Of whole days, without a zone, with its dates one by one; named as other programs name their objects."""

    async def does(made: Company) -> None:
        body = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//", "BEGIN:VEVENT", "UID:7ab@google.com"]
        end = ["DTSTAMP:20260101T000000Z", "SUMMARY:choir", "END:VEVENT", "END:VCALENDAR", ""]
        text = "\r\n".join([*body, *lines, *end])
        uid = name.removesuffix(".ics") if name.endswith(".ics") else f"/{name}"
        assert await made.dav.put(f"{made.prefix}ben", uid, text)
        before = [day for _, day, _ in await made.entries("ben")]
        day = date(2026, 4, 1)
        one = Wish(action=Action.CANCEL, title="choir", date_from=day, date_to=day, scope=Scope.ONE)
        matched = await made.system.call("match", MatchRequest(wish=one, organiser="ben"), ask())
        assert isinstance(matched, Matched)
        request = CancelRequest(organiser="ben", events=matched.events)
        assert await made.system.done("cancel", request, ask("c1")) is None
        await made.system.call("cancel", request, ask("c1"))
        assert await made.system.done("cancel", request, ask("c1")) is not None
        assert [day for _, day, _ in await made.entries("ben")] == [before[0], before[2]]

    run(does)


def test_only_an_hour_that_is_said_leaves_the_day(run: Run) -> None:
    """My 3pm to 4pm: the same day; of a series it is said that none is moved."""

    async def does(made: Company) -> None:
        uid = await made.write("ben", berlin(30, 15), 60)
        change = Wish(action=Action.CHANGE, time_from=time(16), was_at=time(15))
        found = await made.find(change, moving=uid)
        at = int(berlin(30, 16).timestamp()) * 1000
        assert (found.status, found.title, [one.starts_at for one in found.options]) == ("found", "Standup", [at])
        series = await made.write("ben", berlin(31, 15), 60, "RRULE:FREQ=WEEKLY;COUNT=3")
        asked = await made.find(change, moving=series)
        assert (asked.status, "one of a series" in asked.question) == ("ask", True)

    run(does)


def test_a_later_hour_stays_on_the_day_of_the_booking(run: Run) -> None:
    """Wednesday or Thursday, in the morning, is booked on Thursday; "make it 4pm" is Thursday, and not Wednesday."""

    async def does(made: Company) -> None:
        await made.write("ben", berlin(25, 9), 180)
        either = {"date_to": date(2026, 3, 26), "time_from": time(9), "time_to": time(12)}
        booked = await made.book(await made.find(lunch(**either)), "k1")
        assert zones.local(booked.starts_at // 1000, zones.zone("Europe/Berlin")).day == 26
        hour = lunch(date_from=None, date_to=None, time_from=time(16))
        found = await made.find(hour, moving=booked.uid)
        assert found.options[0].starts_at // 1000 == int(berlin(26, 16).timestamp())
        assert found.people == ("ben", "ana")

    run(does)


def test_a_series_that_ends_stands_as_often_as_it_is_said(run: Run) -> None:
    """Daily until Friday: three times, in both calendars."""

    async def does(made: Company) -> None:
        wish = lunch(repeats="FREQ=DAILY", date_to=date(2026, 3, 27), time_from=time(16))
        await made.book(await made.find(wish), "k1")
        for person in ("ben", "ana"):
            days = [start for _, start, _ in await made.entries(person)]
            assert days == ["03-25 16:00", "03-26 16:00", "03-27 16:00"]

    run(does)


def test_a_reminder_is_the_organisers_alone(run: Run) -> None:
    """Saturday evening, outside of all hours: noted, with an alarm, and no time is taken."""

    async def does(made: Company) -> None:
        wish = Wish(action=Action.REMIND, title="water plants", date_from=date(2026, 3, 28), time_from=time(20))
        booked = await made.book(await made.find(wish), "b1")
        assert booked.calendars == 1
        assert await made.entries("ben") == [("water plants", "03-28 20:00", "CONFIRMED")]
        assert (await made.find(lunch(date_from=date(2026, 3, 30), date_to=date(2026, 3, 30)))).status == "found"

    run(does)


def test_a_bound_on_somebody_elses_clock(run: Run) -> None:
    """ "Not before 9 their time": for Cleo in New York that is 14:00 in Berlin in the weeks between the changes."""

    async def does(made: Company) -> None:
        bounds = (Bound(whose="Cleo", not_before=time(9)),)
        found = await made.find(lunch(participants=("Cleo",), bounds=bounds))
        assert found.options[0].starts_at >= int(berlin(25, 14).timestamp()) * 1000
        after = await made.find(
            lunch(participants=("Cleo",), bounds=bounds, date_from=date(2026, 3, 30), date_to=date(2026, 3, 30))
        )
        assert min(one.starts_at for one in after.options) >= int(berlin(30, 15).timestamp()) * 1000

    run(does)


def test_an_unreadable_calendar_is_not_free(run: Run) -> None:
    """A zone that nobody knows: the search fails for good and says whose calendar it is."""

    async def does(made: Company) -> None:
        text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:z\r\nDTSTAMP:20260101T000000Z\r\n"
        text += "DTSTART;TZID=Nowhere/Else:20260325T100000\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        assert await made.dav.put(f"{made.prefix}ana", "z", text)
        with pytest.raises(CallFailed, match="ana") as caught:
            await made.find(lunch())
        assert made.system.classify(caught.value) is Failure.PERMANENT

    run(does)


def test_words_are_understood_completed_and_amended(run: Run) -> None:
    """From words to a wish; what was asked back completes it, and a later word changes it."""

    async def does(made: Company) -> None:
        text = {"organiser": "ben", "sent_at": NOW * 1000}
        said = await made.system.call(
            "understand", UnderstandRequest(text="schedule a meeting with Ana tomorrow at 3pm", **text), ask()
        )
        assert said.status == "wish"
        assert said.wish.participants == ("Ana",)
        later = await made.system.call(
            "amend", AmendRequest(text="move it to friday at 2pm", organiser="ben", wish=said.wish), ask()
        )
        assert (later.wish.date_from, later.wish.time_from) == (date(2026, 3, 27), time(14))
        off = await made.system.call(
            "amend", AmendRequest(text="cancel the meeting", organiser="ben", wish=said.wish), ask()
        )
        assert off.action == "cancel"
        stranger = await made.system.call(
            "understand", UnderstandRequest(text="hello", organiser="nobody", sent_at=1), ask()
        )
        assert stranger.status == "stranger"

    run(does)


def test_a_server_that_is_away_or_knows_nobody(run: Run, tmp_path: Path) -> None:
    """No connection and a wrong password heal: the command waits. A calendar that is not there does not."""

    async def does(made: Company) -> None:
        away = CalDav("http://127.0.0.1:9", "u", "p")
        wrong = CalDav(made.dav._url, "aios", "wrong")
        for dav, calendar, failure in (
            (away, "x", Failure.TRANSIENT),
            (wrong, f"{made.prefix}ana", Failure.TRANSIENT),
            (made.dav, "aios/nowhere", Failure.PERMANENT),
        ):
            with pytest.raises(CallFailed) as caught:
                await dav.span(calendar, (NOW, NOW + 1))
            assert caught.value.failure is failure
        await away.close()
        await wrong.close()

    run(does)
