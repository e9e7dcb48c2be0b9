"""`aios audit verify|show`: the chain of everything that happened, checked and read from its files alone.

Enters: home/audit and the head kept in home/run; needs no running system. Leaves: `verify` exits 0 for a sound chain
and prints its head: note it elsewhere, and give it back with --expect. It exits 1 and names the place of every record
that was altered, deleted, reordered, inserted or cut off.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aios.infra import output
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.infra.running import load_settings
from aios.sinks import audit_chain, audit_verify
from aios.sinks.audit import chain_folder, head_file
from aios.sinks.audit_chain import Head, Line
from aios.sinks.audit_verify import Report
from aios.streams.errors import StateBroken


@click.group("audit")
def group() -> None:
    """The audit chain: verify, show."""


@group.command()
@click.option("--expect", multiple=True, metavar="N:HASH", help="A head that an earlier run printed; repeatable.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A copy of a chain.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def verify(expect: tuple[str, ...], folder: Path | None, as_json: bool) -> None:
    """Check the whole chain. Each record against the one before it, the end against the head kept outside."""
    home = load_settings().home
    noted = [_head(text) for text in expect]
    try:
        anchor = (
            audit_chain.read_head(head_file(home)) if folder is None else max(noted, key=lambda h: h.n, default=None)
        )
    except StateBroken as error:
        fail(str(error))
    if folder is not None and not audit_chain.files(folder):
        fail(f"there is no chain in {folder}", NOT_FOUND)
    if folder is None and anchor is None and not noted and not audit_chain.files(chain_folder(home)):
        fail(f"there is no chain in {chain_folder(home)}: nothing has been audited in this home yet", NOT_FOUND)
    report = audit_verify.verify(folder or chain_folder(home), anchor, noted)
    if as_json:
        output.one(_plain(report), as_json=True)
    else:
        _say(report)
        if folder is not None and not noted:
            click.echo("a copy has no head of its own: give the one you noted, --expect N:HASH", err=True)
    if not report.sound:
        raise click.exceptions.Exit(FAILED)


@group.command()
@click.argument("case")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def show(case: str, as_json: bool) -> None:
    """Every chained record of CASE, in the chain's order.

    Also of a dead letter, a replay job or a breaker, by its id or the beginning of it.
    """
    if not case:
        fail("say which case, or the beginning of its id", USAGE)
    lines = audit_chain.of_case(chain_folder(load_settings().home), case)
    named = {line.record["event"]["case_id"] for line in lines}
    if not named:
        fail(f"the chain holds nothing of {case}", NOT_FOUND)
    if len(named) > 1:
        fail(f"{len(named)} ids begin with {case}: give more of it", USAGE)
    found = [_row(line) for line in lines]
    columns = ("n", "at", "case_seq", "transition", "status", "step", "actor", "why", "input")
    output.rows(found, columns, as_json=as_json, none="")


def _say(report: Report) -> None:
    for problem in report.problems:
        click.echo(f"{problem.kind}: {problem.message} ({problem.where})")
    if report.more:
        click.echo(f"and {report.more} more")
    what = "sound" if report.sound else "NOT SOUND"
    click.echo(f"{what}: {report.records} records in {report.files} files")
    if report.head.n:
        click.echo(f"head {report.head.n}:{report.head.hash}")


def _plain(report: Report) -> dict[str, Any]:
    return {"sound": report.sound, **asdict(report)}


def _row(line: Line) -> dict[str, Any]:
    event, place = line.record["event"], line.record["place"]
    return {
        "n": line.n,
        "at": datetime.fromtimestamp(event["at"] / 1000, UTC).isoformat(timespec="milliseconds"),
        **{name: event[name] for name in ("case_seq", "transition", "status", "step", "actor", "detail")},
        "why": json.loads(event["detail"] or "{}").get("why", ""),
        "input": f"{event['input_topic']}/{event['input_partition']}/{event['input_offset']}"
        if event["input_topic"]
        else "",
        "place": f"{place['topic']}/{place['partition']}/{place['offset']}",
        "hash": line.hash,
        "where": f"{line.path.name}:{line.number}",
    }


def _head(text: str) -> Head:
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        fail("--expect takes N:HASH, as verify prints it", USAGE)
    return Head(int(number), digest.lower())
