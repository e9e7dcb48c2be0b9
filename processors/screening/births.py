"""Birth dates: what an agreement or a conflict says about two people being one.

Enters: what a list says of a person (`13 Sep 1972`, `circa 1970`, `1968 to 1969`, `Mar 1965`) and what an applicant
says (ISO, or any of those). Leaves: spans of days, and for two of them nats (positive: speaks for one person) with a
sentence. Guaranteed: pure; what cannot be read is no evidence, in neither direction.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
CIRCA_YEARS = 2  # that "circa" may be off
_DAY = re.compile(r"^(?:(?:(\d{1,2}) )?([A-Za-z]{3})[a-z]* )?(\d{4})$")
_ISO = re.compile(r"^(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:T.*)?$")
_NUMERIC = re.compile(r"^(\d{1,2})[./](\d{1,2})[./](\d{4})$")
DAYS_A_YEAR = 365.2425

# Nats, from how often each happens for one person with a slip and for two at random (births over 60 years).
SAME_DAY, SWAPPED, ONE_DIGIT, SAME_MONTH, SAME_YEAR = 8.5, 6.5, 5.0, 4.5, 3.0
NEAR, SOME_YEARS, FAR = 0.0, -3.5, -7.0
NEAR_YEARS, SOME_YEARS_MAX = 2, 8
DAY_MONTH = 2  # fields of a date that agree or not, beside the year


@dataclass(frozen=True, slots=True)
class Born:
    """From the first to the last day that is meant, both included."""

    first: date
    last: date

    @property
    def exact(self) -> bool:
        """Whether one day is meant."""
        return self.first == self.last

    def __str__(self) -> str:
        """For people: 1972-09-13, 1972, or 1968 to 1969."""
        if self.exact:
            return self.first.isoformat()
        if self.first.year == self.last.year:
            whole = (self.first.month, self.last.month) == (1, 12)
            return str(self.first.year) if whole else f"{self.first:%Y-%m}"
        return f"{self.first.year} to {self.last.year}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two birth dates say together. years: how far apart, 0 where they may be one."""

    nats: float
    sentence: str


def read(text: str) -> Born | None:
    """What a date in words means, or None where nobody can tell."""
    text = " ".join(text.strip().rstrip(".").split())
    if text.lower().startswith("circa "):
        around = read(text[6:])
        return around and _widened(around)
    for between in (" to ", "-"):
        before, found, behind = text.partition(between)
        if found and (first := _one(before)) and (last := _one(behind)) and first.first <= last.last:
            return Born(first.first, last.last)
    return _one(text)


def _one(text: str) -> Born | None:
    if found := _ISO.match(text):
        year, month, day = (int(each) if each else None for each in found.groups())
    elif found := _DAY.match(text):
        day, month, year = (
            int(found[1]) if found[1] else None,
            MONTHS.get(found[2].lower(), 0) if found[2] else None,
            int(found[3]),
        )
    elif found := _NUMERIC.match(text):
        day, month, year = (int(each) for each in found.groups())
        if month > 12 >= day:
            day, month = month, day
    else:
        return None
    try:
        if month is None:
            return Born(date(year or 0, 1, 1), date(year or 0, 12, 31))
        last = day or calendar.monthrange(year or 0, month)[1]
        return Born(date(year or 0, month, day or 1), date(year or 0, month, last))
    except (ValueError, calendar.IllegalMonthError):
        return None


def _widened(born: Born) -> Born:
    return Born(
        date(max(born.first.year - CIRCA_YEARS, 1), 1, 1),
        date(min(born.last.year + CIRCA_YEARS, 9999), 12, 31),
    )


def compare(given: Born | None, listed: Sequence[Born]) -> Agreement:
    """The best that `given` finds among what the list says; nothing said on one side is no evidence."""
    if given is None:
        return Agreement(0.0, "no birth date was given" if listed else "")
    if not listed:
        return Agreement(0.0, "the list gives no birth date")
    return max((_compare(given, one) for one in listed), key=lambda found: found.nats)


def _compare(given: Born, listed: Born) -> Agreement:
    if given.exact and listed.exact:
        return _days(given.first, listed.first)
    if given.first <= listed.last and listed.first <= given.last:
        if given.first.year == listed.first.year and given.last.year == listed.last.year:
            month = given.first.month == listed.first.month and given.last.month == listed.last.month
            return Agreement(
                SAME_MONTH if month else SAME_YEAR,
                f"born in the same {'month' if month else 'year'}, {given} and {listed}",
            )
        return Agreement(SAME_YEAR / 2, f"born {given}, the list says {listed}")
    days = max((given.first - listed.last).days, (listed.first - given.last).days)
    return _apart(given, listed, days / DAYS_A_YEAR)


def _days(given: date, listed: date) -> Agreement:
    if given == listed:
        return Agreement(SAME_DAY, f"born on the same day, {listed}")
    if (given.year, given.month, given.day) == (listed.year, listed.day, listed.month):
        return Agreement(SWAPPED, f"born {given}, the list says {listed}: day and month swapped")
    wrong = sum(a != b for a, b in zip(f"{given:%Y%m%d}", f"{listed:%Y%m%d}", strict=True))
    if wrong == 1:
        return Agreement(ONE_DIGIT, f"born {given}, the list says {listed}: one digit differs")
    same = sum((given.month == listed.month, given.day == listed.day))
    if same == DAY_MONTH and abs(given.year - listed.year) <= SOME_YEARS_MAX:
        return Agreement(SAME_YEAR, f"born {given}, the list says {listed}: another year")
    if given.year == listed.year:
        close = SAME_YEAR if same else SAME_YEAR / 2
        return Agreement(close, f"born in the same year, {given}, the list says {listed}")
    return _apart(Born(given, given), Born(listed, listed), abs((given - listed).days) / DAYS_A_YEAR)


def _apart(given: Born, listed: Born, years: float) -> Agreement:
    far = max(round(years), 1)
    sentence = f"born {far} year{'s' if far > 1 else ''} apart, {given} and {listed}"
    if years <= NEAR_YEARS:
        return Agreement(NEAR, sentence)
    return Agreement(SOME_YEARS if years <= SOME_YEARS_MAX else FAR, sentence)
