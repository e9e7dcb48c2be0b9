"""From words about days and people to what is looked for; and what each participant is told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from pydantic import ValidationError

from aios.processors.meetings import (
    calendars,
    directory,
    finding,
    invitation,
    matching,
    notes,
    series,
    terms,
    understanding,
    why,
    zones,
)
from aios.processors.meetings.calendars import Engagement
from aios.processors.meetings.directory import Directory
from aios.processors.meetings.invitation import Booking
from aios.processors.meetings.party import Person
from aios.processors.meetings.policy import Policy
from aios.processors.meetings.terms import Terms
from aios.processors.meetings.wish import Action, AskBack, Bound, Missing, Wish

BERLIN = zones.zone("Europe/Berlin")
NOW = zones.moment(date(2026, 3, 24), time(10), BERLIN)
COMPANY: dict[str, Any] = {
    "people": [
        {"id": "ben", "name": "Ben Weiss", "zone": "Europe/Berlin", "site": "Berlin", "calendar": "b"},
        {"id": "ana", "name": "Ana Lopez", "zone": "Europe/Madrid", "site": "Berlin", "calendar": "a"},
        {"id": "ana.r", "name": "Ana Roth", "zone": "Europe/Berlin", "site": "Berlin", "calendar": "c"},
        {"id": "cleo", "name": "Cleo Kim", "zone": "America/New_York", "calendar": "d"},
    ],
    "teams": [{"name": "Berlin team", "members": ["ben", "ana.r"]}],
    "rooms": [
        {
            "id": "big",
            "name": "Big",
            "site": "Berlin",
            "zone": "Europe/Berlin",
            "seats": 9,
            "equipment": ["projector"],
            "calendar": "e",
        },
        {"id": "small", "name": "Small", "site": "Berlin", "zone": "Europe/Berlin", "seats": 3, "calendar": "f"},
    ],
}


@pytest.fixture
def company() -> Directory:
    return directory.read(COMPANY)


def sought(company: Directory, **wish: Any) -> Terms | AskBack:
    organiser = company.organiser("ben")
    assert organiser is not None
    return terms.terms(Wish(action=Action.SCHEDULE, title="plan", **wish), organiser, company, Policy(), NOW)


def found(company: Directory, **wish: Any) -> Terms:
    terms_ = sought(company, **wish)
    assert isinstance(terms_, Terms), terms_
    return terms_


def test_names_teams_and_those_who_are_not_clear(company: Directory) -> None:
    """A full name, a team with the organiser in it, two Anas, and somebody whom nobody knows."""
    assert [one.id for one in found(company, participants=("ana lopez", "the Berlin team")).people] == [
        "ben",
        "ana",
        "ana.r",
    ]
    for name, might_be in (("Ana", "Ana Lopez or Ana Roth"), ("Lisa", "nobody of that name")):
        asked = sought(company, participants=(name,))
        assert isinstance(asked, AskBack)
        assert (asked.missing, asked.about) == (Missing.PERSON, name)
        assert might_be in asked.question


@pytest.mark.parametrize(
    "broken",
    [
        {"people": [{**COMPANY["people"][0], "zone": "Berlin"}]},
        {"people": [{**COMPANY["people"][0], "hours": {"mon": "17:00-09:00"}}]},
        {"people": [{**COMPANY["people"][0], "shoe_size": 43}]},
        {"people": [COMPANY["people"][0], COMPANY["people"][0]]},
        {"people": COMPANY["people"], "teams": [{"name": "x", "members": ["nobody"]}]},
    ],
)
def test_a_directory_is_strictly_read(broken: dict[str, Any]) -> None:
    """An unknown zone or key, hours that end before they begin, a doubled id, a member who is nobody."""
    with pytest.raises(ValidationError):
        directory.read(broken)


def test_rooms_are_those_that_would_do(company: Directory) -> None:
    """From three people at a site the smallest room that fits; equipment at once; one without it is asked about."""
    assert found(company, participants=("ana lopez",)).needs == ()
    three = found(company, participants=("ana lopez", "ana roth")).needs
    assert [room.id for need in three for room in need.rooms] == ["small", "big"]
    assert [room.id for need in found(company, needs=("projector",)).needs for room in need.rooms] == ["big"]
    assert [room.id for need in found(company, place="the Small room").needs for room in need.rooms] == ["small"]
    for wish in ({"needs": ("pool",)}, {"needs": ("projector",), "place": "Small"}):
        assert isinstance(sought(company, **wish), AskBack)


def test_a_time_is_exact_a_part_of_a_day_is_a_window(company: Directory) -> None:
    """At three; from two to four; in the afternoon; an hour between two and four."""
    day = {"date_from": date(2026, 3, 25), "date_to": date(2026, 3, 25)}
    at = found(company, **day, time_from=time(15)).asked
    assert (at.starts, at.duration_s) == ((zones.moment(date(2026, 3, 25), time(15), BERLIN),), 1800)
    filled = found(company, **day, time_from=time(14), time_to=time(16)).asked
    assert (len(filled.starts or ()), filled.duration_s) == (1, 7200)
    assert found(company, **day, time_from=time(12), time_to=time(18)).asked.starts is None
    within = found(company, **day, time_from=time(14), time_to=time(16), duration_min=60).asked
    assert (within.starts, within.duration_s) == (None, 3600)


def test_a_time_that_the_clock_skips_is_asked_about(company: Directory) -> None:
    """Half past two on the last Sunday of March is no time in Berlin; in October it is two."""
    night = {"date_from": date(2026, 3, 29), "date_to": date(2026, 3, 29), "time_from": time(2, 30)}
    asked = sought(company, **night)
    assert isinstance(asked, AskBack)
    assert "skip" in asked.question
    twice = found(company, **{**night, "date_from": date(2026, 10, 25), "date_to": date(2026, 10, 25)}).asked.starts
    assert twice is not None
    assert twice[1] - twice[0] == 3600


def test_notice_holds_with_others_alone(company: Directory) -> None:
    """Two hours before a meeting with somebody else; none before an hour of one's own."""
    assert found(company, participants=("cleo",)).asked.earliest == NOW + 7200
    assert found(company).asked.earliest == NOW


