"""Calendars: what takes a person's time, compared with an expansion by hand."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.meetings import calendars, invitation, zones
from aios.processors.meetings.calendars import Kind, Unreadable

BERLIN = zones.zone("Europe/Berlin")
SPAN = (zones.moment(date(2026, 3, 20), time(), BERLIN), zones.moment(date(2026, 4, 20), time(), BERLIN))


def event(*lines: str, uid: str = "a") -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"])


def calendar(*events: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *events, "END:VCALENDAR", ""])


def shown(*events: str, clock: ZoneInfo = BERLIN, address: str = "") -> list[tuple[str, str]]:
    found = calendars.engagements([calendar(*events)], SPAN, clock, address)
    return [
        (f"{zones.local(one.start, clock):%m-%d %H:%M}", f"{zones.local(one.end, clock):%m-%d %H:%M}") for one in found
    ]


def test_an_hour_in_the_night_that_skips_it_is_an_hour() -> None:
    """02:30 does not exist on 29 March: the meeting begins at 03:30 and takes its hour."""
    found = calendars.engagements(
        [
            calendar(
                event(
                    "DTSTART;TZID=Europe/Berlin:20260328T023000",
                    "DTEND;TZID=Europe/Berlin:20260328T033000",
                    "RRULE:FREQ=DAILY;COUNT=3",
                )
            )
        ],
        SPAN,
        BERLIN,
    )
    assert [one.end - one.start for one in found] == [3600, 3600, 3600]
    assert f"{zones.local(found[1].start, BERLIN):%H:%M}" == "03:30"


def test_a_series_with_its_exceptions() -> None:
    """One day is left out, one is moved, one is added; from a day on it is later."""
    assert shown(
        event(
            "DTSTART;TZID=Europe/Berlin:20260323T100000",
            "DTEND;TZID=Europe/Berlin:20260323T103000",
            "RRULE:FREQ=DAILY;UNTIL=20260328T080000Z",
            "EXDATE;TZID=Europe/Berlin:20260324T100000",
            "RDATE;TZID=Europe/Berlin:20260402T090000",
        ),
        event(
            "RECURRENCE-ID;TZID=Europe/Berlin:20260325T100000",
            "DTSTART;TZID=Europe/Berlin:20260325T150000",
            "DTEND;TZID=Europe/Berlin:20260325T170000",
        ),
    ) == [
        ("03-23 10:00", "03-23 10:30"),
        ("03-25 15:00", "03-25 17:00"),
        ("03-26 10:00", "03-26 10:30"),
        ("03-27 10:00", "03-27 10:30"),
        ("04-02 09:00", "04-02 09:30"),
    ]


def test_an_all_day_event_is_its_owners_day() -> None:
    """From midnight to midnight where the owner is: 23 hours on the day on which clocks go forward."""
    day = event("DTSTART;VALUE=DATE:20260329")
    found = calendars.engagements([calendar(day)], SPAN, BERLIN)
    assert [(one.end - one.start, one.is_all_day) for one in found] == [(23 * 3600, True)]
    tokyo = calendars.engagements([calendar(day)], SPAN, zones.zone("Asia/Tokyo"))
    assert found[0].start - tokyo[0].start == 8 * 3600


def test_days_that_a_duration_says_are_the_owners_days() -> None:
    """P1D from noon on Saturday ends at noon on Sunday, 23 hours later; PT24H ends at one."""
    start = "DTSTART;TZID=Europe/Berlin:20260328T120000"
    assert shown(event(start, "DURATION:P1D")) == [("03-28 12:00", "03-29 12:00")]
    assert shown(event(start, "DURATION:PT23H")) == [("03-28 12:00", "03-29 12:00")]


@pytest.mark.parametrize(
    "lines",
    [
        ("STATUS:CANCELLED",),
        ("TRANSP:TRANSPARENT",),
        ("X-MICROSOFT-CDO-BUSYSTATUS:FREE",),
        ("ATTENDEE;PARTSTAT=DECLINED:mailto:Ana@example.org",),
    ],
)
def test_what_takes_no_time(lines: tuple[str, ...]) -> None:
    """Cancelled, free, declined: the time is free."""
    given = ("DTSTART:20260324T100000Z", "DTEND:20260324T110000Z", *lines)
    assert shown(event(*given), address="ana@example.org") == []


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((), Kind.BUSY),
        (("STATUS:TENTATIVE",), Kind.TENTATIVE),
        (("CATEGORIES:Work,Focus",), Kind.FOCUS),
        (("X-MICROSOFT-CDO-BUSYSTATUS:OOF",), Kind.AWAY),
        (("ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:ana@example.org",), Kind.TENTATIVE),
        (("ATTENDEE;PARTSTAT=DECLINED:mailto:bob@example.org",), Kind.BUSY),
    ],
)
def test_how_firmly_time_is_taken(lines: tuple[str, ...], kind: Kind) -> None:
    """Busy, not answered yet, kept for work, out of office."""
    given = ("DTSTART:20260324T100000Z", "DTEND:20260324T110000Z", *lines)
    found = calendars.engagements([calendar(event(*given))], SPAN, BERLIN, "ana@example.org")
    assert [one.kind for one in found] == [kind]


@pytest.mark.parametrize(
    "exception",
    [
        ("EXDATE:20260331T080000Z",),
        ("EXDATE;TZID=America/New_York:20260331T040000",),
        ("EXDATE:20260331T100000",),
    ],
)
def test_an_exception_in_a_zone_leaves_a_series_without_one_where_it_is(exception: tuple[str, ...]) -> None:
    """Another program writes it in UTC: the occasion is left out, and the others stay at ten on their owner's clock."""
    series = event("DTSTART:20260324T100000", "DTEND:20260324T110000", "RRULE:FREQ=WEEKLY;COUNT=3", *exception)
    assert shown(series) == [("03-24 10:00", "03-24 11:00"), ("04-07 10:00", "04-07 11:00")]


