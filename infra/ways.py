"""What a workflow says before its steps, what a step does and where it leads, in words. Pure.

For the terminal, the picture and JSON alike. That a case which must not act alone asks a person instead is said once,
for the workflow, and not of each step that acts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from aios.processors.language import autonomy
from aios.processors.language.questions import Call, Connect, Infer, Question
from aios.processors.language.workflow import Emit, Kind, Map, Parallel, Review, Rule, Wait, Workflow, asks
from aios.streams import money

BUDGET = "the budget"  # a box before the steps; none of them can be called so
SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Way(NamedTuple):
    """to: a step, or `■ <outcome>`. reason: what the decision says of it; empty: nothing."""

    when: str
    to: str
    reason: str = ""


class Box(NamedTuple):
    """kind: a word. guards: policies that texts and answers are held to here, with their side; empty: none."""

    kind: str
    does: str
    guards: str
    ways: tuple[Way, ...]


def boxes(workflow: Workflow) -> dict[str, Box]:
    """By name, in order: the budget, where a case reserves money before it begins, then every step."""
    found = {
        name: Box(type(step.kind).__name__.lower(), does(step.kind), guards(step.kind), tuple(ways(step.kind)))
        for name, step in workflow.steps.items()
    }
    if workflow.budget is None:
        return found
    denied = workflow.budget.on_denied
    most = f"reserve {money.text(workflow.budget.per_case_max_micro)} at most"
    on = (Way("granted, or not limited", workflow.start), Way("denied", denied.then, denied.reason or ""))
    return {BUDGET: Box("budget", most, "", on), **found}


def head(workflow: Workflow) -> Iterator[str]:
    """What holds for all its cases, a sentence a line."""
    owed = workflow.objectives
    yield (
        f"P95 at most {owed.interactive_p95_s:g} s interactive, {owed.bulk_p95_s:g} s bulk; "
        f"at least {_share(owed.without_person_min)} without a person"
    )
    signed = workflow.signed_off
    yield f"signed off by {signed.by} on {signed.on}" if signed is not None else "signed off by nobody: not deployed"
    if (alone := workflow.autonomy) is not None:
        whom = f"a person is asked in {alone.ask} before a case acts or is decided"
        share = "" if alone.share == 1 else f" of {_share(alone.share)}, {autonomy.LOWER[alone.mode]} of the others"
        yield f"autonomy {alone.mode}{share}{'; where it is not auto, ' if alone.mode == autonomy.AUTO else ': '}{whom}"
    if workflow.policy:
        yield f"policy {json.dumps(workflow.policy, ensure_ascii=False, default=str)}"


def _share(part: float) -> str:
    """In percent, with all its figures: half a percent is neither none nor one."""
    return f"{100 * part:g}%"


def guards(kind: Kind) -> str:
    """Policies, by the side of the model where they stand."""
    asked_here = [one.guards for one in asks(kind) if isinstance(one, Question)]
    sides = {
        "before": dict.fromkeys(policy for one in asked_here for policy in one.before),
        "after": dict.fromkeys(policy for one in asked_here for policy in one.after),
    }
    return "; ".join(f"{side} {', '.join(policies)}" for side, policies in sides.items() if policies)


def does(kind: Kind) -> str:
    """What a step does, in a few words."""
    match kind:
        case Rule():
            return "first row that holds"
        case Review():
            return "ask a person" if kind.people is None else "ask one person or two"
        case Parallel():
            return "at once: " + ", ".join(kind.of)
        case Map():
            return f"each of {kind.over.source}: {asked(kind.each.asks)}"
        case Wait():
            return f"wait for {kind.event or 'the time'}"
        case Emit():
            return f"■ {kind.outcome}"
        case _:
            return asked(kind)


def asked(kind: Question | Call) -> str:
    """Whom a question or call goes to."""
    if isinstance(kind, Call):
        return f"{kind.system}: {kind.operation}"
    return f"{kind.model} with {kind.prompt}" if kind.prompt else kind.model


def ways(kind: Kind) -> Iterator[Way]:
    """Every way on."""
    match kind:
        case Infer() | Connect() | Parallel() | Map():
            yield Way(_came(kind), kind.then)
            again = kind.on_error.again
            rests = "" if again is None else f" also after {', '.join(map(_span, again.rests_s))}"
            when = f"failed, or expired or silent{rests}" if rests else "failed, expired or silent"
            yield Way(when, kind.on_error.then, kind.on_error.reason or "")
        case Rule():
            for row in kind.first_of:
                yield Way(row.when.source, row.then, row.reason or "")
            yield Way("otherwise", kind.otherwise.then, kind.otherwise.reason or "")
        case Review():
            yield Way("a person decided" if kind.people is None else "they agree", kind.then)
            if kind.on_disagreement is not None:
                yield Way("they disagree", kind.on_disagreement.then, kind.on_disagreement.reason or "")
            yield Way(f"nobody within {kind.expires_h} h", kind.on_expiry.then, kind.on_expiry.reason or "")
        case Wait():
            if kind.then is not None:
                yield Way(f"it was told {kind.event}", kind.then)
            until = kind.until.source if kind.until is not None else _span(kind.for_s or 0)
            yield Way(f"after {until}", kind.on_expiry.then, kind.on_expiry.reason or "")
        case Emit():
            yield Way(f"by {kind.decided_by.source}", f"■ {kind.outcome}")


def _came(kind: Infer | Connect | Parallel | Map) -> str:
    match kind:
        case Parallel():
            return "all answered"
        case Map():
            return "every item was answered"
    return f"{asked(kind)} answered"


def _span(seconds: int) -> str:
    """In the largest unit that says it whole."""
    size, unit = next(one for one in SPANS if seconds % one[0] == 0)
    return f"{seconds // size} {unit}"
