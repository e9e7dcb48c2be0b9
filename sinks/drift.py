"""Whether what a model says, or a workflow decides, has moved away from how it began. Pure.

Enters: one value after the other (a label, a number, yes or no), each with the log's time. Leaves: how the series
stands, and a Finding when it has moved. Guaranteed: a series remembers reference_count + window_count values at most,
and LABELS_MAX labels; the same values in the same order give the same findings, also when it was written down and read
back between any two of them; a move is found once, and again only after a window that was back within the limit.

The first reference_count values are the reference, and stay it. What follows is cut into windows, each tested once and
whole against the reference: numbers by the two-sample Kolmogorov-Smirnov test, labels and shares by the chi-square test
of homogeneity, both scipy's. The distance is in one unit for all: the share of values, 0..1, that lie elsewhere than
they did. A series has moved when the distance is above its limit and chance alone would give as much less often than
chance_max: by chance alone, large windows call any difference a move; by distance alone, small ones call noise one.

Of many labels most are rare. Two samples of the same 77 lie 0.3 apart by chance alone, so what chance gives on average
is taken from the distance (as squares, by which noise adds to it); and chi-square's own table is too rough for rare
ones. They are tested twice: put together, which finds a frequent label that moves, and each by itself against what all
ways of dealing out the same values would give, which finds rare ones that change places.
Rejected: a window that slides with each value (the same values are tested over and over, until chance crosses any
limit); a reference that follows (slow drift is never seen); the distance of rare labels put together (those that rise
and those that fall cancel); putting together by what the reference has seen (what it has seen none of, the window has
more of by that choice alone: 150 labels that stay as they are look moved nearly always); evidently and river (the same
tests, with pandas, plots and models around them).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from aios.streams.config import WatchSettings

LABELS_MAX = 1_000  # of a window; what comes beyond is OTHER
OTHER = "(other)"
EXPECTED_MIN = 5.0  # of a label in the smaller sample, as chi-square's table needs it; a rarer one is tested otherwise
TINY = 1e-6  # what rounding leaves of nothing
DIGITS = 4  # kept of a number

Column = tuple[int, int]  # of a label: how often in the reference, in the window


class Kind(StrEnum):
    """What a series' values are."""

    NUMBERS = "numbers"
    LABELS = "labels"
    SHARE = "share"  # of those that are `yes`


TESTS: Mapping[Kind, str] = {
    Kind.NUMBERS: "kolmogorov_smirnov",
    Kind.LABELS: "chi_square",
    Kind.SHARE: "chi_square",
}