FORMS = (
    ("DTSTART;VALUE=DATE:20260324", "RRULE:FREQ=WEEKLY;COUNT=3"),
    ("DTSTART:20260324T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3"),
    ("DTSTART:20260324T080000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3"),
    ("DTSTART;TZID=Asia/Tokyo:20260324T010000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3"),
    ("DTSTART;TZID=Europe/Berlin:20260324T090000", "DURATION:PT1H", "RDATE:20260331T070000Z,20260407T070000Z"),
    ("DTSTART;VALUE=DATE:20260324", "RDATE;VALUE=DATE:20260331,20260407"),
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
def test_an_occasion_that_is_taken_out_is_out_of_the_series(form: tuple[str, ...], number: int, zone: str) -> None:
    """Whatever the series' form and its owner's clock: that one, no other, and no other is moved; again is no harm."""
    clock = zones.zone(zone)

    def occasions(text: str) -> list[int]:
        return [one.begins for one in calendars.engagements([text], SPAN, clock, with_free=True)]

    whole = calendar(event(*form))
    before = occasions(whole)
    left = invitation.without_occasion(whole, before[number], clock)
    assert occasions(left) == before[:number] + before[number + 1 :]
    assert invitation.without_occasion(left, before[number], clock) == left


@pytest.mark.parametrize(
    "lines",
    [
        ("DTSTART:tomorrow",),
        ("SUMMARY:when?",),
        ("DTSTART;TZID=Nowhere/Else:20260324T100000", "DURATION:PT1H"),
        ("DTSTART:20260324T100000Z", "DURATION:PT1M", "RRULE:FREQ=SECONDLY"),
        ("DTSTART:20260324T100000Z", "DTEND:20260324T110000Z", "RRULE:FREQ=SOMETIMES"),
        ("DTSTART:20260324T100000Z", "DTEND:20260324T090000Z"),
        ("DTSTART:20260324T100000Z", "DTEND;VALUE=DATE:20260325"),
        ("DTSTART:20260324T100000Z", "RRULE:FREQ=DAILY;BYSECOND=" + ",".join(map(str, range(60)))),
        ("DTSTART:20260324T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;INTERVAL=0"),
        ("DTSTART:20260324T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;INTERVAL=-1;COUNT=3"),
        ("DTSTART:20260324T100000Z", "DTSTART:20260325T100000Z", "DURATION:PT1H"),
        ("DTSTART:20260324T100000Z", "DURATION:PT1H", "RRULE:FREQ=MONTHLY;BYDAY=53MO;BYMONTHDAY=30"),
    ],
)
def test_what_nobody_can_be_sure_about_is_not_free(lines: tuple[str, ...]) -> None:
    """Refused by name: an unknown zone is nobody's clock, and a broken date no free time."""
    with pytest.raises(Unreadable):
        shown(event(*lines))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "BEGIN:VEVENT\r\nEND:VEVENT",
        "BEGIN:VCALENDAR\r\n",
        "BEGIN:VCARD\r\nEND:VCARD",
        "BEGIN:VCALENDAR\r\nBEGIN:X\r\nTZID:a\r\nEND:VTIMEZONE\r\nEND:VCALENDAR\r\n",
    ],
)
def test_what_is_no_calendar_is_refused(text: str) -> None:
    """Also an object that ends too early."""
    with pytest.raises(Unreadable):
        calendars.engagements([text], SPAN, BERLIN)


