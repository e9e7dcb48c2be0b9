"""The days that are said: "the 12th", "next Saturday", "first Monday of May", "rest of the year", "in two weeks".

Enters: a match of one of the patterns below, and what it is read against. Leaves: Days, or None where the words name no
day that exists (31 April). Guaranteed: the conventions of infra/demo/data/calendar_truth.md; a date that can be read in
two ways (03/04/2026) is read as where the clock is reads it, and only if that is a date.
Rejected: dateparser (compared in calendar_truth.md): it guesses, and has no windows.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

from aios.processors.meetings import grammar as g
from aios.processors.meetings import portions, spans
from aios.processors.meetings.grammar import listed
from aios.processors.meetings.phrases import Clock, Days, Found, Grain, Setting, Unsaid, Wanted
from aios.processors.meetings.wish import Action, Missing

Rule = tuple[re.Pattern[str], Callable[[re.Match[str], Setting], Found]]

_NO_DAY = r"(?! ?(?:birthday|anniversary|floor|street|st\b|avenue|ave\b|grade|grader|edition|annual|time\b|draft|version|quarter|half|round|place|century|class|period|week\b|weekend|month|party|meeting|date\b|appointment|day\b|reminder|event|one\b|item|thing|task))"


def one(day: date | None, *, loose: int | None = None) -> Days | None:
    return Days(first=day, last=day, loose=loose) if day else None


def _today(_: re.Match[str], at: Setting) -> Found:
    return one(at.today)


def _tonight(_: re.Match[str], at: Setting) -> Found:
    from aios.processors.meetings.clock import part

    return Days(first=at.today, last=at.today), part("tonight")


def _near(found: re.Match[str], at: Setting) -> Found:
    shift = {"tomorrow": 1, "yesterday": -1, "day after tomorrow": 2, "day before yesterday": -2}
    return one(spans.plus(at.today, shift[found["near"]], "day"))


def _weekday(found: re.Match[str], at: Setting) -> Found:
    day, which = g.weekday(found["day"]), found["which"] or ""
    monday = spans.week(at.today)[0]
    if which.endswith("next"):
        return one(spans.plus(monday, 7 + day, "day"))
    if which.endswith(("last", "past", "previous")):
        return one(spans.before(at.today, day))
    if not which and at.past:
        return one(spans.before(at.today, day), loose=day)
    first = spans.after(at.today, day)
    if found["later"]:
        return one(first + timedelta(days=7))
    return one(first, loose=day)


def _from_weekday(found: re.Match[str], at: Setting) -> Found:
    base = spans.after(at.today, g.weekday(found["day"]))
    return one(
        spans.plus(base, g.number(found["count"]) * (-1 if found["way"] == "before" else 1), g.unit(found["unit"]))
    )


def _dated(day: int, month: int, year: str | None, at: Setting) -> Found:
    try:
        if year:
            number = int(year) + (2000 if len(year) == 2 else 0)
            return one(date(number, month, day))
        return one(spans.day_of_year(at.today, month, day, forward=at.forward, past=at.past))
    except ValueError:
        return None


def _month_day(found: re.Match[str], at: Setting) -> Found:
    number, month, named = g.number(found["number"]), g.month(found["month"]), found.groupdict().get("weekday")
    days = _dated(number, month, found["year"], at)
    if isinstance(days, Days) and (not named or days.first.weekday() == g.weekday(named)):
        return days
    near = range(at.today.year, at.today.year + 2)  # "Monday, January 4th" may be next year's
    years = [_dated(number, month, str(year), at) for year in near] if named and not found["year"] else []
    ahead = [year for year in years if isinstance(year, Days) and 0 <= (year.first - at.today).days <= BOTH_DAYS_MAX]
    fitting = [year for year in ahead if year.first.weekday() == g.weekday(named or "")]
    return fitting[0] if fitting else Unsaid(Missing.DATE)  # no such day, or on another weekday than is said


BOTH_DAYS_MAX = 60  # a weekday and a date that are not the same day are one so far ahead or back, else a slip of either


def _weekday_nth(found: re.Match[str], at: Setting) -> Found:
    """Thursday the 14th: the next day that is both."""
    number, weekday = g.number(found["number"].removeprefix("the ")), g.weekday(found["weekday"])
    for months in range(BOTH_DAYS_MAX // 28 + 2):
        first = spans.plus(at.today.replace(day=1), -months if at.past else months, "month")
        if not 1 <= number <= spans.month(first.year, first.month)[1].day:
            continue
        day = first.replace(day=number)
        away = (at.today - day).days if at.past else (day - at.today).days
        if day.weekday() == weekday and 0 <= away <= BOTH_DAYS_MAX:
            return one(day)
    return Unsaid(Missing.DATE)


def _this_or_next(found: re.Match[str], at: Setting) -> Found:
    first, last = spans.containing(at.today, found["unit"])
    return Days(first=first, last=spans.plus(last, 1, found["unit"]), grain=Grain.SPAN)


def _day_to_day(found: re.Match[str], at: Setting) -> Found:
    """From the third to the tenth of May."""
    first = _dated(g.number(found["first"]), g.month(found["month"]), found["year"], at)
    last = _dated(g.number(found["number"]), g.month(found["month"]), found["year"], at)
    if not (isinstance(first, Days) and isinstance(last, Days)) or last.first < first.first:
        return Unsaid(Missing.DATE)
    return Days(first=first.first, last=last.first, grain=Grain.SPAN)


def _iso(found: re.Match[str], at: Setting) -> Found:
    return _dated(int(found["number"]), int(found["month"]), found["year"], at)


def _slashed(found: re.Match[str], at: Setting) -> Found:
    first, second = int(found["one"]), int(found["two"])
    if found["sign"] != "." and ((at.month_first and first <= 12) or second > 12):
        first, second = second, first
    return _dated(first, second, found["year"], at) or Unsaid(Missing.DATE)


def _pointed(found: re.Match[str], at: Setting) -> Found:
    """Thursday 26.3.: the day before the month, on every clock."""
    days = _dated(int(found["number"]), int(found["month"]), found["year"], at)
    if isinstance(days, Days) and found["weekday"] and days.first.weekday() != g.weekday(found["weekday"]):
        return Unsaid(Missing.DATE)
    return days or Unsaid(Missing.DATE)


def _the_nth(found: re.Match[str], at: Setting) -> Found:
    number = g.number(found["number"])
    if not 1 <= number <= 31:
        return None
    if found["which"]:
        shift = {"next": 1, "last": -1, "previous": -1, "coming": 1}.get(found["which"], 0)
        first = spans.plus(at.today.replace(day=1), shift, "month")
        return one(first.replace(day=number)) if number <= spans.month(first.year, first.month)[1].day else None
    if at.past:
        return one(at.today.replace(day=number)) if number <= at.today.day else Unsaid(Missing.DATE)
    return one(spans.day_of_month(at.today, number))


def _month(found: re.Match[str], at: Setting) -> Found:
    number = g.month(found["month"])
    if found["year"]:
        first, last = spans.month(int(found["year"]), number)
    else:
        which = found["which"] or ""
        first, last = spans.month_near(at.today, number, past=at.past or which in ("last", "past"))
        if which == "next" and first <= at.today:
            first, last = spans.month(first.year + 1, number)
        if which in ("last", "past") and last >= at.today:
            first, last = spans.month(first.year - 1, number)
    return Days(first=first, last=last, grain=Grain.MONTH)


_GRAINS = {"day": Grain.DAY, "week": Grain.WEEK, "weekend": Grain.SPAN, "month": Grain.MONTH, "quarter": Grain.SPAN}


def _relative(found: re.Match[str], at: Setting) -> Found:
    first, last = portions.unit_span(found["which"], found["unit"], at)
    return Days(first=first, last=last, grain=_GRAINS.get(found["unit"], Grain.YEAR))


def _mine(found: re.Match[str], at: Setting) -> Found:
    first, last = spans.containing(at.today, found["unit"])
    return Days(first=first, last=last, grain=_GRAINS[found["unit"]], weak=True)


def _after_next(found: re.Match[str], at: Setting) -> Found:
    unit = found["unit"]
    first, last = spans.containing(spans.plus(at.today, 2, "week" if unit == "weekend" else unit), unit)
    return Days(first=first, last=last, grain=_GRAINS.get(unit, Grain.YEAR))


def _now(at: Setting) -> Clock:
    return Clock(start=at.now.time().replace(second=0, microsecond=0))


def _same_time(_: re.Match[str], at: Setting) -> Found:
    day = spans.plus(at.today, 7, "day")
    return Days(first=day, last=day), _now(at)


def _adverb(found: re.Match[str], at: Setting) -> Found:
    unit = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}[found["how"]]
    first, last = spans.containing(at.today, unit)
    return Days(first=first, last=last, grain=_GRAINS.get(unit, Grain.YEAR))


def _rest(found: re.Match[str], at: Setting) -> Found:
    if found["month"]:
        last = spans.month_near(at.today, g.month(found["month"]), past=False)[1]
    else:
        last = spans.containing(at.today, found["unit"])[1]
    return Days(first=at.today, last=last, grain=Grain.SPAN)


def _distant(found: re.Match[str], at: Setting) -> Found:
    shift = -1 if found["ago"] else 1
    return one(spans.plus(at.today, shift * g.number(found["count"]), g.unit(found["unit"])))


def _from_day(found: re.Match[str], at: Setting) -> Found:
    base = at.today + timedelta(days=1 if found["base"] == "tomorrow" else 0)
    return one(spans.plus(base, g.number(found["count"]), g.unit(found["unit"])))


def _coming(found: re.Match[str], at: Setting) -> Found:
    last = spans.plus(at.today, g.number(found["count"]), g.unit(found["unit"]))
    return Days(first=at.today, last=last, grain=Grain.SPAN)


def _gone(found: re.Match[str], at: Setting) -> Found:
    first = spans.plus(at.today, -g.number(found["count"]), g.unit(found["unit"]))
    return Days(first=first, last=at.today, grain=Grain.SPAN)


def _year(found: re.Match[str], _: Setting) -> Found:
    first, last = spans.year(int(found["year"]))
    return Days(first=first, last=last, grain=Grain.YEAR)


def _week_of(found: re.Match[str], at: Setting) -> Found:
    dated = _month_day(found, at)
    if not isinstance(dated, Days):
        return dated
    first, last = spans.week(dated.first)
    return Days(first=first, last=last, grain=Grain.WEEK)


def _weekend_of(found: re.Match[str], at: Setting) -> Found:
    day = _month_day(found, at) if "month" in found.groupdict() else _the_nth(found, at)
    if not isinstance(day, Days):
        return day
    first, last = spans.containing(day.first, "weekend")
    return Days(first=first, last=last, grain=Grain.SPAN)


def _weekdays(found: re.Match[str], at: Setting) -> Found:
    """Monday or Tuesday: a window where they follow each other, else a question."""
    days = [at.today]
    for word in re.findall(g.WEEKDAY, found[0]):
        days.append(spans.after(days[-1], g.weekday(word)))
    del days[0]
    if len(days) == 2 and days[1] - days[0] == timedelta(days=1):
        return Days(first=days[0], last=days[1], grain=Grain.SPAN)
    return Unsaid(Missing.DATE)


def _unsaid(_: re.Match[str], __: Setting) -> Found:
    return Unsaid(Missing.DATE)


def _tomorrow_now(found: re.Match[str], at: Setting) -> Found:
    """This time tomorrow; what is moved to the same time on Friday keeps its own."""
    if at.action is Action.CHANGE and "same" in found[0]:
        return Wanted()
    return _now(at)


_POINTED = r"(?P<number>\d{1,2})\.(?P<month>0?[1-9]|1[0-2])\.(?P<year>(?:(?:19|20|21)\d\d\b)?)(?!\d)"
_OF = r"(?:of|in|of the month of|for)"
_KNOWN = rf"(?:\d|{g.WORDED}|{g.ORDINAL}|{g.MONTH}|{g.WEEKDAY}|(?:lunch|work|noon|midday|midnight|next|this|today|tomorrow|half|quarter|that|it|hours|school|the \d|the {g.ORDINAL}|i|we)\b|a quarter)"
_NTH = rf"(?:{g.ORDINAL}|\d{{1,2}}\b)"
_TO = r"(?: ?- ?| (?:to|through|thru|until|till) )(?:the )?"
_WHOLE = (
    rf"(?:(?:(?P<which>the next|the following|the coming|the last|this|next|last|coming|following|the|that) )?"
    rf"(?P<unit>week|month|quarter|year)|(?P<month>{g.MONTH_FULL})(?:,? (?P<year>{g.YEAR}))?)\b"
)
_SOMEBODYS = r"(?:april|june|august)'s (?:birthday|wedding|graduation|baby|bridal|shower|party|recital|anniversary|game|baptism|funeral|doctor|dentist|appointment\b|flight|class\b|house|school|mom|dad)|april fool"
_NAMED_DAY = "".join(
    f"(?<!{word} )" for word in listed("black good casual cyber easter palm ash fat super shrove maundy holy taco whit")
)
_EVEN_MORE = r"(?! (?:every|each))"
_POSSESSED = r"(?:'s)?\b"
_WHICH = r"(?P<which>this|the|current|the current|next|the next|last|the last|past|the past|previous|the previous|coming|the coming|following|the following|upcoming|the upcoming)"


def _rule(pattern: str, meaning: Callable[[re.Match[str], Setting], Found]) -> Rule:
    return re.compile(pattern), meaning


RULES: tuple[Rule, ...] = (
    _rule(r"(?:today|this day|the current day|2day)" + _POSSESSED, _today),
    _rule(r"(?:(?:for |of )the (?:entire |whole |full )?day\b)(?! (?:after|before|of|on|when|that))", _today),
    _rule(r"(?:the )?end of (?:the|this) (?:work(?:ing)? ?)?day\b|end of day\b", _today),
    _rule(r"my (?:entire |whole |full )?(?P<unit>day|week|weekend|month)\b(?!'s| off\b| of\b)", _mine),
    _rule(r"my (?:entire |whole |full )?(?P<part>morning|afternoon|evening)(?=\s*(?:$|[.,!?]|(?:clean|clear|free|open|empty|look|looks|please|schedule|calendar|agenda|is|like|today)\b))", portions.my_part),
    _rule(r"(?:tonight|this night)" + _POSSESSED, _tonight),
    _rule(r"(?:the )?(?P<near>day after tomorrow|day before yesterday|tomorrow|yesterday)" + _POSSESSED, _near),
    _rule(
        _NAMED_DAY + rf"(?:(?P<which>this coming|this past|this upcoming|this|the next|next|last|past|previous|coming|the coming|upcoming|the following|following) )?(?P<day>{g.WEEKDAY_FULL})(?:'s)?(?P<later> week\b| after next\b)?"
        + _EVEN_MORE,
        _weekday,
    ),
    _rule(r"(?:(?P<which>this|next|last|coming) )?(?P<day>(?:mon|tues?|weds|thurs?|thu|fri)\b\.?)(?P<later>)(?! ?(?:to|-|and|or|through) (?:sat|sun)\b)", _weekday),
    _rule(
        rf"(?P<which>this|next|last|coming)? ?(?P<day>{g.WEEKDAY_SHORT})(?P<later>)"
        rf"(?= ?(?:$|[,.;?!@-]|at\b|from\b|to\b|or\b|and\b|with\b|for\b|please\b|after\b|before\b|between\b|late\b|early\b|lunch|first\b|\d|morning|afternoon|evening|night|noon|{g.MONTH}))",
        _weekday,
    ),
    _rule(rf"(?<!once )(?<!twice )(?<!times )(?<!days )(?<!day )(?P<count>{g.NUMBER}|a) (?P<unit>weeks?) (?P<way>on) (?P<day>{g.WEEKDAY})", _from_weekday),
    _rule(rf"(?<!once )(?<!twice )(?<!times )(?P<count>{g.NUMBER}|a) (?P<unit>weeks?) (?P<base>today|tomorrow)\b", _from_day),
    _rule(rf"(?P<weekday>{g.WEEKDAY}),? (?P<number>(?:the )?{g.ORDINAL_FIGURES}|the {g.ORDINAL})(?! (?:of|week|half|quarter|time|thing|weekend)\b)", _weekday_nth),
    _rule(rf"(?:on )?(?<!between )(?:the )?(?P<first>{g.ORDINAL})(?: ?(?:and|or|&|\+|,) ?)(?:the )?(?P<number>{g.ORDINAL})(?: of)? (?P<month>{g.MONTH})(?:,? (?P<year>{g.YEAR}))?", portions.two_days),
    _rule(rf"(?:on )?(?<!between )(?P<month>{g.MONTH}) (?:the )?(?P<first>{_NTH})(?: ?(?:and|or|&|\+) ?)(?:the )?(?P<number>{_NTH})(?!:|\.?\d)(?! ?(?:[ap]\.?m\b|o'? ?clock|h\b))(?:,? (?P<year>{g.YEAR}))?", portions.two_days),
    _rule(rf"(?:on )?(?<!between )the (?P<first>{g.ORDINAL})(?: ?(?:and|or|&|\+|,) ?)(?:the )?(?P<number>{g.ORDINAL})(?P<month>)(?P<year>)(?! (?:of|{g.WEEKDAY}|and)\b)" + _NO_DAY, portions.two_days),
    _rule(rf"(?:on )?(?<!between )(?:(?P<which>this|next) )?(?P<one>{g.WEEKDAY})(?: ?(?:and|&|\+|,) ?)(?:the )?(?P<two>{g.WEEKDAY})(?P<week> (?:of )?(?:this|next) week\b)?", portions.two_weekdays),
    _rule(rf"(?:the )?(?P<nth>first|last) (?:work(?:ing)?|business|week) ?day (?:of|in) (?:(?P<which>the|this|next) (?P<unit>month|week|quarter|year)|(?P<month>{g.MONTH}))", portions.working_day),
    _rule(r"this (?P<unit>week|month) (?:or|and) (?:the )?next(?: (?:week|month))?\b", _this_or_next),
    _rule(rf"(?:the )?(?P<count>{g.COUNT}) (?P<unit>{g.CALENDAR_UNIT}) (?P<way>from|after|following|before) (?:this |next )?(?P<day>{g.WEEKDAY})", _from_weekday),
    _rule(
        rf"(?:(?P<weekday>{g.WEEKDAY_FULL}),? ?(?:the )?)?(?P<month>{g.MONTH}) (?:the )?(?P<number>{g.ORDINAL}|\d{{1,2}}\b)(?!:)(?! ?(?:am|pm|a\.m|p\.m|o'clock)\b)(?:,? (?:of )?(?P<year>{g.YEAR}))?(?:'s)?",
        _month_day,
    ),
    _rule(
        rf"(?:(?P<weekday>{g.WEEKDAY_FULL}),? ?)?(?:the )?(?P<number>{g.ORDINAL}|\d{{1,2}}\b(?:\.(?<!at \d\.)(?<!at \d\d\.))?)(?: day)?(?: of|[ -])? ?(?P<month>{g.MONTH})(?:[ -]|,? (?:of )?)?(?P<year>{g.YEAR})?(?:'s)?",
        _month_day,
    ),
    _rule(rf"(?:the )?(?P<first>{_NTH}){_TO}(?P<number>{_NTH})(?: day)?(?: of)? (?P<month>{g.MONTH})(?:,? (?P<year>{g.YEAR}))?", _day_to_day),
    _rule(rf"(?<=between )(?:the )?(?P<first>{_NTH}) and (?:the )?(?P<number>{_NTH})(?: of)? (?P<month>{g.MONTH})(?:,? (?P<year>{g.YEAR}))?", _day_to_day),
    _rule(rf"(?:the )?(?P<first>{_NTH})(?: of)? (?P<month>{g.MONTH}){_TO}(?P<number>{g.ORDINAL})(?P<year>)(?! (?:of )?{g.MONTH})", _day_to_day),
    _rule(rf"(?P<month>{g.MONTH}) (?:the )?(?P<first>{_NTH}){_TO}(?P<number>{_NTH})(?!:|\.?\d|-|/)(?! ?(?:[ap]\.?m\b|o'? ?clock|h\b))(?:,? (?P<year>{g.YEAR}))?", _day_to_day),
    _rule(r"(?P<year>(?:19|20|21)\d\d)[-/.](?P<month>\d{1,2})[-/.](?P<number>\d{1,2})\b", _iso),
    _rule(r"(?P<one>\d{1,2})(?P<sign>[/.-])(?P<two>\d{1,2})(?P=sign)(?P<year>(?:19|20|21)?\d\d)\b", _slashed),
    _rule(r"(?P<one>\d{1,2})(?P<sign>/)(?P<two>\d{1,2})\b(?P<year>)(?!/)", _slashed),
    _rule(rf"(?P<weekday>{g.WEEKDAY}),? (?:the )?{_POINTED}", _pointed),
    _rule(r"(?:(?<=on )|(?<=for )|(?<=until )|(?<=till )|(?<=by )|(?<=before )|(?<=after )|(?<=from )|(?<=am )|(?<=to ))(?P<weekday>)" + _POINTED, _pointed),
    _rule(
        rf"(?:the )?(?P<number>{g.ORDINAL})(?: day)? of (?P<which>the|this|next|last|coming|previous|current) month\b", _the_nth
    ),
    _rule(rf"the (?P<number>{g.ORDINAL_FIGURES})(?P<which>)(?! of\b)" + _NO_DAY, _the_nth),
    _rule(rf"on (?:the )?(?P<number>{g.ORDINAL})(?P<which>)(?= ?(?:$|[,.?!]|at\b|from\b|in\b|for\b|with\b|and\b|to\b|between\b|please\b))", _the_nth),
    _rule(rf"(?:(?<=to )|(?<=from )|(?<=for )|(?<=by )|(?<=till )|(?<=until )|(?<=after )|(?<=before ))the (?P<number>{g.ORDINAL})(?P<which>)(?= ?(?:$|[,.?!]|at\b|from\b|please\b))", _the_nth),
    _rule(rf"(?P<number>{g.ORDINAL_FIGURES})(?P<which>)(?= ?(?:$|[,.?!]|at\b|from\b|between\b|please\b))", _the_nth),
    _rule(
        rf"(?:(?:the )?(?:entire |whole |full )?month of )?(?!{_SOMEBODYS})(?:(?P<which>this|next|last|past|coming) )?(?P<month>(?!may\b){g.MONTH_FULL})(?:'s)?(?:,? (?:of )?(?P<year>{g.YEAR}))?(?! ?\d)",
        _month,
    ),
    _rule(
        rf"(?:(?<=in )|(?<=for )|(?<=of )|(?<=by )|(?<=from )|(?<=since )|(?<=until )|(?<=after )|(?<=before )|(?<=through )|(?<=to )|(?P<which>this|next|last) )(?P<month>may)(?:'s)?\b(?:,? (?P<year>{g.YEAR}))?(?! ?\d)",
        _month,
    ),
    _rule(r"(?:the )?(?:entire |whole |full )?month of (?P<which>)(?P<month>may)\b(?P<year>)", _month),
    _rule(rf"(?P<which>)(?P<month>may) (?P<year>{g.YEAR})", _month),
    _rule(r"(?P<which>)(?P<month>may)(?:'s)?(?P<year>)(?= (?:calendar|events|meetings|schedule|appointments|plans|agenda)\b)", _month),
    _rule(_WHICH + r" (?P<unit>week|weekend|month|quarter|year)" + _POSSESSED + r"(?! (?:before|prior|ahead|notice|in advance))(?! (?:after next|after|of|starting|beginning|commencing|(?:that|when)(?! (?:i|we) (?:should|must|need to|can|could)\b))\b)(?<!day of the week)(?<!days of the week)", _relative),
    _rule(r"(?P<how>daily|weekly|monthly|yearly)(?= (?:plans?|schedule|agenda|calendar|events|overview|view|planner|appointments|meetings|tasks)\b)", _adverb),
    _rule(rf"(?:the )?(?:rest|remainder) of (?:(?:the|this|my) (?:current )?(?P<unit>day|week|month|year|quarter)\b|(?P<month>{g.MONTH_FULL}))", _rest),
    _rule(rf"(?:the )?(?:very )?(?P<part>early|beginning|start|mid|middle|late|end)[ -](?:{_OF} |part of )?{_WHOLE}" + _POSSESSED, portions.part_of),
    _rule(rf"(?:the )?(?P<nth>first|second) half {_OF} {_WHOLE}", portions.half),
    _rule(
        rf"(?:the )?(?P<nth>last|{g.ORDINAL}) (?:(?P<piece>week|weekend|day)|(?P<day>{g.WEEKDAY_FULL})) {_OF} {_WHOLE}" + _POSSESSED,
        portions.nth_of,
    ),
    _rule(r"(?:the )?(?P<unit>week|weekend|month|year) after next\b", _after_next),
    _rule(r"(?:this|the same|same) time next week\b", _same_time),
    _rule(rf"(?:the )?week (?:of|starting|beginning|commencing)(?: on)? (?:the )?(?:{g.WEEKDAY},? )?(?P<month>{g.MONTH}) (?P<number>{_NTH})(?P<year>)", _week_of),
    _rule(rf"(?:the )?week (?:of|starting|beginning|commencing)(?: on)? (?:the )?(?:{g.WEEKDAY},? )?(?:the )?(?P<number>{_NTH})(?: of)? (?P<month>{g.MONTH})(?P<year>)", _week_of),
    _rule(rf"in (?!the (?:month|week|year|day)s? of\b)(?P<ago>)(?:exactly |about )?(?P<count>{g.COUNT}) (?P<unit>{g.CALENDAR_UNIT})(?:'? time)?(?! advance| before| prior)", _distant),
    _rule(rf"after (?P<ago>)(?P<count>{g.COUNT}) (?P<unit>{g.CALENDAR_UNIT})", _distant),
    _rule(rf"(?!the )(?P<count>{g.COUNT}) (?P<unit>{g.CALENDAR_UNIT}) (?:(?P<ago>ago)|(?:later|hence)\b|after(?= *(?:$|[,.?!]|about\b|to\b|for\b|remind\b|with\b)))", _distant),
    _rule(rf"(?P<count>{g.COUNT}) (?P<unit>{g.CALENDAR_UNIT}) (?:from|after|following) (?P<base>now|today|this day|tomorrow)\b", _from_day),
    _rule(rf"(?:(?:over|for|within|in|during) )?(?:the |my )?(?:next|coming|following|upcoming) (?P<count>{g.NUMBER}|couple of|couple) (?P<unit>{g.CALENDAR_UNIT})", _coming),
    _rule(rf"within (?P<count>{g.COUNT}) (?P<unit>{g.CALENDAR_UNIT})", _coming),
    _rule(rf"(?:(?:over|for|within|in|during) )?(?:the |my )?(?:past|last|previous) (?P<count>{g.NUMBER}|couple of|couple) (?P<unit>{g.CALENDAR_UNIT})", _gone),
    _rule(rf"(?:in|for|of|the year|year) (?P<year>{g.YEAR})", _year),
    _rule(r"(?P<how>on|for|by|until|before|after) (?P<feast>" + "|".join(sorted(portions.FEASTS, key=len, reverse=True)) + r")\b(?! (?:party|dinner|shopping|eve|day|tree|gift|present|event|play|concert))", portions.feast),
    _rule(rf"{g.WEEKDAY}(?:, ?{g.WEEKDAY})*,? or {g.WEEKDAY}", _weekdays),
    _rule(rf"(?:the |that )?weekend of (?:the )?(?P<number>{g.ORDINAL})(?P<which>)(?! (?:of )?{g.MONTH})", _weekend_of),
    _rule(rf"(?:the |that )?weekend of (?P<month>{g.MONTH}) (?:the )?(?P<number>{_NTH})(?P<year>)", _weekend_of),
    _rule(rf"(?:the |that )?weekend of (?:the )?(?P<number>{_NTH})(?: of)? (?P<month>{g.MONTH})(?P<year>)", _weekend_of),
    _rule(rf"(?:the )?(?:{g.WEEKDAY_FULL}|weekend|week|evening|morning|day|night) (?:before|after|following) (?!{_KNOWN})(?:the |my |our |his |her |their )?[a-z]+", portions.beside),
    _rule(r"(?:the )?(?:day|week|weekend|month) (?:after|before)(?=\W*$)", portions.beside),
    _rule(r"(?:the |that )?(?:very )?(?:day|week|weekend|evening|morning|night|month) (?:that |when )?(?=(?:i|we|he|she|they|it)(?:'m|'re|'s| am| are| is| get| gets| come| comes| go| goes| leave| leaves| return| returns| arrive| arrives| finish| finishes| have| has)\b)", portions.beside),
    _rule(r"(?:this|the same|same) time(?= (?:tomorrow|today|next|on|this|in|yesterday))", _tomorrow_now),
    _rule(r"(?:at |on |for )?(?:an? |some |any |the )?(?:x+|[xyz]) (?:day|date|time|week|month)s?\b", _unsaid),
    _rule(r"(?:over |for |in |during |within )(?:a |some |the )(?:certain |particular |given |specific )?(?:period of time|time period|period|timeframe|time frame)\b", _unsaid),
    _rule(r"(?:on |for |at )?(?:an? |some )?(?:certain|particular|specific|given) (?:day|date|month|week)\b", _unsaid),
    _rule(r"(?:on |for |at )?(?:that (?:day|date|week|month)|this date)\b(?! (?:of|when|to))", _unsaid),
    _rule(r"(?:some ?day|some ?time|one day|one of these days|(?:in )?(?:the )?(?:next |past |last |coming )?(?:a )?few (?:days|weeks|months)|year/week/month|day/week/month|date/time)\b(?! (?:for|with|to|advance|before|ahead|prior|in advance|this|next|in|on|tomorrow|between|early|late|after|during))", _unsaid),
)  # fmt: skip
