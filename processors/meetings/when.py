"""From the phrases about time to one answer: first and last day, window of the day, length, rule of repetition.

Enters: the phrases of moments.py. Leaves: `When`. Guaranteed: a smaller span inside a larger one is what is meant
("Wednesday next week"); a clock time beats the part of the day it lies beside ("5pm tonight"); what has begun to be put
in the calendar begins no earlier than now; two answers that do not fit are a doubt, which is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from dateutil.rrule import rrulestr

from aios.processors.meetings import moments, spans, windows
from aios.processors.meetings.clock import DAY_ENDS, wall
from aios.processors.meetings.phrases import (
    Clock,
    Days,
    Grain,
    Instant,
    Lasts,
    Phrase,
    Series,
    Setting,
    Spell,
    Unsaid,
    Wanted,
    Zone,
)
from aios.processors.meetings.wish import Action, Missing, Prefer

_ANYBODY = frozenset({"their", "his", "her"})
_MINE = frozenset({"my", "our"})
_WHERE_IT_IS = frozenset({"", "at", "from", "for"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Not before, not after, on somebody's clock. whose: an IANA zone, or "their"."""

    whose: str
    not_before: time | None = None
    not_after: time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """unsaid: what the words name and do not say, or say in two ways. soon: the first day that has room."""

    first: date | None = None
    last: date | None = None
    start: time | None = None
    end: time | None = None
    minutes: int | None = None
    repeats: str = ""
    zone: str = ""
    limits: tuple[Limit, ...] = ()
    prefer: Prefer | None = None
    unsaid: Missing | None = None
    timed: bool = False
    """Whether a clock time was said, not only a part of the day."""
    of_event: bool = False
    """Whether the part of the day tells which event is meant."""
    was_on: date | None = None
    was_at: time | None = None
    """Of what is to be changed: where it stands now."""

    @property
    def dated(self) -> bool:
        return self.first is not None or bool(self.repeats)


def settle(phrases: list[Phrase], at: Setting) -> When:
    """One answer of all the phrases; doubts become `unsaid`."""
    when = _unsaid(phrases, When())
    when = _lengths(phrases, when)
    when, clocks = _zones(phrases, when)
    when = _days(phrases, when, at)
    when = _hours(clocks, when, at)
    when = _instants(phrases, when)
    when = _series(phrases, when, at) if when.repeats else _begun(_today(when, at), at)
    return _stood(phrases, _gone_on(phrases, when), at)


def _stood(phrases: list[Phrase], when: When, at: Setting) -> When:
    """From Thursday to Friday, my 3pm to 4pm: the day and the time before "to" are those of what is there."""
    becomes = next((n for n, one in enumerate(phrases) if one.operator == "to" and (one.of(Days) or one.of(Clock))), 0)
    if at.action is not Action.CHANGE or not becomes:
        return when
    before = [one for phrase in phrases[:becomes] if phrase.operator in _WHERE_IT_IS for one in phrase.meanings]
    days = {one.first for one in before if isinstance(one, Days) and one.grain is Grain.DAY and one.last == one.first}
    times = {one.start for one in before if isinstance(one, Clock) and one.end is None and not one.part}
    if len(days) > 1 or len(times) > 1:
        return _doubt(when, Missing.EVENT)
    return replace(when, was_on=next(iter(days), None), was_at=next(iter(times), None))


def _gone_on(phrases: list[Phrase], when: When) -> When:
    """For six weeks: counted from the first day."""
    spells = [one for phrase in phrases for one in phrase.meanings if isinstance(one, Spell)]
    if not spells:
        return when
    if len(spells) > 1 or when.first is None or when.last not in (None, when.first):
        return _doubt(when, Missing.DATE)
    last = spans.plus(when.first, spells[0].count, spells[0].unit) - timedelta(days=1)
    return replace(when, last=last)


def _doubt(when: When, missing: Missing) -> When:
    return replace(when, unsaid=when.unsaid or missing)


def _unsaid(phrases: list[Phrase], when: When) -> When:
    for phrase in phrases:
        for one in phrase.meanings:
            if isinstance(one, Unsaid):
                when = _doubt(when, one.missing)
            elif isinstance(one, Wanted) and one.prefer:
                when = replace(when, prefer=one.prefer)
    return when


def _lengths(phrases: list[Phrase], when: When) -> When:
    lengths = {one.minutes for phrase in phrases for one in phrase.meanings if isinstance(one, Lasts)}
    if len(lengths) > 1:
        return _doubt(when, Missing.TIME)
    return replace(when, minutes=lengths.pop() if lengths else None)