@pytest.mark.parametrize("rule", ["BYMONTH=2;BYMONTHDAY=30", "COUNT=5;BYMONTH=2;BYMONTHDAY=30", "BYSETPOS=2;BYMONTH=1"])
def test_a_rule_that_no_day_fits_ends(rule: str) -> None:
    """30 February of every year: the first occasion alone, not after eight thousand years, which take a minute."""
    began = process_time()
    for first, found in (("20200101", []), ("20260401", [("04-01 02:00", "04-01 03:00")])):
        assert shown(event(f"DTSTART:{first}T000000Z", "DURATION:PT1H", f"RRULE:FREQ=DAILY;{rule}")) == found
    assert process_time() - began < 5


@pytest.mark.parametrize(
    ("begins", "until", "clock"),
    [
        ("DTSTART;TZID=Europe/Berlin:20260324T090000", "20260407", BERLIN),
        ("DTSTART;TZID=America/New_York:20260324T090000", "20260407T090000", zones.zone("America/New_York")),
        ("DTSTART:20260324T090000", "20260407T070000Z", BERLIN),
        ("DTSTART;VALUE=DATE:20260324", "20260406T220000Z", BERLIN),
    ],
)
def test_a_series_has_its_last_occasion(begins: str, until: str, clock: ZoneInfo) -> None:
    """Also where its end is not in the form of its beginning, as many programs write it."""
    found = shown(
        event(begins, f"RRULE:FREQ=WEEKLY;UNTIL={until}", *["DURATION:PT1H"] * ("T" in begins[8:])), clock=clock
    )
    assert [start[:5] for start, _ in found] == ["03-24", "03-31", "04-07"]


def test_a_date_that_ends_on_itself_is_a_day() -> None:
    """As some programs write it: no free time."""
    assert shown(event("DTSTART;VALUE=DATE:20260324", "DTEND;VALUE=DATE:20260324")) == [("03-24 00:00", "03-25 00:00")]


def test_a_zone_whose_rule_never_comes_to_the_next_time_is_refused() -> None:
    """It would be followed without end."""
    zone = ["BEGIN:VTIMEZONE", "TZID:Custom", "BEGIN:STANDARD", "DTSTART:16010101T000000", "TZOFFSETFROM:+0100"]
    zone += ["TZOFFSETTO:+0100", "RRULE:FREQ=YEARLY;INTERVAL=0", "END:STANDARD", "END:VTIMEZONE"]
    with pytest.raises(Unreadable):
        shown("\r\n".join(zone), event("DTSTART;TZID=Custom:20260324T090000", "DURATION:PT1H"))


