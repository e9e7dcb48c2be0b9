"""Why a case came to its decision, in plain sentences and as data. Pure.

In: the transitions of a case as timelines show them (the audit's records). Out: an Explanation. Guaranteed: it says
nothing that no record says: each sentence has its transition's number, and the record it stands on; a gap in the
numbers is told, and so is a transition that this code has no words for. Of the case's own words there are those alone
that it gave as its reasons, `why`, in what it showed while it waited and in its outcome: why this slot, or none. From
the audit's files, which hold no such words, it is explained without. The order is the case's own, whatever order the
records came in.

Rejected: explaining by running the workflow again (it would explain today's code and files, not what happened); a
model that words it (an explanation must not be able to invent).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aios.streams import transitions
from aios.streams.outcome_views import CaseView
from aios.streams.transitions import Move

OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What one transition means. about: input, model, policy, rule, system, person, wait, budget, operator, decision.

    seq: of the transition; 0: an act outside the case's order. record: topic/partition/offset of what moved the case.
    """

    seq: int
    at: int
    about: str
    step: str
    says: str
    record: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """says: the whole in a sentence. because: what decided it, most telling first. story: everything, in order.

    complete: whether every transition of the case is in the story. decided_by: empty while the case is open.
    """

    case_id: str
    tenant: str
    workflow: str
    status: str
    outcome: str
    label: str
    decided_by: str
    says: str
    because: tuple[str, ...]
    complete: bool
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    policies: tuple[str, ...]
    rules: tuple[str, ...]
    systems: tuple[str, ...]
    people: tuple[str, ...]
    story: tuple[Sentence, ...] = field(default=())


def of_case(view: CaseView, timeline: Iterable[Move]) -> Explanation:
    """What the outcome store says of a case, explained; also one that was refused, or that nobody has seen yet."""
    decided = {
        "outcome": view.outcome,
        "label": view.label,
        "decided_by": view.decided_by,
        "reasons": view.reasons,
        "output": view.output or {},
    }
    decision = decided if view.decided_at else None
    found = explain(view.case_id, view.workflow, timeline, version=view.workflow_version, decision=decision)
    if view.refusal is None:
        return replace(found, tenant=view.tenant, status=view.status)
    why = f"{transitions.spaced(view.refusal['reason'])}: {view.refusal['detail']}"
    return replace(
        found, tenant=view.tenant, status=view.status, says="Refused; it never became a case.", because=(why,)
    )


def explain(
    case_id: str,
    workflow: str,
    timeline: Iterable[Move],
    *,
    version: int = 0,
    decision: Mapping[str, Any] | None = None,
) -> Explanation:
    """timeline: of one case, as OutcomeStore.timeline gives it; at least one transition.

    version: of the workflow, where it is known. decision: outcome, label, decided_by, reasons, output, where the
    timeline may be behind it.
    """
    moves = sorted(timeline, key=lambda one: (one["case_seq"] == 0, one["case_seq"], one["at"]))
    story = tuple(sentence for move in moves for sentence in _told(move))
    numbers = [move["case_seq"] for move in moves if move["case_seq"]]
    ended = next((move["detail"] for move in reversed(moves) if move["transition"] == "decided"), None)
    decided = dict(decision or ended or {})
    found = _versions(moves)
    version = version or next((on for move in reversed(moves) if (on := move["detail"].get("workflow_version"))), 0)
    return Explanation(
        case_id=case_id,
        tenant=next((str(move.get("tenant", "")) for move in moves), ""),
        workflow=f"{workflow}@{version}" if version else workflow,
        status=str(moves[-1]["status"]) if moves else OPEN,
        outcome=str(decided.get("outcome", "")),
        label=str(decided.get("label", "")),
        decided_by=str(decided.get("decided_by", "")),
        says=_whole(decided, moves),
        because=tuple(_because(decided, moves)),
        complete=bool(numbers) and numbers == list(range(1, numbers[-1] + 1)) and (not decided or ended is not None),
        story=story,
        **found,
    )


def lines(found: Explanation) -> Iterator[str]:
    """For a terminal or a letter: the whole, the reasons, then the story."""
    yield found.says
    for one in found.because:
        yield f"  because {one}"
    if not found.complete:
        yield "  (not every transition is here: what is missing is not explained)"
    yield ""
    for sentence in found.story:
        number = f"{sentence.seq:>3}." if sentence.seq else "   ·"
        yield f"{number} {transitions.time_said(sentence.at)}  {sentence.says}"


