"""Words about a calendar: what is read is what was said, and what was not said is asked for."""

from __future__ import annotations

import calendar
import json
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aios.infra.commands.meeting import group
from aios.infra.demo import calendar_truth
from aios.infra.demo.calendar_truth import Half
from aios.infra.output import USAGE
from aios.processors.meetings.grammar import listed
from aios.processors.meetings.said import TEXT_CHARS_MAX, said, tidy
from aios.processors.meetings.wish import Action, AskBack, Missing, Prefer, Scope, Wish
from aios.processors.meetings.words import read

ZONE = "Europe/Berlin"
EXAMPLES = 40  # a reading takes milliseconds
NOW = datetime(2026, 3, 24, 10, tzinfo=ZoneInfo(ZONE))
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Kiritimati", "UTC")
WORDS = listed(
    "remind me add cancel delete move meeting event at on to from until every next last monday friday march 12th "
    "first second half past quarter noon tonight tomorrow week month 9 10:30 5pm an hour and with Ana the team not "
    "before after their time in two days ago between of year 31 may - , . ? all my calendar x \" ' show what when is"
)
SMALL = listed("one two three four five six seven eight nine ten eleven twelve")
DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
RULE_DAYS = listed("MO TU WE TH FR SA SU")

moments = st.builds(
    lambda at, zone: at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)),
    st.datetimes(datetime(1971, 1, 1), datetime(2190, 1, 1)),
    st.sampled_from(ZONES),
)
days_ahead = st.integers(1, 300)


def zone_of(now: datetime) -> str:
    assert isinstance(now.tzinfo, ZoneInfo)
    return now.tzinfo.key


def wish(text: str, now: datetime = NOW) -> Wish:
    answer = read(text, now, zone_of(now))
    assert isinstance(answer, Wish), (text, answer)
    return answer


def asked(text: str, now: datetime = NOW) -> Missing:
    answer = read(text, now, zone_of(now))
    assert isinstance(answer, AskBack), (text, answer)
    return answer.missing


def ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), moments)
def test_any_text_is_read_or_asked_about(text: str, now: datetime) -> None:
    """No text raises, at no moment and in no zone; reading twice gives the same answer; an answer survives JSON."""
    answer = read(text, now, zone_of(now))
    assert read(text, now, zone_of(now)) == answer
    assert type(answer).model_validate_json(answer.model_dump_json()) == answer


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=200))
def test_tidying_is_idempotent_and_places_hold(text: str) -> None:
    """Tidying twice is tidying once; the text and its lower case have the same length."""
    assert tidy(tidy(text)) == tidy(text)
    heard = said(text)
    assert len(heard.text) == len(heard.low)


