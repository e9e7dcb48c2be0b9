"""When a meeting that repeats takes place: the next occasions of a start, on the clock of who asks.

Enters: a first start and an RRULE as a wish has it. Leaves: moments. Guaranteed: the same local time on each day, also
over a change of clocks, with RFC 5545's meaning where the clock skips it; nothing beyond REACH_DAYS is looked at.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from aios.processors.meetings import zones

REACH_DAYS = 92
REACH_S = REACH_DAYS * 86_400
OCCASIONS_MAX = 100
_RULE = re.compile(
    r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;(INTERVAL|COUNT|UNTIL|WKST|BYDAY|BYMONTHDAY|BYMONTH|BYSETPOS)=[A-Z0-9,+-]+)*"
)


def is_rule(rule: str) -> bool:
    """Whether it is one that repeats by days."""
    if _RULE.fullmatch(rule) is None:
        return False
    try:
        rrulestr(rule)
    except (ValueError, KeyError, TypeError):
        return False
    return True


def until(rule: str, first: date | None, last: date | None) -> str:
    """A rule with the last day on which it is wished. last: where it comes only once till then, the first day may be
    any up to there, and no end is meant. rule: empty, or one by is_rule.
    """
    if not rule or first is None or last is None or "UNTIL=" in rule or "COUNT=" in rule:
        return rule
    begins = datetime.combine(first, time())
    again = rrulestr(rule, dtstart=begins).after(begins)
    return f"{rule};UNTIL={last:%Y%m%d}" if again is not None and again.date() <= last else rule


def is_day_of(rule: str, day: date) -> bool:
    """Whether a series may begin on a day. rule: by is_rule."""
    begins = datetime.combine(day, time())
    return next(iter(rrulestr(rule, dtstart=begins)), None) == begins


def occasions(start: int, rule: str, clock: ZoneInfo) -> tuple[int, ...]:
    """The start, and those that follow it within REACH_DAYS, OCCASIONS_MAX at most. rule: empty, or one by is_rule."""
    if not rule:
        return (start,)
    first = zones.local(start, clock)
    begins = first.replace(tzinfo=None, fold=0)
    last = begins + timedelta(days=REACH_DAYS)
    until = re.search(r"UNTIL=(\d{8})", rule)
    bounded = re.sub(r";UNTIL=[0-9TZ]+", "", rule)
    followed = rrulestr(bounded, dtstart=begins)
    if "COUNT=" not in rule:
        followed = followed.replace(until=last)  # a rule that no day fits would be followed for eight thousand years
    found = [start]
    for at in followed.between(begins, last):
        if len(found) >= OCCASIONS_MAX or (until and f"{at:%Y%m%d}" > until[1]):
            break
        found.append(zones.moment(at.date(), at.time(), clock))
    return tuple(found)
