"""What a verification found: violations by invariant, and the figures of its table.

Enters: what the checkers say of partitions and of the journal. Leaves: one Findings. Guaranteed: memory is bounded
whatever is wrong (EXAMPLES_MAX sentences of each invariant are kept, all are counted).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

EXAMPLES_MAX = 20


class Law(StrEnum):
    """The invariants, in short; the numbers are those of the fault matrix."""

    ONE_OUTCOME = "I1"  # an accepted event has exactly one outcome
    NONE_LEFT = "I2"  # accepted = settled + open; after the drain nothing is on its way
    ACKNOWLEDGED = "I3"  # what was acknowledged is there, as it was sent
    ONE_DECISION = "I4"  # no second decision, and none that contradicts what else is said
    AUDIT = "I5"  # each transition has one audit record, no later than its effect
    MONEY = "I8"  # an answer is accepted once and in the ledger once; no limit is passed, reservations end, books agree
    COMMITTED = "I9"  # no committed position passes what is unfinished
    FOLD = "I11"  # what a stage remembers is the fold of what it told
    PROGRESS = "I12"  # work goes on within a bound


SAYS: Mapping[Law, str] = {
    Law.ONE_OUTCOME: "each accepted event has exactly one outcome",
    Law.NONE_LEFT: "nothing is left on its way",
    Law.ACKNOWLEDGED: "what was acknowledged is there, as it was sent",
    Law.ONE_DECISION: "no case has a second or a contradicting decision",
    Law.AUDIT: "each transition is audited once, no later than its effect",
    Law.MONEY: "each answer was accepted once and is in ledger and books once; no limit is passed; reservations end",
    Law.COMMITTED: "no committed position passes what is unfinished",
    Law.FOLD: "what is remembered is the fold of what was told",
    Law.PROGRESS: "work went on within the bound",
}


class Violations:
    """Counted by law; the first few of each are kept as sentences."""

    def __init__(self) -> None:
        self.counts: Counter[Law] = Counter()
        self.examples: dict[Law, list[str]] = {}

    def add(self, law: Law, what: str) -> None:
        self.counts[law] += 1
        kept = self.examples.setdefault(law, [])
        if len(kept) < EXAMPLES_MAX:
            kept.append(what)

    def merge(self, other: Violations) -> None:
        self.counts.update(other.counts)
        for law, examples in other.examples.items():
            kept = self.examples.setdefault(law, [])
            kept += examples[: EXAMPLES_MAX - len(kept)]


class Pace:
    """When a stage told something, and how long its inputs had waited for it. Times: the broker's, Unix ms."""

    def __init__(self) -> None:
        self.told = array("q")
        self.waited: dict[int, int] = {}  # second of telling → longest wait in ms

    def tell(self, at: int) -> None:
        if not self.told or self.told[-1] != at:
            self.told.append(at)

    def wait(self, since: int, at: int) -> None:
        second = at // 1000
        if at - since > self.waited.get(second, -1):
            self.waited[second] = at - since

    def merge(self, other: Pace) -> None:
        self.told = array("q", sorted({*self.told, *other.told}))
        for second, wait in other.waited.items():
            self.waited[second] = max(wait, self.waited.get(second, 0))

    def next_after(self, at: int) -> float | None:
        """Seconds from `at` to the next time it told something; None: it never did again. After merging only."""
        following = bisect_right(self.told, at)
        return (self.told[following] - at) / 1000 if following < len(self.told) else None

    def silence(self, since: int, until: int) -> float:
        """Seconds between two things told, at most, of this time. After merging only."""
        told = [since, *(at for at in self.told if since < at < until), until]
        return max(later - earlier for earlier, later in pairwise(told)) / 1000

    def longest(self, since: int = 0, until: int = 1 << 62) -> float:
        """Seconds that something waited at most, of what was told in this time."""
        waits = [wait for second, wait in self.waited.items() if since // 1000 <= second <= until // 1000]
        return max(waits, default=0) / 1000


@dataclass(slots=True)
class Part:
    """What one part of the proof found: a partition of cases, or the events that arrived.

    events: accepted ones by what became of them. effects: repeated ones, by topic. letters: dead letters by group and
    reason. wasted: answers that were paid for and not needed.
    """

    violations: Violations = field(default_factory=Violations)
    events: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    paces: dict[str, Pace] = field(default_factory=dict)
    records: int = 0
    cases: int = 0
    decided: int = 0
    second_decisions: int = 0
    commands: int = 0
    wasted: int = 0

    def pace(self, stage: str) -> Pace:
        pace = self.paces.get(stage)
        if pace is None:
            pace = self.paces[stage] = Pace()
        return pace

    def merge(self, other: Part) -> None:
        self.violations.merge(other.violations)
        for mine, theirs in (
            (self.events, other.events),
            (self.repeated, other.repeated),
            (self.letters, other.letters),
        ):
            mine.update(theirs)
        for stage, pace in other.paces.items():
            self.pace(stage).merge(pace)
        for name in ("records", "cases", "decided", "second_decisions", "commands", "wasted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Findings:
    """The whole. drained: judged as a system at rest. took_s, memory_mib: of the verification itself.

    has_bound: progress was judged, too.
    """

    part: Part
    drained: bool
    took_s: float = 0.0
    memory_mib: int = 0
    has_bound: bool = False

    @property
    def violations(self) -> Mapping[Law, int]:
        return self.part.violations.counts

    @property
    def examples(self) -> Mapping[Law, list[str]]:
        return self.part.violations.examples

    @property
    def accepted(self) -> int:
        return self.part.events.total()

    @property
    def lost(self) -> int:
        """Events that are neither settled nor open: nobody would ever hear of them again."""
        return self.part.events["lost"]

    @property
    def second_decisions(self) -> int:
        return self.part.second_decisions

    @property
    def repeated_effects(self) -> int:
        return self.part.repeated.total()

    @property
    def unexpected_letters(self) -> int:
        """Dead letters of events that were good, or for another reason than what was bad about them."""
        found = self.part.letters
        return sum(count for what, count in found.items() if not what.startswith("aios.admit "))

    @property
    def sound(self) -> bool:
        return not self.part.violations.counts

    def next_completion_s(self, at_ms: int, stage: str) -> float | None:
        """Seconds from this instant until the stage told something again; None: it never did."""
        return self.part.pace(stage).next_after(at_ms)

    def silence_s(self, since_ms: int, until_ms: int) -> float:
        """Seconds without anything from plan, at most, between the two instants."""
        return self.part.pace("plan").silence(since_ms, until_ms)

    def longest_wait_s(self, stage: str, since_ms: int, until_ms: int) -> float:
        """Seconds that a record waited for this stage at most, of what it told between the two instants."""
        return self.part.pace(stage).longest(since_ms, until_ms)