def test_what_is_too_long_or_no_moment_is_refused() -> None:
    """A text over the bound is asked about; a moment without offset, or far away, is an error of the caller."""
    assert asked("a" * (TEXT_CHARS_MAX + 1)) is Missing.MEANING
    with pytest.raises(ValueError, match="offset"):
        read("lunch", datetime(2026, 1, 1), ZONE)
    with pytest.raises(ValueError, match="1970 to 2199"):
        read("lunch", datetime(2900, 1, 1, tzinfo=UTC), ZONE)


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, days_ahead, st.data())
def test_a_date_is_the_one_that_was_said(now: datetime, ahead: int, data: st.DataObject) -> None:
    """However a day to come is written, that day is meant: in words, in figures, with and without its year."""
    day = now.date() + timedelta(days=ahead)
    month, short = calendar.month_name[day.month], calendar.month_abbr[day.month]
    spellings = [
        f"{month} {day.day}",
        f"{month} {ordinal(day.day)}",
        f"the {ordinal(day.day)} of {month}",
        f"{day.day} {short} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{DAYS[day.weekday()]}, {month} {ordinal(day.day)}",
        day.isoformat(),
        f"{day.day}.{day.month}.{day.year}",
        f"in {ahead} days",
        f"{ahead} days from now",
    ]
    text = f"Schedule lunch with Ana on {data.draw(st.sampled_from(spellings))}".replace("on in", "in")
    answer = wish(text, now)
    assert (answer.date_from, answer.date_to) == (day, day)
    assert (answer.title, answer.participants) == ("lunch", ("Ana",))


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, st.integers(0, 6), st.sampled_from(["", "this ", "next "]))
def test_a_weekday_is_the_next_one_or_that_of_the_following_week(now: datetime, day: int, which: str) -> None:
    """Friday: the first after today. Next Friday: that of the week after this."""
    answer = wish(f"What do I have on {which}{DAYS[day]}?", now)
    assert answer.date_from is not None
    assert answer.date_from.weekday() == day
    away = (answer.date_from - now.date()).days
    if which == "next ":
        assert 7 <= away + now.weekday() <= 13
    else:
        assert 1 <= away <= 7


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, st.integers(1, 12), st.integers(0, 6), st.sampled_from(["first", "second", "third", "fourth", "last"]))
def test_the_nth_weekday_of_a_month(now: datetime, month: int, day: int, nth: str) -> None:
    """First Monday of May: counted on the calendar by another way."""
    year = now.year + 1
    weeks = [week[day] for week in calendar.monthcalendar(year, month) if week[day]]
    number = weeks[{"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}[nth]]
    answer = wish(f"Add retro on the {nth} {DAYS[day]} of {calendar.month_name[month]} {year}", now)
    assert answer.date_from == answer.date_to == date(year, month, number)


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, st.integers(1, 12), st.integers(1, 27), st.data())
def test_from_a_day_to_a_day_of_a_month(now: datetime, month: int, first: int, data: st.DataObject) -> None:
    """However a span of days of one month is written, its first and last day are meant."""
    year, last = now.year + 1, data.draw(st.integers(first + 1, 28))
    name, short = calendar.month_name[month], calendar.month_abbr[month]
    spellings = [
        f"{first} to {last} {name} {year}",
        f"{first}-{last} {short} {year}",
        f"{name} {ordinal(first)} through {ordinal(last)}, {year}",
        f"the {ordinal(first)} until the {ordinal(last)} of {name} {year}",
        f"between the {ordinal(first)} and the {ordinal(last)} of {name} {year}",
    ]
    answer = wish(f"What do I have {data.draw(st.sampled_from(spellings))}?", now)
    assert (answer.date_from, answer.date_to) == (date(year, month, first), date(year, month, last))


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, days_ahead, st.sampled_from(["{day} the {nth}", "{day}, the {nth}", "{short} {nth}"]))
def test_a_weekday_and_its_number_are_the_next_day_that_is_both(now: datetime, ahead: int, spelling: str) -> None:
    """Thursday the 14th: never a day of which only one is true; too far ahead it is asked about."""
    day = now.date() + timedelta(days=ahead)
    name = DAYS[day.weekday()]
    answer = read(f"What is on {spelling.format(day=name, short=name[:3], nth=ordinal(day.day))}?", now, zone_of(now))
    found = answer if isinstance(answer, Wish) else None
    if found is None:
        assert ahead > 60
        return
    assert found.date_from is not None
    assert (found.date_from.weekday(), found.date_from.day) == (day.weekday(), day.day)
    assert now.date() <= found.date_from <= day


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(1, 12), st.sampled_from([0, 5, 10, 15, 20, 30, 45, 55]), st.sampled_from(["am", "pm", "a.m.", "PM"]))
def test_a_clock_time_is_the_one_that_was_said(hour: int, minute: int, half: str) -> None:
    """With its half of the day, in figures and in words."""
    meant = time(hour % 12 + (12 if half[0].lower() == "p" else 0), minute)
    spellings = [f"{hour}:{minute:02d} {half}", f"{hour}.{minute:02d}{half}", meant.strftime("%H:%M")]
    if minute == 0:
        spellings += [f"{hour}{half}", f"{SMALL[hour - 1]} {half}"]
    if minute in (15, 30):
        spellings.append(f"{'quarter' if minute == 15 else 'half'} past {SMALL[hour - 1]} {half}")
    if minute == 45:
        spellings.append(f"quarter to {SMALL[hour % 12]} {half if hour != 11 else ('pm' if meant.hour < 12 else 'am')}")
    for spelling in spellings:
        answer = wish(f"Set a meeting with Li tomorrow at {spelling}")
        assert (answer.time_from, answer.time_to) == (meant, None), spelling
        assert answer.participants == ("Li",)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(1, 12), st.sampled_from(["", " in the morning", " in the evening"]))
