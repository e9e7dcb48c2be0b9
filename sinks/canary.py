"""Whether a canary, the version of a model that serves a share of the cases, must go back. Pure.

Enters: answers of both versions since the canary was activated, requests that ended their engine, people's choices.
Leaves: how both stand, and a Verdict when the canary crosses a limit. Guaranteed: a trial remembers TIMES_MAX times of
each side and counts beside them; the order between the two sides does not matter; a canary that is as good as its
stable version is returned less often than CHANCE_MAX at each look, since it is tested against stable plus the limit and
not against stable.

    error_share      share of answers that failed, expired in the engine or cannot be used, and of requests that ended
                     their engine: over stable's by more
    latency_ratio    median time of an answer in the engine: more than so many times stable's in a batch as full
    override_share   of suggestions that people saw, the share in which they chose otherwise: over stable's by more

Shares: of every share that stable may truly have (half at most, or what it shows: else one of which little was seen
would excuse anything), the chance that it shows as few as it does and a canary at the limit above it as many (exact
binomial tails, put together by Fisher's method), the largest of them; times by the Mann-Whitney test. Where stable has
none to compare with (a canary that serves everything), shares are held against the limit alone and times are not
judged.

An engine's time is shared out among what it works on at once, so that the same answer costs more of it in an emptier
batch; and a canary with weights of its own has a batch of its own, with few in it. So each time is divided by the
median of stable's times in batches about as full (fills: 1, 2, 3-4, 5-8, …), and these ratios are tested; where stable
has fewer than TIMES_MIN of a fill, an answer of that fill is not judged.
Rejected: limits without a test (two of five answers failing ends nothing), a fixed time of trial (a canary that fails
every answer serves until it ends), the share that stable has shown taken for its true one (an innocent canary that
serves half is returned by far more looks than that).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from aios.streams.activations import Limits

ANSWERS_MIN = 20  # of the canary, before its errors or times are judged; for times, of stable too
ENDED_MIN = 2  # requests that ended their engine: from here on nobody waits for ANSWERS_MIN; each costs three engines
REVIEWED_MIN = 10  # suggestions that people saw, before overrides are
TIME_MS_MIN = 5.0  # shorter ones count as this: what a scheduler does to them is no model's fault
TIMES_MAX = 500  # newest times remembered of each side
TIMES_MIN = 20  # of stable's, in batches about as full, before another one is held against them
UNKNOWN = 0  # how full a batch was that nobody told
CHANCE_MAX = 0.001  # of an innocent canary, at one look
SHARES = 1_000  # that stable may truly have are tried, evenly over all
TRUE_MAX = 0.5  # of them, unless more was seen

Counted = tuple[int, int]  # so many, of so many


@dataclass(slots=True)
class Side:
    """One version since the trial began. errors, engines_ended: of the answers; a request that ended its engine is one.
    times: ms in the engine, and how full its batch was, the newest last.
    """

    answers: int = 0
    errors: int = 0
    engines_ended: int = 0
    reviewed: int = 0
    overridden: int = 0
    times: list[tuple[float, int]] = field(default_factory=list)

    def answered(self, *, failed: bool, took_ms: float | None, fill: int = UNKNOWN) -> None:
        """took_ms: None where it says nothing of the model: a failure, an answer from the cache. fill: of its batch."""
        self.answers += 1
        self.errors += failed
        if took_ms is not None:
            self.times.append((round(took_ms, 3), fill))
            del self.times[:-TIMES_MAX]

    def ended(self) -> None:
        """A request was given up because the process of its engine ended with it."""
        self.answered(failed=True, took_ms=None)
        self.engines_ended += 1

    def decided(self, *, overridden: bool) -> None:
        """A person has answered a question of a case in which this version had a part, and was shown a suggestion."""
        self.reviewed += 1
        self.overridden += overridden

    @property
    def error_share(self) -> float:
        """1 at most: of an answer and what plan says of it, the latter may be read first."""
        return min(1.0, self.errors / self.answers) if self.answers else 0.0

    @property
    def override_share(self) -> float:
        return self.overridden / self.reviewed if self.reviewed else 0.0

    @property
    def median_ms(self) -> float:
        return median(ms for ms, _ in self.times) if self.times else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The canary goes back. canary, stable: the shares or medians (ms); chance: that an innocent one looks so.
    engines_ended: by how many of its requests.
    """

    measure: str
    canary: float
    stable: float
    limit: float
    chance: float
    engines_ended: int = 0

    @property
    def reason(self) -> str:
        """For people."""
        if self.measure == "latency_ratio":
            return f"median {self.canary:.1f} ms, stable {self.stable:.1f} ms: more than {self.limit:g} times as long"
        what = "answers fail" if self.measure == "error_share" else "decisions of people differ from its suggestion"
        ended = f"; {self.engines_ended} of its requests ended their engine" if self.engines_ended else ""
        return (
            f"{self.canary:.1%} of its {what}, {self.stable:.1%} of stable's: more than {self.limit:.1%} over it{ended}"
        )