def _zones(phrases: list[Phrase], when: When) -> tuple[When, list[tuple[Clock, str]]]:
    """Limits on somebody else's clock are taken out of the times; what is left has one zone at most."""
    clocks: list[tuple[Clock, str]] = []
    zones: set[str] = set()
    limits: list[Limit] = []
    for n, phrase in enumerate(phrases):
        times = [one for one in phrase.meanings if isinstance(one, Clock)]
        named = [one for one in phrases[n + 1].meanings if isinstance(one, Zone)] if n + 1 < len(phrases) else []
        whose = named[0].name if named and times else ""
        if whose and whose not in _MINE and not _exact(phrase, times[0], whose):
            limits.append(_limit(phrase.operator, times[0], whose))
            continue
        if whose in _ANYBODY and named[0].likely:
            zones.add(named[0].likely)
        elif whose in _ANYBODY or whose == "your":
            when = _doubt(when, Missing.TIME)  # at 9 their time: of whom, where they are many?
        elif whose and whose not in _MINE:
            zones.add(whose)
        clocks += [(one, phrase.operator) for one in times]
    if len(zones) > 1:
        when = _doubt(when, Missing.TIME)
    return replace(when, zone=zones.pop() if len(zones) == 1 else "", limits=tuple(limits)), clocks


def _exact(phrase: Phrase, clock: Clock, whose: str) -> bool:
    return phrase.operator not in ("not before", "not after", "after", "before", "by", "until", "from") and not (
        clock.end and whose in _ANYBODY
    )


def _limit(operator: str, clock: Clock, whose: str) -> Limit:
    if clock.end:
        return Limit(whose=whose, not_before=clock.start, not_after=clock.end)
    if operator in ("not before", "after", "from"):
        return Limit(whose=whose, not_before=clock.start)
    return Limit(whose=whose, not_after=clock.start)


def _days(phrases: list[Phrase], when: When, at: Setting) -> When:
    series = [one.rule for phrase in phrases for one in phrase.meanings if isinstance(one, Series)]
    told = [(one, phrase.operator) for phrase in phrases for one in phrase.meanings if isinstance(one, Days)]
    named = [(days, operator) for days, operator in told if operator != "except"]
    never = [days for days, operator in told if operator == "except"]
    if any(not days.weak for days, _ in named):
        named = [(days, operator) for days, operator in named if not days.weak]
    if any(phrase.operator == "except" and phrase.of(Series) for phrase in phrases):
        when, series = _doubt(when, Missing.DATE), []
    if len(set(series)) > 1:
        series = _merged(series)
    if series and never:
        when, never = _doubt(when, Missing.DATE), []
    rule = series[0] if len(set(series)) == 1 else ""
    if series and not rule:
        when = _doubt(when, Missing.DATE)
    if at.action is Action.CHANGE and len(named) > 1:
        named = [pair for pair in named if pair[1] == "to"] or named
    if not named:
        return replace(_doubt(when, Missing.DATE) if never else when, repeats=rule)
    whole = windows.one([windows.window(days, operator, at) for days, operator in named])
    for days in never:
        whole = windows.less(whole, days) if whole else None
    if whole is None:
        return replace(_doubt(when, Missing.DATE), repeats=rule)
    ends = named[-1][1] if rule else ""
    if rule and len(named) == 1 and ends in ("until", "by", "before"):
        whole = replace(whole, first=at.today)
    if rule and len(named) == 1 and named[0][1] in ("from", "not before") and named[0][0].grain is not Grain.SPAN:
        whole = replace(whole, last=None)
    if rule and len(named) == 1 and named[0][1] not in ("until", "by", "before") and named[0][0].grain is Grain.DAY:
        whole = replace(whole, last=None)
    return replace(when, first=whole.first, last=whole.last, repeats=rule, prefer=when.prefer or whole.prefer)


_RULE_ORDER = ("FREQ", "INTERVAL", "BYMONTH", "BYMONTHDAY", "BYDAY")


def _merged(series: list[str]) -> list[str]:
    """Every two weeks, on Mondays: one rule that says both, where they do not say two things."""
    parts: dict[str, str] = {}
    for name, value in (part.split("=") for rule in series for part in rule.split(";")):
        if parts.setdefault(name, value) != value:
            return series
    return [";".join(f"{name}={parts[name]}" for name in _RULE_ORDER if name in parts)]


def _hours(clocks: list[tuple[Clock, str]], when: When, at: Setting) -> When:
    parts = sorted((clock for clock, _ in clocks if clock.part), key=lambda clock: clock.start or time(), reverse=True)
    exact = [(clock, operator) for clock, operator in clocks if not clock.part]
    if any(operator == "except" for _, operator in clocks):
        return _doubt(when, Missing.TIME)
    names = {clock.part for clock in parts} - {"later"}
    names = {"evening" if name in ("tonight", "night") else name for name in names}
    if len(names) > 1:
        return _doubt(when, Missing.TIME)
    if at.action is Action.CHANGE and len(exact) > 1:
        exact = [pair for pair in exact if pair[1] == "to"] or exact
    if not exact:
        return (
            replace(
                when,
                start=parts[0].start,
                end=parts[0].end,
                prefer=when.prefer or parts[0].prefer,
                of_event=parts[0].of_event,
            )
            if parts
            else when
        )
    part = next(iter(names), at.usual)
    halves = [_in_part(clock, part) for clock, _ in exact]
    found = [_bounded(clock, operator) for clock, (_, operator) in zip(halves, exact, strict=True)]
    start, end = found[0]
    for other_start, other_end in found[1:]:
        if (
            (start and other_start and start != other_start)
            or (end and other_end and (end, other_end) != (DAY_ENDS, other_end))
        ) and not (other_end and not other_start):
            return _doubt(when, Missing.TIME)
        start, end = start or other_start, other_end or end
    return _ordered(replace(when, start=start, end=end, timed=True))


