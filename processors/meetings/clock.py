"""The times of day that are said, and how long things last: "half past three", "9 to 5", "evening", "an hour and a half".

Enters: a match of one of the patterns below, and what it is read against. Leaves: Clock, Instant, Lasts, Ahead or Zone.
Guaranteed: the conventions of infra/demo/data/calendar_truth.md: a bare hour from 1 to 7 is in the afternoon, from 8 to
12 before or at noon, unless a part of the day beside it says otherwise; a number alone is `weak`, an hour only where
words around it make it one. Rejected: "half three" (half past three in Britain, half past two elsewhere): not read.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from aios.processors.meetings import grammar as g
from aios.processors.meetings.days import Rule
from aios.processors.meetings.phrases import Ahead, Clock, Days, Found, Instant, Lasts, Setting, Unsaid, Wanted
from aios.processors.meetings.wish import DURATION_MIN_MAX, Action, Missing, Prefer

NOON = 12
MEETS_MIN = 5  # minutes: nobody meets for less, so that another length is meant
AFTERNOON_TO = 7  # a bare 1 to 7 is in the afternoon
DAY_ENDS = time(23, 59)
_PARTS = {
    "morning": (time(6), time(12)),
    "afternoon": (time(12), time(18)),
    "evening": (time(18), DAY_ENDS),
}
_ROUND = {
    "after lunch": Clock(start=time(13), end=time(18), part="afternoon"),
    "before lunch": Clock(start=time(6), end=time(12), part="morning"),
    "lunchtime": Clock(start=time(12), end=time(14), part="lunch"),
    "after work": Clock(start=time(17), end=DAY_ENDS, part="evening"),
    "before work": Clock(start=time(6), end=time(9), part="morning"),
}
_PARTS |= {"tonight": _PARTS["evening"], "night": _PARTS["evening"]}

HALF = r"(?: ?(?P<half>a\.? ?m\b\.?|p\.? ?m\b\.?|(?<=\d)[ap]\b))"
_HOUR = rf"(?P<hour>\d{{1,2}}|{g.WORDED})"
_MINUTES = r"(?P<minute>[0-5]\d)"


def part(name: str, prefer: Prefer | None = None) -> Clock:
    start, end = _PARTS[name]
    return Clock(start=start, end=end, part=name, prefer=prefer)


def hour_of(hour: int, half: str, day_part: str = "") -> int | None:
    """The hour from 0 to 23. half: "am", "pm" or nothing. None: no such hour."""
    if half:
        if not 1 <= hour <= NOON:
            return hour if half == "pm" and NOON < hour < 24 else None
        return hour % NOON + (NOON if half == "pm" else 0)
    if not 0 <= hour <= 23:
        return None
    if not 1 <= hour <= NOON:
        return hour
    if day_part == "morning":
        return hour % NOON if hour != NOON else NOON
    if day_part in ("evening", "tonight", "night", "afternoon"):
        return hour % NOON + NOON
    return hour + NOON if hour <= AFTERNOON_TO else hour


def _half(found: re.Match[str]) -> str:
    said = (found.groupdict().get("half") or found.groupdict().get("half2") or "").replace(".", "").replace(" ", "")
    return {"morning": "am", "afternoon": "pm", "evening": "pm", "a": "am", "p": "pm"}.get(said, said)


def _timed(found: re.Match[str], _: Setting) -> Found:
    groups = found.groupdict()
    hour, minute = g.number(found["hour"]), g.number(groups.get("minute") or "0")
    half = _half(found)
    full = len(found["hour"]) == 2 and found["hour"].startswith("0")  # "08:00" is meant as it stands
    hour24 = hour if full and not half else hour_of(hour, half)
    if hour24 is None or minute > 59:
        return None
    return Clock(start=time(hour24, minute), bare=not half and not full and 1 <= hour <= NOON)


def _hours_between(found: re.Match[str], _: Setting) -> Found:
    """9-17: hours only beside a day or "from"."""
    start, end = int(found["hour"]), int(found["to"])
    return Clock(start=time(start), end=time(end), weak=True) if start < end else None


def _weak(found: re.Match[str], at: Setting) -> Found:
    clock = _timed(found, at)
    return Clock(start=clock.start, bare=True, weak=True) if isinstance(clock, Clock) and clock.bare else None


def _military(found: re.Match[str], _: Setting) -> Found:
    hour, minute = int(found["hour"]), int(found["minute"])
    return Clock(start=time(hour, minute)) if hour < 24 else None


_QUARTERS = {"quarter": 15, "a quarter": 15, "half": 30}


def _past(found: re.Match[str], _: Setting) -> Found:
    hour, half = g.number(found["hour"]), _half(found)
    minutes = _QUARTERS.get(found["minutes"]) or g.number(found["minutes"])
    hour24 = hour_of(hour, half)
    if hour24 is None or not 0 < minutes < 60:
        return None
    before = found["way"] in ("to", "till", "til", "before", "of")
    minute_of_day = (hour24 * 60 + (-minutes if before else minutes)) % (24 * 60)
    return Clock(start=time(*divmod(minute_of_day, 60)), bare=not half and 1 <= hour <= NOON)


def _noon(_: re.Match[str], __: Setting) -> Found:
    return Clock(start=time(12))


def _midnight(_: re.Match[str], __: Setting) -> Found:
    return Clock(start=time(0))


def _part(found: re.Match[str], _: Setting) -> Found:
    which = found.groupdict().get("which") or ""
    prefer = Prefer.EARLY if which == "early" else Prefer.LATE if which == "late" else None
    of_event = _OF_EVENT.match(found.string, found.start("part")) is not None
    return replace(part(found["part"], prefer), of_event=of_event)


_OF_EVENT = re.compile(
    r"(?<=the |.my |our )(?:morning|afternoon|evening) (?!schedule|agenda|calendar|plan|routine|on\b|at\b|in\b|for\b|of\b|with\b|and\b|or\b|is\b|please\b|to\b|i\b)(?:\w+(?<!s)|\w*ss)\b"
)


def _round(found: re.Match[str], _: Setting) -> Found:
    return _ROUND[f"{found['side']} {found['what']}" if found["side"] else "lunchtime"]


def _this_part(found: re.Match[str], at: Setting) -> Found:
    return Days(first=at.today, last=at.today), part(found["part"])


def _later_today(_: re.Match[str], at: Setting) -> Found:
    return Days(first=at.today, last=at.today), Clock(
        start=at.now.time().replace(second=0, microsecond=0), end=DAY_ENDS, part="later"
    )


def _now(_: re.Match[str], at: Setting) -> Found:
    return Instant(at.now)


def minutes_of(found: re.Match[str]) -> int:
    """The minutes of a length that is said: an hour and a half, 1.5 hours, 45 min."""
    groups = found.groupdict()
    if groups.get("decimal"):
        return round(float(groups["decimal"].replace(",", ".")) * 60)
    if groups.get("hours"):
        return int(groups["hours"]) * 60 + int(groups["rest"] or groups["minutes_more"])
    if groups.get("plushalf"):
        return g.number(groups["plushalf"]) * 60 + 30
    if groups.get("halfhour"):
        return 30
    if groups.get("quarterhour"):
        return 45 if "three" in groups["quarterhour"] else 15
    minutes = g.number(found["count"]) * (60 if g.unit(found["unit"]) == "hour" else 1)
    if groups.get("more"):
        minutes += {"half": 30, "quarter": 15}.get(groups["more"].split()[-1].rstrip("."), 0) or g.number(
            groups["more"]
        )
    return minutes


LENGTH = (
    rf"(?:(?P<decimal>\d{{1,2}}[.,]\d{{1,2}})[ -]?(?:hours?|hrs?|h)\b"
    rf"|(?P<hours>\d{{1,2}}) ?(?:h ?(?P<rest>[0-5]\d)(?: ?(?:minutes?|mins?|m))?|(?:hours?|hrs?|h),? (?P<minutes_more>[0-5]?\d) ?(?:minutes?|mins?|m))\b"
    rf"|(?P<plushalf>\d{{1,2}}|{g.WORDED}) and a half (?:hours?|hrs?)\b"
    rf"|(?P<halfhour>(?:a )?half[ -](?:an |of an )?hour\b|half an hour\b)"
    rf"|(?P<quarterhour>(?:a |three )?quarters? (?:of )?an hour\b)"
    rf"|(?P<count>\d{{1,3}}|(?:{g.WORDED}|a couple of|couple of|an|a)(?=[ -]))[ -]?(?P<unit>minutes?|mins?|hours?|hrs?|m(?= (?:with|meeting|call))|h)\b"
    rf"(?: and (?:a )?(?P<more>half|quarter|\d{{1,2}}(?= ?min)|{g.WORDED}(?= ?min))(?: ?(?:minutes?|mins?))?)?)"
)


def _instant(found: re.Match[str], at: Setting) -> Found:
    minutes = minutes_of(found)
    then = (at.now.astimezone(UTC) + timedelta(minutes=minutes)).astimezone(at.now.tzinfo)
    return Instant(then.replace(second=0, microsecond=0))


def _within(found: re.Match[str], at: Setting) -> Found:
    then = _instant(found, at)
    return Instant(at.now, then.start) if isinstance(then, Instant) else None


def _next_hour(_: re.Match[str], at: Setting) -> Found:
    return Instant(at.now, (at.now.astimezone(UTC) + timedelta(hours=1)).astimezone(at.now.tzinfo))


def _lasts(found: re.Match[str], at: Setting) -> Found:
    minutes = minutes_of(found)
    least = MEETS_MIN if at.action in (Action.SCHEDULE, Action.CHANGE) else 1
    return Lasts(minutes) if least <= minutes <= DURATION_MIN_MAX else Unsaid(Missing.TIME)


def _ahead(_: re.Match[str], __: Setting) -> Found:
    return Ahead()


def _latest(_: re.Match[str], __: Setting) -> Found:
    return Wanted(Prefer.LATE)


def _soonest(_: re.Match[str], __: Setting) -> Found:
    return Wanted(Prefer.EARLY)


def _wanted(_: re.Match[str], __: Setting) -> Found:
    return Wanted()


def _unsaid_time(_: re.Match[str], __: Setting) -> Found:
    return Unsaid(Missing.TIME)


def _rule(pattern: str, meaning: Callable[[re.Match[str], Setting], Found]) -> Rule:
    return re.compile(pattern), meaning


_AFTER_AT = (
    "(?:"
    + "|".join(
        f"(?<={word} )" for word in ("at", "from", "by", "until", "till", "to", "before", "after", "and", "between")
    )
    + ")"
)
_PART = r"(?<!s' )(?<!parents )(?<!parent's )(?<!open )(?<!social )(?<!quiz )(?<!ladies )(?<!information )(?P<part>morning|afternoon|evening)s?"
_GOES_ON = rf"(?:{g.DAY_SAID}|(?:with|for|on|at|in|to|until|till|and|about|please|every|this|next|sharp)\b)"
_LEAD_UNIT = rf"(?:{LENGTH}|{g.COUNT}[ -](?:days?|weeks?|months?)\b)"
_LEAD = _LEAD_UNIT.replace("?P<", "?P<l_")
_AHEAD = r"(?:before(?:hand)?|ahead(?: of)?|prior(?: to)?|in advance(?: of)?|advance|earlier|early|notice|out\b)"

RULES: tuple[Rule, ...] = (
    _rule(rf"{_HOUR}(?:[:.] ?{_MINUTES})?{HALF}", _timed),
    _rule(rf"(?P<hour>\d{{1,2}}) ?{_MINUTES}{HALF}", _timed),
    _rule(rf"(?P<hour>\d{{1,2}}):{_MINUTES}(?::\d\d)?(?: ?(?:hours|hrs|h)\b)?(?![:\d])", _timed),
    _rule(rf"(?P<hour>[6-9]|[012]\d)h{_MINUTES}(?![:\d])", _timed),
    # 1h30 is a length, at 1h30 a time, and Thursday 1h30 either
    _rule(rf"{_AFTER_AT}(?P<hour>[1-5])h{_MINUTES}(?![:\d])|(?P<hour2>[1-5])h[0-5]\d(?= ?- ?\d)", lambda found, at: _timed(found, at) if found["hour"] else Unsaid(Missing.TIME)),
    _rule(r"(?:(?<=day )|(?<=tomorrow )|(?<=today ))[1-5] ?h ?[0-5]\d\b", _unsaid_time),
    _rule(r"(?P<hour>[6-9]|1\d) ?- ?(?P<to>1[3-9]|2[0-3])(?![\w:./-])", _hours_between),
    _rule(r"(?P<hour>\d{1,2})\.(?P<minute>[0-5][05])(?![\d.])", _timed),
    _rule(rf"{_HOUR} ?(?:o'? ?clock|oclock)(?: sharp)?(?:{HALF}|(?: in the (?P<half2>morning|afternoon|evening)))?", _timed),
    _rule(rf"(?P<hour>1[0-2]|[1-9]) (?P<minute>[0-5][05])(?=\s*(?:$|[,.;!?]|{_GOES_ON}))", _timed),
    _rule(rf"{_HOUR} (?P<minute>(?:ten|fifteen|twenty|thirty|forty|fifty)(?:[ -](?:five))?)\b{HALF}?", _timed),
    _rule(rf"{_HOUR} in the (?P<half>morning|afternoon|evening)\b", _timed),
    _rule(r"(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d) ?(?:hours|hrs|h)\b", _military),
    _rule(
        rf"(?P<minutes>half|(?:a )?quarter|(?:{g.SMALL}))(?: ?min(?:ute)?s?)? (?P<way>past|after|to|till|til|of|before) (?P<hour>\d{{1,2}}|{g.WORDED})(?: ?o'? ?clock)?(?:{HALF}|(?: in the (?P<half2>morning|afternoon|evening)))?(?!:)",
        lambda found, at: _past(found, at) if found["minutes"] in ("half", "quarter", "a quarter") or "min" in found[0] or _fives(found) else None,
    ),
    _rule(rf"(?!(?<=the )one\b|(?<=this )one\b|(?<=that )one\b|(?<=my )one\b|(?<=first )one\b|(?<=next )one\b|(?<=last )one\b){_HOUR}(?!\d|[:./]\d|/|%|st\b|nd\b|rd\b|th\b)(?:ish\b)?(?! ?(?:minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|people|persons|times|am\b|pm\b))(?![\w$€]|-(?!\d))", _weak),
    _rule(r"(?<!for )(?<!in )(?<!of )(?<!about )(?<!next )(?<!within )(?<!\d )(?P<hour>[6-9]|1\d|2[0-3])h(?![\w-])", _timed),
    _rule(r"(?P<hour>[6-9]|1\d|2[0-3])h(?=\s?-\s?\d)", _timed),
    _rule(r"(?:(?<=at )|(?<=from )|(?<=by )|(?<=until )|(?<=till )|(?<=to )|(?<=@ )|(?<=@)|(?<=\d\d-)|(?<=\d - )|(?<=before )|(?<=after ))(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5][05])(?![\w:/-])", _military),
    _rule(r"(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5][05])(?=(?: ?- ?| to | until | till )[0-2]\d[0-5][05]\b)", _military),
    _rule(r"(?P<hour>0\d)(?P<minute>[0-5][05])(?![\w:/-])", _military),
    _rule(rf"half[ -](?:[1-9]|1[0-2]|{g.WORDED})(?! ?(?:hours?|hrs?|days?|minutes?|mins?|weeks?)\b)(?![\w:])", _unsaid_time),
    _rule(r"(?:any ?time |some ?time |straight |right |just )?(?P<side>after|before) (?P<what>lunch|work)(?:time)?\b(?! (?:with|at)\b)", _round),
    _rule(r"(?:at |over |during |around )?(?P<side>)(?P<what>)(?:lunch ?time\b|(?<=\bat )lunch\b)", _round),
    _rule(r"(?:high |12 |twelve )?(?:noon|midday|mid-day|mid day)\b", _noon),
    _rule(r"(?:12 |twelve )?midnight\b", _midnight),
    _rule(r"(?:this) (?P<part>morning|afternoon|evening)(?:'s)?\b", _this_part),
    _rule(rf"(?:in the |at |during the |the |by |on the )?(?:(?P<which>early|late|mid|middle of the)[ -])?{_PART}(?:'s)?\b(?: time\b)?", _part),
    _rule(r"(?:at |in the |during the |by )(?P<which>late )?(?P<part>night)\b", _part),
    _rule(r"(?<=day )(?P<part>night)\b|(?<=tomorrow )(?P<part2>night)\b", lambda _, __: part("night")),
    _rule(r"later (?:on )?today\b", _later_today),
    _rule(r"(?:right now|at the moment|at present|currently(?! (?:on|in|scheduled|planned|set)\b)|now)\b", _now),
    _rule(r"current(?= (?:event|meeting|appointment|task))", _now),
    _rule(rf"(?:in |after )(?:about |exactly |just )?{LENGTH}(?:'? time)?(?! (?:advance|before|prior))", _instant),
    _rule(rf"{LENGTH} (?:from now|later|hence)\b", _instant),
    _rule(r"(?:in |within |over |for )?the next hour\b", _next_hour),
    _rule(rf"(?:in |within |over |for )?(?:the )?next {LENGTH}", _within),
    _rule(rf"within (?:the next )?{LENGTH}", _within),
    _rule(rf"(?:for |lasting |of |about |takes |taking |it (?:takes|lasts) )*(?:about |around |roughly |at least |exactly )?{LENGTH}(?:-long| long)?", _lasts),
    _rule(rf"(?:at |in |about |around |just |by )*{_LEAD},? (?:of )?{_AHEAD}(?: (?:hand|time|notice))?(?: of)?\b", _ahead),
    _rule(rf"in {_LEAD} advance\b", _ahead),
    _rule(rf"(?:before|prior|advance) {_LEAD}", _ahead),
    _rule(rf"(?:an? |with an? )?{_LEAD} (?:notification|notice|warning|alert|heads[ -]up|lead)\b", _ahead),
    _rule(rf"(?:an? |with an? )?{_LEAD} reminder\b(?= (?:before|prior|ahead|for|of|about))", _ahead),
    _rule(r"(?:the|a) (?:day|night|week|hour|evening|morning|month) (?:before|prior to|ahead of|in advance)\b", _ahead),
    _rule(r"(?:as (?:soon|early) as possible|as soon as (?:i|we|you) can|the (?:sooner|earlier) the better|asap|at (?:the|your) earliest(?: convenience)?|first thing)\b", _soonest),
    _rule(r"last thing\b|as late as possible\b", _latest),
    _rule(r"(?:all day(?: long)?|all[- ]day|(?:the |for the )?(?:whole|entire|full)[- ]day|at any time|any ?time|at all times|soon|sharp(?:ly)?|exactly|promptly|on time|(?:at )?the same time(?! (?:next|as|on|tomorrow|this))|(?:at )?same time(?=\W*$)|time slot)\b", _wanted),
    _rule(r"(?:at|for|on) (?:the )?(?:time|hour|times)\b(?!-)(?! (?:of|to|for|with))", _unsaid_time),
    _rule(r"(?:at|for) (?:a )?(?:certain|particular|specific|given|some|x+) (?:time|hour)\b(?! (?:in|on|during|within|next|this|early|late|between|before|after|tomorrow)\b)", _unsaid_time),
    _rule(r"(?:at )?(?:the |our |my |his |her |their )(?:usual|normal|regular|customary|standard|ordinary) (?:time|hour|slot)\b", _unsaid_time),
    _rule(rf"(?P<which>early|late) (?=(?:on )?(?:tomorrow|today|{g.WEEKDAY_FULL}))", lambda found, _: Wanted(Prefer.EARLY if found["which"] == "early" else Prefer.LATE)),
    _rule(r"(?:on )?any day(?:s)?(?= (?:next|this|in|of|from|between|before|after|but|except|on)\b)", _wanted),
)  # fmt: skip


def _fives(found: re.Match[str]) -> bool:
    """Whether it is a time: "ten past five" is, "3 to 5" is a range, and "ten of five" neither."""
    if found["way"] == "past" or (found.string[: found.start()].endswith("at ") and not found["minutes"][0].isdigit()):
        return True
    return (
        found["way"] in ("to", "till", "til")
        and not found["minutes"][0].isdigit()
        and g.number(found["minutes"]) in (20, 25)
    ) or (found["way"] == "after" and g.number(found["minutes"]) in (5, 10, 20, 25))


def wall(moment: datetime) -> time:
    return moment.time().replace(second=0, microsecond=0, tzinfo=None)