@dataclass(slots=True)
class Trial:
    """A canary since its activation. since_ms: when that was; it and the versions tell one trial from the next."""

    model: str
    version: int
    canary_version: int
    since_ms: int
    permille: int
    limits: Limits
    stable: Side = field(default_factory=Side)
    canary: Side = field(default_factory=Side)

    def side(self, version: int) -> Side | None:
        """None for a version that is neither."""
        return {self.version: self.stable, self.canary_version: self.canary}.get(version)

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it; of_plain() reads it back."""
        return asdict(self)


def of_plain(said: Mapping[str, Any]) -> Trial:
    """Raises TypeError for what plain() never gave."""
    own = {"limits": Limits(**said["limits"]), "stable": _side(said["stable"]), "canary": _side(said["canary"])}
    return Trial(**{**said, **own})


def _side(said: Mapping[str, Any]) -> Side:
    """One that was kept when times stood alone keeps none of them: they were of batches that nobody knows."""
    times = [(float(one[0]), int(one[1])) for one in said["times"] if isinstance(one, list)]
    return Side(**{**said, "times": times})


def judge(trial: Trial) -> Verdict | None:
    """The first limit that the canary has crossed, beyond what chance explains."""
    stable, canary, limits = trial.stable, trial.canary, trial.limits
    if canary.answers >= ANSWERS_MIN or canary.engines_ended >= ENDED_MIN:
        found = _share("error_share", _errors(canary), _errors(stable), limits.error_share)
        if found is not None:
            return replace(found, engines_ended=canary.engines_ended)
    slow = _slower(canary.times, stable.times, limits.latency_ratio)
    if slow is not None:
        return slow
    if canary.reviewed >= REVIEWED_MIN:
        return _share("override_share", _overrides(canary), _overrides(stable), limits.override_share)
    return None


def _errors(side: Side) -> Counted:
    return min(side.errors, side.answers), side.answers


def _overrides(side: Side) -> Counted:
    return side.overridden, side.reviewed


def _share(measure: str, canary: Counted, stable: Counted, limit: float) -> Verdict | None:
    """canary: of one at least."""
    (found, of), (usual, beside) = canary, stable
    share = usual / beside if beside else 0.0
    if found / of <= share + limit:
        return None
    from scipy import stats  # 100 MB and seconds of a start: loaded by whoever has something to test

    most = max(TRUE_MAX, share) if beside else 0.0
    true = [most * number / SHARES for number in range(SHARES + 1)]
    at_limit = [min(1.0, one + limit) for one in true]
    chance = float((stats.binom.cdf(usual, beside, true) * stats.binom.sf(found - 1, of, at_limit)).max())
    if beside and chance:
        chance *= 1 - math.log(chance)
    if chance >= CHANCE_MAX:
        return None
    return Verdict(measure=measure, canary=found / of, stable=share, limit=limit, chance=chance)


def _slower(canary: Sequence[tuple[float, int]], stable: Sequence[tuple[float, int]], ratio: float) -> Verdict | None:
    usual = _medians(stable)
    ours, theirs = ([(max(ms, TIME_MS_MIN), _about(fill)) for ms, fill in side] for side in (canary, stable))
    ours, theirs = ([one for one in side if one[1] in usual] for side in (ours, theirs))
    if len(ours) < ANSWERS_MIN:
        return None
    found = [ms / usual[fill] for ms, fill in ours]
    if median(found) <= ratio:
        return None
    from scipy import stats  # as above

    allowed = [ratio * ms / usual[fill] for ms, fill in theirs]
    chance = float(stats.mannwhitneyu(found, allowed, alternative="greater", method="asymptotic").pvalue)
    if chance >= CHANCE_MAX:
        return None
    of_stable = median(usual[fill] for _, fill in ours)
    return Verdict(
        measure="latency_ratio", canary=median(ms for ms, _ in ours), stable=of_stable, limit=ratio, chance=chance
    )


def _medians(times: Sequence[tuple[float, int]]) -> dict[int, float]:
    """By about how full the batch was; of fewer than TIMES_MIN there is none."""
    by_fill: dict[int, list[float]] = {}
    for ms, fill in times:
        by_fill.setdefault(_about(fill), []).append(max(ms, TIME_MS_MIN))
    return {fill: median(found) for fill, found in by_fill.items() if len(found) >= TIMES_MIN}


def _about(fill: int) -> int:
    """The power of two that is not below it; UNKNOWN is itself."""
    return fill and 1 << (fill - 1).bit_length()