def test_a_bound_is_on_the_clock_of_whom_it_is(company: Directory) -> None:
    """Nine in New York; a bound of somebody who cannot be told is asked about."""
    bounds = (Bound(whose="Cleo", not_before=time(9)),)
    asked = found(
        company, participants=("cleo",), bounds=bounds, date_from=date(2026, 3, 25), date_to=date(2026, 3, 25)
    ).asked
    assert zones.moment(date(2026, 3, 25), time(14), BERLIN) in {start for start, _ in asked.bounds["cleo"]}
    assert isinstance(sought(company, bounds=(Bound(whose="Ana", not_before=time(9)),)), AskBack)


def test_each_is_told_in_his_own_words(company: Directory) -> None:
    """What is in one's own way is named, of others only that they are busy; numbers add up; times are one's own."""
    wanted = found(company, participants=("cleo",), date_from=date(2026, 3, 25), date_to=date(2026, 3, 25))
    two = zones.moment(date(2026, 3, 25), time(14), BERLIN)
    busy = {"cleo": (Engagement(start=two, end=two + 3600, uid="u", title="Doctor"),)}
    told = {one.person: one for one in why.told(_known(wanted, busy), finding.find(wanted, busy, Policy()).search)}
    cleo, ben = " ".join(told["cleo"].sentences), " ".join(told["ben"].sentences)
    assert "you are busy (such as Doctor, Wednesday 25 March 2026, 09:00–10:00 (America/New_York, UTC-04:00))" in cleo
    assert "Cleo Kim is busy" in ben
    assert "Doctor" not in ben
    assert "15:15–15:45 (Europe/Berlin, UTC+01:00)" in ben
    assert "10:15–10:45 (America/New_York, UTC-04:00)" in cleo


def _known(wanted: Terms, busy: dict[str, tuple[Engagement, ...]]) -> Terms:
    people = tuple(replace(one, engagements=busy.get(one.id, ())) for one in wanted.people)
    return replace(wanted, people=people)


def test_reminders_are_never_in_the_past() -> None:
    """A day without a time is the whole day; a time that is over is asked about; no date means the event's own."""
    day = notes.entry(Wish(action=Action.REMIND, title="x", date_from=date(2026, 3, 29)), BERLIN, NOW)
    assert isinstance(day, notes.Entry)
    assert (day.end - day.start, day.is_all_day) == (23 * 3600, True)
    past = Wish(action=Action.REMIND, title="x", date_from=date(2026, 3, 24), time_from=time(9))
    assert isinstance(notes.entry(past, BERLIN, NOW), AskBack)
    assert notes.entry(Wish(action=Action.REMIND, title="anniversary"), BERLIN, NOW) is None


