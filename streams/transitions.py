"""What each transition of a case means, as a sentence. Pure.

In: one transition as timelines show it. Out: what it is about and a sentence without its full stop. Guaranteed: only
what the record says; a transition that is not known here is told by its name and actor, and no field is asked for that
an older record may lack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

CUT_SHORT = "too_large"  # reason of a case that ended because what it had to write did not fit a record

Move = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """about: input, model, policy, rule, system, person, wait, budget, operator or decision."""

    about: str
    say: Callable[[Move], str]


def words_of(move: Move) -> Words:
    return WORDS.get(move["transition"], Words("operator", unknown))


def path_said(path: str) -> str:
    """`answers.classify.confidence` as people say it: classify.confidence."""
    return path.removeprefix("answers.")


def number(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def spaced(reason: Any) -> str:
    return str(reason).replace("_", " ")


def reasons(detail: Move) -> str:
    return ", ".join(spaced(one) for one in detail.get("reasons", ()))


def time_said(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if at_ms else ""


def _seconds(ms: Any) -> str:
    return f"{float(ms or 0) / 1000:.2f} s"


def person(actor: str) -> str:
    """`reviewer:ana` is Ana, whom people know."""
    role, _, name = actor.partition(":")
    return f"{name} ({role})" if name else actor


def rule_said(ruled: Mapping[str, Any]) -> str:
    """The row with the numbers that it compared written behind what they are."""
    weighed, name, leads = ruled.get("weighed", {}), ruled.get("rule", ""), ruled.get("then", "")
    reason = f" ({spaced(ruled['reason'])})" if ruled.get("reason") else ""
    if not ruled.get("row"):
        shown = ", ".join(f"{path_said(path)} was {number(value)}" for path, value in weighed.items())
        return f"rule {name}: none of its conditions held{f' ({shown})' if shown else ''}, so it led to {leads}{reason}"
    when = str(ruled.get("when", ""))
    for path in sorted(weighed, key=len, reverse=True):
        shown = f"{path_said(path)} [{number(weighed[path])}]".replace("\\", "\\\\")
        when = re.sub(rf"{re.escape(path)}(?![\w.\[])", shown, when)
    return f"rule {name}, row {ruled['row']}: {when}, so it led to {leads}{reason}"


def unknown(move: Move) -> str:
    detail = move["detail"]
    why = str(detail.get("why") or detail.get("reason") or "")
    return f"{spaced(move['transition'])} by {person(str(move['actor']))}{f': {spaced(why)}' if why else ''}"


def _admitted(move: Move) -> str:
    detail = move["detail"]
    mode = detail.get("autonomy", "")
    alone = f"; it may not decide alone ({mode})" if mode not in ("", "auto") else ""
    version = detail.get("workflow_version", "?")
    return f"accepted as event {detail.get('event_id', '?')}, on version {version} of its workflow{alone}"


def _requested(move: Move) -> str:
    detail = move["detail"]
    pool = detail.get("pool", "?")
    prompt = f" with prompt {detail['prompt']}" if detail.get("prompt") else ""
    instead = f", in place of {detail['fallback_of']}" if detail.get("fallback_of") else ""
    again = f", attempt {detail['attempt']}" if detail.get("attempt", 1) > 1 else ""
    urgency = f", priority {detail['priority']}" if detail.get("priority") else ""
    return f"step {move['step']} asked model {detail.get('model', '?')}{prompt} ({pool}{instead}{again}{urgency})"


def _answered(move: Move) -> str:
    detail = move["detail"]
    model = f"model {detail.get('model') or '?'}"
    if detail.get("reason"):
        return f"{model} gave no answer that could be used at step {move['step']}: {spaced(detail['reason'])}"
    took = f" after {_seconds(detail.get('queue_ms', 0) + detail.get('compute_ms', 0))}"
    if detail.get("label") is not None and "confidence" in detail:
        out = f", out of scope {number(float(detail['out_of_scope']))}" if "out_of_scope" in detail else ""
        return f"{model} answered {detail['label']} with confidence {number(float(detail['confidence']))}{out}{took}"
    if "choice" in detail:
        return f"{model} chose {detail['choice']}{took}"
    return f"{model} answered at step {move['step']}{took}"


def _not_asked(move: Move) -> str:
    detail = move["detail"]
    whom = detail.get("model") or detail.get("system") or "anybody"
    return f"step {move['step']} did not ask {whom}: {spaced(detail.get('reason', ''))}"


def _guarded(move: Move) -> str:
    detail = move["detail"]
    side = "what the model was to read" if detail.get("at") == "before" else "what the model answered"
    verdict = {"passed": "let pass", "noted": "let pass, with a note,", "masked": "masked parts of"}.get(
        str(detail.get("verdict", "")), "refused"
    )
    found = "; ".join(str(one.get("says", one.get("rule", ""))) for one in detail.get("breaches", ()))
    return f"policy {detail.get('policy', '?')} {verdict} {side} at step {move['step']}{f': {found}' if found else ''}"


def _called(move: Move) -> str:
    detail = move["detail"]
    effect = detail.get("effect", "none")
    does = f" (an effect, {spaced(effect)})" if effect != "none" else ""
    again = f", attempt {detail['attempt']}" if detail.get("attempt", 1) > 1 else ""
    return (
        f"step {move['step']} asked {detail.get('system', '?')} to {spaced(detail.get('operation', '?'))}{does}{again}"
    )


_UNUSABLE = {
    "ok": "{system} answered with what the case cannot use",
    "unknown": "nobody knows whether {system} did it",
}
"""What came back without an answer for the case, by what the connector says of it."""


def _returned(move: Move) -> str:
    detail = move["detail"]
    system, took = detail.get("system", "?"), _seconds(detail.get("waited_ms", 0) + detail.get("call_ms", 0))
    tries = f", in {detail['tries']} tries" if detail.get("tries", 1) > 1 else ""
    if detail.get("reason"):
        what = _UNUSABLE.get(str(detail.get("outcome", "")), "{system} did not do it").format(system=system)
        return f"{what} at step {move['step']} ({spaced(detail['reason'])}){tries}, after {took}"
    before = "; an earlier try had already done it" if detail.get("reconciled") else ""
    return f"{system} answered after {took}{tries}{before}"


def _unanswered(move: Move) -> str:
    detail = move["detail"]
    return f"{detail.get('system', '?')} did not answer step {move['step']} in time"


def _branched(move: Move) -> str:
    detail = move["detail"]
    branches = detail.get("branches", [])
    return f"step {move['step']} asked {len(branches)} at the same time: {', '.join(map(str, branches)) or 'nobody'}"


def _asked_person(move: Move) -> str:
    detail = move["detail"]
    which = f" (person {detail.get('round', 1)} of {detail['people']})" if detail.get("people", 1) > 1 else ""
    why = reasons(detail)
    said = f"; the suggestion is {detail['suggestion']}" if detail.get("suggestion") else ""
    return f"a person was asked at step {move['step']}{which}{f', because of {why}' if why else ''}{said}"


def _person_decided(move: Move) -> str:
    detail = move["detail"]
    suggestion, label = detail.get("suggestion", ""), detail.get("label", "?")
    than = "" if not suggestion else ", as suggested" if suggestion == label else f" instead of {suggestion}"
    if suggestion and detail.get("unseen"):
        than = f"; the suggestion, which they were not shown, was {suggestion}"
    which = f", as person {detail.get('round', 1)} of {detail['people']}" if detail.get("people", 1) > 1 else ""
    comment = " ".join(str((detail.get("says") or {}).get("comment", "")).split())
    why = f': "{comment}"' if comment else ""
    return f"{person(str(move['actor']))} decided {label}{than}{which}{why}"


def _waiting(move: Move) -> str:
    detail = move["detail"]
    what = f"for {spaced(detail['event'])}" if detail.get("event") else "for its time"
    return f"step {move['step']} waits {what}, until {time_said(int(detail.get('until', 0)))} at most"


def _resting(move: Move) -> str:
    detail = move["detail"]
    which = f"{detail.get('again', '?')} of {detail.get('times', '?')}"
    until = time_said(int(detail.get("until", 0)))
    return f"step {move['step']} had no answer, rests until {until} and is then asked again ({which} times)"


def _was_told(move: Move) -> str:
    detail = move["detail"]
    kept = ", which is kept until the case waits for it" if detail.get("kept") else ""
    return f"{person(str(move['actor']))} told it: {spaced(detail.get('kind', '?'))}{kept}"


def _ignored(move: Move) -> str:
    detail = move["detail"]
    why = f"it has no {detail['lacks']} as it should" if detail.get("lacks") else spaced(detail.get("reason", ""))
    what = spaced(detail["kind"]) if detail.get("kind") else "something"
    return f"{what} from {person(str(move['actor']))} changed nothing: {why}"


def _budget(move: Move) -> str:
    detail = move["detail"]
    why = f": {spaced(detail['reason'])}" if detail.get("reason") else ""
    return f"its budget was {spaced(detail.get('outcome', 'answered'))}{why}"


def _screened_again(move: Move) -> str:
    detail = move["detail"]
    near = f"the case's people come near to {detail['added']} more of its entries" if detail.get("added") else ""
    gone = f"nobody of the case is near to {', '.join(detail['gone'])} any more" if detail.get("gone") else ""
    raised = f", for which {detail['raises']} was raised" if detail.get("raises") else ""
    stands = "; the decision stands" if gone and not near else ""
    return f"by {detail.get('list', 'the list')} {'; '.join(filter(None, (near + raised, gone)))}{stands}"


def _cancelled(move: Move) -> str:
    detail = move["detail"]
    return f"{person(str(move['actor']))} called it off: {detail.get('reason', '')}".rstrip(": ")


def _migrated(move: Move) -> str:
    detail = move["detail"]
    versions = f"version {detail.get('from_version', '?')} to {detail.get('workflow_version', '?')}"
    return f"{person(str(move['actor']))} moved it from {versions} of its workflow"


def done_outside(moves: Iterable[Move]) -> tuple[str, ...]:
    """What systems changed for a case, or may have changed, in its order: what stands when the case is called off."""
    asked: dict[str, str] = {}  # by step
    perhaps: dict[str, str] = {}
    for move in moves:
        step = str(move.get("step", ""))
        if move["transition"] == "call_requested" and move["detail"].get("effect", "none") != "none":
            detail = move["detail"]
            perhaps[step] = f"{spaced(detail.get('operation', '?'))} in {detail.get('system', '?')} (step {step})"
            asked[step] = f"perhaps {perhaps[step]}"
        elif move["transition"] == "call_completed" and step in perhaps:
            outcome, reason = move["detail"].get("outcome"), move["detail"].get("reason")
            if not reason or outcome == "ok":
                asked[step] = perhaps[step]
            elif outcome != "unknown":
                asked.pop(step, None)
    return tuple(asked.values())


def _decided(move: Move) -> str:
    return ending(move["detail"])


def ending(decided: Move) -> str:
    outcome, label = spaced(decided.get("outcome", "?")), decided.get("label", "")
    says_more = label and not outcome.startswith(label)  # approved, as approve
    decided_by = str(decided.get("decided_by", ""))
    by = _who(decided_by)
    if decided_by == "timer" and CUT_SHORT in decided.get("reasons", ()):
        by = "because what it would have had to write next was larger than a record may be"
    return f"{outcome}{f' as {label}' if says_more else ''}, {by}"


def _who(decided_by: str) -> str:
    if decided_by == "policy":
        return "decided by the workflow's own rules"
    if decided_by == "timer":
        return "because its time was over"
    return f"decided by {person(decided_by)}" if decided_by else "decided"


WORDS: Mapping[str, Words] = {
    "admitted": Words("input", _admitted),
    "case_joined": Words("input", lambda m: f"a later case was joined to this one: {m['detail'].get('case_id', '?')}"),
    "body_replaced": Words("operator", lambda _: "an approved edit replaced the event's body"),
    "budget_requested": Words("budget", lambda _: "its tenant's budget was asked for what it may cost at most"),
    "budget_answered": Words("budget", _budget),
    "queued": Words("model", lambda m: f"step {m['step']} waited for its turn at {m['detail'].get('pool', '?')}"),
    "requested": Words("model", _requested),
    "answered": Words("model", _answered),
    "not_asked": Words("model", _not_asked),
    "guarded": Words("policy", _guarded),
    "branched": Words("system", _branched),
    "branch_failed": Words("system", lambda m: f"branch {m['step']} has no answer; the others are waited for"),
    "call_queued": Words(
        "system", lambda m: f"step {m['step']} waited for its turn at {m['detail'].get('system', '?')}"
    ),
    "call_requested": Words("system", _called),
    "call_completed": Words("system", _returned),
    "call_unanswered": Words("system", _unanswered),
    "not_called": Words("system", _not_asked),
    "review_requested": Words("person", _asked_person),
    "review_decided": Words("person", _person_decided),
    "review_opened": Words("person", lambda m: f"{person(str(m['actor']))} opened the question at step {m['step']}"),
    "resting": Words("wait", _resting),
    "waiting": Words("wait", _waiting),
    "told": Words("wait", _was_told),
    "ignored": Words("operator", _ignored),
    "migrated": Words("operator", _migrated),
    "cancelled": Words("operator", _cancelled),
    "screened_again": Words("operator", _screened_again),
    "decided": Words("decision", _decided),
}
"""By transition; a test compares them with what plan records."""
