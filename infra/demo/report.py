"""The demo's closing figures, computed from what came out of the topics; nothing here is asked of a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import quantiles

from rich.console import Console

from aios.infra.demo.texts import Text
from aios.infra.demo.watch import Seen
from aios.schemas.models import CaseDecided

WRONG_SHOWN = 3
TEXT_CHARS = 110  # shown of a text
STRAYS = "strays"


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
    """Print. texts and published_ms: by case id; published_ms: broker time of the producer's record."""
    console.rule("what came out")
    for label, value in (
        *_decided(texts, seen),
        *_not_decided(texts, seen),
        *_speed(seen, published_ms),
        *_summary(texts, seen),
    ):
        console.print(f"{label:<26}{value}", markup=False, highlight=False, soft_wrap=True)


Line = tuple[str, str]


def _decided(texts: Mapping[str, Text], seen: Seen) -> Iterator[Line]:
    by_policy = [one for one in score(texts, seen) if one.text.kind != STRAYS]
    labelled = [text for text in texts.values() if text.kind != STRAYS]
    yield "decided without a person", _of(by_policy, len(labelled))
    for kind in ("letters", "messages"):
        yield f"  {kind}", _of([s for s in by_policy if s.text.kind == kind], sum(t.kind == kind for t in labelled))
    for wrong in [s for s in by_policy if not s.right][:WRONG_SHOWN]:
        said, really = wrong.decision, wrong.text
        yield (
            "  wrong",
            f"said {said.label} ({said.confidence:.2f}), the data says {really.label}: {_short(really.text)}",
        )


def _of(decided: list[Scored], total: int) -> str:
    right = sum(one.right for one in decided)
    return (
        f"{len(decided)} of {total} ({_share(len(decided), total)}),"
        f" of these right against the data's own label {right} ({_share(right, len(decided))})"
    )


def _not_decided(texts: Mapping[str, Text], seen: Seen) -> Iterator[Line]:
    strays = [case for case, text in texts.items() if text.kind == STRAYS]
    waiting = [task for case, task in seen.waiting.items() if case in texts and case not in seen.decided]
    reasons = _tally(reason for task in waiting for reason in task.reasons)
    dead = _tally(headers.get("aios.dlq.reason", "?") for headers in seen.dead.values())
    yield "strays caught", f"{sum(case in seen.waiting for case in strays)} of {len(strays)}"
    yield "waiting for a person", f"{len(waiting)}: {reasons}"
    yield "dead letters", f"{len(seen.dead)}: {dead}"


def _speed(seen: Seen, published_ms: Mapping[str, int]) -> Iterator[Line]:
    settled = {case: seen.settled_ms[case] for case in published_ms if case in seen.settled_ms}
    if len(settled) < 2:
        return
    took = [at - published_ms[case] for case, at in settled.items()]
    span_s = max(0.001, (max(settled.values()) - min(published_ms.values())) / 1000)
    cuts = [cut / 1000 for cut in quantiles(took, n=100, method="inclusive")]
    yield "throughput", f"{len(took) / span_s:.1f} cases/s: {len(took)} in {span_s:.1f} s, all published at once"
    yield (
        "latency",
        f"P50 {cuts[49]:.1f} s, P95 {cuts[94]:.1f} s, P99 {cuts[98]:.1f} s from the producer's record to the outcome,"
        " the wait behind the others included",
    )


def _summary(texts: Mapping[str, Text], seen: Seen) -> Iterator[Line]:
    summarised = (one.decision for one in score(texts, seen) if one.decision.summary)
    for decision in list(summarised)[:1]:
        yield "a summary", f"{_short(decision.summary)} (by the small CPU model: {', '.join(decision.models)})"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def _tally(reasons: Iterable[str]) -> str:
    counts = Counter(reasons)
    return ", ".join(f"{reason} {n}" for reason, n in counts.most_common()) or "none"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_CHARS else line[: TEXT_CHARS - 1] + "…"
