"""When a meeting that repeats takes place: the next occasions of a start, on the clock of who asks.

Enters: a first start and an RRULE as a wish has it. Leaves: moments. Guaranteed: the same local time on each day, also
over a change of clocks, with RFC 5545's meaning where the clock skips it; nothing beyond REACH_DAYS is looked at.
"""

from __future__ import annotations

import re
from datetime import timedelta
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