@dataclass(slots=True)
class Sample:
    """Values of one kind. Times: Unix ms, 0 while it is empty."""

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    numbers: list[float] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def add(self, value: str | float, at_ms: int) -> None:
        self.first_ms = min(self.first_ms, at_ms) if self.count else at_ms
        self.last_ms = max(self.last_ms, at_ms)
        self.count += 1
        if isinstance(value, str):
            name = value if value in self.labels or len(self.labels) < LABELS_MAX else OTHER
            self.labels[name] = self.labels.get(name, 0) + 1
        else:
            self.numbers.append(round(value, DIGITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A series has moved. number: of its moves, from 1. chance: how often chance alone gives as much."""

    number: int
    distance: float
    limit: float
    chance: float
    test: str
    reference_count: int
    window_count: int
    first_ms: int
    last_ms: int


@dataclass(slots=True)
class Series:
    """One measure of one subject. distance and chance: of the last window that was tested, windows of them so far."""

    kind: Kind
    reference: Sample = field(default_factory=Sample)
    window: Sample = field(default_factory=Sample)
    windows: int = 0
    distance: float = 0.0
    chance: float = 1.0
    tested_ms: int = 0  # the last value of that window
    moved: bool = False
    moves: int = 0

    @property
    def last_ms(self) -> int:
        """The newest value."""
        return max(self.reference.last_ms, self.window.last_ms, self.tested_ms)

    def add(self, value: str | float, at_ms: int, limits: WatchSettings) -> Finding | None:
        """One more value; what its window says, if it ends a window that has moved where the one before had not."""
        if self.reference.count < limits.reference_count:
            self.reference.add(value, at_ms)
            return None
        self.window.add(value, at_ms)
        if not _is_full(self.window, limits):
            return None
        ended, self.window = self.window, Sample()
        return self._judge(ended, limits)

    def _judge(self, ended: Sample, limits: WatchSettings) -> Finding | None:
        self.distance, self.chance = compare(self.kind, self.reference, ended)
        self.windows += 1
        self.tested_ms = ended.last_ms
        had_moved, limit = self.moved, limit_of(self.kind, limits)
        self.moved = self.distance > limit and self.chance < limits.chance_max
        if had_moved or not self.moved:
            return None
        self.moves += 1
        return Finding(
            number=self.moves,
            distance=self.distance,
            limit=limit,
            chance=self.chance,
            test=TESTS[self.kind],
            reference_count=self.reference.count,
            window_count=ended.count,
            first_ms=ended.first_ms,
            last_ms=ended.last_ms,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it; of_plain() reads it back."""
        return asdict(self)


def of_plain(said: Mapping[str, Any]) -> Series:
    """Raises TypeError or ValueError for what plain() never gave."""
    own = {**said, "kind": Kind(said["kind"])}
    return Series(**{**own, "reference": Sample(**said["reference"]), "window": Sample(**said["window"])})


def limit_of(kind: Kind, limits: WatchSettings) -> float:
    return limits.share_max if kind is Kind.SHARE else limits.distance_max


def compare(kind: Kind, reference: Sample, window: Sample) -> tuple[float, float]:
    """How far the window lies from the reference, 0..1, and how often chance alone gives as much or more."""
    if kind is Kind.NUMBERS:
        return _numbers(reference.numbers, window.numbers)
    names = sorted(reference.labels.keys() | window.labels.keys())
    columns = [(reference.labels.get(name, 0), window.labels.get(name, 0)) for name in names]
    if kind is Kind.LABELS:
        return _labels(columns)
    return _apart(columns), _chi_square(columns)


def _is_full(window: Sample, limits: WatchSettings) -> bool:
    """Of values, or, where few come, of time."""
    old = window.last_ms - window.first_ms >= limits.window_s_max * 1000
    return window.count >= limits.window_count or (old and window.count >= limits.window_min)


def _numbers(reference: Sequence[float], window: Sequence[float]) -> tuple[float, float]:
    from scipy import stats  # 100 MB and seconds of a start: loaded by whoever has something to test

    found = stats.ks_2samp(reference, window, method="asymp")
    return float(found.statistic), float(found.pvalue)


def _labels(columns: Sequence[Column]) -> tuple[float, float]:
    """See the module. Where there are two tests, the smaller chance counts twice: either may be small by chance."""
    before, after = _counts(columns)
    merged = _merged(columns, before, after)
    chance = _chi_square(merged)
    if len(merged) < len(columns):
        chance = min(1.0, 2 * min(chance, _chi_square_of_rare(columns)))
    return _beyond(_apart(columns), _noise(columns)), chance


def _beyond(apart: float, noise: float) -> float:
    """What a distance says beyond what chance gives on average: 0 where it is that, 1 where nothing is as it was."""
    if noise > 1 - TINY:  # no label came twice, and nothing can be said
        return 0.0
    return math.sqrt(max(0.0, apart**2 - noise**2) / (1 - noise**2))


def _counts(columns: Sequence[Column]) -> Column:
    return sum(then for then, _ in columns), sum(now for _, now in columns)


def _apart(columns: Sequence[Column]) -> float:
    """Total variation distance."""
    before, after = _counts(columns)
    return sum(abs(then * after - now * before) for then, now in columns) / (2 * before * after)


def _noise(columns: Sequence[Column]) -> float:
    """The mean distance over all ways of dealing the same values out to the two samples."""
    from scipy import stats  # as above

    before, after = _counts(columns)
    found = 0.0
    for total, labels in Counter(sum(column) for column in columns).items():
        dealt = range(total + 1)
        chances = stats.hypergeom.pmf(dealt, before + after, total, before)
        apart = (abs(then / before - (total - then) / after) for then in dealt)
        found += labels * sum(far * float(chance) for far, chance in zip(apart, chances, strict=True))
    return found / 2


def _chi_square(columns: Sequence[Column]) -> float:
    """The chance, by chi-square's own table."""
    if len(columns) < 2:
        return 1.0
    from scipy import stats  # as above

    found = stats.chi2_contingency([[then for then, _ in columns], [now for _, now in columns]])
    return float(found.pvalue)


def _chi_square_of_rare(columns: Sequence[Column]) -> float:
    """The chance, by the gamma distribution that has the statistic's true mean and variance."""
    mean, variance = _moments(columns)
    if variance < TINY:  # no label came twice: each way of dealing them out gives the same
        return 1.0
    from scipy import stats  # as above

    return float(stats.gamma.sf(_statistic(columns), mean * mean / variance, scale=variance / mean))


def _statistic(columns: Sequence[Column]) -> float:
    """Pearson's chi-square."""
    before, after = _counts(columns)
    both = before + after
    squares = sum(then * then / (then + now) for then, now in columns)
    return both * both / (before * after) * (squares - before * before / both)


def _moments(columns: Sequence[Column]) -> tuple[float, float]:
    """Its mean and variance over all ways of dealing the same values out to the two samples; of four values at least.

    Dawson, A simplified expression for the variance of the chi-square function on a contingency table (1954).
    """
    before, after = _counts(columns)
    both, labels = before + after, len(columns)
    free_labels, free_samples = ((many - 1) * (both - many) / (both - 1) for many in (labels, 2))
    rare_labels = (sum(both / (then + now) for then, now in columns) - labels**2) / (both - 2)
    rare_samples = (both / before + both / after - 4) / (both - 2)
    mean = (labels - 1) * both / (both - 1)
    variance = 2 * both / (both - 3) * (free_labels - rare_labels) * (free_samples - rare_samples)
    return mean, variance + both**2 / (both - 1) * rare_labels * rare_samples


def _merged(columns: Sequence[Column], before: int, after: int) -> list[Column]:
    """Those that the table is too rough for, as one; that one too, as long as it is rare, goes to the rarest kept."""
    smaller = min(before, after) / (before + after)
    kept = sorted((one for one in columns if sum(one) * smaller >= EXPECTED_MIN), key=sum, reverse=True)
    rare = [one for one in columns if sum(one) * smaller < EXPECTED_MIN]
    if not rare:
        return kept
    together = (sum(then for then, _ in rare), sum(now for _, now in rare))
    if kept and sum(together) * smaller < EXPECTED_MIN:
        last = kept.pop()
        together = (last[0] + together[0], last[1] + together[1])
    return [*kept, together]
