"""What a matrix found, for people and for machines.

Enters: a Result. Leaves: matrix.md and matrix.json in a folder; the README links the first. Guaranteed: a
line for each fault that was to be done, and one of its own for stages of which it proves nothing, with no figures; what
the report does not reach is listed in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from aios.infra.prove.judged import Judged, Result, Row

ABSENT = (
    ("budgets that are spent", "no case comes near its limit; tests/fault/test_budget.py holds it through kill -9"),
    ("four eyes under faults (I10)", "the load's workflow asks one person; claims are a courtesy and decide nothing"),
    ("tenants' isolation under faults (I7)", "tested, not part of this matrix"),
    ("effects at outside systems", "tests/fault/test_connectors.py counts them, killed at each boundary"),
    ("an engine that dies or hangs", "the engine here is the echo engine; `make test` kills a real one"),
    ("ACLs, credentials that expire, mixed versions", "not part of this matrix"),
    ("power loss", "kill -9 leaves what was written to the operating system"),
)

ABOVE = (
    "Lost, second decisions and repeated effects are counted of all events of a round, and stand on each of its lines."
)


def write(result: Result, folder: Path, machine: str, asked: Sequence[str] = ()) -> None:
    """asked: the rounds that were asked for by name; none for all."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "matrix.json").write_text(json.dumps(plain(result, machine), indent=1) + "\n", encoding="utf-8")
    (folder / "matrix.md").write_text("\n".join(_lines(result, machine, asked)) + "\n", encoding="utf-8")


def plain(result: Result, machine: str) -> dict[str, object]:
    return {
        "machine": machine,
        "is_whole": result.is_whole,
        "took_s": round(result.took_s),
        "violated": result.violated,
        "unproven": unproven(result),
        "chain": result.chain,
        "rows": [asdict(row) for row in result.rows],
        "rounds": [asdict(one) for one in result.rounds],
    }


def table(result: Result) -> list[str]:
    """Fault × stage, in Markdown; the stages of one fault that went alike share a line."""
    by_round = {one.round: one for one in result.rounds}
    without = [row for row, _ in result.unproven]
    lines = [
        "| Fault | Stage | lost | second decisions | repeated effects | goes on after, s | longest wait, s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for fault in dict.fromkeys(row.fault for row in result.rows):
        rows = [row for row in result.rows if row.fault == fault and row not in without]
        if rows:
            lines.append(_line(fault, rows, [by_round[row.round] for row in rows if row.round in by_round]))
        if stages := ", ".join(row.stage for row in without if row.fault == fault):
            lines.append(f"| {fault} | **not proven**: {stages} | – | – | – | – | – |")
    return lines


def unproven(result: Result) -> list[str]:
    """A sentence for each fault and stage that nothing was proven of."""
    return [f"{row.fault} × {row.stage}: {why}" for row, why in result.unproven]


def _line(fault: str, rows: Sequence[Row], judged: Sequence[Judged]) -> str:
    stages = ", ".join(f"**{row.stage}**" if row.trouble or row.is_late else row.stage for row in rows)
    figures = [
        str(sum(each)) if judged else "–"
        for each in (
            {one.round: one.lost for one in judged}.values(),
            {one.round: one.second_decisions for one in judged}.values(),
            {one.round: one.repeated_effects for one in judged}.values(),
        )
    ]
    return f"| {fault} | {stages} | {' | '.join(figures)} | {_seconds(rows)} | {_waited(rows)} |"


def _seconds(rows: Sequence[Row]) -> str:
    known = [row.goes_on_s for row in rows if row.goes_on_s is not None]
    if not known:
        return "it stops and says why" if all(row.round == "input" for row in rows) else "–"
    return f"{min(known):.1f} – {max(known):.1f}" if len(known) > 1 else f"{known[0]:.1f}"


def _waited(rows: Sequence[Row]) -> str:
    known = [row.waited_s for row in rows if row.waited_s is not None]
    return f"{max(known):.1f}" if known else "–"


def _lines(result: Result, machine: str, asked: Sequence[str]) -> Iterator[str]:
    accepted = sum(one.accepted for one in result.rounds)
    done = sum(row.is_done for row in result.rows)
    loads = [row.load for row in result.rows] or [0.0]
    yield "# Faults and what became of them"
    yield ""
    if not result.is_whole:
        yield "**Not finished**: what was found so far."
        yield ""
    command = " ".join(("aios prove matrix", *asked))
    yield f"`{command}` on {machine}: {done} faults in {result.took_s / 60:.0f} minutes under load, {accepted} "
    yield "accepted events. The engine is the echo engine, which answers without a model; all else is the product. A "
    yield "stage in bold went on later than its bound, or there is a remark on it below. The machine's load average "
    yield f"was {min(loads):.0f} to {max(loads):.0f}, this proof's own included: every second is one of such a machine."
    yield ABOVE
    yield ""
    yield from table(result)
    yield ""
    if result.open_cases:
        yield f"While stages were killed, {result.open_cases} cases waited for a person beside."
    became = sum((Counter(one.became) for one in result.rounds), Counter())
    yield f"What became of the events: {', '.join(f'{name} {count}' for name, count in sorted(became.items()))}."
    seen = sum(bool(one.seen_running) for one in result.rounds)
    yield f"What must hold at every moment was judged in the middle of {seen} of {len(result.rounds)} rounds, too."
    yield f"The audit chain is {'broken: ' + result.chain if result.chain else 'whole'}."
    remarks = [
        f"- {row.fault} × {row.stage}: {row.trouble or 'later than its bound'}" for row in result.rows if _odd(row)
    ]
    remarks += [f"- {one.round}: not judged while it ran: {one.unseen}" for one in result.rounds if one.unseen]
    violated = [f"- {one.round}: {each}" for one in result.rounds for each in one.examples]
    without = [f"- {each}" for each in unproven(result)]
    for title, each in (("What was violated", violated), ("Not proven", without), ("Remarks", remarks)):
        if each:
            yield from ("", f"## {title}", "", *each)
    yield from ("", "## Not reached by this", "", *(f"- {what}: {why}." for what, why in ABSENT))


def _odd(row: Row) -> bool:
    return row.is_done and (bool(row.trouble) or row.is_late)