def test_a_change_speaks_of_what_begins_where_it_says() -> None:
    """From Thursday to Friday: of two meetings with Ana the one on Thursday; at another hour there is none."""
    at = [zones.moment(date(2026, 3, day), time(15), BERLIN) for day in (25, 26)]
    entries = [Engagement(start=one, end=one + 3600, uid=str(one), title="meeting with Ana") for one in at]
    wish = Wish(action=Action.CHANGE, title="meeting", participants=("Ana",), date_from=date(2026, 3, 27))
    for was, found in (
        ({}, at),
        ({"was_on": date(2026, 3, 26)}, at[1:]),
        ({"was_at": time(15)}, at),
        ({"was_on": date(2026, 3, 26), "was_at": time(16)}, []),
    ):
        said = Wish.model_validate({**wish.model_dump(), **was})
        assert [one.start for one in matching.matching(said, entries, BERLIN, NOW)] == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"date_from": "2026-03-25", "date_to": "2026-03-25", "time_to": "12:00"}, ["standup"]),
        ({"date_from": "2026-03-25", "date_to": "2026-03-25", "time_from": "12:00", "time_to": "18:00"}, ["review"]),
        ({"date_from": "2026-03-28"}, ["fair", "sync", "later"]),
        ({"repeats": "FREQ=WEEKLY;BYDAY=MO"}, ["sync", "later"]),
        ({"repeats": "FREQ=WEEKLY;BYDAY=MO", "date_from": "2026-03-24", "date_to": "2026-03-31"}, ["sync"]),
        ({"repeats": "FREQ=WEEKLY;BYDAY=WE", "time_from": "09:00"}, ["standup"]),
    ],
)
def test_what_is_cancelled_lies_in_what_was_named(said: dict[str, str], found: list[str]) -> None:
    """Before noon is no afternoon, on Mondays no other day, and what begins on a day and has no end goes on."""
    at = {"standup": (25, 9), "review": (25, 15), "fair": (28, 11), "sync": (30, 11)}
    starts = {name: zones.moment(date(2026, 3, day), time(hour), BERLIN) for name, (day, hour) in at.items()}
    starts["later"] = zones.moment(date(2026, 4, 13), time(11), BERLIN)
    entries = [Engagement(start=one, end=one + 3600, uid=name, title=name) for name, one in starts.items()]
    for action in (Action.CANCEL, Action.QUERY):
        wish = Wish.model_validate({"action": action, "scope": "all", **said})
        assert [one.uid for one in matching.matching(wish, entries, BERLIN, NOW)] == found


def test_sometime_between_is_a_window_and_no_length(company: Directory) -> None:
    """A meeting "sometime between one and four" is not three hours long; "from one to four" is."""
    now = datetime.fromtimestamp(NOW, UTC)
    for text, minutes in (
        ("schedule a meeting sometime between 1 and 4 tomorrow", 30),
        ("schedule a meeting any time tomorrow between 1 pm and 4 pm", 30),
        ("schedule a meeting tomorrow from 1 to 4", 180),
    ):
        wish = understanding.understand(text, now, "Europe/Berlin")
        assert isinstance(wish, Wish)
        assert (wish.time_from, wish.time_to) == (time(13), time(16))
        given = {name: getattr(wish, name) for name in ("date_from", "date_to", "time_from", "time_to", "prefer")}
        assert found(company, **given).asked.duration_s == 60 * minutes, text


def test_a_series_that_is_said_to_end_ends(company: Directory) -> None:
    """Until the end of June, for two weeks: the rule says so, and it begins on a day of its own."""
    mondays = {"repeats": "FREQ=WEEKLY;BYDAY=MO", "time_from": time(9), "date_from": date(2026, 3, 30)}
    ends = found(company, date_to=date(2026, 6, 30), **mondays).asked
    assert ends.repeats == "FREQ=WEEKLY;BYDAY=MO;UNTIL=20260630"
    assert ends.starts == (zones.moment(date(2026, 3, 30), time(9), BERLIN),)
    assert series.occasions(ends.starts[0], ends.repeats, BERLIN)[-1] == zones.moment(
        date(2026, 6, 29), time(9), BERLIN
    )
    once = found(company, date_to=date(2026, 4, 5), **mondays).asked  # every Monday, next week: no end is meant
    assert (once.repeats, once.starts) == (mondays["repeats"], ends.starts)
    window = found(company, repeats="FREQ=WEEKLY", date_from=date(2026, 3, 30), date_to=date(2026, 4, 5)).asked
    assert (window.repeats, len(window.windows)) == ("FREQ=WEEKLY", 1)
    assert window.windows[0][1] - window.windows[0][0] == 7 * 86_400
    assert isinstance(sought(company, **{**mondays, "date_from": date(2026, 3, 31)}), AskBack)  # a Tuesday