@pytest.mark.parametrize("is_before", [True, False])
def test_two_objects_that_call_different_zones_the_same(is_before: bool) -> None:
    """Each means what it describes itself, before or after its event."""
    starts = []
    for offset in ("+0100", "+0500"):
        zone = ["BEGIN:VTIMEZONE", "TZID:Custom", "BEGIN:STANDARD", "DTSTART:16010101T000000"]
        zone += [f"TZOFFSETFROM:{offset}", f"TZOFFSETTO:{offset}", "END:STANDARD", "END:VTIMEZONE"]
        meeting = event("DTSTART;TZID=Custom:20260324T090000", "DURATION:PT1H")
        described = "\r\n".join(zone)
        parts = (described, meeting) if is_before else (meeting, described)
        starts += [start for start, _ in shown(*parts, clock=zones.zone("UTC"))]
    assert starts == ["03-24 08:00", "03-24 04:00"]


def test_a_zone_that_the_calendar_describes_itself() -> None:
    """A name that only this calendar knows, with its rules beside it."""
    zone = "\r\n".join(
        [
            "BEGIN:VTIMEZONE",
            "TZID:Our Office",
            "BEGIN:STANDARD",
            "DTSTART:19700101T000000",
            "TZOFFSETFROM:+0530",
            "TZOFFSETTO:+0530",
            "END:STANDARD",
            "END:VTIMEZONE",
        ]
    )
    given = event("DTSTART;TZID=Our Office:20260324T120000", "DTEND;TZID=Our Office:20260324T130000")
    found = calendars.engagements([calendar(zone, given)], SPAN, BERLIN)
    assert [one.start for one in found] == [zones.moment(date(2026, 3, 24), time(6, 30), zones.zone("Etc/UTC"))]


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kolkata",
    "Pacific/Auckland",
)
FIRST_DAYS = (
    date(2026, 3, 6),
    date(2026, 3, 27),
    date(2026, 4, 3),
    date(2026, 10, 2),
    date(2026, 10, 23),
    date(2026, 10, 30),
)


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(ZONES),
    first=st.sampled_from(FIRST_DAYS),
    at=st.times(),
    length_min=st.integers(1, 600),
    interval=st.integers(1, 3),
    count=st.integers(1, 8),
    left_out=st.sets(st.integers(0, 7), max_size=3),
)
def test_a_series_is_what_one_counts_day_by_day(
    *, name: str, first: date, at: time, length_min: int, interval: int, count: int, left_out: set[int]
) -> None:
    """Every n-th day at the same time on its clock, each of the same length, without the days left out."""
    clock, at = (
        zones.zone(name),
        at.replace(microsecond=0, fold=0),
    )  # which of two equal hours is meant, iCalendar cannot say
    days = [first + timedelta(days=number * interval) for number in range(count)]
    begin, kept = datetime.combine(first, at), [day for number, day in enumerate(days) if number not in left_out]
    text = event(
        f"DTSTART;TZID={name}:{begin:%Y%m%dT%H%M%S}",
        f"DURATION:PT{length_min}M",
        f"RRULE:FREQ=DAILY;INTERVAL={interval};COUNT={count}",
        *(f"EXDATE;TZID={name}:{datetime.combine(day, at):%Y%m%dT%H%M%S}" for day in days if day not in kept),
    )
    span = (
        zones.moment(first - timedelta(days=3), time(), clock),
        zones.moment(first + timedelta(days=40), time(), clock),
    )
    found = calendars.engagements([calendar(text)], span, clock)
    meant = [int(datetime.combine(day, at, clock).timestamp()) for day in kept]
    assert [(one.start, one.end) for one in found] == [(start, start + length_min * 60) for start in meant]


@pytest.mark.parametrize(
    ("lines", "minutes"),
    [
        ("DTSTART:20260325T090000Z\nDURATION:PT2H", 120),
        ("DTSTART:20260325T090000\nDTEND:20260325T104500", 105),
        ("DTSTART;VALUE=DATE:20260325\nDURATION:P1D", None),
        ("DTSTART:20260325T090000Z", None),
    ],
)
def test_a_change_keeps_the_length_however_it_is_written(lines: str, minutes: int | None) -> None:
    """An end or a duration; a name that is longer than a wish has room for is cut."""
    event = f"BEGIN:VEVENT\nUID:a\nSUMMARY:{'long ' * 50}\n{lines}\nEND:VEVENT"
    title, _, kept = invitation.kept(f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{event}\nEND:VCALENDAR\n", BERLIN)
    assert (kept, len(title)) == (minutes, 200)
