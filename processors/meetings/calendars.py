"""What a calendar says about a person's time: iCalendar text in, engagements out.

Enters: the objects of a calendar (RFC 5545), its owner's clock and address, and the span that matters. Leaves: every
occurrence that takes time of the owner in it. Guaranteed:

    all-day         from the day's first moment on the owner's clock to the last one's end
    no zone given   the owner's clock, of exceptions too
    zone described  what the object itself says of it, whatever another object calls by the same name
    series          with RDATE, EXDATE, single exceptions and "this and all that follow"; until a day: to its end, until
                    a time without a zone: on the clock of the series; an occurrence has the exact
                    length of its series, also where a clock is changed (days that DURATION says are the owner's days)
    takes no time   what is cancelled, marked as free, or what the owner declined

What cannot be understood is refused with what it is, never taken as free: a zone without a meaning, a broken date, a
rule that repeats within the hour or after no time at all.
Rejected: a parser or an expansion of our own (icalendar and recurring-ical-events are kept, and used by many); trusting
their ends (an hour at 02:30 in the night that has no 02:30 came out with no length: see the test of that name).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from enum import StrEnum
from math import prod
from typing import Any
from zoneinfo import ZoneInfo

import recurring_ical_events
from dateutil.rrule import rrulestr
from icalendar import Calendar, vRecur
from icalendar.timezone import tzp

from aios.processors.meetings import zones
from aios.processors.meetings.intervals import Stretch
from aios.schemas.errors import AiosError, Verdict

Component = Any  # of icalendar, whose types say for every property all that any may be

OBJECT_BYTES_MAX = 1 << 20
EVENTS_MAX = 5_000  # of one calendar, that touch the span
OCCURRENCES_MAX = 20_000
A_DAY_MAX = 48  # occurrences of one rule on one day
MARGIN = timedelta(days=2)  # a local date is somewhere else on the time line, by less than this
COARSE = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
FOCUS = "focus"  # a category, in any case of letters
ONCE = ("DTSTART", "DTEND", "DURATION", "RECURRENCE-ID")  # in one event
CYCLE_YEARS = 400  # after which the calendar has the same days again
_PARSING = threading.Lock()


class Unreadable(AiosError):
    """A calendar says something that nobody can be sure about; names what it is, not what the event is about."""

    verdict = Verdict.DEAD_LETTER


class Kind(StrEnum):
    """How firmly time is taken."""

    BUSY = "busy"
    TENTATIVE = "tentative"  # not confirmed, or not answered yet
    FOCUS = "focus"  # kept for work without meetings
    AWAY = "away"  # out of office
    FREE = "free"  # stands there and takes no time; only for who lists what there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Engagement:
    """One occurrence. start, end: Unix seconds. title, place, others (names of who is invited): for its owner alone.

    begins: of the occasion of a series as the series has it, before an exception moved it; else 0.
    """

    start: int
    end: int
    uid: str
    title: str
    kind: Kind = Kind.BUSY
    is_all_day: bool = False
    place: str = ""
    others: tuple[str, ...] = ()
    begins: int = 0

    @property
    def stretch(self) -> Stretch:
        return self.start, self.end


def engagements(
    objects: Iterable[str], span: Stretch, clock: ZoneInfo, address: str = "", *, with_free: bool = False
) -> tuple[Engagement, ...]:
    """All that takes time in a span, in its order. address: the owner's, as in ATTENDEE. Raises Unreadable.

    with_free: what takes no time too, but what is cancelled or declined.
    """
    found: list[Engagement] = []
    for number, text in enumerate(objects):
        if number >= EVENTS_MAX:
            raise Unreadable(f"more than {EVENTS_MAX} objects in one calendar")
        calendar = parsed(text)
        _on_one_clock(calendar, clock)
        for occurrence in _occurrences(calendar, span, clock):
            engagement = _engagement(occurrence, _defined_by(calendar, occurrence, clock), clock, address)
            if engagement is None or (engagement.kind is Kind.FREE and not with_free):
                continue
            if engagement.start < span[1] and engagement.end > span[0]:
                found.append(engagement)
        if len(found) > OCCURRENCES_MAX:
            raise Unreadable(f"more than {OCCURRENCES_MAX} occurrences in the time looked at")
    return tuple(sorted(found, key=lambda one: (one.start, one.end, one.uid)))


def parsed(text: str) -> Calendar:
    """One calendar object. Raises Unreadable."""
    if len(text.encode()) > OBJECT_BYTES_MAX:
        raise Unreadable(f"an object of more than {OBJECT_BYTES_MAX} bytes")
    try:
        calendar = _parsed(text)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unreadable(f"no iCalendar text: {type(error).__name__}") from error
    if not isinstance(calendar, Calendar):
        raise Unreadable("no VCALENDAR")
    for event in _events(calendar):
        _check(event)
    for part in (*_events(calendar), *calendar.walk("STANDARD"), *calendar.walk("DAYLIGHT")):
        for rule in _each(part.get("RRULE")):
            _check_rule(rule)
    return calendar


def _parsed(text: str) -> Any:
    """Each object with its own zones, wherever it describes them; else the first description of a name is kept for the
    whole process.
    """
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a zone named in a vendor's way, and understood
        tzp.use_default()
        if text.find("BEGIN:VTIMEZONE") > text.find("BEGIN:VEVENT"):
            Calendar.from_ical(text)
        return Calendar.from_ical(text)


def stretch_of(text: str, clock: ZoneInfo) -> Stretch:
    """Of the first event as it is written. clock: of times and dates without a zone. Raises Unreadable."""
    event = _events(parsed(text))[0]
    begins = event["DTSTART"].dt
    return moment(begins, clock), _end(begins, event, clock)


def _events(calendar: Calendar) -> list[Component]:
    return list(calendar.walk("VEVENT"))


def _check(event: Component) -> None:
    for name, _ in event.errors:
        raise Unreadable(f"a broken {name}")
    if "DTSTART" not in event:
        raise Unreadable("an event without DTSTART")
    for name in ONCE:
        if isinstance(event.get(name), list):
            raise Unreadable(f"an event with more than one {name}")
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID", "RDATE", "EXDATE"):
        for given in _each(event.get(name)):
            zone = given.params.get("TZID") if hasattr(given, "params") else None
            if zone and any(isinstance(at, datetime) and at.tzinfo is None for at in _dates(given)):
                raise Unreadable(f"the zone {zone} in {name} is neither known nor described")


def _check_rule(rule: Any) -> None:
    """Of a series, or of a zone that is described."""
    frequency = str(next(iter(rule.get("FREQ", [])), ""))
    a_day = prod(max(1, len(rule.get(name, []))) for name in ("BYHOUR", "BYMINUTE", "BYSECOND"))
    if frequency not in COARSE or a_day > A_DAY_MAX:
        raise Unreadable(f"a series that repeats {frequency.lower() or 'without a frequency'}, too often to follow")
    if any(int(every) < 1 for every in rule.get("INTERVAL", ())):
        raise Unreadable("a series that repeats after no time")


def _each(given: Any) -> list[Any]:
    return [] if given is None else given if isinstance(given, list) else [given]


def _dates(given: Any) -> Iterator[Any]:
    """The dates of a property with one, or with a list of them."""
    for one in getattr(given, "dts", (given,)):
        if isinstance(one.dt, tuple):
            raise Unreadable("a series with periods of different lengths")
        yield one.dt


def _on_one_clock(calendar: Calendar, clock: ZoneInfo) -> None:
    """What is said in a zone of a series without one is said on the owner's clock, as the series is: else an exception
    in UTC, which another program may write, would move the whole series there.
    """
    floating = {
        str(event.get("UID", ""))
        for event in _events(calendar)
        if "RECURRENCE-ID" not in event and _floats(event["DTSTART"].dt)
    }
    for event in _events(calendar):
        if str(event.get("UID", "")) in floating:
            for name in ("RDATE", "EXDATE", "RECURRENCE-ID"):
                for given in _each(event.get(name)):
                    _let_float(given, clock)


def _floats(at: Any) -> bool:
    return isinstance(at, datetime) and at.tzinfo is None


def _let_float(given: Any, clock: ZoneInfo) -> None:
    for one in getattr(given, "dts", (given,)):
        if isinstance(one.dt, datetime) and one.dt.tzinfo is not None:
            one.dt = one.dt.astimezone(clock).replace(tzinfo=None)
            given.params.pop("TZID", None)


def _occurrences(calendar: Calendar, span: Stretch, clock: ZoneInfo) -> list[Component]:
    start = datetime.fromtimestamp(span[0], UTC) - MARGIN
    end = datetime.fromtimestamp(span[1], UTC) + MARGIN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for event in _events(calendar):
                _bound(event, end, clock)
            return list(recurring_ical_events.of(calendar).between(start, end))
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, AttributeError) as error:
            raise Unreadable(f"a series that cannot be followed: {type(error).__name__}") from error


def _bound(event: Component, end: datetime, clock: ZoneInfo) -> None:
    """Each rule ends with the time looked at, or before it where it says so; one without an occasion till then goes."""
    begins = event["DTSTART"].dt
    rules = [rule for rule in _each(event.pop("RRULE", None)) if _has_any(rule, begins, end)]
    for rule in rules:
        if not rule.get("COUNT"):
            given = [_until(one, begins, clock) for one in rule.get("UNTIL", [])]
            rule["UNTIL"] = [_as_written(min([end, *given]), begins, clock)]
    if rules:
        event["RRULE"] = rules


def _has_any(rule: vRecur, begins: date | datetime, end: datetime) -> bool:
    """Whether any day fits a rule, if it goes on to `end`. dateutil looks for the first one as far as there are years:
    so they are looked for among the last years that there are.
    """
    lasts = max(0, end.year - begins.year) + 1
    cycles = (MAXYEAR - lasts - begins.year) // CYCLE_YEARS
    far = datetime(begins.year + CYCLE_YEARS * max(0, cycles), begins.month, begins.day)
    endless: Any = vRecur({name: value for name, value in rule.items() if name not in ("UNTIL", "COUNT")})
    return next(iter(rrulestr(endless.to_ical().decode(), dtstart=far)), None) is not None


def _until(given: date | datetime, begins: date | datetime, clock: ZoneInfo) -> datetime:
    """The last moment of a rule. RFC 5545 wants it in the form of DTSTART; others are written, and mean no less."""
    if not isinstance(given, datetime):
        given = datetime.combine(given, time(23, 59, 59))
    own = begins.tzinfo if isinstance(begins, datetime) else None
    return given if given.tzinfo is not None else given.replace(tzinfo=own or clock)


def _as_written(at: datetime, begins: date | datetime, clock: ZoneInfo) -> date | datetime:
    """A moment in the form of the DTSTART of a series."""
    if not isinstance(begins, datetime):
        return at.astimezone(clock).date()
    return at.astimezone(UTC) if begins.tzinfo is not None else at.astimezone(clock).replace(tzinfo=None)


def _defined_by(calendar: Calendar, occurrence: Component, clock: ZoneInfo) -> Component:
    """The component that an occurrence has its length from: an exception, those that follow one, or the series."""
    same = [event for event in _events(calendar) if event.get("UID") == occurrence.get("UID")]
    at = moment(occurrence["RECURRENCE-ID"].dt, clock)
    follows: tuple[int, Component] | None = None
    for event in same:
        if "RECURRENCE-ID" not in event:
            continue
        begins = moment(event["RECURRENCE-ID"].dt, clock)
        if begins == at:
            return event
        is_range = str(event["RECURRENCE-ID"].params.get("RANGE", "")).upper() == "THISANDFUTURE"
        if is_range and begins < at and (follows is None or begins > follows[0]):
            follows = begins, event
    if follows is not None:
        return follows[1]
    return next((event for event in same if "RECURRENCE-ID" not in event), occurrence)


def _engagement(event: Component, source: Component, clock: ZoneInfo, address: str) -> Engagement | None:
    """None: it is not there for its owner."""
    kind = _kind(event, address)
    begins = event["DTSTART"].dt
    start, end = moment(begins, clock), _end(begins, source, clock)
    if end < start:
        raise Unreadable("an event that ends before it begins")
    if kind is None:
        return None
    if end == start:
        kind = Kind.FREE
    is_series = any(name in source for name in ("RRULE", "RDATE", "RECURRENCE-ID"))
    return Engagement(
        start=start,
        end=end,
        uid=str(event.get("UID", "")),
        title=str(event.get("SUMMARY", "")),
        kind=kind,
        is_all_day=not isinstance(begins, datetime),
        place=str(event.get("LOCATION", "")),
        others=tuple(str(one.params.get("CN", one)) for one in _each(event.get("ATTENDEE"))),
        begins=moment(event["RECURRENCE-ID"].dt, clock) if is_series else 0,
    )


def _end(begins: date | datetime, source: Component, clock: ZoneInfo) -> int:
    """Where an occurrence ends that begins here, RFC 5545, 3.8.5.3."""
    start = moment(begins, clock)
    first = source["DTSTART"].dt
    if "DTEND" in source:
        last = source["DTEND"].dt
        if isinstance(first, datetime) != isinstance(last, datetime):
            raise Unreadable("an event that begins with a date and ends with a time, or the other way round")
        if not isinstance(first, datetime):
            return moment(begins + (last - first or timedelta(days=1)), clock)  # a date that ends on itself is a day
        return start + moment(last, clock) - moment(first, clock)
    if "DURATION" in source:
        lasts: timedelta = source["DURATION"].dt
        nominal = timedelta(days=lasts.days)
        return moment(begins + nominal, clock) + lasts.seconds
    return start if isinstance(begins, datetime) else moment(begins + timedelta(days=1), clock)


def moment(at: date | datetime, clock: ZoneInfo) -> int:
    """Unix seconds. clock: of a date, or a time without a zone."""
    if not isinstance(at, datetime):
        return zones.moment(at, time(), clock)
    return int((at if at.tzinfo is not None else at.replace(tzinfo=clock)).timestamp())


def _kind(event: Component, address: str) -> Kind | None:
    """How an event takes its owner's time; None: it is not there for him."""
    status = str(event.get("STATUS", "")).upper()
    shown = str(event.get("X-MICROSOFT-CDO-BUSYSTATUS", "")).upper()
    answer = _answer(event, address)
    if status == "CANCELLED" or answer == "DECLINED":
        return None
    if shown == "FREE" or str(event.get("TRANSP", "")).upper() == "TRANSPARENT":
        return Kind.FREE
    if shown == "OOF":
        return Kind.AWAY
    if FOCUS in _categories(event):
        return Kind.FOCUS
    if status == "TENTATIVE" or shown == "TENTATIVE" or answer in ("TENTATIVE", "NEEDS-ACTION"):
        return Kind.TENTATIVE
    return Kind.BUSY


def _categories(event: Component) -> frozenset[str]:
    return frozenset(
        str(name).lower() for given in _each(event.get("CATEGORIES")) for name in getattr(given, "cats", ())
    )


def _answer(event: Component, address: str) -> str:
    """What the owner answered to the invitation; empty where he is not invited."""
    if not address:
        return ""
    for attendee in _each(event.get("ATTENDEE")):
        if str(attendee).lower().removeprefix("mailto:") == address.lower():
            parameters: Mapping[str, Any] = attendee.params
            return str(parameters.get("PARTSTAT", "NEEDS-ACTION")).upper()
    return ""
