"""`aios review stats`: whether people keep up, how soon they answer, and what an answer costs.

Enters: the audit of the running system's last days, the questions that are open, what the workflows assume. Leaves: a
block a workflow, with a sentence about its backlog in person-hours; exit code 1 where questions will expire unanswered
before --days-ahead, so that a script can tell weeks before it happens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict

import click

from aios.infra import output, recent, review_load
from aios.infra.commands.operations import JSON
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, NOT_RUNNING, fail
from aios.infra.review_load import Assumed, Load
from aios.processors.language import workflow_files
from aios.processors.language.workflow import Review, Workflow
from aios.processors.language.workflow_files import Live
from aios.streams import deployments, money, outcome_store
from aios.streams.durations import DAY_MS, HOUR_MS
from aios.streams.errors import Unavailable
from aios.streams.outcome_store import LISTED_MAX, OutcomeStore
from aios.streams.outcome_views import ReviewView
from aios.streams.wall_clock import wall_ms


@click.command()
@click.option("--days", type=click.IntRange(1, 30), default=1, show_default=True, help="How far back.")
@click.option("--days-ahead", type=click.IntRange(0, 90), default=21, show_default=True, help="Exit 1 if late by then.")
@JSON
def stats(days: int, days_ahead: int, as_json: bool) -> None:
    """Whether people keep up.

    Time to acknowledge and to resolve, cost of an intervention, and the backlog in person-hours.

    A question is acknowledged when a reviewer first opens it. minutes: measured from when who decides opens it to the
    decision, or what the workflow assumes where too little was measured.
    """
    since_ms = wall_ms() - days * DAY_MS
    try:
        with connected() as (settings, codec):
            waiting = outcome_store.ask(settings.redis.url, _waiting)
            with deployments.loaded(settings.kafka, codec) as tables:
                served = list(Live(workflow_files.shipped(), tables))
            seen = recent.read(settings.kafka, codec, since_ms - _longest_h(served) * HOUR_MS)
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    open_now: dict[str, list[int]] = defaultdict(list)
    assumed = _assumed(served)
    for task in waiting:
        open_now[task.workflow].append(task.requested_at)
    price = settings.money.person_minute
    found = review_load.loads(
        seen.trails, open_now, assumed, since_ms=since_ms, window_ms=days * DAY_MS, minute_micro=price
    )
    if as_json:
        output.rows([asdict(one) for one in found], (), as_json=True, none="")
    else:
        _tell(found, settings.money.currency)
    if len(waiting) >= LISTED_MAX:
        click.echo(f"{LISTED_MAX} questions and more are open; the backlog is larger than told", err=True)
    if seen.cut:
        click.echo(recent.CUT, err=True)
    if any(one.late_in_days is not None and one.late_in_days <= days_ahead for one in found):
        raise click.exceptions.Exit(FAILED)


async def _waiting(store: OutcomeStore) -> list[ReviewView]:
    return await store.reviews(None, LISTED_MAX)


def _assumed(workflows: Iterable[Workflow]) -> dict[str, Assumed]:
    """Of the newest version of each workflow the review that takes longest."""
    found: dict[str, Assumed] = {}
    for workflow in sorted(workflows, key=lambda one: one.version):
        asks = [step.kind for step in workflow.steps.values() if isinstance(step.kind, Review)]
        if asks:
            longest = max(asks, key=lambda one: one.minutes)
            found[workflow.workflow] = Assumed(minutes=longest.minutes, expires_h=min(one.expires_h for one in asks))
    return found


def _longest_h(workflows: Iterable[Workflow]) -> int:
    """How long before its end a question may have been asked."""
    reviews = (step.review for workflow in workflows for step in workflow.steps.values())
    return max((one.expires_h for one in reviews if one is not None), default=0)


def _tell(found: list[Load], currency: str) -> None:
    if not found:
        click.echo("nobody was asked anything in this window")
    for one in found:
        click.echo(f"{one.workflow}")
        output.one({name: value for name, value in _facts(one, currency).items() if value != ""}, as_json=False)
        output.text(f"{one.says}\n")


def _facts(one: Load, currency: str) -> dict[str, str]:
    how = "measured" if one.measured_minutes else "assumed by the workflow"
    return {
        "asked": f"{one.asked}, {one.decided} decided, {one.expired} ended undecided; {one.open_now} open now",
        "acknowledged": _spread(one.acknowledge_p50_s, one.acknowledge_p95_s, f"of {one.opened} opened"),
        "resolved": _spread(one.resolve_p50_s, one.resolve_p95_s, f"of {one.decided} decided"),
        "overridden": _share(one.override_share, "of the suggestions that people were shown"),
        "differing in shadow": _share(one.unseen_override_share, "of the suggestions that they were not shown"),
        "unread": _share(one.rubber_stamp_share, f"decided within {review_load.RUBBER_S_MAX:.0f} s of opening"),
        "an intervention": f"{one.minutes:.1f} minutes ({how}), {money.text(one.cost_micro)} {currency}",
        "interventions": "" if one.per_1000_cases is None else f"{one.per_1000_cases:.0f} in 1,000 decided cases",
    }


def _spread(p50: float | None, p95: float | None, of: str) -> str:
    return "" if p50 is None or p95 is None else f"P50 {_took(p50)}, P95 {_took(p95)}, {of}"


def _took(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _share(share: float | None, of: str) -> str:
    return "" if share is None else f"{share:.1%} {of}"
