"""What stands in the calendars of the demo's people before anything is asked, and what stands there afterwards.

Enters: a calendar server, the directory, today. Leaves: entries around next week: a daily stand-up with an exception, a
day out of office, a tentative lunch, a dentist, a weekly review on another continent's clock; and a count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from aios.infra.local.radicale import Radicale
from aios.processors.connectors.caldav import CalDav
from aios.processors.meetings import directory, invitation
from aios.processors.meetings.directory import Directory
from aios.processors.meetings.party import Person

AROUND_DAYS = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """case: of ours; empty: somebody wrote it himself."""

    calendar: str
    case: str
    is_confirmed: bool


async def fill(server: Radicale, people: Path, today: date) -> int:
    """Make every calendar, and write what its owner has there; how many entries."""
    company = directory.load(people)
    dav = CalDav(server.url, server.user, server.password)
    count = 0
    try:
        for calendar in _calendars(company):
            await dav.make(calendar)
        for person, uid, lines in _written(company, today + timedelta(days=7 - today.weekday())):
            await dav.put(person.calendar, uid, _calendar(uid, lines))
            count += 1
    finally:
        await dav.close()
    return count


async def entries(server: Radicale, people: Path, today: date) -> list[Entry]:
    """All that stands there in the weeks around today."""
    company = directory.load(people)
    dav = CalDav(server.url, server.user, server.password)
    middle = int(datetime.combine(today, time(), UTC).timestamp())
    span = middle - AROUND_DAYS * 86_400, middle + 400 * 86_400
    found = []
    try:
        for calendar in _calendars(company):
            for one in await dav.span(calendar, span):
                mark = invitation.mark(one.text)
                found.append(Entry(calendar, mark.case if mark else "", mark is None or mark.is_confirmed))
    finally:
        await dav.close()
    return found


def _calendars(company: Directory) -> list[str]:
    return [*(one.calendar for one in company.people.values()), *(one.calendar for one in company.rooms)]


def _written(company: Directory, monday: date) -> list[tuple[Person, str, list[str]]]:
    ana, ben, eva = (company.people[one] for one in ("ana.lopez", "ben.weiss", "eva.krause"))
    cleo, mia = company.people["cleo.kim"], company.people["mia.ward"]
    before = monday - timedelta(days=28)
    return [
        (
            ben,
            "standup",
            [*_at(ben, before, time(9, 15), 15), "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "SUMMARY:Stand-up"],
        ),
        (
            eva,
            "standup",
            [
                *_at(eva, before, time(9, 15), 15),
                "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH",
                _left_out(eva, monday, time(9, 15)),
                "SUMMARY:Stand-up",
            ],
        ),
        (ana, "review", [*_at(ana, before + timedelta(days=1), time(12), 60), "RRULE:FREQ=WEEKLY", "SUMMARY:Review"]),
        (ana, "dentist", [*_at(ana, monday + timedelta(days=3), time(16), 45), "SUMMARY:Dentist appointment"]),
        (ana, "away", [f"DTSTART;VALUE=DATE:{monday:%Y%m%d}", "X-MICROSOFT-CDO-BUSYSTATUS:OOF", "SUMMARY:Holiday"]),
        (eva, "lunch", [*_at(eva, monday + timedelta(days=1), time(12), 60), "STATUS:TENTATIVE", "SUMMARY:Lunch?"]),
        (
            cleo,
            "sync",
            [*_at(mia, before + timedelta(days=2), time(8), 30), "RRULE:FREQ=WEEKLY", "SUMMARY:Sync with Sydney"],
        ),
        (
            mia,
            "sync",
            [*_at(mia, before + timedelta(days=2), time(8), 30), "RRULE:FREQ=WEEKLY", "SUMMARY:Sync with New York"],
        ),
    ]


def _at(person: Person, day: date, at: time, minutes: int) -> list[str]:
    """On the person's own clock."""
    begin = datetime.combine(day, at)
    end = begin + timedelta(minutes=minutes)
    return [f"{name};TZID={person.zone.key}:{one:%Y%m%dT%H%M%S}" for name, one in (("DTSTART", begin), ("DTEND", end))]


def _left_out(person: Person, day: date, at: time) -> str:
    return f"EXDATE;TZID={person.zone.key}:{datetime.combine(day, at):%Y%m%dT%H%M%S}"


def _calendar(uid: str, lines: list[str]) -> str:
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//aios demo//", "BEGIN:VEVENT", f"UID:demo-{uid}"]
    stamp = f"DTSTAMP:{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    return "\r\n".join([*head, stamp, *lines, "END:VEVENT", "END:VCALENDAR", ""])