@pytest.mark.parametrize(
    ("zone", "is_all_day", "until"), [("America/New_York", False, "20260701T035959Z"), ("UTC", True, "20260630")]
)
def test_the_end_of_a_series_is_written_as_others_read_it(zone: str, is_all_day: bool, until: str) -> None:
    """A moment in UTC for times, a day for days."""
    clock = zones.zone(zone)
    start = zones.moment(date(2026, 6, 1), time(), clock)
    person = Person(id="a", name="A", zone=clock)
    booking = Booking(
        uid="u", case="c", option=0, title="t", start=start, end=start + 86_400, people=(person,), rooms=(), zone=zone,
        repeats="FREQ=DAILY;UNTIL=20260630", is_all_day=is_all_day,
    )  # fmt: skip
    text = invitation.write(booking, is_confirmed=True)
    assert f"RRULE:FREQ=DAILY;UNTIL={until}\r\n" in text
    span = (start, start + 90 * 86_400)
    assert len(calendars.engagements([text], span, clock, with_free=True)) == 30


def test_half_an_hour_between_five_past_and_twenty_five_to_is_that_half_hour(company: Directory) -> None:
    """No quarter of an hour begins in there, and yet it fits."""
    day = date(2026, 3, 25)
    wanted = found(company, date_from=day, date_to=day, time_from=time(10, 5), time_to=time(10, 35), duration_min=30)
    assert wanted.asked.starts == (zones.moment(day, time(10, 5), BERLIN),)


def test_what_is_past_is_not_told_to_be_possible_at_a_shorter_notice(company: Directory) -> None:
    """Of the morning that it is 10:00 of, only what is ahead would be; alone no notice is spoken of."""
    today = {"date_from": date(2026, 3, 24), "date_to": date(2026, 3, 24), "time_to": time(11), "duration_min": 30}
    wanted = found(company, participants=("ana.r",), time_from=time(9), **today)
    told = why.told(wanted, finding.find(wanted, {}, Policy()).search)[0].sentences
    assert told[-1] == "With a shorter notice, 3 would be possible."  # 10:00, 10:15 and 10:30
    alone = found(company, time_from=time(8), **{**today, "time_to": time(9)})
    said = " ".join(why.told(alone, finding.find(alone, {}, Policy()).search)[0].sentences)
    assert "it is past." in said
    assert "notice" not in said


def test_the_nearest_keep_a_bound_on_the_days_after(company: Directory) -> None:
    """Not before 9 their time, and all of that week is full: Monday is possible."""
    day = date(2026, 3, 25)
    start = zones.moment(day, time(), BERLIN)
    full = {"ana.r": (Engagement(start=start, end=start + 3 * 86_400, uid="u", title="t"),)}
    bound = Bound(whose="ana.r", not_before=time(9))
    wanted = found(company, participants=("ana.r",), date_from=day, date_to=day, bounds=(bound,))
    nearest = finding.find(wanted, full, Policy()).nearest
    assert nearest is not None
    assert nearest.best is not None
    assert zones.local(nearest.best.start, BERLIN).date() == date(2026, 3, 30)


def test_a_surname_is_a_name_where_it_is_nobodys_first(company: Directory) -> None:
    """Of two Anas, Roth; composed signs are the same letters."""
    organiser = company.organiser("ben")
    assert organiser is not None
    assert company.ids("Roth", organiser) == ("ana.r",)
    accented = directory.read({"people": [{"id": "jo", "name": "Jose\u0301 Ruiz", "zone": "UTC", "calendar": "j"}]})
    assert accented.ids("jos\u00e9", organiser) == ("jo",)


def test_more_people_than_a_meeting_has_are_asked_about() -> None:
    """Everybody, of a company of more than a hundred."""
    many = [{"id": f"p{n}", "name": f"P{n} X", "zone": "UTC", "calendar": f"c{n}"} for n in range(102)]
    large = directory.read({"people": many})
    organiser = large.organiser("p0")
    assert organiser is not None
    wish = Wish(action=Action.SCHEDULE, title="all hands", participants=("p1", "everyone"), date_from=date(2026, 3, 25))
    asked = terms.terms(wish, organiser, large, Policy(), NOW)
    assert isinstance(asked, AskBack)
    assert (asked.missing, asked.about) == (Missing.PERSON, "everyone")
