"""`aios list show|publish|changes|search|evaluate`: the lists that cases are screened against.

Enters: the lists that came with the package, a newer file, a name; for publish a running system and a principal's
token. Leaves: tables; list.published.v1 with its audit record; of `evaluate` how good screening is, with its misses,
and an exit code that a build can stop at. Guaranteed: a file that cannot be read whole is never published; who
publishes is whom the token belongs to.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aios.infra import output
from aios.infra.commands.acting import acting
from aios.infra.commands.list_changes import NAMED, changes
from aios.infra.commands.operations import TOKEN, WHY
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, USAGE, fail
from aios.infra.running import found_running
from aios.processors.screening import births, evaluation, list_files, published, reasons
from aios.processors.screening.entries import Kind
from aios.processors.screening.evaluation import Goal, Report, Row
from aios.processors.screening.index import Asked, Index
from aios.processors.screening.list_files import Listed
from aios.processors.screening.thresholds import REVIEW
from aios.schemas import ids
from aios.schemas.models import ListPublished
from aios.streams import reference
from aios.streams.errors import ConfigError
from aios.streams.principals import Role
from aios.streams.reference import Why
from aios.streams.topics import LIST_PUBLISHED
from aios.streams.wall_clock import wall_ms

LIST = "ofac_sdn"
MISSES_SHOWN = 5  # of a row, unless all are asked for
GOALS = ("goal", "wanted", "measured", "state")
REPORT = ("names", "of", "n", "found", "share", "not found, for example")

_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.group("list")
def group() -> None:
    """Lists that cases are screened against: show, publish, changes, search, evaluate."""


group.add_command(changes)


@group.command()
@_json
def show(as_json: bool) -> None:
    """Every list, and which version of it serves."""
    told: dict[str, ListPublished] = {}
    if found_running() is not None:
        with connected() as (settings, codec):
            told = published.read(settings.kafka, codec)
    found = [_shipped(name, version, told.get(name)) for name, version in list_files.known()]
    there = {one["list"] for one in found}
    found += [
        {
            "list": f"{one.list}@{one.version}",
            "serves": "yes",
            "entries": one.entries,
            "sha256": one.sha256,
            "by": one.by,
            "reason": one.reason,
        }
        for one in told.values()
        if f"{one.list}@{one.version}" not in there
    ]
    output.rows(found, ("list", "serves", "entries", "sha256", "by", "reason"), as_json=as_json, none="no lists")


def _shipped(name: str, version: str, told: ListPublished | None) -> dict[str, Any]:
    listed = list_files.shipped(name, version)
    serves = told.version == version if told else list_files.newest(name) == version
    mine = told if told is not None and serves else None
    return {
        "list": listed.reference,
        "serves": "yes" if serves else "",
        "entries": len(listed.entries),
        "kinds": dict(Counter(entry.kind.value for entry in listed.entries)),
        "names": sum(len(entry.names) for entry in listed.entries),
        "sha256": listed.sha256,
        "by": mine.by if mine else "",
        "reason": mine.reason if mine else "shipped",
    }


@group.command()
@click.argument("named", metavar="LIST@VERSION")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Default: shipped.")
@WHY
@TOKEN
def publish(named: str, path: Path | None, why: str, token_file: Path | None) -> None:
    """Let a version serve from now on. Running processes load it; cases decided before are screened again by it."""
    told = NAMED.fullmatch(named)
    if told is None:
        fail(f"{named[:80]!r}: LIST@VERSION, such as ofac_sdn@2024-05-03", USAGE)
    name, version = told[1], told[2]
    try:
        content = (path or list_files.path_of(name, version)).read_bytes()
        listed = list_files.read(name, version, content)
    except ConfigError as error:
        fail(str(error), FAILED)
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        there = published.read(settings.kafka, codec).get(name)
        if _is_others(listed, there):
            fail(f"{listed.reference} is the name of another file, by which cases were screened: give this one its own")
        kept = published.keep(settings, content) if path is not None else listed.reference
        event = ListPublished(
            list=name,
            version=version,
            reference=kept,
            sha256=hashlib.sha256(content).hexdigest(),
            entries=len(listed.entries),
            reason=why,
            by=by,
            published_at=wall_ms(),
        )
        detail = {
            "list": name,
            "version": version,
            "before": there.version if there else "",
            "sha256": event.sha256,
            "entries": event.entries,
            "reason": why,
        }
        reference.write(
            settings.kafka,
            codec,
            LIST_PUBLISHED,
            event,
            name=name,
            tenant="",
            seed=ids.canonical(detail),
            why=Why(by=by, transition="list_published", detail=detail),
        )
    before = there.version if there else "the shipped one"
    click.echo(f"{listed.reference} serves from now on: {len(listed.entries)} entries; before: {before}")


def _is_others(listed: Listed, there: ListPublished | None) -> bool:
    """Whether a version of this name has other bytes: whoever was screened by them would not be screened again."""
    known = {there.sha256} if there is not None and there.version == listed.version else set()
    if (listed.name, listed.version) in list_files.known():
        known.add(list_files.shipped(listed.name, listed.version).sha256)
    return bool(known - {listed.sha256})


@group.command()
@click.argument("name")
@click.option("--born", default="", help="A day, a month or a year.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), default=None, help="Default: any.")
@click.option("--list", "listed", default=LIST, show_default=True, help="LIST or LIST@VERSION, of those shipped.")
@_json
def search(name: str, born: str, kind: str | None, listed: str, as_json: bool) -> None:
    """Who a name may be. Exit code 0 whether or not there is a hit; needs no running system."""
    asked = Asked(name, births.read(born), Kind(kind) if kind else None)
    if born and asked.born is None:
        fail(f"{born!r} is no date that can be read; 1957-07-30, 1957-07 and 1957 can", USAGE)
    found = [
        {
            "entry": hit.entry.number,
            "name": hit.entry.names[0],
            "kind": hit.entry.kind.value,
            "score": hit.score,
            "level": hit.level,
            "because": list(reasons.sentences(asked, hit)),
        }
        for hit in Index(_known(listed).entries).search(asked)
    ]
    output.rows(found, ("entry", "name", "kind", "score", "level", "because"), as_json=as_json, none="clear: no hit")


@group.command()
@click.option("--list", "listed", default=LIST, show_default=True, help="LIST or LIST@VERSION, of those shipped.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--names", type=click.IntRange(10, 2000), default=200, show_default=True, help="Of each kind of change.")
@click.option(
    "--half", type=click.Choice(["0", "1"]), default="1", show_default=True, help="0: the one of calibration."
)
@click.option("--all", "everything", is_flag=True, help="Every name that was missed.")
@_json
def evaluate(*, listed: str, seed: int, names: int, half: str, everything: bool, as_json: bool) -> None:
    """Measure what is found, and whom a person sees for nothing.

    Perturbed real names, aliases held out of the index, and ordinary people. Exit code 1 where a goal is missed.
    """
    report = evaluation.evaluate(_known(listed), seed=seed, names=names, half=int(half))
    goals = evaluation.goals(report)
    passed = all(goal.kept for goal in goals)
    if as_json:
        reached = [asdict(goal) | {"kept": goal.kept} for goal in goals]
        more = {"goals": reached, "passed": passed, "seed": seed, "half": int(half)}
        click.echo(json.dumps(asdict(report) | more, ensure_ascii=False))
    else:
        _tell(report, everything=everything)
        _tell_goals(goals)
    if not passed:
        raise click.exceptions.Exit(FAILED)


def _tell(report: Report, *, everything: bool) -> None:
    shown = [_row(row, everything=everything) for row in report.rows]
    output.rows(shown, REPORT, as_json=False, none="")
    _tell_curve(report)
    click.echo(
        f"\n{report.searches} searches: {report.mean_ms:.2f} ms of processor time each on average, "
        f"P50 {report.p50_ms:.2f} ms, P99 {report.p99_ms:.2f} ms\n"
    )


def _tell_goals(goals: Sequence[Goal]) -> None:
    shown = [
        {
            "goal": goal.what,
            "wanted": f"{'≥' if goal.at_least else '≤'} {goal.wanted:g}",
            "measured": f"{goal.measured:.4f}" if goal.wanted < 1 else f"{goal.measured:.1f}",
            "state": "kept" if goal.kept else "MISSED",
        }
        for goal in goals
    ]
    output.rows(shown, GOALS, as_json=False, none="")


def _tell_curve(report: Report) -> None:
    shown = [
        {"nats": point.cut, "": "serves" if point.cut == REVIEW else ""}
        | {f"{name} found": f"{share:.4f}" for name, share in point.found.items()}
        | {f"{name} sent": f"{share:.4f}" for name, share in point.sent.items()}
        | {"mean": f"{point.share:.4f}"}
        for point in report.curve
    ]
    click.echo("\nwhat each cut finds, and whom it sends to a person for nothing")
    output.rows(shown, tuple(shown[0]), as_json=False, none="")
    click.echo(f"the lowest cut that is allowed on this half: {report.lowest}; the one that serves: {REVIEW}")


def _row(row: Row, *, everything: bool) -> dict[str, Any]:
    sent = row.what in (evaluation.PEOPLE, evaluation.OTHERS, evaluation.RECOMBINED)
    shown = row.misses if everything else row.misses[:MISSES_SHOWN]
    return {
        "names": row.what,
        "of": row.kind,
        "n": row.all,
        "found": f"{row.found} sent to a person" if sent else row.found,
        "share": f"{row.share:.3f}",
        "not found, for example": "; ".join(f"{miss.written} ({miss.name})" for miss in shown),
    }


def _known(reference_: str) -> Listed:
    name, _, version = reference_.partition("@")
    try:
        return list_files.shipped(name, version)
    except ConfigError as error:
        fail(str(error), output.NOT_FOUND)
