"""What a matrix finds: a row a fault and stage, a judgement a round.

Enters: figures, as they are measured. Leaves: whether anything that must hold did not, and what was not proven.
Guaranteed: a fault that could not be done is a row too, and so is one under which nothing was accepted; neither proves
anything, and a result that has one is no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

INPUT = "input"  # the round behind which nothing can be judged: what it does must stop a stage


@dataclass(slots=True, kw_only=True)
class Row:
    """One fault and stage. began, at: Unix ms, before it was done and behind that; to do some takes a minute.

    goes_on_s: from `at` until the stage committed something again; of all stages, the longest from `began` on that no
    case went on. bound_s: of that; the time that the damage lasts is in it. waited_s: the longest that any record had
    waited for the stage, of what it told from `began` until the next fault; None for a stage that tells nothing of its
    own.
    trouble: why it was not done, or what went wrong with it; empty when all is well. load: of the machine, over the
    last minute; more than it has cores, and every figure is longer than the product's own.
    """

    round: str
    fault: str
    stage: str
    began: int = 0
    at: int = 0
    bound_s: float = 0.0
    goes_on_s: float | None = None
    waited_s: float | None = None
    is_done: bool = False
    trouble: str = ""
    load: float = 0.0

    @property
    def is_late(self) -> bool:
        if self.round == INPUT or not self.is_done:
            return False  # nothing goes on, or nothing was done
        return self.goes_on_s is None or max(self.goes_on_s, self.waited_s or 0.0) > self.bound_s


@dataclass(slots=True, kw_only=True)
class Judged:
    """One round's figures. became: accepted events, by what became of them. violations: by invariant, with examples.

    seen_running: events judged in its middle too. unseen: why there are none; empty if there are.
    """

    round: str
    accepted: int = 0
    became: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    second_decisions: int = 0
    repeated_effects: int = 0
    is_drained: bool = True
    unexpected_letters: int = 0
    longest_wait_s: float = 0.0
    judging_s: float = 0.0
    seen_running: int = 0
    unseen: str = ""
    violations: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """is_whole: every round that was wanted is in it. open_cases: that waited behind the kills."""

    is_whole: bool = False
    rows: list[Row] = field(default_factory=list)
    rounds: list[Judged] = field(default_factory=list)
    took_s: float = 0.0
    open_cases: int = 0
    chain: str = ""  # what `aios audit verify` said; empty when the chain is whole

    @property
    def violated(self) -> bool:
        """Whether anything that must hold did not. What was not proven violates nothing: see unproven."""
        return (
            bool(self.chain)
            or any(one.violations or not one.is_drained for one in self.rounds)
            or any(row.is_late or (row.is_done and row.trouble) for row in self.rows)
        )

    @property
    def unproven(self) -> Sequence[tuple[Row, str]]:
        """Faults that prove nothing, and why: not done, or done while no event was accepted."""
        idle = {one.round for one in self.rounds if not one.accepted}
        return [
            (row, row.trouble if not row.is_done else "its round had no accepted event")
            for row in self.rows
            if not row.is_done or row.round in idle
        ]