def test_a_bare_hour_is_in_the_working_day_or_where_it_is_said_to_be(hour: int, part: str) -> None:
    """1 to 7 in the afternoon, 8 to 12 before or at noon, unless a part of the day stands beside it."""
    assume(not (part and hour == 12))
    meant = {"": hour + 12 if hour <= 7 else hour, " in the morning": hour, " in the evening": hour + 12}[part]
    assert wish(f"Set a meeting with Li tomorrow at {hour}{part}").time_from == time(meant)
    assert wish(f"Set a meeting with Li tomorrow at {SMALL[hour - 1]}{part}").time_from == time(meant)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.integers(8, 18),
    st.integers(1, 4),
    st.sampled_from(["from {} to {}", "between {} and {}", "{} - {}", "{} until {}"]),
)
def test_a_range_begins_and_ends_where_it_was_said(hour: int, hours: int, form: str) -> None:
    """In either clock; a bare hour takes the half of the day in which the range runs forward."""
    start, end = time(hour), time(hour + hours)
    for one, other in (("%H:%M", "%H:%M"), ("%I:%M %p", "%I:%M %p"), ("%I %p", "%I:%M %p")):
        answer = wish(f"Book a call with Jo tomorrow {form.format(start.strftime(one), end.strftime(other))}")
        assert (answer.time_from, answer.time_to) == (start, end)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(5, 240), st.data())
def test_a_length_is_as_long_as_it_was_said(minutes: int, data: st.DataObject) -> None:
    """In minutes, hours, and halves of them."""
    spellings = [f"{minutes} minutes", f"{minutes} min", f"{minutes}-minute"]
    if minutes % 60 == 0:
        spellings += [f"{SMALL[minutes // 60 - 1]} hour{'s' if minutes > 60 else ''}"]
        spellings += [f"{minutes // 60}h", f"{minutes // 60} h", f"{minutes // 60}hr"]
    if minutes > 60 and minutes % 60 >= 10:
        hours, rest = divmod(minutes, 60)
        spellings += [f"{hours}h{rest}", f"{hours}h {rest}m", f"{hours} hours {rest} minutes", f"{hours}h{rest}min"]
    if minutes % 60 == 30 and minutes > 60:
        spellings += [f"{SMALL[minutes // 60 - 1]} and a half hours", f"{minutes / 60:.1f} hours"]
    spelling = data.draw(st.sampled_from(spellings))
    text = f"A {spelling} call" if spelling.endswith("-minute") else f"Schedule a call for {spelling}"
    answer = wish(f"{text} with Ana tomorrow")
    assert answer.duration_min == minutes
    assert answer.title == "call"


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, st.integers(1, 600))
def test_a_distance_from_now_is_counted_on_the_line_of_time(now: datetime, minutes: int) -> None:
    """In so many minutes: the clock then, also where clocks are changed in between."""
    then = (now.astimezone(UTC) + timedelta(minutes=minutes)).astimezone(now.tzinfo)
    answer = wish(f"Remind me in {minutes} minutes to call Bob", now)
    assert (answer.date_from, answer.time_from) == (then.date(), then.time().replace(second=0, microsecond=0))
    assert answer.title == "call bob"


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, st.sets(st.integers(0, 6), min_size=1, max_size=4), st.integers(1, 4))
def test_a_series_starts_on_its_first_day_and_has_its_rule(now: datetime, days: set[int], weeks: int) -> None:
    """Every Tuesday and Friday; every three weeks: the rule that was said, from its first day on."""
    named = [DAYS[day] for day in sorted(days)]
    listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    answer = wish(f"Add yoga every {listed}", now)
    assert answer.repeats == f"FREQ=WEEKLY;BYDAY={','.join(RULE_DAYS[day] for day in sorted(days))}"
    assert answer.date_to is None
    today = datetime.combine(now.date(), time(0))
    first = rrulestr(answer.repeats, dtstart=today).after(today, inc=True)
    assert first is not None
    assert answer.date_from == first.date()
    every = wish(f"Add yoga every {weeks} weeks" if weeks > 1 else "Add yoga every week", now)
    assert every.repeats == ("FREQ=WEEKLY" if weeks == 1 else f"FREQ=WEEKLY;INTERVAL={weeks}")


