"""The demo's closing figures, computed from what came out of the topics; nothing here is asked of a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import quantiles

from rich.console import Console

from aios.infra.demo.texts import Text
from aios.infra.demo.watch import Seen
from aios.schemas.models import CaseDecided

WRONG_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Scored:
    """A text and the decision that no person was needed for."""

    text: Text
    decision: CaseDecided

    @property
    def right(self) -> bool:
        return self.text.label == self.decision.label


def score(texts: Mapping[str, Text], seen: Seen) -> list[Scored]:
    """texts: by case id. Those decided by policy, strays included (for a stray every label is wrong)."""
    return [
        Scored(texts[case], decision)
        for case, decision in seen.decided.items()
        if case in texts and decision.decided_by == "policy"
    ]


def show(console: Console, texts: Mapping[str, Text], seen: Seen, published_ms: Mapping[str, int]) -> None:
    """texts and published_ms: by case id; published_ms: broker time of the producer's record."""
    scored = score(texts, seen)
    labelled = [t for t in texts.values() if t.kind != "strays"]
    strays = [case for case, t in texts.items() if t.kind == "strays"]
    by_policy = [s for s in scored if s.text.kind != "strays"]
    right = sum(s.right for s in by_policy)
    console.rule("what came out")
    console.print(
        f"decided without a person  {len(by_policy)} of {len(labelled)} ({_share(len(by_policy), len(labelled))})"
        f", of these right {right} ({_share(right, len(by_policy))}) against the data's own label"
    )
    for kind in ("letters", "messages"):
        of_kind = [s for s in by_policy if s.text.kind == kind]
        total = sum(t.kind == kind for t in labelled)
        good = sum(s.right for s in of_kind)
        console.print(
            f"  {kind:<9} {len(of_kind)} of {total} ({_share(len(of_kind), total)}), right {good} ({_share(good, len(of_kind))})"
        )
    for wrong in [s for s in by_policy if not s.right][:WRONG_SHOWN]:
        console.print(
            f"  wrong: said {wrong.decision.label!r} ({wrong.decision.confidence:.2f}), the data says"
            f" {wrong.text.label!r}: {_short(wrong.text.text)}",
            markup=False,
        )
    caught = sum(case in seen.waiting for case in strays)
    console.print(f"strays caught             {caught} of {len(strays)}")
    waiting = [task for case, task in seen.waiting.items() if case in texts and case not in seen.decided]
    console.print(f"waiting for a person      {len(waiting)}: {_tally(reason for t in waiting for reason in t.reasons)}")
    console.print(
        f"dead letters              {len(seen.dead)}: {_tally(h.get('aios.dlq.reason', '?') for h in seen.dead.values())}"
    )
    _speed(console, seen, published_ms)
    summary = next((s.decision for s in scored if s.decision.summary), None)
    if summary is not None:
        console.print(f"a summary by the small CPU model ({', '.join(summary.models)}): {_short(summary.summary)}", markup=False)


def _speed(console: Console, seen: Seen, published_ms: Mapping[str, int]) -> None:
    took = sorted(seen.settled_ms[case] - at for case, at in published_ms.items() if case in seen.settled_ms)
    if len(took) < 2:
        return
    last = max(seen.settled_ms[case] for case in published_ms if case in seen.settled_ms)
    span_s = max(0.001, (last - min(published_ms.values())) / 1000)
    cuts = quantiles(took, n=100, method="inclusive")
    console.print(
        f"throughput                {len(took) / span_s:.1f} cases/s ({len(took)} in {span_s:.1f} s, all published at once)"
    )
    console.print(
        f"latency                   P50 {cuts[49] / 1000:.1f} s, P95 {cuts[94] / 1000:.1f} s, P99 {cuts[98] / 1000:.1f} s"
        " from the producer's record to the outcome's, the wait behind the others included"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def _tally(reasons: Iterable[str]) -> str:
    counts = Counter(reasons)
    return ", ".join(f"{reason} {n}" for reason, n in counts.most_common()) or "none"


def _short(text: str, limit: int = 110) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
