"""What repeats: "every other Tuesday", "on Sundays", "5th March of every year", "the first Monday of each month".

Enters: a match of one of the patterns below. Leaves: Series, an RRULE (RFC 5545) without its name, and the day it names
beside it, or Spell, how long it goes on. Guaranteed: only what is said; a birthday does not repeat by itself. Rejected:
"twice a week" (which days?): asked for.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

from aios.processors.meetings import grammar as g
from aios.processors.meetings import spans
from aios.processors.meetings.days import Rule
from aios.processors.meetings.phrases import Days, Found, Grain, Series, Setting, Spell, Unsaid
from aios.processors.meetings.portions import nth
from aios.processors.meetings.wish import Action, Missing

_EVERY = r"(?:every(?: single)?|each|all)"
_OTHER = r"(?P<other> other| second| alternate| 2nd)?"
_LIST = rf"{g.WEEKDAY}s?(?:(?:, ?(?:and |& |or )?| and | & |/| or ){g.WEEKDAY}s?)*"
_EACH_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
_APART = r"(?:, ?(?:and )?| and | & | ?/ ?| )"
_ADVERBS = {
    "daily": "FREQ=DAILY",
    "weekly": "FREQ=WEEKLY",
    "biweekly": "FREQ=WEEKLY;INTERVAL=2",
    "bi-weekly": "FREQ=WEEKLY;INTERVAL=2",
    "fortnightly": "FREQ=WEEKLY;INTERVAL=2",
    "monthly": "FREQ=MONTHLY",
    "quarterly": "FREQ=MONTHLY;INTERVAL=3",
    "yearly": "FREQ=YEARLY",
    "annually": "FREQ=YEARLY",
    "hourly": "FREQ=HOURLY",
}
_FREQS = {
    "minute": "MINUTELY",
    "hour": "HOURLY",
    "day": "DAILY",
    "week": "WEEKLY",
    "month": "MONTHLY",
    "year": "YEARLY",
}
WORK_DAYS = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"


def _days(text: str) -> str:
    words = re.findall(rf"\b({'|'.join(sorted(g.WEEKDAY_NUMBER, key=len, reverse=True))})s?\b", text)
    return ",".join(g.RULE_DAY[day] for day in sorted({g.WEEKDAY_NUMBER[word] for word in words}))


def _interval(count: int) -> str:
    return f";INTERVAL={count}" if count > 1 else ""


def _weekdays(found: re.Match[str], _: Setting) -> Found:
    every = 2 if found.groupdict().get("other") else 1
    return Series(f"FREQ=WEEKLY{_interval(every)};BYDAY={_days(found['days'])}")


def _unit(found: re.Match[str], _: Setting) -> Found:
    count = 2 if found["other"] else g.number(found["count"]) if found["count"] else 1
    return Series(f"FREQ={_FREQS[g.unit(found['unit'])]}{_interval(count)}") if count else None


def _adverb(found: re.Match[str], at: Setting) -> Found:
    """What is looked up or cancelled may be called weekly; it is not made so."""
    if at.action in (Action.QUERY, Action.CANCEL):
        return None
    return Series(_ADVERBS[found["how"]])


def _work_days(_: re.Match[str], __: Setting) -> Found:
    return Series(WORK_DAYS)


def _weekends(_: re.Match[str], __: Setting) -> Found:
    return Series("FREQ=WEEKLY;BYDAY=SA,SU")


def _part(found: re.Match[str], _: Setting) -> Found:
    from aios.processors.meetings.clock import part

    return Series("FREQ=DAILY"), part(found["part"])


def _day_parts(found: re.Match[str], _: Setting) -> Found:
    """Wednesday nights: each of them."""
    from aios.processors.meetings.clock import part

    return Series(f"FREQ=WEEKLY;BYDAY={_days(found['days'])}"), part(found["part"])


def _nth(found: re.Match[str], _: Setting) -> Found:
    rule = f"BYDAY={nth(found['nth'])}{g.RULE_DAY[g.weekday(found['day'])]}"
    if found["month"]:
        return Series(f"FREQ=YEARLY;BYMONTH={g.month(found['month'])};{rule}")
    return Series(f"FREQ=MONTHLY;{rule}")


def _month_day(found: re.Match[str], _: Setting) -> Found:
    said = re.findall(rf"last|end|{g.ORDINAL}|{g.SMALL}", found["number"])
    numbers = sorted({-1 if one in ("last", "end") else g.number(one) for one in said})
    if any(number != -1 and not 1 <= number <= 31 for number in numbers):
        return Unsaid(Missing.DATE)
    return Series(f"FREQ=MONTHLY;BYMONTHDAY={','.join(map(str, numbers))}")


def _nths(found: re.Match[str], _: Setting) -> Found:
    """The first and third Monday of the month."""
    day = g.RULE_DAY[g.weekday(found["day"])]
    numbers = sorted({nth(found["one"]), nth(found["two"])})
    return Series(f"FREQ=MONTHLY;BYDAY={','.join(f'{number}{day}' for number in numbers)}")


def _spell(found: re.Match[str], _: Setting) -> Found:
    count = g.number(found["count"])
    return Spell(count, g.unit(found["unit"])) if count else None


def _year_day(found: re.Match[str], _: Setting) -> Found:
    month, number = g.month(found["month"]), g.number(found["number"])
    longest = 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if not 1 <= number <= longest:
        return Unsaid(Missing.DATE)
    return Series(f"FREQ=YEARLY;BYMONTH={month};BYMONTHDAY={number}")


def _unsaid(_: re.Match[str], __: Setting) -> Found:
    return Unsaid(Missing.DATE)


def _wday(found: re.Match[str], at: Setting) -> Found:
    """Days that follow each other are a window; three and more to put in are a series; of two others: which?"""
    days = [spans.after(at.today, g.weekday(word)) for word in re.findall(g.WEEKDAY, found["days"])]
    if days[-1] - days[0] == timedelta(days=len(days) - 1):
        return Days(first=days[0], last=days[-1], grain=Grain.SPAN)
    many = (len(days) > 2 or "/" in found["days"]) and (at.forward or at.action is None)
    return _weekdays(found, at) if many else Unsaid(Missing.DATE)


def _rule(pattern: str, meaning: Callable[[re.Match[str], Setting], Found]) -> Rule:
    return re.compile(pattern), meaning


_OF_MONTH = r"(?:of |in |per )?(?:every|each|the|a|per) (?:single )?month\b"
_OF_EVERY_MONTH = (
    r"(?:(?:of |in )?(?:every|each) (?:single )?month|(?:of )?the month,? every month|monthly|a month|per month)\b"
)
_OF_YEAR = r"(?:,? (?:of |in )?(?:every|each) (?:single )?year|,? (?:yearly|annually))\b"

RULES: tuple[Rule, ...] = (
    _rule(rf"(?:on )?{_EVERY}{_OTHER} (?P<days>{_LIST})(?! (?:meetings?|events?|appointments?)\b)", _weekdays),
    _rule(rf"(?:on )?(?P<days>{g.WEEKDAY_FULL[:-2]}s\b(?:(?:, ?(?:and )?| and | & |/| ){g.WEEKDAY_FULL[:-2]}s\b)*)(?P<other> every other week)?", _weekdays),
    _rule(rf"(?:on )?(?<!between )(?P<days>{g.WEEKDAY}(?:{_APART}{g.WEEKDAY})+)(?! ?(?:'s|this|next|of|in|the \d))", _wday),
    _rule(r"mon(?:day)?s?(?: ?- ?| to | through | thru )fri(?:day)?s?\b(?=,? (?:at |from )?\d{1,2}(?:[:.]\d\d| ?[ap]\.?m\b| ?-| to ))", _work_days),
    _rule(rf"(?:on )?(?:every(?: single)?|each){_OTHER}(?: (?P<count>{g.NUMBER}))? (?P<unit>hours?|hrs?|days?|weeks?|months?|years?)\b(?! (?:meetings?|events?))", _unit),
    _rule(rf"(?:on )?(?P<days>{_LIST}) (?:of )?(?:every|each)(?P<other> other| second)? week\b", _weekdays),
    _rule(r"(?<!the )(?<!my )(?<!our )(?<!titled )(?<!called )(?<!named )(?<!title )(?P<how>daily|bi-?weekly|weekly|fortnightly|monthly|quarterly|yearly|annually|hourly)\b(?! (?:plans?|schedule|agenda|calendar|events|overview|view|planner|appointments|tasks)\b)", _adverb),
    _rule(r"(?:on )?(?:every|each|all) (?:week ?day|working day|work ?day|business day)s?\b|(?:on )?week ?days\b", _work_days),
    _rule(r"(?:on )?(?:every|each|all|the) weekends?\b(?<!the weekend)|on weekends\b", _weekends),
    _rule(r"(?:every|each) (?P<part>morning|afternoon|evening|night)\b", _part),
    _rule(r"once (?:a|per|every) (?P<unit>day|week|month|year)(?P<other>)(?P<count>)\b", _unit),
    _rule(rf"(?:on )?(?:the )?(?P<nth>last|{g.ORDINAL}) (?P<day>{g.WEEKDAY_FULL}) {_OF_EVERY_MONTH}(?P<month>)", _nth),
    _rule(rf"(?:on )?(?:every|each) (?P<nth>last|{g.ORDINAL}) (?P<day>{g.WEEKDAY_FULL}) (?:of|in) (?:the|a|every|each) month\b(?P<month>)", _nth),
    _rule(rf"(?:once a month|monthly|(?:every|each) month),? on (?:the )?(?P<nth>last|{g.ORDINAL}) (?P<day>{g.WEEKDAY_FULL})(?P<month>)", _nth),
    _rule(rf"(?:on )?(?:every|each) (?P<nth>last|first) (?P<day>{g.WEEKDAY_FULL})(?P<month>)", _nth),
    _rule(rf"(?:on )?(?:the )?(?P<nth>last|{g.ORDINAL}) (?P<day>{g.WEEKDAY_FULL}) (?:of|in) (?:every |each )?(?P<month>{g.MONTH_FULL}){_OF_YEAR}", _nth),
    _rule(rf"(?:on )?(?:(?:every|each|the) )?(?P<one>last|{g.ORDINAL})(?: and | & |, ?)(?:the )?(?P<two>last|{g.ORDINAL}) (?P<day>{g.WEEKDAY_FULL})(?:s\b)? (?:of|in) (?:the|a|every|each) month\b", _nths),
    _rule(rf"(?:on |at )?(?:the )?(?P<number>{g.ORDINAL}(?:(?: and | & )(?:the )?(?:last|{g.ORDINAL}))?)(?: days?)? {_OF_EVERY_MONTH}", _month_day),
    _rule(rf"(?:on )?(?:every|each) (?P<number>last|{g.ORDINAL})(?: day)? (?:of|in) (?:the|a|every|each) month\b", _month_day),
    _rule(rf"(?:every|each) (?P<number>{g.ORDINAL_FIGURES})(?= ?(?:$|[,.!?]|at\b|remind\b|i\b|we\b))", _month_day),
    _rule(rf"for (?:a total of )?(?P<count>{g.NUMBER}|a) (?P<unit>(?:day|week|month|year)s?)\b(?! (?:from (?:now|today|tomorrow)|ago|later|before|ahead|prior|in advance))(?='?\b)", _spell),
    _rule(r"(?:on |at )?(?:the )?(?P<number>last|end)(?: day)? (?:of )?(?:every|each) month\b", _month_day),
    _rule(rf"(?:(?:every|each) month|monthly),? on (?:the )?(?:day )?(?P<number>{g.ORDINAL}|(?<=day ){g.SMALL})", _month_day),
    _rule(rf"(?:on )?day (?:number )?(?P<number>{g.SMALL}) (?:of )?(?:every|each) month\b", _month_day),
    _rule(rf"(?:on )?(?P<month>{g.MONTH}) (?:the )?(?P<number>{g.ORDINAL}|\d{{1,2}}\b){_OF_YEAR}", _year_day),
    _rule(rf"(?:on )?(?:the )?(?P<number>{g.ORDINAL}|\d{{1,2}}\b)(?: of)? (?P<month>{g.MONTH}){_OF_YEAR}", _year_day),
    _rule(rf"(?:every|each) (?:year on (?:the )?)?(?P<month>{g.MONTH_FULL}) (?:the )?(?P<number>{g.ORDINAL}|\d{{1,2}}\b)", _year_day),
    _rule(rf"(?:every|each) (?:year on (?:the )?)?(?:the )?(?P<number>{g.ORDINAL}|\d{{1,2}}\b)(?: of)? (?P<month>{g.MONTH})", _year_day),
    _rule(rf"(?:on )?(?:the )?(?:last|{g.ORDINAL}) (?:{g.WEEKDAY_FULL}|(?:work(?:ing)? |business |week ?)?day) (?:of|in) (?:every|each) (?:quarter|year|half)\b", _unsaid),
    _rule(r"(?:on )?(?:the )?(?:first|last|second) (?:work(?:ing)?|business|week) ?days? (?:of|in) (?:every|each) (?:month|week|quarter|year)\b|(?:on )?(?:the )?second (?:work(?:ing)?|business|week) ?days? (?:of|in) the (?:month|week)\b", _unsaid),
    _rule(rf"(?:on )?(?:every )?(?P<days>{g.WEEKDAY_FULL}) (?P<part>morning|afternoon|evening|night)s\b", _day_parts),
    _rule(rf"(?:on )?(?P<other>alternate|alternating) (?P<days>{_EACH_DAY}(?:(?:, ?| and | & ){_EACH_DAY})*)", _weekdays),
    _rule(r"(?:every|each|once (?:a|per)) (?P<how>quarter)\b", lambda _, __: Series(_ADVERBS["quarterly"])),
    _rule(r"(?:twice|thrice|three times|two times|(?:a )?few times|several times) (?:a|per|every|each) (?:day|week|month|year)\b", _unsaid),
)  # fmt: skip
