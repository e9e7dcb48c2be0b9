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
Rejected: a window that slides with each value (the same values are tested over and over, until chance crosses any
limit); a reference that follows (slow drift is never seen); evidently and river (the same tests, with pandas, plots and
models around them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from aios.streams.config import WatchSettings

LABELS_MAX = 1_000  # of a window; what comes beyond is OTHER
OTHER = "(other)"
EXPECTED_MIN = 5.0  # of a label in the smaller sample; rarer ones are tested together, as the chi-square test needs it
DIGITS = 4  # kept of a number


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
        columns = _merged(columns, reference.count, window.count)
    return _labels(columns)


def _is_full(window: Sample, limits: WatchSettings) -> bool:
    """Of values, or, where few come, of time."""
    old = window.last_ms - window.first_ms >= limits.window_s_max * 1000
    return window.count >= limits.window_count or (old and window.count >= limits.window_min)


def _numbers(reference: Sequence[float], window: Sequence[float]) -> tuple[float, float]:
    from scipy import stats  # 100 MB and seconds of a start: loaded by whoever has something to test

    found = stats.ks_2samp(reference, window, method="asymp")
    return float(found.statistic), float(found.pvalue)


def _labels(columns: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Total variation distance, and chi-square's chance. Columns: how often in the reference, in the window."""
    if len(columns) < 2:
        return 0.0, 1.0
    from scipy import stats  # as above

    before, after = (sum(column[row] for column in columns) for row in (0, 1))
    distance = sum(abs(then / before - now / after) for then, now in columns) / 2
    found = stats.chi2_contingency([[then for then, _ in columns], [now for _, now in columns]])
    return distance, float(found.pvalue)


def _merged(columns: Sequence[tuple[int, int]], before: int, after: int) -> list[tuple[int, int]]:
    """Those that chi-square is too rough for, as one; that one too, as long as it is rare, goes to the rarest kept."""
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