@settings(max_examples=EXAMPLES, deadline=None)
@given(moments, st.integers(0, 6), st.integers(2, 12))
def test_a_series_for_so_many_weeks_has_so_many_days(now: datetime, day: int, weeks: int) -> None:
    """Every Tuesday for six weeks: six Tuesdays, and no seventh."""
    answer = wish(f"Add yoga every {DAYS[day]} for {weeks} weeks", now)
    assert answer.date_from is not None
    assert answer.date_to is not None
    first, last = (datetime.combine(one, time(0)) for one in (answer.date_from, answer.date_to))
    assert len(rrulestr(answer.repeats, dtstart=first).between(first, last, inc=True)) == weeks


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Ana", "Bob", "Dr. Smith", "the Berlin team", "Sandra", "Mr. Ho"]),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_who_takes_part_is_as_said(people: list[str]) -> None:
    """Names and teams, however many; a name that holds "and" is one name."""
    listed = people[0] if len(people) == 1 else f"{', '.join(people[:-1])} and {people[-1]}"
    assert wish(f"Schedule a review with {listed} tomorrow at 3 pm").participants == tuple(people)


def test_the_hour_with_ana_and_the_berlin_team() -> None:
    """An hour early next week, and their clock is the team's."""
    answer = wish("an hour with Ana and the Berlin team early next week, not before 9 their time")
    assert (answer.action, answer.participants) == (Action.SCHEDULE, ("Ana", "the Berlin team"))
    assert (answer.date_from, answer.date_to, answer.prefer) == (date(2026, 3, 30), date(2026, 4, 1), Prefer.EARLY)
    assert (answer.duration_min, answer.time_from) == (60, None)
    assert [(bound.whose, bound.not_before) for bound in answer.bounds] == [("the Berlin team", time(9))]


def test_their_time_is_told_by_the_city_of_the_group() -> None:
    """The Tokyo office's clock is Tokyo's; of a person or of two groups it is asked for."""
    assert wish("Meet the Tokyo office at 9 their time on Friday").zone == "Asia/Tokyo"
    assert asked("Meet the Tokyo office and the Berlin team at 9 their time on Friday") is Missing.TIME
    assert asked("Meet Ana at 9 her time on Friday") is Missing.TIME


@pytest.mark.parametrize(("zone", "day"), [("Europe/Berlin", date(2026, 5, 4)), ("America/New_York", date(2026, 4, 5))])
def test_a_date_in_two_readings_is_read_as_where_the_clock_is(zone: str, day: date) -> None:
    """04/05 is the fourth of May in Berlin and the fifth of April in New York."""
    assert wish("Meeting with Jo on 04/05/2026", NOW.astimezone(ZoneInfo(zone))).date_from == day


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Delete the meeting", Missing.EVENT),
        ("Cancel that", Missing.EVENT),
        ("Delete some events", Missing.EVENT),
        ("Remove all events that are not important", Missing.EVENT),
        ("Delete my events except dinner", Missing.EVENT),
        ("Cancel the appointment I made yesterday", Missing.EVENT),
        ("Delete the meeting at 9 am", Missing.DATE),
        ("Add an event tomorrow", Missing.TITLE),
        ("Schedule a meeting with Bob", Missing.DATE),
        ("Schedule a sync with Kim on Monday or Friday", Missing.DATE),
        ("Schedule a sync with Kim next week but not on Wednesday", Missing.DATE),
        ("Schedule a meeting with Ana on February 30", Missing.DATE),
        ("Schedule yoga twice a week", Missing.DATE),
        ("Schedule a meeting with Ana on Thursday 25 March at 10", Missing.DATE),
        ("Schedule a meeting with Ana on Friday April 2 at 10", Missing.DATE),
        ("Schedule a meeting with Ana on Tuesday the 25th at 10", Missing.DATE),
        ("Schedule 2 minutes with Ana on Thursday", Missing.TIME),
        ("Schedule a call with Ana on Thursday 2h30", Missing.TIME),
        ("Move the meeting with Ana on Thursday and on Friday to Monday", Missing.EVENT),
        ("Schedule a call with Ana tomorrow at 9 IST", Missing.TIME),
        ("Remind me about my meeting", Missing.EVENT),
        ("Remind me to buy milk", Missing.DATE),
        ("Remind me when I get home to call mom", Missing.DATE),
        ("Meeting on Friday at 3 and remind me at 2", Missing.TIME),
        ("How is the weather tomorrow?", Missing.NOT_CALENDAR),
        ("Turn off the lights at 10 pm", Missing.NOT_CALENDAR),
        ("Are there any concerts near me tonight?", Missing.NOT_CALENDAR),
        ("Set a meeting with", Missing.DATE),
        ("tomorrow", Missing.MEANING),
        ("", Missing.MEANING),
    ],
)
def test_what_was_not_said_is_asked_for(text: str, missing: Missing) -> None:
    """Never guessed: which event, which day, whose clock."""
    assert asked(text) is missing