def _ordered(when: When) -> When:
    if when.start and when.end and when.end <= when.start:
        if when.end == time(0):
            return replace(when, end=DAY_ENDS)
        return _doubt(replace(when, end=None), Missing.TIME)
    return when


def _in_part(clock: Clock, part: str) -> Clock:
    """A bare hour in the part of the day beside it."""
    if not part or not clock.bare or clock.start is None:
        return clock
    start = moments.shift_half(clock.start, part)
    if clock.end is None:
        return replace(clock, start=start)
    end = moments.shift_half(clock.end, part) if clock.bare_end else clock.end
    if clock.bare_end and end <= start:
        end = end.replace(hour=(end.hour + 12) % 24)
    return replace(clock, start=start, end=end)


def _bounded(clock: Clock, operator: str) -> tuple[time | None, time | None]:
    if clock.end is not None:
        return clock.start, clock.end
    if operator in ("after", "not before"):
        return clock.start, DAY_ENDS
    if operator in ("before", "by", "until", "not after"):
        return None, clock.start
    return clock.start, None


def _instants(phrases: list[Phrase], when: When) -> When:
    found = {one for phrase in phrases for one in phrase.meanings if isinstance(one, Instant)}
    if not found:
        return when
    if len(found) > 1 or when.timed:
        return when if when.timed else _doubt(when, Missing.TIME)
    one = found.pop()
    if when.first not in (None, one.start.date()):
        return _doubt(when, Missing.DATE)
    end = wall(one.end) if one.end else None
    last = one.end.date() if one.end else one.start.date()
    return replace(
        when,
        first=one.start.date(),
        last=last,
        start=wall(one.start),
        end=end if last == one.start.date() else None,
        timed=True,
    )


def _today(when: When, at: Setting) -> When:
    """A time without a day is today's if it is still ahead; never for what is to be put in the calendar."""
    if when.first or not (when.start or when.end) or at.action in (Action.SCHEDULE, Action.CHANGE, None):
        return when
    if when.of_event and at.action in (Action.QUERY, Action.CANCEL):
        return when
    ahead = when.start if at.reminded and when.timed and when.start else when.end or when.start
    if when.zone or not ahead or ahead <= wall(at.now):
        return when
    return replace(when, first=at.today, last=at.today)


def _begun(when: When, at: Setting) -> When:
    """To schedule or remind, a window begins no earlier than now."""
    if at.action not in (Action.SCHEDULE, Action.REMIND) or when.first is None or when.first == when.last:
        return when
    first = max(when.first, at.today)
    if first == at.today and when.start and when.timed and when.start <= wall(at.now):
        first += timedelta(days=1)
    if when.last is not None and when.last < first:
        return when
    return replace(when, first=first)


def _series(phrases: list[Phrase], when: When, at: Setting) -> When:
    """A series starts on its first day from today on, or from the day that is said."""
    today = at.today
    if when.start and when.timed and when.start <= wall(at.now):
        today += timedelta(days=1)
    start = (
        max(when.first or today, today) if at.action in (Action.SCHEDULE, Action.REMIND, Action.CHANGE) else when.first
    )
    named = any(phrase.of(Days) or phrase.of(Instant) for phrase in phrases)
    if start is None or (at.action is Action.CHANGE and not named):
        return when  # what exists repeats from its own day on
    if named and when.repeats in _ON_ITS_DAY and when.first is not None:
        when = replace(when, repeats=_ON_ITS_DAY[when.repeats].format(start))
    first = first_of(when.repeats, start)
    if first is None or (when.last and first > when.last):
        return _doubt(when, Missing.DATE)
    ends = [
        one for phrase in phrases for one in phrase.meanings if isinstance(one, Days) and one.grain is not Grain.DAY
    ]
    return replace(when, first=first, last=when.last if ends or when.last else None)


_ON_ITS_DAY = {
    "FREQ=MONTHLY": "FREQ=MONTHLY;BYMONTHDAY={0.day}",
    "FREQ=YEARLY": "FREQ=YEARLY;BYMONTH={0.month};BYMONTHDAY={0.day}",
}
"""What a rule comes to whose first day is told beside it."""


def first_of(rule: str, start: date) -> date | None:
    """The first day of a series from a day on: its intervals are counted from there."""
    moment = datetime.combine(start, time(0))
    each = ";".join(part for part in rule.split(";") if not part.startswith("INTERVAL="))
    found = rrulestr(each, dtstart=moment).after(moment, inc=True)
    return found.date() if found else None