def _told(move: Move) -> Iterator[Sentence]:
    """The rules that led there first, then the transition."""
    detail = move["detail"]
    for ruled in detail.get("ruled", ()):
        yield _sentence(move, "rule", str(ruled.get("rule", "")), transitions.rule_said(ruled), ruled)
    words = transitions.words_of(move)
    evidence = {name: value for name, value in detail.items() if name != "ruled" and value not in ("", [], None)}
    yield _sentence(move, words.about, str(move["step"]), words.say(move), evidence)
    for reasons in _given(detail.get("says")):
        yield _sentence(move, words.about, str(move["step"]), reasons, {})


def _given(said: Any) -> list[str]:
    """The reasons in what a case showed or came to, `why`: sentences, or those of each person who is told."""
    why = said.get("why") if isinstance(said, Mapping) else None
    return [text.removesuffix(".") for one in (why if isinstance(why, list) else ()) if (text := _words(one))]


def _words(one: Any) -> str:
    if isinstance(one, Mapping) and isinstance(one.get("sentences"), list):
        return f"it told {one.get('person', 'somebody')}: {' '.join(map(str, one['sentences']))}"
    return one if isinstance(one, str) else ""


def _sentence(move: Move, about: str, step: str, says: str, evidence: Mapping[str, Any]) -> Sentence:
    return Sentence(
        seq=move["case_seq"],
        at=move["at"],
        about=about,
        step=step,
        says=f"{says[:1].upper()}{says[1:]}.",
        record=str(move.get("input", "")),
        evidence=evidence,
    )


def _whole(decided: Mapping[str, Any], moves: Sequence[Move]) -> str:
    if decided:
        said = transitions.ending(decided)
        nobody = not any(move["transition"] == "review_decided" for move in moves)
        alone = ", without a person" if decided.get("decided_by") == "policy" and nobody else ""
        return f"{said[:1].upper()}{said[1:]}{alone}."
    if not moves:
        return "Nothing has happened to it yet."
    last = next((move for move in reversed(moves) if move["case_seq"]), moves[-1])
    said = transitions.words_of(last).say(last)
    return f"Open since {transitions.time_said(moves[0]['at'])}; last: {said}."


def _because(decided: Mapping[str, Any], moves: Sequence[Move]) -> Iterator[str]:
    """What the decision rests on: the reasons that the case gave itself, who decided, the rules that gave a reason and
    the last one, the answers that were used, and what was held back or did not come. Of an open case: its own.
    """
    shown = [given for move in moves if (given := _given(move["detail"].get("says")))]
    yield from (_given(decided.get("output")) or (shown[-1] if shown else []))[:1]  # whoever asked stands first
    if not decided:
        return
    yield from (transitions.words_of(move).say(move) for move in moves if move["transition"] == "review_decided")
    ruled = [one for move in moves for one in move["detail"].get("ruled", ())]
    yield from (transitions.rule_said(one) for one in ruled if one.get("reason") or one is ruled[-1])
    yield from (transitions.words_of(move).say(move) for move in moves if _tells(move))
    if any(move["transition"] == "cancelled" for move in moves) and (stands := transitions.done_outside(moves)):
        yield f"what was done outside before was not undone: {'; '.join(stands)}"
    if reasons := transitions.reasons(decided):
        yield f"the reasons on the record are {reasons}"


def _tells(move: Move) -> bool:
    """An answer, a refusal by a policy, a system that did not do what it was asked."""
    match move["transition"]:
        case "answered" | "call_unanswered" | "not_asked" | "not_called":
            return True
        case "guarded":
            return bool(move["detail"].get("verdict") == "refused")
        case "call_completed":
            return bool(move["detail"].get("reason"))
    return False


def _versions(moves: Sequence[Move]) -> dict[str, tuple[str, ...]]:
    """Everything that took part, by kind, each once and in the order of its first part."""
    said: dict[str, dict[str, None]] = {
        name: {} for name in ("models", "prompts", "policies", "rules", "systems", "people")
    }
    for move in moves:
        detail = move["detail"]
        used = {
            "models": detail.get("model") if move["transition"] == "answered" else "",
            "prompts": detail.get("prompt") if move["transition"] == "answered" else "",
            "policies": detail.get("policy") if move["transition"] == "guarded" else "",
            "systems": detail.get("system") if move["transition"].startswith("call_") else "",
            "people": move["actor"] if move["transition"] == "review_decided" else "",
        }
        for kind, name in used.items():
            if name:
                said[kind][str(name)] = None
        for ruled in detail.get("ruled", ()):
            said["rules"][f"{ruled.get('rule', '')}/{ruled.get('row') or 'otherwise'}"] = None
    return {kind: tuple(names) for kind, names in said.items()}
