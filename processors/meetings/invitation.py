"""The iCalendar object of a booking, one for each calendar it stands in, and what such an object says of its booking.

Enters: the booking, whose copy it is. Leaves: text (RFC 5545), or a Mark of one that was read. Guaranteed: each copy
has the booking's uid; a hold is TENTATIVE and known as ours by its mark; the same booking gives the same text but for
DTSTAMP. A single meeting is written in UTC, a series on its organiser's clock, which it takes place on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from icalendar import Alarm, Calendar, Event, vCalAddress, vRecur, vText

from aios.processors.meetings import calendars, zones
from aios.processors.meetings.calendars import Unreadable
from aios.processors.meetings.party import Person, Role, Room

PRODUCT = "-//AIOS on Kafka//meeting.schedule//EN"
CASE, OPTION, PEOPLE, ROOMS = "X-AIOS-CASE", "X-AIOS-OPTION", "X-AIOS-PEOPLE", "X-AIOS-ROOMS"
TENTATIVE, CONFIRMED = "TENTATIVE", "CONFIRMED"
REMIND_BEFORE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """start, end: Unix seconds. option: which of the case's options. people: the organiser first."""

    uid: str
    case: str
    option: int
    title: str
    start: int
    end: int
    people: Sequence[Person]
    rooms: Sequence[Room]
    zone: str
    repeats: str = ""
    is_all_day: bool = False
    is_reminder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What one of our objects says of itself."""

    uid: str
    case: str
    option: int
    is_confirmed: bool
    people: tuple[str, ...]
    rooms: tuple[str, ...]


def write(booking: Booking, *, is_confirmed: bool, words: Sequence[str] = (), now: datetime | None = None) -> str:
    """One copy. words: told to its owner."""
    event = Event()
    event.add("uid", booking.uid)
    event.add("dtstamp", now or datetime.now(UTC))
    clock = zones.zone(booking.zone)
    if booking.is_all_day:
        event.add("dtstart", zones.local(booking.start, clock).date())
        event.add("dtend", zones.local(booking.end, clock).date())
        event.add("transp", "TRANSPARENT")
    else:
        on = clock if booking.repeats else UTC
        event.add("dtstart", datetime.fromtimestamp(booking.start, on))
        event.add("dtend", datetime.fromtimestamp(booking.end, on))
        if booking.is_reminder:
            event.add("transp", "TRANSPARENT")
    if booking.repeats:
        event.add("rrule", vRecur.from_ical(booking.repeats))
    event.add("summary", booking.title or "meeting")
    event.add("status", CONFIRMED if is_confirmed else TENTATIVE)
    if booking.rooms:
        event.add("location", ", ".join(room.name for room in booking.rooms))
    if words:
        event.add("description", "\n".join(words))
    if len(booking.people) > 1:
        _invite(event, booking.people)
    if booking.is_reminder:
        alarm = Alarm()
        alarm.add("action", "DISPLAY")
        alarm.add("description", booking.title or "reminder")
        alarm.add("trigger", timedelta() if not booking.is_all_day else -REMIND_BEFORE)
        event.add_component(alarm)
    event.add(CASE, booking.case)
    event.add(OPTION, str(booking.option))
    event.add(PEOPLE, " ".join(person.id for person in booking.people))
    event.add(ROOMS, " ".join(room.id for room in booking.rooms))
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add_component(event)
    if booking.repeats:
        calendar.add_missing_timezones()
    return str(calendar.to_ical().decode())


def mark(text: str) -> Mark | None:
    """Of an object of ours; None: it is not. Raises Unreadable."""
    event: Any = next(iter(calendars.parsed(text).walk("VEVENT")), {})
    if CASE not in event:
        return None
    option = str(event.get(OPTION, "0"))
    if not option.isdecimal():
        raise Unreadable("a booking of ours that somebody else has changed")
    return Mark(
        uid=str(event.get("UID", "")),
        case=str(event.get(CASE)),
        option=int(option),
        is_confirmed=str(event.get("STATUS", "")).upper() == CONFIRMED,
        people=tuple(str(event.get(PEOPLE, "")).split()),
        rooms=tuple(str(event.get(ROOMS, "")).split()),
    )


def kept(text: str) -> tuple[str, tuple[str, ...], int | None]:
    """What a change leaves: title, people of ours, and minutes (None: whole days, or no length). Raises Unreadable."""
    event: Any = next(iter(calendars.parsed(text).walk("VEVENT")), {})
    begins, ends = (event[name].dt if name in event else None for name in ("DTSTART", "DTEND"))
    minutes = None
    if isinstance(begins, datetime) and isinstance(ends, datetime):
        minutes = max(1, int(ends.timestamp() - begins.timestamp()) // 60)
    return str(event.get("SUMMARY", "")), tuple(str(event.get(PEOPLE, "")).split()), minutes


def without_occasion(text: str, at: int) -> str:
    """A series without one of its occasions, which begins then; as it is where it is left out. Raises Unreadable."""
    calendar = calendars.parsed(text)
    events: list[Any] = list(calendar.walk("VEVENT"))
    for event in events:
        if "RRULE" in event:
            begins = event["DTSTART"].dt
            clock = getattr(begins, "tzinfo", None) or UTC
            one = datetime.fromtimestamp(at, clock)
            left_out: date = one if isinstance(begins, datetime) else one.date()
            given = event.get("EXDATE", [])
            if any(left_out == day.dt for days in (given if isinstance(given, list) else [given]) for day in days.dts):
                return text
            event.add("exdate", left_out)
    return str(calendar.to_ical().decode())


def _invite(event: Event, people: Sequence[Person]) -> None:
    for person in people:
        address = vCalAddress(f"mailto:{person.address}" if person.address else f"urn:aios:person:{person.id}")
        address.params["CN"] = vText(person.name)
        if person.role is Role.ORGANISER:
            event.add("organizer", address)
            continue
        address.params["ROLE"] = vText("REQ-PARTICIPANT")
        address.params["PARTSTAT"] = vText("NEEDS-ACTION")
        address.params["RSVP"] = vText("TRUE")
        event.add("attendee", address)