@pytest.mark.parametrize(
    ("text", "was_on", "was_at"),
    [
        ("Reschedule the meeting with Ana from Thursday to Friday", date(2026, 3, 26), None),
        ("Move my 3pm with Ana to 4pm", None, time(15)),
        ("Move the meeting with Ana on Thursday at 3 to 4:30", date(2026, 3, 26), time(15)),
        ("Move Thursday's meeting with Ana to 4pm", date(2026, 3, 26), None),
        ("Change the meeting with Ana to 4pm on Friday", None, None),
        ("Move the standup to Friday", None, None),
    ],
)
def test_a_change_knows_where_the_thing_stands_now(text: str, was_on: date | None, was_at: time | None) -> None:
    """Before "to" is where it is, behind it where it shall be; without "to" nothing is known of it."""
    found = wish(text)
    assert (found.action, found.was_on, found.was_at) == (Action.CHANGE, was_on, was_at)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("Cancel all my meetings on Friday", Scope.ALL),
        ("Cancel my next meeting", Scope.NEXT),
        ("Cancel my dentist appointment", Scope.ONE),
        ("Clear my calendar", Scope.ALL),
        ("What is next?", Scope.NEXT),
    ],
)
def test_what_is_meant_by_a_cancellation_or_a_question(text: str, scope: Scope) -> None:
    """One event, the next, or all that match."""
    assert wish(text).scope is scope


def test_the_command_says_what_is_understood_and_what_is_not() -> None:
    """aios meeting read: the wish, or what is missing with its question."""
    run = CliRunner()
    now = ["--now", NOW.isoformat(), "--json"]
    understood = json.loads(run.invoke(group, ["read", "lunch with Ana tomorrow at noon", *now]).output)
    assert (understood["understood"], understood["date_from"]) == (True, "2026-03-25")
    missing = json.loads(run.invoke(group, ["read", "remind me to buy milk", *now]).output)
    assert (missing["understood"], missing["missing"], missing["title"]) == (False, "date", "buy milk")
    assert run.invoke(group, ["read", "lunch", "--zone", "Europe/Nowhere"]).exit_code == USAGE


@pytest.mark.parametrize(
    ("kind", "meant", "done", "harmful"),
    [
        ("schedule", {}, {"date_from": "2026-03-25"}, True),
        ("schedule", {}, {"zone": "Asia/Tokyo"}, True),
        ("schedule", {}, {"title": "talk"}, False),
        ("cancel", {}, {"title": "talk"}, True),
        ("query", {}, {"date_from": "2026-03-25"}, False),
        ("schedule", {}, {"resolvable": "no", "missing": "date"}, False),
        ("schedule", {"resolvable": "no", "missing": "date"}, {}, True),
    ],
)
def test_what_would_be_done_wrongly_is_counted_apart(
    kind: str, meant: dict[str, str], done: dict[str, str], harmful: bool
) -> None:
    """On another day or clock, or the wrong thing taken out: yes. A question, a look, or another name: no."""
    row = {**dict.fromkeys((*calendar_truth.FIELDS, "zone", "missing"), ""), "id": "1", "resolvable": "yes"}
    row |= {"action": kind, "title": "lunch", "date_from": "2026-03-24"}
    found = calendar_truth.compare([row | meant], {"1": row | done}, {"1": "lunch"}, half="one")
    assert [miss.harmful for miss in found.misses] == [harmful]
    assert found.plain()["done_wrongly"] == int(harmful)


def test_what_was_looked_at_while_writing_is_understood() -> None:
    """On the half that the rules were written with: at least 0.95 understood, nothing guessed."""
    found = calendar_truth.evaluate(Half.DEV)
    assert found.right >= 0.95 * found.resolvable
    assert found.asked_back == found.unresolvable
