"""What a step does and where it leads, in words: for the terminal, the picture and JSON alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aios.processors.language.workflow import (
    Call,
    Connect,
    Emit,
    Infer,
    Kind,
    Map,
    Parallel,
    Question,
    Review,
    Rule,
    Wait,
)

SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Way(NamedTuple):
    """to: a step, or `■ <outcome>`. reason: what the decision says of it; empty: nothing."""

    when: str
    to: str
    reason: str = ""


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
            yield Way("failed, expired or silent", kind.on_error.then, kind.on_error.reason or "")
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
