"""The iCalendar object of a booking, one for each calendar it stands in, and what such an object says of its booking.

Enters: the booking, whose copy it is. Leaves: text (RFC 5545), or a Mark of one that was read. Guaranteed: each copy
has the booking's uid; a hold is TENTATIVE and known as ours by its mark, and takes no time once nobody can come back to
it; the same booking gives the same text but for DTSTAMP and that time; an occasion that is taken out of a series is out
of it as our own reader sees it. A single meeting is written in UTC, a series on its organiser's clock, which it takes
place on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Alarm, Calendar, Event, vCalAddress, vRecur, vText

from aios.processors.meetings import calendars, zones
from aios.processors.meetings.calendars import Unreadable
from aios.processors.meetings.party import Person, Role, Room
from aios.processors.meetings.wish import WORDS_CHARS_MAX

PRODUCT = "-//AIOS on Kafka//meeting.schedule//EN"
CASE, OPTION, PEOPLE, ROOMS = "X-AIOS-CASE", "X-AIOS-OPTION", "X-AIOS-PEOPLE", "X-AIOS-ROOMS"
UNTIL = "X-AIOS-UNTIL"  # of a hold: from when on nobody confirms it or takes it back any more, Unix seconds
TENTATIVE, CONFIRMED = "TENTATIVE", "CONFIRMED"
REMIND_BEFORE = timedelta(minutes=15)
LAST = time(23, 59, 59)


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


def write(
    booking: Booking, *, is_confirmed: bool, words: Sequence[str] = (), now: datetime | None = None, until: int = 0
) -> str:
    """One copy. words: told to its owner. until: of a hold, Unix seconds; 0: as long as it stands there."""
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
        event.add("rrule", _rule(booking, clock))
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
    if until and not is_confirmed:
        event.add(UNTIL, str(until))
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add_component(event)
    if booking.repeats:
        calendar.add_missing_timezones()
    return str(calendar.to_ical().decode())


def _rule(booking: Booking, clock: ZoneInfo) -> vRecur:
    """As RFC 5545 wants it: until a day for days, until a moment in UTC for times."""
    rule = vRecur.from_ical(booking.repeats)
    if "UNTIL" in rule and not booking.is_all_day:
        rule["UNTIL"] = [datetime.combine(day, LAST, clock).astimezone(UTC) for day in rule["UNTIL"]]
    return rule


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


def is_lapsed(text: str, now: int) -> bool:
    """Whether it is a hold of ours that nobody comes back to. now: Unix seconds. Raises Unreadable."""
    if UNTIL not in text:
        return False
    event: Any = next(iter(calendars.parsed(text).walk("VEVENT")), {})
    until = str(event.get(UNTIL, ""))
    return str(event.get("STATUS", "")).upper() == TENTATIVE and until.isdecimal() and int(until) < now


def is_series(text: str) -> bool:
    """Raises Unreadable."""
    return any(name in event for event in calendars.parsed(text).walk("VEVENT") for name in ("RRULE", "RDATE"))


def kept(text: str, clock: ZoneInfo) -> tuple[str, tuple[str, ...], int | None]:
    """What a change leaves: title, people of ours, and minutes (None: whole days, or no length). Raises Unreadable.

    clock: of times without a zone.
    """
    event: Any = next(iter(calendars.parsed(text).walk("VEVENT")), {})
    begin, end = calendars.stretch_of(text, clock)
    minutes = max(1, (end - begin) // 60) if isinstance(event["DTSTART"].dt, datetime) and end > begin else None
    return str(event.get("SUMMARY", ""))[:WORDS_CHARS_MAX], tuple(str(event.get(PEOPLE, "")).split()), minutes


def without_occasion(text: str, at: int, clock: ZoneInfo) -> str:
    """A series without one of its occasions, which begins then; as it is where it is left out.

    clock: of dates and times without a zone, as where they were read. Raises Unreadable, also where it cannot be left
    out.
    """
    if not _has(text, at, clock):
        return text
    calendar = calendars.parsed(text)
    events: list[Any] = list(calendar.walk("VEVENT"))
    for event in events:
        if "RRULE" in event or "RDATE" in event:
            event.add("exdate", _as_written(event["DTSTART"].dt, at, clock))
    left = str(calendar.to_ical().decode())
    if _has(left, at, clock):
        raise Unreadable("a series that one occasion cannot be taken out of")
    return left


def _has(text: str, at: int, clock: ZoneInfo) -> bool:
    """Whether a series has the occasion, wherever an exception has moved it."""
    places = [(at, at + 1)]
    events: list[Any] = list(calendars.parsed(text).walk("VEVENT"))
    for event in events:
        if "RECURRENCE-ID" in event:
            moved = calendars.moment(event["DTSTART"].dt, clock)
            since = calendars.moment(event["RECURRENCE-ID"].dt, clock)
            places += [(moved, moved + 1), (at + moved - since, at + moved - since + 1)]  # it, and those that follow it
    found = (one for place in places for one in calendars.engagements([text], place, clock, with_free=True))
    return any(one.begins == at for one in found)


def _as_written(begins: date | datetime, at: int, clock: ZoneInfo) -> date | datetime:
    """A moment in the form in which a series says when it begins."""
    if not isinstance(begins, datetime):
        return datetime.fromtimestamp(at, clock).date()
    if begins.tzinfo is None:
        return datetime.fromtimestamp(at, clock).replace(tzinfo=None)
    return datetime.fromtimestamp(at, begins.tzinfo)


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
