"""Days that no paper in order has: a birth that is still to come, a child's, an issue after today, an old bill. Pure.

In: facts of a document, or the application's birth date; today; what the policy allows. Out: codes and sentences for
findings. Guaranteed: nothing without a day that was read; where a day has two readings, a birth is implausible if
either is, an issue and an age of a paper only if both are. Without limits of a policy only what no policy can allow is
told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aios.processors.reading.fact import Fact, Kind

AGE_MAX = 120  # years; nobody's was ever proved to be more than 122
DAYS_AHEAD_MAX = 1  # it is tomorrow elsewhere
MONTHS_A_YEAR = 12


class Limits(BaseModel):
    """age_min: years, of who may apply. proof_months_max: since a proof of address was issued. 0: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    age_min: Annotated[int, Field(ge=0, le=AGE_MAX)] = 0
    proof_months_max: Annotated[int, Field(ge=0, le=600)] = 0


NO_LIMITS = Limits()


def birth(readings: Sequence[str], today: str, limits: Limits) -> Iterator[tuple[str, str]]:
    """readings: of one birth date, YYYY-MM-DD."""
    for day in readings:
        years = age(day, today)
        if day > today:
            yield "birth_date_implausible", f"born {day}, which is still to come"
        elif years > AGE_MAX:
            yield "birth_date_implausible", f"born {day}, which would be {years} years ago"
        elif years < limits.age_min:
            yield "under_age", f"born {day}, so {years} years old; applicants are {limits.age_min} or older"
        else:
            continue
        return


def issue(facts: Sequence[Fact], today: str) -> Iterator[tuple[str, str]]:
    """Of one document."""
    latest = (date.fromisoformat(today) + timedelta(days=DAYS_AHEAD_MAX)).isoformat()
    days = [_readings(fact) for fact in facts if fact.kind is Kind.ISSUED_ON]
    for readings in days:
        if min(readings) > latest:
            yield "issued_later", f"issued {min(readings)}, which is still to come"
            return


def is_old(facts: Sequence[Fact], today: str, limits: Limits) -> str:
    """The day of a proof of address that is older than the policy allows; empty: it is not, or has no day."""
    days = [day for fact in facts if fact.kind is Kind.ISSUED_ON for day in _readings(fact) if day <= today]
    if not days or not limits.proof_months_max:
        return ""
    last = max(days)
    return last if _months(last, today) >= limits.proof_months_max else ""


def age(born: str, today: str) -> int:
    """Whole years."""
    return _months(born, today) // MONTHS_A_YEAR


def _months(first: str, last: str) -> int:
    """Whole months from one day to another; below 0: it is the other way round."""
    one, other = date.fromisoformat(first), date.fromisoformat(last)
    return MONTHS_A_YEAR * (other.year - one.year) + other.month - one.month - (other.day < one.day)


def _readings(fact: Fact) -> list[str]:
    return [day for day in (fact.value, fact.other) if day]
