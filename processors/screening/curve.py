"""Where to cut: what each threshold finds, and whom it sends to a person for nothing.

Enters: the best nats of every name that was tried, by what kind of name it was. Leaves: a point for each cut, and the
lowest cut that a rule allows. `recombined` (a listed person's given names with another's surname) is no part of the
rule, but shows where a cut falls off a cliff: no ordinary set has many of two rare given names. Guaranteed: pure; a cut
is allowed only if the mean over the sets of ordinary people is at most SHARE_MAX and no set is above SET_SHARE_MAX, so
that people named as in no set leave a margin. Organisations are on the same scale by thresholds.ORGANISATION: their
words are shared more often than people's names are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CUTS = (5.0, 5.25, 5.5, 5.75, 6.0, 6.25, 6.5, 7.0, 7.5, 8.0)  # nats
SHARE_MAX = 0.035  # of ordinary people, the mean over the sets
SET_SHARE_MAX = 0.05
FOUND = ("people", "organisations", "aliases")
SETS = ("mimesis", "faker", "census")  # of ordinary people, that the rule is about
COMPANIES = "companies"


@dataclass(frozen=True, slots=True)
class Point:
    """Shares from a cut on. found: of names that should be; sent: of those that need not, by set."""

    cut: float
    found: Mapping[str, float]
    sent: Mapping[str, float]

    @property
    def share(self) -> float:
        """Ordinary people sent to a person, the mean over the sets."""
        return sum(self.sent[name] for name in SETS) / len(SETS)

    @property
    def allowed(self) -> bool:
        """Whether the rule allows it."""
        return self.share <= SHARE_MAX and all(self.sent[name] <= SET_SHARE_MAX for name in SETS)


def points(nats: Mapping[str, Sequence[float]]) -> tuple[Point, ...]:
    """One for each of CUTS. nats: by FOUND, SETS, COMPANIES and any other set."""
    return tuple(
        Point(
            cut,
            {name: _from(nats.get(name, ()), cut) for name in FOUND},
            {name: _from(nats.get(name, ()), cut) for name in (*SETS, *sorted(nats.keys() - {*FOUND, *SETS}))},
        )
        for cut in CUTS
    )


def lowest(found: Sequence[Point]) -> float | None:
    """The lowest cut that is allowed and above which all are; None where none is."""
    best = None
    for point in sorted(found, key=lambda each: -each.cut):
        if not point.allowed:
            break
        best = point.cut
    return best


def _from(nats: Sequence[float], cut: float) -> float:
    return sum(each >= cut for each in nats) / len(nats) if nats else 0.0
