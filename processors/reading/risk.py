"""What findings and screenings come to: points with reasons, added up. Pure.

In: a comparison, the screenings of its people, and the points that the workflow's policy gives. Out: a score from 0 to
100, each reason with its points, the worst verdict and every hit. Guaranteed: the same for the same; a finding without
points in the policy counts nothing and is told all the same; each code counts once, however many documents show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aios.processors.reading import countries
from aios.processors.reading.compared import Comparison, Shape

SCORE_MAX = 100
HITS_MAX = 20
Verdict = Literal["clear", "ambiguous", "match"]
_ORDER: Sequence[Verdict] = ("match", "ambiguous", "clear")


class Hit(BaseModel):
    """As the screening says it; further fields of its are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    entry: str = ""
    name: str = ""
    score: float = 0.0
    reasons: tuple[str, ...] = ()


class Screened(BaseModel):
    """As the screening says it; further fields of its are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    verdict: Verdict
    score: float = 0.0
    hits: tuple[Hit, ...] = ()


class HitOf(Shape):
    """A hit, and the name that was screened."""

    screened: str
    entry: str
    name: str
    score: float
    reasons: tuple[str, ...]


class Factor(Shape):
    """Why points were given."""

    code: str
    points: int
    says: str


class Risk(Shape):
    """verdict: the worst of the screenings; `unscreened` where there was none."""

    score: int = Field(ge=0, le=SCORE_MAX)
    factors: tuple[Factor, ...]
    verdict: Literal["clear", "ambiguous", "match", "unscreened"]
    hits: tuple[HitOf, ...]


def weigh(
    comparison: Comparison,
    screenings: Sequence[Screened],
    points: Mapping[str, int],
    countries_watched: Sequence[str],
) -> Risk:
    """points: by code. countries_watched: ISO 3166 alpha-2."""
    verdict = _worst(screenings)
    factors = list(_factors(comparison, verdict, points, set(countries_watched)))
    subjects = [subject.name for subject in comparison.subjects]
    hits = [
        HitOf(screened=name, entry=hit.entry, name=hit.name, score=hit.score, reasons=hit.reasons)
        for name, one in zip(subjects, screenings, strict=False)
        for hit in one.hits
    ]
    hits.sort(key=lambda hit: -hit.score)
    return Risk(
        score=min(SCORE_MAX, sum(factor.points for factor in factors)),
        factors=tuple(factors),
        verdict=verdict,
        hits=tuple(hits[:HITS_MAX]),
    )


def _worst(screenings: Sequence[Screened]) -> Verdict | Literal["unscreened"]:
    for verdict in _ORDER:
        if any(one.verdict == verdict for one in screenings):
            return verdict
    return "unscreened"


def _factors(comparison: Comparison, verdict: str, points: Mapping[str, int], watched: set[str]) -> Iterator[Factor]:
    if verdict != "clear":
        says = {
            "match": "a name is very likely on the sanctions list",
            "ambiguous": "a name is like one on the sanctions list",
        }.get(verdict, "no name was screened")
        yield Factor(code=f"screening_{verdict}", points=points.get(f"screening_{verdict}", 0), says=says)
    for code in comparison.countries:
        if code in watched:
            says = f"{countries.name(code)} is a country that the policy watches"
            yield Factor(code="country_watched", points=points.get("country_watched", 0), says=says)
            break
    told: set[str] = set()
    for finding in comparison.findings:
        counts = finding.code not in told
        told.add(finding.code)
        yield Factor(code=finding.code, points=points.get(finding.code, 0) if counts else 0, says=finding.says)


def of_plain(value: Any) -> Screened:
    """A screening's answer as it travels. Raises pydantic's ValidationError."""
    return Screened.model_validate(value)
