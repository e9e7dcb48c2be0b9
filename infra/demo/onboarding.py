"""How well documents are read and applications decided, on applications that are drawn: `aios document evaluate`.

Enters: how many, a seed, a half of the sheets. Leaves: by kind of fact how many were read right, wrong, missed; by kind
of application what became of it; each error with its words. Guaranteed: counted, not expected; every application goes
through plan and the connectors as in the system (through.py), without Kafka; an application on which something breaks
counts as an error.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anyascii import anyascii

from aios.infra.demo import applicants, through
from aios.infra.demo.applicants import Application, Handed
from aios.processors.connectors.connector import Connector
from aios.processors.reading.fact import Kind
from aios.streams.config import Settings

FACTS = tuple(kind.value for kind in Kind)
PERSON = "person"


@dataclass(slots=True)
class Measured:
    """facts: (kind, `right` | `wrong` | `missed`). outcomes: (kind of application, outcome). errors: for people."""

    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    forms: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    misread: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def fact(self, kind: str) -> tuple[int, int, int]:
        """Right, wrong, missed."""
        return self.facts[kind, "right"], self.facts[kind, "wrong"], self.facts[kind, "missed"]


@asynccontextmanager
async def opened() -> AsyncIterator[Mapping[str, Connector]]:
    """The connectors, in a folder of their own."""
    with TemporaryDirectory(prefix="aios-evaluate-") as folder:
        asked = through.connectors(Settings(home=Path(folder)))
        try:
            for connector in asked.values():
                await connector.open()
            yield asked
        finally:
            for connector in asked.values():
                await connector.close()


async def measure(asked: Mapping[str, Connector], count: int, seed: int, half: str, *, scans: bool) -> Measured:
    """Draw applications, and put each through."""
    sound, measured, began = through.workflow(), Measured(), time.monotonic()
    for application in applicants.drawn(count, seed, half, scans=scans):
        try:
            came = await through.through(sound, application, asked)
        except Exception as error:  # noqa: BLE001 - whatever breaks, the others are measured too
            measured.outcomes[application.kind, "broke"] += 1
            measured.errors.append(f"{application.key} broke: {type(error).__name__}: {error}"[:300])
            continue
        _count(measured, application, came)
    measured.took_s = time.monotonic() - began
    return measured


def _count(measured: Measured, application: Application, came: through.Came) -> None:
    measured.outcomes[application.kind, came.outcome] += 1
    if came.outcome in application.expected:
        measured.right[application.kind] += 1
    else:
        because = "; ".join(f"{one['code']}: {one['says']}" for one in came.answers.get("weigh", {}).get("factors", ()))
        change = f", {application.change}" if application.change else ""
        measured.errors.append(
            f"{application.key} ({application.kind}{change}): {came.outcome} ({', '.join(came.reasons)}), right is"
            f" {' or '.join(application.expected)}; {application.fields['applicant_name']}; {because or 'no factor'}"
        )
    for number, document in enumerate(application.documents):
        read = came.answers.get(f"read_all/{number}")
        if read is not None and not document.damage:
            for kind, how, words in _compared(document, read):
                measured.facts[kind, how] += 1
                measured.forms[document.form, how] += 1
                if how != "right":
                    measured.misread.append(f"{application.key} {document.file} ({document.form}): {words}")


def _compared(document: Handed, read: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """By what the paper says: the surest fact of each kind, right, wrong or missed."""
    surest: dict[str, str] = {}
    for fact in read["facts"]:
        surest.setdefault(fact["kind"], fact["value"])
    for kind, truth in document.paper.truth.items():
        found = surest.get(kind, "")
        how = "missed" if not found else "right" if _key(kind, found) == _key(kind, truth) else "wrong"
        yield kind, how, f"{kind} is {truth!r}, read {found!r}"


def _key(kind: str, value: str) -> Any:
    """Names and addresses by their words, in any order and case, accents apart."""
    if kind not in (Kind.NAME, Kind.ADDRESS):
        return value
    return sorted(re.findall(r"\w+", anyascii(value).lower()))


def tables(measured: Measured) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Of facts, and of outcomes."""
    facts = []
    for kind in FACTS:
        right, wrong, missed = measured.fact(kind)
        total = right + wrong + missed
        if total:
            facts.append(_row("fact", kind, total, right=right, wrong=wrong, missed=missed))
    for form in sorted({form for form, _ in measured.forms}):
        right, wrong, missed = (measured.forms[form, how] for how in ("right", "wrong", "missed"))
        facts.append(_row("fact", f"all, as {form}", right + wrong + missed, right=right, wrong=wrong, missed=missed))
    outcomes = []
    for kind in sorted({kind for kind, _ in measured.outcomes}):
        came = {outcome: count for (of, outcome), count in measured.outcomes.items() if of == kind}
        shown = {name: came.get(name, 0) for name in ("approved", "returned", PERSON)}
        outcomes.append(_row("application", kind, sum(came.values()), right=measured.right[kind], **shown))
    return facts, outcomes


def _row(what: str, name: str, total: int, *, right: int, **more: int) -> dict[str, Any]:
    return {what: name, "count": total, "right": right, "right_share": round(right / total, 4), **more}


def summary(measured: Measured) -> dict[str, float | int]:
    """listed_approved: people of the list whom nobody saw. human_share_of_ordinary: of those who are on no list and
    whose papers are in order.
    """
    ordinary = [kind for kind in ("ordinary", "ordinary, own script") if kind in {of for of, _ in measured.outcomes}]
    total = sum(count for (kind, _), count in measured.outcomes.items() if kind in ordinary)
    people = sum(measured.outcomes[kind, PERSON] for kind in ordinary)
    every = sum(measured.outcomes.values())
    return {
        "applications": every,
        "right": sum(measured.right.values()),
        "human_share": round(sum(n for (_, came), n in measured.outcomes.items() if came == PERSON) / max(every, 1), 4),
        "ordinary": total,
        "human_share_of_ordinary": round(people / max(total, 1), 4),
        "to_be_seen": sum(count for (kind, _), count in measured.outcomes.items() if kind in applicants.TO_BE_SEEN),
        "wrongly_approved": sum(
            count
            for (kind, came), count in measured.outcomes.items()
            if kind in applicants.TO_BE_SEEN and came == "approved"
        ),
        "listed": sum(count for (kind, _), count in measured.outcomes.items() if kind == "on the list"),
        "listed_not_seen": sum(
            count for (kind, came), count in measured.outcomes.items() if kind == "on the list" and came != PERSON
        ),
        "seconds": round(measured.took_s, 1),
    }
