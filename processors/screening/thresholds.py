"""From where a person looks: the cuts of the score, chosen on half 0 by the rule of curve.py.

Enters: nats (index.py). Leaves: a level and a score for people. Changing a number here is a new version of every
screening; evaluation.py measures it on the half of the entries that it was not chosen on.
"""

from __future__ import annotations

import math

REVIEW = 5.75  # nats: below, the name is clear; on half 0 the rule allows 5.25 to 5.5, this is a step above
ORGANISATION = 1.75  # nats, taken where the entry is no person: companies share words; on half 0 3 % of them are sent
STRONG = 18.0  # nats: from here on it is hardly anybody else
OTHER_KIND = 3.0  # nats, taken where a person is asked for and the entry is none, or the other way round
NO_PERSON = 1.0  # the same where nobody said whom to look for, and the name could be a person's
STEEP = 3.0  # nats from one score to the next bend


def score(nats: float) -> int:
    """0 to 100 for people: 50 where a person begins to look."""
    return round(100 / (1 + math.exp(-(nats - REVIEW) / STEEP)))


def level(nats: float) -> str:
    """`clear`, `possible` or `strong`."""
    if nats < REVIEW:
        return "clear"
    return "strong" if nats >= STRONG else "possible"
