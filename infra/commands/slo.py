"""`aios slo`: each workflow's objectives against the last hour, and of each breach the cause and the next command.

Enters: the audit and the decisions of the running system's last hours, the open cases that did not move in them, what
its workflows owe. Leaves: a row an objective; exit code 1 where one is not kept, so that a script can watch it. What is
kept by no case is told as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from aios.infra import deploying, objectives, output, recent
from aios.infra.commands.operations import JSON
from aios.infra.commands.tenant import connected
from aios.infra.objectives import Kept
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, fail
from aios.infra.recent import Trail
from aios.processors.language.workflow import Workflow
from aios.schemas.codec import Codec
from aios.streams import outcome_store
from aios.streams.config import Settings
from aios.streams.durations import HOUR_MS
from aios.streams.errors import Unavailable
from aios.streams.outcome_store import OutcomeStore
from aios.streams.wall_clock import wall_ms

SAYS = {True: "kept", False: "BREACHED", None: "no cases"}


@click.command()
@click.option("--hours", type=click.IntRange(1, 72), default=1, show_default=True, help="How far back.")
@click.option("--workflow", default="", help="Of this one alone.")
@JSON
def slo(hours: int, workflow: str, as_json: bool) -> None:
    """Objectives of each workflow against the last hour; per breach the cause and the next command.

    P95: from the event to what its caller is given (the decision, or a wait that answers him), without the waits that
    the workflow asks for, of cases that no person was asked about; those that are late and still open count with their
    time so far, also where nothing of them moved in that hour. Exit code 1 when one is breached.
    """
    now_ms = wall_ms()
    try:
        with connected() as (settings, codec):
            owed = _in_service(settings, codec, workflow)
            since_ms = now_ms - hours * HOUR_MS
            seen = recent.read(settings.kafka, codec, since_ms)
            resting = outcome_store.ask(settings.redis.url, lambda store: _resting(store, owed, since_ms))
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    moved = {trail.case_id for trail in seen.trails}
    trails = [*seen.trails, *(trail for trail in resting if trail.case_id not in moved)]
    found = objectives.judge(owed, trails, now_ms)
    if as_json:
        output.rows([{**asdict(one), "kept": one.kept} for one in found], (), as_json=True, none="")
    else:
        output.rows([_row(one) for one in found], COLUMNS, as_json=False, none="there are no workflows")
        for one in found:
            if one.kept is False:
                output.text(f"\n{one.workflow}, {one.objective}: {one.cause}\n  next: {one.command}")
    if seen.cut:
        click.echo(recent.CUT, err=True)
    if any(one.kept is False for one in found):
        raise click.exceptions.Exit(FAILED)


COLUMNS = ("workflow", "objective", "wanted", "measured", "cases", "state")


async def _resting(store: OutcomeStore, workflows: Iterable[Workflow], since_ms: int) -> list[Trail]:
    return [trail for each in workflows for trail in await recent.resting(store, each.workflow, since_ms)]


def _row(one: Kept) -> dict[str, object]:
    is_share = one.objective.endswith("_min")
    sign = "≥" if is_share else "≤"
    return {
        "workflow": one.workflow,
        "objective": one.objective,
        "wanted": f"{sign} {_said(one.wanted, is_share)}",
        "measured": "" if one.measured is None else _said(one.measured, is_share),
        "cases": one.cases,
        "state": SAYS[one.kept],
    }


def _said(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:.2f} s"


def _in_service(settings: Settings, codec: Codec, wanted: str) -> list[Workflow]:
    """The version of each workflow that new cases take. Raises Unavailable."""
    newest = deploying.in_service(settings, codec)
    if wanted and wanted not in newest:
        fail(f"there is no workflow {wanted}; there are {', '.join(newest)}", NOT_FOUND)
    return [each for name, each in newest.items() if each is not None and wanted in ("", name)]
